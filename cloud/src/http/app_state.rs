//! The state that all handlers share.

use std::sync::Arc;

use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, LISTENING_MAX, STREAMS_MAX};
use crate::downlink::announcer::Announcer;
use crate::downlink::outbox::Outboxes;
use crate::http::auth::state::AuthState;
use crate::http::body_budget::BodyBudget;
use crate::ingest::queue::Queue;
use crate::mqtt::broker_probe::BrokerWarnings;
use crate::mqtt::session::{BrokerAddress, MqttSession};
use crate::ops::backpressure::Backpressure;
use crate::ops::event_bus::EventBus;
use crate::ops::metrics::Metrics;
use crate::pictures::thumbnail::Decoder;
use crate::store::Store;

/// Everything that the handlers work with.
#[derive(Clone)]
pub struct AppState {
    pub store: Store,
    pub auth_state: Arc<AuthState>,
    pub live: EventBus,
    pub backpressure: Backpressure,
    pub announcer: Announcer,
    pub decoder: Decoder,
    pub thumbnails: Arc<Notify>,
    pub sessions: Vec<MqttSession>,
    /// Warnings about an external broker.
    pub broker_warnings: BrokerWarnings,
    /// The queue of pictures, and the queue of all other messages.
    pub queues: [Arc<Queue>; 2],
    pub metrics: Metrics,
    pub outboxes: Outboxes,
    /// The memory of request bodies.
    pub bodies: BodyBudget,
    /// Cameras that may poll for messages at once.
    pub listening: Arc<Semaphore>,
    pub config: Arc<Config>,
    /// The address of the HTTP server.
    pub address: std::net::SocketAddr,
    /// The broker that cameras and our own sessions connect to.
    pub broker: BrokerAddress,
    pub stop: CancellationToken,
    pub streams: Arc<Semaphore>,
}

impl AppState {
    pub fn streams() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(STREAMS_MAX))
    }

    pub fn listening() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(LISTENING_MAX))
    }
}
