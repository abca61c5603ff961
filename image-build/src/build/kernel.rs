//! The kernel, the modules a camera can use, and the first program.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;
use keepsake_provision::process::run;

use crate::host_tools;
use keepsake_provision::cpio::Archive;

const INIT: &[u8] = include_bytes!("../../card/initrd/init");

/// The modules needed to reach the system.
const EARLY: [&str; 10] = [
    // The card: Pi 3, then Pi 4, whose voltage is switched by an expander.
    "bcm2835",
    "sdhci-iproc",
    "gpio-regulator",
    // File systems.
    "squashfs",
    "overlay",
    "ext4",
    // ext4 loads it by the name of the checksum, which no dependency list has.
    "crc32c_generic",
    "vfat",
    "nls_cp437",
    // From the first second on, so that a hanging boot ends.
    "bcm2835_wdt",
];

/// The other modules: USB cameras, networks, and the parts of a Pi 3 or 4.
const LATE: [&str; 43] = [
    "nls_ascii",
    "nls_iso8859-1",
    "autofs4",
    // Wired network: 3, 3+, 4, and adapters.
    "smsc95xx",
    "lan78xx",
    "genet",
    "broadcom",
    "microchip",
    "r8152",
    "asix",
    "ax88179_178a",
    "cdc_ether",
    "cdc_ncm",
    "rndis_host",
    // Wi-Fi, and the ciphers it uses.
    "brcmfmac",
    "brcmfmac-wcc",
    "brcmfmac-cyw",
    "ccm",
    "cmac",
    "aes_ce_blk",
    "algif_hash",
    // USB: 3 and 4, cameras, sticks.
    "dwc2",
    "phy-generic",
    "xhci-pci",
    "reset-raspberrypi",
    "usb-storage",
    "uas",
    "sd_mod",
    "uvcvideo",
    // Buttons, LEDs, buses.
    "leds-gpio",
    "gpio-keys",
    "usbhid",
    "hid-generic",
    "i2c-bcm2835",
    "i2c-dev",
    "spi-bcm2835",
    "pwm-bcm2835",
    // Temperature, frequency, random numbers.
    "bcm2835_thermal",
    "bcm2711_thermal",
    "raspberrypi-cpufreq",
    "bcm2835-rng",
    "iproc-rng200",
    // The network of the emulated Pi.
    "usbnet",
];

/// The boards this image boots on.
const DEVICE_TREES: [&str; 4] = [
    "bcm2837-rpi-3-b.dtb",
    "bcm2837-rpi-3-b-plus.dtb",
    "bcm2837-rpi-3-a-plus.dtb",
    "bcm2711-rpi-4-b.dtb",
];

/// Debian's kernel package, unpacked.
pub struct Kernel {
    tree: PathBuf,
    version: String,
    /// The dependencies of each module, by its path below `modules`.
    needs: BTreeMap<String, Vec<String>>,
    builtin: BTreeSet<String>,
}

impl Kernel {
    /// Reads the kernel in `tree`.
    ///
    /// # Errors
    /// There is no kernel, or depmod has failed.
    pub fn find(tree: &Path) -> Result<Self> {
        let modules = tree.join("usr/lib/modules");
        let mut versions =
            fs::read_dir(&modules).with_context(|| format!("there is no kernel in {}", tree.display()))?;
        let version = versions.next().context("the kernel has no modules")??;
        let version = version.file_name().to_string_lossy().into_owned();
        // depmod looks below /lib, which is a link in a complete system.
        std::os::unix::fs::symlink("usr/lib", tree.join("lib")).context("link lib")?;
        depmod(tree, &version, 0)?;
        let folder = modules.join(&version);
        let needs = fs::read_to_string(folder.join("modules.dep"))?
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(module, needs)| {
                let needs = needs.split_whitespace().map(str::to_owned).collect();
                (module.to_owned(), needs)
            })
            .collect();
        let builtin = fs::read_to_string(folder.join("modules.builtin"))?.lines().map(module_name).collect();
        Ok(Self { tree: tree.to_owned(), version, needs, builtin })
    }

    /// Returns these modules and all their dependencies, each after its own.
    fn closure(&self, names: &[&str]) -> Result<Vec<String>> {
        let by_name: BTreeMap<String, &String> = self.needs.keys().map(|path| (module_name(path), path)).collect();
        let mut ordered: Vec<String> = Vec::new();
        for name in names {
            let name = name.replace('-', "_");
            let Some(path) = by_name.get(&name) else {
                ensure!(
                    self.builtin.contains(&name),
                    "the kernel has no module {name}: Debian's kernel has changed"
                );
                continue;
            };
            // depmod lists the nearest dependency first.
            let needs = self.needs[*path].iter().rev();
            for module in needs.chain([*path]) {
                if !ordered.contains(module) {
                    ordered.push(module.clone());
                }
            }
        }
        Ok(ordered)
    }

    fn folder(&self) -> PathBuf {
        self.tree.join("usr/lib/modules").join(&self.version)
    }

    /// Copies the modules of the running camera into its system.
    ///
    /// # Errors
    /// A module is missing, or copying fails.
    pub fn copy_modules(&self, root: &Path, epoch_s: u64) -> Result<()> {
        let to = root.join("usr/lib/modules").join(&self.version);
        let lists = ["modules.builtin", "modules.builtin.modinfo", "modules.order"];
        let modules = self.closure(&[&EARLY[..], &LATE[..]].concat())?;
        for name in modules.iter().map(String::as_str).chain(lists) {
            let file = to.join(name);
            fs::create_dir_all(file.parent().expect("it is in a folder"))?;
            fs::copy(self.folder().join(name), &file)?;
        }
        depmod(root, &self.version, epoch_s)
    }

    /// Writes the kernel. The Pi unpacks gzip.
    ///
    /// # Errors
    /// gzip has failed, or writing fails.
    pub fn write_image(&self, to: &Path, epoch_s: u64) -> Result<()> {
        let from = self.tree.join(format!("boot/vmlinuz-{}", self.version));
        let mut gzip = host_tools::command("gzip", epoch_s)?;
        gzip.args(["-9", "--no-name", "--stdout"]).arg(from);
        Ok(fs::write(to, run(&mut gzip)?)?)
    }

    /// Writes the archive with `card/initrd/init`, busybox and the modules to reach the card.
    ///
    /// # Errors
    /// A module is missing, zstd has failed, or writing fails.
    pub fn write_initrd(&self, to: &Path, busybox: &Path, epoch_s: u64) -> Result<()> {
        let mut archive = Archive::default();
        for folder in ["bin", "dev", "mnt", "modules", "proc", "ro", "rw", "sys"] {
            archive.folder(folder);
        }
        // The console for messages before devtmpfs is mounted.
        archive.device("dev/console", 5, 1);
        archive.file("bin/busybox", 0o755, &fs::read(busybox)?);
        archive.link("bin/sh", "busybox");
        archive.file("init", 0o755, INIT);
        for (number, module) in self.closure(&EARLY)?.iter().enumerate() {
            let mut xz = host_tools::command("xz", epoch_s)?;
            xz.args(["--decompress", "--stdout"]).arg(self.folder().join(module));
            // busybox loads them in the order of their names.
            let name = format!("modules/{number:02}-{}.ko", module_name(module));
            archive.file(&name, 0o644, &run(&mut xz)?);
        }
        let mut zstd = host_tools::command("zstd", epoch_s)?;
        let file = File::create(to).with_context(|| format!("create {}", to.display()))?;
        let mut zstd = zstd
            .args(["-19", "--quiet", "--stdout"])
            .stdin(Stdio::piped())
            .stdout(file)
            .spawn()
            .context("run zstd")?;
        let mut stdin = zstd.stdin.take().expect("stdin is piped");
        stdin.write_all(&archive.finish()).context("compress the initrd")?;
        drop(stdin);
        if !zstd.wait()?.success() {
            bail!("zstd has failed");
        }
        Ok(())
    }

    /// Copies the device trees of the boards.
    ///
    /// # Errors
    /// A board is missing in the kernel, or copying fails.
    pub fn copy_device_trees(&self, boot: &Path) -> Result<()> {
        let folder = self.tree.join(format!("usr/lib/linux-image-{}/broadcom", self.version));
        for name in DEVICE_TREES {
            fs::copy(folder.join(name), boot.join(name))?;
        }
        Ok(())
    }
}

fn depmod(root: &Path, version: &str, epoch_s: u64) -> Result<()> {
    let mut command = host_tools::command("depmod", epoch_s)?;
    command.arg("-b").arg(root).arg(version);
    run(&mut command).map(drop)
}

/// Returns `ext4` for `kernel/fs/ext4/ext4.ko.xz`; in names `-` and `_` are the same.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    let name = file.split(".ko").next().unwrap_or(file);
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel() -> Kernel {
        let needs = [
            ("kernel/a/top.ko.xz", vec!["kernel/b/mid-dle.ko.xz", "kernel/c/low.ko.xz"]),
            ("kernel/b/mid-dle.ko.xz", vec!["kernel/c/low.ko.xz"]),
            ("kernel/c/low.ko.xz", vec![]),
            ("kernel/d/unused.ko.xz", vec![]),
        ];
        Kernel {
            tree: PathBuf::new(),
            version: String::new(),
            needs: needs
                .map(|(name, needs)| (name.to_owned(), needs.iter().map(|&n| n.to_owned()).collect()))
                .into(),
            builtin: ["inside".to_owned()].into(),
        }
    }

    #[test]
    fn a_module_comes_with_all_it_needs_and_behind_it() {
        let all = kernel().closure(&["top", "mid_dle", "inside"]).unwrap();
        assert_eq!(all, ["kernel/c/low.ko.xz", "kernel/b/mid-dle.ko.xz", "kernel/a/top.ko.xz"]);
    }

    #[test]
    fn a_module_the_kernel_no_longer_has_makes_no_image() {
        let error = kernel().closure(&["gone"]).unwrap_err().to_string();
        assert!(error.contains("gone"), "{error}");
    }
}
