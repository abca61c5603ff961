//! Pure: what a message asks to be committed, and which receipts its outcome earns.
//!
//! Only bytes decide here (never the state of the store): what is not what it says goes to quarantine with a plain
//! reason, and is acknowledged like everything else once that is committed, so that it cannot block those behind it.
//! A receipt is made from outcomes, and outcomes exist only after a commit (P2).

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use keepsake_protocol::codec::{self, DecodeError, JSON_BYTES_MAX};
use keepsake_protocol::command::RESULT_BYTES_MAX;
use keepsake_protocol::event::{Event, TOMBSTONE_RANGE_MAX};
use keepsake_protocol::inventory::{INVENTORY_PAGE_MAX, Inventory};
use keepsake_protocol::receipt::{RECEIPT_ENTRIES_MAX, Receipt, Rejection};
use keepsake_protocol::topic::{MessageKind, ROOT, Topic};
use keepsake_protocol::{DeviceId, Hash, SpoolId, StoreId};
use serde::Serialize;

use crate::ingest::external::ExternalTopics;
use crate::ingest::operation::{CommitOutcome, IngestOp, Message, QuarantineEntry};

/// More installs than this in one status is not a camera: it has its own and those of cards it was given.
pub const INSTALLS_MAX: usize = 64;

/// Decides what `message` asks to be committed. Hashes whole pictures, so call it off the async threads.
///
/// `capture_bytes_max`: the largest picture this cloud takes, bytes.
pub fn decode(message: &Message, capture_bytes_max: u64) -> IngestOp {
    catch_panics(message, || decode_message(message, capture_bytes_max))
}

/// As `read`, for what comes from a broker: it may also be a picture of a camera that knows nothing of Keepsake.
///
/// `again`: the broker says that it may have brought it before.
pub fn decode_delivery(message: &Message, again: bool, ways: &ExternalTopics, capture_bytes_max: u64) -> IngestOp {
    catch_panics(message, || {
        ways.decode(message, again, capture_bytes_max)
            .map_or_else(|| decode_message(message, capture_bytes_max), Ok)
    })
}

/// A message that makes us panic, which none should, must not come again for ever, nor take its neighbours with it.
fn catch_panics(message: &Message, understand: impl FnOnce() -> Result<IngestOp, String>) -> IngestOp {
    let understood = catch_unwind(AssertUnwindSafe(understand))
        .unwrap_or_else(|_| Err("reading it failed, which is a bug of this cloud".to_owned()));
    match understood {
        Ok(deposit) => deposit,
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
            let status: keepsake_protocol::presence::Status = parse_json(message)?;
            if status.spools.len() > INSTALLS_MAX {
                return Err(format!(
                    "a status with {} installs, at most {INSTALLS_MAX} are believed",
                    status.spools.len()
                ));
            }
            Ok(IngestOp::Status {
                device,
                status: Box::new(status),
                retained: message.retained,
            })
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
            install: record.spool,
            sequence: record.sequence,
            hash: record.hash.prefix(),
            reason: format!(
                "a picture of {} bytes, this cloud takes at most {capture_bytes_max}",
                record.total
            ),
        });
    }
    let whole = frame.header.offset == 0 && frame.header.len == record.total;
    if whole && Hash::of(frame.bytes) != record.hash {
        return Err("the bytes do not have the hash their header claims".to_owned());
    }
    let bytes = message.payload.slice_ref(frame.bytes);
    Ok(IngestOp::Capture {
        device,
        header: frame.header,
        bytes,
    })
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
    Ok(IngestOp::Inventory {
        device,
        inventory: have,
    })
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
            IngestOp::Tombstone {
                device,
                tombstone,
                hash,
                payload,
            }
        }
        Event::Fault(fault) => IngestOp::Event {
            device,
            kind: "fault",
            hash,
            payload,
            line: None,
            install: fault.spool,
        },
        Event::Boot(line) => IngestOp::Event {
            device,
            kind: "boot",
            hash,
            payload,
            install: line.spool,
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

/// The receipts that these outcomes earn, each for one camera and one install, and short enough to be read.
///
/// `outcomes`: who spoke and what became of it, all of them committed. A page of `up/have` gets a receipt of its own, or
/// several, of which the last one answers: by then the camera has heard all of it.
pub fn receipts(store: StoreId, outcomes: &[(DeviceId, CommitOutcome)]) -> Vec<(DeviceId, Receipt)> {
    let mut grouped = ReceiptsByDevice {
        store,
        receipts: BTreeMap::new(),
    };
    let mut answers = Vec::new();
    for (device, outcome) in outcomes {
        answers.extend(grouped.add(device, outcome).map(|answer| (device.clone(), answer)));
    }
    let grouped = grouped
        .receipts
        .into_iter()
        .map(|((device, _), receipt)| (device.clone(), receipt))
        .filter(|(_, receipt)| !receipt.is_empty());
    grouped
        .chain(answers)
        .flat_map(|(device, receipt)| {
            let pieces = split_receipt(receipt).into_iter();
            pieces.map(move |piece| (device.clone(), piece))
        })
        .collect()
}

/// The entries of one receipt take at most this much, bytes; the rest is for what stands around them.
const ENTRIES_BYTES_MAX: usize = JSON_BYTES_MAX - 1024;
/// With more gaps than this a capture is asked for as a whole: naming them would take half a message.
const RANGES_MAX: usize = 5_000;

/// Cuts a receipt into as many as it takes for each to be within the limits of the protocol.
fn split_receipt(whole: Receipt) -> Vec<Receipt> {
    let mut pieces = ReceiptSplitter {
        open: Receipt::new(whole.store, whole.spool),
        open_bytes: 0,
        full: Vec::new(),
    };
    for entry in whole.stored {
        pieces.put(entry, |receipt| &mut receipt.stored);
    }
    // Several statuses of one batch ask for the same.
    let mut want = whole.want;
    want.sort_by_key(|want| want.sequence);
    want.dedup();
    for mut want in want {
        if want.ranges.len() > RANGES_MAX {
            want.ranges.clear();
        }
        pieces.put(want, |receipt| &mut receipt.want);
    }
    for refused in whole.rejected {
        pieces.put(refused, |receipt| &mut receipt.rejected);
    }
    for event in whole.events {
        pieces.put(event, |receipt| &mut receipt.events);
    }
    let mut all = pieces.full;
    all.push(Receipt {
        inventory_ack: whole.inventory_ack,
        next: whole.next,
        ..pieces.open
    });
    all
}

struct ReceiptSplitter {
    open: Receipt,
    open_bytes: usize,
    full: Vec<Receipt>,
}

impl ReceiptSplitter {
    fn put<T: Serialize>(&mut self, entry: T, entries: fn(&mut Receipt) -> &mut Vec<T>) {
        let bytes = codec::encode(&entry).len() + ",".len();
        if entries(&mut self.open).len() == RECEIPT_ENTRIES_MAX || self.open_bytes + bytes > ENTRIES_BYTES_MAX {
            let next = Receipt::new(self.open.store, self.open.spool);
            self.full.push(std::mem::replace(&mut self.open, next));
            self.open_bytes = 0;
        }
        self.open_bytes += bytes;
        entries(&mut self.open).push(entry);
    }
}

/// One receipt per camera and install.
struct ReceiptsByDevice<'a> {
    store: StoreId,
    receipts: BTreeMap<(&'a DeviceId, SpoolId), Receipt>,
}

impl<'a> ReceiptsByDevice<'a> {
    fn of(&mut self, device: &'a DeviceId, install: SpoolId) -> &mut Receipt {
        self.receipts
            .entry((device, install))
            .or_insert_with(|| Receipt::new(self.store, install))
    }

    /// Adds an outcome to the receipt of its spool. Returns the receipt of its own that an inventory is answered with.
    fn add(&mut self, device: &'a DeviceId, outcome: &CommitOutcome) -> Option<Receipt> {
        match outcome {
            CommitOutcome::Stored {
                install,
                sequence,
                hash,
                ..
            }
            | CommitOutcome::TombstoneStored {
                install,
                sequence,
                hash,
            } => {
                let entry = (*sequence, *hash);
                let stored = &mut self.of(device, *install).stored;
                if !stored.contains(&entry) {
                    stored.push(entry);
                }
            }
            CommitOutcome::Refused {
                install,
                sequence,
                hash,
                reason,
                retry_after,
            } => self.of(device, *install).rejected.push(Rejection {
                sequence: *sequence,
                hash: *hash,
                reason: reason.clone(),
                retry_after: *retry_after,
            }),
            CommitOutcome::StatusStored { wants } => {
                for (install, wants) in wants {
                    self.of(device, *install).want.extend_from_slice(wants);
                }
            }
            CommitOutcome::InventoryAnswered {
                install,
                stored,
                want,
                answers: answer,
                next,
            } => {
                return Some(Receipt {
                    stored: stored.clone(),
                    want: want.clone(),
                    inventory_ack: Some(*answer),
                    next: *next,
                    ..Receipt::new(self.store, *install)
                });
            }
            CommitOutcome::EventStored {
                awaited: Some((install, hash)),
            } => {
                let events = &mut self.of(device, *install).events;
                if !events.contains(hash) {
                    events.push(*hash);
                }
            }
            CommitOutcome::PartStored
            | CommitOutcome::WrongHash
            | CommitOutcome::EventStored { awaited: None }
            | CommitOutcome::ReplyStored
            | CommitOutcome::UploadStored { .. }
            | CommitOutcome::Quarantined
            | CommitOutcome::Dropped => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keepsake_protocol::receipt::{InventoryAck, ResendRequest};
    use keepsake_protocol::{HashPrefix, Sequence};
    use proptest::prelude::*;

    const STORE: StoreId = StoreId([1; 16]);
    const INSTALL: SpoolId = SpoolId([2; 16]);
    const HASH: HashPrefix = HashPrefix([3; 8]);

    fn number(sequence: u64) -> Sequence {
        sequence.try_into().unwrap()
    }

    fn device(name: &str) -> DeviceId {
        name.parse().unwrap()
    }

    fn stored(install: SpoolId, sequence: u64, arrival: Option<i64>) -> CommitOutcome {
        CommitOutcome::Stored {
            install,
            sequence: number(sequence),
            hash: HASH,
            arrival,
        }
    }

    #[test]
    fn a_repeat_earns_the_receipt_of_the_first_time() {
        let porch = device("porch");
        let first = [(porch.clone(), stored(INSTALL, 1, Some(7)))];
        let repeat = [(porch, stored(INSTALL, 1, None))];
        assert_eq!(receipts(STORE, &first), receipts(STORE, &repeat));
    }

    #[test]
    fn what_is_not_whole_and_what_is_in_quarantine_earns_none() {
        for outcome in [
            CommitOutcome::PartStored,
            CommitOutcome::WrongHash,
            CommitOutcome::Quarantined,
            CommitOutcome::EventStored { awaited: None },
            CommitOutcome::ReplyStored,
            CommitOutcome::UploadStored { arrival: Some(1) },
            CommitOutcome::Dropped,
            CommitOutcome::StatusStored { wants: Vec::new() },
        ] {
            let receipts = receipts(STORE, &[(device("porch"), outcome.clone())]);
            assert_eq!(receipts, [], "{outcome:?}");
        }
    }

    #[test]
    fn a_note_that_is_waited_for_is_named_once_beside_the_pictures() {
        let noted = |hash| CommitOutcome::EventStored {
            awaited: Some((INSTALL, HashPrefix([hash; 8]))),
        };
        let outcomes = [
            (device("porch"), noted(7)),
            (device("porch"), stored(INSTALL, 1, Some(1))),
            (device("porch"), noted(8)),
            (device("porch"), noted(7)),
        ];
        let said = receipts(STORE, &outcomes);
        assert_eq!(said.len(), 1);
        assert_eq!(said[0].1.events, [HashPrefix([7; 8]), HashPrefix([8; 8])]);
        assert_eq!(said[0].1.stored.len(), 1);
        let alone = receipts(STORE, &outcomes[..1]);
        assert_eq!(alone[0].1.events.len(), 1);
    }

    #[test]
    fn a_receipt_is_for_one_camera_and_one_install() {
        let other = SpoolId([9; 16]);
        let outcomes = [
            (device("porch"), stored(INSTALL, 1, Some(1))),
            (device("shed"), stored(INSTALL, 1, None)),
            (device("porch"), stored(other, 1, Some(2))),
            (device("porch"), stored(INSTALL, 2, Some(3))),
            // The same in one batch is said once.
            (device("porch"), stored(INSTALL, 2, None)),
        ];
        let said: Vec<_> = receipts(STORE, &outcomes)
            .into_iter()
            .map(|(device, receipt)| {
                let numbers = receipt.stored.iter().map(|(number, _)| number.get());
                (device.to_string(), receipt.spool, numbers.collect())
            })
            .collect::<Vec<(String, SpoolId, Vec<u64>)>>();
        assert_eq!(
            said,
            [
                ("porch".to_owned(), INSTALL, vec![1, 2]),
                ("porch".to_owned(), other, vec![1]),
                ("shed".to_owned(), INSTALL, vec![1]),
            ]
        );
    }

    #[test]
    fn every_page_of_have_is_answered_by_itself() {
        let answered = |page| CommitOutcome::InventoryAnswered {
            install: INSTALL,
            stored: Vec::new(),
            want: Vec::new(),
            answers: InventoryAck { id: 4, page },
            next: Some(number(9)),
        };
        let outcomes = [
            (device("porch"), answered(0)),
            (device("porch"), stored(INSTALL, 1, None)),
            (device("porch"), answered(1)),
        ];
        let pages: Vec<_> = receipts(STORE, &outcomes)
            .into_iter()
            .map(|(_, receipt)| (receipt.inventory_ack.map(|answer| answer.page), receipt.next))
            .collect();
        let next = Some(number(9));
        assert_eq!(pages, [(None, None), (Some(0), next), (Some(1), next)]);
    }

    fn wanted(first: u64, ranges: &[(u64, u64)]) -> Vec<ResendRequest> {
        let want = |sequence| ResendRequest {
            sequence: number(sequence),
            ranges: ranges.to_vec(),
        };
        (first..first + 500).map(want).collect()
    }

    #[test]
    fn what_many_statuses_want_is_asked_for_once_and_in_receipts_that_can_be_read() {
        let reported = |first| CommitOutcome::StatusStored {
            wants: vec![(INSTALL, wanted(first, &[]))],
        };
        let mut outcomes: Vec<_> = (0..31)
            .map(|batch| (device("porch"), reported(1 + 250 * batch)))
            .collect();
        outcomes.push((device("porch"), stored(INSTALL, 9000, None)));
        let receipts = receipts(STORE, &outcomes);
        let mut asked = Vec::new();
        for (_, receipt) in &receipts {
            assert!(receipt.want.len() <= RECEIPT_ENTRIES_MAX);
            assert!(codec::decode::<Receipt>(&codec::encode(receipt)).is_ok());
            asked.extend(receipt.want.iter().map(|want| want.sequence.get()));
        }
        assert_eq!(asked, (1..=8000).collect::<Vec<_>>());
        let said = receipts.iter().map(|(_, receipt)| receipt.stored.len());
        assert_eq!(said.sum::<usize>(), 1);
    }

    #[test]
    fn a_long_answer_is_several_receipts_of_which_the_last_one_answers() {
        let gaps: Vec<_> = (0..100).map(|n| (60_000_000 + 2 * n, 60_000_001 + 2 * n)).collect();
        let mut want = wanted(2, &gaps);
        // With enough missing ranges for one capture alone to exceed the limit.
        want[7].ranges = gaps.repeat(200);
        let outcome = CommitOutcome::InventoryAnswered {
            install: INSTALL,
            stored: vec![(number(1), HASH)],
            want: want.clone(),
            answers: InventoryAck { id: 4, page: 0 },
            next: Some(number(9)),
        };
        let receipts = receipts(STORE, &[(device("porch"), outcome)]);
        for (at, (_, receipt)) in receipts.iter().enumerate() {
            assert!(codec::decode::<Receipt>(&codec::encode(receipt)).is_ok());
            let last = at + 1 == receipts.len();
            assert_eq!((receipt.inventory_ack.is_some(), receipt.next.is_some()), (last, last));
        }
        want[7].ranges.clear();
        let asked: Vec<ResendRequest> = receipts.iter().flat_map(|(_, receipt)| receipt.want.clone()).collect();
        assert_eq!(asked, want);
        let said: Vec<_> = receipts
            .iter()
            .flat_map(|(_, receipt)| receipt.stored.clone())
            .collect();
        assert_eq!(said, [(number(1), HASH)]);
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
                "install": INSTALL, "sequence": 1, "hash": hash, "total": bytes.len(),
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
            IngestOp::Capture { bytes, .. } => format!("capture of {}", bytes.len()),
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
