//! The acknowledgement of one message, sent on the connection the message came on.

use std::time::Duration;

use rumqttc::{AsyncClient, Publish};

/// How long an acknowledgement may wait for the connection; without it the broker sends the message again.
const ACK_WAIT: Duration = Duration::from_secs(10);

/// Acknowledges one message on the connection it came on.
#[derive(Debug)]
pub struct Ack {
    pub(super) client: AsyncClient,
    pub(super) publish: Publish,
}

impl Ack {
    /// Whether the broker says that it may have brought this message before.
    pub fn is_redelivery(&self) -> bool {
        self.publish.dup
    }

    /// Says that the message is committed. If its connection is gone this does nothing: the broker brings the message
    /// again, and it is a repeat then.
    pub async fn acknowledge(&self) {
        let sent = tokio::time::timeout(ACK_WAIT, self.client.ack(&self.publish)).await;
        if !matches!(sent, Ok(Ok(()))) {
            tracing::debug!(packet = self.publish.pkid, "not acknowledged, its connection is gone");
        }
    }
}
