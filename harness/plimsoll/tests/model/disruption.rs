//! Evictions through the API, disruption budgets and drains in virtual time, in scenarios made for one rule each.

use plimsoll::model::{Assumptions, Prediction, Sequence};

use crate::text::{self, certain_plan, course, holds, only};

const PHASES: u32 = 25;

/// What is predicted of a course on these nodes, with manifests in YAML; nothing of it may be left out.
#[track_caller]
fn predicted(nodes: &[&str], workloads: &str, manifests: &str, steps: &str, expect: &str) -> Prediction {
    let mut text = course(&text::nodes(nodes), workloads, steps, expect);
    if !manifests.is_empty() {
        text += &format!("  manifests:\n{manifests}\n");
    }
    text::wholly_predicted(&text)
}

fn budget(name: &str, spec: &str) -> String {
    format!(
        "  - {{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {{name: {name}}}, spec: {{{spec}, selector: {{matchLabels: {{app: web}}}}}}}}"
    )
}

const WEB: &str = "  - {name: web, replicas: 4, labels: {app: web}, requests: {memory: 20Mi}}";
const READY: &str = "  - start: [web]\n  - wait: {for: Ready, within: 60s}\n  - observe: 2s\n";

/// How the pods of four are answered that are asked for at once under a budget: how often which code.
#[track_caller]
fn answered(spec: &str) -> (usize, usize) {
    let steps = format!("{READY}  - evict: {{pods: [web]}}\n  - observe: 1s");
    let expect = "    answered: {web: [201]}\n";
    let prediction = predicted(&["worker"], WEB, &budget("guard", spec), &steps, expect);
    let counts = |sequence: &Sequence| {
        let of = |code: &str| sequence.departures.iter().filter(|own| own.what.ends_with(code)).count();
        (of("201"), of("429"))
    };
    let first = counts(&prediction.answers[0]);
    assert!(prediction.answers.iter().all(|own| counts(own) == first), "{:?}", prediction.answers);
    first
}

#[test]
fn a_budget_lets_so_many_go_as_it_allows() {
    assert_eq!(answered("minAvailable: 3"), (1, 3));
    assert_eq!(answered("minAvailable: 50%"), (2, 2));
    assert_eq!(answered("maxUnavailable: 1"), (1, 3));
    assert_eq!(answered("maxUnavailable: 60%"), (3, 1));
    assert_eq!(answered("minAvailable: 100%"), (0, 4));
}

#[test]
fn a_budget_counts_the_pods_that_it_selects_and_no_others() {
    let workloads = "  - {name: web, labels: {app: other}}";
    let steps = format!("{READY}  - evict: {{pods: [web]}}\n  - observe: 10s");
    let expect = "    answered: {web: [201]}\n    ended: {web: {as: EvictedThroughApi, gone: true}}";
    holds(&predicted(&["worker"], workloads, &budget("guard", "minAvailable: 1"), &steps, expect));
}

#[test]
fn what_is_forbidden_is_asked_for_again_with_growing_pauses() {
    let steps = "  - start: [web]\n  - wait: {for: Ready, pods: [web], within: 60s}\n  - observe: 2s\n  - evict: {pods: [web], retryFor: 20s}\n  - observe: 1s";
    let workloads = "  - {name: web, labels: {app: web}}";
    let prediction = predicted(
        &["worker"],
        workloads,
        &budget("guard", "minAvailable: 1"),
        steps,
        "    answered: {web: [429]}\n    survive: [web]",
    );
    holds(&prediction);
    assert_eq!(only(&prediction.answers).len(), 1, "the same answer is told once");
    // The pauses grow from half a second, stretched to up to twice as long, so that between 3 and 6 requests fit.
    let plan = certain_plan(&course(
        "    - {name: worker, memory: 1Gi, nodefs: 512Mi, kubelet: {evictionHard: {memory.available: 100Mi}}}",
        workloads,
        steps,
        "    answered: {web: [429]}",
    ));
    let mut plan = plan;
    let guard = serde_json::json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "guard", "namespace": "plimsoll"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}});
    plan.objects.push(plimsoll::plan::PlannedObject { object: guard, location: Default::default() });
    let assumptions = Assumptions::default();
    let prepared = plimsoll::model::Prepared::new(&plan).expect("a plan");
    for phase in 0..PHASES {
        let timeline =
            plimsoll::model::timeline(&plan, &prepared, &assumptions, &assumptions.phase(phase, PHASES));
        let asked: Vec<jiff::Timestamp> = timeline
            .observations
            .iter()
            .filter(|own| matches!(own.fact, plimsoll::observe::Fact::Answer(_)))
            .map(|own| own.at)
            .collect();
        let pauses: Vec<f64> =
            asked.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_secs_f64()).collect();
        assert!((3..=6).contains(&asked.len()), "{asked:?}");
        for (pause, least) in pauses.iter().zip([0.5, 1.0, 2.0, 4.0, 8.0]) {
            assert!((least..=2.0 * least + 0.1).contains(pause), "{pauses:?}");
        }
    }
}

#[test]
fn a_pod_goes_when_another_is_ready_in_its_place() {
    let workloads = "  - {name: guarded, labels: {app: web}}\n  - {name: spare, labels: {app: web}}";
    let steps = "  - start: [guarded]\n  - wait: {for: Ready, within: 60s}\n  - observe: 2s\n  - start: [spare]\n  - evict: {pods: [guarded], retryFor: 60s}\n  - wait: {for: Gone, pods: [guarded], node: worker, within: 30s}";
    let expect = "    answered: {guarded: [429, 201]}\n    ended: {guarded: {as: EvictedThroughApi, gone: true}}\n    survive: [spare]";
    holds(&predicted(&["worker"], workloads, &budget("guard", "minAvailable: 1"), steps, expect));
}

#[test]
fn a_refusal_that_the_scenario_does_not_tell_ends_it() {
    let steps = format!("{READY}  - evict: {{pods: [web]}}\n  - observe: 1s");
    let workloads = "  - {name: web, labels: {app: web}}";
    let manifests = budget("guard", "minAvailable: 1");
    let prediction = predicted(&["worker"], workloads, &manifests, &steps, "    survive: [web]");
    let step = prediction.findings.iter().find(|own| own.key == "step").expect("a step's finding");
    let because = step.because.as_deref().unwrap_or_default();
    assert!(because.contains("web was not evicted: 429 Cannot evict pod"), "{because}");
}

#[test]
fn two_budgets_are_an_error_and_a_pod_that_is_gone_is_not_found() {
    let workloads = "  - {name: web, labels: {app: web}}\n  - {name: other}";
    let manifests =
        format!("{}\n{}", budget("first", "minAvailable: 0"), budget("second", "minAvailable: 0"));
    let steps = "  - start: [web, other]\n  - wait: {for: Ready, within: 60s}\n  - evict: {pods: [web]}\n  - delete: [other]\n  - wait: {for: Gone, pods: [other], node: worker, within: 30s}\n  - evict: {pods: [other]}";
    let expect = "    answered: {web: [500], other: [404]}\n    survive: [web]";
    holds(&predicted(&["worker"], workloads, &manifests, steps, expect));
}

#[test]
fn a_dry_run_uses_nothing_up() {
    let steps = format!(
        "{READY}  - evict: {{pods: [web], dryRun: true}}\n  - evict: {{pods: [web]}}\n  - observe: 10s"
    );
    let workloads = "  - {name: web, labels: {app: web}}\n  - {name: spare, labels: {app: web}}";
    let steps = steps.replace("start: [web]", "start: [web, spare]");
    let expect = "    answered: {web: [201]}\n    ended: {web: {as: EvictedThroughApi, gone: true}}\n    survive: [spare]";
    let prediction = predicted(&["worker"], workloads, &budget("guard", "minAvailable: 1"), &steps, expect);
    holds(&prediction);
    let said: Vec<&str> = only(&prediction.answers).into_iter().map(|(what, ..)| what).collect();
    assert_eq!(said, ["web: a dry run's eviction answered with 201"], "the same code is told once");
}

#[test]
fn grace_is_the_requests_own_or_the_pods() {
    let workloads = "  - {name: hurried, terminationGracePeriodSeconds: 60, shutdownDelay: 120s}\n  - {name: patient, terminationGracePeriodSeconds: 30, shutdownDelay: 120s}\n  - {name: obedient, terminationGracePeriodSeconds: 60, shutdownDelay: 5s}";
    let steps = "  - start: [hurried, patient, obedient]\n  - wait: {for: Running, within: 60s}\n  - evict: {pods: [hurried], gracePeriodSeconds: 2}\n  - evict: {pods: [patient, obedient]}\n  - wait: {for: Gone, pods: [hurried, patient, obedient], node: worker, within: 60s}";
    let expect = "    terminated: {hurried: {atLeast: 1s, atMost: 5s}, patient: {atLeast: 29s, atMost: 33s}, obedient: {atLeast: 4s, atMost: 8s}}";
    let prediction = predicted(&["worker"], workloads, "", steps, expect);
    holds(&prediction);
    let gone: Vec<&str> = only(&prediction.gone).into_iter().map(|(what, ..)| what).collect();
    assert_eq!(gone, ["hurried gone", "obedient gone", "patient gone"]);
}

#[test]
fn a_second_request_may_give_a_pod_less_time_and_not_more() {
    let workloads = "  - {name: web, terminationGracePeriodSeconds: 40, shutdownDelay: 120s}";
    let going = |second: u32| {
        let steps = format!(
            "  - start: [web]\n  - wait: {{for: Running, within: 60s}}\n  - evict: {{pods: [web]}}\n  - observe: 5s\n  - evict: {{pods: [web], gracePeriodSeconds: {second}}}\n  - wait: {{for: Gone, pods: [web], node: worker, within: 60s}}"
        );
        let (least, most) = if second < 40 { (7, 12) } else { (39, 44) };
        let expect = format!("    terminated: {{web: {{atLeast: {least}s, atMost: {most}s}}}}");
        predicted(&["worker"], workloads, "", &steps, &expect)
    };
    holds(&going(3));
    holds(&going(100));
}

#[test]
fn controllers_make_anew_what_was_evicted_each_in_its_time() {
    let pod = |restart: &str, args: &str| {
        format!(
            "template: {{metadata: {{labels: {{app: it}}}}, spec: {{{restart}terminationGracePeriodSeconds: 4, containers: [{{name: filler, image: \"docker.io/plimsoll/hog:1\", imagePullPolicy: Never, args: [memory, --amount, 1Mi{args}]}}]}}}}"
        )
    };
    let slow = ", --shutdown-delay, 60s";
    let manifests = format!(
        "  - {{apiVersion: apps/v1, kind: StatefulSet, metadata: {{name: database}}, spec: {{serviceName: database, selector: {{matchLabels: {{app: it}}}}, {}}}}}
  - {{apiVersion: apps/v1, kind: DaemonSet, metadata: {{name: agent}}, spec: {{selector: {{matchLabels: {{app: it}}}}, {}}}}}
  - {{apiVersion: batch/v1, kind: Job, metadata: {{name: batch}}, spec: {{parallelism: 1, {}}}}}",
        pod("", slow),
        pod("", slow),
        pod("restartPolicy: Never, ", slow)
    );
    let workloads = "  - {name: web, replicas: 1, terminationGracePeriodSeconds: 4, shutdownDelay: 60s}\n  - {name: bare}";
    let steps = "  - start: [database, agent, batch, web, bare]\n  - wait: {for: Ready, within: 60s}\n  - evict: {pods: [database, agent, batch, web, bare]}\n  - wait: {for: Terminating, within: 30s}\n  - wait: {for: Gone, pods: [bare], node: worker, within: 30s}\n  - wait: {for: Running, pods: [database, agent, batch, web], within: 60s}\n  - observe: 3s";
    let expect = "    ended: {batch: {as: EvictedThroughApi, count: 1}}\n    replaced: {database: {on: Same, running: true, times: 1}, agent: {on: Same, running: true, times: 1}, batch: {on: Same, running: true, times: 1}, web: {on: Same, running: true, times: 1}, bare: {times: 0}}";
    let prediction = predicted(&["worker"], workloads, &manifests, steps, expect);
    holds(&prediction);
    for sequence in &prediction.successors {
        // A Deployment's at once; a StatefulSet's and a DaemonSet's when the four seconds are over, a Job's after ten.
        let place = |name: &str| sequence.departures.iter().position(|own| own.what.starts_with(name));
        assert_eq!((place("web"), place("batch")), (Some(0), Some(3)), "{sequence:?}");
    }
}

#[test]
fn a_drain_empties_a_node_and_leaves_it_cordoned() {
    let workloads = "  - {name: web, replicas: 2, requests: {memory: 20Mi}}\n  - {name: late}";
    let steps = "  - cordon: [right]\n  - start: [web]\n  - wait: {for: Ready, within: 60s}\n  - drain: {node: left}\n  - start: [late]\n  - observe: 5s\n  - uncordon: [right]\n  - wait: {for: Ready, pods: [web, late], within: 60s}";
    let expect = "    drained: {left: Emptied}\n    ended: {web: {as: EvictedThroughApi, count: 2, gone: true}}\n    replaced: {web: {on: right, times: 2, running: true}}";
    let prediction = predicted(&["left", "right"], workloads, "", steps, expect);
    holds(&prediction);
    let runs: Vec<&str> = only(&prediction.successors).into_iter().map(|(what, ..)| what).collect();
    assert_eq!(runs, ["web made anew runs on right"; 2]);
}

#[test]
fn a_drain_refuses_what_would_be_lost_unless_it_is_told_to_take_it() {
    let manifests = "  - {apiVersion: apps/v1, kind: DaemonSet, metadata: {name: agent}, spec: {selector: {matchLabels: {app: it}}, template: {metadata: {labels: {app: it}}, spec: {containers: [{name: filler, image: \"docker.io/plimsoll/hog:1\", imagePullPolicy: Never, args: [memory, --amount, 1Mi]}]}}}}";
    let workloads = "  - {name: bare}\n  - {name: scratch, replicas: 1, fill: {disk: {amount: 1Mi, into: EmptyDir}}}\n  - {name: web, replicas: 1}";
    let drain = |flags: &str, expect: &str| {
        let steps = format!(
            "  - start: [agent, bare, scratch, web]\n  - wait: {{for: Ready, within: 60s}}\n  - drain: {{node: worker{flags}}}\n  - observe: 5s"
        );
        holds(&predicted(&["worker"], workloads, manifests, &steps, expect));
    };
    drain(
        "",
        "    drained: {worker: {refused: {agent: DaemonSet, bare: Unmanaged, scratch: LocalStorage}}}\n    survive: [agent, bare, scratch, web]",
    );
    drain(
        ", ignoreDaemonSets: true, deleteEmptyDirData: true, force: true, gracePeriodSeconds: 2",
        "    drained: {worker: Emptied}\n    survive: [agent]\n    ended: {bare: {as: EvictedThroughApi, gone: true}}",
    );
}

#[test]
fn a_drain_asks_every_five_seconds_and_gives_up_when_its_time_is_over() {
    let workloads = "  - {name: web, replicas: 1, labels: {app: web}}\n  - {name: other, replicas: 1}";
    let steps = "  - start: [web, other]\n  - wait: {for: Ready, within: 60s}\n  - observe: 2s\n  - drain: {node: worker, timeout: 22s}\n  - observe: 5s";
    let expect = "    drained: {worker: TimedOut}\n    survive: [web]\n    ended: {other: {as: EvictedThroughApi, count: 1, gone: true}}";
    let manifests = budget("guard", "minAvailable: 1");
    let prediction = predicted(&["worker"], workloads, &manifests, steps, expect);
    holds(&prediction);
    // Not a word of it in the expectations, and the same drain is a failure.
    let prediction = predicted(&["worker"], workloads, &manifests, steps, "    survive: [web]");
    assert!(prediction.findings.iter().any(|own| own.key == "step"), "{:?}", prediction.findings);
}

#[test]
fn a_budget_that_is_taken_away_lets_a_drain_go_on() {
    let workloads = "  - {name: web, replicas: 1, labels: {app: web}}";
    let going = |away: &str, manifests: &str| {
        let steps = format!(
            "  - cordon: [right]\n  - start: [web]\n  - wait: {{for: Ready, pods: [web], within: 60s}}\n  - uncordon: [right]\n  - observe: 2s\n  - drain: {{node: left, background: true, timeout: 60s}}\n  - observe: 7s\n{away}\n  - wait: {{for: Drained, node: left, within: 60s}}\n  - wait: {{for: Ready, pods: [web], within: 60s}}"
        );
        let expect = "    drained: {left: Emptied}\n    drainAnswered: {web: [429, 201]}\n    replaced: {web: {on: right, times: 1, running: true}}";
        let steps = if away.contains("delete") {
            steps.replace("  - start: [web]", "  - start: [guard, web]")
        } else {
            steps
        };
        let prediction = predicted(&["left", "right"], workloads, manifests, &steps, expect);
        holds(&prediction);
        let answers = only(&prediction.answers);
        // The third request, ten seconds after the first, is the first one after that.
        let (first, through) = (answers[0].1, answers[1].1);
        assert!((9.9..11.0).contains(&(through - first)), "{answers:?}");
    };
    going("  - delete: [guard]", &budget("guard", "minAvailable: 1"));
    let looser = budget("guard", "minAvailable: 0")
        .replace("{name: guard}", "{name: guard, annotations: {plimsoll.dev/called: looser}}");
    going("  - apply: [looser]", &format!("{}\n{looser}", budget("guard", "minAvailable: 1")));
}

#[test]
fn a_drain_that_deletes_asks_no_budget() {
    let workloads = "  - {name: web, replicas: 1, labels: {app: web}}";
    let steps = "  - start: [web]\n  - wait: {for: Ready, within: 60s}\n  - observe: 2s\n  - drain: {node: worker, disableEviction: true}\n  - observe: 1s";
    let expect = "    drained: {worker: Emptied}\n    ended: {web: {as: Deleted, count: 1, gone: true}}";
    let manifests = budget("guard", "minAvailable: 1");
    holds(&predicted(&["worker"], workloads, &manifests, steps, expect));
}
