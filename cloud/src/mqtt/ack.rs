//! The acknowledgement of one message: sent once it is committed, on the connection that brought the message last.
//!
//! A broker brings what was not acknowledged again on the next connection, with the same packet id. If the message is
//! still on its way into the store, the redelivery is recognised by its id **and** its content, is not queued a second
//! time, and the acknowledgement of the first counts on the new connection. So a connection that ends costs no work
//! that was done, and no acknowledgement can hit another message.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rumqttc::{AsyncClient, Publish, QoS};
use tokio::sync::Notify;

/// The longest that an acknowledgement waits for its connection; without it the broker sends the message again.
const ACK_WAIT: Duration = Duration::from_secs(10);

/// One connection, as the acknowledgements of what it brings see it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: AsyncClient,
    /// Acknowledgements handed to the client.
    acks: AtomicU64,
    /// Notified after each of them.
    pub(super) acked: Notify,
}

impl Connection {
    pub(super) fn new(client: AsyncClient) -> Arc<Self> {
        Arc::new(Self { client, acks: AtomicU64::new(0), acked: Notify::new() })
    }

    /// Returns the number of acknowledgements handed to the client.
    pub(super) fn acks(&self) -> u64 {
        self.acks.load(Ordering::Acquire)
    }
}

/// The messages of one session that are not acknowledged yet, by packet id.
#[derive(Debug, Default)]
pub(super) struct Unacknowledged(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    by_packet_id: HashMap<u16, Entry>,
    next_number: u64,
}

#[derive(Debug)]
struct Entry {
    /// Tells the messages apart that used a packet id one after the other.
    number: u64,
    topic: Bytes,
    payload: Bytes,
    connection: Arc<Connection>,
    /// Without its payload.
    publish: Publish,
    is_committed: bool,
}

/// The meaning of a PUBLISH.
#[derive(Debug)]
pub(super) enum Received {
    /// A message to process. There is nothing to acknowledge with QoS 0.
    New(Option<Ack>),
    /// A redelivery of a message that is being processed or is committed; it will be acknowledged.
    Again,
}

impl Unacknowledged {
    /// Records a message that came on a connection.
    pub(super) fn receive(self: &Arc<Self>, connection: &Arc<Connection>, mut publish: Publish) -> Received {
        if publish.qos == QoS::AtMostOnce {
            return Received::New(None);
        }
        let payload = std::mem::take(&mut publish.payload);
        let (packet_id, is_redelivery) = (publish.pkid, publish.dup);
        let mut entries = self.0.lock();
        if is_redelivery
            && let Some(entry) = entries.by_packet_id.get_mut(&packet_id)
            && entry.topic == publish.topic
            && entry.payload == payload
        {
            entry.connection = connection.clone();
            entry.publish = publish;
            let committed = entry.is_committed.then_some(entry.number);
            drop(entries);
            if let Some(number) = committed {
                let ack = Ack { session: self.clone(), packet_id, number, is_redelivery };
                // Not here: this task has to read on for the acknowledgement to go out.
                tokio::spawn(async move { ack.acknowledge().await });
            }
            return Received::Again;
        }
        let number = entries.next_number;
        entries.next_number += 1;
        let topic = publish.topic.clone();
        let connection = connection.clone();
        entries.by_packet_id.insert(
            packet_id,
            Entry {
                number,
                topic,
                payload,
                connection,
                publish,
                is_committed: false,
            },
        );
        Received::New(Some(Ack { session: self.clone(), packet_id, number, is_redelivery }))
    }

    /// Forgets everything: the broker knows nothing of this session any more, so no acknowledgement means anything.
    pub(super) fn forget_all(&self) {
        self.0.lock().by_packet_id.clear();
    }

    /// Forgets what is committed and was not brought again by this connection, which has ended.
    pub(super) fn end_of(&self, connection: &Arc<Connection>) {
        let stays = |entry: &Entry| !entry.is_committed || Arc::ptr_eq(&entry.connection, connection);
        self.0.lock().by_packet_id.retain(|_, entry| stays(entry));
    }
}

/// Acknowledges one message.
#[derive(Debug)]
pub struct Ack {
    session: Arc<Unacknowledged>,
    packet_id: u16,
    number: u64,
    is_redelivery: bool,
}

impl Ack {
    /// Returns true if the broker said that it may have brought this message before.
    pub fn is_redelivery(&self) -> bool {
        self.is_redelivery
    }

    /// Tells the broker that the message is committed. If there is no connection now, the redelivery on the next one is
    /// acknowledged.
    pub async fn acknowledge(&self) {
        let Some((connection, publish)) = self.mark_committed() else {
            return;
        };
        let handed = tokio::time::timeout(ACK_WAIT, connection.client.ack(&publish)).await;
        if !matches!(handed, Ok(Ok(()))) {
            tracing::debug!(packet = self.packet_id, "not acknowledged yet: its connection is gone");
            return;
        }
        let mut entries = self.session.0.lock();
        if let Some(entry) = entries.by_packet_id.get(&self.packet_id)
            && entry.number == self.number
            && Arc::ptr_eq(&entry.connection, &connection)
        {
            entries.by_packet_id.remove(&self.packet_id);
        }
        drop(entries);
        connection.acks.fetch_add(1, Ordering::AcqRel);
        connection.acked.notify_one();
    }

    fn mark_committed(&self) -> Option<(Arc<Connection>, Publish)> {
        let mut entries = self.session.0.lock();
        let entry = entries
            .by_packet_id
            .get_mut(&self.packet_id)
            .filter(|entry| entry.number == self.number)?;
        entry.is_committed = true;
        Some((entry.connection.clone(), entry.publish.clone()))
    }
}

/// A message that is dropped without a commit is forgotten, so that its redelivery is processed.
impl Drop for Ack {
    fn drop(&mut self) {
        let mut entries = self.session.0.lock();
        if let Some(entry) = entries.by_packet_id.get(&self.packet_id)
            && entry.number == self.number
            && !entry.is_committed
        {
            entries.by_packet_id.remove(&self.packet_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use rumqttc::{EventLoop, MqttOptions};

    use super::*;

    /// A connection that is never made: what is handed to its client stays there.
    fn connection() -> (Arc<Connection>, EventLoop) {
        let options = MqttOptions::new("cloud", ("localhost", 1883));
        let (client, events) = AsyncClient::builder(options).capacity(16).build();
        (Connection::new(client), events)
    }

    fn publish(packet_id: u16, payload: &'static [u8], dup: bool) -> Publish {
        let mut publish = Publish::new("keepsake/v1/porch/up/frame", QoS::AtLeastOnce, payload);
        publish.pkid = packet_id;
        publish.dup = dup;
        publish
    }

    fn new(received: Received) -> Ack {
        match received {
            Received::New(Some(ack)) => ack,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_message_is_acknowledged_on_the_connection_that_brought_it_last() {
        let session = Arc::new(Unacknowledged::default());
        let ((first, _events), (second, _more)) = (connection(), connection());
        let ack = new(session.receive(&first, publish(7, b"picture", false)));
        session.end_of(&first);
        assert!(matches!(session.receive(&second, publish(7, b"picture", true)), Received::Again));
        ack.acknowledge().await;
        assert_eq!((first.acks(), second.acks()), (0, 1));
        assert!(session.0.lock().by_packet_id.is_empty());
    }

    #[tokio::test]
    async fn a_message_committed_between_two_connections_is_acknowledged_when_it_is_brought_again() {
        let session = Arc::new(Unacknowledged::default());
        let (second, _more) = connection();
        let ack = {
            let (first, events) = connection();
            let ack = new(session.receive(&first, publish(7, b"picture", false)));
            drop(events);
            ack.acknowledge().await;
            session.end_of(&first);
            ack
        };
        assert!(matches!(session.receive(&second, publish(7, b"picture", true)), Received::Again));
        second.acked.notified().await;
        assert_eq!(second.acks(), 1);
        ack.acknowledge().await;
        assert_eq!(second.acks(), 1, "acknowledged once");
    }

    #[tokio::test]
    async fn a_message_that_was_dropped_before_its_commit_is_processed_when_it_is_brought_again() {
        let session = Arc::new(Unacknowledged::default());
        let ((first, _events), (second, _more)) = (connection(), connection());
        drop(new(session.receive(&first, publish(7, b"picture", false))));
        let again = new(session.receive(&second, publish(7, b"picture", true)));
        again.acknowledge().await;
        assert_eq!((first.acks(), second.acks()), (0, 1));
    }

    #[tokio::test]
    async fn an_acknowledgement_never_hits_another_message_of_the_same_packet_id() {
        let others: [(&str, Publish); 3] = [
            ("another payload", publish(7, b"other", true)),
            ("the same content, not a redelivery", publish(7, b"picture", false)),
            (
                "another topic",
                Publish {
                    topic: "keepsake/v1/barn/up/frame".into(),
                    ..publish(7, b"picture", true)
                },
            ),
        ];
        for (what, other) in others {
            let session = Arc::new(Unacknowledged::default());
            let ((first, _events), (second, _more)) = (connection(), connection());
            let before = new(session.receive(&first, publish(7, b"picture", false)));
            let after = new(session.receive(&second, other));
            before.acknowledge().await;
            assert_eq!((first.acks(), second.acks()), (0, 0), "{what}");
            after.acknowledge().await;
            assert_eq!((first.acks(), second.acks()), (0, 1), "{what}");
        }
    }

    #[tokio::test]
    async fn a_session_that_the_broker_has_lost_acknowledges_nothing_of_before() {
        let session = Arc::new(Unacknowledged::default());
        let ((first, _events), (second, _more)) = (connection(), connection());
        let before = new(session.receive(&first, publish(7, b"picture", false)));
        session.forget_all();
        let after = new(session.receive(&second, publish(7, b"picture", true)));
        before.acknowledge().await;
        assert_eq!((first.acks(), second.acks()), (0, 0));
        after.acknowledge().await;
        assert_eq!(second.acks(), 1);
    }
}
