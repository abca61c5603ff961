//! The spool against a real folder, opened again and again. Guards P1, P2 and "no number twice".

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keepsake_appliance::settings::WhenFull;
use keepsake_appliance::spool::{
    Key, Limits, NewCapture, NewTombstone, PendingCapture, Spool, SpoolChange, SpoolError,
};
use keepsake_protocol::capture::{Cause, ContentType};
use keepsake_protocol::clock::ClockReading;
use keepsake_protocol::event::{Event, Tombstone, TombstoneReason};
use keepsake_protocol::{BootId, Sequence};
use tempfile::TempDir;

const PRESSED: ClockReading = ClockReading {
    boot: BootId([3; 16]),
    boottime_us: 5,
    wall_us: 7,
    synchronised: false,
    error_us: 0,
};

fn limits() -> Limits {
    Limits {
        bytes_max: 1 << 30,
        reserve_bytes: 1 << 20,
        when_full: WhenFull::Refuse,
        keep_for: Duration::from_secs(3600),
        keep_bytes: 1 << 28,
    }
}

fn open(root: &Path) -> Spool {
    Spool::open(root, limits(), "this board", None).unwrap()
}

fn new_spool() -> (TempDir, Spool) {
    let root = TempDir::new().unwrap();
    let spool = open(root.path());
    (root, spool)
}

fn take(spool: &mut Spool, bytes: &[u8], cause: Cause) -> Result<(PendingCapture, Vec<SpoolChange>), SpoolError> {
    let new = NewCapture {
        bytes,
        content_type: ContentType::Jpeg,
        width: 4,
        height: 3,
        cause,
        command: None,
        pressed: PRESSED,
        captured_after_us: 1,
        settings_version: 0,
    };
    spool.append(&new).map(|appended| (appended.pending, appended.changes))
}

fn press(spool: &mut Spool, bytes: &[u8]) -> PendingCapture {
    take(spool, bytes, Cause::Button).unwrap().0
}

fn no_camera() -> NewTombstone {
    NewTombstone {
        reason: TombstoneReason::CameraNotFound,
        cause: Cause::Button,
        command: None,
        pressed: Some(PRESSED),
    }
}

fn tombstone(spool: &mut Spool, key: Key) -> Tombstone {
    let json = spool.read_tombstone(key).unwrap();
    let Ok(Event::Tombstone(tombstone)) = keepsake_protocol::codec::decode(&json) else {
        panic!("{json:?}")
    };
    tombstone
}

/// Returns the tombstone that took the place of the one other capture.
fn given_up(changes: &[SpoolChange]) -> PendingCapture {
    let [SpoolChange::Pending(instead)] = changes else {
        panic!("{changes:?}")
    };
    *instead
}

fn numbers(spool: &Spool) -> Vec<u64> {
    spool.pending().iter().map(|waiting| waiting.key.sequence.get()).collect()
}

fn frame_files(root: &Path, spool: &Spool) -> Vec<PathBuf> {
    let folder = root.join("frames").join(spool.spool_id().to_string());
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn damage_index(root: &Path, how: &str) {
    let index = root.join("index");
    let files = || {
        fs::read_dir(&index)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
    };
    match how {
        "deleted" => fs::remove_dir_all(&index).unwrap(),
        "truncated" => {
            for path in files() {
                let length = fs::metadata(&path).unwrap().len();
                fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length / 3).unwrap();
            }
        }
        "noise" => {
            for path in files() {
                let length = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
                let noise: Vec<u8> = (0..length).map(|at| ((at * 2_654_435_761) >> 7).to_le_bytes()[0]).collect();
                fs::write(&path, noise).unwrap();
            }
        }
        "a plain file" => {
            fs::remove_dir_all(&index).unwrap();
            fs::write(&index, "what is this").unwrap();
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_confirmed_capture_is_there_after_reopening_with_its_bytes() {
    let (root, mut spool) = new_spool();
    let waiting = press(&mut spool, b"picture one");
    let spool_id = spool.spool_id();
    drop(spool);
    let mut spool = open(root.path());
    assert_eq!(spool.spool_id(), spool_id);
    assert_eq!(spool.pending(), vec![waiting]);
    let (record, bytes) = spool.read(waiting.key, 8, 3).unwrap();
    assert_eq!((record.total, record.pressed, bytes.as_slice()), (11, PRESSED, &b"one"[..]));
    assert_eq!(press(&mut spool, b"two").key.sequence.get(), 2);
}

#[test]
fn only_a_receipt_with_the_right_hash_makes_removable() {
    let (root, mut spool) = new_spool();
    let waiting = press(&mut spool, b"picture");
    let other = keepsake_protocol::Hash::of(b"other").prefix();
    assert_eq!(spool.mark_received(waiting.id, other, Some(1)), None);
    assert_eq!(spool.mark_received(waiting.id, waiting.hash, Some(1)), Some((waiting.key, true)));
    assert_eq!(
        spool.mark_received(waiting.id, waiting.hash, Some(1)),
        Some((waiting.key, false)),
        "a repeat removes nothing more"
    );
    assert!(spool.pending().is_empty());
    assert_eq!(frame_files(root.path(), &spool).len(), 1, "it stays while there is room");
    assert_eq!(spool.requeue(waiting.id), Some(waiting), "a restored cloud may ask for it");
    assert_eq!(numbers(&spool), [1]);
}

#[test]
fn whatever_happens_to_the_index_nothing_is_lost_and_no_number_comes_twice() {
    for drained in [false, true] {
        for how in ["deleted", "truncated", "noise", "a plain file"] {
            let (root, mut spool) = new_spool();
            let spool_id = spool.spool_id();
            for number in 0..20_u8 {
                let waiting = press(&mut spool, &[number; 100]);
                if drained {
                    spool.mark_received(waiting.id, waiting.hash, Some(1));
                }
            }
            spool.close();
            damage_index(root.path(), how);
            let mut spool = open(root.path());
            assert!(!spool.warnings().is_empty(), "{how}: someone must be told");
            assert_eq!(spool.spool_id(), spool_id, "{how}");
            // What is unknown is asked for, so all of it waits again; none is taken for received.
            let waits = if drained && how == "truncated" {
                numbers(&spool).len()
            } else {
                20
            };
            assert_eq!(numbers(&spool).len(), waits, "{how} {drained}");
            for waiting in spool.pending() {
                assert_eq!(spool.read(waiting.key, 0, 1).unwrap().0.id(), waiting.id);
            }
            assert_eq!(press(&mut spool, b"next").key.sequence.get(), 21, "{how}");
        }
    }
}

#[test]
fn a_drained_spool_keeps_counting_after_its_files_were_tidied_away() {
    let (root, mut spool) = new_spool();
    for number in 0..5_u8 {
        let waiting = press(&mut spool, &[number; 10]);
        spool.mark_received(waiting.id, waiting.hash, Some(1));
    }
    spool.tidy(Some(i64::MAX)).unwrap();
    assert_eq!(frame_files(root.path(), &spool).len(), 1, "the highest number stays");
    let spool_id = spool.spool_id();
    drop(spool);
    let mut spool = open(root.path());
    assert_eq!(spool.spool_id(), spool_id);
    assert_eq!(press(&mut spool, b"next").key.sequence.get(), 6);
}

#[test]
fn an_emptied_folder_or_other_hardware_begins_a_new_install() {
    let (root, mut spool) = new_spool();
    let first = spool.spool_id();
    press(&mut spool, b"one");
    drop(spool);

    let mut moved = Spool::open(root.path(), limits(), "another board", None).unwrap();
    let second = moved.spool_id();
    assert_ne!(second, first);
    assert_eq!(moved.pending()[0].id.spool, first, "what waits keeps its spool id");
    assert_eq!(press(&mut moved, b"two").key.sequence.get(), 1);
    let files = frame_files(root.path(), &moved);
    drop(moved);

    fs::remove_file(&files[0]).unwrap();
    let emptied = Spool::open(root.path(), limits(), "another board", None).unwrap();
    assert!(![first, second].contains(&emptied.spool_id()));
    assert_eq!(numbers(&emptied), [1], "the picture of the first spool id is still there");
}

#[test]
fn a_lost_identity_loses_no_picture() {
    let (root, mut spool) = new_spool();
    let waiting = press(&mut spool, b"one");
    drop(spool);
    for broken in [Some("{"), None] {
        let file = root.path().join("identity.json");
        match broken {
            Some(text) => fs::write(&file, text).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let spool = open(root.path());
        assert_ne!(spool.spool_id(), waiting.id.spool);
        assert!(!spool.warnings().is_empty());
        assert_eq!(spool.pending()[0].id, waiting.id);
    }
}

#[test]
fn a_second_process_is_told_so() {
    let root = TempDir::new().unwrap();
    let _first = open(root.path());
    let Err(SpoolError::InUse(path)) = Spool::open(root.path(), limits(), "this board", None) else {
        panic!()
    };
    assert_eq!(path, root.path());
}

#[test]
fn a_torn_file_is_set_aside_and_becomes_a_tombstone() {
    for torn_to in [0, 5, 40] {
        let (root, mut spool) = new_spool();
        press(&mut spool, b"whole");
        press(&mut spool, &[9; 50]);
        let files = frame_files(root.path(), &spool);
        drop(spool);
        fs::OpenOptions::new().write(true).open(&files[1]).unwrap().set_len(torn_to).unwrap();
        for _ in 0..2 {
            let mut spool = open(root.path());
            let waiting = spool.pending();
            assert_eq!(waiting.iter().map(|w| w.tombstone).collect::<Vec<_>>(), [false, true]);
            let json = spool.read_tombstone(waiting[1].key).unwrap();
            assert_eq!(keepsake_protocol::Hash::of(&json).prefix(), waiting[1].hash);
            let tombstone = tombstone(&mut spool, waiting[1].key);
            assert_eq!((tombstone.sequence.get(), tombstone.reason), (2, TombstoneReason::PowerLostWhileSaving));
            assert_eq!(spool.next().get(), 3, "its number is used");
            assert_eq!(fs::read_dir(root.path().join("torn")).unwrap().count(), 1);
        }
    }
}

#[test]
fn a_file_with_its_full_length_and_other_bytes_is_never_sent() {
    let (root, mut spool) = new_spool();
    let first = press(&mut spool, &[1; 500]);
    press(&mut spool, &[2; 500]);
    let files = frame_files(root.path(), &spool);
    drop(spool);
    for file in &files {
        let mut bytes = fs::read(file).unwrap();
        bytes[100] ^= 1;
        fs::write(file, bytes).unwrap();
    }
    let mut spool = open(root.path());
    assert!(spool.pending()[1].tombstone, "the newest one is read at the start");
    let Err(SpoolError::Damaged { change }) = spool.read(first.key, 0, 500) else {
        panic!()
    };
    let tombstone = tombstone(&mut spool, given_up(&[change]).key);
    assert_eq!((tombstone.sequence.get(), tombstone.reason), (1, TombstoneReason::CardDamaged));
}

#[test]
fn a_full_spool_gives_up_by_policy_and_refuses_rather_than_lose_a_press() {
    let root = TempDir::new().unwrap();
    let small = Limits { bytes_max: 10 * (1000 + 1024), ..limits() };
    let mut spool = Spool::open(root.path(), small, "this board", None).unwrap();
    let received = press(&mut spool, &[0; 1000]);
    spool.mark_received(received.id, received.hash, Some(1));
    take(&mut spool, &[1; 1000], Cause::Command).unwrap();
    take(&mut spool, &[2; 1000], Cause::Interval).unwrap();
    for number in 3..10 {
        press(&mut spool, &[number; 1000]);
    }
    // First what has a receipt, without a word.
    let (_, changes) = take(&mut spool, &[10; 1000], Cause::Button).unwrap();
    assert_eq!(changes, []);
    assert!(!numbers(&spool).contains(&1));
    // Then the interval's picture, and two of the command's bytes would do: each leaves a tombstone.
    let (_, changes) = take(&mut spool, &[11; 600], Cause::Button).unwrap();
    let interval = given_up(&changes);
    assert_eq!((interval.key.sequence.get(), interval.tombstone), (3, true));
    let (_, changes) = take(&mut spool, &[12; 600], Cause::Button).unwrap();
    let command = given_up(&changes);
    assert_eq!((command.key.sequence.get(), command.tombstone), (2, true));
    // Then it is full, and says so; a tombstone still finds its place.
    let next = spool.next();
    let waiting = spool.pending().len();
    assert!(matches!(take(&mut spool, &[13; 1000], Cause::Button), Err(SpoolError::Full { .. })));
    assert_eq!((spool.next(), spool.pending().len()), (next, waiting));
    let full = NewTombstone { reason: TombstoneReason::CardFull, ..no_camera() };
    assert_eq!(spool.append_tombstone(full).unwrap().0.key.sequence, next);
    // Room again after receipts.
    for waiting in spool.pending() {
        spool.mark_received(waiting.id, waiting.hash, Some(1));
    }
    take(&mut spool, &[14; 1000], Cause::Button).unwrap();
}

#[test]
fn many_tombstones_become_ranges_and_speak_for_every_number() {
    let (root, mut spool) = new_spool();
    press(&mut spool, b"one");
    for _ in 0..1005 {
        spool.append_tombstone(no_camera()).unwrap();
    }
    let check = |spool: &mut Spool| {
        let mut covered = Vec::new();
        for waiting in spool.pending() {
            if !waiting.tombstone {
                covered.push(waiting.key.sequence.get());
                continue;
            }
            let tombstone = tombstone(spool, waiting.key);
            covered.extend(tombstone.sequence.get()..=tombstone.last().get());
        }
        assert_eq!(covered, (1..=1006).collect::<Vec<_>>());
        assert!(spool.pending().len() < 100, "{}", spool.pending().len());
        assert_eq!(spool.next(), Sequence::try_from(1007).unwrap());
    };
    check(&mut spool);
    drop(spool);
    check(&mut open(root.path()));
}

#[test]
fn a_file_that_is_gone_is_counted_as_lost_and_told() {
    let (root, mut spool) = new_spool();
    press(&mut spool, b"one");
    press(&mut spool, b"two");
    // The row that says it was waiting.
    let waiting = spool.pending()[0];
    spool.record_attempts(waiting.key, 1);
    let files = frame_files(root.path(), &spool);
    spool.close();
    fs::remove_file(&files[0]).unwrap();
    let spool = open(root.path());
    assert_eq!(spool.queue().lost, 1);
    assert!(
        spool.warnings().iter().any(|warning| warning.contains("gone from the card")),
        "{:?}",
        spool.warnings()
    );
    let held = &spool.inventory()[0];
    assert_eq!(
        (held.next.get(), held.waiting.count()),
        (3, 1),
        "the page can tell that number 1 is missing"
    );
}

#[test]
fn a_receipt_without_a_date_ages_only_once_the_time_is_known() {
    let (root, mut spool) = new_spool();
    for number in 0..3_u8 {
        let waiting = press(&mut spool, &[number; 10]);
        spool.mark_received(waiting.id, waiting.hash, None);
    }
    let files = |spool: &Spool| frame_files(root.path(), spool).len();
    spool.tidy(None).unwrap();
    assert_eq!(files(&spool), 3, "no clock, no age");
    let an_hour_us = 3600 * 1_000_000;
    let now_us = 1_800_000_000_000_000;
    spool.tidy(Some(now_us)).unwrap();
    assert_eq!(files(&spool), 3, "the age begins when the time is known");
    spool.tidy(Some(now_us + an_hour_us)).unwrap();
    assert_eq!(files(&spool), 3);
    spool.tidy(Some(now_us + an_hour_us + 1)).unwrap();
    assert_eq!(files(&spool), 1, "all but the highest number");
}

#[test]
fn forgetting_the_cloud_offers_everything_again_and_removes_nothing() {
    let (root, mut spool) = new_spool();
    spool.pin_store(Some(keepsake_protocol::StoreId([1; 16]))).unwrap();
    for number in 0..5_u8 {
        let waiting = press(&mut spool, &[number; 1000]);
        spool.mark_received(waiting.id, waiting.hash, Some(1));
    }
    spool.close();
    let keep_all = Limits { keep_for: Duration::MAX, keep_bytes: u64::MAX, ..limits() };
    let mut spool = Spool::open(root.path(), keep_all, "this board", None).unwrap();
    assert_eq!(spool.unpair().unwrap(), 5);
    assert_eq!((spool.store(), numbers(&spool)), (None, vec![1, 2, 3, 4, 5]));
}

#[test]
fn a_newest_file_that_cannot_be_read_does_not_stop_the_camera() {
    let (root, mut spool) = new_spool();
    // Of the right length and unreadable, as a bad place on the card is: a folder cannot be read as a file.
    let length = fs::metadata(root.path()).unwrap().len();
    let trailer = 1024;
    press(&mut spool, b"one");
    press(&mut spool, &vec![2; usize::try_from(length.saturating_sub(trailer).max(1)).unwrap()]);
    let files = frame_files(root.path(), &spool);
    drop(spool);
    fs::remove_file(&files[1]).unwrap();
    fs::create_dir(&files[1]).unwrap();
    let spool = open(root.path());
    assert_eq!(spool.next().get(), 3, "its number is used");
    assert!(!spool.pending()[1].tombstone, "an error of the card gives nothing up");
    assert!(
        spool.warnings().iter().any(|warning| warning.contains("cannot be read")),
        "{:?}",
        spool.warnings()
    );
}

/// Returns the only file of `torn/`.
fn torn_file(root: &Path) -> PathBuf {
    let mut files = fs::read_dir(root.join("torn")).unwrap();
    let file = files.next().unwrap().unwrap().path();
    assert!(files.next().is_none());
    file
}

#[test]
fn a_whole_file_comes_back_from_torn_and_its_tombstone_goes() {
    let (root, mut spool) = new_spool();
    press(&mut spool, &[1; 500]);
    let second = press(&mut spool, &[2; 500]);
    let file = frame_files(root.path(), &spool).remove(1);
    drop(spool);
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..100]).unwrap();
    let spool = open(root.path());
    assert!(spool.pending()[1].tombstone);
    drop(spool);
    fs::write(torn_file(root.path()), &whole).unwrap();
    for _ in 0..2 {
        let mut spool = open(root.path());
        assert_eq!(spool.pending()[1], second);
        assert_eq!(spool.read(second.key, 0, 500).unwrap().1, [2; 500]);
        assert_eq!(fs::read_dir(root.path().join("torn")).unwrap().count(), 0);
        assert_eq!((frame_files(root.path(), &spool).len(), spool.next().get()), (2, 3));
    }
}

#[test]
fn a_number_with_a_whole_file_is_never_given_up() {
    // What a failed removal leaves: a torn file, and a whole one of the same number; once with a tombstone, too.
    for buried in [false, true] {
        let (root, mut spool) = new_spool();
        press(&mut spool, b"one");
        if buried {
            spool.append_tombstone(no_camera()).unwrap();
        }
        let folder = frame_files(root.path(), &spool)[0].parent().unwrap().to_owned();
        drop(spool);
        let elsewhere = TempDir::new().unwrap();
        let mut other = open(elsewhere.path());
        press(&mut other, b"one");
        let whole = press(&mut other, b"two");
        let file = frame_files(elsewhere.path(), &other).remove(1);
        fs::copy(&file, folder.join(file.file_name().unwrap())).unwrap();
        fs::write(folder.join("0000000002_0000000000000000_99.jpg"), b"torn").unwrap();
        for _ in 0..2 {
            let spool = open(root.path());
            let pending = spool.pending()[1];
            assert_eq!((pending.tombstone, pending.hash), (false, whole.hash), "{buried}");
            assert_eq!((spool.pending().len(), spool.next().get()), (2, 3));
        }
    }
}

#[test]
fn a_picture_that_made_room_does_not_come_back() {
    let root = TempDir::new().unwrap();
    let small = Limits { bytes_max: 3 * (1000 + 1024), ..limits() };
    let mut spool = Spool::open(root.path(), small, "this board", None).unwrap();
    take(&mut spool, &[1; 1000], Cause::Interval).unwrap();
    let file = frame_files(root.path(), &spool).remove(0);
    let evicted = fs::read(&file).unwrap();
    for number in 2..4 {
        press(&mut spool, &[number; 1000]);
    }
    press(&mut spool, &[4; 400]);
    drop(spool);
    // A power cut between the tombstone and the removal.
    fs::write(&file, evicted).unwrap();
    let spool = open(root.path());
    assert!(spool.pending()[0].tombstone);
    assert!(!file.exists());
}
