//! Tier: pure. Grids on the model: axes and fields as they are written, short cuts that change nothing, and what is
//! concluded.

use std::path::Path;

use plimsoll::model::Assumptions;
use plimsoll::scenario::Files;
use plimsoll::sweep::{Axis, Cell, Fate, FieldPath, Summary, Sweep, document, heat_map, substitute, svg};

const THRESHOLD: &str = "nodes.worker.kubelet.evictionHard[memory.available]";
const RATE: &str = "workloads.greedy.fill.memory.rate";

fn scenario() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/sweeps/threshold-and-ramp.yaml");
    std::fs::read_to_string(path).expect("the scenario of the documentation")
}

fn sweep(axes: &[&str], phases: u32) -> Sweep {
    try_sweep(axes, phases).expect("a grid")
}

fn try_sweep(axes: &[&str], phases: u32) -> Result<Sweep, String> {
    let axes: Vec<Axis> = axes
        .iter()
        .map(|axis| axis.parse::<Axis>().map_err(|error| error.to_string()))
        .collect::<Result<_, _>>()?;
    Sweep::new("threshold-and-ramp.yaml", &scenario(), &Files::new(), axes, Assumptions::default(), phases)
        .map_err(|error| error.to_string())
}

fn cells(sweep: &Sweep) -> Vec<Cell> {
    let mut cells = Vec::new();
    sweep
        .run(|index, cell| {
            assert_eq!(index, cells.len(), "cells come in order");
            cells.push(*cell);
            Ok(())
        })
        .expect("all cells");
    cells
}

fn summary(sweep: &Sweep) -> Summary<'_> {
    let mut summary = Summary::new(sweep);
    cells(sweep).iter().for_each(|cell| summary.add(cell));
    summary
}

#[test]
fn ranges_and_lists_are_read() {
    let values = |text: &str| -> Vec<String> {
        let axis: Axis = format!("workloads.a.b={text}").parse().expect(text);
        axis.values.into_iter().map(|value| value.text).collect()
    };
    assert_eq!(values("100Mi..250Mi:50Mi"), ["100Mi", "150Mi", "200Mi", "250Mi"]);
    assert_eq!(values("900Mi..1Gi:50Mi"), ["900Mi", "950Mi", "1000Mi"]);
    assert_eq!(values("5Mi/s..15Mi/s:5Mi/s"), ["5Mi/s", "10Mi/s", "15Mi/s"]);
    assert_eq!(values("5%..7%:1%"), ["5%", "6%", "7%"]);
    assert_eq!(values("0.5%..1%:0.25%"), ["0.5%", "0.75%", "1%"]);
    assert_eq!(values("10s..1m10s:30s"), ["10s", "40s", "1m10s"]);
    assert_eq!(values("-2..1:1"), ["-2", "-1", "0", "1"]);
    assert_eq!(values("100Mi, 10%,always"), ["100Mi", "10%", "always"]);
    assert_eq!(values("1Gi"), ["1Gi"]);
}

#[test]
fn what_varies_nothing_is_refused_with_the_reason() {
    for (text, expected) in [
        ("nodes", "varies nothing"),
        ("nodes=1", "is no field"),
        ("nodes.worker.memory=", "varies nothing"),
        ("nodes.worker.memory=1Gi..2Gi", "varies nothing"),
        ("nodes.worker.memory=1Gi..x:1Mi", "`x` is no figure"),
        ("nodes.worker.memory=1Gi..2Gi:0", "of one kind"),
        ("nodes.worker.memory=1Gi..2Gi:10s", "of one kind"),
        ("nodes.worker.memory=2Gi..1Gi:1Mi", "goes nowhere"),
        ("nodes.worker.memory=1..900000000:1", "more than a million"),
        ("nodes..memory=1Gi", "is no field"),
        ("nodes.worker.kubelet.evictionHard[memory=1Gi", "is no field"),
        ("nodes.worker.memori.x=1Gi", "did you mean `memory`"),
        ("nodes.wrker.memory=1Gi", "did you mean `worker`"),
        ("workload.greedy.fill=1Gi", "did you mean `workloads`"),
        ("nodes.worker.memory.more=1Gi", "it is no mapping"),
        ("workloads.greedy.fill.memory.rate=fast", "E0006"),
        ("nodes.worker.kubelet.evictionHard[memory.availble]=1Gi", "memory.available"),
    ] {
        let said = try_sweep(&[text], 1).expect_err(text);
        assert!(said.contains(expected), "{text}: {said}");
    }
    let said = try_sweep(&["nodes.worker.memory=1Gi", "spec.cluster.nodes.worker.memory=2Gi"], 1)
        .expect_err("twice");
    assert!(said.contains("varied twice"), "{said}");
}

#[test]
fn a_value_is_put_where_the_path_says() {
    let mut scenario = document(&scenario()).expect("a mapping");
    let put = |scenario: &mut serde_json::Value, path: &str, value: &str| {
        substitute(scenario, &path.parse::<FieldPath>().expect(path), value).expect(path);
    };
    put(&mut scenario, THRESHOLD, "10%");
    put(&mut scenario, "nodes.0.kubelet.evictionSoft[memory.available]", "1Gi");
    put(&mut scenario, "workloads.steady.priority", "5");
    let node = &scenario["spec"]["cluster"]["nodes"][0];
    assert_eq!(node["kubelet"]["evictionHard"]["memory.available"], "10%");
    assert_eq!(node["kubelet"]["evictionSoft"]["memory.available"], "1Gi");
    assert_eq!(scenario["spec"]["workloads"][0]["priority"], 5);
}

/// The model's own setters, and reading the whole scenario anew, come to the same in every cell.
#[test]
fn short_cuts_change_nothing() {
    let sweep = sweep(
        &[
            &format!("{THRESHOLD}=150Mi,12%,600Mi"),
            &format!("{RATE}=10Mi/s,45Mi/s,190Mi/s"),
            "workloads.greedy.fill.memory.startAt=0,700Mi",
            "workloads.steady.fill.memory.amount=100Mi,290Mi",
            "nodes.worker.memory=1500Mi,2Gi",
        ],
        5,
    );
    let quickly = cells(&sweep);
    assert_eq!(quickly.len(), 72);
    for (cell, quickly) in quickly.iter().enumerate() {
        let places = sweep.places(cell);
        assert_eq!(sweep.cell_at(&places), cell);
        assert_eq!(*quickly, sweep.play(&places).expect("a cell"), "{}", sweep.words(&places));
    }
}

/// A field that the model has no setter for goes by way of the text, wherever it stands among the axes.
#[test]
fn every_field_can_be_varied() {
    let slow = "nodes.worker.kubelet.evictionMinimumReclaim[memory.available]=0,300Mi";
    let first = sweep(&[slow, &format!("{RATE}=10Mi/s..100Mi/s:10Mi/s")], 3);
    let last = sweep(&[&format!("{RATE}=10Mi/s..100Mi/s:10Mi/s"), slow], 3);
    let (one, other) = (cells(&first), cells(&last));
    for (place, cell) in one.iter().enumerate() {
        let [reclaim, rate] = first.places(place)[..] else { panic!("two axes") };
        assert_eq!(*cell, other[last.cell_at(&[rate, reclaim])]);
    }
}

#[test]
fn a_slow_ramp_is_always_evicted_and_a_fast_one_never() {
    let sweep = sweep(&[&format!("{THRESHOLD}=500Mi"), &format!("{RATE}=5Mi/s,1Gi/s")], 50);
    let cells = cells(&sweep);
    assert_eq!((cells[0].in_time, cells[0].oom_killed), (50, 0), "{:?}", cells[0]);
    assert!(cells[1].oom_killed > 40, "{:?}", cells[1]);
    let over = cells[0].over_evicted.expect("somebody went");
    assert!(over.least > 500 << 20 && over.most < 2 << 30, "{over:?}");
    assert!(cells[0].relief.is_some_and(|relief| relief.most < 20_000_000), "{:?}", cells[0].relief);
}

#[test]
fn what_follows_is_said_in_words() {
    let sweep =
        sweep(&[&format!("{THRESHOLD}=100Mi..1Gi:100Mi"), &format!("{RATE}=10Mi/s..100Mi/s:10Mi/s")], 20);
    let summary = summary(&sweep);
    insta::assert_snapshot!("recommendation", summary.recommendation().join("\n"));
    insta::assert_snapshot!("heat_map", heat_map(&summary, 80, |_, cell| cell.to_owned()));
    let frontier = summary.frontier();
    assert_eq!(frontier.len(), 10);
    // A larger threshold never holds for less.
    assert!((1..10).all(|column| summary.holds(column) >= summary.holds(column - 1)), "{frontier:?}");
    let boundary = summary.boundary(12);
    let played: Vec<Cell> =
        boundary.iter().map(|cell| sweep.play(&sweep.places(*cell)).expect("a cell")).collect();
    let always = |fate| played.iter().filter(|cell| cell.always() == Some(fate)).count();
    assert!(always(Fate::InTime) >= 8, "most are such that one run can contradict them: {played:?}");
    assert_eq!(summary.boundary(12).len(), 12);
}

#[test]
fn a_boundary_has_cells_that_are_always_killed_too() {
    let sweep =
        sweep(&[&format!("{THRESHOLD}=100Mi..400Mi:100Mi"), &format!("{RATE}=5Mi/s,60Mi/s,8Gi/s")], 20);
    let boundary = summary(&sweep).boundary(8);
    let played: Vec<Cell> =
        boundary.iter().map(|cell| sweep.play(&sweep.places(*cell)).expect("a cell")).collect();
    let always = |fate| played.iter().filter(|cell| cell.always() == Some(fate)).count();
    assert!(always(Fate::InTime) >= 3 && always(Fate::OomKilled) >= 2, "{played:?}");
}

#[test]
fn a_grid_without_a_setting_that_holds_says_so() {
    let sweep = sweep(&[&format!("{THRESHOLD}=100Mi,150Mi"), &format!("{RATE}=200Mi/s,400Mi/s")], 20);
    let said = summary(&sweep).recommendation().join("\n");
    assert!(
        said.starts_with("No nodes.worker.kubelet.evictionHard[memory.available] that was tried"),
        "{said}"
    );
}

#[test]
fn the_chart_stands_by_itself() {
    let sweep =
        sweep(&[&format!("{THRESHOLD}=100Mi..1Gi:100Mi"), &format!("{RATE}=10Mi/s..100Mi/s:10Mi/s")], 10);
    let chart = svg(&summary(&sweep));
    assert!(chart.starts_with("<svg xmlns=") && chart.trim_end().ends_with("</svg>"));
    assert!(!chart.contains("href") && !chart.contains("<script"), "it fetches nothing");
    for words in [THRESHOLD, RATE, "PREDICTED", "always evicted in time", "boundary", "100Mi/s", "<polyline"]
    {
        assert!(chart.contains(words), "{words}");
    }
    assert_eq!(chart.matches("<text").count(), chart.matches("</text>").count());
}

#[test]
fn what_is_not_modelled_is_said_wherever_a_grid_is_told() {
    let stopped = "  - start: [greedy]\n  - controlPlane: {component: kube-controller-manager, do: stop}";
    let text = scenario().replace("  - start: [greedy]", stopped);
    assert_ne!(text, scenario(), "a step was put in");
    let axis: Axis = format!("{THRESHOLD}=100Mi,200Mi").parse().expect("an axis");
    let sweep =
        Sweep::new("stopped", &text, &Files::new(), vec![axis], Assumptions::default(), 2).expect("a grid");
    let summary = summary(&sweep);
    assert!(!sweep.omissions().is_empty());
    let said = summary.recommendation();
    assert!(said[0].starts_with("The model leaves a part of this scenario out"), "{said:?}");
    assert!(svg(&summary).contains("The model leaves a part"), "the chart says so too");
}

#[test]
fn what_a_threshold_costs_follows_the_memory_of_the_node() {
    let sweep =
        sweep(&[&format!("{THRESHOLD}=512Mi"), &format!("{RATE}=5Mi/s"), "nodes.worker.memory=2Gi,4Gi"], 2);
    let said = summary(&sweep).recommendation().join("\n");
    assert!(said.contains("it costs 12.5 % to 25.0 % of the node, by its memory"), "{said}");
}
