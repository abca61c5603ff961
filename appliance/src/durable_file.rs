//! Small files that are replaced as a whole: after a power cut, either the old or the new one exists.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The pauses before something is read again that the card refused.
pub(crate) const READ_AGAIN_AFTER: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(500)];

/// Returns true if a file was read and its content makes no sense; any other error says nothing about the content.
pub(crate) fn is_about_content(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

/// Reads a JSON file of at most `bytes_max` bytes, again if the card refuses. Returns the default value if there is none.
pub(crate) fn read_json<T: DeserializeOwned + Default>(path: &Path, bytes_max: u64) -> io::Result<T> {
    for pause in READ_AGAIN_AFTER {
        match read_json_once(path, bytes_max) {
            Err(error) if !is_about_content(&error) => std::thread::sleep(pause),
            read => return read,
        }
    }
    read_json_once(path, bytes_max)
}

fn read_json_once<T: DeserializeOwned + Default>(path: &Path, bytes_max: u64) -> io::Result<T> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(error),
        Ok(file) if file.len() > bytes_max => {
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} bytes are too many", file.len())))
        }
        Ok(_) => Ok(serde_json::from_slice(&fs::read(path)?)?),
    }
}

/// Replaces a file durably.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    replace_with_mode(path, content, 0o666)
}

/// Replaces a file that may contain a password: only its owner can read it.
pub(crate) fn replace_privately(path: &Path, content: &[u8]) -> io::Result<()> {
    replace_with_mode(path, content, 0o600)
}

/// Replaces a file with a value as JSON that only its owner can read.
pub(crate) fn write_json_privately(path: &Path, value: &impl Serialize) -> io::Result<()> {
    replace_privately(path, &serde_json::to_vec(value)?)
}

fn replace_with_mode(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    // A file left beside it by a power cut is overwritten.
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
