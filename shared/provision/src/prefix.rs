//! Programs out of Debian packages, without installing them: apt with a state of its own fetches them with everything
//! they depend on, down to the C library, and they are unpacked into a prefix from which they run. Or only some of what
//! they depend on: a kernel wants no tools to install it.
//!
//! Needs no root and leaves the system as it is: the sources and their keys are read from `/etc/apt`, everything that is
//! written is below `target/engines`. apt checks signatures as it always does.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program::built_beside_this_test;

/// How long one call of apt may take, as `timeout` reads it: some 120 MB over a slow line.
const APT_WITHIN: &str = "300";
/// Where Debian keeps the key its own lists are signed with.
const DEBIAN_KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where packages come from.
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

/// Which packages.
#[derive(Debug, Clone, Copy)]
enum Wanted<'a> {
    /// These and all they depend on.
    Whole(&'a [&'a str]),
    /// Of all that the first depends on, those whose names pass.
    Some(&'a str, fn(&str) -> bool),
}

/// A folder with unpacked packages.
#[derive(Debug, Clone)]
pub struct Prefix(PathBuf);

impl Prefix {
    /// Fetches these packages and all they depend on, or finds that it was done before. `name` names the result: other
    /// packages need another name.
    ///
    /// Tests that ask at the same time wait for one another, also as processes. Takes a few seconds the first time.
    ///
    /// # Errors
    /// A sentence: there is no apt here, or what it said.
    pub fn fetch(name: &str, packages: &[&str], source: Source) -> Result<Self, String> {
        Self::fetch_into(&cache(), name, Wanted::Whole(packages), source)
    }

    /// As [`Prefix::fetch`], but of `package` and all it depends on only those whose names pass: a package that merely
    /// names the newest one leads to it.
    ///
    /// # Errors
    /// As [`Prefix::fetch`].
    pub fn fetch_some(
        name: &str,
        package: &str,
        wanted: fn(&str) -> bool,
        source: Source,
    ) -> Result<Self, String> {
        Self::fetch_into(&cache(), name, Wanted::Some(package, wanted), source)
    }

    fn fetch_into(
        cache: &Path,
        name: &str,
        wanted: Wanted<'_>,
        source: Source,
    ) -> Result<Self, String> {
        fs::create_dir_all(cache)
            .map_err(|error| format!("create {}: {error}", cache.display()))?;
        let cache = cache
            .canonicalize()
            .map_err(|error| format!("find {}: {error}", cache.display()))?;
        let folder = cache.join(format!("{name}-{}", source.name()));
        let lock = cache.join(format!("{name}-{}.lock", source.name()));
        let locked = File::create(&lock).and_then(|file| file.lock().map(|()| file));
        // Held to the end of this function; a process that is killed gives it back.
        let _locked = locked.map_err(|error| format!("lock {}: {error}", lock.display()))?;

        let prefix = folder.join("prefix");
        if !prefix.is_dir() {
            for tool in ["apt-get", "dpkg-deb", "ldconfig", "timeout"] {
                if find_program(tool).is_none() {
                    return Err(format!("there is no {tool} on this system"));
                }
            }
            // What an earlier attempt has left is in doubt; only a whole prefix bears its name.
            let _ = fs::remove_dir_all(&folder);
            let unpacked = folder.join("unpacked");
            let archives = download(&folder, wanted, source)?;
            unpack(&archives, &unpacked)?;
            link_libraries(&library_folders(&unpacked))?;
            note_versions(&archives, &folder.join("packages"))?;
            fs::rename(&unpacked, &prefix)
                .map_err(|error| format!("rename {}: {error}", unpacked.display()))?;
            let _ = fs::remove_dir_all(folder.join("apt"));
        }
        Ok(Self(prefix))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The file names of all packages in it, with their versions, one a line: a suite moves, so a test says what it ran.
    pub fn packages(&self) -> String {
        fs::read_to_string(self.0.with_file_name("packages")).unwrap_or_default()
    }

    /// A command that runs `program`, a path such as `usr/sbin/mosquitto`, with the loader and the libraries of the
    /// prefix: those of the system may be older than what the program was built with.
    ///
    /// # Errors
    /// A sentence: there is no such program, or no loader for it.
    pub fn command(&self, program: &str) -> Result<Command, String> {
        let program = self.0.join(program);
        if !program.is_file() {
            return Err(format!("{} was not in the packages", program.display()));
        }
        let folders = library_folders(&self.0);
        // The links to the loader in `lib64` and the like are absolute: inside a prefix they lead out of it.
        let inside = folders.iter().flat_map(|folder| loaders_in(folder));
        let outside = ["/lib64", "/lib"].map(Path::new);
        let loader = inside
            .chain(outside.into_iter().flat_map(loaders_in))
            .find(|loader| loader.is_file())
            .ok_or("no loader of programs for this processor is known")?;
        let mut command = Command::new(loader);
        command
            .arg("--library-path")
            .arg(std::env::join_paths(&folders).map_err(|error| error.to_string())?)
            .arg(program);
        Ok(command)
    }
}

/// What was fetched stays here, beside what was built.
fn cache() -> PathBuf {
    built_beside_this_test().join("../engines")
}

/// The file of a program of the system. Those of daemons are in folders that a user's `PATH` need not name.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let daemons = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(daemons)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// `usr/lib/x86_64-linux-gnu` and the like, and what is kept apart in them; also without `usr`, as in Debian before 13.
fn library_folders(prefix: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = ["usr/lib", "lib"]
        .into_iter()
        .filter_map(|parent| fs::read_dir(prefix.join(parent)).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .filter(|path| path.is_dir() && path.to_string_lossy().contains("-linux-gnu"))
        .collect();
    // systemd keeps what its programs share in a folder of its own.
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

/// Returns the package files, in `folder/apt`.
fn download(folder: &Path, wanted: Wanted<'_>, source: Source) -> Result<Vec<PathBuf>, String> {
    let apt = folder.join("apt");
    let write = |name: &str, text: &str| {
        let file = apt.join(name);
        fs::write(&file, text).map_err(|error| format!("write {}: {error}", file.display()))
    };
    for name in ["state/lists/partial", "cache/archives/partial", "log"] {
        let name = apt.join(name);
        fs::create_dir_all(&name).map_err(|error| format!("create {}: {error}", name.display()))?;
    }
    // Nothing is installed as far as this apt knows, so that it fetches all dependencies.
    write("status", "")?;
    write("apt.conf", &configuration(&apt, source))?;
    if let Source::Suite(suite) = source {
        let line =
            format!("deb [signed-by={DEBIAN_KEYS}] http://deb.debian.org/debian {suite} main\n");
        write("sources.list", &line)?;
    }
    apt_get(&apt, &["update"])?;
    match wanted {
        Wanted::Whole(packages) => {
            let install = ["install", "--yes", "--download-only"];
            apt_get(&apt, &[&install, packages].concat())?;
        }
        Wanted::Some(package, passes) => {
            let all = all_it_depends_on(&apt, package)?;
            let names: Vec<&str> = all
                .iter()
                .map(String::as_str)
                .filter(|n| passes(n))
                .collect();
            if names.is_empty() {
                return Err(format!("{package} leads to none of the packages wanted"));
            }
            apt_get(&apt, &[&["download"], names.as_slice()].concat())?;
        }
    }
    let mut archives = crate::folder::files(&apt.join("cache/archives"));
    archives.retain(|file| file.extension().is_some_and(|kind| kind == "deb"));
    Ok(archives)
}

/// Read after the files in `/etc/apt`, whose proxies and time-outs stay in force.
fn configuration(apt: &Path, source: Source) -> String {
    let apt = apt.display();
    let sources = match source {
        Source::System => String::new(),
        // Preferences of the system may forbid what was asked for here.
        Source::Suite(_) => format!(
            "Dir::Etc::sourcelist \"{apt}/sources.list\";\nDir::Etc::sourceparts \"/dev/null\";\n\
             Dir::Etc::preferences \"/dev/null\";\nDir::Etc::preferencesparts \"/dev/null\";\n"
        ),
    };
    format!(
        "Dir::State \"{apt}/state\";\nDir::State::status \"{apt}/status\";\nDir::Cache \"{apt}/cache\";\n\
         Dir::Log \"{apt}/log\";\n{sources}\
         // Root would become a user who may not write below target/.\n\
         APT::Sandbox::User \"root\";\n\
         APT::Install-Recommends \"false\";\nAPT::Install-Suggests \"false\";\n\
         Acquire::Languages \"none\";\nAcquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
         Acquire::Retries \"2\";\nAcquire::http::Timeout \"20\";\nAcquire::https::Timeout \"20\";\n\
         // What the system does after an update of its own is not for this one.\n\
         #clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n\
         #clear APT::Update::Post-Invoke-Success;\n#clear DPkg::Post-Invoke;\n"
    )
}

fn apt_get(apt: &Path, arguments: &[&str]) -> Result<(), String> {
    ask_apt("apt-get", apt, arguments).map(|_| ())
}

/// Runs a tool of apt with the state in `apt` and returns what it says.
fn ask_apt(tool: &str, apt: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("timeout");
    command
        .args(["--kill-after=5", APT_WITHIN, tool, "-c"])
        .arg(apt.join("apt.conf"))
        .arg("--quiet")
        .args(arguments)
        // `apt-get download` puts what it fetches here.
        .current_dir(apt.join("cache/archives"))
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C");
    run(&mut command, &format!("{tool} {}", arguments.join(" ")))
}

fn all_it_depends_on(apt: &Path, package: &str) -> Result<Vec<String>, String> {
    let depends = ["depends", "--recurse", "--important", package];
    let said = ask_apt("apt-cache", apt, &depends)?;
    // A package begins a line, and what is known of it follows further right; one that nobody has is in brackets.
    let begins = |line: &&str| line.starts_with(|c: char| c.is_ascii_alphanumeric());
    Ok(said.lines().filter(begins).map(str::to_owned).collect())
}

fn unpack(archives: &[PathBuf], to: &Path) -> Result<(), String> {
    if archives.is_empty() {
        return Err("apt-get has fetched nothing".to_owned());
    }
    for archive in archives {
        let mut command = Command::new("dpkg-deb");
        command.arg("--extract").arg(archive).arg(to);
        run(&mut command, &format!("unpack {}", archive.display()))?;
    }
    Ok(())
}

/// Some libraries are found by a name that only installing them would have made.
fn link_libraries(folders: &[PathBuf]) -> Result<(), String> {
    if folders.is_empty() {
        return Ok(());
    }
    let ldconfig = find_program("ldconfig").ok_or("there is no ldconfig on this system")?;
    let mut command = Command::new(ldconfig);
    // With -n it leaves the system's folders and its cache alone.
    command.arg("-n").args(folders);
    run(&mut command, "link the libraries").map(|_| ())
}

fn note_versions(archives: &[PathBuf], to: &Path) -> Result<(), String> {
    let names: Vec<String> = archives
        .iter()
        .filter_map(|archive| archive.file_stem())
        .map(|name| format!("{}\n", name.to_string_lossy()))
        .collect();
    fs::write(to, names.concat()).map_err(|error| format!("write {}: {error}", to.display()))
}

fn run(command: &mut Command, what: &str) -> Result<String, String> {
    let done = command
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|error| format!("{what}: {error}"))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let last: Vec<&str> = said.lines().rev().take(3).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    Err(format!("{what}: {}: {}", done.status, last.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Folder;

    #[test]
    fn what_was_fetched_is_not_fetched_again() {
        let folder = Folder::new("debian");
        let made = folder.join("ready-system/prefix/usr/sbin");
        fs::create_dir_all(&made).unwrap();
        fs::write(made.join("program"), "").unwrap();
        // No package has this name: had it been asked for, that would have been an error.
        let nothing = Wanted::Whole(&["keepsake-no-such-package"]);
        let found = Prefix::fetch_into(&folder, "ready", nothing, Source::System).unwrap();
        assert!(found.path().join("usr/sbin/program").is_file());
        assert!(found.command("usr/sbin/another").is_err());
    }

    #[test]
    fn the_loader_is_that_of_the_prefix_when_it_has_one() {
        let folder = Folder::new("loader");
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
            [
                "--library-path".as_ref(),
                own.as_os_str(),
                folder.join("usr/sbin/program").as_os_str()
            ]
        );
        assert_eq!(program(command), loader);
    }
}
