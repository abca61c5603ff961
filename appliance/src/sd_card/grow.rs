//! The last partition and its file system grow to the end of the card, however large the card is.
//!
//! A plug that is pulled meanwhile does no harm: the table of partitions is one sector, and ext4 grows by its journal. What
//! was left half done is done at the next start.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Less than this is not worth it: cards of one size differ by more.
const WORTH_BYTES: u64 = 16 << 20;
const SECTOR: u64 = 512;

/// Grows the partition mounted at `folder` with its file system. Returns its new size, or `None` if it was there already.
///
/// # Errors
/// The card cannot be looked at, or one of the programs has failed. The data are as they were.
pub(super) fn fill_card(folder: &str) -> Result<Option<u64>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("read what is mounted")?;
    let device = mounts
        .lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(_, rest)| rest.split(' ').next() == Some(folder))
        .map(|(device, _)| device)
        .with_context(|| format!("{folder} is not mounted"))?;
    let name = device.strip_prefix("/dev/").context("it is no device")?;
    let partition = Path::new("/sys/class/block").join(name);
    let disk = partition.canonicalize().context("find the card")?;
    let disk = disk.parent().context("it is no partition")?;
    let number = |file: &Path| -> Result<u64> {
        let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        text.trim()
            .parse()
            .with_context(|| format!("understand {}", file.display()))
    };
    let (start, size) = (
        number(&partition.join("start"))?,
        number(&partition.join("size"))?,
    );
    let index = number(&partition.join("partition"))?.to_string();
    let card = number(&disk.join("size"))?;
    let grows = room(start, size, card);
    if grows {
        let disk = format!(
            "/dev/{}",
            disk.file_name()
                .context("a card has a name")?
                .to_string_lossy()
        );
        let mut sfdisk = Command::new("sfdisk")
            .args([
                "--no-reread",
                "--no-tell-kernel",
                "--quiet",
                "-N",
                &index,
                &disk,
            ])
            .stdin(Stdio::piped())
            .spawn()
            .context("run sfdisk")?;
        let mut words = sfdisk.stdin.take().expect("it was asked for");
        std::io::Write::write_all(&mut words, b",+\n").context("talk to sfdisk")?;
        drop(words);
        ensure!(sfdisk.wait()?.success(), "sfdisk has failed");
        let told = Command::new("partx")
            .args(["--update", "--nr", &index, &disk])
            .status()
            .context("run partx")?;
        ensure!(told.success(), "partx has failed");
    }
    // Also when the partition had grown before: the plug may have been pulled between the two.
    let resized = Command::new("resize2fs")
        .arg(device)
        .output()
        .context("run resize2fs")?;
    let said = String::from_utf8_lossy(&resized.stderr).into_owned();
    ensure!(
        resized.status.success(),
        "resize2fs has failed: {}",
        said.trim()
    );
    let did_nothing = said.contains("Nothing to do");
    if did_nothing && !grows {
        return Ok(None);
    }
    Ok(Some(number(&partition.join("size"))? * SECTOR))
}

/// Whether there is room worth having behind a partition; everything in sectors.
fn room(start: u64, size: u64, card: u64) -> bool {
    card.saturating_sub(start + size) * SECTOR >= WORTH_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_grows_only_where_there_is_room_worth_having() {
        let mib = |mib: u64| mib * 2048;
        assert!(room(mib(516), mib(64), mib(1024)));
        assert!(!room(mib(516), mib(64), mib(580)));
        assert!(!room(mib(516), mib(64), mib(581)));
        // A table that says more than the card has.
        assert!(!room(mib(516), mib(6400), mib(1024)));
    }
}
