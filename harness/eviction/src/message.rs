//! What the kubelet says about an eviction: rendered to the byte, and read back.
//!
//! Follows `pkg/kubelet/eviction` of Kubernetes 1.36.3.

use std::fmt;
use std::str::FromStr;

use crate::quantity::Quantity;
use crate::quote::{quoted, unquoted};
use crate::signal::{NodeCondition, StarvedResource};

/// The reason in the status and in the events of a pod that was evicted, or rejected under pressure.
pub const EVICTED: &str = "Evicted";
/// The reason of the node's event when a threshold drives evictions.
pub const EVICTION_THRESHOLD_MET: &str = "EvictionThresholdMet";
/// The reason of an evicted pod's DisruptionTarget condition.
pub const TERMINATION_BY_KUBELET: &str = "TerminationByKubelet";
/// The type of an evicted pod's condition.
pub const DISRUPTION_TARGET: &str = "DisruptionTarget";

/// Keys of the annotations of an eviction's event.
pub mod annotation {
    /// The resource that was short.
    pub const STARVED_RESOURCE: &str = "starved_resource";
    /// The containers over their requests, separated by commas.
    pub const OFFENDING_CONTAINERS: &str = "offending_containers";
    /// What those containers used, in the same order.
    pub const OFFENDING_CONTAINERS_USAGE: &str = "offending_containers_usage";
    /// The pod's name, where the pod itself requests the resource.
    pub const OFFENDING_POD: &str = "offending_pod";
    /// What that pod used.
    pub const OFFENDING_POD_USAGE: &str = "offending_pod_usage";
}

/// The message of the node's event of reason [`EVICTION_THRESHOLD_MET`].
#[must_use]
pub fn reclaim_event_message(resource: StarvedResource) -> String {
    format!("Attempting to reclaim {resource}")
}

/// The resource that such a node event names, if the text is one.
#[must_use]
pub fn parse_reclaim_event_message(text: &str) -> Option<StarvedResource> {
    StarvedResource::from_name(text.strip_prefix("Attempting to reclaim ")?)
}

/// A container or pod, what it used, and what it had asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offender {
    /// The container's name, or the pod's.
    pub name: String,
    /// What was used: bytes.
    pub usage: Quantity,
    /// What was requested: bytes.
    pub request: Quantity,
}

/// How far a threshold was from what was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThresholdFigures {
    /// The threshold, resolved: bytes or a count.
    pub threshold: Quantity,
    /// What was left: bytes or a count.
    pub available: Quantity,
}

/// A pod's status message when the kubelet fails it under pressure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodMessage {
    /// Evicted because a threshold was met.
    NodeLow {
        /// What was short.
        resource: StarvedResource,
        /// The threshold and what was left; absent only if the signal had no observation.
        figures: Option<ThresholdFigures>,
        /// The pod itself, where it has a memory request of its own, even if it kept to it.
        pod: Option<Offender>,
        /// The containers that used more than they had requested.
        containers: Vec<Offender>,
    },
    /// Evicted because a container exceeded its own ephemeral-storage limit.
    ContainerOverLimit {
        /// The container.
        container: String,
        /// Its limit, in bytes.
        limit: Quantity,
    },
    /// Evicted because the pod exceeded the limits of its containers taken together.
    PodOverLimit {
        /// The sum of the limits, in bytes.
        limit: Quantity,
    },
    /// Evicted because an emptyDir volume exceeded its size limit.
    EmptyDirOverLimit {
        /// The volume.
        volume: String,
        /// Its limit, in bytes.
        limit: Quantity,
    },
    /// Never started: refused at admission, which has the reason `Evicted` too.
    Rejected {
        /// The node's conditions, in the order that the kubelet listed them.
        conditions: Vec<NodeCondition>,
    },
}

/// A text that is not one of the kubelet's eviction messages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an eviction message of the kubelet: {text:?} does not go on with {expected:?}")]
pub struct ParseMessageError {
    /// The part that could not be read.
    pub text: String,
    /// What should have come there.
    pub expected: &'static str,
}

const NODE_LOW: &str = "The node was low on resource: ";
const THRESHOLD: &str = "Threshold quantity: ";
const AVAILABLE: &str = ", available: ";
const CONTAINER: &str = "Container ";
const POD: &str = "Pod ";
const WAS_USING: &str = " was using ";
const REQUEST_IS: &str = ", request is ";
const LARGER: &str = ", has larger consumption of ";
const EXCEEDED_LIMIT: &str = " exceeded its local ephemeral storage limit ";
const POD_TOTAL: &str = "Pod ephemeral local storage usage exceeds the total limit of containers ";
const EMPTY_DIR: &str = "Usage of EmptyDir volume ";
const EXCEEDS_LIMIT: &str = " exceeds the limit ";
const REJECTED: &str = "Pod was rejected: ";
const HAD_CONDITION: &str = "The node had condition: [";
const END: &str = ". ";

impl fmt::Display for PodMessage {
    /// Upstream: `evictionMessage`, the three limit messages of `localStorageEviction`, and `Admit`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeLow { resource, .. } => self.naming(resource.name()).fmt(formatter),
            Self::ContainerOverLimit { container, limit } => {
                write!(formatter, "{CONTAINER}{container}{EXCEEDED_LIMIT}{}{END}", quoted(&limit.to_string()))
            }
            Self::PodOverLimit { limit } => write!(formatter, "{POD_TOTAL}{limit}{END}"),
            Self::EmptyDirOverLimit { volume, limit } => {
                let limit = quoted(&limit.to_string());
                write!(formatter, "{EMPTY_DIR}{}{EXCEEDS_LIMIT}{limit}{END}", quoted(volume))
            }
            Self::Rejected { conditions } => {
                let names: Vec<&str> = conditions.iter().map(|condition| condition.name()).collect();
                write!(formatter, "{REJECTED}{HAD_CONDITION}{}]{END}", names.join(" "))
            }
        }
    }
}

impl PodMessage {
    /// The same message about a resource that the kubelet knows nothing of, such as `nvidia.com/gpu-memory`. Only a message about a low
    /// resource names one.
    #[must_use]
    pub const fn naming<'a>(&'a self, resource: &'a str) -> Naming<'a> {
        Naming { message: self, resource }
    }
}

/// A message that names a resource of another name, for printing.
#[derive(Clone, Copy, Debug)]
pub struct Naming<'a> {
    message: &'a PodMessage,
    resource: &'a str,
}

impl fmt::Display for Naming<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resource = self.resource;
        let PodMessage::NodeLow { figures, pod, containers, .. } = self.message else {
            return self.message.fmt(formatter);
        };
        write!(formatter, "{NODE_LOW}{resource}{END}")?;
        if let Some(ThresholdFigures { threshold, available }) = figures {
            write!(formatter, "{THRESHOLD}{threshold}{AVAILABLE}{available}{END}")?;
        }
        let pod = pod.iter().map(|pod| (POD, pod));
        for (kind, offender) in pod.chain(containers.iter().map(|container| (CONTAINER, container))) {
            let Offender { name, usage, request } = offender;
            write!(formatter, "{kind}{name}{WAS_USING}{usage}{REQUEST_IS}{request}{LARGER}{resource}{END}")?;
        }
        Ok(())
    }
}

impl FromStr for PodMessage {
    type Err = ParseMessageError;

    /// Reads any message that the kubelet leaves; rendering the result gives the same text again.
    ///
    /// # Errors
    /// [`ParseMessageError`] with the first part that does not fit.
    fn from_str(text: &str) -> Result<Self, ParseMessageError> {
        let mut rest = Rest(text);
        let message = if rest.take(NODE_LOW) {
            rest.node_low()?
        } else if rest.take(POD_TOTAL) {
            Self::PodOverLimit { limit: rest.quantity_until(END)? }
        } else if rest.take(EMPTY_DIR) {
            let volume = rest.quoted()?;
            rest.expect(EXCEEDS_LIMIT)?;
            Self::EmptyDirOverLimit { volume, limit: rest.quoted_quantity()? }
        } else if rest.take(REJECTED) {
            rest.expect(HAD_CONDITION)?;
            Self::Rejected { conditions: rest.conditions()? }
        } else if rest.take(CONTAINER) {
            let container = rest.until(EXCEEDED_LIMIT)?.to_owned();
            Self::ContainerOverLimit { container, limit: rest.quoted_quantity()? }
        } else {
            return Err(rest.error(NODE_LOW));
        };
        if rest.0.is_empty() { Ok(message) } else { Err(rest.error("the end")) }
    }
}

/// What is still to be read.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn error(&self, expected: &'static str) -> ParseMessageError {
        ParseMessageError { text: self.0.to_owned(), expected }
    }

    fn take(&mut self, prefix: &str) -> bool {
        self.0.strip_prefix(prefix).is_some_and(|rest| {
            self.0 = rest;
            true
        })
    }

    fn expect(&mut self, prefix: &'static str) -> Result<(), ParseMessageError> {
        if self.take(prefix) { Ok(()) } else { Err(self.error(prefix)) }
    }

    fn until(&mut self, separator: &'static str) -> Result<&'a str, ParseMessageError> {
        let (before, after) = self.0.split_once(separator).ok_or_else(|| self.error(separator))?;
        self.0 = after;
        Ok(before)
    }

    fn quantity_until(&mut self, separator: &'static str) -> Result<Quantity, ParseMessageError> {
        let text = self.until(separator)?;
        printed_quantity(text)
    }

    fn resource(&mut self) -> Result<StarvedResource, ParseMessageError> {
        let name = self.until(END)?;
        StarvedResource::from_name(name)
            .ok_or(ParseMessageError { text: name.to_owned(), expected: "a resource" })
    }

    /// A text in double quotes, as Go's `%q` writes it.
    fn quoted(&mut self) -> Result<String, ParseMessageError> {
        let (text, rest) = unquoted(self.0).ok_or_else(|| self.error("a text in double quotes"))?;
        self.0 = rest;
        Ok(text)
    }

    fn quoted_quantity(&mut self) -> Result<Quantity, ParseMessageError> {
        let text = self.quoted()?;
        self.expect(END)?;
        printed_quantity(&text)
    }

    fn conditions(&mut self) -> Result<Vec<NodeCondition>, ParseMessageError> {
        let list = self.until("]")?;
        self.expect(END)?;
        list.split(' ')
            .map(|name| {
                NodeCondition::from_name(name)
                    .ok_or_else(|| ParseMessageError { text: name.to_owned(), expected: "a node condition" })
            })
            .collect()
    }

    fn offender(&mut self, resource: StarvedResource) -> Result<Offender, ParseMessageError> {
        let name = self.until(WAS_USING)?.to_owned();
        let usage = self.quantity_until(REQUEST_IS)?;
        let request = self.quantity_until(LARGER)?;
        let named = self.0;
        if self.resource()? == resource {
            Ok(Offender { name, usage, request })
        } else {
            Err(ParseMessageError { text: named.to_owned(), expected: resource.name() })
        }
    }

    fn node_low(&mut self) -> Result<PodMessage, ParseMessageError> {
        let resource = self.resource()?;
        let figures = if self.take(THRESHOLD) {
            let threshold = self.quantity_until(AVAILABLE)?;
            Some(ThresholdFigures { threshold, available: self.quantity_until(END)? })
        } else {
            None
        };
        let pod = if self.take(POD) { Some(self.offender(resource)?) } else { None };
        let mut containers = Vec::new();
        while self.take(CONTAINER) {
            containers.push(self.offender(resource)?);
        }
        Ok(PodMessage::NodeLow { resource, figures, pod, containers })
    }
}

fn printed_quantity(text: &str) -> Result<Quantity, ParseMessageError> {
    Quantity::from_printed(text)
        .map_err(|_| ParseMessageError { text: text.to_owned(), expected: "a quantity such as 512Mi" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(text: &str) -> Quantity {
        text.parse().expect("a quantity")
    }

    #[test]
    fn every_kind_reads_back_to_the_byte() {
        for text in [
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 40324Ki. Container c was using \
             616400Ki, request is 50Mi, has larger consumption of memory. ",
            "The node was low on resource: memory. Threshold quantity: 1e3, available: 100000. Pod web was using 5Gi, \
             request is 1G, has larger consumption of memory. Container a was using 1Gi, request is 0, has larger \
             consumption of memory. Container b was using 100000, request is +5Ki, has larger consumption of memory. ",
            "The node was low on resource: inodes. ",
            "The node was low on resource: pids. Threshold quantity: 13491, available: -5. ",
            "Container c exceeded its local ephemeral storage limit \"100Mi\". ",
            "Pod ephemeral local storage usage exceeds the total limit of containers 200Mi. ",
            "Usage of EmptyDir volume \"cache\" exceeds the limit \"1e3\". ",
            "Usage of EmptyDir volume \"a\\u00a0\\n\\\"b\\U000e0001\" exceeds the limit \"1e3\". ",
            "Pod was rejected: The node had condition: [MemoryPressure]. ",
            "Pod was rejected: The node had condition: [DiskPressure PIDPressure]. ",
        ] {
            let message: PodMessage = text.parse().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(message.to_string(), text);
        }
    }

    #[test]
    fn another_resource_is_named_in_the_same_words() {
        let text = "The node was low on resource: memory. Threshold quantity: 1Gi, available: 200Mi. Container memory was \
                    using 5Gi, request is 1Gi, has larger consumption of memory. ";
        let message: PodMessage = text.parse().expect("a message");
        assert_eq!(
            message.naming("nvidia.com/gpu-memory").to_string(),
            "The node was low on resource: nvidia.com/gpu-memory. Threshold quantity: 1Gi, available: 200Mi. Container \
             memory was using 5Gi, request is 1Gi, has larger consumption of nvidia.com/gpu-memory. "
        );
        let limit = PodMessage::PodOverLimit { limit: quantity("1Gi") };
        assert_eq!(limit.naming("nvidia.com/gpu-memory").to_string(), limit.to_string());
    }

    #[test]
    fn figures_are_numbers() {
        let text = "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 100000. \
                    Container c was using 2Gi, request is 512Mi, has larger consumption of ephemeral-storage. ";
        assert_eq!(
            text.parse(),
            Ok(PodMessage::NodeLow {
                resource: StarvedResource::EphemeralStorage,
                figures: Some(ThresholdFigures { threshold: quantity("1Gi"), available: quantity("100000") }),
                pod: None,
                containers: vec![Offender {
                    name: "c".to_owned(),
                    usage: quantity("2Gi"),
                    request: quantity("0.5Gi")
                }],
            })
        );
    }

    #[test]
    fn anything_else_is_refused_where_it_stops_fitting() {
        for (text, expected) in [
            ("", NODE_LOW),
            ("Preempted in order to admit critical pod", NODE_LOW),
            ("The node was low on resource: gold. ", "a resource"),
            ("The node was low on resource: memory. and more", "the end"),
            (
                "The node was low on resource: memory. Threshold quantity: lots, available: 1. ",
                "a quantity such as 512Mi",
            ),
            (
                "The node was low on resource: memory. Container c was using 1, request is 0, has larger consumption of pids. ",
                "memory",
            ),
            ("Pod was rejected: The node had condition: [Tired]. ", "a node condition"),
            ("Usage of EmptyDir volume \"cache exceeds the limit", "a text in double quotes"),
        ] {
            assert_eq!(text.parse::<PodMessage>().expect_err(text).expected, expected, "{text}");
        }
    }

    #[test]
    fn node_events_name_the_resource() {
        for resource in StarvedResource::ALL {
            assert_eq!(parse_reclaim_event_message(&reclaim_event_message(resource)), Some(resource));
        }
        assert_eq!(parse_reclaim_event_message("Starting kubelet."), None);
    }
}
