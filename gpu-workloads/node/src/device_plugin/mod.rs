//! The device plugin: devices, or shares of their memory, as an extended resource of the node.
//!
//! - [`Resource`], [`Share`], [`Inventory`]: what is advertised, and what an identifier stands for.
//! - [`Allocation`]: what a container needs for its devices.
//! - [`Plugin`]: the gRPC service.
//! - [`serve`]: the socket, and registration with the kubelet, anew whenever it restarts.

mod allocation;
mod inventory;
mod serve;
mod service;

pub use allocation::Allocation;
pub use inventory::{Inventory, InventoryError, Resource, Share};
pub use serve::{ServeOptions, serve};
pub use service::Plugin;
