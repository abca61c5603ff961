//! The archive that a kernel unpacks into its first file system: cpio in the format "newc".
//!
//! Written here because `cpio` needs root for device files and takes times from the clock.
//! Source: docs.kernel.org/driver-api/early-userspace/buffer-format.html

use std::io::{self, Write};

const DIRECTORY: u32 = 0o040_755;
const LINK: u32 = 0o120_777;

/// An archive being written; every file belongs to root and has time 0.
#[derive(Debug)]
pub struct Archive<W> {
    to: W,
    inode: u32,
    written: usize,
}

impl<W: Write> Archive<W> {
    pub fn new(to: W) -> Self {
        Self { to, inode: 0, written: 0 }
    }

    /// Directories come before what is in them.
    ///
    /// # Errors
    /// The writer's.
    pub fn folder(&mut self, name: &str) -> io::Result<()> {
        self.entry(name, DIRECTORY, 0, &[])
    }

    /// # Errors
    /// The writer's.
    pub fn link(&mut self, name: &str, to: &str) -> io::Result<()> {
        self.entry(name, LINK, 0, to.as_bytes())
    }

    /// `mode`: such as `0o755`.
    ///
    /// # Errors
    /// The writer's.
    pub fn file(&mut self, name: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.entry(name, 0o100_000 | mode, 0, content)
    }

    /// Adds a character device.
    ///
    /// # Errors
    /// The writer's.
    pub fn device(&mut self, name: &str, major: u32, minor: u32) -> io::Result<()> {
        self.entry(name, 0o020_600, major << 8 | minor, &[])
    }

    /// # Errors
    /// The writer's.
    pub fn finish(mut self) -> io::Result<W> {
        self.inode = 0;
        self.entry("TRAILER!!!", 0, 0, &[])?;
        Ok(self.to)
    }

    fn entry(&mut self, name: &str, mode: u32, device: u32, content: &[u8]) -> io::Result<()> {
        self.inode += 1;
        let size = |count: usize| u32::try_from(count).map_err(io::Error::other);
        let fields = [
            self.inode,
            mode,
            0,
            0,
            1,
            0,
            size(content.len())?,
            0,
            0,
            device >> 8,
            device & 0xff,
            size(name.len() + 1)?,
            0,
        ];
        let mut head = "070701".to_owned();
        for field in fields {
            head.push_str(&format!("{field:08x}"));
        }
        self.put(head.as_bytes())?;
        self.put(name.as_bytes())?;
        self.put(&[0])?;
        self.align()?;
        self.put(content)?;
        self.align()
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len();
        self.to.write_all(bytes)
    }

    fn align(&mut self) -> io::Result<()> {
        let padding = self.written.next_multiple_of(4) - self.written;
        self.put(&[0; 3][..padding])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_laid_out_as_the_kernel_reads_it() {
        let mut archive = Archive::new(Vec::new());
        archive.folder("bin").unwrap();
        archive.file("init", 0o755, b"hello").unwrap();
        archive.device("dev/console", 5, 1).unwrap();
        let bytes = archive.finish().unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(bytes.len() % 4, 0);
        assert!(text.starts_with("070701"));
        // Inode, mode, owner, group, links, time, size.
        assert!(text.contains("07070100000002000081ed0000000000000000000000010000000000000005"));
        assert!(text.contains("hello\x00\x00\x00070701"));
        assert!(text.contains("0000000500000001"));
        assert!(text.contains("TRAILER!!!"));
    }

    #[test]
    fn an_entry_is_a_header_of_110_characters_and_padded_to_four() {
        let mut archive = Archive::new(Vec::new());
        archive.file("a", 0o644, b"xyz").unwrap();
        let text = archive.finish().unwrap();
        assert!(text.starts_with(b"07070100000001000081a4"));
        // Header, name and NUL, two to the next four; then three bytes and one.
        assert_eq!(&text[110..112], b"a\0");
        assert_eq!(&text[112..116], b"xyz\0");
        assert_eq!(&text[116..122], b"070701");
        assert_eq!(text.len() % 4, 0);
    }
}
