//! What goes wrong with drivers and devices, and what the hog makes of it.

use std::process::{Command, Stdio};

use plimsoll_gpu_hog::inventory::Told;
use plimsoll_hog::report::{GpuMeasure, Kind, Reason, Report};
use plimsoll_simulated_driver::node::Flip;
use rustix::process::Signal;

use crate::machine::{GI, Machine, Running, TERMINATED, error, programs};

#[test]
fn without_a_driver_it_says_so() {
    let machine = Machine::with(1);
    let mut command = machine.command(&["--amount", "1Gi"]);
    let output = command.env("PLIMSOLL_CUDA_LIBRARY", machine.path("nothing.so")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error(&output).contains("nothing.so: "), "{}", error(&output));
    assert!(
        error(&output).contains("--cuda-library names the library of a CUDA driver"),
        "{}",
        error(&output)
    );
    // A library, but none of a driver.
    let mut command = machine.command(&["--amount", "1Gi"]);
    let output = command.env("PLIMSOLL_CUDA_LIBRARY", "libm.so.6").output().unwrap();
    assert!(error(&output).contains("libm.so.6: it has no cuInit"), "{}", error(&output));
    // The machine's own driver, where it has none.
    let output = machine.command(&["--amount", "1Gi"]).env_remove("PLIMSOLL_CUDA_LIBRARY").output().unwrap();
    if output.status.success() {
        eprintln!("this machine has a driver, so what is said without one could not be seen");
    } else {
        assert_eq!(output.status.code(), Some(1));
        assert!(!error(&output).contains("panicked"), "{}", error(&output));
    }
}

#[test]
fn the_simulated_driver_is_used_only_when_it_is_named() {
    let machine = Machine::with(1);
    let place = machine.path("libraries");
    std::fs::create_dir(&place).unwrap();
    std::fs::copy(programs().join("libplimsoll-simulated-driver.so"), place.join("libcuda.so")).unwrap();
    let mut command = machine.command(&["--amount", "1Gi"]);
    let output = command.env_remove("PLIMSOLL_CUDA_LIBRARY").env("LD_LIBRARY_PATH", &place).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        error(&output).contains("the simulated one; it is used only when --cuda-library names it"),
        "{}",
        error(&output)
    );
}

#[test]
fn a_driver_that_is_too_old_or_does_not_start_is_named_with_what_to_do() {
    for (change, expected) in [
        (
            (11_030, 0),
            "the CUDA driver is too old: it knows CUDA 11.3, and 11.4 is needed; update the NVIDIA driver",
        ),
        (
            (13_000, 100),
            "cuInit: CUDA_ERROR_NO_DEVICE (100): no CUDA-capable device is detected; no GPU is visible",
        ),
        ((13_000, 304), "cuInit: CUDA_ERROR_OPERATING_SYSTEM (304)"),
        ((13_000, 803), "are of different versions; restart the machine after an update"),
    ] {
        let mut machine = Machine::with(1);
        machine.change(|node| (node.cuda_version, node.cuda_init) = change);
        let output = machine.run(&["--amount", "1Gi"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(error(&output).contains(expected), "{}", error(&output));
    }
}

#[test]
fn a_device_that_another_has_for_itself_is_named() {
    let mut machine = Machine::with(1);
    machine.change(|node| node.devices[0].faults.busy = true);
    let output = machine.run(&["--amount", "1Gi"]);
    assert_eq!(output.status.code(), Some(1));
    let said = error(&output);
    assert!(said.contains("GPU-5107a7ed") && said.contains("CUDA_ERROR_DEVICE_UNAVAILABLE (46)"), "{said}");
}

#[test]
fn a_device_that_is_lost_under_a_filler_ends_it() {
    let mut machine = Machine::with(2);
    let mut hog = machine.fill(&["--amount", "4Gi", "--device", "all"]);
    hog.wait_for(Kind::Held);
    machine.change(|node| node.devices[1].faults.lost = true);
    let last = hog.wait_for(Kind::Final);
    assert_eq!(last.reason, Some(Reason::Lost));
    let message = last.message.unwrap();
    assert!(message.starts_with("holding memory on device 1 (GPU-5107a7ed"), "{message}");
    assert_eq!(hog.ended().code(), Some(4));
    // What it held of the other is free again.
    assert_eq!(machine.free(0), machine.node.devices[0].memory);
    // Whoever looks is told which device does not answer.
    let inventory = machine.devices();
    let devices = &inventory.nvml.said().unwrap().devices;
    assert!(matches!(&devices[0], Told::Said(_)));
    assert!(matches!(&devices[1], Told::Failed(why) if why.contains("fell off the bus")), "{devices:?}");
}

#[test]
fn an_uncorrectable_error_ends_it() {
    let mut machine = Machine::with(1);
    let mut hog = machine.fill(&["--amount", "4Gi"]);
    hog.wait_for(Kind::Held);
    machine.change(|node| node.devices[0].faults.ecc_uncorrected = 1);
    let last = hog.wait_for(Kind::Final);
    assert_eq!(last.reason, Some(Reason::Lost));
    assert!(last.message.unwrap().contains("CUDA_ERROR_ECC_UNCORRECTABLE (214)"));
    assert_eq!(hog.ended().code(), Some(4));
    // A context that is made afterwards works.
    assert!(machine.run(&["--amount", "4Gi", "--hold", "0s"]).status.success());
}

#[test]
fn memory_that_does_not_keep_what_is_written_is_found_where_it_is() {
    let mut machine = Machine::with(1);
    machine.change(|node| node.devices[0].faults.flipped.push(Flip { at: 3 * GI + 4096, mask: 1 }));
    let mut hog = machine.fill(&["--amount", "95%", "--passes", "1", "--hold", "0s"]);
    let last = hog.wait_for(Kind::Final);
    assert_eq!(last.reason, Some(Reason::Corrupted));
    assert_eq!(last.gpu.as_ref().unwrap().memory_test.unwrap().differing, 1);
    let message = last.message.unwrap();
    assert!(
        message.contains("1 of ") && message.contains("elements of 16 bytes do not read back"),
        "{message}"
    );
    assert_eq!(hog.ended().code(), Some(5));
    // Without the test nobody notices, so a test that finds nothing is worth something.
    assert!(machine.run(&["--amount", "95%", "--hold", "0s"]).status.success());
}

#[test]
fn memory_that_goes_bad_while_it_is_held_is_found() {
    let mut machine = Machine::with(1);
    let mut hog = machine.fill(&["--amount", "8Gi", "--verify-every", "100ms"]);
    hog.wait_until(|report| report.gpu.as_ref().unwrap().memory_test.unwrap().passes >= 2);
    machine.change(|node| node.devices[0].faults.flipped.push(Flip { at: 5 * GI, mask: 0x80 }));
    assert_eq!(hog.wait_for(Kind::Final).reason, Some(Reason::Corrupted));
    assert_eq!(hog.ended().code(), Some(5));
}

#[test]
fn a_killed_filler_leaves_nothing_taken() {
    let machine = Machine::with(1);
    let all = machine.free(0);
    let mut hog = machine.fill(&["--amount", "70Gi"]);
    let held = hog.wait_for(Kind::Held);
    assert!(machine.free(0) <= all - 70 * GI);
    let inventory = machine.devices();
    let processes = inventory.nvml.said().unwrap().devices[0].said().unwrap().processes.clone().unwrap();
    assert_eq!(processes.len(), 1);
    assert_eq!((processes[0].pid, held.pid), (hog.child.id(), hog.child.id()));
    assert!(processes[0].used.unwrap() >= 70 * GI);
    hog.signal(Signal::KILL);
    assert_eq!(hog.ended().code(), None);
    assert_eq!(machine.free(0), all);
    assert_eq!(machine.devices().nvml.said().unwrap().devices[0].said().unwrap().processes, Some(vec![]));
    // And the next one has it all.
    assert!(machine.run(&["--amount", "70Gi", "--hold", "0s"]).status.success());
}

#[test]
fn a_filler_ends_with_whoever_holds_its_input() {
    let machine = Machine::with(1);
    let mut command = machine.command(&["--amount", "4Gi", "--end-with-input", "--control"]);
    command.arg(machine.path("control")).stdin(Stdio::piped());
    let mut hog: Running<Report> = Running::start(command);
    hog.wait_for(Kind::Held);
    drop(hog.child.stdin.take());
    assert_eq!(hog.wait_for(Kind::Final).reason, Some(Reason::Terminated));
    assert_eq!(hog.ended().code(), Some(TERMINATED));
}

#[test]
fn cuda_without_nvml_measures_by_what_is_free() {
    let machine = Machine::with(1);
    let mut command = machine.command(&["--amount", "4Gi", "--hold", "0s"]);
    let output = command.env("PLIMSOLL_NVML_LIBRARY", machine.path("nothing.so")).output().unwrap();
    assert!(output.status.success());
    assert!(error(&output).contains("warning: NVML is not installed: "), "{}", error(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let reports: Vec<Report> = text.lines().map(|line| Report::parse(line).unwrap()).collect();
    let held = reports.iter().find(|report| report.kind == Kind::Held).unwrap();
    let card = &held.gpu.as_ref().unwrap().devices[0];
    assert_eq!((held.holds, card.measured), (Some(4 * GI), Some(GpuMeasure::Device)));
    // What only NVML says is not made up.
    assert_eq!((card.context, card.free_before, card.mig), (None, None, None));
}

#[test]
fn nvml_without_cuda_still_says_what_there_is() {
    let machine = Machine::with(1);
    let output = machine
        .command(&["devices"])
        .env("PLIMSOLL_CUDA_LIBRARY", machine.path("nothing.so"))
        .env("PLIMSOLL_NVML_LIBRARY", programs().join("libplimsoll-simulated-driver.so"))
        .output()
        .unwrap();
    // It is an answer, but not a machine that works.
    assert_eq!(output.status.code(), Some(1));
    let inventory: plimsoll_gpu_hog::inventory::Inventory = serde_json::from_slice(&output.stdout).unwrap();
    assert!(matches!(&inventory.cuda, Told::Failed(why) if why.contains("nothing.so")));
    assert_eq!(inventory.nvml.said().unwrap().devices.len(), 1);
    assert!(inventory.stamp.is_some());
}

#[test]
fn nvml_that_refuses_is_named_with_what_to_do() {
    for (code, expected) in
        [(4, "may this user open /dev/nvidiactl?"), (9, "is the nvidia kernel module loaded")]
    {
        let mut machine = Machine::with(1);
        machine.change(|node| node.nvml_init = code);
        let inventory = machine.devices();
        assert!(
            matches!(&inventory.nvml, Told::Failed(why) if why.contains(expected)),
            "{:?}",
            inventory.nvml
        );
        assert!(inventory.cuda.said().is_some());
    }
}

/// The program of the static build, which can load nothing, says so.
#[test]
fn a_static_build_says_that_it_can_load_nothing() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_plimsoll-gpu-hog")).args(["--amount", "1Gi"]).output().unwrap();
    if cfg!(target_feature = "crt-static") {
        assert_eq!(output.status.code(), Some(1));
        assert!(
            error(&output).contains("this program is static and can not load a driver; gpu-workloads/build")
        );
    }
}
