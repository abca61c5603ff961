//! Python with paho-mqtt and PyMySQL, which the reference camera and the lab's scripts need, in a private environment
//! below `target/fetched`: the system's Python packages are neither used nor changed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use fs_err as fs;

use crate::host::find_program;
use crate::process::run;
use crate::skip::not_run;
use crate::workspace;

/// Without a version: pip picks the newest that works with this Python.
/// `rsa`: MySQL's default authentication without TLS.
const PACKAGES: [&str; 2] = ["paho-mqtt", "PyMySQL[rsa]"];

/// A Python that has [`PACKAGES`].
#[derive(Debug, Clone)]
pub struct Python(PathBuf);

impl Python {
    /// Returns a Python, or `None` after reporting that the test `what` is not run.
    pub fn or_skip(what: &str) -> Option<Self> {
        Self::new()
            .inspect_err(|why| {
                let how = format!("install python3 with venv and pip, and let pip fetch {}", PACKAGES.join(", "));
                not_run(what, why, &how);
            })
            .ok()
    }

    /// Returns a Python; the first call makes its environment, which takes some seconds.
    ///
    /// # Errors
    /// There is no Python here, or pip failed.
    pub fn new() -> Result<Self> {
        let cache = workspace::cache()?;
        let _lock = workspace::lock(&cache, "python")?;
        let folder = cache.join("python");
        let python = folder.join("bin/python");
        // Written last, with the packages. An environment contains its own path, so it cannot be renamed into place when
        // it is complete.
        let complete = folder.join("complete");
        if fs::read_to_string(&complete).ok() != Some(PACKAGES.join(" ")) {
            let _ = fs::remove_dir_all(&folder);
            let system = find_program("python3").context("there is no python3 on this system")?;
            run(Command::new(system).args(["-m", "venv"]).arg(&folder))?;
            run(Command::new(&python)
                .args(["-m", "pip", "install", "--quiet"])
                .arg("--disable-pip-version-check")
                .args(["--timeout", "20", "--retries", "2"])
                .args(PACKAGES))?;
            fs::write(&complete, PACKAGES.join(" "))?;
        }
        Ok(Self(python))
    }

    /// Returns its version and that of paho-mqtt.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn version(&self) -> Result<String> {
        let script = "import platform, paho.mqtt as p; print('Python', platform.python_version(), 'with paho-mqtt', p.__version__)";
        let output = run(Command::new(&self.0).args(["-c", script]))?;
        Ok(String::from_utf8_lossy(&output).trim().to_owned())
    }

    /// Returns a command that runs a script.
    pub fn script(&self, file: &Path) -> Command {
        let mut command = Command::new(&self.0);
        // -B: no compiled files beside the script in the source tree.
        command.arg("-B").arg(file);
        command
    }
}
