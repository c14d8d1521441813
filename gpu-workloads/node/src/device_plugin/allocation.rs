//! What a container needs for its devices.

use std::collections::BTreeMap;

use super::inventory::{Inventory, InventoryError};
use crate::api::device_plugin::{CdiDevice, ContainerAllocateResponse};

/// The environment variable that tells a container how much GPU memory, in bytes, it was given.
const MEMORY_VARIABLE: &str = "PLIMSOLL_GPU_MEMORY_BYTES";

/// How devices are named to the container runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allocation {
    /// The qualified name of each device in the Container Device Interface, by its uuid.
    pub cdi_names: BTreeMap<String, String>,
    /// An environment variable that lists the uuids, such as `NVIDIA_VISIBLE_DEVICES` for a runtime that injects devices itself.
    pub list_variable: Option<String>,
}

impl Allocation {
    /// What a container needs that was given these identifiers.
    ///
    /// # Errors
    /// [`InventoryError`], also for a device that has no name in the Container Device Interface.
    pub fn response(
        &self,
        inventory: &Inventory,
        ids: &[String],
    ) -> Result<ContainerAllocateResponse, InventoryError> {
        let devices = inventory.devices(ids)?;
        let name = |uuid: &String| {
            let name = self.cdi_names.get(uuid).ok_or_else(|| InventoryError::Unknown(uuid.clone()))?;
            Ok(CdiDevice { name: name.clone() })
        };
        let cdi_devices = devices.iter().map(name).collect::<Result<_, _>>()?;
        let mut response = ContainerAllocateResponse { cdi_devices, ..ContainerAllocateResponse::default() };
        if let Some(variable) = &self.list_variable {
            response.envs.insert(variable.clone(), devices.join(","));
        }
        if let Some(bytes) = inventory.resource().bytes(ids.len() as u64) {
            response.envs.insert(MEMORY_VARIABLE.to_owned(), bytes.to_string());
        }
        Ok(response)
    }
}
