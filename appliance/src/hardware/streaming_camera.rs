//! The press on a camera whose source of frames, a stream or a program, runs on between presses: a source that has died
//! since is started again during the press, and a new one warms up first.

use std::time::{Duration, Instant};

use super::CameraError;
use super::exposure::Exposure;
use crate::error::display_chain;
use crate::imaging::frame::Frame;
use crate::settings::CameraSettings;
use crate::time::clock;

/// The most sources started during one press: one that fails twice in a row will not recover.
const STARTS_MAX: u32 = 2;

/// The press that a frame is for, and the end of the wait for it.
#[derive(Clone, Copy)]
pub(super) struct FrameRequest {
    /// CLOCK_MONOTONIC, microseconds.
    pub(super) pressed_us: u64,
    pub(super) until: Instant,
    /// The source was started during this press.
    pub(super) source_is_new: bool,
}

/// A camera with a source of frames that runs on between presses.
pub(super) trait StreamingCamera {
    type Source;
    /// The reason that a source gives no more frames.
    type Failure;

    /// Returns the source that runs, if any.
    fn source(&mut self) -> &mut Option<Self::Source>;

    fn settings(&self) -> &CameraSettings;

    fn start(&mut self) -> Result<Self::Source, CameraError>;

    /// Returns the brightness of the next frame, or nothing if it is damaged.
    fn next_brightness(&self, source: &mut Self::Source, until: Instant) -> Result<Option<u8>, Self::Failure>;

    /// Returns the first whole frame that began after the press.
    fn fresh_frame(&self, source: &mut Self::Source, request: FrameRequest) -> Result<Frame, Self::Failure>;

    /// Ends a source that failed. `asked`: when it was asked first.
    fn end(&self, source: Self::Source, failure: Self::Failure, asked: Instant) -> CameraError;

    /// Returns true if a new source may work after this error.
    fn is_transient(error: &CameraError) -> bool;
}

/// Does the slow part of the first frame in advance.
pub(super) fn prepare(camera: &mut impl StreamingCamera, within: Duration) {
    if let Err(error) = take_frame(camera, within) {
        tracing::warn!(error = display_chain(&error), "the camera is not ready");
    }
}

/// Takes a frame that began after this call, from the source that runs or from a new one.
pub(super) fn take_frame<C: StreamingCamera>(camera: &mut C, deadline: Duration) -> Result<Frame, CameraError> {
    let pressed_us = clock::monotonic_us();
    let until = Instant::now() + deadline;
    let mut starts = 0;
    loop {
        let source_is_new = camera.source().is_none();
        starts += u32::from(source_is_new);
        let error = match try_once(camera, FrameRequest { pressed_us, until, source_is_new }) {
            Ok(frame) => return Ok(frame),
            Err(error) => error,
        };
        let may_recover = !source_is_new || starts < STARTS_MAX && C::is_transient(&error);
        if !may_recover || Instant::now() >= until {
            return Err(error);
        }
        tracing::warn!(error = display_chain(&error), "the camera is restarted");
    }
}

fn try_once(camera: &mut impl StreamingCamera, mut request: FrameRequest) -> Result<Frame, CameraError> {
    let mut source = match camera.source().take() {
        Some(source) => source,
        None => camera.start()?,
    };
    let asked = Instant::now();
    if !request.source_is_new {
        // A source that died in silence must leave time for another.
        request.until = asked + request.until.saturating_duration_since(asked) / 2;
    }
    let warmed_up = if request.source_is_new {
        warm_up(camera, &mut source, request.until)
    } else {
        Ok(())
    };
    match warmed_up.and_then(|()| camera.fresh_frame(&mut source, request)) {
        Ok(frame) => {
            *camera.source() = Some(source);
            Ok(frame)
        }
        Err(failure) => Err(camera.end(source, failure, asked)),
    }
}

/// Skips frames until the exposure is stable, within the bounds of the settings.
fn warm_up<C: StreamingCamera>(camera: &C, source: &mut C::Source, until: Instant) -> Result<(), C::Failure> {
    let settings = camera.settings();
    let ends = until.min(Instant::now() + settings.warm_up());
    let mut exposure = Exposure::default();
    for _ in 0..settings.warm_up_frames {
        if Instant::now() >= ends || exposure.is_steady(camera.next_brightness(source, until)?) {
            break;
        }
    }
    Ok(())
}
