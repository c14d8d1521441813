package ends

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/kubelet/qos"
	"plimsoll.dev/node-bundle/nodelifecycle"
	"plimsoll.dev/node-bundle/scheduler"
	"plimsoll.dev/node-bundle/tainteviction"
)

func (d *draw) oom() object {
	pod := d.pod(0)
	spec := pod["spec"].(object)
	if containers, _ := spec["containers"].([]object); len(containers) == 0 || d.one(2) {
		// One whose containers ask for what real ones do.
		spec["containers"], spec["initContainers"] = d.asking("c", 1+d.Intn(3)), d.asking("init", d.Intn(3))
		if d.one(3) {
			spec["resources"] = object{"requests": object{"memory": d.of("100Mi", "1Gi", "3Gi", "0", "1000m")}}
		}
		pod["status"] = object{}
	}
	if d.one(4) {
		spec["priorityClassName"] = d.of("system-node-critical", "system-cluster-critical", "")
	}
	capacities := []int64{1 << 30, 4 << 30, 16e9, 8<<30 - 1, 1, 999, 1 << 40, 1<<63 - 1, 600 << 20}
	return object{"capacity": capacities[d.Intn(len(capacities))], "pod": pod}
}

func (d *draw) asking(prefix string, count int) []object {
	containers := []object{}
	for at := range count {
		container := d.container(prefix, at, prefix == "init")
		memory := d.of("0", "1", "64Mi", "512Mi", "1Gi", "1500M", "0.5", "100Mi")
		container["resources"] = object{"requests": object{"memory": memory}, "limits": object{"memory": d.of(memory, "1Gi"), "cpu": "1"}}
		containers = append(containers, container)
	}
	return containers
}

// The adjustment of each container and each init container.
func answerOom(_ *testing.T, text json.RawMessage) any {
	var given struct {
		Capacity int64
		Pod      v1.Pod
	}
	read(text, &given)
	adjustments := []int{}
	for _, container := range append(slices.Clone(given.Pod.Spec.Containers), given.Pod.Spec.InitContainers...) {
		adjustments = append(adjustments, qos.GetContainerOOMScoreAdjust(&given.Pod, &container, given.Capacity))
	}
	return adjustments
}

var rates = []float32{0.1, 0.01, 0.25, 2, 1, 0.7, 0.3333, 3, 10, 1000, 0}

func (d *draw) rate() float32 { return rates[d.Intn(len(rates))] }

func (d *draw) zones() object {
	passes := []object{}
	for range 2 + d.Intn(8) {
		pass := object{}
		for _, zone := range []string{"a", "b", "c"} {
			ready, failed := d.Intn(6), d.Intn(9)
			switch d.Intn(4) {
			case 0:
				ready = 0
			case 1:
				failed = 0
			}
			if ready+failed > 0 && !d.one(6) {
				pass[zone] = []int{ready, failed}
			}
		}
		passes = append(passes, pass)
	}
	return object{
		"rate": rates[d.Intn(4)], "secondaryRate": rates[d.Intn(4)], "threshold": []float32{0.55, 0.5, 0.6, 0.3333, 1, 0}[d.Intn(6)], "largeZone": d.Intn(10),
		"passes": passes,
	}
}

// Every way that the zones were seen to go: upstream goes through zones in the order of Go's maps, which is chance.
func answerZones(_ *testing.T, text json.RawMessage) any {
	var given struct {
		Rate, SecondaryRate, Threshold float32
		LargeZone                      int32
		Passes                         []map[string][2]int
	}
	read(text, &given)
	traces := []json.RawMessage{}
	for range 400 {
		zones := nodelifecycle.NewZones(given.Rate, given.SecondaryRate, given.Threshold, given.LargeZone)
		trace := []any{}
		for _, pass := range given.Passes {
			trace = append(trace, zones.Pass(context.Background(), pass))
		}
		told, _ := json.Marshal(trace)
		if !slices.ContainsFunc(traces, func(other json.RawMessage) bool { return string(other) == string(told) }) {
			traces = append(traces, told)
		}
	}
	slices.SortFunc(traces, func(a, b json.RawMessage) int { return slices.Compare(a, b) })
	return traces
}

func (d *draw) queue() object {
	events, at := []object{}, 0
	for range 10 + d.Intn(60) {
		at += []int{1, 3, 50, 100, 100, 100, 100, 500, 1000, 10_000}[d.Intn(10)]
		event := object{"at": at, "do": d.of("add", "add", "try", "try", "try", "try", "try", "remove", "swap", "clear")}
		switch event["do"] {
		case "add", "remove":
			event["node"] = d.of("a", "b", "c", "d", "e")
		case "swap":
			event["rate"] = d.rate()
		case "clear":
			if !d.one(4) {
				event["do"] = "try"
			}
		}
		if event["do"] == "try" && d.one(3) {
			event["again"] = []int{0, 1, 50, 700, 5000}[d.Intn(5)]
		}
		events = append(events, event)
	}
	return object{"rate": d.rate(), "events": events}
}

// For each look at the queue the nodes that had their turn; for each addition and removal whether it changed anything.
func answerQueue(t *testing.T, text json.RawMessage) any {
	var given struct {
		Rate   float32
		Events []struct {
			At       int
			Do, Node string
			Rate     float32
			Again    *int
		}
	}
	read(text, &given)
	answers := []any{}
	synctest.Test(t, func(*testing.T) {
		begin := time.Now()
		queue := scheduler.NewRateLimitedTimedQueue(flowcontrol.NewTokenBucketRateLimiter(given.Rate, scheduler.EvictionRateLimiterBurst))
		for _, event := range given.Events {
			time.Sleep(time.Until(begin.Add(time.Duration(event.At) * time.Millisecond)))
			switch event.Do {
			case "add":
				answers = append(answers, queue.Add(event.Node, ""))
			case "remove":
				answers = append(answers, queue.Remove(event.Node))
			case "clear":
				queue.Clear()
			case "swap":
				queue.SwapLimiter(event.Rate)
			case "try":
				turns := []string{}
				queue.Try(klog.Background(), func(value scheduler.TimedValue) (bool, time.Duration) {
					turns = append(turns, value.Value)
					if event.Again != nil {
						return false, time.Duration(*event.Again) * time.Millisecond
					}
					return true, 0
				})
				answers = append(answers, turns)
			}
		}
	})
	return answers
}

func (d *draw) taints() object {
	looks, at := []object{}, 0
	seconds := []int64{0, 1, 5, 30, 300, -1, 2, 60, 86399, 9223372036, 9223372037, 18446744074, 18446744080, 1 << 55, 1<<63 - 1, 1 << 40}
	taints, tolerations := []object{}, []object{}
	for range 1 + d.Intn(6) {
		if len(looks) == 0 || d.one(2) {
			taints = []object{}
			for range d.Intn(4) {
				taints = append(taints, object{"key": d.of("a", "b", ""), "value": d.of("", "", "5"), "effect": d.of("NoExecute", "NoExecute", "NoExecute", "NoSchedule")})
			}
		}
		if len(looks) == 0 || d.one(2) {
			tolerations = []object{}
			for range 1 + d.Intn(4) - d.Intn(5)/4 {
				toleration := object{
					"key": d.of("a", "b", "", "", ""), "operator": d.of("Exists", "Exists", "Exists", "Exists", "Equal", "", "Gt"),
					"effect": d.of("NoExecute", "NoExecute", "", "", "NoSchedule"), "value": d.of("", "5"),
				}
				if !d.one(4) {
					toleration["tolerationSeconds"] = seconds[d.Intn(len(seconds)-d.Intn(2)*7)]
				}
				tolerations = append(tolerations, toleration)
			}
		}
		// No two looks, and no look and the end of a toleration, fall on one moment.
		at += []int{337, 1013, 4049, 20_011, 100_003}[d.Intn(5)]
		looks = append(looks, object{"at": at, "taints": taints, "tolerations": tolerations})
	}
	return object{"looks": looks}
}

// When the pod was deleted, in milliseconds, if that was within a day of the last look.
func answerTaints(t *testing.T, text json.RawMessage) any {
	var given struct {
		Looks []struct {
			At          int
			Taints      []v1.Taint
			Tolerations []v1.Toleration
		}
	}
	read(text, &given)
	var deleted *int64
	synctest.Test(t, func(*testing.T) {
		begin := time.Now()
		node := tainteviction.NewNode(func() {
			if deleted == nil {
				at := time.Since(begin).Milliseconds()
				deleted = &at
			}
		})
		for _, look := range given.Looks {
			time.Sleep(time.Until(begin.Add(time.Duration(look.At) * time.Millisecond)))
			synctest.Wait()
			if deleted != nil {
				return
			}
			pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "pod"}, Spec: v1.PodSpec{NodeName: "node", Tolerations: look.Tolerations}}
			node.Look(context.Background(), pod, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node"}, Spec: v1.NodeSpec{Taints: look.Taints}})
			synctest.Wait()
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		node.End()
	})
	return object{"deleted": deleted}
}
