//! Speaks to cameras by whichever way each listens: topics of the broker, or the outbox of one that comes by HTTP.

pub(crate) mod announcer;
pub(crate) mod outbox;

use keepsake_protocol::topic::Topic;
use tokio::sync::watch;

use crate::downlink::outbox::Outboxes;
use crate::mqtt::session::{MqttSession, SessionHealth};

/// One voice, two ways. Clones speak with the same voice.
#[derive(Clone)]
pub struct Downlink {
    session: MqttSession,
    outboxes: Outboxes,
}

impl Downlink {
    pub fn new(session: MqttSession, outboxes: Outboxes) -> Self {
        Self { session, outboxes }
    }

    /// Hands a message over, on every way the camera may listen: one that came by HTTP a minute ago may come by MQTT
    /// now, and hears nothing twice that it could mind. Returns whether it was handed over at all.
    pub async fn publish(&self, topic: &Topic, payload: Vec<u8>) -> bool {
        let posted = self.outboxes.put(&topic.device, topic.kind, &payload);
        let published = self.session.publish(topic, payload).await;
        posted || published
    }

    /// Returns the state of the session with the broker.
    pub fn health(&self) -> watch::Receiver<SessionHealth> {
        self.session.health()
    }

    pub fn outboxes(&self) -> &Outboxes {
        &self.outboxes
    }
}
