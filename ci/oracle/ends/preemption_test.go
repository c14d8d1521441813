package ends

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	extenderv1 "k8s.io/kube-scheduler/extender/v1"
	"plimsoll.dev/node-bundle/defaultpreemption"
	"plimsoll.dev/node-bundle/preemption"
)

// candidate is a pod as a case has it. It started so many seconds after 1970, if it did; Memory is what it requests.
type candidate struct {
	Priority int32  `json:"priority"`
	Started  *int64 `json:"started"`
	Memory   int64  `json:"memory"`
	Budgets  []int  `json:"budgets"`
}

// pod has a label for each budget that covers it.
func (c candidate) pod(at int) *v1.Pod {
	labels := map[string]string{}
	for _, budget := range c.Budgets {
		labels[fmt.Sprint("budget-", budget)] = "yes"
	}
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprint(at), UID: types.UID(fmt.Sprint(at)), Labels: labels},
		Spec: v1.PodSpec{Priority: &c.Priority, Containers: []v1.Container{{
			Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceMemory: *resource.NewQuantity(c.Memory, resource.BinarySI)}},
		}}},
	}
	if c.Started != nil {
		started := metav1.Unix(*c.Started, 0)
		pod.Status.StartTime = &started
	}
	return pod
}

func (d *draw) candidate(budgets int) candidate {
	one := candidate{Priority: []int32{0, 0, 1, 2, -1, -1 << 31, 1000, 1_999_999_999, 1<<31 - 1}[d.Intn(9)], Memory: int64(d.Intn(4)), Budgets: []int{}}
	if !d.one(5) {
		started := int64(900_000_000 + d.Intn(4))
		one.Started = &started
	}
	for budget := range budgets {
		if d.one(2) {
			one.Budgets = append(one.Budgets, budget)
		}
	}
	return one
}

func (d *draw) victims() object {
	allowed, pods, sum := []int32{}, []candidate{}, int64(0)
	for range d.Intn(3) {
		allowed = append(allowed, int32(d.Intn(3)))
	}
	for range d.Intn(7) {
		one := d.candidate(len(allowed))
		if len(pods) > 0 && d.one(2) {
			// As important as another.
			one.Priority, one.Started = pods[d.Intn(len(pods))].Priority, pods[len(pods)-1].Started
		}
		pods = append(pods, one)
		sum += pods[len(pods)-1].Memory
	}
	// The room and what the pod wants, so that it seldom fits.
	return object{"priority": []int32{0, 1, 2, 3, 2000, 2_000_000_000}[d.Intn(6)], "wants": 1 + d.Intn(3), "room": d.Int63n(sum + 3), "allowed": allowed, "pods": pods}
}

// Every choice that was seen: victims by index, the most important first, and how many violate a budget; null if there is none. Which of equals
// goes first is that of the node's list.
func answerVictims(t *testing.T, text json.RawMessage) any {
	var given struct {
		Priority    int32
		Wants, Room int64
		Allowed     []int32
		Pods        []candidate
	}
	read(text, &given)
	budgets := []*policy.PodDisruptionBudget{}
	for at, allowed := range given.Allowed {
		budgets = append(budgets, &policy.PodDisruptionBudget{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default"},
			Spec:       policy.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{fmt.Sprint("budget-", at): "yes"}}},
			Status:     policy.PodDisruptionBudgetStatus{DisruptionsAllowed: allowed},
		})
	}
	choices := map[string]any{}
	// Nobody's start is told by the clock, so it must stand still.
	synctest.Test(t, func(*testing.T) {
		pods := []*v1.Pod{}
		for at, one := range given.Pods {
			pods = append(pods, one.pod(at))
		}
		chance := rand.New(rand.NewSource(1))
		for range 400 {
			chance.Shuffle(len(pods), func(a, b int) { pods[a], pods[b] = pods[b], pods[a] })
			preemptor := candidate{Priority: given.Priority, Memory: given.Wants}.pod(len(pods))
			victims, violating, found := defaultpreemption.SelectVictims(context.Background(), preemptor, given.Room, slices.Clone(pods), budgets)
			var choice any
			if found {
				indexes := []int{}
				for _, victim := range victims {
					index, _ := strconv.Atoi(victim.Name)
					indexes = append(indexes, index)
				}
				choice = object{"pods": indexes, "budgetViolations": violating}
			}
			told, _ := json.Marshal(choice)
			choices[string(told)] = choice
		}
	})
	return inOrder(choices)
}

func inOrder(seen map[string]any) []any {
	keys, values := []string{}, []any{}
	for key := range seen {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		values = append(values, seen[key])
	}
	return values
}

func (d *draw) nodes() object {
	nodes := []object{}
	for range d.Intn(6) {
		pods := []candidate{}
		for range 1 + d.Intn(3) {
			pods = append(pods, d.candidate(0))
		}
		if d.one(3) && len(nodes) > 0 {
			pods = slices.Clone(nodes[len(nodes)-1]["pods"].([]candidate))
		}
		slices.SortStableFunc(pods, func(a, b candidate) int { return int(int64(b.Priority) - int64(a.Priority)) })
		nodes = append(nodes, object{"budgetViolations": d.Intn(5) / 4, "pods": pods})
	}
	return object{"nodes": nodes}
}

// Every node that was seen to be taken, by index.
func answerNodes(t *testing.T, text json.RawMessage) any {
	var given struct {
		Nodes []struct {
			BudgetViolations int64
			Pods             []candidate
		}
	}
	read(text, &given)
	picked := []int{}
	synctest.Test(t, func(*testing.T) {
		time.Sleep(time.Second)
		victims := map[string]*extenderv1.Victims{}
		for at, node := range given.Nodes {
			pods := []*v1.Pod{}
			for at, one := range node.Pods {
				pods = append(pods, one.pod(at))
			}
			victims[fmt.Sprint(at)] = &extenderv1.Victims{Pods: pods, NumPDBViolations: node.BudgetViolations}
		}
		for range 200 {
			node, err := strconv.Atoi(preemption.PickOneNode(victims))
			if err == nil && !slices.Contains(picked, node) {
				picked = append(picked, node)
			}
		}
	})
	slices.Sort(picked)
	return picked
}
