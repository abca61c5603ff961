//! The workspace: its directories, and cargo.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Set by `cargo verify`, which builds the programs before it runs the tests.
pub const ALREADY_BUILT: &str = "KEEPSAKE_PROGRAMS_BUILT";

/// Returns the directory of the workspace.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("this crate is two folders below the root").to_owned()
}

/// Returns the directory of the profile this program was built with, such as `target/debug`.
pub fn profile_dir() -> PathBuf {
    let own = std::env::current_exe().expect("a running program knows its own file");
    let folder = own.parent().expect("a file is in a folder");
    // Cargo puts tests and examples one directory below other programs.
    match folder.file_name().and_then(|name| name.to_str()) {
        Some("deps" | "examples") => folder.parent().expect("deps is in a folder").to_owned(),
        Some(_) | None => folder.to_owned(),
    }
}

/// Returns the directory cargo builds into.
pub fn target() -> PathBuf {
    let profile = profile_dir();
    profile.parent().expect("the folder of a profile is in a target folder").to_owned()
}

/// Returns the directory below `target/` that keeps what was fetched, created if it is missing.
///
/// # Errors
/// It cannot be created.
pub fn cache() -> Result<PathBuf> {
    let cache = target().join("fetched");
    fs::create_dir_all(&cache)
        .and_then(|()| cache.canonicalize())
        .with_context(|| format!("create {}", cache.display()))
}

/// Locks `name.lock` in `folder` until the result is dropped, against other processes as well.
///
/// # Errors
/// The file cannot be created or locked.
pub fn lock(folder: &Path, name: &str) -> Result<File> {
    let path = folder.join(format!("{name}.lock"));
    File::create(&path)
        .and_then(|file| file.lock().map(|()| file))
        .with_context(|| format!("lock {}", path.display()))
}

/// Returns the cargo that runs us.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    // The variables that cargo sets for this program would make the next cargo rebuild crates that read them.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Builds programs with the profile of this program, and returns the directory they are in.
///
/// `targets`: such as `--package` and its name, as cargo reads them. Nothing is built where `cargo verify` did it
/// before.
///
/// # Errors
/// The build fails.
pub fn build(targets: &[&str]) -> Result<PathBuf> {
    let folder = profile_dir();
    if std::env::var_os(ALREADY_BUILT).is_some() {
        return Ok(folder);
    }
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        None | Some("debug") => "dev",
        Some(profile) => profile,
    };
    build_profile(&[targets, &["--profile", profile]].concat())?;
    Ok(folder)
}

/// Builds release programs, and returns the directory they are in.
///
/// # Errors
/// The build fails.
pub fn build_release(targets: &[&str]) -> Result<PathBuf> {
    build_profile(&[targets, &["--release"]].concat())?;
    Ok(target().join("release"))
}

fn build_profile(arguments: &[&str]) -> Result<()> {
    let status = cargo()
        .args(["build", "--quiet", "--target-dir"])
        .arg(target())
        .args(arguments)
        .stdin(Stdio::null())
        .status()
        .context("run cargo")?;
    ensure!(status.success(), "cargo build {} has failed, see above", arguments.join(" "));
    Ok(())
}
