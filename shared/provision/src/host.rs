//! This computer: its programs, and the packages root may install on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Returns the file of a program of the system. Daemons are in directories that a user's `PATH` may not name.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(sbin)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

pub fn is_root() -> bool {
    // SAFETY: geteuid(2) takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Installs Debian packages if apt is here and we are root; returns whether they are installed now.
pub fn apt_install(packages: &[&str]) -> bool {
    if !is_root() || !Path::new("/usr/bin/apt-get").exists() {
        return false;
    }
    let apt = |arguments: &[&str]| {
        Command::new("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    let install = [&["install", "-y", "--no-install-recommends"], packages].concat();
    apt(&install) || (apt(&["update"]) && apt(&install))
}

/// Finds libclang, without which the V4L2 bindings cannot be generated; installs it where root may.
pub fn ensure_libclang() -> bool {
    if has_libclang() {
        return true;
    }
    println!("libclang is missing; installing libclang-dev");
    apt_install(&["libclang-dev"]) && has_libclang()
}

/// Looks where bindgen looks: the variable, the answer of llvm-config, and the usual directories.
fn has_libclang() -> bool {
    let mut folders: Vec<PathBuf> = std::env::var_os("LIBCLANG_PATH").into_iter().map(Into::into).collect();
    if let Ok(output) = Command::new("llvm-config").arg("--libdir").output() {
        folders.push(String::from_utf8_lossy(&output.stdout).trim().into());
    }
    folders.extend(["/usr/lib64", "/usr/lib", "/usr/local/lib"].map(PathBuf::from));
    for parent in ["/usr/lib", "/usr/lib64"] {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            folders.push(entry.path());
            folders.push(entry.path().join("lib"));
        }
    }
    folders.iter().any(|folder| holds_libclang(folder))
}

fn holds_libclang(folder: &Path) -> bool {
    fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // libclang.so, libclang-14.so.1, libclang.so.17; not libclang-cpp.so, which is another library.
        name.starts_with("libclang") && name.contains(".so") && !name.starts_with("libclang-cpp")
    })
}
