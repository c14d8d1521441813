//! `list`: which scenarios there are.

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::json;

use super::check::{bad_input, resolve, show};
use super::select::Selection;
use super::{Exit, print};
use crate::catalogue::Needs;
use crate::plan::Plan;
use crate::verdict::words;

/// What `list` takes.
#[derive(Debug, clap::Args)]
pub(super) struct ListArguments {
    #[command(flatten)]
    selection: Selection,
    /// How to write it
    #[arg(long, short, default_value = "table")]
    output: ListOutput,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ListOutput {
    /// A line each: name, labels, nodes, memory
    Table,
    /// The same with what each shows
    Wide,
    /// Files alone
    Name,
    /// An array of objects
    Json,
}

struct Listed {
    file: String,
    plan: Plan,
}

pub(super) fn list(arguments: &ListArguments) -> Exit {
    let files = match arguments.selection.files() {
        Ok(files) => files,
        Err(message) => return bad_input(&message),
    };
    let (mut listed, mut exit) = (Vec::new(), Exit::Held);
    for file in files {
        match resolve(&file) {
            Ok(lowered) => listed.push(Listed { file: file.display().to_string(), plan: lowered.plan }),
            // The others are listed all the same.
            Err(diagnostics) => {
                show(&diagnostics, false);
                exit = Exit::BadInput;
            }
        }
    }
    let listed = match arguments.selection.choose(listed, |one| &one.plan) {
        Ok(listed) => listed,
        Err(message) => return bad_input(&message),
    };
    let text = match arguments.output {
        ListOutput::Name => listed.iter().map(|one| format!("{}\n", one.file)).collect(),
        ListOutput::Json => {
            let documents: Vec<_> = listed.iter().map(document).collect();
            format!("{:#}\n", serde_json::Value::from(documents))
        }
        ListOutput::Table | ListOutput::Wide => table(&listed, matches!(arguments.output, ListOutput::Wide)),
    };
    exit.worse(print(&text))
}

fn document(one: &Listed) -> serde_json::Value {
    let needs = Needs::of(&one.plan);
    json!({
        "file": one.file,
        "name": one.plan.name,
        "description": one.plan.description,
        "labels": one.plan.labels,
        "kubernetes": one.plan.kubernetes,
        "nodes": one.plan.nodes.len(),
        "needs": {"memory": needs.memory, "disk": needs.disk, "processor": needs.processor, "inotify": needs.inotify, "tasks": needs.tasks, "exclusive": needs.exclusive},
    })
}

fn table(listed: &[Listed], wide: bool) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    let mut header = vec!["NAME", "LABELS", "NODES", "MEMORY", "FILE"];
    header.extend(wide.then_some("DESCRIPTION"));
    table.set_header(header);
    for one in listed {
        let labels: Vec<String> =
            one.plan.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let memory = i64::try_from(Needs::of(&one.plan).memory).unwrap_or(i64::MAX);
        let mut row = vec![
            one.plan.name.clone(),
            if labels.is_empty() { "<none>".to_owned() } else { labels.join(",") },
            one.plan.nodes.len().to_string(),
            words::bytes(memory),
            one.file.clone(),
        ];
        row.extend(wide.then(|| one.plan.description.clone().unwrap_or_default()));
        table.add_row(row);
    }
    table.lines().map(|line| format!("{}\n", line.trim())).collect()
}
