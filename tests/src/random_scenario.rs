//! Scenarios that nobody thought of: bounded, and the same for the same seed.

use std::fmt::Write;

use crate::numbers::Numbers;

/// The scenario of a seed: a node with thresholds, and pods that fill its memory at some pace, with requests, limits and
/// priorities. It is over in a minute or so. Its one expectation holds whoever goes: what is of interest is how the
/// run compares with its prediction.
#[must_use]
pub fn random_scenario(seed: u64) -> String {
    let mut numbers = Numbers::new(seed);
    let memory = numbers.within(700, 1500, 100);
    let hard = numbers.within(120, 350, 10);
    let mut kubelet = format!(
        "        evictionHard: {{memory.available: {hard}Mi}}\n        evictionPressureTransitionPeriod: {}s\n",
        numbers.within(5, 20, 5)
    );
    if numbers.chance(40) {
        let reclaim = numbers.within(20, 200, 10);
        let _ = writeln!(kubelet, "        evictionMinimumReclaim: {{memory.available: {reclaim}Mi}}");
    }
    if numbers.chance(25) {
        let soft = hard + numbers.within(50, 150, 10);
        let grace = numbers.within(5, 15, 5);
        let _ = writeln!(kubelet, "        evictionSoft: {{memory.available: {soft}Mi}}");
        let _ = writeln!(kubelet, "        evictionSoftGracePeriod: {{memory.available: {grace}s}}");
        let _ = writeln!(kubelet, "        evictionMaxPodGracePeriod: {}", numbers.within(2, 6, 1));
    }
    let pods = numbers.within(2, 5, 1);
    let mut workloads = String::new();
    let mut names = Vec::new();
    for pod in 0..pods {
        let name = format!("pod-{pod}");
        // One of them at least fills more than there is room for, at a pace that the kubelet may or may not keep up with.
        let greedy = pod == 0 || numbers.chance(25);
        let amount = if greedy { memory } else { numbers.within(20, 200, 10) };
        let rate = numbers.within(5, 60, 5);
        let start = if greedy { numbers.within(0, memory / 3, 10) } else { 0 };
        let _ = write!(workloads, "  - name: {name}\n    restartPolicy: Never\n");
        if numbers.chance(40) {
            let _ = writeln!(workloads, "    priority: {}", numbers.within(0, 3, 1) * 1000);
        }
        if numbers.chance(70) {
            let _ = writeln!(workloads, "    requests: {{memory: {}Mi}}", numbers.within(10, memory / 8, 5));
        }
        let _ = writeln!(
            workloads,
            "    fill: {{memory: {{amount: {amount}Mi, rate: {rate}Mi/s, startAt: {start}Mi}}}}"
        );
        names.push(name);
    }
    let names = names.join(", ");
    format!(
        "apiVersion: plimsoll.dev/v1alpha1\nkind: Scenario\nmetadata:\n  name: random-{seed}\n  description: What came of the seed {seed}.\n\
         spec:\n  cluster:\n    nodes:\n    - name: worker\n      memory: {memory}Mi\n      nodefs: 512Mi\n      housekeepingInterval: 1s\n      kubelet:\n{kubelet}\
         \x20 workloads:\n{workloads}  steps:\n  - start: [{names}]\n  - observe: {}s\n  expect:\n    rejected: none\n",
        numbers.within(45, 75, 5)
    )
}

#[cfg(test)]
mod tests {
    use super::random_scenario;

    #[test]
    fn a_seed_gives_one_scenario_and_another_another() {
        assert_eq!(random_scenario(7), random_scenario(7));
        let all: std::collections::BTreeSet<String> = (0..500).map(random_scenario).collect();
        assert_eq!(all.len(), 500);
    }
}
