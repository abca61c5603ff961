//! The types between decoding and storing: the operation of each message, and its outcome.

use bytes::Bytes;
use keepsake_protocol::capture::{CaptureMetadata, ContentType, FrameHeader};
use keepsake_protocol::event::{BootClockOffset, Tombstone};
use keepsake_protocol::id::PictureId;
use keepsake_protocol::inventory::Inventory;
use keepsake_protocol::receipt::{Receipt, ResendRequest};
use keepsake_protocol::status::Status;
use keepsake_protocol::{CaptureId, DeviceId, Hash, HashPrefix, SpoolId};
use tracing::Span;

use crate::objects::{DurableObject, NewObject};

/// A received message, from any sender.
#[derive(Debug, Clone)]
pub struct Message {
    pub topic: String,
    pub payload: Bytes,
    /// The broker kept it from earlier: it says nothing about the camera being there now.
    pub retained: bool,
}

/// The operation of one message.
#[derive(Debug, Clone)]
pub enum IngestOp {
    /// A whole capture, its hash checked, or a part of one.
    Capture {
        device: DeviceId,
        header: FrameHeader,
        bytes: PictureBytes,
    },
    Tombstone {
        device: DeviceId,
        tombstone: Tombstone,
        hash: Hash,
        payload: Bytes,
    },
    /// A fault or a boot line.
    Event {
        device: DeviceId,
        kind: &'static str,
        hash: Hash,
        payload: Bytes,
        line: Option<BootClockOffset>,
        /// The camera waits for a receipt of this spool.
        spool: Option<SpoolId>,
    },
    Inventory {
        device: DeviceId,
        inventory: Inventory,
    },
    Status {
        device: DeviceId,
        status: Box<Status>,
        retained: bool,
    },
    Reply {
        device: DeviceId,
        reply: keepsake_protocol::command::CommandReply,
    },
    /// A whole picture of a camera that knows nothing of Keepsake: no number, no receipt.
    Upload {
        device: DeviceId,
        hash: Hash,
        bytes: PictureBytes,
        content_type: ContentType,
        /// Pixels; 0 = unknown.
        width: u32,
        height: u32,
        /// It may have been committed before: then it is a repeat if the camera has sent just this within a day.
        maybe_repeat: bool,
    },
    Quarantine(QuarantineEntry),
    /// The cloud takes no pictures of this size; nothing is written, the camera parks it.
    TooLarge {
        device: DeviceId,
        id: PictureId,
        reason: String,
    },
}

/// The bytes of a picture.
#[derive(Debug, Clone)]
pub struct PictureBytes {
    pub data: Bytes,
    /// The object that has them, durable; absent if they go into the database.
    pub object: Option<DurableObject>,
}

impl<B: Into<Bytes>> From<B> for PictureBytes {
    fn from(data: B) -> Self {
        Self { data: data.into(), object: None }
    }
}

/// A message for the quarantine.
#[derive(Debug, Clone)]
pub struct QuarantineEntry {
    /// Absent where the topic names none.
    pub device: Option<DeviceId>,
    pub topic: String,
    /// A plain sentence.
    pub reason: String,
    /// Over the whole message.
    pub hash: Hash,
    /// The whole message; the store keeps its first bytes.
    pub bytes: Bytes,
}

impl IngestOp {
    /// The camera that speaks, where the topic names one.
    pub fn device(&self) -> Option<&DeviceId> {
        match self {
            Self::Capture { device, .. }
            | Self::Tombstone { device, .. }
            | Self::Event { device, .. }
            | Self::Inventory { device, .. }
            | Self::Status { device, .. }
            | Self::Reply { device, .. }
            | Self::Upload { device, .. }
            | Self::TooLarge { device, .. } => Some(device),
            Self::Quarantine(suspect) => suspect.device.as_ref(),
        }
    }

    /// Returns the object to store a whole picture as, unless one that may still be named has its bytes.
    pub(crate) fn missing_object(&self) -> Option<NewObject> {
        let (device, sequence, hash, content_type, bytes) = match self {
            Self::Capture { device, header, bytes } if header.is_whole() => {
                let record = &header.capture;
                (device, Some(record.sequence), record.hash, record.content_type, bytes)
            }
            Self::Upload { device, hash, bytes, content_type, .. } => (device, None, *hash, *content_type, bytes),
            Self::Capture { .. }
            | Self::Tombstone { .. }
            | Self::Event { .. }
            | Self::Inventory { .. }
            | Self::Status { .. }
            | Self::Reply { .. }
            | Self::Quarantine(_)
            | Self::TooLarge { .. } => return None,
        };
        let has_object = bytes.object.as_ref().is_some_and(DurableObject::is_recent);
        (!has_object).then(|| NewObject::of_picture(device, sequence, hash, content_type, bytes.data.clone()))
    }

    /// Returns the object of a picture, where there may be one.
    pub(crate) fn object_mut(&mut self) -> Option<&mut Option<DurableObject>> {
        match self {
            Self::Capture { bytes, .. } | Self::Upload { bytes, .. } => Some(&mut bytes.object),
            Self::Tombstone { .. }
            | Self::Event { .. }
            | Self::Inventory { .. }
            | Self::Status { .. }
            | Self::Reply { .. }
            | Self::Quarantine(_)
            | Self::TooLarge { .. } => None,
        }
    }

    /// Returns the id by which a receipt names the capture or the tombstone.
    pub fn receipt_id(&self) -> Option<PictureId> {
        match self {
            Self::Capture { header, .. } => Some(picture_id(&header.capture)),
            Self::Tombstone { tombstone, hash, .. } => Some(PictureId {
                capture: CaptureId { spool: tombstone.spool, sequence: tombstone.sequence },
                hash: hash.prefix(),
            }),
            Self::TooLarge { id, .. } => Some(*id),
            Self::Event { .. }
            | Self::Inventory { .. }
            | Self::Status { .. }
            | Self::Reply { .. }
            | Self::Upload { .. }
            | Self::Quarantine(_) => None,
        }
    }

    /// Returns the tracing span of a capture, with the field names that the camera uses; a disabled one without a
    /// capture.
    pub(crate) fn span(&self) -> Span {
        match (self.device(), self.receipt_id()) {
            (Some(device), Some(id)) => tracing::info_span!("capture", %device, sequence = %id.capture.sequence),
            _ => Span::none(),
        }
    }
}

pub(crate) fn picture_id(metadata: &CaptureMetadata) -> PictureId {
    PictureId { capture: metadata.id(), hash: metadata.hash.prefix() }
}

/// The result of an operation, once its transaction is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    /// The capture is in the store; `arrival` is absent for a repeat.
    Stored {
        id: PictureId,
        arrival: Option<i64>,
    },
    /// A part is in the store, the capture is not whole yet.
    PartStored,
    /// All parts were there and their hash was wrong: they are gone, and quarantine says so.
    WrongHash,
    /// The tombstone is in the store, or was there already.
    TombstoneStored(PictureId),
    /// A fault or a boot line is in the store, or was there already; `awaited` if the camera waits to hear of it.
    EventStored {
        awaited: Option<(SpoolId, HashPrefix)>,
    },
    /// The answer to one page of `up/have`.
    InventoryAnswered(Receipt),
    /// A status is kept; the cloud wants these back, which the camera still has and the cloud knows nothing of.
    StatusStored {
        wants: Vec<(SpoolId, Vec<ResendRequest>)>,
    },
    ReplyStored,
    /// The picture of a camera that waits for no receipt is in the store; `arrival` is absent for a repeat.
    UploadStored {
        arrival: Option<i64>,
    },
    Quarantined,
    /// Not taken, for a reason of the cloud's own.
    Refused {
        id: PictureId,
        reason: String,
        retry_after: u64,
    },
    /// Could not be committed although everything else can, and no receipt is due for it.
    Dropped,
}
