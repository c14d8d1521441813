//! Taking all there is and giving it back, again and again: whether a driver gives back what it was given.

use jiff::Timestamp;
use plimsoll_hog::report::Simulated;
use serde::{Deserialize, Serialize};

use crate::amount::GRANULE;
use crate::driver::{Context, CudaError};

/// The version of the schema, the field `v` of each line.
pub const VERSION: u32 = 1;
/// The largest block; where it does not fit, smaller ones are tried.
const LARGEST: u64 = 4 << 30;

/// One cycle. Amounts are in bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cycle {
    /// The schema's version.
    pub v: u32,
    /// `cycle`.
    pub kind: CycleKind,
    /// `SIMULATED` when no device had a part in this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<Simulated>,
    /// When it was over.
    pub at: Timestamp,
    /// Its number, from 1.
    pub cycle: u32,
    /// The device's UUID.
    pub uuid: String,
    /// What was free before.
    pub free_before: u64,
    /// What was allocated until the driver had no more.
    pub allocated: u64,
    /// What was free when it had no more.
    pub free_exhausted: u64,
    /// What was free after all was given back.
    pub free_after: u64,
}

/// The kind of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CycleKind {
    /// A cycle.
    Cycle,
}

/// Takes all there is of a device, and gives it back.
///
/// # Errors
///
/// When the device can not be used any more.
pub fn run(context: &Context, cycle: u32, simulated: bool) -> Result<Cycle, CudaError> {
    let (free_before, _) = context.memory()?;
    let (mut blocks, mut length, mut allocated) = (Vec::new(), LARGEST, 0);
    while length >= GRANULE {
        match context.allocate(length) {
            Ok(block) => {
                allocated += block.length;
                blocks.push(block);
            }
            Err(error) if error.is_out_of_memory() => length /= 2,
            Err(error) => return Err(error),
        }
    }
    let (free_exhausted, _) = context.memory()?;
    for block in blocks {
        context.free(block)?;
    }
    let (free_after, _) = context.memory()?;
    Ok(Cycle {
        v: VERSION,
        kind: CycleKind::Cycle,
        stamp: simulated.then_some(Simulated::Simulated),
        at: Timestamp::now(),
        cycle,
        uuid: context.device.uuid.clone(),
        free_before,
        allocated,
        free_exhausted,
        free_after,
    })
}
