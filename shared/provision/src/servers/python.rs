//! Python with the packages that the lab's scripts and the camera of `fixtures/` import, in an environment of its own
//! below `target/engines`: the system's packages are neither used nor changed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::debian::find_program;
use crate::not_run::not_run;
use crate::program::built_beside_this_test;

/// By name, so that the newest is tried that this Python can have.
const PACKAGES: [&str; 4] = ["paho-mqtt", "pymysql", "cryptography", "flask"];

/// A Python that has them.
#[derive(Debug, Clone)]
pub struct Python(PathBuf);

impl Python {
    /// One with all packages, fetched at the first time; or `None` after it was said that the test `what` is not run, and
    /// how it could be.
    pub fn or_not_run(what: &str) -> Option<Self> {
        Self::new()
            .inspect_err(|why| {
                let how = format!(
                    "install python3 with venv and pip, and let pip fetch {}",
                    PACKAGES.join(", ")
                );
                not_run(what, why, &how);
            })
            .ok()
    }

    /// One with all packages, fetched at the first time: some seconds.
    ///
    /// # Errors
    /// A sentence: there is no Python here, or what pip said.
    pub fn new() -> Result<Self, String> {
        let cache = built_beside_this_test().join("../engines");
        fs::create_dir_all(&cache)
            .map_err(|error| format!("create {}: {error}", cache.display()))?;
        let cache = cache
            .canonicalize()
            .map_err(|error| format!("find {}: {error}", cache.display()))?;
        let lock = cache.join("python.lock");
        let locked = File::create(&lock).and_then(|file| file.lock().map(|()| file));
        // Held to the end of this function; a process that is killed gives it back.
        let _locked = locked.map_err(|error| format!("lock {}: {error}", lock.display()))?;

        let folder = cache.join("python");
        let python = folder.join("bin/python");
        // Written last, for only then it is whole. An environment knows its own path and cannot be renamed into place.
        let whole = folder.join("whole");
        if !whole.is_file() {
            let _ = fs::remove_dir_all(&folder);
            let system = find_program("python3").ok_or("there is no python3 on this system")?;
            let made = Command::new(system)
                .args(["-m", "venv"])
                .arg(&folder)
                .output();
            said("python3 -m venv", made)?;
            let fetched = Command::new(&python)
                .args([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                ])
                .args(["--timeout", "20", "--retries", "2"])
                .args(PACKAGES)
                .stdin(Stdio::null())
                .output();
            said("pip install", fetched)?;
            fs::write(&whole, "").map_err(|error| format!("write {}: {error}", whole.display()))?;
        }
        Ok(Self(python))
    }

    /// Its own and that of paho-mqtt.
    ///
    /// # Errors
    /// A sentence: it cannot be run.
    pub fn version(&self) -> Result<String, String> {
        let ask = "import platform, paho.mqtt as p; print('Python', platform.python_version(), 'with paho-mqtt', p.__version__)";
        let done = Command::new(&self.0)
            .args(["-c", ask])
            .stdin(Stdio::null())
            .output();
        said("ask Python for its version", done)
            .map(|said| String::from_utf8_lossy(&said).trim().to_owned())
    }

    /// Runs a script of `fixtures/`.
    pub fn script(&self, name: &str) -> Command {
        let mut command = Command::new(&self.0);
        // Beside the script it would leave compiled files in the source tree.
        command.arg("-B").arg(fixture(name));
        command
    }
}

/// A file of `fixtures/`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

/// What it has printed, or why it has failed.
fn said(what: &str, done: std::io::Result<std::process::Output>) -> Result<Vec<u8>, String> {
    let done = done.map_err(|error| format!("{what}: {error}"))?;
    if done.status.success() {
        return Ok(done.stdout);
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let last = said.lines().last().unwrap_or_default();
    Err(format!("{what}: {}: {last}", done.status))
}
