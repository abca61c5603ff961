//! The command `restart`: recorded on the card, and answered by the program that comes up.

use keepsake_protocol::command::CommandStage;
use keepsake_protocol::topic::MessageKind;

use super::{CommandRef, Engine};
use crate::engine::command_log::Restart;

/// Tells the acknowledgement of the answer to a restart from those of captures, which count upwards from 1.
const RESTART_TOKEN: u64 = u64::MAX;

impl Engine {
    /// Records the command, so that the program that comes up answers it; this one stops at the end of this turn.
    pub(super) fn begin_restart(&mut self, command_ref: &CommandRef) {
        let restart = Restart {
            id: command_ref.id.clone(),
            boot: self.clock.boot(),
            at_boottime_us: command_ref.at_boottime_us,
        };
        if let Err(error) = self.commands.begin_restart(&restart) {
            let text = format!("the card could not record the restart: {error}");
            return self.reply(&command_ref.failed(text));
        }
        self.state.restart_due = true;
    }

    /// Answers the restart that this program came up from, on every connection until the broker has the answer.
    pub(super) fn reply_to_restart(&mut self) {
        let (Some(restart), Some(publisher)) = (self.commands.pending_restart(), &self.state.connection.publisher)
        else {
            return;
        };
        let command_ref = CommandRef {
            id: restart.id.clone(),
            at_boottime_us: restart.at_boottime_us,
        };
        let mut reply = command_ref.reply(CommandStage::Done);
        if restart.boot != self.clock.boot() {
            // Time of another boot cannot be compared; the board was rebooted, which is a restart, too.
            reply.after_us = 0;
        }
        let _ = publisher.publish(MessageKind::Reply, keepsake_protocol::codec::encode(&reply), Some(RESTART_TOKEN));
    }

    /// Returns true if the token is that of the answer to a restart, which the broker has now.
    pub(super) fn on_restart_acknowledged(&mut self, token: u64) -> bool {
        if token != RESTART_TOKEN {
            return false;
        }
        if let Err(error) = self.commands.clear_restart() {
            tracing::warn!(%error, "forget a restart that was answered");
        }
        true
    }
}
