//! The way to the cloud, whichever it is: events come out, messages go in. `mqtt` and `http` are the two ways.
//!
//! A new connection knows nothing of the one before it: what was handed over and has no receipt starts again (P5).

pub(crate) mod certificate_time;
pub(crate) mod http;
pub(crate) mod mqtt;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use keepsake_protocol::topic::MessageKind;
use keepsake_protocol::{DeviceId, SpoolId};
use tokio::sync::{mpsc, watch};

use crate::settings::CloudSettings;
use crate::upload::backoff::Backoff;

/// A connection that lived shorter than this was no success, and the wait before the next one grows.
const STABLE_AFTER: Duration = Duration::from_secs(30);

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DisconnectReason {
    /// The other side is there and refuses this camera: name, password, token, certificate or permission.
    Unauthorized,
    /// The server cannot prove who it is, or this camera lacks the files for TLS.
    TlsUntrusted,
    /// No network, nobody there, or it went away.
    Unreachable,
}

/// An event of the connection.
pub(crate) enum TransportEvent {
    /// Connected and listening: messages may be published.
    Connected(Arc<dyn Publisher>),
    Disconnected {
        reason: DisconnectReason,
        text: String,
    },
    Message {
        kind: MessageKind,
        payload: Bytes,
    },
    /// The other side has the message of this token. No receipt (P2).
    Acknowledged {
        token: u64,
    },
    /// The message of this token cannot be taken as it is; others may be.
    Rejected {
        token: u64,
        text: String,
    },
}

/// The connection takes no more; it is gone or stuck.
#[derive(Debug, thiserror::Error)]
#[error("hand a message to the connection")]
pub(crate) struct SendError;

/// Publishes on one connection, and is worthless on the next.
pub(crate) trait Publisher: Send + Sync {
    /// Hands a message over; that it is published is said by [`TransportEvent::Acknowledged`], if a token is given.
    fn publish(&self, kind: MessageKind, payload: Vec<u8>, token: Option<u64>) -> Result<(), SendError>;

    /// Ends the connection once what was handed over is acknowledged, or after `patience`.
    fn finish(&self, patience: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// Ends the connection at once: it is stuck.
    fn abandon(&self);
}

/// The settings of a connection, over MQTT or HTTP.
#[derive(Clone)]
pub(crate) struct TransportSettings {
    /// The files that it names are read for every connection, so that a renewed certificate needs no restart.
    pub cloud: CloudSettings,
    pub certificate_time: keepsake_tls::ClockFloor,
    pub device: DeviceId,
    /// Read for every connection: a new spool has another id.
    pub current_spool: watch::Receiver<SpoolId>,
    pub reconnect: Backoff,
}

/// Connects, and connects again, until `stop` says so. `connect`: one connection, from its first byte to its last.
pub(crate) async fn reconnect_loop<C, F>(
    connect: C,
    reconnect: Backoff,
    events: mpsc::Sender<TransportEvent>,
    mut stop: watch::Receiver<bool>,
) where
    C: Fn() -> F,
    F: Future<Output = (DisconnectReason, String)>,
{
    let mut attempt = 0;
    while !*stop.borrow() {
        let began = tokio::time::Instant::now();
        let (reason, text) = connect().await;
        attempt = if began.elapsed() > STABLE_AFTER { 1 } else { attempt + 1 };
        if events.send(TransportEvent::Disconnected { reason, text }).await.is_err() {
            return;
        }
        let wait = reconnect.wait_with_jitter(attempt, rand::random());
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            changed = stop.changed() => if changed.is_err() { return },
        }
    }
}
