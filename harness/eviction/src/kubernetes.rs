//! From Kubernetes' own types, as `k8s-openapi` has them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as KubernetesQuantity;

use crate::pod::{Container, EmptyDir, Pod, ResourceList, Resources, Toleration, Volume};
use crate::quantity::{ParseQuantityError, Quantity};

/// A pod with a quantity that is none, which no API server lets through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {error}")]
pub struct PodError {
    /// The field, such as `spec.containers[0].resources.requests.memory`.
    pub field: String,
    /// What is wrong with it.
    pub error: ParseQuantityError,
}

type KubernetesList = Option<BTreeMap<String, KubernetesQuantity>>;

fn quantity(field: impl FnOnce() -> String, quantity: &KubernetesQuantity) -> Result<Quantity, PodError> {
    quantity.0.trim().parse().map_err(|error| PodError { field: field(), error })
}

fn list(field: &str, list: &KubernetesList) -> Result<ResourceList, PodError> {
    list.iter()
        .flatten()
        .map(|(name, amount)| Ok((name.clone(), quantity(|| format!("{field}.{name}"), amount)?)))
        .collect()
}

fn resources(field: &str, resources: &v1::ResourceRequirements) -> Result<Resources, PodError> {
    Ok(Resources {
        requests: list(&format!("{field}.requests"), &resources.requests)?,
        limits: list(&format!("{field}.limits"), &resources.limits)?,
    })
}

fn containers(field: &str, containers: &[v1::Container]) -> Result<Vec<Container>, PodError> {
    let container = |(at, container): (usize, &v1::Container)| {
        let field = format!("{field}[{at}].resources");
        let own = container.resources.as_ref().map(|own| resources(&field, own)).transpose()?;
        Ok(Container {
            name: container.name.clone(),
            resources: own.unwrap_or_default(),
            sidecar: container.restart_policy.as_deref() == Some("Always"),
        })
    };
    containers.iter().enumerate().map(container).collect()
}

fn volume(at: usize, volume: &v1::Volume) -> Result<Volume, PodError> {
    let empty_dir = volume.empty_dir.as_ref();
    let on_disk = empty_dir.is_some_and(|empty_dir| empty_dir.medium.as_deref().unwrap_or("").is_empty());
    let field = || format!("spec.volumes[{at}].emptyDir.sizeLimit");
    let empty_dir = empty_dir
        .map(|empty_dir| {
            let size_limit = empty_dir.size_limit.as_ref().map(|limit| quantity(field, limit)).transpose()?;
            Ok(EmptyDir { size_limit })
        })
        .transpose()?;
    Ok(Volume {
        name: volume.name.clone(),
        local: on_disk
            || volume.host_path.is_some()
            || volume.git_repo.is_some()
            || volume.config_map.is_some(),
        empty_dir,
    })
}

impl From<&v1::Toleration> for Toleration {
    fn from(toleration: &v1::Toleration) -> Self {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Self {
            key: text(&toleration.key),
            operator: text(&toleration.operator),
            value: text(&toleration.value),
            effect: text(&toleration.effect),
            toleration_seconds: toleration.toleration_seconds,
        }
    }
}

impl TryFrom<&v1::Pod> for Pod {
    type Error = PodError;

    fn try_from(pod: &v1::Pod) -> Result<Self, PodError> {
        let absent = v1::PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&absent);
        let metadata = &pod.metadata;
        let status_qos_class = pod.status.as_ref().and_then(|status| status.qos_class.clone());
        let volumes = spec.volumes.iter().flatten().enumerate();
        Ok(Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            generation: metadata.generation.unwrap_or(0),
            annotations: metadata.annotations.clone().unwrap_or_default(),
            priority: spec.priority,
            priority_class_name: spec.priority_class_name.clone().unwrap_or_default(),
            status_qos_class: status_qos_class.filter(|class| !class.is_empty()),
            termination_grace_period_seconds: spec.termination_grace_period_seconds,
            tolerations: spec.tolerations.iter().flatten().map(Toleration::from).collect(),
            containers: containers("spec.containers", &spec.containers)?,
            init_containers: containers(
                "spec.initContainers",
                spec.init_containers.as_deref().unwrap_or(&[]),
            )?,
            resources: spec.resources.as_ref().map(|own| resources("spec.resources", own)).transpose()?,
            overhead: list("spec.overhead", &spec.overhead)?,
            volumes: volumes.map(|(at, own)| volume(at, own)).collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::read_pods;

    #[test]
    fn both_ways_of_reading_a_pod_agree() {
        let document = serde_json::json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u", "generation": 3,
                "annotations": {"kubernetes.io/config.source": "file"}},
            "spec": {
                "priority": 7,
                "priorityClassName": "important",
                "terminationGracePeriodSeconds": 30,
                "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}],
                "containers": [{"name": "c", "resources": {"requests": {"memory": "1e3"}, "limits": {"cpu": "100m"}}}],
                "initContainers": [{"name": "i", "restartPolicy": "Always"}, {"name": "j"}],
                "resources": {"limits": {"memory": "1Gi"}},
                "overhead": {"memory": "16Mi"},
                "volumes": [
                    {"name": "a", "emptyDir": {"sizeLimit": "1Gi"}},
                    {"name": "b", "emptyDir": {"medium": "Memory"}},
                    {"name": "c", "hostPath": {"path": "/"}},
                    {"name": "d", "secret": {"secretName": "s"}},
                    {"name": "e", "configMap": {"name": "m"}},
                ],
            },
            "status": {"qosClass": "Burstable"},
        });
        let kubernetes: v1::Pod = serde_json::from_value(document.clone()).expect("a pod");
        let list = serde_json::json!({ "items": [document] }).to_string();
        let pods = read_pods(&list).expect("a pod list");
        assert_eq!(Pod::try_from(&kubernetes).as_ref(), Ok(&pods[0]));
        assert_eq!(
            pods[0].volumes.iter().map(|volume| volume.local).collect::<Vec<_>>(),
            [true, false, true, false, true]
        );
    }

    #[test]
    fn a_wrong_quantity_is_located() {
        let limits = BTreeMap::from([("memory".to_owned(), KubernetesQuantity("12Mb".to_owned()))]);
        let container = v1::Container {
            resources: Some(v1::ResourceRequirements { limits: Some(limits), ..Default::default() }),
            ..Default::default()
        };
        let spec = v1::PodSpec { containers: vec![container], ..Default::default() };
        let pod = v1::Pod { spec: Some(spec), ..Default::default() };
        let error = Pod::try_from(&pod).expect_err("no quantity");
        assert_eq!(error.field, "spec.containers[0].resources.limits.memory");
    }
}
