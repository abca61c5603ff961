//! Decides which disk may be written, by the kernel's information about it.

use std::fmt;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use thiserror::Error;

/// A larger disk is not a card but may hold valuable data, bytes.
const BYTES_MAX: u64 = 300_000_000_000;

/// A disk, or a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disk {
    /// `sdb`, `mmcblk0`.
    pub name: String,
    pub bytes: u64,
    pub model: String,
    pub serial: String,
    /// The disk that this is a partition of.
    pub part_of: Option<String>,
    /// Removable: a stick, a card in a reader, an SD card in a slot.
    pub is_removable: bool,
    pub is_read_only: bool,
    /// The uses of it or of its partitions: a mount point, `swap`, or another device made from it.
    pub used_as: Vec<String>,
}

/// The reason why a disk is not written.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("{name} is a partition of {disk}; use the whole disk, /dev/{disk}")]
    Part { name: String, disk: String },
    #[error("{0} has the system of this computer")]
    OwnDisk(String),
    #[error("{name} is mounted or in use ({used_as}); unmount it first")]
    InUse { name: String, used_as: String },
    #[error("{0} is write-protected; check the switch on the card")]
    ReadOnly(String),
    #[error("{name} has {bytes} bytes and the image needs {needed}")]
    TooSmall { name: String, bytes: u64, needed: u64 },
    #[error("{disk} does not look like a card: it {why}. If it is the right disk, add --allow-disk {named}")]
    NoCard { disk: String, why: &'static str, named: String },
    #[error("{disk} has neither the serial number nor the size in bytes of --allow-disk {named}")]
    AnotherDisk { disk: String, named: String },
}

impl Disk {
    /// # Errors
    /// It is not a disk, or the kernel does not know it.
    pub fn find(device: &Path) -> Result<Self> {
        let device = device.canonicalize().with_context(|| format!("there is no {}", device.display()))?;
        let kind = fs::metadata(&device)?.file_type();
        ensure!(kind.is_block_device(), "{} is no disk; --to-file writes to a file", device.display());
        let name = device.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self::named(Path::new("/"), &name)
    }

    /// `system`: the root of the kernel's files about disks; tests have their own.
    ///
    /// # Errors
    /// The kernel does not know it.
    fn named(system: &Path, name: &str) -> Result<Self> {
        let entry = system.join("sys/class/block").join(name);
        let folder = entry.canonicalize().with_context(|| format!("the kernel knows no disk {name}"))?;
        let text = |file: &str| {
            fs::read_to_string(folder.join(file)).map_or_else(|_| String::new(), |text| text.trim().to_owned())
        };
        let part_of = folder.join("partition").exists().then(|| {
            let disk = folder.parent().and_then(Path::file_name).unwrap_or_default();
            disk.to_string_lossy().into_owned()
        });
        let sectors: u64 = text("size").parse().context("the kernel reports no size")?;
        // A reader reports its card as removable. A slot on the board does not, but reports an SD card, which
        // soldered memory does not. A stick may report not removable, on USB.
        let on_usb = folder.components().any(|part| part.as_os_str().to_string_lossy().starts_with("usb"));
        let is_removable = text("removable") == "1" || text("device/type") == "SD" || on_usb;
        let serial = [text("device/serial"), text("serial")].into_iter().find(|text| !text.is_empty());
        Ok(Self {
            name: name.to_owned(),
            bytes: sectors * 512,
            model: [text("device/model"), text("device/name")]
                .into_iter()
                .find(|text| !text.is_empty())
                .unwrap_or_default(),
            serial: serial.unwrap_or_default(),
            part_of,
            is_removable,
            is_read_only: text("ro") == "1",
            used_as: uses(system, &folder)?,
        })
    }

    /// Decides whether it may be written. `bytes`: of the image. `allow_disk`: the number with which the user has
    /// allowed a disk that is not a card.
    ///
    /// # Errors
    /// The first reason against it. A disk in use is never written, whatever number was given.
    pub fn check_writable(&self, bytes: u64, allow_disk: Option<&str>) -> Result<(), Refusal> {
        let name = || self.name.clone();
        if let Some(disk) = &self.part_of {
            return Err(Refusal::Part { name: name(), disk: disk.clone() });
        }
        if self.used_as.iter().any(|at| at == "/" || at == "/boot" || at == "/usr") {
            return Err(Refusal::OwnDisk(name()));
        }
        if !self.used_as.is_empty() {
            return Err(Refusal::InUse { name: name(), used_as: self.used_as.join(", ") });
        }
        if self.is_read_only {
            return Err(Refusal::ReadOnly(name()));
        }
        if self.bytes < bytes {
            return Err(Refusal::TooSmall { name: name(), bytes: self.bytes, needed: bytes });
        }
        if let Some(named) = allow_disk {
            let is_it = named == self.bytes.to_string() || (!self.serial.is_empty() && named == self.serial);
            let refusal = || Refusal::AnotherDisk { disk: self.to_string(), named: named.to_owned() };
            return is_it.then_some(()).ok_or_else(refusal);
        }
        let why = if self.bytes > BYTES_MAX {
            "is larger than any card"
        } else if self.is_removable {
            return Ok(());
        } else {
            "is not removable"
        };
        let named = if self.serial.is_empty() {
            self.bytes.to_string()
        } else {
            self.serial.clone()
        };
        Err(Refusal::NoCard { disk: self.to_string(), why, named })
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = self.bytes / 100_000_000;
        write!(f, "/dev/{}, {}.{} GB", self.name, tenths / 10, tenths % 10)?;
        for (what, text) in [("", &self.model), ("serial number ", &self.serial)] {
            if !text.is_empty() {
                write!(f, ", {what}{text}")?;
            }
        }
        Ok(())
    }
}

/// Returns every use of a disk and of its partitions.
fn uses(system: &Path, folder: &Path) -> Result<Vec<String>> {
    let mut parts = vec![folder.to_owned()];
    for entry in fs::read_dir(folder)?.flatten() {
        if entry.path().join("partition").exists() {
            parts.push(entry.path());
        }
    }
    let mounts = fs::read_to_string(system.join("proc/self/mountinfo"))?;
    let swaps = fs::read_to_string(system.join("proc/swaps")).unwrap_or_default();
    let mut found = Vec::new();
    for part in &parts {
        let number = fs::read_to_string(part.join("dev")).unwrap_or_default();
        let device = format!("/dev/{}", part.file_name().unwrap_or_default().to_string_lossy());
        // number parent MAJOR:MINOR root FOLDER options ... - kind SOURCE options
        for line in mounts.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let by_number = words.get(2) == Some(&number.trim());
            // Some file systems have device numbers of their own.
            let source = words.iter().position(|word| *word == "-").and_then(|at| words.get(at + 2));
            if let Some(at) = words.get(4)
                && (by_number || source == Some(&device.as_str()))
            {
                found.push((*at).to_owned());
            }
        }
        if swaps.lines().any(|line| line.split_whitespace().next() == Some(&device)) {
            found.push("swap".to_owned());
        }
        if let Ok(holders) = fs::read_dir(part.join("holders")) {
            found.extend(holders.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()));
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1_000_000_000;
    const IMAGE: u64 = 608_174_080;

    /// A laptop: its own disk with the system, an encrypted one, a card in a reader, a card in a slot, soldered
    /// memory. One line for each block device: its bus, its path there, and its files in sysfs.
    const LAPTOP: &str = "
        pci0000:00 nvme0n1 dev=259:0 GB=256 removable=0 device/serial=S3R1AL device/model=Inside
        pci0000:00 nvme0n1/nvme0n1p1 dev=259:1 GB=256 partition=1
        pci0000:00 sda dev=8:0 GB=256 removable=0
        pci0000:00 sda/sda1 dev=8:1 GB=256 partition=1 holders/dm-0/dev=
        pci0000:00/usb1 sdb dev=8:16 GB=32 removable=1 device/model=Reader ro=0
        pci0000:00/usb1 sdb/sdb1 dev=8:17 GB=32 partition=1
        pci0000:00/usb1 sdc dev=8:32 GB=32 removable=1 ro=1
        pci0000:00/usb1 sdd dev=8:48 size=500000 removable=1
        pci0000:00/usb1 sde dev=8:64 GB=2000 removable=0
        pci0000:00/usb1 sdf dev=8:80 GB=32 removable=1
        platform mmcblk0 dev=179:0 GB=32 removable=0 device/type=SD device/serial=0x1234
        platform mmcblk1 dev=179:8 GB=32 removable=0 device/type=MMC
    ";

    fn laptop() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let sys = folder.path().join("sys");
        for line in LAPTOP.trim().lines() {
            let mut words = line.split_whitespace();
            let (bus, name) = (words.next().unwrap(), words.next().unwrap());
            let at = sys.join("devices").join(bus).join(name);
            for word in words {
                let (file, text) = match word.split_once('=').unwrap() {
                    ("GB", size) => ("size", (size.parse::<u64>().unwrap() * GB / 512).to_string()),
                    (file, text) => (file, text.to_owned()),
                };
                let file = at.join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, format!("{text}\n")).unwrap();
            }
            let link = sys.join("class/block").join(name.rsplit('/').next().unwrap());
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(at, link).unwrap();
        }
        fs::create_dir_all(folder.path().join("proc/self")).unwrap();
        fs::write(
            folder.path().join("proc/self/mountinfo"),
            "22 1 259:1 / / rw - ext4 /dev/root rw\n40 22 8:17 / /media/me/CARD rw shared:1 - vfat /dev/sdb1 rw\n",
        )
        .unwrap();
        let swaps = folder.path().join("proc/swaps");
        fs::write(swaps, "Filename Type Size Used Priority\n/dev/sdf partition 1 0 -2\n").unwrap();
        folder
    }

    fn judged(name: &str, yes: Option<&str>) -> Result<(), Refusal> {
        Disk::named(laptop().path(), name).unwrap().check_writable(IMAGE, yes)
    }

    #[test]
    fn a_disk_in_use_is_never_written() {
        let size = (32 * GB / 512 * 512).to_string();
        for yes in [None, Some("S3R1AL"), Some(size.as_str())] {
            assert_eq!(judged("nvme0n1", yes), Err(Refusal::OwnDisk("nvme0n1".into())));
            assert_eq!(
                judged("nvme0n1p1", yes),
                Err(Refusal::Part { name: "nvme0n1p1".into(), disk: "nvme0n1".into() })
            );
            for (name, used_as) in [("sda", "dm-0"), ("sdb", "/media/me/CARD"), ("sdf", "swap")] {
                assert_eq!(judged(name, yes), Err(Refusal::InUse { name: name.into(), used_as: used_as.into() }));
            }
        }
    }

    #[test]
    fn a_card_that_cannot_take_the_image_is_refused() {
        assert_eq!(judged("sdc", None), Err(Refusal::ReadOnly("sdc".into())));
        assert!(matches!(judged("sdd", None), Err(Refusal::TooSmall { .. })));
    }

    #[test]
    fn a_card_is_written_and_what_is_none_only_when_it_is_named_by_number() {
        let laptop = laptop();
        fs::write(laptop.path().join("proc/self/mountinfo"), "").unwrap();
        let judged = |name: &str, yes| Disk::named(laptop.path(), name).unwrap().check_writable(IMAGE, yes);
        assert_eq!(judged("sdb", None), Ok(()));
        assert_eq!(judged("mmcblk0", None), Ok(()));
        for (name, why) in [
            ("mmcblk1", "is not removable"),
            ("sde", "larger than any card"),
            ("nvme0n1", "is not removable"),
        ] {
            let refused = judged(name, None).unwrap_err().to_string();
            assert!(refused.contains(why), "{refused}");
        }
        let named = |name: &str| match judged(name, None) {
            Err(Refusal::NoCard { named, .. }) => named,
            other => panic!("{other:?}"),
        };
        assert_eq!(named("nvme0n1"), "S3R1AL");
        assert_eq!(judged("nvme0n1", Some("S3R1AL")), Ok(()));
        let size = named("mmcblk1");
        assert_eq!(judged("mmcblk1", Some(size.as_str())), Ok(()));
        assert!(matches!(judged("sdb", Some("S3R1AL")), Err(Refusal::AnotherDisk { .. })));
        // An empty number does not allow a disk without a serial number.
        assert!(judged("mmcblk1", Some("")).is_err());
    }

    #[test]
    fn the_disk_of_this_computer_is_refused() {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
        let number = root.split(' ').nth(2).unwrap();
        let Ok(at) = fs::canonicalize(format!("/sys/dev/block/{number}")) else {
            println!("NOT RUN: / is on no disk of this machine");
            return;
        };
        let name = at.file_name().unwrap().to_string_lossy().into_owned();
        let disk = Disk::named(Path::new("/"), &name).unwrap();
        let refused = disk.check_writable(1, Some(&disk.bytes.to_string()));
        assert!(matches!(refused, Err(Refusal::OwnDisk(_) | Refusal::Part { .. })), "{refused:?}");
    }
}
