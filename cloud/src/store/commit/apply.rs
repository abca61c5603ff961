//! Commits a batch of operations in one transaction.

use std::collections::BTreeMap;

use keepsake_protocol::capture::FrameHeader;
use keepsake_protocol::id::PictureId;
use keepsake_protocol::receipt::{InventoryAck, Receipt};
use keepsake_protocol::status::{Presence, Status};
use keepsake_protocol::topic::{MessageKind, Topic};
use keepsake_protocol::{CaptureId, DeviceId, Hash};
use sqlx::AnyConnection;

use crate::ingest::operation::{CommitOutcome, IngestOp, QuarantineEntry, picture_id};
use crate::objects::DurableObject;
use crate::store::bind::Key;
use crate::store::commit::picture_batch::{Dedup, NewPicture, Number};
use crate::store::commit::totals::BatchTotals;
use crate::store::commit::upload::Upload;
use crate::store::commit::{
    boot_clock, capture_order, device, event, fate, inventory, picture_batch, quarantine, spool, tombstone,
};
use crate::store::error::Result;
use crate::store::open::Store;
use crate::store::parts::{BatchParts, PartOutcome, part_key};
use crate::store::query::commands;

/// The time after which a camera may offer again what this cloud has no room for, seconds.
const RETRY_S: u64 = 6 * 3600;

impl Store {
    /// Commits a batch: all of it or nothing. Outcomes are in the order of the operations.
    ///
    /// # Errors
    /// [`crate::store::StoreError`]: nothing is committed, or it cannot be known; the same batch may simply be
    /// committed again.
    pub async fn commit(&self, operations: &[IngestOp], now_us: i64) -> Result<Vec<CommitOutcome>> {
        self.with_timeout(async {
            let mut parts = self.put_parts(operations, now_us).await?;
            let mut tx = self.begin("begin a batch").await?;
            match self.apply_all(&mut tx, operations, &mut parts, now_us).await {
                Ok(outcomes) => {
                    tx.commit("commit a batch").await?;
                    self.parts.remove(parts.settled).await;
                    self.delete_objects(parts.objects.into_values()).await;
                    Ok(outcomes)
                }
                Err(error) => {
                    if error.is_race() {
                        tx.rollback().await;
                    }
                    self.delete_objects(parts.objects.into_values().chain(parts.named)).await;
                    Err(error)
                }
            }
        })
        .await
    }

    async fn apply_all(
        &self,
        tx: &mut AnyConnection,
        operations: &[IngestOp],
        parts: &mut BatchParts,
        now_us: i64,
    ) -> Result<Vec<CommitOutcome>> {
        let mut speakers = BTreeMap::new();
        for (device, alive) in operations.iter().filter_map(speaker) {
            *speakers.entry(device).or_default() |= alive;
        }
        let rejected = device::touch_devices(tx, &speakers, now_us, self.limits.devices_max).await?;
        let mut totals = BatchTotals::default();
        let mut outcomes = Vec::with_capacity(operations.len());
        let mut rest = operations;
        while let Some(operation) = rest.first() {
            if operation.device().is_some_and(|device| rejected.contains(device)) {
                parts.settled.extend(part_key(operation));
                outcomes.push(self.reject_for_space(tx, operation, now_us).await?);
                rest = &rest[1..];
                continue;
            }
            // Pictures that follow each other are stored together.
            let pictures: Vec<NewPicture<'_>> = rest
                .iter()
                .take_while(|next| next.device().is_none_or(|device| !rejected.contains(device)))
                .map_while(new_picture)
                .collect();
            if pictures.is_empty() {
                let outcome = match (operation, parts.outcomes.remove(&outcomes.len())) {
                    (IngestOp::Capture { device, header, .. }, Some(part)) => {
                        let object = parts.objects.get(&outcomes.len());
                        self.apply_part(tx, &mut totals, device, header, (part, object), now_us).await?
                    }
                    _ => self.apply(tx, operation, now_us).await?,
                };
                if let CommitOutcome::Stored { arrival: Some(_), .. } = outcome {
                    parts.named.extend(parts.objects.remove(&outcomes.len()));
                }
                if !matches!(outcome, CommitOutcome::PartStored) {
                    parts.settled.extend(part_key(operation));
                }
                outcomes.push(outcome);
                rest = &rest[1..];
                continue;
            }
            let stored = picture_batch::insert(tx, &mut totals, &pictures, now_us).await?;
            for (operation, new) in rest.iter().zip(stored) {
                let arrival = new.map(|picture| picture.arrival);
                outcomes.push(match operation.receipt_id() {
                    Some(id) => CommitOutcome::Stored { id, arrival },
                    None => CommitOutcome::UploadStored { arrival },
                });
            }
            rest = &rest[pictures.len()..];
        }
        totals.finish(tx).await?;
        Ok(outcomes)
    }

    async fn apply(&self, tx: &mut AnyConnection, operation: &IngestOp, now_us: i64) -> Result<CommitOutcome> {
        match operation {
            IngestOp::Tombstone { device, tombstone, hash, payload } => {
                spool::touch_spool(tx, device, tombstone.spool, tombstone.last().next(), now_us).await?;
                tombstone::insert(tx, device, tombstone, *hash, payload, now_us).await?;
                let capture = CaptureId { spool: tombstone.spool, sequence: tombstone.sequence };
                Ok(CommitOutcome::TombstoneStored(PictureId { capture, hash: hash.prefix() }))
            }
            IngestOp::Event { device, kind, hash, payload, line, spool } => {
                event::insert(tx, device, kind, *hash, payload, now_us, self.limits.events_max).await?;
                if let Some(line) = line {
                    boot_clock::insert(tx, device, line, *hash, now_us).await?;
                    capture_order::sort_boot(tx, device, line.boot).await?;
                }
                Ok(CommitOutcome::EventStored { awaited: spool.map(|spool| (spool, hash.prefix())) })
            }
            IngestOp::Inventory { device, inventory } => {
                spool::touch_spool(tx, device, inventory.spool, inventory.next, now_us).await?;
                let (stored, want) = inventory::answer_inventory(tx, &self.parts, inventory).await?;
                Ok(CommitOutcome::InventoryAnswered(Receipt {
                    stored,
                    want,
                    inventory_ack: Some(InventoryAck { id: inventory.id, page: inventory.page }),
                    next: fate::next(tx, inventory.spool).await?,
                    ..Receipt::new(self.id, inventory.spool)
                }))
            }
            IngestOp::Status { device, status, retained } => {
                self.apply_status(tx, device, status, *retained, now_us).await
            }
            IngestOp::Reply { device, reply } => {
                commands::record_stage(tx, device, reply, now_us).await?;
                Ok(CommitOutcome::ReplyStored)
            }
            IngestOp::Capture { .. } | IngestOp::Upload { .. } => {
                unreachable!("whole pictures and parts are stored with their batch")
            }
            IngestOp::Quarantine(entry) => {
                quarantine::insert(tx, entry, now_us, &self.limits).await?;
                Ok(CommitOutcome::Quarantined)
            }
            IngestOp::TooLarge { id, reason, .. } => {
                Ok(CommitOutcome::Refused { id: *id, reason: reason.clone(), retry_after: RETRY_S })
            }
        }
    }

    /// Notes that a part is here, or stores the picture that it completes.
    async fn apply_part(
        &self,
        tx: &mut AnyConnection,
        totals: &mut BatchTotals,
        device: &DeviceId,
        header: &FrameHeader,
        (part, object): (PartOutcome, Option<&DurableObject>),
        now_us: i64,
    ) -> Result<CommitOutcome> {
        let record = &header.capture;
        let id = picture_id(record);
        spool::touch_spool(tx, device, record.spool, record.sequence.next(), now_us).await?;
        if fate::is_settled(tx, Key::of(record)).await? {
            return Ok(CommitOutcome::Stored { id, arrival: None });
        }
        match part {
            PartOutcome::Unfinished => Ok(CommitOutcome::PartStored),
            PartOutcome::Whole(whole) => {
                let whole = NewPicture {
                    device,
                    hash: record.hash,
                    bytes: &whole,
                    object,
                    number: Number::OfCamera(header),
                };
                let new = picture_batch::insert(tx, totals, &[whole], now_us).await?.pop().flatten();
                Ok(CommitOutcome::Stored { id, arrival: new.map(|picture| picture.arrival) })
            }
            PartOutcome::WrongHash(whole) => {
                let entry = QuarantineEntry {
                    device: Some(device.clone()),
                    topic: Topic::new(device, MessageKind::Frame).to_string(),
                    reason: format!(
                        "the parts of capture {} together do not have the hash their headers claim",
                        record.id()
                    ),
                    hash: Hash::of(&whole),
                    bytes: whole.into(),
                };
                quarantine::insert(tx, &entry, now_us, &self.limits).await?;
                Ok(CommitOutcome::WrongHash)
            }
        }
    }

    /// Stores a status and what it reports of the card, and finds the captures to ask for.
    async fn apply_status(
        &self,
        tx: &mut AnyConnection,
        device: &DeviceId,
        status: &Status,
        retained: bool,
        now_us: i64,
    ) -> Result<CommitOutcome> {
        device::store_status(tx, device, status, now_us, retained).await?;
        let mut wants = Vec::new();
        // A last will knows nothing of the card, so what was known before stays.
        if status.reported_at.is_some() {
            for held in &status.spools {
                spool::touch_spool(tx, device, held.spool, held.next, now_us).await?;
            }
            inventory::replace(tx, device, &status.spools, now_us).await?;
            if status.presence == Presence::Online {
                wants = inventory::missing_captures(tx, &status.spools, self.limits.wants_max).await?;
            }
        }
        Ok(CommitOutcome::StatusStored { wants })
    }

    /// Rejects an operation that would need one camera too many.
    async fn reject_for_space(
        &self,
        tx: &mut AnyConnection,
        operation: &IngestOp,
        now_us: i64,
    ) -> Result<CommitOutcome> {
        const REASON: &str = "this cloud has no room for another camera";
        if let IngestOp::Upload { device, hash, bytes, .. } = operation {
            // Nobody keeps it and offers it again.
            let entry = QuarantineEntry {
                device: None,
                topic: format!("an upload of {device}"),
                reason: REASON.to_owned(),
                hash: *hash,
                bytes: bytes.data.clone(),
            };
            quarantine::insert(tx, &entry, now_us, &self.limits).await?;
            return Ok(CommitOutcome::Quarantined);
        }
        Ok(match operation.receipt_id() {
            Some(id) => CommitOutcome::Refused { id, reason: REASON.to_owned(), retry_after: RETRY_S },
            None => CommitOutcome::Dropped,
        })
    }
}

/// Returns the whole picture of an operation, if it has one.
fn new_picture(operation: &IngestOp) -> Option<NewPicture<'_>> {
    match operation {
        IngestOp::Capture { device, header, bytes } if header.is_whole() => Some(NewPicture {
            device,
            hash: header.capture.hash,
            bytes: &bytes.data,
            object: bytes.object.as_ref(),
            number: Number::OfCamera(header),
        }),
        IngestOp::Upload {
            device,
            hash,
            bytes,
            content_type,
            width,
            height,
            maybe_repeat,
        } => Some(NewPicture {
            device,
            hash: *hash,
            bytes: &bytes.data,
            object: bytes.object.as_ref(),
            number: Number::OfCloud {
                upload: Upload {
                    content_type: *content_type,
                    width: *width,
                    height: *height,
                    damaged: false,
                },
                dedup: if *maybe_repeat { Dedup::Check } else { Dedup::Remember },
            },
        }),
        IngestOp::Capture { .. }
        | IngestOp::Tombstone { .. }
        | IngestOp::Event { .. }
        | IngestOp::Inventory { .. }
        | IngestOp::Status { .. }
        | IngestOp::Reply { .. }
        | IngestOp::Quarantine(_)
        | IngestOp::TooLarge { .. } => None,
    }
}

/// Returns the camera of an operation, and whether the operation proves that the camera is alive.
fn speaker(operation: &IngestOp) -> Option<(&DeviceId, bool)> {
    match operation {
        // The broker speaks in a last will, and repeats what it retained; neither is the camera speaking.
        IngestOp::Status { device, status, retained } => Some((device, !retained && status.reported_at.is_some())),
        // It has no presence, and nothing is missed when it is silent.
        IngestOp::Upload { device, .. } => Some((device, false)),
        // Anyone may have written what cannot be understood.
        IngestOp::Quarantine(_) => None,
        IngestOp::Capture { .. }
        | IngestOp::Tombstone { .. }
        | IngestOp::Event { .. }
        | IngestOp::Inventory { .. }
        | IngestOp::Reply { .. }
        | IngestOp::TooLarge { .. } => operation.device().map(|device| (device, true)),
    }
}
