//! Reports the state of the service to systemd.

use sd_notify::NotifyState;

/// Sends the states; without systemd nothing receives them.
pub(crate) fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("notify systemd: {error}");
    }
}
