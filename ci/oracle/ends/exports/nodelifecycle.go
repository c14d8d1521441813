package nodelifecycle

import (
	"context"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	nodetopology "k8s.io/component-helpers/node/topology"
	"k8s.io/klog/v2"
	"plimsoll.dev/node-bundle/scheduler"
)

// Zones is a node controller that knows of zones and of nothing else.
type Zones struct{ controller *Controller }

// NewZones has the flags of kube-controller-manager that zones go by.
func NewZones(rate, secondary, threshold float32, large int32) *Zones {
	controller := &Controller{
		now:                         metav1.Now,
		nodeHealthMap:               newNodeHealthMap(),
		zoneNoExecuteTainter:        map[string]*scheduler.RateLimitedTimedQueue{},
		zoneStates:                  map[string]ZoneState{},
		evictionLimiterQPS:          rate,
		secondaryEvictionLimiterQPS: secondary,
		largeClusterThreshold:       large,
		unhealthyZoneThreshold:      threshold,
	}
	controller.enterPartialDisruptionFunc = controller.ReducedQPSFunc
	controller.enterFullDisruptionFunc = controller.HealthyQPSFunc
	controller.computeZoneStateFunc = controller.ComputeZoneState
	return &Zones{controller}
}

// Pass does what monitorNodeHealth does of zones: each zone's nodes, ready and not. It returns the state and the rate of each zone.
func (z *Zones) Pass(ctx context.Context, health map[string][2]int) map[string][2]any {
	conditions, keys := map[string][]*v1.NodeCondition{}, map[string]string{}
	for _, zone := range slices.Sorted(maps.Keys(health)) {
		node := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: zone, Labels: map[string]string{v1.LabelTopologyZone: zone}}}
		key := nodetopology.GetZoneKey(node)
		keys[zone] = key
		z.controller.addPodEvictorForNewZone(klog.FromContext(ctx), node)
		for range health[zone][0] {
			conditions[key] = append(conditions[key], &v1.NodeCondition{Status: v1.ConditionTrue})
		}
		for range health[zone][1] {
			conditions[key] = append(conditions[key], &v1.NodeCondition{Status: v1.ConditionUnknown})
		}
	}
	z.controller.handleDisruption(ctx, conditions, nil)
	zones := map[string][2]any{}
	for zone, key := range keys {
		zones[zone] = [2]any{string(z.controller.zoneStates[key]), z.controller.zoneNoExecuteTainter[key].Rate()}
	}
	return zones
}
