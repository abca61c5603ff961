//! Extends the last partition and its file system to the end of the card.
//!
//! A power cut meanwhile does no harm: the partition table is one sector, and ext4 grows through its journal. An
//! interrupted extension is completed at the next start.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Smaller gains are ignored: cards of the same nominal size differ by more.
const WORTH_BYTES: u64 = 16 << 20;
const SECTOR: u64 = 512;

/// Extends the partition mounted at `folder` and its file system. Returns the new size, or `None` if nothing changed. An
/// error leaves the data unchanged.
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
        text.trim().parse().with_context(|| format!("understand {}", file.display()))
    };
    let (start, size) = (number(&partition.join("start"))?, number(&partition.join("size"))?);
    let index = number(&partition.join("partition"))?.to_string();
    let card = number(&disk.join("size"))?;
    let grows = room(start, size, card);
    if grows {
        let disk = format!("/dev/{}", disk.file_name().context("a card has a name")?.to_string_lossy());
        let mut sfdisk = Command::new("sfdisk")
            .args(["--no-reread", "--no-tell-kernel", "--quiet", "-N", &index, &disk])
            .stdin(Stdio::piped())
            .spawn()
            .context("run sfdisk")?;
        let mut words = sfdisk.stdin.take().expect("it was asked for");
        std::io::Write::write_all(&mut words, b",+\n").context("talk to sfdisk")?;
        drop(words);
        ensure!(sfdisk.wait()?.success(), "sfdisk has failed");
        let updated = Command::new("partx")
            .args(["--update", "--nr", &index, &disk])
            .status()
            .context("run partx")?;
        ensure!(updated.success(), "partx has failed");
    }
    // Also if the partition was extended before: the power may have failed between the two steps.
    let resized = Command::new("resize2fs").arg(device).output().context("run resize2fs")?;
    let message = String::from_utf8_lossy(&resized.stderr).into_owned();
    ensure!(resized.status.success(), "resize2fs has failed: {}", message.trim());
    let did_nothing = message.contains("Nothing to do");
    if did_nothing && !grows {
        return Ok(None);
    }
    Ok(Some(number(&partition.join("size"))? * SECTOR))
}

/// Returns true if the space after a partition is worth using. All values are in sectors.
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
        // A table for more than the card has.
        assert!(!room(mib(516), mib(6400), mib(1024)));
    }
}
