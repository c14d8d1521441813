//! The command line: what can be asked, and which exit code answers.

mod accept_node;
mod bundle;
mod check;
mod clean;
mod exit;
mod explain;
mod list;
mod myths;
mod outputs;
mod predict;
mod run;
mod select;
mod signals;
mod sweep;
mod sweep_confirm;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

pub use exit::Exit;

/// Tests what Kubernetes nodes do under pressure.
///
/// A scenario is a YAML file. `plimsoll run` boots a real, bounded node for it, lets its fillers build up pressure,
/// and says from evidence whether the kubelet evicted whom it should have.
#[derive(Debug, Parser)]
#[command(name = "plimsoll", version, after_long_help = exit::HELP, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run scenarios on a real kubelet and judge them
    #[command(after_long_help = RUN_EXAMPLES)]
    Run(run::RunArguments),
    /// Show which scenarios there are
    #[command(after_long_help = LIST_EXAMPLES)]
    List(list::ListArguments),
    /// Say what the rules say would happen, in virtual time: nothing is started and nothing proven
    #[command(after_long_help = PREDICT_EXAMPLES)]
    Predict(predict::PredictArguments),
    /// Set predictions beside what real runs did, as a Markdown table
    #[command(after_long_help = TRUTH_EXAMPLES)]
    Truth(predict::TruthArguments),
    /// Set what people say beside what real runs showed, as Markdown
    #[command(after_long_help = MYTHS_EXAMPLES)]
    Myths(myths::MythsArguments),
    /// Show what a scenario comes to: every default filled in, every object built
    #[command(after_long_help = PLAN_EXAMPLES)]
    Plan(check::PlanArguments),
    /// Check scenarios without running them
    #[command(after_long_help = LINT_EXAMPLES)]
    Lint(check::LintArguments),
    /// Say whom the kubelet of a node would evict next, and why
    #[command(after_long_help = explain::EXAMPLES)]
    Explain(explain::ExplainArguments),
    /// Print the JSON Schema of scenarios, or describe a field of them
    #[command(after_long_help = "Example: plimsoll schema --explain spec.steps.wait")]
    Schema {
        /// Describe this field, as kubectl explain does; without a path the whole
        #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = "")]
        explain: Option<String>,
    },
    /// Play a scenario over a grid of figures on the model: which thresholds hold, at which pace, at what cost
    #[command(after_long_help = SWEEP_EXAMPLES)]
    Sweep(sweep::SweepArguments),
    /// Remove what runs left on this machine that were killed
    #[command(
        after_long_help = "Runs that are still going are left alone. `plimsoll run` does the same before it starts."
    )]
    Clean,
    /// Accept this machine's GPUs, or say what speaks against them
    #[command(after_long_help = accept_node::EXAMPLES)]
    AcceptNode(Box<accept_node::AcceptNodeArguments>),
    /// Show, verify or import the node bundle
    #[command(after_long_help = BUNDLE_EXAMPLES)]
    Bundle(bundle::BundleArguments),
    /// Print a script that completes commands in a shell
    #[command(after_long_help = "For bash: source <(plimsoll completions bash)")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

const RUN_EXAMPLES: &str = "\
Examples:
  plimsoll run scenarios/quickstart.yaml
  plimsoll run scenarios/memory --junit results.xml
  plimsoll run scenarios/ --jobs auto -l tier=quick --timings   side by side, as many as fit this machine
  plimsoll run scenarios/ --jobs auto --shard 2/5               the second of five machines
  plimsoll run --on host --json - scenarios/quickstart.yaml
  plimsoll run --accept scenarios/memory/minimum-reclaim.yaml   review the snapshot, then commit it

Exit codes: 0 held, 1 violated, 2 bad input, 3 could not run, 4 unknown (no evidence), 130 interrupted.";

const SWEEP_EXAMPLES: &str = "\
Examples:
  plimsoll sweep scenarios/sweeps/threshold-and-ramp.yaml \\
    --vary 'nodes.worker.kubelet.evictionHard[memory.available]=100Mi..1Gi:50Mi' \\
    --vary 'workloads.greedy.fill.memory.rate=5Mi/s..200Mi/s:5Mi/s' --svg thresholds.svg
  … --confirm 12   run twelve cells of the boundary on a real kubelet and compare

FIELD is the way to a field of the scenario's spec; elements of lists go by their name, and brackets stand around a name
with dots. Exit codes: 0, 1 when a confirmed cell came out otherwise, 2 bad input, 3 could not run, 4 a cell is unknown.";

const LIST_EXAMPLES: &str = "\
Examples:
  plimsoll list scenarios/
  plimsoll list scenarios/ -l 'signal in (memory.available, pid.available),tier=quick'
  plimsoll list scenarios/ --shard 1/3 --output name";

const PREDICT_EXAMPLES: &str = "\
Examples:
  plimsoll predict scenarios/quickstart.yaml
  plimsoll predict --phases 1000 --quiet scenarios
  plimsoll predict --json - scenarios/quickstart.yaml

What can not be known beforehand - where in its interval the kubelet's loop is, what the node's daemons take - is gone
through in phases. Everything that is told is stamped PREDICTED; only `plimsoll run` proves anything.

Exit codes: as those of `plimsoll run`, for the phase that is most like all others.";

const TRUTH_EXAMPLES: &str = "\
Examples:
  plimsoll run --keep-evidence scenarios/memory
  plimsoll truth plimsoll-evidence/* > truth.md
  plimsoll truth --phases 1000 plimsoll-evidence/quickstart-*";

const MYTHS_EXAMPLES: &str = "\
Examples:
  plimsoll run --keep-evidence --evidence myths scenarios/stories
  plimsoll myths myths/* > myths.md";

const PLAN_EXAMPLES: &str = "\
Examples:
  plimsoll plan scenarios/quickstart.yaml
  plimsoll plan --output json scenarios/quickstart.yaml | jq .nodes

Exit codes: 0, 2 bad input.";

const LINT_EXAMPLES: &str = "\
Examples:
  plimsoll lint scenarios/
  plimsoll lint --deny-warnings --plain scenarios/quickstart.yaml

Exit codes: 0, 2 bad input, or a warning with --deny-warnings.";

const BUNDLE_EXAMPLES: &str = "\
Examples:
  plimsoll bundle                                   where it is
  plimsoll bundle --verify --kubernetes 1.35.4      whether every file of it is as it was built
  ci/node-bundle/build --pack bundle.tar.xz         on a machine that can build it,
  plimsoll bundle --import bundle.tar.xz            and here, where nothing else is needed

Exit codes: 0, 3 there is none or it is damaged.";

/// Where a scenario runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum On {
    /// A container engine if one answers, else namespaces of this machine
    Auto,
    /// Containers of a container engine
    Engine,
    /// Namespaces of this machine, without an engine; needs root
    Host,
}

/// Which bundle a run takes.
#[derive(Debug, clap::Args)]
struct BundleChoice {
    /// The folder of a node bundle; without it the newest in the cache that fits
    #[arg(long, value_name = "FOLDER", env = crate::bundle::BUNDLE_VARIABLE)]
    bundle: Option<PathBuf>,
}

/// Does what the command line asks.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "plimsoll=warn".into()),
        )
        .with_writer(std::io::stderr)
        .init();
    let exit = match arguments.command {
        Command::Run(arguments) => run::run(&arguments),
        Command::List(arguments) => list::list(&arguments),
        Command::Predict(arguments) => predict::predict(&arguments),
        Command::Truth(arguments) => predict::truth(&arguments),
        Command::Myths(arguments) => myths::myths(&arguments),
        Command::Plan(arguments) => check::plan(&arguments),
        Command::Lint(arguments) => check::lint(&arguments),
        Command::Explain(arguments) => explain::explain(&arguments),
        Command::Schema { explain: None } => print(&crate::scenario::schema::schema_text()),
        Command::Schema { explain: Some(path) } => match crate::scenario::explain(&path) {
            Ok(text) => print(&text),
            Err(message) => check::bad_input(&message),
        },
        Command::Sweep(arguments) => sweep::sweep(&arguments),
        Command::Clean => clean::clean(),
        Command::AcceptNode(arguments) => accept_node::accept_node(&arguments),
        Command::Bundle(arguments) => bundle::bundle(&arguments),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "plimsoll", &mut std::io::stdout());
            Exit::Held
        }
    };
    exit.into()
}

/// Writes a text to the standard output. Whoever reads it may have read enough and gone, as `head` does.
fn print(text: &str) -> Exit {
    let mut output = std::io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("error: the standard output: {error}");
            Exit::CouldNotRun
        }
        _ => Exit::Held,
    }
}

/// A runtime for what waits.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
