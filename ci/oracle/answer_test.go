// Answers cases with the kubelet's own eviction code. `run` puts this file beside that of k8s.io/kubernetes/pkg/kubelet/eviction, since
// what is asked is not exported. Every figure comes from a call into it.
package eviction

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
	v1resource "k8s.io/kubernetes/pkg/api/v1/resource"
	v1qos "k8s.io/kubernetes/pkg/apis/core/v1/helper/qos"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	kubeletscheme "k8s.io/kubernetes/pkg/kubelet/apis/config/scheme"
	evictionapi "k8s.io/kubernetes/pkg/kubelet/eviction/api"
	"k8s.io/kubernetes/pkg/kubelet/kubeletconfig/util/codec"
	"k8s.io/kubernetes/pkg/kubelet/lifecycle"
	kubelettypes "k8s.io/kubernetes/pkg/kubelet/types"
	testingclock "k8s.io/utils/clock/testing"
)

const version = "v1.36.3"

// How often a script is run to see where chance takes it, and how many runs in a row, for each trace that was seen, must
// bring nothing new.
const mostRuns, quietRuns = 6000, 120

type object = map[string]any

type filesystemLayout struct{ imageFs, split bool }

func (l filesystemLayout) HasDedicatedImageFs(context.Context) (bool, error)     { return l.imageFs, nil }
func (l filesystemLayout) HasDedicatedContainerFs(context.Context) (bool, error) { return l.split, nil }

var layouts = map[string]filesystemLayout{
	"single": {false, false}, "dedicatedImageFs": {true, false}, "split": {true, true},
}

// TestAnswer answers the case folders whose paths come on standard input, one a line, and writes expected.json into each.
func TestAnswer(t *testing.T) {
	klog.SetLogger(klog.New(nil))
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		folder := lines.Text()
		answer, err := answerCase(folder)
		if err == nil {
			err = writeJSON(filepath.Join(folder, "expected.json"), answer)
		}
		if err != nil {
			// A case that upstream does not survive, or that is no case, has no answer.
			fmt.Printf("%s: %v\n", folder, err)
			_ = os.RemoveAll(filepath.Join(folder, "expected.json"))
		}
	}
}

func writeJSON(path string, document any) error {
	text, err := json.Marshal(document)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

func readJSON(folder, name string, into any) error {
	text, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

func answerCase(folder string) (answer any, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("upstream panics: %v", panicked)
		}
	}()
	var description struct{ Layout string }
	var pods v1.PodList
	if err := errors.Join(readJSON(folder, "case.json", &description), readJSON(folder, "pods.json", &pods)); err != nil {
		return nil, err
	}
	layout, known := layouts[description.Layout]
	if !known {
		return nil, fmt.Errorf("no layout %q", description.Layout)
	}
	configuration, err := readConfiguration(folder)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(folder, "ticks.json")); err == nil {
		var script script
		if err := readJSON(folder, "ticks.json", &script); err != nil {
			return nil, err
		}
		return answerScript(pods.Items, script, configuration, layout), nil
	}
	var summary statsapi.Summary
	if err := readJSON(folder, "summary.json", &summary); err != nil {
		return nil, err
	}
	return answerLook(pods.Items, summary, configuration, layout), nil
}

// As cmd/kubelet/app loads its file: decoded and defaulted by its codec, then the hard thresholds of the platform.
func readConfiguration(folder string) (*kubeletconfig.KubeletConfiguration, error) {
	text, err := os.ReadFile(filepath.Join(folder, "kubelet.yaml"))
	if err != nil {
		return nil, err
	}
	_, codecs, err := kubeletscheme.NewSchemeAndCodecs()
	if err != nil {
		return nil, err
	}
	configuration, err := codec.DecodeKubeletConfiguration(context.Background(), codecs, text)
	if err != nil {
		return nil, err
	}
	if configuration.EvictionHard == nil {
		configuration.EvictionHard = DefaultEvictionHard
	} else if configuration.MergeDefaultEvictionSettings {
		for signal, value := range DefaultEvictionHard {
			if _, exists := configuration.EvictionHard[signal]; !exists {
				configuration.EvictionHard[signal] = value
			}
		}
	}
	return configuration, nil
}

func parse(c *kubeletconfig.KubeletConfiguration) ([]evictionapi.Threshold, error) {
	return ParseThresholdConfig(c.EnforceNodeAllocatable, c.EvictionHard, c.EvictionSoft, c.EvictionSoftGracePeriod, c.EvictionMinimumReclaim)
}

func exact(quantity resource.Quantity) string {
	text := quantity.AsDec().String()
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

func value(v evictionapi.ThresholdValue) object {
	if v.Quantity != nil {
		// Printing comes first: AsDec changes what is printed.
		return object{"quantity": v.Quantity.String(), "exact": exact(v.Quantity.DeepCopy())}
	}
	return object{"percentage": v.Percentage}
}

func thresholdAnswer(threshold evictionapi.Threshold, observations signalObservations) object {
	answer := object{
		"signal": threshold.Signal, "operator": threshold.Operator,
		"value": value(threshold.Value), "gracePeriod": threshold.GracePeriod.String(),
	}
	if threshold.MinReclaim != nil {
		answer["minReclaim"] = value(*threshold.MinReclaim)
	}
	if observed, found := observations[threshold.Signal]; found {
		one := []evictionapi.Threshold{threshold}
		answer["resolved"] = exact(evictionapi.GetThresholdQuantity(threshold.Value, observed.capacity).DeepCopy())
		answer["met"] = len(thresholdsMet(klog.Background(), one, observations, false)) > 0
		answer["metWithMinReclaim"] = len(thresholdsMet(klog.Background(), one, observations, true)) > 0
	}
	return answer
}

func signals(thresholds []evictionapi.Threshold) []string {
	names := []string{}
	for _, threshold := range thresholds {
		if !slices.Contains(names, string(threshold.Signal)) {
			names = append(names, string(threshold.Signal))
		}
	}
	sort.Strings(names)
	return names
}

func fullName(pod *v1.Pod) string { return pod.Namespace + "/" + pod.Name }

// Upstream's order as groups of equals: two pods are equal if ranking the two leaves either order as it was.
func groups(pods []*v1.Pod, rank rankFunc, stats statsFunc) [][]*v1.Pod {
	ordered := slices.Clone(pods)
	rank(ordered, stats)
	groups := [][]*v1.Pod{}
	for at, pod := range ordered {
		if at > 0 {
			last := groups[len(groups)-1]
			two := []*v1.Pod{pod, last[0]}
			if rank(two, stats); two[0] == pod {
				groups[len(groups)-1] = append(last, pod)
				continue
			}
		}
		groups = append(groups, []*v1.Pod{pod})
	}
	return groups
}

func evictable(pod *v1.Pod) object {
	reason := ""
	switch {
	case !kubelettypes.IsCriticalPod(pod):
		return object{"evictable": true}
	case kubelettypes.IsStaticPod(pod):
		reason = "static"
	case kubelettypes.IsMirrorPod(pod):
		reason = "mirror"
	default:
		reason = "priority"
	}
	return object{"evictable": false, "reason": reason}
}

func answerLook(items []v1.Pod, summary statsapi.Summary, configuration *kubeletconfig.KubeletConfiguration, layout filesystemLayout) object {
	logger := klog.Background()
	pods := make([]*v1.Pod, len(items))
	for at := range items {
		pods[at] = &items[at]
	}
	observations, stats := makeSignalObservations(logger, &summary)
	answer := object{"kubernetes": version}
	configured, err := parse(configuration)
	if err != nil {
		answer["configError"] = err.Error()
	}
	thresholds, effectiveAnswers := []object{}, []object{}
	for _, threshold := range configured {
		thresholds = append(thresholds, thresholdAnswer(threshold, nil))
	}
	effective := []evictionapi.Threshold{}
	if err == nil {
		effective, _ = UpdateContainerFsThresholds(configured, layout.imageFs, layout.split)
	}
	for _, threshold := range effective {
		effectiveAnswers = append(effectiveAnswers, thresholdAnswer(threshold, observations))
	}
	met := thresholdsMet(logger, effective, observations, false)
	conditions := []string{}
	for _, condition := range nodeConditions(met) {
		conditions = append(conditions, string(condition))
	}
	sort.Strings(conditions)
	observed := object{}
	for signal, observation := range observations {
		one := object{"available": observation.available.Value(), "capacity": observation.capacity.Value()}
		if !observation.time.IsZero() {
			one["time"] = observation.time
		}
		observed[string(signal)] = one
	}

	byStats := buildSignalToRankFunc(layout.imageFs, layout.split)
	ranks, messages := object{}, []object{}
	for name, signal := range map[string]evictionapi.Signal{
		"memory": evictionapi.SignalMemoryAvailable, "pids": evictionapi.SignalPIDAvailable,
		"disk-nodefs": evictionapi.SignalNodeFsAvailable, "inodes-nodefs": evictionapi.SignalNodeFsInodesFree,
		"disk-imagefs": evictionapi.SignalImageFsAvailable, "inodes-imagefs": evictionapi.SignalImageFsInodesFree,
		"disk-containerfs": evictionapi.SignalContainerFsAvailable, "inodes-containerfs": evictionapi.SignalContainerFsInodesFree,
	} {
		names := [][]string{}
		for _, group := range groups(pods, byStats[signal], stats) {
			one := []string{}
			for _, pod := range group {
				one = append(one, fullName(pod))
			}
			sort.Strings(one)
			names = append(names, one)
		}
		ranks[name] = names
	}
	for _, threshold := range met {
		ordered := groups(pods, byStats[threshold.Signal], stats)
		told := []*v1.Pod{}
		for at, group := range ordered {
			free := slices.ContainsFunc(group, func(pod *v1.Pod) bool { return !kubelettypes.IsCriticalPod(pod) })
			if at == 0 || free {
				told = append(told, group...)
			}
			if free {
				break
			}
		}
		for _, pod := range told {
			message, annotations := evictionMessage(signalToResource[threshold.Signal], pod, stats, []evictionapi.Threshold{threshold}, observations)
			messages = append(messages, object{
				"signal": threshold.Signal, "gracePeriod": threshold.GracePeriod.String(), "pod": fullName(pod),
				"message": message, "annotations": annotations,
			})
		}
	}

	evictables, figures := object{}, object{}
	for _, pod := range pods {
		evictables[fullName(pod)] = evictable(pod)
		figures[fullName(pod)] = podFigures(pod, stats)
	}
	answer["thresholds"], answer["effectiveThresholds"], answer["observations"] = thresholds, effectiveAnswers, observed
	answer["met"] = signals(met)
	answer["metWithMinReclaim"] = signals(thresholdsMet(logger, effective, observations, true))
	answer["conditions"], answer["rank"], answer["messages"] = conditions, ranks, messages
	answer["evictable"], answer["pods"] = evictables, figures
	return answer
}

func podFigures(pod *v1.Pod, stats statsFunc) object {
	podStats, found := stats(pod)
	usage := object{"memory": "0", "pids": "0", "ephemeral-storage": "0", "inodes": "0"}
	if found {
		disk, _ := podDiskUsage(podStats, pod, []fsStatsType{fsStatsRoot, fsStatsLogs, fsStatsLocalVolumeSource})
		usage["memory"] = exact(*memoryUsage(podStats.Memory))
		usage["pids"] = fmt.Sprint(processUsage(podStats.ProcessStats))
		usage["ephemeral-storage"] = exact(disk[v1.ResourceEphemeralStorage])
		usage["inodes"] = exact(disk[resourceInodes])
	}
	resources := object{"pids": object{"usage": usage["pids"], "request": "0"}}
	for _, name := range []v1.ResourceName{v1.ResourceMemory, v1.ResourceEphemeralStorage, resourceInodes} {
		request := v1resource.GetResourceRequestQuantity(pod, name)
		resources[string(name)] = object{"usage": usage[string(name)], "request": exact(request)}
	}
	priority := int32(0)
	if pod.Spec.Priority != nil {
		priority = *pod.Spec.Priority
	}
	return object{"qosClass": v1qos.GetPodQOS(pod), "priority": priority, "hasStats": found, "resources": resources}
}

type script struct {
	Ticks []struct {
		At                                string
		Active, KillFails                 []string
		Summary                           statsapi.Summary
		SummaryAfterReclaim               *statsapi.Summary
		ContainerGCError, ImageGCError    bool
		SummaryError, ReclaimSummaryError bool
	}
}

func answerScript(pods []v1.Pod, script script, configuration *kubeletconfig.KubeletConfiguration, layout filesystemLayout) object {
	answer := object{"kubernetes": version, "traces": []any{}}
	if _, err := parse(configuration); err != nil {
		answer["configError"] = err.Error()
		return answer
	}
	traces := map[string]object{}
	chance := rand.New(rand.NewSource(1))
	for run, quiet := 0, 0; run < mostRuns && quiet < quietRuns*(len(traces)+1); run++ {
		trace := object{"ticks": runScript(pods, script, configuration, layout, chance)}
		text, _ := json.Marshal(trace)
		quiet++
		if _, seen := traces[string(text)]; !seen {
			traces[string(text)], quiet = trace, 0
		}
	}
	inOrder := []any{}
	for _, text := range slices.Sorted(maps.Keys(traces)) {
		inOrder = append(inOrder, traces[text])
	}
	answer["traces"] = inOrder
	return answer
}

// node is what the manager is told about, and told to do to, its node during one pass.
type node struct {
	summary, after            *statsapi.Summary
	failsFirst, failsAfter    bool
	containerError            error
	imageError                error
	reclaimed                 []string
	killFails                 []string
	kills, nodeEvents, events []object
	killed                    []string
}

func (n *node) Get(context.Context, bool) (*statsapi.Summary, error) {
	if len(n.reclaimed) == 0 {
		if n.failsFirst {
			return nil, errors.New("no summary")
		}
		return n.summary, nil
	}
	if n.failsAfter {
		return nil, errors.New("no summary")
	}
	return n.after, nil
}
func (n *node) GetCPUAndMemoryStats(ctx context.Context) (*statsapi.Summary, error) {
	return n.Get(ctx, false)
}
func (n *node) DeleteUnusedImages(context.Context) error {
	n.reclaimed = append(n.reclaimed, "images")
	return n.imageError
}
func (n *node) DeleteAllUnusedContainers(context.Context) error {
	n.reclaimed = append(n.reclaimed, "containers")
	return n.containerError
}
func (n *node) Event(on runtime.Object, kind, reason, message string) {
	n.AnnotatedEventf(on, nil, kind, reason, "%s", message)
}
func (n *node) Eventf(on runtime.Object, kind, reason, format string, arguments ...any) {
	n.AnnotatedEventf(on, nil, kind, reason, format, arguments...)
}
func (n *node) AnnotatedEventf(on runtime.Object, annotations map[string]string, kind, reason, format string, arguments ...any) {
	event := object{"object": "node", "type": kind, "reason": reason, "message": fmt.Sprintf(format, arguments...)}
	if annotations != nil {
		event["annotations"] = annotations
	}
	if pod, isPod := on.(*v1.Pod); isPod {
		event["object"] = fullName(pod)
		n.events = append(n.events, event)
	} else {
		n.nodeEvents = append(n.nodeEvents, event)
	}
}
func (n *node) kill(pod *v1.Pod, _ bool, grace *int64, change func(*v1.PodStatus)) error {
	status := pod.Status.DeepCopy()
	change(status)
	kill := object{
		"pod": fullName(pod), "gracePeriodSeconds": *grace,
		"phase": status.Phase, "reason": status.Reason, "message": status.Message,
	}
	for _, condition := range status.Conditions {
		if condition.Type == v1.DisruptionTarget {
			one := object{"type": condition.Type, "status": condition.Status, "reason": condition.Reason, "message": condition.Message}
			if condition.ObservedGeneration != 0 {
				one["observedGeneration"] = condition.ObservedGeneration
			}
			kill["condition"] = one
		}
	}
	n.kills = append(n.kills, kill)
	if slices.Contains(n.killFails, fullName(pod)) {
		return errors.New("the pod does not die")
	}
	n.killed = append(n.killed, fullName(pod))
	return nil
}

func sortBy(objects []object, key string) []object {
	sort.SliceStable(objects, func(a, b int) bool { return objects[a][key].(string) < objects[b][key].(string) })
	return objects
}

func runScript(pods []v1.Pod, script script, configuration *kubeletconfig.KubeletConfiguration, layout filesystemLayout, chance *rand.Rand) []object {
	byName := map[string]*v1.Pod{}
	for at := range pods {
		byName[fullName(&pods[at])] = &pods[at]
	}
	thresholds, _ := parse(configuration)
	clock := testingclock.NewFakeClock(time.Time{})
	provider := &node{}
	made, _ := NewManager(provider, Config{
		PressureTransitionPeriod: configuration.EvictionPressureTransitionPeriod.Duration,
		MaxPodGracePeriodSeconds: int64(configuration.EvictionMaxPodGracePeriod),
		Thresholds:               thresholds,
	}, provider.kill, provider, provider, provider, &v1.ObjectReference{Kind: "Node", Name: "node", UID: types.UID("node")}, clock,
		configuration.LocalStorageCapacityIsolation)
	manager := made.(*managerImpl)

	dead := map[string]bool{}
	answers := []object{}
	for at := range script.Ticks {
		tick := &script.Ticks[at]
		now, err := time.Parse(time.RFC3339Nano, tick.At)
		if err != nil {
			panic(err)
		}
		clock.SetTime(now)
		*provider = node{
			summary: &tick.Summary, after: &tick.Summary, killFails: tick.KillFails,
			failsFirst: tick.SummaryError, failsAfter: tick.ReclaimSummaryError,
		}
		if tick.SummaryAfterReclaim != nil {
			provider.after = tick.SummaryAfterReclaim
		}
		if tick.ContainerGCError {
			provider.containerError = errors.New("no container is deleted")
		}
		if tick.ImageGCError {
			provider.imageError = errors.New("no image is deleted")
		}
		active := []*v1.Pod{}
		for _, name := range tick.Active {
			if pod := byName[name]; pod != nil && !dead[name] {
				active = append(active, pod)
			}
		}
		// Equal pods go in any order, which upstream takes from that of its list.
		chance.Shuffle(len(active), func(a, b int) { active[a], active[b] = active[b], active[a] })
		evicted, _ := manager.synchronize(context.Background(), layout, func() []*v1.Pod { return active })

		names, rejects, conditions, met := []string{}, []string{}, []string{}, []object{}
		for _, pod := range evicted {
			names = append(names, fullName(pod))
		}
		for _, name := range provider.killed {
			dead[name] = true
		}
		for at := range pods {
			if !manager.Admit(&lifecycle.PodAdmitAttributes{Pod: &pods[at]}).Admit {
				rejects = append(rejects, fullName(&pods[at]))
			}
		}
		for _, condition := range manager.nodeConditions {
			conditions = append(conditions, string(condition))
		}
		for _, threshold := range manager.thresholdsMet {
			met = append(met, object{"signal": string(threshold.Signal), "gracePeriod": threshold.GracePeriod.String()})
		}
		sort.Strings(names)
		sort.Strings(rejects)
		sort.Strings(conditions)
		sort.Slice(met, func(a, b int) bool { return fmt.Sprint(met[a]) < fmt.Sprint(met[b]) })
		answers = append(answers, object{
			"at": tick.At, "conditions": conditions, "thresholdsMet": met,
			"reclaim": append([]string{}, provider.reclaimed...), "evicted": names,
			"kills":  append([]object{}, sortBy(provider.kills, "pod")...),
			"events": append(append([]object{}, provider.nodeEvents...), sortBy(provider.events, "object")...), "rejects": rejects,
		})
	}
	return answers
}
