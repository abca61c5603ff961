//! `appliance sd-card keep-log`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::paths::{Paths, stdout_of};
use crate::durable_file;

/// Bytes of log saved per start, and the number of starts.
const LOG_BYTES: usize = 128 << 10;
const LOGS: usize = 5;

/// Saves the end of the log on the card, where it survives a power cut.
pub(crate) fn keep_log() -> Result<()> {
    let folder = Paths::default().data.join("log");
    fs::create_dir_all(&folder).context("create the folder of logs")?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").context("read the number of this start")?;
    let file = folder.join(format!("{}.txt", boot.trim()));
    let log = stdout_of(Command::new("journalctl").args(["--boot", "--quiet", "--lines=1000", "--output=short-iso"]));
    ensure!(!log.is_empty(), "the log is empty");
    let mut from = log.len().saturating_sub(LOG_BYTES);
    while !log.is_char_boundary(from) {
        from += 1;
    }
    durable_file::replace_privately(&file, &log.as_bytes()[from..]).context("write the log")?;
    let mut files: Vec<(std::time::SystemTime, PathBuf)> = fs::read_dir(&folder)?
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    files.sort();
    for (_, old) in files.iter().rev().skip(LOGS) {
        let _ = fs::remove_file(old);
    }
    Ok(())
}
