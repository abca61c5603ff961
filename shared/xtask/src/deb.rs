//! `cargo xtask deb`: the packages for Debian, Ubuntu and Raspberry Pi OS, in `target/debian`.
//!
//! cargo-deb makes them by what stands in `appliance/Cargo.toml` and `cloud/Cargo.toml`; here is what it takes to build
//! for another processor, and the settings file of the camera as the service wants it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::debian::{self, Release};
use crate::tool::Tool;
use crate::{verify, workspace};

mod check;

const CARGO_DEB: Tool = Tool {
    name: "cargo-deb",
    version: "3.8.0",
};

/// Where the service of the camera keeps its pictures (`StateDirectory=` of the unit), and the default it replaces.
/// What a service needs otherwise than a program that somebody starts in a folder: ours, and the package's.
const FOR_THE_SERVICE: [(&str, &str); 2] = [
    (
        "folder = \"keepsake-spool\"",
        "folder = \"/var/lib/keepsake/pictures\"",
    ),
    (
        "status_file = \"\"",
        "status_file = \"/var/lib/keepsake/CAMERA-STATUS.txt\"",
    ),
];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// For this processor; may be repeated. Without, for both.
    #[arg(long, value_enum)]
    arch: Vec<Arch>,
    /// The version of the packages, instead of that of the workspace.
    #[arg(long, value_name = "VERSION")]
    deb_version: Option<String>,
    /// Pack what is built already.
    #[arg(long)]
    no_build: bool,
    /// Also try them in a fresh system: install, start, hang, kill, upgrade, remove, purge. Takes some minutes; root only.
    #[arg(long)]
    check: bool,
    /// Try them in this one; may be repeated.
    #[arg(long, value_enum, requires = "check", default_values = ["debian12", "debian13"])]
    release: Vec<Release>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Arch {
    Arm64,
    Amd64,
}

/// What the check upgrades from.
const OLDER: &str = "0.0.9-1";

impl Arch {
    /// That of this computer.
    pub(crate) fn own() -> Result<Self> {
        [Self::Arm64, Self::Amd64]
            .into_iter()
            .find(|arch| arch.is_own())
            .context("there are no packages for the processor of this computer")
    }

    /// As Debian names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::Amd64 => "amd64",
        }
    }

    /// As Rust names it.
    fn target(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64-unknown-linux-gnu",
            Self::Amd64 => "x86_64-unknown-linux-gnu",
        }
    }

    /// As `uname -m` and Rust name the processor.
    fn processor(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64",
            Self::Amd64 => "x86_64",
        }
    }

    pub(crate) fn is_own(self) -> bool {
        self.processor() == std::env::consts::ARCH
    }

    /// For cargo. What is built for this computer anyway lies elsewhere, and need not be built twice.
    fn target_arguments(self) -> Vec<&'static str> {
        if self.is_own() {
            Vec::new()
        } else {
            vec!["--target", self.target()]
        }
    }

    /// Debian's compiler for it, which also is the linker (`.cargo/config.toml`).
    fn compiler(self) -> String {
        format!("{}-linux-gnu-gcc", self.processor())
    }
}

/// Returns whether everything that was asked for has come about.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let arches = match arguments.arch.as_slice() {
        [] => vec![Arch::Amd64, Arch::Arm64],
        some => some.to_vec(),
    };
    if arguments.check {
        debian::can_be_had()?;
    }
    for arch in arches {
        if !arguments.no_build {
            build(arch, &["appliance", "cloud"])?;
        }
        // The older first: making a package takes other versions of it out of target/debian.
        let older = if arguments.check {
            Some(make_both(arch, Some(OLDER))?)
        } else {
            None
        };
        let packages = make_both(arch, arguments.deb_version.as_deref())?;
        for file in [&packages.appliance, &packages.cloud] {
            let bytes = fs::metadata(file)
                .with_context(|| format!("find {}", file.display()))?
                .len();
            println!("{} ({} KiB)", file.display(), bytes >> 10);
        }
        if let Some(older) = older {
            for release in &arguments.release {
                check::run(arch, *release, &older, &packages)?;
            }
            // Nobody is to give these to others.
            for file in [&older.appliance, &older.cloud] {
                let _ = fs::remove_file(file);
            }
        }
    }
    Ok(true)
}

/// The file of one package of this version, made now unless it is said to be there.
pub(crate) fn package(name: &str, arch: Arch, is_there: bool) -> Result<PathBuf> {
    let version = own_version();
    if is_there {
        let file = file(name, arch, &version)?;
        ensure!(file.is_file(), "{} is not there", file.display());
        return Ok(file);
    }
    build(arch, &["appliance", "cloud"])?;
    make(name, arch, &version)
}

/// The camera's program for the Pi: the one that was given, else it is built.
pub(crate) fn program_for_the_pi(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(program) = given {
        return Ok(program.to_owned());
    }
    build(Arch::Arm64, &["appliance"])?;
    let mut folder = workspace::target()?;
    if !Arch::Arm64.is_own() {
        folder.push(Arch::Arm64.target());
    }
    Ok(folder.join("release/appliance"))
}

/// Builds these programs for this processor, the camera with V4L2.
fn build(arch: Arch, packages: &[&str]) -> Result<()> {
    ensure!(
        verify::has_libclang() || verify::install_libclang(),
        "libclang is missing; install libclang-dev"
    );
    let mut cargo = workspace::cargo();
    cargo
        .args(["build", "--release"])
        .args(arch.target_arguments())
        .args(
            packages
                .iter()
                .flat_map(|name| ["--package".to_owned(), format!("keepsake-{name}")]),
        )
        .args(["--features", "keepsake-appliance/v4l"]);
    if !arch.is_own() {
        have_compiler(arch)?;
        have_std(arch)?;
    }
    let status = cargo.stdin(Stdio::null()).status().context("run cargo")?;
    ensure!(status.success(), "cargo build has failed, see above");
    Ok(())
}

/// Makes both packages of what is built.
fn make_both(arch: Arch, version: Option<&str>) -> Result<check::Packages> {
    let version = version.map_or_else(own_version, str::to_owned);
    Ok(check::Packages {
        appliance: make("appliance", arch, &version)?,
        cloud: make("cloud", arch, &version)?,
        version,
    })
}

/// Makes one package of what is built; returns its file.
fn make(package: &str, arch: Arch, version: &str) -> Result<PathBuf> {
    let file = file(package, arch, version)?;
    // Where `appliance/Cargo.toml` has it from.
    write_camera_settings(&workspace::target()?.join("debian/camera.toml"))?;
    let status = Command::new(CARGO_DEB.find()?)
        .current_dir(workspace::root())
        // As cargo would call it.
        .arg("deb")
        .args(["--package", &format!("keepsake-{package}")])
        .args(["--no-build", "--quiet"])
        .args(arch.target_arguments())
        .args(["--deb-version", version, "--output"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("run cargo-deb")?;
    ensure!(status.success(), "cargo-deb has failed for {package}");
    Ok(file)
}

fn own_version() -> String {
    format!("{}-1", env!("CARGO_PKG_VERSION"))
}

/// Where a package lies; the folder is there afterwards.
fn file(package: &str, arch: Arch, version: &str) -> Result<PathBuf> {
    // Not beside those that are to be given to others.
    let folder = workspace::target()?.join(if version == OLDER {
        "debian-older"
    } else {
        "debian"
    });
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    Ok(folder.join(format!("keepsake-{package}_{version}_{}.deb", arch.name())))
}

/// `appliance/camera.toml` as a service needs it.
fn write_camera_settings(to: &Path) -> Result<()> {
    let from = workspace::root().join("appliance/camera.toml");
    let text = fs::read_to_string(&from).with_context(|| format!("read {}", from.display()))?;
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    fs::write(to, for_the_service(&text)?).with_context(|| format!("write {}", to.display()))
}

fn for_the_service(settings: &str) -> Result<String> {
    let mut settings = settings.to_owned();
    for (own, service) in FOR_THE_SERVICE {
        let found = settings.matches(own).count();
        ensure!(
            found == 1,
            "{own} stands {found} times in camera.toml instead of once"
        );
        settings = settings.replace(own, service);
    }
    Ok(settings)
}

fn have_compiler(arch: Arch) -> Result<()> {
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
    let installed = verify::apt_install(&[gcc, libc]);
    if !(installed && works(&compiler)) {
        bail!("{compiler} is missing: apt-get install {gcc} {libc}");
    }
    Ok(())
}

/// The standard library for this processor. Without rustup it has to be there already: docs/decisions/0014-packages.md
/// has the way by Debian's own compiler.
fn have_std(arch: Arch) -> Result<()> {
    let target = arch.target();
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", target])
        .output()
        .context("run rustc")?;
    let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if output.status.success() && folder.is_dir() {
        return Ok(());
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", target]).stdin(Stdio::null());
    if !rustup.status().is_ok_and(|status| status.success()) {
        bail!(
            "the standard library for {target} is missing: rustup target add {target}, or RUSTC= a compiler that has it \
             (docs/decisions/0014-packages.md)"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_camera_of_the_package_writes_where_the_service_may() {
        let text = include_str!("../../../appliance/camera.toml");
        let settings = for_the_service(text).unwrap();
        let changed = text.lines().zip(settings.lines());
        let mut changed: Vec<_> = changed.filter(|(own, service)| own != service).collect();
        let mut wanted = FOR_THE_SERVICE;
        changed.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(changed, wanted);
        let unit = include_str!("../../../appliance/debian/keepsake-appliance.service");
        for (_, service) in FOR_THE_SERVICE {
            let path = service.split('"').nth(1).unwrap();
            assert!(path.starts_with("/var/lib/keepsake/"), "{path}");
        }
        assert!(unit.contains("\nStateDirectory=keepsake\n"));
        assert!(for_the_service("").is_err());
    }
}
