//! Many cameras in one process that upload full cards at once, as the camera's program would: they speak the protocol,
//! and the camera's own [`Drain`](keepsake_appliance::upload::drain::Drain) decides what each sends next.
//!
//! [`upload`] runs the cameras against any broker; [`run`] starts a broker, a database and a cloud around them.

mod camera;
mod pictures;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keepsake_provision::servers::database::{Database, Kind};
use keepsake_provision::servers::mosquitto::Mosquitto;
use keepsake_provision::skip::not_run;
use keepsake_testkit::cloud::Cloud;
use keepsake_testkit::seed::Seed;
use serde::Serialize;
use tokio::sync::Barrier;

use camera::{Camera, Uploaded};
use pictures::Pictures;

/// The pictures that the fleet uploads.
#[derive(Debug, Clone)]
pub struct Load {
    pub cameras: u32,
    /// Waiting pictures on each card.
    pub pictures: u32,
    /// The size of each, bytes.
    pub picture_bytes: usize,
    /// The longest that the whole upload may take.
    pub patience: Duration,
}

/// The result of an upload.
#[derive(Debug, Clone, Serialize)]
pub struct Upload {
    /// Pictures with a receipt for their number and hash.
    pub stored: u64,
    /// From the first picture to the last receipt.
    pub seconds: f64,
    pub pictures_per_s: f64,
    /// Pictures that were sent more than once.
    pub resent: u64,
    /// Connections of cameras that ended before the last receipt.
    pub dropped_connections: u64,
    /// From the first byte of a picture to its receipt, milliseconds.
    pub receipt_p50_ms: f64,
    pub receipt_p95_ms: f64,
}

/// A fleet with its servers.
#[derive(Debug, Clone)]
pub struct Plan {
    pub name: String,
    pub load: Load,
    /// `None`: the cloud's own SQLite.
    pub database: Option<Kind>,
    /// `false`: the cameras use the cloud's embedded broker.
    pub mosquitto: bool,
}

/// The result of a run with its servers.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub name: String,
    pub cameras: u32,
    pub pictures: u32,
    pub picture_bytes: usize,
    /// The versions of the broker and the database.
    pub versions: String,
    #[serde(flatten)]
    pub upload: Upload,
    /// Pictures that the cloud had stored already when they came.
    pub repeats: u64,
    /// Connections between the cloud and its broker that ended.
    pub dropped_sessions: u64,
}

/// Uploads all pictures through the broker on this port. Returns when every picture has its receipt, or `load.patience`
/// is over.
///
/// # Panics
/// There is no memory or no thread for it.
pub fn upload(port: u16, load: &Load) -> Upload {
    let mut seed = Seed::from_env_or_random("fleet");
    let pictures = Arc::new(Pictures::new(load.picture_bytes, &mut seed));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("threads for the cameras");
    runtime.block_on(async {
        let number_of_cameras = usize::try_from(load.cameras).expect("a number of cameras fits into memory");
        let ready = Arc::new(Barrier::new(number_of_cameras + 1));
        let tasks: Vec<_> = (1..=load.cameras)
            .map(|number| {
                let mut camera = Camera::new(number, load.pictures, pictures.clone(), &mut seed);
                let (ready, patience) = (ready.clone(), load.patience);
                tokio::spawn(async move {
                    ready.wait().await;
                    // What is uploaded until then counts.
                    let _ = tokio::time::timeout(patience, camera.upload_everything(port)).await;
                    camera.into_uploaded()
                })
            })
            .collect();
        ready.wait().await;
        let began = Instant::now();
        let mut uploaded = Vec::with_capacity(tasks.len());
        for task in tasks {
            uploaded.push(task.await.expect("a camera does not panic"));
        }
        summarize(began, &uploaded)
    })
}

fn summarize(began: Instant, uploaded: &[Uploaded]) -> Upload {
    let mut receipts: Vec<Duration> = uploaded.iter().flat_map(|one| one.receipt_times.clone()).collect();
    receipts.sort();
    let last = uploaded.iter().filter_map(|one| one.last_receipt).max().unwrap_or(began);
    let seconds = last.saturating_duration_since(began).as_secs_f64();
    let stored = receipts.len() as u64;
    let quantile_ms = |percent: usize| {
        let at = (receipts.len() * percent / 100).min(receipts.len().saturating_sub(1));
        receipts.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
    };
    Upload {
        stored,
        seconds,
        pictures_per_s: stored as f64 / seconds,
        resent: uploaded.iter().map(|one| one.resent).sum(),
        dropped_connections: uploaded.iter().map(|one| one.dropped_connections).sum(),
        receipt_p50_ms: quantile_ms(50),
        receipt_p95_ms: quantile_ms(95),
    }
}

/// Starts the servers with their files in `folder` and lets the fleet upload; returns `None` after reporting that a
/// server cannot be had.
///
/// # Panics
/// A server does not start or stop cleanly.
pub fn run(plan: &Plan, folder: &Path) -> Option<Report> {
    let mut broker = match plan.mosquitto {
        true => Some(broker(&plan.name, folder)?),
        false => None,
    };
    let mut database = match plan.database {
        Some(kind) => Some(Database::or_skip(&plan.name, kind, folder)?),
        None => None,
    };
    let mut cloud = Cloud::new(folder);
    let mut versions = "embedded broker".to_owned();
    if let Some(broker) = &mut broker {
        broker.start();
        cloud.ingest_through(broker.port());
        broker.version().clone_into(&mut versions);
    }
    if let Some(database) = &mut database {
        database.start();
        let url = database.create_schema("keepsake");
        // Fits into the largest packet that both servers accept by default.
        cloud = cloud.storing_in(&url).flag("--capture-bytes-max=8388608");
        versions = format!("{versions}, {}", database.version());
    }
    cloud.start();
    let port = broker.as_ref().map_or(cloud.mqtt_port(), Mosquitto::port);
    let upload = upload(port, &plan.load);
    let report = Report {
        name: plan.name.clone(),
        cameras: plan.load.cameras,
        pictures: plan.load.pictures,
        picture_bytes: plan.load.picture_bytes,
        versions,
        repeats: cloud.repeats(),
        dropped_sessions: cloud.log().matches("no connection to the broker").count() as u64,
        upload,
    };
    cloud.stop();
    if let Some(mut broker) = broker {
        broker.stop();
    }
    if let Some(mut database) = database {
        database.stop();
    }
    Some(report)
}

/// Returns a mosquitto with the limits of the shipped configuration.
fn broker(name: &str, folder: &Path) -> Option<Mosquitto> {
    Mosquitto::with_shipped_limits(folder)
        .inspect_err(|why| not_run(name, why, "install mosquitto 2"))
        .ok()
}
