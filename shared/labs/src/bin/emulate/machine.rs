//! An emulated Raspberry Pi 3: booted, watched from outside, reached over its network, and powered off.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use image_build::host_tools;
use keepsake_provision::process::free_port;
use keepsake_provision::process::run;
use keepsake_provision::qemu::{Boot, Qemu, Vm};

use crate::card::Card;

/// The limit for every wait, so that nothing hangs. An emulated Pi is many times slower than a real one, and slower
/// still on a busy computer; no result depends on this.
pub(crate) const WITHIN: Duration = Duration::from_secs(900);
/// The line of systemd on the console once the camera's program is ready for a press.
const READY: &str = "Started keepsake-appliance.service";
/// The line of the kernel when it starts the first program.
const KERNEL_IS_UP: &str = "as init process";
/// The levels of pins 0 to 31 on a Pi 3 (BCM2835 ARM peripherals, 6.1).
const GPLEV0: u64 = 0x3f20_0034;
const BOARD: &str = "bcm2837-rpi-3-b.dtb";

/// The parts of a boot besides the card.
pub(crate) struct Pi {
    qemu: Qemu,
    folder: PathBuf,
    kernel: PathBuf,
    initrd: PathBuf,
    device_tree: PathBuf,
    /// The port on this computer for SSH to the camera.
    ssh_port: u16,
    /// The user who may log in, and the key.
    person: &'static str,
    key: PathBuf,
}

impl Pi {
    pub(crate) fn new(card: &Card, folder: &Path, person: &'static str) -> Result<Self> {
        let key = folder.join("key");
        let mut make = host_tools::command("ssh-keygen", 0)?;
        make.args(["-q", "-t", "ed25519", "-N", "", "-C", "emulated", "-f"]);
        run(make.arg(&key))?;
        Ok(Self {
            qemu: Qemu::find("qemu-system-aarch64", &["qemu-system-arm"])
                .context("QEMU cannot be had: sudo apt-get install qemu-system-arm")?,
            folder: folder.to_owned(),
            kernel: card.copy_out("kernel8.img")?,
            initrd: card.copy_out("initrd.img")?,
            device_tree: card.copy_out(BOARD)?,
            ssh_port: free_port(),
            person,
            key,
        })
    }

    /// Returns the public key, as `camera.toml` takes it.
    pub(crate) fn public_key(&self) -> Result<String> {
        let text = fs::read_to_string(self.key.with_extension("pub"))?;
        Ok(text.trim().to_owned())
    }

    pub(crate) fn version(&self) -> Result<String> {
        self.qemu.version()
    }

    /// Returns the CPU seconds of QEMU until the same kernel has booted and runs a first program that does nothing.
    pub(crate) fn bare_start(&self, card: &Card) -> Result<f64> {
        let words = "console=ttyS1,115200 rdinit=/bin/busybox -- sleep 86400";
        let mut machine = self.launch(card, "bare", words)?;
        machine.wait_for_console(KERNEL_IS_UP)?;
        let cpu_s = machine.cpu_s()?;
        machine.cut_power();
        Ok(cpu_s)
    }

    /// Powers the Pi on. `name` is for the file of its console.
    pub(crate) fn start(&self, card: &Card, name: &str) -> Result<Machine> {
        // As the Pi's firmware reads it, except for the console.
        let line = card.text("cmdline.txt")?;
        let mut words: Vec<&str> = line.split_whitespace().collect();
        words.retain(|word| !word.starts_with("console="));
        // The emulated watchdog fires at once. Unit names are shorter than descriptions, so no console line is cut.
        words.extend([
            "console=ttyS1,115200",
            "systemd.watchdog_sec=0",
            "systemd.log_color=0",
            "systemd.show_status=1",
            "systemd.status_unit_format=name",
        ]);
        self.launch(card, name, &words.join(" "))
    }

    fn launch(&self, card: &Card, name: &str, words: &str) -> Result<Machine> {
        let monitor = self.folder.join("monitor");
        let _ = fs::remove_file(&monitor);
        let boot = Boot {
            folder: &self.folder,
            name,
            kernel: &self.kernel,
            initrd: &self.initrd,
            kernel_arguments: words,
        };
        let device_tree = self.device_tree.to_string_lossy();
        let drive = format!("if=sd,format=raw,file={}", card.file.display());
        let monitor_socket = format!("unix:{},server=on,wait=off", monitor.display());
        let network = format!("user,id=n0,hostfwd=tcp:127.0.0.1:{}-:22", self.ssh_port);
        let hardware = [
            ["-M", "raspi3b"],
            ["-dtb", &device_tree],
            ["-drive", &drive],
            // The console is on the second one.
            ["-serial", "null"],
            ["-monitor", &monitor_socket],
            ["-device", "usb-net,netdev=n0"],
            ["-netdev", &network],
        ]
        .concat();
        let began = Instant::now();
        Ok(Machine {
            vm: self.qemu.boot(&boot, &hardware)?,
            began,
            monitor,
            ssh_port: self.ssh_port,
            person: self.person,
            key: self.key.clone(),
        })
    }
}

/// A Pi that is powered on.
pub(crate) struct Machine {
    vm: Vm,
    began: Instant,
    monitor: PathBuf,
    ssh_port: u16,
    person: &'static str,
    key: PathBuf,
}

impl Machine {
    /// Waits until the camera's program is ready for a press.
    pub(crate) fn wait_until_ready(&mut self) -> Result<()> {
        self.wait_for_console(READY)
    }

    fn wait_for_console(&mut self, text: &str) -> Result<()> {
        self.wait_for(&format!("\"{text}\" on its console"), |machine| {
            Ok(machine.vm.console().contains(text).then_some(()))
        })
    }

    /// Calls `ask` until it returns something.
    ///
    /// # Errors
    /// The machine has ended, or [`WITHIN`] has passed; with the end of its console.
    pub(crate) fn wait_for<T>(&mut self, what: &str, mut ask: impl FnMut(&Self) -> Result<Option<T>>) -> Result<T> {
        let began = Instant::now();
        loop {
            if let Some(answer) = ask(self)? {
                return Ok(answer);
            }
            ensure!(
                self.vm.program.is_running(),
                "the emulated Pi has ended before {what}\n{}",
                self.vm.last_words()
            );
            if began.elapsed() > WITHIN {
                bail!("waited {WITHIN:?} for {what}\n{}", self.vm.last_words());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Returns the CPU seconds QEMU has used so far.
    pub(crate) fn cpu_s(&self) -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.vm.program.pid()))?;
        // The second field is a name that may contain blanks; these are the 14th and the 15th.
        let (_, fields) = text.rsplit_once(')').context("read what QEMU has used")?;
        let mut ticks = fields.split_whitespace().skip(11).map(str::parse::<f64>);
        let (Some(Ok(user)), Some(Ok(system))) = (ticks.next(), ticks.next()) else {
            bail!("understand what QEMU has used");
        };
        let a_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?;
        let a_second = a_second.context("the kernel counts in no ticks")?;
        Ok((user + system) / f64::from(u32::try_from(a_second)?))
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.began.elapsed()
    }

    /// Returns whether an SSH server answers. QEMU itself accepts every connection, and closes it if nothing listens
    /// inside.
    pub(crate) fn has_ssh(&self) -> Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.ssh_port))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut greeting = [0; 4];
        Ok(stream.read_exact(&mut greeting).is_ok() && greeting == *b"SSH-")
    }

    /// Runs a command on the Pi over SSH and returns its output. The host key must be the same as before.
    pub(crate) fn ssh(&self, command: &str) -> Result<String> {
        let known = self.key.with_extension("known");
        let mut ssh = host_tools::command("ssh", 0)?;
        ssh.args(["-F", "/dev/null", "-o", "BatchMode=yes"])
            .args(["-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=120"])
            .args(["-o", "StrictHostKeyChecking=accept-new", "-o"])
            .arg(format!("UserKnownHostsFile={}", known.display()))
            .args(["-p", &self.ssh_port.to_string(), "-i"])
            .arg(&self.key)
            .arg(format!("{}@127.0.0.1", self.person))
            .arg(command);
        let output = run(&mut ssh)?;
        Ok(String::from_utf8_lossy(&output).trim().to_owned())
    }

    /// Returns the level of this pin, as a multimeter would show it.
    pub(crate) fn pin(&self, number: u32) -> Result<bool> {
        let mut monitor = UnixStream::connect(&self.monitor).context("open QEMU's monitor")?;
        monitor.set_read_timeout(Some(Duration::from_secs(60)))?;
        until_prompt(&mut monitor)?;
        monitor.write_all(format!("xp /1wx {GPLEV0:#x}\n").as_bytes())?;
        let output = until_prompt(&mut monitor)?;
        // 000000003f200034: 0x08000000
        let levels = output
            .rsplit_once(": 0x")
            .and_then(|(_, rest)| u32::from_str_radix(rest.get(..8)?, 16).ok())
            .with_context(|| format!("understand QEMU's monitor: {output}"))?;
        Ok(levels & (1 << number) != 0)
    }

    /// Pauses it while its card is read.
    pub(crate) fn while_paused<T>(&self, look: impl FnOnce() -> Result<T>) -> Result<T> {
        self.vm.program.signal(libc::SIGSTOP);
        let seen = look();
        self.vm.program.signal(libc::SIGCONT);
        seen
    }

    /// Cuts the power: SIGKILL.
    pub(crate) fn cut_power(self) {
        self.vm.program.kill();
    }

    /// Waits until it has switched itself off.
    pub(crate) fn wait_for_power_off(mut self) -> Result<()> {
        let status = self.vm.program.wait(WITHIN);
        ensure!(status.success(), "QEMU has ended with {status}\n{}", self.vm.last_words());
        Ok(())
    }
}

fn until_prompt(monitor: &mut UnixStream) -> Result<String> {
    let mut output = Vec::new();
    let mut chunk = [0; 4096];
    while !output.ends_with(b"(qemu) ") {
        let count = monitor.read(&mut chunk).context("read QEMU's monitor")?;
        ensure!(count > 0, "QEMU's monitor was closed");
        output.extend_from_slice(&chunk[..count]);
    }
    Ok(String::from_utf8_lossy(&output).into_owned())
}
