//! Step one: fetches and unpacks Debian's packages for the Pi.
//!
//! apt has a private state below `target/image`, whose only architecture is the Pi's: the packages and architectures of
//! this computer are neither read nor changed.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use keepsake_provision::apt::{Apt, debian_source};
use keepsake_provision::process::run;

use crate::host_tools;

/// Debian 13, with security updates until 2030.
const SUITES: [(&str, &str); 3] = [
    ("http://deb.debian.org/debian", "trixie"),
    ("http://deb.debian.org/debian", "trixie-updates"),
    ("http://deb.debian.org/debian-security", "trixie-security"),
];

/// The packages the camera needs; apt adds their dependencies.
const PACKAGES: [&str; 30] = [
    // Boot, supervision and logging.
    "base-files",
    "base-passwd",
    "libc-bin",
    "systemd",
    "systemd-sysv",
    "udev",
    "kmod",
    "mount",
    "util-linux",
    "dash",
    // Network, name resolution and time.
    "systemd-resolved",
    "systemd-timesyncd",
    "libnss-resolve",
    // Without it systemd-resolved does not know its own name, and keepsake.local is not found.
    "libidn2-0",
    "wpasupplicant",
    "wireless-regdb",
    "ca-certificates",
    "tzdata",
    // Growing and repairing the data partition.
    "e2fsprogs",
    "fdisk",
    // For users of SSH.
    "openssh-server",
    "bash",
    "coreutils",
    "grep",
    "procps",
    "iproute2",
    // The first program after the kernel.
    "busybox-static",
    // The Pi's kernel and firmware.
    "linux-image-arm64",
    "raspi-firmware",
    "firmware-brcm80211",
];

/// Dependencies that a system without a package manager does not need.
const LEFT_OUT: [&str; 24] = [
    "adduser",
    "cpio",
    "debconf",
    "debianutils",
    "dpkg",
    "dracut-install",
    "init-system-helpers",
    "initramfs-tools",
    "initramfs-tools-bin",
    "initramfs-tools-core",
    "klibc-utils",
    "libklibc",
    "linux-base",
    "linux-image-arm64",
    "lsb-base",
    "mawk",
    "perl-base",
    "perl-modules-5.40",
    "runit-helper",
    "sensible-utils",
    "sysvinit-utils",
    "libtext-charwidth-perl",
    "libtext-wrapi18n-perl",
    "ucf",
];

/// A fetched package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub archive: PathBuf,
}

impl Package {
    /// Returns whether it goes onto the card.
    pub fn is_used(&self) -> bool {
        !LEFT_OUT.contains(&self.name.as_str())
    }

    /// Returns its architecture in Debian's words: `arm64` or `all`.
    pub fn architecture(&self) -> String {
        let name = self.archive.file_stem().unwrap_or_default().to_string_lossy();
        name.rsplit('_').next().unwrap_or_default().to_owned()
    }

    pub fn is_kernel(&self) -> bool {
        self.name.starts_with("linux-image-")
    }
}

/// Fetches all packages into `folder` and returns them by name.
///
/// `offline`: uses those of the last time, so that two images are built from the same ones.
///
/// # Errors
/// apt has failed; with its last lines.
pub fn fetch(folder: &Path, offline: bool) -> Result<Vec<Package>> {
    let archives = folder.join("cache/archives");
    if !offline {
        download(folder)?;
    }
    let mut packages: Vec<Package> = fs::read_dir(&archives)
        .with_context(|| format!("there are no packages in {}", archives.display()))?
        .filter_map(|entry| parse_file_name(&entry.ok()?.path()))
        .collect();
    ensure!(!packages.is_empty(), "apt-get has fetched nothing");
    packages.sort();
    Ok(packages)
}

/// Unpacks packages over each other, owned by the current user.
///
/// # Errors
/// dpkg-deb has failed.
pub fn unpack<'a>(packages: impl IntoIterator<Item = &'a Package>, to: &Path, epoch_s: u64) -> Result<()> {
    for package in packages {
        let mut command = host_tools::command("dpkg-deb", epoch_s)?;
        command.arg("--extract").arg(&package.archive).arg(to);
        run(&mut command)?;
    }
    Ok(())
}

fn download(folder: &Path) -> Result<()> {
    let sources: String = SUITES
        .iter()
        .map(|(archive, suite)| debian_source(archive, suite, "main non-free-firmware"))
        .collect();
    let apt = Apt::update(folder, Some(&sources), Some("arm64"))?;
    apt.download_with_dependencies(&PACKAGES)?;
    // Older versions, fetched for an earlier image, must not get into this one.
    let current = apt.file_names(&PACKAGES)?;
    for entry in fs::read_dir(apt.archives())? {
        let entry = entry.context("list the packages")?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".deb") && !current.contains(&name) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Parses `libc6_2.41-12_arm64.deb`; apt writes the colon of an epoch as `%3a`.
fn parse_file_name(archive: &Path) -> Option<Package> {
    let stem = archive.file_name()?.to_str()?.strip_suffix(".deb")?;
    let mut parts = stem.split('_');
    let (name, version) = (parts.next()?, parts.next()?);
    Some(Package {
        name: name.to_owned(),
        version: version.replace("%3a", ":"),
        archive: archive.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_known_by_the_name_of_its_file() {
        let package = parse_file_name(Path::new("/a/wpasupplicant_2%3a2.10-24_arm64.deb")).unwrap();
        assert_eq!((package.name.as_str(), package.version.as_str()), ("wpasupplicant", "2:2.10-24"));
        assert_eq!(package.architecture(), "arm64");
        assert_eq!(parse_file_name(Path::new("/a/lock")), None);
    }

    #[test]
    fn nothing_is_asked_for_only_to_be_left_out() {
        let both: Vec<_> = PACKAGES.iter().filter(|p| LEFT_OUT.contains(p)).collect();
        // It only names the newest kernel.
        assert_eq!(both, [&"linux-image-arm64"]);
    }
}
