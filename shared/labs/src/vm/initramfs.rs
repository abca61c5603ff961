//! The files of the machine, as the kernel unpacks them into its memory: a cpio archive of the kind `newc`.
//!
//! Source: docs.kernel.org/driver-api/early-userspace/buffer-format.html

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// An archive being written.
#[derive(Debug, Default)]
pub(super) struct Initramfs {
    bytes: Vec<u8>,
    entries: u32,
    folders: BTreeSet<String>,
    files: BTreeSet<String>,
}

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;
const CONSOLE: u32 = 0o020_600;

impl Initramfs {
    pub(super) fn new() -> Self {
        let mut archive = Self::default();
        for folder in ["dev", "proc", "sys", "run", "tmp"] {
            archive.folder(folder);
        }
        // The first program writes here before anything is mounted.
        archive.entry("dev/console", CONSOLE, (5, 1), &[]);
        archive
    }

    /// `path`: without a slash before it.
    pub(super) fn file(&mut self, path: &str, bytes: &[u8]) {
        self.put(path, FILE, bytes);
    }

    /// Puts the program in `file` at `path`, and the loader and libraries it wants where it looks for them.
    pub(super) fn program(&mut self, path: &str, file: &Path) -> Result<(), String> {
        let bytes = read(file)?;
        self.put(path, PROGRAM, &bytes);
        for library in libraries(file)? {
            let bytes = read(Path::new(&library))?;
            self.put(library.trim_start_matches('/'), PROGRAM, &bytes);
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn put(&mut self, path: &str, mode: u32, bytes: &[u8]) {
        if !self.files.insert(path.to_owned()) {
            return;
        }
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.folder(folder);
        }
        self.entry(path, mode, (0, 0), bytes);
    }

    fn folder(&mut self, path: &str) {
        if self.folders.contains(path) {
            return;
        }
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folder(above);
        }
        self.folders.insert(path.to_owned());
        self.entry(path, FOLDER, (0, 0), &[]);
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), bytes: &[u8]) {
        self.entries += 1;
        let length = |n: usize| u32::try_from(n).expect("a file of a small machine");
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            length(bytes.len()),
            0,
            0,
            device.0,
            device.1,
            length(path.len() + 1),
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(bytes);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| format!("read {}: {error}", file.display()))
}

/// The loader and the libraries of a program, as the loader itself would find them.
fn libraries(program: &Path) -> Result<Vec<String>, String> {
    let done = Command::new("ldd")
        .arg(program)
        .env("LC_ALL", "C")
        .output()
        .map_err(|error| format!("run ldd: {error}"))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        return Err(format!("ldd {}: {}", program.display(), said.trim()));
    }
    Ok(paths_in(&String::from_utf8_lossy(&done.stdout)))
}

fn paths_in(said: &str) -> Vec<String> {
    said.lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_found_in_what_ldd_says() {
        let said = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        assert_eq!(
            paths_in(said),
            [
                "/lib/x86_64-linux-gnu/libc.so.6",
                "/lib64/ld-linux-x86-64.so.2"
            ]
        );
    }

    #[test]
    fn an_entry_is_a_header_of_110_characters_and_padded_to_four() {
        let mut archive = Initramfs::default();
        archive.file("a", b"xyz");
        let text = archive.finish();
        assert!(text.starts_with(b"07070100000001000081a4"));
        // Header, name and NUL, two to the next four; then three bytes and one.
        assert_eq!(&text[110..112], b"a\0");
        assert_eq!(&text[112..116], b"xyz\0");
        assert_eq!(&text[116..122], b"070701");
        assert_eq!(text.len() % 4, 0);
    }

    #[test]
    fn a_folder_stands_before_what_is_in_it_and_only_once() {
        let mut archive = Initramfs::default();
        archive.file("lib/x/a", b"");
        archive.file("lib/x/b", b"");
        archive.file("lib/x/b", b"");
        let text = archive.finish();
        let at = |name: &[u8]| {
            let hits = text.windows(name.len()).enumerate();
            hits.filter(|(_, window)| *window == name)
                .map(|(at, _)| at)
                .collect::<Vec<_>>()
        };
        assert_eq!(at(b"lib\0").len(), 1);
        assert_eq!(at(b"lib/x\0").len(), 1);
        assert_eq!(at(b"lib/x/b\0").len(), 1);
        assert!(at(b"lib\0")[0] < at(b"lib/x\0")[0] && at(b"lib/x\0")[0] < at(b"lib/x/a\0")[0]);
    }
}
