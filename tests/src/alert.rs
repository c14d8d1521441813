//! An alert rule, put to a page of metrics as Prometheus would put it.

use std::collections::BTreeMap;

/// A sample: the metric's name, its labels, its value.
type Sample = (String, BTreeMap<String, String>, f64);

/// The pods of a scenario for which this rule fires, in the page's order:
/// `kube_pod_status_reason{reason="Evicted"} > 0 and on (namespace, pod) kube_pod_status_phase{phase="Failed"} == 1`.
///
/// # Errors
/// When a line of the page is neither a comment nor a sample with labels.
pub fn evicted_and_failed(page: &str, scenario: &str) -> Result<Vec<String>, String> {
    let samples: Vec<Sample> = page
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| sample(line).ok_or_else(|| format!("no sample of Prometheus' text format: {line}")))
        .collect::<Result<_, _>>()?;
    let chosen = |metric: &str, label: &str, value: &str, holds: fn(f64) -> bool| {
        let of = samples.iter().filter(|(name, labels, sample)| {
            let is = |label: &str, value: &str| labels.get(label).is_some_and(|own| own == value);
            name == metric && is("scenario", scenario) && is(label, value) && holds(*sample)
        });
        of.map(|(_, labels, _)| (labels.get("namespace"), labels.get("pod"))).collect::<Vec<_>>()
    };
    let evicted = chosen("kube_pod_status_reason", "reason", "Evicted", |value| value > 0.0);
    let failed = chosen("kube_pod_status_phase", "phase", "Failed", |value| (value - 1.0).abs() < 1e-9);
    let both = evicted.into_iter().filter(|pod| failed.contains(pod));
    Ok(both.filter_map(|(_, pod)| pod.cloned()).collect())
}

fn sample(line: &str) -> Option<Sample> {
    let (name, rest) = line.split_once('{')?;
    let (labels, value) = rest.rsplit_once("} ")?;
    let labels = labels.split("\",").map(|label| {
        let (name, value) = label.split_once("=\"")?;
        Some((name.to_owned(), value.trim_end_matches('"').to_owned()))
    });
    Some((name.to_owned(), labels.collect::<Option<_>>()?, value.parse().ok()?))
}
