//! From the queue into the store: takes what is there, has it committed in one transaction, acknowledges, then sends
//! the receipts. In this order and no other: acknowledged is at most committed, and a receipt speaks of a commit (P2).
//!
//! A batch that fails is rolled back whole. If nothing can be committed at all, the store is away: everything waits and
//! is tried again for as long as it takes, and cameras are told to hold. If a probe commits, the batch fails for its
//! content, so its messages are tried one by one; one that fails alone three times is refused with a reason.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use keepsake_protocol::codec;
use keepsake_protocol::receipt::Receipt;
use keepsake_protocol::status::Presence;
use keepsake_protocol::topic::{MessageKind, Topic};
use keepsake_protocol::{DeviceId, StoreId};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::downlink::announcer::Announcer;
use crate::downlink::outbox::Outboxes;
use crate::ingest::decode;
use crate::ingest::external::ExternalTopics;
use crate::ingest::operation::{CommitOutcome, IngestOp};
use crate::ingest::queue::{Delivery, IngestResponse, Queue};
use crate::ingest::receipts::receipts;
use crate::ingest::windows::Windows;
use crate::mqtt::ack::Ack;
use crate::mqtt::session::MqttSession;
use crate::now_us;
use crate::ops::backpressure::Backpressure;
use crate::ops::event_bus::{ChangeEvent, EventBus};
use crate::ops::metrics::Metrics;
use crate::store::{Store, StoreError};

/// A capture fails alone this often, while a probe commits, before it is refused.
const ATTEMPTS_ALONE: u32 = 3;
/// The same where the failure was none of its content: connections may be cut just then, again and again.
const ATTEMPTS_ALONE_PASSING: u32 = 30;
/// A refused capture may be tried again after this, seconds.
const REFUSED_RETRY_S: u64 = 3600;
const STORE_WAIT_MIN: Duration = Duration::from_millis(200);
const STORE_WAIT_MAX: Duration = Duration::from_secs(10);

/// Everything that the worker needs.
pub struct IngestWorker {
    pub queue: Arc<Queue>,
    /// The bytes that cameras may have in flight; receipts carry them.
    pub windows: Arc<Windows>,
    pub store: Store,
    pub backpressure: Backpressure,
    pub events: EventBus,
    /// Sends receipts to cameras that come by MQTT.
    pub control: MqttSession,
    /// The receipts that wait for a camera whose connection ended before its request was answered.
    pub outboxes: Outboxes,
    pub announcer: Announcer,
    pub capture_bytes_max: u64,
    /// Topics of cameras that know nothing of Keepsake.
    pub external: Arc<ExternalTopics>,
    /// Pictures wait while the disk is nearly full; the few bytes of everything else do not.
    pub waits_for_space: bool,
    pub thumbnails: Arc<Notify>,
    pub metrics: Metrics,
}

impl IngestWorker {
    /// Runs until it is stopped; what is taken and not committed then is not acknowledged either.
    pub async fn run(self, stop: CancellationToken) {
        let work = async {
            loop {
                let batch = self.queue.take().await;
                if self.waits_for_space {
                    let mut hold = self.backpressure.watch();
                    // The backpressure lives as long as this worker, so waiting cannot fail.
                    let _ = hold.wait_for(|hold| hold.space.is_none()).await;
                }
                self.process_batch(batch).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    }

    async fn process_batch(&self, batch: Vec<(Instant, Delivery)>) {
        let mut received_at = Vec::with_capacity(batch.len());
        let mut acks = Vec::with_capacity(batch.len());
        let mut responders = Vec::with_capacity(batch.len());
        let mut messages = Vec::with_capacity(batch.len());
        for (at, delivery) in batch {
            received_at.push(at);
            let redelivered = delivery.ack.as_ref().is_some_and(Ack::is_redelivery);
            acks.push(delivery.ack);
            responders.push(delivery.responder);
            messages.push((delivery.message, redelivered));
        }
        let capture_bytes_max = self.capture_bytes_max;
        let external = self.external.clone();
        let reading = tokio::task::spawn_blocking(move || {
            messages
                .iter()
                .map(|(message, redelivered)| {
                    decode::decode_delivery(message, *redelivered, &external, capture_bytes_max)
                })
                .collect::<Vec<_>>()
        });
        let mut operations = match reading.await {
            Ok(operations) => operations,
            Err(error) => {
                // Only while the program ends, as no message makes reading panic. Not acknowledged, so nothing is lost.
                tracing::error!("reading a batch failed: {error}");
                return;
            }
        };
        let spans: Vec<Span> = operations.iter().map(IngestOp::span).collect();
        for span in &spans {
            log_step(span, "received");
        }
        let (outcomes, retried) = self.commit(&mut operations).await;
        for (span, outcome) in spans.iter().zip(&outcomes) {
            log_outcome(span, outcome);
        }
        for ack in acks.into_iter().flatten() {
            ack.acknowledge().await;
        }
        for ((operation, outcome), at) in operations.iter().zip(&outcomes).zip(received_at) {
            self.metrics.record_outcome(operation, outcome, at.elapsed());
        }
        self.respond(&operations, &spans, outcomes, responders, retried).await;
    }

    /// Commits the batch, however long it takes, and says whether that took more than one try.
    async fn commit(&self, operations: &mut [IngestOp]) -> (Vec<CommitOutcome>, bool) {
        let mut wait = STORE_WAIT_MIN;
        let (mut retried, mut full) = (false, false);
        loop {
            let began = Instant::now();
            let committed = self.store.commit(operations, now_us()).await;
            self.metrics.record_commit(began.elapsed(), committed.is_ok());
            let error = match committed {
                Ok(outcomes) => {
                    self.backpressure.set_store(None);
                    if full {
                        self.backpressure.set_room(None);
                    }
                    return (outcomes, retried);
                }
                Err(error) => error,
            };
            retried = true;
            // A probe is small enough to fit where no picture does, so it would prove nothing.
            let no_room = error.is_full().then(|| error.sentence());
            // Whether the try has come to nothing cannot be known, and such a picture has no number to tell by.
            for operation in &mut *operations {
                if let IngestOp::Upload { maybe_repeat, .. } = operation {
                    *maybe_repeat = true;
                }
            }
            tracing::warn!("commit of {} messages: {:#}", operations.len(), with_chain(error));
            if no_room.is_some() {
                full = true;
                self.backpressure.set_room(no_room);
            } else if let Err(error) = self.store.probe(now_us()).await {
                self.backpressure.set_store(Some(error.sentence()));
                tracing::error!("the store is away: {:#}", with_chain(error));
            } else {
                self.backpressure.set_store(None);
                match self.commit_one_by_one(operations).await {
                    Some(outcomes) => {
                        if full {
                            self.backpressure.set_room(None);
                        }
                        return (outcomes, retried);
                    }
                    None => continue,
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(STORE_WAIT_MAX);
        }
    }

    /// Commits each message alone. Returns nothing if the store went away or is full: start again, repeats are harmless.
    async fn commit_one_by_one(&self, operations: &[IngestOp]) -> Option<Vec<CommitOutcome>> {
        let mut outcomes = Vec::with_capacity(operations.len());
        for operation in operations {
            let mut attempts = 0;
            let outcome = loop {
                match self.store.commit(std::slice::from_ref(operation), now_us()).await {
                    Ok(mut one) => break one.pop().unwrap_or(CommitOutcome::Dropped),
                    Err(error) => {
                        attempts += 1;
                        if error.is_full() || self.store.probe(now_us()).await.is_err() {
                            return None;
                        }
                        let most = if error.is_transient() {
                            ATTEMPTS_ALONE_PASSING
                        } else {
                            ATTEMPTS_ALONE
                        };
                        if attempts >= most {
                            operation.span().in_scope(|| {
                                tracing::error!(
                                    "one message cannot be committed although others can: {:#}",
                                    with_chain(error)
                                );
                            });
                            break refused(operation);
                        }
                        tokio::time::sleep(STORE_WAIT_MIN).await;
                    }
                }
            };
            outcomes.push(outcome);
        }
        Some(outcomes)
    }

    async fn respond(
        &self,
        operations: &[IngestOp],
        spans: &[Span],
        outcomes: Vec<CommitOutcome>,
        responders: Vec<Option<oneshot::Sender<IngestResponse>>>,
        retried: bool,
    ) {
        let mut devices = HashSet::new();
        let mut arrived = HashMap::new();
        let mut pictures = false;
        let mut spoken = Vec::with_capacity(outcomes.len());
        let (mut answered, mut reached) = (Vec::new(), HashSet::new());
        for (((operation, span), outcome), responder) in operations.iter().zip(spans).zip(outcomes).zip(responders) {
            if let CommitOutcome::Stored { arrival, .. } | CommitOutcome::UploadStored { arrival } = &outcome {
                // An apparent repeat may have been committed by an earlier attempt that reported an error.
                pictures |= arrival.is_some() || retried;
            }
            if let (IngestOp::Quarantine(entry), CommitOutcome::Quarantined) = (operation, &outcome) {
                tracing::warn!(topic = %entry.topic, "quarantined: {}", entry.reason);
            }
            if let IngestOp::Status { device, status, retained: false } = operation
                && status.presence == Presence::Online
            {
                let takes_settings = status.settings.is_some();
                let has = takes_settings.then_some(status.settings_version);
                arrived.insert(device.clone(), has);
            }
            if let Some(device) = operation.device() {
                if !matches!(outcome, CommitOutcome::Quarantined) {
                    devices.insert(device.clone());
                }
                match responder {
                    Some(responder) => self.tell(responder, operation, span, outcome),
                    None => {
                        if earns_receipt(&outcome) {
                            answered.push((device, span));
                        }
                        spoken.push((device.clone(), outcome));
                    }
                }
            }
        }
        for (device, mut receipt) in receipts(self.store.id(), &spoken) {
            receipt.sent_us = Some(now_us());
            receipt.window = Some(self.windows.grant(&device));
            let topic = Topic::new(&device, MessageKind::Receipt);
            if self.control.publish(&topic, codec::encode(&receipt)).await {
                reached.insert(device);
            }
        }
        for (device, span) in answered {
            if reached.contains(device) {
                log_step(span, "receipt sent");
            }
        }
        if pictures {
            self.events.publish(ChangeEvent::Pictures);
            self.thumbnails.notify_one();
        }
        self.announce(devices, &arrived).await;
    }

    /// Sends what waits for the cameras that received_at online, and publishes the change of every camera.
    ///
    /// `arrived`: the version of the settings that a camera has, where it accepts settings.
    async fn announce(&self, devices: HashSet<DeviceId>, arrived: &HashMap<DeviceId, Option<u64>>) {
        for device in devices {
            self.announcer.announce_if_new(&device).await;
            if let Some(has) = arrived.get(&device) {
                self.announcer.send_waiting_commands(&device).await;
                if let Some(has) = has {
                    self.announcer.resend_settings_if_behind(&device, *has).await;
                }
            }
            self.events.publish(ChangeEvent::Device(Arc::new(device)));
        }
    }

    /// Answers a request. If its client is gone, the outbox keeps the receipts for the camera.
    fn tell(
        &self,
        responder: oneshot::Sender<IngestResponse>,
        operation: &IngestOp,
        span: &Span,
        outcome: CommitOutcome,
    ) {
        let Some(device) = operation.device() else {
            return;
        };
        let has_receipt = earns_receipt(&outcome);
        let verdict = response(self.store.id(), operation, device, outcome, self.windows.grant(device));
        match responder.send(verdict) {
            Ok(()) if has_receipt => log_step(span, "receipt sent"),
            Err(IngestResponse::Receipts(receipts)) => {
                for receipt in receipts.iter().filter(|receipt| !receipt.is_empty()) {
                    let receipt = codec::encode(receipt);
                    self.outboxes.put(device, MessageKind::Receipt, &receipt);
                }
            }
            Ok(()) | Err(IngestResponse::Quarantined(_)) => {}
        }
    }
}

fn response(
    store: StoreId,
    operation: &IngestOp,
    device: &DeviceId,
    outcome: CommitOutcome,
    window: u64,
) -> IngestResponse {
    if let (IngestOp::Quarantine(suspect), CommitOutcome::Quarantined) = (operation, &outcome) {
        return IngestResponse::Quarantined(suspect.reason.clone());
    }
    let earned = receipts(store, &[(device.clone(), outcome)]);
    let mut receipts: Vec<Receipt> = earned.into_iter().map(|(_, receipt)| receipt).collect();
    if let Some(id) = operation.receipt_id()
        && receipts.is_empty()
    {
        receipts.push(Receipt::new(store, id.capture.spool));
    }
    for receipt in &mut receipts {
        receipt.sent_us = Some(now_us());
        receipt.window = Some(window);
    }
    IngestResponse::Receipts(receipts)
}

/// The outcome of a message that cannot be committed although others can.
fn refused(operation: &IngestOp) -> CommitOutcome {
    match operation.receipt_id() {
        Some(id) => CommitOutcome::Refused {
            id,
            reason: "the cloud's database cannot take this one".to_owned(),
            retry_after: REFUSED_RETRY_S,
        },
        None => CommitOutcome::Dropped,
    }
}

fn log_step(span: &Span, step: &str) {
    if !span.is_disabled() {
        span.in_scope(|| tracing::info!("{step}"));
    }
}

fn log_outcome(span: &Span, outcome: &CommitOutcome) {
    log_step(
        span,
        match outcome {
            CommitOutcome::Stored { arrival: Some(_), .. } => "committed",
            CommitOutcome::Stored { arrival: None, .. } => "was committed before",
            CommitOutcome::PartStored => "part committed",
            CommitOutcome::WrongHash => "quarantined: wrong hash",
            CommitOutcome::TombstoneStored(_) => "tombstone committed",
            CommitOutcome::Refused { .. } => "refused",
            CommitOutcome::EventStored { .. }
            | CommitOutcome::InventoryAnswered(_)
            | CommitOutcome::StatusStored { .. }
            | CommitOutcome::ReplyStored
            | CommitOutcome::UploadStored { .. }
            | CommitOutcome::Quarantined
            | CommitOutcome::Dropped => return,
        },
    );
}

/// Returns true if the receipt names the capture of this outcome.
fn earns_receipt(outcome: &CommitOutcome) -> bool {
    use CommitOutcome::{Refused, Stored, TombstoneStored};
    matches!(outcome, Stored { .. } | TombstoneStored(_) | Refused { .. })
}

/// With its causes, as only `anyhow` prints them.
fn with_chain(error: StoreError) -> anyhow::Error {
    error.into()
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;
    use crate::downlink::Downlink;
    use crate::ingest::operation::Message;
    use crate::mqtt::session::BrokerAddress;
    use crate::store::Limits;

    /// A worker whose sessions never get a connection.
    fn worker(store: Store) -> IngestWorker {
        let queue = Arc::new(Queue::default());
        let nowhere = BrokerAddress {
            host: "127.0.0.1".to_owned(),
            port: 1,
            login: None,
            tls: None,
        };
        let stop = CancellationToken::new();
        let control = MqttSession::start("test", Vec::new(), nowhere, queue.clone(), usize::MAX, stop);
        let backpressure = Backpressure::default();
        let outboxes = Outboxes::default();
        let downlink = Downlink::new(control.clone(), outboxes.clone());
        IngestWorker {
            announcer: Announcer::new(store.clone(), downlink, backpressure.clone(), 1000, watch::channel(None).1),
            outboxes,
            windows: Arc::new(Windows::new(queue.clone())),
            queue,
            store,
            backpressure,
            events: EventBus::default(),
            control,
            capture_bytes_max: 1000,
            external: Arc::default(),
            waits_for_space: false,
            thumbnails: Arc::default(),
            metrics: Metrics::default(),
        }
    }

    fn capture() -> Delivery {
        let header = serde_json::json!({
            "install": keepsake_protocol::SpoolId([1; 16]), "sequence": 1, "hash": keepsake_protocol::Hash::of(b"one"), "total": 3,
            "content_type": "image/jpeg", "width": 1, "height": 1, "cause": "button",
            "pressed": {"boot": "0".repeat(32), "boottime_us": 0, "wall_us": 0, "synchronised": false},
            "captured_after_us": 0, "offset": 0, "len": 3,
        });
        let message = Message {
            topic: "keepsake/v1/porch/up/frame".to_owned(),
            payload: codec::encode_frame(&serde_json::from_value(header).unwrap(), b"one").into(),
            retained: false,
        };
        Delivery { message, ack: None, responder: None }
    }

    #[tokio::test]
    async fn a_request_is_answered_after_its_commit_and_by_the_mailbox_if_its_asker_has_gone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Limits::default()).await.unwrap();
        let worker = worker(store);
        let porch: DeviceId = "porch".parse().unwrap();
        let ask = || {
            let (responder, answer) = oneshot::channel();
            let asked = Delivery { responder: Some(responder), ..capture() };
            (asked, answer)
        };
        let (asked, mut answer) = ask();
        let occupied = worker.store.occupy().await.unwrap();
        let mut taking = std::pin::pin!(worker.process_batch(vec![(Instant::now(), asked)]));
        let too_early = tokio::time::timeout(Duration::from_millis(300), taking.as_mut()).await;
        assert!(too_early.is_err(), "the store is occupied");
        assert!(answer.try_recv().is_err(), "a receipt before its commit");
        drop(occupied);
        taking.await;
        let Ok(IngestResponse::Receipts(receipts)) = answer.await else {
            panic!("no receipt");
        };
        assert_eq!(receipts[0].stored.len(), 1);

        let visit = worker.outboxes.open(&porch).unwrap();
        let (asked, gone) = ask();
        drop(gone);
        worker.process_batch(vec![(Instant::now(), asked)]).await;
        let news = visit.next_batch(None, Duration::ZERO).await;
        let about = |about| news.messages.iter().find(|one| one.kind == about);
        let late = about("receipt").expect("the receipt of the one who left");
        let late: Receipt = serde_json::from_str(late.message.get()).unwrap();
        assert_eq!(late.stored, receipts[0].stored);
    }

    #[tokio::test]
    async fn one_search_in_the_log_tells_the_life_of_a_capture() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Limits::default()).await.unwrap();
        let worker = worker(store);
        let log = tempfile::NamedTempFile::new().unwrap();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(Arc::new(log.reopen().unwrap()))
            .finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let (responder, response) = oneshot::channel();
        let asked = Delivery { responder: Some(responder), ..capture() };
        worker.process_batch(vec![(Instant::now(), asked)]).await;
        response.await.unwrap();
        let log = std::fs::read_to_string(log.path()).unwrap();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("sequence=1}")).collect();
        assert_eq!(lines.len(), 3, "{log}");
        for (line, step) in lines.iter().zip(["received", "committed", "receipt sent"]) {
            assert!(line.contains("device=porch") && line.ends_with(step), "{line}");
        }
    }

    #[tokio::test]
    async fn a_picture_committed_by_a_try_that_failed_is_news_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits {
            unit_of_work: Duration::from_millis(300),
            ..Limits::default()
        };
        // Making the tables may take longer than that.
        let made = Store::open(folder.path(), Limits::default()).await;
        made.unwrap().close().await;
        let worker = worker(Store::open(folder.path(), limits).await.unwrap());
        let pictures = |news: &mut tokio::sync::broadcast::Receiver<ChangeEvent>| {
            let heard = std::iter::from_fn(|| news.try_recv().ok());
            heard.filter(|notice| matches!(notice, ChangeEvent::Pictures)).count()
        };
        let mut news = worker.events.subscribe();
        for (said, expected) in [("the first time", 1), ("a repeat", 0)] {
            worker.process_batch(vec![(Instant::now(), capture())]).await;
            assert_eq!(pictures(&mut news), expected, "{said}");
        }
        // Nobody can tell a repeat from what the try before has committed.
        let occupied = worker.store.occupy().await.unwrap();
        let away = async {
            let mut backpressure = worker.backpressure.watch();
            backpressure.wait_for(|hold| hold.store.is_some()).await.unwrap();
            drop(occupied);
        };
        tokio::join!(worker.process_batch(vec![(Instant::now(), capture())]), away);
        assert_eq!(pictures(&mut news), 1);
    }
}
