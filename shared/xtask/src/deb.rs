//! `cargo xtask deb`: the packages for Debian, Ubuntu and Raspberry Pi OS, in `target/debian`.
//!
//! cargo-deb makes them as `appliance/Cargo.toml` and `cloud/Cargo.toml` describe; this adds the build for another
//! processor and the camera's settings file for the service.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use fs_err as fs;

use keepsake_provision::chroot::{self, Release};
use keepsake_provision::cross::{Arch, build};
use keepsake_provision::workspace;

use crate::cargo_tool::CargoTool;

mod check;

const CARGO_DEB: CargoTool = CargoTool { name: "cargo-deb", version: "3.8.0" };

/// The settings that differ in the service: the line of `camera.toml`, and the packaged one.
const SERVICE_SETTINGS: [(&str, &str); 2] = [
    ("dir = \"keepsake-spool\"", "dir = \"/var/lib/keepsake/pictures\""),
    ("status_file = \"\"", "status_file = \"/var/lib/keepsake/CAMERA-STATUS.txt\""),
];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Build for this processor; may be repeated. Default: both.
    #[arg(long, value_enum)]
    arch: Vec<Arch>,
    /// The version of the packages, instead of the workspace's.
    #[arg(long, value_name = "VERSION")]
    deb_version: Option<String>,
    /// Package what is already built.
    #[arg(long)]
    no_build: bool,
    /// Also test them in a fresh system: install, start, hang, kill, upgrade, remove, purge. Takes some minutes and
    /// needs root.
    #[arg(long)]
    check: bool,
    /// Test them in this system; may be repeated.
    #[arg(long, value_enum, requires = "check", default_values = ["debian12", "debian13"])]
    release: Vec<Release>,
}

/// The version that the check upgrades from.
const OLDER: &str = "0.0.9-1";

/// Returns whether everything was made and has passed.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let arches = match arguments.arch.as_slice() {
        [] => vec![Arch::Amd64, Arch::Arm64],
        some => some.to_vec(),
    };
    if arguments.check {
        chroot::ensure_available()?;
    }
    for arch in arches {
        if !arguments.no_build {
            build(arch, &["appliance", "cloud"])?;
        }
        // The older one first: making a package removes other versions of it from target/debian.
        let older = if arguments.check {
            Some(make_both(arch, Some(OLDER))?)
        } else {
            None
        };
        let packages = make_both(arch, arguments.deb_version.as_deref())?;
        for file in [&packages.appliance, &packages.cloud] {
            let bytes = fs::metadata(file)?.len();
            println!("{} ({} KiB)", file.display(), bytes >> 10);
        }
        if let Some(older) = older {
            for release in &arguments.release {
                check::run(arch, *release, &older, &packages)?;
            }
            // These must not be published.
            for file in [&older.appliance, &older.cloud] {
                let _ = fs::remove_file(file);
            }
        }
    }
    Ok(true)
}

/// Returns the file of a package with the current version, made now unless `is_there`.
pub(crate) fn package(name: &str, arch: Arch, is_there: bool) -> Result<PathBuf> {
    let version = own_version();
    if is_there {
        let file = file(name, arch, &version)?;
        ensure!(file.is_file(), "{} is missing", file.display());
        return Ok(file);
    }
    build(arch, &["appliance", "cloud"])?;
    make(name, arch, &version)
}

/// Makes both packages from the built programs.
fn make_both(arch: Arch, version: Option<&str>) -> Result<check::Packages> {
    let version = version.map_or_else(own_version, str::to_owned);
    Ok(check::Packages {
        appliance: make("appliance", arch, &version)?,
        cloud: make("cloud", arch, &version)?,
        version,
    })
}

/// Makes one package from the built programs, and returns its file.
fn make(package: &str, arch: Arch, version: &str) -> Result<PathBuf> {
    let file = file(package, arch, version)?;
    // `appliance/Cargo.toml` takes it from here.
    write_camera_settings(&workspace::target().join("debian/camera.toml"))?;
    let status = Command::new(CARGO_DEB.find()?)
        .current_dir(workspace::root())
        // cargo passes the subcommand's own name first.
        .arg("deb")
        .args(["--package", &format!("keepsake-{package}")])
        .args(["--no-build", "--quiet"])
        .args(arch.target_argument())
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

/// Returns the file of a package, and creates its directory.
fn file(package: &str, arch: Arch, version: &str) -> Result<PathBuf> {
    // Apart from the packages that are published.
    let folder = workspace::target().join(if version == OLDER { "debian-older" } else { "debian" });
    fs::create_dir_all(&folder)?;
    Ok(folder.join(format!("keepsake-{package}_{version}_{}.deb", arch.name())))
}

/// Writes `appliance/camera.toml` with the settings of the service.
fn write_camera_settings(to: &Path) -> Result<()> {
    let from = workspace::root().join("appliance/camera.toml");
    let text = fs::read_to_string(&from)?;
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(fs::write(to, with_service_settings(&text)?)?)
}

fn with_service_settings(settings: &str) -> Result<String> {
    let mut settings = settings.to_owned();
    for (own, service) in SERVICE_SETTINGS {
        let found = settings.matches(own).count();
        ensure!(found == 1, "{own} occurs {found} times in camera.toml instead of once");
        settings = settings.replace(own, service);
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packaged_settings_write_only_where_the_service_may() {
        let text = include_str!("../../../appliance/camera.toml");
        let settings = with_service_settings(text).unwrap();
        let changed = text.lines().zip(settings.lines());
        let mut changed: Vec<_> = changed.filter(|(own, service)| own != service).collect();
        let mut wanted = SERVICE_SETTINGS;
        changed.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(changed, wanted);
        let unit = include_str!("../../../appliance/debian/keepsake-appliance.service");
        for (_, service) in SERVICE_SETTINGS {
            let path = service.split('"').nth(1).unwrap();
            assert!(path.starts_with("/var/lib/keepsake/"), "{path}");
        }
        assert!(unit.contains("\nStateDirectory=keepsake\n"));
        assert!(with_service_settings("").is_err());
    }
}
