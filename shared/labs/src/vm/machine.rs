//! The machine seen by a test: QEMU with the kernel and our programs inside, and requests to the guest.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use fs_err as fs;
use keepsake_provision::process::WaitError;
use keepsake_provision::qemu::{Boot, Qemu, Vm};
use serde_json::Value;

use super::initramfs;
use super::kernel::Kernel;
use super::protocol::{PORT, Request};

/// For the processor of this computer, and the Debian packages with it.
const QEMU: (&str, [&str; 2]) = ("qemu-system-x86_64", ["qemu-system-x86", "seabios"]);
/// Enough for our programs, unstripped as a debug build leaves them, and pictures.
const MEMORY_MIB: u32 = 896;
/// Until the guest reports itself, on a busy computer without virtualisation.
const UP_WITHIN: Duration = Duration::from_secs(90);
/// Until the guest has done what it was asked.
const DONE_WITHIN: Duration = Duration::from_secs(60);
/// The address of this computer in the machine.
pub const HOST: &str = "10.0.2.2";

/// Returns the QEMU that runs the machine.
///
/// # Errors
/// It is not on the system and cannot be fetched.
pub fn qemu() -> Result<Qemu> {
    Qemu::find(QEMU.0, &QEMU.1)
}

/// A running machine. It is killed when this is dropped.
#[derive(Debug)]
pub struct Machine(Vm);

impl Machine {
    /// Starts a machine with the program `appliance` in it, and waits until the guest reports itself.
    ///
    /// # Errors
    /// Its files cannot be put together, or QEMU cannot be run.
    ///
    /// # Panics
    /// It does not come up.
    pub fn start(folder: &Path, qemu: &Qemu, kernel: &Kernel, appliance: &Path) -> Result<Self> {
        let initrd = folder.join("initramfs.cpio");
        fs::write(&initrd, initramfs::build(kernel, appliance)?)?;
        let boot = Boot {
            folder,
            name: "vm",
            kernel: kernel.image(),
            initrd: &initrd,
            kernel_arguments: "console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check rdinit=/init",
        };
        let memory = MEMORY_MIB.to_string();
        let port = format!("virtserialport,chardev=requests,name={PORT}");
        // Without acceleration, which computers in a data centre often cannot offer.
        let cpu = ["-accel", "tcg", "-cpu", "Nehalem", "-smp", "1"];
        let board = ["-M", "pc", "-m", &memory, "-nodefaults", "-no-user-config"];
        let serial = ["-device", "virtio-serial-pci", "-chardev", "stdio,id=requests"];
        let network = ["-device", "virtio-net-pci,netdev=net,romfile="];
        let hardware = [&cpu[..], &board, &serial, &["-device", &port, "-netdev", "user,id=net"], &network].concat();
        let machine = Self(qemu.boot(&boot, &hardware)?);
        machine.expect("the machine", 0, UP_WITHIN, |events| {
            events.iter().any(|event| event["type"] == "up").then_some(())
        });
        Ok(machine)
    }

    /// Sends a request to the guest and waits until it is done.
    ///
    /// # Panics
    /// It fails, or is not done in time.
    pub fn request(&mut self, request: &Request) {
        let since = self.event_count();
        self.write(request);
        let done = self.expect(&format!("{request:?}"), since, DONE_WITHIN, |events| {
            events.iter().find(|event| event["type"] == "done" || event["type"] == "failed").cloned()
        });
        assert_eq!(done["type"], "done", "{request:?}: {}", done["text"]);
    }

    /// Sends a request and returns the event of this kind that came meanwhile.
    ///
    /// # Panics
    /// It fails, is not done in time, or there is no such event.
    pub fn request_event(&mut self, request: &Request, kind: &str) -> Value {
        let since = self.event_count();
        self.request(request);
        let events = self.0.program.events().since(since);
        let event = events.iter().find(|event| event["type"] == kind);
        event.unwrap_or_else(|| panic!("{request:?} was answered without {kind}")).clone()
    }

    /// Returns the number of events so far.
    pub fn event_count(&self) -> usize {
        self.0.program.events().len()
    }

    /// Returns the events from `since` on.
    pub fn events(&self, since: usize) -> Vec<Value> {
        self.0.program.events().since(since)
    }

    /// Waits until `found` returns something for the events from `since` on.
    ///
    /// # Panics
    /// It does not return anything in time.
    pub fn expect<T>(&self, what: &str, since: usize, within: Duration, found: impl FnMut(&[Value]) -> Option<T>) -> T {
        match self.0.program.events().wait(since, within, found) {
            Ok(found) => found,
            Err(missed @ (WaitError::Ended | WaitError::Deadline)) => panic!(
                "{what}: {missed:?} after at most {within:?}\n{}--- last events\n{}",
                self.0.last_words(),
                self.last_events(since)
            ),
        }
    }

    /// Returns the events from a little before `since` on, for the message of a failed test.
    fn last_events(&self, since: usize) -> String {
        let events = self.0.program.events().since(since.saturating_sub(10));
        let lines: Vec<String> = events.iter().map(Value::to_string).collect();
        lines[lines.len().saturating_sub(80)..].join("\n")
    }

    /// Switches it off.
    pub fn off(mut self) {
        self.write(&Request::Off);
        let _ = self.0.program.wait(Duration::from_secs(20));
    }

    fn write(&mut self, request: &Request) {
        let line = serde_json::to_string(request).expect("a request is JSON");
        self.0.program.write_line(&line);
    }
}
