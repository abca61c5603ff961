//! The queue between the sessions and the worker: bounded in bytes, and putting never waits.
//!
//! Cameras take turns, one message each, so that the flood of one delays the others by no more than a batch. The messages
//! of one camera stay in order.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use keepsake_protocol::receipt::Receipt;
use keepsake_protocol::topic::Topic;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::config::{BATCH_BYTES_MAX, QUEUE_BYTES_MAX};
use crate::ingest::operation::Message;
use crate::mqtt::ack::Ack;
use crate::store::BATCH_MESSAGES_MAX;

/// A message, and how to say that it is committed.
#[derive(Debug)]
pub struct Delivery {
    pub message: Message,
    /// Absent where it came by HTTP, and in tests that have no broker.
    pub ack: Option<Ack>,
    /// The request that waits for the answer over HTTP; absent if the message came by MQTT.
    pub responder: Option<oneshot::Sender<IngestResponse>>,
}

/// The result of a message that came by HTTP. It exists only after the commit (P2).
#[derive(Debug, PartialEq, Eq)]
pub enum IngestResponse {
    /// Its receipts: for a capture at least one receipt, though maybe an empty one.
    Receipts(Vec<Receipt>),
    /// It is kept, but not as what it claims to be; the reason is a plain sentence.
    Quarantined(String),
}

/// The messages that are not committed yet, bounded in bytes. Putting never waits.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    filled: Notify,
    drained: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    /// The messages of each sender, each with when it came; no entry is empty.
    by_sender: HashMap<String, VecDeque<(Instant, Delivery)>>,
    /// The senders in the order of their turns.
    turns: VecDeque<String>,
    messages: usize,
    bytes: usize,
}

impl Waiting {
    fn push(&mut self, delivery: Delivery) {
        self.messages += 1;
        self.bytes += weight(&delivery);
        let sender = sender(&delivery.message.topic);
        let entry = (Instant::now(), delivery);
        if let Some(deliveries) = self.by_sender.get_mut(sender.as_str()) {
            deliveries.push_back(entry);
            return;
        }
        self.turns.push_back(sender.clone());
        self.by_sender.insert(sender, VecDeque::from([entry]));
    }

    fn pop(&mut self) -> Option<(Instant, Delivery)> {
        let sender = self.turns.pop_front()?;
        let deliveries = self.by_sender.get_mut(&sender)?;
        let entry = deliveries.pop_front()?;
        self.messages -= 1;
        self.bytes -= weight(&entry.1);
        if deliveries.is_empty() {
            self.by_sender.remove(&sender);
        } else {
            self.turns.push_back(sender);
        }
        Some(entry)
    }
}

/// Returns the sender of a message: the camera, or the topic of a third-party camera.
fn sender(topic: &str) -> String {
    topic.parse::<Topic>().map_or_else(|_| topic.to_owned(), |topic| topic.device.to_string())
}

impl Queue {
    /// Puts one message at the end. A message of any size is taken once less than half of the room is used.
    ///
    /// # Errors
    /// There is no room; the message.
    pub fn put(&self, delivery: Delivery) -> Result<(), Delivery> {
        self.put_below(QUEUE_BYTES_MAX, delivery)
    }

    /// Puts one message at the end as if the queue had only `bytes_max` of room: the rest stays free for others.
    ///
    /// # Errors
    /// There is no room; the message.
    pub fn put_below(&self, bytes_max: usize, delivery: Delivery) -> Result<(), Delivery> {
        let mut waiting = self.waiting.lock();
        let bytes = weight(&delivery);
        if waiting.bytes >= bytes_max / 2 && waiting.bytes + bytes > bytes_max {
            return Err(delivery);
        }
        waiting.push(delivery);
        drop(waiting);
        self.filled.notify_one();
        Ok(())
    }

    /// Messages and bytes that wait.
    pub fn depth(&self) -> (u64, u64) {
        let waiting = self.waiting.lock();
        (waiting.messages as u64, waiting.bytes as u64)
    }

    /// Waits until there is something, then takes what is there, at most a batch, each with when it came.
    pub async fn take(&self) -> Vec<(Instant, Delivery)> {
        loop {
            let batch = self.take_now();
            if !batch.is_empty() {
                return batch;
            }
            self.filled.notified().await;
        }
    }

    /// Waits until less than half of `bytes_max` is taken.
    pub async fn drained_below(&self, bytes_max: usize) {
        loop {
            let notified = self.drained.notified();
            if self.waiting.lock().bytes < bytes_max / 2 {
                return;
            }
            notified.await;
        }
    }

    fn take_now(&self) -> Vec<(Instant, Delivery)> {
        let mut waiting = self.waiting.lock();
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < BATCH_MESSAGES_MAX && bytes < BATCH_BYTES_MAX {
            let Some(delivery) = waiting.pop() else {
                break;
            };
            bytes += weight(&delivery.1);
            batch.push(delivery);
        }
        drop(waiting);
        self.drained.notify_waiters();
        batch
    }
}

/// Returns about how much memory a message takes, bytes: even an empty one is not free.
fn weight(delivery: &Delivery) -> usize {
    delivery.message.payload.len() + delivery.message.topic.len() + 256
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(bytes: usize) -> Delivery {
        delivery_on("keepsake/v1/porch/up/frame", bytes)
    }

    fn delivery_on(topic: &str, bytes: usize) -> Delivery {
        let message = Message {
            topic: topic.to_owned(),
            payload: vec![0; bytes].into(),
            retained: false,
        };
        Delivery { message, ack: None, responder: None }
    }

    #[tokio::test]
    async fn a_full_queue_takes_nothing_until_it_has_drained() {
        let queue = Queue::default();
        let mib = 1024 * 1024;
        let mut put = 0;
        while queue.put(delivery(mib)).is_ok() {
            put += 1;
        }
        assert_eq!(put, QUEUE_BYTES_MAX / mib - 1);
        let drained = queue.drained_below(QUEUE_BYTES_MAX);
        tokio::pin!(drained);
        let mut taken = 0;
        while futures_util::poll!(drained.as_mut()).is_pending() {
            let batch = queue.take().await;
            assert!(batch.len() <= BATCH_BYTES_MAX / mib);
            taken += batch.len();
        }
        assert!(taken >= put / 2, "{taken} of {put}");
        assert!(queue.put(delivery(mib)).is_ok());
    }

    #[tokio::test]
    async fn a_batch_is_what_is_there_in_order() {
        let queue = Queue::default();
        for bytes in 1..=BATCH_MESSAGES_MAX + 1 {
            assert!(queue.put(delivery(bytes)).is_ok());
        }
        let lengths = async || {
            let batch = queue.take().await;
            let lengths = batch.iter().map(|delivery| delivery.1.message.payload.len());
            lengths.collect::<Vec<_>>()
        };
        assert_eq!(lengths().await, (1..=BATCH_MESSAGES_MAX).collect::<Vec<_>>());
        assert_eq!(lengths().await, [BATCH_MESSAGES_MAX + 1]);
    }

    #[tokio::test]
    async fn one_picture_is_in_the_next_batch_whatever_others_send() {
        let queue = Queue::default();
        for _ in 0..BATCH_MESSAGES_MAX * 10 {
            assert!(queue.put(delivery_on("camera/flood/image", 1000)).is_ok());
            assert!(queue.put(delivery_on("keepsake/v1/flood/up/frame", 1000)).is_ok());
        }
        assert!(queue.put(delivery(7)).is_ok());
        let batch = queue.take().await;
        let mine = batch.iter().position(|(_, one)| one.message.payload.len() == 7);
        assert_eq!(mine, Some(2), "one message of each sender goes before");
        let mut rest = 0;
        while queue.depth().0 > 0 {
            rest += queue.take().await.len();
        }
        assert_eq!(batch.len() + rest, BATCH_MESSAGES_MAX * 20 + 1);
        assert_eq!(queue.depth(), (0, 0));
        assert!(queue.waiting.lock().by_sender.is_empty() && queue.waiting.lock().turns.is_empty());
    }

    #[tokio::test]
    async fn a_flood_with_a_bound_leaves_room_to_others() {
        let queue = Queue::default();
        let half = QUEUE_BYTES_MAX / 2;
        while queue.put_below(half, delivery_on("camera/flood/image", 1_000_000)).is_ok() {}
        assert!(queue.depth().1 <= half as u64);
        assert!(queue.put(delivery(1_000_000)).is_ok());
        assert_eq!(queue.take().await[1].1.message.topic, "keepsake/v1/porch/up/frame");
    }

    #[tokio::test]
    async fn one_message_larger_than_the_queue_still_gets_through() {
        let queue = Queue::default();
        assert!(queue.put(delivery(QUEUE_BYTES_MAX + 1)).is_ok());
        assert!(queue.put(delivery(1)).is_err());
        assert_eq!(queue.take().await.len(), 1);
        assert!(queue.put(delivery(1)).is_ok());
    }
}
