//! `plimsoll explain` on the node of a run: who is said to go next must be the one that the kubelet takes.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::command::{self, Ran};

const SCENARIO: &str = "tests/scenarios/explain/next.yaml";
/// How many looks, one a second, may find the one that was evicted while it ends.
const ENDING: usize = 3;
/// The longest that a run may take, waiting for its turn included.
const RUN_WITHIN: Duration = Duration::from_secs(600);
/// The longest that a cluster may take to be there, and its pods to be measured.
const READY_WITHIN: Duration = Duration::from_secs(240);
/// The longest that an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Asks a run's node before and while a pod is evicted, as its administrator, and as users who lack a right.
///
/// # Errors
/// With what was said instead of what was expected.
pub fn who_is_said_to_go_goes() -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let kubeconfig = folder.path().join("kubeconfig");
    let path = kubeconfig.display().to_string();
    let run = command::start(command::plimsoll(&[
        "run",
        "--on",
        "host",
        "--json",
        "-",
        "--kubeconfig-out",
        &path,
        SCENARIO,
    ])?)?;
    let asked = ask_while_it_runs(&kubeconfig, folder.path());
    let ran = run.ended(RUN_WITHIN)?;
    let watch = asked?;
    // With the cluster gone the watch goes on, and says that it has nothing to tell. It asks every second, on a machine that does other
    // things beside.
    std::thread::sleep(Duration::from_secs(10));
    watch.signal(Signal::INT)?;
    let watched = watch.ended(ANSWER_WITHIN)?.expect(130)?;
    if kubeconfig.exists() {
        return Err("the kubeconfig outlived the run".into());
    }
    let ran = ran.expect(0)?;
    let evicted = ran.findings().into_iter().find(|(key, _)| key == "evicted");
    if evicted.is_none_or(|(_, state)| state != "held") {
        return Err(format!("the run did not show the eviction:\n{}", ran.output));
    }
    check_watch(&watched)
}

fn explain(kubeconfig: &Path, more: &[&str]) -> Result<Ran, String> {
    let path = kubeconfig.display().to_string();
    let arguments = ["explain", "--kubeconfig", &path, "--context", "plimsoll"];
    command::run(&[&arguments, more].concat(), ANSWER_WITHIN)
}

/// Asks everything there is to ask before the eviction; what is left is a watch that goes on.
fn ask_while_it_runs(kubeconfig: &Path, folder: &Path) -> Result<command::Running, String> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        if Instant::now() > deadline {
            return Err("the pods were never all measured".into());
        }
        std::thread::sleep(Duration::from_millis(500));
        // Until the API server and the kubelet answer, it can not be asked.
        let Ok(ran) = explain(kubeconfig, &["--node", "worker", "--output", "json"])?.expect(0) else {
            continue;
        };
        let answer = document(&ran.output)?;
        if order(&answer) == ["plimsoll/greedy", "plimsoll/idler", "plimsoll/steady"]
            && used(&answer) > 250 << 20
        {
            break;
        }
    }
    let path = kubeconfig.display().to_string();
    let watch = command::start(command::plimsoll(&[
        "explain",
        "--kubeconfig",
        &path,
        "--context",
        "plimsoll",
        "--node",
        "worker",
        "--watch",
        "--interval",
        "1s",
        "--output",
        "json",
    ])?)?;
    let told = explain(kubeconfig, &["--node", "worker"])?.expect(0)?;
    for expected in ["worker: 3 pods, one filesystem for everything", "nobody goes", "plimsoll/greedy"] {
        if !told.output.contains(expected) {
            return Err(format!("{expected:?} is not said:\n{}", told.output));
        }
    }
    let (pods, proxy) =
        (r#"resources: ["pods"], verbs: ["list"]"#, r#"resources: ["nodes/proxy"], verbs: ["get"]"#);
    let reader = refused(&acting_as(kubeconfig, folder, "reader")?, "worker")?;
    if !reader.contains(proxy) || reader.contains(pods) {
        return Err(format!("the one right that is missing is not named:\n{reader}"));
    }
    let nobody = refused(&acting_as(kubeconfig, folder, "nobody")?, "worker")?;
    if !nobody.contains(proxy) || !nobody.contains(pods) {
        return Err(format!("the two rights that are missing are not named:\n{nobody}"));
    }
    let elsewhere = refused(kubeconfig, "nowhere")?;
    if !elsewhere.contains("there is no node nowhere") {
        return Err(format!("the missing node is not named:\n{elsewhere}"));
    }
    Ok(watch)
}

/// What is said to somebody who gets no answer.
fn refused(kubeconfig: &Path, node: &str) -> Result<String, String> {
    Ok(explain(kubeconfig, &["--node", node])?.expect(3)?.errors)
}

/// The same kubeconfig for another user, whom its own may act as.
fn acting_as(kubeconfig: &Path, folder: &Path, user: &str) -> Result<std::path::PathBuf, String> {
    let text = fs::read_to_string(kubeconfig).map_err(|error| error.to_string())?;
    let mut config = document(&text)?;
    config["users"][0]["user"]["as"] = json!(user);
    let path = folder.join(user);
    fs::write(&path, config.to_string()).map_err(|error| error.to_string())?;
    Ok(path)
}

/// The watch saw the one that was to go as the first until it was told to, then the others, and then that the cluster was gone.
fn check_watch(watched: &Ran) -> Result<(), String> {
    let answers: Vec<Value> = watched.output.lines().map(document).collect::<Result<_, _>>()?;
    let orders: Vec<Vec<String>> = answers.iter().map(order).collect();
    let there = |order: &&Vec<String>| order.iter().any(|pod| pod == "plimsoll/greedy");
    let before = orders.iter().take_while(there).count();
    let first =
        orders.iter().take_while(|order| order.first().is_some_and(|pod| pod == "plimsoll/greedy")).count();
    // While it ends it is there still, and what it held is not.
    if first < 3 || before - first > ENDING {
        return Err(format!("greedy was not the first in each of three looks or more: {orders:?}"));
    }
    let after = &orders[before..];
    if after.is_empty() || after.iter().any(|order| *order != ["plimsoll/idler", "plimsoll/steady"]) {
        return Err(format!("the others were not what was left: {after:?}"));
    }
    if !answers[..before].iter().any(|answer| answer["met"] == json!(["memory.available"])) {
        return Err("no look saw the threshold met".into());
    }
    if watched.errors.contains("asking again every 1s") {
        Ok(())
    } else {
        Err(format!("the end of the cluster was not told:\n{}", watched.errors))
    }
}

fn document(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))
}

/// The order for memory; pods that have no statistics yet are left out, since they say nothing of the order to come.
fn order(answer: &Value) -> Vec<String> {
    let groups = answer["rank"]["memory"].as_array().into_iter().flatten();
    let names = groups.filter_map(Value::as_array).flatten().filter_map(Value::as_str);
    names.filter(|name| answer["pods"][name]["hasStats"] == true).map(str::to_owned).collect()
}

/// What greedy uses, in bytes.
fn used(answer: &Value) -> i64 {
    let usage = &answer["pods"]["plimsoll/greedy"]["resources"]["memory"]["usage"];
    usage.as_str().and_then(|usage| usage.parse().ok()).unwrap_or(0)
}
