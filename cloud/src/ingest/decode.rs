//! Pure: what a message asks to be committed, and which receipts its outcome earns.
//!
//! Only bytes decide here (never the state of the store): what is not what it says goes to quarantine with a plain
//! reason, and is acknowledged like everything else once that is committed, so that it cannot block those behind it.
//! A receipt is made from outcomes, and outcomes exist only after a commit (P2).

use std::panic::{AssertUnwindSafe, catch_unwind};

use keepsake_protocol::codec::{self, DecodeError};
use keepsake_protocol::command::RESULT_BYTES_MAX;
use keepsake_protocol::event::{Event, TOMBSTONE_RANGE_MAX};
use keepsake_protocol::inventory::{INVENTORY_PAGE_MAX, Inventory};
use keepsake_protocol::topic::{MessageKind, ROOT, Topic};
use keepsake_protocol::{DeviceId, Hash};

use crate::ingest::external::ExternalTopics;
use crate::ingest::operation::{IngestOp, Message, QuarantineEntry, picture_id};

/// More spools than this in one status is not a camera: it has its own and those of cards it was given.
pub const SPOOLS_MAX: usize = 64;

/// Decides what `message` asks to be committed. Hashes whole pictures, so call it off the async threads.
///
/// `capture_bytes_max`: the largest picture this cloud takes, bytes.
pub fn decode(message: &Message, capture_bytes_max: u64) -> IngestOp {
    catch_panics(message, || decode_message(message, capture_bytes_max))
}

/// Decodes a message from a broker, which can also be a picture of a third-party camera.
///
/// `again`: the broker says that it may have brought it before.
pub fn decode_delivery(message: &Message, again: bool, external: &ExternalTopics, capture_bytes_max: u64) -> IngestOp {
    catch_panics(message, || {
        external
            .decode(message, again, capture_bytes_max)
            .map_or_else(|| decode_message(message, capture_bytes_max), Ok)
    })
}

/// A message that makes us panic, which none should, must not come again for ever, nor take its neighbours with it.
fn catch_panics(message: &Message, understand: impl FnOnce() -> Result<IngestOp, String>) -> IngestOp {
    let understood = catch_unwind(AssertUnwindSafe(understand))
        .unwrap_or_else(|_| Err("reading it failed, which is a bug of this cloud".to_owned()));
    match understood {
        Ok(operation) => operation,
        Err(reason) => IngestOp::Quarantine(QuarantineEntry {
            device: device_of(&message.topic),
            topic: message.topic.clone(),
            reason,
            hash: Hash::of(&message.payload),
            bytes: message.payload.clone(),
        }),
    }
}

fn decode_message(message: &Message, capture_bytes_max: u64) -> Result<IngestOp, String> {
    let Topic { device, kind: leaf } = message.topic.parse().map_err(|error| sentence(&error))?;
    match leaf {
        MessageKind::Frame => decode_frame(device, message, capture_bytes_max),
        MessageKind::Have => decode_inventory(device, message),
        MessageKind::Status => {
            let status: keepsake_protocol::status::Status = parse_json(message)?;
            if status.spools.len() > SPOOLS_MAX {
                return Err(format!("a status with {} spools, at most {SPOOLS_MAX} are believed", status.spools.len()));
            }
            Ok(IngestOp::Status { device, status: Box::new(status), retained: message.retained })
        }
        MessageKind::Event => decode_event(device, message),
        MessageKind::Reply => {
            let reply: keepsake_protocol::command::CommandReply = parse_json(message)?;
            if reply.id.is_empty() || reply.id.len() > 64 {
                return Err("a reply whose command id is not 1 to 64 characters".to_owned());
            }
            if let Some(result) = &reply.result {
                let bytes = codec::encode(result).len();
                if bytes > RESULT_BYTES_MAX {
                    return Err(format!(
                        "a reply with a result of {bytes} bytes, at most {RESULT_BYTES_MAX} are allowed"
                    ));
                }
            }
            Ok(IngestOp::Reply { device, reply })
        }
        MessageKind::Receipt | MessageKind::Command | MessageKind::Settings | MessageKind::Cloud => {
            Err("a camera may not write what only the cloud says".to_owned())
        }
    }
}

fn decode_frame(device: DeviceId, message: &Message, capture_bytes_max: u64) -> Result<IngestOp, String> {
    let frame = codec::decode_frame(&message.payload).map_err(|error| explain(&error))?;
    let record = &frame.header.capture;
    if record.command.as_ref().is_some_and(|id| id.len() > 64) {
        return Err("a command id of more than 64 characters".to_owned());
    }
    if record.total > capture_bytes_max {
        return Ok(IngestOp::TooLarge {
            device,
            id: picture_id(record),
            reason: format!("a picture of {} bytes, this cloud takes at most {capture_bytes_max}", record.total),
        });
    }
    if frame.header.is_whole() && Hash::of(frame.bytes) != record.hash {
        return Err("the bytes do not have the hash their header claims".to_owned());
    }
    let bytes = message.payload.slice_ref(frame.bytes);
    Ok(IngestOp::Capture { device, header: frame.header, bytes: bytes.into() })
}

fn decode_inventory(device: DeviceId, message: &Message) -> Result<IngestOp, String> {
    let have: Inventory = parse_json(message)?;
    if have.captures.len() > INVENTORY_PAGE_MAX {
        return Err(format!(
            "a page of {} captures, at most {INVENTORY_PAGE_MAX} are allowed",
            have.captures.len()
        ));
    }
    if have.page >= have.pages {
        return Err(format!("page {} of {}", have.page, have.pages));
    }
    Ok(IngestOp::Inventory { device, inventory: have })
}

fn decode_event(device: DeviceId, message: &Message) -> Result<IngestOp, String> {
    let hash = Hash::of(&message.payload);
    let payload = message.payload.clone();
    Ok(match parse_json(message)? {
        Event::Tombstone(tombstone) => {
            let (first, last) = (tombstone.sequence.get(), tombstone.last().get());
            if last < first || last - first >= TOMBSTONE_RANGE_MAX {
                return Err(format!(
                    "a tombstone for {first} to {last}, at most {TOMBSTONE_RANGE_MAX} in order are allowed"
                ));
            }
            IngestOp::Tombstone { device, tombstone, hash, payload }
        }
        Event::Fault(fault) => IngestOp::Event {
            device,
            kind: "fault",
            hash,
            payload,
            line: None,
            spool: fault.spool,
        },
        Event::Boot(line) => IngestOp::Event {
            device,
            kind: "boot",
            hash,
            payload,
            spool: line.spool,
            line: Some(line),
        },
    })
}

fn parse_json<T: serde::de::DeserializeOwned>(message: &Message) -> Result<T, String> {
    codec::decode(&message.payload).map_err(|error| explain(&error))
}

/// The error and its cause in one line; serde_json names the place, which is what one looks for.
fn explain(error: &DecodeError) -> String {
    match error {
        DecodeError::Json(cause) => format!("{error}: {cause}"),
        DecodeError::Empty
        | DecodeError::Magic
        | DecodeError::Truncated
        | DecodeError::HeaderTooLong(_)
        | DecodeError::TooLong(_)
        | DecodeError::Length { .. }
        | DecodeError::Range { .. }
        | DecodeError::Total(_) => error.to_string(),
    }
}

fn sentence(error: &dyn std::error::Error) -> String {
    error.to_string()
}

/// The camera a topic names, even where the rest of it is not ours.
fn device_of(topic: &str) -> Option<DeviceId> {
    let rest = topic.strip_prefix(ROOT)?.strip_prefix('/')?;
    rest.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use keepsake_protocol::SpoolId;
    use proptest::prelude::*;

    const SPOOL: SpoolId = SpoolId([2; 16]);

    fn device(name: &str) -> DeviceId {
        name.parse().unwrap()
    }

    #[test]
    fn a_message_that_breaks_reading_goes_to_quarantine() {
        let message = Message {
            topic: "keepsake/v1/porch/up/status".to_owned(),
            payload: b"{}".as_slice().into(),
            retained: false,
        };
        let IngestOp::Quarantine(suspect) = catch_panics(&message, || panic!("a bug")) else {
            panic!("not in quarantine");
        };
        assert_eq!(suspect.device, Some(device("porch")));
        assert!(suspect.reason.contains("bug"), "{}", suspect.reason);
    }

    #[test]
    fn a_part_is_taken_unhashed_and_a_whole_picture_only_with_its_hash() {
        let bytes = b"a whole picture";
        let message = |hash: Hash, end: usize| {
            let header = serde_json::json!({
                "install": SPOOL, "sequence": 1, "hash": hash, "total": bytes.len(),
                "content_type": "image/jpeg", "width": 1, "height": 1, "cause": "button",
                "pressed": {"boot": "0".repeat(32), "boottime_us": 0, "wall_us": 0, "synchronised": false},
                "captured_after_us": 0, "offset": 0, "len": end,
            });
            let header: keepsake_protocol::capture::FrameHeader = serde_json::from_value(header).unwrap();
            Message {
                topic: "keepsake/v1/porch/up/frame".to_owned(),
                payload: codec::encode_frame(&header, &bytes[..end]).into(),
                retained: false,
            }
        };
        let (right, wrong) = (Hash::of(bytes), Hash::of(b"another"));
        let taken = |message: &Message, bytes_max: u64| match decode(message, bytes_max) {
            IngestOp::Capture { bytes, .. } => format!("capture of {}", bytes.data.len()),
            IngestOp::Quarantine(suspect) => suspect.reason,
            IngestOp::TooLarge { reason, .. } => reason,
            IngestOp::Tombstone { .. }
            | IngestOp::Event { .. }
            | IngestOp::Inventory { .. }
            | IngestOp::Status { .. }
            | IngestOp::Reply { .. }
            | IngestOp::Upload { .. } => "no frame at all".to_owned(),
        };
        assert_eq!(taken(&message(right, 15), 100), "capture of 15");
        assert_eq!(taken(&message(wrong, 5), 100), "capture of 5");
        assert!(taken(&message(wrong, 15), 100).contains("do not have the hash"));
        assert!(taken(&message(right, 5), 14).contains("takes at most 14"));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read(topic in ".*", leaf in 0..9_usize, payload: Vec<u8>, ours: bool) {
            let topic = if ours {
                format!("{ROOT}/porch/{}", MessageKind::ALL[leaf].path())
            } else {
                topic
            };
            let message = Message { topic, payload: payload.into(), retained: false };
            let IngestOp::Quarantine(suspect) = decode(&message, 1000) else { return Ok(()); };
            prop_assert!(!suspect.reason.is_empty());
        }
    }
}
