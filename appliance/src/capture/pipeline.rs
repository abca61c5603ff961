//! What one press does: a frame, a capture, the spool. Blocks, and so lives on a thread of its own.
//!
//! A press is never silently nothing: it ends as a capture on the card (P1), as a tombstone that says why there is no
//! picture, or, when the card takes not even that, as a refusal that the light shows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use keepsake_protocol::capture::{CaptureMetadata, Cause};
use keepsake_protocol::clock::ClockReading;
use keepsake_protocol::event::TombstoneReason;

use crate::error::display_chain;
use crate::hardware::{Camera, CameraError};
use crate::imaging::frame::Frame;
use crate::imaging::resize;
use crate::settings::{self, Config, Picture};
use crate::spool::{NewCapture, NewTombstone, SharedSpool, SpoolError, Waiting};
use crate::time::clock::{Clock, boottime_us};

/// What asks for a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
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

impl Job {
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
            Self::Press { at_boottime_us, .. } | Self::Command { at_boottime_us, .. } => {
                *at_boottime_us
            }
            Self::Interval => boottime_us(),
        }
    }
}

/// What became of it.
#[derive(Debug)]
pub enum Outcome {
    /// The camera has the frame of a command; its fate is still to come.
    Captured { job: Job },
    /// The command came too late, and nothing was done.
    Expired { job: Job },
    Saved {
        job: Job,
        waiting: Waiting,
        record: CaptureMetadata,
        saved_after_us: u64,
    },
    /// There is no picture, and a record of why.
    Tombstone {
        job: Job,
        waiting: Waiting,
        reason: TombstoneReason,
        text: String,
    },
    /// The card took nothing.
    Refused {
        job: Job,
        text: String,
        poisoned: bool,
    },
}

/// The largest picture the cloud takes, bytes, as last heard.
#[derive(Debug, Clone)]
pub struct CloudLimit(Arc<AtomicU64>);

impl Default for CloudLimit {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(
            keepsake_protocol::codec::CAPTURE_BYTES_MAX,
        )))
    }
}

impl CloudLimit {
    pub fn set(&self, bytes: u64) {
        self.0.store(
            bytes.min(keepsake_protocol::codec::CAPTURE_BYTES_MAX),
            Ordering::Relaxed,
        );
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How pictures are taken from the next one on: the part of the settings that may change while the program runs.
#[derive(Debug, Clone, PartialEq)]
pub struct How {
    pub picture: Picture,
    pub camera: settings::Camera,
    /// Version of the settings that says so, for the record of each capture.
    pub settings_version: u64,
}

impl How {
    pub fn new(config: &Config, settings_version: u64) -> Self {
        Self {
            picture: config.picture.clone(),
            camera: config.camera.clone(),
            settings_version,
        }
    }
}

/// Takes pictures, one after the other.
pub struct Flow {
    pub camera: Box<dyn Camera>,
    pub spool: SharedSpool,
    pub clock: Clock,
    pub cloud_limit: CloudLimit,
    pub how: Arc<Mutex<How>>,
    /// The settings the camera was told last.
    pub told: settings::Camera,
}

impl Flow {
    /// Has the camera find its exposure before the first press.
    pub fn prepare(&mut self) {
        self.camera.prepare(self.told.deadline());
    }

    /// Takes one picture and returns when its fate is durable. `on_captured` is called as soon as the camera has the
    /// frame, before it is saved: the person may move again.
    pub fn take(&mut self, job: Job, on_captured: impl FnOnce(&Job)) -> Outcome {
        if let Job::Command { begin_by_us, .. } = job
            && boottime_us() > begin_by_us
        {
            return Outcome::Expired { job };
        }
        let pressed = self.clock.press_moment(job.at_boottime_us());
        let how = self
            .how
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if how.camera != self.told {
            self.camera.adjust(&how.camera);
            self.told = how.camera.clone();
        }
        let framed = self.camera.frame(how.camera.deadline());
        if framed.is_ok() {
            on_captured(&job);
        }
        let captured_after_us = boottime_us().saturating_sub(pressed.boottime_us);
        let frame = match framed
            .map_err(|error| explain(&error))
            .and_then(|frame| self.within_budget(frame, &how.picture))
        {
            Ok(frame) => frame,
            Err((reason, text)) => return self.bury(job, pressed, reason, text),
        };
        let new = NewCapture {
            bytes: &frame.bytes,
            content_type: frame.content_type,
            width: frame.width,
            height: frame.height,
            cause: job.cause(),
            command: job.command(),
            pressed,
            captured_after_us,
            settings_version: how.settings_version,
        };
        let appended = self.spool.lock().append(&new);
        match appended {
            Ok((waiting, record)) => {
                let saved_after_us = boottime_us().saturating_sub(pressed.boottime_us);
                Outcome::Saved {
                    job,
                    waiting,
                    record,
                    saved_after_us,
                }
            }
            Err(error @ SpoolError::Full { .. }) => {
                self.bury(job, pressed, TombstoneReason::CardFull, error.to_string())
            }
            Err(error) => self.refuse(job, &error),
        }
    }

    fn bury(
        &self,
        job: Job,
        pressed: ClockReading,
        reason: TombstoneReason,
        text: String,
    ) -> Outcome {
        let new = NewTombstone {
            reason,
            cause: job.cause(),
            command: job.command(),
            pressed: Some(pressed),
        };
        let buried = self.spool.lock().append_tombstone(new);
        match buried {
            Ok(waiting) => Outcome::Tombstone {
                job,
                waiting,
                reason,
                text,
            },
            Err(error) => self.refuse(job, &error),
        }
    }

    fn refuse(&self, job: Job, error: &SpoolError) -> Outcome {
        let text = display_chain(error);
        tracing::error!(error = text, "a press could not be kept");
        Outcome::Refused {
            job,
            text,
            poisoned: self.spool.lock().is_poisoned(),
        }
    }

    /// Shrinks here and not at the send: what is on the card is what the cloud takes.
    fn within_budget(
        &self,
        frame: Frame,
        picture: &Picture,
    ) -> Result<Frame, (TombstoneReason, String)> {
        let cloud = self.cloud_limit.get();
        let budget = if picture.bytes_max == 0 {
            cloud
        } else {
            cloud.min(picture.bytes_max)
        };
        resize::to_budget(frame, budget, picture.max_width, picture.quality)
            .map_err(|error| (TombstoneReason::FrameTooLarge, display_chain(&error)))
    }
}

fn explain(error: &CameraError) -> (TombstoneReason, String) {
    (error.reason(), display_chain(error))
}
