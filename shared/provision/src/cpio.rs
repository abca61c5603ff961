//! The archive that a kernel unpacks into its first file system: cpio in the format "newc".
//!
//! Written here because `cpio` needs root for device files and takes times from the clock.
//! Source: docs.kernel.org/driver-api/early-userspace/buffer-format.html

use std::collections::BTreeSet;

const DIRECTORY: u32 = 0o040_755;
const LINK: u32 = 0o120_777;
const FILE: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// An archive in memory; every file belongs to root and has time 0.
///
/// The directories of an entry are added before it, and a name that was added before is left as it is.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    names: BTreeSet<String>,
}

impl Archive {
    pub fn folder(&mut self, name: &str) {
        self.entry(name, DIRECTORY, (0, 0), &[]);
    }

    pub fn link(&mut self, name: &str, to: &str) {
        self.entry(name, LINK, (0, 0), to.as_bytes());
    }

    /// `mode`: such as `0o755`.
    pub fn file(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entry(name, FILE | mode, (0, 0), content);
    }

    /// Adds a character device.
    pub fn device(&mut self, name: &str, major: u32, minor: u32) {
        self.entry(name, CHARACTER_DEVICE, (major, minor), &[]);
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.write("TRAILER!!!", 1, 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        if self.names.contains(name) {
            return;
        }
        if let Some((folder, _)) = name.rsplit_once('/') {
            self.folder(folder);
        }
        self.names.insert(name.to_owned());
        self.write(name, self.names.len(), mode, device, content);
    }

    fn write(&mut self, name: &str, inode: usize, mode: u32, (major, minor): (u32, u32), content: &[u8]) {
        let (bytes, name_bytes) = (content.len(), name.len() + 1);
        // Inode, mode, owner, group, links, time, size, device, device of a device file, length of the name, checksum.
        let head = format!(
            "070701{inode:08x}{mode:08x}{0:08x}{0:08x}{1:08x}{0:08x}{bytes:08x}{0:08x}{0:08x}{major:08x}{minor:08x}{name_bytes:08x}{0:08x}",
            0, 1
        );
        self.bytes.extend([head.as_bytes(), name.as_bytes(), b"\0"].concat());
        self.align();
        self.bytes.extend(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_laid_out_as_the_kernel_reads_it() {
        let mut archive = Archive::default();
        archive.file("a", 0o644, b"xyz");
        archive.folder("bin");
        archive.file("init", 0o755, b"hello");
        archive.device("dev/console", 5, 1);
        let bytes = archive.finish();
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(bytes.len() % 4, 0);
        assert!(text.starts_with("07070100000001000081a4"));
        // Header, name and NUL, two to the next four; then three bytes and one.
        assert_eq!(&bytes[110..122], b"a\0xyz\x00070701");
        // Inode, mode, owner, group, links, time, size.
        assert!(text.contains("07070100000003000081ed0000000000000000000000010000000000000005"));
        assert!(text.contains("hello\x00\x00\x00070701"));
        assert!(text.contains("0000000500000001"));
        assert!(text.contains("TRAILER!!!"));
    }

    #[test]
    fn a_folder_is_added_once_and_before_its_files() {
        let mut archive = Archive::default();
        for file in ["lib/x/a", "lib/x/b", "lib/x/b"] {
            archive.file(file, 0o644, b"");
        }
        let bytes = archive.finish();
        let text = String::from_utf8_lossy(&bytes);
        let at = |name: &str| text.match_indices(name).map(|(at, _)| at).collect::<Vec<_>>();
        let [folder, inner, a, b] = ["lib\0", "lib/x\0", "lib/x/a\0", "lib/x/b\0"].map(at);
        assert_eq!((folder.len(), inner.len(), b.len()), (1, 1, 1));
        assert!(folder[0] < inner[0] && inner[0] < a[0]);
    }
}
