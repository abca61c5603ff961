//! Places of a store: which one a picture is in, and what happens when a place moves, vanishes or fails.

mod harness;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use keepsake_cloud::args::{Args, BytesCommand, Command};
use keepsake_cloud::config::Config;
use keepsake_cloud::now_us;
use keepsake_cloud::objects::{BytesPlace, BytesSetting, NewObject};
use keepsake_cloud::ops::orphan_sweep::{self, SweepTerms};
use keepsake_cloud::store::{Limits, NewBytes, Picture, Store, StoreError, Upload};
use keepsake_protocol::capture::ContentType;

struct Fixture {
    root: tempfile::TempDir,
    store: Store,
}

impl Fixture {
    async fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path().join("data"), Limits::default()).await.unwrap();
        Self { root, store }
    }

    fn folder(&self, name: &str) -> BytesSetting {
        BytesSetting::Folder(self.root.path().join(name))
    }

    async fn upload(&self, bytes: &[u8]) -> Picture {
        let upload = Upload {
            content_type: ContentType::Jpeg,
            width: 1,
            height: 1,
            damaged: false,
        };
        self.store
            .upload(&"camera".parse().unwrap(), Bytes::copy_from_slice(bytes), upload, now_us())
            .await
            .unwrap()
    }

    async fn bytes_command(&self, command: BytesCommand) -> anyhow::Result<()> {
        let data = self.root.path().join("data");
        let config = Config::load(&<Args as clap::Parser>::parse_from(["cloud", "--data", data.to_str().unwrap()]));
        keepsake_cloud::commands::run(&Command::Bytes(command), &config.unwrap()).await
    }

    async fn move_to(&self, to: &BytesSetting, keep_days: u16) {
        let command = BytesCommand::Move { to: Some(to.to_string()), keep_days, rate: None };
        self.bytes_command(command).await.unwrap();
    }

    async fn image(&self, picture: &Picture) -> Vec<u8> {
        self.store.image(picture.arrival).await.unwrap().unwrap()
    }

    fn files(&self, name: &str) -> Vec<PathBuf> {
        let folder = self.root.path().join(name);
        [harness::files(&folder, "jpg"), harness::files(&folder, "tar")].concat()
    }
}

async fn put(place: &BytesPlace, bytes: &'static [u8]) -> keepsake_cloud::objects::DurableObject {
    let objects = vec![NewObject { name: "one.jpg".to_owned(), bytes: Bytes::from_static(bytes) }];
    place.put_batch(objects).await.remove(0).unwrap()
}

#[tokio::test]
async fn bytes_move_between_all_places_and_stay_the_same() {
    let on = Fixture::new().await;
    let large = vec![7; 20 * 1024 * 1024];
    let pictures = [on.upload(b"one").await, on.upload(&large).await, on.upload(b"three").await];
    let (a, b) = (on.folder("a"), on.folder("b"));
    for (to, in_a, in_b) in [(&a, 3, 0), (&b, 0, 3), (&BytesSetting::Database, 0, 0), (&b, 0, 3)] {
        on.move_to(to, 0).await;
        on.store.collect_garbage(now_us()).await.unwrap();
        for (picture, bytes) in pictures.iter().zip([&b"one"[..], &large, b"three"]) {
            assert!(on.image(picture).await == bytes, "{to}");
        }
        for (name, expected) in [("a", in_a), ("b", in_b)] {
            if on.root.path().join(name).exists() {
                assert_eq!(on.files(name).len(), expected, "{name} after moving to {to}");
            }
        }
    }
    on.bytes_command(BytesCommand::Check { read: true }).await.unwrap();
}

#[tokio::test]
async fn moved_bytes_stay_in_the_old_place_for_a_while() {
    let on = Fixture::new().await;
    on.upload(b"one").await;
    on.move_to(&on.folder("a"), 0).await;
    on.move_to(&on.folder("b"), 7).await;
    let day_us = 24 * 3600 * 1_000_000;
    assert_eq!(on.store.collect_garbage(now_us() + 6 * day_us).await.unwrap(), 0);
    assert_eq!(on.files("a").len(), 1);
    // It is no orphan either.
    let terms = SweepTerms { age_min: Duration::ZERO, second_look_after: Duration::ZERO };
    assert_eq!(orphan_sweep::sweep(&on.store, terms).await.unwrap(), 0);
    assert_eq!(on.store.collect_garbage(now_us() + 7 * day_us).await.unwrap(), 1);
    assert_eq!((on.files("a").len(), on.files("b").len()), (0, 1));
}

#[tokio::test]
async fn a_deleted_picture_leaves_no_file_even_if_its_disk_was_away() {
    let on = Fixture::new().await;
    let pictures = [on.upload(b"one").await, on.upload(b"two").await];
    on.move_to(&on.folder("a"), 0).await;
    assert!(on.store.delete(&pictures[0]).await.unwrap());
    assert_eq!(on.files("a").len(), 1);

    let (here, away) = (on.root.path().join("a"), on.root.path().join("away"));
    std::fs::rename(&here, &away).unwrap();
    let store = Store::open(on.root.path().join("data"), Limits::default()).await.unwrap();
    assert!(store.delete(&pictures[1]).await.unwrap());
    assert!(matches!(store.collect_garbage(now_us()).await, Err(StoreError::EmptyPlace(_))));
    assert_eq!(store.image(pictures[1].arrival).await.unwrap(), None);
    std::fs::rename(&away, &here).unwrap();
    assert_eq!(store.collect_garbage(now_us()).await.unwrap(), 1);
    assert_eq!(on.files("a").len(), 0);
}

#[tokio::test]
async fn a_place_that_was_moved_is_recognised_and_another_one_is_refused() {
    let on = Fixture::new().await;
    let picture = on.upload(b"one").await;
    let first = on.store.open_place(&on.folder("a")).await.unwrap().unwrap();
    on.move_to(&on.folder("a"), 0).await;
    std::fs::rename(on.root.path().join("a"), on.root.path().join("b")).unwrap();

    let store = Store::open(on.root.path().join("data"), Limits::default()).await.unwrap();
    // The mount point without its disk.
    std::fs::create_dir(on.root.path().join("a")).unwrap();
    assert!(matches!(store.open_place(&on.folder("a")).await, Err(StoreError::EmptyPlace(_))));
    assert_eq!(std::fs::read_dir(on.root.path().join("a")).unwrap().count(), 0);
    let second = store.open_place(&on.folder("b")).await.unwrap().unwrap();
    assert_eq!(second.id, first.id);
    assert_eq!(store.image(picture.arrival).await.unwrap().unwrap(), b"one");

    let other = Fixture::new().await;
    assert!(matches!(other.store.open_place(&on.folder("b")).await, Err(StoreError::ForeignPlace(_))));
}

#[tokio::test]
async fn a_check_finds_what_is_missing_and_what_has_changed() {
    let on = Fixture::new().await;
    for bytes in [b"one", b"two"] {
        on.upload(bytes).await;
        // Each alone, in a file of its own.
        on.move_to(&on.folder("a"), 0).await;
    }
    on.bytes_command(BytesCommand::Check { read: false }).await.unwrap();
    let files = on.files("a");
    std::fs::write(&files[0], b"oNe").unwrap();
    on.bytes_command(BytesCommand::Check { read: false }).await.unwrap();
    let found = on.bytes_command(BytesCommand::Check { read: true }).await.unwrap_err();
    assert!(found.to_string().contains("bytes of 1 pictures"), "{found}");
    std::fs::remove_file(&files[1]).unwrap();
    let found = on.bytes_command(BytesCommand::Check { read: false }).await.unwrap_err();
    assert!(found.to_string().contains("bytes of 1 pictures"), "{found}");
    // A move leaves them where they are, and goes on with the others.
    let whole = on.upload(b"three").await;
    on.move_to(&on.folder("b"), 0).await;
    assert_eq!(on.files("b").len(), 1);
    assert_eq!(on.image(&whole).await, b"three");
}

#[tokio::test]
async fn a_sweep_deletes_old_orphans_and_nothing_else() {
    let on = Fixture::new().await;
    let place = on.store.open_place(&on.folder("a")).await.unwrap().unwrap();
    let named = on.upload(b"named").await;
    on.move_to(&on.folder("a"), 0).await;
    put(&place, b"orphan").await;
    std::fs::write(on.root.path().join("a/notes.txt"), b"of a person").unwrap();
    let sweep = async |age_s| {
        let terms = SweepTerms {
            age_min: Duration::from_secs(age_s),
            second_look_after: Duration::ZERO,
        };
        orphan_sweep::sweep(&on.store, terms).await.unwrap()
    };
    assert_eq!(sweep(60).await, 0);
    assert_eq!(sweep(0).await, 1);
    let left: Vec<_> = place.objects.list().map_ok(|object| object.len).try_collect().await.unwrap();
    assert_eq!(left, [5]);
    assert_eq!(on.image(&named).await, b"named");
    assert!(Path::exists(&on.root.path().join("a/notes.txt")));
}

#[tokio::test]
async fn an_object_that_is_named_between_the_two_looks_of_a_sweep_stays() {
    let on = Fixture::new().await;
    let place = on.store.open_place(&on.folder("a")).await.unwrap().unwrap();
    let picture = on.upload(b"named").await;
    let image = on.store.stored_images_after(0, 1).await.unwrap().remove(0);
    // The clock has jumped, so that the object looks older than any grace.
    let object = put(&place, b"named").await;
    let terms = SweepTerms {
        age_min: Duration::ZERO,
        second_look_after: Duration::from_millis(500),
    };
    let commit = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        on.store.relocate(&[(image, NewBytes::Object(object))], now_us()).await.unwrap()
    };
    let (swept, committed) = tokio::join!(orphan_sweep::sweep(&on.store, terms), commit);
    assert_eq!((swept.unwrap(), committed), (0, 1));
    assert_eq!(on.image(&picture).await, b"named");
}
