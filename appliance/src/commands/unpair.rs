//! `appliance unpair`: unpairs the camera from its cloud.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::settings_arguments::spool_folder;
use crate::settings::Config;
use crate::spool::{self, Limits, Spool};

pub(super) fn run(folder: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let folder = spool_folder(folder);
    anyhow::ensure!(folder.join("frames").is_dir(), "{} is not a spool", folder.display());
    // Under the name it has, so that no new spool id begins; and nothing is tidied away, for the old cloud may be gone.
    let fingerprint = spool::fingerprint(&folder)?.unwrap_or_default();
    let limits = Limits {
        keep_for: Duration::MAX,
        keep_bytes: u64::MAX,
        ..Limits::from(&Config::default().spool)
    };
    let mut spool = Spool::open(&folder, limits, &fingerprint, None)?;
    let count = spool.unpair()?;
    println!("The next cloud that answers is accepted; {count} pictures on this card will be offered to it.");
    Ok(ExitCode::SUCCESS)
}
