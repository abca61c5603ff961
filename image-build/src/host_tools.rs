//! The programs of this computer that build an image.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use keepsake_provision::apt::DEBIAN_KEYS;
use keepsake_provision::host::find_program;

/// The programs, and the Debian package of each.
const NEEDED: [(&str, &str); 13] = [
    ("apt-get", "apt"),
    ("dpkg-deb", "dpkg"),
    ("cmp", "diffutils"),
    ("depmod", "kmod"),
    ("xz", "xz-utils"),
    ("gzip", "gzip"),
    ("zstd", "zstd"),
    ("mksquashfs", "squashfs-tools"),
    ("mkfs.vfat", "dosfstools"),
    ("mcopy", "mtools"),
    ("mke2fs", "e2fsprogs"),
    ("debugfs", "e2fsprogs"),
    ("e2fsck", "e2fsprogs"),
];

/// Checks that every program is installed.
///
/// # Errors
/// One line with everything that is missing, and how to install it.
pub fn check() -> Result<()> {
    let missing = packages_missing();
    ensure!(missing.is_empty(), "programs are missing: sudo apt-get install {}", missing.join(" "));
    Ok(())
}

/// Returns the Debian packages that building an image needs and that are not installed.
pub fn packages_missing() -> Vec<&'static str> {
    let mut missing = missing(&NEEDED);
    if !Path::new(DEBIAN_KEYS).is_file() {
        missing.push("debian-archive-keyring");
    }
    missing
}

/// Returns the packages of those programs that are not installed.
pub fn missing(needed: &[(&str, &'static str)]) -> Vec<&'static str> {
    let mut missing: Vec<&str> = needed
        .iter()
        .filter(|(program, _)| find_program(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    missing.dedup();
    missing
}

/// Returns whether the programs that build an image are installed; otherwise reports that the test is skipped.
#[cfg(test)]
pub(crate) fn available_or_skip() -> bool {
    let missing = missing(&NEEDED);
    if !missing.is_empty() {
        keepsake_provision::skip::not_run(
            // The test runner names threads after their tests.
            std::thread::current().name().unwrap_or("a test"),
            "programs that build images are missing",
            &format!("sudo apt-get install {}", missing.join(" ")),
        );
    }
    missing.is_empty()
}

/// Returns a command with a fixed language, time zone and time (`epoch_s`).
///
/// # Errors
/// There is no such program.
pub fn command(program: &str, epoch_s: u64) -> Result<Command> {
    let file = find_program(program).with_context(|| format!("{program} is missing on this computer"))?;
    let mut command = Command::new(file);
    command
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .env("SOURCE_DATE_EPOCH", epoch_s.to_string())
        .env("E2FSPROGS_FAKE_TIME", epoch_s.to_string())
        .stdin(Stdio::null());
    Ok(command)
}
