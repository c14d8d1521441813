//! `sweep`.

use std::fs::read_to_string;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::check::{bad_input, show};
use super::{Exit, print};
use crate::model::SECOND;
use crate::programs::Programs;
use crate::scenario::{Files, load, parse};
use crate::sweep::{Axis, Cell, Span, Summary, Sweep, SweepError, heat_map, svg};
use crate::whole_file::WholeFile;

/// What `sweep` takes.
#[derive(Debug, clap::Args)]
pub(super) struct SweepArguments {
    /// The scenario
    scenario: PathBuf,
    /// What is varied: FIELD=FROM..TO:STEP or FIELD=VALUE,VALUE. The recommendation is for the first
    #[arg(long, value_name = "AXIS", required = true)]
    vary: Vec<Axis>,
    /// In how many phases of the kubelet's loop to play each cell
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    phases: u32,
    /// Write every cell as a line of CSV
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write every cell, the boundary and the recommendation as JSON lines
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a chart that stands by itself
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Run so many cells of the boundary on a real cluster, and say where it agrees
    #[command(flatten)]
    pub(super) confirm: super::sweep_confirm::ConfirmArguments,
}

pub(super) fn sweep(arguments: &SweepArguments) -> Exit {
    let sweep = match prepare(arguments) {
        Ok(sweep) => sweep,
        Err(exit) => return exit,
    };
    match play(arguments, &sweep) {
        Ok(summary) => {
            let told = tell(&summary, &arguments.scenario);
            match told {
                Exit::Held => {
                    super::sweep_confirm::confirm(&arguments.confirm, &arguments.scenario, &summary)
                }
                exit => exit,
            }
        }
        Err(SweepError::Output(error)) => {
            eprintln!("error: {error}");
            Exit::CouldNotRun
        }
        Err(error) => bad_input(&error.to_string()),
    }
}

fn prepare(arguments: &SweepArguments) -> Result<Sweep, Exit> {
    let path = &arguments.scenario;
    // Read as any scenario first: what is wrong with it is said with its line.
    let loaded = load(path).and_then(|loaded| crate::plan::lower(&loaded)).map_err(|diagnostics| {
        show(&diagnostics, false);
        Exit::BadInput
    })?;
    show(&loaded.warnings, false);
    let text = read_to_string(path).map_err(|error| bad_input(&format!("{}: {error}", path.display())))?;
    let name = path.display().to_string();
    let files = manifests(path, &name, &text);
    let sweep =
        Sweep::new(&name, &text, &files, arguments.vary.clone(), Programs::assumptions(), arguments.phases);
    sweep.map_err(|error| bad_input(&format!("{}: {error}", path.display())))
}

/// The manifests that a scenario names; one that can not be read has been told already.
fn manifests(path: &Path, name: &str, text: &str) -> Files {
    let folder = path.parent().unwrap_or(Path::new(""));
    let Ok(parsed) = parse(name, text) else { return Files::new() };
    let read = |file: &str| read_to_string(folder.join(file)).map_err(|error| error.to_string());
    parsed.manifest_files().map(|file| (file.to_owned(), read(file))).collect()
}

fn play<'a>(arguments: &SweepArguments, sweep: &'a Sweep) -> Result<Summary<'a>, SweepError> {
    let create = |path: &Option<PathBuf>| path.as_deref().map(WholeFile::create).transpose();
    let mut csv = create(&arguments.csv).map_err(SweepError::Output)?;
    let mut json = create(&arguments.json).map_err(SweepError::Output)?;
    if let Some(csv) = &mut csv {
        header(csv, sweep).map_err(SweepError::Output)?;
    }
    let progress = progress(sweep.cells());
    let mut summary = Summary::new(sweep);
    sweep.run(|cell, played| {
        summary.add(played);
        progress.inc(1);
        let places = sweep.places(cell);
        if let Some(csv) = &mut csv {
            row(csv, sweep, &places, played)?;
        }
        if let Some(json) = &mut json {
            let values = values(sweep, &places);
            writeln!(
                json,
                "{}",
                json!({"v": 1, "type": "cell", "predicted": true, "values": values, "cell": played})
            )?;
        }
        Ok(())
    })?;
    progress.finish_and_clear();
    let finish = || -> std::io::Result<()> {
        if let Some(mut csv) = csv {
            csv.flush()?;
        }
        if let Some(mut json) = json {
            for step in summary.frontier() {
                writeln!(
                    json,
                    "{}",
                    json!({"v": 1, "type": "boundary", "predicted": true, "boundary": step})
                )?;
            }
            let sentences = summary.recommendation();
            let document = json!({
                "v": 1,
                "type": "recommendation",
                "predicted": true,
                "sentences": sentences,
                "omissions": sweep.omissions(),
                "phases": sweep.phases(),
                "assumptions": sweep.assumptions(),
            });
            writeln!(json, "{document}")?;
            json.flush()?;
        }
        if let Some(path) = &arguments.svg {
            WholeFile::write(path, svg(&summary).as_bytes())?;
        }
        Ok(())
    };
    finish().map_err(SweepError::Output)?;
    Ok(summary)
}

fn progress(cells: usize) -> indicatif::ProgressBar {
    let bar = indicatif::ProgressBar::new(cells as u64);
    if let Ok(style) =
        indicatif::ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} cells, {eta} left")
    {
        bar.set_style(style);
    }
    bar
}

fn values(sweep: &Sweep, places: &[usize]) -> serde_json::Map<String, serde_json::Value> {
    let settings = sweep.axes.iter().zip(places);
    settings.map(|(axis, place)| (axis.path.to_string(), axis.values[*place].text.clone().into())).collect()
}

fn header(csv: &mut impl Write, sweep: &Sweep) -> std::io::Result<()> {
    for axis in &sweep.axes {
        write!(csv, "{},", quoted(&axis.path.to_string()))?;
    }
    writeln!(
        csv,
        "phases,evicted in time,OOM-killed,nobody went,evicted least,evicted most,over-evicted bytes least,over-evicted bytes most,relief seconds least,relief seconds most,not modelled"
    )
}

fn row(csv: &mut impl Write, sweep: &Sweep, places: &[usize], cell: &Cell) -> std::io::Result<()> {
    for (axis, place) in sweep.axes.iter().zip(places) {
        write!(csv, "{},", quoted(&axis.values[*place].text))?;
    }
    write!(csv, "{},{},{},{}", cell.phases(), cell.in_time, cell.oom_killed, cell.nobody)?;
    for span in [cell.evicted, cell.over_evicted] {
        match span {
            Some(Span { least, most }) => write!(csv, ",{least},{most}")?,
            None => write!(csv, ",,")?,
        }
    }
    match cell.relief {
        Some(Span { least, most }) => write!(csv, ",{},{}", seconds(least), seconds(most))?,
        None => write!(csv, ",,")?,
    }
    writeln!(csv, ",{}", quoted(&sweep.omissions().join("; ")))
}

fn seconds(micros: i64) -> String {
    format!("{}.{:03}", micros / SECOND, micros % SECOND / 1000)
}

/// As RFC 4180 has it.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

fn tell(summary: &Summary<'_>, scenario: &Path) -> Exit {
    let sweep = summary.sweep();
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let width = terminal_size::terminal_size().map_or(100, |(width, _)| usize::from(width.0));
    let mut text = format!(
        "{}: {} in {}, PREDICTED\n\n",
        scenario.display(),
        crate::verdict::words::count(sweep.cells(), "cell"),
        crate::verdict::words::count(sweep.phases(), "phase")
    );
    text.push_str(&heat_map(summary, width, |shade, cell| super::sweep_confirm::paint(colour, shade, cell)));
    text.push('\n');
    for sentence in summary.recommendation() {
        text.push_str(&format!("{sentence}\n"));
    }
    print(&text)
}
