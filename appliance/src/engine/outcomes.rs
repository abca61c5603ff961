//! Outcomes of presses, commands and intervals: a picture, a tombstone, or a failure.

use keepsake_protocol::command::{CommandReply, CommandStage};
use keepsake_protocol::event::TombstoneReason;
use keepsake_protocol::faults::FaultCode;

use super::{CommandRef, Engine, UnconfirmedCapture};
use crate::capture::pipeline::{CaptureOutcome, CaptureRequest};
use crate::light::indicator::LightEvent;
use crate::spool::{Appended, PendingCapture};
use crate::status::events::Event;
use crate::upload::drain::LIVE_FOR;

impl Engine {
    pub(super) fn on_outcome(&mut self, outcome: CaptureOutcome) {
        self.state.report.status_due = true;
        match outcome {
            CaptureOutcome::Captured { request } => {
                if let (_, Some(command_ref)) = requester(&request) {
                    self.reply(&command_ref.reply(CommandStage::Captured));
                }
            }
            CaptureOutcome::Expired { request } => {
                if let (_, Some(command_ref)) = requester(&request) {
                    self.reply(&command_ref.reply(CommandStage::Expired));
                }
            }
            CaptureOutcome::Saved { request, appended, saved_after_us } => {
                self.on_saved(&request, appended, saved_after_us);
            }
            CaptureOutcome::Tombstone { request, waiting, changes, reason, text } => {
                self.apply_spool_changes(changes);
                self.on_tombstone(&request, waiting, reason, &text);
            }
            CaptureOutcome::Failed { request, text, poisoned } => {
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

    fn on_saved(&mut self, request: &CaptureRequest, appended: Appended, saved_after_us: u64) {
        let Appended { pending, record, changes } = appended;
        let _span = self.capture_span(pending.id).entered();
        tracing::info!(after_us = record.captured_after_us, "captured");
        tracing::info!(after_us = saved_after_us, bytes = record.total, "saved");
        let (press, command) = requester(request);
        self.events.emit(&Event::Saved {
            press,
            spool: record.spool,
            sequence: record.sequence,
            hash: record.hash,
            bytes: record.total,
            after_us: saved_after_us,
        });
        self.set_fault(FaultCode::Camera, false);
        self.set_fault(FaultCode::Card, false);
        self.apply_spool_changes(changes);
        let live_until = self.now() + LIVE_FOR;
        self.drain.add(pending.key, pending.total, false, 0, live_until);
        if let Some(command_ref) = &command {
            let capture = Some(record.id());
            self.reply(&CommandReply { capture, ..command_ref.reply(CommandStage::Saved) });
        }
        let at_boottime_us = record.pressed.boottime_us;
        self.state
            .unconfirmed
            .insert(pending.key, UnconfirmedCapture { press, command, at_boottime_us, saved_after_us });
        if let Some(press) = press {
            self.light.send(LightEvent::Saved(press));
        }
        self.update_light();
    }

    fn on_tombstone(&mut self, request: &CaptureRequest, waiting: PendingCapture, reason: TombstoneReason, text: &str) {
        let _span = self.capture_span(waiting.id).entered();
        let (press, command) = requester(request);
        tracing::warn!(reason = reason.describe(), text, "no picture");
        let (spool, sequence) = (waiting.id.spool, waiting.id.sequence);
        self.events.emit(&Event::Tombstone { press, spool, sequence, reason });
        self.drain.add(waiting.key, waiting.total, true, 0, self.now() + LIVE_FOR);
        let full = reason == TombstoneReason::CardFull;
        let fault = if full { FaultCode::Card } else { FaultCode::Camera };
        self.set_fault(fault, true);
        self.finish_without_picture(press, command, fault, text);
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
            self.reply(&command_ref.failed(text.to_owned()));
        }
    }
}

fn requester(request: &CaptureRequest) -> (Option<u64>, Option<CommandRef>) {
    match request {
        CaptureRequest::Press { number, .. } => (Some(*number), None),
        CaptureRequest::Command { id, at_boottime_us, .. } => {
            (None, Some(CommandRef { id: id.clone(), at_boottime_us: *at_boottime_us }))
        }
        CaptureRequest::Interval => (None, None),
    }
}
