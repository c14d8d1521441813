//! Preemption by the scheduler in virtual time, in scenarios made for one rule each.

use plimsoll::model::Prediction;

use crate::text::{self, course, holds};

const HIGH: &str =
    "  - {apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: high}, value: 100000}";

#[track_caller]
fn predicted(nodes: &[&str], workloads: &str, manifests: &str, steps: &str, expect: &str) -> Prediction {
    let text = course(&text::nodes(nodes), workloads, steps, expect);
    text::wholly_predicted(&(text + &format!("  manifests:\n{HIGH}\n{manifests}")))
}

const IMPORTANT: &str = "  - {name: important, priorityClassName: high, requests: {memory: 600Mi}}";

#[test]
fn a_pod_of_low_priority_goes_and_a_small_one_stays() {
    let workloads = format!(
        "  - {{name: low, priority: 10, requests: {{memory: 500Mi}}, terminationGracePeriodSeconds: 30, shutdownDelay: 9s}}\n  - {{name: small, priority: 10, requests: {{memory: 50Mi}}}}\n{IMPORTANT}"
    );
    let steps = "  - start: [low, small]\n  - wait: {for: Running, within: 60s}\n  - start: [important]\n  - wait: {for: Running, pods: [important], within: 60s}\n  - wait: {for: Gone, pods: [low], node: worker, within: 10s}\n  - observe: 2s";
    let expect = "    ended: {low: {as: PreemptedByScheduler, gone: true}}\n    nominated: {important: worker}\n    terminated: {low: {atLeast: 8s, atMost: 12s}}\n    survive: [small, important]";
    holds(&predicted(&["worker"], &workloads, "", steps, expect));
}

#[test]
fn a_budget_is_spared_where_another_node_will_do_and_else_is_not() {
    let guard = "  - {apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: guard}, spec: {minAvailable: 1, selector: {matchLabels: {app: guarded}}}}\n";
    let guarded =
        "  - {name: guarded, node: left, priority: 10, labels: {app: guarded}, requests: {memory: 500Mi}}";
    let workloads = format!(
        "{guarded}\n  - {{name: plain, node: right, priority: 11, requests: {{memory: 500Mi}}}}\n{IMPORTANT}"
    );
    let steps = "  - start: [guarded, plain]\n  - wait: {for: Ready, within: 60s}\n  - observe: 2s\n  - start: [important]\n  - wait: {for: Running, pods: [important], within: 60s}\n  - observe: 3s";
    let expect = "    ended: {plain: {as: PreemptedByScheduler, gone: true}}\n    nominated: {important: right}\n    survive: [guarded, important]";
    holds(&predicted(&["left", "right"], &workloads, guard, steps, expect));
    // Without the budget the lower of the two goes.
    let expect = "    ended: {guarded: {as: PreemptedByScheduler, gone: true}}\n    nominated: {important: left}\n    survive: [plain, important]";
    holds(&predicted(&["left", "right"], &workloads, "", steps, expect));
    let alone = format!("{guarded}\n{IMPORTANT}");
    let steps = steps.replace("guarded, plain", "guarded");
    let expect = "    ended: {guarded: {as: PreemptedByScheduler, gone: true}}\n    survive: [important]";
    holds(&predicted(&["left"], &alone, guard, &steps, expect));
}

#[test]
fn nobody_goes_for_a_pod_of_the_same_priority_or_of_a_class_that_does_not_preempt() {
    let polite = "  - {apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: polite}, value: 200000, preemptionPolicy: Never}\n";
    for class in ["priority: 10", "priorityClassName: polite"] {
        let workloads = format!(
            "  - {{name: low, priority: 10, requests: {{memory: 500Mi}}}}\n  - {{name: important, {class}, requests: {{memory: 600Mi}}}}"
        );
        let steps = "  - start: [low]\n  - wait: {for: Running, within: 60s}\n  - start: [important]\n  - observe: 6s";
        let expect = "    survive: [low]\n    ended: {important: {as: Pending, reason: Insufficient memory}}";
        holds(&predicted(&["worker"], &workloads, polite, steps, expect));
    }
}

#[test]
fn room_that_was_made_for_one_is_not_taken_by_another() {
    // The second is as important, and has to have somebody go for itself.
    let workloads = "  - {name: low, replicas: 2, priority: 10, requests: {memory: 400Mi}}\n  - {name: first, priorityClassName: high, requests: {memory: 400Mi}}\n  - {name: second, priorityClassName: high, requests: {memory: 400Mi}}";
    let steps = "  - start: [low]\n  - wait: {for: Running, within: 60s}\n  - start: [first, second]\n  - wait: {for: Running, pods: [first, second], within: 60s}\n  - observe: 3s";
    let expect = "    survive: [first, second]\n    replaced: {low: {on: Nowhere, times: 2, reason: Insufficient memory}}";
    holds(&predicted(&["worker"], workloads, "", steps, expect));
}
