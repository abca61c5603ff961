//! The FAT partition `KEEPSAKE`: the files for the Pi's firmware and for the user.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use keepsake_provision::process::run;

use crate::host_tools;
use crate::layout;

/// The Pi's boot loaders: for 3 and 3+, then for 4 (whose first stage is in a chip).
const FIRMWARE: [&str; 5] = ["bootcode.bin", "start.elf", "fixup.dat", "start4.elf", "fixup4.dat"];
const CONFIG: &str = include_str!("../../card/boot/config.txt");
const START_HERE: &str = include_str!("../../card/boot/START-HERE.html");
/// The settings that only a card has; they go before the first section of the camera's settings.
const CARD_SETTINGS: &str = include_str!("../../card/boot/card-settings.toml");
/// The constant size of `CAMERA-STATUS.txt` in bytes: rewriting it moves nothing else on the partition.
const STATUS_BYTES: usize = 4096;
const STATUS: &str = "This card has not been started in a camera yet.";

/// Returns the kernel's command line. `systemd.show_status` would draw on a screen that is not there.
pub fn kernel_command_line() -> String {
    format!(
        "keepsake.disk={:08x} keepsake.slot={} net.ifnames=0 panic=20 quiet console=tty1\n",
        layout::DISK_ID,
        layout::SYSTEM_A.number
    )
}

/// Puts everything except the kernel into the directory `boot`. The firmware is moved out of the system, which does not
/// read it.
///
/// # Errors
/// A file is missing in the packages, or copying fails.
pub fn fill(boot: &Path, root: &Path, workspace: &Path) -> Result<()> {
    let firmware = root.join("usr/lib/raspi-firmware");
    for name in FIRMWARE {
        fs::copy(firmware.join(name), boot.join(name))?;
    }
    fs::remove_dir_all(&firmware)?;
    let settings = workspace.join("appliance/camera.toml");
    let settings = fs::read_to_string(&settings)?;
    for (name, text) in [
        ("config.txt", CONFIG.to_owned()),
        ("cmdline.txt", kernel_command_line()),
        ("START-HERE.html", START_HERE.to_owned()),
        ("camera.toml", with_crlf(&camera_settings(&settings)?)),
        ("CAMERA-STATUS.txt", status()),
    ] {
        fs::write(boot.join(name), text)?;
    }
    Ok(())
}

/// Returns `appliance/camera.toml` with the settings that only a card has.
///
/// # Errors
/// The file has changed and has no place for them.
pub fn camera_settings(appliance: &str) -> Result<String> {
    let first = "\n[cloud]\n";
    replace_once(&service_settings(appliance)?, first, &format!("\n{CARD_SETTINGS}\n{first}"))
}

/// Returns `appliance/camera.toml` with the spool directory of the service.
///
/// # Errors
/// The file has changed and has no place for it.
pub fn service_settings(appliance: &str) -> Result<String> {
    replace_once(appliance, "dir = \"keepsake-spool\"", "dir = \"/var/lib/keepsake/pictures\"")
}

fn replace_once(settings: &str, from: &str, to: &str) -> Result<String> {
    let found = settings.matches(from).count();
    ensure!(found == 1, "{} occurs {found} times in camera.toml instead of once", from.trim());
    Ok(settings.replace(from, to))
}

/// Returns the text with Windows line ends: old editors there show the file as one line without them.
pub fn with_crlf(text: &str) -> String {
    text.replace('\n', "\r\n")
}

fn status() -> String {
    format!("{STATUS:<width$}\r\n", width = STATUS_BYTES - 2)
}

/// Creates the file system of the partition, with every file of `boot`.
///
/// # Errors
/// mtools has failed, or the files do not fit.
pub fn make_file_system(boot: &Path, to: &Path, epoch_s: u64) -> Result<()> {
    let file = File::create_new(to).with_context(|| format!("create {}", to.display()))?;
    file.set_len(layout::BOOT.bytes)?;
    let mut format = host_tools::command("mkfs.vfat", epoch_s)?;
    format
        .args(["-F", "32", "-s", "1", "--invariant"])
        .args(["-n", layout::BOOT_LABEL, "-i", layout::BOOT_VOLUME_ID])
        .arg(to);
    run(&mut format)?;
    let mut names: Vec<_> = fs::read_dir(boot)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    names.sort();
    let then = std::time::UNIX_EPOCH + std::time::Duration::from_secs(epoch_s);
    for file in &names {
        let times = std::fs::FileTimes::new().set_modified(then).set_accessed(then);
        File::options().write(true).open(file)?.set_times(times)?;
    }
    let mut copy = host_tools::command("mcopy", epoch_s)?;
    // -m keeps the times just set.
    copy.args(["-m", "-Q", "-i"]).arg(to).args(&names).arg("::/");
    run(&mut copy).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const APPLIANCE: &str = include_str!("../../../appliance/camera.toml");

    #[test]
    fn the_settings_on_the_card_are_those_of_the_camera_with_the_card_s_own() {
        let settings = camera_settings(APPLIANCE).unwrap();
        assert!(settings.contains("[[wifi]]"));
        assert!(settings.contains("dir = \"/var/lib/keepsake/pictures\""));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("camera.toml");
        fs::write(&file, with_crlf(&settings)).unwrap();
        let (report, good) = keepsake_appliance::settings::check_config(&file);
        assert!(good, "{report}");
    }

    #[test]
    fn settings_without_a_place_for_the_card_s_own_make_no_image() {
        assert!(camera_settings("").is_err());
    }

    #[test]
    fn the_status_file_has_its_size_from_the_beginning() {
        assert_eq!(status().len(), STATUS_BYTES);
    }

    #[test]
    fn the_kernel_is_told_which_card_is_its_own() {
        let line = kernel_command_line();
        assert!(line.contains("keepsake.disk=4b534b31 keepsake.slot=2 "));
        assert_eq!(line.lines().count(), 1);
    }
}
