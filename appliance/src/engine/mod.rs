//! Turns what happens into what is done: outcomes of presses, messages of the cloud, and time go in; the drain decides,
//! and messages, lights and notes on the card come out. The one owner of the drain.

mod by_hand;
pub mod command;
mod service;
mod wished;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use keepsake_protocol::capture::FrameHeader;
use keepsake_protocol::command::{Command, CommandKind, CommandReply, CommandStage};
use keepsake_protocol::event::Fault;
use keepsake_protocol::inventory::{INVENTORY_PAGE_MAX, Inventory};
use keepsake_protocol::presence::{Health, LedStatus, Presence, Queue, Status};
use keepsake_protocol::receipt::Receipt;
use keepsake_protocol::settings::CloudInfo;
use keepsake_protocol::topic::MessageKind;
use keepsake_protocol::{CaptureId, DeviceId, HashPrefix, SpoolId};
use tokio::sync::{mpsc, watch};

use crate::button::gesture::Wish;
use crate::capture::pipeline::{CloudLimit, How, Job, Outcome};
use crate::engine::command::{TakenOn, is_sound_id};
use crate::error::display_chain;
use crate::light::indicator::{Event as Light, Fault as Number};
use crate::light::lamp::Lamp;
use crate::net;
use crate::settings::wishes::Wishes;
use crate::spool::{Change, Key, SharedSpool, SpoolError, Waiting};
use crate::status::diagnostics::{Troubles, temperature_mc};
use crate::status::events::{Report, Reporter};
use crate::time::clock::{Clock, boottime_us};
use crate::time::notes::Notes;
use crate::transport::{DownReason, LinkEvent, Publisher};
use crate::upload::drain::{self, Drain, LIVE_FOR};
use crate::upload::throttle::Throttle;

const TICK: Duration = Duration::from_secs(1);
/// So long a network may take to come before its absence is a fault: an access point that starts with the camera.
const NETWORK_WITHIN: Duration = Duration::from_secs(120);
/// A camera that says nothing for longer counts as quiet in the cloud.
const STATUS_EVERY: Duration = Duration::from_secs(30);
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// A fault or a boot line without a receipt is sent again after this, doubling to the other.
const NOTES_WAIT_MIN: Duration = Duration::from_secs(30);
const NOTES_WAIT_MAX: Duration = Duration::from_secs(6 * 3600);
/// The broker acknowledges nothing for longer than this although something waits for it: the connection is dead.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(120);
/// The longest a refused capture is left alone, whatever the cloud says.
const PARKED_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// At most so many different reasons for no connection are told before there is one again.
const REASONS_MAX: usize = 8;
/// The press thread says that it lives at least this often, unless the camera hangs.
const BEAT_WITHIN: Duration = Duration::from_secs(60);

/// A capture of this run that has no receipt yet.
struct Taken {
    press: Option<u64>,
    command: Option<Asked>,
    at_boottime_us: u64,
    saved_after_us: u64,
}

/// A command being carried out.
#[derive(Clone)]
struct Asked {
    id: String,
    at_boottime_us: u64,
}

/// One `up/have`, and which of its pages are not answered yet.
struct Question {
    id: u32,
    unanswered: BTreeSet<u32>,
}

/// What the engine works with.
pub struct Parts {
    pub spool: SharedSpool,
    pub clock: Clock,
    pub lamp: Lamp,
    pub reporter: Reporter,
    pub jobs: SyncSender<Job>,
    /// What somebody wants who held the button.
    pub held: mpsc::Receiver<Wish>,
    pub commands: TakenOn,
    pub notes: Notes,
    pub cloud_limit: CloudLimit,
    /// The spool in whose name to connect from the next connection on.
    pub current_spool: watch::Sender<SpoolId>,
    pub device: DeviceId,
    /// CLOCK_BOOTTIME, microseconds, when the thread that takes pictures last said that it lives.
    pub beat: Arc<AtomicU64>,
    pub limits: drain::Limits,
    pub throttle: Throttle,
    pub wishes: Wishes,
    pub how: Arc<Mutex<How>>,
    pub troubles: Troubles,
}

/// Why the engine stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    AsAsked,
    /// The program is to begin anew.
    ToRestart,
}

pub struct Engine {
    drain: Drain,
    throttle: Throttle,
    began: tokio::time::Instant,
    spool: SharedSpool,
    clock: Clock,
    lamp: Lamp,
    reporter: Reporter,
    /// Gone while stopping.
    jobs: Option<SyncSender<Job>>,
    by_hand: mpsc::Receiver<Wish>,
    commands: TakenOn,
    notes: Notes,
    /// When what waits in the notes is sent again, and the wait after that.
    notes_due: (Duration, Duration),
    cloud_limit: CloudLimit,
    current_spool: watch::Sender<SpoolId>,
    device: DeviceId,
    publisher: Option<Publisher>,
    /// Why there was no connection, as was told since there was one.
    reasons: Vec<String>,
    question: Option<Question>,
    questions: u32,
    cloud_started: Option<u64>,
    held: bool,
    taken: HashMap<Key, Taken>,
    faults: BTreeSet<Number>,
    status_due: bool,
    light_told: LedStatus,
    status_sent: Option<tokio::time::Instant>,
    /// (connected, something waits, something is on its way) as last told.
    lamp_knows: Option<(bool, bool, bool)>,
    beat: Arc<AtomicU64>,
    wishes: Wishes,
    how: Arc<Mutex<How>>,
    /// Seconds between pictures of the interval, 0 = none.
    interval_s: u64,
    restart_due: bool,
    /// The status file tells of this start.
    status_file_written: bool,
    troubles: Troubles,
    connections: u64,
    connected_at: Option<tokio::time::Instant>,
    /// Since when this computer has no address at all.
    no_network_since: Option<tokio::time::Instant>,
}

impl Engine {
    /// All that waits on the card waits in the drain from now on.
    pub fn new(parts: Parts) -> Self {
        let mut engine = Self {
            drain: Drain::new(parts.limits),
            throttle: parts.throttle,
            began: tokio::time::Instant::now(),
            spool: parts.spool,
            clock: parts.clock,
            lamp: parts.lamp,
            reporter: parts.reporter,
            jobs: Some(parts.jobs),
            by_hand: parts.held,
            commands: parts.commands,
            notes: parts.notes,
            notes_due: (Duration::ZERO, NOTES_WAIT_MIN),
            cloud_limit: parts.cloud_limit,
            current_spool: parts.current_spool,
            device: parts.device,
            publisher: None,
            reasons: Vec::new(),
            question: None,
            questions: 0,
            cloud_started: None,
            held: false,
            taken: HashMap::new(),
            faults: BTreeSet::new(),
            status_due: true,
            light_told: LedStatus::default(),
            status_sent: None,
            lamp_knows: None,
            beat: parts.beat,
            interval_s: parts.wishes.config().interval_s,
            wishes: parts.wishes,
            how: parts.how,
            restart_due: false,
            status_file_written: false,
            troubles: parts.troubles,
            connections: 0,
            connected_at: None,
            no_network_since: None,
        };
        engine.reload();
        engine.tell_warnings();
        engine
    }

    /// Works until `stop` resolves, or the program is to begin anew.
    ///
    /// # Errors
    /// A thread or task that must not end has ended.
    pub async fn serve(
        &mut self,
        outcomes: &mut mpsc::Receiver<Outcome>,
        mut events: mpsc::Receiver<LinkEvent>,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<Ended> {
        tokio::pin!(stop);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut tidy = tokio::time::interval(TIDY_EVERY);
        let mut interval_s = self.interval_s;
        let mut interval = every(interval_s);
        loop {
            if self.restart_due {
                tracing::info!("starting anew");
                self.reporter.tell(&Report::Restarting);
                return Ok(Ended::ToRestart);
            }
            if self.interval_s != interval_s {
                interval_s = self.interval_s;
                interval = every(interval_s);
            }
            let wake_at = self.wake_at();
            tokio::select! {
                () = &mut stop => return Ok(Ended::AsAsked),
                outcome = outcomes.recv() => self.on_outcome(outcome.context("the camera's thread ended")?),
                Some(wish) = self.by_hand.recv() => self.on_wish(wish),
                event = events.recv() => self.on_link(event.context("the connection's task ended")?),
                _ = tick.tick() => self.on_tick(),
                _ = tidy.tick() => self.tidy(),
                _ = interval.tick(), if interval_s > 0 => {
                    if !self.hand_over(Job::Interval) {
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
        outcomes: &mut mpsc::Receiver<Outcome>,
        patience: Duration,
    ) -> Option<Publisher> {
        self.jobs = None;
        let finish = async {
            while let Some(outcome) = outcomes.recv().await {
                self.on_outcome(outcome);
            }
        };
        if tokio::time::timeout(patience, finish).await.is_err() {
            tracing::warn!(
                "the camera does not answer: stopping without the presses that wait for it"
            );
        }
        let install = self.spool.lock().install();
        let now = self.clock.now();
        tokio::task::block_in_place(|| self.notes.close(&now, install));
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
    fn hand_over(&self, job: Job) -> bool {
        self.jobs
            .as_ref()
            .is_some_and(|jobs| jobs.try_send(job).is_ok())
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// When there may be something to publish although nothing happened.
    fn wake_at(&self) -> Duration {
        let now = self.now();
        let wake_at = self.drain.wake_at(now).unwrap_or(TICK + now);
        let free_at = self.throttle.free_at();
        if free_at > now {
            wake_at.min(free_at)
        } else {
            wake_at
        }
    }

    fn on_tick(&mut self) {
        self.give_up_a_trial();
        let silent = self.drain.silent_for(self.now());
        let stuck = silent.is_some_and(|silent| silent > ACKNOWLEDGED_WITHIN);
        if stuck && let Some(publisher) = &self.publisher {
            tracing::warn!("nothing is acknowledged: connecting anew");
            publisher.abandon();
        }
        if self.spool.lock().is_poisoned() {
            self.reopen();
        }
        if self.faults.contains(&Number::Card) && self.spool.lock().has_room_again() {
            self.set_fault(Number::Card, false);
        }
        self.look_at_the_clock();
        self.look_at_the_network();
        // The page shows the light as it is now.
        let light_changed = self.lamp.status() != self.light_told;
        let due = self
            .status_sent
            .is_none_or(|sent| sent.elapsed() >= STATUS_EVERY);
        if self.status_due || light_changed || due {
            self.publish_status();
        }
        // Only the loops that do the work feed the watchdog: this one, and the one that takes pictures.
        let quiet_us = boottime_us().saturating_sub(self.beat.load(Ordering::Relaxed));
        if Duration::from_micros(quiet_us) < BEAT_WITHIN {
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        }
    }

    /// Without any network the camera says so (fault 2), for then nobody has to look for what is wrong with the cloud.
    fn look_at_the_network(&mut self) {
        let has_one = self.publisher.is_some()
            || is_this_computer(&self.wishes.config().cloud.url.host)
            || !net::addresses().is_empty();
        if has_one {
            self.no_network_since = None;
            self.set_fault(Number::Network, false);
            return;
        }
        let since = self
            .no_network_since
            .get_or_insert_with(tokio::time::Instant::now);
        if since.elapsed() >= NETWORK_WITHIN {
            self.set_fault(Number::Network, true);
        }
    }

    /// Keeps what the clock says that is news, and sends what of the notes is due.
    fn look_at_the_clock(&mut self) {
        let install = self.spool.lock().install();
        let now = self.clock.now();
        if tokio::task::block_in_place(|| self.notes.observe(&now, install)) {
            tracing::info!("the time is known: pictures of this boot are corrected");
            self.notes_due = (Duration::ZERO, NOTES_WAIT_MIN);
        }
        self.send_notes();
    }

    fn send_notes(&mut self) {
        let Some(publisher) = &self.publisher else {
            return;
        };
        let (due, wait) = self.notes_due;
        if self.held || self.now() < due {
            return;
        }
        for event in self.notes.waiting() {
            if publisher
                .publish(MessageKind::Event, event.as_bytes().to_vec(), None)
                .is_err()
            {
                return publisher.abandon();
            }
        }
        self.notes_due = (self.now() + wait, (wait * 2).min(NOTES_WAIT_MAX));
    }

    fn tidy(&mut self) {
        let tidied = self.spool.lock().tidy(self.known_time_us());
        if let Err(error) = tidied {
            tracing::warn!(error = display_chain(&error), "tidy the spool");
        }
    }

    fn on_outcome(&mut self, outcome: Outcome) {
        self.status_due = true;
        match outcome {
            Outcome::Captured { job } => {
                if let (_, Some(asked)) = asker(&job) {
                    self.reply(&asked, CommandStage::Captured, None, None);
                }
            }
            Outcome::Expired { job } => {
                if let (_, Some(asked)) = asker(&job) {
                    self.reply(&asked, CommandStage::Expired, None, None);
                }
            }
            Outcome::Saved {
                job,
                waiting,
                record,
                saved_after_us,
            } => {
                let (press, command) = asker(&job);
                self.reporter.tell(&Report::Saved {
                    press,
                    install: record.spool,
                    sequence: record.sequence,
                    hash: record.hash,
                    bytes: record.total,
                    after_us: saved_after_us,
                });
                self.set_fault(Number::Camera, false);
                self.set_fault(Number::Card, false);
                self.apply_changes();
                let live_until = self.now() + LIVE_FOR;
                self.drain
                    .add(waiting.key, waiting.total, false, 0, live_until);
                if let Some(asked) = &command {
                    self.reply(asked, CommandStage::Saved, Some(record.id()), None);
                }
                let at_boottime_us = record.pressed.boottime_us;
                self.taken.insert(
                    waiting.key,
                    Taken {
                        press,
                        command,
                        at_boottime_us,
                        saved_after_us,
                    },
                );
                if let Some(press) = press {
                    self.lamp.tell(Light::Saved(press));
                }
                self.update_lamp();
            }
            Outcome::Tombstone {
                job,
                waiting,
                reason,
                text,
            } => {
                let (press, command) = asker(&job);
                tracing::warn!(reason = reason.describe(), text, "no picture");
                let (install, sequence) = (waiting.id.spool, waiting.id.sequence);
                self.reporter.tell(&Report::Tombstone {
                    press,
                    install,
                    sequence,
                    reason,
                });
                self.drain
                    .add(waiting.key, waiting.total, true, 0, self.now() + LIVE_FOR);
                self.apply_changes();
                let full = reason == keepsake_protocol::event::TombstoneReason::CardFull;
                let fault = if full { Number::Card } else { Number::Camera };
                self.set_fault(fault, true);
                self.finish_without_picture(press, command, fault, &text);
            }
            Outcome::Refused {
                job,
                text,
                poisoned,
            } => {
                let (press, command) = asker(&job);
                self.reporter.tell(&Report::Refused { press, text: &text });
                self.set_fault(Number::Card, true);
                self.finish_without_picture(press, command, Number::Card, &text);
                if poisoned {
                    self.reopen();
                }
            }
        }
    }

    fn finish_without_picture(
        &mut self,
        press: Option<u64>,
        command: Option<Asked>,
        fault: Number,
        text: &str,
    ) {
        if let Some(press) = press {
            self.lamp.tell(Light::Failed(press, fault));
        }
        if let Some(asked) = command {
            self.reply(&asked, CommandStage::Failed, None, Some(text.to_owned()));
        }
    }

    fn on_link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up(publisher) => {
                tracing::info!("connected");
                say_to_systemd("connected");
                self.reporter.tell(&Report::Connected);
                self.publisher = Some(publisher);
                self.connections += 1;
                self.connected_at = Some(tokio::time::Instant::now());
                self.set_fault(Number::Pairing, false);
                self.reasons.clear();
                self.drain.connected(self.now());
                self.publish_status();
                self.answer_restart();
                self.ask();
                self.notes_due = (Duration::ZERO, NOTES_WAIT_MIN);
                self.send_notes();
                self.tell_of_this_start();
            }
            LinkEvent::Down { reason, text } => {
                let someone_must_act = match reason {
                    DownReason::Refused | DownReason::Untrusted => true,
                    DownReason::Away => false,
                };
                let was_up = self.publisher.take().is_some();
                // It is tried for ever, and the same reason again is no news.
                let new = !self.reasons.contains(&text) && self.reasons.len() < REASONS_MAX;
                if was_up || new {
                    tracing::info!(text, "not connected; pictures are kept");
                    say_to_systemd(&format!("not connected ({text}); pictures are kept"));
                }
                // That there is no network yet is what a camera that has just started expects.
                if was_up || new && someone_must_act {
                    self.reporter.tell(&Report::Disconnected { text: &text });
                }
                if new {
                    self.reasons.push(text);
                }
                self.set_fault(Number::Pairing, someone_must_act);
                self.question = None;
                self.connected_at = None;
                let tried = self.drain.disconnected(self.now());
                let mut spool = self.spool.lock();
                for (key, attempts) in tried {
                    spool.tried(key, attempts);
                }
                drop(spool);
                self.tell_of_this_start();
            }
            LinkEvent::Acknowledged { token } => {
                if !self.restart_answered(token) {
                    self.drain.acknowledged(token, self.now());
                }
            }
            LinkEvent::TurnedAway { token, text } => {
                tracing::warn!(text, "not taken; it stays on the card and is tried again");
                self.status_due = true;
                self.drain.turned_away(token, self.now());
            }
            LinkEvent::Message { leaf, payload } => self.on_message(leaf, &payload),
        }
        self.update_lamp();
    }

    /// A message that cannot be read is a fault of the cloud, told and ignored.
    fn on_message(&mut self, leaf: MessageKind, payload: &[u8]) {
        let bad = |error: &dyn std::error::Error| {
            tracing::warn!(
                topic = leaf.path(),
                error = display_chain(error),
                "a message that cannot be read"
            );
        };
        match leaf {
            MessageKind::Receipt => match keepsake_protocol::codec::decode::<Receipt>(payload) {
                Ok(receipt) => self.on_receipt(&receipt),
                Err(error) => bad(&error),
            },
            MessageKind::Cloud => match keepsake_protocol::codec::decode::<CloudInfo>(payload) {
                Ok(cloud) => self.on_cloud(&cloud),
                Err(error) => bad(&error),
            },
            MessageKind::Command => match keepsake_protocol::codec::decode::<Command>(payload) {
                Ok(command) => self.on_command(&command),
                Err(error) => bad(&error),
            },
            MessageKind::Settings => self.on_settings(payload),
            MessageKind::Frame
            | MessageKind::Have
            | MessageKind::Status
            | MessageKind::Event
            | MessageKind::Reply => {}
        }
    }

    /// Whether this is the cloud this camera belongs to; the first one it meets becomes that.
    fn is_ours(&mut self, store: keepsake_protocol::StoreId) -> bool {
        let pinned = self.spool.lock().store();
        match pinned {
            Some(ours) if ours == store => {}
            Some(ours) => {
                if !self.faults.contains(&Number::Cloud) {
                    tracing::error!(%ours, theirs = %store, "another cloud answers; `appliance forget-cloud` accepts it");
                    let text = "another cloud answers: nothing is handed over to it";
                    self.reporter.tell(&Report::Warning { text });
                }
                self.set_fault(Number::Cloud, true);
                return false;
            }
            None => {
                let noted = self.spool.lock().pin_store(Some(store));
                if let Err(error) = noted {
                    tracing::warn!(
                        error = display_chain(&error),
                        "note which cloud this camera belongs to"
                    );
                }
            }
        }
        self.set_fault(Number::Cloud, false);
        true
    }

    fn on_cloud(&mut self, cloud: &CloudInfo) {
        if !self.is_ours(cloud.store) {
            self.drain.hold(true);
            return;
        }
        self.cloud_limit.set(cloud.capture_bytes_max);
        if cloud.hold.is_some() != self.held {
            self.held = cloud.hold.is_some();
            tracing::info!(
                hold = cloud.hold.as_deref().unwrap_or("no"),
                "the cloud says whether to hold"
            );
        }
        self.drain.hold(self.held);
        if self
            .cloud_started
            .replace(cloud.started)
            .is_some_and(|before| before != cloud.started)
        {
            self.drain.ask_again(self.now());
            self.ask();
        }
    }

    fn on_receipt(&mut self, receipt: &Receipt) {
        if !self.is_ours(receipt.store) {
            return;
        }
        self.confirm_connection();
        self.drain.heard();
        let now_us = self.known_time_us();
        if let Some(said_us) = receipt.sent_us {
            self.notes.told(said_us, &self.clock.now());
        }
        if !receipt.events.is_empty() {
            let now = self.clock.now();
            if tokio::task::block_in_place(|| self.notes.received(&receipt.events, &now)) {
                self.notes_due.1 = NOTES_WAIT_MIN;
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
            let wanted = self.spool.lock().wanted(id);
            let Some(waiting) = wanted else { continue };
            self.add_unless_known(&waiting);
            self.drain.want(waiting.key, &want.ranges);
        }
        for refused in &receipt.rejected {
            let id = CaptureId {
                spool: receipt.spool,
                sequence: refused.sequence,
            };
            tracing::warn!(%id, reason = refused.reason, "the cloud cannot take a capture; it stays on the card");
            let found = self
                .spool
                .lock()
                .waiting()
                .into_iter()
                .find(|w| w.id == id && w.hash == refused.hash);
            if let Some(waiting) = found {
                self.drain.park(
                    waiting.key,
                    self.now() + Duration::from_secs(refused.retry_after).min(PARKED_MAX),
                );
            }
        }
        if let (Some(answer), Some(question)) = (receipt.inventory_ack, &mut self.question)
            && question.id == answer.id
        {
            question.unanswered.remove(&answer.page);
            if question.unanswered.is_empty() {
                self.question = None;
                self.drain.answered();
            }
        }
        if let Some(next) = receipt.next {
            self.compare_numbers(receipt.spool, next);
        }
        self.status_due = true;
    }

    fn on_stored(&mut self, id: CaptureId, hash: HashPrefix, now_us: Option<i64>) {
        let received = self.spool.lock().received(id, hash, now_us);
        let Some((key, is_news)) = received else {
            return;
        };
        self.drain.remove(key);
        if !is_news {
            return;
        }
        let taken = self.taken.remove(&key);
        let after_us = taken
            .as_ref()
            .map(|taken| boottime_us().saturating_sub(taken.at_boottime_us));
        self.reporter.tell(&Report::Stored {
            install: id.spool,
            sequence: id.sequence,
            hash,
            after_us,
        });
        if let Some(Taken { press, command, .. }) = taken {
            if let Some(press) = press {
                self.lamp.tell(Light::Stored(press));
            }
            if let Some(asked) = command {
                self.reply(&asked, CommandStage::Done, Some(id), None);
            }
        }
    }

    /// The cloud knows higher numbers of this install than this card: the card is a copy, or was restored from one.
    fn compare_numbers(&mut self, install: SpoolId, next: keepsake_protocol::Sequence) {
        let mut spool = self.spool.lock();
        if install != spool.install() || next <= spool.next() {
            return;
        }
        let ours = spool.next();
        let begun = spool.start_new_install();
        drop(spool);
        match begun {
            Ok(begun) => {
                let text = format!(
                    "the cloud knows capture {} of this install, this card only {}: it is a copy, and a new install begins",
                    next.get() - 1,
                    ours.get() - 1
                );
                tracing::warn!("{text}");
                self.reporter.tell(&Report::Warning { text: &text });
                // Under the new name it no longer throws its twin off the broker.
                let _ = self.current_spool.send(begun);
                if let Some(publisher) = &self.publisher {
                    publisher.abandon();
                }
            }
            Err(error) => tracing::error!(error = display_chain(&error), "begin a new install"),
        }
    }

    fn on_command(&mut self, command: &Command) {
        if !is_sound_id(&command.id) {
            tracing::warn!("a command with an id that cannot be kept was ignored");
            return;
        }
        let asked = Asked {
            id: command.id.clone(),
            at_boottime_us: boottime_us(),
        };
        let is_new = match self.commands.note(&command.id) {
            Ok(is_new) => is_new,
            Err(error) => {
                let text = format!("the card could not note the command: {error}");
                return self.reply(&asked, CommandStage::Failed, None, Some(text));
            }
        };
        if !is_new {
            return self.reply(
                &asked,
                CommandStage::Accepted,
                None,
                Some("known already".to_owned()),
            );
        }
        if command.lifetime_us() == 0 {
            return self.reply(&asked, CommandStage::Expired, None, None);
        }
        self.reply(&asked, CommandStage::Accepted, None, None);
        match command.command {
            CommandKind::Snap => {
                let job = Job::Command {
                    id: asked.id.clone(),
                    at_boottime_us: asked.at_boottime_us,
                    begin_by_us: asked.at_boottime_us.saturating_add(command.lifetime_us()),
                };
                if !self.hand_over(job) {
                    self.reply(
                        &asked,
                        CommandStage::Failed,
                        None,
                        Some("the camera is busy".to_owned()),
                    );
                }
            }
            CommandKind::Identify => {
                self.lamp.tell(Light::Identify);
                self.reply(&asked, CommandStage::Done, None, None);
            }
            CommandKind::Restart => self.begin_restart(&asked),
            CommandKind::Diagnostics => self.diagnose(&asked),
        }
    }

    fn reply(
        &self,
        asked: &Asked,
        stage: CommandStage,
        capture: Option<CaptureId>,
        text: Option<String>,
    ) {
        self.reply_with(asked, stage, capture, text, None);
    }

    fn reply_with(
        &self,
        asked: &Asked,
        stage: CommandStage,
        capture: Option<CaptureId>,
        text: Option<String>,
        result: Option<serde_json::Map<String, serde_json::Value>>,
    ) {
        let after_us = boottime_us().saturating_sub(asked.at_boottime_us);
        let reply = CommandReply {
            id: asked.id.clone(),
            stage,
            after_us,
            capture,
            text,
            result,
        };
        if let Some(publisher) = &self.publisher {
            let _ = publisher.publish(
                MessageKind::Reply,
                keepsake_protocol::codec::encode(&reply),
                None,
            );
        }
    }

    /// Asks the cloud what it has of all that waits here.
    fn ask(&mut self) {
        let Some(publisher) = &self.publisher else {
            return;
        };
        self.questions = self.questions.wrapping_add(1);
        let mut pages = Vec::new();
        {
            let spool = self.spool.lock();
            let waiting = spool.waiting();
            for held in spool.held() {
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
                pages.extend(
                    chunks
                        .into_iter()
                        .map(|captures| (held.spool, held.next, captures)),
                );
            }
        }
        let count = u32::try_from(pages.len()).unwrap_or(u32::MAX);
        let id = self.questions;
        for (page, (install, next, captures)) in (0..).zip(pages) {
            let have = Inventory {
                spool: install,
                next,
                id,
                page,
                pages: count,
                captures,
            };
            if publisher
                .publish(
                    MessageKind::Have,
                    keepsake_protocol::codec::encode(&have),
                    None,
                )
                .is_err()
            {
                return publisher.abandon();
            }
        }
        self.question = Some(Question {
            id,
            unanswered: (0..count).collect(),
        });
    }

    fn publish_status(&mut self) {
        let Some(publisher) = &self.publisher else {
            return;
        };
        let light = self.lamp.status();
        let (settings_version, settings) = self.wishes.state(self.since());
        let status = {
            let spool = self.spool.lock();
            let (waiting, waiting_bytes, lost) = spool.depth();
            let (card_free, card_total) = spool.space().unwrap_or_default();
            Status {
                presence: Presence::Online,
                spools: spool.held(),
                queue: Queue {
                    waiting,
                    waiting_bytes,
                    oldest: spool.oldest_pressed(),
                    parked: self.drain.parked() as u64,
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
            .publish(
                MessageKind::Status,
                keepsake_protocol::codec::encode(&status),
                None,
            )
            .is_ok()
        {
            self.status_sent = Some(tokio::time::Instant::now());
            self.status_due = false;
            self.light_told = light;
        }
    }

    /// Publishes whatever the drain says is next.
    fn pump(&mut self) {
        let Some(publisher) = self.publisher.clone() else {
            return;
        };
        while self.throttle.may_send(self.now())
            && let Some(send) = self.drain.next(self.now())
        {
            let message = if send.tombstone {
                self.spool
                    .lock()
                    .read_tombstone(send.key)
                    .map(|json| (MessageKind::Event, json))
            } else {
                let read = self.spool.lock().read(send.key, send.offset, send.len);
                read.map(|(record, bytes)| {
                    let taken = self.taken.get(&send.key);
                    let same_boot = record.pressed.boot == self.clock.boot();
                    let sent_after_us =
                        same_boot.then(|| boottime_us().saturating_sub(record.pressed.boottime_us));
                    let header = FrameHeader {
                        offset: send.offset,
                        len: send.len,
                        attempt: send.attempt,
                        saved_after_us: taken.map(|taken| taken.saved_after_us),
                        sent_after_us,
                        not_before_us: self.notes.history().not_before(&record.pressed),
                        capture: record,
                    };
                    (
                        MessageKind::Frame,
                        keepsake_protocol::codec::encode_frame(&header, &bytes),
                    )
                })
            };
            match message {
                Ok((leaf, payload)) => {
                    self.throttle.sent(payload.len() as u64, self.now());
                    if publisher.publish(leaf, payload, Some(send.token)).is_err() {
                        // What is not handed over will be after the reconnect (P5).
                        publisher.abandon();
                        return;
                    }
                }
                Err(SpoolError::Damaged) => {
                    tracing::warn!("the card damaged a capture: it was set aside");
                    self.drain.remove(send.key);
                    self.apply_changes();
                }
                Err(SpoolError::Gone) => self.drain.remove(send.key),
                Err(error @ (SpoolError::Disk(_) | SpoolError::Poisoned)) => {
                    tracing::error!(error = display_chain(&error), "read a capture");
                    self.set_fault(Number::Card, true);
                    self.drain
                        .park(send.key, self.now() + Duration::from_secs(60));
                }
                Err(error @ (SpoolError::InUse(_) | SpoolError::Full { .. })) => {
                    tracing::error!(error = display_chain(&error), "read a capture");
                    self.drain
                        .park(send.key, self.now() + Duration::from_secs(60));
                }
            }
        }
        self.update_lamp();
    }

    /// What the card did to other captures meanwhile.
    fn apply_changes(&mut self) {
        let changes = self.spool.lock().take_changes();
        for change in changes {
            match change {
                Change::Waiting(waiting) => self.add(&waiting),
                Change::Gone(key) => self.drain.remove(key),
            }
        }
    }

    fn add(&mut self, waiting: &Waiting) {
        self.drain.add(
            waiting.key,
            waiting.total,
            waiting.tombstone,
            waiting.attempts,
            Duration::ZERO,
        );
    }

    fn add_unless_known(&mut self, waiting: &Waiting) {
        if !self.drain.contains(waiting.key) {
            self.add(waiting);
        }
    }

    /// Takes all that waits from the spool.
    fn reload(&mut self) {
        self.drain.clear();
        let waiting = self.spool.lock().waiting();
        for waiting in waiting {
            self.add(&waiting);
        }
    }

    /// After a failed fsync nobody knows what is on the card but the card.
    fn reopen(&mut self) {
        let now_us = self.known_time_us();
        let reopened = tokio::task::block_in_place(|| self.spool.lock().reopen(now_us));
        match reopened {
            Ok(()) => {
                tracing::warn!("the spool was opened again after the card failed");
                self.taken.clear();
                self.reload();
            }
            Err(error) => tracing::error!(error = display_chain(&error), "open the spool again"),
        }
    }

    pub fn set_fault(&mut self, fault: Number, holds: bool) {
        let changed = if holds {
            self.faults.insert(fault)
        } else {
            self.faults.remove(&fault)
        };
        if !changed {
            return;
        }
        self.status_due = true;
        self.lamp.tell(Light::Fault(fault, holds));
        if holds {
            let fault = Fault {
                number: fault.number(),
                text: fault.means().to_owned(),
                at: self.clock.now(),
                spool: None,
            };
            let install = self.spool.lock().install();
            tokio::task::block_in_place(|| self.notes.fault(fault, install));
            self.notes_due = (Duration::ZERO, NOTES_WAIT_MIN);
            self.send_notes();
        }
    }

    fn update_lamp(&mut self) {
        let connected = self.publisher.is_some();
        let uploading = connected && self.drain.in_flight().0 > 0;
        let now = (connected, self.drain.waiting() > 0, uploading);
        if self.lamp_knows != Some(now) {
            self.lamp_knows = Some(now);
            self.lamp.tell(Light::Connected(connected));
            self.lamp.tell(Light::Waiting(now.1));
            self.lamp.tell(Light::Uploading(uploading));
        }
    }
}

/// What `systemctl status` shows, and the card's `CAMERA-STATUS.txt`.
fn say_to_systemd(text: &str) {
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Status(text)]);
}

fn is_this_computer(host: &str) -> bool {
    let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

fn asker(job: &Job) -> (Option<u64>, Option<Asked>) {
    match job {
        Job::Press { number, .. } => (Some(*number), None),
        Job::Command {
            id, at_boottime_us, ..
        } => (
            None,
            Some(Asked {
                id: id.clone(),
                at_boottime_us: *at_boottime_us,
            }),
        ),
        Job::Interval => (None, None),
    }
}

/// The first time after the whole wait: whoever sets an interval knows what it looks like now.
fn every(interval_s: u64) -> tokio::time::Interval {
    let mut interval = tokio::time::interval(Duration::from_secs(interval_s.max(1)));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    interval.reset();
    interval
}
