//! What is counted of a run in virtual time, and what is said to be left out of it.

use plimsoll::model::{Assumptions, Prepared, Tally, simulate};
use plimsoll::sweep::{Cell, Fate};

use crate::text::{certain_plan, course};

fn node(name: &str, hard: u32) -> String {
    format!(
        "    - {{name: {name}, memory: 1Gi, nodefs: 512Mi, housekeepingInterval: 1s, kubelet: {{evictionHard: {{memory.available: {hard}Mi}}, enforceNodeAllocatable: []}}}}"
    )
}

fn tally(prepared: &Prepared) -> Tally {
    let assumptions = Assumptions::default();
    let mut tally = Tally::default();
    simulate(prepared, &assumptions, &assumptions.phase(3, 10), &mut tally);
    tally
}

fn prepared(text: &str) -> Prepared {
    Prepared::new(&certain_plan(text)).expect("a plan")
}

#[test]
fn each_node_is_relieved_by_itself() {
    let nodes = [node("first", 300), node("second", 300)].join("\n");
    let workloads = "  - {name: early, node: first, fill: {memory: {amount: 700Mi}}}\n  - {name: late, node: second, fill: {memory: {amount: 700Mi}}}";
    let steps = "  - start: [early]\n  - wait: {for: evictions, count: 1, within: 60s}\n  - observe: 60s\n  - start: [late]\n  - wait: {for: evictions, count: 2, within: 60s}\n  - observe: 30s";
    let tally = tally(&prepared(&course(&nodes, workloads, steps, "    evicted: [early, late]")));
    assert_eq!(tally.evictions.len(), 2, "{tally:?}");
    let nodes: Vec<usize> = tally.pressures.iter().map(|own| own.node).collect();
    assert_eq!(nodes, [0, 1]);
    for pressure in &tally.pressures {
        let relief = pressure.relieved.expect("relief") - pressure.since;
        assert!((1..20_000_000).contains(&relief), "{relief}");
    }
    let mut cell = Cell::default();
    cell.add(&tally);
    assert!(cell.relief.expect("relief").most < 20_000_000, "{cell:?}");
    assert!(cell.over_evicted.expect("somebody went").most < 700 << 20, "{cell:?}");
}

#[test]
fn a_container_killed_at_its_own_limit_is_no_defeat_of_the_kubelet() {
    let workloads = "  - {name: web, limits: {memory: 100Mi}, fill: {memory: {amount: 150Mi, rate: 20Mi/s}}}";
    let steps = "  - start: [web]\n  - wait: {for: oomKills, within: 60s}\n  - observe: 1s";
    let tally = tally(&prepared(&course(&node("worker", 100), workloads, steps, "    oomKills: [web]")));
    assert!(!tally.oom_kills.is_empty());
    assert_eq!(Fate::of(&tally), Fate::Nobody);
}

#[test]
fn what_is_missing_is_counted_for_the_threshold_that_was_met() {
    // Soft alone: 500Mi are wanted, and what is missing is less than the pod holds by what was free.
    let soft = "    - {name: worker, memory: 1Gi, nodefs: 512Mi, housekeepingInterval: 1s, kubelet: {evictionHard: {memory.available: 10Mi}, evictionSoft: {memory.available: 500Mi}, evictionSoftGracePeriod: {memory.available: 1s}, enforceNodeAllocatable: []}}";
    let workloads = "  - {name: web, fill: {memory: {amount: 700Mi}}}";
    let steps = "  - start: [web]\n  - wait: {for: evictions, count: 1, within: 60s}\n  - observe: 10s";
    let tally = tally(&prepared(&course(soft, workloads, steps, "    evicted: [web]")));
    let [evicted] = tally.evictions.as_slice() else { panic!("{tally:?}") };
    let missing = evicted.missing.expect("a threshold of memory");
    assert!((200 << 20..500 << 20).contains(&missing), "{missing}");
}

#[test]
fn a_wait_for_what_never_comes_on_the_model_is_left_out_and_said_so() {
    let workloads = "  - {name: web, fill: {memory: {amount: 10Mi}}}";
    for wait in [
        "{for: condition, condition: Ready, is: unknown, node: worker, within: 30s}",
        "{for: taint, taint: node.kubernetes.io/unreachable, effect: NoExecute, node: worker, within: 30s}",
    ] {
        let steps = format!("  - start: [web]\n  - wait: {wait}\n  - observe: 1s");
        let prepared = prepared(&course(&node("worker", 100), workloads, &steps, "    survive: [web]"));
        let said = prepared.omissions().join("\n");
        assert!(said.contains("a wait is for what never comes on the model"), "{wait}: {said}");
    }
}

#[test]
fn pods_of_one_name_in_two_namespaces_are_two() {
    let pod = |namespace: &str| {
        format!(
            "  - {{apiVersion: v1, kind: Pod, metadata: {{name: twin, namespace: {namespace}}}, spec: {{containers: [{{name: main, image: docker.io/plimsoll/pause:1}}]}}}}\n"
        )
    };
    let text = course(
        &node("worker", 100),
        "  - {name: web, fill: {memory: {amount: 10Mi}}}",
        "  - start: [web]\n  - apply: [twin]\n  - observe: 10s",
        "    survive: [web]",
    ) + &format!("  manifests:\n{}{}", pod("one"), pod("two"));
    struct Created(Vec<String>);
    impl plimsoll::model::Sink for Created {
        fn passing(&mut self, _: &plimsoll::model::World<'_>, _: i64, _: i64) {}
        fn happening(
            &mut self,
            world: &plimsoll::model::World<'_>,
            happening: &plimsoll::model::Happening<'_>,
        ) {
            if let plimsoll::model::Happening::Pod(pod) = happening {
                let rules = world.pod(*pod).rules();
                self.0.push(format!("{}/{}", rules.namespace, rules.name));
            }
        }
    }
    let prepared = prepared(&text);
    let assumptions = Assumptions::default();
    let mut created = Created(Vec::new());
    simulate(&prepared, &assumptions, &assumptions.phase(0, 1), &mut created);
    for name in ["one/twin", "two/twin"] {
        assert!(created.0.iter().any(|own| own == name), "{name}: {:?}", created.0);
    }
}
