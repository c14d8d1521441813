//! Being stopped.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that SIGINT and SIGTERM cancel. Each of them is told first, with whether one came before it.
pub(super) fn cancelled_by_signals(told: impl Fn(bool) + Send + 'static) -> CancellationToken {
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
        loop {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            told(cancel.is_cancelled());
            cancel.cancel();
        }
    });
    token
}
