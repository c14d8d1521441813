//! Being stopped.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// SIGHUP's bit in the masks of `/proc`.
const SIGHUP_BIT: u64 = 1;

/// A token that SIGINT, SIGTERM and SIGHUP (a terminal that was closed) cancel. Each of them is told first, with whether one came before it.
pub(super) fn cancelled_by_signals(told: impl Fn(bool) + Send + 'static) -> CancellationToken {
    // What `nohup` starts is to go on.
    let outlives_the_terminal =
        ignores_hang_ups(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        let (Ok(mut terminate), Ok(mut hang_up)) =
            (signal(SignalKind::terminate()), signal(SignalKind::hangup()))
        else {
            return;
        };
        loop {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv(), if !outlives_the_terminal => {}
            }
            told(cancel.is_cancelled());
            cancel.cancel();
        }
    });
    token
}

/// Whether the process was started so that SIGHUP is ignored. Asked before a handler takes the signal.
fn ignores_hang_ups(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & SIGHUP_BIT != 0)
}

#[cfg(test)]
mod tests {
    use super::ignores_hang_ups;

    #[test]
    fn what_nohup_starts_outlives_its_terminal() {
        assert!(ignores_hang_ups("Name:\tplimsoll\nSigIgn:\t0000000000001001\nSigCgt:\t0\n"));
        assert!(!ignores_hang_ups("SigIgn:\t0000000000001000\n"));
        assert!(!ignores_hang_ups(""));
    }
}
