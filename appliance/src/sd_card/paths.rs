//! The paths on a card, and how its programs and files are used.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::durable_file;

/// The paths on a card; tests use their own.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The partition that is visible on any computer.
    pub boot: PathBuf,
    /// A directory that persists.
    pub data: PathBuf,
    /// `/etc`, which is reset at every start.
    pub etc: PathBuf,
    /// `/run`, which is reset too.
    pub run: PathBuf,
    /// The home directory for the SSH key.
    pub root_home: PathBuf,
    /// The settings file of the image, to recognize an unchanged copy.
    pub shipped: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            boot: "/boot/keepsake".into(),
            data: "/data/card".into(),
            etc: "/etc".into(),
            run: "/run/keepsake-card".into(),
            root_home: "/root".into(),
            shipped: "/usr/share/keepsake/camera.toml".into(),
        }
    }
}

impl Paths {
    /// Returns the paths of a card in a folder, for tests.
    pub fn below(root: &Path) -> Self {
        let at = |name: &str| root.join(name);
        Self {
            boot: at("boot"),
            data: at("data"),
            etc: at("etc"),
            run: at("run"),
            root_home: at("home"),
            shipped: at("shipped.toml"),
        }
    }

    pub(super) fn last_good(&self) -> PathBuf {
        self.data.join("camera.last-good.toml")
    }
}

/// Returns the output of a program; empty if it is missing.
pub(super) fn stdout_of(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Writes a file that only root can read, and creates its directory.
pub(super) fn write_privately(file: &Path, bytes: &[u8]) -> Result<()> {
    let folder = file.parent().context("a file is in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    durable_file::replace_privately(file, bytes).with_context(|| format!("write {}", file.display()))
}
