//! The commands of this repository: `cargo demo` shows Keepsake, `cargo verify` checks it, `cargo xtask` has the
//! rest.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod cargo_tool;
mod deb;
mod delegate;
mod demo;
mod dependencies;
mod ec2;
mod interrupt;
mod release;
mod verify;

#[derive(Parser)]
#[command(name = "cargo xtask", about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start everything: a cloud with its dashboard on port 5000, and a simulated camera with real photographs.
    Demo(demo::Arguments),
    /// Run everything CI runs.
    Verify(verify::Arguments),
    /// Run the camera's program in a virtual machine with kernel drivers: GPIO edges, V4L2, an LED that is read.
    #[command(disable_help_flag = true)]
    Vmtest(delegate::Arguments),
    /// Inject faults into broker, cloud, camera and database while presses go on.
    #[command(disable_help_flag = true)]
    Chaos(delegate::Arguments),
    /// Measure ingest, latency and images against a listener of a lab and against bare writers in the same run.
    #[command(disable_help_flag = true)]
    Bench(delegate::Arguments),
    /// Take pictures of every page, and of the demo for the README.
    #[command(disable_help_flag = true)]
    Screenshots(delegate::Arguments),
    /// Make the packages for Debian, Ubuntu and Raspberry Pi OS in target/debian; with --check also test them.
    Deb(deb::Arguments),
    /// Build the SD card image for the Raspberry Pi 3, 3+ and 4 in target/image. Not yet tested on a board; see
    /// `cargo emulate`.
    #[command(disable_help_flag = true)]
    Image(delegate::Arguments),
    /// Boot that image in an emulated Raspberry Pi 3, take pictures, cut its power three times, and audit.
    #[command(disable_help_flag = true)]
    Emulate(delegate::Arguments),
    /// Set up a cloud as cloud/deploy/ec2/README.md says in fresh Debian and Ubuntu systems, and let a camera upload.
    Ec2(ec2::Arguments),
    /// Collect the files of a release, with manifest and checksums, in target/release-files.
    Release(release::Arguments),
    /// Check every dependency against the advisory database. Needs the network, so it is not part of `verify`.
    Advisories,
}

fn main() -> ExitCode {
    // The aliases cannot end in `--`; allow one after `cargo demo`.
    let arguments = std::env::args_os()
        .enumerate()
        .filter(|(at, argument)| !(*at == 2 && argument == "--"))
        .map(|(_, argument)| argument);
    let result = match Arguments::parse_from(arguments).command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Vmtest(arguments) => delegate::VMTEST.run(&arguments),
        Command::Chaos(arguments) => delegate::CHAOS.run(&arguments),
        Command::Bench(arguments) => delegate::BENCH.run(&arguments),
        Command::Screenshots(arguments) => delegate::SCREENSHOTS.run(&arguments),
        Command::Deb(arguments) => deb::run(&arguments),
        Command::Image(arguments) => delegate::IMAGE.run(&arguments),
        Command::Emulate(arguments) => delegate::EMULATE.run(&arguments),
        Command::Ec2(arguments) => ec2::run(&arguments),
        Command::Release(arguments) => release::collect_release(&arguments),
        Command::Advisories => dependencies::deny(&["advisories"]),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
