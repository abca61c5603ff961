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
        Facts {
            status: self.status(),
            clock: self.clock.now(),
            running_for_s: self.began.elapsed().as_secs(),
            connections: self.state.connection.count,
            connected_for_s: self.state.connection.connected_at.map(|at| at.elapsed().as_secs()),
            warnings: self.recent_warnings.latest(),
        }
    }
}
