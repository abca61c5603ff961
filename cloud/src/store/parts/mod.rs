//! Captures that came in parts and are not whole yet: files in the data directory, joined when the last part is here.
//!
//! A part earns no receipt, so losing one is always safe: `want`, or the camera's own backoff, brings it again. Parts
//! are therefore neither in the database nor synced to the disk; after a power cut a file may be short or hold other
//! bytes, which its length and CRC tell.
//!
//! `parts/DEVICE/SPOOL-SEQUENCE-HASH-TOTAL/START-LENGTH-CRC`: the names are the index, which is read at the start.

mod index;
mod operations;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use keepsake_protocol::capture::FrameHeader;
use keepsake_protocol::{DeviceId, Hash, HashPrefix, Sequence, SpoolId};
use parking_lot::Mutex;

use crate::ingest::operation::IngestOp;
use crate::objects::DurableObject;
use crate::store::error::{Result, StoreError};
use crate::store::limits::Limits;
use crate::store::parts::index::{CaptureKey, Index, Part, Unfinished};

/// The outcome of storing a part.
#[derive(Debug)]
pub(crate) enum PartOutcome {
    /// Bytes are missing, or there was no memory to join them with the others of a batch; then the camera sends a part
    /// again.
    Unfinished,
    /// All bytes, with the right hash. The parts stay until [`Parts::remove`].
    Whole(Vec<u8>),
    /// All bytes, with another hash although every part is as it was sent; the parts are gone.
    WrongHash(Vec<u8>),
}

/// The bytes of an unfinished capture that no part has.
#[derive(Debug)]
pub(crate) struct MissingBytes {
    pub(crate) capture: (Sequence, HashPrefix),
    /// Each is `[start, end)`.
    pub(crate) ranges: Vec<(u64, u64)>,
}

/// The parts of one batch.
#[derive(Debug, Default)]
pub(crate) struct BatchParts {
    /// By the place of the operation in the batch.
    pub(crate) outcomes: BTreeMap<usize, PartOutcome>,
    /// Captures whose parts are no longer needed once the batch is committed.
    pub(crate) settled: Vec<CaptureKey>,
    /// The objects of joined captures that no row names yet, by the place of the operation.
    pub(crate) objects: BTreeMap<usize, DurableObject>,
    /// Those that a row of the transaction names.
    pub(crate) named: Vec<DurableObject>,
}

/// Returns the capture of which an operation is a part.
pub(crate) fn part_key(operation: &IngestOp) -> Option<CaptureKey> {
    match operation {
        IngestOp::Capture { header, .. } if !header.is_whole() => Some(key_of(header)),
        _ => None,
    }
}

fn key_of(header: &FrameHeader) -> CaptureKey {
    (header.capture.spool, header.capture.sequence, header.capture.hash)
}

/// The parts of all unfinished captures. Clones share them.
#[derive(Debug, Clone)]
pub(in crate::store) struct Parts(Arc<PartFiles>);

#[derive(Debug)]
struct PartFiles {
    folder: PathBuf,
    limits: Limits,
    index: Mutex<Index>,
}

impl Parts {
    /// Reads the index from the names of the files. Changes nothing.
    pub(in crate::store) fn open(data: &Path, limits: Limits) -> Self {
        let folder = data.join("parts");
        let index = Mutex::new(read_index(&folder));
        Self(Arc::new(PartFiles { folder, limits, index }))
    }

    /// Stores a part, and joins the capture if that was the last one missing and it has at most `join_bytes_max`.
    ///
    /// # Errors
    /// [`StoreError::Parts`] if the file cannot be written; the same part may simply be stored again.
    pub(in crate::store) async fn put(
        &self,
        device: &DeviceId,
        header: &FrameHeader,
        bytes: Bytes,
        now_us: i64,
        join_bytes_max: u64,
    ) -> Result<PartOutcome> {
        let (files, device, header) = (self.0.clone(), device.clone(), header.clone());
        // Hashing 64 MiB takes long enough to be felt by every other task of the thread.
        tokio::task::spawn_blocking(move || files.put(device, &header, &bytes, now_us, join_bytes_max))
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(StoreError::Parts)
    }

    /// Removes the parts of captures that have a fate by now.
    pub(in crate::store) async fn remove(&self, settled: Vec<CaptureKey>) {
        let files = self.0.clone();
        // What a panic leaves is removed when it is stale.
        let _ = tokio::task::spawn_blocking(move || settled.iter().for_each(|key| files.remove(key))).await;
    }

    /// Returns what is missing of the unfinished captures within a span of sequences.
    pub(in crate::store) fn unfinished(&self, spool: SpoolId, span: (Sequence, Sequence)) -> Vec<MissingBytes> {
        let index = self.0.index.lock();
        let within = index.within(spool, span);
        within
            .map(|((_, sequence, hash), unfinished)| MissingBytes {
                capture: (*sequence, hash.prefix()),
                ranges: unfinished.missing(),
            })
            .collect()
    }
}

impl PartFiles {
    fn put(
        &self,
        device: DeviceId,
        header: &FrameHeader,
        bytes: &[u8],
        now_us: i64,
        join_bytes_max: u64,
    ) -> io::Result<PartOutcome> {
        let record = &header.capture;
        let key = key_of(header);
        let known = self
            .index
            .lock()
            .get(&key)
            .map(|unfinished| (unfinished.total, unfinished.device.clone()));
        // One of the two messages lies about the length. Which one cannot be known, so the new one starts over.
        if known.as_ref().is_some_and(|(total, _)| *total != record.total) {
            self.remove(&key);
        }
        let device = known.map_or(device, |(_, device)| device);
        let part = Part {
            start: header.offset,
            len: header.len,
            crc: crc32fast::hash(bytes),
        };
        if self.index.lock().lacks(&key, &part) {
            self.write(key, Unfinished::new(device, record.total), part, bytes, now_us)?;
        }
        let complete = self.index.lock().get(&key).filter(|unfinished| unfinished.missing().is_empty()).cloned();
        Ok(match complete {
            Some(unfinished) if unfinished.total <= join_bytes_max => self.join(&key, &unfinished),
            Some(_) | None => PartOutcome::Unfinished,
        })
    }

    fn write(&self, key: CaptureKey, new: Unfinished, part: Part, bytes: &[u8], now_us: i64) -> io::Result<()> {
        let directory = self.folder.join(new.directory(&key));
        let file = directory.join(part.file_name());
        fs::create_dir_all(&directory)?;
        fs::write(&file, bytes).inspect_err(|_| drop(fs::remove_file(&file)))?;
        let mut index = self.index.lock();
        let replaced = index.add(key, new, part, now_us);
        // What is complete leaves at once; it makes room itself.
        let complete = index.get(&key).is_some_and(|unfinished| unfinished.missing().is_empty());
        let removed = if complete {
            Vec::new()
        } else {
            index.make_room(&key, &self.limits)
        };
        drop(index);
        if let Some(replaced) = replaced {
            let _ = fs::remove_file(directory.join(replaced.file_name()));
        }
        self.delete(&removed);
        Ok(())
    }

    /// Joins the parts of a capture without gaps. A part whose file is not as it was written is dropped, and asked for
    /// again.
    fn join(&self, key: &CaptureKey, unfinished: &Unfinished) -> PartOutcome {
        let directory = self.folder.join(unfinished.directory(key));
        let mut whole = Vec::new();
        let mut damaged = false;
        for part in unfinished.parts.values() {
            let file = directory.join(part.file_name());
            match fs::read(&file) {
                Ok(bytes) if bytes.len() as u64 == part.len && crc32fast::hash(&bytes) == part.crc => {
                    let overlap = (whole.len() as u64).saturating_sub(part.start);
                    let overlap = usize::try_from(overlap).unwrap_or(usize::MAX);
                    whole.extend_from_slice(bytes.get(overlap..).unwrap_or_default());
                }
                read => {
                    tracing::warn!(error = ?read.err(), "the part {} is damaged", file.display());
                    self.index.lock().drop_part(key, part);
                    let _ = fs::remove_file(&file);
                    damaged = true;
                }
            }
        }
        if damaged {
            PartOutcome::Unfinished
        } else if Hash::of(&whole) == key.2 {
            PartOutcome::Whole(whole)
        } else {
            self.remove(key);
            PartOutcome::WrongHash(whole)
        }
    }

    fn remove(&self, key: &CaptureKey) {
        let removed = self.index.lock().remove(key);
        if let Some(unfinished) = removed {
            self.delete(&[(*key, unfinished)]);
        }
    }

    fn delete(&self, removed: &[(CaptureKey, Unfinished)]) {
        for (key, unfinished) in removed {
            let directory = self.folder.join(unfinished.directory(key));
            if let Err(error) = fs::remove_dir_all(&directory) {
                tracing::warn!("remove {}: {error}", directory.display());
            }
            // The directory of the camera, if that was its last capture.
            let _ = directory.parent().map(fs::remove_dir);
        }
    }
}

/// Reads which parts are here. What is not ours, or not as long as its name says, is left out.
fn read_index(folder: &Path) -> Index {
    let mut index = Index::default();
    for (device, device_folder) in entries(folder) {
        for (capture, capture_folder) in entries(&device_folder) {
            let Some((key, mut unfinished)) = Unfinished::parse(&device, &capture) else {
                continue;
            };
            for (name, file) in entries(&capture_folder) {
                let Some((part, metadata)) = Part::parse(&name).zip(fs::metadata(&file).ok()) else {
                    continue;
                };
                if metadata.len() == part.len && part.start + part.len <= unfinished.total {
                    unfinished.progress_us = unfinished.progress_us.max(modified_us(&metadata));
                    unfinished.parts.insert(part.start, part);
                }
            }
            index.insert(key, unfinished);
        }
    }
    index
}

/// Returns the names and paths in a directory; nothing if it cannot be read.
fn entries(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .collect()
}

fn modified_us(metadata: &fs::Metadata) -> i64 {
    let since_epoch = metadata.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    since_epoch.and_then(|since| i64::try_from(since.as_micros()).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use keepsake_protocol::capture::{CaptureMetadata, Cause, ContentType};
    use keepsake_protocol::clock::ClockReading;

    use super::*;

    fn header(whole: &[u8], start: u64, end: u64) -> FrameHeader {
        FrameHeader {
            capture: CaptureMetadata {
                spool: SpoolId([7; 16]),
                sequence: Sequence::FIRST,
                hash: Hash::of(whole),
                total: whole.len() as u64,
                content_type: ContentType::Jpeg,
                width: 4,
                height: 3,
                cause: Cause::Button,
                command: None,
                pressed: ClockReading {
                    boot: keepsake_protocol::BootId([1; 16]),
                    boottime_us: 5,
                    wall_us: 1,
                    synchronised: true,
                    error_us: 3,
                },
                captured_after_us: 10,
                settings_version: 0,
            },
            offset: start,
            len: end - start,
            attempt: 0,
            saved_after_us: None,
            sent_after_us: None,
            not_before_us: None,
        }
    }

    async fn put(parts: &Parts, whole: &[u8], start: usize, end: usize) -> PartOutcome {
        let header = header(whole, start as u64, end as u64);
        let bytes = Bytes::copy_from_slice(&whole[start..end]);
        parts.put(&"porch".parse().unwrap(), &header, bytes, 1, 1000).await.unwrap()
    }

    fn missing(parts: &Parts) -> Vec<Vec<(u64, u64)>> {
        let all = parts.unfinished(SpoolId([7; 16]), (Sequence::FIRST, Sequence::MAX));
        all.into_iter().map(|missing| missing.ranges).collect()
    }

    #[tokio::test]
    async fn parts_survive_a_restart_and_leave_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Parts::open(folder.path(), Limits::default());
        let whole: Vec<u8> = (0..100).collect();
        assert!(matches!(put(&open(), &whole, 0, 40).await, PartOutcome::Unfinished));
        let parts = open();
        assert_eq!(missing(&parts), [[(40, 100)]]);
        // Joined again if the commit failed.
        for _ in 0..2 {
            let PartOutcome::Whole(joined) = put(&parts, &whole, 40, 100).await else {
                panic!("not whole");
            };
            assert_eq!(joined, whole);
        }
        parts.remove(vec![(SpoolId([7; 16]), Sequence::FIRST, Hash::of(&whole))]).await;
        assert!(missing(&parts).is_empty() && missing(&open()).is_empty());
        assert_eq!(fs::read_dir(folder.path().join("parts")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_part_that_a_power_cut_damaged_is_asked_for_again() {
        let folder = tempfile::tempdir().unwrap();
        let whole: Vec<u8> = (0..100).collect();
        for (damage, is_short) in [(vec![0; 40], false), (vec![1; 7], true)] {
            let parts = Parts::open(folder.path(), Limits::default());
            put(&parts, &whole, 0, 40).await;
            let capture = entries(&entries(&folder.path().join("parts"))[0].1)[0].1.clone();
            fs::write(&entries(&capture)[0].1, &damage).unwrap();
            let parts = Parts::open(folder.path(), Limits::default());
            let gap = if is_short { (0, 100) } else { (40, 100) };
            assert_eq!(missing(&parts), [[gap]]);
            assert!(matches!(put(&parts, &whole, 40, 100).await, PartOutcome::Unfinished));
            assert_eq!(missing(&parts), [[(0, 40)]]);
            assert!(matches!(put(&parts, &whole, 0, 40).await, PartOutcome::Whole(_)));
            parts.remove(vec![(SpoolId([7; 16]), Sequence::FIRST, Hash::of(&whole))]).await;
        }
    }
}
