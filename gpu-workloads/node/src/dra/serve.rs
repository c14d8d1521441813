//! The socket that the kubelet finds, at which the driver serves both its registration and what the kubelet asks of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tokio::time::sleep;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tracing::info;

use super::plugin::Plugin;
use crate::api::dra::dra_plugin_server::DraPluginServer;
use crate::api::plugin_registration::registration_server::RegistrationServer;
use crate::socket::{self, LOOK_INTERVAL, PathTooLong};

/// Where to listen.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// The folder in which the kubelet finds the sockets of plugins: `/var/lib/kubelet/plugins_registry`. The kubelet must see it by the
    /// same path.
    pub folder: PathBuf,
}

/// The name of a driver's socket. The kubelet names the host, as HTTP/2 has it, by the socket's escaped path, and the server here refuses a
/// host with escapes in it. What comes before an at sign is no host but a user, who may have them.
fn socket_name(driver: &str) -> String {
    format!("{driver}@reg.sock")
}

/// Listens until `cancel`, anew whenever the socket is gone. The kubelet registers what it finds, however often it starts anew.
///
/// # Errors
/// [`PathTooLong`]. Everything else is said in the log and tried again.
pub async fn serve(
    options: &ServeOptions,
    plugin: Plugin,
    cancel: CancellationToken,
) -> Result<(), PathTooLong> {
    let own = options.folder.join(socket_name(plugin.driver()));
    socket::check(&own)?;
    let plugin = plugin.at(own.to_string_lossy().into_owned());
    let listening = async || once(&options.folder, &own, plugin.clone()).await;
    socket::keep(&own, ("listening", &own.to_string_lossy()), listening, cancel).await;
    Ok(())
}

/// One listening, which lasts until the socket is gone.
async fn once(folder: &Path, own: &Path, plugin: Plugin) -> io::Result<&'static str> {
    let end = CancellationToken::new();
    // Whatever leaves this function, the service does not outlive it.
    let guard = end.clone().drop_guard();
    // A kubelet that was never started has not made it yet.
    fs::create_dir_all(folder)?;
    let listener = socket::listen(own)?;
    let bound = socket::identity(own);
    let service = Server::builder()
        .add_service(RegistrationServer::new(plugin.clone()))
        .add_service(DraPluginServer::new(plugin))
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), end.clone().cancelled_owned());
    let service = tokio::spawn(service);
    info!("listening at {}", own.display());
    let why = loop {
        if socket::identity(own) != bound {
            break "the socket is gone";
        }
        if service.is_finished() {
            break "the service ended";
        }
        sleep(LOOK_INTERVAL).await;
    };
    socket::end(service, guard).await;
    Ok(why)
}
