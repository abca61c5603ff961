//! Commands of the cloud and the replies to them.

use keepsake_protocol::command::{Command, CommandKind, CommandReply, CommandStage};
use keepsake_protocol::topic::MessageKind;

use super::transport_events::decode;
use super::{CommandRef, Engine};
use crate::capture::pipeline::CaptureRequest;
use crate::engine::command_log::is_valid_id;
use crate::light::indicator::LightEvent;
use crate::time::clock::boottime_us;

impl Engine {
    pub(super) fn on_command(&mut self, payload: &[u8]) {
        let Some(command) = decode::<Command>(MessageKind::Command, payload) else {
            return;
        };
        if !is_valid_id(&command.id) {
            tracing::warn!("ignored a command with an invalid id");
            return;
        }
        let command_ref = CommandRef { id: command.id.clone(), at_boottime_us: boottime_us() };
        let is_new = match self.commands.record(&command.id) {
            Ok(is_new) => is_new,
            Err(error) => {
                let text = format!("the card could not record the command: {error}");
                return self.reply(&command_ref.failed(text));
            }
        };
        if !is_new {
            let text = Some("known already".to_owned());
            return self.reply(&CommandReply { text, ..command_ref.reply(CommandStage::Accepted) });
        }
        if command.lifetime_us() == 0 {
            return self.reply(&command_ref.reply(CommandStage::Expired));
        }
        self.reply(&command_ref.reply(CommandStage::Accepted));
        match command.command {
            CommandKind::Snap => {
                let request = CaptureRequest::Command {
                    id: command_ref.id.clone(),
                    at_boottime_us: command_ref.at_boottime_us,
                    begin_by_us: command_ref.at_boottime_us.saturating_add(command.lifetime_us()),
                };
                if !self.request_capture(request) {
                    self.reply(&command_ref.failed("the camera is busy".to_owned()));
                }
            }
            CommandKind::Identify => {
                self.light.send(LightEvent::Identify);
                self.reply(&command_ref.reply(CommandStage::Done));
            }
            CommandKind::Restart => self.begin_restart(&command_ref),
            CommandKind::Diagnostics => self.reply_diagnostics(&command_ref),
        }
    }

    pub(super) fn reply(&self, reply: &CommandReply) {
        if let Some(publisher) = &self.state.connection.publisher {
            let _ = publisher.publish(MessageKind::Reply, keepsake_protocol::codec::encode(reply), None);
        }
    }
}

impl CommandRef {
    pub(super) fn reply(&self, stage: CommandStage) -> CommandReply {
        CommandReply {
            id: self.id.clone(),
            stage,
            after_us: boottime_us().saturating_sub(self.at_boottime_us),
            capture: None,
            text: None,
            result: None,
        }
    }

    pub(super) fn failed(&self, text: String) -> CommandReply {
        CommandReply { text: Some(text), ..self.reply(CommandStage::Failed) }
    }
}
