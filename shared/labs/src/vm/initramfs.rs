//! The files of the machine, in the archive that its kernel unpacks into memory.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use keepsake_provision::cpio::Archive;
use keepsake_provision::process::run;

/// The archive being written, with the directories its files need.
#[derive(Debug)]
pub(super) struct Initramfs {
    archive: Archive<Vec<u8>>,
    folders: BTreeSet<String>,
    files: BTreeSet<String>,
}

impl Initramfs {
    pub(super) fn new() -> Result<Self> {
        let mut new = Self {
            archive: Archive::new(Vec::new()),
            folders: BTreeSet::new(),
            files: BTreeSet::new(),
        };
        for folder in ["dev", "proc", "sys", "run", "tmp"] {
            new.folder(folder)?;
        }
        // The first program writes here before anything is mounted.
        new.archive.device("dev/console", 5, 1)?;
        Ok(new)
    }

    /// Adds a file. `path`: without a leading slash.
    pub(super) fn file(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.add(path, 0o644, bytes)
    }

    /// Adds the program in `file` at `path`, and the loader and libraries it needs where it looks for them.
    pub(super) fn program(&mut self, path: &str, file: &Path) -> Result<()> {
        self.add(path, 0o755, &read(file)?)?;
        for library in libraries(file)? {
            let bytes = read(Path::new(&library))?;
            self.add(library.trim_start_matches('/'), 0o755, &bytes)?;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Vec<u8>> {
        Ok(self.archive.finish()?)
    }

    fn add(&mut self, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        if !self.files.insert(path.to_owned()) {
            return Ok(());
        }
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.folder(folder)?;
        }
        Ok(self.archive.file(path, mode, bytes)?)
    }

    fn folder(&mut self, path: &str) -> Result<()> {
        if !self.folders.insert(path.to_owned()) {
            return Ok(());
        }
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.folder(parent)?;
        }
        Ok(self.archive.folder(path)?)
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("read {}", file.display()))
}

/// Returns the loader and the libraries of a program, as the loader itself would find them.
fn libraries(program: &Path) -> Result<Vec<String>> {
    let output = run(Command::new("ldd").arg(program).env("LC_ALL", "C"))?;
    Ok(library_paths(&String::from_utf8_lossy(&output)))
}

fn library_paths(ldd: &str) -> Vec<String> {
    ldd.lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_the_output_of_ldd() {
        let ldd = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        assert_eq!(library_paths(ldd), ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
    }

    #[test]
    fn a_folder_is_added_once_and_before_its_files() {
        let mut archive = Initramfs::new().unwrap();
        archive.file("lib/x/a", b"").unwrap();
        archive.file("lib/x/b", b"").unwrap();
        archive.file("lib/x/b", b"").unwrap();
        let text = archive.finish().unwrap();
        let at = |name: &[u8]| {
            let hits = text.windows(name.len()).enumerate();
            hits.filter(|(_, window)| *window == name).map(|(at, _)| at).collect::<Vec<_>>()
        };
        assert_eq!(at(b"lib\0").len(), 1);
        assert_eq!(at(b"lib/x\0").len(), 1);
        assert_eq!(at(b"lib/x/b\0").len(), 1);
        assert!(at(b"lib\0")[0] < at(b"lib/x\0")[0] && at(b"lib/x\0")[0] < at(b"lib/x/a\0")[0]);
    }
}
