//! Disks, inodes, process ids, limits on local storage and room made on the node itself, in scenarios made for one rule each.

use plimsoll::model::Prediction;

use crate::text::{course, holds, wholly_predicted};

/// What a node's kubelet is told here besides thresholds.
const QUICK: &str = "volumeStatsAggPeriod: 1s, imageMinimumGCAge: 1s, containerLogMaxSize: 1Gi, evictionPressureTransitionPeriod: 5s";

/// One node with these bounds and thresholds, on which such workloads go through such steps.
fn predicted(bounds: &str, thresholds: &str, workloads: &str, steps: &str, expect: &str) -> Prediction {
    let node = format!(
        "    - {{name: worker, memory: 1Gi, housekeepingInterval: 1s, {bounds}, kubelet: {{{thresholds}, {QUICK}}}}}"
    );
    let text = course(&node, workloads, steps, expect);
    wholly_predicted(&text)
}

/// The same in nearly every phase: where the kubelet looks before it has measured what was just filled, others go.
#[track_caller]
fn mostly_holds(prediction: &Prediction) {
    for finding in &prediction.findings {
        assert!(finding.held * 10 >= prediction.phases * 8, "{finding:?}");
    }
}

/// Who goes in every phase, in order.
#[track_caller]
fn departures(prediction: &Prediction) -> Vec<&str> {
    assert_eq!(prediction.sequences.len(), 1, "{:?}", prediction.sequences);
    prediction.sequences[0].departures.iter().map(|own| own.what.as_str()).collect()
}

#[test]
fn whoever_is_over_its_request_for_storage_goes_first_and_gives_it_back() {
    let prediction = predicted(
        "nodefs: 768Mi",
        "evictionHard: {nodefs.available: 200Mi}",
        "  - {name: provident, requests: {ephemeral-storage: 350Mi}, fill: {disk: {amount: 300Mi, as: Allocated, into: EmptyDir}}}
  - {name: sprawling, requests: {ephemeral-storage: 20Mi}, fill: {disk: {amount: 220Mi, as: Allocated, into: EmptyDir}}}",
        "  - start: [provident]\n  - wait: {for: Filled, within: 60s}\n  - start: [sprawling]
  - wait: {for: evictions, within: 60s}\n  - wait: {for: condition, condition: DiskPressure, is: cleared, within: 60s}",
        "    evicted: [sprawling]\n    survive: [provident]\n    reclaimed: {nodefs.available: {atLeast: 180Mi}}
    conditions: [DiskPressure]\n    message: [{workload: sprawling, resource: ephemeral-storage, threshold: 200Mi, available: {atMost: 200Mi}}]",
    );
    holds(&prediction);
    assert_eq!(departures(&prediction), ["sprawling evicted for ephemeral-storage"]);
    let changes: Vec<&str> =
        prediction.conditions[0].departures.iter().map(|own| own.what.as_str()).collect();
    assert_eq!(changes, ["DiskPressure of worker raised", "DiskPressure of worker cleared"]);
}

#[test]
fn a_second_filesystem_ranks_by_layers_and_the_first_by_the_rest() {
    let workloads = "  - {name: volume, fill: {disk: {amount: 300Mi, as: Allocated, into: EmptyDir}}}
  - {name: layer, fill: {disk: {amount: 300Mi, as: Allocated}}}";
    let steps = "  - start: [volume, layer]\n  - wait: {for: evictions, within: 60s}\n  - observe: 25s";
    for (threshold, goes) in [("imagefs.available: 200Mi", "layer"), ("nodefs.available: 200Mi", "volume")] {
        let thresholds = format!("evictionHard: {{{threshold}}}");
        let prediction = predicted(
            "nodefs: 512Mi, imagefs: 512Mi",
            &thresholds,
            workloads,
            steps,
            &format!("    evicted: [{goes}]\n    conditions: [DiskPressure]"),
        );
        mostly_holds(&prediction);
    }
}

#[test]
fn a_log_counts_and_goes_with_its_evicted_pod() {
    let prediction = predicted(
        "nodefs: 512Mi",
        "evictionHard: {nodefs.available: 200Mi}",
        "  - {name: quiet, fill: {memory: {amount: 20Mi}}}\n  - {name: chatty, fill: {disk: {amount: 300Mi, rate: 40Mi/s, into: Log}}}",
        "  - start: [quiet, chatty]\n  - wait: {for: evictions, within: 60s}\n  - observe: 25s",
        "    evicted: [chatty]\n    survive: [quiet]\n    reclaimed: {nodefs.available: {atLeast: 180Mi}}\n    conditions: [DiskPressure]",
    );
    holds(&prediction);
}

#[test]
fn what_is_left_on_the_node_stays_and_others_go_for_it() {
    let goes = |keep: bool| {
        let workloads = format!(
            "  - {{name: litterer, fill: {{disk: {{amount: 160Mi, as: Allocated, keep: {keep}, hold: 1s, into: {{hostPath: {{path: /data}}}}}}}}}}
  - {{name: innocent, fill: {{disk: {{amount: 20Mi, as: Allocated, into: EmptyDir}}}}}}"
        );
        let prediction = predicted(
            "nodefs: 512Mi",
            "evictionHard: {nodefs.available: 200Mi}",
            &workloads,
            "  - start: [litterer]\n  - wait: {for: Gone, pods: [litterer], within: 60s}\n  - delete: [litterer]
  - start: [innocent]\n  - wait: {for: Filled, pods: [innocent], within: 60s}
  - fill: {node: worker, disk: {amount: 160Mi, as: Allocated, into: Nodefs}}\n  - observe: 25s",
            "    oomKills: none",
        );
        departures(&prediction).join(", ")
    };
    assert_eq!(goes(true), "innocent evicted for ephemeral-storage");
    assert_eq!(goes(false), "");
}

#[test]
fn a_full_disk_ends_the_filler_which_gives_everything_back() {
    let prediction = predicted(
        "nodefs: 512Mi",
        "evictionHard: {nodefs.available: 1Mi}",
        "  - {name: glutton, fill: {disk: {amount: 2Gi, as: Allocated, into: EmptyDir}}}\n  - {name: idler, fill: {memory: {amount: 10Mi}}}",
        "  - start: [glutton, idler]\n  - wait: {for: Gone, pods: [glutton], within: 60s}\n  - observe: 25s",
        "    evicted: []\n    survive: [idler]\n    conditions: []\n    ended: {glutton: {as: Failed}}",
    );
    holds(&prediction);
}

#[test]
fn all_who_are_over_a_limit_go_in_one_look_and_no_condition_is_raised() {
    let fill = |into: &str| format!("fill: {{disk: {{amount: 60Mi, as: Allocated, into: {into}}}}}");
    let workloads = format!(
        "  - {{name: volume, {}}}\n  - {{name: layer, limits: {{ephemeral-storage: 50Mi}}, {}}}\n  - {{name: shared, limits: {{ephemeral-storage: 50Mi}}, {}}}\n  - {{name: modest, limits: {{ephemeral-storage: 70Mi}}, {}}}",
        fill("{emptyDir: {sizeLimit: 50Mi}}"),
        fill("WritableLayer"),
        fill("EmptyDir"),
        fill("{emptyDir: {sizeLimit: 70Mi}}"),
    );
    let prediction = predicted(
        "nodefs: 512Mi",
        "evictionHard: {nodefs.available: 5%}",
        &workloads,
        "  - start: [volume, layer, shared, modest]\n  - wait: {for: evictions, count: 3, within: 60s}\n  - observe: 12s",
        "    overLimit: {volume: EmptyDir, layer: Pod, shared: Pod}\n    survive: [modest]\n    evicted: []\n    conditions: []",
    );
    holds(&prediction);
    let together = prediction.sequences.iter().filter(|own| {
        let times = own.departures.iter().map(|own| own.earliest);
        own.departures.len() == 3
            && times.clone().fold(f64::MIN, f64::max) - times.fold(f64::MAX, f64::min) < 3.0
    });
    assert!(together.map(|own| own.phases).sum::<u32>() >= 15, "{:?}", prediction.sequences);
}

#[test]
fn a_tmpfs_can_not_outgrow_its_limit() {
    let fill = |amount: &str| {
        format!(
            "fill: {{memory: {{amount: {amount}, as: Tmpfs, into: {{emptyDir: {{sizeLimit: 50Mi, medium: Memory}}}}}}}}"
        )
    };
    let prediction = predicted(
        "nodefs: 512Mi",
        "evictionHard: {nodefs.available: 5%}",
        &format!("  - {{name: below, {}}}\n  - {{name: above, {}}}", fill("40Mi"), fill("60Mi")),
        "  - start: [below, above]\n  - wait: {for: Gone, pods: [above], within: 60s}\n  - observe: 12s",
        "    overLimit: none\n    survive: [below]\n    evicted: []\n    conditions: []",
    );
    holds(&prediction);
}

#[test]
fn files_take_inodes_wherever_they_are() {
    for into in ["EmptyDir", "WritableLayer"] {
        let workloads = format!(
            "  - {{name: tidy, fill: {{disk: {{amount: 100Mi, as: Allocated, into: EmptyDir}}}}}}\n  - {{name: litterer, fill: {{inodes: {{amount: 24k, into: {into}}}}}}}"
        );
        let prediction = predicted(
            "nodefs: {size: 512Mi, inodes: 40000}",
            "evictionHard: {nodefs.inodesFree: 50%}",
            &workloads,
            "  - start: [tidy, litterer]\n  - wait: {for: evictions, within: 60s}\n  - wait: {for: condition, condition: DiskPressure, is: cleared, within: 60s}",
            "    evicted: [litterer]\n    survive: [tidy]\n    conditions: [DiskPressure]\n    message: [{workload: litterer, resource: inodes, threshold: {atLeast: 19k, atMost: 21k}}]",
        );
        mostly_holds(&prediction);
    }
}

#[test]
fn of_two_with_one_priority_the_one_with_more_processes_goes() {
    let prediction = predicted(
        "nodefs: 512Mi",
        "evictionHard: {pid.available: \"6500\"}",
        "  - {name: calm, fill: {memory: {amount: 200Mi}}}\n  - {name: family, fill: {pids: {amount: 300}}}\n  - {name: breeder, fill: {pids: {amount: 1800}}}",
        "  - start: [calm, family, breeder]\n  - wait: {for: evictions, within: 60s}\n  - wait: {for: condition, condition: PIDPressure, is: cleared, within: 60s}",
        "    evicted: [breeder]\n    survive: [calm, family]\n    conditions: [PIDPressure]\n    reclaimed: {pid.available: {atLeast: 1500}}",
    );
    mostly_holds(&prediction);
}

#[test]
fn a_node_that_may_have_no_more_processes_ends_the_filler() {
    let prediction = predicted(
        "nodefs: 512Mi, pids: 1024",
        "evictionHard: {pid.available: \"10\"}",
        "  - {name: breeder, fill: {pids: {amount: 2000}}}",
        "  - start: [breeder]\n  - wait: {for: Gone, within: 60s}\n  - observe: 12s",
        "    evicted: []\n    conditions: []\n    ended: {breeder: {as: Failed}}",
    );
    holds(&prediction);
}

#[test]
fn taints_for_pressure_are_waited_for() {
    let prediction = predicted(
        "nodefs: 512Mi",
        "evictionHard: {pid.available: \"4300\"}, evictionSoft: {pid.available: 80%}, evictionSoftGracePeriod: {pid.available: 10m}",
        "  - {name: late, fill: {memory: {amount: 10Mi}}}",
        "  - fill: {node: worker, pids: {amount: 2400}}
  - wait: {for: taint, taint: node.kubernetes.io/pid-pressure, effect: NoSchedule, within: 60s}\n  - start: [late]\n  - observe: 5s",
        "    evicted: []\n    conditions: [{condition: PIDPressure, cleared: false}]\n    ended: {late: {as: Pending}}",
    );
    holds(&prediction);
}

/// A node with an image of 160Mi that nothing uses, whose disk a pod brings below its threshold.
fn with_image(image: &str, least_age: &str, first: &str, expect: &str) -> Prediction {
    let node = format!(
        "    - name: worker
      memory: 1Gi
      nodefs: 512Mi
      images: [{image}]
      housekeepingInterval: 1s
      kubelet: {{evictionHard: {{nodefs.available: 200Mi}}, imageMinimumGCAge: {least_age}, volumeStatsAggPeriod: 1s, evictionPressureTransitionPeriod: 5s}}"
    );
    let workloads = "  - {name: done, fill: {disk: {amount: 160Mi, hold: 1s, keep: true}}}
  - {name: hoarder, fill: {disk: {amount: 130Mi, as: Allocated, into: EmptyDir}}}";
    let steps = format!(
        "{first}  - start: [hoarder]
  - wait: {{for: condition, condition: DiskPressure, within: 60s}}
  - observe: 30s"
    );
    let expect = format!("    conditions: [DiskPressure]\n{expect}");
    wholly_predicted(&course(&node, workloads, &steps, &expect))
}

#[test]
fn unused_images_go_before_any_pod_unless_they_are_pinned_or_young() {
    let nobody = "    evicted: []\n    survive: [hoarder]\n    nodeReclaimed: {images: 1}";
    holds(&with_image("{name: unused, size: 160Mi}", "1h", "", nobody));
    let hoarder = |kept: &str| {
        format!("    evicted: [hoarder]\n    nodeReclaimed: {{images: {{atMost: 1}}, kept: [{kept}]}}")
    };
    holds(&with_image("{name: fixed, size: 160Mi, pinned: true}", "1s", "", &hoarder("fixed")));
    let load = "  - load: {images: [{name: young, size: 160Mi}]}\n";
    holds(&with_image("{name: small, size: 1Mi}", "1h", load, &hoarder("young")));
}

#[test]
fn containers_that_have_ended_go_before_any_pod() {
    let first = "  - start: [done]\n  - wait: {for: Gone, pods: [done], within: 60s}\n";
    let expect = "    evicted: []\n    survive: [hoarder]\n    nodeReclaimed: {containers: {atLeast: 1}}\n    reclaimed: {nodefs.available: {atLeast: 120Mi}}";
    holds(&with_image("{name: small, size: 1Mi}", "1s", first, expect));
}

#[test]
fn whoever_asks_for_more_storage_than_there_is_waits() {
    let prediction = predicted(
        "nodefs: 512Mi",
        "evictionHard: {nodefs.available: 200Mi}",
        "  - {name: huge, requests: {ephemeral-storage: 300Mi}, fill: {memory: {amount: 10Mi}}}",
        "  - start: [huge]\n  - wait: {for: Unschedulable, pods: [huge], within: 5s}\n  - observe: 1s",
        "    ended: {huge: {as: Pending, reason: Insufficient ephemeral-storage}}",
    );
    holds(&prediction);
}
