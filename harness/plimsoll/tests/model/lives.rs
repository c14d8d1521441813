//! What becomes of pods in virtual time, in scenarios made for one rule each.

use plimsoll::model::{Assumptions, Prediction, Sequence, predict};

use crate::text::{self, certain_plan, course};

/// One node with these workloads, steps and expectations.
fn predicted(kubelet: &str, workloads: &str, steps: &str, expect: &str) -> Prediction {
    let node = format!(
        "    - {{name: worker, memory: 1Gi, nodefs: 512Mi, housekeepingInterval: 1s, kubelet: {kubelet}}}"
    );
    let text = course(&node, workloads, steps, expect);
    text::predicted(&text)
}

/// The one way in which a fact turns out.
#[track_caller]
fn always(prediction: &Prediction, fact: &str) -> String {
    let found = prediction.facts.iter().find(|own| own.fact == fact).expect("the fact");
    assert_eq!(found.alternatives.len(), 1, "{found:?}");
    found.alternatives[0].text.clone()
}

#[test]
fn a_container_over_its_own_limit_is_killed_and_started_again() {
    let prediction = predicted(
        "{evictionHard: {memory.available: 100Mi}}",
        "  - {name: web, replicas: 1, limits: {memory: 100Mi}, fill: {memory: {amount: 150Mi, rate: 20Mi/s}}}",
        "  - start: [web]\n  - wait: {for: oomKills, count: 2, within: 60s}\n  - observe: 1s",
        "    oomKills: [web]\n    evicted: []",
    );
    assert_eq!(always(&prediction, "oomKills"), "web: the container's limit");
    assert!(prediction.findings.iter().all(|finding| finding.held == 25), "{:?}", prediction.findings);
}

#[test]
fn a_guaranteed_pod_outlives_a_best_effort_one_when_the_kernel_kills() {
    let prediction = predicted(
        "{evictionHard: {memory.available: 1Mi}, enforceNodeAllocatable: []}",
        "  - {name: safe, requests: {cpu: 100m, memory: 500Mi}, limits: {cpu: 100m, memory: 500Mi}, fill: {memory: {amount: 450Mi}}}\n  - {name: racer, fill: {memory: {amount: 2Gi, rate: 400Mi/s}}}",
        "  - start: [safe]\n  - wait: {for: Filled, within: 30s}\n  - start: [racer]\n  - wait: {for: oomKills, within: 30s}\n  - observe: 3s",
        "    oomKills: [racer]\n    survive: [safe]",
    );
    assert_eq!(always(&prediction, "oomKills"), "racer: the node's memory");
    assert_eq!(prediction.findings[1].held, 25, "{:?}", prediction.findings);
}

#[test]
fn a_pod_that_does_not_fit_waits_and_its_wait_times_out() {
    let prediction = predicted(
        "{evictionHard: {memory.available: 100Mi}}",
        "  - {name: one, requests: {memory: 600Mi}, fill: {memory: {amount: 10Mi}}}\n  - {name: huge, requests: {memory: 600Mi}, fill: {memory: {amount: 10Mi}}}",
        "  - start: [one]\n  - wait: {for: Running, within: 20s}\n  - start: [huge]\n  - wait: {for: Running, pods: [huge], within: 20s}",
        "    evicted: []",
    );
    assert_eq!(always(&prediction, "ends"), "huge: pending; one: running");
    let step = prediction.findings.iter().find(|finding| finding.key == "step").expect("a step's finding");
    assert_eq!(step.unknown, 25, "{step:?}");
}

#[test]
fn pods_go_until_the_minimum_reclaim_is_reached() {
    let workloads = "  - {name: first, fill: {memory: {amount: 200Mi}}}\n  - {name: second, priority: 10, fill: {memory: {amount: 200Mi}}}\n  - {name: third, priority: 20, fill: {memory: {amount: 200Mi}}}";
    let evicted = |reclaim: &str| {
        let kubelet = format!(
            "{{evictionHard: {{memory.available: 450Mi}}, evictionMinimumReclaim: {{memory.available: {reclaim}}}, enforceNodeAllocatable: []}}"
        );
        let prediction = predicted(
            &kubelet,
            workloads,
            "  - start: [first, second, third]\n  - observe: 40s",
            "    evicted: [first]",
        );
        let sequence = &prediction.sequences[0];
        sequence.departures.iter().map(|own| own.what.clone()).collect::<Vec<_>>()
    };
    assert_eq!(evicted("1Mi"), ["first evicted for memory"]);
    assert_eq!(evicted("200Mi"), ["first evicted for memory", "second evicted for memory"]);
}

/// A pod that has just ended is a running one to the kubelet for a second or two, and without statistics it is the first to go.
#[test]
fn who_has_just_ended_by_itself_is_evicted_before_who_is_over_its_request() {
    let node = "    - {name: worker, memory: 1Gi, nodefs: 512Mi, housekeepingInterval: 1s, kubelet: {evictionHard: {memory.available: 300Mi}}}";
    let text = course(
        node,
        "  - {name: short, restartPolicy: Never, limits: {memory: 100Mi}, fill: {memory: {amount: 150Mi, rate: 10Mi/s}}}\n  - {name: greedy, fill: {memory: {amount: 800Mi}}}",
        "  - start: [short]\n  - wait: {for: Running, within: 30s}\n  - observe: 8s\n  - start: [greedy]\n  - wait: {for: oomKills, within: 30s}\n  - observe: 15s",
        "    oomKills: [short]",
    );
    let prediction = predict(&certain_plan(&text), &Assumptions::default(), 200).expect("a prediction");
    let evicted = |own: &Sequence| {
        let what = own.departures.iter().map(|own| own.what.clone());
        what.filter(|what| what.ends_with("evicted for memory")).collect::<Vec<_>>()
    };
    let in_phases = |order: &[&str]| {
        prediction.sequences.iter().filter(|own| evicted(own) == order).map(|own| own.phases).sum::<u32>()
    };
    let not_found_out = in_phases(&["short evicted for memory", "greedy evicted for memory"]);
    let found_out = in_phases(&["greedy evicted for memory"]);
    assert!(not_found_out > 0, "{:?}", prediction.sequences);
    assert!(found_out > 10 * not_found_out, "{:?}", prediction.sequences);
}

#[test]
fn a_deleted_pod_is_gone_and_its_fill_with_it() {
    let prediction = predicted(
        "{evictionHard: {memory.available: 300Mi}}",
        "  - {name: one, fill: {memory: {amount: 400Mi}}}\n  - {name: two, fill: {memory: {amount: 400Mi}}}",
        "  - start: [one]\n  - wait: {for: Filled, within: 30s}\n  - delete: [one]\n  - wait: {for: Gone, pods: [one], within: 30s}\n  - start: [two]\n  - wait: {for: Filled, pods: [two], within: 30s}\n  - observe: 22s",
        "    evicted: []\n    survive: [two]",
    );
    assert!(prediction.findings.iter().all(|finding| finding.held == 25), "{:?}", prediction.findings);
}

#[test]
fn a_stateful_set_makes_its_pod_anew_under_its_old_name() {
    let text = "apiVersion: plimsoll.dev/v1alpha1
kind: Scenario
metadata: {name: stateful}
spec:
  cluster:
    nodes: [{name: worker, memory: 1Gi, nodefs: 512Mi, kubelet: {evictionHard: {memory.available: 300Mi}, evictionPressureTransitionPeriod: 5s}}]
  manifests:
  - apiVersion: apps/v1
    kind: StatefulSet
    metadata: {name: db}
    spec:
      replicas: 1
      serviceName: db
      selector: {matchLabels: {app: db}}
      template:
        metadata: {labels: {app: db}}
        spec:
          containers:
          - {name: filler, image: docker.io/plimsoll/hog:1, imagePullPolicy: Never, args: [memory, --amount, 800Mi, --rate, 25Mi/s]}
  steps:
  - start: [db]
  - wait: {for: evictions, count: 2, within: 240s}
  expect:
    evicted: [db, db]
";
    let prediction = predict(&certain_plan(text), &Assumptions::default(), 10).expect("a prediction");
    assert_eq!(prediction.findings[0].held, 10, "{:?}", prediction.findings);
    assert!(prediction.omissions.is_empty(), "{:?}", prediction.omissions);
}

#[test]
fn a_taint_drives_out_whoever_does_not_tolerate_it_when_its_time_is_over() {
    let tolerations = |seconds: &str| {
        format!("tolerations: [{{key: maintenance, operator: Exists, effect: NoExecute{seconds}}}]")
    };
    let workloads = format!(
        "  - {{name: intolerant}}\n  - {{name: patient, {}}}\n  - {{name: tolerant, {}}}",
        tolerations(", tolerationSeconds: 20"),
        tolerations("")
    );
    let prediction = predicted(
        "{evictionHard: {memory.available: 100Mi}}",
        &workloads,
        "  - start: [intolerant, patient, tolerant]\n  - wait: {for: Ready, within: 30s}\n  - taint: {key: maintenance, effect: NoExecute}
  - wait: {for: taint, taint: maintenance, effect: NoExecute, within: 5s}\n  - wait: {for: Gone, pods: [intolerant, patient], node: worker, within: 60s}\n  - observe: 3s",
        "    ended: {intolerant: {as: DeletedByTaintManager, gone: true}, patient: {as: DeletedByTaintManager, gone: true}}
    tolerated: {intolerant: {atMost: 5s}, patient: {atLeast: 19s, atMost: 25s}, tolerant: always}\n    survive: [tolerant]\n    evicted: []",
    );
    assert!(prediction.omissions.is_empty(), "{:?}", prediction.omissions);
    assert!(prediction.findings.iter().all(|finding| finding.held == 25), "{:?}", prediction.findings);
}

#[test]
fn a_taint_that_is_taken_back_in_time_drives_out_nobody() {
    let prediction = predicted(
        "{evictionHard: {memory.available: 100Mi}}",
        "  - {name: patient, tolerations: [{key: maintenance, operator: Exists, effect: NoExecute, tolerationSeconds: 25}]}\n  - {name: late}",
        "  - start: [patient]\n  - wait: {for: Ready, within: 30s}\n  - taint: {key: maintenance, effect: NoExecute}\n  - start: [late]\n  - observe: 3s
  - untaint: {key: maintenance, effect: NoExecute}\n  - wait: {for: Running, pods: [late], within: 30s}\n  - observe: 25s",
        "    tolerated: {patient: always}\n    survive: [patient, late]",
    );
    assert!(prediction.omissions.is_empty(), "{:?}", prediction.omissions);
    assert!(prediction.findings.iter().all(|finding| finding.held == 25), "{:?}", prediction.findings);
}

#[test]
fn pods_that_failed_are_deleted_and_others_stay() {
    let prediction = predicted(
        "{evictionHard: {memory.available: 300Mi}}",
        "  - {name: greedy, fill: {memory: {amount: 720Mi, rate: 20Mi/s, startAt: 550Mi}}}\n  - {name: idler, priority: 10, fill: {memory: {amount: 10Mi}}}",
        "  - start: [greedy, idler]\n  - wait: {for: evictions, within: 60s}\n  - wait: {for: Gone, pods: [greedy], within: 15s}\n  - deletePods: {fieldSelector: status.phase=Failed}\n  - observe: 2s",
        "    evicted: [greedy]\n    ended: {greedy: {as: EvictedByKubelet, gone: true}}\n    survive: [idler]",
    );
    assert!(prediction.omissions.is_empty(), "{:?}", prediction.omissions);
    assert!(prediction.findings.iter().all(|finding| finding.held == 25), "{:?}", prediction.findings);
}
