//! The identity of the board and its card.

use std::fs;
use std::path::Path;

use crate::settings::{Config, letters_and_digits};

/// The identity of this computer, as far as it can be read.
///
/// A spool that wakes up beside another identity is a moved card or a copy of one, and begins a new spool id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The serial number of the board; the default device name ends in its last six characters. Lower-case letters and digits.
    pub serial: String,
    /// Serial and, where the card can be read, its CID.
    pub fingerprint: String,
}

impl Identity {
    /// Reads the board's serial and the card's CID, on a laptop the machine id; `simulated.fingerprint` overrides both.
    pub(crate) fn of(config: &Config) -> Self {
        let fingerprint = config.simulated.fingerprint.clone();
        if fingerprint.is_empty() {
            return Self::read(Path::new("/"));
        }
        Self { serial: letters_and_digits(&fingerprint), fingerprint }
    }

    /// `root`: where `/proc`, `/sys` and `/etc` are found.
    fn read(root: &Path) -> Self {
        let text = |path: &str| {
            let text = fs::read_to_string(root.join(path)).ok()?;
            // Device tree strings end in a NUL.
            let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
            (!text.is_empty()).then(|| text.to_owned())
        };
        let serial = text("proc/cpuinfo")
            .and_then(|cpuinfo| cpu_serial(&cpuinfo))
            .or_else(|| text("sys/firmware/devicetree/base/serial-number"));
        let Some(serial) = serial else {
            // Not a Pi. A card is not part of a laptop, so the machine id identifies it.
            let machine = text("etc/machine-id")
                .or_else(|| text("proc/sys/kernel/hostname"))
                .unwrap_or_else(|| "unknown".to_owned());
            return Self {
                serial: letters_and_digits(&machine),
                fingerprint: format!("machine {machine}"),
            };
        };
        let serial = letters_and_digits(&serial);
        let fingerprint = match text("sys/block/mmcblk0/device/cid") {
            Some(cid) => format!("cpu {serial} card {cid}"),
            None => format!("cpu {serial}"),
        };
        Self { serial, fingerprint }
    }
}

/// The `Serial` line of `/proc/cpuinfo` as a Raspberry Pi writes it; all zeros means that the firmware did not know.
fn cpu_serial(cpuinfo: &str) -> Option<String> {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == "Serial")
        .map(|(_, serial)| serial.trim().to_owned())
        .filter(|serial| serial.bytes().any(|c| c != b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> Identity {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Identity::read(root.path())
    }

    #[test]
    fn another_card_or_another_board_is_another_fingerprint() {
        let cpuinfo = "processor\t: 0\nSerial\t\t: 100000001A2B3C4D\nModel\t\t: Raspberry Pi 4\n";
        let pi = machine(&[("proc/cpuinfo", cpuinfo), ("sys/block/mmcblk0/device/cid", "035344\n")]);
        assert_eq!(pi.serial, "100000001a2b3c4d");
        assert_eq!(pi.fingerprint, "cpu 100000001a2b3c4d card 035344");
        let other_card = machine(&[("proc/cpuinfo", cpuinfo), ("sys/block/mmcblk0/device/cid", "1b534d\n")]);
        assert_ne!(pi.fingerprint, other_card.fingerprint);
        assert_eq!(pi.serial, other_card.serial);
    }

    #[test]
    fn a_pi_whose_firmware_hides_the_serial_is_known_by_its_device_tree() {
        let pi = machine(&[
            ("proc/cpuinfo", "Serial : 0000000000000000\n"),
            ("sys/firmware/devicetree/base/serial-number", "10000000abcdef\0"),
        ]);
        assert_eq!(pi.serial, "10000000abcdef");
    }

    #[test]
    fn a_laptop_is_known_by_its_machine_id() {
        let laptop = machine(&[
            ("proc/cpuinfo", "model name : something\n"),
            ("etc/machine-id", "0123456789abcdef\n"),
            ("sys/block/mmcblk0/device/cid", "035344\n"),
        ]);
        assert_eq!(laptop.fingerprint, "machine 0123456789abcdef");
        assert_eq!(laptop.serial, "0123456789abcdef");
        // Nothing to read at all is still an identity, and the same one every time.
        assert_eq!(machine(&[]), machine(&[]));
    }
}
