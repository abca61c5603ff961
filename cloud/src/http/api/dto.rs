//! Cameras and pictures as JSON of the API; times in microseconds UTC.

use keepsake_protocol::capture::{Cause, ContentType};
use keepsake_protocol::clock::ClockReading;
use keepsake_protocol::command::CommandKind;
use keepsake_protocol::id::{PictureId, Sequence};
use keepsake_protocol::status::{LedStatus, Presence};
use keepsake_protocol::{CaptureId, DeviceId, Hash, SpoolId};
use serde::Serialize;

use crate::pictures::capture_time;
use crate::pictures::capture_time::TimeSource;
use crate::store;
use crate::store::Thumbnail;

#[derive(Debug, Serialize)]
pub(crate) struct Picture {
    id: PictureId,
    arrival: i64,
    device: DeviceId,
    spool: SpoolId,
    sequence: Sequence,
    hash: Hash,
    bytes: u64,
    content_type: ContentType,
    width: u32,
    height: u32,
    cause: Cause,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
    conflict: bool,
    damaged: bool,
    pressed: ClockReading,
    taken: CaptureTime,
    captured_after_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    saved_after_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_after_us: Option<u64>,
    stored_us: i64,
    attempt: u32,
    thumbnail: &'static str,
    color: Option<String>,
}

/// The true moment of the press lies between `earliest_us`, where that is known, and `latest_us`.
#[derive(Debug, Serialize)]
struct CaptureTime {
    state: &'static str,
    earliest_us: Option<i64>,
    latest_us: i64,
    best_us: i64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    contradicted: bool,
}

impl From<capture_time::CaptureTime> for CaptureTime {
    fn from(taken: capture_time::CaptureTime) -> Self {
        Self {
            state: match taken.source {
                TimeSource::Synchronised => "synchronised",
                TimeSource::Corrected => "corrected",
                TimeSource::Estimated => "estimated",
            },
            earliest_us: taken.earliest_us,
            latest_us: taken.latest_us,
            best_us: taken.best_us,
            contradicted: taken.contradicted,
        }
    }
}

impl From<store::Picture> for Picture {
    fn from(picture: store::Picture) -> Self {
        Self {
            id: picture.id(),
            arrival: picture.arrival,
            device: picture.device,
            spool: picture.capture.spool,
            sequence: picture.capture.sequence,
            hash: picture.hash,
            bytes: picture.bytes,
            content_type: picture.content_type,
            width: picture.width,
            height: picture.height,
            cause: picture.cause,
            command: picture.command,
            conflict: picture.conflict,
            damaged: picture.damaged,
            pressed: picture.pressed,
            taken: picture.taken.into(),
            captured_after_us: picture.captured_after_us,
            saved_after_us: picture.saved_after_us,
            sent_after_us: picture.sent_after_us,
            stored_us: picture.stored_us,
            attempt: picture.attempt,
            thumbnail: match picture.thumbnail {
                Thumbnail::Pending => "pending",
                Thumbnail::Ready => "ready",
                Thumbnail::None => "none",
            },
            color: picture.color.map(|color| format!("#{color:06x}")),
        }
    }
}

#[derive(Debug, Serialize)]
struct CounterFields {
    stored: u64,
    deleted: u64,
    failed: u64,
    held: u64,
    missing: u64,
}

impl From<store::Counters> for CounterFields {
    fn from(counters: store::Counters) -> Self {
        Self {
            stored: counters.stored,
            deleted: counters.deleted,
            failed: counters.told,
            held: counters.held,
            missing: counters.missing,
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Totals {
    pressed: u64,
    #[serde(flatten)]
    counted: CounterFields,
}

impl From<store::Counters> for Totals {
    fn from(counters: store::Counters) -> Self {
        Self { pressed: counters.pressed(), counted: counters.into() }
    }
}

#[derive(Debug, Serialize)]
struct Spool {
    spool: SpoolId,
    next: Sequence,
    #[serde(flatten)]
    counted: CounterFields,
}

/// The pattern that the LED shows.
#[derive(Debug, Serialize)]
struct Light {
    pattern: String,
    appearance: String,
    meaning: String,
}

impl From<LedStatus> for Light {
    fn from(led: LedStatus) -> Self {
        Self {
            pattern: led.pattern,
            appearance: led.appearance,
            meaning: led.meaning,
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Device {
    id: DeviceId,
    presence: Presence,
    last_seen_us: i64,
    pressed: u64,
    #[serde(flatten)]
    counted: CounterFields,
    conflicts: u64,
    damaged: u64,
    waiting: u64,
    waiting_bytes: u64,
    retained: u64,
    coarse: bool,
    light: Light,
    faults: Vec<u8>,
    version: String,
    health: keepsake_protocol::status::Health,
    latest: Option<Picture>,
    spools: Vec<Spool>,
}

impl From<store::Device> for Device {
    fn from(device: store::Device) -> Self {
        let status = device.status.map_or_else(keepsake_protocol::status::Status::last_will, |status| *status);
        Self {
            id: device.id,
            presence: device.presence,
            last_seen_us: device.last_seen_us,
            pressed: device.counters.pressed(),
            counted: device.counters.into(),
            conflicts: device.conflicts,
            damaged: device.damaged,
            waiting: status.queue.waiting,
            waiting_bytes: status.queue.waiting_bytes,
            retained: retained(&status),
            coarse: device.installs.iter().any(|spool| spool.coarse),
            light: status.led.into(),
            faults: status.faults,
            version: status.version,
            health: status.health,
            latest: device.latest.map(Picture::from),
            spools: device
                .installs
                .into_iter()
                .map(|spool| Spool {
                    spool: spool.install,
                    next: spool.next,
                    counted: spool.counters.into(),
                })
                .collect(),
        }
    }
}

/// Returns how many captures a camera retains although it has a receipt for them.
pub(crate) fn retained(status: &keepsake_protocol::status::Status) -> u64 {
    status.spools.iter().map(|held| held.kept.count()).fold(0, u64::saturating_add)
}

#[derive(Debug, Serialize)]
struct CommandStageInfo {
    stage: String,
    at_us: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    after_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

#[derive(Debug, Serialize)]
struct Capture {
    spool: SpoolId,
    sequence: Sequence,
}

impl From<CaptureId> for Capture {
    fn from(capture: CaptureId) -> Self {
        Self { spool: capture.spool, sequence: capture.sequence }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Command {
    id: String,
    device: DeviceId,
    command: CommandKind,
    /// The last stage: `waiting` until it is sent, `sent`, then what the camera says; `expired` if it came too late.
    stage: String,
    created_us: i64,
    expires_us: i64,
    stages: Vec<CommandStageInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capture: Option<Capture>,
    /// What a camera says about itself when it is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<serde_json::Map<String, serde_json::Value>>,
}

impl Command {
    pub(crate) fn at(command: store::Command, now_us: i64) -> Self {
        let sent = command.sent_us.map(|at_us| CommandStageInfo {
            stage: "sent".to_owned(),
            at_us,
            after_us: None,
            text: None,
        });
        let reached = command.stages.into_iter().map(|reached| CommandStageInfo {
            stage: reached.stage,
            at_us: reached.at_us,
            after_us: reached.after_us,
            text: reached.text,
        });
        let stages: Vec<CommandStageInfo> = sent.into_iter().chain(reached).collect();
        let unheard = !stages.iter().any(|stage| stage.stage != "sent");
        let stage = if unheard && command.expires_us <= now_us {
            "expired"
        } else {
            stages.last().map_or("waiting", |stage| &stage.stage)
        };
        Self {
            stage: stage.to_owned(),
            id: command.id,
            device: command.device,
            command: command.command,
            created_us: command.created_us,
            expires_us: command.expires_us,
            stages,
            capture: command.capture.map(Capture::from),
            result: command.result,
        }
    }
}

/// An event of a camera, as on the wire.
#[derive(Debug, Serialize)]
pub(crate) struct Event {
    at_us: i64,
    #[serde(flatten)]
    event: keepsake_protocol::event::Event,
}

impl From<store::DeviceEvent> for Event {
    fn from(told: store::DeviceEvent) -> Self {
        Self { at_us: told.at_us, event: told.event }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Quarantined {
    id: String,
    device: String,
    topic: String,
    reason: String,
    hash: String,
    bytes: u64,
    times: u64,
    first_us: i64,
    last_us: i64,
}

impl From<store::QuarantinedMessage> for Quarantined {
    fn from(row: store::QuarantinedMessage) -> Self {
        Self {
            id: format!("{}.{}", row.device, row.hash),
            device: row.device,
            topic: row.topic,
            reason: row.reason,
            hash: row.hash,
            bytes: row.size,
            times: row.times,
            first_us: row.first_us,
            last_us: row.last_us,
        }
    }
}
