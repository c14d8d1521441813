package preemption

import (
	"k8s.io/klog/v2"
	extenderv1 "k8s.io/kube-scheduler/extender/v1"
)

// PickOneNode is the default choice of a node.
func PickOneNode(victims map[string]*extenderv1.Victims) string {
	return pickOneNodeForPreemption(klog.Background(), victims, nil)
}
