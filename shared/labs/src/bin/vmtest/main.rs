//! `cargo vmtest`: the unmodified `appliance` in a virtual machine with kernel drivers: pressed over GPIO edges,
//! capturing over V4L2, uploading over a network to a cloud outside, and answering on a pin.
//!
//! Without QEMU or a kernel it reports that it was not run, and succeeds.

mod color_bars;
mod scenario;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use keepsake_labs::vm::kernel::Kernel;
use keepsake_labs::vm::protocol::Board;
use keepsake_labs::vm::{Machine, SPOOL, qemu};
use keepsake_provision::host::ensure_libclang;
use keepsake_provision::qemu::Qemu;
use keepsake_provision::skip::not_run;
use keepsake_provision::temp_dir::TempDir;
use keepsake_provision::workspace;
use keepsake_testkit::cloud::Cloud;
use keepsake_testkit::programs;

use scenario::{Scenario, seconds};

const BUTTON: u8 = 17;
/// The ids of the user and the groups in the machine.
const KEEPSAKE: u32 = 990;
const GPIO: u32 = 991;
const VIDEO: u32 = 992;

/// Run the camera's program in a virtual machine with kernel drivers, and count what the cloud has
#[derive(Parser)]
#[command(bin_name = "cargo vmtest")]
struct Arguments {
    /// Use the debug build, which is built faster and needs more memory than the limit for a camera allows
    #[arg(long)]
    debug: bool,
    /// Run only the GPIO drivers whose name contains this: rppal, gpiochip
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Keep the files of the machines, and print where they are
    #[arg(long)]
    keep: bool,
}

/// A board, and how the program reaches its pins.
struct Setup {
    name: &'static str,
    /// The label of the GPIO chip, as that board's driver names it.
    label: &'static str,
    /// True for the files that make rppal see a Pi.
    registers: bool,
    led: Led,
    /// All presses use the first; each other one takes one picture.
    video_modes: &'static [VideoMode],
    /// The time for which the button is held at the end, and the action it triggers.
    hold: (Duration, &'static str),
    /// The device files and directories that the udev rules give to a group; empty: the program runs as root.
    device_groups: &'static [(&'static str, u32)],
    /// The text that its log must contain.
    log_text: &'static str,
}

impl Setup {
    fn board(&self) -> Board {
        Board {
            label: self.label.to_owned(),
            registers: self.registers,
            button: BUTTON,
            leds: self.led.pins.to_vec(),
        }
    }
}

/// An LED of one colour, or with pins for red, green and blue.
struct Led {
    pins: &'static [u8],
    /// The pin that is lit for "in the cloud": green.
    stored: u8,
    /// The pin that is lit for "saved" (amber) and "failed" (red).
    not_stored: u8,
}

/// A format as V4L2 names it, and a size in pixels.
type VideoMode = (&'static str, (u32, u32));

const SETUPS: [Setup; 2] = [
    Setup {
        name: "rppal",
        label: "pinctrl-bcm2835",
        registers: true,
        led: Led { pins: &[27], stored: 27, not_stored: 27 },
        video_modes: &[
            ("YUYV", (640, 360)),
            ("UYVY", (640, 480)),
            ("YVYU", (320, 180)),
            ("VYUY", (640, 360)),
            ("RGB3", (1280, 720)),
            ("GREY", (320, 180)),
        ],
        hold: (Duration::from_millis(5_300), "reconnect"),
        // rppal finds /dev/gpiomem without root on a board; here root has created a file.
        device_groups: &[],
        log_text: "rppal",
    },
    Setup {
        name: "gpiochip",
        label: "pinctrl-bcm2711",
        registers: false,
        led: Led { pins: &[22, 23, 24], stored: 23, not_stored: 22 },
        video_modes: &[
            ("NV12", (640, 480)),
            ("NV21", (640, 360)),
            ("YU12", (1280, 720)),
            ("YV12", (320, 180)),
            ("BGR3", (640, 360)),
        ],
        hold: (Duration::from_millis(10_300), "forget"),
        device_groups: &[("/dev/gpiochip0", GPIO), ("/dev/video0", VIDEO), (SPOOL, KEEPSAKE)],
        log_text: "/dev/gpiochip",
    },
];

/// The programs that a machine consists of.
struct Provisions {
    kernel: Kernel,
    qemu: Qemu,
    appliance: PathBuf,
}

impl Provisions {
    /// Fetches and builds everything; returns `None` after reporting that it cannot run here.
    fn prepare(debug: bool) -> Result<Option<Self>> {
        let what = "cargo vmtest, the camera with kernel drivers";
        if !ensure_libclang() {
            let how = "install libclang-dev (Debian, Ubuntu) or clang-devel";
            not_run(what, "libclang is missing, and without it there is no V4L2", how);
            return Ok(None);
        }
        let fetched = Kernel::fetch().and_then(|kernel| {
            let qemu = qemu()?;
            println!("vmtest: {}; {}", qemu.version()?, kernel.version());
            Ok((kernel, qemu))
        });
        let (kernel, qemu) = match fetched {
            Ok(fetched) => fetched,
            Err(why) => {
                let how = "it needs Debian's apt with the archive's keys on x86-64, or qemu-system-x86 installed";
                not_run(what, why, how);
                return Ok(None);
            }
        };
        // The clouds of this run come from the same build, so it must have V4L2, too: a build without it would replace
        // the camera's program.
        ensure!(cfg!(feature = "v4l"), "built without the feature v4l: run it with `cargo vmtest`");
        let appliance = if debug {
            programs::appliance()
        } else {
            let appliance = ["--package", "keepsake-appliance", "--features", "v4l"];
            workspace::build_release(&appliance)?.join("appliance")
        };
        Ok(Some(Self { kernel, qemu, appliance }))
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let began = Instant::now();
    let parts = match Provisions::prepare(arguments.debug) {
        Ok(Some(parts)) => parts,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vmtest: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let folder = TempDir::new("vmtest");
    let mut setups = Vec::from(SETUPS);
    setups.retain(|setup| arguments.only.as_ref().is_none_or(|text| setup.name.contains(text.as_str())));
    // Most of the time is spent on button and LED, so the setups run at the same time in machines of their own.
    let passed = thread::scope(|scope| {
        let play = |setup| play(setup, &parts, &folder, !arguments.debug);
        let played: Vec<_> = setups.iter().map(|setup| scope.spawn(move || play(setup))).collect();
        let passed = played.into_iter().map(|played| match played.join() {
            Ok(Ok(())) => true,
            Ok(Err(why)) => {
                eprintln!("vmtest: {why:#}");
                false
            }
            // The panic has printed its message.
            Err(_) => false,
        });
        passed.fold(!setups.is_empty(), |all, one| all & one)
    });
    if arguments.keep || !passed {
        println!("vmtest: the files are in {}", folder.keep().display());
    }
    if !passed {
        println!("vmtest: FAILED after {}", seconds(began));
        return ExitCode::FAILURE;
    }
    println!("vmtest: passed after {}", seconds(began));
    ExitCode::SUCCESS
}

/// Runs one setup in a machine of its own, with a cloud of its own.
fn play(setup: &Setup, parts: &Provisions, folder: &Path, bound_memory: bool) -> Result<()> {
    let began = Instant::now();
    let folder = folder.join(setup.name);
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let mut cloud = Cloud::new(&folder).started();
    let mut machine = Machine::start(&folder, &parts.qemu, &parts.kernel, &parts.appliance)?;
    println!("vmtest: {}: the machine was up after {}", setup.name, seconds(began));
    Scenario::new(&mut machine, &mut cloud, setup, bound_memory).play();
    machine.off();
    cloud.stop();
    Ok(())
}
