//! Step four: writes the image to a card. Refuses every disk that is not certainly a card, and reads back what it
//! wrote.
//!
//! [`disk`] decides which disk may be written, by the kernel's information; this writes. The beginning of the image
//! with the partition table is written last: a card removed halfway does not boot.

pub mod disk;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use keepsake_provision::host::find_program;
use nix::libc::{O_DIRECT, O_EXCL};
use sha2::{Digest, Sha256};

use crate::host_tools;
use disk::Disk;

/// The size of one write, and the largest erase block of cards.
const CHUNK: usize = 4 << 20;
/// The alignment that disks require of buffers for direct I/O.
const ALIGNED_TO: usize = 4096;

/// The image to write, and its target.
pub struct WriteRequest<'a> {
    /// `.img`, `.img.zst` or `.img.xz`.
    pub image: &'a Path,
    pub to: &'a Path,
    /// True if `to` is a regular file, created if it is missing.
    pub is_file: bool,
    /// The serial number or the size in bytes of a disk that does not look like a card.
    pub allow_disk: Option<&'a str>,
}

/// Writes the image, reads it back, and returns its hash.
///
/// `confirm`: gets a description of what will be lost, and returns whether to go on; not called for a file, or for a
/// disk given by number.
///
/// # Errors
/// The disk is refused, before anything is written; writing fails; or the data read back differ.
pub fn write(request: &WriteRequest, confirm: impl FnOnce(&str) -> io::Result<bool>) -> Result<String> {
    let (bytes, hash) = measure(request.image)?;
    compare_with_sums(request.image, &hash)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    if request.is_file {
        let is_device = fs::metadata(request.to).is_ok_and(|found| found.file_type().is_block_device());
        ensure!(!is_device, "{} is a disk: leave out --to-file", request.to.display());
        options.create(true).truncate(true);
    } else {
        let disk = Disk::find(request.to)?;
        disk.check_writable(bytes, request.allow_disk)?;
        if request.allow_disk.is_none() {
            let question = format!("{disk}\nEverything on it will be lost.");
            ensure!(confirm(&question)?, "nothing was written");
        }
        // The kernel refuses a disk with a part in use.
        options.custom_flags(O_EXCL);
    }
    let mut to = options.open(request.to).with_context(|| format!("open {}", request.to.display()))?;
    let written = copy(request.image, &mut to).with_context(|| format!("write {}", request.to.display()))?;
    ensure!(written == hash, "{} has changed while it was written", request.image.display());
    drop(to);
    let read = read_back(request.to, bytes)?;
    ensure!(
        read == hash,
        "{} does not hold what was written to it: its hash is {read} instead of {hash}; use another card",
        request.to.display()
    );
    if !request.is_file
        && let Ok(mut reread) = host_tools::command("blockdev", 0)
    {
        // Makes the partitions visible at once; reinserting the card does so as well.
        let _ = reread.arg("--rereadpt").arg(request.to).stderr(Stdio::null()).status();
    }
    Ok(hash)
}

/// Returns size and SHA-256 of the uncompressed image.
fn measure(image: &Path) -> Result<(u64, String)> {
    let mut hash = Sha256::new();
    let mut bytes = 0;
    each_chunk(image, |chunk| {
        bytes += chunk.len() as u64;
        hash.update(chunk);
        Ok(())
    })?;
    ensure!(bytes > 0, "{} is empty", image.display());
    Ok((bytes, hex::encode(hash.finalize())))
}

/// Compares a downloaded image with its checksums, so that a damaged one is not written.
fn compare_with_sums(image: &Path, hash: &str) -> Result<()> {
    let Ok(sums) = fs::read_to_string(image.with_file_name("SHA256SUMS")) else {
        return Ok(());
    };
    let name = image.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = name.trim_end_matches(".zst").trim_end_matches(".xz");
    let expected = sums
        .lines()
        .filter_map(|line| line.split_once("  "))
        .find(|(_, of)| *of == name)
        .map(|(sum, _)| sum);
    if let Some(expected) = expected {
        ensure!(
            expected == hash,
            "{} does not match SHA256SUMS beside it; build or download it again",
            image.display()
        );
    }
    Ok(())
}

/// Returns the hash of what was written.
fn copy(image: &Path, to: &mut File) -> Result<String> {
    let mut hash = Sha256::new();
    let mut first: Option<Vec<u8>> = None;
    to.seek(SeekFrom::Start(CHUNK as u64))?;
    each_chunk(image, |chunk| {
        hash.update(chunk);
        if first.is_none() {
            first = Some(chunk.to_vec());
            return Ok(());
        }
        to.write_all(chunk)
    })?;
    to.sync_all()?;
    to.seek(SeekFrom::Start(0))?;
    to.write_all(&first.unwrap_or_default())?;
    to.sync_all()?;
    Ok(hex::encode(hash.finalize()))
}

/// Reads from the card itself and not from memory: past the cache if the disk supports it, otherwise after dropping
/// it.
fn read_back(from: &Path, bytes: u64) -> Result<String> {
    let attempt = |direct: bool| -> io::Result<String> {
        let mut file = OpenOptions::new().read(true).custom_flags(if direct { O_DIRECT } else { 0 }).open(from)?;
        if !direct {
            nix::fcntl::posix_fadvise(&file, 0, 0, nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
        }
        let mut memory = vec![0; CHUNK + ALIGNED_TO];
        let begin = memory.as_ptr().align_offset(ALIGNED_TO);
        let mut hash = Sha256::new();
        let mut left = bytes;
        while left > 0 {
            let chunk = &mut memory[begin..begin + CHUNK];
            let count = file.read(chunk)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let ours = count.min(usize::try_from(left).unwrap_or(usize::MAX));
            hash.update(&chunk[..ours]);
            left -= ours as u64;
        }
        Ok(hex::encode(hash.finalize()))
    };
    attempt(true)
        .or_else(|_| attempt(false))
        .with_context(|| format!("read back {}", from.display()))
}

/// Passes the uncompressed image on in pieces of [`CHUNK`], except for the last.
pub(crate) fn each_chunk(image: &Path, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> Result<()> {
    let mut source = Source::open(image)?;
    let mut chunk = Vec::with_capacity(CHUNK);
    loop {
        chunk.clear();
        let read = source.by_ref().take(CHUNK as u64).read_to_end(&mut chunk);
        if read.with_context(|| format!("read {}", image.display()))? > 0 {
            take(&chunk)?;
        }
        if chunk.len() < CHUNK {
            return source.finish(image);
        }
    }
}

enum Source {
    Plain(File),
    Unpacked(Child),
}

impl Source {
    fn open(image: &Path) -> Result<Self> {
        let file = File::open(image).with_context(|| format!("open {}", image.display()))?;
        let program = match image.extension().and_then(|kind| kind.to_str()) {
            Some("img") => return Ok(Self::Plain(file)),
            Some("zst") => "zstd",
            Some("xz") => "xz",
            _ => bail!("{} is no image: .img, .img.zst or .img.xz", image.display()),
        };
        let program = find_program(program).with_context(|| format!("{program} is missing on this computer"))?;
        let child = Command::new(program)
            .args(["--decompress", "--stdout", "--quiet"])
            .stdin(file)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("unpack {}", image.display()))?;
        Ok(Self::Unpacked(child))
    }

    /// A file that ends too early must not pass for a short image.
    fn finish(self, image: &Path) -> Result<()> {
        if let Self::Unpacked(mut child) = self {
            ensure!(child.wait()?.success(), "{} is damaged", image.display());
        }
        Ok(())
    }
}

impl Read for Source {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(to),
            Self::Unpacked(child) => child.stdout.as_mut().map_or(Ok(0), |from| from.read(to)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use keepsake_provision::process::run;
    use tempfile::TempDir;

    use super::*;

    /// Returns a directory with an image of ten megabytes without repetition, compressed, and its content; `None` after
    /// reporting that the test is skipped.
    fn image() -> Option<(TempDir, PathBuf, Vec<u8>)> {
        host_tools::available_or_skip().then_some(())?;
        let folder = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..2_500_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let plain = folder.path().join("card.img");
        fs::write(&plain, &content).unwrap();
        let mut zstd = host_tools::command("zstd", 0).unwrap();
        run(zstd.args(["--quiet", "--rm"]).arg(&plain)).unwrap();
        Some((folder, plain.with_extension("img.zst"), content))
    }

    fn to_file<'a>(image: &'a Path, to: &'a Path) -> WriteRequest<'a> {
        WriteRequest { image, to, is_file: true, allow_disk: None }
    }

    fn never(_: &str) -> io::Result<bool> {
        panic!("nothing is to be asked")
    }

    #[test]
    fn a_file_holds_the_image_as_it_is_unpacked() {
        let Some((folder, image, content)) = image() else {
            return;
        };
        let card = folder.path().join("to.img");
        let hash = write(&to_file(&image, &card), never).unwrap();
        assert!(fs::read(&card).unwrap() == content);
        assert_eq!(hash, crate::artifacts::sha256_of_file(&card).unwrap());
    }

    #[test]
    fn a_damaged_image_is_not_written() {
        let Some((folder, image, _)) = image() else { return };
        let card = folder.path().join("to.img");
        fs::write(folder.path().join("SHA256SUMS"), format!("{}  card.img\n", "0".repeat(64))).unwrap();
        let error = write(&to_file(&image, &card), never).unwrap_err().to_string();
        assert!(error.contains("SHA256SUMS"), "{error}");

        fs::remove_file(folder.path().join("SHA256SUMS")).unwrap();
        let packed = fs::read(&image).unwrap();
        fs::write(&image, &packed[..packed.len() / 2]).unwrap();
        let error = write(&to_file(&image, &card), never).unwrap_err().to_string();
        assert!(error.contains("damaged"), "{error}");
        assert!(!card.exists());
    }

    #[test]
    fn what_is_no_disk_is_refused_without_a_word_that_it_is_a_file() {
        let Some((folder, image, _)) = image() else { return };
        let file = folder.path().join("notes.txt");
        fs::write(&file, "dear diary").unwrap();
        let request = WriteRequest { is_file: false, ..to_file(&image, &file) };
        assert!(write(&request, never).unwrap_err().to_string().contains("--to-file"));
        assert_eq!(fs::read(&file).unwrap(), b"dear diary");
    }

    /// Uses a real block device, where one can be had: root, and a kernel with loop devices.
    #[test]
    fn a_disk_is_written_and_read_back_and_one_that_is_mounted_is_not() {
        let Some((folder, image, content)) = image() else {
            return;
        };
        let backing = folder.path().join("backing");
        File::create(&backing).unwrap().set_len(32 << 20).unwrap();
        let Some(disk) = Loop::attach(&backing) else {
            keepsake_provision::skip::not_run(
                "a card written to a disk",
                "there is no loop device here",
                "it needs root, losetup and a kernel with loop devices",
            );
            return;
        };
        let request = |allow_disk| WriteRequest { image: &image, to: &disk.0, is_file: false, allow_disk };

        // The kernel does not consider it a card.
        let refused = write(&request(None), never).unwrap_err().to_string();
        assert!(refused.contains("--allow-disk 33554432"), "{refused}");
        assert!(fs::read(&backing).unwrap().iter().all(|byte| *byte == 0));

        write(&request(Some("33554432")), never).unwrap();
        assert!(fs::read(&backing).unwrap()[..content.len()] == content);

        run(host_tools::command("mke2fs", 0).unwrap().args(["-q", "-F"]).arg(&disk.0)).unwrap();
        let at = folder.path().join("mounted");
        fs::create_dir(&at).unwrap();
        let mut mount = host_tools::command("mount", 0).unwrap();
        if run(mount.arg(&disk.0).arg(&at)).is_ok() {
            let refused = write(&request(Some("33554432")), never).unwrap_err().to_string();
            run(host_tools::command("umount", 0).unwrap().arg(&at)).unwrap();
            assert!(refused.contains("mounted"), "{refused}");
        }
    }

    struct Loop(PathBuf);

    impl Loop {
        fn attach(backing: &Path) -> Option<Self> {
            let mut losetup = host_tools::command("losetup", 0).ok()?;
            let output = run(losetup.args(["--find", "--show"]).arg(backing)).ok()?;
            Some(Self(PathBuf::from(String::from_utf8(output).ok()?.trim())))
        }
    }

    impl Drop for Loop {
        fn drop(&mut self) {
            if let Ok(mut losetup) = host_tools::command("losetup", 0) {
                let _ = run(losetup.arg("--detach").arg(&self.0));
            }
        }
    }
}
