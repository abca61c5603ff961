//! apt with a state of its own: it fetches packages without root and without touching those of the system.
//!
//! Everything it writes is below one directory. Signatures are checked as always. As far as this apt knows nothing is
//! installed, so that it fetches all dependencies of a package, down to the C library.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use fs_err as fs;

use crate::host::find_program;
use crate::process::run;

/// The key that Debian's package lists are signed with.
pub const DEBIAN_KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The longest that one call of apt may take, as `timeout` reads it: some 200 MB over a slow line.
const CALL_TIMEOUT: &str = "900";

/// Returns the line of `sources.list` for one suite of a Debian archive.
pub fn debian_source(archive: &str, suite: &str, components: &str) -> String {
    format!("deb [signed-by={DEBIAN_KEYS}] {archive} {suite} {components}\n")
}

/// A private state of apt. Errors have the last lines of apt.
#[derive(Debug)]
pub struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Creates the state in `folder` and fetches the package lists.
    ///
    /// `sources`: the text of a `sources.list`; `None` for the sources of this system. `architecture`: the only one it
    /// knows, as Debian names it; `None` for that of this system.
    ///
    /// # Errors
    /// apt is missing, a file cannot be written, or the lists cannot be fetched.
    pub fn update(folder: &Path, sources: Option<&str>, architecture: Option<&str>) -> Result<Self> {
        for program in ["apt-get", "timeout"] {
            ensure!(find_program(program).is_some(), "there is no {program} on this system");
        }
        for name in ["state/lists/partial", "cache/archives/partial", "log"] {
            let name = folder.join(name);
            fs::create_dir_all(&name)?;
        }
        let folder = folder.canonicalize().with_context(|| format!("find {}", folder.display()))?;
        let configuration = configuration(&folder, sources.is_some(), architecture);
        for (name, text) in [
            ("status", ""),
            ("sources.list", sources.unwrap_or_default()),
            ("apt.conf", &configuration),
        ] {
            let file = folder.join(name);
            fs::write(&file, text)?;
        }
        let apt = Self { folder };
        apt.get(&["update"])?;
        Ok(apt)
    }

    /// Returns the directory that downloaded packages are in.
    pub fn archives(&self) -> PathBuf {
        self.folder.join("cache/archives")
    }

    /// Downloads these packages and all they depend on.
    pub fn download_with_dependencies(&self, packages: &[&str]) -> Result<()> {
        self.get(&[&["install", "--yes", "--download-only"], packages].concat()).map(drop)
    }

    /// Downloads these packages and nothing else.
    pub fn download(&self, packages: &[&str]) -> Result<()> {
        self.get(&[&["download"], packages].concat()).map(drop)
    }

    /// Returns the names of the files that [`Self::download_with_dependencies`] fetches for these packages.
    pub fn file_names(&self, packages: &[&str]) -> Result<Vec<String>> {
        let options = [
            "install",
            "--yes",
            "--print-uris",
            "--reinstall",
            "-o",
            "Dir::Cache::archives=/nonexistent/",
        ];
        let output = self.get(&[&options, packages].concat())?;
        // 'http://…/name.deb' name_version_arch.deb size hash
        Ok(output
            .lines()
            .filter(|line| line.starts_with('\''))
            .filter_map(|line| line.split_whitespace().nth(1))
            .map(str::to_owned)
            .collect())
    }

    /// Returns the names of everything that `package` depends on, directly or not.
    pub fn dependencies(&self, package: &str) -> Result<Vec<String>> {
        let arguments = ["depends", "--recurse", "--important", package];
        let output = self.run("apt-cache", &arguments)?;
        // A package starts a line and its relations are indented; a virtual package is in brackets.
        let starts = |line: &&str| line.starts_with(|c: char| c.is_ascii_alphanumeric());
        Ok(output.lines().filter(starts).map(str::to_owned).collect())
    }

    fn get(&self, arguments: &[&str]) -> Result<String> {
        self.run("apt-get", arguments)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=5", CALL_TIMEOUT, program, "-c"])
            .arg(self.folder.join("apt.conf"))
            .arg("--quiet")
            .args(arguments)
            // `apt-get download` writes to the working directory.
            .current_dir(self.archives())
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("LC_ALL", "C");
        let output = run(&mut command)?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }
}

/// Returns the settings, which apt reads after those in `/etc/apt`: the system's proxies still apply.
fn configuration(folder: &Path, own_sources: bool, architecture: Option<&str>) -> String {
    let folder = folder.display();
    let sources = if own_sources {
        // Preferences of the system may forbid what our own sources offer.
        format!(
            "Dir::Etc::sourcelist \"{folder}/sources.list\";\nDir::Etc::sourceparts \"/dev/null\";\n\
             Dir::Etc::preferences \"/dev/null\";\nDir::Etc::preferencesparts \"/dev/null\";\n"
        )
    } else {
        String::new()
    };
    let architecture = architecture.map_or(String::new(), |name| {
        format!("APT::Architecture \"{name}\";\nAPT::Architectures \"{name}\";\n")
    });
    format!(
        "Dir::State \"{folder}/state\";\nDir::State::status \"{folder}/status\";\nDir::Cache \"{folder}/cache\";\n\
         Dir::Log \"{folder}/log\";\n{sources}{architecture}\
         // apt run by root would switch to a user without access to target/.\n\
         APT::Sandbox::User \"root\";\n\
         APT::Install-Recommends \"false\";\nAPT::Install-Suggests \"false\";\n\
         Acquire::Languages \"none\";\nAcquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
         Acquire::Retries \"2\";\nAcquire::http::Timeout \"20\";\nAcquire::https::Timeout \"20\";\n\
         // Hooks of the system are not for a private state.\n\
         #clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n\
         #clear APT::Update::Post-Invoke-Success;\n#clear DPkg::Post-Invoke;\n#clear DPkg::Pre-Install-Pkgs;\n"
    )
}
