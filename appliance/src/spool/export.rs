//! The files of a spool, for a person with a pulled card. Reads only, and needs no lock, no index and no settings.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use keepsake_protocol::SpoolId;

use super::file::{CaptureReader, FileKind, FileName, ReadError, read_tombstone};
use super::scan::frames;

/// One file of a spool.
pub struct SpoolFile {
    pub spool_id: SpoolId,
    pub name: String,
    path: PathBuf,
    parsed: FileName,
}

impl SpoolFile {
    /// Reads all of it and compares its hash.
    pub fn verify(&self) -> Result<(), ReadError> {
        match self.parsed.kind {
            FileKind::Picture(_) => CaptureReader::open(&self.path, &self.parsed)?.verify(),
            FileKind::Tombstone { .. } => read_tombstone(&self.path, &self.parsed).map(drop),
        }
    }
}

/// Returns every file of the spool in `root`, by spool id and number; foreign files are left out.
pub fn files(root: &Path) -> io::Result<Vec<SpoolFile>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(frames(root))? {
        let folder = entry?.path();
        let Some(spool_id) = folder.file_name().and_then(|name| name.to_str()?.parse::<SpoolId>().ok()) else {
            continue;
        };
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
                continue;
            };
            let Some(parsed) = FileName::parse(&name) else {
                continue;
            };
            found.push(SpoolFile { spool_id, name, path, parsed });
        }
    }
    found.sort_by_key(|file| (file.spool_id, file.parsed.sequence));
    Ok(found)
}

/// Copies every whole picture to `to` as `spool-id_number.jpg`, without our record. Existing files are not replaced. After
/// an error the pictures before it are copied.
pub fn export(root: &Path, to: &Path) -> io::Result<u64> {
    fs::create_dir_all(to)?;
    let mut count = 0;
    for file in files(root)? {
        let FileKind::Picture(content_type) = file.parsed.kind else {
            continue;
        };
        let read =
            CaptureReader::open(&file.path, &file.parsed).and_then(|mut reader| reader.read(0, file.parsed.total));
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(ReadError::Io { source, .. }) => return Err(source),
            Err(error @ ReadError::Damaged { .. }) => {
                tracing::warn!("{error}");
                continue;
            }
        };
        let name = format!("{}_{:010}.{}", file.spool_id, file.parsed.sequence.get(), content_type.extension());
        let mut target = fs::OpenOptions::new().write(true).create_new(true).open(to.join(name))?;
        io::Write::write_all(&mut target, &bytes)?;
        target.sync_all()?;
        count += 1;
    }
    Ok(count)
}
