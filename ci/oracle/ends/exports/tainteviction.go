package tainteviction

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

// Node is the taint eviction controller with one node and one pod on it.
type Node struct {
	controller *Controller
	nodes      cache.Indexer
	pod        *v1.Pod
}

// NewNode calls deleted instead of deleting the pod.
func NewNode(deleted func()) *Node {
	node := &Node{nodes: cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{})}
	node.controller = &Controller{
		nodeLister:            corelisters.NewNodeLister(node.nodes),
		getPodsAssignedToNode: func(string) ([]*v1.Pod, error) { return []*v1.Pod{node.pod}, nil },
		taintedNodes:          map[string][]v1.Taint{},
		taintEvictionQueue: CreateWorkerQueue(func(context.Context, time.Time, *WorkArgs) error {
			deleted()
			return nil
		}),
	}
	return node
}

// Look is one look at the node and its pod.
func (n *Node) Look(ctx context.Context, pod *v1.Pod, node *v1.Node) {
	n.pod = pod
	_ = n.nodes.Add(node)
	n.controller.handleNodeUpdate(ctx, nodeUpdateItem{node.Name})
}

// End cancels what is still to come.
func (n *Node) End() { n.controller.taintEvictionQueue.CancelAndWait() }
