//! Laws of eviction that hold for any pods and any statistics.

use std::collections::BTreeMap;

use jiff::Timestamp;
use plimsoll_eviction::duration::GoDuration;
use plimsoll_eviction::figures::PodFigures;
use plimsoll_eviction::layout::{FilesystemLayout, NodeReclaim};
use plimsoll_eviction::manager::{EvictionCause, Manager, ManagerOptions, Pass, State};
use plimsoll_eviction::message::PodMessage;
use plimsoll_eviction::observation::{Observation, Observations};
use plimsoll_eviction::pod::{Container, EmptyDir, Pod, ResourceList, Resources, Volume};
use plimsoll_eviction::quantity::Quantity;
use plimsoll_eviction::rank::{Decider, RankBy, decider, rank};
use plimsoll_eviction::signal::Signal;
use plimsoll_eviction::summary::{
    ContainerStats, FsStats, MemoryStats, NodeStats, PodReference, PodStats, ProcessStats, RlimitStats,
    RuntimeStats, Summary, VolumeStats,
};
use plimsoll_eviction::threshold::{Threshold, ThresholdConfiguration, ThresholdValue};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Amounts that are often equal, or next to each other, or at the edge.
fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => select(vec![0_u64, 1, 2, 1000, 1024, 1 << 20, (1 << 20) + 1, 1 << 30]),
        1 => any::<u64>(),
        1 => select(vec![u64::MAX, 1 << 63, (1 << 63) - 1]),
    ]
}

fn quantity() -> impl Strategy<Value = Quantity> {
    let texts = vec![
        "0", "1", "1Ki", "1024", "1000", "1k", "100m", "1.5", "0.5Ki", "1Mi", "1048577", "1Gi", "16E",
        "1e30", "-1",
    ];
    select(texts).prop_map(|text| text.parse().expect("a quantity"))
}

fn list() -> impl Strategy<Value = ResourceList> {
    let name = select(vec!["memory", "ephemeral-storage", "cpu"]);
    vec((name, quantity()), 0..3)
        .prop_map(|pairs| pairs.into_iter().map(|(name, amount)| (name.to_owned(), amount)).collect())
}

prop_compose! {
    fn container()(name in select(vec!["a", "b", "c"]), requests in list(), limits in list(), sidecar: bool) -> Container {
        Container { name: name.to_owned(), resources: Resources { requests, limits }, sidecar }
    }
}

prop_compose! {
    fn volume()(name in select(vec!["v", "w"]), local: bool, size_limit in option::of(quantity()), is_empty_dir: bool) -> Volume {
        Volume { name: name.to_owned(), local, empty_dir: is_empty_dir.then_some(EmptyDir { size_limit }) }
    }
}

prop_compose! {
    fn pod()(
        priority in option::of(select(vec![-1, 0, 0, 0, 1, 1_999_999_999, 2_000_000_000])),
        source in option::of(select(vec!["api", "file"])),
        mirror in prop::bool::weighted(0.1),
        grace in option::of(-1_i64..60),
        containers in vec(container(), 1..3),
        init_containers in vec(container(), 0..3),
        overhead in list(),
        resources in option::weighted(0.2, (list(), list())),
        volumes in vec(volume(), 0..3),
    ) -> Pod {
        let mut annotations = BTreeMap::new();
        if let Some(source) = source {
            annotations.insert("kubernetes.io/config.source".to_owned(), source.to_owned());
        }
        if mirror {
            annotations.insert("kubernetes.io/config.mirror".to_owned(), String::new());
        }
        Pod {
            namespace: "default".to_owned(),
            annotations,
            priority,
            termination_grace_period_seconds: grace,
            containers,
            init_containers,
            overhead,
            resources: resources.map(|(requests, limits)| Resources { requests, limits }),
            volumes,
            ..Pod::default()
        }
    }
}

prop_compose! {
    fn fs()(used_bytes in option::of(amount()), inodes_used in option::of(amount())) -> FsStats {
        FsStats { used_bytes, inodes_used, ..FsStats::default() }
    }
}

prop_compose! {
    fn stats()(
        memory in option::of(option::of(amount())),
        processes in option::of(option::of(amount())),
        containers in vec((select(vec!["a", "b", "x"]), option::of(fs()), option::of(fs()), option::of(amount())), 0..3),
        volumes in vec((select(vec!["v", "w"]), option::of(amount())), 0..3),
        ephemeral_storage in option::of(fs()),
    ) -> PodStats {
        let memory_stats = |working_set_bytes| MemoryStats { working_set_bytes, ..MemoryStats::default() };
        PodStats {
            memory: memory.map(memory_stats),
            processes: processes.map(|process_count| ProcessStats { process_count }),
            containers: containers
                .into_iter()
                .map(|(name, rootfs, logs, memory)| ContainerStats {
                    name: name.to_owned(), rootfs, logs, memory: memory.map(|bytes| memory_stats(Some(bytes))),
                })
                .collect(),
            volumes: volumes
                .into_iter()
                .map(|(name, used_bytes)| VolumeStats { name: name.to_owned(), used_bytes, ..VolumeStats::default() })
                .collect(),
            ephemeral_storage,
            ..PodStats::default()
        }
    }
}

/// Pods with names and uids of their own, and the statistics of some of them.
fn pods() -> impl Strategy<Value = (Vec<Pod>, Vec<PodStats>)> {
    vec((pod(), option::weighted(0.8, stats())), 0..8).prop_map(|entries| {
        let (mut pods, mut all) = (Vec::new(), Vec::new());
        for (at, (mut pod, stats)) in entries.into_iter().enumerate() {
            pod.name = format!("pod-{at}");
            pod.uid = format!("uid-{at}");
            if let Some(mut stats) = stats {
                stats.pod_ref = PodReference { uid: pod.uid.clone(), ..PodReference::default() };
                all.push(stats);
            }
            pods.push(pod);
        }
        (pods, all)
    })
}

prop_compose! {
    fn node()(available in amount(), free in amount(), images in amount(), inodes in amount(), pids in -5_i64..100) -> NodeStats {
        let fs = |available| FsStats {
            available_bytes: Some(available), capacity_bytes: Some(1 << 30),
            inodes_free: Some(inodes), inodes: Some(1 << 20),
            ..FsStats::default()
        };
        NodeStats {
            memory: Some(MemoryStats { available_bytes: Some(available), working_set_bytes: Some(1 << 30), ..MemoryStats::default() }),
            fs: Some(fs(free)),
            runtime: Some(RuntimeStats { image_fs: Some(fs(images)), container_fs: Some(fs(free)) }),
            rlimit: Some(RlimitStats { max_pid: Some(100), running_processes: Some(100 - pids), time: None }),
            ..NodeStats::default()
        }
    }
}

fn layout() -> impl Strategy<Value = FilesystemLayout> {
    select(vec![FilesystemLayout::Single, FilesystemLayout::DedicatedImageFs, FilesystemLayout::Split])
}

fn orders(layout: FilesystemLayout) -> Vec<RankBy> {
    Signal::ALL.into_iter().map(|signal| RankBy::signal(signal, layout)).collect()
}

fn manager(layout: FilesystemLayout, isolation: bool, soft: bool) -> Manager {
    let texts = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(signal, value)| ((*signal).to_owned(), (*value).to_owned())).collect()
    };
    let statements = texts(&[
        ("memory.available", "1Mi"),
        ("nodefs.available", "10%"),
        ("imagefs.inodesFree", "5%"),
        ("pid.available", "50"),
    ]);
    let (hard, soft) = if soft { (BTreeMap::new(), statements) } else { (statements, BTreeMap::new()) };
    let configuration = ThresholdConfiguration {
        soft_grace_periods: soft.keys().map(|signal| (signal.clone(), "30s".to_owned())).collect(),
        minimum_reclaims: texts(&[("memory.available", "1Mi"), ("nodefs.available", "5%")]),
        hard,
        soft,
        enforces_pods: true,
    };
    Manager::new(
        &configuration.parse().expect("thresholds"),
        ManagerOptions {
            layout,
            pressure_transition_period: GoDuration::from_seconds(60),
            max_pod_grace_period_seconds: 20,
            local_storage_capacity_isolation: isolation,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Every pod is ranked once; between groups something decides, one way only; within a group nothing does.
    #[test]
    fn an_order_is_total_over_its_groups((pods, stats) in pods(), layout in layout()) {
        let summary = Summary { pods: stats, ..Summary::default() };
        let figures = PodFigures::of_all(&pods, &summary);
        for by in orders(layout) {
            let groups = rank(by, &figures);
            let mut ranked: Vec<usize> = groups.concat();
            ranked.sort_unstable();
            prop_assert_eq!(ranked, (0..pods.len()).collect::<Vec<_>>());
            // Counts of processes half the 64-bit circle apart have no order upstream either.
            let counts: Vec<u64> = figures.iter().filter_map(|figures| Some(figures.usage.as_ref()?.processes)).collect();
            let circular = counts.iter().max().zip(counts.iter().min()).is_some_and(|(max, min)| max - min >= 1 << 63);
            if by == RankBy::Processes && circular {
                continue;
            }
            for (at, group) in groups.iter().enumerate() {
                for &pod in group {
                    for &same in group {
                        prop_assert_eq!(decider(by, &figures[pod], &figures[same]), None);
                    }
                    for &later in groups[at + 1..].iter().flatten() {
                        prop_assert!(decider(by, &figures[pod], &figures[later]).is_some());
                        prop_assert_eq!(decider(by, &figures[later], &figures[pod]), None);
                    }
                }
            }
        }
    }

    /// The order does not hang on the order that pods are listed in.
    #[test]
    fn an_order_does_not_depend_on_the_list((pods, stats) in pods(), layout in layout()) {
        let summary = Summary { pods: stats, ..Summary::default() };
        let mut backwards = pods.clone();
        backwards.reverse();
        for by in orders(layout) {
            let names = |pods: &[Pod]| -> Vec<Vec<String>> {
                let groups = rank(by, &PodFigures::of_all(pods, &summary));
                groups.into_iter().map(|group| {
                    let mut names: Vec<String> = group.into_iter().map(|pod| pods[pod].name.clone()).collect();
                    names.sort();
                    names
                }).collect()
            };
            prop_assert_eq!(names(&pods), names(&backwards));
        }
    }

    /// More usage never saves a pod, and a larger request never dooms one.
    #[test]
    fn more_memory_never_lets_a_pod_go_later((pods, stats) in pods(), more in 1_u64..1 << 40) {
        prop_assume!(!stats.is_empty());
        let place = |stats: &[PodStats]| {
            let summary = Summary { pods: stats.to_vec(), ..Summary::default() };
            let pod = pods.iter().position(|pod| pod.uid == stats[0].pod_ref.uid).expect("the pod");
            rank(RankBy::Memory, &PodFigures::of_all(&pods, &summary)).iter().position(|group| group.contains(&pod)).map(|at| {
                let before: usize = rank(RankBy::Memory, &PodFigures::of_all(&pods, &summary))[..at].iter().map(Vec::len).sum();
                before
            })
        };
        let mut hungrier = stats.clone();
        let memory = hungrier[0].memory.get_or_insert_default();
        let used = memory.working_set_bytes.unwrap_or(0).cast_signed();
        prop_assume!(used.checked_add_unsigned(more).is_some());
        memory.working_set_bytes = Some(used.wrapping_add_unsigned(more).cast_unsigned());
        prop_assert!(place(&hungrier) <= place(&stats));
    }

    /// Whatever happens: exempt pods stay, at most one pod goes for a threshold, every message reads back, grace is right.
    #[test]
    fn a_pass_evicts_no_more_than_it_may(
        (pods, stats) in pods(), nodes in vec(node(), 1..6), layout in layout(), isolation: bool, soft: bool,
        seconds in 5_i64..40, reclaims: bool, choice in 0_usize..10,
    ) {
        let manager = manager(layout, isolation, soft);
        let active: Vec<&Pod> = pods.iter().collect();
        let mut state = State::default();
        for (at, node) in nodes.iter().enumerate() {
            let now = Timestamp::from_second(1_000_000 + seconds * i64::try_from(at).expect("few")).expect("a time");
            let summary = Summary { node: node.clone(), pods: stats.clone() };
            let pass = Pass { now, pods: &active, summary: Some(&summary) };
            let after = |done: &[NodeReclaim]| {
                assert!(!done.is_empty());
                reclaims.then(Summary::default)
            };
            let (next, outcome) = manager.step(&state, pass, &mut |options: usize| choice % options, after);
            for eviction in &outcome.evictions {
                prop_assert_eq!(active[eviction.pod].exemption(), None);
                let text = eviction.message.to_string();
                prop_assert_eq!(text.parse::<PodMessage>(), Ok(eviction.message.clone()), "{}", text);
                prop_assert!(eviction.grace_period_seconds <= 20);
                let for_threshold = matches!(eviction.cause, EvictionCause::Threshold(_));
                prop_assert_eq!(for_threshold, eviction.annotations.is_some());
                if for_threshold {
                    prop_assert_eq!(outcome.evictions.len(), 1);
                    prop_assert!(outcome.reclaiming.is_some());
                    prop_assert!(!reclaims || outcome.node_reclaim.is_empty());
                } else {
                    prop_assert!(isolation);
                    prop_assert_eq!(outcome.reclaiming, None);
                }
            }
            for met in &outcome.thresholds_met {
                prop_assert!(outcome.conditions.contains(&met.signal.condition()));
            }
            prop_assert_eq!(next.conditions(), outcome.conditions.as_slice());
            state = next;
        }
    }

    /// Statistics that are not newer cause nothing, and neither does a pass without any.
    #[test]
    fn stale_statistics_evict_nobody((pods, stats) in pods(), mut node in node(), layout in layout()) {
        let manager = manager(layout, false, false);
        let active: Vec<&Pod> = pods.iter().collect();
        let time = Some(Timestamp::from_second(5).expect("a time"));
        let runtime = node.runtime.as_mut().expect("a runtime");
        for fs in [node.fs.as_mut(), runtime.image_fs.as_mut(), runtime.container_fs.as_mut()].into_iter().flatten() {
            fs.time = time;
        }
        node.memory.as_mut().expect("memory").time = time;
        node.rlimit.as_mut().expect("a limit").time = time;
        let summary = Summary { node, pods: stats };
        let at = |second| Timestamp::from_second(second).expect("a time");
        // The first pass does not look at containerfs, whose statistics are then not new at the second.
        let pass = |second, summary| Pass { now: at(second), pods: &active, summary };
        let mut first = |_: usize| 0;
        let (state, before) = manager.step(&State::default(), pass(10, Some(&summary)), &mut first, |_| None);
        let (state, stale) = manager.step(&state, pass(20, Some(&summary)), &mut first, |_| None);
        prop_assert!(stale.evictions.is_empty() && stale.reclaiming.is_none() && stale.node_reclaim.is_empty());
        prop_assert_eq!(&stale.conditions, &before.conditions);
        let (_, none) = manager.step(&state, pass(30, None), &mut first, |_| None);
        prop_assert_eq!(none, stale);
    }

    /// A threshold that is met is met with its minimum reclaim too, and a larger minimum reclaim is never easier to satisfy.
    #[test]
    fn minimum_reclaim_is_monotone(
        value in 1_i64..1 << 40, percent in prop::num::f32::POSITIVE, use_percent: bool,
        reclaim in 0_i64..1 << 40, more in 0_i64..1 << 40, available: i64, capacity in 0_i64..1 << 50,
    ) {
        let value = if use_percent {
            ThresholdValue::Percentage(percent.min(1.0))
        } else {
            ThresholdValue::Quantity(Quantity::from_bytes(value))
        };
        let threshold = |reclaim: i64| {
            Threshold::new(Signal::MemoryAvailable, value.clone(), GoDuration::ZERO)
                .with_minimum_reclaim(ThresholdValue::Quantity(Quantity::from_bytes(reclaim)))
        };
        let observation = Observation { available: available >> 10, capacity, time: None };
        let (small, large) = (threshold(reclaim), threshold(reclaim + more));
        prop_assert!(!small.is_met(&observation, false) || small.is_met(&observation, true));
        prop_assert!(!small.is_met(&observation, true) || large.is_met(&observation, true));
        prop_assert!(!small.is_met_by(&Observations::default(), true));
    }
}

#[test]
fn what_decides_is_named() {
    let figures = |priority, memory: Option<u64>, request: &str| {
        let pod = Pod {
            priority: Some(priority),
            containers: vec![Container {
                resources: Resources {
                    requests: [("memory".to_owned(), request.parse().expect("a quantity"))].into(),
                    ..Resources::default()
                },
                ..Container::default()
            }],
            ..Pod::default()
        };
        let stats = memory.map(|bytes| PodStats {
            memory: Some(MemoryStats { working_set_bytes: Some(bytes), ..MemoryStats::default() }),
            ..PodStats::default()
        });
        PodFigures::new(&pod, stats.as_ref())
    };
    let by = RankBy::Memory;
    let over = figures(5, Some(200), "100");
    assert_eq!(decider(by, &figures(9, None, "0"), &over), Some(Decider::MissingStats));
    assert_eq!(decider(by, &over, &figures(0, Some(100), "100")), Some(Decider::OverRequest));
    assert_eq!(decider(by, &figures(4, Some(101), "100"), &over), Some(Decider::Priority));
    assert_eq!(decider(by, &over, &figures(5, Some(150), "100")), Some(Decider::Excess));
    assert_eq!(decider(by, &over, &over), None);
    let by = RankBy::Processes;
    assert_eq!(decider(by, &figures(4, Some(0), "0"), &figures(5, None, "0")), Some(Decider::Priority));
    assert_eq!(decider(by, &figures(5, None, "0"), &figures(5, Some(0), "0")), Some(Decider::MissingStats));
}
