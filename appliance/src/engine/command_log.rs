//! Commands that were taken on: an id is durable on the card before anything is done, so that a command repeated by the
//! broker after a restart is answered and not done again.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use keepsake_protocol::BootId;
use serde::{Deserialize, Serialize};

use crate::durable_file;

/// Number of ids that are remembered; the file is rewritten at twice as many.
const COMMANDS_MAX: usize = 200;
/// In the spool folder, while a restart is under way.
const RESTART_FILE: &str = "restart.json";
/// The longest id taken on, bytes.
pub(crate) const ID_BYTES_MAX: usize = 64;

pub(crate) struct CommandLog {
    path: PathBuf,
    file: File,
    ids: VecDeque<String>,
    restart: Option<Restart>,
}

/// A restart that was asked for and is not answered yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Restart {
    pub id: String,
    pub boot: BootId,
    /// CLOCK_BOOTTIME, microseconds, when the command came.
    pub at_boottime_us: u64,
}

impl CommandLog {
    /// Reads `commands` in the spool folder; a torn last line is a command that was not begun.
    pub(crate) fn open(spool: &Path) -> io::Result<Self> {
        let path = spool.join("commands");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => String::new(),
            Err(error) => return Err(error),
        };
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let ids: VecDeque<String> = whole.lines().map(str::to_owned).collect();
        let needs_rewriting = whole.len() < text.len() || ids.len() > COMMANDS_MAX * 2;
        // What cannot be read was never answered, and the cloud's own clock ends it.
        let restart = std::fs::read(path.with_file_name(RESTART_FILE))
            .ok()
            .and_then(|json| serde_json::from_slice(&json).ok());
        let mut log = Self { restart, file: append_to(&path)?, path, ids };
        // Not at every start: a full card must not keep the camera from starting.
        if needs_rewriting {
            log.rewrite()?;
        }
        Ok(log)
    }

    /// Notes a command durably. `Ok(false)`: it was known.
    pub(crate) fn record(&mut self, id: &str) -> io::Result<bool> {
        if self.ids.iter().any(|known| known == id) {
            return Ok(false);
        }
        self.file.write_all(format!("{id}\n").as_bytes())?;
        self.file.sync_data()?;
        self.ids.push_back(id.to_owned());
        if self.ids.len() > COMMANDS_MAX * 2 {
            self.rewrite()?;
        }
        Ok(true)
    }

    /// The restart this program came up from, until it is answered.
    pub(crate) fn pending_restart(&self) -> Option<&Restart> {
        self.restart.as_ref()
    }

    /// Notes durably who is to be answered after the restart.
    pub(crate) fn begin_restart(&self, restart: &Restart) -> io::Result<()> {
        durable_file::replace(&self.path.with_file_name(RESTART_FILE), &serde_json::to_vec(restart)?)
    }

    /// The broker has the answer.
    pub(crate) fn clear_restart(&mut self) -> io::Result<()> {
        if self.restart.take().is_some() {
            std::fs::remove_file(self.path.with_file_name(RESTART_FILE))?;
        }
        Ok(())
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let excess = self.ids.len().saturating_sub(COMMANDS_MAX);
        self.ids.drain(..excess);
        let text: String = self.ids.iter().flat_map(|id| [id.as_str(), "\n"]).collect();
        durable_file::replace(&self.path, text.as_bytes())?;
        self.file = append_to(&self.path)?;
        Ok(())
    }
}

/// An id from outside that can be a line of the file.
pub(crate) fn is_valid_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= ID_BYTES_MAX && id.bytes().all(|c| c.is_ascii_graphic())
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_begun_once_whatever_happens() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = CommandLog::open(folder.path()).unwrap();
        assert!(log.record("a").unwrap());
        assert!(!log.record("a").unwrap());
        drop(log);
        // A cut in the middle of noting the next one.
        append_to(&folder.path().join("commands")).unwrap().write_all(b"hal").unwrap();
        let mut log = CommandLog::open(folder.path()).unwrap();
        assert!(!log.record("a").unwrap());
        assert!(log.record("half").unwrap());
        for number in 0..1000 {
            assert!(log.record(&number.to_string()).unwrap());
        }
        assert!(std::fs::read_to_string(folder.path().join("commands")).unwrap().lines().count() <= COMMANDS_MAX * 2);
        assert!(!CommandLog::open(folder.path()).unwrap().record("999").unwrap());
    }

    #[test]
    fn an_id_that_could_break_the_file_is_not_taken() {
        for bad in ["", "a\nb", "a b", &"a".repeat(65)] {
            assert!(!is_valid_id(bad), "{bad:?}");
        }
        assert!(is_valid_id("9f2c-1"));
    }

    #[test]
    fn a_restart_is_answered_by_the_program_that_comes_up() {
        let folder = tempfile::tempdir().unwrap();
        let restart = Restart { id: "r".to_owned(), boot: BootId([1; 16]), at_boottime_us: 7 };
        let before = CommandLog::open(folder.path()).unwrap();
        before.begin_restart(&restart).unwrap();
        // Not by the one that goes.
        assert_eq!(before.pending_restart(), None);
        let mut after = CommandLog::open(folder.path()).unwrap();
        assert_eq!(after.pending_restart(), Some(&restart));
        after.clear_restart().unwrap();
        assert_eq!(after.pending_restart(), None);
        assert_eq!(CommandLog::open(folder.path()).unwrap().pending_restart(), None);
    }
}
