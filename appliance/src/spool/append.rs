//! Storing captures and tombstones durably (P1).

use keepsake_protocol::capture::{CaptureMetadata, Cause};
use keepsake_protocol::event::{Event, Tombstone};
use keepsake_protocol::{CaptureId, Hash};

use super::file::{self, FileKind, FileName, WriteError, encode_trailer, write_durably};
use super::index::Row;
use super::{Appended, Entry, Key, NewCapture, NewTombstone, PendingCapture, Spool, SpoolChange, SpoolError};

/// A tombstone may use the reserve, but leaves this much of it for the file system's own bookkeeping, bytes.
const TOMBSTONE_FLOOR: u64 = 256 * 1024;

impl Spool {
    /// Stores one capture and returns once it would survive a power cut (P1).
    ///
    /// `bytes`: the picture, at least 1. Sequences rise by one and are never used again. Blocks for two flushes.
    ///
    /// # Errors
    /// [`SpoolError::Full`] and a first [`SpoolError::Disk`]: nothing was written, no number was used.
    /// After a failed flush every call says [`SpoolError::Poisoned`] until the spool is opened again.
    pub fn append(&mut self, new: &NewCapture<'_>) -> Result<Appended, SpoolError> {
        self.check_not_poisoned()?;
        let total = new.bytes.len() as u64;
        let changes = self.make_room(total + file::TRAILER_BYTES)?;
        let (spool_id, sequence) = (self.spool_id(), self.next());
        let record = CaptureMetadata {
            spool: spool_id,
            sequence,
            hash: Hash::of(new.bytes),
            total,
            content_type: new.content_type,
            width: new.width,
            height: new.height,
            cause: new.cause,
            command: new.command.clone(),
            pressed: new.pressed,
            captured_after_us: new.captured_after_us,
            settings_version: new.settings_version,
        };
        let trailer = encode_trailer(&record).map_err(SpoolError::Disk)?;
        let name = FileName {
            sequence,
            hash: record.hash.prefix(),
            total,
            kind: FileKind::Picture(new.content_type),
        };
        let pending = self.store_file(self.current(), &name, &[new.bytes, &trailer], new.cause)?;
        Ok(Appended { pending, record, changes })
    }

    /// Stores why a press has no picture, under the next sequence. It may use the reserve.
    pub fn append_tombstone(&mut self, new: NewTombstone) -> Result<(PendingCapture, Vec<SpoolChange>), SpoolError> {
        self.check_not_poisoned()?;
        let tombstone = Tombstone {
            spool: self.spool_id(),
            sequence: self.next(),
            through: None,
            reason: new.reason,
            cause: new.cause,
            command: new.command,
            pressed: new.pressed,
        };
        let pending = self.store_tombstone(&tombstone)?;
        let mut changes = Vec::new();
        if let Err(error) = self.merge_tombstones(&mut changes) {
            tracing::warn!(error = crate::error::display_chain(&error), "join tombstones");
        }
        Ok((pending, changes))
    }

    /// Writes a file of one of our spool ids and takes it into the books. Advances `next` past it.
    fn store_file(
        &mut self,
        generation: u32,
        name: &FileName,
        chunks: &[&[u8]],
        cause: Cause,
    ) -> Result<PendingCapture, SpoolError> {
        let spool_id = self.generations[generation as usize].id;
        let folder = self.folder(spool_id);
        match write_durably(&folder, name, chunks) {
            Ok(()) => {}
            Err(WriteError::Write(source)) => return Err(SpoolError::Disk(source)),
            Err(WriteError::Unknown(source)) => {
                self.poisoned = true;
                self.poisoned_by = Some((spool_id, *name));
                return Err(SpoolError::Disk(source));
            }
        }
        let generation_next = &mut self.generations[generation as usize].next;
        *generation_next = name.last().next().max(*generation_next);
        self.bytes += name.file_bytes();
        let key = Key { generation, sequence: name.sequence };
        let entry = Entry {
            name: *name,
            row: Row::default(),
            verified: true,
            cause: Some(cause),
        };
        let pending = self.to_pending(key, &entry);
        if let Some(before) = self.captures.insert(key, entry) {
            self.bytes -= before.name.file_bytes();
        }
        Ok(pending)
    }

    pub(super) fn store_tombstone(&mut self, tombstone: &Tombstone) -> Result<PendingCapture, SpoolError> {
        let id = CaptureId { spool: tombstone.spool, sequence: tombstone.sequence };
        let key = self.key_of(id).ok_or(SpoolError::Gone)?;
        let json = keepsake_protocol::codec::encode(&Event::Tombstone(tombstone.clone()));
        let total = json.len() as u64;
        let (free, _) = self.space().map_err(SpoolError::Disk)?;
        if free < total + TOMBSTONE_FLOOR {
            self.unmet_bytes.get_or_insert(total);
            return Err(SpoolError::Full { needed: total });
        }
        let name = FileName {
            sequence: tombstone.sequence,
            hash: Hash::of(&json).prefix(),
            total,
            kind: FileKind::Tombstone { last: tombstone.last() },
        };
        self.store_file(key.generation, &name, &[&json], tombstone.cause)
    }
}
