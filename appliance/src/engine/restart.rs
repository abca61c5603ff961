//! Commands that are about the program and not about pictures: `restart` and `diagnostics`.

use keepsake_protocol::command::{CommandReply, CommandStage, RESULT_BYTES_MAX};
use keepsake_protocol::topic::MessageKind;

use super::{CommandRef, Engine};
use crate::engine::command_log::Restart;
use crate::status::diagnostics::{self, Facts};
use crate::time::clock::boottime_us;

/// Tells the acknowledgement of the answer to a restart from those of captures, which count upwards from 1.
const RESTART_TOKEN: u64 = u64::MAX;

impl Engine {
    /// Notes who asked, so that the program that comes up answers; it stops at the end of this turn.
    pub(super) fn begin_restart(&mut self, command_ref: &CommandRef) {
        let restart = Restart {
            id: command_ref.id.clone(),
            boot: self.clock.boot(),
            at_boottime_us: command_ref.at_boottime_us,
        };
        if let Err(error) = self.commands.begin_restart(&restart) {
            let text = format!("the card could not note the restart: {error}");
            return self.reply(command_ref, CommandStage::Failed, None, Some(text));
        }
        self.restart_due = true;
    }

    /// Answers the restart that this program came up from. Said on every connection until the broker has it.
    pub(super) fn reply_to_restart(&mut self) {
        let (Some(restart), Some(publisher)) = (self.commands.pending_restart(), &self.publisher) else {
            return;
        };
        let same_boot = restart.boot == self.clock.boot();
        let reply = CommandReply {
            id: restart.id.clone(),
            stage: CommandStage::Done,
            // Time of another boot cannot be compared; the board was rebooted, which is a restart, too.
            after_us: if same_boot {
                boottime_us().saturating_sub(restart.at_boottime_us)
            } else {
                0
            },
            capture: None,
            text: None,
            result: None,
        };
        let _ = publisher.publish(MessageKind::Reply, keepsake_protocol::codec::encode(&reply), Some(RESTART_TOKEN));
    }

    /// Returns whether it was the answer to a restart that the broker has now.
    pub(super) fn on_restart_acknowledged(&mut self, token: u64) -> bool {
        if token != RESTART_TOKEN {
            return false;
        }
        if let Err(error) = self.commands.clear_restart() {
            tracing::warn!(%error, "forget a restart that was answered");
        }
        true
    }

    pub(super) fn reply_diagnostics(&self, command_ref: &CommandRef) {
        let result = diagnostics::describe(&self.facts(), RESULT_BYTES_MAX);
        self.reply_with(command_ref, CommandStage::Done, None, None, Some(result));
    }

    pub(super) fn facts(&self) -> Facts {
        let spool = self.spool.lock();
        let (waiting, waiting_bytes, lost) = spool.queue_depth();
        let inventory = spool.inventory();
        let (card_free, card_total) = spool.space().unwrap_or_default();
        Facts {
            running_for_s: self.began.elapsed().as_secs(),
            clock: self.clock.now(),
            card_free,
            card_total,
            waiting,
            waiting_bytes,
            lost,
            parked: self.drain.deferred() as u64,
            kept: inventory.iter().map(|inventory| inventory.kept.count()).sum(),
            installs: inventory.len() as u64,
            oldest: spool.oldest_pressed(),
            rate: self.drain.rate(),
            connections: self.connections,
            connected_for_s: self.connected_at.map(|at| at.elapsed().as_secs()),
            faults: self.faults.iter().copied().collect(),
            led: self.light.status(),
            settings_version: self.settings.version(),
            warnings: self.recent_warnings.latest(),
        }
    }
}
