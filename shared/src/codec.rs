//! Encodes messages and decodes bytes from outside: checks version and sizes, and never panics.
//!
//! A frame is `KSF1`, the length of the header as u32 big-endian (at most 4 KiB), the header as JSON, the bytes.
//! Everything else is one JSON object.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::capture::{Frame, FrameHeader};

/// The first bytes of a frame, which include its version.
pub const MAGIC: [u8; 4] = *b"KSF1";
/// The longest header of a frame, bytes.
pub const HEADER_BYTES_MAX: usize = 4096;
/// The longest JSON message, bytes.
pub const JSON_BYTES_MAX: usize = 256 * 1024;
/// The largest picture that the protocol carries, bytes; a cloud may accept less.
pub const CAPTURE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The largest overhead of a frame message over its picture bytes, bytes.
pub const FRAME_OVERHEAD_MAX: usize = MAGIC.len() + 4 + HEADER_BYTES_MAX;

/// The reason why bytes from outside are not a valid message.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("empty message")]
    Empty,
    #[error("not a Keepsake frame: it does not start with KSF1")]
    Magic,
    #[error("truncated inside the header")]
    Truncated,
    #[error("header of {0} bytes, at most {HEADER_BYTES_MAX} are allowed")]
    HeaderTooLong(u64),
    #[error("message of {0} bytes, at most {JSON_BYTES_MAX} are allowed")]
    TooLong(usize),
    #[error("the header announces {announced} bytes, but {found} bytes follow")]
    Length { announced: u64, found: u64 },
    #[error("bytes {offset} to {end} lie outside a picture of {total} bytes")]
    Range { offset: u64, end: u64, total: u64 },
    #[error("a picture of {0} bytes, at most {CAPTURE_BYTES_MAX} are allowed")]
    Total(u64),
    #[error("not the JSON expected here")]
    Json(#[from] serde_json::Error),
}

/// Encodes one frame message.
pub fn encode_frame(header: &FrameHeader, bytes: &[u8]) -> Vec<u8> {
    let json = serde_json::to_vec(header).expect("a header has no map with odd keys and no failing Serialize");
    let length = u32::try_from(json.len()).expect("a header of ours is far below 4 KiB");
    [&MAGIC[..], &length.to_be_bytes(), &json, bytes].concat()
}

/// Decodes one frame message without copying its bytes.
///
/// # Errors
/// Any [`DecodeError`] except [`DecodeError::TooLong`]; put the message into quarantine.
pub fn decode_frame(message: &[u8]) -> Result<Frame<'_>, DecodeError> {
    if message.is_empty() {
        return Err(DecodeError::Empty);
    }
    let rest = message.strip_prefix(&MAGIC).ok_or(DecodeError::Magic)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(DecodeError::Truncated)?;
    let length = u32::from_be_bytes(*length);
    let header_len = usize::try_from(length).unwrap_or(usize::MAX);
    if header_len > HEADER_BYTES_MAX {
        return Err(DecodeError::HeaderTooLong(length.into()));
    }
    let (json, bytes) = rest.split_at_checked(header_len).ok_or(DecodeError::Truncated)?;
    let header: FrameHeader = serde_json::from_slice(json)?;
    let found = bytes.len() as u64;
    if header.len != found || found == 0 {
        return Err(DecodeError::Length { announced: header.len, found });
    }
    if header.capture.total > CAPTURE_BYTES_MAX {
        return Err(DecodeError::Total(header.capture.total));
    }
    let end = header.offset.saturating_add(header.len);
    if end > header.capture.total {
        return Err(DecodeError::Range { offset: header.offset, end, total: header.capture.total });
    }
    Ok(Frame { header, bytes })
}

/// Encodes one JSON message.
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    serde_json::to_vec(message).expect("our messages have no map with odd keys and no failing Serialize")
}

/// Decodes one JSON message.
///
/// # Errors
/// [`DecodeError::Empty`], [`DecodeError::TooLong`] (before parsing) or [`DecodeError::Json`]; nesting is limited to
/// 128 by the parser.
pub fn decode<T: DeserializeOwned>(message: &[u8]) -> Result<T, DecodeError> {
    if message.is_empty() {
        return Err(DecodeError::Empty);
    }
    if message.len() > JSON_BYTES_MAX {
        return Err(DecodeError::TooLong(message.len()));
    }
    Ok(serde_json::from_slice(message)?)
}
