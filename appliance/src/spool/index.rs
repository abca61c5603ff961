//! The index of the spool, in sled: what may vanish. The files are the truth.
//!
//! It remembers which captures have a receipt and how often each was tried, so that a restart asks the cloud less. It
//! lives on a thread of its own behind a bounded channel, because sled can hang, panic or be corrupt after a power cut
//! (docs/decisions/0001-spool.md). Whatever happens to it, it is set aside and rebuilt from the files; a capture whose
//! row is gone is *unknown*, and the cloud is asked (`up/have`), never guessed.

use std::collections::HashMap;
use std::ffi::c_ulong;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel};
use std::time::{Duration, Instant};

use keepsake_protocol::{CaptureId, HashPrefix, Sequence, SpoolId};
use serde::{Deserialize, Serialize};

use crate::durable_file;

/// The time within which sled has to open or to close before it is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// Writes that may wait for sled; more than that and it is taken for hanging.
const WAITING_MAX: usize = 4096;
/// sled's default would be 1 GiB, more than a small Pi has.
const CACHE_BYTES: u64 = 4 * 1024 * 1024;
/// Writes that come within this time are flushed together. A power cut costs questions to the cloud, not captures.
const FLUSH_AFTER: Duration = Duration::from_secs(5);
/// The time by which sled's idle threads may be late.
const TIMER_SLACK_NS: u64 = 60_000_000_000;
const GENERATION: &[u8] = b"generation";

/// The entry of one capture in the index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row {
    /// Wall clock when the receipt came, microseconds UTC; absent while waiting.
    #[serde(default, rename = "r", skip_serializing_if = "Option::is_none")]
    pub received_us: Option<i64>,
    #[serde(default, rename = "a")]
    pub attempts: u32,
}

/// The rows by capture and hash: a row never speaks for other bytes of the same number.
pub(super) type Rows = HashMap<(CaptureId, HashPrefix), Row>;

enum Write {
    Put(Vec<u8>, Vec<u8>),
    Remove(Vec<u8>),
    Close(SyncSender<()>),
}

/// The writing end of the index. A write never blocks and never fails: the index may lose it.
pub(super) struct Index {
    writes: Option<SyncSender<Write>>,
}

/// The opened index with its rows, and warnings for a person.
pub(super) struct Opened {
    pub index: Index,
    pub rows: Rows,
    pub warnings: Vec<String>,
}

impl Index {
    /// Opens the index beside the files, or sets it aside and makes a new one. Never fails: without an index the spool
    /// works too, it only asks more.
    pub(super) fn open(root: &Path) -> Opened {
        let folder = root.join("index");
        let generation_file = root.join("index.generation");
        let expected = std::fs::read_to_string(&generation_file)
            .ok()
            .and_then(|text| text.trim().parse::<u64>().ok());
        let mut warnings = Vec::new();
        if !folder.exists() && expected.is_some() {
            warnings.push("the index is missing: it is rebuilt from the files, and the cloud is asked".to_owned());
        }

        let found = match start(folder.clone(), expected) {
            Ok(found) => Some(found),
            // Nothing is wrong with it, so it stays; and sled hangs when it is asked again on a full card.
            Err(why @ Failure::NoSpace) => {
                warnings.push(format!("working without an index: {why}"));
                None
            }
            Err(why) => {
                warnings.push(format!("the index is set aside and rebuilt from the files: {why}"));
                set_aside(&folder, root);
                start(folder, None)
                    .inspect_err(|why| warnings.push(format!("working without an index: {why}")))
                    .ok()
            }
        };
        let Some((writes, rows, generation)) = found else {
            return Opened { index: Self { writes: None }, rows: Rows::new(), warnings };
        };
        if let Err(error) = durable_file::replace(&generation_file, generation.to_string().as_bytes()) {
            warnings.push(format!("note the index's generation: {error}"));
        }
        Opened { index: Self { writes: Some(writes) }, rows, warnings }
    }

    pub(super) fn put(&mut self, id: CaptureId, hash: HashPrefix, row: &Row) {
        let value = serde_json::to_vec(row).expect("a row is two numbers");
        self.write(Write::Put(key(id, hash), value));
    }

    pub(super) fn remove(&mut self, id: CaptureId, hash: HashPrefix) {
        self.write(Write::Remove(key(id, hash)));
    }

    /// Flushes what it can within [`PATIENCE`].
    pub(super) fn close(&mut self) {
        let Some(writes) = self.writes.take() else {
            return;
        };
        let (done, closed) = sync_channel(1);
        if writes.try_send(Write::Close(done)).is_ok() {
            let _ = closed.recv_timeout(PATIENCE);
        }
    }

    fn write(&mut self, write: Write) {
        let Some(writes) = &self.writes else { return };
        match writes.try_send(write) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                tracing::warn!("the index hangs: working without it until the next start");
                self.writes = None;
            }
            Err(TrySendError::Disconnected(_)) => {
                tracing::warn!("the index failed: working without it until the next start");
                self.writes = None;
            }
        }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.close();
    }
}

type Started = (SyncSender<Write>, Rows, u64);

/// Why the index did not open.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the card is full")]
    NoSpace,
    #[error("{0}")]
    Other(String),
}

impl Failure {
    fn while_doing(doing: &str) -> impl FnOnce(sled::Error) -> Self + '_ {
        move |error| match error {
            sled::Error::Io(io) if io.kind() == std::io::ErrorKind::StorageFull => Self::NoSpace,
            other => Self::Other(format!("{doing}: {other}")),
        }
    }

    fn thread(why: &str) -> Self {
        Self::Other(format!("open sled on its own thread: {why}"))
    }
}

/// Opens sled on its own thread and waits for it, but not for ever.
fn start(folder: PathBuf, expected: Option<u64>) -> Result<Started, Failure> {
    let (results, result) = channel();
    let (writes, to_write) = sync_channel(WAITING_MAX);
    std::thread::Builder::new()
        .name("index".to_owned())
        .spawn(move || {
            // The seven threads of sled inherit it. They look for work once a second for ever, and may as well be late.
            let _ = nix::sys::prctl::set_timerslack(TIMER_SLACK_NS.try_into().unwrap_or(c_ulong::MAX));
            let opened = catch_unwind(AssertUnwindSafe(|| open(&folder, expected)));
            let _ = nix::sys::prctl::set_timerslack(0);
            let (db, file, rows, generation) = match opened {
                Ok(Ok(opened)) => opened,
                Ok(Err(why)) => {
                    let _ = results.send(Err(why));
                    return;
                }
                Err(_) => {
                    let _ = results.send(Err(Failure::thread("it panicked")));
                    return;
                }
            };
            if results.send(Ok((rows, generation))).is_ok() {
                // sled releases its lock when it is dropped; only then is it closed.
                let closed = catch_unwind(AssertUnwindSafe(|| serve(db, &file, &to_write)));
                if let Ok(Some(done)) = closed {
                    let _ = done.send(());
                }
            }
        })
        .map_err(|error| Failure::thread(&error.to_string()))?;
    let (rows, generation) = result
        .recv_timeout(PATIENCE)
        .map_err(|_| Failure::thread(&format!("it did not open within {PATIENCE:?}")))??;
    Ok((writes, rows, generation))
}

fn open(folder: &Path, expected: Option<u64>) -> Result<(sled::Db, File, Rows, u64), Failure> {
    let existed = folder.exists();
    let db = sled::Config::new()
        .path(folder)
        .cache_capacity(CACHE_BYTES)
        .mode(sled::Mode::LowSpace)
        // sled's own flusher would flush the card twice a second for ever. `serve` flushes when there is something.
        .flush_every_ms(None)
        .open()
        .map_err(Failure::while_doing("open sled"))?;
    let stored = db.get(GENERATION).map_err(Failure::while_doing("read its generation"))?;
    let stored = stored.and_then(|bytes| bytes.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes);
    if let Some(expected) = expected
        && existed
        // The number in sled is written first, so a cut between the two leaves it one ahead.
        && stored != expected
        && stored != expected + 1
    {
        let text = format!("it is not the one of the last start (generation {stored}, expected {expected})");
        return Err(Failure::Other(text));
    }
    let mut rows = Rows::new();
    for entry in db.iter() {
        let (key, value) = entry.map_err(Failure::while_doing("read a row"))?;
        let (Some(key), Ok(row)) = (parse_key(&key), serde_json::from_slice(&value)) else {
            continue;
        };
        rows.insert(key, row);
    }
    let generation = stored.max(expected.unwrap_or(0)) + 1;
    db.insert(GENERATION, &generation.to_be_bytes())
        .map_err(Failure::while_doing("write its generation"))?;
    db.flush().map_err(Failure::while_doing("flush"))?;
    let file = File::open(folder.join("db")).map_err(|error| Failure::while_doing("open its file")(error.into()))?;
    Ok((db, file, rows, generation))
}

/// Writes until it is told to close, and flushes [`FLUSH_AFTER`] the first write since the last flush. Returns whom to
/// tell once sled is dropped.
#[expect(clippy::needless_pass_by_value, reason = "sled is closed by being dropped here")]
fn serve(db: sled::Db, file: &File, to_write: &Receiver<Write>) -> Option<SyncSender<()>> {
    let mut flush_at: Option<Instant> = None;
    loop {
        let next = match flush_at {
            None => to_write.recv().map_err(RecvTimeoutError::from),
            Some(at) => to_write.recv_timeout(at.saturating_duration_since(Instant::now())),
        };
        let wrote = next.is_ok();
        let done = match next {
            Ok(Write::Put(key, value)) => db.insert(key, value).map(drop),
            Ok(Write::Remove(key)) => db.remove(key).map(drop),
            Ok(Write::Close(done)) => {
                let _ = db.flush();
                return Some(done);
            }
            Err(RecvTimeoutError::Timeout) => {
                flush_at = None;
                // sled's flush leaves the file in the cache of the kernel.
                db.flush().and_then(|_| Ok(file.sync_all()?))
            }
            Err(RecvTimeoutError::Disconnected) => return None,
        };
        if let Err(error) = done {
            tracing::warn!(%error, "write the index");
            return None;
        }
        if wrote {
            flush_at.get_or_insert_with(|| Instant::now() + FLUSH_AFTER);
        }
    }
}

/// Keeps one broken index for inspection.
fn set_aside(folder: &Path, root: &Path) {
    let aside = root.join("index.bad");
    let _ = std::fs::remove_dir_all(&aside);
    if std::fs::rename(folder, &aside).is_err() {
        let _ = std::fs::remove_dir_all(folder);
        let _ = std::fs::remove_file(folder);
    }
}

fn key(id: CaptureId, hash: HashPrefix) -> Vec<u8> {
    let mut key = Vec::with_capacity(32);
    key.extend_from_slice(&id.spool.0);
    key.extend_from_slice(&id.sequence.get().to_be_bytes());
    key.extend_from_slice(&hash.0);
    key
}

fn parse_key(key: &[u8]) -> Option<(CaptureId, HashPrefix)> {
    let (spool, rest) = key.split_first_chunk::<16>()?;
    let (sequence, hash) = rest.split_first_chunk::<8>()?;
    let sequence = Sequence::try_from(u64::from_be_bytes(*sequence)).ok()?;
    Some((CaptureId { spool: SpoolId(*spool), sequence }, HashPrefix(hash.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(sequence: u64) -> CaptureId {
        CaptureId {
            spool: SpoolId([7; 16]),
            sequence: Sequence::try_from(sequence).unwrap(),
        }
    }

    #[test]
    fn rows_outlive_a_clean_stop() {
        let root = tempfile::tempdir().unwrap();
        let row = Row { received_us: Some(5), attempts: 2 };
        let mut opened = Index::open(root.path());
        assert!(opened.warnings.is_empty(), "{:?}", opened.warnings);
        opened.index.put(id(1), HashPrefix([1; 8]), &row);
        opened.index.put(id(2), HashPrefix([2; 8]), &row);
        opened.index.remove(id(2), HashPrefix([2; 8]));
        opened.index.close();
        let reopened = Index::open(root.path());
        assert!(reopened.warnings.is_empty(), "{:?}", reopened.warnings);
        assert_eq!(reopened.rows, Rows::from([((id(1), HashPrefix([1; 8])), row)]));
    }

    #[test]
    fn an_index_of_yesterday_is_noticed() {
        let root = tempfile::tempdir().unwrap();
        Index::open(root.path()).index.close();
        let (now, yesterday) = (root.path().join("index"), root.path().join("copy"));
        copy(&now, &yesterday);
        for _ in 0..2 {
            assert!(Index::open(root.path()).warnings.is_empty());
        }
        std::fs::remove_dir_all(&now).unwrap();
        std::fs::rename(&yesterday, &now).unwrap();
        let opened = Index::open(root.path());
        assert!(opened.warnings[0].contains("not the one of the last start"), "{:?}", opened.warnings);
    }

    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &to.join(entry.file_name()));
            } else {
                std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
        }
    }
}
