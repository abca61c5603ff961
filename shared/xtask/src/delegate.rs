//! Commands whose work another crate does. It is built when it is needed, so that this program is built sooner.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use keepsake_provision::workspace;

/// A program of the workspace that gets the arguments as they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delegate {
    package: &'static str,
    binary: &'static str,
    /// Flags of cargo: features, profile.
    options: &'static [&'static str],
}

pub(crate) const VMTEST: Delegate = Delegate {
    package: "keepsake-labs",
    binary: "vmtest",
    options: &["--features", "v4l"],
};
pub(crate) const CHAOS: Delegate = Delegate { package: "keepsake-labs", binary: "chaos", options: &[] };
pub(crate) const BENCH: Delegate = Delegate {
    package: "keepsake-labs",
    binary: "bench",
    options: &["--profile", "release-without-lto"],
};
pub(crate) const EMULATE: Delegate = Delegate { package: "keepsake-labs", binary: "emulate", options: &[] };
pub(crate) const SCREENSHOTS: Delegate = Delegate {
    package: "keepsake-labs",
    binary: "screenshots",
    options: &[],
};
pub(crate) const IMAGE: Delegate = Delegate { package: "image-build", binary: "image", options: &[] };

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

impl Delegate {
    /// Builds and runs it; returns whether it succeeded.
    pub(crate) fn run(self, arguments: &Arguments) -> Result<bool> {
        let status = self.command().args(&arguments.arguments).status().context("run cargo")?;
        Ok(status.success())
    }

    /// Returns the command that builds and runs it, without arguments.
    pub(crate) fn command(self) -> std::process::Command {
        let mut cargo = workspace::cargo();
        cargo.args(["run", "--quiet", "--package", self.package]);
        cargo.args(self.options);
        cargo.args(["--bin", self.binary, "--"]);
        cargo
    }
}

/// Returns the file of the last SD card image, which need not exist.
pub(crate) fn image_file() -> PathBuf {
    let version = env!("CARGO_PKG_VERSION");
    let folder = workspace::target().join("image");
    folder.join(format!("keepsake-{version}-arm64.img.zst"))
}

/// Returns the Debian packages that building an image needs and that are not installed, separated by blanks.
pub(crate) fn image_packages_missing() -> Result<String> {
    let output = IMAGE
        .command()
        .arg("--packages-missing")
        .stderr(Stdio::inherit())
        .output()
        .context("run cargo")?;
    ensure!(output.status.success(), "cargo: {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
