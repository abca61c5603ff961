//! Helpers for the tests of several cameras, and of the light.

use std::sync::mpsc;

use keepsake_protocol::event::TombstoneReason;

use super::{CameraError, Led, LedState};
use crate::imaging::brightness::brightness;
use crate::imaging::frame::Frame;
use crate::imaging::jpeg::{check_jpeg, segments};

/// An LED that reports every state it is given.
pub(crate) struct WatchedLed(pub(crate) mpsc::Sender<LedState>);

impl Led for WatchedLed {
    fn show(&mut self, state: LedState) {
        let _ = self.0.send(state);
    }
}

/// Encodes grey pixels.
pub(crate) fn grey_jpeg(pixels: &[u8], width: u16, height: u16) -> Vec<u8> {
    let mut jpeg = Vec::new();
    jpeg_encoder::Encoder::new(&mut jpeg, 90)
        .encode(pixels, width, height, jpeg_encoder::ColorType::Luma)
        .unwrap();
    jpeg
}

/// Removes the Huffman tables of a JPEG.
pub(super) fn without_tables(jpeg: &[u8]) -> Vec<u8> {
    let mut bare = vec![0xff, 0xd8];
    let mut scan_at = 0;
    for segment in segments(jpeg).flatten() {
        match segment.marker {
            0xda => scan_at = segment.at,
            0xc4 => {}
            _ => bare.extend_from_slice(segment.bytes),
        }
    }
    bare.extend_from_slice(&jpeg[scan_at..]);
    bare
}

/// Returns the brightness of a frame that is whole and as large as it says.
pub(super) fn grey(frame: &Frame) -> u8 {
    assert_eq!(check_jpeg(&frame.bytes), Ok((frame.width, frame.height)));
    brightness(&frame.bytes, frame.content_type).unwrap()
}

#[track_caller]
pub(super) fn assert_grey(frame: Result<Frame, CameraError>, expected: u8, tolerance: u8) {
    let found = grey(&frame.unwrap());
    assert!(found.abs_diff(expected) <= tolerance, "{found} instead of {expected}");
}

#[track_caller]
pub(super) fn assert_error(frame: Result<Frame, CameraError>, reason: TombstoneReason, words: &[&str]) {
    let error = frame.unwrap_err();
    assert_eq!(error.reason(), reason, "{error}");
    let text = crate::error::display_chain(&error);
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
}
