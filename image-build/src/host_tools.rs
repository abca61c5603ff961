//! The programs of this computer that an image is made with.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// What is run, and the Debian package that has it.
const NEEDED: [(&str, &str); 12] = [
    ("apt-get", "apt"),
    ("dpkg-deb", "dpkg"),
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

/// Debian's keys, by which apt knows its packages.
pub const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// # Errors
/// One line with everything that is missing, and how to get it.
pub fn check() -> Result<()> {
    let missing = packages_missing();
    ensure!(
        missing.is_empty(),
        "an image cannot be made yet: sudo apt-get install {}",
        missing.join(" ")
    );
    Ok(())
}

/// Debian's packages that an image wants and that are not installed.
pub fn packages_missing() -> Vec<&'static str> {
    let mut missing = missing(&NEEDED);
    if !Path::new(KEYS).is_file() {
        missing.push("debian-archive-keyring");
    }
    missing
}

/// Of these programs, with the Debian package of each, the packages of those that are not there.
pub fn missing(needed: &[(&str, &'static str)]) -> Vec<&'static str> {
    let mut missing: Vec<&str> = needed
        .iter()
        .filter(|(program, _)| find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    missing.dedup();
    missing
}

/// Whether the test that asks has what an image is made with; else it says loudly why it is not run.
#[cfg(test)]
pub(crate) fn all_there() -> bool {
    let missing = missing(&NEEDED);
    if !missing.is_empty() {
        keepsake_testkit::not_run::not_run(
            // The test runner calls threads after their tests.
            std::thread::current().name().unwrap_or("a test"),
            "programs that make images are missing",
            &format!("sudo apt-get install {}", missing.join(" ")),
        );
    }
    missing.is_empty()
}

/// The file of a program. Those of file systems are in folders that a user's `PATH` need not name.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(more)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// A command that speaks English, knows no time zone and no time but `epoch_s`.
///
/// # Errors
/// There is no such program.
pub fn command(program: &str, epoch_s: u64) -> Result<Command> {
    let file = find(program).with_context(|| format!("{program} is missing on this computer"))?;
    let mut command = Command::new(file);
    command
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .env("SOURCE_DATE_EPOCH", epoch_s.to_string())
        .env("E2FSPROGS_FAKE_TIME", epoch_s.to_string())
        .stdin(Stdio::null());
    Ok(command)
}

/// Runs it to its end; what it says is kept unless it fails.
///
/// # Errors
/// It could not be run or has failed; with its last words.
pub fn run(command: &mut Command) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("run {name}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let arguments: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said);
    let mut last: Vec<&str> = said.lines().rev().take(4).collect();
    last.reverse();
    bail!(
        "{name} {}: {}: {}",
        arguments.join(" "),
        output.status,
        last.join("; ")
    );
}
