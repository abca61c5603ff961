//! Bare writers: the same bytes and rows as the cloud stores, in batches of the same size, without a product around
//! them. Nothing that stores pictures one way or the other is faster on the same machine.

use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fs_err::File;
use mysql::prelude::Queryable;
use mysql::{Conn, Params, Value};

/// Pictures and bytes of a batch: as many as the cloud commits at once.
const BATCH_PICTURES_MAX: usize = 128;
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Threads that make the files of a batch durable: the file system joins their commits.
const FSYNC_THREADS: usize = 16;
/// Batches that are durable and wait for their rows.
const BATCHES_AHEAD: usize = 2;

/// The way in which the bytes of a batch become durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bytes {
    /// A file for each picture: all written and fsynced, then their folder.
    Files,
    /// A file for all pictures of a batch: written and fsynced, then its folder.
    Batches,
}

/// A row like the cloud's for a picture: its keys, its metadata as text, and where its bytes are.
const TABLE: &str = "CREATE TABLE picture (arrival BIGINT PRIMARY KEY, spool BINARY(16) NOT NULL, sequence BIGINT NOT \
                     NULL, hash BINARY(32) NOT NULL, metadata VARCHAR(400) NOT NULL, object VARCHAR(128) NOT NULL, \
                     UNIQUE (spool, sequence, hash))";
const METADATA_BYTES: usize = 200;

/// Stores `count` pictures with these bytes, and returns how long it took: bytes become durable while the database
/// commits the rows of the batch before.
pub fn run(connection: &mut Conn, folder: &Path, bytes: Bytes, picture: &[u8], count: usize) -> Result<Duration> {
    connection.query_drop(TABLE)?;
    let start = Instant::now();
    let (durable, rows) = sync_channel::<Range<usize>>(BATCHES_AHEAD);
    thread::scope(|scope| {
        let writer = scope.spawn(move || -> Result<()> {
            let pictures = BATCH_PICTURES_MAX.min(BATCH_BYTES_MAX / picture.len());
            for first in (0..count).step_by(pictures) {
                let batch = first..count.min(first + pictures);
                write(folder, bytes, batch.clone(), picture)?;
                durable.send(batch).context("the database ended")?;
            }
            Ok(())
        });
        for batch in rows {
            insert(connection, batch)?;
        }
        writer.join().expect("the writer does not panic")
    })?;
    Ok(start.elapsed())
}

/// Inserts the rows of a batch with one statement, which is one commit.
fn insert(connection: &mut Conn, batch: Range<usize>) -> Result<()> {
    let rows = vec!["(?, ?, ?, ?, ?, ?)"; batch.len()].join(", ");
    let sql = format!("INSERT INTO picture (arrival, spool, sequence, hash, metadata, object) VALUES {rows}");
    let values = batch.flat_map(|number| {
        let mut hash = [7; 32];
        hash[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        [
            Value::from(number),
            Value::from([7_u8; 16]),
            Value::from(number),
            Value::from(hash),
            Value::from("x".repeat(METADATA_BYTES)),
            Value::from(format!("202611/ab/{number:032}.jpg")),
        ]
    });
    connection.exec_drop(sql, Params::Positional(values.collect()))?;
    Ok(())
}

/// Makes the bytes of a batch durable.
fn write(folder: &Path, bytes: Bytes, batch: Range<usize>, picture: &[u8]) -> Result<()> {
    match bytes {
        Bytes::Batches => {
            let mut file = File::create(folder.join(format!("{}.batch", batch.start)))?;
            for _ in batch {
                file.write_all(picture)?;
            }
            file.sync_data()?;
        }
        Bytes::Files => {
            let next = AtomicUsize::new(batch.start);
            let write_files = || -> Result<()> {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= batch.end {
                        return Ok(());
                    }
                    let mut file = File::create(folder.join(format!("{number}.jpg")))?;
                    file.write_all(picture)?;
                    file.sync_data()?;
                }
            };
            thread::scope(|scope| {
                let threads: Vec<_> = (0..FSYNC_THREADS).map(|_| scope.spawn(write_files)).collect();
                threads.into_iter().try_for_each(|one| one.join().expect("a write does not panic"))
            })?;
        }
    }
    File::open(folder)?.sync_all()?;
    Ok(())
}
