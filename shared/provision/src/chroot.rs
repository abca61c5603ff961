//! Fresh Debian and Ubuntu systems in directories, in which packages and instructions are tested: entered with a
//! command, or booted with their own systemd.
//!
//! mmdebstrap makes a system once, with the archives and keys that apt has, and it is kept as an archive in
//! `target/systems`; each check unpacks a fresh copy and removes it afterwards. Nothing is installed or started on
//! this computer except mmdebstrap, qemu-user-static and slirp4netns. A booted system has its own processes, mounts
//! and network: it cannot be reached from outside, its ports conflict with nothing, and it reaches the archives
//! through slirp4netns. Programs for another processor run in QEMU, which the kernel knows of for as long as the
//! check takes.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;
use walkdir::WalkDir;

use crate::cross::Arch;
use crate::process::{ChildGuard, last_lines, run};
use crate::{host, workspace};

const ENTER: &str = include_str!("chroot/enter.sh");
const ARCHIVE: &str = "http://deb.debian.org/debian";
const UBUNTU_ARCHIVE: &str = "http://archive.ubuntu.com/ubuntu";
/// The file system in which the kernel learns which interpreter runs a foreign binary format.
const BINFMT: &str = "/proc/sys/fs/binfmt_misc";
const BINFMT_NAME: &str = "keepsake-aarch64";
/// The magic of arm64 programs (binfmt_misc; from QEMU's scripts/qemu-binfmt-conf.sh).
const AARCH64_MAGIC: &str = r":M::\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:";
/// The packages of a booted system, as in a cloud image: systemd, sudo, and the usual tools.
const PACKAGES: &str = "systemd-sysv,udev,dbus,sudo,ca-certificates,openssl,curl,iproute2,procps";
/// The packages of a system that is not booted. Each costs seconds in QEMU.
const PACKAGES_EMULATED: &str = "systemd,udev,ca-certificates,iproute2";
/// The packages of a system that boots on a Pi: a kernel and SSH.
const PACKAGES_PI: &str = "systemd-sysv,udev,dbus,kmod,openssh-server,passwd,linux-image-arm64,initramfs-tools";
/// The longest that systemd may take to start everything.
const BOOT_WITHIN: Duration = Duration::from_secs(180);

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Release {
    Debian12,
    Debian13,
    Ubuntu2404,
}

impl Release {
    pub fn name(self) -> &'static str {
        match self {
            Self::Debian12 => "Debian 12",
            Self::Debian13 => "Debian 13",
            Self::Ubuntu2404 => "Ubuntu 24.04",
        }
    }

    fn suite(self) -> &'static str {
        match self {
            Self::Debian12 => "bookworm",
            Self::Debian13 => "trixie",
            Self::Ubuntu2404 => "noble",
        }
    }
}

/// Checks that this computer can have such systems; installs the tools where root may.
pub fn ensure_available() -> Result<()> {
    ensure!(
        host::is_root() && Path::new("/usr/bin/apt-get").exists(),
        "fresh systems for this check need root on Debian or Ubuntu"
    );
    let tools = ["mmdebstrap", "slirp4netns", "qemu-aarch64-static"];
    let missing = |tool: &&&str| !Path::new("/usr/bin").join(tool).exists();
    if tools.iter().any(|tool| missing(&tool)) {
        println!("installing mmdebstrap, slirp4netns, qemu-user-static and util-linux");
        host::apt_install(&["mmdebstrap", "slirp4netns", "qemu-user-static", "util-linux"]);
    }
    if let Some(tool) = tools.iter().find(|tool| missing(tool)) {
        bail!("{tool} is missing: apt-get install mmdebstrap slirp4netns qemu-user-static");
    }
    Ok(())
}

/// While this exists, the kernel runs arm64 programs with QEMU.
pub struct ForeignBinaries;

impl ForeignBinaries {
    /// Returns `None` where nothing has to be emulated.
    pub fn enable(arch: Arch) -> Result<Option<Self>> {
        if arch.is_own() {
            return Ok(None);
        }
        ensure!(arch == Arch::Arm64, "only arm64 is emulated");
        let folder = Path::new(BINFMT);
        if !folder.join("register").exists() {
            let mounted = Command::new("mount").args(["-t", "binfmt_misc", "none", BINFMT]).status();
            ensure!(
                mounted.is_ok_and(|status| status.success()),
                "mount {BINFMT}: does this kernel have binfmt_misc?"
            );
        }
        // A killed run leaves its entry.
        let _ = fs::write(folder.join(BINFMT_NAME), "-1");
        // F: the interpreter is opened now, so it need not be in the systems.
        let entry = format!(":{BINFMT_NAME}{AARCH64_MAGIC}/usr/bin/qemu-aarch64-static:OCF");
        fs::write(folder.join("register"), entry).context("register QEMU with the kernel")?;
        Ok(Some(Self))
    }
}

impl Drop for ForeignBinaries {
    fn drop(&mut self) {
        let _ = fs::write(Path::new(BINFMT).join(BINFMT_NAME), "-1");
    }
}

/// A system in which scripts run as root.
pub trait System {
    /// Returns a command that runs scripts, which are its last argument.
    fn shell(&self) -> Command;

    /// Runs a script and returns its output, even if it fails.
    fn try_script(&self, script: &str) -> Result<Output> {
        self.shell().arg(script).stdin(Stdio::null()).output().context("enter the system")
    }

    /// Runs a script that must succeed and returns its standard output.
    fn script(&self, script: &str) -> Result<String> {
        let output = self.try_script(script)?;
        if output.status.success() {
            return Ok(lossy(&output.stdout));
        }
        let all = both_outputs(&output);
        bail!("{}: {script}\n{}", output.status, last_lines(&all, 30).join("\n"))
    }
}

/// A system in a directory, which is removed when this is dropped.
pub struct Chroot {
    pub root: PathBuf,
    enter: PathBuf,
}

impl Chroot {
    /// Unpacks a fresh system. The first of its kind takes a minute to make, more in QEMU; later ones take seconds.
    pub fn fresh(release: Release, arch: Arch) -> Result<Self> {
        let packages = if arch.is_own() { PACKAGES } else { PACKAGES_EMULATED };
        Self::named("", release, arch, packages)
    }

    /// Unpacks a system that boots on an emulated Pi, with Debian's kernel.
    pub fn for_pi(release: Release) -> Result<Self> {
        Self::named("-pi", release, Arch::Arm64, PACKAGES_PI)
    }

    fn named(suffix: &str, release: Release, arch: Arch, packages: &str) -> Result<Self> {
        let kept = workspace::target().join("systems");
        fs::create_dir_all(&kept)?;
        let archive = kept.join(format!("{}-{}{suffix}.tar", release.suite(), arch.name()));
        let package_list = archive.with_extension("packages");
        let old = fs::read_to_string(&package_list).unwrap_or_default();
        if !archive.is_file() || old != packages {
            println!("creating {} for {}", release.name(), arch.name());
            debootstrap(release, arch, packages, &archive)?;
            fs::write(&package_list, packages)?;
        }
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let name = format!("{}-{}-{process}-{number}", release.suite(), arch.name());
        let root = kept.join(&name);
        fs::create_dir_all(&root)?;
        let enter = kept.join(format!("{name}.sh"));
        fs::write(&enter, ENTER)?;
        let system = Self { root, enter };
        run(Command::new("tar")
            .arg("--directory")
            .arg(&system.root)
            .args(["--numeric-owner", "-xpf"])
            .arg(&archive))
        .context("unpack the system")?;
        // The names of this computer mean nothing inside.
        for (file, content) in [("hostname", "keepsake\n"), ("hosts", "127.0.0.1 localhost\n127.0.1.1 keepsake\n")] {
            fs::write(system.root.join("etc").join(file), content)?;
        }
        Ok(system)
    }

    /// Copies a file into the system.
    pub fn copy_in(&self, from: &Path, to: &str) -> Result<()> {
        let to = self.root.join(to.trim_start_matches('/'));
        fs::copy(from, &to)?;
        Ok(fs::set_permissions(&to, std::fs::Permissions::from_mode(0o644))?)
    }

    /// Returns a command that runs in the system while its systemd does not, with the network of `beside` or none.
    pub fn command(&self, beside: Option<&BootedSystem>) -> Command {
        let mut command = match beside {
            Some(machine) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net=/proc/{}/ns/net", machine.init)).arg("sh");
                command
            }
            None => {
                let mut command = Command::new("sh");
                command.env("NETWORK", "own");
                command
            }
        };
        command.arg(&self.enter).arg(&self.root);
        command
    }

    /// Starts its systemd and waits until everything is up.
    pub fn boot(self) -> Result<BootedSystem> {
        // slirp4netns is the only name server inside.
        let resolver = self.root.join("etc/resolv.conf");
        let _ = fs::remove_file(&resolver);
        fs::write(&resolver, "nameserver 10.0.2.3\n")?;
        let cgroup = cgroups()?.join(self.root.file_name().unwrap_or_default());
        fs::create_dir_all(&cgroup)?;

        let mut command = Command::new("sh");
        command
            .arg(&self.enter)
            .arg(&self.root)
            .args(["/sbin/init", "--log-level=warning", "--show-status=no"])
            .env("NETWORK", "own")
            .env("CGROUP", &cgroup)
            .env("WAIT", "yes")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut unshare = ChildGuard::start(&mut command, "systemd")?;
        let outside = unshare.child().id();
        let deadline = Instant::now() + Duration::from_secs(20);
        let init = loop {
            if let Some(init) = first_child_of(outside) {
                break init;
            }
            if let Some(ended) = unshare.exit_message() {
                bail!("{ended}; are namespaces allowed on this computer?");
            }
            ensure!(Instant::now() < deadline, "no namespaces were created");
            std::thread::sleep(Duration::from_millis(20));
        };
        let mut slirp = Command::new("slirp4netns");
        slirp
            .args(["--configure", "--mtu=65520", "--disable-host-loopback"])
            .arg(init.to_string())
            .arg("tap0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let slirp = ChildGuard::start(&mut slirp, "slirp4netns")?;
        let mut start_signal = unshare.child().stdin.take().context("open its standard input")?;
        let machine = BootedSystem {
            init,
            unshare: Some(unshare),
            _slirp: slirp,
            cgroup,
            system: self,
        };
        start_signal.write_all(b"go\n").context("start systemd")?;
        machine.wait_until_up()?;
        Ok(machine)
    }
}

impl System for Chroot {
    fn shell(&self) -> Command {
        let mut command = self.command(None);
        command.args(["sh", "-ec"]);
        command
    }
}

impl Drop for Chroot {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
        let _ = fs::remove_file(&self.enter);
    }
}

/// A system whose systemd is running.
pub struct BootedSystem {
    init: u32,
    unshare: Option<ChildGuard>,
    _slirp: ChildGuard,
    cgroup: PathBuf,
    pub system: Chroot,
}

impl BootedSystem {
    /// Returns a command that runs in it as root.
    pub fn command(&self) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--all", "--target"])
            .arg(self.init.to_string())
            .args(["env", "-i", "HOME=/root", "LC_ALL=C.UTF-8"])
            .args(["DEBIAN_FRONTEND=noninteractive", "TERM=dumb"])
            .arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// Runs a script until it succeeds and returns that output.
    pub fn eventually(&self, what: &str, within: Duration, script: &str) -> Result<String> {
        let deadline = Instant::now() + within;
        loop {
            let output = self.try_script(script)?;
            if output.status.success() {
                return Ok(lossy(&output.stdout));
            }
            if Instant::now() > deadline {
                bail!("{what}: not within {} s: {}", within.as_secs(), both_outputs(&output).trim());
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    fn wait_until_up(&self) -> Result<()> {
        // `degraded` is up as well; the failed units are reported below.
        let up =
            "state=$(systemctl is-system-running || true); echo $state; [ $state = running ] || [ $state = degraded ]";
        self.eventually("the start of systemd", BOOT_WITHIN, up)?;
        let failed = self.script("systemctl list-units --failed --plain --no-legend")?;
        ensure!(failed.trim().is_empty(), "units have failed: {failed}");
        Ok(())
    }
}

impl System for BootedSystem {
    fn shell(&self) -> Command {
        let mut command = self.command();
        command.args(["bash", "-eo", "pipefail", "-c"]);
        command
    }
}

impl Drop for BootedSystem {
    fn drop(&mut self) {
        if let Some(mut unshare) = self.unshare.take() {
            // Its systemd ends with it, and with that every process inside.
            let _ = unshare.child().kill();
            let _ = unshare.child().wait();
        }
        remove_cgroup(&self.cgroup);
    }
}

/// Prints a check of a fresh system that has passed.
pub fn report_ok(what: &str) {
    println!("  ok  {what}");
}

/// Returns the output of a command as text.
pub fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn both_outputs(output: &Output) -> String {
    lossy(&output.stdout) + &lossy(&output.stderr)
}

/// Returns the cgroup v2 tree. Controllers may be bound to the v1 trees; systemd works without them.
fn cgroups() -> Result<PathBuf> {
    let found =
        run(Command::new("findmnt").args(["--types=cgroup2", "--first-only", "--noheadings", "--output=TARGET"]))
            .context("no cgroup2 is mounted: mount -t cgroup2 none /sys/fs/cgroup")?;
    Ok(lossy(&found).trim().into())
}

/// The kernel removes only empty cgroups, so this starts at the leaves.
fn remove_cgroup(folder: &Path) {
    for entry in WalkDir::new(folder).contents_first(true).into_iter().flatten() {
        // The kernel may still be reaping the killed processes.
        for _ in 0..50 {
            if !entry.file_type().is_dir() || fs::remove_dir(entry.path()).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn first_child_of(process: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

fn debootstrap(release: Release, arch: Arch, packages: &str, archive: &Path) -> Result<()> {
    let unfinished = archive.with_extension("unfinished.tar");
    let mut command = Command::new("mmdebstrap");
    command
        .args(["--mode=root", "--variant=minbase", "--quiet"])
        .arg(format!("--architectures={}", arch.name()))
        .arg(format!("--include={packages}"))
        .args([
            r#"--aptopt=Acquire::Languages "none""#,
            r#"--aptopt=Acquire::Retries "2""#,
            "--dpkgopt=force-unsafe-io",
            // It would ask a registry of foreign interpreters; the kernel already knows ours.
            "--skip=check/qemu",
        ]);
    if !arch.is_own() {
        // Checking every certificate takes QEMU a quarter of an hour, and nothing here needs one. /usr/local/sbin
        // comes first in PATH.
        command.env("PATH", "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin").args([
            "--essential-hook=ln -s /bin/true \"$1\"/usr/local/sbin/update-ca-certificates",
            "--customize-hook=rm \"$1\"/usr/local/sbin/update-ca-certificates",
        ]);
    }
    if release == Release::Ubuntu2404 {
        // Debian's mmdebstrap adds it by default.
        command.arg("--include=apt");
        command.arg(format!("--keyring={}", ubuntu_keys(archive)?.display()));
    }
    let suite = release.suite();
    command.arg(suite).arg(&unfinished);
    match release {
        Release::Debian12 | Release::Debian13 => command.arg(ARCHIVE),
        // mysql-server is in main, some of its dependencies are in universe.
        Release::Ubuntu2404 => command.args(
            [suite.to_owned(), format!("{suite}-updates")]
                .map(|suite| format!("deb {UBUNTU_ARCHIVE} {suite} main universe")),
        ),
    };
    run(&mut command).context("create the system")?;
    Ok(fs::rename(&unfinished, archive)?)
}

/// Fetches the keys of Ubuntu's archive, from a package that Debian has signed.
fn ubuntu_keys(beside: &Path) -> Result<PathBuf> {
    let keys = beside.with_file_name("ubuntu-archive-keyring.gpg");
    if !keys.is_file() {
        let machine = Chroot::fresh(Release::Debian13, Arch::own()?)?.boot()?;
        machine.script(
            "cd /root && apt-get -q update && apt-get -q download ubuntu-keyring && dpkg-deb -x ubuntu-keyring_*.deb keys",
        )?;
        let inside = "root/keys/usr/share/keyrings/ubuntu-archive-keyring.gpg";
        let unfinished = keys.with_extension("unfinished");
        fs::copy(machine.system.root.join(inside), &unfinished)?;
        fs::rename(&unfinished, &keys).context("save Ubuntu's keys")?;
    }
    Ok(keys)
}
