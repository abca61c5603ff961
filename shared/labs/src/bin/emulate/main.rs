//! `cargo emulate`: the image in an emulated Raspberry Pi 3, with a cloud on this computer, and power cuts.
//!
//! Four boots of one card: the first with only the cloud's address; the second with the cloud down, so that pictures
//! stay on the card; the third with the cloud back, while it uploads; and the last for the count. The power is cut
//! three times between them, each time while pictures are taken. The witnesses are the card, whose file system is
//! read from outside after every cut, the cloud's database, and the camera's confirmations to the cloud.
//!
//! Not covered, because QEMU lacks it: the Pi's firmware, edges on its pins, Wi-Fi, the watchdog, a real camera.
//! Pictures are a drawn scene, taken by command or by interval. The pins are real as far as the kernel's driver: the
//! LED is read from the chip's register.

mod card;
mod checks;
mod clock;
mod machine;
mod raspios;
mod scenario;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use card::Card;
use checks::Checks;
use clap::Parser;
use image_build::{host_tools, image_in};
use keepsake_provision::chroot::{self, Chroot, ForeignBinaries, Release};
use keepsake_provision::cross::{self, Arch};
use keepsake_provision::temp_dir::TempDir;
use keepsake_provision::workspace;
use keepsake_testkit::cloud::Cloud;
use machine::Pi;
use scenario::Scenario;

/// The programs it runs, and the Debian package of each. QEMU is not among them: it can be fetched without installing
/// it.
const NEEDED: [(&str, &str); 9] = [
    ("dd", "coreutils"),
    ("zstd", "zstd"),
    ("mkfs.vfat", "dosfstools"),
    ("mke2fs", "e2fsprogs"),
    ("mcopy", "mtools"),
    ("e2fsck", "e2fsprogs"),
    ("debugfs", "e2fsprogs"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
];

/// Boot the SD card image in an emulated Raspberry Pi 3, take pictures, cut its power three times, and audit
#[derive(Parser)]
#[command(bin_name = "cargo emulate")]
struct Arguments {
    /// The camera's program for arm64, instead of building it; an existing image is used as it is
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Boot an image laid out as Raspberry Pi OS Lite instead, made of Debian's packages, with the camera added as
    /// `cargo image -- --base-image` does; needs root on Debian
    #[arg(long)]
    raspios: bool,
    /// Pictures in a burst
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(3..=40))]
    pictures: u8,
    /// Keep the card and the console output, and print where they are
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let folder = TempDir::new("emulate");
    let mut checks = Checks::default();
    let result = catch_unwind(AssertUnwindSafe(|| run(&arguments, &folder, &mut checks)));
    let result = result.unwrap_or_else(|_| Err(anyhow::anyhow!("a check has failed, see above")));
    if let Err(error) = &result {
        eprintln!("{error:#}");
    }
    for what in &checks.failed {
        eprintln!("FAILED: {what}");
    }
    let good = result.is_ok() && checks.failed.is_empty();
    if arguments.keep || !good {
        println!("the files are kept in {}", folder.keep().display());
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(arguments: &Arguments, folder: &Path, checks: &mut Checks) -> Result<()> {
    let missing = host_tools::missing(&NEEDED);
    ensure!(missing.is_empty(), "programs are missing: sudo apt-get install {}", missing.join(" "));
    let (image, person) = if arguments.raspios {
        (raspios_image(arguments, folder)?, raspios::PERSON)
    } else {
        (card_image(arguments)?, "root")
    };
    let card = Card::new(&image, folder)?;
    let pi = Pi::new(&card, folder, person)?;
    println!("{}, {}", image.display(), pi.version()?);
    let cloud = Cloud::new(folder).started();
    let mut scenario = Scenario {
        cloud_url: format!("\"mqtt://10.0.2.2:{}\"", cloud.mqtt_port()),
        key: format!("\"{}\"", pi.public_key()?),
        burst: arguments.pictures.into(),
        on_card: BTreeMap::new(),
        lost: BTreeSet::new(),
        missing: 0,
        cloud,
        card,
        pi,
        checks,
    };
    if arguments.raspios {
        scenario.run_raspios()
    } else {
        scenario.run()
    }
}

/// Returns an image laid out as Raspberry Pi OS, with the camera added.
fn raspios_image(arguments: &Arguments, folder: &Path) -> Result<PathBuf> {
    chroot::ensure_available()?;
    let program = cross::appliance_for_pi(arguments.program.as_deref())?;
    let _emulation = ForeignBinaries::enable(Arch::Arm64)?;
    let system = Chroot::for_pi(Release::Debian13)?;
    raspios::build_image(&system.root, &program, folder)
}

/// Returns the last image, which is built if there is none.
fn card_image(arguments: &Arguments) -> Result<PathBuf> {
    let image = image_in(&workspace::target().join("image"));
    if image.is_file() {
        println!("using the existing image; cargo image builds a new one");
        return Ok(image);
    }
    let mut cargo = workspace::cargo();
    cargo.args(["run", "--quiet", "--package", "image-build", "--bin", "image", "--"]);
    if let Some(program) = &arguments.program {
        cargo.arg("--program").arg(program);
    }
    let status = cargo.status().context("run cargo")?;
    ensure!(status.success(), "the image cannot be built, see above");
    Ok(image)
}
