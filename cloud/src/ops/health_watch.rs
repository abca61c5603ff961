//! Checks the disk, the database and the presence of cameras at regular intervals.

use std::sync::Arc;
use std::time::Duration;

use keepsake_protocol::DeviceId;
use keepsake_protocol::status::Presence;
use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::now_us;
use crate::ops::backpressure::{self, Backpressure};
use crate::ops::event_bus::{ChangeEvent, EventBus};
use crate::ops::systemd;
use crate::store::Store;

/// The interval between two checks of the disk's room and of silent cameras.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// The interval between two checks of unfinished captures.
const TIDY_EVERY: Duration = Duration::from_secs(600);

/// Runs until it is stopped.
pub(crate) async fn run(
    config: Arc<Config>,
    store: Store,
    backpressure: Backpressure,
    live: EventBus,
    stop: CancellationToken,
) {
    let work = async {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tidy = interval(TIDY_EVERY);
        tidy.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut there: Vec<(DeviceId, Presence)> = Vec::new();
        loop {
            tokio::select! {
                _ = look.tick() => {
                    check_disk_space(&config, &store, &backpressure).await;
                    check_store(&store, &backpressure).await;
                    if let Err(error) = store.shrink().await {
                        tracing::debug!("shrink the database: {:#}", anyhow::Error::from(error));
                    }
                    // All of this is bounded. A database that is away is detected as such, and is not a reason to restart.
                    systemd::notify(&[NotifyState::Watchdog]);
                    if let Ok(now) = store.presences(now_us()).await {
                        for known in now.iter().filter(|known| !there.contains(known)) {
                            live.publish(ChangeEvent::Device(Arc::new(known.0.clone())));
                        }
                        there = now;
                    }
                }
                _ = tidy.tick() => clean_up(&store).await,
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

/// Removes what is not needed any more.
async fn clean_up(store: &Store) {
    match store.drop_stale_parts(now_us()).await {
        0 => {}
        dropped => tracing::info!("dropped {dropped} captures that were never finished"),
    }
    match store.collect_garbage(now_us()).await {
        Ok(0) => {}
        Ok(deleted) => tracing::info!("deleted the objects of {deleted} pictures that were deleted or moved"),
        Err(error) => tracing::warn!("delete objects: {:#}", anyhow::Error::from(error)),
    }
}

/// Notices that the store is away or unfit also while nobody brings anything, and that it is back.
async fn check_store(store: &Store, backpressure: &Backpressure) {
    let held = backpressure.state().store;
    let found = match &held {
        None => store.check().await,
        // Only a commit proves that it takes something again.
        Some(_) => store.probe(now_us()).await,
    };
    match found {
        // A look proves nothing against a commit that has failed while it waited for its turn.
        Ok(()) if held.is_none() => {}
        Ok(()) => backpressure.set_store(None),
        Err(error) => {
            let reason = Some(error.sentence());
            if reason != held {
                tracing::error!("look at the store: {:#}", anyhow::Error::from(error));
            }
            backpressure.set_store(reason);
        }
    }
}

/// Pauses uploads while a disk has too little room: that of the data directory together with the free pages of the
/// database, or that of the folder of pictures.
pub(crate) async fn check_disk_space(config: &Config, store: &Store, backpressure: &Backpressure) {
    let place = store.current_place();
    let pictures = place.as_ref().and_then(|place| place.objects.folder());
    let mut disks = vec![(config.data.as_path(), true)];
    disks.extend(pictures.map(|folder| (folder, false)));
    let (mut least_free, mut reason) = (u64::MAX, None);
    for (folder, has_database) in disks {
        let folder = folder.to_owned();
        match tokio::task::spawn_blocking(move || backpressure::disk_space(&folder)).await {
            Ok(Ok((free, total))) => {
                let (bytes, percent) = (config.free_bytes_min, config.free_percent_min);
                let low = |room| backpressure::low_space_reason(room, total, bytes, percent);
                let mut why = low(free);
                if why.is_some() && has_database {
                    // A database that does not answer is reported by check_store.
                    why = low(free.saturating_add(store.reusable_bytes().await.unwrap_or(0)));
                }
                least_free = least_free.min(free);
                reason = reason.or(why);
            }
            Ok(Err(error)) => tracing::warn!("measure the disk: {error}"),
            Err(error) => tracing::warn!("measure the disk: {error}"),
        }
    }
    if least_free < u64::MAX {
        backpressure.set_space(least_free, reason);
    }
}
