//! The driver of Dynamic Resource Allocation as a process, against a kubelet that speaks the real protocol and an API server that keeps its
//! slice.

use std::path::Path;
use std::time::Duration;

use crate::support::dra::{ApiServer, Kubelet};
use crate::support::{Driver, Program, device, eventually, reading};

/// How long anything may take that the driver does by itself.
const SOON: Duration = Duration::from_secs(20);

fn start(folder: &Path, driver: &Driver, server: &ApiServer) -> Program {
    let kubeconfig = server.kubeconfig(folder);
    let arguments = [
        "dra-driver".to_owned(),
        "--node-name=worker".to_owned(),
        format!("--folder={}", folder.join("plugins").display()),
        format!("--cdi-folder={}", folder.join("cdi").display()),
    ];
    Program::with_environment(driver, &arguments, &[("KUBECONFIG", &kubeconfig.display().to_string())])
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_offered_once_registered_and_claims_prepared() {
    let folder = tempfile::tempdir().expect("a folder");
    let (driver, server) = (Driver::new(), ApiServer::start(false).await);
    driver.say(&reading(true, &[device(0, 4, 0), device(1, 4, 0)]));
    let mut program = start(folder.path(), &driver, &server);
    let plugins = folder.path().join("plugins");
    let (socket, info) = Kubelet::find(&plugins, SOON).await;
    assert_eq!((info.r#type.as_str(), info.name.as_str()), ("DRAPlugin", "gpu.plimsoll.dev"));
    assert_eq!(info.supported_versions, ["v1.DRAPlugin"]);
    assert_eq!(Path::new(&info.endpoint), socket);
    let refused = Kubelet::register(&plugins, SOON, "not this one").await;
    eventually(SOON, "it says that it was refused", || program.errors().contains("not this one"));
    assert_eq!(server.slice(), None, "nobody could have what it offers");
    let mut kubelet = Kubelet::register(refused.folder(), SOON, "").await;
    eventually(SOON, "a slice", || server.slice().is_some());
    let slice = server.slice().expect("a slice");
    assert_eq!(slice["metadata"]["ownerReferences"][0]["uid"], "node-uid");
    assert_eq!(slice["spec"]["nodeName"], "worker");
    assert_eq!(slice["spec"]["devices"][1]["name"], "gpu-1");
    assert_eq!(slice["spec"]["devices"][1]["capacity"]["memory"]["value"], (4_u64 << 30).to_string());

    server.add_claim(
        "both",
        &[
            ("gpu.plimsoll.dev", "worker", "gpu-1"),
            ("nic.example.com", "worker", "eth1"),
            ("gpu.plimsoll.dev", "worker", "gpu-0"),
        ],
    );
    let prepared = kubelet.prepare("both", "both").await;
    assert_eq!(prepared.error, "");
    let given: Vec<(&str, &str)> = prepared
        .devices
        .iter()
        .map(|device| (device.device_name.as_str(), device.cdi_device_ids[0].as_str()))
        .collect();
    assert_eq!(given, [("gpu-1", "plimsoll.dev/gpu=GPU-1"), ("gpu-0", "plimsoll.dev/gpu=GPU-0")]);
    assert_eq!(
        (prepared.devices[0].pool_name.as_str(), &prepared.devices[0].request_names[..]),
        ("worker", &["gpu".to_owned()][..])
    );
    assert_eq!(kubelet.unprepare("both").await, "");

    server.add_claim("waiting", &[]);
    server.add_claim("elsewhere", &[("gpu.plimsoll.dev", "other", "gpu-0")]);
    server.add_claim("unknown", &[("gpu.plimsoll.dev", "worker", "gpu-7")]);
    for (name, uid, why) in [
        ("waiting", "waiting", "is not allocated"),
        ("elsewhere", "elsewhere", "gpu-0 of the pool other, which is no device of worker"),
        ("unknown", "unknown", "gpu-7 of the pool worker, which is no device of worker"),
        ("both", "another", "it has the UID both, and another is to be prepared"),
        ("absent", "absent", "absent is not here"),
    ] {
        let refused = kubelet.prepare(name, uid).await;
        assert!(refused.error.contains(why) && refused.devices.is_empty(), "{refused:?}");
    }
    assert!(program.terminate(SOON).success());
    assert!(!socket.exists(), "a kubelet would take it for a plugin that hangs");
}

#[tokio::test(flavor = "multi_thread")]
async fn taints_follow_the_driver_and_a_slice_that_is_deleted_comes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (driver, server) = (Driver::new(), ApiServer::start(false).await);
    let all = [device(0, 4, 0), device(1, 4, 0)];
    driver.say(&reading(true, &all));
    let _program = start(folder.path(), &driver, &server);
    Kubelet::register(&folder.path().join("plugins"), SOON, "").await;
    let taints = |zero: &str, one: &str| {
        let of = |taint: &str| (!taint.is_empty()).then(|| taint.to_owned()).into_iter().collect::<Vec<_>>();
        [("gpu-0".to_owned(), of(zero)), ("gpu-1".to_owned(), of(one))].into()
    };
    let become_so = |zero: &str, one: &str| {
        let wanted = taints(zero, one);
        eventually(SOON, &format!("{wanted:?}"), || server.taints() == wanted);
    };
    become_so("", "");
    // An application's error changes nothing.
    driver.say(r#"{"event":{"uuid":"GPU-0","xid":31}}"#);
    driver.say(r#"{"event":{"uuid":"GPU-1","xid":79}}"#);
    let broken = "plimsoll.dev/unhealthy=xid-79:NoExecute";
    become_so("", broken);
    let since = |server: &ApiServer| {
        server.slice().expect("a slice")["spec"]["devices"][1]["taints"][0]["timeAdded"].clone()
    };
    let first = since(&server);
    assert!(first.is_string(), "{first}");
    driver.say(r#"{"failure":"the driver is gone"}"#);
    become_so("plimsoll.dev/unknown=driver-lost:NoSchedule", broken);
    assert_eq!(since(&server), first, "it has had it all the time");
    driver.say(&reading(true, &all[1..]));
    become_so("plimsoll.dev/unhealthy=gone:NoExecute", broken);
    driver.say(&reading(true, &all));
    become_so("", broken);
    let writes = server.writes();
    server.delete_slice();
    become_so("", broken);
    assert_eq!(server.writes(), writes + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_drops_taints_is_said_and_gets_no_unhealthy_devices() {
    let folder = tempfile::tempdir().expect("a folder");
    let (driver, server) = (Driver::new(), ApiServer::start(true).await);
    driver.say(&reading(true, &[device(0, 4, 0), device(1, 4, 0)]));
    let program = start(folder.path(), &driver, &server);
    Kubelet::register(&folder.path().join("plugins"), SOON, "").await;
    eventually(SOON, "both are offered", || server.taints().len() == 2);
    driver.say(r#"{"event":{"uuid":"GPU-0","xid":79}}"#);
    eventually(SOON, "only one is", || server.taints().into_keys().collect::<Vec<_>>() == ["gpu-1"]);
    assert!(program.errors().contains("feature gate DRADeviceTaints"), "{}", program.errors());
}
