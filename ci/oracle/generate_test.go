// Makes cases at random: looks at a node and scripts of passes, nastier than any real node, in the format of
// harness/eviction/tests/corpus.
package eviction

import (
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TestGenerate makes ORACLE_COUNT looks and as many loops from ORACLE_SEED in the folder ORACLE_GENERATE.
func TestGenerate(t *testing.T) {
	folder, isSet := os.LookupEnv("ORACLE_GENERATE")
	if !isSet {
		t.Skip("ORACLE_GENERATE names no folder")
	}
	seed, _ := strconv.ParseInt(os.Getenv("ORACLE_SEED"), 10, 64)
	count, _ := strconv.Atoi(os.Getenv("ORACLE_COUNT"))
	for at := 0; at < count; at++ {
		for _, kind := range []string{"looks", "loops"} {
			offset := int64(0)
			if kind == "loops" {
				offset = 1 << 40
			}
			d := &draw{rand.New(rand.NewSource(seed<<20 + int64(at) + offset))}
			name := fmt.Sprintf("s%d-%04d", seed, at)
			case_ := filepath.Join(folder, kind, name)
			if err := os.MkdirAll(case_, 0o755); err != nil {
				t.Fatal(err)
			}
			files := d.look()
			if kind == "loops" {
				files = d.loop()
			}
			files["case.json"] = object{
				"name": name, "seed": seed, "index": at, "tags": []string{"random"},
				"layout": d.of("single", "dedicatedImageFs", "split"),
			}
			for file, document := range files {
				if err := writeJSON(filepath.Join(case_, file), document); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func (d *draw) count() uint64 {
	if d.one(40) {
		return d.bytes()
	}
	return uint64(d.Intn(9)) * uint64(d.Intn(300))
}

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func (d *draw) time() any {
	if d.one(9) {
		return nil
	}
	return start.Add(time.Duration(d.Intn(20)) * time.Second).Format(time.RFC3339)
}

func (d *draw) memoryStats(available bool) object {
	stats := object{"time": d.time()}
	d.put(stats, "workingSetBytes", d.bytes())
	if available {
		d.put(stats, "availableBytes", d.bytes())
	}
	return stats
}

func (d *draw) filesystemStats(whole bool) object {
	stats := object{"time": d.time()}
	d.put(stats, "usedBytes", d.bytes())
	d.put(stats, "inodesUsed", d.count())
	if whole {
		d.put(stats, "availableBytes", d.bytes())
		d.put(stats, "capacityBytes", d.bytes())
		d.put(stats, "inodesFree", d.count())
		d.put(stats, "inodes", d.count())
	}
	return stats
}

func (d *draw) podStats(pod object, at int) object {
	metadata := pod["metadata"].(object)
	stats := object{"podRef": object{"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]}}
	containers := []object{}
	spec := pod["spec"].(object)
	for _, key := range []string{"containers", "initContainers"} {
		own, _ := spec[key].([]object)
		for _, container := range own {
			if d.one(8) {
				continue
			}
			one := object{"name": container["name"], "startTime": nil}
			d.put(one, "memory", d.memoryStats(false))
			d.put(one, "rootfs", d.filesystemStats(false))
			d.put(one, "logs", d.filesystemStats(false))
			containers = append(containers, one)
		}
	}
	if d.one(8) {
		one := object{"name": d.of("debugger", "c0")}
		d.put(one, "rootfs", d.filesystemStats(false))
		containers = append(containers, one)
	}
	d.Shuffle(len(containers), func(a, b int) { containers[a], containers[b] = containers[b], containers[a] })
	d.put(stats, "containers", containers)
	volumes := []object{}
	own, _ := spec["volumes"].([]object)
	for _, volume := range own {
		if d.one(8) {
			continue
		}
		one := d.filesystemStats(false)
		// Upstream does not survive a volume whose bytes are not known.
		one["usedBytes"] = d.bytes()
		one["name"] = volume["name"]
		volumes = append(volumes, one)
	}
	d.put(stats, "volume", volumes)
	d.put(stats, "memory", d.memoryStats(false))
	d.put(stats, "ephemeral-storage", d.filesystemStats(false))
	processes := object{}
	d.put(processes, "process_count", uint64(d.Intn(5)))
	d.put(stats, "process_stats", processes)
	return stats
}

func (d *draw) summary(pods []object, live bool) object {
	all := []object{}
	for at, pod := range pods {
		if at > 0 && len(all) > 0 && d.one(6) {
			twin := object{}
			for key, value := range all[len(all)-1] {
				twin[key] = value
			}
			twin["podRef"] = object{"uid": pod["metadata"].(object)["uid"]}
			all = append(all, twin)
		} else if !d.one(9) {
			all = append(all, d.podStats(pod, at))
		}
		if d.one(25) {
			all = append(all, d.podStats(pod, at))
		}
	}
	systemContainers := []object{}
	for _, name := range []string{"kubelet", "pods", "pods"} {
		if d.one(3) || name == "pods" && d.one(2) {
			one := object{"name": name}
			d.put(one, "memory", d.memoryStats(true))
			systemContainers = append(systemContainers, one)
		}
	}
	node := object{"nodeName": "node"}
	d.put(node, "systemContainers", systemContainers)
	d.put(node, "memory", d.memoryStats(true))
	d.put(node, "fs", d.filesystemStats(true))
	runtime := object{}
	d.put(runtime, "imageFs", d.filesystemStats(true))
	d.put(runtime, "containerFs", d.filesystemStats(true))
	d.put(node, "runtime", runtime)
	rlimit := object{"time": d.time()}
	d.put(rlimit, "maxpid", d.Intn(2000))
	d.put(rlimit, "curproc", d.Intn(2000)-50)
	d.put(node, "rlimit", rlimit)
	if live {
		d.freshen(node)
	}
	summary := object{"node": node}
	d.put(summary, "pods", all)
	return summary
}

// Within a script most figures are there, so that thresholds are met and left again.
func (d *draw) freshen(node object) {
	for _, part := range []any{node["memory"], node["fs"]} {
		if stats, isThere := part.(object); isThere {
			stats["availableBytes"] = uint64(d.Intn(400)) << 20
			stats["workingSetBytes"] = uint64(d.Intn(900)) << 20
			stats["capacityBytes"] = uint64(1500) << 20
		}
	}
}

var percentages = []string{
	"0%", "100%", "0.0%", "00%", "100.0%", "10%", "5%", "12.5%", "33.333%", "1e1%", "+20%", "0x1p3%", "0x1.8p1%", "1_0%", ".5%", "5.%", "99.99999999%", "1e-40%",
	"1e-44%", "10%%", "0%%", "-0%", "7e-1%", "50%",
}

var oddReclaims = []string{
	"150%", "1677721700%", "1677721799%", "123456789%", "12345678901%", "1e12%", "3e22%", "1e23%", "9.9e30%", "340282346638528859811704183484516925440%", "1e-5%", "2e-5%",
	"0.0001234567%", "1e-10%", "100%", "0%", "-1%", "inf%", "Infinity%", "nan%",
}

var wrong = []string{
	"ten%", "%", "", "-5%", "101%", "1e39%", "1e400%", "0x10%", "0x%", "1__0%", "_1%", "1 %", "10 %", "a\u00a0b%", "\u00ad%", "é%", "\"%", "\\%", "\u0007%", "\u200b%", "\x7f%", "日本%",
	"\U000e0001%", "nan%", "+nan%", "-inf%", "inf%", "12Mb", "1.2.3", "Ki", "--1", "1e", "1ee3", "0", "-1", "0.0", "-100Mi", "1e3Mi", "1Mi ", " 1Mi", "1mi", "\u00a01Mi", "+", ".", "1.Ki.", "5Gib", "1E", "1.5E", "0e0",
}

var graces = []string{"0s", "100ms", "10s", "30s", "1m", "1m30s", "1h", "1.5m", "90s", "2m", "1us", "1µs", "0", "+5s", ".5s", "1h0m1s"}

var wrongGraces = []string{"-1s", "", "10", "1x", "s", "1 s", "1s ", "9999999999h", "é", "1\u00a0s", "\u00ad1s", "--1s", ".s", "-", "1d", "-0.5s", "\"", "1s1"}

var signalNames = []string{
	"memory.available", "memory.available", "memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree", "containerfs.available",
	"containerfs.inodesFree", "pid.available", "allocatableMemory.available",
}

func (d *draw) statements(most int, values func() string) any {
	statements := object{}
	for at := d.Intn(most + 1); at > 0; at-- {
		statements[d.of(signalNames...)] = values()
	}
	return statements
}

// A configuration; a wrong one has a single mistake, since upstream names any of several.
func (d *draw) configuration(mistakes bool) object {
	amount := func() string {
		if d.one(2) {
			return d.of(percentages...)
		}
		return d.of("100Mi", "1Gi", "0.5Gi", "1", "1000", "1k", "500M", "250Mi", "1e3", "+5Ki", "1.500", "16E", "0.1", "1n", "104857600", "1e30", "300Mi", "200Mi")
	}
	reclaim := func() string {
		if d.one(3) {
			return d.of("150%", "16777217%", "1677721700%", "123456789%", "12345678901%", "1e12%", "3e22%", "1e23%", "9.9e30%", "1e-5%", "2e-5%", "0.0001234567%", "100%", "0.5%")
		}
		return d.of("0", "1", "100Mi", "10%", "1k", "0.5Gi", "1e3", "50Mi", "+5Ki")
	}
	configuration := object{"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
	hard, _ := d.statements(4, amount).(object)
	soft, _ := d.statements(3, amount).(object)
	graceOf, reclaims := object{}, d.statements(4, reclaim).(object)
	for signal := range soft {
		graceOf[signal] = d.of(graces...)
	}
	if d.one(3) {
		graceOf[d.of(signalNames...)] = d.of(graces...)
	}
	if mistakes {
		signal := d.of(signalNames...)
		switch d.Intn(6) {
		case 0:
			hard[signal] = d.of(wrong...)
		case 1:
			soft[signal] = d.of(wrong...)
			graceOf[signal] = "1s"
		case 2:
			graceOf[signal] = d.of(wrongGraces...)
		case 3:
			reclaims[signal] = d.of(append(oddReclaims, wrong...)...)
		case 4:
			d.statementsOf(hard, soft, graceOf, reclaims)[d.of("memory.free", "", "nodefs", "Memory.available", "a\u00a0b", "inodes", "%v", "memory.available ")] = d.of("1s", "10%", "1")
		case 5:
			soft[signal] = amount()
			delete(graceOf, signal)
		}
	}
	if d.one(8) {
		d.put(configuration, "evictionHard", hard)
	} else {
		configuration["evictionHard"] = hard
	}
	configuration["evictionSoft"], configuration["evictionSoftGracePeriod"] = soft, graceOf
	if d.one(2) || mistakes {
		configuration["evictionMinimumReclaim"] = reclaims
	}
	if len(soft) == 0 && d.one(3) {
		configuration["evictionSoft"] = nil
	}
	if d.one(3) {
		configuration["mergeDefaultEvictionSettings"] = d.one(2)
	}
	if d.one(3) {
		configuration["evictionMaxPodGracePeriod"] = d.Intn(60) - 5
	}
	if d.one(2) {
		configuration["evictionPressureTransitionPeriod"] = d.of("0s", "10s", "25s", "1m", "5m0s", "1ms")
	}
	switch d.Intn(6) {
	case 0:
		configuration["enforceNodeAllocatable"] = []string{}
	case 1:
		configuration["enforceNodeAllocatable"] = []string{d.of("none", "pods", "system-reserved")}
	case 2:
		configuration["enforceNodeAllocatable"] = nil
	}
	if d.one(4) {
		configuration["localStorageCapacityIsolation"] = d.one(2)
	}
	return configuration
}

func (d *draw) statementsOf(options ...object) object { return options[d.Intn(len(options))] }

func (d *draw) podList(pods []object) object {
	list := object{"apiVersion": "v1", "kind": d.of("PodList", "List"), "items": pods}
	if len(pods) == 0 && d.one(2) {
		list["items"] = nil
	}
	return list
}

func (d *draw) look() object {
	pods := d.pods(d.Intn(9))
	return object{
		"pods.json": d.podList(pods), "summary.json": d.summary(pods, false), "kubelet.yaml": d.configuration(d.one(4)),
	}
}

func (d *draw) loop() object {
	pods := d.pods(d.Intn(6))
	ticks := []object{}
	at := start
	for range 2 + d.Intn(9) {
		tick := object{"at": at.Format(time.RFC3339Nano)}
		at = at.Add(time.Duration(d.Intn(4)) * 5 * time.Second)
		if d.one(15) {
			at = at.Add(time.Duration(d.Intn(1000)) * time.Millisecond)
		}
		active, fails := []string{}, []string{}
		for _, pod := range pods {
			metadata := pod["metadata"].(object)
			name := metadata["namespace"].(string) + "/" + metadata["name"].(string)
			if !d.one(6) {
				active = append(active, name)
			}
			if d.one(6) {
				fails = append(fails, name)
			}
		}
		d.put(tick, "active", active)
		if d.one(3) {
			d.put(tick, "killFails", fails)
		}
		if !d.one(20) {
			tick["summary"] = d.summary(pods, true)
		} else if d.one(2) {
			tick["summary"] = nil
		}
		if d.one(3) {
			d.put(tick, "summaryAfterReclaim", d.summary(pods, true))
		}
		for _, flag := range []string{"containerGCError", "imageGCError", "summaryError", "reclaimSummaryError"} {
			if d.one(12) {
				tick[flag] = !d.one(5)
			}
			if d.one(30) {
				tick[flag] = nil
			}
		}
		ticks = append(ticks, tick)
	}
	return object{
		"pods.json": d.podList(pods), "ticks.json": object{"ticks": ticks}, "kubelet.yaml": d.configuration(d.one(12)),
	}
}
