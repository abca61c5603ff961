//! `cargo rig`: the camera's program as it is shipped, in a machine with kernel drivers. The work is done by a program of
//! the test kit, which this one need not know, so that it is built sooner.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::verify::{has_libclang, install_libclang};
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Try the debug build instead: it is sooner built, and needs more memory than the bound for a camera allows
    #[arg(long)]
    debug: bool,
    /// Only ways to the pins whose name contains this: rppal, gpiochip
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Keep the files of the machine, and say where they are
    #[arg(long)]
    keep: bool,
}

impl Arguments {
    /// The debug build is there already. A release build would take minutes more, and differs in its memory only.
    pub(crate) fn of_verify() -> Self {
        Self {
            debug: true,
            only: None,
            keep: false,
        }
    }
}

/// Returns whether all was as promised, or could not be run here.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    run_noting(arguments, None)
}

/// As [`run`]; what could not be run is also written to the file `not_run`.
pub(crate) fn run_noting(arguments: &Arguments, not_run: Option<&Path>) -> Result<bool> {
    if !(has_libclang() || install_libclang()) {
        let line = "NOT RUN: cargo rig: libclang is missing, and without it there is no V4L2; install libclang-dev \
                    (Debian, Ubuntu) or clang-devel";
        println!("{line}");
        if let Some(file) = not_run {
            note(file, line)?;
        }
        return Ok(true);
    }
    let Some(appliance) = build(arguments.debug)? else {
        return Ok(false);
    };
    let mut rig = workspace::cargo();
    rig.args([
        "run",
        "--quiet",
        "--package",
        "keepsake-testkit",
        "--bin",
        "rig",
        "--",
    ])
    .arg("--appliance")
    .arg(appliance);
    if !arguments.debug {
        rig.arg("--bound-memory");
    }
    if let Some(text) = &arguments.only {
        rig.args(["--only", text]);
    }
    if arguments.keep {
        rig.arg("--keep");
    }
    if let Some(file) = not_run {
        rig.env("KEEPSAKE_NOT_RUN", file);
    }
    Ok(rig.status().context("run cargo")?.success())
}

/// The cloud and the guest as they are tested, and the camera's program with V4L2. Returns its file.
fn build(debug: bool) -> Result<Option<PathBuf>> {
    let cargo = |arguments: &[&str]| {
        let status = workspace::cargo().args(arguments).status();
        Ok::<_, anyhow::Error>(status.context("run cargo")?.success())
    };
    let bins = [
        "build",
        "--package",
        "keepsake-testkit",
        "--bin",
        "rig",
        "--bin",
        "rig-guest",
    ];
    let appliance = [
        "build",
        "--package",
        "keepsake-appliance",
        "--features",
        "v4l",
    ];
    let profile: &[&str] = if debug { &[] } else { &["--release"] };
    let built = cargo(&["build", "--package", "keepsake-cloud"])?
        && cargo(&bins)?
        && cargo(&[&appliance, profile].concat())?;
    let folder = if debug { "debug" } else { "release" };
    let file = workspace::target()?.join(folder).join("appliance");
    Ok(built.then_some(file))
}

fn note(file: &Path, line: &str) -> Result<()> {
    use std::io::Write;
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(file);
    let mut file = file.context("note what was not run")?;
    writeln!(file, "{line}").context("note what was not run")
}
