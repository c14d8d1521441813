//! The device plugin as a process, against a kubelet that speaks the real protocol.

use std::time::Duration;

use tempfile::TempDir;

use crate::support::kubelet::{FakeKubelet, PluginClient};
use crate::support::{Driver, Program, device, eventually, reading, share_of};

/// How long anything may take that the plugin does by itself.
const SOON: Duration = Duration::from_secs(20);

fn plugin(folder: &std::path::Path, driver: &Driver, arguments: &[&str]) -> Program {
    let mut all = vec!["device-plugin".to_owned(), format!("--folder={}", folder.display())];
    all.push(format!("--cdi-folder={}", folder.join("cdi").display()));
    all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    Program::start(driver, &all)
}

/// A plugin, and the driver and the kubelet that it runs between.
struct Node {
    _plugin: Program,
    kubelet: FakeKubelet,
    driver: Driver,
    folder: TempDir,
}

impl Node {
    /// With a driver that has said these lines.
    fn start(said: &[&str], arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let driver = Driver::new();
        said.iter().for_each(|line| driver.say(line));
        let kubelet = FakeKubelet::start(folder.path());
        let plugin = plugin(folder.path(), &driver, arguments);
        Self { _plugin: plugin, kubelet, driver, folder }
    }

    /// The kubelet's side of the plugin, once that has registered.
    async fn client(&mut self) -> PluginClient {
        let registration = self.kubelet.registration(SOON).await;
        self.kubelet.plugin(&registration.endpoint).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_of_memory_are_registered_listed_and_allocated() {
    let mut node = Node::start(
        &[&reading(true, &[device(0, 4, 0), device(1, 2, 0)])],
        &["--resource-name=nvidia.com/gpu-memory", "--mount=/opt/x:/x:ro", "--env=SIMULATED=/x/state"],
    );
    let registration = node.kubelet.registration(SOON).await;
    assert_eq!(registration.version, "v1beta1");
    assert_eq!(registration.resource_name, "nvidia.com/gpu-memory");
    assert!(registration.options.expect("options").get_preferred_allocation_available);

    let mut client = node.kubelet.plugin(&registration.endpoint).await;
    let mut devices = client.watch().await;
    let listed = devices.next(SOON).await;
    assert_eq!(listed.len(), 6);
    assert!(listed.iter().all(|(_, health)| health == "Healthy"), "{listed:?}");

    let all: Vec<String> = listed.into_iter().map(|(id, _)| id).collect();
    let preferred = client.preferred(&all, 2).await;
    assert_eq!(preferred, [share_of(1, 0), share_of(1, 1)], "the smallest device that has enough");
    let allocated = client.allocate(&preferred).await.expect("an allocation");
    let names: Vec<&str> = allocated.cdi_devices.iter().map(|device| device.name.as_str()).collect();
    assert_eq!(names, ["plimsoll.dev/gpu=GPU-1"]);
    assert_eq!(allocated.envs["PLIMSOLL_GPU_MEMORY_BYTES"], (2_u64 << 30).to_string());

    let refused = client.allocate(&[share_of(0, 0), share_of(1, 0)]).await.expect_err("two devices");
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert!(refused.message().contains("GPU-0, GPU-1"), "{refused}");

    let text = std::fs::read_to_string(node.folder.path().join("cdi/plimsoll.dev-gpu.json"))
        .expect("a specification");
    let specification: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(specification["devices"][1]["name"], "GPU-1");
    assert_eq!(
        specification["containerEdits"]["env"],
        serde_json::json!(["PLIMSOLL_GPU_STAMP=SIMULATED", "SIMULATED=/x/state"])
    );
    assert_eq!(specification["containerEdits"]["mounts"][0]["containerPath"], "/x");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_follows_the_driver() {
    let mut node = Node::start(
        &[&reading(true, &[device(0, 4, 0), device(1, 4, 0)])],
        &["--resource-name=nvidia.com/gpu", "--share=device", "--list-variable=NVIDIA_VISIBLE_DEVICES"],
    );
    let mut client = node.client().await;
    let mut devices = client.watch().await;
    let healthy = |uuid: &str| (uuid.to_owned(), "Healthy".to_owned());
    let unhealthy = |uuid: &str| (uuid.to_owned(), "Unhealthy".to_owned());
    assert_eq!(devices.next(SOON).await, [healthy("GPU-0"), healthy("GPU-1")]);
    // An application's error changes nothing; a device's does, so the next message is the one about it.
    node.driver.say(r#"{"event":{"uuid":"GPU-0","xid":31}}"#);
    node.driver.say(r#"{"event":{"uuid":"GPU-1","xid":79}}"#);
    assert_eq!(devices.next(SOON).await, [healthy("GPU-0"), unhealthy("GPU-1")]);
    // A driver that can not be asked vouches for no device, and then it can be asked again.
    node.driver.say(r#"{"failure":"the driver is gone"}"#);
    assert_eq!(devices.next(SOON).await, [unhealthy("GPU-0"), unhealthy("GPU-1")]);
    node.driver.say(&reading(true, &[device(0, 4, 0), device(1, 4, 0)]));
    assert_eq!(devices.next(SOON).await, [healthy("GPU-0"), unhealthy("GPU-1")]);
    let allocated = client.allocate(&["GPU-0".to_owned()]).await.expect("an allocation");
    assert_eq!(allocated.envs["NVIDIA_VISIBLE_DEVICES"], "GPU-0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_whose_errors_nobody_would_hear_is_unhealthy() {
    let mut node = Node::start(
        &[
            r#"{"unwatched":{"uuid":"GPU-1","why":"unknown error"}}"#,
            &reading(true, &[device(0, 4, 0), device(1, 4, 0)]),
        ],
        &["--resource-name=nvidia.com/gpu", "--share=device"],
    );
    let mut client = node.client().await;
    let listed = client.watch().await.next(SOON).await;
    let healths: Vec<&str> = listed.iter().map(|(_, health)| health.as_str()).collect();
    assert_eq!(healths, ["Healthy", "Unhealthy"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_comes_later_is_given_to_pods_by_its_name() {
    let mut node = Node::start(
        &[&reading(true, &[device(0, 4, 0)])],
        &["--resource-name=nvidia.com/gpu", "--share=device"],
    );
    let mut client = node.client().await;
    let mut devices = client.watch().await;
    assert_eq!(devices.next(SOON).await.len(), 1);
    node.driver.say(&reading(true, &[device(0, 4, 0), device(1, 4, 0)]));
    assert_eq!(devices.next(SOON).await[1].1, "Healthy");
    let allocated = client.allocate(&["GPU-1".to_owned()]).await.expect("an allocation");
    assert_eq!(allocated.cdi_devices[0].name, "plimsoll.dev/gpu=GPU-1");
    let names = |folder: &std::path::Path| -> Vec<String> {
        let text = std::fs::read_to_string(folder.join("cdi/plimsoll.dev-gpu.json")).expect("a file");
        let specification: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let devices = specification["devices"].as_array().expect("devices").iter();
        devices.map(|device| device["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(node.folder.path()), ["GPU-0", "GPU-1"]);
    // One that is away for a while keeps its name: containers that have it may be started anew.
    node.driver.say(&reading(true, &[device(1, 4, 0), device(2, 4, 0)]));
    let listed = devices.next(SOON).await;
    assert!(listed.contains(&("GPU-0".to_owned(), "Unhealthy".to_owned())), "{listed:?}");
    assert_eq!(names(node.folder.path()), ["GPU-0", "GPU-1", "GPU-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_ends_is_started_again() {
    let mut node = Node::start(
        &[&reading(true, &[device(0, 4, 0)])],
        &["--resource-name=nvidia.com/gpu", "--share=device"],
    );
    let mut client = node.client().await;
    let mut devices = client.watch().await;
    assert_eq!(devices.next(SOON).await.len(), 1);
    node.driver.end();
    assert_eq!(devices.next(SOON).await[0].1, "Unhealthy");
    assert_eq!(devices.next(SOON).await[0].1, "Healthy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubelet_that_restarts_is_registered_with_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let driver = Driver::new();
    driver.say(&reading(true, &[device(0, 4, 0)]));
    // The plugin is there before its kubelet, as in a DaemonSet that a node boots with.
    let mut plugin = plugin(folder.path(), &driver, &["--resource-name=aliyun.com/gpu-mem"]);
    let mut kubelet = FakeKubelet::start(folder.path());
    let first = kubelet.registration(SOON).await;
    // Another one of another kubelet, which has emptied the folder, as it does when it starts.
    kubelet.stop().await;
    for entry in std::fs::read_dir(folder.path()).expect("the folder").filter_map(Result::ok) {
        if entry.path().extension().is_some_and(|extension| extension == "sock") {
            std::fs::remove_file(entry.path()).expect("removed");
        }
    }
    let mut kubelet = FakeKubelet::start(folder.path());
    let second = kubelet.registration(SOON).await;
    assert_eq!(first, second);
    let mut client = kubelet.plugin(&second.endpoint).await;
    assert_eq!(client.watch().await.next(SOON).await.len(), 4);
    // The plugin's own socket is lost alone.
    std::fs::remove_file(folder.path().join(&second.endpoint)).expect("removed");
    kubelet.registration(SOON).await;
    // Ended in good order, it leaves no socket behind.
    let socket = folder.path().join(&second.endpoint);
    eventually(SOON, "the socket is there", || socket.exists());
    assert_eq!(plugin.terminate(SOON).code(), Some(0));
    assert!(!socket.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_by_the_kubelet_is_tried_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let driver = Driver::new();
    driver.say(&reading(true, &[device(0, 4, 0)]));
    let mut kubelet = FakeKubelet::refusing(folder.path(), 2);
    let _plugin = plugin(folder.path(), &driver, &[]);
    assert_eq!(kubelet.registration(SOON).await.resource_name, "plimsoll.dev/gpu-memory");
    assert_eq!(kubelet.refused(), 2);
}

#[test]
fn bad_input_ends_it_with_exit_code_2() {
    let folder = tempfile::tempdir().expect("a folder");
    let driver = Driver::new();
    driver.say(&reading(true, &[device(0, 300 << 10, 0)]));
    for (arguments, message) in [
        (&["--resource-name=gpu"][..], "such as nvidia.com/gpu"),
        (&["--unit=1Xi"], "1Xi"),
        (&["--unit=1Mi"], "--unit 1Gi"),
        (&["--cdi-existing", "--cdi-kind=nvidia.com/gpu"], "nvidia-ctk cdi generate"),
    ] {
        let mut program = plugin(folder.path(), &driver, arguments);
        let status = program.wait(SOON);
        let said = program.errors();
        assert_eq!(status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(message), "{arguments:?}: {said}");
    }
}
