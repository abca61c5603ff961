//! The contract of the store, by its public functions only, so that every kind of store is held to it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use keepsake_cloud::ingest::operation::{CommitOutcome, IngestOp, QuarantineEntry};
use keepsake_cloud::objects::{BytesSetting, ObjectKey, read_all};
use keepsake_cloud::pictures::capture_time::TimeSource;
use keepsake_cloud::store::{
    ClaimLimits, Command, Device, FinishedThumbnail, Limits, NewBytes, PageQuery, Picture, PictureCursor,
    SettingsUpdate, Store, Thumbnail, Upload,
};
use keepsake_protocol::capture::{CaptureMetadata, Cause, ContentType, FrameHeader};
use keepsake_protocol::clock::ClockReading;
use keepsake_protocol::command::{CommandKind, CommandReply, CommandStage};
use keepsake_protocol::event::{BootClockOffset, Event, Tombstone, TombstoneReason};
use keepsake_protocol::id::PictureId;
use keepsake_protocol::inventory::Inventory;
use keepsake_protocol::ranges::Ranges;
use keepsake_protocol::receipt::{InventoryAck, ResendRequest};
use keepsake_protocol::status::{Presence, SpoolInventory, Status};
use keepsake_protocol::{BootId, CaptureId, DeviceId, Hash, Sequence, SpoolId};
use proptest::prelude::*;

use super::{CASES, Empty, empty};

const SPOOL: SpoolId = SpoolId([7; 16]);
const NOW: i64 = 1_800_000_000_000_000;
const DAY: i64 = 24 * 3600 * 1_000_000;

struct Fresh {
    store: Store,
    empty: Empty,
}

/// A store that nothing is in yet. Ends the test if there can be none on this machine, which was said.
macro_rules! fresh {
    () => {
        fresh!(Limits::default())
    };
    ($limits:expr) => {{
        let Some(empty) = empty() else { return };
        let store = Store::open(empty.place(), $limits).await.unwrap();
        Fresh { store, empty }
    }};
}

impl Fresh {
    async fn commit(&self, operation: IngestOp) -> CommitOutcome {
        self.commit_at(operation, NOW).await
    }

    async fn commit_at(&self, operation: IngestOp, now_us: i64) -> CommitOutcome {
        let mut outcomes = self.store.commit(&[operation], now_us).await.unwrap();
        assert_eq!(outcomes.len(), 1);
        outcomes.pop().unwrap()
    }

    /// Commits an operation, after which the counters of the camera must be these.
    async fn counts(&self, operation: IngestOp, now_us: i64, expected: [u64; 6]) {
        self.commit_at(operation.clone(), now_us).await;
        assert_eq!(counted(&self.porch().await), expected, "{operation:?}");
    }

    /// Commits a status, and returns the sequences that the cloud asks for.
    async fn wanted(&self, status: IngestOp) -> Vec<u64> {
        let outcome = self.commit(status).await;
        let CommitOutcome::StatusStored { wants } = outcome else {
            panic!("{outcome:?}");
        };
        wants[0].1.iter().map(|want| want.sequence.get()).collect()
    }

    /// Inserts a command to the camera that expires after 60 microseconds.
    async fn insert_command(&self, id: &str, command: CommandKind, created_us: i64) {
        let command = Command {
            id: id.to_owned(),
            device: porch(),
            command,
            created_us,
            expires_us: created_us + 60,
            sent_us: None,
            stages: Vec::new(),
            capture: None,
            result: None,
        };
        self.store.insert_command(&command).await.unwrap();
    }

    async fn porch(&self) -> Device {
        self.store.device(&porch(), NOW).await.unwrap().unwrap()
    }

    /// Stores thumbnails, and returns the pictures that are claimed next.
    async fn claim(&self, finished: &[FinishedThumbnail], unread: &[i64]) -> Vec<i64> {
        let limits = ClaimLimits { pictures_max: 10, bytes_max: 100, attempts_max: 3 };
        let claimed = self.store.next_thumbnails(finished, unread, limits).await.unwrap();
        claimed.iter().map(|picture| picture.arrival).collect()
    }

    async fn all(&self) -> Vec<Picture> {
        self.store.pictures_arrived_after(0, 500).await.unwrap()
    }
}

fn porch() -> DeviceId {
    "porch".parse().unwrap()
}

fn number(sequence: u64) -> Sequence {
    sequence.try_into().unwrap()
}

fn moment() -> ClockReading {
    ClockReading {
        boot: BootId([1; 16]),
        boottime_us: 5,
        wall_us: NOW,
        synchronised: true,
        error_us: 3,
    }
}

/// The press of a sequence: a millisecond after the one before.
fn pressed_at(sequence: u64) -> ClockReading {
    let ms = i64::try_from(sequence).unwrap();
    ClockReading {
        boottime_us: sequence * 1000,
        wall_us: NOW + ms * 1000,
        ..moment()
    }
}

fn record(sequence: u64, bytes: &[u8]) -> CaptureMetadata {
    CaptureMetadata {
        spool: SPOOL,
        sequence: number(sequence),
        hash: Hash::of(bytes),
        total: bytes.len() as u64,
        content_type: ContentType::Jpeg,
        width: 4,
        height: 3,
        cause: Cause::Button,
        command: None,
        pressed: pressed_at(sequence),
        captured_after_us: 10,
        settings_version: 0,
    }
}

fn part_of(device: &DeviceId, record: CaptureMetadata, whole: &[u8], start: usize, end: usize) -> IngestOp {
    IngestOp::Capture {
        device: device.clone(),
        header: FrameHeader {
            capture: record,
            offset: start as u64,
            len: (end - start) as u64,
            attempt: 0,
            saved_after_us: Some(20),
            sent_after_us: Some(30),
            not_before_us: None,
        },
        bytes: whole[start..end].to_vec().into(),
    }
}

fn part(sequence: u64, whole: &[u8], start: usize, end: usize) -> IngestOp {
    part_of(&porch(), record(sequence, whole), whole, start, end)
}

fn capture(sequence: u64, bytes: &[u8]) -> IngestOp {
    part(sequence, bytes, 0, bytes.len())
}

fn tombstone(first: u64, last: u64) -> IngestOp {
    tombstone_because(first, last, TombstoneReason::CameraFailed)
}

fn tombstone_because(first: u64, last: u64, reason: TombstoneReason) -> IngestOp {
    let tombstone = Tombstone {
        spool: SPOOL,
        sequence: number(first),
        through: (first != last).then(|| number(last)),
        reason,
        cause: Cause::Button,
        command: None,
        pressed: Some(moment()),
    };
    let payload = keepsake_protocol::codec::encode(&Event::Tombstone(tombstone.clone()));
    IngestOp::Tombstone {
        device: porch(),
        tombstone,
        hash: Hash::of(&payload),
        payload: payload.into(),
    }
}

const UPLOAD: Upload = Upload {
    content_type: ContentType::Png,
    width: 1,
    height: 2,
    damaged: false,
};

fn ranges(all: &[(u64, u64)]) -> Ranges {
    all.iter().map(|(first, last)| (number(*first), number(*last))).collect()
}

fn status(next: u64, waiting: &[(u64, u64)], kept: &[(u64, u64)]) -> IngestOp {
    status_of(&porch(), SPOOL, next, waiting, kept)
}

fn status_of(device: &DeviceId, spool: SpoolId, next: u64, waiting: &[(u64, u64)], kept: &[(u64, u64)]) -> IngestOp {
    IngestOp::Status {
        device: device.clone(),
        status: Box::new(Status {
            presence: Presence::Online,
            spools: vec![SpoolInventory {
                spool,
                next: number(next),
                waiting: ranges(waiting),
                kept: ranges(kept),
                coarse: false,
            }],
            reported_at: Some(moment()),
            ..Status::last_will()
        }),
        retained: false,
    }
}

fn stored(sequence: u64, bytes: &[u8], arrival: Option<i64>) -> CommitOutcome {
    let capture = CaptureId { spool: SPOOL, sequence: number(sequence) };
    CommitOutcome::Stored {
        id: PictureId { capture, hash: Hash::of(bytes).prefix() },
        arrival,
    }
}

/// pressed, stored, deleted, failed, held, missing.
fn counted(device: &Device) -> [u64; 6] {
    let all = device.counters;
    [all.pressed(), all.stored, all.deleted, all.failed, all.held, all.missing]
}

#[tokio::test]
async fn a_capture_is_stored_once_however_often_it_comes() {
    let fresh = fresh!();
    assert_eq!(fresh.commit(capture(1, b"one")).await, stored(1, b"one", Some(1)));
    for _ in 0..3 {
        assert_eq!(fresh.commit(capture(1, b"one")).await, stored(1, b"one", None));
    }
    // The same twice in one batch, and a repeat that comes in parts.
    let batch = [capture(2, b"two"), capture(2, b"two"), part(1, b"one", 0, 2)];
    assert_eq!(
        fresh.store.commit(&batch, NOW).await.unwrap(),
        [stored(2, b"two", Some(2)), stored(2, b"two", None), stored(1, b"one", None)]
    );
    let all = fresh.all().await;
    assert_eq!(all.len(), 2);
    assert!(all.iter().all(|picture| !picture.conflict));
    assert_eq!(fresh.store.image(1).await.unwrap().unwrap(), b"one");
    assert_eq!(fresh.porch().await.counters.stored, 2);
}

#[tokio::test]
async fn the_same_number_with_other_bytes_is_kept_and_marked() {
    let fresh = fresh!();
    fresh.commit(capture(1, b"one")).await;
    assert_eq!(fresh.commit(capture(1, b"other")).await, stored(1, b"other", Some(2)));
    assert_eq!(fresh.commit(capture(1, b"other")).await, stored(1, b"other", None));
    let all = fresh.all().await;
    let marked: Vec<bool> = all.iter().map(|picture| picture.conflict).collect();
    assert_eq!(marked, [false, true]);
    assert_eq!(fresh.store.image(1).await.unwrap().unwrap(), b"one");
    assert_eq!(fresh.store.image(2).await.unwrap().unwrap(), b"other");
    let porch = fresh.porch().await;
    assert_eq!((porch.conflicts, porch.counters.stored), (1, 2));
    for picture in &all {
        let found = fresh.store.picture(&picture.id()).await.unwrap();
        assert_eq!(found.as_ref(), Some(picture));
    }
}

#[tokio::test]
async fn what_a_camera_without_numbers_sends_again_within_a_day_is_a_repeat() {
    let fresh = fresh!();
    let upload = |device: &DeviceId, bytes: &'static [u8], again| IngestOp::Upload {
        device: device.clone(),
        hash: Hash::of(bytes),
        bytes: bytes.into(),
        content_type: ContentType::Jpeg,
        width: 1,
        height: 1,
        maybe_repeat: again,
    };
    let (porch, shed) = (porch(), "shed".parse().unwrap());
    let new = |arrival| CommitOutcome::UploadStored { arrival: Some(arrival) };
    let repeat = CommitOutcome::UploadStored { arrival: None };
    for (device, bytes, again, now_us, expected) in [
        // The broker may say so and yet bring it for the first time.
        (&porch, b"one".as_slice(), true, NOW, new(1)),
        (&porch, b"one", true, NOW, repeat.clone()),
        (&porch, b"one", true, NOW + DAY - 1, repeat.clone()),
        (&porch, b"two", true, NOW, new(2)),
        (&shed, b"one", true, NOW, new(3)),
        // Without the broker's word it is a picture of its own, and may be looked for from now on.
        (&porch, b"one", false, NOW + DAY / 2, new(4)),
        (&porch, b"one", true, NOW + DAY, repeat.clone()),
        (&porch, b"two", true, NOW + DAY, new(5)),
    ] {
        let outcome = fresh.commit_at(upload(device, bytes, again), now_us).await;
        assert_eq!(outcome, expected, "{bytes:?} {again} {}", now_us - NOW);
    }
    let pictures = fresh.all().await;
    assert!(pictures.iter().all(|picture| picture.cause == Cause::Upload));
    // One that was deleted does not come back by it.
    assert!(fresh.store.delete(&pictures[3]).await.unwrap());
    let outcome = fresh.commit_at(upload(&porch, b"one", true), NOW + DAY).await;
    assert_eq!(outcome, repeat);
    assert_eq!(fresh.all().await.len(), 4);
}

#[tokio::test]
async fn a_picture_names_its_bytes_wherever_they_are_moved() {
    let fresh = fresh!();
    let root = tempfile::tempdir().unwrap();
    let folder = BytesSetting::Folder(root.path().join("pictures"));
    let place = fresh.store.open_place(&folder).await.unwrap().unwrap();
    assert_eq!(fresh.store.open_place(&folder).await.unwrap().unwrap().id, place.id);
    for sequence in 1..=2 {
        fresh.commit(capture(sequence, b"one")).await;
    }
    let images = fresh.store.stored_images_after(0, 10).await.unwrap();
    let key = || ObjectKey::new("jpg", NOW);
    let batch = vec![(key(), b"one".as_slice().into()), (key(), b"one".as_slice().into())];
    let mut moves = Vec::new();
    for (image, object) in images.iter().zip(place.put_batch(batch).await) {
        moves.push((image.clone(), NewBytes::Object(object.unwrap())));
    }
    assert_eq!(fresh.store.relocate(&moves, NOW).await.unwrap(), 2);
    let moved = fresh.store.stored_images_after(0, 10).await.unwrap();
    for (moved, (_, new)) in moved.iter().zip(&moves) {
        let NewBytes::Object(object) = new else { unreachable!() };
        assert_eq!(moved.location, object.location());
        assert_eq!(fresh.store.image(moved.arrival).await.unwrap().unwrap(), b"one");
        let part = fresh.store.open_image(moved, 1..3).await.unwrap();
        assert_eq!(read_all(part).await.unwrap(), b"ne");
        assert_eq!(fresh.store.unnamed(place.id, &[object.key.clone(), key()]).await.unwrap().len(), 1);
    }

    // Moved meanwhile: what the second move has stored is not named.
    let again = [(images[0].clone(), NewBytes::Database(b"one".as_slice().into()))];
    assert_eq!(fresh.store.relocate(&again, NOW).await.unwrap(), 0);
    let back = [(moved[0].clone(), NewBytes::Database(b"one".as_slice().into()))];
    assert_eq!(fresh.store.relocate(&back, NOW).await.unwrap(), 1);
    assert_eq!(fresh.store.image(1).await.unwrap().unwrap(), b"one");
    let part = fresh
        .store
        .open_image(&fresh.store.stored_images_after(0, 1).await.unwrap()[0], 1..3)
        .await
        .unwrap();
    assert_eq!(read_all(part).await.unwrap(), b"ne");

    let second = fresh.all().await.remove(1);
    assert!(fresh.store.delete(&second).await.unwrap());
    // Its own object is gone; the one that was moved back is due now.
    assert_eq!(fresh.store.collect_garbage(NOW).await.unwrap(), 1);
    for (_, new) in moves {
        let NewBytes::Object(object) = new else { unreachable!() };
        assert_eq!(place.objects.length(&object.key).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_deleted_picture_is_never_taken_again_and_still_earns_its_receipt() {
    let fresh = fresh!();
    fresh.commit(capture(1, b"one")).await;
    let picture = fresh.all().await.remove(0);
    assert!(fresh.store.delete(&picture).await.unwrap());
    assert!(!fresh.store.delete(&picture).await.unwrap());
    assert_eq!(fresh.commit(capture(1, b"one")).await, stored(1, b"one", None));
    assert_eq!(fresh.all().await, []);
    assert_eq!(fresh.store.image(1).await.unwrap(), None);
    // A tombstone does not make the deleted one undone either.
    fresh.counts(tombstone(1, 1), NOW, [1, 0, 1, 0, 0, 0]).await;
    // Arrival numbers are not given out twice.
    assert_eq!(fresh.commit(capture(2, b"two")).await, stored(2, b"two", Some(2)));
}

#[tokio::test]
async fn a_fate_only_rises() {
    let fresh = fresh!();
    fresh.counts(tombstone(1, 1), NOW, [1, 0, 0, 1, 0, 0]).await;
    // The picture comes after all.
    fresh.counts(capture(1, b"one"), NOW, [1, 1, 0, 0, 0, 0]).await;
    // Neither the tombstone again nor another one lowers it, and both earn their receipts.
    for reason in [TombstoneReason::CameraFailed, TombstoneReason::MadeRoom] {
        let outcome = fresh.commit(tombstone_because(1, 1, reason)).await;
        assert!(matches!(outcome, CommitOutcome::TombstoneStored(_)), "{outcome:?}");
    }
    assert_eq!(counted(&fresh.porch().await), [1, 1, 0, 0, 0, 0]);
}

#[tokio::test]
async fn a_range_tombstone_tells_of_every_sequence_that_has_no_picture() {
    let fresh = fresh!();
    fresh.commit(capture(3, b"three")).await;
    fresh.commit(tombstone(5, 5)).await;
    fresh.counts(tombstone(1, 10), NOW, [10, 1, 0, 9, 0, 0]).await;
    fresh.counts(tombstone(8, 12), NOW, [12, 1, 0, 11, 0, 0]).await;
}

#[tokio::test]
async fn parts_cut_in_different_places_make_one_picture() {
    let fresh = fresh!();
    let whole: Vec<u8> = (0..=255).cycle().take(1000).collect();
    for (start, end) in [(0, 400), (600, 900), (350, 420), (600, 700), (0, 300)] {
        assert_eq!(fresh.commit(part(1, &whole, start, end)).await, CommitOutcome::PartStored);
    }
    assert_eq!(fresh.all().await, []);
    let progress = fresh.store.progress(CaptureId { spool: SPOOL, sequence: number(1) });
    assert_eq!(progress.unwrap().1, 1000);
    assert_eq!(fresh.commit(part(1, &whole, 880, 1000)).await, CommitOutcome::PartStored);
    assert_eq!(fresh.commit(part(1, &whole, 410, 610)).await, stored(1, &whole, Some(1)));
    assert_eq!(fresh.store.image(1).await.unwrap().unwrap(), whole);
    // A late part of what is whole is a repeat.
    assert_eq!(fresh.commit(part(1, &whole, 0, 400)).await, stored(1, &whole, None));
}

#[tokio::test]
async fn interleaved_parts_of_several_cameras_do_not_mix() {
    let fresh = fresh!();
    let cameras: Vec<(DeviceId, SpoolId, Vec<u8>)> = (0..3_u8)
        .map(|n| {
            let name = format!("camera-{n}").parse().unwrap();
            (name, SpoolId([n; 16]), vec![n; 100])
        })
        .collect();
    for start in (0..100).step_by(10) {
        let batch: Vec<IngestOp> = cameras
            .iter()
            .map(|(device, spool, whole)| {
                let record = CaptureMetadata { spool: *spool, ..record(1, whole) };
                part_of(device, record, whole, start, start + 10)
            })
            .collect();
        fresh.store.commit(&batch, NOW).await.unwrap();
    }
    let all = fresh.all().await;
    assert_eq!(all.len(), 3);
    for (picture, (device, _, whole)) in all.iter().zip(&cameras) {
        assert_eq!(&picture.device, device);
        let bytes = fresh.store.image(picture.arrival).await.unwrap();
        assert_eq!(&bytes.unwrap(), whole);
    }
}

#[tokio::test]
async fn parts_whose_whole_has_another_hash_go_to_quarantine() {
    let fresh = fresh!();
    let (whole, lie) = (vec![1; 100], vec![2; 100]);
    assert_eq!(fresh.commit(part(1, &whole, 0, 50)).await, CommitOutcome::PartStored);
    let lying = part_of(&porch(), record(1, &whole), &lie, 50, 100);
    assert_eq!(fresh.commit(lying).await, CommitOutcome::WrongHash);
    assert_eq!(fresh.all().await, []);
    let quarantine = fresh.store.quarantine(None, 10).await.unwrap().0;
    assert_eq!(quarantine.len(), 1);
    assert!(quarantine[0].reason.contains("do not have the hash"));
    // Nothing of the lie is left: the true parts make the picture.
    assert_eq!(fresh.commit(part(1, &whole, 50, 100)).await, CommitOutcome::PartStored);
    assert_eq!(fresh.commit(part(1, &whole, 0, 50)).await, stored(1, &whole, Some(1)));
}

#[tokio::test]
async fn parts_that_disagree_about_the_length_begin_anew() {
    let fresh = fresh!();
    let whole = vec![1; 100];
    let lying = CaptureMetadata { total: 200, ..record(1, &whole) };
    fresh.commit(part_of(&porch(), lying, &whole, 0, 50)).await;
    assert_eq!(fresh.commit(part(1, &whole, 0, 60)).await, CommitOutcome::PartStored);
    assert_eq!(fresh.commit(part(1, &whole, 60, 100)).await, stored(1, &whole, Some(1)));
}

#[tokio::test]
async fn the_unfinished_capture_without_progress_for_longest_makes_room() {
    let limits = Limits { part_bytes_max: 250, ..Limits::default() };
    let fresh = fresh!(limits);
    for (at, sequence) in (1..=3).enumerate() {
        let whole = [u8::try_from(sequence).unwrap(); 101];
        let when = NOW + i64::try_from(at).unwrap();
        fresh.commit_at(part(sequence, &whole, 0, 100), when).await;
    }
    for (sequence, kept) in [(1, false), (2, true), (3, true)] {
        let capture = CaptureId { spool: SPOOL, sequence: number(sequence) };
        let progress = fresh.store.progress(capture);
        assert_eq!(progress.is_some(), kept, "{sequence}");
    }
}

#[tokio::test]
async fn a_capture_in_absurdly_many_parts_does_not_fill_the_store() {
    let limits = Limits { parts_max: 10, ..Limits::default() };
    let fresh = fresh!(limits);
    let whole = vec![9; 100];
    for start in 0..50 {
        fresh.commit(part(1, &whole, start, start + 1)).await;
    }
    let capture = CaptureId { spool: SPOOL, sequence: number(1) };
    let progress = fresh.store.progress(capture);
    assert!(progress.is_none_or(|(bytes, _)| bytes <= 10));
    // Cut sensibly it still gets in.
    fresh.commit(part(1, &whole, 0, 50)).await;
    let outcome = fresh.commit(part(1, &whole, 50, 100)).await;
    assert_eq!(outcome, stored(1, &whole, Some(1)));
}

#[tokio::test]
async fn what_nobody_finishes_for_a_week_is_dropped() {
    let fresh = fresh!();
    fresh.commit(part(1, &[1; 100], 0, 50)).await;
    let week = i64::try_from(Duration::from_secs(7 * 24 * 3600).as_micros()).unwrap();
    assert_eq!(fresh.store.drop_stale_parts(NOW + week).await, 0);
    assert_eq!(fresh.store.drop_stale_parts(NOW + week + 1).await, 1);
    assert_eq!(fresh.commit(part(1, &[1; 100], 50, 100)).await, CommitOutcome::PartStored);
}

#[tokio::test]
async fn have_is_answered_with_what_is_here_and_the_bytes_that_are_missing() {
    let fresh = fresh!();
    let half = [4; 100];
    fresh.commit(capture(1, b"one")).await;
    fresh.commit(tombstone(2, 3)).await;
    fresh.commit(part(4, &half, 20, 60)).await;
    let IngestOp::Tombstone { hash, .. } = tombstone(2, 3) else {
        unreachable!()
    };
    let prefix = hash.prefix();
    let have = |sequence: u64, bytes: &[u8]| (number(sequence), Hash::of(bytes).prefix());
    let asked = Inventory {
        spool: SPOOL,
        next: number(9000),
        id: 5,
        page: 0,
        pages: 1,
        captures: vec![
            have(4, &half),
            have(1, b"one"),
            have(8000, b"new"),
            (number(2), prefix),
            // The same number, other bytes: this one is not here.
            have(1, b"other"),
        ],
    };
    let outcome = fresh.commit(IngestOp::Inventory { device: porch(), inventory: asked }).await;
    let CommitOutcome::InventoryAnswered(receipt) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(receipt.stored, [have(1, b"one"), (number(2), prefix)]);
    assert_eq!(receipt.want, [ResendRequest { sequence: number(4), ranges: vec![(0, 20), (60, 100)] }]);
    assert_eq!(receipt.inventory_ack, Some(InventoryAck { id: 5, page: 0 }));
    // The highest number with a fate is 3; parts are no fate.
    assert_eq!(receipt.next, Some(number(4)));
}

#[tokio::test]
async fn a_restored_store_asks_for_what_cameras_still_keep() {
    let fresh = fresh!();
    // Yesterday's copy knows 1 to 3; since then 4 to 3000 were stored, and receipts sent.
    for sequence in 1..=3 {
        let bytes = sequence.to_string();
        fresh.commit(capture(sequence, bytes.as_bytes())).await;
    }
    assert_eq!(
        fresh.wanted(status(3002, &[(3001, 3001)], &[(2, 3000)])).await,
        (4..504).collect::<Vec<_>>()
    );
    assert_eq!(counted(&fresh.porch().await), [3001, 3, 0, 0, 2998, 0]);
    // What was given up in the meantime is missing, and the page says so.
    fresh
        .counts(status(3002, &[(3001, 3001)], &[(1000, 3000)]), NOW, [3001, 3, 0, 0, 2002, 996])
        .await;
}

#[tokio::test]
async fn what_a_card_only_seems_to_have_does_not_hide_what_it_has() {
    let fresh = fresh!();
    let IngestOp::Status { device, mut status, .. } = status(2001, &[], &[(1, 2000)]) else {
        unreachable!()
    };
    status.spools[0].coarse = true;
    let operation = IngestOp::Status { device, status, retained: false };
    let mut asked = BTreeSet::new();
    for _ in 0..200 {
        let wanted = fresh.wanted(operation.clone()).await;
        assert_eq!(wanted.len(), 500);
        asked.extend(wanted);
    }
    assert!(asked.len() > 1000, "{} of 2000 asked for", asked.len());
    assert!(fresh.porch().await.spools[0].coarse);
}

#[tokio::test]
async fn names_made_up_do_not_fill_the_store() {
    let limits = Limits {
        devices_max: 2,
        quarantine_all_rows_max: 3,
        ..Limits::default()
    };
    let fresh = fresh!(limits);
    let outcomes = async |n: u64| {
        let device = format!("camera-{n}").parse().unwrap();
        let bytes = n.to_string().into_bytes();
        let record = record(n, &bytes);
        fresh.commit(part_of(&device, record, &bytes, 0, bytes.len())).await
    };
    assert_eq!(outcomes(1).await, stored(1, b"1", Some(1)));
    assert_eq!(outcomes(2).await, stored(2, b"2", Some(2)));
    let third = outcomes(3).await;
    assert!(matches!(third, CommitOutcome::Refused { .. }), "{third:?}");
    assert_eq!(outcomes(1).await, stored(1, b"1", None));
    for n in 0..9_u8 {
        let suspect = IngestOp::Quarantine(QuarantineEntry {
            device: Some(format!("camera-{n}").parse().unwrap()),
            topic: String::new(),
            reason: "odd".to_owned(),
            hash: Hash::of(&[n]),
            bytes: vec![n].into(),
        });
        fresh.commit_at(suspect, NOW + i64::from(n)).await;
    }
    assert_eq!(fresh.store.quarantine_count().await.unwrap(), 3);
}

#[tokio::test]
async fn gaps_are_found_among_very_many_without_asking_for_all() {
    let fresh = fresh!();
    fresh.commit(tombstone(1, 5000)).await;
    fresh.commit(tombstone(5002, 9000)).await;
    fresh.commit(tombstone(9003, 10_000)).await;
    assert_eq!(fresh.wanted(status(10_001, &[], &[(1, 10_000)])).await, [5001, 9001, 9002]);
}

#[tokio::test]
async fn a_number_is_held_until_a_later_status_says_it_is_not() {
    let fresh = fresh!();
    fresh.counts(status(5, &[(1, 4)], &[]), NOW, [4, 0, 0, 0, 4, 0]).await;
    // A picture overtakes the status that speaks of it: 5 and 6 must be on the card.
    fresh.counts(capture(7, b"seven"), NOW, [7, 1, 0, 0, 6, 0]).await;
    // A status that was under way at the time still does not know; one from later does.
    fresh.counts(status(5, &[(1, 4)], &[]), NOW + 1_000_000, [7, 1, 0, 0, 6, 0]).await;
    fresh.counts(status(8, &[(1, 5)], &[]), NOW + 60_000_000, [7, 1, 0, 0, 5, 1]).await;
}

#[tokio::test]
async fn a_new_install_leaves_the_old_ones_counted() {
    let fresh = fresh!();
    fresh.commit(status(4, &[(1, 3)], &[])).await;
    fresh.commit(capture(1, b"one")).await;
    let new = SpoolId([8; 16]);
    // The card was given away with 2 and 3 on it: the camera has another one, and the old one may come back.
    let other_card = status_of(&porch(), new, 2, &[(1, 1)], &[]);
    fresh.commit(other_card.clone()).await;
    let device = fresh.porch().await;
    assert_eq!(counted(&device), [4, 1, 0, 0, 3, 0]);
    assert_eq!(device.spools.len(), 2);
    // It does not within a day.
    fresh.counts(other_card, NOW + DAY + 1, [4, 1, 0, 0, 1, 2]).await;
}

#[tokio::test]
async fn two_boards_of_one_name_hold_what_each_has_on_its_card() {
    let fresh = fresh!();
    let held = |spool, next, waiting: &[(u64, u64)]| SpoolInventory {
        spool,
        next: number(next),
        waiting: ranges(waiting),
        kept: Ranges::default(),
        coarse: false,
    };
    let status = |spools: Vec<SpoolInventory>| IngestOp::Status {
        device: porch(),
        status: Box::new(Status {
            presence: Presence::Online,
            spools,
            reported_at: Some(moment()),
            ..Status::last_will()
        }),
        retained: false,
    };
    let copied = SpoolId([8; 16]);
    let original = status(vec![held(SPOOL, 4, &[(1, 3)])]);
    // The copy of the card, in another board, counts in a spool of its own.
    let copy = status(vec![held(copied, 3, &[(1, 2)]), held(SPOOL, 4, &[(1, 3)])]);
    for _ in 0..2 {
        for operation in [&original, &copy] {
            fresh.commit(operation.clone()).await;
            let counted = counted(&fresh.porch().await);
            assert_eq!(counted[5], 0, "missing, after {operation:?}");
        }
    }
    fresh.counts(original, NOW, [5, 0, 0, 0, 5, 0]).await;
    // What only the copy gives up is still on the original, until that has been silent for a day.
    let given_up = status(vec![held(copied, 3, &[(1, 2)])]);
    fresh.counts(given_up.clone(), NOW + DAY, [5, 0, 0, 0, 5, 0]).await;
    fresh.counts(given_up, NOW + DAY + 1, [5, 0, 0, 0, 2, 3]).await;
}

#[tokio::test]
async fn a_renamed_camera_takes_its_counters_along_with_its_next_press() {
    let fresh = fresh!();
    let yard: DeviceId = "yard".parse().unwrap();
    let all = async |fresh: &Fresh| {
        let devices = fresh.store.devices(NOW).await.unwrap();
        let counted = devices.iter().map(counted);
        counted.collect::<Vec<_>>()
    };
    fresh.commit(status(3, &[(1, 2)], &[])).await;
    let renamed = status_of(&yard, SPOOL, 3, &[(1, 2)], &[]);
    fresh.commit(renamed).await;
    assert_eq!(all(&fresh).await, [[2, 0, 0, 0, 2, 0], [0; 6]]);
    let pressed = status_of(&yard, SPOOL, 4, &[(1, 3)], &[]);
    fresh.commit(pressed).await;
    assert_eq!(all(&fresh).await, [[0; 6], [3, 0, 0, 0, 3, 0]]);
    // What the old name said last takes nothing back.
    fresh.commit(status(3, &[(1, 2)], &[])).await;
    assert_eq!(all(&fresh).await, [[0; 6], [3, 0, 0, 0, 3, 0]]);
    // Nor does it hold for ever what is gone from the card.
    let given_up = status_of(&yard, SPOOL, 4, &[(3, 3)], &[]);
    fresh.commit_at(given_up, NOW + DAY + 1).await;
    assert_eq!(all(&fresh).await, [[0; 6], [3, 0, 0, 0, 1, 2]]);
}

#[tokio::test]
async fn a_cloned_card_hides_nothing() {
    let fresh = fresh!();
    let clone: DeviceId = "clone".parse().unwrap();
    fresh.commit(status(4, &[(1, 3)], &[])).await;
    fresh.commit(status_of(&clone, SPOOL, 4, &[(1, 3)], &[])).await;
    for (device, sequence, bytes) in [
        (porch(), 1, b"same"),
        (clone.clone(), 1, b"same"),
        (porch(), 2, b"mine"),
        (clone.clone(), 2, b"hers"),
    ] {
        fresh.commit(part_of(&device, record(sequence, bytes), bytes, 0, bytes.len())).await;
    }
    let all = fresh.all().await;
    assert_eq!(all.len(), 3);
    assert_eq!(all.iter().filter(|picture| picture.conflict).count(), 1);
    // A clone that only repeats does not take the spool; nothing is counted twice or lost.
    let devices = fresh.store.devices(NOW).await.unwrap();
    let sums: BTreeMap<_, _> = devices.iter().map(|device| (device.id.as_str().to_owned(), counted(device))).collect();
    assert_eq!(sums["porch"], [4, 3, 0, 0, 1, 0]);
    assert_eq!(sums["clone"], [0; 6]);
}

#[tokio::test]
async fn a_last_will_takes_the_presence_and_leaves_the_rest() {
    let fresh = fresh!();
    fresh.commit(status(4, &[(1, 3)], &[])).await;
    assert_eq!(fresh.porch().await.presence, Presence::Online);
    let will = IngestOp::Status {
        device: porch(),
        status: Box::new(Status::last_will()),
        retained: false,
    };
    fresh.commit_at(will, NOW + 1).await;
    let porch = fresh.porch().await;
    assert_eq!(porch.presence, Presence::Offline);
    assert_eq!(porch.last_seen_us, NOW);
    assert_eq!(counted(&porch), [3, 0, 0, 0, 3, 0]);
}

#[tokio::test]
async fn a_retained_status_is_no_sign_of_life() {
    let fresh = fresh!();
    let IngestOp::Status { device, status, .. } = status(4, &[(1, 3)], &[]) else {
        unreachable!()
    };
    let retained = IngestOp::Status { device, status, retained: true };
    fresh.commit(retained).await;
    let porch = fresh.porch().await;
    assert_eq!(porch.presence, Presence::Offline);
    assert_eq!(counted(&porch), [3, 0, 0, 0, 3, 0]);
}

/// The sequences of all pictures in pages of two, going back from the newest, and the same going forward again.
async fn paged(store: &Store, device: Option<&DeviceId>) -> Vec<u64> {
    type Next = fn(PictureCursor) -> PageQuery;
    let oldest = PictureCursor { sort_us: 0, arrival: 0 };
    let (mut back, mut forward) = (Vec::new(), Vec::new());
    for (found, mut page, next) in [
        (&mut back, PageQuery::Before(None), (|last| PageQuery::Before(Some(last))) as Next),
        (&mut forward, PageQuery::After(oldest), PageQuery::After),
    ] {
        loop {
            let pictures = store.pictures(device, page, 2).await.unwrap();
            found.extend(pictures.iter().map(|picture| picture.capture.sequence.get()));
            assert!(found.len() < 100, "pages without an end");
            let Some(last) = pictures.last() else { break };
            page = next(last.cursor());
        }
    }
    forward.reverse();
    assert_eq!(back, forward);
    back
}

#[tokio::test]
async fn pages_of_pictures_follow_the_capture_time_and_news_the_arrival() {
    let fresh = fresh!();
    for sequence in [5_u64, 1, 4, 2, 3] {
        let bytes = sequence.to_string();
        fresh.commit(capture(sequence, bytes.as_bytes())).await;
    }
    for device in [None, Some(&porch())] {
        assert_eq!(paged(&fresh.store, device).await, [5, 4, 3, 2, 1]);
    }
    for (arrival, expected) in [(0, vec![5, 1]), (2, vec![4, 2]), (4, vec![3]), (5, vec![])] {
        let arrived = fresh.store.pictures_arrived_after(arrival, 2).await.unwrap();
        let numbers: Vec<u64> = arrived.iter().map(|picture| picture.capture.sequence.get()).collect();
        assert_eq!(numbers, expected, "after {arrival}");
    }
    assert_eq!(fresh.store.last_arrival().await.unwrap(), 5);
    let shed = "shed".parse().unwrap();
    assert_eq!(paged(&fresh.store, Some(&shed)).await, [0; 0]);
    assert_eq!(fresh.store.picture_count(Some(&porch())).await.unwrap(), 5);
}

#[tokio::test]
async fn pages_end_anywhere_within_pictures_of_one_time() {
    let fresh = fresh!();
    for number in 1..=5 {
        // Uploads of one microsecond, of two cameras.
        let device = if number == 4 { "shed".parse().unwrap() } else { porch() };
        fresh.store.upload(&device, b"same".as_slice().into(), UPLOAD, NOW).await.unwrap();
    }
    assert_eq!(paged(&fresh.store, None).await, [4, 1, 3, 2, 1]);
    assert_eq!(paged(&fresh.store, Some(&porch())).await, [4, 3, 2, 1]);
}

/// After an outage, captures that waited on a card arrive after newer ones.
#[tokio::test]
async fn the_latest_picture_is_the_one_captured_last_and_not_the_one_that_arrived_last() {
    let fresh = fresh!();
    let latest = async || fresh.porch().await.latest.unwrap().capture;
    let newest = CaptureId { spool: SPOOL, sequence: number(2) };
    fresh.commit(capture(2, b"newer")).await;
    fresh.commit(capture(1, b"waited on the card")).await;
    assert_eq!(latest().await, newest);

    // The same from the card that was in the camera before.
    let bytes = b"from an older card";
    let mut before = record(9, bytes);
    before.spool = SpoolId([8; 16]);
    before.pressed.boot = BootId([2; 16]);
    before.pressed.wall_us = NOW - DAY;
    fresh.commit(part_of(&porch(), before, bytes, 0, bytes.len())).await;
    assert_eq!(latest().await, newest);
    assert_eq!(paged(&fresh.store, Some(&porch())).await, [2, 1, 9]);
}

/// A capture of a boot whose clock was not synchronised, sent after a reboot.
fn of_unknown_time(sequence: u64, boot: u8) -> IngestOp {
    let bytes = sequence.to_be_bytes();
    let mut record = record(sequence, &bytes);
    record.pressed.boot = BootId([boot; 16]);
    record.pressed.wall_us = 0;
    record.pressed.synchronised = false;
    let IngestOp::Capture { device, mut header, bytes } = part_of(&porch(), record, &bytes, 0, 8) else {
        unreachable!()
    };
    header.sent_after_us = None;
    IngestOp::Capture { device, header, bytes }
}

#[tokio::test]
async fn pictures_of_a_boot_stay_together_in_the_order_of_their_sequences() {
    let fresh = fresh!();
    // Without a time the first arrival of the boot counts, for those that arrive a day later too.
    fresh.commit_at(of_unknown_time(2, 2), NOW - DAY).await;
    fresh.commit(capture(7, b"newer")).await;
    for sequence in [3, 1] {
        fresh.commit(of_unknown_time(sequence, 2)).await;
    }
    assert_eq!(paged(&fresh.store, None).await, [7, 3, 2, 1]);
    // Numbers that no camera has move nothing else.
    for (sequence, boottime_us) in [(8, u64::MAX), (9, 0)] {
        let mut absurd = of_unknown_time(sequence, 2);
        if let IngestOp::Capture { header, .. } = &mut absurd {
            header.capture.pressed = ClockReading { boottime_us, wall_us: i64::MAX, ..header.capture.pressed };
        }
        fresh.commit_at(absurd, NOW - 2 * DAY).await;
    }
    assert_eq!(paged(&fresh.store, None).await, [7, 3, 2, 1, 9, 8]);
}

#[tokio::test]
async fn a_better_time_moves_the_pictures_of_its_boot() {
    let offset = |boot: u8, wall_us: i64, estimated: bool| BootClockOffset {
        boot: BootId([boot; 16]),
        offset_us: wall_us,
        error_us: 5_000,
        at_us: (!estimated).then_some(70_000_000),
        estimated,
        spool: Some(SPOOL),
    };
    let synchronised = |boot: u8, wall_us: i64| {
        let mut late = of_unknown_time(6, boot);
        if let IngestOp::Capture { header, .. } = &mut late {
            header.capture.pressed.synchronised = true;
            header.capture.pressed.wall_us = wall_us;
        }
        late
    };
    let between = NOW - DAY / 2;
    for (what, operation, expected) in [
        ("measured", boot_line(&porch(), &offset(2, between, false)), [5, 4, 3, 2, 1]),
        ("estimated", boot_line(&porch(), &offset(2, between, true)), [5, 4, 3, 2, 1]),
        ("of another boot", boot_line(&porch(), &offset(4, between, false)), [5, 3, 2, 4, 1]),
        (
            "of another camera",
            boot_line(&"shed".parse().unwrap(), &offset(2, between, false)),
            [5, 3, 2, 4, 1],
        ),
        ("synchronised later", synchronised(2, between), [5, 4, 3, 2, 1]),
    ] {
        let fresh = fresh!();
        fresh.commit_at(of_unknown_time(1, 3), NOW - DAY).await;
        let mut known = record(4, b"known");
        known.pressed.wall_us = between + 3600 * 1_000_000;
        fresh.commit(part_of(&porch(), known, b"known", 0, 5)).await;
        for sequence in [3, 2] {
            fresh.commit(of_unknown_time(sequence, 2)).await;
        }
        fresh.commit_at(of_unknown_time(5, 5), NOW + 1).await;
        assert_eq!(paged(&fresh.store, None).await, [5, 3, 2, 4, 1], "before: {what}");
        fresh.commit_at(operation.clone(), NOW + 2).await;
        let mut after = paged(&fresh.store, Some(&porch())).await;
        after.retain(|sequence| *sequence != 6);
        assert_eq!(after, expected, "{what}");
        assert_eq!(fresh.porch().await.latest.unwrap().capture.sequence, number(5), "{what}");
    }
}

#[tokio::test]
async fn everything_survives_reopening() {
    let fresh = fresh!();
    fresh.commit(capture(1, b"one")).await;
    let (id, before) = (fresh.store.id(), fresh.all().await);
    fresh.store.close().await;
    let again = Store::open(fresh.empty.place(), Limits::default()).await.unwrap();
    assert_eq!(again.id(), id);
    let after = again.pictures_arrived_after(0, 10).await.unwrap();
    assert_eq!(after, before);
    let repeat = again.commit(&[capture(1, b"one")], NOW).await.unwrap();
    assert_eq!(repeat, [stored(1, b"one", None)]);
}

#[tokio::test]
async fn quarantine_is_bounded_and_counts_repeats() {
    let limits = Limits {
        quarantine_rows_max: 10,
        quarantine_bytes_max: 1000,
        quarantine_message_bytes_max: 150,
        ..Limits::default()
    };
    let fresh = fresh!(limits);
    let suspect = |device: Option<DeviceId>, bytes: Vec<u8>| {
        IngestOp::Quarantine(QuarantineEntry {
            device,
            topic: "ä".repeat(1000),
            reason: "odd".to_owned(),
            hash: Hash::of(&bytes),
            bytes: bytes.into(),
        })
    };
    for n in 0..30_u8 {
        let when = NOW + i64::from(n);
        fresh.commit_at(suspect(Some(porch()), vec![n; 10]), when).await;
    }
    let count = || fresh.store.quarantine_count();
    assert_eq!(count().await.unwrap(), 10);
    fresh.commit(suspect(Some(porch()), vec![29; 10])).await;
    assert_eq!(count().await.unwrap(), 10);
    let rows = fresh.store.quarantine(None, 100).await.unwrap().0;
    assert!(rows.iter().any(|row| row.times == 2));
    // Another camera has its own room, and nameless ones share one.
    fresh.commit(suspect(None, vec![1; 500])).await;
    assert_eq!(count().await.unwrap(), 11);
    for n in 0..10_u8 {
        let when = NOW + 100 + i64::from(n);
        fresh.commit_at(suspect(None, vec![n; 500]), when).await;
    }
    let rows = fresh.store.quarantine(None, 100).await.unwrap().0;
    let nameless: Vec<_> = rows.iter().filter(|row| row.device.is_empty()).collect();
    // 150 bytes are kept of each, so six fit into 1000.
    assert_eq!(nameless.len(), 6);
    assert!(nameless.iter().all(|row| row.size == 500));
}

#[tokio::test]
async fn an_upload_gets_the_next_number_of_an_install_of_its_own() {
    let fresh = fresh!();
    let mut spools = BTreeSet::new();
    for sequence in 1..=3 {
        // The same picture twice is two uploads.
        let picture = fresh.store.upload(&porch(), b"same".as_slice().into(), UPLOAD, NOW).await;
        let picture = picture.unwrap();
        assert_eq!(picture.capture.sequence, number(sequence));
        assert_eq!(picture.cause, Cause::Upload);
        let read = fresh.store.picture_at(picture.arrival).await.unwrap();
        assert_eq!(read.as_ref(), Some(&picture));
        spools.insert(picture.capture.spool);
    }
    assert_eq!(spools.len(), 1);
    assert_eq!(counted(&fresh.porch().await), [3, 3, 0, 0, 0, 0]);
}

#[tokio::test]
async fn a_picture_that_is_given_up_on_is_not_called_damaged() {
    let fresh = fresh!();
    fresh.commit(capture(1, b"one")).await;
    for _ in 0..3 {
        assert_eq!(fresh.claim(&[], &[]).await, [1]);
    }
    assert!(fresh.claim(&[], &[]).await.is_empty());
    let picture = fresh.all().await.remove(0);
    assert_eq!((picture.thumbnail, picture.damaged), (Thumbnail::None, false));
    assert_eq!(fresh.store.pending_thumbnails().await.unwrap(), 0);
}

#[tokio::test]
async fn a_picture_that_ended_the_program_is_claimed_alone() {
    let fresh = fresh!();
    for sequence in 1..=4 {
        fresh.commit(capture(sequence, &[7; 40])).await;
    }
    // The newest first, until 100 bytes are reached.
    assert_eq!(fresh.claim(&[], &[]).await, [4, 3, 2]);
    // The program ended before it stored a result.
    assert_eq!(fresh.claim(&[], &[]).await, [4]);
    assert_eq!(fresh.claim(&[finished(4)], &[]).await, [3]);
    // What could not be read was not tried.
    assert_eq!(fresh.claim(&[], &[3]).await, [3]);
    assert_eq!(fresh.claim(&[], &[3, 2]).await, [3, 2, 1]);
    assert!(fresh.claim(&[finished(3), finished(2), finished(1)], &[]).await.is_empty());
}

#[tokio::test]
async fn finished_thumbnails_are_stored_at_once_and_once() {
    let fresh = fresh!();
    for sequence in 1..=4 {
        fresh.commit(capture(sequence, b"picture")).await;
    }
    let own = FinishedThumbnail { jpeg: None, ..finished(2) };
    let broken = FinishedThumbnail {
        state: Thumbnail::None,
        jpeg: None,
        color: None,
        damaged: true,
        ..finished(3)
    };
    assert!(fresh.store.delete(&fresh.all().await[3]).await.unwrap());
    // Twice, as after a COMMIT whose answer was lost; the fourth was deleted meanwhile.
    for _ in 0..2 {
        let all = [finished(1), own.clone(), broken.clone(), finished(4)];
        assert!(fresh.claim(&all, &[]).await.is_empty());
    }
    let states: Vec<_> = fresh
        .all()
        .await
        .into_iter()
        .map(|picture| (picture.thumbnail, picture.color, picture.damaged))
        .collect();
    assert_eq!(
        states,
        [
            (Thumbnail::Ready, Some(0x0102_0301), false),
            (Thumbnail::Ready, Some(0x0102_0302), false),
            (Thumbnail::None, None, true)
        ]
    );
    for (arrival, expected) in [(1, Some(b"small".to_vec())), (2, None), (3, None), (4, None)] {
        assert_eq!(fresh.store.thumbnail(arrival).await.unwrap(), expected);
    }
}

/// The thumbnail of a picture, with a colour that tells which.
fn finished(arrival: i64) -> FinishedThumbnail {
    FinishedThumbnail {
        arrival,
        state: Thumbnail::Ready,
        jpeg: Some(b"small".to_vec()),
        color: Some(0x0102_0300 + u32::try_from(arrival).unwrap()),
        damaged: false,
    }
}

/// A boot line as `device` sends it.
fn boot_line(device: &DeviceId, line: &BootClockOffset) -> IngestOp {
    let payload = keepsake_protocol::codec::encode(&Event::Boot(line.clone()));
    IngestOp::Event {
        device: device.clone(),
        kind: "boot",
        hash: Hash::of(&payload),
        payload: payload.into(),
        line: Some(line.clone()),
        spool: line.spool,
    }
}

/// A capture of a boot that had not seen the time, and what corrects it.
fn before_the_time(sequence: u64, bytes: &[u8]) -> (IngestOp, BootClockOffset) {
    let mut record = record(sequence, bytes);
    record.pressed = ClockReading {
        boottime_us: 60_000_000,
        wall_us: 0,
        synchronised: false,
        ..moment()
    };
    let line = BootClockOffset {
        boot: record.pressed.boot,
        offset_us: NOW - 3_600_000_000,
        error_us: 5_000,
        at_us: Some(70_000_000),
        estimated: false,
        spool: Some(SPOOL),
    };
    (part_of(&porch(), record, bytes, 0, bytes.len()), line)
}

#[tokio::test]
async fn a_boot_line_corrects_the_pictures_of_its_boot_that_are_stored_already() {
    let fresh = fresh!();
    let (early, line) = before_the_time(1, b"early");
    fresh.commit(early).await;
    assert_eq!(fresh.all().await[0].taken.source, TimeSource::Estimated);

    let operation = boot_line(&porch(), &line);
    let awaited = CommitOutcome::EventStored {
        awaited: match &operation {
            IngestOp::Event { hash, .. } => Some((SPOOL, hash.prefix())),
            other => panic!("{other:?}"),
        },
    };
    // However often it comes, it earns its receipt and changes nothing more.
    for _ in 0..2 {
        assert_eq!(fresh.commit(operation.clone()).await, awaited);
    }
    let (later, _) = before_the_time(2, b"later");
    fresh.commit(later).await;
    let listed = fresh.all().await;
    let latest = fresh.porch().await.latest.unwrap();
    let by_name = fresh.store.picture(&listed[0].id()).await.unwrap().unwrap();
    let at = fresh.store.picture_at(listed[0].arrival).await.unwrap();
    for picture in [&listed[0], &listed[1], &latest, &by_name, &at.unwrap()] {
        assert_eq!(picture.taken.source, TimeSource::Corrected);
        assert_eq!(picture.taken.best_us, line.offset_us + 60_000_000);
        assert_eq!(picture.taken.error_us(), Some(10_001));
    }
}

#[tokio::test]
async fn a_camera_corrects_its_own_pictures_only() {
    let fresh = fresh!();
    let (early, line) = before_the_time(1, b"early");
    fresh.commit(early).await;
    fresh.commit(boot_line(&"shed".parse().unwrap(), &line)).await;
    let other_boot = BootClockOffset { boot: BootId([2; 16]), ..line };
    fresh.commit(boot_line(&porch(), &other_boot)).await;
    assert_eq!(fresh.all().await[0].taken.source, TimeSource::Estimated);
}

#[tokio::test]
async fn a_clock_that_was_set_a_hundred_times_is_believed_in_nothing() {
    let fresh = fresh!();
    let (early, line) = before_the_time(1, b"early");
    fresh.commit(early).await;
    for days in 0..100 {
        let set_back = BootClockOffset { offset_us: line.offset_us - days * DAY, ..line.clone() };
        fresh.commit_at(boot_line(&porch(), &set_back), NOW + days).await;
    }
    let taken = fresh.all().await[0].taken;
    assert!(taken.contradicted);
    assert!(taken.earliest_us.unwrap() <= line.offset_us - 99 * DAY);
    assert!(taken.latest_us >= line.offset_us + 60_000_000);
}

#[tokio::test]
async fn a_command_waits_until_its_camera_answers_or_it_expires() {
    let fresh = fresh!();
    for device in [porch(), "shed".parse().unwrap()] {
        fresh.commit(status_of(&device, SPOOL, 1, &[], &[])).await;
    }
    for id in ["first", "second", "third"] {
        fresh.insert_command(id, CommandKind::Snap, NOW).await;
    }
    let waiting = async |now_us| {
        let waiting = fresh.store.waiting_commands(&porch(), now_us).await;
        let waiting = waiting.unwrap().into_iter();
        waiting.map(|command| command.id).collect::<Vec<_>>()
    };
    // That the broker was handed it says nothing about the camera.
    fresh.store.mark_command_sent("first", NOW + 1).await.unwrap();
    assert_eq!(waiting(NOW + 2).await, ["first", "second", "third"]);
    for (device, id) in [("porch", "second"), ("shed", "third")] {
        let reply = CommandReply {
            id: id.to_owned(),
            stage: CommandStage::Accepted,
            after_us: 1,
            capture: None,
            text: None,
            result: None,
        };
        let device = device.parse().unwrap();
        fresh.commit(IngestOp::Reply { device, reply }).await;
    }
    assert_eq!(waiting(NOW + 59).await, ["first", "third"]);
    assert_eq!(waiting(NOW + 60).await, [""; 0]);
}

#[tokio::test]
async fn what_a_camera_answers_to_a_command_is_kept_as_it_said_it_first() {
    let limits = Limits { commands_max: 2, ..Limits::default() };
    let fresh = fresh!(limits);
    fresh.commit(status_of(&porch(), SPOOL, 1, &[], &[])).await;
    let ask = async |id: &str, at: i64| {
        fresh.insert_command(id, CommandKind::Diagnostics, NOW + at).await;
    };
    ask("one", 0).await;
    for (stage, version) in [
        (CommandStage::Accepted, None),
        (CommandStage::Done, Some(1)),
        (CommandStage::Done, Some(2)),
    ] {
        let reply = CommandReply {
            id: "one".to_owned(),
            stage,
            after_us: 1,
            capture: None,
            text: None,
            result: version.map(|version| [("version".to_owned(), version.into())].into_iter().collect()),
        };
        let device = porch();
        fresh.commit(IngestOp::Reply { device, reply }).await;
    }
    let known = fresh.store.commands(&porch(), 9).await.unwrap();
    assert_eq!(known[0].result.as_ref().unwrap()["version"], 1);
    // It goes with its command.
    for (number, id) in ["two", "three", "four"].into_iter().enumerate() {
        ask(id, 1 + i64::try_from(number).unwrap()).await;
    }
    let known = fresh.store.commands(&porch(), 9).await.unwrap();
    assert!(known.iter().all(|command| command.id != "one"));
    ask("one", 9).await;
    let known = fresh.store.commands(&porch(), 9).await.unwrap();
    assert_eq!((known[0].id.as_str(), &known[0].result), ("one", &None));
}

#[tokio::test]
async fn settings_only_rise_and_whoever_was_slower_changes_nothing() {
    let limits = Limits { settings_max: 3, ..Limits::default() };
    let fresh = fresh!(limits);
    let values = |interval: u64| -> serde_json::Map<String, serde_json::Value> {
        [("capture_interval_s".to_owned(), interval.into())].into_iter().collect()
    };
    let change = async |based_on, ahead, interval| {
        let values = values(interval);
        let changed = fresh.store.update_settings(&porch(), based_on, ahead, &values, NOW).await;
        match changed.unwrap() {
            SettingsUpdate::To(desired) => {
                assert_eq!(desired.values, values);
                Ok((desired.version, desired.revision))
            }
            SettingsUpdate::Conflict(version) => Err(version),
        }
    };
    assert_eq!(fresh.store.settings(&porch()).await.unwrap(), None);
    let (version, first) = change(0, None, 10).await.unwrap();
    assert_eq!(version, 1);
    assert_eq!(change(0, None, 20).await, Err(1));
    // The same again is no change, and earns no version.
    assert_eq!(change(1, None, 10).await, Ok((1, first)));
    let (version, second) = change(1, None, 20).await.unwrap();
    assert_eq!(version, 2);
    assert!(second != first && second != 0);
    // The camera is ahead: this store was restored from a backup.
    let (version, _) = change(2, Some(9), 20).await.unwrap();
    assert_eq!(version, 10);
    // Nobody is ahead by as much as this.
    let (version, _) = change(10, Some(u64::MAX), 30).await.unwrap();
    assert_eq!(version, 11);
    for version in 11..20 {
        change(version, None, version).await.unwrap();
    }
    let desired = fresh.store.settings(&porch()).await.unwrap().unwrap();
    assert_eq!((desired.version, desired.values), (20, values(19)));
    assert_eq!(fresh.store.settings(&"shed".parse().unwrap()).await.unwrap(), None);
}

/// One step of a life.
#[derive(Debug, Clone)]
enum Step {
    Capture { sequence: u64, bytes: u8 },
    Part { sequence: u64, bytes: u8, cut: usize, first: bool },
    Tombstone { first: u64, length: u64 },
    Delete { sequence: u64, bytes: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    let (sequence, bytes) = (1..12_u64, 0..2_u8);
    prop_oneof![
        (sequence.clone(), bytes.clone()).prop_map(|(sequence, bytes)| Step::Capture { sequence, bytes }),
        (sequence.clone(), bytes.clone(), 1..49_usize, any::<bool>())
            .prop_map(|(sequence, bytes, cut, first)| { Step::Part { sequence, bytes, cut, first } }),
        (sequence.clone(), 0..4_u64).prop_map(|(first, length)| Step::Tombstone { first, length }),
        (sequence, bytes).prop_map(|(sequence, bytes)| Step::Delete { sequence, bytes }),
    ]
}

/// The expected contents of the store: the fate of each (sequence, bytes), and the presses that failed.
#[derive(Default)]
struct Model {
    pictures: BTreeMap<(u64, u8), bool>,
    failed: BTreeSet<u64>,
    parts: BTreeMap<(u64, u8), BTreeSet<usize>>,
}

impl Model {
    fn store(&mut self, sequence: u64, bytes: u8) {
        self.pictures.entry((sequence, bytes)).or_insert(true);
        self.failed.remove(&sequence);
    }

    fn counters(&self) -> [u64; 3] {
        let stored = self.pictures.values().filter(|stored| **stored).count();
        let deleted = self.pictures.len() - stored;
        [stored as u64, deleted as u64, self.failed.len() as u64]
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_counters_are_what_a_recount_gives(steps in proptest::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let fresh = fresh!();
            let mut model = Model::default();
            let whole = |sequence: u64, bytes: u8| vec![u8::try_from(sequence).unwrap() + 100 * bytes; 50];
            for step in steps {
                match step {
                    Step::Capture { sequence, bytes } => {
                        fresh.commit(capture(sequence, &whole(sequence, bytes))).await;
                        model.store(sequence, bytes);
                    }
                    Step::Part { sequence, bytes, cut, first } => {
                        let all = whole(sequence, bytes);
                        let (start, end) = if first { (0, cut) } else { (cut, 50) };
                        fresh.commit(part(sequence, &all, start, end)).await;
                        if !model.pictures.contains_key(&(sequence, bytes)) {
                            let parts = model.parts.entry((sequence, bytes)).or_default();
                            parts.extend(start..end);
                            if parts.len() == 50 {
                                model.parts.remove(&(sequence, bytes));
                                model.store(sequence, bytes);
                            }
                        }
                    }
                    Step::Tombstone { first, length } => {
                        fresh.commit(tombstone(first, first + length)).await;
                        for sequence in first..=first + length {
                            if !model.pictures.keys().any(|(known, _)| *known == sequence) {
                                model.failed.insert(sequence);
                            }
                        }
                    }
                    Step::Delete { sequence, bytes } => {
                        let hash = Hash::of(&whole(sequence, bytes));
                        let all = fresh.all().await;
                        if let Some(picture) = all.iter().find(|picture| picture.hash == hash) {
                            fresh.store.delete(picture).await.unwrap();
                            model.pictures.insert((sequence, bytes), false);
                        }
                    }
                }
                if let Some(porch) = fresh.store.device(&porch(), NOW).await.unwrap() {
                    let found = [porch.counters.stored, porch.counters.deleted, porch.counters.failed];
                    assert_eq!(found, model.counters());
                    let of_all = porch.spools.iter().map(|spool| spool.counters).sum::<keepsake_cloud::store::Counters>();
                    assert_eq!(of_all, porch.counters);
                }
            }
            let stored = model.pictures.values().filter(|stored| **stored).count();
            assert_eq!(fresh.all().await.len(), stored);
        });
    }
}
