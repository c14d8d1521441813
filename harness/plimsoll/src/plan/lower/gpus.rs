//! GPUs of nodes, and who requests their memory.

use std::collections::BTreeMap;

use plimsoll_eviction::duration::format_duration;
use plimsoll_eviction::threshold::ThresholdConfiguration;

use super::claims;
use super::cluster::Node;
use super::context::Findings;
use super::steps::one_node;
use crate::plan::{Action, GpuChange, GpuConfig, Resource, Until, WholeGpus};
use crate::scenario::format::document::NodeSpec;
use crate::scenario::format::fill::GpuBystander;
use crate::scenario::format::gpu::GpuEviction;
use crate::scenario::format::step::{GpuStep, Wait};
use crate::scenario::format::workload::Workload;
use crate::scenario::tree::{Mark, shortened};
use crate::scenario::{Code, Located};

/// The resource that GPU memory is requested by, unless a node says otherwise.
const RESOURCE: &str = "plimsoll.dev/gpu-memory";
/// The resource that whole GPUs are requested by, unless a node says otherwise.
const WHOLE_RESOURCE: &str = "nvidia.com/gpu";
/// How much one unit of it is, unless a node says otherwise.
const UNIT: u64 = 1 << 30;
/// The most devices of a node.
const MOST: u32 = 64;
/// The error that a GPU has unless a step says which.
const FELL_OFF_THE_BUS: u64 = 79;
/// The signal for GPU memory, and the kubelet's own that is read in the same way.
const SIGNAL: &str = "gpu.memory.available";
const STAND_IN: &str = "memory.available";

/// The GPUs of a node.
pub(super) fn gpus(spec: &NodeSpec, findings: &mut Findings) -> Option<GpuConfig> {
    let evictor = spec.gpu_eviction.as_ref().and_then(|eviction| evictor(eviction, findings));
    let Some(written) = &spec.gpus else {
        if let Some(eviction) = &spec.gpu_eviction {
            findings.say_with_help(
                Code::E0010,
                eviction.key,
                "`gpuEviction` on a node without GPUs",
                "add `gpus: {simulated: {memory: 16Gi}}`",
            );
        }
        return None;
    };
    let bounds = match (&written.simulated, &written.real) {
        (Some(bounds), None) | (None, Some(bounds)) => bounds,
        (Some(_), Some(real)) => {
            findings.say(
                Code::E0010,
                real.key,
                "`real` beside `simulated`: the GPUs of a node are one of the two",
            );
            return None;
        }
        (None, None) => {
            findings.say_with_help(
                Code::E0004,
                written.mark,
                "GPUs of which kind?",
                "add `simulated: {memory: 16Gi}`, or `real: {memory: 16Gi}` for the machine's own",
            );
            return None;
        }
    };
    let count = bounds.count.as_ref().map_or(1, |count| count.0);
    if !(1..=MOST).contains(&count) {
        findings.say(Code::E0006, bounds.mark, format!("a node has 1 to {MOST} GPUs; found {count}"));
    }
    let unit = written.unit.as_ref().map_or(UNIT, |unit| unit.0);
    if unit > bounds.memory.0 {
        let mark = written.unit.as_ref().map_or(bounds.memory.mark, |unit| unit.mark);
        findings.say(Code::E0006, mark, "a unit larger than the memory of a GPU: none could be requested");
    }
    let resource = resource(written.resource.as_ref(), RESOURCE, findings);
    let whole = written.whole.as_ref().map(|whole| {
        let of_whole = whole.count.as_ref().map_or(1, |count| count.0);
        if of_whole == 0 || of_whole >= count {
            let message =
                format!("{of_whole} of {count} GPUs whole: expected 1 or more, and one that is left");
            findings.say(Code::E0006, whole.count.as_ref().map_or(whole.mark, |count| count.mark), message);
        }
        let name = self::resource(whole.resource.as_ref(), WHOLE_RESOURCE, findings);
        if name == resource {
            findings.say(
                Code::E0010,
                whole.mark,
                format!("`{name}` is what the other GPUs are given away by"),
            );
        }
        WholeGpus { resource: name, count: of_whole }
    });
    let claims = claims::offered(written, spec, findings);
    Some(GpuConfig {
        real: written.real.is_some(),
        withheld: Vec::new(),
        count,
        memory: bounds.memory.0,
        resource,
        unit,
        whole,
        claims,
        evictor,
    })
}

/// The name of an extended resource.
fn resource(written: Option<&Located<String>>, default: &str, findings: &mut Findings) -> String {
    let Some(named) = written else { return default.to_owned() };
    if named.value.split('/').filter(|part| !part.is_empty()).count() != 2 {
        let message = format!(
            "`{}` is no extended resource: expected a domain, a slash and a name, such as {default}",
            shortened(&named.value)
        );
        findings.say(Code::E0006, named.mark, message);
    }
    named.value.clone()
}

/// The machine's own GPUs can be those of one node only.
pub(super) fn check_real(specs: &[Located<NodeSpec>], findings: &mut Findings) {
    let real = specs.iter().filter_map(|spec| spec.gpus.as_ref()?.real.as_ref());
    for second in real.skip(1) {
        findings.say(Code::E0010, second.key, "another node has the machine's own GPUs already");
    }
}

/// The options of the evictor.
fn evictor(eviction: &Located<GpuEviction>, findings: &mut Findings) -> Option<Vec<String>> {
    let mut sound = true;
    let mut stands_in = |statements: &BTreeMap<String, String>| -> BTreeMap<String, String> {
        let stands_in = |(signal, value): (&String, &String)| {
            if signal == SIGNAL {
                return Some((STAND_IN.to_owned(), value.clone()));
            }
            let message =
                format!("`{}` is not watched by `gpuEviction`: expected {SIGNAL}", shortened(signal));
            findings.say(Code::E0016, eviction.mark, message);
            sound = false;
            None
        };
        statements.iter().filter_map(stands_in).collect()
    };
    let configuration = ThresholdConfiguration {
        hard: stands_in(&eviction.eviction_hard),
        soft: stands_in(&eviction.eviction_soft),
        soft_grace_periods: stands_in(&eviction.eviction_soft_grace_period),
        minimum_reclaims: stands_in(&eviction.eviction_minimum_reclaim),
        enforces_pods: false,
    };
    match configuration.parse() {
        Ok(thresholds) if thresholds.is_empty() && sound => {
            let message =
                format!("no threshold, so nothing would be evicted: write `evictionHard: {{{SIGNAL}: 5%}}`");
            findings.say(Code::E0016, eviction.mark, message);
            return None;
        }
        Ok(_) => {}
        Err(error) => {
            findings.say(Code::E0016, eviction.mark, error.to_string().replace(STAND_IN, SIGNAL));
            return None;
        }
    }
    let mut options = Vec::new();
    for (flag, statements, operator) in [
        ("eviction-hard", &eviction.eviction_hard, '<'),
        ("eviction-soft", &eviction.eviction_soft, '<'),
        ("eviction-soft-grace-period", &eviction.eviction_soft_grace_period, '='),
        ("eviction-minimum-reclaim", &eviction.eviction_minimum_reclaim, '='),
    ] {
        // Given even if empty: the evictor has a default of its own.
        let statements: Vec<String> =
            statements.iter().map(|(signal, value)| format!("{signal}{operator}{value}")).collect();
        options.push(format!("--{flag}={}", statements.join(",")));
    }
    let durations = [
        ("eviction-pressure-transition-period", eviction.eviction_pressure_transition_period),
        ("interval", eviction.interval),
    ];
    for (flag, duration) in durations {
        options.extend(duration.map(|duration| format!("--{flag}={}", format_duration(duration.0))));
    }
    let grace = eviction.eviction_max_pod_grace_period;
    options.extend(grace.map(|grace| format!("--eviction-max-pod-grace-period={}", grace.0)));
    Some(options)
}

/// The arguments of a bystander. It ends as soon as a round of work fails.
pub(super) fn bystander(written: &GpuBystander) -> Vec<String> {
    let mut arguments = vec!["bystander".to_owned(), "--end-on-error".to_owned()];
    if let Some(amount) = &written.amount {
        arguments.extend(["--amount".to_owned(), amount.text.clone()]);
    }
    if let Some(interval) = &written.interval {
        arguments.extend(["--interval".to_owned(), format_duration(interval.0)]);
    }
    arguments
}

/// A step about a GPU.
pub(super) fn step(written: &GpuStep, step: Mark, nodes: &[Node], findings: &mut Findings) -> Option<Action> {
    let node = one_node(written.node.as_ref(), step, nodes, findings)?;
    let change = written.change.value;
    let gpus = nodes.iter().find(|own| own.plan.name == node).and_then(|own| own.plan.gpus.as_ref());
    let Some(gpus) = gpus else {
        findings.say_with_help(
            Code::E0022,
            step,
            format!("{node} has no GPU"),
            "add `gpus: {simulated: {memory: 16Gi}}` to it",
        );
        return None;
    };
    if gpus.real {
        findings.say(
            Code::E0022,
            step,
            format!("the GPUs of {node} are real, and can not be given an error"),
        );
    }
    let device = written.device.as_ref().map_or(0, |device| device.0);
    if let Some(named) = written.device.as_ref().filter(|named| named.0 >= gpus.count) {
        let message =
            format!("{node} has no GPU {}: they are counted from 0 to {}", named.0, gpus.count.max(1) - 1);
        findings.say(Code::E0006, named.mark, message);
    }
    if let (GpuChange::Heal, Some(xid)) = (change, &written.xid) {
        findings.say(Code::E0010, xid.key, "`xid` does not go with `do: heal`");
    }
    let xid = written.xid.as_ref().map_or(FELL_OFF_THE_BUS, |xid| u64::from(xid.0));
    Some(Action::Gpu { node, device, change, xid: (change == GpuChange::Fail).then_some(xid) })
}

/// A wait for what a kubelet says can be given to pods of an extended resource.
pub(super) fn allocatable_wait(
    wait: &Wait,
    step: Mark,
    nodes: &[Node],
    findings: &mut Findings,
) -> Option<Until> {
    let node = one_node(wait.node.as_ref(), step, nodes, findings);
    if wait.resource.is_none() {
        let help = format!("add `resource: {RESOURCE}`");
        findings.say_with_help(Code::E0004, wait.until.mark, "which resource?", help);
    }
    if wait.count.is_none() {
        findings.say_with_help(Code::E0004, wait.until.mark, "how much of it?", "add `count: 0`");
    }
    let (node, resource, amount) = (node?, wait.resource.as_ref()?, wait.count.as_ref()?);
    let offers = nodes.iter().find(|own| own.plan.name == node).and_then(|own| own.plan.gpus.as_ref());
    if offers.is_none_or(|gpus| units(gpus, &resource.value).is_none()) {
        let message = format!("{node} has no GPUs that are offered as {}", shortened(&resource.value));
        findings.say(Code::E0022, resource.mark, message);
        return None;
    }
    Some(Until::Allocatable { node, resource: resource.value.clone(), amount: amount.0 })
}

/// How many units of a resource one container can be given, where these GPUs are given away by it: shares of one, or as many as there
/// are whole ones.
fn units(gpus: &GpuConfig, resource: &str) -> Option<u128> {
    if gpus.claims {
        return None;
    }
    if gpus.resource == resource {
        return Some(u128::from(gpus.memory / gpus.unit.max(1)));
    }
    gpus.whole.as_ref().filter(|whole| whole.resource == resource).map(|whole| u128::from(whole.count))
}

/// What is wrong with a workload that fills GPU memory: it must have a GPU, and be able to get one.
pub(super) fn check(workload: &Located<Workload>, nodes: &[Node], findings: &mut Findings) {
    if let (Some(bystander), Some(_)) = (&workload.gpu_bystander, &workload.fill) {
        findings.say(Code::E0010, bystander.key, "`gpuBystander` beside `fill`: a pod does one of the two");
    }
    let claimable = nodes.iter().any(|node| node.plan.gpus.as_ref().is_some_and(|gpus| gpus.claims));
    if let Some(claim) = workload.gpu_claim.as_ref().filter(|_| !claimable) {
        findings.say_with_help(
            Code::E0022,
            claim.key,
            "claims a GPU, and no node offers any to claims: it would stay Pending",
            "add `gpus: {simulated: {memory: 16Gi}, offeredBy: ResourceClaims}` to one",
        );
        return;
    }
    let fill = workload.fill.as_ref().map(|fill| fill.any());
    let of_gpus = fill.filter(|fill| fill.resource == Resource::GpuMemory).map(|fill| fill.amount.mark);
    let Some(mark) = of_gpus.or(workload.gpu_bystander.as_ref().map(|bystander| bystander.mark)) else {
        return;
    };
    let gpus: Vec<&GpuConfig> = nodes.iter().filter_map(|node| node.plan.gpus.as_ref()).collect();
    if gpus.is_empty() {
        findings.say_with_help(
            Code::E0022,
            mark,
            "no node has a GPU",
            "add `gpus: {simulated: {memory: 16Gi}}` to one",
        );
        return;
    }
    if workload.gpu_claim.is_some() {
        return;
    }
    let limit = workload.limits.iter().find_map(|(resource, amount)| {
        let units = gpus.iter().find_map(|gpus| units(gpus, &resource.value))?;
        Some((resource, amount, units))
    });
    match limit {
        None => findings.say_with_help(
            Code::E0022,
            mark,
            "uses GPU memory and requests none, so that it would have no GPU",
            match gpus.iter().find(|gpus| !gpus.claims) {
                Some(gpus) => format!("add `limits: {{{}: 1}}`", gpus.resource),
                None => "add `gpuClaim: {}`".to_owned(),
            },
        ),
        Some((resource, amount, units)) => {
            if u128::try_from(amount.value).is_ok_and(|wanted| wanted > units) {
                let message = format!(
                    "requests {} units and a GPU has {units}: shares of several are not given to one container",
                    amount.text
                );
                findings.say(Code::E0022, resource.mark, message);
            }
        }
    }
}
