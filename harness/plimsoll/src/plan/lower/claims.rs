//! GPUs that are offered to resource claims, who claims them, and the taints that they may have.

use serde_json::{Value, json};

use super::context::Findings;
use super::objects::Object;
use crate::plan::{NAMESPACE, WORKLOAD_LABEL};
use crate::scenario::format::document::{DEFAULT_KUBERNETES, NodeSpec};
use crate::scenario::format::gpu::{Gpus, OfferedBy};
use crate::scenario::format::workload::Workload;
use crate::scenario::tree::shortened;
use crate::scenario::{Code, Located};

/// The device class that claims name, as it is shipped with the driver.
const DEVICE_CLASS: &str = "gpu.plimsoll.dev";
/// An object that taints devices, and the version of it that Kubernetes 1.36 follows.
const DEVICE_TAINT_RULE: &str = "DeviceTaintRule";
const DEVICE_TAINT_RULE_VERSION: &str = "resource.k8s.io/v1beta2";

/// Whether GPUs are offered to resource claims, which leaves no room for what goes by resources.
pub(super) fn offered(written: &Gpus, spec: &NodeSpec, findings: &mut Findings) -> bool {
    if written.offered_by.as_ref().is_none_or(|by| by.value == OfferedBy::DevicePlugin) {
        return false;
    }
    let beside = [
        ("resource", written.resource.as_ref().map(|resource| resource.key)),
        ("unit", written.unit.as_ref().map(|unit| unit.key)),
        ("whole", written.whole.as_ref().map(|whole| whole.key)),
        ("gpuEviction", spec.gpu_eviction.as_ref().map(|eviction| eviction.key)),
    ];
    for (field, key) in beside {
        let Some(key) = key else { continue };
        findings.say_with_help(
            Code::E0010,
            key,
            format!("`{field}` beside `offeredBy: ResourceClaims`: claims have whole GPUs, and no resource"),
            format!("leave `{field}` out, or `offeredBy`, whose default is DevicePlugin"),
        );
    }
    true
}

/// What claims and taints of devices need of Kubernetes. What a version does not have it would leave out without a word.
pub(super) fn check_version(
    version: Option<&Located<String>>,
    specs: &[Located<NodeSpec>],
    findings: &mut Findings,
) {
    let Some(version) = version.filter(|version| is_before_device_taints(&version.value)) else { return };
    let claimable = |spec: &Located<NodeSpec>| {
        let by = spec.gpus.as_ref()?.offered_by.as_ref()?;
        (by.value == OfferedBy::ResourceClaims).then_some(by.mark)
    };
    for mark in specs.iter().filter_map(claimable) {
        findings.say_with_help(
            Code::E0010,
            mark,
            format!(
                "`offeredBy: ResourceClaims` with Kubernetes {}, which drops the taints of devices: DRADeviceTaints is on since 1.36",
                shortened(&version.value)
            ),
            format!("write `kubernetes: {DEFAULT_KUBERNETES}`, or leave it out"),
        );
    }
}

/// Whether a Kubernetes version has no taints of devices by itself. Upstream: `features.DRADeviceTaints`.
fn is_before_device_taints(version: &str) -> bool {
    let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
    matches!((numbers.next(), numbers.next()), (Some(major), Some(minor)) if (major, minor) < (1, 36))
}

/// Whether DeviceTaintRules are among the manifests, which Kubernetes follows only when it is told to.
pub(super) fn has_device_taint_rules(
    version: Option<&Located<String>>,
    objects: &[Object],
    findings: &mut Findings,
) -> bool {
    let rules = objects.iter().filter(|object| object.kind == DEVICE_TAINT_RULE);
    let mut any = false;
    for rule in rules {
        any = true;
        if let Some(version) = version.filter(|version| is_before_device_taints(&version.value)) {
            findings.say_with_help(
                Code::E0010,
                rule.mark,
                format!(
                    "a DeviceTaintRule with Kubernetes {}, which has none in this form",
                    shortened(&version.value)
                ),
                format!("write `kubernetes: {DEFAULT_KUBERNETES}`, or leave it out"),
            );
        } else if rule.api_version() != DEVICE_TAINT_RULE_VERSION {
            findings.say_with_help(
                Code::E0010,
                rule.mark,
                format!("a DeviceTaintRule of {}, which is not served here", shortened(rule.api_version())),
                format!("write `apiVersion: {DEVICE_TAINT_RULE_VERSION}`"),
            );
        }
    }
    any
}

/// The name of the claim template of a workload.
fn template_name(workload: &str) -> String {
    format!("{workload}-gpu")
}

/// The template that the claims of a workload's pods are made from, if they have any.
pub(super) fn template(workload: &Workload) -> Option<Value> {
    let claim = workload.gpu_claim.as_ref()?;
    let mut exactly = json!({ "deviceClassName": DEVICE_CLASS });
    if !claim.tolerations.is_empty() {
        exactly["tolerations"] = claim.tolerations.iter().map(|toleration| toleration.to_json()).collect();
    }
    Some(json!({
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaimTemplate",
        "metadata": {
            "name": template_name(&workload.name.0),
            "namespace": NAMESPACE,
            "labels": { WORKLOAD_LABEL: workload.name.0 },
        },
        "spec": { "spec": { "devices": { "requests": [{ "name": "gpu", "exactly": exactly }] } } },
    }))
}

/// Has a pod claim a GPU, if its workload says so, and its container use it.
pub(super) fn put(workload: &Workload, spec: &mut Value) {
    if workload.gpu_claim.is_none() {
        return;
    }
    spec["resourceClaims"] =
        json!([{ "name": "gpu", "resourceClaimTemplateName": template_name(&workload.name.0) }]);
    spec["containers"][0]["resources"]["claims"] = json!([{ "name": "gpu" }]);
}
