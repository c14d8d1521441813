package defaultpreemption

import (
	"context"

	v1 "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/util"
)

// handle is a scheduler whose only filter asks for memory.
type handle struct {
	fwk.Handle
	memory int64
}

func (h handle) RunFilterPluginsWithNominatedPods(_ context.Context, _ fwk.CycleState, pod *v1.Pod, node fwk.NodeInfo) *fwk.Status {
	if node.GetRequested().GetMemory()+pod.Spec.Containers[0].Resources.Requests.Memory().Value() > h.memory {
		return fwk.NewStatus(fwk.Unschedulable)
	}
	return nil
}

func (handle) RunPreFilterExtensionAddPod(context.Context, fwk.CycleState, *v1.Pod, fwk.PodInfo, fwk.NodeInfo) *fwk.Status {
	return nil
}

func (handle) RunPreFilterExtensionRemovePod(context.Context, fwk.CycleState, *v1.Pod, fwk.PodInfo, fwk.NodeInfo) *fwk.Status {
	return nil
}

// SelectVictims is the default plugin's choice on a node of so much memory, and how many of them violate a budget; false if
// there is none.
func SelectVictims(ctx context.Context, pod *v1.Pod, memory int64, on []*v1.Pod, budgets []*policy.PodDisruptionBudget) ([]*v1.Pod, int, bool) {
	plugin := &DefaultPreemption{
		fh:               handle{memory: memory},
		IsEligiblePod:    func(fwk.NodeInfo, fwk.PodInfo, *v1.Pod) bool { return true },
		MoreImportantPod: util.MoreImportantPod,
	}
	node := framework.NewNodeInfo(on...)
	node.SetNode(&v1.Node{})
	victims, violating, status := plugin.SelectVictimsOnNode(ctx, framework.NewCycleState(), pod, node, budgets)
	return victims, violating, status.IsSuccess()
}
