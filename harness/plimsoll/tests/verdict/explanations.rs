//! Why the kubelet took whom it took, in words and figures.

use plimsoll::observe::Fact;
use plimsoll::plan::Expect;
use plimsoll::verdict::EvictionExplanation;
use serde_json::json;

use crate::builder::*;

fn explanation(run: &Run) -> EvictionExplanation {
    let mut explanations = run.judge([Expect::Evicted(vec![set(["greedy"])])]).explanations;
    assert_eq!(explanations.len(), 1);
    explanations.remove(0)
}

#[test]
fn the_figures_and_the_pods_that_it_went_ahead_of() {
    let explanation = explanation(&Run::standard());
    assert_eq!(explanation.agrees, Some(true));
    assert_eq!(explanation.signal.as_deref(), Some("memory.available"));
    insta::assert_snapshot!(explanation.sentences.join("\n"), @r"
    greedy was evicted by the kubelet: memory was low (332Mi available, threshold 400Mi); the signal was memory.available
    greedy used 1016Mi and requested 50Mi, which is 966Mi over; priority 0
    it went ahead of idler, which was over its request by 200Mi to its 966Mi (that one is BestEffort and greedy Burstable: the class plays no part)
    it went ahead of steady, which was within its request by 50Mi
    figures of the node's sampler, taken 0.03s before; the kubelet's may be older
    ");
    let candidates: Vec<_> = explanation
        .candidates
        .iter()
        .map(|candidate| (candidate.pod.as_str(), candidate.place, candidate.over().map(|over| over / MI)))
        .collect();
    assert_eq!(candidates, [("greedy", 0, Some(966)), ("idler", 1, Some(200)), ("steady", 2, Some(-50))]);
}

#[test]
fn the_kubelet_s_own_stats_come_before_the_sampler_s() {
    let mut run = Run::standard();
    let stats = |name: &str, used: u64| {
        json!({"podRef": {"name": name, "namespace": "plimsoll", "uid": uid(name)},
            "memory": {"time": written(50.0), "workingSetBytes": used * MEBI}})
    };
    let pods = [stats("steady", 340), stats("idler", 210), stats("greedy", 900)];
    let summary = json!({"node": {"nodeName": "worker"}, "pods": pods});
    run.add(55.0, Fact::Summary { node: "worker".into(), summary: Box::new(summary) });
    let explanation = explanation(&run);
    let idler = explanation.candidates.iter().find(|candidate| candidate.pod == "idler");
    assert_eq!(idler.and_then(|idler| idler.usage), Some(210 * MI));
    // What the kubelet said of the one that went is what it decided by.
    assert_eq!(explanation.candidates[0].usage, Some(1016 * MI));
    assert!(
        explanation
            .sentences
            .iter()
            .any(|sentence| sentence == "figures of the kubelet's own stats, read 1.03s before")
    );
}

#[test]
fn priority_decides_among_those_over_their_request() {
    let mut run = Run::standard();
    run.remove_pod("idler");
    run.add(1.6, pod_fact("idler", json!({"spec": {"priority": 100}, "status": {"phase": "Running"}})));
    let sentences = explanation(&run).sentences;
    assert!(
        sentences.iter().any(|sentence| sentence.contains("ahead of idler, which has priority 100 to its 0")),
        "{sentences:?}"
    );
}

#[test]
fn a_disagreement_is_said_plainly() {
    let mut run = Run::standard();
    run.remove_pod("idler");
    run.add(1.6, pod_fact("idler", json!({"spec": {"priority": -5}, "status": {"phase": "Running"}})));
    let explanation = explanation(&run);
    assert_eq!(explanation.agrees, Some(false));
    let text = explanation.sentences.join("\n");
    assert!(text.contains("by these figures the rules put idler first: it went ahead of greedy, which has priority 0 to its -5"), "{text}");
    assert!(text.contains("the kubelet decided otherwise, and it is right"), "{text}");
}

#[test]
fn without_figures_nothing_is_checked() {
    let mut run = Run::standard();
    run.remove(|_, fact| matches!(fact, Fact::Sample { .. }));
    let explanation = explanation(&run);
    assert_eq!(explanation.agrees, None);
    assert!(
        explanation.sentences.iter().any(|sentence| sentence.contains("so the order can not be checked"))
    );
}

#[test]
fn equals_and_exempt_pods_are_told() {
    let mut run = Run::standard();
    run.remove_pod("greedy").remove_pod("idler");
    run.remove(|_, fact| matches!(fact, Fact::Sample { .. }));
    let two = message("400Mi", "332Mi", "500Mi", "0");
    for name in ["idler", "twin"] {
        run.add(1.6, pod_fact(name, json!({"status": {"phase": "Running"}})));
    }
    run.add(
        1.7,
        pod_fact("critical", json!({"spec": {"priority": 2_000_001_000}, "status": {"phase": "Running"}})),
    );
    run.add(55.9, sample(&[("steady", 350), ("idler", 500), ("twin", 500), ("critical", 600)]));
    run.add(56.0, event("idler", "Evicted", &two, 56.0));
    let verdict = run.judge([]);
    let text = verdict.explanations[0].sentences.join("\n");
    assert!(text.contains("twin could have gone as well: by the rules they are equal to it"), "{text}");
    assert!(text.contains("critical could not go at all (priority)"), "{text}");
}

#[test]
fn the_closing_table_has_figures_of_the_decision() {
    let pods = Run::standard().judge([]).pods;
    let told: Vec<_> = pods
        .iter()
        .map(|pod| {
            (
                pod.name.as_str(),
                pod.memory_request / MEBI,
                pod.memory_usage.map(|usage| usage / MEBI),
                pod.words.as_str(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("steady", 400, Some(350), "still running"),
            ("idler", 0, Some(200), "still running"),
            (
                "greedy",
                50,
                Some(1016),
                "evicted by the kubelet: memory was low (332Mi available, threshold 400Mi)"
            ),
        ]
    );
}
