//! The way of captures from the spool through the drain to the connection.

use std::time::Duration;

use keepsake_protocol::capture::FrameHeader;
use keepsake_protocol::faults::FaultCode;
use keepsake_protocol::topic::MessageKind;

use super::Engine;
use crate::error::display_chain;
use crate::spool::{PendingCapture, SpoolChange, SpoolError};
use crate::time::clock::boottime_us;

impl Engine {
    /// Publishes whatever the drain says is next.
    pub(super) fn pump(&mut self) {
        let Some(publisher) = self.state.connection.publisher.clone() else {
            return;
        };
        while self.rate_limiter.may_send(self.now())
            && let Some(part) = self.drain.next_part(self.now())
        {
            let Some(id) = self.spool.lock().id_of(part.key) else {
                self.drain.remove(part.key);
                continue;
            };
            let _span = self.capture_span(id).entered();
            let message = if part.tombstone {
                self.spool.lock().read_tombstone(part.key).map(|json| (MessageKind::Event, json))
            } else {
                let read = self.spool.lock().read(part.key, part.offset, part.len);
                read.map(|(record, bytes)| {
                    let taken = self.state.unconfirmed.get(&part.key);
                    let same_boot = record.pressed.boot == self.clock.boot();
                    let sent_after_us = same_boot.then(|| boottime_us().saturating_sub(record.pressed.boottime_us));
                    let header = FrameHeader {
                        offset: part.offset,
                        len: part.len,
                        attempt: part.attempt,
                        saved_after_us: taken.map(|taken| taken.saved_after_us),
                        sent_after_us,
                        not_before_us: self.journal.history().not_before(&record.pressed),
                        capture: record,
                    };
                    (MessageKind::Frame, keepsake_protocol::codec::encode_frame(&header, &bytes))
                })
            };
            match message {
                Ok((kind, payload)) => {
                    self.rate_limiter.sent(payload.len() as u64, self.now());
                    if publisher.publish(kind, payload, Some(part.token)).is_err() {
                        // What is not handed over will be after the reconnect (P5).
                        publisher.abandon();
                        return;
                    }
                    if self.drain.is_sent(part.key) {
                        tracing::info!(attempt = part.attempt, "sent");
                    }
                }
                Err(SpoolError::Damaged { change }) => {
                    tracing::warn!("the card damaged a capture: it was set aside");
                    self.drain.remove(part.key);
                    self.apply_spool_changes(vec![change]);
                }
                Err(SpoolError::Gone) => self.drain.remove(part.key),
                Err(error) => {
                    tracing::error!(error = display_chain(&error), "read a capture");
                    if matches!(error, SpoolError::Disk(_) | SpoolError::Poisoned) {
                        self.set_fault(FaultCode::Card, true);
                    }
                    self.drain.defer(part.key, self.now() + Duration::from_secs(60));
                }
            }
        }
        self.update_light();
    }

    /// Takes over what happened to other captures on the card.
    pub(super) fn apply_spool_changes(&mut self, changes: Vec<SpoolChange>) {
        for change in changes {
            match change {
                SpoolChange::Pending(waiting) => self.add(&waiting),
                SpoolChange::Removed(key) => self.drain.remove(key),
            }
        }
    }

    pub(super) fn add(&mut self, waiting: &PendingCapture) {
        self.drain
            .add(waiting.key, waiting.total, waiting.tombstone, waiting.attempts, Duration::ZERO);
    }

    pub(super) fn add_unless_known(&mut self, waiting: &PendingCapture) {
        if !self.drain.contains(waiting.key) {
            self.add(waiting);
        }
    }

    /// Takes all that waits from the spool.
    pub(crate) fn reload_drain(&mut self) {
        self.drain.clear();
        let pending = self.spool.lock().pending();
        for pending in &pending {
            self.add(pending);
        }
    }

    /// Reads from the card what only the card knows after a failed flush. While that fails, presses are refused.
    pub(super) fn reopen_spool(&mut self) {
        let now_us = self.known_time_us();
        let reopened = self.spool.lock().reopen(now_us);
        match reopened {
            Ok(()) => {
                tracing::warn!("reopened the spool after the card failed");
                self.state.reopen_error = None;
                self.state.unconfirmed.clear();
                self.reload_drain();
            }
            Err(error) => {
                // It is tried every second, and a dead card gives the same answer each time.
                let text = Some(display_chain(&error));
                if self.state.reopen_error != text {
                    tracing::error!(error = text, "reopen the spool: no picture can be saved until the card works");
                    self.state.reopen_error = text;
                }
            }
        }
    }
}
