//! A folder of ordinary files, one for each picture.
//!
//! Each file and its directory are fsynced. The files of a batch are fsynced at the same time, so that the file system
//! writes its journal once for many of them; the figures are in docs/decisions/0021-objects.md.

use std::collections::BTreeSet;
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

use crate::objects::error::ObjectError;
use crate::objects::key::ObjectKey;
use crate::objects::object::{ByteStream, CHUNK_BYTES, ListedObject, PlaceMarker, Result};

/// Files that are written at the same time.
const WRITES_MAX: usize = 32;
/// Listed files that wait for their reader.
const LISTED_MAX: usize = 1000;

#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    /// The last directory that was made; it and its parents are durable.
    made: Mutex<String>,
}

impl Folder {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, made: Mutex::default() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, key: &ObjectKey) -> PathBuf {
        self.root.join(key.as_str())
    }

    pub(super) async fn put_batch(self: &Arc<Self>, objects: Vec<(ObjectKey, Bytes)>) -> Vec<Result<()>> {
        let directories: BTreeSet<String> = objects.iter().map(|(key, _)| key.split().0.to_owned()).collect();
        let folder = Arc::clone(self);
        let made = {
            let directories = directories.clone();
            blocking(move || folder.make(&directories)).await
        };
        if let Err(error) = made {
            return objects.iter().map(|_| Err(error.again())).collect();
        }
        let mut results: Vec<Result<()>> = stream::iter(objects.iter().cloned())
            .map(|(key, bytes)| {
                let path = self.path(&key);
                blocking(move || write(&path, &bytes))
            })
            .buffered(WRITES_MAX)
            .collect()
            .await;
        if results.iter().any(Result::is_err) {
            // The directory may have gone, for example because its disk was unmounted.
            self.made.lock().clear();
        }
        // A file without its name in a durable directory would be lost in a power cut.
        for directory in directories {
            let path = self.root.join(&directory);
            if let Err(error) = blocking(move || sync_directory(&path)).await {
                let here = objects.iter().zip(&mut results).filter(|((key, _), _)| key.split().0 == directory);
                for (_, result) in here {
                    if result.is_ok() {
                        *result = Err(error.again());
                    }
                }
            }
        }
        results
    }

    /// Makes directories, durable with their parents.
    fn make(&self, directories: &BTreeSet<String>) -> Result<()> {
        for directory in directories {
            if *self.made.lock() == *directory {
                continue;
            }
            // Without it, the disk of the folder may not be mounted.
            let marker = self.root.join(PlaceMarker::NAME);
            std::fs::metadata(&marker).map_err(failed("look at", &marker))?;
            let path = self.root.join(directory);
            std::fs::create_dir_all(&path).map_err(failed("create", &path))?;
            let parents = path.ancestors().skip(1).take_while(|parent| parent.starts_with(&self.root));
            for parent in parents {
                sync_directory(parent)?;
            }
            self.made.lock().clone_from(directory);
        }
        Ok(())
    }

    pub(super) async fn get(&self, key: &ObjectKey, range: Range<u64>) -> Result<ByteStream> {
        let path = self.path(key);
        let missing = ObjectError::Missing { key: key.clone() };
        // The first chunk is read together with the opening: most pictures are not larger.
        let begun = blocking(move || {
            let file = match File::open(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Err(missing),
                opened => opened.map_err(failed("open", &path))?,
            };
            let len = file.metadata().map_err(failed("read the length of", &path))?.len();
            if len < range.end {
                return Err(missing);
            }
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
        blocking(move || match std::fs::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            found => Ok(Some(found.map_err(failed("look at", &path))?.len())),
        })
        .await
    }

    pub(super) async fn delete(&self, keys: &[ObjectKey]) -> Result<()> {
        let paths: Vec<PathBuf> = keys.iter().map(|key| self.path(key)).collect();
        blocking(move || {
            for path in paths {
                match std::fs::remove_file(&path) {
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    removed => removed.map_err(failed("delete", &path))?,
                }
            }
            Ok(())
        })
        .await
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

/// Sends every object below `root` to a reader, until the reader is gone.
fn walk(root: &Path, listed: &mpsc::Sender<Result<ListedObject>>) -> Result<()> {
    for day in names(root)? {
        for hour in names(&root.join(&day))? {
            let directory = root.join(&day).join(&hour);
            for name in names(&directory)? {
                let Ok(key) = format!("{day}/{hour}/{name}").parse::<ObjectKey>() else {
                    continue;
                };
                let path = directory.join(&name);
                let found = match std::fs::metadata(&path) {
                    // Deleted since.
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    found => found.map_err(failed("look at", &path))?,
                };
                let modified = found.modified().map_err(failed("look at", &path))?;
                let object = ListedObject { key, len: found.len(), modified };
                if found.is_file() && listed.blocking_send(Ok(object)).is_err() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
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
