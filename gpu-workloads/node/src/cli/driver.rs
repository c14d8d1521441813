//! What every command is told of the driver.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use plimsoll_eviction::duration::GoDuration;
use plimsoll_eviction::quantity::Quantity;
use tokio::sync::watch;

use crate::driver::{DEFAULT_IGNORED_XIDS, ReaderOptions, Reading, State};

/// The driver, and who asks it.
#[derive(Debug, Args)]
pub(super) struct DriverArguments {
    /// The program that asks the driver. Left out: plimsoll-gpu-reader beside this program.
    #[arg(long, value_name = "PROGRAM")]
    reader: Option<PathBuf>,
    /// An argument for that program, such as `--library=/path/of/libnvidia-ml.so.1`; may stand several times.
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    reader_argument: Vec<OsString>,
    /// How long that program may say nothing before the driver counts as lost.
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = positive_duration)]
    reader_silence: Duration,
    /// Xid errors that an application brings about, so that the device stays healthy.
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', default_values_t = DEFAULT_IGNORED_XIDS)]
    ignore_xids: Vec<u64>,
}

impl DriverArguments {
    pub(super) fn options(&self) -> ReaderOptions {
        let beside = || {
            let own = std::env::current_exe().unwrap_or_default();
            own.with_file_name("plimsoll-gpu-reader")
        };
        ReaderOptions {
            program: self.reader.clone().unwrap_or_else(beside),
            arguments: self.reader_argument.clone(),
            silence: self.reader_silence,
            ignored_xids: self.ignore_xids.clone(),
        }
    }
}

/// Waits for the first reading, as long as it takes: a driver may come up after its node. None if the reader is over.
pub(super) async fn first_reading(states: &mut watch::Receiver<State>) -> Option<Arc<Reading>> {
    states.wait_for(|state| state.reading.is_some()).await.ok()?.reading.clone()
}

/// Sends what is other than what was sent last.
pub(super) fn send_news<T: PartialEq>(sender: &watch::Sender<Arc<T>>, news: T) {
    sender.send_if_modified(|current| {
        let changed = **current != news;
        if changed {
            *current = Arc::new(news);
        }
        changed
    });
}

/// A duration as Kubernetes writes it, above zero.
pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration: GoDuration = text.parse().map_err(|error| format!("{error}: write it as 10s or 1m30s"))?;
    match u64::try_from(duration.nanoseconds()) {
        Ok(nanoseconds) if nanoseconds > 0 => Ok(Duration::from_nanos(nanoseconds)),
        _ => Err("must be above zero".to_owned()),
    }
}

/// A number of bytes as Kubernetes writes it, above zero and whole.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let quantity: Quantity = text.parse().map_err(|error| format!("{error}: write it as 1Gi or 512Mi"))?;
    match u64::try_from(quantity.value()) {
        Ok(bytes) if bytes > 0 && Quantity::from_wide(bytes.into()) == quantity => Ok(bytes),
        _ => Err("must be a whole number of bytes above zero".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_durations_are_above_zero() {
        assert_eq!(bytes("1Gi"), Ok(1 << 30));
        for text in ["0", "100m", "-1Gi", "1Xi"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        assert_eq!(positive_duration("1m30s"), Ok(Duration::from_secs(90)));
        for text in ["0s", "-1s", "10"] {
            assert!(positive_duration(text).is_err(), "{text}");
        }
    }
}
