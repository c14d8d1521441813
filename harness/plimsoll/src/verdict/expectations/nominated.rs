//! `nominated`: the node that the scheduler made room on for a pod.

use super::super::case::Case;
use super::super::context::Context;

pub(super) fn judge(context: &Context<'_>, workload: &str, node: &str, case: &mut Case) {
    case.doubts(context.history.completeness_doubts());
    let mut nominated = false;
    for (history, pod) in context.pods_of(workload) {
        let named = history.all_versions().find_map(|version| {
            let name = version.value.status.as_ref()?.nominated_node_name.as_deref()?;
            Some((name, version.evidence()))
        });
        let Some((name, evidence)) = named else { continue };
        nominated = true;
        let text = format!("the scheduler nominated {name} for {}", pod.name);
        if name == node {
            case.proven(text, [evidence]);
        } else {
            case.violated(format!("{text}, and not {node}"), [evidence]);
        }
    }
    if !nominated {
        let (what, evidence) = context.instead(workload);
        let doubts = context.history.absence_doubts(context.plan, |_| false);
        case.absent(format!("no node was nominated for {workload}: {what}"), evidence, doubts);
    }
}
