//! Questions about what the spool holds.

use keepsake_protocol::Sequence;
use keepsake_protocol::ranges::{RANGES_MAX, Ranges};
use keepsake_protocol::status::{Queue, SpoolInventory};

use super::file::CaptureReader;
use super::{Key, PendingCapture, Spool};

impl Spool {
    /// All captures without a receipt, oldest first.
    pub fn pending(&self) -> Vec<PendingCapture> {
        self.captures
            .iter()
            .filter(|(_, entry)| entry.is_pending())
            .map(|(key, entry)| self.to_pending(*key, entry))
            .collect()
    }

    /// Returns what the cloud must know of this card, the current spool id first.
    pub fn inventory(&self) -> Vec<SpoolInventory> {
        let mut all: Vec<SpoolInventory> = (0..)
            .zip(&self.generations)
            .map(|(place, generation)| {
                let key = |sequence| Key { generation: place, sequence };
                let range = key(Sequence::FIRST)..=key(Sequence::MAX);
                let ranges = |pending: bool| -> Ranges {
                    self.captures
                        .range(range.clone())
                        .filter(|(_, entry)| entry.is_pending() == pending)
                        .map(|(_, entry)| (entry.name.sequence, entry.name.last()))
                        .collect()
                };
                let (mut waiting, mut kept) = (ranges(true), ranges(false));
                let coarse = waiting.coarsen(RANGES_MAX) | kept.coarsen(RANGES_MAX);
                SpoolInventory {
                    spool: generation.id,
                    next: generation.next,
                    waiting,
                    kept,
                    coarse,
                }
            })
            .collect();
        all.reverse();
        all
    }

    /// Returns the totals of what is pending. Rejections and the upload rate are not known here.
    pub fn queue(&self) -> Queue {
        let pending = || self.captures.iter().filter(|(_, entry)| entry.is_pending());
        let oldest = pending().find(|(_, entry)| !entry.name.is_tombstone()).and_then(|(key, entry)| {
            let (path, _) = self.find(*key).ok()?;
            Some(CaptureReader::open(&path, &entry.name).ok()?.record().pressed)
        });
        Queue {
            waiting: pending().count() as u64,
            waiting_bytes: pending().map(|(_, entry)| entry.name.total).sum(),
            oldest,
            lost: self.identity.lost,
            ..Queue::default()
        }
    }
}
