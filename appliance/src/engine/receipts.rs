//! Receipts: captures that the cloud has stored, wants again, or refuses.

use std::time::Duration;

use keepsake_protocol::command::{CommandReply, CommandStage};
use keepsake_protocol::receipt::{InventoryAck, Receipt};
use keepsake_protocol::topic::MessageKind;
use keepsake_protocol::{CaptureId, HashPrefix};

use super::transport_events::decode;
use super::{Engine, JOURNAL_WAIT_MIN, UnconfirmedCapture};
use crate::light::indicator::LightEvent;
use crate::status::events::Event;
use crate::time::clock::boottime_us;

/// The longest a refused capture is left alone, whatever the cloud says.
const DEFERRED_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

impl Engine {
    pub(super) fn on_receipt(&mut self, payload: &[u8]) {
        let Some(receipt) = decode::<Receipt>(MessageKind::Receipt, payload) else {
            return;
        };
        if !self.is_our_cloud(receipt.store) {
            return;
        }
        self.confirm_connection();
        self.end_foreign_pause();
        self.drain.cloud_responded();
        if let Some(window) = receipt.window {
            self.drain.grant_window(window, self.now());
        }
        let now_us = self.known_time_us();
        if let Some(cloud_us) = receipt.sent_us {
            self.journal.on_cloud_time(cloud_us, &self.clock.now());
        }
        if !receipt.events.is_empty() {
            let now = self.clock.now();
            if self.journal.confirm(&receipt.events, &now) {
                self.state.journal_due.1 = JOURNAL_WAIT_MIN;
            }
        }
        for (sequence, hash) in &receipt.stored {
            let id = CaptureId { spool: receipt.spool, sequence: *sequence };
            self.on_stored(id, *hash, now_us);
        }
        self.requeue_wanted(&receipt);
        self.defer_rejected(&receipt);
        if let Some(answer) = &receipt.inventory_ack {
            self.on_inventory_answer(answer);
        }
        if let Some(next) = receipt.next {
            self.detect_cloned_card(receipt.spool, next);
        }
        self.state.report.status_due = true;
    }

    fn requeue_wanted(&mut self, receipt: &Receipt) {
        for want in &receipt.want {
            let id = CaptureId { spool: receipt.spool, sequence: want.sequence };
            let requeued = self.spool.lock().requeue(id);
            let Some(waiting) = requeued else { continue };
            self.add_unless_known(&waiting);
            self.drain.request_resend(waiting.key, &want.ranges);
        }
    }

    fn defer_rejected(&mut self, receipt: &Receipt) {
        for rejection in &receipt.rejected {
            let id = CaptureId { spool: receipt.spool, sequence: rejection.sequence };
            let _span = self.capture_span(id).entered();
            tracing::warn!(%id, reason = rejection.reason, "the cloud cannot take a capture; it stays on the card");
            let pending = self.spool.lock().find_pending(id, rejection.hash);
            if let Some(pending) = pending {
                let retry_after = Duration::from_secs(rejection.retry_after).min(DEFERRED_MAX);
                self.drain.defer(pending.key, self.now() + retry_after);
            }
        }
    }

    fn on_inventory_answer(&mut self, answer: &InventoryAck) {
        if let Some(request) = &mut self.state.connection.inventory_request
            && request.id == answer.id
        {
            request.unacknowledged.remove(&answer.page);
            if request.unacknowledged.is_empty() {
                self.state.connection.inventory_request = None;
                self.drain.inventory_answered();
            }
        }
    }

    fn on_stored(&mut self, id: CaptureId, hash: HashPrefix, now_us: Option<i64>) {
        let received = self.spool.lock().mark_received(id, hash, now_us);
        let Some((key, is_news)) = received else {
            return;
        };
        self.drain.received(key, self.now());
        if !is_news {
            return;
        }
        let taken = self.state.unconfirmed.remove(&key);
        let after_us = taken.as_ref().map(|taken| boottime_us().saturating_sub(taken.at_boottime_us));
        let _span = self.capture_span(id).entered();
        tracing::info!(after_us, "stored");
        self.events
            .emit(&Event::Stored { spool: id.spool, sequence: id.sequence, hash, after_us });
        if let Some(UnconfirmedCapture { press, command, .. }) = taken {
            if let Some(press) = press {
                self.light.send(LightEvent::Stored(press));
            }
            if let Some(command_ref) = command {
                let capture = Some(id);
                self.reply(&CommandReply { capture, ..command_ref.reply(CommandStage::Done) });
            }
        }
    }
}
