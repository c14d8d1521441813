//! Nodes that are taken away and come back in virtual time, in scenarios made for one rule each.

use plimsoll::model::Prediction;

use crate::text::{self, course, only};

/// What is predicted of a course on these nodes, with the node controller set so.
fn predicted(control_plane: &str, nodes: &[&str], workloads: &str, steps: &str, expect: &str) -> Prediction {
    let nodes: Vec<String> =
        nodes.iter().map(|own| format!("    - {{memory: 512Mi, nodefs: 512Mi, {own}}}")).collect();
    let text = course(&nodes.join("\n"), workloads, steps, expect)
        .replace("  cluster:\n", &format!("  cluster:\n    controlPlane: {{{control_plane}}}\n"));
    text::predicted(&text)
}

/// Nothing is left out, and all that is expected holds in every phase.
#[track_caller]
fn holds(prediction: &Prediction) {
    assert!(prediction.omissions.is_empty(), "{:?}", prediction.omissions);
    text::holds(prediction);
}

const QUICK: &str =
    "nodeMonitorGracePeriod: 10s, nodeMonitorPeriod: 1s, defaultUnreachableTolerationSeconds: 3";
const TWO: [&str; 2] = ["name: first", "name: second"];
const WEB: &str = "  - {name: web, replicas: 1}\n  - {name: steadfast, node: first, restartPolicy: Always, tolerations: [{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute}]}";

/// Steps that take the first node away and wait until its pod runs on the second.
fn lost(change: &str) -> String {
    format!(
        "  - cordon: [second]\n  - start: [web, steadfast]\n  - wait: {{for: Running, within: 60s}}\n  - uncordon: [second]\n  - node: {{name: first, do: {change}}}
  - wait: {{for: condition, condition: Ready, is: unknown, node: first, within: 60s}}\n  - wait: {{for: taint, taint: node.kubernetes.io/unreachable, effect: NoExecute, node: first, within: 60s}}
  - wait: {{for: Terminating, pods: [web], within: 60s}}\n  - observe: 8s\n  - wait: {{for: Running, pods: [web], within: 60s}}\n"
    )
}

#[test]
fn a_lost_node_is_tainted_its_pods_are_replaced_and_gone_when_it_is_back() {
    for (away, back) in
        [("stopKubelet", "startKubelet"), ("freeze", "thaw"), ("cut", "mend"), ("kill", "start")]
    {
        let steps = lost(away)
            + &format!(
                "  - node: {{name: first, do: {back}}}\n  - wait: {{for: Gone, pods: [web], node: first, within: 60s}}\n  - wait: {{for: taint, taint: node.kubernetes.io/unreachable, is: cleared, node: first, within: 60s}}\n  - wait: {{for: Ready, pods: [steadfast], within: 60s}}\n  - observe: 2s"
            );
        let expect = "    tainted: [{node: first, taint: node.kubernetes.io/unreachable, effect: NoExecute, within: {atLeast: 5s, atMost: 14s}, removed: true}]\n    tolerated: {web: {atLeast: 3s, atMost: 5s}, steadfast: always}\n    terminated: {web: {atLeast: 8s}}\n    ended: {web: {as: DeletedByTaintManager, gone: true}, steadfast: Running}\n    replaced: {web: {on: second, running: true, times: 1}}";
        // When during the step a node lost its power nobody can tell, and that takes up to 3.5 s.
        let prediction = predicted(QUICK, &TWO, WEB, &steps, expect);
        holds(&prediction);
        let wanted = [
            "first not heard of",
            "first tainted as unreachable (NoExecute)",
            "first tainted as unreachable (NoSchedule)",
            "first heard of again",
            "first tainted as unreachable (NoExecute) no more",
            "first tainted as unreachable (NoSchedule) no more",
        ];
        for sequence in &prediction.conditions {
            let mut seen: Vec<&str> = sequence.departures.iter().map(|own| own.what.as_str()).collect();
            // Two parts of the node controller put the taints on and take them off.
            seen[1..3].sort_unstable();
            seen[4..].sort_unstable();
            assert_eq!(seen, wanted, "{away}");
        }
        assert_eq!(only(&prediction.gone).len(), 1, "{away}");
    }
}

#[test]
fn a_pod_of_a_dead_node_stays_until_it_is_deleted_by_force() {
    let expect = "    ended: {web: {as: DeletedByTaintManager, gone: false}}\n    terminating: web";
    let prediction = predicted(QUICK, &TWO, WEB, &lost("kill"), expect);
    holds(&prediction);
    assert!(only(&prediction.gone).is_empty());
    let bare = "  - {name: web, node: first}\n  - {name: steadfast, node: first, tolerations: [{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute}]}";
    let steps = "  - start: [web, steadfast]\n  - wait: {for: Running, within: 60s}\n  - node: {name: first, do: cut}\n  - wait: {for: Terminating, pods: [web], within: 60s}\n  - deletePods: {fieldSelector: metadata.name=web, force: true}\n  - wait: {for: Gone, pods: [web], node: first, within: 1s}\n  - node: {name: first, do: mend}\n  - observe: 30s";
    let expect = "    ended: {web: {as: DeletedByTaintManager, gone: true}}\n    survive: [steadfast]";
    holds(&predicted(QUICK, &TWO, bare, steps, expect));
}

#[test]
fn kubernetes_own_periods_are_fifty_seconds_and_five() {
    let workloads = "  - {name: patient, node: first}\n  - {name: hasty, node: first, tolerations: [{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 5}]}";
    let steps = "  - start: [patient, hasty]\n  - wait: {for: Running, within: 60s}\n  - node: {name: first, do: stopKubelet}\n  - wait: {for: Terminating, pods: [hasty], within: 120s}\n  - observe: 8s";
    let expect = "    tainted: [{node: first, taint: node.kubernetes.io/unreachable, effect: NoExecute, within: {atLeast: 44s, atMost: 56s}, removed: false}]\n    tolerated: {hasty: {atLeast: 5s, atMost: 7s}, patient: {asked: 300s}}\n    terminating: hasty";
    let prediction = predicted("nodeEvictionRate: 0.1", &TWO, workloads, steps, expect);
    holds(&prediction);
    // Where in its period the node controller is, nobody knows.
    let lost = &prediction.conditions[0].departures[0];
    assert!(lost.latest - lost.earliest > 3.0, "{lost:?}");
}

#[test]
fn a_node_that_is_back_in_time_keeps_its_pods() {
    let steps = "  - cordon: [second]\n  - start: [web, steadfast]\n  - wait: {for: Running, within: 60s}\n  - uncordon: [second]\n  - node: {name: first, do: freeze}\n  - wait: {for: taint, taint: node.kubernetes.io/unreachable, effect: NoExecute, node: first, within: 60s}\n  - node: {name: first, do: thaw}\n  - wait: {for: condition, condition: Ready, node: first, within: 60s}\n  - wait: {for: taint, taint: node.kubernetes.io/unreachable, effect: NoExecute, is: cleared, node: first, within: 60s}\n  - observe: 60s";
    let expect = "    tolerated: {web: always}\n    survive: [web, steadfast]";
    let slow = QUICK.replace("Seconds: 3", "Seconds: 50");
    holds(&predicted(&slow, &TWO, WEB, steps, expect));
    // Heard of again before anybody missed it, it is not tainted at all.
    let steps = "  - cordon: [second]\n  - start: [web, steadfast]\n  - wait: {for: Running, within: 60s}\n  - node: {name: first, do: freeze}\n  - observe: 2s\n  - node: {name: first, do: thaw}\n  - observe: 20s";
    let prediction = predicted(QUICK, &TWO, WEB, steps, "    tainted: []\n    survive: [web, steadfast]");
    holds(&prediction);
    assert!(only(&prediction.conditions).is_empty());
}

#[test]
fn where_every_node_is_lost_none_is_tainted_so_that_pods_go() {
    let workloads = "  - {name: web, replicas: 1}";
    let steps = "  - start: [web]\n  - wait: {for: Running, within: 60s}\n  - node: {do: stopKubelet}\n  - wait: {for: condition, condition: Ready, is: unknown, within: 60s}\n  - observe: 30s\n  - node: {do: startKubelet}\n  - wait: {for: condition, condition: Ready, within: 60s}\n  - observe: 2s";
    let prediction =
        predicted(QUICK, &["name: only"], workloads, steps, "    tainted: []\n    survive: [web]");
    holds(&prediction);
    let seen: Vec<&str> = only(&prediction.conditions).into_iter().map(|(what, ..)| what).collect();
    let wanted = [
        "only not heard of",
        "only tainted as unreachable (NoSchedule)",
        "only heard of again",
        "only tainted as unreachable (NoSchedule) no more",
    ];
    assert_eq!(seen, wanted);
}

#[test]
fn of_two_lost_nodes_the_second_is_tainted_at_the_rate_of_its_zone() {
    let three = ["name: first", "name: second", "name: third"];
    let workloads = "  - {name: web, node: third}";
    let steps = "  - start: [web]\n  - wait: {for: Running, within: 60s}\n  - node: {name: first, do: freeze}\n  - node: {name: second, do: freeze}\n  - observe: 40s";
    let rate = |rate: &str| {
        let settings =
            format!("nodeMonitorGracePeriod: 10s, nodeMonitorPeriod: 1s, nodeEvictionRate: {rate}");
        let prediction = predicted(&settings, &three, workloads, steps, "    survive: [web]");
        holds(&prediction);
        let mut gaps = Vec::new();
        for sequence in &prediction.conditions {
            let tainted: Vec<f64> = sequence
                .departures
                .iter()
                .filter(|own| own.what.ends_with("(NoExecute)"))
                .map(|own| own.earliest)
                .collect();
            assert_eq!(tainted.len(), 2, "{sequence:?}");
            gaps.push(tainted[1] - tainted[0]);
        }
        gaps
    };
    assert!(rate("0.1").iter().all(|gap| (9.0..12.0).contains(gap)));
    assert!(rate("0.5").iter().all(|gap| (1.0..3.5).contains(gap)));
}

#[test]
fn what_would_go_on_where_nobody_looks_is_named_and_not_predicted() {
    let said = |workloads: &str, steps: &str| {
        let steps =
            format!("  - start: [web]\n  - wait: {{for: Running, within: 60s}}\n{steps}\n  - observe: 2s");
        let prediction = predicted(QUICK, &TWO, workloads, &steps, "    survive: [web]");
        prediction.omissions.join("\n")
    };
    let idle = "  - {name: web, node: first}";
    let filling = "  - {name: web, node: first, fill: {memory: {amount: 100Mi, rate: 1Mi/s}}}";
    let away = "  - node: {name: first, do: freeze}";
    assert_eq!(said(idle, away), "");
    assert!(said(filling, away).contains("what web fills on first while that is away is not modelled"));
    assert_eq!(said(filling, "  - node: {name: second, do: freeze}"), "", "it is on the other");
    assert!(said(idle, &format!("{away}\n  - node: {{name: first, do: cut}}")).contains("two ways at once"));
    let manager = "  - controlPlane: {component: kube-controller-manager, do: stop}";
    assert!(said(idle, manager).contains("which is not modelled"));
}
