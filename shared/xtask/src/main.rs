//! The short commands of this repository: `cargo demo` shows Keepsake, `cargo verify` proves it, `cargo xtask` has the rest.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod child;
mod deb;
mod debian;
mod demo;
mod deny;
mod ec2;
mod emulate;
mod image;
mod release;
mod rig;
mod tool;
mod torture;
mod verify;
mod workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the whole thing: a cloud with its page on port 5000, and a simulated camera with real photographs.
    Demo(demo::Arguments),
    /// Run everything CI runs.
    Verify(verify::Arguments),
    /// Try the camera's program in a machine with kernel drivers: GPIO edges, V4L2, a lamp that is read.
    Rig(rig::Arguments),
    /// Strike broker, cloud, camera and database while presses go on, and the lab too; see `cargo xtask torture --help`.
    #[command(disable_help_flag = true)]
    Torture(torture::Arguments),
    /// Make the packages for Debian, Ubuntu and Raspberry Pi OS, in target/debian; with --check also try them.
    Deb(deb::Arguments),
    /// Make the SD card image for the Raspberry Pi 3, 3+ and 4, in target/image. Not yet tried on a board: see `cargo emulate`.
    Image(image::Arguments),
    /// Start that image in an emulated Raspberry Pi 3, take pictures, pull its plug three times, and audit.
    Emulate(emulate::Arguments),
    /// Set up a cloud as cloud/deploy/ec2/README.md says, in fresh Debian and Ubuntu systems, and let a camera bring pictures.
    Ec2(ec2::Arguments),
    /// Lay out everything a release consists of, with manifest and checksums, in target/release-files.
    Release(release::Arguments),
    /// Ask the advisory database about every dependency. Needs the network, so it is not part of `verify`.
    Advisories,
}

fn main() -> ExitCode {
    // The aliases cannot end in `--`, so people who are used to writing one after `cargo demo` may do so.
    let arguments = std::env::args_os()
        .enumerate()
        .filter(|(at, argument)| !(*at == 2 && argument == "--"))
        .map(|(_, argument)| argument);
    let result = match Arguments::parse_from(arguments).command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Rig(arguments) => rig::run(&arguments),
        Command::Torture(arguments) => torture::run(&arguments),
        Command::Deb(arguments) => deb::run(&arguments),
        Command::Image(arguments) => image::run(&arguments),
        Command::Emulate(arguments) => emulate::run(&arguments),
        Command::Ec2(arguments) => ec2::run(&arguments),
        Command::Release(arguments) => release::run(&arguments),
        Command::Advisories => deny::check(&["advisories"]),
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
