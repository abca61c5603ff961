//! `cargo xtask deb`: the packages for Debian, Ubuntu and Raspberry Pi OS, in `target/debian`.
//!
//! cargo-deb makes them by what stands in `appliance/Cargo.toml` and `cloud/Cargo.toml`; here is what it takes to build
//! for another processor, and the settings file of the camera as the service wants it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use keepsake_provision::chroot::{self, Release};
use keepsake_provision::cross::{Arch, build};
use keepsake_provision::workspace;

use crate::cargo_tool::CargoTool;

mod check;

const CARGO_DEB: CargoTool = CargoTool {
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

/// What the check upgrades from.
const OLDER: &str = "0.0.9-1";

/// Returns whether everything that was asked for has come about.
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
    write_camera_settings(&workspace::target().join("debian/camera.toml"))?;
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
    let folder = workspace::target().join(if version == OLDER {
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
