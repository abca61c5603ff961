//! Contract of all places for objects, and what S3 may do wrong.

mod s3_server;

mod harness;

use bytes::Bytes;
use futures_util::TryStreamExt;
use keepsake_cloud::objects::{
    BytesSetting, NewObject, ObjectError, ObjectKey, ObjectStore, PlaceMarker, read_all, verify,
};
use keepsake_protocol::StoreId;
use s3_server::{Fault, S3Server, needs_credentials};

pub(crate) const MARKER: PlaceMarker = PlaceMarker { store: StoreId([7; 16]), place: 1 };

fn key() -> ObjectKey {
    ObjectKey::new("jpg", keepsake_cloud::now_us())
}

fn object(bytes: impl Into<Bytes>) -> NewObject {
    NewObject { name: "porch/one.jpg".to_owned(), bytes: bytes.into() }
}

/// Stores one object alone.
async fn put(objects: &ObjectStore, bytes: &'static [u8]) -> Result<ObjectKey, ObjectError> {
    objects.put_batch(vec![object(bytes)]).await.remove(0)
}

async fn folder(root: &std::path::Path) -> ObjectStore {
    let objects = ObjectStore::open(&BytesSetting::Folder(root.to_owned())).unwrap().unwrap();
    objects.set_marker(&MARKER).await.unwrap();
    objects
}

async fn list(objects: &ObjectStore) -> Vec<(ObjectKey, u64)> {
    let mut all: Vec<_> = objects.list().map_ok(|object| (object.key, object.len)).try_collect().await.unwrap();
    all.sort();
    all
}

async fn what_is_stored_is_read_listed_and_deleted(objects: &ObjectStore) {
    assert_eq!(objects.marker().await.unwrap(), Some(MARKER));
    let large: Bytes = (0..1_000_003_u32)
        .map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1])
        .collect::<Vec<u8>>()
        .into();
    let mut new = vec![object(large.clone())];
    new.extend((0..40_u8).map(|number| object(vec![number; 100])));
    let stored = objects.put_batch(new.clone()).await.into_iter().zip(new);
    let mut batch: Vec<_> = stored.map(|(key, object)| (key.unwrap(), object.bytes)).collect();
    batch.push((put(objects, b"alone").await.unwrap(), Bytes::from_static(b"alone")));
    for (key, bytes) in &batch {
        let found = read_all(objects.get(key, 0..bytes.len() as u64).await.unwrap()).await.unwrap();
        assert!(found == *bytes, "{key}");
    }
    let range = read_all(objects.get(&batch[0].0, 300_001..900_002).await.unwrap()).await.unwrap();
    assert!(range == large[300_001..900_002]);

    let mut expected: Vec<_> = batch.iter().map(|(key, bytes)| (key.clone(), bytes.len() as u64)).collect();
    expected.sort();
    assert_eq!(list(objects).await, expected);

    let gone: Vec<ObjectKey> = batch.iter().map(|(key, _)| key.clone()).collect();
    objects.delete(&gone[..20]).await.unwrap();
    // Twice is as good as once.
    objects.delete(&gone).await.unwrap();
    assert_eq!(list(objects).await, []);
    for missing in [objects.get(&gone[0], 0..1).await, objects.get(&key(), 0..1).await] {
        assert!(matches!(missing.err(), Some(ObjectError::Missing { .. })));
    }
    objects.probe().await.unwrap();
    assert_eq!(list(objects).await, []);
}

#[tokio::test]
async fn a_folder_keeps_the_contract() {
    let root = tempfile::tempdir().unwrap();
    what_is_stored_is_read_listed_and_deleted(&folder(root.path()).await).await;
}

#[tokio::test]
async fn a_bucket_keeps_the_contract() {
    needs_credentials!();
    let server = S3Server::start().await;
    let objects = server.bucket().await;
    what_is_stored_is_read_listed_and_deleted(&objects).await;
    objects.set_marker(&PlaceMarker { place: 2, ..MARKER }).await.unwrap();
    assert_eq!(objects.marker().await.unwrap().unwrap().place, 2);
}

#[tokio::test]
async fn an_upload_is_repeated_until_the_bucket_takes_it() {
    needs_credentials!();
    let server = S3Server::start().await;
    let objects = server.bucket().await;
    for faults in [
        &[Fault::Error, Fault::SlowDown, Fault::SlowDown][..],
        &[Fault::Disconnect],
        &[Fault::Hang],
    ] {
        server.fail(faults);
        let key = put(&objects, b"one").await.unwrap();
        assert_eq!(server.faults_left(), 0, "{faults:?}");
        assert_eq!(read_all(objects.get(&key, 0..3).await.unwrap()).await.unwrap(), b"one");
    }
    server.fail(&[Fault::Error; 20]);
    let refused = put(&objects, b"one").await;
    assert!(matches!(refused, Err(ObjectError::S3 { .. })), "{refused:?}");
}

#[tokio::test]
async fn an_upload_that_changes_on_its_way_is_refused() {
    needs_credentials!();
    let server = S3Server::start().await;
    let objects = server.bucket().await;
    server.fail(&[Fault::ChangeUpload; 20]);
    assert!(put(&objects, b"one").await.is_err());
    server.fail(&[]);
    assert_eq!(list(&objects).await, []);
}

#[tokio::test]
async fn no_other_bytes_than_those_stored_are_read() {
    needs_credentials!();
    let server = S3Server::start().await;
    let objects = server.bucket().await;
    let bytes = Bytes::from(vec![7; 300_000]);
    let hash = keepsake_protocol::Hash::of(&bytes);
    let key = objects.put_batch(vec![object(bytes.clone())]).await.remove(0).unwrap();
    let read = async |fault: Fault| {
        server.fail(&[fault]);
        let stream = objects.get(&key, 0..300_000).await?;
        read_all(verify::verified(stream, key.clone(), hash).await?).await
    };
    for (fault, lost) in [(Fault::ChangeDownload, true), (Fault::LoseUploads, false)] {
        // The second one concerns uploads only.
        assert_eq!(read(fault).await.is_err_and(|error| error.is_loss()), lost, "{fault:?}");
    }
    for fault in [Fault::Truncate, Fault::Error, Fault::SlowDown] {
        // Read again from where it broke, or an error; never fewer bytes.
        if let Ok(found) = read(fault).await {
            assert!(found == bytes, "{fault:?}: {} bytes", found.len());
        }
    }
}

#[tokio::test]
async fn a_bucket_that_does_not_keep_what_it_takes_is_found_by_the_probe() {
    needs_credentials!();
    let server = S3Server::start().await;
    let objects = server.bucket().await;
    objects.probe().await.unwrap();
    server.fail(&[Fault::LoseUploads]);
    assert!(objects.probe().await.is_err());
}

#[tokio::test]
async fn a_folder_has_one_file_for_each_batch() {
    let root = tempfile::tempdir().unwrap();
    let objects = folder(root.path()).await;
    put(&objects, b"alone").await.unwrap();
    let batch: Vec<_> = objects.put_batch(vec![object("one"), object("two")]).await;
    let batch: Vec<ObjectKey> = batch.into_iter().map(Result::unwrap).collect();
    let files = || harness::files(root.path(), "jpg").len() + harness::files(root.path(), "tar").len();
    assert_eq!(files(), 2);
    objects.delete(&batch[..1]).await.unwrap();
    assert_eq!(files(), 2);
    assert_eq!(read_all(objects.get(&batch[1], 1..3).await.unwrap()).await.unwrap(), b"wo");
    objects.delete(&batch[1..]).await.unwrap();
    assert_eq!(files(), 1);
}

#[tokio::test]
async fn a_folder_whose_disk_is_gone_is_never_written_to() {
    let root = tempfile::tempdir().unwrap();
    let objects = folder(root.path()).await;
    put(&objects, b"x").await.unwrap();
    // As if it was unmounted: the mount point is there, and empty.
    std::fs::remove_dir_all(root.path()).unwrap();
    std::fs::create_dir(root.path()).unwrap();
    for _ in 0..2 {
        put(&objects, b"x").await.unwrap_err();
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
