//! One capture as one file: its name says what it is, its content is the picture and then our record, checked.
//!
//! The picture's bytes come first, so that any viewer opens the files of a pulled card; the record follows as a trailer
//! of [`TRAILER_BYTES`]. Length and name are enough to tell a torn file without reading it, because the trailer has a
//! fixed size. A tombstone is a file of its own: exactly the JSON that is sent, named by its hash.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use keepsake_protocol::capture::{CaptureMetadata, ContentType};
use keepsake_protocol::{Hash, HashPrefix, Sequence};
use sha2::{Digest, Sha256};

use crate::durable_file::{self, sync_folder};

/// Magic, length of the record, the record as JSON, zeros, CRC-32 of all before. A record of ours is below 800 bytes.
pub(super) const TRAILER_BYTES: u64 = 1024;
const TRAILER_LEN: usize = 1024;
const MAGIC: [u8; 4] = *b"KSR1";
/// The pauses before a file that could not be read is read again.
const READ_AGAIN_AFTER: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(500)];

/// The kind of a file in the spool, by its name alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileKind {
    Picture(ContentType),
    /// Speaks for all sequences from the first to this last one.
    Tombstone {
        last: Sequence,
    },
}

/// A file name taken apart: `0000000012_9f2c5a0b11d2e3f4_23451.jpg` or `0000000013-0000000020_…_312.tombstone`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileName {
    pub sequence: Sequence,
    pub hash: HashPrefix,
    /// Length of the picture or of the tombstone's JSON, bytes.
    pub total: u64,
    pub kind: FileKind,
}

impl FileName {
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (stem, extension) = name.split_once('.')?;
        let mut parts = stem.split('_');
        let (numbers, hash, total) = (parts.next()?, parts.next()?, parts.next()?);
        let number = |digits: &str| digits.parse::<u64>().ok().and_then(|n| Sequence::try_from(n).ok());
        let (sequence, kind) = match (numbers.split_once('-'), extension) {
            (Some((first, last)), "tombstone") => (number(first)?, FileKind::Tombstone { last: number(last)? }),
            (None, "jpg") => (number(numbers)?, FileKind::Picture(ContentType::Jpeg)),
            (None, "png") => (number(numbers)?, FileKind::Picture(ContentType::Png)),
            (Some(_) | None, _) => return None,
        };
        let name = Self {
            sequence,
            hash: hash.parse().ok()?,
            total: total.parse().ok()?,
            kind,
        };
        (parts.next().is_none() && name.last() >= sequence).then_some(name)
    }

    /// The highest sequence this file speaks for.
    pub(super) fn last(&self) -> Sequence {
        match self.kind {
            FileKind::Picture(_) => self.sequence,
            FileKind::Tombstone { last } => last,
        }
    }

    /// Returns the length of the file when it is whole, bytes.
    pub(super) fn file_bytes(&self) -> u64 {
        match self.kind {
            FileKind::Picture(_) => self.total.saturating_add(TRAILER_BYTES),
            FileKind::Tombstone { .. } => self.total,
        }
    }

    pub(super) fn is_tombstone(&self) -> bool {
        matches!(self.kind, FileKind::Tombstone { .. })
    }
}

impl std::fmt::Display for FileName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            FileKind::Picture(content_type) => {
                let extension = content_type.extension();
                write!(f, "{:010}_{}_{}.{extension}", self.sequence.get(), self.hash, self.total)
            }
            FileKind::Tombstone { last } => {
                let (first, last) = (self.sequence.get(), last.get());
                write!(f, "{first:010}-{last:010}_{}_{}.tombstone", self.hash, self.total)
            }
        }
    }
}

/// Why a file could not be made.
pub(super) enum WriteError {
    /// Nothing is left behind; the disk may merely be full.
    Write(io::Error),
    /// What the disk has of the file is unknown now: a flush failed, or what was written could not be removed. Its
    /// number is used up.
    Unknown(io::Error),
}

/// Writes a new file and returns once it would survive a power cut: file first, then its directory (P1).
///
/// # Errors
/// [`WriteError::Write`]: there is no such file. [`WriteError::Unknown`]: reopen the spool.
pub(super) fn write_durably(folder: &Path, name: &FileName, chunks: &[&[u8]]) -> Result<(), WriteError> {
    let path = folder.join(name.to_string());
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(WriteError::Write)?;
    if let Err(source) = chunks.iter().try_for_each(|chunk| file.write_all(chunk)) {
        // Its number has not left the process, so nobody can miss this file.
        return Err(match std::fs::remove_file(&path) {
            Ok(()) => WriteError::Write(source),
            Err(_) => WriteError::Unknown(source),
        });
    }
    file.sync_data().and_then(|()| sync_folder(folder)).map_err(WriteError::Unknown)
}

/// Makes a whole file durable whose flush has failed, by writing it again: asked to flush once more, the kernel may take
/// for written what is not. On a full card the file stays as it is.
pub(super) fn write_again(path: &Path) -> io::Result<()> {
    match std::fs::read(path).and_then(|bytes| durable_file::replace(path, &bytes)) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            tracing::warn!(path = %path.display(), "no room to write a capture again: a power cut may lose it");
            Ok(())
        }
        done => done,
    }
}

/// The condition of a file in the spool.
pub(super) enum Condition {
    Whole,
    /// Its length, its trailer or its hash says so.
    Torn,
    /// It says nothing of the file: a bad place on the card, or too few descriptors.
    Unreadable(ReadError),
}

/// Reads the whole file at `path`, again if that fails, and compares it with its name.
pub(super) fn inspect(path: &Path, name: &FileName) -> Condition {
    let mut pauses = READ_AGAIN_AFTER.into_iter();
    loop {
        let read = match name.kind {
            FileKind::Picture(_) => CaptureReader::open(path, name).and_then(|mut reader| reader.verify()),
            FileKind::Tombstone { .. } => read_tombstone(path, name).map(drop),
        };
        return match read {
            Ok(()) => Condition::Whole,
            Err(ReadError::Damaged { .. }) => Condition::Torn,
            Err(error @ ReadError::Io { .. }) => match pauses.next() {
                Some(pause) => {
                    std::thread::sleep(pause);
                    continue;
                }
                None => Condition::Unreadable(error),
            },
        };
    }
}

/// The trailer of one record, [`TRAILER_BYTES`] long.
pub(super) fn encode_trailer(record: &CaptureMetadata) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(record)?;
    let room = TRAILER_LEN - MAGIC.len() - 4 - 4;
    if json.len() > room {
        return Err(io::Error::other(format!("a record of {} bytes does not fit into {room}", json.len())));
    }
    let mut trailer = Vec::with_capacity(TRAILER_LEN);
    trailer.extend_from_slice(&MAGIC);
    let length = u32::try_from(json.len()).expect("below 1 KiB");
    trailer.extend_from_slice(&length.to_be_bytes());
    trailer.extend_from_slice(&json);
    trailer.resize(TRAILER_LEN - 4, 0);
    trailer.extend_from_slice(&crc32fast::hash(&trailer).to_be_bytes());
    Ok(trailer)
}

fn decode_trailer(trailer: &[u8]) -> Option<CaptureMetadata> {
    let (body, crc) = trailer.split_last_chunk::<4>()?;
    if crc32fast::hash(body) != u32::from_be_bytes(*crc) {
        return None;
    }
    let (length, rest) = body.strip_prefix(&MAGIC)?.split_first_chunk::<4>()?;
    let json = rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    serde_json::from_slice(json).ok()
}

/// Why a saved picture cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("read {path}")]
    Io { path: PathBuf, source: io::Error },
    /// Its bytes are not the ones that were saved.
    #[error("{path} is not what was saved")]
    Damaged { path: PathBuf },
}

/// A saved picture, open for reading.
pub(super) struct CaptureReader {
    file: File,
    path: PathBuf,
    record: CaptureMetadata,
}

impl CaptureReader {
    /// Opens the file at `path` and compares its record with its name.
    pub(super) fn open(path: &Path, name: &FileName) -> Result<Self, ReadError> {
        let path = path.to_owned();
        let opened = File::open(&path).and_then(|mut file| {
            let mut trailer = [0; TRAILER_LEN];
            file.seek(SeekFrom::Start(name.total))?;
            match file.read_exact(&mut trailer) {
                Ok(()) => Ok((file, decode_trailer(&trailer))),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok((file, None)),
                Err(error) => Err(error),
            }
        });
        let (file, record) = opened.map_err(|source| ReadError::Io { path: path.clone(), source })?;
        match record {
            Some(record)
                if record.sequence == name.sequence
                    && record.hash.prefix() == name.hash
                    && record.total == name.total =>
            {
                Ok(Self { file, path, record })
            }
            Some(_) | None => Err(ReadError::Damaged { path }),
        }
    }

    pub(super) fn record(&self) -> &CaptureMetadata {
        &self.record
    }

    /// Reads the whole picture once, a little at a time, and compares its hash.
    pub(super) fn verify(&mut self) -> Result<(), ReadError> {
        let io_error = |source| ReadError::Io { path: self.path.clone(), source };
        self.file.seek(SeekFrom::Start(0)).map_err(io_error)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 64 * 1024];
        let mut left = self.record.total;
        while left > 0 {
            let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.file.read_exact(&mut buffer[..want]).map_err(io_error)?;
            hasher.update(&buffer[..want]);
            left -= want as u64;
        }
        if Hash(hasher.finalize().into()) == self.record.hash {
            Ok(())
        } else {
            Err(ReadError::Damaged { path: self.path.clone() })
        }
    }

    /// The picture's bytes from `offset`, `len` of them.
    pub(super) fn read(&mut self, offset: u64, len: u64) -> Result<Vec<u8>, ReadError> {
        let io_error = |source| ReadError::Io { path: self.path.clone(), source };
        let len = usize::try_from(len).map_err(|_| ReadError::Damaged { path: self.path.clone() })?;
        let mut bytes = vec![0; len];
        self.file.seek(SeekFrom::Start(offset)).map_err(io_error)?;
        self.file.read_exact(&mut bytes).map_err(io_error)?;
        Ok(bytes)
    }
}

/// The bytes of a tombstone, exactly as they are sent.
pub(super) fn read_tombstone(path: &Path, name: &FileName) -> Result<Vec<u8>, ReadError> {
    let path = path.to_owned();
    let bytes = std::fs::read(&path).map_err(|source| ReadError::Io { path: path.clone(), source })?;
    if Hash::of(&bytes).prefix() == name.hash {
        Ok(bytes)
    } else {
        Err(ReadError::Damaged { path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_as_it_was_written() {
        for text in [
            "0000000012_9f2c5a0b11d2e3f4_23451.jpg",
            "0000000012_9f2c5a0b11d2e3f4_1.png",
            "0000000013-0000000020_9f2c5a0b11d2e3f4_312.tombstone",
            "9007199254740991_9f2c5a0b11d2e3f4_23451.jpg",
        ] {
            assert_eq!(FileName::parse(text).expect(text).to_string(), text);
        }
        for foreign in [
            "",
            ".DS_Store",
            "photo.jpg",
            "0000000000_9f2c5a0b11d2e3f4_1.jpg",
            "0000000012_9f2c_1.jpg",
            "0000000012_9f2c5a0b11d2e3f4_1.gif",
            "0000000012_9f2c5a0b11d2e3f4_1_2.jpg",
            "0000000013-0000000012_9f2c5a0b11d2e3f4_312.tombstone",
            "0000000013_9f2c5a0b11d2e3f4_312.tombstone",
        ] {
            assert_eq!(FileName::parse(foreign), None, "{foreign}");
        }
    }
}
