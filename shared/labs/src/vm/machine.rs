//! The machine as a test holds it: QEMU with the kernel, our programs inside, and words to the guest.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::guest::PROGRAM;
use super::initramfs::Initramfs;
use super::kernel::Kernel;
use super::words::{Ask, PORT};
use crate::engines::qemu::Qemu;
use crate::program::{Events, Missed, Program, binary, last_words};

/// For the processor of this computer, and Debian's packages of it.
const QEMU: (&str, [&str; 2]) = ("qemu-system-x86_64", ["qemu-system-x86", "seabios"]);
/// Where our programs, unstripped as a debug build leaves them, have room as well as pictures.
const MEMORY_MIB: u32 = 896;
/// Until the guest speaks, on a busy computer without virtualisation.
const UP_WITHIN: Duration = Duration::from_secs(90);
/// Until the guest has done what it was asked.
const DONE_WITHIN: Duration = Duration::from_secs(60);
/// In the order of their use; what they need comes by itself.
const MODULES: &[&str] = &["virtio_net", "configfs", "gpio_sim", "vivid", "softdog"];
/// This computer as the machine reaches it.
pub const HOST: &str = "10.0.2.2";

/// What runs the machine.
///
/// # Errors
/// A sentence: there is none, and why it cannot be fetched.
pub fn qemu() -> Result<Qemu, String> {
    Qemu::find(QEMU.0, &QEMU.1)
}

/// A machine that runs. It ends with this.
#[derive(Debug)]
pub struct Machine {
    program: Program,
    events: Arc<Events>,
    console: PathBuf,
}

impl Machine {
    /// Starts it and waits until the guest speaks. `appliance`: the program it is about, put in as it is.
    ///
    /// # Errors
    /// A sentence: what of it cannot be put together.
    ///
    /// # Panics
    /// It does not come up.
    pub fn start(
        folder: &Path,
        qemu: &Qemu,
        kernel: &Kernel,
        appliance: &Path,
    ) -> Result<Self, String> {
        let initrd = folder.join("initramfs.cpio");
        fs::write(&initrd, files(kernel, appliance)?)
            .map_err(|error| format!("write {}: {error}", initrd.display()))?;
        let console = folder.join("console.log");
        let mut command = qemu.command()?;
        command
            // Without acceleration, because a computer that is one of many in a cloud often has none to give.
            .args(["-accel", "tcg", "-cpu", "Nehalem", "-M", "pc", "-smp", "1"])
            .args(["-m", &MEMORY_MIB.to_string()])
            .args([
                "-nodefaults",
                "-no-user-config",
                "-display",
                "none",
                "-no-reboot",
            ])
            .arg("-kernel")
            .arg(kernel.image())
            .arg("-initrd")
            .arg(&initrd)
            .args([
                "-append",
                "console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check rdinit=/init",
            ])
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .args(["-device", "virtio-serial-pci", "-chardev", "stdio,id=words"])
            .args([
                "-device",
                &format!("virtserialport,chardev=words,name={PORT}"),
            ])
            .args([
                "-netdev",
                "user,id=net",
                "-device",
                "virtio-net-pci,netdev=net,romfile=",
            ]);
        let events = Arc::default();
        let program = Program::start(command, &events, &folder.join("qemu.log"));
        let machine = Self {
            program,
            events,
            console,
        };
        machine.expect("the machine", 0, UP_WITHIN, |said| {
            said.iter().any(|told| told["told"] == "up").then_some(())
        });
        Ok(machine)
    }

    /// Asks the guest for something and waits until it is done.
    ///
    /// # Panics
    /// It failed, or was not done in time.
    pub fn ask(&mut self, ask: &Ask) {
        let since = self.moment();
        self.program
            .say(&serde_json::to_string(ask).expect("words are JSON"));
        let done = self.expect(&format!("{ask:?}"), since, DONE_WITHIN, |said| {
            said.iter()
                .find(|told| told["told"] == "done" || told["told"] == "failed")
                .cloned()
        });
        assert_eq!(done["told"], "done", "{ask:?}: {}", done["text"]);
    }

    /// As [`Machine::ask`], and returns what the guest told of this kind meanwhile.
    ///
    /// # Panics
    /// It failed, was not done in time, or told nothing of it.
    pub fn ask_for(&mut self, ask: &Ask, kind: &str) -> Value {
        let since = self.moment();
        self.ask(ask);
        let said = self.events.since(since);
        let told = said.iter().find(|told| told["told"] == kind);
        told.unwrap_or_else(|| panic!("{ask:?} told no {kind}"))
            .clone()
    }

    /// How much was told so far.
    pub fn moment(&self) -> usize {
        self.events.len()
    }

    /// What was told from `since` on.
    pub fn told(&self, since: usize) -> Vec<Value> {
        self.events.since(since)
    }

    /// Waits until `found` sees what it looks for in what was told from `since` on.
    ///
    /// # Panics
    /// It did not come.
    pub fn expect<T>(
        &self,
        what: &str,
        since: usize,
        within: Duration,
        found: impl FnMut(&[Value]) -> Option<T>,
    ) -> T {
        match self.events.wait(since, within, found) {
            Ok(found) => found,
            Err(missed @ (Missed::Ended | Missed::Deadline)) => panic!(
                "{what}: {missed:?} after at most {within:?}\n{}\n--- what it told\n{}",
                last_words(&self.console, &Events::default()),
                self.last_told(since)
            ),
        }
    }

    /// Everything from a little before `since`, for the message of a failed test.
    fn last_told(&self, since: usize) -> String {
        let told = self.events.since(since.saturating_sub(10));
        let lines: Vec<String> = told.iter().map(Value::to_string).collect();
        lines[lines.len().saturating_sub(80)..].join("\n")
    }

    /// Ends it.
    pub fn off(mut self) {
        let off = serde_json::to_string(&Ask::Off).expect("words are JSON");
        self.program.say(&off);
        let _ = self.program.wait(Duration::from_secs(20));
    }
}

fn files(kernel: &Kernel, appliance: &Path) -> Result<Vec<u8>, String> {
    let mut archive = Initramfs::new();
    archive.program("init", &binary("rig-guest"))?;
    archive.program(PROGRAM.trim_start_matches('/'), appliance)?;
    for (at, module) in kernel.modules(MODULES)?.into_iter().enumerate() {
        let name = format!("{}/{at:03}-{}", super::guest::MODULES, module.name);
        archive.file(&name, &module.bytes);
    }
    Ok(archive.finish())
}
