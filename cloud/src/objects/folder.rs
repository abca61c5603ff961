//! A folder of ordinary files: one picture, or a tar archive of all pictures that were stored together.
//!
//! A file for each picture costs a share of the file system's journal for each, several times as much as one archive
//! that is fsynced once; the figures are in docs/decisions/0021-objects.md.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::objects::archive;
use crate::objects::error::ObjectError;
use crate::objects::key::ObjectKey;
use crate::objects::name::NewObject;
use crate::objects::object::{ByteStream, CHUNK_BYTES, ListedObject, PlaceMarker, Result};

/// Listed files that wait for their reader.
const LISTED_MAX: usize = 1000;

#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    /// The last directory that was made; it and its parents are durable.
    made: Mutex<PathBuf>,
}

impl Folder {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, made: Mutex::default() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the path of the file that has an object.
    fn path(&self, key: &ObjectKey) -> PathBuf {
        self.root.join(key.file().0)
    }

    pub(super) async fn put_batch(self: &Arc<Self>, objects: Vec<NewObject>) -> Vec<Result<ObjectKey>> {
        let count = objects.len();
        let folder = Arc::clone(self);
        let stored = blocking(move || {
            folder.put(&objects).inspect_err(|_| {
                // The directory may have gone, for example because its disk was unmounted.
                *folder.made.lock() = PathBuf::new();
            })
        });
        match stored.await {
            Ok(keys) => keys.into_iter().map(Ok).collect(),
            Err(error) => (0..count).map(|_| Err(error.again())).collect(),
        }
    }

    /// Writes the objects into one new file, durable with its name: an archive, unless there is only one object.
    fn put(&self, objects: &[NewObject]) -> Result<Vec<ObjectKey>> {
        let now_us = crate::now_us();
        let key = match objects {
            [] => return Ok(Vec::new()),
            [object] => ObjectKey::new(object.extension(), now_us),
            _ => ObjectKey::new("tar", now_us),
        };
        let path = self.path(&key);
        let directory = path.parent().expect("a key has directories");
        self.make(directory)?;
        let keys = match objects {
            [object] => {
                write(&path, &object.bytes)?;
                vec![key]
            }
            _ => {
                let offsets = archive::create(&path, objects).map_err(failed("write", &path))?;
                offsets.into_iter().map(|offset| key.member(offset)).collect()
            }
        };
        // A file without its name in a durable directory would be lost in a power cut.
        sync_directory(directory)?;
        Ok(keys)
    }

    /// Makes a directory, durable with its parents.
    fn make(&self, directory: &Path) -> Result<()> {
        if *self.made.lock() == *directory {
            return Ok(());
        }
        // Without it, the disk of the folder may not be mounted.
        let marker = self.root.join(PlaceMarker::NAME);
        std::fs::metadata(&marker).map_err(failed("look at", &marker))?;
        std::fs::create_dir_all(directory).map_err(failed("create", directory))?;
        let parents = directory.ancestors().skip(1).take_while(|parent| parent.starts_with(&self.root));
        for parent in parents {
            sync_directory(parent)?;
        }
        directory.clone_into(&mut self.made.lock());
        Ok(())
    }

    pub(super) async fn get(&self, key: &ObjectKey, range: Range<u64>) -> Result<ByteStream> {
        let path = self.path(key);
        let missing = ObjectError::Missing { key: key.clone() };
        let key = key.clone();
        // The first chunk is read together with the opening: most pictures are not larger.
        let begun = blocking(move || {
            let Some((file, extent)) = open(&path, &key)? else {
                return Err(missing);
            };
            if extent.end - extent.start < range.end {
                return Err(missing);
            }
            let range = extent.start + range.start..extent.start + range.end;
            let mut rest = Rest { file, path, range };
            let first = rest.read()?;
            Ok((first, rest))
        });
        let (first, rest) = begun.await?;
        let rest = stream::try_unfold(rest, |mut rest| async move {
            if rest.range.is_empty() {
                return Ok(None);
            }
            blocking(move || Ok(Some((rest.read()?, rest)))).await
        });
        Ok(stream::once(async { Ok(first) }).chain(rest).boxed())
    }

    pub(super) async fn length(&self, key: &ObjectKey) -> Result<Option<u64>> {
        let path = self.path(key);
        let key = key.clone();
        blocking(move || Ok(open(&path, &key)?.map(|(_, extent)| extent.end - extent.start))).await
    }

    pub(super) async fn delete(&self, keys: &[ObjectKey]) -> Result<()> {
        let mut files: BTreeMap<PathBuf, Vec<u64>> = BTreeMap::new();
        for key in keys {
            files.entry(self.path(key)).or_default().extend(key.file().1);
        }
        blocking(move || files.iter().try_for_each(|(path, members)| delete(path, members))).await
    }

    pub(super) fn list(&self) -> BoxStream<'static, Result<ListedObject>> {
        let (listed, reader) = mpsc::channel(LISTED_MAX);
        let root = self.root.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = walk(&root, &listed) {
                let _ = listed.blocking_send(Err(error));
            }
        });
        stream::unfold(reader, |mut reader| async { reader.recv().await.map(|listed| (listed, reader)) }).boxed()
    }

    pub(super) async fn read_marker(&self) -> Result<Option<Vec<u8>>> {
        let path = self.root.join(PlaceMarker::NAME);
        blocking(move || match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            opened => {
                let mut bytes = Vec::new();
                let file = opened.map_err(failed("open", &path))?;
                file.take(PlaceMarker::BYTES_MAX).read_to_end(&mut bytes).map_err(failed("read", &path))?;
                Ok(Some(bytes))
            }
        })
        .await
    }

    pub(super) async fn write_marker(&self, bytes: Vec<u8>) -> Result<()> {
        let root = self.root.clone();
        blocking(move || {
            std::fs::create_dir_all(&root).map_err(failed("create", &root))?;
            let (path, new) = (root.join(PlaceMarker::NAME), root.join("keepsake.json.new"));
            let _ = std::fs::remove_file(&new);
            write(&new, &bytes)?;
            std::fs::rename(&new, &path).map_err(failed("name", &path))?;
            sync_directory(&root)?;
            root.parent().map_or(Ok(()), sync_directory)
        })
        .await
    }
}

/// The part of a file that is still to be read.
struct Rest {
    file: File,
    path: PathBuf,
    range: Range<u64>,
}

impl Rest {
    fn read(&mut self) -> Result<Bytes> {
        let len = CHUNK_BYTES.min(self.range.end.saturating_sub(self.range.start));
        let mut chunk = vec![0; usize::try_from(len).expect("a chunk fits into memory")];
        self.file
            .read_exact_at(&mut chunk, self.range.start)
            .map_err(failed("read", &self.path))?;
        self.range.start += len;
        Ok(chunk.into())
    }
}

/// Writes a new file and fsyncs it. What could not be written completely is removed.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = File::create_new(path).map_err(failed("create", path))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(|source| {
        let _ = std::fs::remove_file(path);
        failed("write", path)(source)
    })
}

fn sync_directory(path: &Path) -> Result<()> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(failed("sync", path))
}

/// Opens the file of an object. Returns it with the extent of the object's bytes; nothing if there is no such object.
fn open(path: &Path, key: &ObjectKey) -> Result<Option<(File, Range<u64>)>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed("open", path))?,
    };
    let extent = match key.file().1 {
        None => {
            let len = file.metadata().map_err(failed("read the length of", path))?.len();
            Some(0..len)
        }
        Some(offset) => {
            let member = archive::member(&file, offset).map_err(failed("read", path))?;
            let member = member.filter(|member| !member.deleted);
            member.map(|member| member.offset..member.offset + member.len)
        }
    };
    Ok(extent.map(|extent| (file, extent)))
}

/// Deletes a file, or members of it if there are any, and with the last member the file.
fn delete(path: &Path, members: &[u64]) -> Result<()> {
    if !members.is_empty() {
        let file = match File::options().read(true).write(true).open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            opened => opened.map_err(failed("open", path))?,
        };
        for offset in members {
            archive::delete(&file, *offset).map_err(failed("delete from", path))?;
        }
        let rest = archive::members(&file).map_err(failed("read", path))?;
        if rest.iter().any(|member| !member.deleted) {
            return Ok(());
        }
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(failed("delete", path)),
    }
}

/// Sends every object below `root` to a reader, until the reader is gone.
fn walk(root: &Path, listed: &mpsc::Sender<Result<ListedObject>>) -> Result<()> {
    for day in names(root)? {
        for hour in names(&root.join(&day))? {
            let directory = root.join(&day).join(&hour);
            for name in names(&directory)? {
                let Ok(key) = format!("{day}/{hour}/{name}").parse::<ObjectKey>() else {
                    continue;
                };
                for object in objects(&directory.join(&name), &key)? {
                    if listed.blocking_send(Ok(object)).is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }
    Ok(())
}

/// Returns the objects in a file. An archive without any, which was cut off or whose members are all deleted, is itself
/// an object.
fn objects(path: &Path, key: &ObjectKey) -> Result<Vec<ListedObject>> {
    let file = match File::open(path) {
        // Deleted since.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened.map_err(failed("open", path))?,
    };
    let metadata = file.metadata().map_err(failed("look at", path))?;
    if !metadata.is_file() {
        return Ok(Vec::new());
    }
    if key.as_str().ends_with(".tar") {
        let mut members = archive::members(&file).map_err(failed("read", path))?;
        members.retain(|member| !member.deleted);
        if !members.is_empty() {
            let object = |member: &archive::Member| ListedObject {
                key: key.member(member.offset),
                len: member.len,
                modified: member.modified,
            };
            return Ok(members.iter().map(object).collect());
        }
    }
    let modified = metadata.modified().map_err(failed("look at", path))?;
    Ok(vec![ListedObject { key: key.clone(), len: metadata.len(), modified }])
}

/// Returns the sorted names in a directory; none if it is no directory.
fn names(directory: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Vec::new()),
        entries => entries.map_err(failed("list", directory))?,
    };
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.map(|entry| entry.file_name().into_string().ok());
    let mut names = entries
        .filter_map(|entry| name(entry).transpose())
        .collect::<std::io::Result<Vec<String>>>()
        .map_err(failed("list", directory))?;
    names.sort_unstable();
    Ok(names)
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ObjectError + use<> {
    let path = path.to_owned();
    move |source| ObjectError::File { what, path, source }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(ObjectError::Interrupted))
}
