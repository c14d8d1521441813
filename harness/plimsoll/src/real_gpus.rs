//! What a plan whose node has the machine's own GPUs needs to know of them before it runs.

use plimsoll_acceptance::program::Hog;
use plimsoll_acceptance::run::{Inventory, Told, inventory};

use crate::gpu_programs::GpuPrograms;
use crate::plan::Plan;

/// What is less than this is left to the node, in bytes: less than a context takes.
const NOT_WITHHELD: u64 = 256 << 20;
/// What can be done without a card.
const HELP: &str = "help: run it on a machine with an NVIDIA driver and such cards, or with simulated ones (`gpus: {simulated: {memory: 16Gi}}`)";

/// Asks the machine for its GPUs, and puts down how much of each is to be kept from the node.
///
/// # Errors
/// When the plan has such a node and the machine has no such GPUs; the message says what to do.
pub async fn take(plan: &mut Plan) -> Result<(), String> {
    if !plan.has_real_gpus() {
        return Ok(());
    }
    let programs = GpuPrograms::find().await.map_err(|error| error.to_string())?;
    let hog = Hog { program: programs.hog, cuda_library: None, nvml_library: None };
    let asked =
        tokio::task::spawn_blocking(move || inventory(&hog)).await.map_err(|error| error.to_string())?;
    fit(plan, &asked.map_err(|error| format!("the machine's own GPUs: {error}\n{HELP}"))?)
}

/// Puts down how much of each GPU is to be kept from the node.
fn fit(plan: &mut Plan, inventory: &Inventory) -> Result<(), String> {
    if inventory.stamp.is_some() {
        return Err(format!("the driver that was found is the simulated one\n{HELP}"));
    }
    let cards = match &inventory.cuda {
        Told::Said(cuda) => &cuda.devices,
        Told::Failed(why) => return Err(format!("CUDA's driver does not work here: {why}\n{HELP}")),
    };
    for node in &mut plan.nodes {
        let Some(gpus) = node.gpus.as_mut().filter(|gpus| gpus.real) else { continue };
        let count = usize::try_from(gpus.count).unwrap_or(usize::MAX);
        if cards.len() < count {
            return Err(format!(
                "{} wants {count} GPUs, and the machine has {}\n{HELP}",
                node.name,
                cards.len()
            ));
        }
        let mut withheld = Vec::new();
        for card in &cards[..count] {
            let more = card.memory.checked_sub(gpus.memory).ok_or_else(|| {
                format!(
                    "{} wants GPUs of {} bytes, and {} [{}] has {}\n{HELP}",
                    node.name, gpus.memory, card.name, card.uuid, card.memory
                )
            })?;
            withheld.push(if more < NOT_WITHHELD { 0 } else { more });
        }
        gpus.withheld = withheld;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::lower;
    use crate::scenario::{Files, parse};
    use serde_json::json;

    fn plan(gpus: &str) -> Plan {
        let text = format!(
            "apiVersion: plimsoll.dev/v1alpha1\nkind: Scenario\nmetadata: {{name: real}}\nspec:\n  cluster: {{nodes: [{{name: worker, \
             gpus: {gpus}}}]}}\n  workloads: [{{name: filler, limits: {{plimsoll.dev/gpu-memory: 1}}, fill: {{gpuMemory: {{amount: 1Gi}}}}}}]\n  \
             steps: [{{start: filler}}, {{observe: 1s}}]\n  expect: {{survive: filler}}\n"
        );
        let parsed = parse("real.yaml", &text).unwrap_or_else(|wrong| panic!("{wrong}"));
        lower(&parsed.with_files(&Files::new())).unwrap_or_else(|wrong| panic!("{wrong}")).plan
    }

    fn inventory(memory: &[u64]) -> Inventory {
        let device = |(index, memory): (usize, &u64)| json!({"index": index, "uuid": format!("GPU-{index}"), "name": "NVIDIA H100 80GB HBM3", "memory": memory, "multiprocessors": 132});
        let devices: Vec<_> = memory.iter().enumerate().map(device).collect();
        let inventory = json!({"v": 1, "cuda": {"said": {"version": 13000, "devices": devices}}, "nvml": {"failed": "x"}});
        serde_json::from_value(inventory).expect("an inventory")
    }

    #[test]
    fn what_a_card_has_beyond_the_bound_is_withheld() {
        let mut real = plan("{real: {count: 2, memory: 16Gi}}");
        assert!(real.has_real_gpus());
        fit(&mut real, &inventory(&[80 << 30, (16 << 30) + 1, 24 << 30])).expect("it fits");
        assert_eq!(real.nodes[0].gpus.as_ref().map(|gpus| gpus.withheld.clone()), Some(vec![64 << 30, 0]));
    }

    #[test]
    fn what_the_machine_lacks_is_said_with_what_to_do() {
        let mut real = plan("{real: {count: 2, memory: 16Gi}}");
        for (inventory, why) in [
            (inventory(&[]), "worker wants 2 GPUs, and the machine has 0"),
            (inventory(&[80 << 30]), "worker wants 2 GPUs, and the machine has 1"),
            (inventory(&[80 << 30, 8 << 30]), "[GPU-1] has 8589934592"),
        ] {
            let wrong = fit(&mut real, &inventory).expect_err(why);
            assert!(wrong.contains(why) && wrong.contains("help: "), "{wrong}");
        }
        let without = json!({"v": 1, "cuda": {"failed": "no libcuda.so.1"}, "nvml": {"failed": "x"}});
        let without = serde_json::from_value(without).expect("an inventory");
        let wrong = fit(&mut real, &without).expect_err("no driver");
        assert!(wrong.contains("no libcuda.so.1") && wrong.contains("help: "), "{wrong}");
        let stamped: Inventory = {
            let mut value = serde_json::to_value(inventory(&[80 << 30, 80 << 30])).expect("JSON");
            value["stamp"] = json!("SIMULATED");
            serde_json::from_value(value).expect("an inventory")
        };
        assert!(fit(&mut real, &stamped).expect_err("simulated").contains("is the simulated one"));
    }

    #[test]
    fn simulated_gpus_can_be_taken_for_real_ones() {
        let real = plan("{simulated: {memory: 16Gi}}").with_real_gpus().expect("it can");
        assert!(real.has_real_gpus());
        let verdict = crate::verdict::judge(&real, &crate::observe::Timeline::default());
        assert_eq!(verdict.simulated, Vec::<String>::new());
        let simulated = plan("{simulated: {memory: 16Gi}}");
        assert_eq!(
            crate::verdict::judge(&simulated, &crate::observe::Timeline::default()).simulated,
            ["GPUs of worker"]
        );
    }
}
