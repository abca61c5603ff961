//! The receipts that committed messages earn (P2).

use std::collections::BTreeMap;

use keepsake_protocol::codec::{self, JSON_BYTES_MAX};
use keepsake_protocol::receipt::{RECEIPT_ENTRIES_MAX, Receipt, Rejection};
use keepsake_protocol::{DeviceId, SpoolId, StoreId};
use serde::Serialize;

use crate::ingest::operation::CommitOutcome;

/// Returns the receipts that these outcomes earn, each for one camera and one spool, and short enough to be read.
///
/// `outcomes`: the cameras and what was committed for them. A page of `up/have` gets a receipt of its own, or
/// several, of which the last one answers: by then the camera has heard all of it.
pub(crate) fn receipts(store: StoreId, outcomes: &[(DeviceId, CommitOutcome)]) -> Vec<(DeviceId, Receipt)> {
    let mut grouped = ReceiptsByDevice { store, receipts: BTreeMap::new() };
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

/// One receipt per camera and spool.
struct ReceiptsByDevice<'a> {
    store: StoreId,
    receipts: BTreeMap<(&'a DeviceId, SpoolId), Receipt>,
}

impl<'a> ReceiptsByDevice<'a> {
    fn of(&mut self, device: &'a DeviceId, spool: SpoolId) -> &mut Receipt {
        self.receipts.entry((device, spool)).or_insert_with(|| Receipt::new(self.store, spool))
    }

    /// Adds an outcome to the receipt of its spool. Returns the receipt of its own that an inventory is answered with.
    fn add(&mut self, device: &'a DeviceId, outcome: &CommitOutcome) -> Option<Receipt> {
        match outcome {
            CommitOutcome::Stored { id, .. } | CommitOutcome::TombstoneStored(id) => {
                let entry = (id.capture.sequence, id.hash);
                let stored = &mut self.of(device, id.capture.spool).stored;
                if !stored.contains(&entry) {
                    stored.push(entry);
                }
            }
            CommitOutcome::Refused { id, reason, retry_after } => {
                self.of(device, id.capture.spool).rejected.push(Rejection {
                    sequence: id.capture.sequence,
                    hash: id.hash,
                    reason: reason.clone(),
                    retry_after: *retry_after,
                });
            }
            CommitOutcome::StatusStored { wants } => {
                for (spool, wants) in wants {
                    self.of(device, *spool).want.extend_from_slice(wants);
                }
            }
            CommitOutcome::InventoryAnswered(receipt) => return Some(receipt.clone()),
            CommitOutcome::EventStored { awaited: Some((spool, hash)) } => {
                let events = &mut self.of(device, *spool).events;
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
    use keepsake_protocol::id::PictureId;
    use keepsake_protocol::receipt::{InventoryAck, ResendRequest};
    use keepsake_protocol::{CaptureId, HashPrefix, Sequence};

    use super::*;

    const STORE: StoreId = StoreId([1; 16]);
    const SPOOL: SpoolId = SpoolId([2; 16]);
    const HASH: HashPrefix = HashPrefix([3; 8]);

    fn number(sequence: u64) -> Sequence {
        sequence.try_into().unwrap()
    }

    fn device(name: &str) -> DeviceId {
        name.parse().unwrap()
    }

    fn stored(spool: SpoolId, sequence: u64, arrival: Option<i64>) -> CommitOutcome {
        let capture = CaptureId { spool, sequence: number(sequence) };
        CommitOutcome::Stored { id: PictureId { capture, hash: HASH }, arrival }
    }

    #[test]
    fn a_repeat_earns_the_receipt_of_the_first_time() {
        let porch = device("porch");
        let first = [(porch.clone(), stored(SPOOL, 1, Some(7)))];
        let repeat = [(porch, stored(SPOOL, 1, None))];
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
        let noted = |hash| CommitOutcome::EventStored { awaited: Some((SPOOL, HashPrefix([hash; 8]))) };
        let outcomes = [
            (device("porch"), noted(7)),
            (device("porch"), stored(SPOOL, 1, Some(1))),
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
            (device("porch"), stored(SPOOL, 1, Some(1))),
            (device("shed"), stored(SPOOL, 1, None)),
            (device("porch"), stored(other, 1, Some(2))),
            (device("porch"), stored(SPOOL, 2, Some(3))),
            // The same in one batch is said once.
            (device("porch"), stored(SPOOL, 2, None)),
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
                ("porch".to_owned(), SPOOL, vec![1, 2]),
                ("porch".to_owned(), other, vec![1]),
                ("shed".to_owned(), SPOOL, vec![1]),
            ]
        );
    }

    #[test]
    fn every_page_of_have_is_answered_by_itself() {
        let answered = |page| {
            CommitOutcome::InventoryAnswered(Receipt {
                inventory_ack: Some(InventoryAck { id: 4, page }),
                next: Some(number(9)),
                ..Receipt::new(STORE, SPOOL)
            })
        };
        let outcomes = [
            (device("porch"), answered(0)),
            (device("porch"), stored(SPOOL, 1, None)),
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
        let want = |sequence| ResendRequest { sequence: number(sequence), ranges: ranges.to_vec() };
        (first..first + 500).map(want).collect()
    }

    #[test]
    fn what_many_statuses_want_is_asked_for_once_and_in_receipts_that_can_be_read() {
        let reported = |first| CommitOutcome::StatusStored { wants: vec![(SPOOL, wanted(first, &[]))] };
        let mut outcomes: Vec<_> = (0..31).map(|batch| (device("porch"), reported(1 + 250 * batch))).collect();
        outcomes.push((device("porch"), stored(SPOOL, 9000, None)));
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
        let outcome = CommitOutcome::InventoryAnswered(Receipt {
            stored: vec![(number(1), HASH)],
            want: want.clone(),
            inventory_ack: Some(InventoryAck { id: 4, page: 0 }),
            next: Some(number(9)),
            ..Receipt::new(STORE, SPOOL)
        });
        let receipts = receipts(STORE, &[(device("porch"), outcome)]);
        for (at, (_, receipt)) in receipts.iter().enumerate() {
            assert!(codec::decode::<Receipt>(&codec::encode(receipt)).is_ok());
            let last = at + 1 == receipts.len();
            assert_eq!((receipt.inventory_ack.is_some(), receipt.next.is_some()), (last, last));
        }
        want[7].ranges.clear();
        let asked: Vec<ResendRequest> = receipts.iter().flat_map(|(_, receipt)| receipt.want.clone()).collect();
        assert_eq!(asked, want);
        let said: Vec<_> = receipts.iter().flat_map(|(_, receipt)| receipt.stored.clone()).collect();
        assert_eq!(said, [(number(1), HASH)]);
    }
}
