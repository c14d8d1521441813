//! The driver of Dynamic Resource Allocation: whole devices, which pods have by resource claims, and the taints by which pods leave a
//! device that is not healthy.
//!
//! - [`Pool`]: the node's devices as they are offered, each with its taint.
//! - [`publish`]: keeps the node's `ResourceSlice` as the pool is.
//! - [`Claims`]: the claims of pods, as the API server has them.
//! - [`Plugin`]: the gRPC services for the kubelet.
//! - [`serve`]: the socket that the kubelet finds.

mod claims;
mod plugin;
mod pool;
mod publish;
mod serve;

pub use claims::{ClaimError, Claims};
pub use plugin::Plugin;
pub(crate) use pool::is_dns_label;
pub use pool::{Offered, Pool, PoolError, UNHEALTHY_TAINT, UNKNOWN_TAINT, device_name};
pub use publish::{Publisher, publish};
pub use serve::{ServeOptions, serve};

/// The name of the driver, unless it is told another.
pub const DRIVER: &str = "gpu.plimsoll.dev";
