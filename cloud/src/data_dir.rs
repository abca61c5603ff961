//! The lock of the data directory.

use std::fs::File;
use std::path::Path;

use anyhow::Context;
use nix::fcntl::{Flock, FlockArg};

/// Locks the data directory, so that only one cloud uses it. The lock ends with the process, however it ends.
///
/// Returns nothing if another cloud holds the lock.
///
/// # Errors
/// The directory or the lock file cannot be created.
pub(crate) fn lock(dir: &Path) -> anyhow::Result<Option<Flock<File>>> {
    std::fs::create_dir_all(dir)
        .and_then(|()| File::create(dir.join("lock")))
        .with_context(|| format!("prepare the data directory {}", dir.display()))
        .map(|file| Flock::lock(file, FlockArg::LockExclusiveNonblock).ok())
}
