//! Expectations of what the kubelet does besides evicting for pressure: limits of local storage, and what it reclaims of the
//! node itself.

use std::collections::BTreeMap;

use super::cluster::{Node, image_name};
use super::expectations::Lowering;
use super::steps::one_node;
use crate::plan::{Action, Band, Expect, NodeReclaimedExpectation, PlannedStep, StorageLimit};
use crate::scenario::format::expect::{self as written, NodeReclaimed, OverLimit};
use crate::scenario::format::values::{Bounds, Count};
use crate::scenario::{Code, Located, nearest};

/// The full names of the images that a node has or is given.
pub(super) fn images(nodes: &[Node], steps: &[PlannedStep]) -> BTreeMap<String, Vec<String>> {
    let mut images: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for node in nodes {
        let names = node.plan.images.iter().map(|image| image.name.clone());
        images.entry(node.plan.name.clone()).or_default().extend(names);
    }
    for step in steps {
        if let Action::Load { node, images: loaded } = &step.action {
            images.entry(node.clone()).or_default().extend(loaded.iter().map(|image| image.name.clone()));
        }
    }
    images
}

impl Lowering<'_> {
    pub(super) fn over_limit(&mut self, over: &Located<OverLimit>) {
        let mut lowered = BTreeMap::new();
        for (name, limit) in over.0.iter() {
            let Some(key) = self.subject_with_pods(name) else { continue };
            let limit = match limit.value {
                written::StorageLimit::EmptyDir => StorageLimit::EmptyDir,
                written::StorageLimit::Pod => StorageLimit::Pod,
                written::StorageLimit::Container => StorageLimit::Container,
            };
            lowered.insert(key, limit);
        }
        self.add(over.key, Expect::OverLimit(lowered));
    }

    pub(super) fn node_reclaimed(&mut self, reclaimed: &Located<NodeReclaimed>) {
        let Some(node) = one_node(reclaimed.node.as_ref(), reclaimed.key, self.nodes, self.findings) else {
            return;
        };
        let there = self.images.get(&node).cloned().unwrap_or_default();
        if reclaimed.images.is_none() && reclaimed.containers.is_none() && reclaimed.kept.is_empty() {
            let message = "says nothing: expected `images`, `containers` or `kept`";
            self.findings.say(Code::E0011, reclaimed.mark, message);
        }
        let (images, containers) = (band(reclaimed.images.as_ref()), band(reclaimed.containers.as_ref()));
        for band in [images, containers].into_iter().flatten() {
            self.check_band(band, reclaimed.mark);
        }
        let most = i64::try_from(there.len()).unwrap_or(i64::MAX);
        if images.is_some_and(|band| band.at_least.is_some_and(|least| least > most)) {
            self.findings.say_with_help(
                Code::E0012,
                reclaimed.mark,
                format!("node {node} has {most} images that nothing uses: no more of them can go"),
                "add images to the node, or a `load` step",
            );
        }
        let mut kept = Vec::new();
        for name in &reclaimed.kept {
            let full = image_name(&name.value);
            if there.contains(&full) {
                kept.push(full);
                continue;
            }
            let short = |full: &String| {
                full.trim_start_matches("docker.io/plimsoll/").trim_end_matches(":1").to_owned()
            };
            let known: Vec<String> = there.iter().map(short).collect();
            let message = format!("node {node} has no image `{}`", name.value);
            match nearest(&name.value, known.iter().map(String::as_str)) {
                Some(near) => {
                    let help = format!("did you mean `{near}`?");
                    self.findings.say_with_help(Code::E0008, name.mark, message, help);
                }
                None => self.findings.say(Code::E0008, name.mark, message),
            }
        }
        self.add(
            reclaimed.key,
            Expect::NodeReclaimed(NodeReclaimedExpectation { node, images, containers, kept }),
        );
    }
}

fn band(bounds: Option<&Bounds<Count>>) -> Option<Band> {
    let value = |count: &Option<Count>| count.as_ref().map(|count| i64::from(count.0));
    bounds.map(|bounds| Band { at_least: value(&bounds.at_least), at_most: value(&bounds.at_most) })
}
