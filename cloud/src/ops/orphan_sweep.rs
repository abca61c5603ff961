//! Deletes orphans: objects that their writer never got to name, because it failed or was killed.

use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::objects::{COMMIT_WITHIN, ORPHAN_AGE_MIN, ObjectKey, ObjectStore};
use crate::store::{Store, StoreError};

/// The first sweep is this long after the start, and a sweep is this long after the one before.
const FIRST_AFTER: Duration = Duration::from_secs(600);
const SWEEP_EVERY: Duration = Duration::from_secs(6 * 3600);
/// Orphans of one sweep.
const ORPHANS_MAX: usize = 10_000;
/// Objects that are compared with the database at a time.
const PAGE: usize = 500;

/// The patience of a sweep.
#[derive(Debug, Clone, Copy)]
pub struct SweepTerms {
    /// Younger objects are left alone, by the clock of their place.
    pub age_min: Duration,
    /// An orphan is looked for again after this long. A writer that was at work when it was found has committed or
    /// given up by then, whatever has happened to the clocks.
    pub second_look_after: Duration,
}

impl Default for SweepTerms {
    fn default() -> Self {
        Self {
            age_min: ORPHAN_AGE_MIN,
            // A commit is checked before it begins, and takes half a minute at most.
            second_look_after: COMMIT_WITHIN + Duration::from_secs(60),
        }
    }
}

/// Sweeps all places at regular intervals until it is stopped.
pub(crate) async fn run(store: Store, stop: CancellationToken) {
    let work = async {
        tokio::time::sleep(FIRST_AFTER).await;
        loop {
            match sweep(&store, SweepTerms::default()).await {
                Ok(0) => {}
                Ok(deleted) => tracing::info!("deleted {deleted} objects that no picture names"),
                Err(error) => tracing::warn!("look for orphans: {:#}", anyhow::Error::from(error)),
            }
            tokio::time::sleep(SWEEP_EVERY).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

/// Deletes the orphans of all places that can be used now, and returns their number.
///
/// # Errors
/// [`StoreError`]: the database or a place cannot be used. What was deleted before stays deleted.
pub async fn sweep(store: &Store, terms: SweepTerms) -> Result<u64, StoreError> {
    let mut deleted = 0;
    for (id, url) in store.place_list().await? {
        // One whose first use was interrupted before it had its marker holds nothing; another may be away.
        let place = match store.place(id).await {
            Ok(place) => place,
            Err(error) => {
                tracing::warn!("look for orphans in {url}: {:#}", anyhow::Error::from(error));
                continue;
            }
        };
        let found = orphans(store, id, &place, terms.age_min).await?;
        if found.is_empty() {
            continue;
        }
        tokio::time::sleep(terms.second_look_after).await;
        let still = store.unnamed(id, &found).await?;
        place.delete(&still).await?;
        deleted += still.len() as u64;
    }
    Ok(deleted)
}

/// Returns the objects of a place that nothing names and that are old enough.
///
/// # Errors
/// [`StoreError`]: the database or the place cannot be used.
pub async fn orphans(
    store: &Store,
    id: i64,
    place: &ObjectStore,
    age_min: Duration,
) -> Result<Vec<ObjectKey>, StoreError> {
    let mut found = Vec::new();
    let mut pages = place.list().chunks(PAGE);
    while let Some(page) = pages.next().await {
        let mut old = Vec::new();
        for object in page {
            let object = object?;
            let age = SystemTime::now().duration_since(object.modified).unwrap_or_default();
            if age >= age_min {
                old.push(object.key);
            }
        }
        found.extend(store.unnamed(id, &old).await?);
        if found.len() >= ORPHANS_MAX {
            found.truncate(ORPHANS_MAX);
            break;
        }
    }
    Ok(found)
}
