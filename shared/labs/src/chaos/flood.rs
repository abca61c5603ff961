//! Many cameras with full cards upload at once through one broker with its default limits: more than it queues.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{ARRIVAL_TIMEOUT, STEP_TIMEOUT, Servers, Transport};
use keepsake_provision::servers::database::Kind;
use keepsake_provision::servers::mosquitto::Persistence;
use keepsake_testkit::appliance::{Appliance, CaptureKey};
use keepsake_testkit::ledger::audit;
use keepsake_testkit::photos;

/// The size to which the pictures are reduced.
const PICTURE_BYTES: usize = 23_000;

/// The plan of one flood.
#[derive(Debug, Clone)]
pub struct Plan {
    pub name: String,
    pub cameras: usize,
    /// The pictures on each card.
    pub each: usize,
    /// `None`: the cloud's own SQLite.
    pub database: Option<Kind>,
}

/// The counts of a flood that lost nothing.
#[derive(Debug, Clone)]
pub struct Counts {
    pub stored: u64,
    /// The broker reported that it drops messages for the cloud.
    pub dropped: bool,
    pub acknowledged: u64,
    pub receipts: u64,
    /// The time from the start of the cameras to the last receipt.
    pub took: Duration,
}

/// Fills the cards, then lets all cameras upload at once; returns `None` after reporting that a server cannot be had.
///
/// # Panics
/// A picture is lost or doubled, or a receipt or an acknowledgement came before its commit.
pub fn run(plan: &Plan, folder: &Path) -> Option<Counts> {
    let transport = Transport::Mosquitto(Persistence::Off);
    let mut servers = Servers::or_skip(&plan.name, folder, transport, plan.database)?;
    let url = servers.broker.as_ref()?.url();
    let album = album_of_small_photos(folder);
    let mut cameras: Vec<Appliance> = (1..=plan.cameras)
        .map(|number| Appliance::new(folder, &format!("flood-{number}"), &url).photographing(&album))
        .collect();
    let confirmed = fill_the_cards(&mut cameras, plan.each);

    let (mut cloud, witnesses) = servers.start(folder);

    let start = Instant::now();
    for camera in &mut cameras {
        camera.launch();
    }
    for (camera, saved) in cameras.iter().zip(&confirmed) {
        camera.expect_stored(saved, ARRIVAL_TIMEOUT);
    }
    let took = start.elapsed();
    for camera in &mut cameras {
        let device = cloud.api().wait_for_device(camera.name(), STEP_TIMEOUT, |device| device["waiting"] == 0);
        assert_eq!(device["missing"], 0, "{device:#}");
        camera.stop();
    }
    let confirmed = confirmed.concat();
    let found = audit(&cloud.store(), &confirmed, &photos::all(&album));
    assert_eq!(found.stored, confirmed.len() as u64);
    let dropped = servers.broker.as_ref()?.log().contains("messages are being dropped");
    let (receipts, acknowledged) = witnesses.verdict();
    cloud.stop();
    servers.stop();
    Some(Counts { stored: found.stored, dropped, acknowledged, receipts, took })
}

/// Lets each camera take `each` pictures without a cloud, and stops it.
fn fill_the_cards(cameras: &mut [Appliance], each: usize) -> Vec<Vec<CaptureKey>> {
    for camera in &mut *cameras {
        camera.start();
        for _ in 0..each {
            camera.press();
        }
    }
    cameras
        .iter_mut()
        .map(|camera| {
            camera.expect("a full card", 0, ARRIVAL_TIMEOUT, |events| {
                let saved = events.iter().filter(|event| event["event"] == "saved");
                (saved.count() >= each).then_some(())
            });
            camera.stop();
            camera.saved()
        })
        .collect()
}

/// Returns a directory with photographs that a camera has resized.
fn album_of_small_photos(folder: &Path) -> PathBuf {
    let mut camera =
        Appliance::new(folder, "shrinks", "mqtt://127.0.0.1:1").set(&format!("picture.bytes_max={PICTURE_BYTES}"));
    camera.start();
    camera.press_and_save(5, STEP_TIMEOUT);
    camera.stop();
    let album = folder.join("album");
    let spool = camera.spool().to_string_lossy().into_owned();
    let to = album.to_string_lossy();
    let done = Appliance::run_tool(&["spool", "export", "--spool", &spool, "--to", &to]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let photos = photos::all(&album);
    assert_eq!(photos.len(), 5);
    assert!(photos.iter().all(|photo| photo.len() <= PICTURE_BYTES));
    album
}
