//! `cloud bytes …`: moves the bytes of pictures to another place, and checks them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;

use crate::args::BytesCommand;
use crate::commands::output::print_line;
use crate::config::Config;
use crate::now_us;
use crate::objects::{BytesLocation, BytesPlace, BytesSetting, COMMIT_WITHIN, NewObject, read_all};
use crate::ops::orphan_sweep;
use crate::store::{NewBytes, Store, StoreError, StoredImage};

/// Pictures that are moved at a time, and their bytes.
const BATCH_MAX: u32 = 32;
const BATCH_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The interval between two lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
const DAY_US: i64 = 24 * 3600 * 1_000_000;

pub(super) async fn run(command: &BytesCommand, store: &Store, config: &Config) -> anyhow::Result<()> {
    match command {
        BytesCommand::Move { to, keep_days, rate } => {
            let to = match to {
                Some(text) => BytesSetting::parse(text, &config.data).map_err(anyhow::Error::msg)?,
                None => config.bytes.clone(),
            };
            let target = store.open_other_place(&to).await.with_context(|| format!("open {to}"))?;
            let mover = Mover {
                store,
                target,
                keep_us: i64::from(*keep_days) * DAY_US,
                bytes_per_second: rate.map(|mib| f64::from(mib) * 1024.0 * 1024.0),
            };
            let moved = mover.run().await?;
            print_line(&format!("{moved} pictures moved to {to}."))?;
            if to != config.bytes {
                print_line(&format!("New pictures are still stored in {}; change the setting bytes.", config.bytes))?;
            }
            Ok(())
        }
        BytesCommand::Check { read } => check(store, *read).await,
    }
}

struct Mover<'a> {
    store: &'a Store,
    /// Nothing for the database.
    target: Option<BytesPlace>,
    /// The time that old objects are kept, microseconds.
    keep_us: i64,
    bytes_per_second: Option<f64>,
}

impl Mover<'_> {
    /// Moves all pictures that are elsewhere. A picture names its old bytes until the new ones are durable and read
    /// back, so that it can be interrupted anywhere.
    async fn run(&self) -> anyhow::Result<u64> {
        let target = self.target.as_ref().map_or(0, |place| place.id);
        let (mut arrival, mut moved, mut bytes) = (0, 0, 0_u64);
        let started = Instant::now();
        let mut shown = Instant::now();
        loop {
            let page = self.store.stored_images_after(arrival, BATCH_MAX).await?;
            let Some(last) = page.last() else {
                return Ok(moved);
            };
            arrival = last.arrival;
            let place = |image: &StoredImage| match image.location {
                BytesLocation::Database => 0,
                BytesLocation::Object { place, .. } => place,
            };
            let elsewhere: Vec<StoredImage> = page.into_iter().filter(|image| place(image) != target).collect();
            let mut rest = elsewhere.as_slice();
            while !rest.is_empty() {
                let (batch, later) = rest.split_at(batch_len(rest));
                rest = later;
                moved += self.move_batch(batch).await?;
                bytes += batch.iter().map(|image| image.len).sum::<u64>();
                if let Some(rate) = self.bytes_per_second {
                    #[expect(clippy::cast_precision_loss, reason = "a pause need not be exact")]
                    let at = started + Duration::from_secs_f64(bytes as f64 / rate);
                    tokio::time::sleep_until(at.into()).await;
                }
                if shown.elapsed() >= PROGRESS_EVERY {
                    shown = Instant::now();
                    print_line(&format!("{moved} pictures, {} MiB", bytes / (1024 * 1024)))?;
                }
            }
        }
    }

    async fn move_batch(&self, batch: &[StoredImage]) -> anyhow::Result<u64> {
        let mut pictures = Vec::new();
        for image in batch {
            let opened = self.store.open_image(image, 0..image.len).await;
            let read = match opened {
                Ok(stream) => read_all(stream).await.map_err(StoreError::from),
                Err(error) => Err(error),
            };
            match read {
                Ok(bytes) => pictures.push((image.clone(), Bytes::from(bytes))),
                // It stays where it is; `cloud bytes check` finds it.
                Err(error) if error.is_loss() => {
                    print_line(&format!("picture {} is not moved: {:#}", image.arrival, anyhow::Error::from(error)))?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let moves = match &self.target {
            None => pictures.into_iter().map(|(image, bytes)| (image, NewBytes::Database(bytes))).collect(),
            Some(place) => copy(place, pictures).await?,
        };
        let due_us = now_us().saturating_add(self.keep_us);
        Ok(self.store.relocate(&moves, due_us).await?)
    }
}

/// Copies pictures into a place, and reads them back.
async fn copy(place: &BytesPlace, pictures: Vec<(StoredImage, Bytes)>) -> anyhow::Result<Vec<(StoredImage, NewBytes)>> {
    let name = |image: &StoredImage| format!("{}.{}", image.hash.prefix(), image.content_type.extension());
    let object = |(image, bytes): &(StoredImage, Bytes)| NewObject { name: name(image), bytes: bytes.clone() };
    let objects = pictures.iter().map(object).collect();
    let stored = place.put_batch(objects).await;
    let mut moves = Vec::new();
    for ((image, _), stored) in pictures.into_iter().zip(stored) {
        let object = stored.with_context(|| format!("copy picture {}", image.arrival))?;
        let stream = place.objects.get(&object.key, 0..image.len).await?;
        let stream = crate::objects::verify::verified(stream, object.key.clone(), image.hash).await?;
        read_all(stream).await.with_context(|| format!("read back picture {}", image.arrival))?;
        moves.push((image, NewBytes::Object(object)));
    }
    Ok(moves)
}

/// Returns the number of pictures that are moved together: at least one.
fn batch_len(images: &[StoredImage]) -> usize {
    let mut bytes = 0;
    let fitting = images.iter().take_while(|image| {
        bytes += image.len;
        bytes <= BATCH_BYTES_MAX
    });
    fitting.count().max(1)
}

/// Reports every picture without its bytes, and the number of orphans.
async fn check(store: &Store, read: bool) -> anyhow::Result<()> {
    let (mut arrival, mut lost) = (0, 0_u64);
    // By place: pictures and bytes.
    let mut found: BTreeMap<i64, (u64, u64)> = BTreeMap::new();
    let mut shown = Instant::now();
    loop {
        let page = store.stored_images_after(arrival, BATCH_MAX).await?;
        let Some(last) = page.last() else {
            break;
        };
        arrival = last.arrival;
        for image in &page {
            match check_one(store, image, read).await {
                Ok(place) => {
                    let sum = found.entry(place).or_default();
                    *sum = (sum.0 + 1, sum.1 + image.len);
                }
                // Deleted since it was listed.
                Err(error) if error.is_loss() && store.picture_at(image.arrival).await?.is_none() => {}
                Err(error) if error.is_loss() => {
                    lost += 1;
                    print_line(&format!("picture {}: {:#}", image.arrival, anyhow::Error::from(error)))?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        if shown.elapsed() >= PROGRESS_EVERY {
            shown = Instant::now();
            let pictures: u64 = found.values().map(|(pictures, _)| pictures).sum();
            print_line(&format!("{pictures} pictures checked"))?;
        }
    }
    let mut places = vec![(0, "database".to_owned())];
    places.extend(store.place_list().await?);
    for (id, url) in places {
        let (pictures, bytes) = found.get(&id).copied().unwrap_or_default();
        let mut line = format!("{url}: {pictures} pictures, {} MiB", bytes / (1024 * 1024));
        if id != 0 {
            line += &match store.place(id).await {
                Ok(place) => {
                    let orphans = orphan_sweep::orphans(store, id, &place, COMMIT_WITHIN).await?;
                    format!(", {} objects that no picture names", orphans.len())
                }
                Err(error) => format!(", cannot be used: {:#}", anyhow::Error::from(error)),
            };
        }
        print_line(&line)?;
    }
    match lost {
        0 => Ok(()),
        lost => bail!("the bytes of {lost} pictures are missing or changed"),
    }
}

/// Checks one picture, and returns the number of its place.
async fn check_one(store: &Store, image: &StoredImage, read: bool) -> Result<i64, StoreError> {
    let place = match &image.location {
        BytesLocation::Object { place, key } if !read => {
            let found = store.place(*place).await?.length(key).await?;
            if found == Some(image.len) {
                return Ok(*place);
            }
            *place
        }
        BytesLocation::Object { place, .. } => *place,
        BytesLocation::Database => 0,
    };
    // Everything, or what its length has already shown to be wrong; a picture that was moved meanwhile is found.
    read_all(store.open_image(image, 0..image.len).await?).await?;
    Ok(place)
}
