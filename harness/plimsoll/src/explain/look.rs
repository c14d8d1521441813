//! Reading what is known of a node.

use std::collections::BTreeMap;

use plimsoll_eviction::answer::LookAnswer;
use plimsoll_eviction::document::{DocumentError, ListedPod, read_json, read_pod_list};
use plimsoll_eviction::layout::FilesystemLayout;
use plimsoll_eviction::pod::Pod;
use plimsoll_eviction::summary::Summary;
use plimsoll_eviction::threshold::KubeletConfiguration;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::scenario::nearest;

/// A document as it was read, not looked into yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What it is called in errors: a file's name, or what was asked for.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// All that is read of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Documents {
    /// Pods: a `v1.PodList`, or kubectl's `v1.List` of them.
    pub pods: Document,
    /// The kubelet's `/stats/summary`.
    pub summary: Document,
    /// A KubeletConfiguration in YAML or JSON, or the kubelet's `/configz`.
    pub configuration: Document,
}

/// A document that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{document}: {}{problem}\nhelp: {help}", at(field))]
pub struct InputError {
    /// The document's name.
    pub document: String,
    /// The path to the field; empty for the document as a whole.
    pub field: String,
    /// What is wrong there, with line and column where there are any.
    pub problem: String,
    /// What to do about it.
    pub help: String,
}

/// The path, where one is known.
fn at(field: &str) -> String {
    if matches!(field, "" | "." | "?") { String::new() } else { format!("{field}: ") }
}

/// Pods of the list that do not count on this node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Those of other nodes.
    pub elsewhere: usize,
    /// Those that are on no node yet.
    pub unscheduled: usize,
    /// Those that have ended.
    pub ended: usize,
}

/// One look at a node: everything that decides who goes.
#[derive(Debug, Clone)]
pub struct Look {
    /// The node, if its statistics or the one who asked name it.
    pub node: Option<String>,
    /// The pods that count.
    pub pods: Vec<Pod>,
    /// The pods that do not.
    pub left_out: LeftOut,
    /// The kubelet's statistics.
    pub summary: Summary,
    /// The kubelet's configuration.
    pub configuration: KubeletConfiguration,
    /// How the node's files are spread over filesystems.
    pub layout: FilesystemLayout,
    /// What is probably not meant, as sentences.
    pub warnings: Vec<String>,
}

impl Look {
    /// Reads the documents. The pods that count are those of the node that is named, or else of the one that the
    /// statistics name; the layout is the one given, or else the one that the statistics show.
    ///
    /// # Errors
    /// [`InputError`] for the first document that is not what it should be, or if the layout can not be told.
    pub fn read(
        documents: &Documents,
        node: Option<&str>,
        layout: Option<FilesystemLayout>,
    ) -> Result<Self, InputError> {
        let Documents { pods, summary: statistics, configuration } = documents;
        let listed = read_pod_list(&pods.text)
            .map_err(|error| json_error(pods, error, "give what `kubectl get pods -A -o json` prints"))?;
        let summary: Summary = read_json(&statistics.text).map_err(|error| {
            let help = "give what `kubectl get --raw /api/v1/nodes/NODE/proxy/stats/summary` prints";
            json_error(statistics, error, help)
        })?;
        let (configuration, warnings) = read_configuration(configuration)?;
        let named = Some(summary.node.node_name.as_str()).filter(|name| !name.is_empty());
        if let (Some(asked), Some(named)) = (node, named)
            && asked != named
        {
            return Err(InputError {
                document: statistics.name.clone(),
                field: "node.nodeName".to_owned(),
                problem: format!("these are the statistics of {named}, not of {asked}"),
                help: format!("give the statistics of {asked}, or `--node {named}`"),
            });
        }
        let layout = layout.or_else(|| FilesystemLayout::seen_in(&summary)).ok_or_else(|| InputError {
            document: statistics.name.clone(),
            field: "node.runtime".to_owned(),
            problem: "the sizes of the filesystems do not tell whether images have one of their own".to_owned(),
            help: "say so: --layout single, dedicated (images and writable layers elsewhere) or split (images elsewhere)"
                .to_owned(),
        })?;
        let node = node.or(named).map(str::to_owned);
        let (pods, left_out) = on_node(listed, node.as_deref());
        Ok(Self { node, pods, left_out, summary, configuration, layout, warnings })
    }

    /// The answer for programs, in the form that `plimsoll-eviction` documents.
    #[must_use]
    pub fn answer(&self) -> LookAnswer {
        LookAnswer::new(&self.pods, &self.summary, &self.configuration, self.layout)
    }
}

/// The pods that are active on a node. Where no node is known, every pod counts that is not waiting for one.
fn on_node(listed: Vec<ListedPod>, node: Option<&str>) -> (Vec<Pod>, LeftOut) {
    let mut left_out = LeftOut::default();
    let mut pods = Vec::new();
    for listed in listed {
        let elsewhere = node.is_some_and(|node| !listed.node_name.is_empty() && listed.node_name != node);
        if elsewhere {
            left_out.elsewhere += 1;
        } else if listed.is_unscheduled() {
            left_out.unscheduled += 1;
        } else if !listed.is_active() {
            left_out.ended += 1;
        } else {
            pods.push(listed.pod);
        }
    }
    (pods, left_out)
}

fn json_error(document: &Document, error: DocumentError, help: &str) -> InputError {
    let DocumentError { path, source } = error;
    InputError {
        document: document.name.clone(),
        field: path,
        problem: source.to_string(),
        help: help.to_owned(),
    }
}

/// What a configuration document says of itself.
#[derive(Deserialize)]
struct Heading {
    kind: Option<String>,
    kubeletconfig: Option<IgnoredAny>,
}

/// The kubelet's `/configz`.
#[derive(Deserialize)]
struct Configz<T> {
    kubeletconfig: T,
}

/// Reads a KubeletConfiguration, bare or as `/configz` gives it, with what a kubelet would pass over in it.
fn read_configuration(document: &Document) -> Result<(KubeletConfiguration, Vec<String>), InputError> {
    let heading: Heading = read_yaml(document)?;
    if let Some(kind) = heading.kind.filter(|kind| kind != "KubeletConfiguration") {
        return Err(InputError {
            document: document.name.clone(),
            field: "kind".to_owned(),
            problem: format!("expected KubeletConfiguration, found {kind}"),
            help: "give the kubelet's configuration file, or what `kubectl get --raw /api/v1/nodes/NODE/proxy/configz` prints"
                .to_owned(),
        });
    }
    type Fields = BTreeMap<String, IgnoredAny>;
    let (configuration, fields): (KubeletConfiguration, Fields) = if heading.kubeletconfig.is_some() {
        let configz: Configz<KubeletConfiguration> = read_yaml(document)?;
        (configz.kubeletconfig, read_yaml::<Configz<Fields>>(document)?.kubeletconfig)
    } else {
        (read_yaml(document)?, read_yaml(document)?)
    };
    let known = crate::plan::kubelet_configuration_fields;
    let unknown = fields.into_keys().filter(|field| !known().any(|known| known == field));
    let warnings = unknown.map(|field| {
        let meant = nearest(&field, known()).map(|known| format!(" (is {known} meant?)"));
        let meant = meant.unwrap_or_default();
        format!(
            "{}: {field}: no field of KubeletConfiguration, so the kubelet passes over it{meant}",
            document.name
        )
    });
    Ok((configuration, warnings.collect()))
}

/// Reads a YAML document the way a kubelet does, to which a bare `4096` is a number and no text.
fn read_yaml<T: serde::de::DeserializeOwned>(document: &Document) -> Result<T, InputError> {
    let options = serde_yaml::options! { no_schema: true, with_snippet: false };
    let mut field = String::new();
    let read = serde_yaml::with_deserializer_from_str_with_options(&document.text, options, |deserializer| {
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            field = error.path().to_string();
            error.into_inner()
        })
    });
    read.map_err(|error| InputError {
        document: document.name.clone(),
        field,
        problem: {
            let formatter = serde_yaml::UserMessageFormatter;
            let message = serde_yaml::MessageFormatter::format_message(&formatter, error.without_snippet());
            let place = error.location().map(|at| format!(" at line {} column {}", at.line(), at.column()));
            format!("{message}{}", place.unwrap_or_default())
        },
        help: "amounts and durations are texts: write \"4096\" or 10% or 1m30s; the rest is as in the Kubernetes \
               documentation of KubeletConfiguration (kubelet.config.k8s.io/v1beta1)"
            .to_owned(),
    })
}
