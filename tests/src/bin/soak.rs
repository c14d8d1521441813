//! Many random scenarios on a real kubelet: does each hold and go as predicted, and is the machine afterwards as it was before?
//!
//! `ci/soak` runs it.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use plimsoll_tests::command::program;
use plimsoll_tests::machine::{self, Usage, is_as_before};
use plimsoll_tests::random_scenario::{Kind, random_scenario};
use serde_json::Value;

/// How many scenarios one command runs: its memory grows with what it has seen.
const AT_ONCE: u64 = 25;
/// Of a hundred runs of one kind so many at least must be such that the model could be compared with them; else nothing was tested.
const COMPARABLE_PERCENT: u64 = 75;

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
    kinds: Vec<Kind>,
    evidence: PathBuf,
}

fn asked() -> Result<Asked, Box<dyn Error>> {
    let mut asked = Asked {
        runs: 200,
        seed: 1,
        jobs: "auto".to_owned(),
        kinds: Kind::ALL.to_vec(),
        evidence: PathBuf::from("plimsoll-evidence/soak"),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--runs" => asked.runs = value.parse()?,
            "--seed" => asked.seed = value.parse()?,
            "--jobs" => asked.jobs = value,
            "--kinds" => asked.kinds = value.split(',').map(str::parse).collect::<Result<_, String>>()?,
            "--evidence" => asked.evidence = value.into(),
            _ => {
                let known = "--runs, --seed, --jobs, --kinds, --evidence";
                return Err(format!("there is no option {name}: {known}").into());
            }
        }
    }
    Ok(asked)
}

/// What has been seen of all runs.
#[derive(Default)]
struct Seen {
    /// How many came to each state.
    states: BTreeMap<String, u64>,
    /// Scenarios with what speaks against each: a verdict other than held, a run otherwise than predicted, none at all.
    troubles: BTreeMap<String, Vec<String>>,
    /// Runs by kind, and how many of them could be compared with the model.
    compared: BTreeMap<&'static str, (u64, u64)>,
}

fn soak() -> Result<bool, Box<dyn Error>> {
    let asked = asked()?;
    let began = Instant::now();
    let folder = tempfile::tempdir()?;
    fs::create_dir_all(&asked.evidence)?;
    let (before, usage) = (machine::state(), Usage::now(folder.path())?);
    let mut seen = Seen::default();
    let mut next = 0;
    while next < asked.runs {
        let end = (next + AT_ONCE).min(asked.runs);
        run_batch(&asked, asked.seed + next..asked.seed + end, folder.path(), &mut seen)?;
        is_as_before(&before)?;
        next = end;
        println!("{next} of {} runs, {:.0} s: {}", asked.runs, began.elapsed().as_secs_f64(), seen.words());
    }
    for (scenario, points) in &seen.troubles {
        println!("{scenario}:");
        points.iter().for_each(|point| println!("  {point}"));
    }
    if !seen.troubles.is_empty() {
        println!("what is left of these runs lies in {}", asked.evidence.display());
    }
    let too_few = seen.too_little_compared();
    too_few.iter().for_each(|line| println!("{line}"));
    let leaks = usage.leaks(&Usage::now(folder.path())?, size(&asked.evidence));
    leaks.iter().for_each(|leak| println!("{leak}"));
    if leaks.is_empty() {
        println!("the machine is as it was before: {usage}");
    }
    Ok(seen.troubles.is_empty() && too_few.is_empty() && leaks.is_empty())
}

/// Runs the scenarios of these seeds; keeps the evidence of those that went wrong.
fn run_batch(
    asked: &Asked,
    seeds: std::ops::Range<u64>,
    folder: &Path,
    seen: &mut Seen,
) -> Result<(), Box<dyn Error>> {
    let batch = folder.join(format!("batch-{}", seeds.start));
    fs::create_dir(&batch)?;
    let mut kinds = BTreeMap::new();
    for seed in seeds {
        let kind = Kind::of(seed, &asked.kinds).ok_or("--kinds names none")?;
        let name = format!("random-{}-{seed}", kind.name());
        fs::write(batch.join(format!("{name}.yaml")), random_scenario(seed, kind))?;
        kinds.insert(name, kind);
    }
    let lines = batch.join("lines.json");
    let status = Command::new(program()?)
        .args(["run", "--on", "host", "--quiet", "--jobs", &asked.jobs, "--keep-evidence", "--json"])
        .arg(&lines)
        .arg("--evidence")
        .arg(batch.join("evidence"))
        .arg(&batch)
        .env("CI", "true")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    // A run that could not be made is told of below, by the verdict that it lacks. Nothing else ends the others.
    if status.code().is_none_or(|code| code == 130) {
        return Err(format!("plimsoll run: {status}").into());
    }
    let said = fs::read_to_string(&lines).unwrap_or_default();
    let wrong = seen.add(&said, &kinds);
    for name in &wrong {
        fs::copy(batch.join(format!("{name}.yaml")), asked.evidence.join(format!("{name}.yaml")))?;
        for entry in fs::read_dir(batch.join("evidence")).into_iter().flatten().flatten() {
            let own = entry.file_name().to_string_lossy().into_owned();
            if own.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('-')) {
                let copied = Command::new("cp").arg("-a").arg(entry.path()).arg(&asked.evidence).status()?;
                if !copied.success() {
                    return Err(format!("the evidence {own} could not be kept").into());
                }
            }
        }
    }
    fs::remove_dir_all(&batch)?;
    Ok(())
}

impl Seen {
    /// Takes in what a batch said; the scenarios that went wrong.
    fn add(&mut self, lines: &str, kinds: &BTreeMap<String, Kind>) -> BTreeSet<String> {
        let documents = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let verdicts = documents.filter(|document| document["type"] == "verdict").map(|document| {
            let verdict = document["verdict"].clone();
            (verdict["scenario"].as_str().unwrap_or_default().to_owned(), verdict)
        });
        let verdicts: BTreeMap<String, Value> = verdicts.collect();
        let mut wrong = BTreeSet::new();
        for (name, kind) in kinds {
            let points = match verdicts.get(name) {
                Some(verdict) => self.judge(verdict, *kind),
                None => vec!["came to no verdict".to_owned()],
            };
            if !points.is_empty() {
                wrong.insert(name.clone());
                self.troubles.insert(name.clone(), points);
            }
        }
        wrong
    }

    /// What speaks against a run.
    fn judge(&mut self, verdict: &Value, kind: Kind) -> Vec<String> {
        let state = verdict["state"].as_str().unwrap_or_default().to_owned();
        let mut points = Vec::new();
        if state != "held" {
            let findings = verdict["findings"].as_array().into_iter().flatten();
            let open = findings.filter(|finding| finding["state"] != "held");
            points.extend(open.map(|finding| {
                let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
                format!("{}: {} is {}: {}", state, text("key"), text("state"), text("because"))
            }));
        }
        *self.states.entry(state).or_default() += 1;
        let prediction = &verdict["prediction"];
        let texts = |key: &str| -> Vec<String> {
            let points = prediction[key].as_array().into_iter().flatten();
            points.filter_map(|point| point.as_str().map(str::to_owned)).collect()
        };
        let (all, compared) = self.compared.entry(kind.name()).or_default();
        *all += 1;
        if !prediction.is_null() && texts("omissions").is_empty() {
            *compared += 1;
            let otherwise = texts("disagreements").into_iter();
            points.extend(otherwise.map(|point| format!("otherwise than predicted: {point}")));
        }
        points
    }

    /// The kinds of which the model could be compared with too few runs.
    fn too_little_compared(&self) -> Vec<String> {
        let too_few = |(all, compared): &(u64, u64)| compared * 100 < all * COMPARABLE_PERCENT;
        let kinds = self.compared.iter().filter(|(_, counts)| too_few(counts));
        kinds
            .map(|(kind, (all, compared))| {
                format!("only {compared} of {all} runs of {kind} could be compared with the model")
            })
            .collect()
    }

    fn words(&self) -> String {
        let states = self.states.iter().map(|(state, count)| format!("{count} {state}"));
        let compared = self
            .compared
            .iter()
            .map(|(kind, (all, compared))| format!("{compared} of {all} of {kind} compared with the model"));
        let parts: Vec<String> = states.chain(compared).collect();
        format!("{}; {} went wrong", parts.join(", "), self.troubles.len())
    }
}

/// The size of everything in a folder, in bytes on the disk.
fn size(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| {
        let metadata = entry.metadata();
        let own = metadata.as_ref().map_or(0, |metadata| metadata.blocks() * 512);
        if metadata.is_ok_and(|metadata| metadata.is_dir()) { own + size(&entry.path()) } else { own }
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use plimsoll_tests::random_scenario::Kind;
    use serde_json::json;

    use super::Seen;

    fn batch() -> BTreeMap<String, Kind> {
        ["right", "violated", "otherwise", "missing", "apart"]
            .map(|name| (name.to_owned(), Kind::Memory))
            .into()
    }

    #[test]
    fn whatever_is_not_held_as_predicted_goes_wrong() {
        let verdict = |name: &str, state: &str, prediction: serde_json::Value| {
            let findings = json!([{"key": "rejected", "state": state, "because": "so"}]);
            let verdict =
                json!({"scenario": name, "state": state, "findings": findings, "prediction": prediction});
            json!({"type": "verdict", "verdict": verdict}).to_string()
        };
        let compared = |points: &[&str]| json!({"omissions": [], "disagreements": points});
        let lines = [
            verdict("right", "held", compared(&[])),
            verdict("violated", "violated", compared(&[])),
            verdict("otherwise", "held", compared(&["another pod went"])),
            verdict(
                "apart",
                "held",
                json!({"omissions": ["a step"], "disagreements": ["counts for nothing"]}),
            ),
        ];
        let mut seen = Seen::default();
        let wrong: Vec<String> = seen.add(&lines.join("\n"), &batch()).into_iter().collect();
        assert_eq!(wrong, ["missing", "otherwise", "violated"]);
        assert_eq!(seen.troubles["otherwise"], ["otherwise than predicted: another pod went"]);
        assert_eq!(seen.troubles["violated"], ["violated: rejected is violated: so"]);
        assert_eq!(seen.troubles["missing"], ["came to no verdict"]);
        assert!(seen.too_little_compared().is_empty(), "3 of 4 are enough");
        seen.compared.insert("memory", (4, 2));
        assert_eq!(seen.too_little_compared().len(), 1);
    }
}
