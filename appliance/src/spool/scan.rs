//! Opening the folder: whose files these are, which are torn, and what the next number is.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use keepsake_protocol::event::{Event, TombstoneReason};
use keepsake_protocol::{Sequence, SpoolId};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::error::SpoolError;
use super::file::{self, Condition, FileName, ReadError, read_tombstone};
use super::identity::{Identity, new_spool_id};
use crate::durable_file::sync_folder;

/// Torn files are kept for inspection, the newest ones up to this size, bytes.
const TORN_BYTES_MAX: u64 = 64 * 1024 * 1024;

pub(super) struct FoundGeneration {
    pub id: SpoolId,
    pub next: Sequence,
    /// The whole files, one a sequence.
    pub names: Vec<FileName>,
}

pub(super) struct Scan {
    pub identity: Identity,
    /// Oldest first, the current one last.
    pub generations: Vec<FoundGeneration>,
    /// Files that are not what their names say.
    pub torn: Vec<(SpoolId, FileName)>,
    pub warnings: Vec<String>,
}

pub(super) fn frames(root: &Path) -> PathBuf {
    root.join("frames")
}

fn torn(root: &Path) -> PathBuf {
    root.join("torn")
}

/// Reads the folder, which is locked; makes what is missing. `is_durable` tells which files need no flush, because this
/// process has flushed them.
pub(super) fn open(
    root: &Path,
    fingerprint: &str,
    is_durable: &dyn Fn(SpoolId, &FileName) -> bool,
) -> Result<Scan, SpoolError> {
    fs::create_dir_all(frames(root)).map_err(SpoolError::Disk)?;
    let mut warnings = Vec::new();
    let (mut identity, known) = match Identity::read(root) {
        Ok(Some(identity)) => (identity, true),
        Ok(None) => (Identity::default(), false),
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
            warnings.push(format!("the spool's identity cannot be understood ({error}): a new spool id begins"));
            (Identity::default(), false)
        }
        // The identity may be whole: a card that fails must not make a camera forget who it is.
        Err(error) => return Err(SpoolError::Disk(error)),
    };

    let folders = generation_folders(root).map_err(SpoolError::Disk)?;
    if !known && !folders.is_empty() {
        warnings
            .push("pictures of an earlier spool id were found: they keep their numbers and will be sent".to_owned());
    }
    // Folders the identity does not know stand before those it knows: they are older, or foreign.
    let unknown = folders.iter().filter(|id| !identity.spools.contains(id)).copied();
    let current_before = identity.current();
    let mut order: Vec<SpoolId> = unknown.collect();
    order.extend(identity.spools.iter().filter(|id| folders.contains(id)));

    let mut generations = Vec::new();
    let mut torn = Vec::new();
    for id in order {
        let (found, mut torn_here) = read_generation(root, id, is_durable, &mut warnings).map_err(SpoolError::Disk)?;
        let empty = found.names.is_empty() && torn_here.is_empty();
        torn.append(&mut torn_here);
        if empty {
            // An empty folder has forgotten its numbers, so it does not go on counting, even if it cannot be removed.
            let _ = fs::remove_dir(frames(root).join(id.to_string()));
            if Some(id) == current_before && identity.store.is_some() {
                warnings.push("the folder of the current spool id is empty: a new spool id begins".to_owned());
            }
        } else {
            generations.push(found);
        }
    }

    let same_hardware = known && identity.fingerprint == fingerprint;
    if known && !same_hardware {
        warnings.push("this card was made in other hardware or under another name: a new spool id begins".to_owned());
    }
    let goes_on = same_hardware && generations.last().is_some_and(|found| Some(found.id) == current_before);
    if !goes_on {
        let id = new_spool_id();
        fs::create_dir_all(frames(root).join(id.to_string())).map_err(SpoolError::Disk)?;
        sync_folder(&frames(root)).map_err(SpoolError::Disk)?;
        generations.push(FoundGeneration { id, next: Sequence::FIRST, names: Vec::new() });
    }
    let before = identity.clone();
    identity.fingerprint = fingerprint.to_owned();
    identity.spools = generations.iter().map(|found| found.id).collect();
    // A full card must not keep the camera from starting.
    if !known || identity != before {
        identity.write(root).map_err(SpoolError::Disk)?;
    }
    Ok(Scan { identity, generations, torn, warnings })
}

/// Makes sure that nobody else has this spool open, before anything else happens to it.
pub(super) fn lock(root: &Path) -> Result<Flock<File>, SpoolError> {
    fs::create_dir_all(root).map_err(SpoolError::Disk)?;
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(root.join("lock"))
        .map_err(SpoolError::Disk)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => SpoolError::InUse(root.to_owned()),
        other => SpoolError::Disk(other.into()),
    })
}

/// The spool ids that have a folder, oldest first by the time the folder was made.
fn generation_folders(root: &Path) -> io::Result<Vec<SpoolId>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(frames(root))? {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<SpoolId>().ok()) else {
            continue;
        };
        let made = entry.metadata().and_then(|metadata| metadata.modified()).ok();
        found.push((made, id));
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, id)| id).collect())
}

fn read_generation(
    root: &Path,
    id: SpoolId,
    is_durable: &dyn Fn(SpoolId, &FileName) -> bool,
    warnings: &mut Vec<String>,
) -> io::Result<(FoundGeneration, Vec<(SpoolId, FileName)>)> {
    let folder = frames(root).join(id.to_string());
    let mut whole: Vec<FileName> = Vec::new();
    let mut torn: Vec<FileName> = Vec::new();
    let mut foreign = 0;
    for entry in fs::read_dir(&folder)? {
        let entry = entry?;
        let file_name = entry.file_name();
        let Some(name) = file_name.to_str().and_then(FileName::parse) else {
            if Path::new(&file_name).extension().is_some_and(|extension| extension == "new") {
                // A power cut came while a file was written again; the file itself is still there.
                let _ = fs::remove_file(entry.path());
            } else {
                foreign += 1;
            }
            continue;
        };
        if entry.metadata()?.len() == name.file_bytes() {
            whole.push(name);
        } else {
            torn.push(name);
        }
    }
    if foreign > 0 {
        warnings.push(format!("{foreign} files in {} are not ours and were left alone", folder.display()));
    }
    let highest = whole.iter().chain(&torn).map(FileName::last).max();
    let next = highest.map_or(Sequence::FIRST, Sequence::next);

    whole.sort_unstable_by_key(|name| name.sequence);
    // The newest file may have its full length and still not its bytes: the only one that a cut can have caught. And it
    // may have been killed between write and flush: before its number is believed it is made durable.
    if let Some(newest) = whole.last().copied()
        && !is_durable(id, &newest)
    {
        let path = folder.join(newest.to_string());
        match file::inspect(&path, &newest) {
            Condition::Whole => make_durable(&folder, &path)?,
            Condition::Torn => {
                whole.pop();
                torn.push(newest);
            }
            // A bad place on the card must not stop the camera, and an error of the card is not a torn file.
            Condition::Unreadable(error) => {
                let error = crate::error::display_chain(&error);
                warnings.push(format!("capture {} cannot be read now: {error}", newest.sequence));
            }
        }
    }
    drop_duplicates(root, &folder, &mut whole)?;
    let mut to_bury = Vec::new();
    for name in torn {
        // A number with a whole file is never given up; its torn file only needs to be moved away.
        if whole.iter().any(|other| other.sequence <= name.last() && name.sequence <= other.last()) {
            warn_if_failed(set_torn_aside(root, &folder, &name), "set a torn file aside");
        } else {
            to_bury.push((id, name));
        }
    }
    Ok((FoundGeneration { id, next, names: whole }, to_bury))
}

fn make_durable(folder: &Path, path: &Path) -> io::Result<()> {
    let flushed = File::open(path).and_then(|file| file.sync_all()).and_then(|()| sync_folder(folder));
    flushed.or_else(|error| {
        tracing::warn!(%error, path = %path.display(), "flush the newest capture: it is written again");
        file::write_again(path)
    })
}

/// A cut in the middle of replacing files leaves both. A range of tombstones wins over the single ones inside it. The
/// tombstone of a picture that made room wins over the picture; any other tombstone loses against a picture that is
/// whole.
fn drop_duplicates(root: &Path, folder: &Path, names: &mut Vec<FileName>) -> io::Result<()> {
    names.sort_unstable_by_key(|name| (name.sequence, !name.is_tombstone(), std::cmp::Reverse(name.last())));
    let mut kept: Vec<FileName> = Vec::with_capacity(names.len());
    for name in names.drain(..) {
        let Some(before) = kept.last_mut().filter(|before| before.is_tombstone() && name.last() <= before.last())
        else {
            kept.push(name);
            continue;
        };
        let (path, path_before) = (folder.join(name.to_string()), folder.join(before.to_string()));
        if name.is_tombstone() || made_room(&path_before, before)? {
            warn_if_failed(fs::remove_file(path), "remove a file that was replaced");
            continue;
        }
        match file::inspect(&path, &name) {
            Condition::Torn => warn_if_failed(set_torn_aside(root, folder, &name), "set a damaged file aside"),
            Condition::Whole | Condition::Unreadable(_) if before.last() == name.last() => {
                tracing::warn!(number = name.sequence.get(), "a capture that was given up is whole: it is kept");
                warn_if_failed(fs::remove_file(path_before), "remove the tombstone of a whole capture");
                *before = name;
            }
            // A range speaks for others, too.
            Condition::Whole | Condition::Unreadable(_) => {}
        }
    }
    *names = kept;
    Ok(())
}

/// Returns whether this tombstone says that a picture was removed on purpose.
fn made_room(path: &Path, name: &FileName) -> io::Result<bool> {
    let json = match read_tombstone(path, name) {
        Ok(json) => json,
        Err(ReadError::Io { source, .. }) => return Err(source),
        Err(ReadError::Damaged { .. }) => return Ok(false),
    };
    let event = keepsake_protocol::codec::decode(&json);
    Ok(matches!(event, Ok(Event::Tombstone(tombstone)) if tombstone.reason == TombstoneReason::MadeRoom))
}

/// Moves a torn file to `torn/`, and keeps that folder bounded.
pub(super) fn set_torn_aside(root: &Path, folder: &Path, name: &FileName) -> io::Result<()> {
    let aside = torn(root);
    fs::create_dir_all(&aside)?;
    let spool_id = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    fs::rename(folder.join(name.to_string()), aside.join(format!("{spool_id}_{name}")))?;
    sync_folder(folder)?;

    let mut files: Vec<_> = fs::read_dir(&aside)?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let metadata = entry.metadata().ok()?;
            Some((metadata.modified().ok()?, metadata.len(), entry.path()))
        })
        .collect();
    files.sort_unstable();
    let mut bytes: u64 = files.iter().map(|(_, len, _)| len).sum();
    for (_, len, path) in files {
        if bytes <= TORN_BYTES_MAX {
            break;
        }
        tracing::warn!(path = %path.display(), "torn files take too much room: the oldest goes");
        fs::remove_file(path)?;
        bytes -= len;
    }
    Ok(())
}

/// Returns the pictures in `torn/` that are whole after all. What cannot be read stays there.
pub(super) fn whole_in_torn(root: &Path) -> Vec<(SpoolId, FileName, PathBuf)> {
    let files = fs::read_dir(torn(root)).into_iter().flatten().flatten().map(|entry| entry.path());
    files
        .filter_map(|path| {
            let (spool_id, name) = path.file_name()?.to_str()?.split_once('_')?;
            let (spool_id, name) = (spool_id.parse().ok()?, FileName::parse(name)?);
            let is_whole = !name.is_tombstone() && matches!(file::inspect(&path, &name), Condition::Whole);
            is_whole.then_some((spool_id, name, path))
        })
        .collect()
}

fn warn_if_failed(done: io::Result<()>, what: &str) {
    if let Err(error) = done {
        tracing::warn!(%error, "{what}");
    }
}
