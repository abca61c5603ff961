//! The archive a kernel unpacks before anything else ("newc"), without needing root for device files or a clock for times.

use std::io::{self, Write};

const DIRECTORY: u32 = 0o040_755;
const LINK: u32 = 0o120_777;

pub(super) struct Archive<W> {
    to: W,
    inode: u32,
    written: usize,
}

impl<W: Write> Archive<W> {
    pub(super) fn new(to: W) -> Self {
        Self {
            to,
            inode: 0,
            written: 0,
        }
    }

    pub(super) fn folder(&mut self, name: &str) -> io::Result<()> {
        self.entry(name, DIRECTORY, 0, &[])
    }

    pub(super) fn link(&mut self, name: &str, to: &str) -> io::Result<()> {
        self.entry(name, LINK, 0, to.as_bytes())
    }

    /// `mode`: such as `0o755`.
    pub(super) fn file(&mut self, name: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.entry(name, 0o100_000 | mode, 0, content)
    }

    /// A character device.
    pub(super) fn device(&mut self, name: &str, major: u32, minor: u32) -> io::Result<()> {
        self.entry(name, 0o020_600, major << 8 | minor, &[])
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
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
}
