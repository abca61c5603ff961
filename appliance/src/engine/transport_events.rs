//! Connections, acknowledgements and messages of the cloud.

use std::sync::atomic::Ordering;
use std::time::Duration;

use keepsake_protocol::SpoolId;
use keepsake_protocol::cloud_info::CloudInfo;
use keepsake_protocol::faults::FaultCode;
use keepsake_protocol::topic::MessageKind;
use serde::de::DeserializeOwned;

use super::{Engine, JOURNAL_WAIT_MIN};
use crate::error::display_chain;
use crate::settings::Scheme;
use crate::status::events::Event;
use crate::transport::{DisconnectReason, TransportEvent};
use crate::upload::drain::CloudLimits;

/// Limit of distinct disconnect reasons that are reported before the next connection.
const REASONS_MAX: usize = 8;

impl Engine {
    pub(super) fn on_transport_event(&mut self, event: TransportEvent) {
        match event {
            TransportEvent::Connected(publisher) => {
                tracing::info!("connected");
                set_systemd_status("connected");
                self.events.emit(&Event::Connected);
                self.state.connection.publisher = Some(publisher);
                self.state.connection.count += 1;
                self.state.connection.connected_at = Some(tokio::time::Instant::now());
                self.set_fault(FaultCode::Pairing, false);
                self.state.connection.disconnect_reasons.clear();
                self.drain.connected(self.now());
                self.publish_status();
                self.reply_to_restart();
                self.send_inventory();
                self.state.journal_due = (Duration::ZERO, JOURNAL_WAIT_MIN);
                self.send_journal();
                self.write_first_status_file();
            }
            TransportEvent::Disconnected { reason, text } => {
                let someone_must_act = match reason {
                    DisconnectReason::Unauthorized | DisconnectReason::TlsUntrusted => true,
                    DisconnectReason::Unreachable => false,
                };
                let was_up = self.state.connection.publisher.take().is_some();
                // The connection is retried forever; each distinct reason is reported once.
                let new = !self.state.connection.disconnect_reasons.contains(&text)
                    && self.state.connection.disconnect_reasons.len() < REASONS_MAX;
                if was_up || new {
                    tracing::info!(text, "not connected; pictures are kept");
                    set_systemd_status(&format!("not connected ({text}); pictures are kept"));
                }
                // A camera that has just started expects to have no network yet.
                if was_up || new && someone_must_act {
                    self.events.emit(&Event::Disconnected { text: &text });
                }
                if new {
                    self.state.connection.disconnect_reasons.push(text);
                }
                self.set_fault(FaultCode::Pairing, someone_must_act);
                self.state.connection.inventory_request = None;
                self.state.connection.connected_at = None;
                let attempts_made = self.drain.disconnected(self.now());
                let mut spool = self.spool.lock();
                for (key, attempts) in attempts_made {
                    spool.record_attempts(key, attempts);
                }
                drop(spool);
                self.write_first_status_file();
            }
            TransportEvent::Acknowledged { token } => {
                if !self.on_restart_acknowledged(token) {
                    self.drain.acknowledged(token, self.now());
                }
            }
            TransportEvent::Rejected { token, text } => {
                tracing::warn!(text, "the message was rejected; its capture stays on the card and is sent again");
                self.state.report.status_due = true;
                self.drain.rejected(token, self.now());
            }
            TransportEvent::Message { kind, payload } => self.on_message(kind, &payload),
        }
        self.update_light();
    }

    fn on_message(&mut self, kind: MessageKind, payload: &[u8]) {
        match kind {
            MessageKind::Receipt => self.on_receipt(payload),
            MessageKind::Cloud => self.on_cloud_info(payload),
            MessageKind::Command => self.on_command(payload),
            MessageKind::Settings => self.on_settings(payload),
            MessageKind::Frame | MessageKind::Have | MessageKind::Status | MessageKind::Event | MessageKind::Reply => {}
        }
    }

    /// Returns true for the cloud this camera belongs to; the first one it meets becomes that.
    pub(super) fn is_our_cloud(&mut self, store: keepsake_protocol::StoreId) -> bool {
        let paired_store = self.spool.lock().store();
        match paired_store {
            Some(ours) if ours == store => {}
            Some(ours) => {
                if !self.state.faults.contains(&FaultCode::Cloud) {
                    tracing::error!(%ours, theirs = %store, "another cloud answers; `appliance unpair` accepts it");
                    let text = "another cloud answers: nothing is handed over to it";
                    self.events.emit(&Event::Warning { text });
                }
                self.set_fault(FaultCode::Cloud, true);
                return false;
            }
            None => {
                let noted = self.spool.lock().pin_store(Some(store));
                if let Err(error) = noted {
                    tracing::warn!(error = display_chain(&error), "save which cloud this camera belongs to");
                }
            }
        }
        self.set_fault(FaultCode::Cloud, false);
        true
    }

    fn on_cloud_info(&mut self, payload: &[u8]) {
        let Some(cloud) = decode::<CloudInfo>(MessageKind::Cloud, payload) else {
            return;
        };
        if !self.is_our_cloud(cloud.store) {
            self.pause_for_foreign_cloud();
            return;
        }
        self.state.connection.paused_by_foreign = false;
        let bytes_max = cloud.capture_bytes_max.min(keepsake_protocol::codec::CAPTURE_BYTES_MAX);
        self.capture_bytes_max.store(bytes_max, Ordering::Relaxed);
        let is_mqtt = matches!(self.settings.config().cloud.url.scheme, Scheme::Mqtt | Scheme::Mqtts);
        self.drain.set_cloud_limits(CloudLimits {
            window_bytes: cloud.window,
            // What the broker carries says nothing about the proxies on the way over HTTP.
            message_bytes_max: cloud.message_bytes_max.filter(|_| is_mqtt),
        });
        if cloud.hold.is_some() != self.state.connection.uploads_paused {
            self.state.connection.uploads_paused = cloud.hold.is_some();
            tracing::info!(hold = cloud.hold.as_deref().unwrap_or("no"), "the cloud pauses or resumes uploads");
        }
        self.drain.pause(self.state.connection.uploads_paused);
        if self
            .state
            .connection
            .cloud_started
            .replace(cloud.started)
            .is_some_and(|before| before != cloud.started)
        {
            self.drain.restart_inventory(self.now());
            self.send_inventory();
        }
    }

    /// Hands nothing over while another cloud answers in place of ours, and asks ours whether it is still there: the
    /// other one may be gone, and only its message be left on the broker.
    fn pause_for_foreign_cloud(&mut self) {
        self.drain.pause(true);
        if !std::mem::replace(&mut self.state.connection.paused_by_foreign, true) {
            self.send_inventory();
        }
    }

    /// Our cloud has answered: what another one said is of no importance.
    pub(super) fn end_foreign_pause(&mut self) {
        if std::mem::take(&mut self.state.connection.paused_by_foreign) {
            tracing::info!("the cloud of this camera answers again");
            self.drain.pause(self.state.connection.uploads_paused);
        }
    }

    /// The cloud knows higher numbers of this spool id than this card: the card is a copy, or was restored from one.
    pub(super) fn detect_cloned_card(&mut self, spool_id: SpoolId, next: keepsake_protocol::Sequence) {
        let mut spool = self.spool.lock();
        if spool_id != spool.spool_id() || next <= spool.next() {
            return;
        }
        let ours = spool.next();
        let started = spool.start_new_generation();
        drop(spool);
        match started {
            Ok(started) => {
                let text = format!(
                    "the cloud knows capture {} of this spool id, this card only {}: it is a copy, and a new spool id begins",
                    next.get() - 1,
                    ours.get() - 1
                );
                tracing::warn!("{text}");
                self.events.emit(&Event::Warning { text: &text });
                // Under the new name it no longer throws its twin off the broker.
                let _ = self.current_spool.send(started);
                if let Some(publisher) = &self.state.connection.publisher {
                    publisher.abandon();
                }
            }
            Err(error) => tracing::error!(error = display_chain(&error), "start a new spool id"),
        }
    }
}

/// Decodes a message. One that cannot be read is a fault of the cloud, logged and ignored.
pub(super) fn decode<T: DeserializeOwned>(kind: MessageKind, payload: &[u8]) -> Option<T> {
    keepsake_protocol::codec::decode(payload)
        .inspect_err(|error| {
            tracing::warn!(
                topic = kind.path(),
                error = display_chain(error),
                "ignored a message that cannot be decoded"
            );
        })
        .ok()
}

/// Sets what `systemctl status` shows, and the card's `CAMERA-STATUS.txt`.
fn set_systemd_status(text: &str) {
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Status(text)]);
}
