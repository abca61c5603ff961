//! Errors of the spool.

use std::io;
use std::path::PathBuf;

use super::SpoolChange;

/// The reasons for which the spool could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another process has it open.
    #[error("the spool {0} is in use by another process; stop that one first")]
    InUse(PathBuf),
    /// No room by policy; nothing was written, nothing was lost.
    #[error("the card is full: {needed} bytes needed, and only pictures without a receipt are left to remove")]
    Full { needed: u64 },
    /// The disk refused. Unless the spool is poisoned now, nothing was written.
    #[error("the card failed")]
    Disk(#[source] io::Error),
    /// A file was not written completely earlier: what the disk holds is unknown until the spool is opened again.
    #[error("the card failed before: reopen the spool")]
    Poisoned,
    /// No such capture any more.
    #[error("no such capture on the card")]
    Gone,
    /// Its bytes are not what was saved.
    #[error("the card damaged a capture")]
    Damaged {
        /// The tombstone that took its place, or its removal.
        change: SpoolChange,
    },
}
