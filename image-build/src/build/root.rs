//! The system of the camera: turns unpacked packages into a root file system.
//!
//! The work of the packages' own scripts (users, enabled units, certificates) is done once here, because the system
//! is read-only afterwards. Everything it does not need is removed: code that is not there has no vulnerabilities.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use walkdir::WalkDir;

use super::users::Users;
use crate::inputs::Inputs;

/// The enabled units, and the target each belongs to.
const STARTED: [(&str, &str); 12] = [
    ("multi-user.target", "keepsake-appliance.service"),
    ("multi-user.target", "keepsake-card.service"),
    ("multi-user.target", "keepsake-card-status.service"),
    ("timers.target", "keepsake-journal-tail.timer"),
    ("multi-user.target", "systemd-networkd.service"),
    ("sockets.target", "systemd-networkd.socket"),
    ("sysinit.target", "systemd-resolved.service"),
    ("sysinit.target", "systemd-timesyncd.service"),
    // Starts only with a key in camera.toml: `card/root/etc/systemd/system/ssh.service.d`.
    ("multi-user.target", "ssh.service"),
    // The names by which systemd's programs find each other.
    ("dbus", "systemd-networkd.service=dbus-org.freedesktop.network1.service"),
    ("dbus", "systemd-resolved.service=dbus-org.freedesktop.resolve1.service"),
    ("dbus", "systemd-timesyncd.service=dbus-org.freedesktop.timesync1.service"),
];

/// Units that packages enable and this system does not need: their work is done already, there is no screen to log in
/// at, and their saved state would be gone at the next boot.
const NOT_STARTED: [&str; 24] = [
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "getty@tty1.service",
    "ldconfig.service",
    "proc-sys-fs-binfmt_misc.automount",
    "sshd-keygen.service",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-binfmt.service",
    "systemd-firstboot.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-initctl.socket",
    "systemd-journal-flush.service",
    "systemd-machine-id-commit.service",
    "systemd-pcrlock-make-policy.service",
    "systemd-random-seed.service",
    "systemd-rfkill.socket",
    "systemd-sysusers.service",
    "systemd-tpm2-setup-early.service",
    "systemd-tpm2-setup.service",
    "systemd-update-done.service",
];

/// Files and directories below the root that a camera never reads.
const TAKEN_AWAY: [&str; 36] = [
    "boot",
    "etc/default/raspi-firmware",
    "etc/init.d",
    "etc/initramfs",
    "etc/kernel",
    "etc/runit",
    "etc/sv",
    "etc/ufw",
    "etc/update-motd.d",
    "etc/wpa_supplicant/action_wpa.sh",
    "lib/systemd/system/emergency.service.d",
    "usr/games",
    "usr/include",
    "usr/lib/kernel",
    "usr/lib/systemd/boot",
    "usr/lib/systemd/catalog",
    "usr/lib/udev/hwdb.d",
    "usr/lib/aarch64-linux-gnu/perl-base",
    "usr/share/base-files",
    "usr/share/bash-completion",
    "usr/share/bug",
    "usr/share/debconf",
    "usr/share/debianutils",
    "usr/share/gcc",
    "usr/share/gdb",
    "usr/share/info",
    "usr/share/initramfs-tools",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/pixmaps",
    "usr/share/pkgconfig",
    "usr/share/zoneinfo/posix",
    "usr/share/zoneinfo/right",
    "usr/share/zsh",
    "var/lib/dpkg",
];

/// The firmware of the Wi-Fi in Pi 3 (43430), 3+ and 4 (43455), and the regulatory database.
const RADIOS: [&str; 4] = ["43430-sdio", "43455-sdio", "regulatory", "LICENCE"];

/// Finishes the root file system.
///
/// # Errors
/// A package has changed its layout, or writing fails.
pub fn finish(root: &Path, inputs: &Inputs) -> Result<()> {
    install_camera(root, inputs)?;
    create_users(root)?;
    create_certificate_bundle(root)?;
    write_small_files(root, inputs.epoch_s)?;
    keep_radios_only(&root.join("usr/lib/firmware"))?;
    remove_unneeded(root)?;
    copy_folder(&inputs.workspace.join("image-build/card/root"), root)?;
    enable_units(root)?;
    drop_privileges(root)
}

/// Installs the camera as its package does (`appliance/Cargo.toml`).
fn install_camera(root: &Path, inputs: &Inputs) -> Result<()> {
    let debian = inputs.workspace.join("appliance/debian");
    copy_file(inputs.program, &root.join("usr/bin/appliance"), 0o755)?;
    for unit in ["keepsake-appliance.service", "keepsake-stopped.service"] {
        let to = root.join("usr/lib/systemd/system").join(unit);
        copy_file(&debian.join(unit), &to, 0o644)?;
    }
    copy_folder(&debian.join("sysusers.d"), &root.join("usr/lib/sysusers.d"))?;
    let rules = inputs.workspace.join("udev");
    if rules.is_dir() {
        for rule in files(&rules)? {
            if rule.extension().is_some_and(|kind| kind == "rules") {
                let name = rule.file_name().expect("a file has a name");
                copy_file(&rule, &root.join("usr/lib/udev/rules.d").join(name), 0o644)?;
            }
        }
    }
    // The original settings, for comparison with those a user has edited.
    let settings = inputs.work.join("boot/camera.toml");
    copy_file(&settings, &root.join("usr/share/keepsake/camera.toml"), 0o644)?;
    Ok(fs::create_dir_all(root.join("etc/keepsake"))?)
}

fn create_users(root: &Path) -> Result<()> {
    let base = root.join("usr/share/base-passwd");
    let mut users = Users::of_base(
        &fs::read_to_string(base.join("passwd.master"))?,
        &fs::read_to_string(base.join("group.master"))?,
    )?;
    let mut declared = BTreeMap::new();
    for file in files(&root.join("usr/lib/sysusers.d"))? {
        let name = file.file_name().expect("a file has a name");
        declared.insert(name.to_string_lossy().into_owned(), fs::read_to_string(&file)?);
    }
    users.add(&declared)?;
    for (name, text) in users.files() {
        write(root, name, &text)?;
    }
    let shadow = std::fs::Permissions::from_mode(0o600);
    Ok(fs::set_permissions(root.join("etc/shadow"), shadow)?)
}

/// Writes one file with all CAs that Mozilla trusts, as `update-ca-certificates` would.
fn create_certificate_bundle(root: &Path) -> Result<()> {
    let folder = root.join("usr/share/ca-certificates/mozilla");
    let mut all = String::new();
    for file in files(&folder)? {
        let text = fs::read_to_string(&file)?;
        all.push_str(text.trim_end());
        all.push('\n');
    }
    ensure!(all.matches("BEGIN CERTIFICATE").count() > 50, "ca-certificates has no certificates");
    write(root, "etc/ssl/certs/ca-certificates.crt", &all)
}

fn write_small_files(root: &Path, epoch_s: u64) -> Result<()> {
    // Empty: the machine id is set at boot (`card/initrd/init`).
    for (name, text) in [
        ("etc/machine-id", String::new()),
        ("etc/hostname", "keepsake\n".to_owned()),
        ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n".to_owned()),
        // systemd never sets the clock to an earlier time.
        ("usr/lib/clock-epoch", format!("{epoch_s}\n")),
    ] {
        write(root, name, &text)?;
    }
    fs::copy(root.join("usr/share/libc-bin/nsswitch.conf"), root.join("etc/nsswitch.conf"))?;
    let names = fs::read_to_string(root.join("etc/nsswitch.conf"))?;
    // Names are resolved by systemd-resolved, which knows .local as well.
    let hosts = "hosts:          files resolve [!UNAVAIL=return] dns";
    let names: String = names
        .lines()
        .map(|line| if line.starts_with("hosts:") { hosts } else { line })
        .flat_map(|line| [line, "\n"])
        .collect();
    write(root, "etc/nsswitch.conf", &names)?;
    for (name, to) in [
        ("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf"),
        ("etc/localtime", "../usr/share/zoneinfo/Etc/UTC"),
        ("etc/mtab", "../proc/self/mounts"),
        // The database signed with the keys in Debian's kernel, which its package would link on installation. Without
        // it no country can be set.
        ("usr/lib/firmware/regulatory.db", "regulatory.db-debian"),
        ("usr/lib/firmware/regulatory.db.p7s", "regulatory.db.p7s-debian"),
    ] {
        let _ = fs::remove_file(root.join(name));
        symlink(to, root.join(name)).with_context(|| format!("link {name}"))?;
    }
    for folder in ["boot/keepsake", "data", "var/lib/keepsake", "ro"] {
        fs::create_dir_all(root.join(folder))?;
    }
    Ok(())
}

fn keep_radios_only(firmware: &Path) -> Result<()> {
    for file in all_files(firmware)? {
        let name = file.to_string_lossy();
        if !RADIOS.iter().any(|radio| name.contains(radio)) || name.contains("43430a0") || name.contains("Hampoo") {
            fs::remove_file(&file)?;
        }
    }
    // The names for other boards are links and files that no Pi reads.
    for file in all_files(firmware)? {
        let name = file.file_name().expect("a file has a name").to_string_lossy();
        let for_a_board = name.contains("-sdio.") && name.ends_with(".txt") && name.matches('.').count() > 1;
        if (for_a_board && !name.contains("raspberrypi")) || !file.exists() {
            fs::remove_file(&file)?;
        }
    }
    ensure!(
        firmware.join("brcm/brcmfmac43455-sdio.bin").is_file()
            && firmware.join("brcm/brcmfmac43430-sdio.bin").is_file(),
        "the Wi-Fi firmware has another place in its package"
    );
    Ok(())
}

fn remove_unneeded(root: &Path) -> Result<()> {
    for name in TAKEN_AWAY {
        let path = root.join(name);
        let gone = match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        gone.with_context(|| format!("remove {name}"))?;
    }
    fs::create_dir_all(root.join("boot/keepsake"))?;
    // The licences stay.
    for file in all_files(&root.join("usr/share/doc"))? {
        if file.file_name().is_none_or(|name| name != "copyright") {
            fs::remove_file(&file)?;
        }
    }
    Ok(())
}

fn enable_units(root: &Path) -> Result<()> {
    let own = root.join("etc/systemd/system");
    let packaged = root.join("usr/lib/systemd/system");
    let find = |unit: &str| -> Result<String> {
        for (folder, name) in [(&own, "/etc/systemd/system"), (&packaged, "/usr/lib/systemd/system")] {
            if folder.join(unit).is_file() {
                return Ok(format!("{name}/{unit}"));
            }
        }
        anyhow::bail!("there is no unit {unit}: its package has changed")
    };
    for (target, unit) in STARTED {
        let (unit, link) = match unit.split_once('=') {
            Some((unit, alias)) => (unit, own.join(alias)),
            None => (unit, own.join(format!("{target}.wants")).join(unit)),
        };
        fs::create_dir_all(link.parent().expect("it is in a folder"))?;
        symlink(find(unit)?, &link).with_context(|| format!("enable {unit}"))?;
    }
    for unit in NOT_STARTED {
        symlink("/dev/null", own.join(unit)).with_context(|| format!("mask {unit}"))?;
    }
    symlink("/usr/lib/systemd/system/multi-user.target", own.join("default.target")).context("set the default target")
}

/// Removes set-user-id bits: no program changes its user when it is started.
fn drop_privileges(root: &Path) -> Result<()> {
    for file in all_files(root)? {
        let found = fs::symlink_metadata(&file)?;
        let mode = found.permissions().mode();
        if found.is_file() && mode & 0o6000 != 0 {
            fs::set_permissions(&file, std::fs::Permissions::from_mode(mode & 0o777))?;
        }
    }
    Ok(())
}

fn write(root: &Path, name: &str, text: &str) -> Result<()> {
    let file = root.join(name);
    fs::create_dir_all(file.parent().expect("it is in a folder"))?;
    Ok(fs::write(&file, text)?)
}

fn copy_file(from: &Path, to: &Path, mode: u32) -> Result<()> {
    fs::create_dir_all(to.parent().expect("it is in a folder"))?;
    fs::copy(from, to)?;
    // The modes of the user's own checkout must not reach the card.
    Ok(fs::set_permissions(to, std::fs::Permissions::from_mode(mode))?)
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    for file in all_files(from)? {
        let name = file.strip_prefix(from).expect("it was found there");
        copy_file(&file, &to.join(name), 0o644)?;
    }
    Ok(())
}

/// Returns the files directly in a directory, sorted by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    files_among(WalkDir::new(folder).max_depth(1))
}

/// Returns all files and links below a directory, sorted; links are not followed.
pub fn all_files(folder: &Path) -> Result<Vec<PathBuf>> {
    files_among(WalkDir::new(folder))
}

fn files_among(entries: WalkDir) -> Result<Vec<PathBuf>> {
    let entries = entries.sort_by_file_name().into_iter();
    let files = entries.filter(|entry| entry.as_ref().map_or(true, |entry| !entry.file_type().is_dir()));
    files.map(|entry| Ok(entry?.into_path())).collect()
}
