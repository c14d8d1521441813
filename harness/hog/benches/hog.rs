//! Measures the filler against what it promises: `cargo bench -p plimsoll-hog --bench hog`.
//!
//! Each figure is a ratio or a share taken within one run, so that it means the same on any machine.

use std::error::Error;
use std::hint::black_box;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use plimsoll_hog::report::{Kind, Report};

const HOG: &str = env!("CARGO_BIN_EXE_plimsoll-hog");
const MI: u64 = 1 << 20;
const ROUNDS: usize = 7;

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo passes flags of its own; there is nothing to choose here.
    let huge = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    println!("transparent huge pages: {}", huge.trim());
    unpaced()?;
    for rate in [15 * MI, 200 * MI] {
        paced(&["memory"], &["--amount"], rate)?;
    }
    // Beside the built programs, since a folder for temporary files may be a tmpfs.
    let folder = std::path::Path::new(HOG).with_extension("bench");
    std::fs::create_dir_all(&folder)?;
    let path = folder.display().to_string();
    paced(&["disk", "--path", &path], &["--amount"], 15 * MI)?;
    paced(&["inodes", "--path", &path], &["--count"], 1000)?;
    paced(&["pids"], &["--count"], 50)?;
    std::fs::remove_dir_all(&folder)?;
    processor()?;
    beside_the_fill()
}

/// Taking 1 GiB as fast as possible, against a memset over as many fresh pages, in turns.
fn unpaced() -> Result<(), Box<dyn Error>> {
    let amount = 1024 * MI;
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let length = usize::try_from(amount)?;
        let began = Instant::now();
        let pages = black_box(vec![black_box(1u8); length]);
        let memset = began.elapsed();
        drop(pages);
        let reports = run(&["memory", "--amount", "1Gi", "--hold", "0s"], None)?;
        let filler = span(&reports, Kind::Start, Kind::Held).ok_or("the filler never held its amount")?;
        ratios.push(memset.as_secs_f64() / filler);
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "unpaced, speed over memset's: {:.2} (median of {ROUNDS}; {:.2} to {:.2}; at least 0.90)",
        ratios[ROUNDS / 2],
        ratios[0],
        ratios[ROUNDS - 1]
    );
    Ok(())
}

/// The processor time that a filler of it gets, over five seconds.
fn processor() -> Result<(), Box<dyn Error>> {
    let reports = run(&["cpu", "--cores", "500m"], Some(Duration::from_millis(5700)))?;
    let held = reports.iter().filter(|report| report.kind == Kind::Held);
    // The first comes before it has worked.
    let used: Vec<u64> = held.skip(1).filter_map(|report| report.holds).collect();
    let mean = used.iter().sum::<u64>() as f64 / used.len().max(1) as f64;
    println!(
        "processor time, error over {} s: {:+.3} % (at most 5 %)",
        used.len(),
        (mean / 500.0 - 1.0) * 100.0
    );
    Ok(())
}

/// The rate over five seconds, from the reports' own figures.
fn paced(what: &[&str], amount: &[&str], rate: u64) -> Result<(), Box<dyn Error>> {
    let (in_all, rate_text) = ((rate * 60).to_string(), format!("{rate}/s"));
    let arguments = [what, amount, &[&in_all, "--rate", &rate_text]].concat();
    let reports = run(&arguments, Some(Duration::from_millis(5700)))?;
    let progress: Vec<&Report> = reports.iter().filter(|report| report.kind == Kind::Progress).collect();
    let first = progress.first().ok_or("no progress was reported")?;
    let last = progress
        .iter()
        .find(|report| report.elapsed - first.elapsed >= 5.0)
        .ok_or("less than 5 s of progress")?;
    let taken = (last.filled - first.filled) as f64 / (last.elapsed - first.elapsed);
    println!(
        "{} paced at {rate}/s, error over 5 s: {:+.3} % (at most 1 %)",
        what[0],
        (taken / rate as f64 - 1.0) * 100.0
    );
    Ok(())
}

/// What the filler has in memory beside 64 MiB that it holds.
fn beside_the_fill() -> Result<(), Box<dyn Error>> {
    let mut child = start(&["memory", "--amount", "64Mi"])?;
    let output = child.stdout.take().ok_or("no output")?;
    let mut held = BufReader::new(output)
        .lines()
        .filter(|line| line.as_ref().is_ok_and(|line| line.contains("\"held\"")));
    // The second such line comes after a second of holding.
    let line = held.nth(1).ok_or("the filler ended early")??;
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    end(&mut child)?;
    let kibibytes = |key: &str| -> Option<u64> {
        status.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
    };
    let holds = Report::parse(&line)?.holds.ok_or("not measured")? / 1024;
    let resident = kibibytes("VmRSS:").ok_or("no VmRSS")?;
    let anonymous = kibibytes("RssAnon:").ok_or("no RssAnon")?;
    println!(
        "beside the fill: {} KiB resident, of it {} KiB anonymous (at most 2048 KiB)",
        resident.saturating_sub(holds),
        anonymous.saturating_sub(holds)
    );
    Ok(())
}

fn start(arguments: &[&str]) -> std::io::Result<Child> {
    let socket = std::env::temp_dir().join(format!("hog-bench-{}.sock", std::process::id()));
    Command::new(HOG).args(arguments).arg("--control").arg(socket).stdout(Stdio::piped()).spawn()
}

fn end(child: &mut Child) -> Result<(), Box<dyn Error>> {
    let process = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(process, rustix::process::Signal::TERM)?;
    child.wait()?;
    Ok(())
}

/// Runs a filler until it ends, or for a while, and answers its reports.
fn run(arguments: &[&str], how_long: Option<Duration>) -> Result<Vec<Report>, Box<dyn Error>> {
    let mut child = start(arguments)?;
    let output = child.stdout.take().ok_or("no output")?;
    if let Some(how_long) = how_long {
        std::thread::sleep(how_long);
        end(&mut child)?;
    }
    let reports: Result<Vec<Report>, _> =
        BufReader::new(output).lines().map(|line| Ok::<_, Box<dyn Error>>(Report::parse(&line?)?)).collect();
    child.wait()?;
    reports
}

fn span(reports: &[Report], from: Kind, to: Kind) -> Option<f64> {
    let at = |kind| reports.iter().find(|report| report.kind == kind).map(|report| report.elapsed);
    Some(at(to)? - at(from)?)
}
