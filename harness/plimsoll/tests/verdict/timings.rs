//! Where the time of a run went.

use plimsoll::report::{Timings, timings};

use crate::builder::*;

/// The standard run: `greedy` crosses the threshold at 52.5 s, is evicted at 56, and the run ends at 80.
#[test]
fn every_second_is_somebody_s() {
    let run = Run::standard();
    let timeline = run.timeline();
    let first = timeline.observations[0].at;
    let over = at(90.0);
    let timings = Timings::of(&run.plan, &timeline, over);
    let shown = [timings.boot, timings.pods, timings.fill, timings.kubelet, timings.observe];
    // From 2.5 to 52.5 and from there to 56.1.
    for (shown, expected) in shown.into_iter().zip([3.0, 1.5, 50.0, 3.6, 23.9]) {
        assert!((shown - expected).abs() < 1e-6, "{timings:?}");
    }
    assert!((timings.total() - over.duration_since(first).as_secs_f64()).abs() < 1e-6, "{timings:?}");
}

#[test]
fn what_never_crosses_is_all_fill() {
    let mut run = Run::standard();
    run.without_eviction();
    run.remove(|_, fact| matches!(fact, plimsoll::observe::Fact::Sample { .. }));
    let timings = Timings::of(&run.plan, &run.timeline(), at(90.0));
    assert!((timings.fill - 53.6).abs() < 1e-6 && timings.kubelet < 1e-6, "{timings:?}");
}

#[test]
fn the_table_has_a_line_for_each_run_and_one_for_all() {
    let one = Timings { boot: 1.5, pods: 0.5, fill: 4.0, kubelet: 6.25, observe: 2.0, own: 0.1 };
    let mut written = Vec::new();
    timings::write(&mut written, &[("one".to_owned(), one), ("another".to_owned(), one)]).expect("memory");
    assert_eq!(
        String::from_utf8(written).expect("text"),
        concat!(
            "            boot   pods   fill  kubelet  observe    own  together\n",
            " one       1.50s  0.50s  4.00s    6.25s    2.00s  0.10s     14.3s\n",
            " another   1.50s  0.50s  4.00s    6.25s    2.00s  0.10s     14.3s\n",
            " together  3.00s  1.00s  8.00s    12.5s    4.00s  0.20s     28.7s\n",
        )
    );
}
