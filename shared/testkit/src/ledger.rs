//! The final count: the confirmed captures against the rows of the database.

use std::collections::{BTreeMap, BTreeSet};

use keepsake_protocol::{Hash, SpoolId};

use crate::appliance::CaptureKey;
use crate::photos;
use crate::store_probe::StoreProbe;

/// The result of a successful audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audit {
    pub stored: u64,
    pub tombstones: u64,
    pub conflicts: u64,
    pub bytes: u64,
}

/// Checks every row against the events of the cameras and against the photographs, and fails the test if
/// - a confirmed capture is not stored with exactly its hash (P1, P2),
/// - the bytes of a row do not have its hash, or are not one of the photographs,
/// - a capture is stored twice (P3),
/// - a number between the first and the highest of a spool has no fate.
///
/// `confirmed`: every capture that an event called saved. `photos`: every photograph the cameras could take.
pub fn audit(store: &StoreProbe, confirmed: &[CaptureKey], photos: &[Vec<u8>]) -> Audit {
    let originals: BTreeSet<Hash> = photos.iter().map(|photo| Hash::of(&photos::without_comments(photo))).collect();
    let mut found = Audit { stored: 0, tombstones: 0, conflicts: 0, bytes: 0 };
    let mut stored: BTreeSet<CaptureKey> = BTreeSet::new();
    let mut unmarked: BTreeMap<(SpoolId, u64), u32> = BTreeMap::new();
    let mut numbers: BTreeMap<SpoolId, BTreeSet<u64>> = BTreeMap::new();
    store
        .for_each_picture(|picture| {
            let name = CaptureKey {
                spool: picture.spool,
                sequence: picture.sequence,
                hash: picture.hash.prefix(),
            };
            assert_eq!(Hash::of(&picture.bytes), picture.hash, "the bytes of {name:?}");
            assert!(
                originals.contains(&Hash::of(&photos::without_comments(&picture.bytes))),
                "{name:?} is none of the photographs"
            );
            assert!(stored.insert(name), "{name:?} is stored twice (P3)");
            if picture.conflict {
                found.conflicts += 1;
            } else {
                *unmarked.entry((name.spool, name.sequence)).or_default() += 1;
            }
            found.stored += 1;
            found.bytes += picture.bytes.len() as u64;
            numbers.entry(name.spool).or_default().insert(name.sequence);
        })
        .expect("read every picture");

    let twice: Vec<_> = unmarked.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "two pictures of one number, neither marked: {twice:?}");
    let lost: Vec<_> = confirmed.iter().filter(|name| !stored.contains(name)).collect();
    assert!(
        lost.is_empty(),
        "{} of {} confirmed captures are not in the cloud (P1, P2): {lost:#?}",
        lost.len(),
        confirmed.len()
    );
    for tombstone in store.tombstones().expect("read every tombstone") {
        found.tombstones += 1;
        let numbers = numbers.entry(tombstone.spool).or_default();
        numbers.extend(tombstone.first..=tombstone.last);
    }
    for (spool, numbers) in &numbers {
        let last = *numbers.last().expect("a spool with a number");
        let gaps: Vec<u64> = (1..=last).filter(|number| !numbers.contains(number)).collect();
        assert!(gaps.is_empty(), "{spool}: no fate of {gaps:?} below {last}");
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store_probe::StoreAddress;
    use crate::store_probe::tests::{ScratchStore, caught, with_one_picture};
    use keepsake_provision::temp_dir::TempDir;

    /// Returns the result of an audit of a database with the first photograph as number 1, changed by `change`.
    fn after(confirmed: &[CaptureKey], change: impl FnOnce(&ScratchStore, CaptureKey)) -> Result<Audit, String> {
        let folder = TempDir::new("audit");
        let named = with_one_picture(&folder);
        change(&ScratchStore::open(&folder), named);
        let store = StoreProbe::open(&StoreAddress::sqlite(&folder)).unwrap();
        let confirmed = [&[named], confirmed].concat();
        caught(|| audit(&store, &confirmed, &photos::all(&photos::folder())))
    }

    #[test]
    fn an_audit_finds_every_way_to_break_a_promise() {
        assert_eq!(after(&[], |_, _| {}).map(|found| found.stored), Ok(1));
        let lost = CaptureKey {
            spool: SpoolId([7; 16]),
            sequence: 2,
            hash: Hash([1; 32]).prefix(),
        };
        assert!(after(&[lost], |_, _| {}).unwrap_err().contains("not in the cloud"));

        let photos = photos::all(&photos::folder());
        for (number, bytes, finding) in [
            (1, &photos[1][..], "neither marked"),
            (3, &photos[1], "no fate of [2]"),
            (2, b"x", "none of the photographs"),
        ] {
            let found = after(&[], |database, named| {
                database.add(&CaptureKey { sequence: number, ..named }, 2, bytes);
            });
            assert!(found.unwrap_err().contains(finding), "{finding}");
        }
        let changed = after(&[], |database, _| {
            let changed = database.execute(sqlx::query("UPDATE picture_bytes SET bytes = X'00'"));
            assert_eq!(changed, 1);
        });
        assert!(changed.unwrap_err().contains("the bytes of"));
    }
}
