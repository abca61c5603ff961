//! Receipts and resend requests of the cloud, compared with the files on the card (P2).

use keepsake_protocol::{CaptureId, HashPrefix};

use super::index::Row;
use super::{Key, PendingCapture, Spool, SpoolError};

/// A receipt that came before this machine knew the time.
pub(super) const UNDATED: i64 = 0;

impl Spool {
    /// Takes the cloud's word that a capture is committed: number **and** hash must match. From now on it is removable.
    /// Returns its key, and whether this is news. `now_us`: the time, if the clock can be trusted.
    pub fn mark_received(&mut self, id: CaptureId, hash: HashPrefix, now_us: Option<i64>) -> Option<(Key, bool)> {
        let key = self.key_of(id)?;
        let entry = self.captures.get(&key).filter(|entry| entry.name.hash == hash)?;
        let is_news = entry.received_us.is_none();
        if is_news {
            self.set_received(key, now_us.unwrap_or(UNDATED));
        }
        Some((key, is_news))
    }

    /// The cloud asks for a capture (again): it waits once more.
    pub fn requeue(&mut self, id: CaptureId) -> Option<PendingCapture> {
        let key = self.key_of(id)?;
        let entry = self.captures.get_mut(&key)?;
        if entry.received_us.take().is_some() {
            self.index.put(id, entry.name.hash, &Row { received_us: None, attempts: entry.attempts });
        }
        let entry = self.captures.get(&key)?;
        Some(self.to_pending(key, entry))
    }

    /// Returns the capture with this number and hash, if it has no receipt.
    pub(crate) fn find_pending(&self, id: CaptureId, hash: HashPrefix) -> Option<PendingCapture> {
        let key = self.key_of(id)?;
        let entry = self.captures.get(&key)?;
        (entry.name.hash == hash && entry.received_us.is_none()).then(|| self.to_pending(key, entry))
    }

    /// Forgets which cloud this camera belongs to, and offers the next one all that is here. Returns how many.
    pub fn forget_cloud(&mut self) -> Result<usize, SpoolError> {
        self.pin_store(None)?;
        let kept: Vec<Key> = self
            .captures
            .iter()
            .filter(|(_, entry)| entry.received_us.is_some())
            .map(|(key, _)| *key)
            .collect();
        for key in &kept {
            if let Some(id) = self.id_of(*key) {
                self.requeue(id);
            }
        }
        Ok(self.captures.len())
    }

    pub(super) fn set_received(&mut self, key: Key, received_us: i64) {
        let Some(id) = self.id_of(key) else { return };
        let Some(entry) = self.captures.get_mut(&key) else {
            return;
        };
        entry.received_us = Some(received_us);
        let row = Row { received_us: entry.received_us, attempts: entry.attempts };
        self.index.put(id, entry.name.hash, &row);
    }
}
