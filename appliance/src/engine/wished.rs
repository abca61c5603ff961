//! Wishes of the cloud: taken, put into force in a running camera, tried, given up.

use keepsake_protocol::codec;
use keepsake_protocol::settings::DesiredSettings;
use keepsake_protocol::topic::MessageKind;

use super::Engine;
use crate::capture::pipeline::How;
use crate::error::display_chain;
use crate::settings::wishes::{Since, Taken};
use crate::spool;
use crate::status::events::Report;
use crate::time::clock::boottime_us;
use crate::upload::drain;

impl Engine {
    pub(super) fn on_settings(&mut self, payload: &[u8]) {
        let wished: DesiredSettings = match codec::decode(payload) {
            Ok(wished) => wished,
            Err(error) => {
                tracing::warn!(
                    topic = MessageKind::Settings.path(),
                    error = display_chain(&error),
                    "a message that cannot be read"
                );
                return;
            }
        };
        // Settings are an order, so they come from the cloud this camera belongs to or not at all.
        if let Some(store) = wished.store
            && !self.is_ours(store)
        {
            return;
        }
        let taken = match self.wishes.take(&wished, self.since()) {
            Ok(taken) => taken,
            Err(error) => {
                tracing::error!(%error, version = wished.version, "note the settings the cloud wishes for");
                return;
            }
        };
        self.status_due = true;
        if taken == Taken::Old {
            return;
        }
        let (version, state) = self.wishes.state(self.since());
        let trying = state.trial.map(|trying| trying.names).unwrap_or_default();
        tracing::info!(
            version,
            rejected = state.rejected.len(),
            ?trying,
            "settings of the cloud taken"
        );
        self.reporter.tell(&Report::Settings {
            version,
            rejected: &state.rejected,
            trying: &trying,
        });
        self.put_into_force();
        if taken == Taken::Trial {
            self.restart_due = true;
        }
    }

    /// The cloud this camera belongs to has sent a receipt over this connection. Nothing else proves that it is there: a
    /// broker may keep what it said long ago.
    pub(super) fn confirm_connection(&mut self) {
        match self.wishes.confirm() {
            Ok(true) => {
                tracing::info!("the connection the cloud wished for is kept");
                self.status_due = true;
            }
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "note that the new connection works"),
        }
    }

    /// Goes back to the connection before, once the time of a trial is over.
    pub(super) fn give_up_a_trial(&mut self) {
        let is_over = |until_us| boottime_us() >= until_us;
        if !self.wishes.give_up_at().is_some_and(is_over) {
            return;
        }
        if let Err(error) = self.wishes.give_up() {
            tracing::error!(%error, "note that the new connection does not work");
        }
        self.tell_warnings();
        self.restart_due = true;
    }

    pub(super) fn tell_warnings(&mut self) {
        for text in self.wishes.take_warnings() {
            tracing::warn!("{text}");
            self.reporter.tell(&Report::Warning { text: &text });
        }
    }

    pub(super) fn since(&self) -> Since {
        Since {
            boot: self.clock.boot(),
            boottime_us: boottime_us(),
        }
    }

    fn put_into_force(&mut self) {
        let now = self.now();
        let config = self.wishes.config();
        self.drain.set_limits(drain::Limits::from(config));
        self.throttle.set_rate(config.cloud.rate_bytes_per_s, now);
        self.lamp.adjust(&config.light);
        self.spool
            .lock()
            .set_limits(spool::Limits::from(&config.spool));
        self.interval_s = config.interval_s;
        *self
            .how
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) =
            How::new(config, self.wishes.version());
    }
}
