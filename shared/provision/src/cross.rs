//! Builds Keepsake's programs for another processor, with the compiler and libraries that needs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::host::{apt_install, ensure_libclang};
use crate::workspace;

/// A processor that Keepsake has packages for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Arch {
    Arm64,
    Amd64,
}

impl Arch {
    /// Returns the processor of this computer.
    pub fn own() -> Result<Self> {
        [Self::Arm64, Self::Amd64]
            .into_iter()
            .find(|arch| arch.is_own())
            .context("Keepsake has no packages for the processor of this computer")
    }

    /// Returns Debian's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::Amd64 => "amd64",
        }
    }

    /// Returns Rust's target for it.
    fn target(self) -> String {
        format!("{}-unknown-linux-gnu", self.processor())
    }

    /// Returns its name in `uname -m` and in Rust.
    fn processor(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64",
            Self::Amd64 => "x86_64",
        }
    }

    pub fn is_own(self) -> bool {
        self.processor() == std::env::consts::ARCH
    }

    /// Returns cargo's argument. The build for this computer is in another directory and is not repeated.
    pub fn target_argument(self) -> Option<String> {
        (!self.is_own()).then(|| format!("--target={}", self.target()))
    }

    /// Returns Debian's compiler for it, which is the linker as well (`.cargo/config.toml`).
    fn compiler(self) -> String {
        format!("{}-linux-gnu-gcc", self.processor())
    }
}

/// Returns the given program for the Pi, or builds it.
pub fn appliance_for_pi(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(program) = given {
        return Ok(program.to_owned());
    }
    build(Arch::Arm64, &["appliance"])?;
    let mut folder = workspace::target();
    if !Arch::Arm64.is_own() {
        folder.push(Arch::Arm64.target());
    }
    Ok(folder.join("release/appliance"))
}

/// Builds these programs for a processor, the appliance with V4L2.
pub fn build(arch: Arch, packages: &[&str]) -> Result<()> {
    ensure!(ensure_libclang(), "libclang is missing; install libclang-dev");
    let mut cargo = workspace::cargo();
    cargo
        .args(["build", "--release"])
        .args(arch.target_argument())
        .args(packages.iter().flat_map(|name| ["--package".to_owned(), format!("keepsake-{name}")]))
        .args(["--features", "keepsake-appliance/v4l"]);
    if !arch.is_own() {
        ensure_compiler(arch)?;
        ensure_std(arch)?;
    }
    let status = cargo.stdin(Stdio::null()).status().context("run cargo")?;
    ensure!(status.success(), "cargo build has failed, see above");
    Ok(())
}

fn ensure_compiler(arch: Arch) -> Result<()> {
    let compiler = arch.compiler();
    let works = |name: &str| {
        let mut command = Command::new(name);
        command.arg("--version").stdout(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if works(&compiler) {
        return Ok(());
    }
    let packages = [
        &format!("gcc-{}-linux-gnu", arch.processor().replace('_', "-")),
        &format!("libc6-dev-{}-cross", arch.name()),
    ];
    let [gcc, libc] = packages;
    println!("{compiler} is missing; installing {gcc} and {libc}");
    let installed = apt_install(&[gcc, libc]);
    if !(installed && works(&compiler)) {
        bail!("{compiler} is missing: apt-get install {gcc} {libc}");
    }
    Ok(())
}

/// Checks for the standard library of a processor, or lets rustup install it. docs/decisions/0014-packages.md has the
/// way without rustup.
fn ensure_std(arch: Arch) -> Result<()> {
    let target = arch.target();
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", &target])
        .output()
        .context("run rustc")?;
    let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if output.status.success() && folder.is_dir() {
        return Ok(());
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", &target]).stdin(Stdio::null());
    if !rustup.status().is_ok_and(|status| status.success()) {
        bail!(
            "the standard library for {target} is missing: rustup target add {target}, or RUSTC= a compiler that has it \
             (docs/decisions/0014-packages.md)"
        );
    }
    Ok(())
}
