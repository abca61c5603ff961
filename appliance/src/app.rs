//! Builds the parts, joins them, and stops them in order.
//!
//! Four things run at once: a thread that waits for the button and lights up, a thread that takes and saves pictures
//! (`capture`), a task that holds the connection (`transport`), and the `engine`, which owns the drain and turns events
//! into actions. Everything between them is a bounded channel (P4).

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use anyhow::Context;
use keepsake_protocol::clock::ClockReading;
use keepsake_protocol::faults::FaultCode;
use keepsake_protocol::status::Status;
use keepsake_protocol::topic::MessageKind;
use keepsake_protocol::{DeviceId, SpoolId};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use crate::button;
use crate::button::press_or_hold::Gesture;
use crate::capture;
use crate::capture::pipeline::{CaptureOutcome, CaptureSettings, Pipeline};
use crate::capture::thread::CaptureRequests;
use crate::engine::command_log::CommandLog;
use crate::engine::{Engine, Exit, State};
use crate::error::display_chain;
use crate::hardware::open::Hardware;
use crate::light::handle::LightHandle;
use crate::light::indicator::LightEvent;
use crate::settings::effective::EffectiveSettings;
use crate::settings::{Config, Scheme};
use crate::spool::{self, Spool, SpoolError};
use crate::status::diagnostics::RecentWarnings;
use crate::status::events::{Event, EventWriter};
use crate::time::clock::{Clock, boottime_us};
use crate::time::journal::Journal;
use crate::transport::{Publisher, TransportEvent, TransportSettings, certificate_time, http, mqtt};
use crate::upload::backoff::Backoff;
use crate::upload::drain::{self, Drain};
use crate::upload::rate_limiter::RateLimiter;

/// The time within which a clean stop has to end.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// The pauses before a spool that the card refused is opened again. Then the program ends, and the service manager tries on.
const OPEN_SPOOL_AGAIN_AFTER: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

/// The input from which the parts are built.
pub(crate) struct Start {
    /// Settings and what the cloud wished of them.
    pub settings: EffectiveSettings,
    pub hardware: Hardware,
    pub device: DeviceId,
    pub events: EventWriter,
    /// The settings had an error and fallback settings are used: fault 1.
    pub config_has_errors: bool,
    pub recent_warnings: RecentWarnings,
    /// Where the connection's tasks run.
    pub connection: tokio::runtime::Handle,
}

/// Runs the camera until `stop` resolves or a restart is requested, then stops it cleanly and returns which. Fails only if
/// the camera cannot work at all, because its spool is in use or its card cannot be read.
pub(crate) async fn run(start: Start, stop: impl Future<Output = ()>) -> anyhow::Result<Exit> {
    let (device, events) = (start.device.clone(), start.events.clone());
    let (mut app, transport_events) = App::build(start)?;
    app.report_ready(&device, &events);
    let exit = app.engine.run(&mut app.outcomes, transport_events, stop).await;
    // A service that says it is stopping is killed after a while; one that restarts itself keeps its process id.
    if !matches!(exit, Ok(Exit::Restart)) {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    }
    app.stop().await;
    exit
}

/// The running parts.
struct App {
    engine: Engine,
    outcomes: mpsc::Receiver<CaptureOutcome>,
    transport: Transport,
    capture_thread: std::thread::JoinHandle<()>,
    light: LightHandle,
    spool: Arc<Mutex<Spool>>,
}

impl App {
    fn build(start: Start) -> anyhow::Result<(Self, mpsc::Receiver<TransportEvent>)> {
        let config = start.settings.config().clone();
        let (device, events) = (start.device, start.events);
        let clock = open_clock(&config)?;
        let now = clock.now();
        let fingerprint = format!("{} as {device}", start.hardware.fingerprint);
        let spool = Arc::new(Mutex::new(open_spool(&config, &fingerprint, &now, &events)?));
        let commands = CommandLog::open(&config.spool.dir).context("read the commands that were taken on")?;
        let journal = open_journal(&config, &now, &events);
        let light = LightHandle::start(start.hardware.led, &config.light, &events).context("start the light")?;
        let (current_spool, current_spool_changes) = watch::channel(spool.lock().spool_id());

        let capture_bytes_max = Arc::new(AtomicU64::new(keepsake_protocol::codec::CAPTURE_BYTES_MAX));
        let busy_since_us = Arc::new(AtomicU64::new(boottime_us()));
        let (requests, requests_out) = sync_channel(capture::thread::REQUESTS_MAX);
        let requests: CaptureRequests = Arc::new(Mutex::new(Some(requests)));
        let (outcomes_in, outcomes) = mpsc::channel(capture::thread::REQUESTS_MAX);
        let capture_settings = Arc::new(Mutex::new(CaptureSettings::new(&config, start.settings.version())));
        let pipeline = Pipeline {
            camera: start.hardware.camera,
            spool: spool.clone(),
            clock,
            capture_bytes_max: capture_bytes_max.clone(),
            settings: capture_settings.clone(),
            applied: config.camera.clone(),
        };
        let (hold_actions_in, hold_actions) = mpsc::channel(button::thread::HOLD_ACTIONS_MAX);
        button::thread::ButtonThread {
            button: start.hardware.button,
            gesture: Gesture::new(repeat_min(&config)),
            light: light.clone(),
            requests: requests.clone(),
            hold_actions: hold_actions_in,
            events: events.clone(),
            presses: 0,
        }
        .spawn()?;
        let capture_thread =
            capture::thread::spawn(pipeline, light.clone(), requests_out, outcomes_in, busy_since_us.clone())?;

        // Known from earlier boots, if the clock is not set yet.
        let known_us = journal.history().latest_known_us().filter(|_| !now.synchronised);
        let (transport, transport_events) =
            Transport::start(&start.connection, &config, &device, known_us, current_spool_changes);

        let mut engine = Engine {
            drain: Drain::new(drain::Limits::from(&config)).with_jitter(rand::random()),
            rate_limiter: RateLimiter::new(config.cloud.rate_bytes_per_s),
            began: tokio::time::Instant::now(),
            spool: spool.clone(),
            clock,
            light: light.clone(),
            events: events.clone(),
            capture_requests: requests,
            hold_actions,
            commands,
            journal,
            capture_bytes_max,
            current_spool,
            device: device.clone(),
            capture_busy_since_us: busy_since_us,
            settings: start.settings,
            capture_settings,
            recent_warnings: start.recent_warnings,
            state: State::default(),
        };
        engine.reload_drain();
        engine.report_warnings();
        engine.set_fault(FaultCode::Config, start.config_has_errors);
        let app = Self { engine, outcomes, transport, capture_thread, light, spool };
        Ok((app, transport_events))
    }

    fn report_ready(&self, device: &DeviceId, events: &EventWriter) {
        let (spool, next) = {
            let spool = self.spool.lock();
            (spool.spool_id(), spool.next())
        };
        events.emit(&Event::Ready { device, spool, next });
        tracing::info!(%device, %spool, next = next.get(), waiting = self.engine.drain.waiting(), "ready for a press");
        self.light.send(LightEvent::Starting(false));
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    }

    async fn stop(mut self) {
        // The presses already felt are finished; a camera that hangs is not waited for.
        let publisher = self.engine.finish(&mut self.outcomes, STOP_WITHIN).await;
        drop(self.capture_thread);
        self.transport.stop(publisher).await;
        self.light.stop();
        if let Some(spool) = Arc::into_inner(self.spool) {
            spool.into_inner().close();
        }
    }
}

fn open_clock(config: &Config) -> anyhow::Result<Clock> {
    // A variable and no setting: nobody who owns a camera should ever want it.
    match std::env::var_os("KEEPSAKE_SIMULATED_CLOCK") {
        Some(file) if config.simulated.enabled => Ok(Clock::simulated(file.into())?),
        Some(_) | None => Ok(Clock::open()?),
    }
}

fn open_spool(config: &Config, fingerprint: &str, now: &ClockReading, events: &EventWriter) -> anyhow::Result<Spool> {
    let limits = spool::Limits::from(&config.spool);
    let known_time_us = now.synchronised.then_some(now.wall_us);
    let mut pauses = OPEN_SPOOL_AGAIN_AFTER.into_iter();
    let spool = loop {
        match Spool::open(&config.spool.dir, limits.clone(), fingerprint, known_time_us) {
            Err(error @ SpoolError::Disk(_)) => {
                let Some(pause) = pauses.next() else {
                    return Err(error.into());
                };
                warn(events, &format!("the spool cannot be opened, trying again: {}", display_chain(&error)));
                std::thread::sleep(pause);
            }
            opened => break opened?,
        }
    };
    for warning in spool.warnings() {
        warn(events, warning);
    }
    Ok(spool)
}

fn open_journal(config: &Config, now: &ClockReading, events: &EventWriter) -> Journal {
    let (journal, warning) = Journal::open(&config.spool.dir, now);
    if let Some(warning) = warning {
        warn(events, &warning);
    }
    journal
}

fn warn(events: &EventWriter, text: &str) {
    tracing::warn!("{text}");
    events.emit(&Event::Warning { text });
}

/// Returns the shortest time between two presses. A line from a keyboard comes from no worn contact.
fn repeat_min(config: &Config) -> Duration {
    if config.simulated.enabled {
        Duration::ZERO
    } else {
        config.button.repeat_min()
    }
}

/// The task that holds the connection.
struct Transport {
    task: tokio::task::JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Transport {
    fn start(
        runtime: &tokio::runtime::Handle,
        config: &Config,
        device: &DeviceId,
        known_us: Option<i64>,
        current_spool: watch::Receiver<SpoolId>,
    ) -> (Self, mpsc::Receiver<TransportEvent>) {
        let (stop, stops) = watch::channel(false);
        let (events_in, events) = mpsc::channel(256);
        let settings = TransportSettings {
            cloud: config.cloud.clone(),
            certificate_time: certificate_time::certificate_time(known_us),
            device: device.clone(),
            current_spool,
            reconnect: Backoff::from_secs(config.backoff.reconnect_initial_s, config.backoff.reconnect_max_s),
        };
        let task = match config.cloud.url.scheme {
            Scheme::Mqtt | Scheme::Mqtts => runtime.spawn(mqtt::run(settings, events_in, stops)),
            Scheme::Http | Scheme::Https => runtime.spawn(http::run(settings, events_in, stops)),
        };
        (Self { task, stop }, events)
    }

    /// Says goodbye if there is a connection.
    async fn stop(self, publisher: Option<Arc<dyn Publisher>>) {
        let _ = self.stop.send(true);
        if let Some(publisher) = publisher {
            let last_will = keepsake_protocol::codec::encode(&Status::last_will());
            let _ = publisher.publish(MessageKind::Status, last_will, None);
            publisher.finish(Duration::from_secs(2)).await;
            let _ = tokio::time::timeout(Duration::from_secs(3), self.task).await;
        }
    }
}
