//! SHA-256 of files and streams.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// Returns the SHA-256 of a file, in lower-case hexadecimal digits.
///
/// # Errors
/// It cannot be read.
pub fn sha256_of_file(file: &Path) -> Result<String> {
    let from = File::open(file).with_context(|| format!("open {}", file.display()))?;
    sha256(from).with_context(|| format!("read {}", file.display()))
}

/// Returns the SHA-256 of everything that can be read.
///
/// # Errors
/// It cannot be read to the end.
pub fn sha256(mut from: impl Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 1 << 20];
    loop {
        match from.read(&mut chunk)? {
            0 => return Ok(hex::encode(hash.finalize())),
            count => hash.update(&chunk[..count]),
        }
    }
}
