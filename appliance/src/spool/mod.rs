//! The durable queue: from [`Spool::append`] on, no power cut loses a capture (P1), and only a receipt makes it
//! removable (P2).
//!
//! Files are the truth (one a capture, see `file`); the sled `index` remembers what may be forgotten. The next
//! sequence is one more than the highest number in the folder of the spool id, so the file with the highest number is never
//! removed before a higher one is durable, and no number leaves the process before its file is. A folder that is
//! empty, or that wakes up in other hardware, starts a new spool id: numbers are never used twice.
//!
//! Bounded (P4): by bytes and by free space, with a reserve kept for the bookkeeping. When full, captures with a
//! receipt go first, then those of the interval, then of commands, each replaced by a tombstone that says so; pictures
//! of a button are refused rather than evicted unless the owner chose otherwise.
//!
//! Every call blocks for the disk. Nothing here knows the network or decides when to send. Source:
//! docs/decisions/0001-spool.md.

mod append;
mod error;
pub mod export;
mod file;
mod identity;
mod index;
mod query;
mod receipt_check;
mod room;
mod scan;
mod types;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use keepsake_protocol::capture::{CaptureMetadata, Cause};
use keepsake_protocol::event::{Tombstone, TombstoneReason};
use keepsake_protocol::{CaptureId, Sequence, SpoolId, StoreId};
use nix::fcntl::Flock;

use crate::durable_file;
pub use error::SpoolError;
use file::{CaptureReader, Condition, FileName, ReadError, read_tombstone};
use identity::Identity;
use index::{Index, Row};
pub use types::{Appended, Key, Limits, NewCapture, NewTombstone, PendingCapture, SpoolChange};

#[derive(Debug, Clone)]
struct Entry {
    name: FileName,
    row: Row,
    /// Its bytes were read and compared in this process, or written by it.
    verified: bool,
    cause: Option<Cause>,
}

impl Entry {
    /// Returns true while it has no receipt.
    fn is_pending(&self) -> bool {
        self.row.received_us.is_none()
    }
}

#[derive(Debug)]
struct Generation {
    id: SpoolId,
    next: Sequence,
}

/// The spool of one camera. See the module for what it promises.
pub struct Spool {
    root: PathBuf,
    limits: Limits,
    identity: Identity,
    /// By rank; the last one is current.
    generations: Vec<Generation>,
    captures: BTreeMap<Key, Entry>,
    /// Bytes of all files.
    bytes: u64,
    index: Index,
    warnings: Vec<String>,
    /// Bytes that found no room the last time.
    unmet_bytes: Option<u64>,
    /// The file that was not written completely: what the disk has of it is unknown.
    poisoned_by: Option<(SpoolId, FileName)>,
    poisoned: bool,
    fingerprint: String,
    /// Held for as long as the spool is open; the kernel releases it when the process ends, however it ends.
    lock: Option<Flock<File>>,
}

impl Spool {
    /// Opens or makes the spool in `root`. `fingerprint` names the hardware and the camera account: another one than
    /// last time starts a new spool id.
    ///
    /// Reads names and lengths, not frames, but for the newest file of each spool id, which a power cut may have torn:
    /// torn files are moved to `torn/` and become tombstones, and whole ones come back from there. What a person should know is in [`Spool::warnings`].
    ///
    /// # Errors
    /// [`SpoolError::InUse`]: exit. [`SpoolError::Disk`]: the folder cannot be used now; nothing was given up, and it may
    /// be tried again.
    pub fn open(root: &Path, limits: Limits, fingerprint: &str, now_us: Option<i64>) -> Result<Self, SpoolError> {
        let lock = scan::lock(root)?;
        let scan = scan::open(root, fingerprint, &|_, _| false)?;
        Self::open_scanned(root, limits, fingerprint, now_us, lock, scan)
    }

    /// Other bounds from the next capture on; what is above them goes when room is made.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Opens it again after a file was not written completely. If the file is whole, it is written again: asked to flush
    /// once more, the disk may claim that all is well with it. All keys may change.
    ///
    /// # Errors
    /// The same as [`Spool::open`]; the spool stays unusable and this may be tried again.
    pub fn reopen(&mut self, now_us: Option<i64>) -> Result<(), SpoolError> {
        self.index.close();
        self.poisoned = true;
        if let Some((spool_id, name)) = self.poisoned_by {
            let path = self.folder(spool_id).join(name.to_string());
            match file::inspect(&path, &name) {
                Condition::Whole => file::write_again(&path).map_err(SpoolError::Disk)?,
                Condition::Unreadable(ReadError::Io { source, .. }) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(SpoolError::Disk(source));
                }
                Condition::Torn | Condition::Unreadable(_) => {}
            }
        }
        let lock = match self.lock.take() {
            Some(lock) => lock,
            None => scan::lock(&self.root)?,
        };
        let (root, limits, fingerprint) = (self.root.clone(), self.limits.clone(), self.fingerprint.clone());
        let scan = scan::open(&root, &fingerprint, &|spool_id, name| self.is_durable(spool_id, name))?;
        *self = Self::open_scanned(&root, limits, &fingerprint, now_us, lock, scan)?;
        Ok(())
    }

    /// Returns whether this file has been made durable by this process.
    fn is_durable(&self, spool_id: SpoolId, name: &FileName) -> bool {
        let key = self.key_of(CaptureId { spool: spool_id, sequence: name.sequence });
        let entry = key.and_then(|key| self.captures.get(&key));
        self.poisoned_by == Some((spool_id, *name)) || entry.is_some_and(|entry| entry.name == *name)
    }

    fn open_scanned(
        root: &Path,
        limits: Limits,
        fingerprint: &str,
        now_us: Option<i64>,
        lock: Flock<File>,
        scan: scan::Scan,
    ) -> Result<Self, SpoolError> {
        let mut opened = Index::open(root);
        let mut warnings = scan.warnings;
        warnings.append(&mut opened.warnings);
        let mut spool = Self {
            root: root.to_owned(),
            limits,
            identity: scan.identity,
            generations: scan
                .generations
                .iter()
                .map(|found| Generation { id: found.id, next: found.next })
                .collect(),
            captures: BTreeMap::new(),
            bytes: 0,
            index: opened.index,
            warnings,
            unmet_bytes: None,
            poisoned_by: None,
            poisoned: false,
            fingerprint: fingerprint.to_owned(),
            lock: Some(lock),
        };
        for (generation, found) in (0..).zip(&scan.generations) {
            for name in &found.names {
                let id = CaptureId { spool: found.id, sequence: name.sequence };
                let row = opened.rows.remove(&(id, name.hash)).unwrap_or_default();
                let entry = Entry { name: *name, row, verified: false, cause: None };
                spool.bytes += name.file_bytes();
                spool.captures.insert(Key { generation, sequence: name.sequence }, entry);
            }
        }
        spool.bring_back_whole_files();
        spool.remove_orphan_rows(&opened.rows);
        if let Err(error) = spool.tidy(now_us) {
            tracing::warn!(error = crate::error::display_chain(&error), "tidy the spool");
        }
        for (spool_id, name) in scan.torn {
            match spool.set_aside(spool_id, name, TombstoneReason::PowerLostWhileSaving) {
                Ok(_) => {}
                // A full card must not keep the camera from starting, or it would never be drained. The torn file keeps
                // its number until a later start.
                Err(error @ (SpoolError::Full { .. } | SpoolError::Disk(_))) if !spool.poisoned => {
                    let (number, error) = (name.sequence, crate::error::display_chain(&error));
                    spool
                        .warnings
                        .push(format!("capture {number} is torn, and cannot be set aside yet: {error}"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(spool)
    }

    /// Returns the warnings of the last opening, in plain sentences.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    pub fn spool_id(&self) -> SpoolId {
        self.generations.last().expect("opening makes one").id
    }

    /// The next sequence this spool will give out.
    pub fn next(&self) -> Sequence {
        self.generations.last().expect("opening makes one").next
    }

    /// The cloud this camera belongs to, if it has met one.
    pub fn store(&self) -> Option<StoreId> {
        self.identity.store
    }

    /// Pins the first cloud it meets; a later other one changes nothing. `None` forgets.
    pub fn pin_store(&mut self, store: Option<StoreId>) -> Result<(), SpoolError> {
        self.identity.store = store;
        self.identity.write(&self.root).map_err(SpoolError::Disk)
    }

    /// Starts a new spool id: for numbers that the cloud knows better. Waiting captures keep theirs.
    pub fn start_new_generation(&mut self) -> Result<SpoolId, SpoolError> {
        let id = identity::new_spool_id();
        std::fs::create_dir_all(self.folder(id)).map_err(SpoolError::Disk)?;
        durable_file::sync_folder(&scan::frames(&self.root)).map_err(SpoolError::Disk)?;
        let mut identity = self.identity.clone();
        identity.spools.push(id);
        identity.write(&self.root).map_err(SpoolError::Disk)?;
        self.identity = identity;
        self.generations.push(Generation { id, next: Sequence::FIRST });
        Ok(id)
    }

    /// The record of a waiting picture and `len` of its bytes from `offset`, read from the card.
    ///
    /// The first read of a capture in this process reads all of it and compares its hash, so that what the card
    /// damaged is never sent.
    ///
    /// # Errors
    /// [`SpoolError::Gone`]; [`SpoolError::Damaged`]: something took its place; [`SpoolError::Disk`].
    pub fn read(&mut self, key: Key, offset: u64, len: u64) -> Result<(CaptureMetadata, Vec<u8>), SpoolError> {
        let (path, entry) = self.find(key)?;
        let (name, verified) = (entry.name, entry.verified);
        if name.is_tombstone() {
            // It was given up since it was queued.
            return Err(SpoolError::Damaged { change: SpoolChange::Pending(self.to_pending(key, entry)) });
        }
        let read = CaptureReader::open(&path, &name).and_then(|mut reader| {
            if !verified {
                reader.verify()?;
            }
            let bytes = reader.read(offset, len)?;
            Ok((reader.record().clone(), bytes))
        });
        match read {
            Ok(found) => {
                if let Some(entry) = self.captures.get_mut(&key) {
                    entry.verified = true;
                }
                Ok(found)
            }
            Err(error) => Err(self.handle_read_error(key, error)),
        }
    }

    /// The bytes of a waiting tombstone, to be sent as they are.
    pub fn read_tombstone(&mut self, key: Key) -> Result<Vec<u8>, SpoolError> {
        let (path, entry) = self.find(key)?;
        read_tombstone(&path, &entry.name).map_err(|error| self.handle_read_error(key, error))
    }

    /// Notes how often a capture was tried; the index may forget it.
    pub fn record_attempts(&mut self, key: Key, attempts: u32) {
        self.update_row(key, |row| row.attempts = attempts);
    }

    /// (free, total) bytes of the file system.
    pub fn space(&self) -> io::Result<(u64, u64)> {
        space(&self.root)
    }

    /// Writes what the index still holds in memory.
    pub fn close(mut self) {
        self.index.close();
    }

    /// Returns true after a file was not written completely: what the disk holds is unknown until the spool is opened
    /// again.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Changes what the index knows of a capture, if it is still on the card.
    fn update_row(&mut self, key: Key, change: impl FnOnce(&mut Row)) {
        if let Some(id) = self.id_of(key)
            && let Some(entry) = self.captures.get_mut(&key)
        {
            change(&mut entry.row);
            self.index.put(id, entry.name.hash, &entry.row);
        }
    }

    fn keys(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<Key> {
        let captures = self.captures.iter().filter(|(_, entry)| wanted(entry));
        captures.map(|(key, _)| *key).collect()
    }

    /// Returns the place of the current spool id among those of this spool.
    fn current(&self) -> u32 {
        u32::try_from(self.generations.len() - 1).expect("far fewer spool ids")
    }

    fn check_not_poisoned(&self) -> Result<(), SpoolError> {
        (!self.poisoned).then_some(()).ok_or(SpoolError::Poisoned)
    }

    fn folder(&self, spool_id: SpoolId) -> PathBuf {
        scan::frames(&self.root).join(spool_id.to_string())
    }

    /// Returns the number of the capture with this key; `None` for a spool id that this spool does not have.
    pub(crate) fn id_of(&self, key: Key) -> Option<CaptureId> {
        let spool_id = self.generations.get(key.generation as usize)?.id;
        Some(CaptureId { spool: spool_id, sequence: key.sequence })
    }

    fn key_of(&self, id: CaptureId) -> Option<Key> {
        let generation = self.generations.iter().position(|generation| generation.id == id.spool)?;
        Some(Key {
            generation: u32::try_from(generation).ok()?,
            sequence: id.sequence,
        })
    }

    /// Returns the file of a capture, and what is known of it.
    fn find(&self, key: Key) -> Result<(PathBuf, &Entry), SpoolError> {
        let entry = self.captures.get(&key).ok_or(SpoolError::Gone)?;
        let generation = self.generations.get(key.generation as usize).ok_or(SpoolError::Gone)?;
        Ok((self.folder(generation.id).join(entry.name.to_string()), entry))
    }

    fn to_pending(&self, key: Key, entry: &Entry) -> PendingCapture {
        PendingCapture {
            key,
            id: self.id_of(key).expect("every key has a spool id"),
            hash: entry.name.hash,
            total: entry.name.total,
            tombstone: entry.name.is_tombstone(),
            attempts: entry.row.attempts,
        }
    }

    fn remove(&mut self, key: Key) -> Result<(), SpoolError> {
        let (path, _) = self.find(key)?;
        std::fs::remove_file(path).map_err(SpoolError::Disk)?;
        self.drop_entry(key);
        Ok(())
    }

    fn drop_entry(&mut self, key: Key) {
        if let Some(entry) = self.captures.remove(&key) {
            self.bytes -= entry.name.file_bytes();
            if let Some(id) = self.id_of(key) {
                self.index.remove(id, entry.name.hash);
            }
        }
    }

    /// Sets a torn or damaged file aside; a tombstone takes its sequence, durable before the file moves.
    fn set_aside(
        &mut self,
        spool: SpoolId,
        name: FileName,
        reason: TombstoneReason,
    ) -> Result<SpoolChange, SpoolError> {
        let tombstone = Tombstone {
            spool,
            sequence: name.sequence,
            through: (name.last() > name.sequence).then(|| name.last()),
            reason,
            cause: Cause::Button,
            command: None,
            pressed: None,
        };
        let pending = self.store_tombstone(&tombstone)?;
        scan::set_torn_aside(&self.root, &self.folder(spool), &name).map_err(SpoolError::Disk)?;
        self.warnings
            .push(format!("capture {} was set aside: {}", name.sequence, reason.describe()));
        Ok(SpoolChange::Pending(pending))
    }

    fn handle_read_error(&mut self, key: Key, error: ReadError) -> SpoolError {
        match error {
            ReadError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                tracing::warn!(sequence = key.sequence.get(), "a capture's file is gone from the card");
                self.identity.lost += 1;
                let _ = self.identity.write(&self.root);
                self.drop_entry(key);
                SpoolError::Damaged { change: SpoolChange::Removed(key) }
            }
            ReadError::Io { source, .. } => SpoolError::Disk(source),
            ReadError::Damaged { .. } => {
                let (Some(id), Some(entry)) = (self.id_of(key), self.captures.get(&key)) else {
                    return SpoolError::Gone;
                };
                self.set_aside(id.spool, entry.name, TombstoneReason::CardDamaged)
                    .map_or_else(|error| error, |change| SpoolError::Damaged { change })
            }
        }
    }

    /// Rows of captures whose file is gone: fine when they had a receipt, a loss when not.
    fn remove_orphan_rows(&mut self, rows: &index::Rows) {
        let mut lost = 0;
        for ((id, hash), row) in rows {
            self.index.remove(*id, *hash);
            // A tombstone of the same number has taken the place of a capture that was given up.
            let replaced = self.key_of(*id).is_some_and(|key| self.captures.contains_key(&key));
            if row.received_us.is_none() && !replaced {
                lost += 1;
            }
        }
        if lost > 0 {
            self.warnings.push(format!("{lost} captures that were waiting are gone from the card"));
            self.identity.lost += lost;
            if let Err(error) = self.identity.write(&self.root) {
                tracing::warn!(%error, "note the captures that are gone");
            }
        }
    }

    /// Takes whole pictures back from `torn/` in the place of the tombstones that gave them up.
    fn bring_back_whole_files(&mut self) {
        for (spool_id, name, path) in scan::whole_in_torn(&self.root) {
            let Some(key) = self.key_of(CaptureId { spool: spool_id, sequence: name.sequence }) else {
                continue;
            };
            let Some((tombstone, entry)) = self.find(key).ok().filter(|(_, entry)| entry.name.is_tombstone()) else {
                continue;
            };
            if entry.name.last() > name.sequence {
                continue;
            }
            let target = self.folder(spool_id).join(name.to_string());
            let returned = std::fs::read(&path)
                .and_then(|bytes| durable_file::replace(&target, &bytes))
                .and_then(|()| std::fs::remove_file(tombstone));
            if let Err(error) = returned {
                self.warnings
                    .push(format!("capture {} in torn/ is whole and stays there: {error}", name.sequence));
                continue;
            }
            let _ = std::fs::remove_file(path);
            self.drop_entry(key);
            self.bytes += name.file_bytes();
            let entry = Entry { name, row: Row::default(), verified: false, cause: None };
            self.captures.insert(key, entry);
            self.warnings.push(format!("capture {} is whole and came back from torn/", name.sequence));
        }
    }
}

/// Returns the fingerprint under which the spool in `root` was made; `None` where there is none yet.
pub fn fingerprint(root: &Path) -> io::Result<Option<String>> {
    Ok(Identity::read(root)?.map(|identity| identity.fingerprint))
}

/// (free, total) bytes of the file system at `path`; free as an ordinary user may use it.
pub fn space(path: &Path) -> io::Result<(u64, u64)> {
    let found = nix::sys::statvfs::statvfs(path)?;
    let unit = found.fragment_size();
    Ok((found.blocks_available().saturating_mul(unit), found.blocks().saturating_mul(unit)))
}
