//! Cameras and pictures as JSON of the API; times in microseconds UTC.

use keepsake_protocol::capture::{Cause, ContentType};
use keepsake_protocol::clock::ClockReading;
use keepsake_protocol::command::CommandKind;
use keepsake_protocol::id::{PictureId, Sequence};
use keepsake_protocol::status::{Health, LedStatus, Presence, Status};
use keepsake_protocol::{CaptureId, DeviceId, Hash, SpoolId};
use serde::Serialize;

use crate::pictures::capture_time::CaptureTime;
use crate::store::{self, Counters, QuarantinedMessage, Thumbnail};

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
    thumbnail: Thumbnail,
    color: Option<String>,
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
            taken: picture.taken,
            captured_after_us: picture.captured_after_us,
            saved_after_us: picture.saved_after_us,
            sent_after_us: picture.sent_after_us,
            stored_us: picture.stored_us,
            attempt: picture.attempt,
            thumbnail: picture.thumbnail,
            color: picture.color.map(|color| format!("#{color:06x}")),
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Totals {
    pressed: u64,
    #[serde(flatten)]
    counters: Counters,
}

impl From<Counters> for Totals {
    fn from(counters: Counters) -> Self {
        Self { pressed: counters.pressed(), counters }
    }
}

#[derive(Debug, Serialize)]
struct Spool {
    spool: SpoolId,
    next: Sequence,
    #[serde(flatten)]
    counters: Counters,
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
    #[serde(flatten)]
    totals: Totals,
    conflicts: u64,
    damaged: u64,
    waiting: u64,
    waiting_bytes: u64,
    retained: u64,
    coarse: bool,
    light: Light,
    faults: Vec<u8>,
    version: String,
    health: Health,
    latest: Option<Picture>,
    spools: Vec<Spool>,
}

impl From<store::Device> for Device {
    fn from(device: store::Device) -> Self {
        let (retained, coarse) = (device.retained(), device.is_coarse());
        let status = device.status.map_or_else(Status::last_will, |status| *status);
        Self {
            id: device.id,
            presence: device.presence,
            last_seen_us: device.last_seen_us,
            totals: device.counters.into(),
            conflicts: device.conflicts,
            damaged: device.damaged,
            waiting: status.queue.waiting,
            waiting_bytes: status.queue.waiting_bytes,
            retained,
            coarse,
            light: status.led.into(),
            faults: status.faults,
            version: status.version,
            health: status.health,
            latest: device.latest.map(Picture::from),
            spools: device
                .spools
                .into_iter()
                .map(|spool| Spool {
                    spool: spool.spool,
                    next: spool.next,
                    counters: spool.counters,
                })
                .collect(),
        }
    }
}

#[derive(Debug, Serialize)]
struct CommandStageInfo {
    stage: &'static str,
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
    stage: &'static str,
    created_us: i64,
    expires_us: i64,
    stages: Vec<CommandStageInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capture: Option<Capture>,
    /// The diagnostics of the camera.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<serde_json::Map<String, serde_json::Value>>,
}

impl Command {
    pub(crate) fn at(command: store::Command, now_us: i64) -> Self {
        let sent = command
            .sent_us
            .map(|at_us| CommandStageInfo { stage: "sent", at_us, after_us: None, text: None });
        let reached = command.stages.into_iter().map(|reached| CommandStageInfo {
            stage: reached.stage.as_str(),
            at_us: reached.at_us,
            after_us: reached.after_us,
            text: reached.text,
        });
        let stages: Vec<CommandStageInfo> = sent.into_iter().chain(reached).collect();
        let unheard = !stages.iter().any(|stage| stage.stage != "sent");
        let stage = if unheard && command.expires_us <= now_us {
            "expired"
        } else {
            stages.last().map_or("waiting", |stage| stage.stage)
        };
        Self {
            stage,
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
    fn from(stored: store::DeviceEvent) -> Self {
        Self { at_us: stored.at_us, event: stored.event }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Quarantined {
    id: String,
    #[serde(flatten)]
    message: QuarantinedMessage,
}

impl From<QuarantinedMessage> for Quarantined {
    fn from(message: QuarantinedMessage) -> Self {
        Self { id: format!("{}.{}", message.device, message.hash), message }
    }
}
