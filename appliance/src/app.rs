//! Builds the parts, joins them, and stops them in order.
//!
//! Four things run at once: a thread that waits for the button and lights up, a thread that takes and saves pictures
//! (`press`), a task that holds the connection (`mqtt` or `http`), and the `engine`, which owns the drain and turns events
//! into actions. Everything between them is a bounded channel (P4).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use anyhow::Context;
use keepsake_protocol::presence::Status;
use keepsake_protocol::topic::MessageKind;
use keepsake_protocol::{DeviceId, SpoolId};
use tokio::sync::{mpsc, watch};

use crate::button;
use crate::button::gesture::Gesture;
use crate::capture;
use crate::capture::pipeline::{CloudLimit, Flow, How};
use crate::engine::command::TakenOn;
use crate::engine::{Ended, Engine, Parts};
use crate::hardware::open::Hardware;
use crate::light::indicator::{Event as Light, Fault as Number};
use crate::light::lamp::Lamp;
use crate::settings::wishes::Wishes;
use crate::settings::{Config, Scheme};
use crate::spool::{self, SharedSpool, Spool};
use crate::status::diagnostics::Troubles;
use crate::status::events::{Report, Reporter};
use crate::time::clock::{Clock, boottime_us};
use crate::time::notes::Notes;
use crate::transport::LinkEvent;
use crate::transport::certificate_time;
use crate::transport::http;
use crate::transport::mqtt;
use crate::upload::backoff::Backoff;
use crate::upload::drain;
use crate::upload::throttle::Throttle;

/// The bound of `cloud.part_bytes_max`.
const PART_BYTES_BOUND: usize = 4 << 20;
/// How long a clean stop may take.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// What is known before the parts are built.
pub struct Start {
    /// Settings and what the cloud wished of them.
    pub wishes: Wishes,
    pub hardware: Hardware,
    pub device: DeviceId,
    pub reporter: Reporter,
    /// The settings had an error and others are in force: fault 1.
    pub config_is_bad: bool,
    pub troubles: Troubles,
}

/// Runs the camera until `stop` resolves or it is to begin anew, then stops it cleanly and says which.
///
/// # Errors
/// Only what keeps the camera from working at all: a spool in use, a card that cannot be read.
pub async fn run(start: Start, stop: impl Future<Output = ()>) -> anyhow::Result<Ended> {
    let Start {
        wishes,
        hardware,
        device,
        reporter,
        config_is_bad,
        troubles,
    } = start;
    let config = wishes.config().clone();
    // A variable and no setting: nobody who owns a camera should ever want it.
    let clock = match std::env::var_os("KEEPSAKE_SIMULATED_CLOCK") {
        Some(file) if config.simulated.on => Clock::simulated(file.into())?,
        Some(_) | None => Clock::open()?,
    };
    let fingerprint = format!("{} as {device}", hardware.fingerprint);
    let now = clock.now();
    let known_time = now.synchronised.then_some(now.wall_us);
    let spool = Spool::open(
        &config.spool.folder,
        spool::Limits::from(&config.spool),
        &fingerprint,
        known_time,
    )?;
    for warning in spool.warnings() {
        tracing::warn!("{warning}");
        reporter.tell(&Report::Warning { text: warning });
    }
    let commands =
        TakenOn::open(&config.spool.folder).context("read the commands that were taken on")?;
    let (notes, warning) = Notes::open(&config.spool.folder, &now);
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
        reporter.tell(&Report::Warning { text: &warning });
    }
    let lamp = Lamp::start(hardware.light, &config.light, &reporter).context("start the light")?;
    let (install, next) = (spool.install(), spool.next());
    let spool = SharedSpool::new(spool);

    let cloud_limit = CloudLimit::default();
    let stopping = Arc::new(AtomicBool::new(false));
    let beat = Arc::new(AtomicU64::new(boottime_us()));
    let (jobs, jobs_to_do) = sync_channel(capture::thread::JOBS_MAX);
    let (outcomes_in, mut outcomes) = mpsc::channel(capture::thread::JOBS_MAX);
    let how_now = Arc::new(std::sync::Mutex::new(How::new(&config, wishes.version())));
    let flow = Flow {
        camera: hardware.camera,
        spool: spool.clone(),
        clock,
        cloud_limit: cloud_limit.clone(),
        how: how_now.clone(),
        told: config.camera.clone(),
    };
    let (held_in, held) = mpsc::channel(button::thread::HELD_MAX);
    // A line from a keyboard comes from no worn contact.
    let min_gap = if config.simulated.on {
        Duration::ZERO
    } else {
        config.button.min_gap()
    };
    button::thread::ButtonThread {
        button: hardware.button,
        gesture: Gesture::new(min_gap),
        lamp: lamp.clone(),
        jobs: jobs.clone(),
        held: held_in,
        stopping: stopping.clone(),
        reporter: reporter.clone(),
        presses: 0,
    }
    .spawn()?;
    let pressing =
        capture::thread::spawn(flow, lamp.clone(), jobs_to_do, outcomes_in, beat.clone())?;

    let (current_spool, current_spool_changes) = watch::channel(install);
    let (stop_link, link_stops) = watch::channel(false);
    let (events_in, events) = mpsc::channel(256);
    let noted_us = if now.synchronised {
        None
    } else {
        notes.history().latest_known_us()
    };
    let link = spawn_link(
        &config,
        &device,
        certificate_time::certificate_time(noted_us),
        current_spool_changes,
        events_in,
        link_stops,
    );

    let mut engine = Engine::new(Parts {
        spool: spool.clone(),
        clock,
        lamp: lamp.clone(),
        reporter: reporter.clone(),
        jobs,
        held,
        commands,
        notes,
        cloud_limit,
        current_spool,
        device: device.clone(),
        beat,
        limits: drain::Limits::from(&config),
        throttle: Throttle::new(config.cloud.rate_bytes_per_s),
        wishes,
        how: how_now,
        troubles,
    });
    engine.set_fault(Number::Config, config_is_bad);
    reporter.tell(&Report::Ready {
        device: &device,
        install,
        next,
    });
    tracing::info!(%device, %install, next = next.get(), waiting = engine.waiting(), "ready for a press");
    lamp.tell(Light::Starting(false));
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);

    let served = engine.serve(&mut outcomes, events, stop).await;

    // A service that says it is stopping is killed after a while; one that begins anew goes on under the same number.
    if !matches!(served, Ok(Ended::ToRestart)) {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    }
    stopping.store(true, Ordering::Relaxed);
    // The presses already felt are finished; a camera that hangs is not waited for.
    let publisher = engine.finish(&mut outcomes, STOP_WITHIN).await;
    drop(pressing);
    let _ = stop_link.send(true);
    if let Some(publisher) = publisher {
        let _ = publisher.publish(
            MessageKind::Status,
            keepsake_protocol::codec::encode(&Status::last_will()),
            None,
        );
        publisher.finish(Duration::from_secs(2)).await;
        let _ = tokio::time::timeout(Duration::from_secs(3), link).await;
    }
    lamp.stop();
    if let Some(spool) = spool.into_inner() {
        spool.close();
    }
    served
}

/// Starts the task that holds the connection, whichever way the settings name.
fn spawn_link(
    config: &Config,
    device: &DeviceId,
    certificate_time: keepsake_tls::ClockFloor,
    current_spool: watch::Receiver<SpoolId>,
    events: mpsc::Sender<LinkEvent>,
    stop: watch::Receiver<bool>,
) -> tokio::task::JoinHandle<()> {
    let cloud = &config.cloud;
    match cloud.url.scheme {
        Scheme::Mqtt | Scheme::Mqtts => {
            let settings = mqtt::Settings {
                host: cloud.url.host.clone(),
                port: cloud.url.port,
                user: cloud.user.clone(),
                password: cloud.password.clone(),
                password_file: cloud.password_file.clone(),
                tls: cloud.tls(),
                certificate_time,
                device: device.clone(),
                current_spool,
                keep_alive: cloud.keep_alive(),
                connect_timeout: cloud.connect_timeout(),
                // Parts may become as large as a setting allows while this connection stands.
                packet_bytes_max: PART_BYTES_BOUND + keepsake_protocol::codec::JSON_BYTES_MAX,
                reconnect: Backoff::of_connections(&config.backoff),
            };
            tokio::spawn(mqtt::maintain(settings, events, stop))
        }
        Scheme::Http | Scheme::Https => {
            let settings = http::Settings {
                url: cloud.url.to_string(),
                token: cloud.token.clone(),
                tls: cloud.tls(),
                certificate_time,
                device: device.clone(),
                connect_timeout: cloud.connect_timeout(),
                reconnect: Backoff::of_connections(&config.backoff),
            };
            tokio::spawn(http::maintain(settings, events, stop))
        }
    }
}
