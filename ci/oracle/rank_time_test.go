package eviction

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
	evictionapi "k8s.io/kubernetes/pkg/kubelet/eviction/api"
)

// TestRankTime puts ORACLE_PODS pods and their statistics into the folder ORACLE_RANK and times how long upstream takes for an order of them.
// One JSON document a line, times in microseconds, each the fastest of 5 rounds.
func TestRankTime(t *testing.T) {
	folder, isSet := os.LookupEnv("ORACLE_RANK")
	if !isSet {
		t.Skip("ORACLE_RANK names no folder")
	}
	klog.SetLogger(klog.New(nil))
	count, _ := strconv.Atoi(os.Getenv("ORACLE_PODS"))
	items, all := rankedPods(count)
	for file, document := range map[string]object{"pods.json": {"items": items}, "summary.json": {"node": object{}, "pods": all}} {
		if err := writeJSON(filepath.Join(folder, file), document); err != nil {
			t.Fatal(err)
		}
	}
	var list v1.PodList
	var summary statsapi.Summary
	if err := readJSON(folder, "pods.json", &list); err != nil {
		t.Fatal(err)
	}
	if err := readJSON(folder, "summary.json", &summary); err != nil {
		t.Fatal(err)
	}
	pods := []*v1.Pod{}
	for at := range list.Items {
		pods = append(pods, &list.Items[at])
	}
	_, stats := makeSignalObservations(klog.Background(), &summary)
	bySignal := buildSignalToRankFunc(false, false)
	for _, signal := range []evictionapi.Signal{
		evictionapi.SignalMemoryAvailable, evictionapi.SignalNodeFsAvailable, evictionapi.SignalNodeFsInodesFree, evictionapi.SignalPIDAvailable,
	} {
		fastest := time.Duration(1<<63 - 1)
		for range 5 {
			calls, start := 0, time.Now()
			for time.Since(start) < 200*time.Millisecond {
				bySignal[signal](slices.Clone(pods), stats)
				calls++
			}
			fastest = min(fastest, time.Since(start)/time.Duration(calls))
		}
		line, _ := json.Marshal(object{"signal": signal, "pods": count, "rankMicroseconds": float64(fastest.Nanoseconds()) / 1000})
		fmt.Println(string(line))
	}
}

// Pods of two containers with requests of every resource, of three priorities, and statistics of them all.
func rankedPods(count int) (pods, stats []object) {
	chance := rand.New(rand.NewSource(1))
	amount := func() int64 { return chance.Int63n(1 << 31) }
	for at := range count {
		uid := fmt.Sprintf("00000000-0000-4000-8000-%012d", at)
		containers, figures := []object{}, []object{}
		for number := range 2 {
			name := fmt.Sprint("container-", number)
			requests := object{"cpu": "100m", "memory": fmt.Sprint(amount()), "ephemeral-storage": fmt.Sprint(amount())}
			containers = append(containers, object{"name": name, "resources": object{"requests": requests}})
			filesystem := func() object { return object{"usedBytes": amount(), "inodesUsed": amount()} }
			figures = append(figures, object{"name": name, "rootfs": filesystem(), "logs": filesystem()})
		}
		pods = append(pods, object{
			"metadata": object{"namespace": "default", "name": fmt.Sprint("pod-", at), "uid": uid},
			"spec":     object{"priority": chance.Intn(3), "containers": containers},
		})
		stats = append(stats, object{
			"podRef": object{"uid": uid}, "containers": figures,
			"memory": object{"workingSetBytes": amount()}, "process_stats": object{"process_count": chance.Intn(1000)},
		})
	}
	return pods, stats
}
