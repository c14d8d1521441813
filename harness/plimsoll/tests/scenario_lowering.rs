//! What scenarios are lowered to, where the scenarios that are committed do not show it.

use plimsoll::plan::{
    Action, Band, Expect, FillPlace, FillPlan, FillTarget, GpuChange, HOG_IMAGE, Machine, NAMESPACE, Plan,
    ReplacedOn, Until, WORKLOAD_LABEL, lower, lower_for,
};
use plimsoll::scenario::{Code, Files, Loaded, parse};
use serde_json::{Value, json};

fn load(spec: &str, files: &Files) -> Loaded {
    let text = format!(
        "apiVersion: plimsoll.dev/v1alpha1\nkind: Scenario\nmetadata: {{name: lowered}}\nspec:\n{spec}"
    );
    match parse("folder/lowered.yaml", &text) {
        Ok(parsed) => parsed.with_files(files),
        Err(diagnostics) => panic!("{diagnostics}"),
    }
}

fn plan(spec: &str) -> Plan {
    match lower(&load(spec, &Files::new())) {
        Ok(lowered) => lowered.plan,
        Err(diagnostics) => panic!("{diagnostics}"),
    }
}

fn names(objects: &[plimsoll::plan::PlannedObject]) -> Vec<String> {
    objects
        .iter()
        .map(|planned| {
            let text = |pointer: &str| {
                planned.object.pointer(pointer).and_then(Value::as_str).unwrap_or("?").to_owned()
            };
            format!("{}/{}", text("/kind"), text("/metadata/name"))
        })
        .collect()
}

const WEB: &str = "  manifests:
  - {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {}}
  - {apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 3, template: {spec: {containers: []}}}}
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: default}}
  - {apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: 'system:reader'}}
";

#[test]
fn a_bare_name_stands_for_every_object_of_it() {
    let plan =
        plan(&format!("{WEB}  steps: [{{start: web}}, {{observe: 1s}}]\n  expect: {{survive: web}}\n"));
    assert_eq!(names(&plan.workloads["web"].objects), ["Service/web", "Deployment/web"]);
    assert_eq!(plan.workloads["web"].pods, 3);
    assert_eq!(names(&plan.objects), ["ConfigMap/settings", "ClusterRole/system:reader"]);
}

#[test]
fn an_object_named_with_its_kind_stands_by_itself() {
    let plan = plan(&format!(
        "{WEB}  steps: [{{start: Deployment/web}}, {{wait: {{for: Running, within: 5s}}}}, {{start: Service/web}}, {{observe: 1s}}]\n  \
         expect: {{survive: Deployment/web}}\n"
    ));
    assert_eq!(names(&plan.workloads["deployment.web"].objects), ["Deployment/web"]);
    assert_eq!(names(&plan.workloads["service.web"].objects), ["Service/web"]);
    assert_eq!(plan.steps[0].action, Action::Start(vec!["deployment.web".into()]));
    let Action::Wait(wait) = &plan.steps[1].action else { panic!("{:?}", plan.steps[1]) };
    assert_eq!(wait.until, Until::Running(vec!["deployment.web".into()]));
    assert_eq!(plan.expectations[0].expect, Expect::Survive(vec!["deployment.web".into()]));
    let label = plan.workloads["deployment.web"].objects[0].object.pointer("/spec/template/metadata/labels");
    assert_eq!(label, Some(&json!({ WORKLOAD_LABEL: "deployment.web" })));
}

#[test]
fn objects_get_a_namespace_and_labels_where_they_can_have_them() {
    let plan =
        plan(&format!("{WEB}  steps: [{{start: web}}, {{observe: 1s}}]\n  expect: {{survive: web}}\n"));
    let [settings, role] = plan.objects.as_slice() else { panic!("{:?}", names(&plan.objects)) };
    assert_eq!(settings.object["metadata"]["namespace"], "default");
    assert_eq!(role.object["metadata"].get("namespace"), None);
    assert_eq!(role.object["metadata"]["labels"][WORKLOAD_LABEL], "system-reader");
    assert_eq!(plan.workloads["web"].objects[0].object["metadata"]["namespace"], NAMESPACE);
}

#[test]
fn an_object_that_no_step_starts_can_be_expected_to_survive() {
    let plan = plan(&format!(
        "{WEB}  steps: [{{wait: {{for: Running, within: 9s}}}}]\n  expect: {{survive: web}}\n"
    ));
    assert_eq!(plan.objects.len(), 4);
    assert!(plan.workloads["web"].objects.is_empty());
    assert_eq!(plan.workloads["web"].pods, 3);
}

#[test]
fn a_workload_is_a_plain_pod_or_deployment() {
    let plan = plan(
        "  workloads:
  - name: one
    node: worker
    priority: -5
    requests: {memory: 50Mi}
    shutdownDelay: 1m30s
    tolerations: [{operator: Exists}]
    labels: {team: blue}
    fill: {memory: {amount: 0.5Gi, rate: 1500Ki/s, startAt: 100Mi}}
  - {name: two, replicas: 2, priorityClassName: system-node-critical}
  steps: [{start: [one, two]}, {observe: 1s}]
  expect: {survive: [one, two]}
",
    );
    assert_eq!(names(&plan.objects), ["PriorityClass/plimsoll-n5"]);
    assert_eq!(plan.objects[0].object["value"], -5);
    let pod = &plan.workloads["one"].objects[0].object;
    assert_eq!(pod["metadata"]["labels"], json!({ WORKLOAD_LABEL: "one", "team": "blue" }));
    assert_eq!(
        pod["spec"],
        json!({
            "automountServiceAccountToken": false,
            "containers": [{
                "name": "filler",
                "image": HOG_IMAGE,
                "imagePullPolicy": "Never",
                "args": ["memory", "--amount", "512Mi", "--rate", "1500Ki/s", "--start-at", "100Mi", "--shutdown-delay", "1m30s"],
                "resources": { "requests": { "memory": "50Mi" } },
            }],
            "enableServiceLinks": false,
            "nodeSelector": { "kubernetes.io/hostname": "worker" },
            "priorityClassName": "plimsoll-n5",
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 5,
            "tolerations": [{ "operator": "Exists" }],
        })
    );
    let deployment = &plan.workloads["two"].objects[0].object;
    assert_eq!(deployment["kind"], "Deployment");
    assert_eq!(
        deployment["spec"]["selector"]["matchLabels"],
        deployment["spec"]["template"]["metadata"]["labels"]
    );
    assert_eq!(deployment["spec"]["template"]["spec"]["restartPolicy"], "Always");
    assert_eq!(deployment["spec"]["template"]["spec"]["priorityClassName"], "system-node-critical");
}

#[test]
fn each_fill_is_a_command_line_and_a_volume_where_it_needs_one() {
    let plan = plan(
        "  workloads:
  - {name: layer, limits: {ephemeral-storage: 1Gi}, fill: {disk: {amount: 1Gi, rate: 5Mi/s, startAt: 10Mi, hold: 0s, keep: true}}}
  - {name: log, fill: {disk: {amount: 5Mi, into: Log}}}
  - {name: volume, fill: {inodes: {amount: 50k, rate: 5k/s, into: {emptyDir: {sizeLimit: 100M}}}}}
  - {name: host, fill: {disk: {amount: 5Mi, as: Allocated, into: {hostPath: {path: /data}}}}}
  - {name: tmpfs, fill: {memory: {amount: 5Mi, as: Tmpfs, into: {emptyDir: {medium: Memory}}}}}
  - {name: cache, fill: {memory: {amount: 5Mi, as: ActivePageCache}}}
  - {name: pids, fill: {pids: {amount: 100}}}
  - {name: cpu, fill: {cpu: {amount: 1500m}}}
  steps:
  - start: [layer, log, volume, host, tmpfs, cache, pids, cpu]
  - fill: {node: worker, disk: {amount: 7Mi}}
  - fill: {node: worker, disk: {amount: 9Mi, into: Imagefs}}
  - fill: {workload: volume, inodes: {amount: 70k}}
  - observe: 1s
  expect: {survive: [cpu]}
",
    );
    let spec = |name: &str| plan.workloads[name].objects[0].object["spec"].clone();
    let arguments = |name: &str| {
        let arguments = spec(name)["containers"][0]["args"].clone();
        let words: Vec<String> = serde_json::from_value(arguments).expect("arguments");
        words.join(" ")
    };
    assert_eq!(
        arguments("layer"),
        "disk --amount 1Gi --path /tmp --rate 5Mi/s --start-at 10Mi --hold 0s --keep"
    );
    assert_eq!(spec("layer")["containers"][0]["resources"], json!({"limits": {"ephemeral-storage": "1Gi"}}));
    assert_eq!(spec("layer").get("volumes"), None);
    assert_eq!(arguments("log"), "disk --amount 5Mi --as log");
    assert_eq!(arguments("volume"), "inodes --amount 50000 --path /filled --rate 5000/s");
    assert_eq!(spec("volume")["volumes"], json!([{"name": "filled", "emptyDir": {"sizeLimit": "100M"}}]));
    assert_eq!(
        spec("volume")["containers"][0]["volumeMounts"],
        json!([{"name": "filled", "mountPath": "/filled"}])
    );
    assert_eq!(arguments("host"), "disk --amount 5Mi --as allocated --path /filled");
    assert_eq!(
        spec("host")["volumes"],
        json!([{"name": "filled", "hostPath": {"path": "/data", "type": "DirectoryOrCreate"}}])
    );
    assert_eq!(arguments("tmpfs"), "memory --amount 5Mi --as tmpfs --path /filled");
    assert_eq!(spec("tmpfs")["volumes"], json!([{"name": "filled", "emptyDir": {"medium": "Memory"}}]));
    assert_eq!(arguments("cache"), "memory --amount 5Mi --as active-page-cache --path /tmp");
    assert_eq!(arguments("pids"), "pids --amount 100");
    assert_eq!(arguments("cpu"), "cpu --amount 1500m");
    let fills: Vec<&FillPlan> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Fill { fill, .. } => Some(fill),
            _ => None,
        })
        .collect();
    assert_eq!((fills[0].into.as_ref(), fills[0].amount), (Some(&FillPlace::Nodefs), 7 << 20));
    // Without a filesystem of their own, images lie on nodefs.
    assert_eq!(fills[1].into, Some(FillPlace::Nodefs));
    assert_eq!(fills[2].amount, 70_000);
    assert_eq!(fills[2].into, Some(FillPlace::EmptyDir { size_limit: Some(100_000_000), in_memory: false }));
}

#[test]
fn defaults_are_filled_in() {
    let plan = plan(
        "  workloads: [{name: one}]\n  steps: [{start: one}, {wait: {for: Running, within: 1m}}]\n  expect: {evicted: []}\n",
    );
    assert_eq!((plan.kubernetes.as_str(), plan.nodes.len()), ("1.36.3", 1));
    let node = &plan.nodes[0];
    assert_eq!((node.name.as_str(), node.memory, node.nodefs.size), ("worker", 2 << 30, 2 << 30));
    assert_eq!(plan.expectations[0].expect, Expect::Evicted(Vec::new()));
}

#[test]
fn expectations_keep_their_order_and_places() {
    let plan = plan(
        "  workloads: [{name: one, replicas: 1}, {name: two}]
  steps:
  - start: [one, two]
  - fill: {node: worker, memory: {amount: 3Gi, rate: 5Mi/s}}
  - wait: {for: evictions, within: 10m}
  expect:
    oomKills: none
    replaced: {one: {on: worker, loops: 2}}
    evicted: [[two, one]]
    terminated: {two: 5s}
",
    );
    let keys: Vec<&str> = plan.expectations.iter().map(|expectation| expectation.expect.key()).collect();
    assert_eq!(keys, ["oomKills", "replaced", "evicted", "terminated"]);
    let lines: Vec<u32> = plan.expectations.iter().map(|expectation| expectation.location.line).collect();
    assert_eq!(lines, [11, 12, 13, 14]);
    assert_eq!(plan.expectations[0].location.to_string(), "folder/lowered.yaml:11:5");
    let Expect::Replaced(replaced) = &plan.expectations[1].expect else {
        panic!("{:?}", plan.expectations[1])
    };
    assert_eq!(replaced.on, Some(ReplacedOn::Node("worker".into())));
    assert_eq!(replaced.times, Band { at_least: Some(1), at_most: None });
    assert_eq!(replaced.loops, Band { at_least: Some(2), at_most: Some(2) });
    let Action::Fill { target, fill } = &plan.steps[1].action else { panic!("{:?}", plan.steps[1]) };
    assert_eq!(*target, FillTarget::Node("worker".into()));
    assert_eq!(fill.rate, Some(5 << 20));
}

#[test]
fn manifests_keep_their_own_places() {
    let text = "# a comment\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: first}\n---\napiVersion: v1\nkind: List\nitems:\n- \
                {apiVersion: v1, kind: ConfigMap, metadata: {name: second}, data: {mode: yes, octal: 0644}}\n";
    let files: Files = [("./sub/all.yaml".to_owned(), Ok(text.to_owned()))].into();
    let loaded = load(
        "  manifests: [./sub/all.yaml]\n  workloads: [{name: one}]\n  steps: [{start: one}, {observe: 1s}]\n  expect: {survive: one}\n",
        &files,
    );
    let plan = lower(&loaded).expect("a plan").plan;
    let places: Vec<String> = plan.objects.iter().map(|planned| planned.location.to_string()).collect();
    assert_eq!(places, ["folder/sub/all.yaml:3:1", "folder/sub/all.yaml:10:3"]);
    // As kubectl reads them.
    assert_eq!(plan.objects[1].object["data"], json!({ "mode": true, "octal": 420 }));
}

#[test]
fn a_machine_that_is_too_small_is_said_so() {
    let loaded = load(
        "  cluster: {nodes: [{name: a, memory: 4Gi}, {name: b, memory: 4Gi}]}\n  workloads: [{name: one}]\n  \
         steps: [{start: one}, {observe: 1s}]\n  expect: {survive: one}\n",
        &Files::new(),
    );
    let machine = |memory: u64, disk: u64| Machine { memory: memory << 30, disk: disk << 30 };
    assert!(lower_for(&loaded, machine(16, 100)).is_ok());
    for (too_small, what) in [(machine(8, 100), "of memory together"), (machine(16, 3), "filesystems have")] {
        let said = lower_for(&loaded, too_small).expect_err("too small").list;
        assert_eq!(
            said.iter().map(|one| (one.code, one.location.line)).collect::<Vec<_>>(),
            [(Code::E0021, 5)]
        );
        assert!(said[0].message.contains(what), "{}", said[0].message);
    }
}

#[test]
fn a_machine_that_is_too_small_is_said_beside_what_else_is_wrong() {
    let loaded = load(
        "  cluster: {nodes: [{name: a, memory: 4Gi}]}\n  workloads: [{name: one}]\n  \
         steps: [{start: two}, {observe: 1s}]\n  expect: {survive: one}\n",
        &Files::new(),
    );
    let said =
        lower_for(&loaded, Machine { memory: 1 << 30, disk: 1 << 20 }).expect_err("much is wrong").list;
    let codes: Vec<Code> = said.iter().map(|one| one.code).collect();
    assert_eq!(codes.iter().filter(|code| **code == Code::E0021).count(), 2, "{codes:?}");
    assert!(codes.iter().any(|code| *code != Code::E0021), "{codes:?}");
}

#[test]
fn the_control_plane_is_set_by_the_names_of_its_flags() {
    let settings = plan(
        "  cluster:\n    controlPlane: {nodeMonitorGracePeriod: 4s, nodeEvictionRate: 0.5, terminatedPodGCThreshold: 3, defaultUnreachableTolerationSeconds: 0}\n  \
         workloads: [{name: one}]\n  steps: [{start: one}, {wait: {for: Running, within: 30s}}]\n  expect: {survive: one}\n",
    )
    .control_plane;
    let expected = json!({
        "nodeMonitorGracePeriod": 4.0,
        "nodeEvictionRate": 0.5,
        "terminatedPodGCThreshold": 3,
        "defaultUnreachableTolerationSeconds": 0,
    });
    assert_eq!(serde_json::to_value(settings).expect("JSON"), expected);
}

#[test]
fn two_versions_of_an_object_have_two_names_for_the_steps() {
    let budgets = "  manifests:
  - {apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: budget}, spec: {minAvailable: 1}}
  - {apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: budget, annotations: {plimsoll.dev/called: looser}}, spec: {minAvailable: 0}}
  workloads: [{name: web}]
  steps: [{start: [budget, web]}, {apply: looser}, {observe: 1s}]
  expect: {survive: web}
";
    let plan = plan(budgets);
    assert_eq!(plan.workloads["budget"].objects[0].object["spec"]["minAvailable"], 1);
    let Action::Apply(applied) = &plan.steps[1].action else { panic!("an apply") };
    assert_eq!(names(applied), ["PodDisruptionBudget/budget"]);
    assert_eq!(applied[0].object["spec"]["minAvailable"], 0);
}

#[test]
fn nodes_are_spread_over_zones_that_are_only_counted() {
    let plan = plan(
        "  cluster: {hollow: {nodes: 10, zones: 3}}
  steps:
  - zone: {name: a, nodes: 2, do: freeze}
  - wait: {for: taint, taint: k, zone: a, count: 2, within: 60s}
  - wait: {for: taint, taint: k, is: cleared, zone: c, within: 60s}
  expect: {taintRate: [{zone: b, nodes: 0}]}
",
    );
    let zones = plan.hollow.expect("hollow nodes").zones;
    let zones: Vec<(&str, u32)> = zones.iter().map(|zone| (zone.name.as_str(), zone.nodes())).collect();
    assert_eq!(zones, [("a", 4), ("b", 3), ("c", 3)]);
    let waits: Vec<String> =
        plan.steps.iter().map(|step| plimsoll::verdict::words::action(&step.action)).collect();
    assert!(waits[1].contains("the taint k of 2 nodes of zone a"), "{waits:?}");
    assert!(waits[2].contains("the taint k of 1 node of zone c to be taken off"), "{waits:?}");
}

#[test]
fn nobody_replaces_a_bare_pod_and_that_can_be_expected() {
    let spec = |replaced: &str| {
        format!(
            "  workloads: [{{name: bare}}]\n  steps: [{{start: bare}}, {{observe: 1s}}]\n  expect: {{replaced: {{bare: {replaced}}}}}\n"
        )
    };
    let plan = plan(&spec("{times: 0}"));
    let Expect::Replaced(replaced) = &plan.expectations[0].expect else { panic!("replaced") };
    assert_eq!(replaced.times, Band { at_least: Some(0), at_most: Some(0) });
    let refused = lower(&load(&spec("{times: 1}"), &Files::new())).expect_err("a bare pod");
    assert!(refused.to_string().contains("nothing replaces it"), "{refused}");
}

#[test]
fn gpus_fail_and_are_mended_and_programs_use_them() {
    let spec = "  cluster: {nodes: [{name: worker, memory: 1Gi, nodefs: 1Gi, gpus: {simulated: {count: 2, memory: 16Gi}}}]}
  workloads:
  - {name: patient, limits: {plimsoll.dev/gpu-memory: 4}, fill: {gpuMemory: {amount: 4Gi, whenExhausted: retry}}}
  - {name: neighbour, limits: {plimsoll.dev/gpu-memory: 1}, gpuBystander: {amount: 128Mi, interval: 50ms}}
  steps:
  - start: [patient, neighbour]
  - gpu: {device: 1, do: fail}
  - gpu: {device: 1, do: heal}
  - observe: 1s
  - wait: {for: allocatable, resource: plimsoll.dev/gpu-memory, count: 0, within: 9s}
  expect: {survive: [neighbour]}
";
    let both = spec
        .replace("memory: 16Gi}}", "memory: 16Gi}, whole: {count: 1}}")
        .replace("plimsoll.dev/gpu-memory: 1}, gpuB", "nvidia.com/gpu: 1}, gpuB");
    let whole = plan(&both).nodes[0].gpus.as_ref().and_then(|gpus| gpus.whole.clone()).expect("whole ones");
    assert_eq!((whole.resource.as_str(), whole.count), ("nvidia.com/gpu", 1));
    let two = both.replace("nvidia.com/gpu: 1}, gpuB", "nvidia.com/gpu: 2}, gpuB");
    let wrong = lower(&load(&two, &Files::new())).expect_err("two of one");
    assert!(wrong.list.iter().any(|diagnostic| diagnostic.code == Code::E0022), "{wrong}");
    let plan = plan(spec);
    let waits =
        Until::Allocatable { node: "worker".into(), resource: "plimsoll.dev/gpu-memory".into(), amount: 0 };
    assert!(matches!(&plan.steps[4].action, Action::Wait(wait) if wait.until == waits));
    let arguments = |name: &str| -> Vec<String> {
        let container = &plan.workloads[name].objects[0].object["spec"]["containers"][0];
        assert_eq!(container["image"], plimsoll::plan::GPU_HOG_IMAGE);
        serde_json::from_value(container["args"].clone()).expect("arguments")
    };
    assert_eq!(arguments("patient").join(" "), "--amount 4Gi --when-exhausted retry");
    assert_eq!(arguments("neighbour").join(" "), "bystander --end-on-error --amount 128Mi --interval 50ms");
    let gpu = |change, xid| Action::Gpu { node: "worker".into(), device: 1, change, xid };
    assert_eq!(plan.steps[1].action, gpu(GpuChange::Fail, Some(79)));
    assert_eq!(plan.steps[2].action, gpu(GpuChange::Heal, None));
    for (from, to, code) in [
        ("device: 1, do: fail", "device: 2, do: fail", Code::E0006),
        ("device: 1, do: heal", "device: 1, do: heal, xid: 48", Code::E0010),
        ("gpus: {simulated: {count: 2, memory: 16Gi}}", "labels: {a: b}", Code::E0022),
        ("gpuBystander: {", "fill: {memory: {amount: 1Mi}}, gpuBystander: {", Code::E0010),
        ("simulated: {count: 2, memory: 16Gi}", "resource: a/b", Code::E0004),
        (
            "simulated: {count: 2, memory: 16Gi}",
            "simulated: {memory: 16Gi}, real: {memory: 16Gi}",
            Code::E0010,
        ),
        ("{count: 2, memory: 16Gi}}", "{count: 2, memory: 16Gi}, whole: {count: 2}}", Code::E0006),
        ("{count: 2, memory: 16Gi}}", "{count: 2, memory: 16Gi}, whole: {resource: gpu}}", Code::E0006),
        (
            "{count: 2, memory: 16Gi}}",
            "{count: 2, memory: 16Gi}, whole: {resource: plimsoll.dev/gpu-memory}}",
            Code::E0010,
        ),
        ("survive: [neighbour]", "slowed: {neighbour: {by: patient}}", Code::E0004),
        ("survive: [neighbour]", "slowed: {neighbour: {by: patient, atLeast: 3, atMost: 2}}", Code::E0006),
        // Nobody can give a real one an error.
        ("simulated: {count: 2", "real: {count: 2", Code::E0022),
        (
            "{name: worker, memory: 1Gi",
            "{name: other, gpus: {real: {memory: 16Gi}}}, {name: third, gpus: {real: {memory: 16Gi}}}, {name: worker, memory: 1Gi",
            Code::E0010,
        ),
        ("resource: plimsoll.dev/gpu-memory, count: 0", "resource: nvidia.com/gpu, count: 0", Code::E0022),
        ("resource: plimsoll.dev/gpu-memory, count: 0", "count: 0", Code::E0004),
        ("memory, count: 0, within", "memory, within", Code::E0004),
        ("memory, count: 0, within", "memory, count: 0, taint: a, within", Code::E0010),
        (
            "for: allocatable, resource: plimsoll.dev/gpu-memory, count: 0",
            "for: evictions, resource: a/b",
            Code::E0010,
        ),
    ] {
        let wrong = lower(&load(&spec.replace(from, to), &Files::new())).expect_err(to);
        assert!(wrong.list.iter().any(|diagnostic| diagnostic.code == code), "{to}: {wrong}");
    }
}

#[test]
fn gpus_are_claimed_and_tainted() {
    let spec = "  cluster: {nodes: [{name: worker, memory: 1Gi, nodefs: 1Gi, gpus: {simulated: {count: 2, memory: 16Gi}, offeredBy: ResourceClaims}}]}
  manifests:
  - apiVersion: resource.k8s.io/v1beta2
    kind: DeviceTaintRule
    metadata: {name: maintenance}
    spec: {deviceSelector: {driver: gpu.plimsoll.dev}, taint: {key: a.b/c, effect: NoExecute}}
  workloads:
  - {name: patient, gpuClaim: {tolerations: [{operator: Exists, tolerationSeconds: 5}]}, fill: {gpuMemory: {amount: 4Gi}}}
  - {name: web, replicas: 2, gpuClaim: {}, limits: {memory: 50Mi}}
  steps:
  - start: [patient, web]
  - apply: [maintenance]
  - observe: 1s
  expect: {survive: [patient]}
";
    let plan = plan(spec);
    assert!(plan.nodes[0].gpus.as_ref().is_some_and(|gpus| gpus.claims));
    assert!(plan.control_plane.device_taint_rules);
    let templates: Vec<_> = plan.objects.iter().map(|planned| &planned.object).collect();
    let template =
        |name: &str| *templates.iter().find(|object| object["metadata"]["name"] == name).expect(name);
    let exactly = |name: &str| template(name)["spec"]["spec"]["devices"]["requests"][0]["exactly"].clone();
    assert_eq!(
        exactly("patient-gpu"),
        serde_json::json!({"deviceClassName": "gpu.plimsoll.dev", "tolerations": [{"operator": "Exists", "tolerationSeconds": 5}]})
    );
    assert_eq!(exactly("web-gpu"), serde_json::json!({"deviceClassName": "gpu.plimsoll.dev"}));
    let pod = &plan.workloads["web"].objects[0].object["spec"]["template"]["spec"];
    assert_eq!(
        (&pod["resourceClaims"], &pod["containers"][0]["resources"]),
        (
            &serde_json::json!([{"name": "gpu", "resourceClaimTemplateName": "web-gpu"}]),
            &serde_json::json!({"limits": {"memory": "50Mi"}, "claims": [{"name": "gpu"}]})
        )
    );
    let without = spec.replace("kind: DeviceTaintRule", "kind: DeviceClass").replace("v1beta2", "v1");
    assert!(!self::plan(&without).control_plane.device_taint_rules);
    for (from, to, code, says) in [
        (", offeredBy: ResourceClaims", "", Code::E0022, "no node offers any to claims"),
        ("offeredBy: ResourceClaims", "offeredBy: DevicePlugin", Code::E0022, "no node offers any to claims"),
        ("offeredBy: ResourceClaims", "offeredBy: Claims", Code::E0006, "is not one of"),
        ("offeredBy: ", "unit: 1Gi, offeredBy: ", Code::E0010, "`unit` beside `offeredBy: ResourceClaims`"),
        ("offeredBy: ", "resource: a/b, offeredBy: ", Code::E0010, "`resource` beside"),
        ("offeredBy: ", "whole: {}, offeredBy: ", Code::E0010, "`whole` beside"),
        (
            "ResourceClaims}",
            "ResourceClaims}, gpuEviction: {evictionHard: {gpu.memory.available: 5%}}",
            Code::E0010,
            "`gpuEviction` beside",
        ),
        (
            "gpuClaim: {tolerations: [{operator: Exists, tolerationSeconds: 5}]}, ",
            "",
            Code::E0022,
            "`gpuClaim: {}`",
        ),
        ("cluster: {", "cluster: {kubernetes: 1.35.4, ", Code::E0010, "DRADeviceTaints is on since 1.36"),
        (
            "cluster: {",
            "cluster: {kubernetes: 1.35.4, ",
            Code::E0010,
            "a DeviceTaintRule with Kubernetes 1.35.4",
        ),
        (
            "resource.k8s.io/v1beta2",
            "resource.k8s.io/v1alpha3",
            Code::E0010,
            "write `apiVersion: resource.k8s.io/v1beta2`",
        ),
    ] {
        let wrong = lower(&load(&spec.replace(from, to), &Files::new())).expect_err(to);
        let said = |diagnostic: &&plimsoll::scenario::Diagnostic| diagnostic.code == code;
        assert!(wrong.list.iter().any(|diagnostic| said(&diagnostic)), "{to}: {wrong}");
        assert!(wrong.to_string().contains(says), "{to}: {wrong}");
    }
}
