//! The flags and files of what an init starts. Pure: text in, text out.

mod containerd;
mod control_plane;
mod gpu;
mod kubelet;

pub use containerd::{cni_configuration, containerd_configuration};
pub use control_plane::{apiserver, controller_manager, etcd, kwok, scheduler};
pub use gpu::{
    Generator, generator, gpu_device_plugin, gpu_dra_driver, gpu_evictor, gpu_toolkit,
    gpu_whole_device_plugin, gpu_withholders, simulated_node,
};
pub use kubelet::{kubelet, kubelet_configuration, kubelet_serving_certificate};

use crate::config::RUN;

/// A program to start: its name in [`crate::config::BIN`] and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// The program, which is also the component's name.
    pub name: &'static str,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// What it finds in its environment beside what every program finds.
    pub environment: &'static [(&'static str, &'static str)],
}

impl Component {
    fn new<const N: usize>(name: &'static str, arguments: [String; N]) -> Self {
        Self { name, arguments: arguments.into(), environment: &[] }
    }

    /// Lets its Go runtime collect garbage less often than it would by itself. For the control plane, whose memory is not the
    /// node's: a fifth less processor time for a run, and more memory, which stays below what a run is counted with.
    fn collecting_seldom(self) -> Self {
        Self { environment: &[("GOGC", "400")], ..self }
    }

    /// Adds the flags that have a value.
    fn set<const N: usize>(&mut self, flags: [(&str, Option<String>); N]) {
        let set = flags.into_iter().filter_map(|(flag, value)| Some(format!("--{flag}={}", value?)));
        self.arguments.extend(set);
    }
}

/// A file of a node's credentials.
#[must_use]
pub fn pki_file(name: &str) -> String {
    format!("{RUN}/pki/{name}")
}

/// A kubeconfig that names its credentials by path.
#[must_use]
pub fn kubeconfig(server: &str, client: &str) -> String {
    serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "plimsoll", "cluster": {"server": server, "certificate-authority": pki_file("ca.crt")}}],
        "users": [{"name": client, "user": {
            "client-certificate": pki_file(&format!("{client}.crt")),
            "client-key": pki_file(&format!("{client}.key")),
        }}],
        "contexts": [{"name": "plimsoll", "context": {"cluster": "plimsoll", "user": client}}],
        "current-context": "plimsoll",
    })
    .to_string()
}
