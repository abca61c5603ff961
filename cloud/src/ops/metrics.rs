//! The counters of the running cloud, and the only file that names `prometheus_client`.
//!
//! Counters begin at zero with every start and say how work goes; what is stored is read from the store when a client
//! asks ([`MetricsSnapshot`]), so that the two can never disagree.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::ingest::operation::{CommitOutcome, IngestOp};
use crate::store::Counters;

/// The content type of `GET /metrics`.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Shared by all who count; clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    messages: Family<OutcomeLabel, Counter>,
    pictures: Counter,
    picture_bytes: Counter,
    thumbnails: Counter,
    pending_thumbnails: Gauge,
    commit_failures: Counter,
    losses: Counter,
    commit: Histogram,
    ingest: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        // From 1 ms to half a minute, which is the longest a unit of work may take.
        let buckets = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        Self {
            messages: Family::default(),
            pictures: Counter::default(),
            picture_bytes: Counter::default(),
            thumbnails: Counter::default(),
            pending_thumbnails: Gauge::default(),
            commit_failures: Counter::default(),
            losses: Counter::default(),
            commit: buckets(),
            ingest: buckets(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CameraLabel {
    camera: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FateLabel {
    camera: String,
    fate: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SessionLabel {
    session: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// The gauges at the moment of the request.
#[derive(Debug, Default)]
pub struct MetricsSnapshot {
    pub version: &'static str,
    /// Absent while the store does not answer.
    pub stored: Option<StoreFigures>,
    /// Each session with the broker, and whether it is connected.
    pub sessions: Vec<(String, bool)>,
    pub held_by_store: bool,
    pub held_by_space: bool,
    /// Bytes free on the disk of the data folder.
    pub free_bytes: Option<u64>,
    /// Messages that are received and not committed yet.
    pub queued_messages: u64,
    pub queued_bytes: u64,
    /// Open live streams.
    pub streams: u64,
}

/// The figures that are read from the store.
#[derive(Debug, Default)]
pub struct StoreFigures {
    pub cameras: Vec<CameraFigures>,
    /// Messages in quarantine.
    pub quarantined: u64,
}

#[derive(Debug)]
pub struct CameraFigures {
    pub name: String,
    pub online: bool,
    pub counters: Counters,
    /// Captures and bytes without a receipt, as the camera last said.
    pub waiting: u64,
    pub waiting_bytes: u64,
}

impl Metrics {
    /// One message and what became of it; `after` = since it was read from the connection.
    pub fn record_outcome(&self, operation: &IngestOp, outcome: &CommitOutcome, after: Duration) {
        let outcome = match outcome {
            CommitOutcome::Stored { arrival: Some(_), .. } => {
                self.pictures.inc();
                if let IngestOp::Capture { header, .. } = operation {
                    self.picture_bytes.inc_by(header.capture.total);
                }
                "stored"
            }
            CommitOutcome::Stored { arrival: None, .. } => "repeat",
            CommitOutcome::PartStored => "part",
            CommitOutcome::WrongHash => "wrong_hash",
            CommitOutcome::TombstoneStored(_) => "tombstone",
            CommitOutcome::EventStored { .. } => "noted",
            CommitOutcome::InventoryAnswered(_) => "answered",
            CommitOutcome::StatusStored { .. } => "reported",
            CommitOutcome::ReplyStored => "replied",
            CommitOutcome::UploadStored { arrival: Some(_) } => {
                self.pictures.inc();
                if let IngestOp::Upload { bytes, .. } = operation {
                    self.picture_bytes.inc_by(bytes.data.len() as u64);
                }
                "stored"
            }
            CommitOutcome::UploadStored { arrival: None } => "repeat",
            CommitOutcome::Quarantined => "quarantined",
            CommitOutcome::Refused { .. } => "refused",
            CommitOutcome::Dropped => "dropped",
        };
        self.messages.get_or_create(&OutcomeLabel { outcome }).inc();
        self.ingest.observe(after.as_secs_f64());
    }

    /// Counts the pictures whose thumbnails were stored, or that have none.
    pub fn record_thumbnails(&self, count: usize) {
        self.thumbnails.inc_by(count as u64);
    }

    /// Notes the number of pictures that wait for their thumbnail.
    pub fn set_pending_thumbnails(&self, pending: u64) {
        self.pending_thumbnails.set(i64::try_from(pending).unwrap_or(i64::MAX));
    }

    /// Returns the number of pictures that waited for their thumbnail when they were last counted.
    pub fn pending_thumbnails(&self) -> u64 {
        self.pending_thumbnails.get().try_into().unwrap_or(0)
    }

    /// A batch was committed, or was not.
    pub fn record_commit(&self, took: Duration, done: bool) {
        if done {
            self.commit.observe(took.as_secs_f64());
        } else {
            self.commit_failures.inc();
        }
    }

    /// The bytes of a picture were missing or changed when they were read.
    pub fn record_loss(&self) {
        self.losses.inc();
    }

    /// Everything in the text format of OpenMetrics, which Prometheus reads.
    pub fn render(&self, state: &MetricsSnapshot) -> String {
        let mut text = String::new();
        let mut counted = Registry::with_prefix("keepsake");
        self.register(&mut counted);
        let mut seen = Registry::with_prefix("keepsake");
        state.register(&mut seen);
        encode_registry(&mut text, &counted)
            .and_then(|()| encode_registry(&mut text, &seen))
            .and_then(|()| encode_eof(&mut text))
            .expect("a text in memory takes everything");
        text
    }

    fn register(&self, to: &mut Registry) {
        to.register("messages", "Messages of cameras, by what became of them", self.messages.clone());
        to.register("pictures", "Pictures committed since the start", self.pictures.clone());
        to.register_with_unit(
            "picture",
            "Bytes of pictures committed since the start",
            Unit::Bytes,
            self.picture_bytes.clone(),
        );
        to.register("thumbnails", "Thumbnails that were made, or found impossible", self.thumbnails.clone());
        to.register(
            "thumbnails_pending",
            "Pictures that wait for their thumbnail",
            self.pending_thumbnails.clone(),
        );
        to.register(
            "commit_failures",
            "Batches the store did not commit; nothing is acknowledged for them",
            self.commit_failures.clone(),
        );
        to.register(
            "lost_reads",
            "Requests for pictures whose bytes were missing or not those that were stored",
            self.losses.clone(),
        );
        to.register_with_unit("commit", "Time to commit a batch", Unit::Seconds, self.commit.clone());
        to.register_with_unit("ingest", "From reading a message to its commit", Unit::Seconds, self.ingest.clone());
    }
}

impl MetricsSnapshot {
    fn register(&self, to: &mut Registry) {
        let build = Info::new([("version", self.version), ("protocol", keepsake_protocol::topic::ROOT)]);
        to.register("build", "This program", build);
        let mut number = |name: &str, help: &str, value: u64| {
            let gauge = Gauge::<i64>::default();
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            to.register(name, help, gauge);
        };
        number("store_up", "1 while the store answers", self.stored.is_some().into());
        number("queue_messages", "Messages read and not committed yet", self.queued_messages);
        number("queue_bytes", "Bytes read and not committed yet", self.queued_bytes);
        number("streams", "Open live streams", self.streams);
        if let Some(free) = self.free_bytes {
            number("free_bytes", "Bytes free on the disk of the data folder", free);
        }
        if let Some(stored) = &self.stored {
            number("quarantine", "Messages in quarantine", stored.quarantined);
        }

        let hold = Family::<ReasonLabel, Gauge>::default();
        for (reason, held) in [("store", self.held_by_store), ("space", self.held_by_space)] {
            hold.get_or_create(&ReasonLabel { reason }).set(held.into());
        }
        to.register("hold", "1 while cameras are asked to keep everything", hold);
        let broker = Family::<SessionLabel, Gauge>::default();
        for (session, connected) in &self.sessions {
            let session = session.clone();
            broker.get_or_create(&SessionLabel { session }).set((*connected).into());
        }
        to.register("broker_up", "1 while the session has its broker", broker);
        if let Some(stored) = &self.stored {
            cameras(&stored.cameras, to);
        }
    }
}

fn cameras(all: &[CameraFigures], to: &mut Registry) {
    let online = Family::<CameraLabel, Gauge>::default();
    let waiting = Family::<CameraLabel, Gauge>::default();
    let waiting_bytes = Family::<CameraLabel, Gauge>::default();
    let captures = Family::<FateLabel, Gauge>::default();
    let int = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    for camera in all {
        let label = CameraLabel { camera: camera.name.clone() };
        online.get_or_create(&label).set(camera.online.into());
        waiting.get_or_create(&label).set(int(camera.waiting));
        waiting_bytes.get_or_create(&label).set(int(camera.waiting_bytes));
        let Counters { stored, deleted, failed, held, missing } = camera.counters;
        for (fate, number) in [
            ("stored", stored),
            ("deleted", deleted),
            ("failed", failed),
            ("held", held),
            ("missing", missing),
        ] {
            let camera = camera.name.clone();
            captures.get_or_create(&FateLabel { camera, fate }).set(int(number));
        }
    }
    to.register("camera_online", "1 while the camera is there", online);
    to.register("camera_waiting", "Captures without a receipt, as the camera last said", waiting);
    to.register("camera_waiting_bytes", "Bytes without a receipt, as the camera last said", waiting_bytes);
    to.register("captures", "Where the presses of a camera went; their sum is what was pressed", captures);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_what_was_counted_and_what_is_seen() {
        let metrics = Metrics::default();
        metrics.record_commit(Duration::from_millis(3), true);
        metrics.record_commit(Duration::from_millis(3), false);
        metrics.record_thumbnails(4);
        metrics.set_pending_thumbnails(12);
        let stored = |arrival| CommitOutcome::Stored {
            id: format!("{}-1-{}", "01".repeat(16), "00".repeat(8)).parse().unwrap(),
            arrival,
        };
        let operation = IngestOp::Quarantine(crate::ingest::operation::QuarantineEntry {
            device: None,
            topic: String::new(),
            reason: String::new(),
            hash: keepsake_protocol::Hash::of(b""),
            bytes: bytes::Bytes::new(),
        });
        metrics.record_outcome(&operation, &stored(Some(1)), Duration::from_millis(20));
        metrics.record_outcome(&operation, &stored(None), Duration::from_millis(20));
        let camera = CameraFigures {
            name: "porch \"1\"\n".to_owned(),
            online: true,
            counters: Counters { stored: 7, failed: 5, missing: 2, ..Counters::default() },
            waiting: 3,
            waiting_bytes: 4,
        };
        let state = MetricsSnapshot {
            version: "1",
            stored: Some(StoreFigures { cameras: vec![camera], quarantined: 5 }),
            ..MetricsSnapshot::default()
        };
        let text = metrics.render(&state);
        for line in [
            "keepsake_messages_total{outcome=\"stored\"} 1",
            "keepsake_messages_total{outcome=\"repeat\"} 1",
            "keepsake_pictures_total 1",
            "keepsake_commit_failures_total 1",
            "keepsake_thumbnails_total 4",
            "keepsake_thumbnails_pending 12",
            "keepsake_commit_seconds_count 1",
            "keepsake_ingest_seconds_count 2",
            "keepsake_store_up 1",
            "keepsake_quarantine 5",
            "keepsake_captures{camera=\"porch \\\"1\\\"\\n\",fate=\"failed\"} 5",
            "keepsake_captures{camera=\"porch \\\"1\\\"\\n\",fate=\"missing\"} 2",
            "keepsake_camera_waiting{camera=\"porch \\\"1\\\"\\n\"} 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        let away = metrics.render(&MetricsSnapshot::default());
        assert!(away.contains("keepsake_store_up 0") && !away.contains("keepsake_captures{"));
    }
}
