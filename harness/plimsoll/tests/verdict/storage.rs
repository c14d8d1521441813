//! Limits of local storage, and what the kubelet reclaims of a node without evicting anybody.

use plimsoll::observe::Fact;
use plimsoll::plan::{BallastImage, Band, Expect, NodeReclaimedExpectation, StorageLimit};
use plimsoll::verdict::State;
use plimsoll_node::report::{RuntimeEvent, RuntimeObject};
use serde_json::json;

use super::builder::*;

const BALLAST: &str = "docker.io/plimsoll/ballast:1";

fn over<const N: usize>(limits: [(&str, StorageLimit); N]) -> Expect {
    Expect::OverLimit(limits.map(|(name, limit)| (name.to_owned(), limit)).into())
}

/// The standard run up to the point where `greedy` is evicted, for another reason.
fn run_over_limit(message: &str) -> Run {
    let mut run = Run::standard();
    run.without_eviction();
    run.add(56.03, event("greedy", "Evicted", message, 56.0));
    run.add(56.44, evicted_at("greedy", 56.4, message));
    run
}

#[test]
fn a_pod_over_its_volumes_limit_is_told_from_one_over_its_own() {
    let run = run_over_limit("Usage of EmptyDir volume \"filled\" exceeds the limit \"100Mi\". ");
    let expect = over([("greedy", StorageLimit::EmptyDir)]);
    assert_finding(&run, expect, State::Held, "exceeds the limit \"100Mi\"");
    let expect = over([("greedy", StorageLimit::Pod)]);
    assert_finding(&run, expect, State::Violated, "over the limit of EmptyDir and not of Pod");
    assert_finding(&run, over([]), State::Violated, "greedy was evicted and should not have been");
    // It is no eviction for a resource that ran low.
    assert_finding(&run, Expect::Evicted(Vec::new()), State::Held, "nobody was evicted");
}

#[test]
fn nobody_over_a_limit_is_shown_by_having_watched_and_by_nothing_less() {
    let mut run = Run::standard();
    assert_finding(&run, over([]), State::Held, "no pod was evicted for being over a limit");
    let expect = over([("idler", StorageLimit::Container)]);
    assert_finding(&run, expect.clone(), State::Violated, "idler was not evicted for being over a limit");
    run.add(60.0, gap("pods", 58.0, false));
    assert_finding(&run, over([]), State::Unknown, "pods went unwatched");
    assert_finding(&run, expect, State::Unknown, "pods went unwatched");
}

fn runtime(what: RuntimeObject, added: bool, name: &str) -> Fact {
    Fact::Runtime { node: "worker".into(), event: RuntimeEvent { what, added, name: name.into() } }
}

fn band(at_least: Option<i64>, at_most: Option<i64>) -> Option<Band> {
    Some(Band { at_least, at_most })
}

fn reclaimed(images: Option<Band>, containers: Option<Band>, kept: &[&str]) -> Expect {
    Expect::NodeReclaimed(NodeReclaimedExpectation {
        node: "worker".into(),
        images,
        containers,
        kept: kept.iter().map(|name| (*name).to_owned()).collect(),
    })
}

/// A node with two images that nothing uses and a pod that completed, whose nodefs falls to 100 of its threshold's 300Mi between 50
/// and 58; at 57 the kubelet removes one image and the pod's container.
fn run_with_ballast() -> Run {
    let mut run = Run::standard();
    run.without_eviction();
    fill_disk(&mut run, 360);
    let image = |name: &str| BallastImage {
        name: format!("docker.io/plimsoll/{name}:1"),
        size: 100 * MEBI,
        files: 0,
        layers: 1,
        pinned: name == "pinned",
    };
    run.plan.nodes[0].images = vec![image("ballast"), image("pinned")];
    for name in ["ballast", "pinned"] {
        run.add(-1.5, runtime(RuntimeObject::Image, true, &format!("docker.io/plimsoll/{name}:1")));
    }
    let mut ended = terminated(30.0, 0, "Completed");
    ended["state"]["terminated"]["containerID"] = json!("containerd://abc");
    let status = json!({"status": {"phase": "Succeeded", "containerStatuses": [ended]}});
    run.add(30.1, pod_fact("idler", status));
    run.add(57.0, runtime(RuntimeObject::Image, false, BALLAST));
    run.add(57.0, runtime(RuntimeObject::Image, false, "sha256:0123"));
    run.add(57.1, runtime(RuntimeObject::Container, false, "abc"));
    run.add(57.2, runtime(RuntimeObject::Container, false, "a sandbox"));
    run
}

#[test]
fn images_and_ended_containers_that_were_removed_are_counted() {
    let run = run_with_ballast();
    let both = reclaimed(band(Some(1), Some(1)), band(Some(1), Some(1)), &["docker.io/plimsoll/pinned:1"]);
    assert_finding(&run, both, State::Held, "1 image was removed (ballast)");
    let more = reclaimed(band(Some(2), None), None, &[]);
    assert_finding(&run, more, State::Violated, "expected at least 2");
    let none = reclaimed(band(None, Some(0)), None, &[]);
    assert_finding(&run, none, State::Violated, "1 image was removed (ballast); expected at most 0");
    let none = reclaimed(band(None, Some(1)), None, &[]);
    assert_finding(&run, none, State::Held, "1 image was removed (ballast)");
    let none = reclaimed(None, band(None, Some(0)), &[]);
    assert_finding(&run, none, State::Violated, "1 ended container was removed (of idler)");
    assert_finding(&run, reclaimed(None, None, &[BALLAST]), State::Violated, "should have been kept");
}

#[test]
fn what_is_removed_after_a_pod_went_was_not_given_up_before_it() {
    let low =
        "The node was low on resource: ephemeral-storage. Threshold quantity: 300Mi, available: 100Mi. ";
    let one = || reclaimed(band(Some(1), None), band(Some(1), None), &[]);
    let evicted = |at: f64| {
        let mut run = run_with_ballast();
        run.add(at, event("greedy", "Evicted", low, at));
        run.add(at + 0.4, evicted_at("greedy", at + 0.4, low));
        run
    };
    assert_finding(
        &evicted(57.6),
        one(),
        State::Held,
        "from the crossing of the threshold until greedy was evicted",
    );
    let text = "0 images were removed from the crossing of the threshold until greedy was evicted; expected at least 1; \
                at other times 1 image was removed (ballast)";
    assert_finding(&evicted(55.0), one(), State::Violated, text);
}

#[test]
fn without_a_crossing_nothing_was_given_up_for_it() {
    let mut run = run_with_ballast();
    let one = || reclaimed(band(Some(1), None), None, &[]);
    run.remove(|seconds, fact| matches!(fact, Fact::Sample { .. }) && (50.0..58.0).contains(&seconds));
    assert_finding(&run, one(), State::Violated, "while no threshold of the disk was seen to be crossed");
    run.remove(|seconds, fact| matches!(fact, Fact::Sample { .. }) && (45.0..62.0).contains(&seconds));
    assert_finding(&run, one(), State::Unknown, "worker was not measured for");
}

#[test]
fn what_was_removed_with_a_deleted_pod_was_not_reclaimed() {
    let mut run = run_with_ballast();
    run.add(40.0, deleted("idler"));
    let one = reclaimed(None, band(Some(1), None), &[]);
    assert_finding(&run, one, State::Violated, "0 ended containers were removed");
}

#[test]
fn a_runtime_that_was_not_heard_leaves_it_unknown() {
    let mut run = run_with_ballast();
    let one = || reclaimed(band(Some(2), None), None, &[]);
    run.add(50.0, gap("runtime events worker", 49.0, false));
    assert_finding(&run, one(), State::Unknown, "went unwatched");
    let none = reclaimed(None, None, &["docker.io/plimsoll/pinned:1"]);
    assert_finding(&run, none, State::Unknown, "went unwatched");
    let mut silent = run_with_ballast();
    silent.remove(|_, fact| matches!(fact, Fact::Runtime { .. }));
    assert_finding(
        &silent,
        reclaimed(band(None, Some(5)), None, &[]),
        State::Unknown,
        "the container runtime of worker was not heard",
    );
}

/// The run with ballast, with so much left of nodefs afterwards.
fn run_with_full_disk(after: u64) -> Run {
    let mut run = run_with_ballast();
    fill_disk(&mut run, after);
    run
}

fn fill_disk(run: &mut Run, after: u64) {
    run.plan.nodes[0].kubelet = json!({
        "evictionHard": {"nodefs.available": "300Mi"}, "evictionMinimumReclaim": {"nodefs.available": "50Mi"},
    });
    run.remove(|_, fact| matches!(fact, Fact::Sample { .. }));
    for second in -2..80 {
        let Fact::Sample { node, mut sample } = sample(&[]) else { unreachable!("it is a sample") };
        let available = match second {
            ..50 => 500,
            50..58 => 100,
            58.. => after,
        };
        if let Some(nodefs) = sample.filesystems.get_mut("nodefs") {
            nodefs.available = available * MEBI;
        }
        run.add(f64::from(second), Fact::Sample { node, sample });
    }
    run.plan.expectations = Vec::new();
}

/// What lies in a volume is freed after the pod has ended.
#[test]
fn what_is_cleaned_up_after_a_pod_has_ended_came_back_by_its_eviction() {
    let low =
        "The node was low on resource: ephemeral-storage. Threshold quantity: 300Mi, available: 100Mi. ";
    let mut run = run_with_full_disk(360);
    // Ended at 54.4, with its 260Mi still there until 58.
    run.add(54.0, event("greedy", "Evicted", low, 54.0));
    run.add(54.4, evicted_at("greedy", 54.4, low));
    assert_finding(
        &run,
        came_back(250 * MI, true),
        State::Held,
        "260Mi came back (greedy from 100Mi to 360Mi)",
    );
    assert_finding(&run, came_back(270 * MI, false), State::Violated, "260Mi came back");
    // Ended while the clean-up went on, the run does not tell.
    let mut short = run.clone();
    short.remove(|seconds, fact| seconds > 57.0 || matches!(fact, Fact::Finished));
    short.add(57.0, Fact::Finished);
    assert_finding(
        &short,
        came_back(250 * MI, true),
        State::Unknown,
        "before the kubelet was through with cleaning up after greedy",
    );
    // The kubelet decided on another before anything was back.
    run.add(57.2, event("steady", "Evicted", low, 57.2));
    run.add(57.6, evicted_at("steady", 57.6, low));
    assert_finding(
        &run,
        came_back(250 * MI, true),
        State::Held,
        "greedy from 100Mi to 100Mi, steady from 100Mi to 360Mi",
    );
    let mut blind = run.clone();
    blind.remove(|seconds, fact| matches!(fact, Fact::Sample { .. }) && seconds > 55.0);
    assert_finding(&blind, came_back(250 * MI, false), State::Unknown, "was not measured");
}

fn came_back(at_least: i64, minimum_reclaim: bool) -> Expect {
    let band = Band { at_least: Some(at_least), at_most: None };
    Expect::Reclaimed { signal: "nodefs.available".into(), band, minimum_reclaim }
}

#[test]
fn what_came_back_without_an_eviction_is_measured_where_that_is_expected() {
    let wanted = || reclaimed(band(Some(1), None), None, &[]);
    let judged = |run: &Run, expect: Expect| {
        let verdict = run.judge([expect, wanted()]);
        (verdict.findings[0].state, verdict.findings[0].because.clone())
    };
    let run = run_with_full_disk(360);
    let (state, because) = judged(&run, came_back(250 * MI, true));
    assert_eq!(state, State::Held, "{because}");
    assert!(
        because.contains("260Mi came back on worker without an eviction, from 100Mi to 360Mi"),
        "{because}"
    );
    let (state, because) = judged(&run, came_back(300 * MI, false));
    assert_eq!(state, State::Violated, "{because}");
    // Enough for the threshold, too little for the minimum reclaim.
    let (state, because) = judged(&run_with_full_disk(320), came_back(0, true));
    assert_eq!(state, State::Violated, "{because}");
    assert!(because.contains("threshold and minimum reclaim ask for 350Mi"), "{because}");
    let mut blind = run_with_full_disk(360);
    blind.add(60.0, gap("sampler worker", 52.0, false));
    let (state, because) = judged(&blind, came_back(250 * MI, true));
    assert_eq!(state, State::Unknown, "{because}");
    // Where nothing of the kind is expected, only evictions give back.
    assert_finding(&run, came_back(1, false), State::Violated, "nobody was evicted");
}
