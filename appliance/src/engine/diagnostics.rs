//! The command `diagnostics`, and the facts about this run that it reports.

use keepsake_protocol::command::{CommandReply, CommandStage, RESULT_BYTES_MAX};

use super::{CommandRef, Engine};
use crate::status::diagnostics::{self, Facts};

impl Engine {
    pub(super) fn reply_diagnostics(&self, command_ref: &CommandRef) {
        let result = Some(diagnostics::describe(&self.facts(), RESULT_BYTES_MAX));
        self.reply(&CommandReply { result, ..command_ref.reply(CommandStage::Done) });
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
            connections: self.state.connection.count,
            connected_for_s: self.state.connection.connected_at.map(|at| at.elapsed().as_secs()),
            faults: self.state.faults.iter().copied().collect(),
            led: self.light.status(),
            settings_version: self.settings.version(),
            warnings: self.recent_warnings.latest(),
        }
    }
}
