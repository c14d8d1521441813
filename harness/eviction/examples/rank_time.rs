//! Times rankings: how long one takes once the figures are there, and how long the figures take. Of 12, 110 and 500 pods, or of those in a folder
//! with `pods.json` and `summary.json`, such as `ci/oracle/run rank-time` makes.
//!
//! ```text
//! cargo run --release -p plimsoll-eviction --example rank_time -- [DIR]
//! ```
//!
//! One JSON document a line, times in microseconds, each the fastest of 5 rounds.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use plimsoll_eviction::document::{read_json, read_pods};
use plimsoll_eviction::figures::PodFigures;
use plimsoll_eviction::layout::FilesystemLayout;
use plimsoll_eviction::pod::{Container, Pod, Resources};
use plimsoll_eviction::quantity::Quantity;
use plimsoll_eviction::rank::{RankBy, rank};
use plimsoll_eviction::signal::Signal;
use plimsoll_eviction::summary::{
    ContainerStats, FsStats, MemoryStats, PodReference, PodStats, ProcessStats, Summary,
};

/// Numbers that look like chance, the same ones every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn node(pods: usize) -> (Vec<Pod>, Summary) {
    let mut numbers = Numbers(1);
    let mut summary = Summary::default();
    let pods = (0..pods)
        .map(|at| {
            let uid = format!("00000000-0000-4000-8000-{at:012}");
            let mut bytes = || Some(numbers.below(1 << 31));
            let fs =
                |used_bytes, inodes_used| Some(FsStats { used_bytes, inodes_used, ..FsStats::default() });
            let memory = Some(MemoryStats { working_set_bytes: bytes(), ..MemoryStats::default() });
            let container = ContainerStats {
                name: "main".to_owned(),
                memory: memory.clone(),
                rootfs: fs(bytes(), bytes()),
                logs: fs(bytes(), bytes()),
            };
            summary.pods.push(PodStats {
                pod_ref: PodReference { uid: uid.clone(), ..PodReference::default() },
                containers: vec![container.clone(), container],
                memory,
                processes: Some(ProcessStats { process_count: bytes() }),
                ..PodStats::default()
            });
            let mut amount = || Quantity::from_bytes(numbers.below(1 << 31).cast_signed());
            let requests = [("memory", amount()), ("ephemeral-storage", amount()), ("cpu", amount())];
            let resources = Resources {
                requests: requests.map(|(name, amount)| (name.to_owned(), amount)).into(),
                ..Resources::default()
            };
            let container = Container { name: "main".to_owned(), resources, sidecar: false };
            let priority = i32::try_from(numbers.below(3)).ok();
            Pod { uid, priority, containers: vec![container.clone(), container], ..Pod::default() }
        })
        .collect();
    (pods, summary)
}

/// The time of one call, in microseconds.
fn time(mut call: impl FnMut()) -> f64 {
    let round = || {
        let start = Instant::now();
        let mut calls = 0_u32;
        while start.elapsed() < Duration::from_millis(40) {
            call();
            calls += 1;
        }
        start.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
    };
    std::iter::repeat_with(round).take(5).fold(f64::INFINITY, f64::min)
}

fn read(folder: &Path) -> (Vec<Pod>, Summary) {
    let text = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let pods = read_pods(&text("pods.json")).expect("pods.json");
    (pods, read_json(&text("summary.json")).expect("summary.json"))
}

fn tell((pods, summary): &(Vec<Pod>, Summary)) {
    let count = pods.len();
    let figures = PodFigures::of_all(pods, summary);
    let figures_time = time(|| drop(black_box(PodFigures::of_all(black_box(pods), summary))));
    for signal in
        [Signal::MemoryAvailable, Signal::NodeFsAvailable, Signal::NodeFsInodesFree, Signal::PidAvailable]
    {
        let by = RankBy::signal(signal, FilesystemLayout::Single);
        let rank_time = time(|| drop(black_box(rank(by, black_box(&figures)))));
        println!(
            "{{\"signal\":\"{signal}\",\"pods\":{count},\"rankMicroseconds\":{rank_time:.2},\
             \"figuresMicroseconds\":{figures_time:.2}}}"
        );
    }
}

fn main() {
    match std::env::args_os().nth(1) {
        Some(folder) => tell(&read(Path::new(&folder))),
        None => [12, 110, 500].iter().for_each(|count| tell(&node(*count))),
    }
}
