//! From the queue into the store, in stages that run at once: decode and hash, make the bytes durable, commit,
//! acknowledge and send receipts. So the database commits one batch while the bytes of the next are written. Each batch goes through them in this order and no other:
//! what is acknowledged is committed, and a receipt speaks of a commit (P2).

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::config::Config;
use crate::downlink::announcer::Announcer;
use crate::downlink::outbox::Outboxes;
use crate::ingest::decode;
use crate::ingest::external::ExternalTopics;
use crate::ingest::operation::{CommitOutcome, IngestOp};
use crate::ingest::queue::{Delivery, IngestResponse, Queue};
use crate::ingest::windows::Windows;
use crate::mqtt::ack::Ack;
use crate::mqtt::session::MqttSession;
use crate::ops::backpressure::Backpressure;
use crate::ops::event_bus::EventBus;
use crate::ops::health_watch;
use crate::ops::metrics::Metrics;
use crate::store::Store;

/// Batches that wait between two stages.
const WAITING_MAX: usize = 1;

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
    /// The limits of space that pictures wait for; absent where messages are too small to wait.
    pub space: Option<Arc<Config>>,
    pub thumbnails: Arc<Notify>,
    pub metrics: Metrics,
}

/// Messages on their way through the stages.
pub(super) struct Batch {
    pub(super) operations: Vec<IngestOp>,
    /// The span of each operation.
    pub(super) spans: Vec<Span>,
    pub(super) received: Vec<Received>,
}

/// The way to answer an operation.
pub(super) struct Received {
    pub(super) at: Instant,
    pub(super) ack: Option<Ack>,
    pub(super) responder: Option<oneshot::Sender<IngestResponse>>,
}

/// The outcomes of a committed batch.
pub(super) struct Committed {
    pub(super) outcomes: Vec<CommitOutcome>,
    /// It took more than one try.
    pub(super) retried: bool,
}

impl IngestWorker {
    /// Runs until it is stopped; what is taken and not committed then is not acknowledged either.
    pub async fn run(self, stop: CancellationToken) {
        let worker = Arc::new(self);
        let (decoded_tx, mut decoded) = mpsc::channel::<Batch>(WAITING_MAX);
        let (durable_tx, mut durable) = mpsc::channel::<Batch>(WAITING_MAX);
        let (committed_tx, mut committed) = mpsc::channel::<(Batch, Committed)>(WAITING_MAX);
        // Dropped, it ends its tasks wherever they are.
        let mut stages = JoinSet::new();
        stages.spawn({
            let worker = worker.clone();
            async move {
                loop {
                    let batch = worker.queue.take().await;
                    let Some(batch) = worker.decode(batch).await else {
                        continue;
                    };
                    if decoded_tx.send(batch).await.is_err() {
                        return;
                    }
                }
            }
        });
        stages.spawn({
            let worker = worker.clone();
            async move {
                while let Some(mut batch) = decoded.recv().await {
                    worker.wait_for_space().await;
                    worker.store_bytes(&mut batch.operations).await;
                    if durable_tx.send(batch).await.is_err() {
                        return;
                    }
                }
            }
        });
        stages.spawn({
            let worker = worker.clone();
            async move {
                while let Some(mut batch) = durable.recv().await {
                    worker.wait_for_space().await;
                    let outcome = worker.commit(&mut batch.operations).await;
                    if committed_tx.send((batch, outcome)).await.is_err() {
                        return;
                    }
                }
            }
        });
        stages.spawn(async move {
            while let Some((batch, outcome)) = committed.recv().await {
                worker.respond(batch, outcome).await;
            }
        });
        tokio::select! {
            () = stop.cancelled() => {}
            ended = stages.join_next() => tracing::error!("a stage of the ingest ended: {ended:?}"),
        }
    }

    /// Waits while the disk is nearly full. It is measured now: what the other stages have written in the meantime counts.
    async fn wait_for_space(&self) {
        let Some(config) = &self.space else {
            return;
        };
        health_watch::check_disk_space(config, &self.store, &self.backpressure).await;
        let mut hold = self.backpressure.watch();
        // The backpressure lives as long as this worker, so waiting cannot fail.
        let _ = hold.wait_for(|hold| hold.space.is_none()).await;
    }

    /// Decodes and hashes a batch, off the async threads. Returns nothing only while the program ends, as no message
    /// makes decoding panic; it is not acknowledged then, so nothing is lost.
    async fn decode(&self, deliveries: Vec<(Instant, Delivery)>) -> Option<Batch> {
        let mut received = Vec::with_capacity(deliveries.len());
        let mut messages = Vec::with_capacity(deliveries.len());
        for (at, Delivery { message, ack, responder }) in deliveries {
            let redelivered = ack.as_ref().is_some_and(Ack::is_redelivery);
            messages.push((message, redelivered));
            received.push(Received { at, ack, responder });
        }
        let capture_bytes_max = self.capture_bytes_max;
        let external = self.external.clone();
        let decoding = tokio::task::spawn_blocking(move || {
            messages
                .iter()
                .map(|(message, redelivered)| {
                    decode::decode_delivery(message, *redelivered, &external, capture_bytes_max)
                })
                .collect::<Vec<_>>()
        });
        let operations = decoding
            .await
            .inspect_err(|error| tracing::error!("decoding a batch failed: {error}"))
            .ok()?;
        let spans: Vec<Span> = operations.iter().map(IngestOp::span).collect();
        for span in &spans {
            log_step(span, "received");
        }
        Some(Batch { operations, spans, received })
    }
}

pub(super) fn log_step(span: &Span, step: &str) {
    if !span.is_disabled() {
        span.in_scope(|| tracing::info!("{step}"));
    }
}

pub(super) fn log_outcome(span: &Span, outcome: &CommitOutcome) {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use keepsake_protocol::receipt::Receipt;
    use keepsake_protocol::{DeviceId, codec};
    use tokio::sync::watch;

    use super::*;
    use crate::downlink::Downlink;
    use crate::ingest::operation::Message;
    use crate::mqtt::session::BrokerAddress;
    use crate::ops::event_bus::ChangeEvent;
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
            space: None,
            thumbnails: Arc::default(),
            metrics: Metrics::default(),
        }
    }

    /// Takes one message through all stages.
    async fn process(worker: &IngestWorker, delivery: Delivery) {
        let mut batch = worker.decode(vec![(Instant::now(), delivery)]).await.unwrap();
        worker.store_bytes(&mut batch.operations).await;
        let committed = worker.commit(&mut batch.operations).await;
        worker.respond(batch, committed).await;
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
        let mut taking = std::pin::pin!(process(&worker, asked));
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
        process(&worker, asked).await;
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
        process(&worker, asked).await;
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
            process(&worker, capture()).await;
            assert_eq!(pictures(&mut news), expected, "{said}");
        }
        // Nobody can tell a repeat from what the try before has committed.
        let occupied = worker.store.occupy().await.unwrap();
        let away = async {
            let mut backpressure = worker.backpressure.watch();
            backpressure.wait_for(|hold| hold.store.is_some()).await.unwrap();
            drop(occupied);
        };
        tokio::join!(process(&worker, capture()), away);
        assert_eq!(pictures(&mut news), 1);
    }
}
