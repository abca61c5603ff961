//! Answers what is committed: acknowledges, then sends the receipts, then tells the pages.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use keepsake_protocol::codec;
use keepsake_protocol::receipt::Receipt;
use keepsake_protocol::status::Presence;
use keepsake_protocol::topic::{MessageKind, Topic};
use keepsake_protocol::{DeviceId, StoreId};
use tokio::sync::oneshot;
use tracing::Span;

use crate::ingest::operation::{CommitOutcome, IngestOp};
use crate::ingest::queue::IngestResponse;
use crate::ingest::receipts::receipts;
use crate::ingest::worker::{Batch, Committed, IngestWorker, log_outcome, log_step};
use crate::now_us;
use crate::ops::event_bus::ChangeEvent;

impl IngestWorker {
    /// Acknowledges a batch, sends its receipts, and tells the pages what changed.
    pub(super) async fn respond(&self, batch: Batch, Committed { outcomes, retried }: Committed) {
        let Batch { mut operations, spans, received } = batch;
        for (span, outcome) in spans.iter().zip(&outcomes) {
            log_outcome(span, outcome);
        }
        let mut responders = Vec::with_capacity(received.len());
        let mut unused = Vec::new();
        for ((operation, outcome), received) in operations.iter_mut().zip(&outcomes).zip(received) {
            let is_new = matches!(
                outcome,
                CommitOutcome::Stored { arrival: Some(_), .. } | CommitOutcome::UploadStored { arrival: Some(_) }
            );
            // A repeat may have been committed with this very object by a try that reported an error.
            if !is_new && !retried {
                unused.extend(operation.object_mut().and_then(Option::take));
            }
            if let Some(ack) = received.ack {
                ack.acknowledge().await;
            }
            self.metrics.record_outcome(operation, outcome, received.at.elapsed());
            responders.push(received.responder);
        }
        let mut devices = HashSet::new();
        let mut arrived = HashMap::new();
        let mut pictures = false;
        let mut spoken = Vec::with_capacity(outcomes.len());
        let (mut answered, mut reached) = (Vec::new(), HashSet::new());
        for (((operation, span), outcome), responder) in operations.iter().zip(&spans).zip(outcomes).zip(responders) {
            if let CommitOutcome::Stored { arrival, .. } | CommitOutcome::UploadStored { arrival } = &outcome {
                // An apparent repeat may have been committed by an earlier attempt that reported an error.
                pictures |= arrival.is_some() || retried;
            }
            if let (IngestOp::Quarantine(entry), CommitOutcome::Quarantined) = (operation, &outcome) {
                tracing::warn!(topic = %entry.topic, "quarantined: {}", entry.reason);
            }
            if let IngestOp::Status { device, status, retained: false } = operation
                && status.presence == Presence::Online
            {
                let takes_settings = status.settings.is_some();
                let has = takes_settings.then_some(status.settings_version);
                arrived.insert(device.clone(), has);
            }
            if let Some(device) = operation.device() {
                if !matches!(outcome, CommitOutcome::Quarantined) {
                    devices.insert(device.clone());
                }
                match responder {
                    Some(responder) => self.tell(responder, operation, span, outcome),
                    None => {
                        if earns_receipt(&outcome) {
                            answered.push((device, span));
                        }
                        spoken.push((device.clone(), outcome));
                    }
                }
            }
        }
        for (device, mut receipt) in receipts(self.store.id(), &spoken) {
            receipt.sent_us = Some(now_us());
            receipt.window = Some(self.windows.grant(&device));
            let topic = Topic::new(&device, MessageKind::Receipt);
            if self.control.publish(&topic, codec::encode(&receipt)).await {
                reached.insert(device);
            }
        }
        for (device, span) in answered {
            if reached.contains(device) {
                log_step(span, "receipt sent");
            }
        }
        self.store.delete_objects(unused).await;
        if pictures {
            self.events.publish(ChangeEvent::Pictures);
            self.thumbnails.notify_one();
        }
        self.announce(devices, &arrived).await;
    }

    /// Sends what waits for the cameras that received_at online, and publishes the change of every camera.
    ///
    /// `arrived`: the version of the settings that a camera has, where it accepts settings.
    async fn announce(&self, devices: HashSet<DeviceId>, arrived: &HashMap<DeviceId, Option<u64>>) {
        for device in devices {
            self.announcer.announce_if_new(&device).await;
            if let Some(has) = arrived.get(&device) {
                self.announcer.send_waiting_commands(&device).await;
                if let Some(has) = has {
                    self.announcer.resend_settings_if_behind(&device, *has).await;
                }
            }
            self.events.publish(ChangeEvent::Device(Arc::new(device)));
        }
    }

    /// Answers a request. If its client is gone, the outbox keeps the receipts for the camera.
    fn tell(
        &self,
        responder: oneshot::Sender<IngestResponse>,
        operation: &IngestOp,
        span: &Span,
        outcome: CommitOutcome,
    ) {
        let Some(device) = operation.device() else {
            return;
        };
        let has_receipt = earns_receipt(&outcome);
        let verdict = response(self.store.id(), operation, device, outcome, self.windows.grant(device));
        match responder.send(verdict) {
            Ok(()) if has_receipt => log_step(span, "receipt sent"),
            Err(IngestResponse::Receipts(receipts)) => {
                for receipt in receipts.iter().filter(|receipt| !receipt.is_empty()) {
                    let receipt = codec::encode(receipt);
                    self.outboxes.put(device, MessageKind::Receipt, &receipt);
                }
            }
            Ok(()) | Err(IngestResponse::Quarantined(_)) => {}
        }
    }
}

fn response(
    store: StoreId,
    operation: &IngestOp,
    device: &DeviceId,
    outcome: CommitOutcome,
    window: u64,
) -> IngestResponse {
    if let (IngestOp::Quarantine(suspect), CommitOutcome::Quarantined) = (operation, &outcome) {
        return IngestResponse::Quarantined(suspect.reason.clone());
    }
    let earned = receipts(store, &[(device.clone(), outcome)]);
    let mut receipts: Vec<Receipt> = earned.into_iter().map(|(_, receipt)| receipt).collect();
    if let Some(id) = operation.receipt_id()
        && receipts.is_empty()
    {
        receipts.push(Receipt::new(store, id.capture.spool));
    }
    for receipt in &mut receipts {
        receipt.sent_us = Some(now_us());
        receipt.window = Some(window);
    }
    IngestResponse::Receipts(receipts)
}

/// Returns true if the receipt names the capture of this outcome.
fn earns_receipt(outcome: &CommitOutcome) -> bool {
    use CommitOutcome::{Refused, Stored, TombstoneStored};
    matches!(outcome, Stored { .. } | TombstoneStored(_) | Refused { .. })
}
