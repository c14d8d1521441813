//! The messages and services of the kubelet's gRPC interfaces, made of the definitions in `proto`.

/// The device plugin API.
#[expect(clippy::allow_attributes, unused_qualifications, reason = "generated")]
pub mod device_plugin {
    tonic::include_proto!("v1beta1");

    /// The version that this is, as registration names it. Upstream: `deviceplugin/v1beta1.Version`.
    pub const VERSION: &str = "v1beta1";
    /// A device that may be given away. Upstream: `deviceplugin/v1beta1.Healthy`.
    pub const HEALTHY: &str = "Healthy";
    /// A device that may not. Upstream: `deviceplugin/v1beta1.Unhealthy`.
    pub const UNHEALTHY: &str = "Unhealthy";
    /// The kubelet's socket in the folder of device plugins.
    pub const KUBELET_SOCKET: &str = "kubelet.sock";
}

/// What the kubelet asks of drivers of Dynamic Resource Allocation.
#[expect(clippy::allow_attributes, unused_qualifications, reason = "generated")]
pub mod dra {
    tonic::include_proto!("k8s.io.kubelet.pkg.apis.dra.v1");

    /// The service, as registration names it. Upstream: `dra/v1.DRAPluginService`.
    pub const SERVICE: &str = "v1.DRAPlugin";
}

/// How the kubelet learns of plugins by their sockets.
#[expect(clippy::allow_attributes, unused_qualifications, reason = "generated")]
pub mod plugin_registration {
    tonic::include_proto!("pluginregistration");

    /// The type of a driver of Dynamic Resource Allocation. Upstream: `pluginregistration/v1.DRAPlugin`.
    pub const DRA_PLUGIN: &str = "DRAPlugin";
}

/// The pod resources API.
#[expect(clippy::allow_attributes, unused_qualifications, reason = "generated")]
pub mod pod_resources {
    tonic::include_proto!("v1");
}

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

/// How long a connection or a call to the kubelet may take.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to a gRPC service at a Unix socket. Calls on it are bounded by [`CALL_TIMEOUT`].
///
/// # Errors
/// What the transport says if nobody listens.
pub async fn connect(socket: &Path) -> Result<Channel, tonic::transport::Error> {
    let socket: PathBuf = socket.to_owned();
    // The connector ignores the address, which must be one all the same.
    Endpoint::from_static("http://localhost")
        .connect_timeout(CALL_TIMEOUT)
        .timeout(CALL_TIMEOUT)
        .connect_with_connector(tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        }))
        .await
}
