//! The messages that wait for cameras that use HTTP. Nobody can call them: they ask what is new, are answered when
//! there is something, and ask again.
//!
//! A message stays until the camera asks for what comes after it, so an answer lost on the way is told again. Bounded
//! in messages, bytes and cameras (P4). What is pushed out by newer ones is told again by those it concerns: receipts
//! on the repeat, commands with the next status. An outbox that is not polled is dropped; the camera then starts over.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keepsake_protocol::DeviceId;
use keepsake_protocol::downlink::{Down, DownlinkBatch};
use keepsake_protocol::topic::MessageKind;
use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::sync::Notify;

/// Messages in one outbox.
const MESSAGES_MAX: usize = 256;
/// Bytes in one outbox; four of the longest messages.
const BYTES_MAX: usize = 1024 * 1024;
/// Cameras that may come by HTTP at one time.
const OUTBOXES_MAX: usize = 10_000;
/// An outbox that nobody has asked for this long is forgotten. A camera asks again at once, or has lost its connection.
const EXPIRES_AFTER: Duration = Duration::from_secs(90);

/// All outboxes; clones are the same ones.
#[derive(Debug, Clone, Default)]
pub struct Outboxes(Arc<Mutex<HashMap<DeviceId, Arc<Outbox>>>>);

#[derive(Debug)]
struct Outbox {
    /// Numbers of an earlier outbox of this camera mean nothing here.
    life: u32,
    contents: Mutex<Contents>,
    news: Notify,
}

#[derive(Debug)]
struct Contents {
    waiting: VecDeque<QueuedMessage>,
    bytes: usize,
    last: u64,
    polling: usize,
    polled_at: Instant,
}

#[derive(Debug)]
struct QueuedMessage {
    number: u64,
    leaf: MessageKind,
    payload: Box<RawValue>,
}

/// More cameras come by HTTP than there is room for.
#[derive(Debug, thiserror::Error)]
#[error("more than {OUTBOXES_MAX} cameras come by HTTP")]
pub struct TooMany;

/// Up to where a camera has heard everything. Opaque to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    life: u32,
    number: u64,
}

impl Cursor {
    /// Whatever a camera says here it may say; what is not ours is no mark.
    pub fn parse(text: &str) -> Option<Self> {
        let (life, number) = text.split_once('-')?;
        Some(Self {
            life: u32::from_str_radix(life, 16).ok()?,
            number: number.parse().ok()?,
        })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}", self.life, self.number)
    }
}

impl Outboxes {
    /// Opens the outbox of a camera that asks, making one if there is none.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn open(&self, device: &DeviceId) -> Result<Poll, TooMany> {
        let mut all = self.0.lock();
        all.retain(|_, outbox| !outbox.is_expired(Instant::now()));
        if !all.contains_key(device) && all.len() >= OUTBOXES_MAX {
            return Err(TooMany);
        }
        let outbox = all.entry(device.clone()).or_insert_with(|| Arc::new(Outbox::new()));
        outbox.contents.lock().polling += 1;
        Ok(Poll(outbox.clone()))
    }

    /// Puts a message into the outbox of a camera. Returns false if it has none: it does not come by HTTP.
    ///
    /// `payload`: one JSON value; anything else is not put, and is a bug of ours.
    pub fn put(&self, device: &DeviceId, leaf: MessageKind, payload: &[u8]) -> bool {
        let Some(outbox) = self.0.lock().get(device).cloned() else {
            return false;
        };
        let Ok(payload) = serde_json::from_slice(payload) else {
            tracing::error!(%device, leaf = leaf.path(), "a message that is no JSON");
            return false;
        };
        outbox.contents.lock().put(leaf, payload);
        outbox.news.notify_waiters();
        true
    }
}

/// A camera at its outbox, until it is dropped.
#[derive(Debug)]
pub struct Poll(Arc<Outbox>);

impl Poll {
    /// Returns true if the camera needs the retained messages: `mark` is not of this outbox.
    pub fn is_first(&self, mark: Option<Cursor>) -> bool {
        mark.is_none_or(|mark| mark.life != self.0.life)
    }

    /// Returns the messages after `mark` as soon as there are any, or none after `patience`. Forgets all up to `mark`.
    pub async fn next_batch(&self, mark: Option<Cursor>, patience: Duration) -> Down {
        if let Some(mark) = mark.filter(|mark| mark.life == self.0.life) {
            self.0.contents.lock().discard_up_to(mark.number);
        }
        let some = async {
            loop {
                let news = self.0.news.notified();
                if !self.0.contents.lock().waiting.is_empty() {
                    return;
                }
                news.await;
            }
        };
        let _ = tokio::time::timeout(patience, some).await;
        self.all()
    }

    fn all(&self) -> Down {
        let contents = self.0.contents.lock();
        let mark = Cursor { life: self.0.life, number: contents.last };
        Down {
            messages: contents.waiting.iter().map(QueuedMessage::batch).collect(),
            next: Some(mark.to_string()),
        }
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        let mut contents = self.0.contents.lock();
        contents.polling -= 1;
        contents.polled_at = Instant::now();
    }
}

impl Outbox {
    fn new() -> Self {
        Self {
            life: rand::random(),
            contents: Mutex::new(Contents {
                waiting: VecDeque::new(),
                bytes: 0,
                last: 0,
                polling: 0,
                polled_at: Instant::now(),
            }),
            news: Notify::new(),
        }
    }

    fn is_expired(&self, now: Instant) -> bool {
        let contents = self.contents.lock();
        contents.polling == 0 && now.saturating_duration_since(contents.polled_at) > EXPIRES_AFTER
    }
}

impl Contents {
    fn put(&mut self, leaf: MessageKind, payload: Box<RawValue>) {
        if leaf.retained() {
            // Of what a broker would retain only the latest counts.
            self.drop_where(|waiting| waiting.leaf == leaf);
        }
        self.last += 1;
        self.bytes += payload.get().len();
        self.waiting.push_back(QueuedMessage { number: self.last, leaf, payload });
        while self.waiting.len() > MESSAGES_MAX || self.bytes > BYTES_MAX && self.waiting.len() > 1 {
            // What stands is told only once, everything else comes again by itself.
            let oldest = self.waiting.iter().find(|old| !old.leaf.retained());
            let oldest = oldest.or(self.waiting.front()).map(|old| old.number);
            self.drop_where(|waiting| Some(waiting.number) == oldest);
        }
    }

    fn discard_up_to(&mut self, up_to: u64) {
        self.drop_where(|waiting| waiting.number <= up_to);
    }

    fn drop_where(&mut self, gone: impl Fn(&QueuedMessage) -> bool) {
        self.waiting.retain(|waiting| !gone(waiting));
        self.bytes = self.waiting.iter().map(|one| one.payload.get().len()).sum();
    }
}

impl QueuedMessage {
    fn batch(&self) -> DownlinkBatch {
        DownlinkBatch {
            kind: self.leaf.name().to_owned(),
            message: self.payload.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::ZERO;

    fn porch() -> DeviceId {
        "porch".parse().unwrap()
    }

    fn words(down: &Down) -> Vec<String> {
        let words = down.messages.iter();
        words.map(|one| format!("{} {}", one.kind, one.message)).collect()
    }

    fn mark(down: &Down) -> Option<Cursor> {
        Cursor::parse(down.next.as_deref().unwrap())
    }

    #[tokio::test]
    async fn a_message_is_told_until_the_camera_asks_for_what_comes_after_it() {
        let outboxes = Outboxes::default();
        assert!(!outboxes.put(&porch(), MessageKind::Command, b"1"), "no outbox");
        let visit = outboxes.open(&porch()).unwrap();
        assert!(visit.is_first(None));
        assert!(outboxes.put(&porch(), MessageKind::Command, b"1"));
        let first = visit.next_batch(None, AT_ONCE).await;
        assert_eq!(words(&first), ["command 1"]);
        assert!(outboxes.put(&porch(), MessageKind::Command, b"2"));
        // The first answer got lost.
        assert_eq!(words(&visit.next_batch(None, AT_ONCE).await), ["command 1", "command 2"]);
        let after = visit.next_batch(mark(&first), AT_ONCE).await;
        assert_eq!(words(&after), ["command 2"]);
        assert!(!visit.is_first(mark(&after)));
        let nothing = visit.next_batch(mark(&after), AT_ONCE).await;
        assert!(nothing.messages.is_empty());
        // A mark of another life of this outbox forgets nothing.
        assert!(outboxes.put(&porch(), MessageKind::Command, b"3"));
        let foreign = Cursor { life: visit.0.life.wrapping_add(1), number: u64::MAX };
        assert!(visit.is_first(Some(foreign)));
        let still = visit.next_batch(Some(foreign), AT_ONCE).await;
        assert_eq!(words(&still), ["command 3"]);
    }

    #[tokio::test]
    async fn of_what_stands_only_the_latest_is_told() {
        let outboxes = Outboxes::default();
        let visit = outboxes.open(&porch()).unwrap();
        for (leaf, payload) in [(MessageKind::Cloud, "1"), (MessageKind::Settings, "2"), (MessageKind::Cloud, "3")] {
            outboxes.put(&porch(), leaf, payload.as_bytes());
        }
        let told = visit.next_batch(None, AT_ONCE).await;
        assert_eq!(words(&told), ["settings 2", "cloud 3"]);
    }

    #[tokio::test]
    async fn a_mailbox_is_bounded_and_keeps_what_stands() {
        let outboxes = Outboxes::default();
        let visit = outboxes.open(&porch()).unwrap();
        outboxes.put(&porch(), MessageKind::Cloud, b"0");
        for number in 0..MESSAGES_MAX + 10 {
            outboxes.put(&porch(), MessageKind::Receipt, number.to_string().as_bytes());
        }
        let told = words(&visit.next_batch(None, AT_ONCE).await);
        assert_eq!(told.len(), MESSAGES_MAX);
        assert_eq!(told[0], "cloud 0");
        assert_eq!(told[1], "receipt 11");
        let large = serde_json::to_vec(&"x".repeat(BYTES_MAX / 2)).unwrap();
        for _ in 0..4 {
            outboxes.put(&porch(), MessageKind::Receipt, &large);
        }
        assert!(visit.0.contents.lock().bytes <= BYTES_MAX);
        assert_eq!(words(&visit.next_batch(None, AT_ONCE).await)[0], "cloud 0");
    }

    #[tokio::test]
    async fn whoever_waits_is_told_at_once() {
        let outboxes = Outboxes::default();
        let visit = outboxes.open(&porch()).unwrap();
        let waiting = tokio::spawn(async move { visit.next_batch(None, Duration::from_secs(60)).await });
        tokio::task::yield_now().await;
        outboxes.put(&porch(), MessageKind::Command, b"1");
        let told = tokio::time::timeout(Duration::from_secs(20), waiting).await;
        assert_eq!(words(&told.unwrap().unwrap()), ["command 1"]);
    }

    #[test]
    fn a_mailbox_is_forgotten_when_nobody_asks_for_long() {
        let outboxes = Outboxes::default();
        let visit = outboxes.open(&porch()).unwrap();
        let outbox = visit.0.clone();
        let later = |outbox: &Outbox, after| {
            let polled_at = outbox.contents.lock().polled_at;
            outbox.is_expired(polled_at + after)
        };
        let long = EXPIRES_AFTER + Duration::from_secs(1);
        assert!(!later(&outbox, long), "the camera still waits");
        drop(visit);
        assert!(!later(&outbox, EXPIRES_AFTER));
        assert!(later(&outbox, long));
    }

    #[test]
    fn a_mark_is_read_back_and_nonsense_is_none() {
        let mark = Cursor { life: 0x0a, number: 7 };
        assert_eq!(mark.to_string(), "0000000a-7");
        assert_eq!(Cursor::parse(&mark.to_string()), Some(mark));
        for bad in ["", "-", "7", "x-1", "1-x", "1-99999999999999999999"] {
            assert_eq!(Cursor::parse(bad), None, "{bad}");
        }
    }
}
