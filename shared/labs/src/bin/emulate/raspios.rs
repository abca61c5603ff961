//! `cargo emulate -- --raspios`: an image laid out as Raspberry Pi OS Lite, with the camera added, and booted.
//!
//! The image is made from Debian's arm64 packages with Debian's kernel; Raspberry Pi's own packages are not in it.
//! The files that Raspberry Pi Imager writes to `bootfs` are written after the camera was added, and run at the first
//! boot as they do there: by kernel arguments in `cmdline.txt`, which systemd understands.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use image_build::inputs::Inputs;
use image_build::layout::{self, Partition};
use image_build::{customize, host_tools};
use keepsake_provision::process::run;
use keepsake_provision::workspace;

use crate::card::{self, Setting};
use crate::scenario::{DEVICE, Scenario};

/// The user configured in Imager.
pub(crate) const PERSON: &str = "anna";
const HOSTNAME: &str = "garden-pi";
const DISK_ID: u32 = 0x5052_494f;
/// The boot partition, where [`card::Card`] expects it.
const BOOT: Partition = layout::BOOT;
/// To the end of the emulated card.
const ROOT: Partition = Partition {
    number: 2,
    kind: 0x83,
    start_bytes: BOOT.start_bytes + BOOT.bytes,
    bytes: card::BYTES - BOOT.start_bytes - BOOT.bytes,
};
const CMDLINE: &str =
    "console=serial0,115200 console=tty1 root=PARTUUID=5052494f-02 rootfstype=ext4 fsck.repair=yes rootwait";
/// The kernel arguments that Imager adds.
const RUN_ONCE: &str =
    " systemd.run=/boot/firmware/firstrun.sh systemd.run_success_action=reboot systemd.unit=kernel-command-line.target";
const CONFIG: &str = "arm_64bit=1\nkernel=kernel8.img\ninitramfs initrd.img followkernel\n";
const FSTAB: &str = "proc /proc proc defaults 0 0\n\
    PARTUUID=5052494f-01 /boot/firmware vfat defaults 0 2\n\
    PARTUUID=5052494f-02 / ext4 defaults,noatime 0 1\n";
const WIRED: &str = "[Match]\nType=ether\n\n[Network]\nDHCP=yes\n";

/// Makes the image in `folder` and adds the camera to it.
///
/// `system`: a directory with the system, which is changed.
pub(crate) fn build_image(system: &Path, program: &Path, folder: &Path) -> Result<PathBuf> {
    let inputs = Inputs {
        program,
        workspace: &workspace::root(),
        work: &folder.join("customize"),
        epoch_s: 0,
    };
    customize::add_to_image(&make(system, folder)?, &inputs)
}

/// Makes the image as it would be downloaded.
fn make(system: &Path, folder: &Path) -> Result<PathBuf> {
    for (file, text) in [
        ("etc/hostname", "raspberrypi\n"),
        ("etc/hosts", "127.0.0.1\tlocalhost\n127.0.1.1\traspberrypi\n"),
        ("etc/fstab", FSTAB),
        ("etc/systemd/network/wired.network", WIRED),
    ] {
        fs::write(system.join(file), text)?;
    }
    fs::create_dir_all(system.join("boot/firmware"))?;
    let units = system.join("etc/systemd/system");
    let wants = units.join("multi-user.target.wants");
    let networkd = wants.join("systemd-networkd.service");
    if !networkd.is_symlink() {
        symlink("/usr/lib/systemd/system/systemd-networkd.service", networkd)?;
    }
    // SSH is off until Imager enables it.
    for name in [wants.join("ssh.service"), units.join("sshd.service")] {
        if name.is_symlink() {
            fs::remove_file(name)?;
        }
    }

    let file_of = |file: &str| folder.join(file);
    let (boot, root) = (file_of("boot.fat"), file_of("root.ext4"));
    let mut fat = host_tools::command("mkfs.vfat", 0)?;
    fat.args(["-C", "-F", "32", "-n", "bootfs"]).arg(&boot);
    run(fat.arg((BOOT.bytes >> 10).to_string()))?;
    let tree = only(&system.join("usr/lib"), "linux-image-")?;
    for (name, from) in [
        ("kernel8.img", only(&system.join("boot"), "vmlinuz-")?),
        ("initrd.img", only(&system.join("boot"), "initrd.img-")?),
        ("bcm2837-rpi-3-b.dtb", tree.join("broadcom/bcm2837-rpi-3-b.dtb")),
    ] {
        let mut copy = host_tools::command("mcopy", 0)?;
        copy.arg("-i").arg(&boot).arg(&from).arg(format!("::{name}"));
        run(&mut copy)?;
    }
    for (name, text) in [("config.txt", CONFIG), ("cmdline.txt", CMDLINE)] {
        let file = file_of(name);
        fs::write(&file, text)?;
        let mut copy = host_tools::command("mcopy", 0)?;
        run(copy.arg("-i").arg(&boot).arg(&file).arg("::"))?;
    }
    let mut ext4 = host_tools::command("mke2fs", 0)?;
    ext4.args(["-q", "-t", "ext4", "-L", "rootfs", "-d"]).arg(system).arg(&root);
    run(ext4.arg(format!("{}k", ROOT.bytes >> 10)))?;

    let image = file_of("raspios-lite.img");
    let table = layout::partition_table(DISK_ID, &[BOOT, ROOT]);
    layout::assemble(&image, ROOT.start_bytes + ROOT.bytes, &table, &[(BOOT, &boot), (ROOT, &root)])?;
    for file in [boot, root] {
        fs::remove_file(file)?;
    }
    Ok(image)
}

/// Returns the only entry in `folder` whose name begins like this.
fn only(folder: &Path, begins: &str) -> Result<PathBuf> {
    let found = fs::read_dir(folder)?;
    let mut found = found.flatten().map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with(begins)
    });
    let one = found.next();
    ensure!(found.next().is_none(), "there are several {begins}* in {}", folder.display());
    one.with_context(|| format!("there is no {begins}* in {}", folder.display()))
}

/// Returns the script of Raspberry Pi Imager for a system without Raspberry Pi OS's helper programs.
fn first_run(key: &str) -> String {
    format!(
        r#"#!/bin/bash

set +e

CURRENT_HOSTNAME=`cat /etc/hostname | tr -d " \t\n\r"`
echo {HOSTNAME} >/etc/hostname
sed -i "s/127.0.1.1.*$CURRENT_HOSTNAME/127.0.1.1\t{HOSTNAME}/g" /etc/hosts
useradd -m -s /bin/bash -p '*' {PERSON}
install -o "{PERSON}" -m 700 -d "/home/{PERSON}/.ssh"
install -o "{PERSON}" -m 600 <(printf "{key}") "/home/{PERSON}/.ssh/authorized_keys"
echo 'PasswordAuthentication no' >>/etc/ssh/sshd_config
systemctl enable ssh
rm -f /boot/firmware/firstrun.sh
sed -i 's| systemd.run.*||g' /boot/firmware/cmdline.txt
exit 0
"#
    )
}

impl Scenario<'_> {
    pub(crate) fn run_raspios(&mut self) -> Result<()> {
        self.first_boot_by_imager()?;
        let ready_s = self.second_boot_with_pictures()?;
        self.third_boot_with_count(ready_s)
    }

    fn first_boot_by_imager(&mut self) -> Result<()> {
        println!("first boot: configured by Raspberry Pi Imager with a name, a user and SSH");
        self.card.put("firstrun.sh", &first_run(&self.pi.public_key()?))?;
        self.card.put("cmdline.txt", &format!("{CMDLINE}{RUN_ONCE}"))?;
        let device = format!("\"{DEVICE}\"");
        let settings: [Setting<'_>; 3] = [
            ("", "device", &device),
            ("cloud", "url", &self.cloud_url),
            ("camera", "kind", "\"simulated\""),
        ];
        self.card.set(&settings)?;
        self.pi.start(&self.card, "first")?.wait_for_power_off()?;
        let line = self.card.text("cmdline.txt")?;
        self.checks.check(
            line.trim() == CMDLINE && self.card.text("firstrun.sh").is_err(),
            "the script of Imager ran to its end, and the Pi restarts",
        );
        Ok(())
    }

    /// Returns the CPU seconds of QEMU until the camera was ready.
    fn second_boot_with_pictures(&mut self) -> Result<f64> {
        println!("second boot: the camera takes pictures");
        let (mut machine, ready_s) = self.boot("second")?;
        self.wait_until_online(&mut machine)?;
        self.take_pictures(&mut machine, 3)?;
        machine.wait_for("a greeting by SSH", |machine| Ok(machine.has_ssh()?.then_some(())))?;
        for (what, command, expected) in [
            ("it has the host name set in Imager", "uname -n", HOSTNAME),
            ("it has the user set in Imager", "id -un", PERSON),
            ("the service is active", "systemctl is-active keepsake-appliance", "active"),
            (
                "the service has its own user, created at boot",
                "stat -c %U /proc/$(systemctl show -P MainPID keepsake-appliance)",
                "keepsake",
            ),
            (
                "pictures are on the root file system, outside the system's packages",
                "test -d /var/lib/keepsake && findmnt -n -o FSTYPE /",
                "ext4",
            ),
            ("no unit has failed", "systemctl --failed --no-legend --plain", ""),
        ] {
            self.check_output(&machine, what, command, expected);
        }

        self.cut_power_during_burst(machine, |_, machine| {
            machine.cut_power();
            Ok(())
        })?;
        Ok(ready_s)
    }

    fn third_boot_with_count(&mut self, ready_s: f64) -> Result<()> {
        println!("third boot: everything is uploaded and counted");
        let (mut machine, _) = self.boot("third")?;
        self.wait_until_online(&mut machine)?;
        self.take_pictures(&mut machine, 1)?;
        let device = self.wait_until_uploaded(&mut machine)?;
        machine.cut_power();
        // Every picture confirmed before the power cut must be stored.
        let (_, confirmed) = self.confirmed_commands()?;
        let pictures = self.cloud.api().pictures(DEVICE);
        let kept = confirmed
            .iter()
            .filter(|command| pictures.iter().any(|picture| picture["command"] == command["id"]));
        let kept = kept.count();
        self.checks.check(
            kept == confirmed.len() && kept > 0,
            format!("{kept} of {} confirmed pictures are stored", confirmed.len()),
        );
        self.cloud.stop();
        println!(
            "Raspberry Pi OS's layout with the camera added: ready for a press after {ready_s:.0} CPU seconds of QEMU; {} pressed, \
             {} stored, {} missing; {} checks, {} failed",
            device["pressed"],
            device["stored"],
            device["missing"],
            self.checks.count,
            self.checks.failed.len()
        );
        Ok(())
    }
}
