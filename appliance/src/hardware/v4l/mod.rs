//! USB cameras, and all others whose driver delivers pictures by V4L2.
//!
//! The stream continues between presses, so that exposure is right when the button is pressed, and a press takes the first
//! frame that began after it. The reactions to faults (`camera/tests.rs` plays every row on a scripted driver):
//!
//! | the driver | reaction | the press becomes |
//! |---|---|---|
//! | has no camera | error at once, with what was found instead | tombstone: camera not found |
//! | lacks the device that the settings name | the same, with the names of the present cameras | tombstone: camera not found |
//! | offers no format that can be converted, or not the one that the settings name, or buffers of several planes | error with its formats | tombstone: camera failed |
//! | agrees to another format than it offered | the next best offer | a picture |
//! | delivers fewer frames per second than `camera.frames_per_s_min` | a higher rate is requested; a refusal is logged | a picture |
//! | is used by another program (EBUSY), or forbidden (EACCES) | error with the fix | tombstone: camera failed, not found |
//! | delivers no frame on a new stream | given up at the deadline | tombstone: camera timed out |
//! | delivers no frame on a kept stream | rebuilt after half of the deadline | a picture |
//! | fails once with EIO, EPROTO or the like | the stream is rebuilt, at most twice | a picture |
//! | fails repeatedly | given up after the second time | tombstone: camera failed |
//! | was gone (ENODEV) between presses, and is back | rebuilt during the press | a picture |
//! | is gone, and stays away | error at once | tombstone: camera not found, until it is back |
//! | marks a frame as damaged, or delivers an empty one | the next frame | a picture |
//! | delivers a raw frame that is short | the next frame | a picture |
//! | delivers half a JPEG, or one with no end, no size or another size | the next frame | a picture |
//! | delivers no Huffman tables (DHT) | the standard ones are inserted | a picture |
//! | delivers only damaged frames | given up after 30 of them, or at the deadline | tombstone: camera failed |
//! | delivers a frame above `camera.frame_bytes_max` | error with the setting | tombstone: camera failed |
//! | delivers frames from before the press | skipped by timestamp, or by number | a picture |
//! | stamps frames ahead of time, by less than a second | the lead is measured and subtracted | a picture |
//! | stamps frames by another clock, or by none | skipped by number | a picture |
//!
//! After any error the stream is taken down and the next press rebuilds it, so no state of a fault remains.
//!
//! The crate v4l needs libclang at build time, so it comes with the feature `v4l`, and is named in `v4l/kernel.rs` only.
//! A binary without it returns an error that names the flag.

mod camera;
pub(crate) mod convert;
#[cfg(any(test, feature = "v4l"))]
mod discovery;
#[cfg_attr(
    not(any(test, feature = "v4l")),
    expect(dead_code, reason = "only a driver makes some values")
)]
mod driver;
#[cfg(feature = "v4l")]
mod kernel;

pub(crate) use camera::V4lCamera;
