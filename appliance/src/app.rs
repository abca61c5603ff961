//! Builds the parts, joins them, and stops them in order.
//!
//! Four things run at once: a thread that waits for the button and lights up, a thread that takes and saves pictures
//! (`press`), a task that holds the connection (`mqtt` or `http`), and the `engine`, which owns the drain and turns events
//! into actions. Everything between them is a bounded channel (P4).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::Context;
use keepsake_protocol::DeviceId;
use keepsake_protocol::presence::Status;
use keepsake_protocol::topic::MessageKind;
use tokio::sync::{mpsc, watch};

use crate::button::gesture::{Action, Gesture, Wish};
use crate::capture::pipeline::{CloudLimit, Flow, How, Job, Outcome, SharedSpool, chain};
use crate::engine::command::TakenOn;
use crate::engine::{Ended, Engine, Parts};
use crate::hardware::{Button, Hardware};
use crate::light::indicator::{Event as Light, Fault as Number};
use crate::light::lamp::Lamp;
use crate::settings::wishes::Wishes;
use crate::settings::{Config, Scheme};
use crate::spool::{self, Spool};
use crate::status::diagnostics::Troubles;
use crate::status::events::{Report, Reporter};
use crate::time::clock::{Clock, boottime_us};
use crate::time::notes::Notes;
use crate::transport::LinkEvent;
use crate::transport::http;
use crate::transport::mqtt;
use crate::upload::drain;
use crate::upload::throttle::Throttle;

/// Wishes of whoever held the button; nobody holds it more often than one is carried out.
const HELD_MAX: usize = 4;
/// How long the button's thread waits before it looks whether the program stops.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Presses that may wait for the camera; the button waits when there are more.
const JOBS_MAX: usize = 4;
/// In memory at the most, handed over and not yet acknowledged, bytes.
const UNACKNOWLEDGED_BYTES_MAX: u64 = 1024 * 1024;
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
        limits(&config),
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
    let spool: SharedSpool = Arc::new(std::sync::Mutex::new(spool));

    let cloud_limit = CloudLimit::default();
    let stopping = Arc::new(AtomicBool::new(false));
    let beat = Arc::new(AtomicU64::new(boottime_us()));
    let (jobs, jobs_to_do) = sync_channel(JOBS_MAX);
    let (outcomes_in, mut outcomes) = mpsc::channel(JOBS_MAX);
    let how_now = Arc::new(std::sync::Mutex::new(how(&config, wishes.version())));
    let flow = Flow {
        camera: hardware.camera,
        spool: spool.clone(),
        clock,
        cloud_limit: cloud_limit.clone(),
        how: how_now.clone(),
        told: config.camera.clone(),
    };
    let (held_in, held) = mpsc::channel(HELD_MAX);
    // A line from a keyboard comes from no worn contact.
    let min_gap = if config.simulated.on {
        Duration::ZERO
    } else {
        config.button.min_gap()
    };
    ButtonThread {
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
    let pressing = spawn_press(flow, lamp.clone(), jobs_to_do, outcomes_in, beat.clone())?;

    let (client_id, client_id_now) = watch::channel(mqtt::client_id(&device, install));
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
        certificate_time(noted_us),
        client_id_now,
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
        client_id,
        device: device.clone(),
        beat,
        limits: drain_limits(&config),
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
    if let Some(spool) = Arc::into_inner(spool) {
        spool
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .close();
    }
    served
}

/// What time it is for certificates: a Pi that has just woken knows at least that this program was built already, and
/// what it had noted.
///
/// `noted_us`: the latest time known to be past, microseconds UTC.
pub fn certificate_time(noted_us: Option<i64>) -> keepsake_tls::ClockFloor {
    let time = keepsake_tls::ClockFloor::new(env!("KEEPSAKE_BUILT_S").parse().unwrap_or(0));
    if let Some(noted_us) = noted_us {
        time.raise(u64::try_from(noted_us / 1_000_000).unwrap_or(0));
    }
    time
}

/// Starts the task that holds the connection, whichever way the settings name.
fn spawn_link(
    config: &Config,
    device: &DeviceId,
    certificate_time: keepsake_tls::ClockFloor,
    client_id: watch::Receiver<String>,
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
                client_id,
                keep_alive: cloud.keep_alive(),
                connect_timeout: cloud.connect_timeout(),
                // Parts may become as large as a setting allows while this connection stands.
                packet_bytes_max: PART_BYTES_BOUND + keepsake_protocol::codec::JSON_BYTES_MAX,
                reconnect: config.backoff.reconnect(),
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
                reconnect: config.backoff.reconnect(),
            };
            tokio::spawn(http::maintain(settings, events, stop))
        }
    }
}

/// The bounds of the spool as the settings have them.
pub fn limits(config: &Config) -> spool::Limits {
    let settings = &config.spool;
    spool::Limits {
        bytes_max: settings.bytes_max,
        reserve_bytes: settings.reserve_bytes,
        when_full: settings.when_full,
        keep_for: Duration::from_secs(settings.keep_for_days.saturating_mul(24 * 3600)),
        keep_bytes: settings.bytes_max / 100 * settings.keep_fraction_percent,
    }
}

/// How pictures are taken as the settings of this version have it.
pub fn how(config: &Config, settings_version: u64) -> How {
    How {
        picture: config.picture.clone(),
        camera: config.camera.clone(),
        settings_version,
    }
}

pub fn drain_limits(config: &Config) -> drain::Limits {
    let cloud = &config.cloud;
    // A part must not keep a line that is bounded for longer than one that is slow.
    let part_bytes_max = match cloud.rate_bytes_per_s {
        0 => cloud.part_bytes_max,
        rate => cloud
            .part_bytes_max
            .min(rate.saturating_mul(drain::PART_FOR_S)),
    };
    drain::Limits {
        window_bytes: cloud.window_bytes,
        part_bytes_max: part_bytes_max.max(drain::PART_BYTES_MIN),
        unacknowledged_bytes_max: UNACKNOWLEDGED_BYTES_MAX,
        backoff: config.backoff.capture(),
    }
}

/// Waits for the button, lights up, and hands over what a touch means.
struct ButtonThread {
    button: Box<dyn Button>,
    gesture: Gesture,
    lamp: Lamp,
    jobs: SyncSender<Job>,
    held: mpsc::Sender<Wish>,
    stopping: Arc<AtomicBool>,
    reporter: Reporter,
    presses: u64,
}

impl ButtonThread {
    fn spawn(mut self) -> anyhow::Result<()> {
        std::thread::Builder::new()
            .name("button".to_owned())
            .spawn(move || while self.turn() {})
            .context("start the button's thread")?;
        Ok(())
    }

    /// Waits for one touch, or for the next stage of a hold. Returns whether to go on.
    fn turn(&mut self) -> bool {
        let due_us = self.gesture.due_us();
        let due = due_us.map(|due| Duration::from_micros(due.saturating_sub(boottime_us())));
        let touched = self
            .button
            .wait(due.map_or(LOOK_EVERY, |due| due.min(LOOK_EVERY)));
        if self.stopping.load(Ordering::Relaxed) {
            return false;
        }
        let actions = match touched {
            Ok(Some(touch)) => self.gesture.touched(touch.down, touch.at_boottime_us),
            Ok(None) => self.gesture.passed(boottime_us()).into_iter().collect(),
            Err(error) => {
                let text = chain(&error);
                tracing::error!(error = text, "the button cannot be read");
                self.reporter.tell(&Report::Warning { text: &text });
                std::thread::sleep(Duration::from_secs(5));
                Vec::new()
            }
        };
        actions.into_iter().all(|action| self.act(action))
    }

    fn act(&mut self, action: Action) -> bool {
        match action {
            Action::Press { at_us } => {
                self.presses += 1;
                let number = self.presses;
                self.lamp.pressed(number, at_us);
                let at_boottime_us = at_us;
                let job = Job::Press {
                    number,
                    at_boottime_us,
                };
                self.jobs.send(job).is_ok()
            }
            Action::Show(stage) => {
                self.lamp.tell(Light::Held(stage));
                true
            }
            // One that finds no room was wished for a moment before.
            Action::Do(wish) => !matches!(
                self.held.try_send(wish),
                Err(mpsc::error::TrySendError::Closed(_))
            ),
        }
    }
}

fn spawn_press(
    mut flow: Flow,
    lamp: Lamp,
    jobs: Receiver<Job>,
    outcomes: mpsc::Sender<Outcome>,
    beat: Arc<AtomicU64>,
) -> anyhow::Result<std::thread::JoinHandle<()>> {
    let take_pictures = move || {
        flow.prepare();
        loop {
            beat.store(boottime_us(), Ordering::Relaxed);
            let job = match jobs.recv_timeout(Duration::from_millis(500)) {
                Ok(job) => job,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let outcome = flow.take(job, |job| match job {
                Job::Press { number, .. } => lamp.tell(Light::Captured(*number)),
                Job::Command { .. } => {
                    let _ = outcomes.blocking_send(Outcome::Captured { job: job.clone() });
                }
                Job::Interval => {}
            });
            // While stopping nobody listens any more; what was asked for is saved all the same.
            let _ = outcomes.blocking_send(outcome);
        }
    };
    std::thread::Builder::new()
        .name("press".to_owned())
        .spawn(take_pictures)
        .context("start the camera's thread")
}

#[cfg(test)]
mod tests {
    use rustls::time_provider::TimeProvider;

    use super::*;

    #[test]
    fn certificates_are_judged_by_no_time_before_what_was_noted() {
        let says = |noted_us| {
            let now = certificate_time(noted_us).current_time();
            now.map(|now| now.as_secs())
        };
        let far_s = 4_000_000_000;
        assert_eq!(says(Some(far_s * 1_000_000)), u64::try_from(far_s).ok());
        assert!(says(None) < says(Some(far_s * 1_000_000)));
        // What is no time changes nothing.
        assert!(says(Some(-1)) > Some(1_700_000_000));
    }
}
