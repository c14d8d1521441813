//! The evictor as a process, against an API server that speaks the calls it needs.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::api_server::{ApiServer, container_id};
use crate::support::{Driver, Program, eventually, reading};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything may take that the evictor does by itself.
const SOON: Duration = Duration::from_secs(30);
const GREEDY: &str = "11111111-1111-4111-8111-111111111111";
const LARGE: &str = "22222222-2222-4222-8222-222222222222";

const FURTHER: &str = "44444444-4444-4444-8444-444444444444";

/// A node with a device of 16 GiB, and processes of pods on it.
struct Node {
    folder: TempDir,
    driver: Arc<Driver>,
    devices: Arc<Mutex<Vec<Value>>>,
    server: ApiServer,
}

impl Node {
    /// Two pods: `greedy` is over its request of 2 GiB at 6, `large` is within its 9 GiB; 15 of 16 GiB are in use.
    async fn new(server: ApiServer) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        server.add_pod("greedy", GREEDY, 1000, 2);
        server.add_pod("large", LARGE, 0, 9);
        let node = Self { folder, driver: Arc::new(Driver::new()), devices: Arc::default(), server };
        node.add_process(101, GREEDY);
        node.add_process(102, LARGE);
        node.uses(&[(101, 6), (102, 9)]);
        let (driver, devices) = (Arc::downgrade(&node.driver), node.devices.clone());
        std::thread::spawn(move || {
            while let Some(driver) = driver.upgrade() {
                let devices = devices.lock().expect("unpoisoned").clone();
                if !devices.is_empty() {
                    driver.say(&reading(true, &devices));
                }
                drop(driver);
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        node
    }

    /// Adds a process of a pod.
    fn add_process(&self, pid: u32, uid: &str) {
        let process = self.folder.path().join("proc").join(pid.to_string());
        fs::create_dir_all(&process).expect("a folder");
        let text = format!("0::/kubepods/burstable/pod{uid}/{}\n", container_id(uid));
        fs::write(process.join("cgroup"), text).expect("a file");
    }

    /// A process ends.
    fn remove_process(&self, pid: u32) {
        fs::remove_dir_all(self.folder.path().join("proc").join(pid.to_string())).expect("removed");
    }

    /// From now on these processes hold so many GiB.
    fn uses(&self, processes: &[(u32, u64)]) {
        self.uses_of_each(&[processes]);
    }

    /// The same of several devices.
    fn uses_of_each(&self, devices: &[&[(u32, u64)]]) {
        let device = |(index, processes): (u32, &&[(u32, u64)])| {
            let mut device = crate::support::device(index, 16, processes.iter().map(|(_, used)| used).sum());
            let process = |(pid, used): &(u32, u64)| json!({"pid": pid, "memoryUsed": used << 30});
            device["processes"] = processes.iter().map(process).collect();
            device
        };
        *self.devices.lock().expect("unpoisoned") = (0..).zip(devices).map(device).collect();
    }

    fn evictor(&self, arguments: &[&str]) -> Program {
        let mut all: Vec<String> = [
            "evictor",
            "--node-name=worker",
            "--resource-name=nvidia.com/gpu-memory",
            "--eviction-hard=gpu.memory.available<2Gi",
            "--eviction-pressure-transition-period=1s",
            "--interval=200ms",
            "--api-timeout=2s",
            "--no-pod-resources",
            "--listen=127.0.0.1:0",
        ]
        .map(str::to_owned)
        .into();
        all.push(format!("--proc={}", self.folder.path().join("proc").display()));
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let kubeconfig = self.server.kubeconfig(self.folder.path());
        let kubeconfig = kubeconfig.to_str().expect("a path");
        Program::with_environment(&self.driver, &all, &[("KUBECONFIG", kubeconfig)])
    }

    fn evicted(&self) -> Vec<String> {
        self.server.evictions().into_iter().map(|request| request.path).collect()
    }

    /// The condition of a pod that the evictor set last.
    fn condition(&self, pod: &str) -> Value {
        self.server.pod(pod)["status"]["conditions"][0].clone()
    }

    /// The last status and message of the node's condition.
    fn node_condition(&self) -> Option<Value> {
        let requests = self.server.requests();
        let last = requests.iter().rev().find(|request| request.path == "/api/v1/nodes/worker/status")?;
        Some(last.body["status"]["conditions"][0].clone())
    }
}

const MESSAGE: &str = "The node was low on resource: nvidia.com/gpu-memory. Threshold quantity: 2Gi, available: 1Gi. \
                       Container main was using 6Gi, request is 2Gi, has larger consumption of nvidia.com/gpu-memory. ";

/// What the evictor serves at a path: status and text.
async fn ask(evictor: &Program, path: &str) -> (u16, String) {
    let mut address = None;
    eventually(SOON, "metrics are served", || {
        let said = evictor.errors();
        address = said
            .split_once("serving metrics on ")
            .and_then(|(_, rest)| rest.split_whitespace().next().map(str::to_owned));
        address.is_some()
    });
    let address = address.expect("an address");
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let talk = async {
        let mut stream = tokio::net::TcpStream::connect(&address).await.expect("a connection");
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    };
    let answer = tokio::time::timeout(SOON, talk).await.expect("an answer in time");
    let status = answer.split_whitespace().nth(1).and_then(|code| code.parse().ok());
    (status.expect("a status"), answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_that_forbids_is_heeded_and_asked_again() {
    let node = Node::new(ApiServer::start().await).await;
    node.server.answer(&[(429, 1), (201, 0)]);
    let evictor = node.evictor(&[]);
    eventually(SOON, "an eviction that is granted", || {
        !node.server.pod("greedy")["metadata"]["deletionTimestamp"].is_null()
    });
    assert_eq!(node.evicted(), ["/api/v1/namespaces/shop/pods/greedy/eviction"; 2]);
    let granted = &node.server.evictions()[1].body;
    assert_eq!(granted["deleteOptions"]["preconditions"]["uid"], GREEDY);
    assert_eq!(granted["deleteOptions"]["gracePeriodSeconds"], 1);
    let condition = node.condition("greedy");
    assert_eq!(condition["type"], "plimsoll.dev/GPUMemoryEviction");
    assert_eq!((condition["status"].as_str(), condition["message"].as_str()), (Some("True"), Some(MESSAGE)));
    let requests = node.server.requests();
    let first = |end: &str| requests.iter().position(|request| request.path.ends_with(end));
    assert!(first("pods/greedy/status") < first("eviction"), "the condition comes first");
    eventually(SOON, "the event of the eviction", || {
        node.server.events().iter().any(|event| event["reason"] == "Evicted")
    });
    let events = node.server.events();
    let event = |reason: &str| events.iter().find(|event| event["reason"] == reason).expect(reason).clone();
    assert_eq!(event("Evicted")["message"], MESSAGE);
    assert_eq!(event("Evicted")["involvedObject"]["uid"], GREEDY);
    for event in &events {
        assert_eq!(event["metadata"]["annotations"]["plimsoll.dev/stamp"], "SIMULATED", "{event}");
    }
    assert_eq!(condition["reason"], "SimulatedGPUMemoryPressure");
    let of_node = node.node_condition().expect("a condition");
    assert!(of_node["message"].as_str().expect("a message").starts_with("SIMULATED: "), "{of_node}");
    assert_eq!(event("Evicted")["metadata"]["annotations"]["starved_resource"], "nvidia.com/gpu-memory");
    assert!(event("EvictionForbidden")["message"].as_str().expect("a message").contains("disruption budget"));
    assert_eq!(
        event("EvictionThresholdMet")["message"],
        "Attempting to reclaim nvidia.com/gpu-memory of GPU-0"
    );
    assert_eq!(node.node_condition().expect("a condition")["status"], "True");
    // The pod is gone and its memory is free: nobody else goes, and the node's condition is cleared.
    node.server.remove_pod("greedy");
    node.uses(&[(102, 9)]);
    eventually(SOON, "the condition is cleared", || {
        node.node_condition().expect("a condition")["status"] == "False"
    });
    assert_eq!(node.evicted().len(), 2);
    let (status, text) = ask(&evictor, "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "plimsoll_gpu_evictions_total{device=\"GPU-0\",answer=\"forbidden\"} 1",
        "plimsoll_gpu_evictions_total{device=\"GPU-0\",answer=\"evicted\"} 1",
        "plimsoll_gpu_memory_used_bytes{device=\"GPU-0\"} 9663676416",
        "plimsoll_gpu_simulated 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert_eq!(ask(&evictor, "/readyz").await.0, 200);
    assert_eq!(ask(&evictor, "/healthz").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn restarted_in_the_middle_it_evicts_nobody_twice_and_nobody_else() {
    let node = Node::new(ApiServer::start().await).await;
    let mut evictor = node.evictor(&[]);
    eventually(SOON, "an eviction", || !node.evicted().is_empty());
    evictor.kill();
    // As if it had been killed before it made the event. The pod ends slowly and holds its memory meanwhile.
    node.server.forget_events();
    let evictor = node.evictor(&[]);
    node.server.looks(10, SOON).await;
    assert_eq!(node.evicted(), ["/api/v1/namespaces/shop/pods/greedy/eviction"], "{}", evictor.errors());
    let events = node.server.events();
    let evicted: Vec<&Value> = events.iter().filter(|event| event["reason"] == "Evicted").collect();
    assert_eq!(evicted.len(), 1, "the event is made after all");
    assert_eq!(evicted[0]["message"], MESSAGE);
    // A successor of the same name is another pod, within its request; and there is room.
    node.server.remove_pod("greedy");
    node.server.add_pod("greedy", "33333333-3333-4333-8333-333333333333", 1000, 2);
    node.uses(&[(102, 9)]);
    node.server.looks(10, SOON).await;
    assert_eq!(node.evicted().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_goes_first_on_two_devices_is_evicted_once() {
    let node = Node::new(ApiServer::start().await).await;
    node.uses_of_each(&[&[(101, 6), (102, 9)], &[(101, 15)]]);
    let evictor = node.evictor(&[]);
    eventually(SOON, "an eviction", || !node.evicted().is_empty());
    node.server.looks(10, SOON).await;
    assert_eq!(node.evicted(), ["/api/v1/namespaces/shop/pods/greedy/eviction"], "{}", evictor.errors());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_made_anew_gets_its_condition_back() {
    let node = Node::new(ApiServer::start().await).await;
    node.uses(&[(102, 9)]);
    let _evictor = node.evictor(&["--condition-heartbeat=300ms"]);
    let written = || {
        let requests = node.server.requests();
        let ours = requests.into_iter().filter(|request| request.path == "/api/v1/nodes/worker/status");
        ours.map(|request| request.body["status"]["conditions"][0].clone()).collect::<Vec<_>>()
    };
    eventually(SOON, "the condition is written again and again", || written().len() >= 3);
    let since: Vec<Value> = written().iter().map(|one| one["lastTransitionTime"].clone()).collect();
    assert!(since.iter().all(|time| *time == since[0]), "it has not changed since: {since:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_eviction_was_granted_its_successor_takes_the_condition_back() {
    let node = Node::new(ApiServer::start().await).await;
    node.server.always_answer((429, 60));
    let mut evictor = node.evictor(&[]);
    eventually(SOON, "a refusal", || !node.evicted().is_empty());
    evictor.kill();
    assert_eq!(node.condition("greedy")["status"], "True");
    // While nobody looked, another pod has come to be the first. Only the condition tells that greedy was to go.
    node.server.add_pod("further", FURTHER, -1000, 1);
    node.add_process(103, FURTHER);
    node.uses(&[(101, 3), (102, 9), (103, 3)]);
    node.server.always_answer((201, 0));
    let evictor = node.evictor(&[]);
    eventually(SOON, "an eviction that is granted", || {
        !node.server.pod("further")["metadata"]["deletionTimestamp"].is_null()
    });
    eventually(SOON, "the condition is taken back", || node.condition("greedy")["status"] == "False");
    assert!(node.server.pod("greedy")["metadata"]["deletionTimestamp"].is_null(), "{}", evictor.errors());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_api_server_hangs_it_waits_and_says_so() {
    let node = Node::new(ApiServer::away().await).await;
    let evictor = node.evictor(&[]);
    eventually(SOON, "it says so", || evictor.errors().contains("nobody is evicted meanwhile"));
    assert_eq!(ask(&evictor, "/readyz").await.0, 503);
    assert!(ask(&evictor, "/metrics").await.1.contains("plimsoll_gpu_api_up 0"));
    assert_eq!(ask(&evictor, "/healthz").await.0, 200, "it is alive all the same");
    node.server.answers();
    eventually(SOON, "an eviction", || !node.evicted().is_empty());
    assert!(evictor.errors().contains("API server: answers again"));
    assert_eq!(evictor.errors().matches("API server: the API").count(), 1, "it is said once");
}

#[tokio::test(flavor = "multi_thread")]
async fn relieved_before_it_was_granted_a_pod_is_spared() {
    let node = Node::new(ApiServer::start().await).await;
    node.server.always_answer((429, 0));
    let _evictor = node.evictor(&[]);
    eventually(SOON, "a refusal", || !node.evicted().is_empty());
    assert_eq!(node.condition("greedy")["status"], "True");
    node.uses(&[(101, 2), (102, 9)]);
    eventually(SOON, "the condition is taken back", || node.condition("greedy")["status"] == "False");
    assert!(node.server.pod("greedy")["metadata"]["deletionTimestamp"].is_null());
}

/// The kernel takes a process out of `/proc` about when it gives back its memory, and the driver is asked before or after.
#[tokio::test(flavor = "multi_thread")]
async fn for_a_process_that_has_just_ended_nobody_else_goes() {
    let node = Node::new(ApiServer::start().await).await;
    let evictor = node.evictor(&[]);
    eventually(SOON, "greedy goes", || !node.server.pod("greedy")["metadata"]["deletionTimestamp"].is_null());
    node.remove_process(101);
    let lists = node.server.lists();
    eventually(SOON, "it has looked some more", || node.server.lists() > lists + 5);
    assert!(node.server.pod("large")["metadata"]["deletionTimestamp"].is_null(), "{}", evictor.errors());
}

/// The same of a process that the evictor has not seen alive.
#[tokio::test(flavor = "multi_thread")]
async fn a_reading_of_what_has_ended_is_not_gone_by() {
    let node = Node::new(ApiServer::start().await).await;
    let stale = node.devices.lock().expect("unpoisoned").split_off(0);
    node.remove_process(101);
    let evictor = node.evictor(&[]);
    eventually(SOON, "it waits for a reading", || node.server.lists() > 0);
    node.driver.say(&reading(true, &stale));
    // It may take it or find the next one there already.
    std::thread::sleep(Duration::from_millis(500));
    node.uses(&[(102, 9)]);
    eventually(SOON, "it has looked some more", || node.server.lists() > 5);
    assert!(node.evicted().is_empty(), "{}", evictor.errors());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_changes_nothing() {
    let node = Node::new(ApiServer::start().await).await;
    let evictor = node.evictor(&["--dry-run"]);
    eventually(SOON, "it says who", || evictor.errors().contains("would evict shop/greedy"));
    node.server.looks(5, SOON).await;
    assert!(node.server.requests().is_empty(), "{:?}", node.server.requests());
    let (_, text) = ask(&evictor, "/metrics").await;
    assert!(text.contains("answer=\"dry-run\"} 1"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_figures_nobody_is_evicted() {
    let node = Node::new(ApiServer::start().await).await;
    node.devices.lock().expect("unpoisoned").clear();
    node.driver.say(&json!({"failure": "Xid 79: the device fell off the bus"}).to_string());
    let evictor = node.evictor(&[]);
    eventually(SOON, "the node's condition", || {
        node.node_condition().is_some_and(|condition| condition["status"] == "Unknown")
    });
    node.server.looks(5, SOON).await;
    assert!(node.evicted().is_empty(), "{}", evictor.errors());
}

#[test]
fn bad_thresholds_end_it_with_exit_code_2() {
    let driver = Driver::new();
    for (threshold, message) in [
        ("--eviction-hard=memory.available<5%", "only gpu.memory.available"),
        ("--eviction-hard=gpu.memory.available<0%", "no threshold"),
        ("--eviction-soft=gpu.memory.available<5%", "grace period must be specified"),
    ] {
        let arguments = ["evictor", "--node-name=worker", threshold].map(str::to_owned);
        let mut program = Program::start(&driver, &arguments);
        assert_eq!(program.wait(SOON).code(), Some(2), "{}", program.errors());
        assert!(program.errors().contains(message), "{}", program.errors());
    }
}
