//! Questions about what the spool holds.

use keepsake_protocol::Sequence;
use keepsake_protocol::clock::ClockReading;
use keepsake_protocol::ranges::{RANGES_MAX, Ranges};
use keepsake_protocol::status::SpoolInventory;

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

    /// Returns what the cloud must know of this card, the current install first.
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

    /// (captures waiting, their bytes, rows of the index ever found without a file).
    pub fn queue_depth(&self) -> (u64, u64, u64) {
        let waiting = self.captures.values().filter(|entry| entry.is_pending());
        let (count, bytes) = waiting.fold((0, 0), |(count, bytes), entry| (count + 1, bytes + entry.name.total));
        (count, bytes, self.identity.lost)
    }

    /// When the oldest waiting picture was pressed.
    pub fn oldest_pressed(&self) -> Option<ClockReading> {
        let (key, entry) = self.captures.iter().find(|(_, entry)| entry.is_pending() && !entry.name.is_tombstone())?;
        let folder = self.folder(self.generations.get(key.generation as usize)?.id);
        Some(CaptureReader::open(&folder, &entry.name).ok()?.record().pressed)
    }
}
