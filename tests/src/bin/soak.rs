//! Many random scenarios on a real kubelet: does each go as predicted, and is the machine afterwards as it was before?
//!
//! `ci/soak` runs it.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use plimsoll_tests::command::program;
use plimsoll_tests::machine::{self, is_as_before};
use plimsoll_tests::random_scenario::random_scenario;
use serde_json::Value;

/// How many scenarios one command runs: its memory grows with what it has seen.
const AT_ONCE: u64 = 25;

fn main() -> ExitCode {
    match soak() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(3)
        }
    }
}

/// What is asked for.
struct Asked {
    runs: u64,
    seed: u64,
    jobs: String,
}

fn asked() -> Result<Asked, Box<dyn Error>> {
    let mut asked = Asked { runs: 200, seed: 1, jobs: "auto".to_owned() };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--runs" => asked.runs = value.parse()?,
            "--seed" => asked.seed = value.parse()?,
            "--jobs" => asked.jobs = value,
            _ => return Err(format!("there is no option {name}: --runs, --seed, --jobs").into()),
        }
    }
    Ok(asked)
}

/// What has been seen of all runs.
#[derive(Default)]
struct Seen {
    states: BTreeMap<String, u64>,
    disagreements: Vec<(String, Vec<String>)>,
    incomparable: Vec<String>,
}

fn soak() -> Result<bool, Box<dyn Error>> {
    let asked = asked()?;
    let began = Instant::now();
    let folder = tempfile::tempdir()?;
    let before = machine::state();
    let (handles, disk) = (open_files()?, free_disk(folder.path())?);
    let mut seen = Seen::default();
    let mut next = 0;
    while next < asked.runs {
        let end = (next + AT_ONCE).min(asked.runs);
        let batch = folder.path().join(format!("batch-{next}"));
        fs::create_dir(&batch)?;
        for seed in asked.seed + next..asked.seed + end {
            fs::write(batch.join(format!("random-{seed}.yaml")), random_scenario(seed))?;
        }
        let lines = batch.join("lines.json");
        let status = Command::new(program()?)
            .args(["run", "--on", "host", "--quiet", "--jobs", &asked.jobs, "--json"])
            .arg(&lines)
            .arg("--evidence")
            .arg(batch.join("evidence"))
            .arg(&batch)
            .env("CI", "true")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()?;
        if !matches!(status.code(), Some(0 | 1 | 4)) {
            return Err(format!("plimsoll run: {status}").into());
        }
        seen.add(&fs::read_to_string(&lines)?);
        fs::remove_dir_all(&batch)?;
        is_as_before(&before)?;
        next = end;
        println!("{next} of {} runs, {:.0} s: {}", asked.runs, began.elapsed().as_secs_f64(), seen.words());
    }
    for (scenario, points) in &seen.disagreements {
        println!("{scenario} went otherwise than predicted:");
        points.iter().for_each(|point| println!("  {point}"));
    }
    let counted: u64 = seen.states.values().sum();
    println!("open files of the machine: {handles} before, {} after", open_files()?);
    println!("free disk: {disk} MiB before, {} MiB after", free_disk(folder.path())?);
    println!("the machine is as it was before");
    if counted != asked.runs {
        println!("only {counted} of {} runs came to a verdict", asked.runs);
    }
    Ok(counted == asked.runs && seen.disagreements.is_empty())
}

impl Seen {
    fn add(&mut self, lines: &str) {
        let documents = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        for document in documents.filter(|document| document["type"] == "verdict") {
            let verdict = &document["verdict"];
            let name = verdict["scenario"].as_str().unwrap_or_default().to_owned();
            *self.states.entry(verdict["state"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
            let prediction = &verdict["prediction"];
            let texts = |key: &str| -> Vec<String> {
                let points = prediction[key].as_array().into_iter().flatten();
                points.filter_map(|point| point.as_str().map(str::to_owned)).collect()
            };
            if prediction.is_null() || !texts("omissions").is_empty() {
                self.incomparable.push(name);
            } else if !texts("disagreements").is_empty() {
                self.disagreements.push((name, texts("disagreements")));
            }
        }
    }

    fn words(&self) -> String {
        let states: Vec<String> =
            self.states.iter().map(|(state, count)| format!("{count} {state}")).collect();
        format!(
            "{}; {} otherwise than predicted, {} not comparable",
            states.join(", "),
            self.disagreements.len(),
            self.incomparable.len()
        )
    }
}

/// Files that are open on the whole machine.
fn open_files() -> Result<u64, Box<dyn Error>> {
    let text = fs::read_to_string("/proc/sys/fs/file-nr")?;
    Ok(text.split_whitespace().next().unwrap_or_default().parse()?)
}

/// MiB.
fn free_disk(folder: &Path) -> Result<u64, Box<dyn Error>> {
    let stat = rustix::fs::statvfs(folder)?;
    Ok((stat.f_bavail * stat.f_frsize) >> 20)
}
