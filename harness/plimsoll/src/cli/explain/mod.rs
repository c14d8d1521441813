//! `explain`.

mod screen;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use plimsoll_eviction::duration::parse_duration;
use plimsoll_eviction::layout::FilesystemLayout;

use self::screen::Screen;
use super::check::bad_input;
use super::signals::cancelled_by_signals;
use super::{Exit, print, runtime};
use crate::explain::live;
use crate::explain::{Document, Documents, InputError, Look, Refusal, text};
use crate::report::{TerminalOptions, Verbosity};

/// What `explain` takes.
#[derive(Debug, clap::Args)]
pub(super) struct ExplainArguments {
    /// The pods: what `kubectl get pods -A -o json` prints
    #[arg(long, value_name = "FILE", required_unless_present = "context", conflicts_with = "context")]
    pods: Option<PathBuf>,
    /// The kubelet's statistics: its /stats/summary
    #[arg(long, value_name = "FILE", required_unless_present = "context", conflicts_with = "context")]
    summary: Option<PathBuf>,
    /// The kubelet's configuration: a KubeletConfiguration, or its /configz; with --context instead of the node's own
    #[arg(long, value_name = "FILE", required_unless_present = "context")]
    config: Option<PathBuf>,
    /// Where images and writable layers are: with everything else, both elsewhere (dedicated), or only the images elsewhere
    /// (split); left out, as the sizes of the filesystems tell
    #[arg(long, value_name = "LAYOUT")]
    layout: Option<Layout>,
    /// Ask the API server of this context of the kubeconfig; never the current one unasked
    #[arg(long, requires = "node")]
    context: Option<String>,
    /// The node; with files, whose pods count (default: the one that the statistics name)
    #[arg(long, value_parser = node_name)]
    node: Option<String>,
    /// The kubeconfig (default: as for kubectl, $KUBECONFIG or ~/.kube/config)
    #[arg(long, value_name = "FILE", requires = "context")]
    kubeconfig: Option<PathBuf>,
    /// Look again and again, until Ctrl-C
    #[arg(long, requires = "context")]
    watch: bool,
    /// How often, with --watch
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = interval, requires = "watch")]
    interval: Duration,
    /// How many pods of each order are told; documents hold all
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    top: usize,
    /// How to write it
    #[arg(long, short, default_value = "text")]
    output: ExplainOutput,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExplainOutput {
    /// For people
    Text,
    /// As JSON: with --watch one document a line
    Json,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Layout {
    /// One filesystem for everything
    Single,
    /// Images and writable layers on a second one
    #[value(alias = "dedicatedImageFs")]
    Dedicated,
    /// Images on a second one
    Split,
}

impl From<Layout> for FilesystemLayout {
    fn from(layout: Layout) -> Self {
        match layout {
            Layout::Single => Self::Single,
            Layout::Dedicated => Self::DedicatedImageFs,
            Layout::Split => Self::Split,
        }
    }
}

/// For `--help`.
pub(super) const EXAMPLES: &str = "\
Examples:
  plimsoll explain --context production --node worker-3
  plimsoll explain --context production --node worker-3 --watch --interval 2s
  plimsoll explain --pods pods.json --summary summary.json --config kubelet.yaml --layout single
  plimsoll explain --pods pods.json --summary summary.json --config configz.json --output json

The files are what these print:
  kubectl get pods -A -o json
  kubectl get --raw /api/v1/nodes/NODE/proxy/stats/summary
  kubectl get --raw /api/v1/nodes/NODE/proxy/configz

Nothing is written to the cluster. It takes the rights to list pods and to get nodes/proxy.

Exit codes: 0 explained, 2 bad input or a configuration that a kubelet refuses, 3 the node could not be asked,
130 interrupted.";

/// Node names go into paths, so only what is one gets there. Upstream: `NameIsDNSSubdomain`.
fn node_name(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    let ends =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = text.as_bytes();
    if bytes.len() <= 253 && bytes.iter().copied().all(fits) && ends(bytes.first()) && ends(bytes.last()) {
        Ok(text.to_owned())
    } else {
        Err("a node's name has lower-case letters, digits, dashes and dots, and begins and ends with a letter or digit".into())
    }
}

/// At least a second: the figures do not change sooner.
fn interval(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(interval) if interval >= Duration::from_secs(1) => Ok(interval),
        Ok(_) => Err("the kubelet's figures do not change within a second: give 1s or more".into()),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn explain(arguments: &ExplainArguments) -> Exit {
    let given = match arguments.config.as_deref().map(read).transpose() {
        Ok(given) => given,
        Err(message) => return bad_input(&message),
    };
    if let (Some(context), Some(node)) = (&arguments.context, &arguments.node) {
        let asked = runtime().map_err(|error| error.to_string());
        let ended = asked.map(|runtime| {
            let exit = runtime.block_on(live(arguments, context, node, given));
            // A call that hangs in a thread must not keep the command from ending.
            runtime.shutdown_background();
            exit
        });
        return ended.unwrap_or_else(|message| could_not(&message));
    }
    let (Some(pods), Some(summary), Some(configuration)) = (&arguments.pods, &arguments.summary, given)
    else {
        return bad_input("give --pods, --summary and --config, or --context and --node");
    };
    let documents =
        read(pods).and_then(|pods| Ok(Documents { pods, summary: read(summary)?, configuration }));
    match documents {
        Ok(documents) => match look(arguments, &documents) {
            Ok(look) => show(arguments, &look),
            Err(error) => bad_input(&error.to_string()),
        },
        Err(message) => bad_input(&message),
    }
}

fn read(path: impl AsRef<Path>) -> Result<Document, String> {
    let path = path.as_ref();
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Document { name, text }),
        Err(error) => {
            Err(format!("{name}: {error}\nhelp: see `plimsoll explain --help` for what the files are"))
        }
    }
}

fn could_not(message: &str) -> Exit {
    eprintln!("error: {message}");
    Exit::CouldNotRun
}

fn look(arguments: &ExplainArguments, documents: &Documents) -> Result<Look, InputError> {
    Look::read(documents, arguments.node.as_deref(), arguments.layout.map(FilesystemLayout::from))
}

/// What a look comes to, on the standard output; what is wrong with it on the standard error.
fn show(arguments: &ExplainArguments, look: &Look) -> Exit {
    let written = written(arguments, look, false);
    let printed = print(&written.text);
    if printed != Exit::Held {
        return printed;
    }
    for warning in &look.warnings {
        eprintln!("warning: {warning}");
    }
    match written.refusal {
        Some(refusal) => bad_input(&format!(
            "{refusal}\nhelp: a kubelet does not start with these thresholds, so nothing follows from them"
        )),
        None => Exit::Held,
    }
}

/// A report or a document, and why a kubelet would refuse the configuration.
struct Written {
    text: String,
    refusal: Option<String>,
}

fn written(arguments: &ExplainArguments, look: &Look, one_line: bool) -> Written {
    match arguments.output {
        ExplainOutput::Text => {
            let explanation = look.explain();
            let options = TerminalOptions::for_stdout(Verbosity::Normal);
            let text = text::render(&explanation, arguments.top, &options);
            Written { text, refusal: explanation.refusal }
        }
        ExplainOutput::Json => {
            let answer = look.answer();
            let document =
                if one_line { serde_json::to_string(&answer) } else { serde_json::to_string_pretty(&answer) };
            // Plain data in memory has no way to fail.
            Written { text: document.unwrap_or_default() + "\n", refusal: answer.config_error }
        }
    }
}

/// Asks a cluster, once or until it is stopped.
async fn live(arguments: &ExplainArguments, context: &str, node: &str, given: Option<Document>) -> Exit {
    let client = match live::client(arguments.kubeconfig.as_deref(), context).await {
        Ok(client) => client,
        Err(error) => return could_not(&error.to_string()),
    };
    let cancel = cancelled_by_signals(|_| {});
    let place = format!("context {context}, node {node}");
    let ask = async || {
        tokio::select! {
            asked = live::documents(&client, node, given.clone()) => Some(asked),
            () = cancel.cancelled() => None,
        }
    };
    let first = match ask().await {
        None => return Exit::Interrupted,
        Some(Err(refusals)) => return could_not(&refused(&place, &refusals)),
        Some(Ok(documents)) => match look(arguments, &documents) {
            Ok(first) => first,
            Err(error) => return bad_input(&error.to_string()),
        },
    };
    if !arguments.watch {
        return show(arguments, &first);
    }
    // The kubelet, too, finds out once how its files are laid out.
    let layout = first.layout;
    let mut screen = Screen::of_stdout(arguments.output == ExplainOutput::Json);
    let mut shown = written(arguments, &first, true).text;
    loop {
        match screen.show(&shown) {
            Ok(()) => {}
            // Whoever reads it may have read enough and gone.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Exit::Held,
            Err(error) => return could_not(&format!("the standard output: {error}")),
        }
        tokio::select! {
            () = tokio::time::sleep(arguments.interval) => {}
            () = cancel.cancelled() => return Exit::Interrupted,
        }
        let trouble = match ask().await {
            None => return Exit::Interrupted,
            Some(Ok(documents)) => match Look::read(&documents, Some(node), Some(layout)) {
                Ok(look) => {
                    shown = written(arguments, &look, true).text;
                    screen.forget_trouble();
                    continue;
                }
                Err(error) => error.to_string(),
            },
            Some(Err(refusals)) => refused(&place, &refusals),
        };
        shown = screen.with_trouble(&shown, &trouble, arguments.interval);
    }
}

fn refused(place: &str, refusals: &[Refusal]) -> String {
    refusals.iter().map(|refusal| format!("{place}: {refusal}")).collect::<Vec<_>>().join("\nerror: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_names_can_not_lead_elsewhere() {
        for fine in ["worker", "ip-10-0-0-1.ec2.internal", "3"] {
            assert_eq!(node_name(fine).as_deref(), Ok(fine));
        }
        for wrong in ["", "a/b", "../pods", "a b", "A", "-a", "a?b", "a%2F", &"a".repeat(254)] {
            assert!(node_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn intervals_are_of_a_second_at_least() {
        assert_eq!(interval("1s"), Ok(Duration::from_secs(1)));
        assert!(interval("999ms").is_err() && interval("soon").is_err());
    }
}
