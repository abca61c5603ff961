//! A tar archive with the objects of one batch, which is made durable by one fsync. Any file manager opens it.
//!
//! An archive is written once. To delete a member, its bytes are made a hole, which gives the room back to the file
//! system, and its name in the archive becomes `deleted/…`.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use tar::{EntryType, Header};

use crate::objects::NewObject;

/// Headers and bytes begin at multiples of this, bytes.
const BLOCK: u64 = 512;
const BLOCK_BYTES: usize = 512;
const DELETED: &str = "deleted";

/// A member of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    /// The place of its bytes in the archive.
    pub(super) offset: u64,
    /// Bytes.
    pub(super) len: u64,
    /// When it was stored.
    pub(super) modified: SystemTime,
    pub(super) deleted: bool,
}

impl Member {
    /// Returns where the header of the next member is.
    fn end(&self) -> u64 {
        self.offset + self.len.next_multiple_of(BLOCK)
    }
}

/// Writes a new archive and fsyncs it. Returns the offset of each object's bytes. What could not be written completely
/// is removed.
pub(super) fn create(path: &Path, objects: &[NewObject]) -> io::Result<Vec<u64>> {
    let file = File::create_new(path)?;
    write(file, objects).inspect_err(|_| drop(std::fs::remove_file(path)))
}

fn write(mut file: File, objects: &[NewObject]) -> io::Result<Vec<u64>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut offsets = Vec::with_capacity(objects.len());
    let mut end = 0;
    // What stands between the bytes of two objects: the padding of one and the header of the next.
    let mut between = Vec::with_capacity(3 * BLOCK_BYTES);
    for object in objects {
        let mut header = Header::new_ustar();
        header.set_path(&object.name)?;
        header.set_size(object.bytes.len() as u64);
        header.set_mode(0o444);
        header.set_mtime(now);
        header.set_entry_type(EntryType::Regular);
        header.set_cksum();
        between.extend_from_slice(header.as_bytes());
        file.write_all(&between)?;
        file.write_all(&object.bytes)?;
        offsets.push(end + BLOCK);
        let len = object.bytes.len().next_multiple_of(BLOCK_BYTES);
        end += BLOCK + len as u64;
        between.clear();
        between.resize(len - object.bytes.len(), 0);
    }
    // Two empty blocks end an archive.
    between.resize(between.len() + 2 * BLOCK_BYTES, 0);
    file.write_all(&between)?;
    file.sync_all()?;
    Ok(offsets)
}

/// Returns the member whose bytes begin at `offset`; nothing if there is none.
pub(super) fn member(file: &File, offset: u64) -> io::Result<Option<Member>> {
    let Some(at) = offset.checked_sub(BLOCK) else {
        return Ok(None);
    };
    let mut header = Header::new_ustar();
    match file.read_exact_at(header.as_mut_bytes(), at) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let is_header = header.cksum().is_ok_and(|sum| {
        let mut copy = header.clone();
        copy.set_cksum();
        copy.cksum().is_ok_and(|right| right == sum)
    });
    if !is_header || header.as_ustar().is_none() {
        return Ok(None);
    }
    Ok(Some(Member {
        offset,
        len: header.size()?,
        modified: UNIX_EPOCH + Duration::from_secs(header.mtime()?),
        deleted: header.path()?.starts_with(DELETED),
    }))
}

/// Returns all members, up to the first that is not there completely.
pub(super) fn members(file: &File) -> io::Result<Vec<Member>> {
    let len = file.metadata()?.len();
    let mut members = Vec::new();
    let mut at = 0;
    while let Some(member) = member(file, at + BLOCK)? {
        if member.end() > len {
            break;
        }
        at = member.end();
        members.push(member);
    }
    Ok(members)
}

/// Deletes a member; one that is not there is no error. Interrupted, it can be repeated.
pub(super) fn delete(file: &File, offset: u64) -> io::Result<()> {
    let Some(member) = member(file, offset)?.filter(|member| !member.deleted) else {
        return Ok(());
    };
    if member.len > 0 {
        let signed = |number: u64| i64::try_from(number).map_err(io::Error::other);
        let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        match fallocate(file, hole, signed(offset)?, signed(member.len)?) {
            // A file system without holes keeps the room until the whole archive is deleted.
            Ok(()) | Err(Errno::EOPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut header = Header::new_ustar();
    let at = offset - BLOCK;
    file.read_exact_at(header.as_mut_bytes(), at)?;
    header.set_path(format!("{DELETED}/{offset}"))?;
    header.set_cksum();
    file.write_all_at(header.as_bytes(), at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects() -> Vec<NewObject> {
        let object = |(name, len): (&str, usize)| NewObject {
            name: format!("porch/{name}"),
            bytes: vec![name.as_bytes()[0]; len].into(),
        };
        [("1.jpg", 100_000), ("2.jpg", 512), ("3.jpg", 1)].map(object).into()
    }

    fn open(path: &Path) -> File {
        File::options().read(true).write(true).open(path).unwrap()
    }

    #[test]
    fn tar_reads_what_is_stored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        let offsets = create(&path, &objects()).unwrap();
        let status = std::process::Command::new("tar")
            .arg("-xf")
            .arg(&path)
            .arg("-C")
            .arg(folder.path())
            .status();
        assert!(status.unwrap().success());
        let file = open(&path);
        for (object, offset) in objects().iter().zip(&offsets) {
            assert_eq!(std::fs::read(folder.path().join(&object.name)).unwrap(), object.bytes);
            let mut bytes = vec![0; object.bytes.len()];
            file.read_exact_at(&mut bytes, *offset).unwrap();
            assert_eq!(bytes, object.bytes);
        }
        let found: Vec<_> = members(&file).unwrap().iter().map(|member| (member.offset, member.len)).collect();
        assert_eq!(found, [(offsets[0], 100_000), (offsets[1], 512), (offsets[2], 1)]);
    }

    #[test]
    fn a_deleted_member_gives_its_room_back_and_leaves_the_others() {
        use std::os::unix::fs::MetadataExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        let offsets = create(&path, &objects()).unwrap();
        let before = std::fs::metadata(&path).unwrap();
        let file = open(&path);
        for _ in 0..2 {
            delete(&file, offsets[0]).unwrap();
        }
        let after = std::fs::metadata(&path).unwrap();
        assert_eq!(after.len(), before.len());
        assert!(
            after.blocks() * 512 + 90_000 < before.blocks() * 512,
            "{} {}",
            after.blocks(),
            before.blocks()
        );
        let deleted: Vec<bool> = members(&file).unwrap().iter().map(|member| member.deleted).collect();
        assert_eq!(deleted, [true, false, false]);
        let mut bytes = [0; 512];
        file.read_exact_at(&mut bytes, offsets[1]).unwrap();
        assert_eq!(bytes, [b'2'; 512]);
        let listed = std::process::Command::new("tar").arg("-tf").arg(&path).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&listed.stdout), "deleted/512\nporch/2.jpg\nporch/3.jpg\n");
    }

    #[test]
    fn an_archive_that_was_cut_off_has_the_members_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        let offsets = create(&path, &objects()).unwrap();
        let file = open(&path);
        for (len, expected) in [(offsets[2], 2), (offsets[1] + 100, 1), (offsets[0] - 1, 0), (0, 0)] {
            file.set_len(len).unwrap();
            assert_eq!(members(&file).unwrap().len(), expected, "{len}");
        }
        assert_eq!(member(&file, 0).unwrap(), None);
        assert_eq!(member(&file, 7).unwrap(), None);
    }
}
