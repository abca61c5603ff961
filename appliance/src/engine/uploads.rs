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
        let Some(publisher) = self.publisher.clone() else {
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
                    let taken = self.unconfirmed.get(&part.key);
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
                Err(SpoolError::Damaged) => {
                    tracing::warn!("the card damaged a capture: it was set aside");
                    self.drain.remove(part.key);
                    self.apply_spool_changes();
                }
                Err(SpoolError::Gone) => self.drain.remove(part.key),
                Err(error @ (SpoolError::Disk(_) | SpoolError::Poisoned)) => {
                    tracing::error!(error = display_chain(&error), "read a capture");
                    self.set_fault(FaultCode::Card, true);
                    self.drain.defer(part.key, self.now() + Duration::from_secs(60));
                }
                Err(error @ (SpoolError::InUse(_) | SpoolError::Full { .. })) => {
                    tracing::error!(error = display_chain(&error), "read a capture");
                    self.drain.defer(part.key, self.now() + Duration::from_secs(60));
                }
            }
        }
        self.update_light();
    }

    /// What the card did to other captures meanwhile.
    pub(super) fn apply_spool_changes(&mut self) {
        let changes = self.spool.lock().take_changes();
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
    pub(super) fn reload_drain(&mut self) {
        self.drain.clear();
        let waiting = self.spool.lock().pending();
        for waiting in waiting {
            self.add(&waiting);
        }
    }

    /// After a failed fsync nobody knows what is on the card but the card.
    pub(super) fn reopen_spool(&mut self) {
        let now_us = self.known_time_us();
        let reopened = tokio::task::block_in_place(|| self.spool.lock().reopen(now_us));
        match reopened {
            Ok(()) => {
                tracing::warn!("the spool was opened again after the card failed");
                self.unconfirmed.clear();
                self.reload_drain();
            }
            Err(error) => tracing::error!(error = display_chain(&error), "open the spool again"),
        }
    }
}
