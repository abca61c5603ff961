//! The type of pictures that arrive without a number.

use keepsake_protocol::capture::{CaptureMetadata, ContentType, FrameHeader};
use keepsake_protocol::{Hash, Sequence, SpoolId};

use crate::store::commit::capture_order;

/// A picture that came without a number, by HTTP or from a camera that knows nothing of Keepsake.
#[derive(Debug)]
pub struct Upload {
    pub content_type: ContentType,
    /// Pixels.
    pub width: u32,
    pub height: u32,
    /// Right bytes that do not decode.
    pub damaged: bool,
}

impl Upload {
    pub(in crate::store) fn header(
        &self,
        spool: SpoolId,
        sequence: Sequence,
        hash: Hash,
        total: u64,
        now_us: i64,
    ) -> FrameHeader {
        FrameHeader {
            capture: CaptureMetadata {
                spool,
                sequence,
                hash,
                total,
                content_type: self.content_type,
                width: self.width,
                height: self.height,
                cause: keepsake_protocol::capture::Cause::Upload,
                command: None,
                pressed: keepsake_protocol::clock::ClockReading {
                    boot: capture_order::NO_BOOT,
                    boottime_us: 0,
                    wall_us: now_us,
                    synchronised: true,
                    error_us: 0,
                },
                captured_after_us: 0,
                settings_version: 0,
            },
            offset: 0,
            len: total,
            attempt: 0,
            saved_after_us: None,
            sent_after_us: None,
            not_before_us: None,
        }
    }
}
