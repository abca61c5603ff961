//! Turns what happens into what is done: outcomes of presses, messages of the cloud, and time go in; the drain decides,
//! and messages, lights and notes on the card come out. The one owner of the drain.

pub(crate) mod command_log;
mod commands;
mod diagnostics;
mod hold_actions;
mod outcomes;
mod receipts;
mod reports;
mod restart;
mod settings;
mod status_file;
mod transport_events;
mod uploads;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::Context;
use keepsake_protocol::event::Fault;
use keepsake_protocol::faults::FaultCode;
use keepsake_protocol::status::LedStatus;
use keepsake_protocol::{CaptureId, DeviceId, SpoolId};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use crate::button::press_or_hold::HoldAction;
use crate::capture::pipeline::{CaptureOutcome, CaptureRequest, CaptureSettings};
use crate::capture::thread::{CaptureRequests, busy_for};
use crate::engine::command_log::CommandLog;
use crate::error::display_chain;
use crate::light::handle::LightHandle;
use crate::light::indicator::LightEvent;
use crate::net;
use crate::settings::effective::EffectiveSettings;
use crate::spool::{Key, Spool};
use crate::status::diagnostics::RecentWarnings;
use crate::status::events::{Event, EventWriter};
use crate::time::clock::Clock;
use crate::time::journal::Journal;
use crate::transport::{Publisher, TransportEvent};
use crate::upload::drain::Drain;
use crate::upload::rate_limiter::RateLimiter;

const TICK: Duration = Duration::from_secs(1);
/// So long a network may take to come before its absence is a fault: an access point that starts with the camera.
const NETWORK_GRACE: Duration = Duration::from_secs(120);
/// A camera that says nothing for longer counts as quiet in the cloud.
const STATUS_EVERY: Duration = Duration::from_secs(30);
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// A fault or a boot line without a receipt is sent again after this, doubling to the other.
const JOURNAL_WAIT_MIN: Duration = Duration::from_secs(30);
/// The broker acknowledges nothing for longer than this although something waits for it: the connection is dead.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(120);
/// A restart that is wanted waits for answers to presses for this long at most.
const RESTART_WITHIN: Duration = Duration::from_secs(20);
/// One picture takes this long at most, unless the camera hangs.
const CAPTURE_WITHIN: Duration = Duration::from_secs(60);
/// The time between two looks for something to publish, when it is not known that there will be something.
const NOTHING_DUE: Duration = Duration::from_secs(3600);

/// A capture of this run that has no receipt yet.
struct UnconfirmedCapture {
    press: Option<u64>,
    command: Option<CommandRef>,
    at_boottime_us: u64,
    saved_after_us: u64,
}

/// A command being carried out.
#[derive(Clone)]
struct CommandRef {
    id: String,
    at_boottime_us: u64,
}

/// One `up/have`, and which of its pages are not answered yet.
struct InventoryRequest {
    id: u32,
    unacknowledged: BTreeSet<u32>,
}

/// Why the engine stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Shutdown,
    /// Run the program again.
    Restart,
}

pub(crate) struct Engine {
    pub(crate) drain: Drain,
    pub(crate) rate_limiter: RateLimiter,
    /// The start of the drain's time.
    pub(crate) began: tokio::time::Instant,
    pub(crate) spool: Arc<Mutex<Spool>>,
    pub(crate) clock: Clock,
    pub(crate) light: LightHandle,
    pub(crate) events: EventWriter,
    pub(crate) capture_requests: CaptureRequests,
    /// Actions chosen by holding the button.
    pub(crate) hold_actions: mpsc::Receiver<HoldAction>,
    pub(crate) commands: CommandLog,
    pub(crate) journal: Journal,
    /// The most bytes of a capture that the cloud takes, for the pipeline.
    pub(crate) capture_bytes_max: Arc<AtomicU64>,
    /// The spool in whose name to connect from the next connection on.
    pub(crate) current_spool: watch::Sender<SpoolId>,
    pub(crate) device: DeviceId,
    /// CLOCK_BOOTTIME, microseconds, since when the thread that takes pictures works on one; see [`busy_for`].
    pub(crate) capture_busy_since_us: Arc<AtomicU64>,
    pub(crate) settings: EffectiveSettings,
    pub(crate) capture_settings: Arc<Mutex<CaptureSettings>>,
    pub(crate) recent_warnings: RecentWarnings,
    pub(crate) state: State,
}

/// The state of a run; it begins empty.
#[derive(Default)]
pub(crate) struct State {
    connection: CloudConnection,
    report: Report,
    unconfirmed: HashMap<Key, UnconfirmedCapture>,
    faults: BTreeSet<FaultCode>,
    /// When what waits in the journal is sent again, and the wait after that.
    journal_due: (Duration, Duration),
    restart_due: bool,
    restart_wanted_at: Option<tokio::time::Instant>,
    /// Why the spool could not be reopened the last time.
    reopen_error: Option<String>,
}

/// The connection to the cloud, and what is known of the cloud.
#[derive(Default)]
struct CloudConnection {
    publisher: Option<Arc<dyn Publisher>>,
    connected_at: Option<tokio::time::Instant>,
    /// Since the start of the program.
    count: u64,
    /// The distinct reasons that were reported since there was a connection.
    disconnect_reasons: Vec<String>,
    /// Since when this computer has no address at all.
    no_network_since: Option<tokio::time::Instant>,
    inventory_request: Option<InventoryRequest>,
    inventory_requests: u32,
    cloud_started: Option<u64>,
    uploads_paused: bool,
    /// Another cloud than ours has answered since ours did.
    paused_by_foreign: bool,
}

/// The last reports of the state.
#[derive(Default)]
struct Report {
    status_due: bool,
    status_sent: Option<tokio::time::Instant>,
    led: LedStatus,
    /// (connected, something waits, something is on its way) as the light shows it.
    progress: Option<(bool, bool, bool)>,
    /// The status file tells of this start.
    status_file_written: bool,
}

impl Engine {
    /// Works until `stop` resolves, or until the program is to run again. Fails if a thread or task has ended too early.
    pub(crate) async fn run(
        &mut self,
        outcomes: &mut mpsc::Receiver<CaptureOutcome>,
        mut transport_events: mpsc::Receiver<TransportEvent>,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<Exit> {
        tokio::pin!(stop);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut tidy = tokio::time::interval(TIDY_EVERY);
        let mut capture_interval_s = self.settings.config().capture_interval_s;
        let mut interval = interval_of(capture_interval_s);
        loop {
            if self.is_ready_to_restart() {
                tracing::info!("restarting");
                self.events.emit(&Event::Restarting);
                return Ok(Exit::Restart);
            }
            if self.settings.config().capture_interval_s != capture_interval_s {
                capture_interval_s = self.settings.config().capture_interval_s;
                interval = interval_of(capture_interval_s);
            }
            let wake_at = self.wake_at();
            tokio::select! {
                () = &mut stop => return Ok(Exit::Shutdown),
                outcome = outcomes.recv() => self.on_outcome(outcome.context("the camera's thread ended")?),
                Some(action) = self.hold_actions.recv() => self.on_hold_action(action),
                event = transport_events.recv() => self.on_transport_event(event.context("the connection's task ended")?),
                _ = tick.tick() => self.on_tick(),
                _ = tidy.tick() => self.tidy(),
                _ = interval.tick(), if capture_interval_s > 0 => {
                    if !self.request_capture(CaptureRequest::Interval) {
                        tracing::warn!("the camera is busy: skipped an interval picture");
                    }
                }
                () = tokio::time::sleep_until(self.began + wake_at) => {}
            }
            // Reading a part may wait for the card; the connection has a thread of its own and does not.
            self.pump();
        }
    }

    /// Returns true when a restart is wanted and every press has its answer, which nobody could give after it.
    fn is_ready_to_restart(&mut self) -> bool {
        if !self.state.restart_due {
            return false;
        }
        let wanted_at = *self.state.restart_wanted_at.get_or_insert_with(tokio::time::Instant::now);
        self.light.has_answered_all() || wanted_at.elapsed() >= RESTART_WITHIN
    }

    /// Takes in what still comes of presses that were felt already, and nothing new. Returns the connection.
    pub(crate) async fn finish(
        mut self,
        outcomes: &mut mpsc::Receiver<CaptureOutcome>,
        patience: Duration,
    ) -> Option<Arc<dyn Publisher>> {
        self.capture_requests.lock().take();
        let finish = async {
            while let Some(outcome) = outcomes.recv().await {
                self.on_outcome(outcome);
            }
        };
        if tokio::time::timeout(patience, finish).await.is_err() {
            tracing::warn!("the camera does not answer: stopping without the presses that wait for it");
        }
        let spool = self.spool.lock().spool_id();
        let now = self.clock.now();
        self.journal.close(&now, spool);
        self.state.connection.publisher
    }

    /// Wall time, if the clock can be trusted.
    fn known_time_us(&self) -> Option<i64> {
        let now = self.clock.now();
        now.synchronised.then_some(now.wall_us)
    }

    /// Returns false if the camera has too much to do already.
    fn request_capture(&self, request: CaptureRequest) -> bool {
        self.capture_requests.lock().as_ref().is_some_and(|jobs| jobs.try_send(request).is_ok())
    }

    /// Returns the span that names a capture in every log line about it, on the camera and in the cloud.
    fn capture_span(&self, id: CaptureId) -> tracing::Span {
        tracing::info_span!("capture", device = %self.device, spool = %id.spool, sequence = id.sequence.get())
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// When there may be something to publish although nothing happened.
    fn wake_at(&self) -> Duration {
        let now = self.now();
        let wake_at = self.drain.wake_at(now).unwrap_or(now + NOTHING_DUE);
        let free_at = self.rate_limiter.free_at();
        if free_at > now { wake_at.min(free_at) } else { wake_at }
    }

    fn on_tick(&mut self) {
        self.end_overdue_trial();
        let silent = self.drain.stalled_for(self.now());
        let stuck = silent.is_some_and(|silent| silent > ACKNOWLEDGED_WITHIN);
        if stuck && let Some(publisher) = &self.state.connection.publisher {
            tracing::warn!("nothing is acknowledged: reconnecting");
            publisher.abandon();
        }
        if self.spool.lock().is_poisoned() {
            self.reopen_spool();
        }
        if self.state.faults.contains(&FaultCode::Card) && self.spool.lock().has_room_again() {
            self.set_fault(FaultCode::Card, false);
        }
        self.check_clock();
        self.check_network();
        // The page shows the light as it is now.
        let light_changed = self.light.status() != self.state.report.led;
        let due = self.state.report.status_sent.is_none_or(|sent| sent.elapsed() >= STATUS_EVERY);
        if self.state.report.status_due || light_changed || due {
            self.publish_status();
        }
        // Only the loops that do the work feed the watchdog: this one, and the one that takes pictures.
        if busy_for(&self.capture_busy_since_us) < CAPTURE_WITHIN {
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        }
    }

    /// Without any network the camera says so (fault 2), for then nobody has to look for what is wrong with the cloud.
    fn check_network(&mut self) {
        let has_one = self.state.connection.publisher.is_some()
            || is_local_host(&self.settings.config().cloud.url.host)
            || !net::addresses().is_empty();
        if has_one {
            self.state.connection.no_network_since = None;
            self.set_fault(FaultCode::Network, false);
            return;
        }
        let since = self.state.connection.no_network_since.get_or_insert_with(tokio::time::Instant::now);
        if since.elapsed() >= NETWORK_GRACE {
            self.set_fault(FaultCode::Network, true);
        }
    }

    fn tidy(&mut self) {
        let tidied = self.spool.lock().tidy(self.known_time_us());
        if let Err(error) = tidied {
            tracing::warn!(error = display_chain(&error), "tidy the spool");
        }
    }

    pub(crate) fn set_fault(&mut self, fault: FaultCode, holds: bool) {
        let changed = if holds {
            self.state.faults.insert(fault)
        } else {
            self.state.faults.remove(&fault)
        };
        if !changed {
            return;
        }
        self.state.report.status_due = true;
        self.light.send(LightEvent::Fault(fault, holds));
        if holds {
            let fault = Fault {
                number: fault.number(),
                text: fault.meaning().to_owned(),
                at: self.clock.now(),
                spool: None,
            };
            let spool = self.spool.lock().spool_id();
            self.journal.record_fault(fault, spool);
            self.state.journal_due = (Duration::ZERO, JOURNAL_WAIT_MIN);
            self.send_journal();
        }
    }

    fn update_light(&mut self) {
        let connected = self.state.connection.publisher.is_some();
        let uploading = connected && self.drain.in_flight().0 > 0;
        let now = (connected, self.drain.waiting() > 0, uploading);
        if self.state.report.progress != Some(now) {
            self.state.report.progress = Some(now);
            self.light.send(LightEvent::Connected(connected));
            self.light.send(LightEvent::Waiting(now.1));
            self.light.send(LightEvent::Uploading(uploading));
        }
    }
}

fn is_local_host(host: &str) -> bool {
    let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

/// The first capture is after a whole interval: the person who sets it knows what the scene looks like now.
fn interval_of(capture_interval_s: u64) -> tokio::time::Interval {
    let mut interval = tokio::time::interval(Duration::from_secs(capture_interval_s.max(1)));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    interval.reset();
    interval
}
