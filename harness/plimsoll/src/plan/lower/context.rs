//! The function as a whole, and what its parts hand each other.

use super::machine::{Machine, fits};
use super::names::Names;
use super::{arithmetic, claims, cluster, control_plane, expectations, hollow, objects, steps, workloads};
use crate::plan::{ClaimPlan, Plan};
use crate::scenario::format::document::DEFAULT_KUBERNETES;
use crate::scenario::tree::Mark;
use crate::scenario::{Code, Diagnostics, Loaded, Located, Problem, Removed, Severity};

/// A plan, and what may be wrong with it all the same.
#[derive(Debug, Clone)]
pub struct Lowered {
    /// The plan.
    pub plan: Plan,
    /// Warnings; no errors.
    pub warnings: Diagnostics,
}

/// What is wrong, as it is found.
pub(super) struct Findings {
    pub(super) problems: Vec<Problem>,
    /// Whether a name that nothing has may be one that could not be read.
    pub(super) incomplete: bool,
    /// The parts that could not be read.
    pub(super) removed: Vec<Removed>,
}

impl Findings {
    /// For looking something up once more that was complained about before.
    pub(super) fn quiet() -> Self {
        Self { problems: Vec::new(), incomplete: true, removed: Vec::new() }
    }

    /// Whether steps could not be read, so that who is there when is not known.
    pub(super) fn steps_missing(&self) -> bool {
        self.removed.iter().any(|gone| gone.path.starts_with("spec.steps"))
    }

    /// Whether figures can be trusted: nothing that they are made of was left out or misunderstood.
    pub(super) fn figures_stand(&self) -> bool {
        use Code::{E0003, E0005, E0006, E0007, E0008, E0010, E0016, E0019};
        let doubtful = [E0003, E0005, E0006, E0007, E0008, E0010, E0016, E0019];
        self.removed.is_empty() && !self.problems.iter().any(|problem| doubtful.contains(&problem.code))
    }

    pub(super) fn say(&mut self, code: Code, mark: Mark, message: impl Into<String>) {
        self.problems.push(Problem::new(code, mark, message));
    }

    pub(super) fn say_with_help(
        &mut self,
        code: Code,
        mark: Mark,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.problems.push(Problem::new(code, mark, message).help(help));
    }
}

/// Resolves a scenario: fills in every default, builds every object, makes every quantity a number.
///
/// # Errors
/// [`Diagnostics`] when anything about it stops the run: everything that is wrong, warnings included.
pub fn lower(loaded: &Loaded) -> Result<Lowered, Diagnostics> {
    lower_for(loaded, Machine::UNBOUNDED)
}

/// Resolves a scenario that is to run on such a machine.
///
/// # Errors
/// As [`lower`], and when the machine can not hold its nodes.
pub fn lower_for(loaded: &Loaded, machine: Machine) -> Result<Lowered, Diagnostics> {
    let spec = &loaded.scenario.spec;
    let mut findings = Findings {
        problems: loaded.problems.clone(),
        incomplete: loaded.incomplete,
        removed: loaded.removed.clone(),
    };
    let at = |mark: Mark| loaded.sources.locate(mark);

    let nodes = cluster::nodes(spec.cluster.as_ref(), loaded, &mut findings);
    findings.problems.extend(fits(nodes.iter().map(|node| &node.plan), loaded, machine));
    let hollow = spec.cluster.as_ref().and_then(|cluster| cluster.hollow.as_ref());
    let hollow = hollow::plan(hollow, &spec.steps, &mut findings);
    let settings = spec.cluster.as_ref().and_then(|cluster| cluster.control_plane.as_ref());
    let mut settings = control_plane::settings(settings, &nodes, &mut findings);
    let manifests = objects::read(&loaded.objects, &mut findings);
    settings.device_taint_rules =
        claims::has_device_taint_rules(kubernetes(loaded), &manifests, &mut findings);
    let mut names = Names::new(spec, &manifests, &nodes, &mut findings);
    let (workloads, mut before) = workloads::lower(spec, &names, &manifests, &nodes, &at, &mut findings);
    before.extend(objects::unstarted(&manifests, &names, &at));
    let steps =
        steps::lower(&spec.steps, &mut names, &nodes, hollow.as_ref(), &workloads, &at, &mut findings);
    let expectations =
        expectations::lower(&spec.expect, &names, &nodes, hollow.as_ref(), &steps, &at, &mut findings);
    if !findings.steps_missing() {
        names.report_unstarted(&mut findings);
    }
    if findings.figures_stand() {
        arithmetic::check(spec, &names, &nodes, &mut findings);
    }

    let metadata = &loaded.scenario.metadata;
    let diagnostics = Diagnostics::new(findings.problems, loaded.sources.clone());
    if diagnostics.list.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        return Err(diagnostics);
    }
    let plan = Plan {
        name: metadata.name.0.clone(),
        description: metadata.description.clone(),
        labels: metadata.labels.clone(),
        claim: metadata.claim.as_ref().map(|claim| ClaimPlan { text: claim.text.clone(), so: claim.so }),
        kubernetes: kubernetes(loaded)
            .map_or_else(|| DEFAULT_KUBERNETES.to_owned(), |version| version.value.clone()),
        control_plane: settings,
        nodes: nodes.into_iter().map(|node| node.plan).collect(),
        hollow,
        objects: before,
        workloads,
        steps,
        expectations,
    };
    Ok(Lowered { plan, warnings: diagnostics })
}

fn kubernetes(loaded: &Loaded) -> Option<&Located<String>> {
    loaded.scenario.spec.cluster.as_ref()?.kubernetes.as_ref()
}
