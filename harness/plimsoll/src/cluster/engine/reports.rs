//! What the inits say, from the engine's log of each container.

use std::io;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, future};
use jiff::Timestamp;
use plimsoll_node::report::{Fact, Report};
use testcontainers::bollard::Docker;
use testcontainers::bollard::query_parameters::{InspectContainerOptions, LogsOptionsBuilder};
use tokio::io::AsyncBufReadExt;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::io::StreamReader;

use super::connection;
use super::outage::Away;
use crate::cluster::PartReport;

/// Time before the log of a container that still runs is asked for again.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Hands on a container's reports until it has ended or the engine has.
pub(super) async fn follow(
    docker: Docker,
    container: String,
    part: String,
    away: Away,
    reports: UnboundedSender<PartReport>,
) {
    let say = |report| drop(reports.send(PartReport { part: part.clone(), report }));
    let mut seen = 0;
    loop {
        seen = read(&docker, &container, seen, |line| match serde_json::from_slice(line) {
            Ok(report) => say(Some(report)),
            Err(error) => tracing::warn!(part, line = %String::from_utf8_lossy(line), %error, "not a report"),
        })
        .await;
        match docker.inspect_container(&container, None::<InspectContainerOptions>).await {
            // The connection broke and nothing else: what was missed is in the log.
            Ok(information) if information.state.as_ref().and_then(|state| state.running) == Some(true) => {
                tokio::time::sleep(AGAIN_AFTER).await
            }
            // A step took its power, and may give it back.
            Ok(_) if away.is_dead(&part) => tokio::time::sleep(AGAIN_AFTER).await,
            Ok(_) => break,
            Err(error) => {
                let reason = connection::reason(&docker, error).await;
                let fact = Fact::Blind { source: "container engine".into(), reason };
                say(Some(Report { at: Timestamp::now(), fact }));
                break;
            }
        }
    }
    say(None);
}

/// Reads the log from its start and takes the lines after those that were seen before. Returns how many are seen now.
async fn read(docker: &Docker, container: &str, seen: usize, mut take: impl FnMut(&[u8])) -> usize {
    let options = LogsOptionsBuilder::new().follow(true).stdout(true).tail("all").build();
    let chunks =
        docker.logs(container, Some(options)).map_ok(|output| output.into_bytes()).map_err(io::Error::other);
    let mut log = StreamReader::new(chunks.boxed());
    let (mut line, mut number) = (Vec::new(), 0);
    // A line that was cut off is read whole next time.
    while log.read_until(b'\n', &mut line).await.is_ok() && line.ends_with(b"\n") {
        number += 1;
        if number > seen {
            take(&line);
        }
        line.clear();
    }
    number.max(seen)
}

/// What a container's init said on its standard error: words of its last moments, if it had any.
pub(super) async fn standard_error(
    docker: &Docker,
    container: &str,
) -> Result<Vec<u8>, testcontainers::bollard::errors::Error> {
    let options = LogsOptionsBuilder::new().stderr(true).tail("all").build();
    docker
        .logs(container, Some(options))
        .try_fold(Vec::new(), |mut text, output| {
            text.extend_from_slice(&output.into_bytes());
            future::ok(text)
        })
        .await
}
