//! Turns what happens into what is done: outcomes of presses, messages of the cloud, and time go in; the drain decides,
//! and messages, lights and notes on the card come out. The one owner of the drain.

mod button_actions;
pub mod command_log;
mod maintenance;
mod settings;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use keepsake_protocol::capture::FrameHeader;
use keepsake_protocol::cloud_info::CloudInfo;
use keepsake_protocol::command::{Command, CommandKind, CommandReply, CommandStage};
use keepsake_protocol::event::Fault;
use keepsake_protocol::faults::FaultCode;
use keepsake_protocol::inventory::{INVENTORY_PAGE_MAX, Inventory};
use keepsake_protocol::presence::{Health, LedStatus, Presence, Queue, Status};
use keepsake_protocol::receipt::Receipt;
use keepsake_protocol::topic::MessageKind;
use keepsake_protocol::{CaptureId, DeviceId, HashPrefix, SpoolId};
use tokio::sync::{mpsc, watch};

use crate::button::gesture::HoldAction;
use crate::capture::pipeline::{CaptureOutcome, CaptureRequest, CaptureSettings, MaxCaptureSize};
use crate::engine::command_log::{CommandLog, is_valid_id};
use crate::error::display_chain;
use crate::light::handle::LightHandle;
use crate::light::indicator::LightEvent;
use crate::net;
use crate::settings::effective::EffectiveSettings;
use crate::spool::{Key, PendingCapture, SharedSpool, SpoolChange, SpoolError};
use crate::status::diagnostics::{RecentWarnings, temperature_mc};
use crate::status::events::{Event, EventWriter};
use crate::time::clock::{Clock, boottime_us};
use crate::time::journal::Journal;
use crate::transport::{DisconnectReason, Publisher, TransportEvent};
use crate::upload::drain::{self, Drain, LIVE_FOR};
use crate::upload::rate_limiter::RateLimiter;

const TICK: Duration = Duration::from_secs(1);
/// So long a network may take to come before its absence is a fault: an access point that starts with the camera.
const NETWORK_GRACE: Duration = Duration::from_secs(120);
/// A camera that says nothing for longer counts as quiet in the cloud.
const STATUS_EVERY: Duration = Duration::from_secs(30);
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// A fault or a boot line without a receipt is sent again after this, doubling to the other.
const JOURNAL_WAIT_MIN: Duration = Duration::from_secs(30);
const JOURNAL_WAIT_MAX: Duration = Duration::from_secs(6 * 3600);
/// The broker acknowledges nothing for longer than this although something waits for it: the connection is dead.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(120);
/// The longest a refused capture is left alone, whatever the cloud says.
const DEFERRED_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Limit of distinct disconnect reasons that are reported before the next connection.
const REASONS_MAX: usize = 8;
/// The press thread says that it lives at least this often, unless the camera hangs.
const HEARTBEAT_WITHIN: Duration = Duration::from_secs(60);

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

/// What the engine works with.
pub struct EngineParts {
    pub spool: SharedSpool,
    pub clock: Clock,
    pub light: LightHandle,
    pub events: EventWriter,
    pub capture_requests: SyncSender<CaptureRequest>,
    /// Actions chosen by holding the button.
    pub hold_actions: mpsc::Receiver<HoldAction>,
    pub commands: CommandLog,
    pub journal: Journal,
    pub max_capture_size: MaxCaptureSize,
    /// The spool in whose name to connect from the next connection on.
    pub current_spool: watch::Sender<SpoolId>,
    pub device: DeviceId,
    /// CLOCK_BOOTTIME, microseconds, when the thread that takes pictures last said that it lives.
    pub camera_heartbeat_us: Arc<AtomicU64>,
    pub limits: drain::Limits,
    pub rate_limiter: RateLimiter,
    pub settings: EffectiveSettings,
    pub capture_settings: Arc<Mutex<CaptureSettings>>,
    pub recent_warnings: RecentWarnings,
}

/// Why the engine stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Shutdown,
    /// Run the program again.
    Restart,
}

pub struct Engine {
    drain: Drain,
    rate_limiter: RateLimiter,
    began: tokio::time::Instant,
    spool: SharedSpool,
    clock: Clock,
    light: LightHandle,
    events: EventWriter,
    /// Gone while stopping.
    capture_requests: Option<SyncSender<CaptureRequest>>,
    hold_actions: mpsc::Receiver<HoldAction>,
    commands: CommandLog,
    journal: Journal,
    /// When what waits in the notes is sent again, and the wait after that.
    journal_due: (Duration, Duration),
    max_capture_size: MaxCaptureSize,
    current_spool: watch::Sender<SpoolId>,
    device: DeviceId,
    publisher: Option<Publisher>,
    /// Why there was no connection, as was told since there was one.
    disconnect_reasons: Vec<String>,
    inventory_request: Option<InventoryRequest>,
    inventory_requests: u32,
    cloud_started: Option<u64>,
    uploads_paused: bool,
    unconfirmed: HashMap<Key, UnconfirmedCapture>,
    faults: BTreeSet<FaultCode>,
    status_due: bool,
    reported_led: LedStatus,
    status_sent: Option<tokio::time::Instant>,
    /// (connected, something waits, something is on its way) as last told.
    shown_progress: Option<(bool, bool, bool)>,
    camera_heartbeat_us: Arc<AtomicU64>,
    settings: EffectiveSettings,
    capture_settings: Arc<Mutex<CaptureSettings>>,
    /// Seconds between pictures of the interval, 0 = none.
    capture_interval_s: u64,
    restart_due: bool,
    /// The status file tells of this start.
    status_file_written: bool,
    recent_warnings: RecentWarnings,
    connections: u64,
    connected_at: Option<tokio::time::Instant>,
    /// Since when this computer has no address at all.
    no_network_since: Option<tokio::time::Instant>,
}

impl Engine {
    /// All that waits on the card waits in the drain from now on.
    pub fn new(parts: EngineParts) -> Self {
        let mut engine = Self {
            drain: Drain::new(parts.limits),
            rate_limiter: parts.rate_limiter,
            began: tokio::time::Instant::now(),
            spool: parts.spool,
            clock: parts.clock,
            light: parts.light,
            events: parts.events,
            capture_requests: Some(parts.capture_requests),
            hold_actions: parts.hold_actions,
            commands: parts.commands,
            journal: parts.journal,
            journal_due: (Duration::ZERO, JOURNAL_WAIT_MIN),
            max_capture_size: parts.max_capture_size,
            current_spool: parts.current_spool,
            device: parts.device,
            publisher: None,
            disconnect_reasons: Vec::new(),
            inventory_request: None,
            inventory_requests: 0,
            cloud_started: None,
            uploads_paused: false,
            unconfirmed: HashMap::new(),
            faults: BTreeSet::new(),
            status_due: true,
            reported_led: LedStatus::default(),
            status_sent: None,
            shown_progress: None,
            camera_heartbeat_us: parts.camera_heartbeat_us,
            capture_interval_s: parts.settings.config().capture_interval_s,
            settings: parts.settings,
            capture_settings: parts.capture_settings,
            restart_due: false,
            status_file_written: false,
            recent_warnings: parts.recent_warnings,
            connections: 0,
            connected_at: None,
            no_network_since: None,
        };
        engine.reload_drain();
        engine.report_warnings();
        engine
    }

    /// Works until `stop` resolves, or until the program is to run again.
    ///
    /// # Errors
    /// A thread or task that must not end has ended.
    pub async fn run(
        &mut self,
        outcomes: &mut mpsc::Receiver<CaptureOutcome>,
        mut transport_events: mpsc::Receiver<TransportEvent>,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<Exit> {
        tokio::pin!(stop);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut tidy = tokio::time::interval(TIDY_EVERY);
        let mut capture_interval_s = self.capture_interval_s;
        let mut interval = interval_of(capture_interval_s);
        loop {
            if self.restart_due {
                tracing::info!("restarting");
                self.events.emit(&Event::Restarting);
                return Ok(Exit::Restart);
            }
            if self.capture_interval_s != capture_interval_s {
                capture_interval_s = self.capture_interval_s;
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
                        tracing::warn!("the camera is busy: a picture of the interval was not taken");
                    }
                }
                () = tokio::time::sleep_until(self.began + wake_at) => {}
            }
            // Reading a part may wait for the card; the connection has a task of its own and does not.
            tokio::task::block_in_place(|| self.pump());
        }
    }

    /// Takes in what still comes of presses that were felt already, and nothing new. Returns the connection.
    pub async fn finish(
        mut self,
        outcomes: &mut mpsc::Receiver<CaptureOutcome>,
        patience: Duration,
    ) -> Option<Publisher> {
        self.capture_requests = None;
        let finish = async {
            while let Some(outcome) = outcomes.recv().await {
                self.on_outcome(outcome);
            }
        };
        if tokio::time::timeout(patience, finish).await.is_err() {
            tracing::warn!("the camera does not answer: stopping without the presses that wait for it");
        }
        let install = self.spool.lock().spool_id();
        let now = self.clock.now();
        tokio::task::block_in_place(|| self.journal.close(&now, install));
        self.publisher
    }

    /// How many captures have no receipt.
    pub fn waiting(&self) -> usize {
        self.drain.waiting()
    }

    /// Wall time, if the clock can be trusted.
    fn known_time_us(&self) -> Option<i64> {
        let now = self.clock.now();
        now.synchronised.then_some(now.wall_us)
    }

    /// Returns false if the camera has too much to do already.
    fn request_capture(&self, request: CaptureRequest) -> bool {
        self.capture_requests
            .as_ref()
            .is_some_and(|jobs| jobs.try_send(request).is_ok())
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// When there may be something to publish although nothing happened.
    fn wake_at(&self) -> Duration {
        let now = self.now();
        let wake_at = self.drain.wake_at(now).unwrap_or(TICK + now);
        let free_at = self.rate_limiter.free_at();
        if free_at > now { wake_at.min(free_at) } else { wake_at }
    }

    fn on_tick(&mut self) {
        self.end_overdue_trial();
        let silent = self.drain.stalled_for(self.now());
        let stuck = silent.is_some_and(|silent| silent > ACKNOWLEDGED_WITHIN);
        if stuck && let Some(publisher) = &self.publisher {
            tracing::warn!("nothing is acknowledged: reconnecting");
            publisher.abandon();
        }
        if self.spool.lock().is_poisoned() {
            self.reopen_spool();
        }
        if self.faults.contains(&FaultCode::Card) && self.spool.lock().has_room_again() {
            self.set_fault(FaultCode::Card, false);
        }
        self.check_clock();
        self.check_network();
        // The page shows the light as it is now.
        let light_changed = self.light.status() != self.reported_led;
        let due = self.status_sent.is_none_or(|sent| sent.elapsed() >= STATUS_EVERY);
        if self.status_due || light_changed || due {
            self.publish_status();
        }
        // Only the loops that do the work feed the watchdog: this one, and the one that takes pictures.
        let quiet_us = boottime_us().saturating_sub(self.camera_heartbeat_us.load(Ordering::Relaxed));
        if Duration::from_micros(quiet_us) < HEARTBEAT_WITHIN {
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        }
    }

    /// Without any network the camera says so (fault 2), for then nobody has to look for what is wrong with the cloud.
    fn check_network(&mut self) {
        let has_one = self.publisher.is_some()
            || is_local_host(&self.settings.config().cloud.url.host)
            || !net::addresses().is_empty();
        if has_one {
            self.no_network_since = None;
            self.set_fault(FaultCode::Network, false);
            return;
        }
        let since = self.no_network_since.get_or_insert_with(tokio::time::Instant::now);
        if since.elapsed() >= NETWORK_GRACE {
            self.set_fault(FaultCode::Network, true);
        }
    }

    /// Keeps what the clock says that is news, and sends what of the notes is due.
    fn check_clock(&mut self) {
        let install = self.spool.lock().spool_id();
        let now = self.clock.now();
        if tokio::task::block_in_place(|| self.journal.observe(&now, install)) {
            tracing::info!("the time is known: pictures of this boot are corrected");
            self.journal_due = (Duration::ZERO, JOURNAL_WAIT_MIN);
        }
        self.send_journal();
    }

    fn send_journal(&mut self) {
        let Some(publisher) = &self.publisher else {
            return;
        };
        let (due, wait) = self.journal_due;
        if self.uploads_paused || self.now() < due {
            return;
        }
        for event in self.journal.unconfirmed() {
            if publisher
                .publish(MessageKind::Event, event.as_bytes().to_vec(), None)
                .is_err()
            {
                return publisher.abandon();
            }
        }
        self.journal_due = (self.now() + wait, (wait * 2).min(JOURNAL_WAIT_MAX));
    }

    fn tidy(&mut self) {
        let tidied = self.spool.lock().tidy(self.known_time_us());
        if let Err(error) = tidied {
            tracing::warn!(error = display_chain(&error), "tidy the spool");
        }
    }

    fn on_outcome(&mut self, outcome: CaptureOutcome) {
        self.status_due = true;
        match outcome {
            CaptureOutcome::Captured { request } => {
                if let (_, Some(command_ref)) = requester(&request) {
                    self.reply(&command_ref, CommandStage::Captured, None, None);
                }
            }
            CaptureOutcome::Expired { request } => {
                if let (_, Some(command_ref)) = requester(&request) {
                    self.reply(&command_ref, CommandStage::Expired, None, None);
                }
            }
            CaptureOutcome::Saved {
                request,
                waiting,
                record,
                saved_after_us,
            } => {
                let (press, command) = requester(&request);
                self.events.emit(&Event::Saved {
                    press,
                    install: record.spool,
                    sequence: record.sequence,
                    hash: record.hash,
                    bytes: record.total,
                    after_us: saved_after_us,
                });
                self.set_fault(FaultCode::Camera, false);
                self.set_fault(FaultCode::Card, false);
                self.apply_spool_changes();
                let live_until = self.now() + LIVE_FOR;
                self.drain.add(waiting.key, waiting.total, false, 0, live_until);
                if let Some(command_ref) = &command {
                    self.reply(command_ref, CommandStage::Saved, Some(record.id()), None);
                }
                let at_boottime_us = record.pressed.boottime_us;
                self.unconfirmed.insert(
                    waiting.key,
                    UnconfirmedCapture {
                        press,
                        command,
                        at_boottime_us,
                        saved_after_us,
                    },
                );
                if let Some(press) = press {
                    self.light.send(LightEvent::Saved(press));
                }
                self.update_light();
            }
            CaptureOutcome::Tombstone {
                request,
                waiting,
                reason,
                text,
            } => {
                let (press, command) = requester(&request);
                tracing::warn!(reason = reason.describe(), text, "no picture");
                let (install, sequence) = (waiting.id.spool, waiting.id.sequence);
                self.events.emit(&Event::Tombstone {
                    press,
                    install,
                    sequence,
                    reason,
                });
                self.drain
                    .add(waiting.key, waiting.total, true, 0, self.now() + LIVE_FOR);
                self.apply_spool_changes();
                let full = reason == keepsake_protocol::event::TombstoneReason::CardFull;
                let fault = if full { FaultCode::Card } else { FaultCode::Camera };
                self.set_fault(fault, true);
                self.finish_without_picture(press, command, fault, &text);
            }
            CaptureOutcome::Failed {
                request,
                text,
                poisoned,
            } => {
                let (press, command) = requester(&request);
                self.events.emit(&Event::Refused { press, text: &text });
                self.set_fault(FaultCode::Card, true);
                self.finish_without_picture(press, command, FaultCode::Card, &text);
                if poisoned {
                    self.reopen_spool();
                }
            }
        }
    }

    fn finish_without_picture(
        &mut self,
        press: Option<u64>,
        command: Option<CommandRef>,
        fault: FaultCode,
        text: &str,
    ) {
        if let Some(press) = press {
            self.light.send(LightEvent::Failed(press, fault));
        }
        if let Some(command_ref) = command {
            self.reply(&command_ref, CommandStage::Failed, None, Some(text.to_owned()));
        }
    }

    fn on_transport_event(&mut self, event: TransportEvent) {
        match event {
            TransportEvent::Connected(publisher) => {
                tracing::info!("connected");
                set_systemd_status("connected");
                self.events.emit(&Event::Connected);
                self.publisher = Some(publisher);
                self.connections += 1;
                self.connected_at = Some(tokio::time::Instant::now());
                self.set_fault(FaultCode::Pairing, false);
                self.disconnect_reasons.clear();
                self.drain.connected(self.now());
                self.publish_status();
                self.reply_to_restart();
                self.send_inventory();
                self.journal_due = (Duration::ZERO, JOURNAL_WAIT_MIN);
                self.send_journal();
                self.write_first_status_file();
            }
            TransportEvent::Disconnected { reason, text } => {
                let someone_must_act = match reason {
                    DisconnectReason::Unauthorized | DisconnectReason::TlsUntrusted => true,
                    DisconnectReason::Unreachable => false,
                };
                let was_up = self.publisher.take().is_some();
                // It is tried for ever, and the same reason again is no news.
                let new = !self.disconnect_reasons.contains(&text) && self.disconnect_reasons.len() < REASONS_MAX;
                if was_up || new {
                    tracing::info!(text, "not connected; pictures are kept");
                    set_systemd_status(&format!("not connected ({text}); pictures are kept"));
                }
                // That there is no network yet is what a camera that has just started expects.
                if was_up || new && someone_must_act {
                    self.events.emit(&Event::Disconnected { text: &text });
                }
                if new {
                    self.disconnect_reasons.push(text);
                }
                self.set_fault(FaultCode::Pairing, someone_must_act);
                self.inventory_request = None;
                self.connected_at = None;
                let attempts_made = self.drain.disconnected(self.now());
                let mut spool = self.spool.lock();
                for (key, attempts) in attempts_made {
                    spool.record_attempts(key, attempts);
                }
                drop(spool);
                self.write_first_status_file();
            }
            TransportEvent::Acknowledged { token } => {
                if !self.on_restart_acknowledged(token) {
                    self.drain.acknowledged(token, self.now());
                }
            }
            TransportEvent::Rejected { token, text } => {
                tracing::warn!(text, "not taken; it stays on the card and is tried again");
                self.status_due = true;
                self.drain.rejected(token, self.now());
            }
            TransportEvent::Message { kind, payload } => self.on_message(kind, &payload),
        }
        self.update_light();
    }

    /// A message that cannot be read is a fault of the cloud, told and ignored.
    fn on_message(&mut self, kind: MessageKind, payload: &[u8]) {
        let bad = |error: &dyn std::error::Error| {
            tracing::warn!(
                topic = kind.path(),
                error = display_chain(error),
                "a message that cannot be read"
            );
        };
        match kind {
            MessageKind::Receipt => match keepsake_protocol::codec::decode::<Receipt>(payload) {
                Ok(receipt) => self.on_receipt(&receipt),
                Err(error) => bad(&error),
            },
            MessageKind::Cloud => match keepsake_protocol::codec::decode::<CloudInfo>(payload) {
                Ok(cloud) => self.on_cloud_info(&cloud),
                Err(error) => bad(&error),
            },
            MessageKind::Command => match keepsake_protocol::codec::decode::<Command>(payload) {
                Ok(command) => self.on_command(&command),
                Err(error) => bad(&error),
            },
            MessageKind::Settings => self.on_settings(payload),
            MessageKind::Frame | MessageKind::Have | MessageKind::Status | MessageKind::Event | MessageKind::Reply => {}
        }
    }

    /// Whether this is the cloud this camera belongs to; the first one it meets becomes that.
    fn is_our_cloud(&mut self, store: keepsake_protocol::StoreId) -> bool {
        let paired_store = self.spool.lock().store();
        match paired_store {
            Some(ours) if ours == store => {}
            Some(ours) => {
                if !self.faults.contains(&FaultCode::Cloud) {
                    tracing::error!(%ours, theirs = %store, "another cloud answers; `appliance forget-cloud` accepts it");
                    let text = "another cloud answers: nothing is handed over to it";
                    self.events.emit(&Event::Warning { text });
                }
                self.set_fault(FaultCode::Cloud, true);
                return false;
            }
            None => {
                let noted = self.spool.lock().pin_store(Some(store));
                if let Err(error) = noted {
                    tracing::warn!(error = display_chain(&error), "note which cloud this camera belongs to");
                }
            }
        }
        self.set_fault(FaultCode::Cloud, false);
        true
    }

    fn on_cloud_info(&mut self, cloud: &CloudInfo) {
        if !self.is_our_cloud(cloud.store) {
            self.drain.pause(true);
            return;
        }
        self.max_capture_size.set(cloud.capture_bytes_max);
        if cloud.hold.is_some() != self.uploads_paused {
            self.uploads_paused = cloud.hold.is_some();
            tracing::info!(
                hold = cloud.hold.as_deref().unwrap_or("no"),
                "the cloud says whether to hold"
            );
        }
        self.drain.pause(self.uploads_paused);
        if self
            .cloud_started
            .replace(cloud.started)
            .is_some_and(|before| before != cloud.started)
        {
            self.drain.restart_inventory(self.now());
            self.send_inventory();
        }
    }

    fn on_receipt(&mut self, receipt: &Receipt) {
        if !self.is_our_cloud(receipt.store) {
            return;
        }
        self.confirm_connection();
        self.drain.cloud_responded();
        let now_us = self.known_time_us();
        if let Some(said_us) = receipt.sent_us {
            self.journal.on_cloud_time(said_us, &self.clock.now());
        }
        if !receipt.events.is_empty() {
            let now = self.clock.now();
            if tokio::task::block_in_place(|| self.journal.confirm(&receipt.events, &now)) {
                self.journal_due.1 = JOURNAL_WAIT_MIN;
            }
        }
        for (sequence, hash) in &receipt.stored {
            let id = CaptureId {
                spool: receipt.spool,
                sequence: *sequence,
            };
            self.on_stored(id, *hash, now_us);
        }
        for want in &receipt.want {
            let id = CaptureId {
                spool: receipt.spool,
                sequence: want.sequence,
            };
            let requeued = self.spool.lock().requeue(id);
            let Some(waiting) = requeued else { continue };
            self.add_unless_known(&waiting);
            self.drain.request_resend(waiting.key, &want.ranges);
        }
        for rejection in &receipt.rejected {
            let id = CaptureId {
                spool: receipt.spool,
                sequence: rejection.sequence,
            };
            tracing::warn!(%id, reason = rejection.reason, "the cloud cannot take a capture; it stays on the card");
            let found = self
                .spool
                .lock()
                .pending()
                .into_iter()
                .find(|w| w.id == id && w.hash == rejection.hash);
            if let Some(waiting) = found {
                self.drain.defer(
                    waiting.key,
                    self.now() + Duration::from_secs(rejection.retry_after).min(DEFERRED_MAX),
                );
            }
        }
        if let (Some(answer), Some(question)) = (receipt.inventory_ack, &mut self.inventory_request)
            && question.id == answer.id
        {
            question.unacknowledged.remove(&answer.page);
            if question.unacknowledged.is_empty() {
                self.inventory_request = None;
                self.drain.inventory_answered();
            }
        }
        if let Some(next) = receipt.next {
            self.detect_cloned_card(receipt.spool, next);
        }
        self.status_due = true;
    }

    fn on_stored(&mut self, id: CaptureId, hash: HashPrefix, now_us: Option<i64>) {
        let received = self.spool.lock().mark_received(id, hash, now_us);
        let Some((key, is_news)) = received else {
            return;
        };
        self.drain.remove(key);
        if !is_news {
            return;
        }
        let taken = self.unconfirmed.remove(&key);
        let after_us = taken
            .as_ref()
            .map(|taken| boottime_us().saturating_sub(taken.at_boottime_us));
        self.events.emit(&Event::Stored {
            install: id.spool,
            sequence: id.sequence,
            hash,
            after_us,
        });
        if let Some(UnconfirmedCapture { press, command, .. }) = taken {
            if let Some(press) = press {
                self.light.send(LightEvent::Stored(press));
            }
            if let Some(command_ref) = command {
                self.reply(&command_ref, CommandStage::Done, Some(id), None);
            }
        }
    }

    /// The cloud knows higher numbers of this install than this card: the card is a copy, or was restored from one.
    fn detect_cloned_card(&mut self, install: SpoolId, next: keepsake_protocol::Sequence) {
        let mut spool = self.spool.lock();
        if install != spool.spool_id() || next <= spool.next() {
            return;
        }
        let ours = spool.next();
        let started = spool.start_new_generation();
        drop(spool);
        match started {
            Ok(started) => {
                let text = format!(
                    "the cloud knows capture {} of this install, this card only {}: it is a copy, and a new install begins",
                    next.get() - 1,
                    ours.get() - 1
                );
                tracing::warn!("{text}");
                self.events.emit(&Event::Warning { text: &text });
                // Under the new name it no longer throws its twin off the broker.
                let _ = self.current_spool.send(started);
                if let Some(publisher) = &self.publisher {
                    publisher.abandon();
                }
            }
            Err(error) => tracing::error!(error = display_chain(&error), "begin a new install"),
        }
    }

    fn on_command(&mut self, command: &Command) {
        if !is_valid_id(&command.id) {
            tracing::warn!("a command with an id that cannot be kept was ignored");
            return;
        }
        let command_ref = CommandRef {
            id: command.id.clone(),
            at_boottime_us: boottime_us(),
        };
        let is_new = match self.commands.record(&command.id) {
            Ok(is_new) => is_new,
            Err(error) => {
                let text = format!("the card could not note the command: {error}");
                return self.reply(&command_ref, CommandStage::Failed, None, Some(text));
            }
        };
        if !is_new {
            return self.reply(
                &command_ref,
                CommandStage::Accepted,
                None,
                Some("known already".to_owned()),
            );
        }
        if command.lifetime_us() == 0 {
            return self.reply(&command_ref, CommandStage::Expired, None, None);
        }
        self.reply(&command_ref, CommandStage::Accepted, None, None);
        match command.command {
            CommandKind::Snap => {
                let request = CaptureRequest::Command {
                    id: command_ref.id.clone(),
                    at_boottime_us: command_ref.at_boottime_us,
                    begin_by_us: command_ref.at_boottime_us.saturating_add(command.lifetime_us()),
                };
                if !self.request_capture(request) {
                    self.reply(
                        &command_ref,
                        CommandStage::Failed,
                        None,
                        Some("the camera is busy".to_owned()),
                    );
                }
            }
            CommandKind::Identify => {
                self.light.send(LightEvent::Identify);
                self.reply(&command_ref, CommandStage::Done, None, None);
            }
            CommandKind::Restart => self.begin_restart(&command_ref),
            CommandKind::Diagnostics => self.reply_diagnostics(&command_ref),
        }
    }

    fn reply(&self, command_ref: &CommandRef, stage: CommandStage, capture: Option<CaptureId>, text: Option<String>) {
        self.reply_with(command_ref, stage, capture, text, None);
    }

    fn reply_with(
        &self,
        command_ref: &CommandRef,
        stage: CommandStage,
        capture: Option<CaptureId>,
        text: Option<String>,
        result: Option<serde_json::Map<String, serde_json::Value>>,
    ) {
        let after_us = boottime_us().saturating_sub(command_ref.at_boottime_us);
        let reply = CommandReply {
            id: command_ref.id.clone(),
            stage,
            after_us,
            capture,
            text,
            result,
        };
        if let Some(publisher) = &self.publisher {
            let _ = publisher.publish(MessageKind::Reply, keepsake_protocol::codec::encode(&reply), None);
        }
    }

    /// Asks the cloud what it has of all that waits here.
    fn send_inventory(&mut self) {
        let Some(publisher) = &self.publisher else {
            return;
        };
        self.inventory_requests = self.inventory_requests.wrapping_add(1);
        let mut pages = Vec::new();
        {
            let spool = self.spool.lock();
            let waiting = spool.pending();
            for held in spool.inventory() {
                let captures: Vec<_> = waiting
                    .iter()
                    .filter(|waiting| waiting.id.spool == held.spool)
                    .map(|waiting| (waiting.id.sequence, waiting.hash))
                    .collect();
                // An install with nothing to ask is asked about too: the answer says which number comes next.
                let chunks = captures.chunks(INVENTORY_PAGE_MAX).map(<[_]>::to_vec);
                let chunks: Vec<_> = if captures.is_empty() {
                    vec![Vec::new()]
                } else {
                    chunks.collect()
                };
                pages.extend(chunks.into_iter().map(|captures| (held.spool, held.next, captures)));
            }
        }
        let count = u32::try_from(pages.len()).unwrap_or(u32::MAX);
        let id = self.inventory_requests;
        for (page, (install, next, captures)) in (0..).zip(pages) {
            let inventory = Inventory {
                spool: install,
                next,
                id,
                page,
                pages: count,
                captures,
            };
            if publisher
                .publish(MessageKind::Have, keepsake_protocol::codec::encode(&inventory), None)
                .is_err()
            {
                return publisher.abandon();
            }
        }
        self.inventory_request = Some(InventoryRequest {
            id,
            unacknowledged: (0..count).collect(),
        });
    }

    fn publish_status(&mut self) {
        let Some(publisher) = &self.publisher else {
            return;
        };
        let light = self.light.status();
        let (settings_version, settings) = self.settings.report(self.boot_time());
        let status = {
            let spool = self.spool.lock();
            let (waiting, waiting_bytes, lost) = spool.queue_depth();
            let (card_free, card_total) = spool.space().unwrap_or_default();
            Status {
                presence: Presence::Online,
                spools: spool.inventory(),
                queue: Queue {
                    waiting,
                    waiting_bytes,
                    oldest: spool.oldest_pressed(),
                    parked: self.drain.deferred() as u64,
                    lost,
                    bytes_per_s: self.drain.rate(),
                },
                health: Health {
                    card_free,
                    card_total,
                    temperature_mc: temperature_mc(),
                },
                led: light.clone(),
                faults: self.faults.iter().map(|fault| fault.number()).collect(),
                settings_version,
                settings: Some(Box::new(settings)),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                reported_at: Some(self.clock.now()),
            }
        };
        if publisher
            .publish(MessageKind::Status, keepsake_protocol::codec::encode(&status), None)
            .is_ok()
        {
            self.status_sent = Some(tokio::time::Instant::now());
            self.status_due = false;
            self.reported_led = light;
        }
    }

    /// Publishes whatever the drain says is next.
    fn pump(&mut self) {
        let Some(publisher) = self.publisher.clone() else {
            return;
        };
        while self.rate_limiter.may_send(self.now())
            && let Some(part) = self.drain.next_part(self.now())
        {
            let message = if part.tombstone {
                self.spool
                    .lock()
                    .read_tombstone(part.key)
                    .map(|json| (MessageKind::Event, json))
            } else {
                let read = self.spool.lock().read(part.key, part.offset, part.len);
                read.map(|(record, bytes)| {
                    let taken = self.unconfirmed.get(&part.key);
                    let same_boot = record.pressed.boot == self.clock.boot();
                    let sent_after_us = same_boot.then(|| boottime_us().saturating_sub(record.pressed.boottime_us));
                    let header = FrameHeader {
                        offset: part.offset,
                        len: part.len,
                        attempt: part.attempt,
                        saved_after_us: taken.map(|taken| taken.saved_after_us),
                        sent_after_us,
                        not_before_us: self.journal.history().not_before(&record.pressed),
                        capture: record,
                    };
                    (
                        MessageKind::Frame,
                        keepsake_protocol::codec::encode_frame(&header, &bytes),
                    )
                })
            };
            match message {
                Ok((kind, payload)) => {
                    self.rate_limiter.sent(payload.len() as u64, self.now());
                    if publisher.publish(kind, payload, Some(part.token)).is_err() {
                        // What is not handed over will be after the reconnect (P5).
                        publisher.abandon();
                        return;
                    }
                }
                Err(SpoolError::Damaged) => {
                    tracing::warn!("the card damaged a capture: it was set aside");
                    self.drain.remove(part.key);
                    self.apply_spool_changes();
                }
                Err(SpoolError::Gone) => self.drain.remove(part.key),
                Err(error @ (SpoolError::Disk(_) | SpoolError::Poisoned)) => {
                    tracing::error!(error = display_chain(&error), "read a capture");
                    self.set_fault(FaultCode::Card, true);
                    self.drain.defer(part.key, self.now() + Duration::from_secs(60));
                }
                Err(error @ (SpoolError::InUse(_) | SpoolError::Full { .. })) => {
                    tracing::error!(error = display_chain(&error), "read a capture");
                    self.drain.defer(part.key, self.now() + Duration::from_secs(60));
                }
            }
        }
        self.update_light();
    }

    /// What the card did to other captures meanwhile.
    fn apply_spool_changes(&mut self) {
        let changes = self.spool.lock().take_changes();
        for change in changes {
            match change {
                SpoolChange::Pending(waiting) => self.add(&waiting),
                SpoolChange::Removed(key) => self.drain.remove(key),
            }
        }
    }

    fn add(&mut self, waiting: &PendingCapture) {
        self.drain.add(
            waiting.key,
            waiting.total,
            waiting.tombstone,
            waiting.attempts,
            Duration::ZERO,
        );
    }

    fn add_unless_known(&mut self, waiting: &PendingCapture) {
        if !self.drain.contains(waiting.key) {
            self.add(waiting);
        }
    }

    /// Takes all that waits from the spool.
    fn reload_drain(&mut self) {
        self.drain.clear();
        let waiting = self.spool.lock().pending();
        for waiting in waiting {
            self.add(&waiting);
        }
    }

    /// After a failed fsync nobody knows what is on the card but the card.
    fn reopen_spool(&mut self) {
        let now_us = self.known_time_us();
        let reopened = tokio::task::block_in_place(|| self.spool.lock().reopen(now_us));
        match reopened {
            Ok(()) => {
                tracing::warn!("the spool was opened again after the card failed");
                self.unconfirmed.clear();
                self.reload_drain();
            }
            Err(error) => tracing::error!(error = display_chain(&error), "open the spool again"),
        }
    }

    pub fn set_fault(&mut self, fault: FaultCode, holds: bool) {
        let changed = if holds {
            self.faults.insert(fault)
        } else {
            self.faults.remove(&fault)
        };
        if !changed {
            return;
        }
        self.status_due = true;
        self.light.send(LightEvent::Fault(fault, holds));
        if holds {
            let fault = Fault {
                number: fault.number(),
                text: fault.meaning().to_owned(),
                at: self.clock.now(),
                spool: None,
            };
            let install = self.spool.lock().spool_id();
            tokio::task::block_in_place(|| self.journal.record_fault(fault, install));
            self.journal_due = (Duration::ZERO, JOURNAL_WAIT_MIN);
            self.send_journal();
        }
    }

    fn update_light(&mut self) {
        let connected = self.publisher.is_some();
        let uploading = connected && self.drain.in_flight().0 > 0;
        let now = (connected, self.drain.waiting() > 0, uploading);
        if self.shown_progress != Some(now) {
            self.shown_progress = Some(now);
            self.light.send(LightEvent::Connected(connected));
            self.light.send(LightEvent::Waiting(now.1));
            self.light.send(LightEvent::Uploading(uploading));
        }
    }
}

/// What `systemctl status` shows, and the card's `CAMERA-STATUS.txt`.
fn set_systemd_status(text: &str) {
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Status(text)]);
}

fn is_local_host(host: &str) -> bool {
    let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

fn requester(request: &CaptureRequest) -> (Option<u64>, Option<CommandRef>) {
    match request {
        CaptureRequest::Press { number, .. } => (Some(*number), None),
        CaptureRequest::Command { id, at_boottime_us, .. } => (
            None,
            Some(CommandRef {
                id: id.clone(),
                at_boottime_us: *at_boottime_us,
            }),
        ),
        CaptureRequest::Interval => (None, None),
    }
}

/// The first capture is after a whole interval: the person who sets it knows what the scene looks like now.
fn interval_of(capture_interval_s: u64) -> tokio::time::Interval {
    let mut interval = tokio::time::interval(Duration::from_secs(capture_interval_s.max(1)));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    interval.reset();
    interval
}
