//! Seven ends of a pod, and the plain ones, told apart.

use plimsoll::observe::Fact;
use plimsoll::verdict::{End, LocalStorageLimit, PodEnd, Preemptor, ends};
use plimsoll_node::report::OomScope;
use serde_json::{Value, json};

use crate::builder::*;

/// A run with one pod, `x`, that ran from the first second on.
fn run() -> Run {
    let mut run = Run::empty();
    run.add(1.0, running("x")).add(80.0, Fact::Finished);
    run
}

#[track_caller]
fn end_of(run: &Run) -> PodEnd {
    let all = ends(&run.timeline());
    assert_eq!(all.len(), 1, "{all:?}");
    all.into_iter().next().expect("one pod")
}

fn failed(status: Value) -> Fact {
    let mut fields = json!({"phase": "Failed"});
    fields.as_object_mut().expect("an object").extend(status.as_object().expect("an object").clone());
    pod_fact("x", json!({"status": fields}))
}

fn disrupted(reason: &str, phase: &str, deleting: bool) -> Fact {
    let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": reason, "lastTransitionTime": written(10.0)});
    let mut changes = json!({"status": {"phase": phase, "conditions": [condition]}});
    if deleting {
        changes["metadata"] = json!({"deletionTimestamp": written(10.0)});
    }
    pod_fact("x", changes)
}

/// An agent for GPU memory says `Evicted` in the kubelet's words of pods that it evicts through the API.
#[test]
fn an_event_of_an_agent_is_not_the_kubelets() {
    let text =
        "The node was low on resource: nvidia.com/gpu-memory. Threshold quantity: 2Gi, available: 1Gi. ";
    let mut said = event("x", "Evicted", text, 10.0);
    let Fact::Event(own) = &mut said else { panic!("another fact") };
    own.source = serde_json::from_value(json!({"component": "plimsoll-gpu-evictor"})).ok();
    let deleted = disrupted("EvictionByEvictionAPI", "Running", true);
    for facts in [[said.clone(), deleted.clone()], [deleted, said]] {
        let mut run = run();
        for (seconds, fact) in [10.0, 11.0].into_iter().zip(facts) {
            run.add(seconds, fact);
        }
        assert_eq!(end_of(&run).end, End::EvictedThroughApi);
    }
}

#[test]
fn evicted_by_the_kubelet_by_event_by_status_and_by_both() {
    let text = low_message();
    let by_event = (10.0, event("x", "Evicted", &text, 10.0));
    let by_status = (12.0, evicted_at("x", 12.0, &text));
    for facts in [vec![by_event.clone()], vec![by_status.clone()], vec![by_event, by_status]] {
        let mut run = run();
        let first = facts[0].0;
        for (seconds, fact) in facts {
            run.add(seconds, fact);
        }
        let end = end_of(&run);
        let End::EvictedByKubelet(eviction) = &end.end else { panic!("{end:?}") };
        assert_eq!(eviction.resource.as_deref(), Some("memory"));
        let figures = eviction.figures.as_ref().expect("figures");
        assert_eq!((figures.threshold, figures.available), (Some(400 * MI), Some(332 * MI)));
        assert_eq!(figures.consumers[0].container.as_deref(), Some("filler"));
        assert_eq!((figures.consumers[0].using, figures.consumers[0].request), (1016 * MI, 50 * MI));
        assert_eq!(end.decided.map(|decided| decided.earliest), Some(at(first)));
    }
}

#[test]
fn rejected_at_admission_has_the_same_reason_and_is_not_evicted() {
    let text = "Pod was rejected: The node had condition: [MemoryPressure]. ";
    let status = || failed(json!({"reason": "Evicted", "message": text}));
    let mut by_status = run();
    by_status.add(10.0, status());
    let mut by_event = run();
    by_event
        .add(9.9, event("x", "Evicted", "The node had condition: [MemoryPressure]. ", 9.0))
        .add(10.0, status());
    for run in [by_status, by_event] {
        assert_eq!(
            end_of(&run).end,
            End::RejectedAtAdmission { reason: "Evicted".into(), message: text.into() }
        );
    }
    let mut run = run();
    let text =
        "Pod was rejected: Node didn't have enough resource: memory, requested: 1, used: 2, capacity: 2";
    run.add(10.0, failed(json!({"reason": "OutOfmemory", "message": text})));
    assert!(matches!(end_of(&run).end, End::RejectedAtAdmission { reason, .. } if reason == "OutOfmemory"));
}

#[test]
fn oom_killed_with_the_scope_that_the_kernel_tells() {
    for scope in [OomScope::Container, OomScope::Node, OomScope::Kubepods] {
        let mut run = run();
        run.add(10.0, oom_kill(Some("x"), scope));
        run.add(10.5, failed(json!({"containerStatuses": [terminated(10.0, 137, "OOMKilled")]})));
        assert_eq!(end_of(&run).end, End::OomKilled { scope });
    }
    // Without the kernel's log the scope is not known.
    let mut quiet = run();
    quiet.add(10.5, failed(json!({"containerStatuses": [terminated(10.0, 137, "OOMKilled")]})));
    assert_eq!(end_of(&quiet).end, End::OomKilled { scope: OomScope::Unknown });
    // Without the status' word the kernel's log and SIGKILL together tell.
    let mut wordless = run();
    wordless.add(10.0, oom_kill(Some("x"), OomScope::Node));
    wordless.add(10.5, failed(json!({"containerStatuses": [terminated(10.0, 137, "Error")]})));
    assert_eq!(end_of(&wordless).end, End::OomKilled { scope: OomScope::Node });
    // SIGKILL alone is none.
    let mut killed = run();
    killed.add(10.5, failed(json!({"containerStatuses": [terminated(10.0, 137, "Error")]})));
    assert_eq!(end_of(&killed).end, End::Failed { reason: "container filler Error, exit code 137".into() });
}

#[test]
fn a_pod_that_was_started_again_after_an_oom_kill_runs() {
    let mut run = run();
    let last = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": written(10.0)}});
    run.add(10.0, oom_kill(Some("x"), OomScope::Container)).add(11.0, running_with("x", 1, last));
    let end = end_of(&run);
    assert_eq!((end.end, end.oom_kills, end.restarts), (End::Running, 1, 1));
}

#[test]
fn evicted_and_killed_in_the_same_moment_is_what_came_first() {
    // The kernel killed it, its status said so, and an event that came later does not change it.
    let mut killed_first = run();
    killed_first.add(10.0, oom_kill(Some("x"), OomScope::Node));
    killed_first.add(10.5, failed(json!({"containerStatuses": [terminated(10.0, 137, "OOMKilled")]})));
    killed_first.add(11.0, event("x", "Evicted", &low_message(), 11.0));
    assert!(matches!(end_of(&killed_first).end, End::OomKilled { .. }));
    // The kubelet had decided, and the kernel was quicker than its signal.
    let mut evicted_first = run();
    evicted_first.add(10.0, event("x", "Evicted", &low_message(), 10.0));
    evicted_first.add(10.2, oom_kill(Some("x"), OomScope::Node));
    let message = low_message();
    evicted_first.add(
        10.5,
        failed(json!({"reason": "Evicted", "message": message, "containerStatuses": [terminated(10.0, 137, "OOMKilled")]})),
    );
    let end = end_of(&evicted_first);
    assert!(matches!(end.end, End::EvictedByKubelet(_)), "{end:?}");
    assert_eq!(end.oom_kills, 1);
}

#[test]
fn disruptions_through_the_api_are_told_by_their_reason() {
    for (reason, end) in [
        ("EvictionByEvictionAPI", End::EvictedThroughApi),
        ("DeletionByTaintManager", End::DeletedByTaintManager),
        ("DeletionByDeviceTaintManager", End::DeletedByDeviceTaintManager),
        ("PreemptionByScheduler", End::Preempted { by: Preemptor::Scheduler }),
    ] {
        for deleting in [true, false] {
            let mut run = run();
            run.add(10.0, disrupted(reason, "Running", deleting)).add(12.0, deleted("x"));
            assert_eq!(end_of(&run).end, end);
        }
        // Being deleted when the run ends is an end too; the condition alone is none.
        let mut stopping = run();
        stopping.add(10.0, disrupted(reason, "Running", true));
        assert_eq!(end_of(&stopping).end, end);
        let mut refused = run();
        refused.add(10.0, disrupted(reason, "Running", false));
        assert_eq!(end_of(&refused).end, End::Running);
    }
}

#[test]
fn the_kubelet_s_own_preemption_is_no_eviction() {
    let mut run = run();
    let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"});
    let text = "Preempted in order to admit critical pod";
    run.add(10.0, failed(json!({"reason": "Preempting", "message": text, "conditions": [condition]})));
    assert_eq!(end_of(&run).end, End::Preempted { by: Preemptor::Kubelet });
}

#[test]
fn local_storage_limits_are_no_pressure() {
    for (text, limit) in [
        ("Usage of EmptyDir volume \"cache\" exceeds the limit \"100Mi\". ", LocalStorageLimit::EmptyDir),
        (
            "Pod ephemeral local storage usage exceeds the total limit of containers 100Mi. ",
            LocalStorageLimit::Pod,
        ),
        (
            "Container filler exceeded its local ephemeral storage limit \"100Mi\". ",
            LocalStorageLimit::Container,
        ),
    ] {
        let mut run = run();
        run.add(10.0, event("x", "Evicted", text, 10.0));
        run.add(11.0, failed(json!({"reason": "Evicted", "message": text})));
        assert_eq!(end_of(&run).end, End::LocalStorageLimit { limit, message: text.into() });
    }
}

#[test]
fn plain_ends() {
    let mut completed = run();
    completed.add(10.0, pod_fact("x", json!({"status": {"phase": "Succeeded"}}))).add(11.0, deleted("x"));
    assert_eq!(end_of(&completed).end, End::Completed);
    let mut shutdown = run();
    let text = "Pod was terminated in response to imminent node shutdown.";
    shutdown.add(10.0, failed(json!({"reason": "Terminated", "message": text})));
    assert_eq!(end_of(&shutdown).end, End::Failed { reason: "Terminated".into() });
    // A filler ends well on SIGTERM; that it was deleted is why.
    let mut removed = run();
    removed.add(
        10.0,
        pod_fact(
            "x",
            json!({"metadata": {"deletionTimestamp": written(10.0)}, "status": {"phase": "Running"}}),
        ),
    );
    removed.add(
        10.5,
        pod_fact(
            "x",
            json!({"metadata": {"deletionTimestamp": written(10.0)}, "status": {"phase": "Succeeded"}}),
        ),
    );
    removed.add(11.0, deleted("x"));
    assert_eq!(end_of(&removed).end, End::Deleted);
    assert_eq!(end_of(&run()).end, End::Running);
    let mut waiting = Run::empty();
    waiting.add(1.0, pod_fact("x", json!({})));
    assert!(matches!(end_of(&waiting).end, End::Pending { .. }));
}

#[test]
fn what_is_cleaned_up_after_the_run_is_no_end() {
    let mut run = run();
    run.add(81.0, deleted("x"));
    assert_eq!(end_of(&run).end, End::Running);
}

#[test]
fn an_evicted_pod_that_is_deleted_later_was_evicted() {
    let mut run = run();
    run.add(10.0, evicted_at("x", 10.0, &low_message())).add(20.0, deleted("x"));
    let end = end_of(&run);
    assert!(matches!(end.end, End::EvictedByKubelet(_)));
    assert_eq!(end.evidence.len(), 2);
}

#[test]
fn a_restart_that_the_kubelet_only_writes_down_is_none() {
    // Seen on 1.36.3: the sandbox is gone before the status is made, and a container that is not found counts as
    // started again, with an exit code of SIGKILL that nothing sent.
    let mut run = run();
    run.add(10.0, event("x", "Evicted", &low_message(), 10.0));
    run.add(
        10.4,
        failed(json!({"reason": "Evicted", "message": low_message(), "containerStatuses": [{
            "name": "filler", "restartCount": 1, "image": "", "imageID": "", "ready": false,
            "state": {"waiting": {"reason": "ContainerCreating"}},
            "lastState": {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}},
        }]})),
    );
    let end = end_of(&run);
    assert!(matches!(end.end, End::EvictedByKubelet(_)));
    assert_eq!((end.restarts, end.oom_kills), (0, 0));
}
