//! Making room: what goes first when the card is full, and what is tidied away when it need not stay (P4).
//!
//! With a receipt first, then of the interval, then of commands, then, if the owner chose so, of the button. What goes
//! without a receipt leaves a tombstone, durable before the picture goes. The file with the highest number of the
//! current spool id always stays: the next number is read from it.

use keepsake_protocol::capture::Cause;
use keepsake_protocol::event::{Event, TOMBSTONE_RANGE_MAX, Tombstone, TombstoneReason};

use super::file::CaptureReader;
use super::receipt_check::UNDATED;
use super::{Entry, Key, Spool, SpoolChange, SpoolError};
use crate::settings::WhenFull;

/// The largest size of a tombstone, bytes.
const TOMBSTONE_BYTES: u64 = 512;
/// More tombstones than this are joined to ranges.
const TOMBSTONES_MAX: usize = 1000;

impl Spool {
    /// Removes captures with a receipt that are older than they need to be, or take more room than they may.
    ///
    /// `now_us`: the time, if the clock can be trusted. Without it nothing counts as old, and an age begins to count when
    /// the time is known for the first time: no clock that jumps removes anything early.
    pub fn tidy(&mut self, now_us: Option<i64>) -> Result<(), SpoolError> {
        self.check_not_poisoned()?;
        let received: Vec<(Key, u64, i64)> = self
            .captures
            .iter()
            .filter_map(|(key, entry)| Some((*key, entry.name.file_bytes(), entry.row.received_us?)))
            .collect();
        let mut kept_bytes: u64 = received.iter().map(|(_, bytes, _)| bytes).sum();
        let keep_us = i64::try_from(self.limits.keep_for.as_micros()).unwrap_or(i64::MAX);
        for (key, bytes, received_us) in received {
            let age_us = now_us.map_or(0, |now_us| now_us.saturating_sub(received_us));
            if received_us == UNDATED {
                if let Some(now_us) = now_us {
                    self.update_row(key, |row| row.received_us = Some(now_us));
                }
            } else if age_us > keep_us && self.is_removable(key) {
                self.remove(key)?;
                kept_bytes -= bytes;
                continue;
            }
            if kept_bytes > self.limits.keep_bytes && self.is_removable(key) {
                self.remove(key)?;
                kept_bytes -= bytes;
            }
        }
        Ok(())
    }

    /// Returns true if something did not fit last and would fit now, once what has a receipt has made room.
    pub fn has_room_again(&self) -> bool {
        let Some(needed) = self.unmet_bytes else {
            return false;
        };
        let removable = self.captures.values().filter(|entry| !entry.is_pending());
        let gain: u64 = removable.map(|entry| entry.name.file_bytes()).sum();
        self.shortfall(needed).is_ok_and(|shortfall| shortfall <= gain)
    }

    /// Returns true if a file may be removed without its number coming back: it is not the highest of the current spool id.
    fn is_removable(&self, key: Key) -> bool {
        let is_below = |entry: &Entry| entry.name.last().next() < self.next();
        self.captures
            .get(&key)
            .is_some_and(|entry| key.generation != self.current() || is_below(entry))
    }

    fn fits(&self, needed: u64) -> Result<bool, SpoolError> {
        Ok(self.shortfall(needed)? == 0)
    }

    /// Returns how many bytes would have to go before `needed` more find room.
    fn shortfall(&self, needed: u64) -> Result<u64, SpoolError> {
        let (free, _) = self.space().map_err(SpoolError::Disk)?;
        let by_size = self.bytes.saturating_add(needed).saturating_sub(self.limits.bytes_max);
        let by_space = needed.saturating_add(self.limits.reserve_bytes).saturating_sub(free);
        Ok(by_size.max(by_space))
    }

    /// Removes by policy until `needed` bytes fit: with a receipt, of the interval, of commands, of the button if the
    /// owner chose so.
    pub(super) fn make_room(&mut self, needed: u64) -> Result<Vec<SpoolChange>, SpoolError> {
        let made = self.try_to_make_room(needed);
        self.unmet_bytes = matches!(made, Err(SpoolError::Full { .. })).then_some(needed);
        made
    }

    fn try_to_make_room(&mut self, needed: u64) -> Result<Vec<SpoolChange>, SpoolError> {
        let mut changes = Vec::new();
        if self.fits(needed)? {
            return Ok(changes);
        }
        for key in self.keys(|entry| !entry.is_pending()) {
            if self.is_removable(key) {
                self.remove(key)?;
                if self.fits(needed)? {
                    return Ok(changes);
                }
            }
        }
        let mut sacrifices: Vec<(u8, Key)> = Vec::new();
        for key in self.keys(|entry| entry.is_pending() && !entry.name.is_tombstone()) {
            let worth = match self.cause_of(key) {
                Some(Cause::Interval) => 0,
                Some(Cause::Command | Cause::Test | Cause::Upload) => 1,
                Some(Cause::Button) | None => 2,
            };
            if worth < 2 || self.limits.when_full == WhenFull::DropOldest {
                sacrifices.push((worth, key));
            }
        }
        sacrifices.sort_unstable();
        // Nothing is given up in vain: only if what may go makes enough room.
        let gives = |entry: &Entry| entry.name.file_bytes().saturating_sub(TOMBSTONE_BYTES);
        let gain: u64 = sacrifices.iter().filter_map(|(_, key)| self.captures.get(key)).map(gives).sum();
        if gain < self.shortfall(needed)? {
            return Err(SpoolError::Full { needed });
        }
        for (_, key) in sacrifices {
            changes.push(self.evict(key)?);
            if self.fits(needed)? {
                self.merge_tombstones(&mut changes)?;
                return Ok(changes);
            }
        }
        Err(SpoolError::Full { needed })
    }

    fn cause_of(&mut self, key: Key) -> Option<Cause> {
        let (path, entry) = self.find(key).ok()?;
        if entry.cause.is_none() {
            let cause = CaptureReader::open(&path, &entry.name).ok()?.record().cause;
            self.captures.get_mut(&key)?.cause = Some(cause);
        }
        self.captures.get(&key)?.cause
    }

    /// Replaces a waiting picture by a tombstone: the tombstone is durable before the picture goes.
    fn evict(&mut self, key: Key) -> Result<SpoolChange, SpoolError> {
        let (path, entry) = self.find(key)?;
        let record = CaptureReader::open(&path, &entry.name).ok().map(|reader| reader.record().clone());
        let tombstone = Tombstone {
            spool: self.generations[key.generation as usize].id,
            sequence: key.sequence,
            through: None,
            reason: TombstoneReason::MadeRoom,
            cause: record.as_ref().map_or(Cause::Button, |record| record.cause),
            command: record.as_ref().and_then(|record| record.command.clone()),
            pressed: record.map(|record| record.pressed),
        };
        let pending = self.store_tombstone(&tombstone)?;
        std::fs::remove_file(path).map_err(SpoolError::Disk)?;
        Ok(SpoolChange::Pending(pending))
    }

    /// Joins neighbours with the same reason if there are more than [`TOMBSTONES_MAX`] tombstones. The range is durable
    /// before the single ones go.
    pub(super) fn merge_tombstones(&mut self, changes: &mut Vec<SpoolChange>) -> Result<(), SpoolError> {
        let tombstones = self.keys(|entry| entry.name.is_tombstone() && entry.is_pending());
        if tombstones.len() <= TOMBSTONES_MAX {
            return Ok(());
        }
        let mut run: Vec<(Key, Tombstone)> = Vec::new();
        for key in tombstones {
            let Ok(bytes) = self.read_tombstone(key) else {
                continue;
            };
            let Ok(Event::Tombstone(tombstone)) = keepsake_protocol::codec::decode::<Event>(&bytes) else {
                continue;
            };
            let joins = run.last().is_some_and(|(before_key, before)| {
                before_key.generation == key.generation
                    && before.last().next() == tombstone.sequence
                    && before.reason == tombstone.reason
                    && before.cause == tombstone.cause
                    && tombstone.last().get() - run[0].1.sequence.get() < TOMBSTONE_RANGE_MAX
            });
            if !joins {
                self.merge_run(&run, changes)?;
                run.clear();
            }
            run.push((key, tombstone));
        }
        self.merge_run(&run, changes)
    }

    fn merge_run(&mut self, run: &[(Key, Tombstone)], changes: &mut Vec<SpoolChange>) -> Result<(), SpoolError> {
        let (Some((first_key, first)), Some((_, last))) = (run.first(), run.last()) else {
            return Ok(());
        };
        if run.len() < 2 {
            return Ok(());
        }
        let joined = Tombstone { through: Some(last.last()), command: None, ..first.clone() };
        let (first_file, _) = self.find(*first_key)?;
        changes.push(SpoolChange::Pending(self.store_tombstone(&joined)?));
        std::fs::remove_file(first_file).map_err(SpoolError::Disk)?;
        for (key, _) in &run[1..] {
            self.remove(*key)?;
            changes.push(SpoolChange::Removed(*key));
        }
        Ok(())
    }
}
