// Draws pods at random, nastier than any real ones. `run` also puts this file, under another package's name, beside what answers
// the other ends of a pod.
package eviction

import (
	"encoding/json"
	"fmt"
	"math/rand"
)

type draw struct{ *rand.Rand }

func (d *draw) one(in int) bool             { return d.Intn(in) == 0 }
func (d *draw) of(options ...string) string { return options[d.Intn(len(options))] }

var names = []string{
	"c0", "c1", "init0", "vol-0", "a b", "quo\"te", "back\\slash", "tab\t", "nul\u0000", "bell\a", "del\u007f", "nbsp\u00a0",
	"soft\u00adhyphen", "zero\u200bwidth", "bom\ufeff", "lsep\u2028", "private\ue000", "unassigned\u0378", "é", "日本", "\U0001f6a2",
	"tag\U000e0001", "replacement\ufffd", "combining\u0301", "ideographic\u3000space", "%d%s", "<&>", "",
}

// A name as an API server takes it, or now and then one that it would not.
func (d *draw) name(usual ...string) string {
	if d.one(12) {
		return names[d.Intn(len(names))]
	}
	return d.of(usual...)
}

var sizes = []string{
	"0", "1", "-1", "100Mi", "128M", "0.5Gi", ".5Gi", "1.5", "1e3", "1E3", "1.500", "+5Ki", "05Ki", "1Ki", "1025", "1000", "1k", "100m", "1n",
	"0.1n", "1.1e-9", "999u", "9223372036854775807", "9223372036854775808", "8Ei", "8E", "16Ei", "1e18", "1e19", "1e30", "123456789012345678901234567890",
	"-100Mi", "-0.5", "0.0", "00", "-0", "1.0Mi", "0.1Ki", "0.001Gi", "3e-3", "12e6", "1024e0", "7.25Gi", "1000m", "999999999999999999n", "5.", "+.5",
	"4611686018427387904", "9007199254740993", "0.000000001", "0.0000000001", "1.23456789012Gi", "100E", "0.1Ei", "2048Pi", "1e-12", "1e12k0"[:4],
}

// A quantity as a JSON value: any spelling, now and then a bare number or nothing.
func (d *draw) quantity() any {
	switch d.Intn(14) {
	case 0:
		return json.RawMessage(d.of("0", "1", "1e3", "1024", "0.5", "123456789012345678901234567890", "-7", "1E-2", "5e2"))
	case 1:
		return nil
	case 13:
		return fmt.Sprint(d.bytes())
	case 2, 3, 4:
		return sizes[d.Intn(len(sizes))]
	case 5:
		return fmt.Sprintf("%d.%d%s", d.Intn(2000), d.Intn(2000), d.of("", "n", "u", "m", "k", "M", "G", "Ki", "Mi", "Gi", "e3", "E-2", "e7", "e-7"))
	default:
		return fmt.Sprintf("%d%s", d.Intn(600), d.of("", "Mi", "Mi", "Mi", "M", "Ki", "k", "00000", "Gi"))
	}
}

func (d *draw) bytes() uint64 {
	switch d.Intn(20) {
	case 16, 17, 18, 19:
		// Figures that thresholds and requests have too.
		return []uint64{1, 1000, 1024, 5120, 100 << 20, 128e6, 1 << 30, 500e6, 300 << 20, 200 << 20, 512 << 20, 104857599, 104857601}[d.Intn(13)]
	case 0:
		return 0
	case 1:
		return 1<<63 + uint64(d.Intn(1<<20))
	case 2:
		return 1<<64 - 1 - uint64(d.Intn(3))
	case 3:
		return 1<<63 - 1
	case 4:
		return uint64(d.Intn(600)) << 20
	case 5:
		return uint64(d.Intn(5)) * 1000
	default:
		return uint64(d.Intn(600))<<20 + uint64(d.Intn(1<<12))
	}
}

// Puts a field in, or leaves it out, or says null.
func (d *draw) put(into object, key string, value any) {
	switch d.Intn(14) {
	case 0:
	case 1:
		into[key] = nil
	default:
		into[key] = value
	}
}

func (d *draw) list(resources ...string) object {
	list := object{}
	for _, resource := range resources {
		if d.one(2) {
			list[resource] = d.quantity()
		}
	}
	return list
}

func (d *draw) resources(names ...string) object {
	resources := object{}
	if !d.one(3) {
		d.put(resources, "requests", d.list(names...))
	}
	if d.one(3) {
		d.put(resources, "limits", d.list(names...))
	}
	return resources
}

func (d *draw) container(prefix string, at int, sidecars bool) object {
	container := object{"name": d.name(fmt.Sprintf("%s%d", prefix, at)), "image": "registry.example/app:1"}
	d.put(container, "resources", d.resources("memory", "ephemeral-storage", "cpu"))
	if sidecars && d.one(2) {
		container["restartPolicy"] = d.of("Always", "Always", "OnFailure", "Never")
	}
	return container
}

func (d *draw) volume(at int) object {
	volume := object{"name": d.name(fmt.Sprintf("vol-%d", at), "vol-0")}
	emptyDir := object{}
	if d.one(3) {
		emptyDir["medium"] = d.of("", "Memory", "HugePages", "HugePages-2Mi")
	}
	if d.one(2) {
		emptyDir["sizeLimit"] = d.quantity()
	}
	source := d.of("emptyDir", "emptyDir", "emptyDir", "hostPath", "configMap", "secret", "gitRepo", "projected", "downwardAPI", "none")
	switch source {
	case "emptyDir":
		volume[source] = emptyDir
	case "hostPath":
		volume[source] = object{"path": "/"}
	case "gitRepo":
		volume[source] = object{"repository": "x"}
	case "none":
	default:
		volume[source] = object{}
	}
	if d.one(15) {
		volume["hostPath"] = nil
	}
	return volume
}

func (d *draw) pods(count int) []object {
	pods := []object{}
	for at := 0; at < count; at++ {
		pod := d.pod(at)
		if at > 0 && d.one(4) {
			// A twin but for its identity.
			pod["spec"] = pods[at-1]["spec"]
		}
		pods = append(pods, pod)
	}
	return pods
}

func (d *draw) pod(at int) object {
	metadata := object{"name": fmt.Sprintf("pod-%d", at), "namespace": d.of("default", "shop"), "uid": fmt.Sprintf("uid-%d", at)}
	if d.one(25) {
		metadata["uid"] = "uid-0"
	}
	if d.one(3) {
		metadata["generation"] = d.Intn(5)
	}
	switch d.Intn(12) {
	case 0:
		metadata["annotations"] = object{"kubernetes.io/config.source": d.of("api", "file", "", "http")}
	case 1:
		metadata["annotations"] = object{"kubernetes.io/config.mirror": d.of("abc", "")}
	case 2:
		metadata["annotations"] = nil
	}
	spec := object{"nodeName": "node"}
	containers, inits, volumes := []object{}, []object{}, []object{}
	for c := d.Intn(4); c > 0; c-- {
		containers = append(containers, d.container("c", len(containers), false))
	}
	if d.one(3) {
		for c := d.Intn(4); c > 0; c-- {
			inits = append(inits, d.container("init", len(inits), true))
		}
	}
	for v := d.Intn(4); v > 0; v-- {
		volumes = append(volumes, d.volume(len(volumes)))
	}
	d.put(spec, "containers", containers)
	d.put(spec, "initContainers", inits)
	d.put(spec, "volumes", volumes)
	if d.one(6) {
		d.put(spec, "overhead", d.list("memory", "ephemeral-storage", "cpu"))
	}
	if d.one(5) {
		d.put(spec, "resources", d.resources("memory", "cpu", "hugepages-2Mi", "ephemeral-storage"))
	}
	switch d.Intn(8) {
	case 0:
		spec["priority"] = nil
	case 1:
		spec["priority"] = 2000000000 - d.Intn(2) + d.Intn(2)*1000
	case 2:
		spec["priority"] = -1 << 31
	case 3, 4, 5:
		spec["priority"] = d.Intn(3)*1000 - 1000
	}
	if d.one(2) {
		d.put(spec, "terminationGracePeriodSeconds", d.Intn(4)*20-5)
	}
	if d.one(4) {
		toleration := object{
			"key": d.of("node.kubernetes.io/memory-pressure", "", "node.kubernetes.io/disk-pressure"), "operator": d.of("Exists", "Equal", "", "Gt", "Lt"),
			"effect": d.of("NoSchedule", "NoExecute", ""), "value": d.of("", "", "5"),
		}
		d.put(spec, "tolerations", []any{toleration})
	}
	status := object{"phase": "Running"}
	if !d.one(4) {
		status["qosClass"] = d.of("BestEffort", "Burstable", "Guaranteed", "")
	}
	pod := object{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
	d.put(pod, "status", status)
	return pod
}
