//! Temporary directories of tests, kept when the test fails.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use crate::workspace;

/// A directory on the disk of the build: in a `/tmp` in memory fsync would mean nothing.
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
    stays: bool,
}

impl TempDir {
    pub fn new(name: &str) -> Self {
        let parent = workspace::target().join("tmp");
        fs::create_dir_all(&parent).expect("create the folder for tests below target/");
        let folder = tempfile::Builder::new()
            .prefix(&format!("{name}-"))
            .tempdir_in(&parent)
            .expect("create a folder below target/tmp");
        Self {
            path: folder.keep().canonicalize().expect("a folder just made"),
            stays: false,
        }
    }

    /// Keeps the directory, as after a failure.
    pub fn keep(mut self) -> PathBuf {
        self.stays = true;
        self.path.clone()
    }
}

impl Deref for TempDir {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        if std::thread::panicking() {
            println!("the files of this test stay in {}", self.path.display());
        } else {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Copies a directory and everything below it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in WalkDir::new(from).min_depth(1) {
        let entry = entry.unwrap();
        let to = to.join(entry.path().strip_prefix(from).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir_all(to).unwrap();
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Replaces `to` by a copy of `from`.
pub fn restore(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).unwrap();
    }
    copy(from, to);
}

/// Returns every file and link below `folder`, sorted.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = WalkDir::new(folder).sort_by_file_name().into_iter().map(Result::unwrap);
    entries.filter(|entry| !entry.file_type().is_dir()).map(DirEntry::into_path).collect()
}
