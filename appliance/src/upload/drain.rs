//! Chooses the next part to publish. Pure: events and the time go in, the next thing to send comes out; no clock, no disk, no net.
//!
//! A capture leaves the queue on its receipt and on nothing else (P2). On a new connection everything that had no
//! receipt starts again, whatever the client library kept (P5): first the cloud is asked (`up/have`), then only what it
//! lacks is sent, and after [`INVENTORY_TIMEOUT`] without an answer, all of it. A capture younger than [`LIVE_FOR`] goes next,
//! then the oldest first (P6). Each capture has its own back-off and never blocks those behind it. Bounded
//! (P4): bytes without a receipt (the window, which the cloud grants with its receipts), bytes without an
//! acknowledgement, the size of a part.
//!
//! Times are a `Duration` since any fixed moment that does not jump.

use std::collections::BTreeMap;
use std::time::Duration;

use keepsake_protocol::codec::FRAME_OVERHEAD_MAX;
use keepsake_protocol::receipt::WINDOW_FOR;

use crate::settings::Config;
use crate::spool::Key;
use crate::upload::backoff::Backoff;
use crate::upload::receipt_timer::ReceiptTimer;
use crate::upload::upload_rate::UploadRate;

/// The longest wait for the answer to `up/have`.
pub const INVENTORY_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for which a capture counts as live: a person may still be waiting at the camera.
pub const LIVE_FOR: Duration = Duration::from_secs(10);
/// A part is what this much time of the measured rate carries.
pub const PART_FOR_S: u64 = 5;
pub const PART_BYTES_MIN: u64 = 16 * 1024;

/// A part while nothing is known of the link yet, bytes.
const PART_BYTES_UNKNOWN: u64 = 64 * 1024;
/// The largest part while the limit of the broker is unknown, bytes. Every broker that the cloud accepts carries it.
const PART_BYTES_UNLIMITED_MAX: u64 = 256 * 1024;
/// No more than this much time of the measured rate waits for acknowledgement: what sits there cannot be overtaken.
const UNACKNOWLEDGED_FOR_S: u64 = 30;
/// Bytes in memory at most, handed to the connection and not yet acknowledged.
const UNACKNOWLEDGED_BYTES_MAX: u64 = 1024 * 1024;
/// Messages that may wait for acknowledgement, however small they are.
const UNACKNOWLEDGED_MAX: usize = 256;
/// Multiple of the shortest wait for a receipt while the cloud grants less than one capture.
const IN_LINE_FACTOR: u32 = 6;
/// So often a capture may be under way when the connection is lost before it has to wait at all.
const LOSSES_FORGIVEN: u32 = 3;
const LOSS_WAIT_MAX: Duration = Duration::from_secs(300);

#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes published and without a receipt; one larger capture may go alone.
    pub window_bytes: u64,
    /// The largest part, bytes, at least [`PART_BYTES_MIN`].
    pub part_bytes_max: u64,
    /// Bytes handed over and not yet acknowledged by the broker: they sit in memory.
    pub unacknowledged_bytes_max: u64,
    pub backoff: Backoff,
}

impl From<&Config> for Limits {
    fn from(config: &Config) -> Self {
        let cloud = &config.cloud;
        // A part must not keep a line that is bounded for longer than one that is slow.
        let part_bytes_max = match cloud.rate_bytes_per_s {
            0 => cloud.part_bytes_max,
            rate => cloud.part_bytes_max.min(rate.saturating_mul(PART_FOR_S)),
        };
        Self {
            window_bytes: cloud.window_bytes,
            part_bytes_max: part_bytes_max.max(PART_BYTES_MIN),
            unacknowledged_bytes_max: UNACKNOWLEDGED_BYTES_MAX,
            backoff: Backoff::from_secs(config.backoff.initial_s, config.backoff.max_s),
        }
    }
}

/// One message to publish: a part of a picture, or a whole tombstone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextPart {
    pub key: Key,
    pub tombstone: bool,
    pub offset: u64,
    pub len: u64,
    pub attempt: u32,
    /// Tells this message from any other when its acknowledgement comes.
    pub token: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinkState {
    Down,
    AwaitingInventory { until: Duration },
    Open,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Progress {
    Idle {
        not_before: Duration,
    },
    /// Parts still to publish, as `(start, end)` in order.
    Sending {
        todo: Vec<(u64, u64)>,
        claim: u64,
        unacknowledged: u32,
    },
    /// All is published. Its receipt is waited for from the moment when the broker has all of it.
    Sent {
        claim: u64,
        unacknowledged: u32,
        acknowledged_at: Option<Duration>,
    },
}

#[derive(Debug, Clone)]
struct Item {
    total: u64,
    tombstone: bool,
    attempt: u32,
    live_until: Duration,
    /// The byte ranges that the cloud lacks; empty = all.
    missing: Vec<(u64, u64)>,
    /// The cloud has refused it, and it has not been tried again since.
    deferred: bool,
    /// When the broker first had all of it on this connection.
    acknowledged_at: Option<Duration>,
    progress: Progress,
}

impl Item {
    /// Returns its share of the window: the bytes of this attempt, published or not. 0 once its receipt is overdue.
    fn claimed_bytes(&self) -> u64 {
        match &self.progress {
            Progress::Idle { .. } => 0,
            Progress::Sending { claim, .. } | Progress::Sent { claim, .. } => *claim,
        }
    }

    fn is_live(&self, now: Duration) -> bool {
        now < self.live_until
    }

    fn ranges_to_send(&self) -> Vec<(u64, u64)> {
        if self.missing.is_empty() {
            vec![(0, self.total)]
        } else {
            self.missing.clone()
        }
    }
}

#[derive(Debug)]
struct Unacknowledged {
    key: Key,
    bytes: u64,
    since: Duration,
}

/// The queue of captures without a receipt, and how far each has got on this connection.
#[derive(Debug)]
pub struct Drain {
    limits: Limits,
    items: BTreeMap<Key, Item>,
    link: LinkState,
    paused: bool,
    /// The cloud has answered on this connection. Until then one capture at a time probes whether anybody is there.
    cloud_has_responded: bool,
    unacknowledged: BTreeMap<u64, Unacknowledged>,
    next_token: u64,
    rate: UploadRate,
    /// When the broker last acknowledged anything on this connection.
    acknowledged_at: Option<Duration>,
    cloud: CloudLimits,
    /// The window of the last receipt, and until when it is valid.
    granted: Option<(u64, Duration)>,
    receipt_timer: ReceiptTimer,
}

/// The limits that the cloud announces in `down/cloud`; `None` = none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CloudLimits {
    /// Bytes in flight without a receipt while no receipt has granted a window.
    pub window_bytes: Option<u64>,
    /// The largest message that the broker carries.
    pub message_bytes_max: Option<u64>,
}

impl Drain {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            items: BTreeMap::new(),
            link: LinkState::Down,
            paused: false,
            cloud_has_responded: false,
            unacknowledged: BTreeMap::new(),
            next_token: 1,
            rate: UploadRate::default(),
            acknowledged_at: None,
            cloud: CloudLimits::default(),
            granted: None,
            receipt_timer: ReceiptTimer::default(),
        }
    }

    /// Sets the place of this camera among others that retry at the same time, 0.0 to 1.0: a fleet spreads its retries.
    #[must_use]
    pub fn with_jitter(mut self, random: f64) -> Self {
        self.receipt_timer = ReceiptTimer::new(random);
        self
    }

    /// Other bounds from the next message on; what is under way stays so.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// A capture waits. `live_until` is later than now only if a person may still be waiting for its answer. What was
    /// known under this key before is void.
    pub fn add(&mut self, key: Key, total: u64, tombstone: bool, attempt: u32, live_until: Duration) {
        let item = Item {
            total,
            tombstone,
            attempt,
            live_until,
            missing: Vec::new(),
            deferred: false,
            acknowledged_at: None,
            progress: Progress::Idle { not_before: Duration::ZERO },
        };
        self.items.insert(key, item);
    }

    /// The spool was reopened: only what is added from now on waits.
    pub fn clear(&mut self) {
        self.items.clear();
        self.unacknowledged.clear();
    }

    /// It is no longer on the card.
    pub fn remove(&mut self, key: Key) {
        self.items.remove(&key);
    }

    /// It has its receipt.
    pub fn received(&mut self, key: Key, now: Duration) {
        if let Some(acknowledged_at) = self.items.remove(&key).and_then(|item| item.acknowledged_at) {
            self.receipt_timer.measure(now.saturating_sub(acknowledged_at));
        }
    }

    /// The cloud asks for a capture: all of it, or these byte ranges `[start, end)`. Its back-off is over.
    pub fn request_resend(&mut self, key: Key, ranges: &[(u64, u64)]) {
        let Some(item) = self.items.get_mut(&key) else {
            return;
        };
        let total = item.total;
        item.missing = ranges
            .iter()
            .map(|(start, end)| (*start, (*end).min(total)))
            .filter(|(s, e)| s < e)
            .collect();
        item.progress = Progress::Idle { not_before: Duration::ZERO };
    }

    /// The cloud cannot take it now: it stays on the card and is left alone until then.
    pub fn defer(&mut self, key: Key, until: Duration) {
        if let Some(item) = self.items.get_mut(&key) {
            item.attempt = item.attempt.saturating_add(1);
            item.deferred = true;
            item.progress = Progress::Idle { not_before: until };
        }
    }

    /// A connection stands: everything starts again once the cloud has answered what it has.
    pub fn connected(&mut self, now: Duration) {
        self.restart_all(now, false);
        self.link = LinkState::AwaitingInventory { until: now + INVENTORY_TIMEOUT };
        self.cloud_has_responded = false;
        self.granted = None;
    }

    /// The connection is gone: what was under way counts as a failed try. Returns the keys tried, with their attempts.
    pub fn disconnected(&mut self, now: Duration) -> Vec<(Key, u32)> {
        self.link = LinkState::Down;
        if self.acknowledged_at.is_none() {
            // Not one part got through: the link is slower than it once was.
            self.rate.halve();
        }
        self.restart_all(now, true)
    }

    /// The cloud is being asked again on the same connection: it has been restarted.
    pub fn restart_inventory(&mut self, now: Duration) {
        if self.link != LinkState::Down {
            self.restart_all(now, false);
            self.link = LinkState::AwaitingInventory { until: now + INVENTORY_TIMEOUT };
        }
    }

    /// All pages of `up/have` are answered.
    pub fn inventory_answered(&mut self) {
        if matches!(self.link, LinkState::AwaitingInventory { .. }) {
            self.link = LinkState::Open;
        }
        self.cloud_has_responded = true;
    }

    /// A receipt of any kind came: the cloud is there.
    pub fn cloud_responded(&mut self) {
        self.cloud_has_responded = true;
    }

    /// The cloud asks to keep everything for now, or no longer.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
        if paused {
            // Afterwards every camera comes back at once.
            self.granted = None;
        }
    }

    /// Takes over what the cloud announces.
    pub fn set_cloud_limits(&mut self, limits: CloudLimits) {
        self.cloud = limits;
    }

    /// A receipt grants a window.
    pub fn grant_window(&mut self, bytes: u64, now: Duration) {
        self.granted = Some((bytes, now + WINDOW_FOR));
    }

    /// The broker has this message. Returns its key.
    pub fn acknowledged(&mut self, token: u64, now: Duration) -> Option<Key> {
        let done = self.unacknowledged.remove(&token)?;
        self.acknowledged_at = Some(now);
        self.rate.measure(done.bytes, self.unacknowledged.is_empty(), now);
        if let Some(item) = self.items.get_mut(&done.key) {
            match &mut item.progress {
                Progress::Idle { .. } => {}
                Progress::Sending { unacknowledged, .. } => {
                    *unacknowledged = unacknowledged.saturating_sub(1);
                }
                Progress::Sent { unacknowledged, acknowledged_at, .. } => {
                    *unacknowledged = unacknowledged.saturating_sub(1);
                    if *unacknowledged == 0 {
                        *acknowledged_at = Some(now);
                        item.acknowledged_at.get_or_insert(now);
                    }
                }
            }
        }
        Some(done.key)
    }

    /// The other side cannot take this message as it is: its capture waits for its back-off, and goes in smaller parts.
    pub fn rejected(&mut self, token: u64, now: Duration) {
        let Some(refused) = self.unacknowledged.remove(&token) else {
            return;
        };
        self.acknowledged_at = Some(now);
        if let Some(item) = self.items.get_mut(&refused.key) {
            let attempt = item.attempt.saturating_add(1);
            self.defer(refused.key, now + self.limits.backoff.wait(attempt));
        }
    }

    /// The next message to publish now, if any. Call it until it says `None`.
    pub fn next_part(&mut self, now: Duration) -> Option<NextPart> {
        self.expire_receipts(now);
        if self.paused {
            return None;
        }
        match self.link {
            LinkState::Down => return None,
            LinkState::AwaitingInventory { until } if now < until => return None,
            LinkState::AwaitingInventory { .. } => self.link = LinkState::Open,
            LinkState::Open => {}
        }
        let key = self.choose_next(now)?;
        let part = self.part_bytes(self.items.get(&key)?.attempt);
        let item = self.items.get_mut(&key)?;
        if let Progress::Idle { .. } = item.progress {
            let todo = item.ranges_to_send();
            let claim = todo.iter().map(|(start, end)| end - start).sum();
            item.deferred = false;
            item.progress = Progress::Sending { todo, claim, unacknowledged: 0 };
        }
        let Progress::Sending { todo, claim, unacknowledged } = &mut item.progress else {
            return None;
        };
        let (start, end) = *todo.first()?;
        // A tombstone is one small message, whatever the part size.
        let cut = if item.tombstone {
            end
        } else {
            end.min(start.saturating_add(part))
        };
        if cut == end {
            todo.remove(0);
        } else {
            todo[0].0 = cut;
        }
        let len = cut - start;
        *unacknowledged += 1;
        if todo.is_empty() {
            item.progress = Progress::Sent {
                claim: *claim,
                unacknowledged: *unacknowledged,
                acknowledged_at: None,
            };
        }
        if self.unacknowledged.is_empty() {
            self.rate.begin(now);
        }
        let token = self.next_token;
        self.next_token += 1;
        self.unacknowledged.insert(token, Unacknowledged { key, bytes: len, since: now });
        Some(NextPart {
            key,
            tombstone: item.tombstone,
            offset: start,
            len,
            attempt: item.attempt,
            token,
        })
    }

    /// When [`Drain::next_part`] may have something new to say although nothing happened.
    pub fn wake_at(&self, now: Duration) -> Option<Duration> {
        if self.paused {
            return None;
        }
        match self.link {
            LinkState::Down => return None,
            LinkState::AwaitingInventory { until } => return Some(until),
            LinkState::Open => {}
        }
        let of_items = self.items.values().filter_map(|item| match &item.progress {
            Progress::Idle { not_before } => (*not_before > now).then_some(*not_before),
            Progress::Sending { .. } => None,
            Progress::Sent { acknowledged_at, .. } => acknowledged_at.map(|at| at + self.receipt_wait(item.total, now)),
        });
        of_items.min()
    }

    /// (captures, bytes) under way without a receipt, the parts of them that are still to be published included.
    pub fn in_flight(&self) -> (usize, u64) {
        let flying = self.items.values().map(Item::claimed_bytes).filter(|bytes| *bytes > 0);
        flying.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes))
    }

    /// For how long the broker has acknowledged nothing although something waits for it.
    pub fn stalled_for(&self, now: Duration) -> Option<Duration> {
        let handed_over = self.unacknowledged.values().map(|message| message.since).min()?;
        let heard = self.acknowledged_at.unwrap_or_default();
        Some(now.saturating_sub(handed_over.max(heard)))
    }

    /// Captures that the cloud refuses for now.
    pub fn deferred(&self) -> usize {
        self.items.values().filter(|item| item.deferred).count()
    }

    /// Measured upload rate, bytes per second.
    pub fn rate(&self) -> Option<u64> {
        self.rate.bytes_per_s()
    }

    pub fn contains(&self, key: Key) -> bool {
        self.items.contains_key(&key)
    }

    /// Returns whether all of this capture is published.
    pub(crate) fn is_sent(&self, key: Key) -> bool {
        let item = self.items.get(&key);
        item.is_some_and(|item| matches!(item.progress, Progress::Sent { .. }))
    }

    /// Returns the number of captures without a receipt.
    pub fn waiting(&self) -> usize {
        self.items.len()
    }

    fn restart_all(&mut self, now: Duration, failed: bool) -> Vec<(Key, u32)> {
        self.unacknowledged.clear();
        self.acknowledged_at = None;
        let backoff = self.limits.backoff;
        let mut tried = Vec::new();
        for (key, item) in &mut self.items {
            // What the cloud lacked may have changed: it is asked again.
            item.missing.clear();
            item.acknowledged_at = None;
            match item.progress {
                Progress::Idle { .. } => {}
                Progress::Sending { .. } | Progress::Sent { .. } => {
                    let mut wait = Duration::ZERO;
                    if failed {
                        item.attempt = item.attempt.saturating_add(1);
                        tried.push((*key, item.attempt));
                        // A reconnect is a reason of its own to try again. But a capture that was under way at every recent
                        // loss may be its cause, and lets those behind it go first for a while.
                        if let Some(losses) = item.attempt.checked_sub(LOSSES_FORGIVEN) {
                            wait = backoff.wait(losses + 1).min(LOSS_WAIT_MAX);
                        }
                    }
                    item.progress = Progress::Idle { not_before: now + wait };
                }
            }
        }
        tried
    }

    /// Captures whose receipt did not come in time give up their place in the window for the rest of their back-off.
    fn expire_receipts(&mut self, now: Duration) {
        let backoff = self.limits.backoff;
        let mut items = std::mem::take(&mut self.items);
        for item in items.values_mut() {
            let receipt_wait = self.receipt_wait(item.total, now);
            if let Progress::Sent { acknowledged_at: Some(at), .. } = item.progress
                && now >= at + receipt_wait
            {
                item.attempt = item.attempt.saturating_add(1);
                item.missing.clear();
                let wait = self.receipt_timer.spread(backoff.wait(item.attempt)).min(backoff.max);
                item.progress = Progress::Idle { not_before: at + wait.max(receipt_wait) };
            }
        }
        self.items = items;
    }

    /// A part under way goes on before a new capture starts; live before backlog; oldest first.
    fn choose_next(&self, now: Duration) -> Option<Key> {
        let unacknowledged: u64 = self.unacknowledged.values().map(|message| message.bytes).sum();
        let most = self
            .rate()
            .map_or(PART_BYTES_UNKNOWN * 4, |rate| rate.saturating_mul(UNACKNOWLEDGED_FOR_S));
        if unacknowledged > 0 && unacknowledged >= most.min(self.limits.unacknowledged_bytes_max)
            || self.unacknowledged.len() >= UNACKNOWLEDGED_MAX
        {
            return None;
        }
        let (flying, in_flight) = self.in_flight();
        let window = self.window_bytes(now);
        let mut best: Option<(u8, Key)> = None;
        for (key, item) in &self.items {
            let live = item.is_live(now);
            let class = match &item.progress {
                Progress::Sending { .. } => u8::from(!live) * 2,
                Progress::Idle { not_before } if *not_before <= now => {
                    // The backlog leaves a quarter of the window to the living.
                    let window = if live { window } else { window / 4 * 3 };
                    let fits = in_flight == 0 || in_flight.saturating_add(item.total) <= window;
                    let may_probe = self.cloud_has_responded || flying == 0;
                    if !fits || !may_probe {
                        continue;
                    }
                    u8::from(!live) * 2 + 1
                }
                Progress::Idle { .. } | Progress::Sent { .. } => continue,
            };
            let candidate = (class, *key);
            if best.is_none_or(|best| candidate < best) {
                best = Some(candidate);
            }
        }
        best.map(|(_, key)| key)
    }

    /// Returns the bytes that may be in flight now: what the cloud grants, at most the camera's own setting.
    pub fn window_bytes(&self, now: Duration) -> u64 {
        let granted = self.granted.filter(|(_, until)| now < *until).map(|(bytes, _)| bytes);
        let of_cloud = granted.or(self.cloud.window_bytes).unwrap_or(u64::MAX);
        of_cloud.min(self.limits.window_bytes)
    }

    /// Returns how long the receipt of a capture of `total` bytes is waited for. One that does not even fit into the
    /// window is in line with those of many other cameras.
    fn receipt_wait(&self, total: u64, now: Duration) -> Duration {
        let in_line = self.window_bytes(now) < total.min(self.limits.window_bytes);
        let shortest = self.limits.backoff.initial * if in_line { IN_LINE_FACTOR } else { 1 };
        self.receipt_timer.wait(shortest)
    }

    fn part_bytes(&self, attempt: u32) -> u64 {
        let carried = self
            .cloud
            .message_bytes_max
            .map_or(PART_BYTES_UNLIMITED_MAX, |message| message.saturating_sub(FRAME_OVERHEAD_MAX as u64));
        let most = self.limits.part_bytes_max.min(carried).max(PART_BYTES_MIN);
        let by_rate = self.rate().map_or(PART_BYTES_UNKNOWN, |rate| rate.saturating_mul(PART_FOR_S));
        let halved = by_rate.min(most).checked_shr(attempt).unwrap_or(0);
        halved.clamp(PART_BYTES_MIN, most)
    }
}
