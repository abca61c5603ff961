//! Measures a store: pictures per second, and the time of the gallery with 200 and with 20,000 pictures, on SQLite,
//! MariaDB and MySQL one after the other on the same machine. Trust the ratios, not the numbers: `cargo bench-store`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use keepsake_cloud::ingest::operation::IngestOp;
use keepsake_cloud::store::address::{Address, Server};
use keepsake_cloud::store::{BATCH_MESSAGES_MAX, Limits, PageQuery, Picture, Store, StoreOptions};
use keepsake_protocol::capture::{CaptureMetadata, Cause, ContentType, FrameHeader};
use keepsake_protocol::clock::ClockReading;
use keepsake_protocol::{BootId, Hash, SpoolId};
use keepsake_testkit::servers::database::{Database, Kind};
use keepsake_testkit::temp_dir::TempDir;

/// The usual size of a picture.
const CAPTURE_BYTES: usize = 150_000;
/// Pictures of that size.
const TAKEN: u64 = 640;
/// The batch size of the ingest worker.
const BATCH: usize = BATCH_MESSAGES_MAX;
/// Pictures on a page.
const PAGE: u32 = 60;
const FEW: u64 = 200;
const MANY: u64 = 20_000;
/// Pages asked for; the median counts.
const PAGES: usize = 101;
/// A gallery with 20,000 pictures takes at most this much longer than one with 200.
const RATIO_MAX: f64 = 1.5;

#[tokio::main]
async fn main() -> Result<()> {
    println!("{:<34}{:>12}{:>14}{:>14}{:>8}", "store", "pictures/s", "page, 200", "20,000", "ratio");
    let mut good = true;
    let folder = TempDir::new("bench-sqlite");
    let places = ["few", "many"].map(|name| folder.join(name).into());
    good &= measure("SQLite", places).await?;
    for kind in [Kind::MariaDb, Kind::MySql] {
        let folder = TempDir::new("bench-server");
        let Some(mut server) = Database::or_skip("bench-store", kind, &folder) else {
            continue;
        };
        server.start();
        let place = |name: &str| {
            let address = Server::parse(&server.create_schema(name)).map_err(anyhow::Error::msg)?;
            anyhow::Ok(StoreOptions {
                address: Address::Server(address),
                data: folder.join(name),
                capture_bytes_max: 15 * 1024 * 1024,
                allow_unsafe_durability: false,
            })
        };
        let places = [place("few")?, place("many")?];
        good &= measure(&server.version(), places).await?;
        server.stop();
    }
    anyhow::ensure!(good, "a page of many pictures takes more than {RATIO_MAX} times as long as one of few");
    Ok(())
}

/// Two stores side by side, so that what else the machine does weighs on both.
async fn measure(name: &str, [few, many]: [StoreOptions; 2]) -> Result<bool> {
    let few = Store::open(few, Limits::default()).await.context("open a store")?;
    let many = Store::open(many, Limits::default()).await.context("open a store")?;
    fill(&few, &mut 1, FEW, 1_000).await?;
    let mut next = 1;
    let began = Instant::now();
    fill(&many, &mut next, TAKEN, CAPTURE_BYTES).await?;
    let rate = f64::from(u32::try_from(TAKEN)?) / began.elapsed().as_secs_f64();
    fill(&many, &mut next, MANY - TAKEN, 1_000).await?;
    let stores = [few, many];
    let mut times = [Vec::with_capacity(PAGES), Vec::with_capacity(PAGES)];
    for _ in 0..PAGES {
        for (store, times) in stores.iter().zip(&mut times) {
            times.push(page(store).await?);
        }
    }
    let [few, many] = times.map(|mut times| {
        times.sort_unstable();
        times[PAGES / 2]
    });
    for store in stores {
        store.close().await;
    }
    let ratio = many.as_secs_f64() / few.as_secs_f64();
    println!("{name:<34}{rate:>12.0}{few:>14.2?}{many:>14.2?}{ratio:>8.2}");
    Ok(ratio <= RATIO_MAX)
}

/// Stores this number of additional pictures.
async fn fill(store: &Store, next: &mut u64, pictures: u64, bytes: usize) -> Result<()> {
    let all: Vec<u64> = (*next..*next + pictures).collect();
    for numbers in all.chunks(BATCH) {
        let batch: Vec<IngestOp> = numbers.iter().map(|number| capture(*number, bytes)).collect();
        store.commit(&batch, 1).await.context("commit a batch")?;
    }
    *next += pictures;
    Ok(())
}

/// The time of what the gallery asks of its store.
async fn page(store: &Store) -> Result<Duration> {
    let began = Instant::now();
    let pictures = store.pictures(None, PageQuery::Before(None), PAGE).await?;
    anyhow::ensure!(pictures.len() == PAGE as usize, "{} pictures", pictures.len());
    let cursor = pictures.last().map(Picture::cursor);
    store.pictures(None, PageQuery::Before(cursor), PAGE).await?;
    store.picture_count(None).await?;
    store.devices(1).await?;
    Ok(began.elapsed())
}

/// A capture of one of ten cameras.
fn capture(number: u64, length: usize) -> IngestOp {
    let camera = u8::try_from(number % 10).expect("below ten");
    let mut bytes = vec![camera; length];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    IngestOp::Capture {
        device: format!("camera-{camera}").parse().expect("a good name"),
        header: FrameHeader {
            capture: CaptureMetadata {
                spool: SpoolId([camera; 16]),
                sequence: (number / 10 + 1).try_into().expect("not 0"),
                hash: Hash::of(&bytes),
                total: length as u64,
                content_type: ContentType::Jpeg,
                width: 640,
                height: 480,
                cause: Cause::Button,
                command: None,
                pressed: ClockReading {
                    boot: BootId([1; 16]),
                    boottime_us: number * 1_000_000,
                    wall_us: 1_800_000_000_000_000 + i64::try_from(number).expect("small") * 1_000_000,
                    synchronised: true,
                    error_us: 3,
                },
                captured_after_us: 1,
                settings_version: 0,
            },
            offset: 0,
            len: length as u64,
            attempt: 0,
            saved_after_us: None,
            sent_after_us: None,
            not_before_us: None,
        },
        bytes: bytes.into(),
    }
}
