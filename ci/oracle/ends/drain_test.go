package ends

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apps "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	appsclient "k8s.io/client-go/kubernetes/typed/apps/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/kubectl/pkg/drain"
)

func (d *draw) drain() object {
	flags := object{"force": d.one(2), "ignoreDaemonSets": d.one(2), "deleteEmptyDirData": d.one(2), "skipDeletedAfterSeconds": []int{0, 0, 10}[d.Intn(3)]}
	pod := object{
		"phase":      d.of("Pending", "Running", "Running", "Succeeded", "Failed"),
		"controller": d.of("", "DaemonSet", "MissingDaemonSet", "ReplicaSet"),
		"mirror":     d.one(6), "emptyDir": d.one(2), "deletingForSeconds": nil,
	}
	if d.one(3) {
		pod["deletingForSeconds"] = []int{0, 9, 10, 11, 300}[d.Intn(5)]
	}
	return object{"flags": flags, "pod": pod}
}

// cluster is an API server with one pod, and perhaps with the DaemonSet of it.
type cluster struct {
	kubernetes.Interface
	pod     v1.Pod
	missing bool
}

func (c cluster) CoreV1() coreclient.CoreV1Interface { return core{cluster: c} }
func (c cluster) AppsV1() appsclient.AppsV1Interface { return workloads{cluster: c} }

type core struct {
	coreclient.CoreV1Interface
	cluster cluster
}

func (c core) Pods(string) coreclient.PodInterface { return pods{cluster: c.cluster} }

type pods struct {
	coreclient.PodInterface
	cluster cluster
}

func (p pods) List(context.Context, metav1.ListOptions) (*v1.PodList, error) {
	return &v1.PodList{Items: []v1.Pod{p.cluster.pod}}, nil
}

type workloads struct {
	appsclient.AppsV1Interface
	cluster cluster
}

func (w workloads) DaemonSets(string) appsclient.DaemonSetInterface {
	return daemonSets{cluster: w.cluster}
}

type daemonSets struct {
	appsclient.DaemonSetInterface
	cluster cluster
}

func (d daemonSets) Get(_ context.Context, name string, _ metav1.GetOptions) (*apps.DaemonSet, error) {
	if d.cluster.missing {
		return nil, apierrors.NewNotFound(apps.Resource("daemonsets"), name)
	}
	return &apps.DaemonSet{}, nil
}

// Whether kubectl's drain takes the pod, leaves it or refuses to go on, and what it says of that.
func answerDrain(t *testing.T, text json.RawMessage) any {
	var given struct {
		Flags struct {
			Force, IgnoreDaemonSets, DeleteEmptyDirData bool
			SkipDeletedAfterSeconds                     int
		}
		Pod struct {
			Phase              v1.PodPhase
			Controller         string
			Mirror, EmptyDir   bool
			DeletingForSeconds *int
		}
	}
	read(text, &given)
	var answer string
	synctest.Test(t, func(*testing.T) {
		pod := v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "pod", Annotations: map[string]string{}}}
		pod.Status.Phase = given.Pod.Phase
		if given.Pod.Controller != "" {
			isController := true
			owner := metav1.OwnerReference{APIVersion: "apps/v1", Kind: strings.TrimPrefix(given.Pod.Controller, "Missing"), Name: "owner", Controller: &isController}
			pod.OwnerReferences = append(pod.OwnerReferences, owner)
		}
		if given.Pod.Mirror {
			pod.Annotations[v1.MirrorPodAnnotationKey] = "yes"
		}
		if given.Pod.EmptyDir {
			pod.Spec.Volumes = []v1.Volume{{VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}}}
		}
		if given.Pod.DeletingForSeconds != nil {
			// Its whole seconds are counted.
			deleted := metav1.NewTime(time.Now().Add(-time.Duration(*given.Pod.DeletingForSeconds)*time.Second - time.Millisecond))
			pod.DeletionTimestamp = &deleted
		}
		helper := drain.Helper{
			Ctx: context.Background(), Client: cluster{pod: pod, missing: given.Pod.Controller == "MissingDaemonSet"},
			Force: given.Flags.Force, IgnoreAllDaemonSets: given.Flags.IgnoreDaemonSets, DeleteEmptyDirData: given.Flags.DeleteEmptyDirData,
			SkipWaitForDeleteTimeoutSeconds: given.Flags.SkipDeletedAfterSeconds,
		}
		list, errors := helper.GetPodsForDeletion("node")
		said := list.Warnings()
		switch {
		case len(errors) > 0:
			answer, said = "refuses", strings.TrimPrefix(errors[0].Error(), "cannot delete ")
		case len(list.Pods()) > 0:
			answer = "takes"
		default:
			answer = "leaves"
		}
		if said != "" {
			answer += ": " + strings.TrimSuffix(said, ": default/pod")
		}
	})
	return answer
}
