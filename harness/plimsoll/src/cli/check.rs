//! `lint` and `plan`: what can be said of a scenario without running it.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::{Exit, print};
use crate::catalogue::meminfo;
use crate::cluster::state::state_folder;
use crate::plan::{Lowered, Machine, fits, lower, lower_for};
use crate::scenario::render::{Look, graphical};
use crate::scenario::{Diagnostics, Severity, load};

/// What `lint` takes.
#[derive(Debug, clap::Args)]
pub(super) struct LintArguments {
    /// Scenarios, or folders of them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Take warnings for errors
    #[arg(long)]
    deny_warnings: bool,
    /// One line for each, `file:line:column: error[code]: …`, for editors
    #[arg(long)]
    plain: bool,
}

/// What `plan` takes.
#[derive(Debug, clap::Args)]
pub(super) struct PlanArguments {
    /// The scenario
    file: PathBuf,
    /// How to write it
    #[arg(long, short, default_value = "text")]
    output: PlanOutput,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PlanOutput {
    /// For people
    Text,
    /// As JSON
    Json,
}

pub(super) fn lint(arguments: &LintArguments) -> Exit {
    let files = match scenario_files(&arguments.files) {
        Ok(files) => files,
        Err(message) => return bad_input(&message),
    };
    let machine = this_machine();
    let mut exit = Exit::Held;
    for file in &files {
        let (diagnostics, failed) = match load(file).and_then(|loaded| Ok((lower(&loaded)?, loaded))) {
            Ok((lowered, loaded)) => {
                // Another machine may hold it, so that this is no error of the scenario.
                for problem in fits(&lowered.plan.nodes, &loaded, machine) {
                    let misfit = loaded.sources.diagnostic(problem);
                    eprintln!(
                        "note: {}: it can not run on this machine: {}",
                        misfit.location, misfit.message
                    );
                }
                (lowered.warnings, false)
            }
            Err(diagnostics) => (diagnostics, true),
        };
        show(&diagnostics, arguments.plain);
        if failed || (arguments.deny_warnings && diagnostics.count(Severity::Warning) > 0) {
            exit = Exit::BadInput;
        }
    }
    if exit == Exit::Held {
        return print(&format!(
            "{} checked: no errors\n",
            crate::verdict::words::count(files.len(), "scenario")
        ));
    }
    exit
}

pub(super) fn plan(arguments: &PlanArguments) -> Exit {
    let lowered = match resolve(&arguments.file) {
        Ok(lowered) => lowered,
        Err(diagnostics) => {
            show(&diagnostics, false);
            return Exit::BadInput;
        }
    };
    show(&lowered.warnings, false);
    match arguments.output {
        PlanOutput::Text => print(&crate::plan::text(&lowered.plan)),
        PlanOutput::Json => match serde_json::to_string_pretty(&lowered.plan) {
            Ok(text) => print(&format!("{text}\n")),
            Err(error) => bad_input(&error.to_string()),
        },
    }
}

/// Reads and resolves a scenario.
pub(super) fn resolve(file: &Path) -> Result<Lowered, Diagnostics> {
    lower(&load(file)?)
}

/// Reads and resolves a scenario that is to run on such a machine.
pub(super) fn resolve_for(file: &Path, machine: Machine) -> Result<Lowered, Diagnostics> {
    lower_for(&load(file)?, machine)
}

/// This machine; without bound where it can not be read, since then nothing can be said against a plan.
pub(super) fn this_machine() -> Machine {
    let runs = state_folder();
    // The folder may not be there before the first run.
    let existing = runs.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    let disk = rustix::fs::statvfs(existing).map(|disk| disk.f_blocks.saturating_mul(disk.f_frsize));
    Machine {
        memory: meminfo("MemTotal").unwrap_or(Machine::UNBOUNDED.memory),
        disk: disk.unwrap_or(Machine::UNBOUNDED.disk),
    }
}

/// Writes diagnostics to the standard error.
pub(super) fn show(diagnostics: &Diagnostics, plain: bool) {
    if diagnostics.list.is_empty() {
        return;
    }
    if plain {
        for diagnostic in &diagnostics.list {
            eprintln!("{diagnostic}");
        }
        return;
    }
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    eprint!("{}", graphical(diagnostics, Look { colour, ..Look::default() }));
}

/// The scenarios that are named: files as they are, folders with every scenario below them, sorted.
pub(super) fn scenario_files(named: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for path in named {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let before = files.len();
        collect(path, &mut files).map_err(|error| format!("{}: {error}", path.display()))?;
        if files.len() == before {
            return Err(format!(
                "{}: no scenario in this folder\nhelp: a scenario is a .yaml file of kind Scenario",
                path.display()
            ));
        }
    }
    Ok(files)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "yaml") && is_scenario(&path) {
            files.push(path);
        }
    }
    Ok(())
}

/// Manifests lie beside scenarios; what says that it is a scenario is one, however wrong the rest of it.
fn is_scenario(path: &Path) -> bool {
    std::fs::read_to_string(path)
        .is_ok_and(|text| text.lines().any(|line| line.trim_end() == "kind: Scenario"))
}

/// Says what is wrong with the input.
pub(super) fn bad_input(message: &str) -> Exit {
    eprintln!("error: {message}");
    Exit::BadInput
}
