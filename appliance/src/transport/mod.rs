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
use tokio::sync::{mpsc, watch};

use crate::upload::backoff::Backoff;

/// A connection that lived shorter than this was no success, and the wait before the next one grows.
const STABLE_AFTER: Duration = Duration::from_secs(30);

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DisconnectReason {
    /// The other side is there and refuses this camera: name, password, token, certificate or permission.
    Unauthorized,
    /// What answers there cannot prove who it is, or this camera has not the files it needs.
    TlsUntrusted,
    /// No network, nobody there, or it went away.
    Unreachable,
}

/// What happens on the connection.
pub(crate) enum TransportEvent {
    /// Connected and listening: messages may be published.
    Connected(Publisher),
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

/// Publishes on one connection, and is worthless on the next.
#[derive(Clone)]
pub(crate) struct Publisher(Arc<dyn Connection>);

/// The connection takes no more; it is gone or stuck.
#[derive(Debug, thiserror::Error)]
#[error("hand a message to the connection")]
pub(crate) struct SendError;

/// What a transport does for its [`Publisher`].
pub(crate) trait Connection: Send + Sync {
    /// See [`Publisher::publish`].
    ///
    /// # Errors
    /// [`SendError`].
    fn publish(&self, kind: MessageKind, payload: Vec<u8>, token: Option<u64>) -> Result<(), SendError>;

    /// See [`Publisher::finish`].
    fn finish(&self, patience: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// See [`Publisher::abandon`].
    fn abandon(&self);
}

impl Publisher {
    pub(crate) fn new(connection: impl Connection + 'static) -> Self {
        Self(Arc::new(connection))
    }

    /// Hands a message over; that it is published is said by [`TransportEvent::Acknowledged`], if a token is given.
    ///
    /// # Errors
    /// [`SendError`].
    pub(crate) fn publish(&self, kind: MessageKind, payload: Vec<u8>, token: Option<u64>) -> Result<(), SendError> {
        self.0.publish(kind, payload, token)
    }

    /// Ends the connection once what was handed over is acknowledged, or after `patience`.
    pub(crate) async fn finish(&self, patience: Duration) {
        self.0.finish(patience).await;
    }

    /// Ends the connection at once: it is stuck.
    pub(crate) fn abandon(&self) {
        self.0.abandon();
    }
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
