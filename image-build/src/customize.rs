//! Adds the camera to an image of Raspberry Pi OS Lite (64-bit), as downloaded, without booting it.
//!
//! Files are added and none is changed: what the image does at its first boot (growing, `firstrun.sh`,
//! `userconf.txt`, cloud-init) works as before. Neither root nor a loop device is needed: mtools and debugfs access
//! the partitions in place.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;
use keepsake_provision::process::run;

use crate::build::boot;
use crate::host_tools;
use crate::inputs::Inputs;
use crate::layout::{self, Partition};
use crate::write::each_chunk;

const USERS_UNIT: &str = include_str!("../card/customize/keepsake-users.service");
const DROP_IN: &str = include_str!("../card/customize/customized.conf");
/// The machine field of ELF files for the Pi's processor in 64 bits.
const MACHINE: (std::ops::Range<usize>, [u8; 2]) = (18..20, [0xb7, 0]);

/// Makes the new image at `work/customized.img` and returns its path. `base`: `.img`, `.img.xz` or `.img.zst`.
///
/// # Errors
/// It is not a 64-bit image of Raspberry Pi OS, it has the camera already, there is no space in it, or a tool has
/// failed.
pub fn add_to_image(base: &Path, inputs: &Inputs) -> Result<PathBuf> {
    let _ = fs::remove_dir_all(inputs.work);
    fs::create_dir_all(inputs.work)?;
    let program = fs::read(inputs.program)?;
    ensure!(
        program.starts_with(b"\x7fELF") && program.get(MACHINE.0) == Some(&MACHINE.1[..]),
        "{} is not a program for arm64",
        inputs.program.display()
    );
    let image = inputs.work.join("customized.img");
    unpack(base, &image)?;
    let (boot, root) = partitions(&image)?;
    let root = Root { image: &image, partition: root, inputs };
    root.check_file_system("before the camera is added")?;
    ensure!(
        root.has("/usr/lib/aarch64-linux-gnu") && root.has("/etc/os-release"),
        "{} is not a 64-bit Raspberry Pi OS; use \"Raspberry Pi OS Lite (64-bit)\"",
        base.display()
    );
    ensure!(!root.has("/usr/bin/appliance"), "{} already has the camera", base.display());
    let boot = format!("{}@@{}", image.display(), boot.start_bytes);
    add_settings(inputs, &boot)?;
    add_camera(inputs, &root)?;
    root.check_file_system("now")?;
    Ok(image)
}

/// Unpacks an image: `.img`, `.img.xz` or `.img.zst`. Holes stay holes: such an image has some gigabytes, half of
/// them empty.
///
/// # Errors
/// It is not an image, `to` exists, or writing fails.
pub fn unpack(from: &Path, to: &Path) -> Result<()> {
    let mut file = File::create_new(to).with_context(|| format!("create {}", to.display()))?;
    let mut bytes = 0;
    each_chunk(from, |chunk| {
        if chunk.iter().any(|byte| *byte != 0) {
            file.seek(SeekFrom::Start(bytes))?;
            file.write_all(chunk)?;
        }
        bytes += chunk.len() as u64;
        Ok(())
    })?;
    file.set_len(bytes)?;
    Ok(())
}

/// Returns the boot partition and the root partition.
fn partitions(image: &Path) -> Result<(Partition, Partition)> {
    let found = layout::read(&mut File::open(image)?)?;
    match found {
        [Some(boot), Some(root), None, None] if matches!(boot.kind, 0x0b | 0x0c) && root.kind == 0x83 => {
            Ok((boot, root))
        }
        _ => bail!("the image does not have the partitions of Raspberry Pi OS, one FAT and one Linux"),
    }
}

/// Adds `camera.toml` beside `config.txt`.
fn add_settings(inputs: &Inputs, boot: &str) -> Result<()> {
    let settings = inputs.workspace.join("appliance/camera.toml");
    let settings = fs::read_to_string(&settings)?;
    let file = inputs.work.join("camera.toml");
    fs::write(&file, boot::with_crlf(&boot::service_settings(&settings)?))?;
    let mut copy = host_tools::command("mcopy", inputs.epoch_s)?;
    // -D s keeps an existing file.
    copy.args(["-D", "s", "-i", boot]).arg(&file).arg("::camera.toml");
    run(&mut copy).map(drop)
}

/// Adds the files that its package installs (`appliance/Cargo.toml`), and what the package's scripts would create.
fn add_camera(inputs: &Inputs, root: &Root<'_>) -> Result<()> {
    let text = |name: &str, text: &str| -> Result<PathBuf> {
        let file = inputs.work.join(name);
        fs::write(&file, text)?;
        Ok(file)
    };
    let debian = inputs.workspace.join("appliance/debian");
    let units = "/usr/lib/systemd/system";
    root.add_file("/usr/bin/appliance", inputs.program, 0o755)?;
    for (folder, name, from) in [
        (units, "keepsake-appliance.service", debian.join("keepsake-appliance.service")),
        (units, "keepsake-stopped.service", debian.join("keepsake-stopped.service")),
        (units, "keepsake-users.service", text("keepsake-users.service", USERS_UNIT)?),
        (units, "keepsake-appliance.service.d/customized.conf", text("customized.conf", DROP_IN)?),
        (
            "/usr/lib/sysusers.d",
            "keepsake-appliance.conf",
            debian.join("sysusers.d/keepsake-appliance.conf"),
        ),
        (
            "/usr/lib/udev/rules.d",
            "60-keepsake.rules",
            inputs.workspace.join("udev/60-keepsake.rules"),
        ),
    ] {
        root.add_file(&format!("{folder}/{name}"), &from, 0o644)?;
    }
    root.add_link("/etc/keepsake/camera.toml", "/boot/firmware/camera.toml")?;
    let started = "/etc/systemd/system/multi-user.target.wants/keepsake-appliance.service";
    root.add_link(started, "/usr/lib/systemd/system/keepsake-appliance.service")
}

/// The root file system, in place in the image.
struct Root<'a> {
    image: &'a Path,
    partition: Partition,
    inputs: &'a Inputs<'a>,
}

impl Root<'_> {
    fn place(&self) -> String {
        format!("{}?offset={}", self.image.display(), self.partition.start_bytes)
    }

    /// Runs a request of debugfs. It exits with 0 even after an error, so callers check the result.
    fn debugfs(&self, request: &str) -> Result<Vec<u8>> {
        let mut debugfs = host_tools::command("debugfs", self.inputs.epoch_s)?;
        // The requests use names of our own, which are safe from spaces in directory names.
        debugfs.current_dir(self.inputs.work).args(["-w", "-R", request]).arg(self.place());
        run(&mut debugfs)
    }

    fn has(&self, path: &str) -> bool {
        self.debugfs(&format!("stat {path}"))
            .is_ok_and(|output| String::from_utf8_lossy(&output).contains("Inode:"))
    }

    fn add_link(&self, path: &str, to: &str) -> Result<()> {
        self.prepare(path)?;
        self.debugfs(&format!("symlink {path} {to}"))?;
        ensure!(self.has(path), "{path} could not be added to the image");
        Ok(())
    }

    fn add_file(&self, path: &str, from: &Path, mode: u32) -> Result<()> {
        self.prepare(path)?;
        let content = fs::read(from)?;
        fs::write(self.inputs.work.join("new"), &content)?;
        self.debugfs(&format!("write new {path}"))?;
        self.owned_by_root(path, 0o100_000 | mode)?;
        ensure!(
            self.debugfs(&format!("cat {path}"))? == content,
            "{path} could not be added to the image: is there room for {} kB?",
            content.len() / 1000
        );
        Ok(())
    }

    /// Makes the directories of a new file.
    fn prepare(&self, path: &str) -> Result<()> {
        for (at, _) in path.match_indices('/').skip(1) {
            let folder = &path[..at];
            if !self.has(folder) {
                self.debugfs(&format!("mkdir {folder}"))?;
                self.owned_by_root(folder, 0o040_755)?;
            }
        }
        ensure!(!self.has(path), "{path} is already in the image");
        Ok(())
    }

    fn owned_by_root(&self, path: &str, mode: u32) -> Result<()> {
        for (field, value) in [("mode", format!("0{mode:o}")), ("uid", "0".to_owned()), ("gid", "0".to_owned())] {
            self.debugfs(&format!("set_inode_field {path} {field} {value}"))?;
        }
        Ok(())
    }

    fn check_file_system(&self, when: &str) -> Result<()> {
        let mut check = host_tools::command("e2fsck", self.inputs.epoch_s)?;
        check.args(["-f", "-n"]).arg(self.place());
        run(&mut check)
            .map(drop)
            .with_context(|| format!("the file system of the image is damaged {when}"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const MIB: u64 = 1 << 20;
    /// The files that the image needs for its first boot.
    const FIRST_BOOT: [(&str, &str); 5] = [
        (
            "cmdline.txt",
            "console=tty1 root=PARTUUID=12345678-02 init=/usr/lib/raspberrypi-sys-mods/firstboot systemd.run=/boot/firstrun.sh\n",
        ),
        ("config.txt", "arm_64bit=1\n"),
        ("firstrun.sh", "#!/bin/bash\n/usr/lib/userconf-pi/userconf 'pi' '$5$x'\n"),
        ("userconf.txt", "pi:$5$x\n"),
        ("user-data", "#cloud-config\nhostname: mine\n"),
    ];

    fn run(program: &str, arguments: &[&str], at: &Path) -> Vec<u8> {
        keepsake_provision::process::run(host_tools::command(program, 0).unwrap().current_dir(at).args(arguments))
            .unwrap()
    }

    /// Makes an image laid out as Raspberry Pi OS: a FAT `bootfs`, and an ext4 `rootfs` with an arm64 system.
    fn raspberry_pi_os(folder: &Path, libraries: &str) -> PathBuf {
        let root = folder.join("root");
        for name in [
            "etc/systemd/system",
            "usr/bin",
            "usr/lib/udev/rules.d",
            "usr/lib/sysusers.d",
            "boot/firmware",
        ] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::create_dir_all(root.join("usr/lib").join(libraries)).unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        fs::write(root.join("etc/os-release"), "ID=debian\n").unwrap();
        fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/bash\n").unwrap();
        fs::write(root.join("usr/bin/sudo"), "s").unwrap();
        fs::set_permissions(root.join("usr/bin/sudo"), std::fs::Permissions::from_mode(0o4755)).unwrap();
        run("mkfs.vfat", &["-C", "-F", "32", "-s", "1", "-n", "bootfs", "boot.fat", "40960"], folder);
        for (name, text) in FIRST_BOOT {
            fs::write(folder.join(name), text).unwrap();
            run("mcopy", &["-i", "boot.fat", name, "::"], folder);
        }
        run("mke2fs", &["-q", "-t", "ext4", "-L", "rootfs", "-d", "root", "root.ext4", "64M"], folder);

        let image = folder.join("raspios-lite.img");
        let boot = Partition { number: 1, kind: 0x0c, start_bytes: 8 * MIB, bytes: 40 * MIB };
        let root = Partition {
            number: 2,
            kind: 0x83,
            start_bytes: 48 * MIB,
            bytes: 64 * MIB,
        };
        let table = layout::partition_table(0x1234_5678, &[boot, root]);
        let (fat, ext4) = (folder.join("boot.fat"), folder.join("root.ext4"));
        layout::assemble(&image, 112 * MIB, &table, &[(boot, &fat), (root, &ext4)]).unwrap();
        run("xz", &["-0", "--keep", "raspios-lite.img"], folder);
        folder.join("raspios-lite.img.xz")
    }

    fn program(folder: &Path, machine: u8) -> PathBuf {
        let mut program = b"\x7fELF".to_vec();
        program.resize(300_000, 7);
        program[18..20].copy_from_slice(&[machine, 0]);
        let file = folder.join("program");
        fs::write(&file, program).unwrap();
        file
    }

    struct Given {
        folder: tempfile::TempDir,
        image: PathBuf,
        program: PathBuf,
    }

    impl Given {
        fn new(libraries: &str, machine: u8) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let image = raspberry_pi_os(folder.path(), libraries);
            let program = program(folder.path(), machine);
            Self { image, program, folder }
        }

        fn customize(&self) -> Result<PathBuf> {
            let inputs = Inputs {
                program: &self.program,
                workspace: Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap(),
                work: &self.folder.path().join("a work folder"),
                epoch_s: 1_764_000_000,
            };
            add_to_image(&self.image, &inputs)
        }
    }

    #[test]
    fn the_camera_is_added_and_nothing_else_is_touched() {
        if !host_tools::available_or_skip() {
            return;
        }
        let given = Given::new("aarch64-linux-gnu", 0xb7);
        let image = given.customize().unwrap();
        let before = fs::read(given.folder.path().join("raspios-lite.img")).unwrap();
        let after = fs::read(&image).unwrap();
        assert_eq!(before.len(), after.len());
        assert!(
            before[..512] == after[..512],
            "the table of partitions, and the number by which root is found"
        );

        let at = given.folder.path();
        let boot = format!("{}@@{}", image.display(), 8 * MIB);
        for (name, text) in FIRST_BOOT {
            let there = run("mtype", &["-i", &boot, &format!("::{name}")], at);
            assert_eq!(String::from_utf8(there).unwrap(), text, "{name}");
        }
        let settings = run("mtype", &["-i", &boot, "::camera.toml"], at);
        fs::write(at.join("camera.toml"), &settings).unwrap();
        let (output, good) = keepsake_appliance::settings::check_config(&at.join("camera.toml"));
        assert!(good && output.contains("/var/lib/keepsake/pictures"), "{output}");

        // The whole system as it would be mounted.
        fs::write(at.join("root.after"), &after[usize::try_from(48 * MIB).unwrap()..]).unwrap();
        run("e2fsck", &["-f", "-n", "root.after"], at);
        fs::create_dir(at.join("out")).unwrap();
        run("debugfs", &["-R", "rdump / out", "root.after"], at);
        let out = at.join("out");
        assert!(fs::read(out.join("usr/bin/appliance")).unwrap() == fs::read(&given.program).unwrap());
        let mode = |name: &str| fs::metadata(out.join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode("usr/bin/appliance"), 0o755);
        for name in ["keepsake-appliance.service", "keepsake-users.service", "keepsake-stopped.service"] {
            assert_eq!(mode(&format!("usr/lib/systemd/system/{name}")), 0o644, "{name}");
        }
        for (link, to) in [
            ("etc/keepsake/camera.toml", "/boot/firmware/camera.toml"),
            (
                "etc/systemd/system/multi-user.target.wants/keepsake-appliance.service",
                "/usr/lib/systemd/system/keepsake-appliance.service",
            ),
            ("lib", "usr/lib"),
        ] {
            assert_eq!(fs::read_link(out.join(link)).unwrap(), Path::new(to), "{link}");
        }
        assert_eq!(fs::read(out.join("etc/passwd")).unwrap(), b"root:x:0:0::/root:/bin/bash\n");
        let stat = |path: &str| {
            let output = run("debugfs", &["-R", &format!("stat {path}"), "root.after"], at);
            String::from_utf8_lossy(&output).into_owned()
        };
        let ours = stat("/usr/bin/appliance");
        assert!(ours.contains("User:     0   Group:     0"), "{ours}");
        // A copy loses this; the file system must not.
        let sudo = stat("/usr/bin/sudo");
        assert!(sudo.contains("Mode:  04755"), "{sudo}");
    }

    #[test]
    fn an_image_that_has_it_or_cannot_run_it_is_refused() {
        if !host_tools::available_or_skip() {
            return;
        }
        let given = Given::new("aarch64-linux-gnu", 0xb7);
        let done = given.folder.path().join("done.img");
        fs::rename(given.customize().unwrap(), &done).unwrap();
        let done = Given { image: done, ..given };
        let error = format!("{:#}", done.customize().unwrap_err());
        assert!(error.contains("already has the camera"), "{error}");

        let error = format!("{:#}", Given::new("arm-linux-gnueabihf", 0xb7).customize().unwrap_err());
        assert!(error.contains("64-bit"), "{error}");
        let error = format!("{:#}", Given::new("aarch64-linux-gnu", 0x3e).customize().unwrap_err());
        assert!(error.contains("not a program for arm64"), "{error}");
    }
}
