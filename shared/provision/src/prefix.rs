//! Programs from Debian packages that run without being installed.
//!
//! [`crate::apt`] fetches the packages with all dependencies down to the C library, or a chosen part of them (a kernel
//! needs none of the tools that install it). They are unpacked into a prefix below `target/fetched` and run from there.
//! Needs no root and leaves the system as it is.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use fs_err as fs;

use crate::apt::{Apt, debian_source};
use crate::host::find_program;
use crate::process::run;
use crate::temp_dir::files;
use crate::workspace;

const DEBIAN_ARCHIVE: &str = "http://deb.debian.org/debian";

/// The origin of packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The lists of this system.
    System,
    /// This suite of Debian's archive and no other, for instance `unstable`.
    Suite(&'static str),
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Suite(suite) => suite,
        }
    }
}

/// A directory with unpacked packages.
#[derive(Debug, Clone)]
pub struct Prefix(PathBuf);

impl Prefix {
    /// Fetches these packages and everything they depend on, unless an earlier call did. `name` identifies the result:
    /// other packages need another name.
    ///
    /// Concurrent calls wait for one another, also between processes. The first takes a few seconds.
    ///
    /// # Errors
    /// There is no apt here, or apt failed.
    pub fn fetch(name: &str, packages: &[&str], source: Source) -> Result<Self> {
        Self::fetch_into(&workspace::cache()?, name, source, |apt| apt.download_with_dependencies(packages))
    }

    /// Fetches only the dependencies of `package` whose names match, for a package that merely names the newest
    /// version; otherwise like [`Prefix::fetch`].
    ///
    /// # Errors
    /// There is no apt here, apt failed, or no name matches.
    pub fn fetch_matching(name: &str, package: &str, matches: fn(&str) -> bool, source: Source) -> Result<Self> {
        Self::fetch_into(&workspace::cache()?, name, source, |apt| {
            let all = apt.dependencies(package)?;
            let names: Vec<&str> = all.iter().map(String::as_str).filter(|name| matches(name)).collect();
            ensure!(!names.is_empty(), "{package} depends on none of the packages that are needed");
            apt.download(&names)
        })
    }

    fn fetch_into(cache: &Path, name: &str, source: Source, download: impl FnOnce(&Apt) -> Result<()>) -> Result<Self> {
        let name = format!("{name}-{}", source.name());
        let folder = cache.join(&name);
        let _lock = workspace::lock(cache, &name)?;

        let prefix = folder.join("prefix");
        if !prefix.is_dir() {
            for program in ["dpkg-deb", "ldconfig"] {
                ensure!(find_program(program).is_some(), "there is no {program} on this system");
            }
            // The rest of an interrupted attempt is worthless; only a complete prefix has this name.
            let _ = fs::remove_dir_all(&folder);
            let unpacked = folder.join("unpacked");
            let sources = match source {
                Source::System => None,
                Source::Suite(suite) => Some(debian_source(DEBIAN_ARCHIVE, suite, "main")),
            };
            let apt = Apt::update(&folder.join("apt"), sources.as_deref(), None)?;
            download(&apt)?;
            let names = unpack(&apt.archives(), &unpacked)?;
            link_libraries(&library_folders(&unpacked))?;
            let list = folder.join("packages");
            fs::write(&list, names)?;
            fs::rename(&unpacked, &prefix)?;
            let _ = fs::remove_dir_all(folder.join("apt"));
        }
        Ok(Self(prefix))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the file names of its packages with their versions, one a line: suites move, so tests print what they
    /// ran.
    pub fn packages(&self) -> String {
        fs::read_to_string(self.0.with_file_name("packages")).unwrap_or_default()
    }

    /// Returns a command that runs `program`, a path such as `usr/sbin/mosquitto`, with the loader and the libraries of
    /// the prefix: those of the system may be too old for it.
    ///
    /// # Errors
    /// There is no such program, or no loader for it.
    pub fn command(&self, program: &str) -> Result<Command> {
        let program = self.0.join(program);
        ensure!(program.is_file(), "{} was not in the packages", program.display());
        let folders = library_folders(&self.0);
        // The links to the loader in `lib64` are absolute and would lead out of the prefix.
        let inside = folders.iter().flat_map(|folder| loaders_in(folder));
        let outside = ["/lib64", "/lib"].map(Path::new);
        let loader = inside
            .chain(outside.into_iter().flat_map(loaders_in))
            .find(|loader| loader.is_file())
            .context("no program loader is known for this processor")?;
        let mut command = Command::new(loader);
        command
            .arg("--library-path")
            .arg(std::env::join_paths(&folders).context("a library folder has a colon in its name")?)
            .arg(program);
        Ok(command)
    }
}

/// Returns `usr/lib/x86_64-linux-gnu` and the like with systemd's directory in it; also without `usr`, as in Debian
/// before 13.
fn library_folders(prefix: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = ["usr/lib", "lib"]
        .into_iter()
        .filter_map(|parent| fs::read_dir(prefix.join(parent)).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .filter(|path| path.is_dir() && path.to_string_lossy().contains("-linux-gnu"))
        .collect();
    let private: Vec<PathBuf> = found.iter().map(|folder| folder.join("systemd")).collect();
    found.extend(private.into_iter().filter(|folder| folder.is_dir()));
    found.sort();
    found
}

fn loaders_in(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let name = match std::env::consts::ARCH {
        "x86_64" => Some("ld-linux-x86-64.so.2"),
        "aarch64" => Some("ld-linux-aarch64.so.1"),
        "arm" => Some("ld-linux-armhf.so.3"),
        _ => None,
    };
    name.map(|name| folder.join(name)).into_iter()
}

/// Unpacks every package in `archives`; returns their names with their versions, one a line.
fn unpack(archives: &Path, to: &Path) -> Result<String> {
    let mut names = String::new();
    for archive in files(archives) {
        if archive.extension().is_some_and(|kind| kind == "deb") {
            run(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(to))?;
            names += &format!("{}\n", archive.file_stem().unwrap_or_default().to_string_lossy());
        }
    }
    ensure!(!names.is_empty(), "apt-get has fetched nothing");
    Ok(names)
}

/// Makes the links to libraries that their installation would have made.
fn link_libraries(folders: &[PathBuf]) -> Result<()> {
    if folders.is_empty() {
        return Ok(());
    }
    let ldconfig = find_program("ldconfig").context("there is no ldconfig on this system")?;
    // With -n it leaves the system's directories and its cache alone.
    run(Command::new(ldconfig).arg("-n").args(folders))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::temp_dir::TempDir;

    #[test]
    fn a_prefix_is_fetched_once() {
        let folder = TempDir::new("debian");
        let made = folder.join("ready-system/prefix/usr/sbin");
        fs::create_dir_all(&made).unwrap();
        fs::write(made.join("program"), "").unwrap();
        let found = Prefix::fetch_into(&folder, "ready", Source::System, |_| panic!("it is there")).unwrap();
        assert!(found.path().join("usr/sbin/program").is_file());
        assert!(found.command("usr/sbin/another").is_err());
    }

    #[test]
    fn the_loader_is_that_of_the_prefix_when_it_has_one() {
        let folder = TempDir::new("loader");
        fs::create_dir_all(folder.join("usr/sbin")).unwrap();
        fs::write(folder.join("usr/sbin/program"), "").unwrap();
        let own = folder.join("usr/lib/some-linux-gnu");
        fs::create_dir_all(&own).unwrap();
        let Some(loader) = loaders_in(&own).next() else {
            return;
        };
        let prefix = Prefix(folder.to_path_buf());
        let program = |command: Command| PathBuf::from(command.get_program());
        if let Ok(command) = prefix.command("usr/sbin/program") {
            assert!(!program(command).starts_with(&*folder));
        }
        fs::write(&loader, "").unwrap();
        let command = prefix.command("usr/sbin/program").unwrap();
        assert_eq!(
            command.get_args().collect::<Vec<_>>(),
            ["--library-path".as_ref(), own.as_os_str(), folder.join("usr/sbin/program").as_os_str()]
        );
        assert_eq!(program(command), loader);
    }
}
