//! Takes one picture: a frame, a capture, the spool. It blocks, so it lives on a thread of its own.
//!
//! A press is never silently nothing: it ends as a capture on the card (P1), as a tombstone that says why there is no
//! picture, or, when the card takes not even that, as a refusal that the light shows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keepsake_protocol::capture::Cause;
use keepsake_protocol::clock::ClockReading;
use keepsake_protocol::event::TombstoneReason;
use parking_lot::Mutex;

use crate::error::display_chain;
use crate::hardware::Camera;
use crate::imaging::frame::Frame;
use crate::imaging::resize;
use crate::settings::{self, Config, PictureSettings};
use crate::spool::{Appended, NewCapture, NewTombstone, PendingCapture, Spool, SpoolChange, SpoolError};
use crate::time::clock::{Clock, boottime_us};

/// A request for a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CaptureRequest {
    Press {
        number: u64,
        at_boottime_us: u64,
    },
    /// It may begin until `begin_by_us`, CLOCK_BOOTTIME.
    Command {
        id: String,
        at_boottime_us: u64,
        begin_by_us: u64,
    },
    Interval,
}

impl CaptureRequest {
    fn cause(&self) -> Cause {
        match self {
            Self::Press { .. } => Cause::Button,
            Self::Command { .. } => Cause::Command,
            Self::Interval => Cause::Interval,
        }
    }

    fn command(&self) -> Option<String> {
        match self {
            Self::Command { id, .. } => Some(id.clone()),
            Self::Press { .. } | Self::Interval => None,
        }
    }

    fn at_boottime_us(&self) -> u64 {
        match self {
            Self::Press { at_boottime_us, .. } | Self::Command { at_boottime_us, .. } => *at_boottime_us,
            Self::Interval => boottime_us(),
        }
    }
}

/// The result of a capture request.
#[derive(Debug)]
pub(crate) enum CaptureOutcome {
    /// The camera has the frame of a command; its fate is still to come.
    Captured { request: CaptureRequest },
    /// The command came too late, and nothing was done.
    Expired { request: CaptureRequest },
    Saved {
        request: CaptureRequest,
        appended: Appended,
        saved_after_us: u64,
    },
    /// There is no picture, and a record of why.
    Tombstone {
        request: CaptureRequest,
        waiting: PendingCapture,
        changes: Vec<SpoolChange>,
        reason: TombstoneReason,
        text: String,
    },
    /// The card took nothing.
    Failed { request: CaptureRequest, text: String, poisoned: bool },
}

/// The settings of the next picture, which may change while the program runs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CaptureSettings {
    pub picture: PictureSettings,
    pub camera: settings::CameraSettings,
    /// Version of the settings that says so, for the record of each capture.
    pub settings_version: u64,
}

impl CaptureSettings {
    pub(crate) fn new(config: &Config, settings_version: u64) -> Self {
        Self {
            picture: config.picture.clone(),
            camera: config.camera.clone(),
            settings_version,
        }
    }
}

/// Takes pictures, one after the other.
pub(crate) struct Pipeline {
    pub camera: Box<dyn Camera>,
    pub spool: Arc<Mutex<Spool>>,
    pub clock: Clock,
    /// The most bytes of a capture that the cloud takes, as last heard.
    pub capture_bytes_max: Arc<AtomicU64>,
    pub settings: Arc<Mutex<CaptureSettings>>,
    /// The settings last applied to the camera.
    pub applied: settings::CameraSettings,
}

impl Pipeline {
    /// Has the camera find its exposure before the first press.
    pub(crate) fn prepare(&mut self) {
        self.camera.prepare(self.applied.timeout());
    }

    /// Takes one picture and returns when its fate is durable. `on_captured` is called as soon as the camera has the
    /// frame, before it is saved: the person may move again.
    pub(crate) fn capture(
        &mut self,
        request: CaptureRequest,
        on_captured: impl FnOnce(&CaptureRequest),
    ) -> CaptureOutcome {
        if let CaptureRequest::Command { begin_by_us, .. } = request
            && boottime_us() > begin_by_us
        {
            return CaptureOutcome::Expired { request };
        }
        let pressed = self.clock.reading_at(request.at_boottime_us());
        let settings = self.settings.lock().clone();
        if settings.camera != self.applied {
            self.camera.configure(&settings.camera);
            self.applied = settings.camera.clone();
        }
        let framed = self.camera.frame(settings.camera.timeout());
        if framed.is_ok() {
            on_captured(&request);
        }
        let captured_after_us = boottime_us().saturating_sub(pressed.boottime_us);
        let frame = match framed
            .map_err(|error| (error.reason(), display_chain(&error)))
            .and_then(|frame| self.fit_to_budget(frame, &settings.picture))
        {
            Ok(frame) => frame,
            Err((reason, text)) => return self.record_tombstone(request, pressed, reason, text),
        };
        let new = NewCapture {
            bytes: &frame.bytes,
            content_type: frame.content_type,
            width: frame.width,
            height: frame.height,
            cause: request.cause(),
            command: request.command(),
            pressed,
            captured_after_us,
            settings_version: settings.settings_version,
        };
        let appended = self.spool.lock().append(&new);
        match appended {
            Ok(appended) => {
                let saved_after_us = boottime_us().saturating_sub(pressed.boottime_us);
                CaptureOutcome::Saved { request, appended, saved_after_us }
            }
            Err(error @ SpoolError::Full { .. }) => {
                self.record_tombstone(request, pressed, TombstoneReason::CardFull, error.to_string())
            }
            Err(error) => self.report_failure(request, &error),
        }
    }

    fn record_tombstone(
        &self,
        request: CaptureRequest,
        pressed: ClockReading,
        reason: TombstoneReason,
        text: String,
    ) -> CaptureOutcome {
        let new = NewTombstone {
            reason,
            cause: request.cause(),
            command: request.command(),
            pressed: Some(pressed),
        };
        let recorded = self.spool.lock().append_tombstone(new);
        match recorded {
            Ok((waiting, changes)) => CaptureOutcome::Tombstone { request, waiting, changes, reason, text },
            Err(error) => self.report_failure(request, &error),
        }
    }

    fn report_failure(&self, request: CaptureRequest, error: &SpoolError) -> CaptureOutcome {
        let text = display_chain(error);
        tracing::error!(error = text, "save a capture");
        CaptureOutcome::Failed { request, text, poisoned: self.spool.lock().is_poisoned() }
    }

    /// Shrinks here and not at the send: what is on the card is what the cloud takes.
    fn fit_to_budget(&self, frame: Frame, picture: &PictureSettings) -> Result<Frame, (TombstoneReason, String)> {
        let cloud = self.capture_bytes_max.load(Ordering::Relaxed);
        let budget = if picture.bytes_max == 0 {
            cloud
        } else {
            cloud.min(picture.bytes_max)
        };
        resize::fit_to_budget(frame, budget, picture.width_max, picture.quality)
            .map_err(|error| (TombstoneReason::FrameTooLarge, display_chain(&error)))
    }
}
