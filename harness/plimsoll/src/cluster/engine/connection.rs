//! Reaching the engine, and knowing whether it can hold nodes.

use std::fmt::Display;
use std::time::Duration;

use testcontainers::bollard::Docker;
use testcontainers::bollard::models::SystemInfo;
use testcontainers::core::client::docker_client_instance;

use crate::cluster::ClusterError;

/// How long an engine that listens may take to say what it is.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// Names the engine's socket, for every program that talks to one.
const HOST_VARIABLE: &str = "DOCKER_HOST";
/// Where engines listen when nothing else is said.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// Whether an engine answers that can hold nodes.
///
/// # Errors
/// With what is missing, and how to get it or do without.
pub async fn available() -> Result<(), ClusterError> {
    connect().await.map(drop)
}

/// A connection to an engine that can hold nodes.
pub(super) async fn connect() -> Result<Docker, ClusterError> {
    let host = host();
    if !host.starts_with("unix://") {
        return Err(ClusterError::Machine(format!(
            "the engine at {host} is not on this machine, and the API servers that run on it are reached by 127.0.0.1\nhelp: unset {HOST_VARIABLE}, or let it name a local socket (unix://…)"
        )));
    }
    let docker = docker_client_instance().await.map_err(|error| absent(&host, &error.to_string()))?;
    let information = tokio::time::timeout(ANSWERS_WITHIN, docker.info())
        .await
        .map_err(|_| absent(&host, &format!("no answer in {} s", ANSWERS_WITHIN.as_secs())))?
        .map_err(|error| absent(&host, &error.to_string()))?;
    fit(&information)?;
    Ok(docker)
}

/// Why something failed: an engine that has ended meanwhile is told as that, not as a connection that was refused.
pub(super) async fn reason(docker: &Docker, error: impl Display) -> String {
    match tokio::time::timeout(ANSWERS_WITHIN, docker.ping()).await {
        Ok(Ok(_)) => error.to_string(),
        _ => format!("the container engine does not answer any more ({error})"),
    }
}

/// The error for what was being done when another one came.
pub(super) async fn failed(docker: &Docker, what: impl Into<String>, error: impl Display) -> ClusterError {
    ClusterError::doing(what)(reason(docker, error).await)
}

fn host() -> String {
    std::env::var(HOST_VARIABLE)
        .ok()
        .filter(|host| !host.is_empty())
        .unwrap_or_else(|| DEFAULT_HOST.to_owned())
}

fn absent(host: &str, why: &str) -> ClusterError {
    ClusterError::Machine(format!(
        "no container engine answers at {host}: {why}\nhelp: install and start one (on Debian or Ubuntu: apt-get install docker.io iptables), or do without: `--on host` needs only root"
    ))
}

/// Whether such an engine can hold nodes.
fn fit(information: &SystemInfo) -> Result<(), ClusterError> {
    let refuse = |reason: &str| {
        Err(ClusterError::Machine(format!("{reason}\nhelp: `--on host` needs no engine, only root")))
    };
    if information.os_type.as_deref().is_some_and(|system| system != "linux") {
        return refuse("the container engine runs containers of another system, and a node needs Linux");
    }
    if information.security_options.iter().flatten().any(|option| option == "name=rootless") {
        return refuse(
            "the container engine runs without root, so its containers have no loop devices and a node has no bounded filesystems",
        );
    }
    if information.memory_limit == Some(false) {
        return refuse(
            "the container engine can not limit memory, so it can not bound a node (is the memory cgroup switched off on this machine?)",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use testcontainers::bollard::models::SystemInfo;

    use super::fit;

    #[test]
    fn engines_that_can_not_bound_a_node_are_refused_with_the_reason() {
        let linux =
            SystemInfo { os_type: Some("linux".into()), memory_limit: Some(true), ..SystemInfo::default() };
        assert!(fit(&linux).is_ok());
        let said = |information: &SystemInfo| {
            fit(information).map_or_else(|error| error.to_string(), |()| String::new())
        };
        assert!(
            said(&SystemInfo { os_type: Some("windows".into()), ..linux.clone() }).contains("needs Linux")
        );
        assert!(
            said(&SystemInfo { memory_limit: Some(false), ..linux.clone() }).contains("can not limit memory")
        );
        let rootless = SystemInfo {
            security_options: Some(vec!["name=seccomp,profile=default".into(), "name=rootless".into()]),
            ..linux
        };
        assert!(said(&rootless).contains("without root"));
    }
}
