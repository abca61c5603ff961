//! The contents of an image, largest first.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use fs_err as fs;

use crate::build::{Built, root::all_files};
use crate::layout::{BOOT, DATA, Partition, SYSTEM_A, SYSTEM_B};

/// Smaller entries are summed up in one line, bytes.
const SHOWN: u64 = 200_000;
/// The depth to which directories are listed: `usr/lib/modules`.
const DEPTH: usize = 3;

/// Returns a text with the partitions, the files of the boot partition, the directories of the system, and its largest
/// files.
pub(super) fn render(built: &Built) -> Result<String> {
    let work = built.image.parent().context("the image is in a folder")?;
    let size = |name: &str| fs::metadata(work.join(name)).map_or(0, |found| found.len());
    let boot = sizes(&built.boot)?;
    let root = sizes(&built.root)?;
    let total = |files: &BTreeMap<String, u64>| files.values().sum::<u64>();
    let mut text = String::new();
    let mut partition = |partition: Partition, what: &str, used: u64| {
        let _ = writeln!(
            text,
            "partition {} {what:<34} {:>7} kB of {:>7} kB",
            partition.number,
            used / 1000,
            partition.bytes / 1000
        );
    };
    partition(BOOT, "KEEPSAKE (FAT), settings and status", total(&boot));
    partition(SYSTEM_A, "the system (squashfs)", size("system.squashfs"));
    partition(SYSTEM_B, "slot for the next system", 0);
    partition(DATA, "pictures (ext4), grows to fill the card", 0);

    let _ = writeln!(text, "\nKEEPSAKE, {} kB", total(&boot) / 1000);
    largest(&mut text, &boot, 0);
    let _ = writeln!(text, "\nthe system by folder, {} kB before compression", total(&root) / 1000);
    largest(&mut text, &by_folder(&root), SHOWN);
    let _ = writeln!(text, "\nits largest files");
    largest(&mut text, &root, 5 * SHOWN);
    Ok(text)
}

fn sizes(folder: &Path) -> Result<BTreeMap<String, u64>> {
    let mut sizes = BTreeMap::new();
    let mut seen = std::collections::BTreeSet::new();
    for file in all_files(folder)? {
        let found = fs::symlink_metadata(&file)?;
        // A file with two names uses its space once.
        let bytes = if found.nlink() > 1 && !seen.insert(found.ino()) {
            0
        } else {
            found.len()
        };
        let name = file.strip_prefix(folder).unwrap_or(&file);
        sizes.insert(name.to_string_lossy().into_owned(), bytes);
    }
    Ok(sizes)
}

fn by_folder(files: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut folders = BTreeMap::new();
    for (name, bytes) in files {
        let parts: Vec<&str> = name.split('/').collect();
        let depth = DEPTH.min(parts.len().saturating_sub(1));
        *folders.entry(parts[..depth].join("/")).or_default() += bytes;
    }
    folders
}

fn largest(text: &mut String, sizes: &BTreeMap<String, u64>, shown: u64) {
    let mut all: Vec<(&String, &u64)> = sizes.iter().collect();
    all.sort_by_key(|(name, bytes)| (std::cmp::Reverse(**bytes), *name));
    let (large, small): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, bytes)| **bytes >= shown);
    for (name, bytes) in large {
        let _ = writeln!(text, "{:>9} kB  {name}", bytes.div_ceil(1000));
    }
    if !small.is_empty() {
        let bytes: u64 = small.iter().map(|(_, bytes)| **bytes).sum();
        let _ = writeln!(text, "{:>9} kB  {} more", bytes.div_ceil(1000), small.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_comes_first_and_the_small_ones_are_one_line() {
        let files: BTreeMap<String, u64> = [
            ("usr/lib/modules/6/a.ko", 300_000),
            ("usr/lib/modules/6/b.ko", 200_000),
            ("usr/bin/appliance", 9_000_000),
            ("etc/fstab", 100),
            ("init", 1),
        ]
        .map(|(name, bytes)| (name.to_owned(), bytes))
        .into();
        let mut text = String::new();
        largest(&mut text, &by_folder(&files), SHOWN);
        let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            words,
            [
                vec!["9000", "kB", "usr/bin"],
                vec!["500", "kB", "usr/lib/modules"],
                vec!["1", "kB", "2", "more"]
            ]
        );
    }
}
