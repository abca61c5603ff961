//! The GPIO chip of the machine: the kernel's `gpio-sim`, and the register file that rppal needs.
//!
//! The contact is moved with the pull of its line, and the kernel reports the edge as it does on a board. The level
//! of an LED's line can be read back. rppal bypasses the kernel and writes registers; on a Pi the chip reacts at
//! once, here a thread plays the chip.
//!
//! Source: docs.kernel.org/admin-guide/gpio/gpio-sim.html, BCM2835 ARM Peripherals chapter 6

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use fs_err as fs;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::report::{EventWriter, now_us};
use crate::vm::protocol::{Board, Event};

const SIMULATED: &str = "/sys/kernel/config/gpio-sim/vmtest";
/// The number of lines of the Pi's chip.
const LINES: u32 = 54;
/// A blink lasts a hundred times as long.
const LOOK_EVERY: Duration = Duration::from_millis(1);
const REGISTERS: &str = "/dev/gpiomem";
/// The bytes that rppal maps.
const REGISTER_BYTES: usize = 4096;
/// The registers by their word offset.
const GPFSEL0: usize = 0;
const GPSET0: usize = 0x1c / 4;
const GPCLR0: usize = 0x28 / 4;
const GPLEV0: usize = 0x34 / 4;
const OUTPUT: u32 = 0b001;
const PI_3: &str = "processor\t: 0\nmodel name\t: ARMv7 Processor rev 4 (v7l)\n\nHardware\t: BCM2835\n\
                    Revision\t: a02082\nSerial\t\t: 00000000c0ffee42\nModel\t\t: Raspberry Pi 3 Model B Rev 1.2\n";

/// The chip; removed when this is dropped.
pub(super) struct Chip {
    lines: String,
    registers: Option<Arc<Registers>>,
    watching: Arc<AtomicBool>,
    watch: Option<JoinHandle<()>>,
}

impl Chip {
    pub(super) fn new(board: &Board, tell: &EventWriter) -> Result<Self> {
        let bank = format!("{SIMULATED}/bank0");
        fs::create_dir_all(&bank)?;
        fs::write(format!("{bank}/num_lines"), LINES.to_string())?;
        fs::write(format!("{bank}/label"), &board.label)?;
        fs::write(format!("{SIMULATED}/live"), "1")?;
        let device = fs::read_to_string(format!("{SIMULATED}/dev_name"))?;
        let chip = fs::read_to_string(format!("{bank}/chip_name"))?;
        let lines = format!("/sys/devices/platform/{}/{}", device.trim(), chip.trim());
        let registers = board.registers.then(Registers::new).transpose()?.map(Arc::new);
        let mut made = Self {
            lines,
            registers,
            watching: Arc::new(AtomicBool::new(true)),
            watch: None,
        };
        made.press(board.button, false)?;
        made.watch = Some(made.watch(&board.leds, tell)?);
        Ok(made)
    }

    /// Closes or opens the contact between this pin and ground.
    pub(super) fn press(&self, pin: u8, pressed: bool) -> Result<()> {
        let pull = if pressed { "pull-down" } else { "pull-up" };
        if let Some(registers) = &self.registers {
            registers.set_level(pin, !pressed);
        }
        Ok(fs::write(format!("{}/sim_gpio{pin}/pull", self.lines), pull)?)
    }

    /// Returns a function that reads the level the pin is driven to.
    fn level_of(&self, pin: u8) -> Result<Box<dyn Fn() -> bool + Send>> {
        if let Some(registers) = &self.registers {
            let registers = registers.clone();
            return Ok(Box::new(move || registers.drives_high(pin)));
        }
        let file = fs::File::open(format!("{}/sim_gpio{pin}/value", self.lines))?.into_parts().0;
        Ok(Box::new(move || {
            let mut value = [0];
            file.read_at(&mut value, 0).is_ok_and(|n| n == 1) && value[0] == b'1'
        }))
    }

    /// Sends an event for every change of these LEDs until the chip is removed.
    fn watch(&self, leds: &[u8], tell: &EventWriter) -> Result<JoinHandle<()>> {
        let mut levels = BTreeMap::new();
        for &pin in leds {
            levels.insert(pin, (self.level_of(pin)?, false));
        }
        let (tell, watching, registers) = (tell.clone(), self.watching.clone(), self.registers.clone());
        Ok(thread::spawn(move || {
            while watching.load(Ordering::Relaxed) {
                if let Some(registers) = &registers {
                    registers.act();
                }
                for (&pin, (level, was)) in &mut levels {
                    let lit = level();
                    if lit != *was {
                        *was = lit;
                        let at_us = now_us();
                        tell.write(&Event::Led { pin, lit, at_us });
                    }
                }
                thread::sleep(LOOK_EVERY);
            }
        }))
    }
}

impl Drop for Chip {
    fn drop(&mut self) {
        self.watching.store(false, Ordering::Relaxed);
        if let Some(watch) = self.watch.take() {
            let _ = watch.join();
        }
        // A chip that cannot be removed makes the creation of the next one fail.
        let _ = fs::write(format!("{SIMULATED}/live"), "0");
        let _ = fs::remove_dir(format!("{SIMULATED}/bank0"));
        let _ = fs::remove_dir(SIMULATED);
    }
}

/// The registers of the chip, in a file where a Pi has a device.
struct Registers {
    words: &'static [AtomicU32],
    /// The levels that the chip drives its pins to.
    driven: AtomicU32,
}

impl Registers {
    fn new() -> Result<Self> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(REGISTERS)?;
        file.set_len(REGISTER_BYTES as u64)?;
        // SAFETY: a new mapping of a file of this length. It is never unmapped: it is one page, and a machine has few
        // boards.
        let words = unsafe {
            let at = libc::mmap(
                std::ptr::null_mut(),
                REGISTER_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            );
            if at == libc::MAP_FAILED {
                return Err(std::io::Error::last_os_error()).context("map the registers");
            }
            std::slice::from_raw_parts(at.cast::<AtomicU32>(), REGISTER_BYTES / 4)
        };
        fs::write("/run/cpuinfo", PI_3)?;
        mount(Some("/run/cpuinfo"), "/proc/cpuinfo", None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .context("mount /proc/cpuinfo")?;
        Ok(Self { words, driven: AtomicU32::new(0) })
    }

    /// Does what the chip does at once: a 1 written raises or lowers a pin and is cleared.
    fn act(&self) {
        let set = self.words[GPSET0].swap(0, Ordering::AcqRel);
        let clear = self.words[GPCLR0].swap(0, Ordering::AcqRel);
        if set | clear == 0 {
            return;
        }
        // A pin that was raised and lowered since the last poll counts as unchanged.
        let both = set & clear;
        let before = self.driven.load(Ordering::Acquire);
        let driven = (before | (set & !both)) & !(clear & !both);
        self.driven.store(driven, Ordering::Release);
    }

    fn drives_high(&self, pin: u8) -> bool {
        self.act();
        let function = self.words[GPFSEL0 + usize::from(pin) / 10].load(Ordering::Acquire);
        let function = function >> (u32::from(pin) % 10 * 3) & 0b111;
        function == OUTPUT && self.driven.load(Ordering::Acquire) >> pin & 1 == 1
    }

    fn set_level(&self, pin: u8, high: bool) {
        let level = &self.words[GPLEV0];
        if high {
            level.fetch_or(1 << pin, Ordering::AcqRel);
        } else {
            level.fetch_and(!(1 << pin), Ordering::AcqRel);
        }
    }
}

impl Drop for Registers {
    fn drop(&mut self) {
        let _ = umount2("/proc/cpuinfo", MntFlags::MNT_DETACH);
        let _ = fs::remove_file(REGISTERS);
    }
}
