//! The layout of the card, and the names of its parts.
//!
//! Four partitions in an MBR table, which every Pi can boot from: `KEEPSAKE` (FAT, which any computer opens), two
//! system slots of which one is filled, and the data partition, which grows to the end of the card. An update can be
//! written into the empty slot while the camera works, and the data survive it.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Result, ensure};
use fs_err::File;

pub const SECTOR: u64 = 512;
const MIB: u64 = 1 << 20;

/// The disk id by which the system finds its partitions on any device (`PARTUUID=4b534b31-02`).
pub const DISK_ID: u32 = 0x4b53_4b31;
/// The label of the FAT partition, as users see it.
pub const BOOT_LABEL: &str = "KEEPSAKE";
/// The volume id, which Windows shows and nothing uses.
pub const BOOT_VOLUME_ID: &str = "4b534b31";
/// The UUID of the data partition: without meaning, but constant.
pub const DATA_UUID: &str = "4b534b31-6461-7461-8000-000000000001";

/// A partition. Numbers start at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    pub number: u8,
    /// The type in the partition table: 0x0c FAT32, 0x83 Linux.
    pub kind: u8,
    pub start_bytes: u64,
    pub bytes: u64,
}

/// Kernels, the Pi's firmware, settings and status, with room for the kernels of two systems.
pub const BOOT: Partition = Partition {
    number: 1,
    kind: 0x0c,
    start_bytes: 4 * MIB,
    bytes: 128 * MIB,
};
/// The system: a squashfs that is never written to.
pub const SYSTEM_A: Partition = Partition {
    number: 2,
    kind: 0x83,
    start_bytes: 132 * MIB,
    bytes: 192 * MIB,
};
/// The slot for the next system.
pub const SYSTEM_B: Partition = Partition {
    number: 3,
    kind: 0x83,
    start_bytes: 324 * MIB,
    bytes: 192 * MIB,
};
/// Pictures and identity. The last one, so that it can grow.
pub const DATA: Partition = Partition {
    number: 4,
    kind: 0x83,
    start_bytes: 516 * MIB,
    bytes: 64 * MIB,
};
pub const PARTITIONS: [Partition; 4] = [BOOT, SYSTEM_A, SYSTEM_B, DATA];

/// The size of the image, before it grows.
pub const IMAGE_BYTES: u64 = DATA.start_bytes + DATA.bytes;

impl Partition {
    /// Returns its PARTUUID.
    pub fn uuid(&self) -> String {
        format!("{DISK_ID:08x}-{:02x}", self.number)
    }
}

/// Returns the first sector of the card.
pub fn card_table() -> [u8; 512] {
    partition_table(DISK_ID, &PARTITIONS)
}

/// Returns the first sector of a disk with these partitions, four at most.
pub fn partition_table(disk_id: u32, partitions: &[Partition]) -> [u8; 512] {
    let mut sector = [0; 512];
    sector[440..444].copy_from_slice(&disk_id.to_le_bytes());
    for partition in partitions {
        let at = 446 + 16 * (usize::from(partition.number) - 1);
        let entry = &mut sector[at..at + 16];
        entry[0] = if partition.number == 1 { 0x80 } else { 0 };
        // Cylinders, heads and sectors cannot address today's cards; these values mean "use the LBA fields".
        entry[1..4].copy_from_slice(&[0xfe, 0xff, 0xff]);
        entry[4] = partition.kind;
        entry[5..8].copy_from_slice(&[0xfe, 0xff, 0xff]);
        entry[8..12].copy_from_slice(&sectors(partition.start_bytes).to_le_bytes());
        entry[12..16].copy_from_slice(&sectors(partition.bytes).to_le_bytes());
    }
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// Returns the partitions of a card or an image, `None` for an unused number.
///
/// # Errors
/// It cannot be read, or its first sector is not a partition table.
pub fn read(card: &mut (impl Read + Seek)) -> Result<[Option<Partition>; 4]> {
    let mut sector = [0; 512];
    card.seek(SeekFrom::Start(0))?;
    card.read_exact(&mut sector)?;
    ensure!(sector[510..] == [0x55, 0xaa], "it has no partition table");
    let mut found = [None; 4];
    for (number, found) in (1..).zip(&mut found) {
        let at = 446 + 16 * (usize::from(number) - 1);
        let entry = &sector[at..at + 16];
        let word = |at: usize| u64::from(u32::from_le_bytes(entry[at..at + 4].try_into().expect("four bytes")));
        if entry[4] != 0 {
            *found = Some(Partition {
                number,
                kind: entry[4],
                start_bytes: word(8) * SECTOR,
                bytes: word(12) * SECTOR,
            });
        }
    }
    Ok(found)
}

/// Makes an image of a partition table and these file systems.
///
/// # Errors
/// `image` exists, a file system does not fit, or copying fails.
pub fn assemble(image: &Path, bytes: u64, table: &[u8; 512], file_systems: &[(Partition, &Path)]) -> Result<()> {
    let mut image = File::create_new(image)?;
    image.set_len(bytes)?;
    image.write_all(table)?;
    for (partition, content) in file_systems {
        place(&mut image, *partition, &mut File::open(*content)?)?;
    }
    Ok(image.sync_all()?)
}

/// Copies a file system to its place in the image.
///
/// # Errors
/// It does not fit, or copying fails.
fn place(image: &mut (impl Write + Seek), partition: Partition, content: &mut (impl Read + Seek)) -> Result<()> {
    let bytes = content.seek(SeekFrom::End(0))?;
    ensure!(
        bytes <= partition.bytes,
        "partition {} has room for {} bytes, and {bytes} were to go there",
        partition.number,
        partition.bytes
    );
    content.seek(SeekFrom::Start(0))?;
    let mut at = partition.start_bytes;
    let mut chunk = vec![0; 1 << 20];
    loop {
        let count = content.read(&mut chunk)?;
        if count == 0 {
            return Ok(());
        }
        // Holes stay holes: most of a fresh file system is empty.
        if chunk[..count].iter().any(|byte| *byte != 0) {
            image.seek(SeekFrom::Start(at))?;
            image.write_all(&chunk[..count])?;
        }
        at += count as u64;
    }
}

fn sectors(bytes: u64) -> u32 {
    u32::try_from(bytes / SECTOR).expect("the layout is far below two terabytes")
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn the_partitions_follow_each_other_without_overlap_and_the_data_come_last() {
        for pair in PARTITIONS.windows(2) {
            assert_eq!(pair[0].start_bytes + pair[0].bytes, pair[1].start_bytes);
            assert_eq!(pair[1].number, pair[0].number + 1);
        }
        // Cards have erase blocks of at most 4 MiB.
        assert!(PARTITIONS.iter().all(|p| p.start_bytes % (4 * MIB) == 0));
        assert_eq!(SYSTEM_A.bytes, SYSTEM_B.bytes);
    }

    #[test]
    fn the_table_reads_back_as_it_was_meant() {
        let read = read(&mut Cursor::new(card_table())).unwrap();
        assert_eq!(read, PARTITIONS.map(Some));
        let mut none = Cursor::new([0; 512]);
        assert!(super::read(&mut none).is_err());
    }

    #[test]
    fn what_is_too_large_for_its_partition_is_refused() {
        let small = Partition { bytes: 4, start_bytes: 2, ..BOOT };
        let mut image = Cursor::new(vec![9; 8]);
        place(&mut image, small, &mut Cursor::new([1, 2, 3, 4])).unwrap();
        assert_eq!(image.get_ref()[..], [9, 9, 1, 2, 3, 4, 9, 9]);
        assert!(place(&mut image, small, &mut Cursor::new([0; 5])).is_err());
    }
}
