//! What a pod requests and what limits it: the sums over its containers.
//!
//! Follows `k8s.io/component-helpers/resource` 0.36.3, with `pkg/api/v1/resource` and `pkg/apis/core/v1/helper/qos` of Kubernetes 1.36.3.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::pod::{CPU, Container, EPHEMERAL_STORAGE, MEMORY, Pod, ResourceList, Resources};
use crate::quantity::{Format, Quantity};

/// Whether a resource can be requested and limited for a whole pod.
/// Upstream: `resourcehelper.IsSupportedPodLevelResource`.
#[must_use]
pub fn is_supported_at_pod_level(resource: &str) -> bool {
    resource == CPU || resource == MEMORY || resource.starts_with("hugepages-")
}

fn any_supported(list: &ResourceList) -> bool {
    list.keys().any(|resource| is_supported_at_pod_level(resource))
}

/// A sum of a resource over the containers of a pod. Upstream: `AggregateContainerRequests`,
/// `AggregateContainerLimits`.
///
/// Regular containers and sidecars run together; each init container runs with the sidecars before it. The larger of the
/// two counts. None if no container names the resource. A figure that is no sum keeps its spelling.
fn aggregate(pod: &Pod, resource: &str, list: fn(&Resources) -> &ResourceList) -> Option<Quantity> {
    let own = |container: &'_ Container| list(&container.resources).get(resource).cloned();
    let mut running: Option<Quantity> = None;
    for container in &pod.containers {
        add(&mut running, own(container));
    }
    let mut sidecars: Option<Quantity> = None;
    let mut starting: Option<Quantity> = None;
    for container in &pod.init_containers {
        let mut together = own(container);
        if container.sidecar {
            add(&mut running, together.clone());
            add(&mut sidecars, together);
            together = sidecars.clone();
        } else {
            add(&mut together, sidecars.clone());
        }
        take_larger(&mut starting, together);
    }
    take_larger(&mut running, starting);
    running
}

/// Upstream: `addResourceList`, for one resource.
fn add(sum: &mut Option<Quantity>, amount: Option<Quantity>) {
    match (sum.as_mut(), amount) {
        (Some(sum), Some(amount)) => *sum += &amount,
        (None, Some(amount)) => *sum = Some(amount),
        (_, None) => {}
    }
}

/// Upstream: `maxResourceList`, for one resource.
fn take_larger(largest: &mut Option<Quantity>, amount: Option<Quantity>) {
    if let Some(amount) = amount
        && largest.as_ref().is_none_or(|largest| amount > *largest)
    {
        *largest = Some(amount);
    }
}

impl Pod {
    /// Whether pod-level requests or limits of a resource that has them are set.
    /// Upstream: `resourcehelper.IsPodLevelResourcesSet`.
    #[must_use]
    pub fn has_pod_level_resources(&self) -> bool {
        self.resources
            .as_ref()
            .is_some_and(|resources| any_supported(&resources.requests) || any_supported(&resources.limits))
    }

    /// What the containers request of a resource together, whatever the pod itself requests; none if no container
    /// names it. Upstream: `resourcehelper.AggregateContainerRequests`.
    #[must_use]
    pub fn container_request(&self, resource: &str) -> Option<Quantity> {
        aggregate(self, resource, |own| &own.requests)
    }

    /// What the pod requests of a resource, overhead included. With any pod-level resource the containers'
    /// requests count for nothing. Upstream: `v1resource.GetResourceRequestQuantity`.
    #[must_use]
    pub fn request(&self, resource: &str) -> Quantity {
        let format = if [MEMORY, EPHEMERAL_STORAGE, "storage"].contains(&resource) {
            Format::BinarySi
        } else {
            Format::DecimalSi
        };
        let mut request = Quantity::new(0, format);
        let at_pod_level = self.has_pod_level_resources();
        let from_pod =
            self.resources.as_ref().filter(|_| at_pod_level && is_supported_at_pod_level(resource));
        if let Some(amount) = from_pod.and_then(|resources| resources.requests.get(resource)) {
            request += amount;
        } else if !at_pod_level && let Some(amount) = self.container_request(resource) {
            request += &amount;
        }
        if let Some(overhead) = self.overhead.get(resource)
            && !request.is_zero()
        {
            request += overhead;
        }
        request
    }

    /// The limit on a resource that the containers share, overhead included; none if no container has one.
    /// Upstream: `resourcehelper.PodLimits`.
    #[must_use]
    pub fn limit(&self, resource: &str) -> Option<Quantity> {
        let at_pod_level = self.resources.as_ref().filter(|_| is_supported_at_pod_level(resource));
        let mut limit = at_pod_level
            .and_then(|resources| resources.limits.get(resource).cloned())
            .or_else(|| aggregate(self, resource, |own| &own.limits))?;
        if let Some(overhead) = self.overhead.get(resource)
            && !limit.is_zero()
        {
            limit += overhead;
        }
        Some(limit)
    }

    /// The quality-of-service class: the one in the status, or else the one that follows from requests and limits.
    /// Upstream: `qos.GetPodQOS`.
    #[must_use]
    pub fn qos_class(&self) -> &str {
        self.status_qos_class.as_deref().unwrap_or_else(|| self.computed_qos_class())
    }

    /// Whether the class is `BestEffort`.
    #[must_use]
    pub fn is_best_effort(&self) -> bool {
        self.qos_class() == "BestEffort"
    }

    /// The class that follows from requests and limits. Upstream: `qos.ComputePodQOS`.
    #[must_use]
    pub fn computed_qos_class(&self) -> &'static str {
        let (mut requests, mut limits) = (BTreeMap::new(), BTreeMap::new());
        let mut guaranteed = true;
        if let Some(resources) = &self.resources {
            add_compute(&mut requests, &resources.requests);
            add_compute(&mut limits, &resources.limits);
            guaranteed = resources.limits.is_empty() || limits.len() == 2;
        } else {
            for container in self.containers.iter().chain(&self.init_containers) {
                add_compute(&mut requests, &container.resources.requests);
                guaranteed &= add_compute(&mut limits, &container.resources.limits) == 2;
            }
        }
        if requests.is_empty() && limits.is_empty() {
            "BestEffort"
        } else if guaranteed && requests == limits {
            "Guaranteed"
        } else {
            "Burstable"
        }
    }
}

/// Adds the CPU and memory of a list where they are above zero, and counts them. Upstream: `processResourceList`.
fn add_compute(sums: &mut BTreeMap<&'static str, Quantity>, list: &ResourceList) -> usize {
    let mut found = 0;
    for resource in [CPU, MEMORY] {
        if let Some(amount) = list.get(resource).filter(|amount| amount.sign() == Ordering::Greater) {
            *sums.entry(resource).or_default() += amount;
            found += 1;
        }
    }
    found
}
