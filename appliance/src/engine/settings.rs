//! Settings from the cloud: applied to the running camera, tried, rolled back.

use keepsake_protocol::settings::DesiredSettings;
use keepsake_protocol::topic::MessageKind;

use super::Engine;
use super::transport_events::decode;
use crate::capture::pipeline::CaptureSettings;
use crate::settings::effective::{ApplyOutcome, BootTime};
use crate::spool;
use crate::status::events::Event;
use crate::time::clock::boottime_us;
use crate::upload::drain;

impl Engine {
    pub(super) fn on_settings(&mut self, payload: &[u8]) {
        let Some(desired) = decode::<DesiredSettings>(MessageKind::Settings, payload) else {
            return;
        };
        // Settings are an order, so they come from the cloud this camera belongs to or not at all.
        if let Some(store) = desired.store
            && !self.is_our_cloud(store)
        {
            return;
        }
        let outcome = match self.settings.apply(&desired, self.boot_time()) {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::error!(%error, version = desired.version, "save the desired settings");
                return;
            }
        };
        self.state.report.status_due = true;
        if outcome == ApplyOutcome::Outdated {
            return;
        }
        let (version, state) = self.settings.report(self.boot_time());
        let trial = state.trial.map(|trial| trial.names).unwrap_or_default();
        tracing::info!(version, rejected = state.rejected.len(), ?trial, "applied settings from the cloud");
        self.events.emit(&Event::Settings { version, rejected: &state.rejected, trying: &trial });
        self.apply_settings();
        if outcome == ApplyOutcome::Trial {
            self.state.restart_due = true;
        }
    }

    /// The cloud this camera belongs to has sent a receipt over this connection. Nothing else proves that it is there: a
    /// broker may keep what it said long ago.
    pub(super) fn confirm_connection(&mut self) {
        match self.settings.confirm() {
            Ok(true) => {
                tracing::info!("confirmed the connection settings from the cloud");
                self.state.report.status_due = true;
            }
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "save the confirmed connection settings"),
        }
    }

    /// Goes back to the connection before, once the time of a trial is over.
    pub(super) fn end_overdue_trial(&mut self) {
        let is_over = |until_us| boottime_us() >= until_us;
        if !self.settings.trial_deadline_us().is_some_and(is_over) {
            return;
        }
        if let Err(error) = self.settings.roll_back() {
            tracing::error!(%error, "save the rolled-back connection settings");
        }
        self.report_warnings();
        self.state.restart_due = true;
    }

    pub(crate) fn report_warnings(&mut self) {
        for text in self.settings.take_warnings() {
            tracing::warn!("{text}");
            self.events.emit(&Event::Warning { text: &text });
        }
    }

    pub(super) fn boot_time(&self) -> BootTime {
        BootTime { boot: self.clock.boot(), boottime_us: boottime_us() }
    }

    fn apply_settings(&mut self) {
        let now = self.now();
        let config = self.settings.config();
        self.drain.set_limits(drain::Limits::from(config));
        self.rate_limiter.set_rate(config.cloud.rate_bytes_per_s, now);
        self.light.configure(&config.light);
        self.spool.lock().set_limits(spool::Limits::from(&config.spool));
        *self.capture_settings.lock() = CaptureSettings::new(config, self.settings.version());
    }
}
