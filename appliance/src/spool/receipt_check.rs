//! Receipts and resend requests of the cloud, compared with the files on the card (P2).

use keepsake_protocol::{CaptureId, HashPrefix};

use super::{Key, PendingCapture, Spool, SpoolError};

/// A receipt that came before this machine knew the time.
pub(super) const UNDATED: i64 = 0;

impl Spool {
    /// Marks a capture as committed by the cloud, if number **and** hash match. From now on it is removable.
    /// Returns its key, and true if it had no receipt before. `now_us`: the time, if the clock can be trusted.
    pub fn mark_received(&mut self, id: CaptureId, hash: HashPrefix, now_us: Option<i64>) -> Option<(Key, bool)> {
        let key = self.key_of(id)?;
        let entry = self.captures.get(&key).filter(|entry| entry.name.hash == hash)?;
        let is_news = entry.is_pending();
        if is_news {
            self.update_row(key, |row| row.received_us = Some(now_us.unwrap_or(UNDATED)));
        }
        Some((key, is_news))
    }

    /// Makes a capture pending again, because the cloud asks for it.
    pub fn requeue(&mut self, id: CaptureId) -> Option<PendingCapture> {
        let key = self.key_of(id)?;
        if !self.captures.get(&key)?.is_pending() {
            self.update_row(key, |row| row.received_us = None);
        }
        Some(self.to_pending(key, self.captures.get(&key)?))
    }

    /// Returns the capture with this number and hash, if it has no receipt.
    pub(crate) fn find_pending(&self, id: CaptureId, hash: HashPrefix) -> Option<PendingCapture> {
        let key = self.key_of(id)?;
        let entry = self.captures.get(&key)?;
        (entry.name.hash == hash && entry.is_pending()).then(|| self.to_pending(key, entry))
    }

    /// Forgets which cloud this camera belongs to, and offers the next one every capture on the card. Returns how many.
    pub fn unpair(&mut self) -> Result<usize, SpoolError> {
        self.pin_store(None)?;
        for key in self.keys(|entry| !entry.is_pending()) {
            self.update_row(key, |row| row.received_us = None);
        }
        Ok(self.captures.len())
    }
}
