//! The plugin's socket, and registration with the kubelet.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tracing::info;

use super::allocation::Allocation;
use super::inventory::Inventory;
use super::service::Plugin;
use crate::api::connect;
use crate::api::device_plugin::device_plugin_server::DevicePluginServer;
use crate::api::device_plugin::registration_client::RegistrationClient;
use crate::api::device_plugin::{KUBELET_SOCKET, RegisterRequest, VERSION};
use crate::socket::{self, Identity, LOOK_INTERVAL, PathTooLong, identity};

/// Where to listen, and as what.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// The folder of `kubelet.sock`: `/var/lib/kubelet/device-plugins`.
    pub folder: PathBuf,
    /// The extended resource.
    pub resource_name: String,
}

impl ServeOptions {
    /// The name of the plugin's own socket.
    fn endpoint(&self) -> String {
        format!("{}.sock", self.resource_name.replace('/', "_"))
    }
}

/// Listens and registers, anew whenever the kubelet's socket is another or the plugin's own is gone, until `cancel`.
///
/// # Errors
/// [`PathTooLong`]. Everything else is said in the log and tried again.
pub async fn serve(
    options: &ServeOptions,
    inventory: watch::Receiver<Arc<Inventory>>,
    allocation: watch::Receiver<Arc<Allocation>>,
    cancel: CancellationToken,
) -> Result<(), PathTooLong> {
    let own = options.folder.join(options.endpoint());
    socket::check(&own)?;
    let kubelet = options.folder.join(KUBELET_SOCKET);
    let listening = async || {
        // Both sockets lie in a folder that the kubelet empties when it starts.
        let seen = appears(&kubelet).await;
        let end = CancellationToken::new();
        let plugin = Plugin::new(inventory.clone(), allocation.clone(), end.clone());
        once(options, &own, &kubelet, seen, plugin, &end).await
    };
    let failing = format!("{} is not registered", options.resource_name);
    socket::keep(&own, ("registering", &failing), listening, cancel).await;
    Ok(())
}

/// One listening and registering, which lasts until a socket changes.
async fn once(
    options: &ServeOptions,
    own: &Path,
    kubelet: &Path,
    seen: Identity,
    plugin: Plugin,
    end: &CancellationToken,
) -> io::Result<&'static str> {
    // Whatever leaves this function, the service does not outlive it.
    let guard = end.clone().drop_guard();
    let listener = socket::listen(own)?;
    let bound = identity(own);
    let service = Server::builder()
        .add_service(DevicePluginServer::new(plugin))
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), end.clone().cancelled_owned());
    let service = tokio::spawn(service);
    register(options, kubelet).await?;
    let why = loop {
        if identity(kubelet) != Some(seen) {
            break "the kubelet's socket is another";
        }
        if identity(own) != bound {
            break "the plugin's socket is gone";
        }
        if service.is_finished() {
            break "the service ended";
        }
        sleep(LOOK_INTERVAL).await;
    };
    socket::end(service, guard).await;
    Ok(why)
}

async fn register(options: &ServeOptions, kubelet: &Path) -> io::Result<()> {
    let channel = connect(kubelet)
        .await
        .map_err(|error| io::Error::other(format!("{} does not answer: {error}", kubelet.display())))?;
    let request = RegisterRequest {
        version: VERSION.to_owned(),
        endpoint: options.endpoint(),
        resource_name: options.resource_name.clone(),
        options: Some(Plugin::options()),
    };
    RegistrationClient::new(channel)
        .register(request)
        .await
        .map_err(|status| io::Error::other(format!("the kubelet refuses: {}", status.message())))?;
    info!("registered {} with the kubelet", options.resource_name);
    Ok(())
}

/// Waits for a socket, as long as it takes: a plugin may well be there before its kubelet.
async fn appears(path: &Path) -> Identity {
    let mut said = false;
    loop {
        if let Some(identity) = identity(path) {
            return identity;
        }
        if !said {
            info!("waiting for {}", path.display());
            said = true;
        }
        sleep(LOOK_INTERVAL).await;
    }
}
