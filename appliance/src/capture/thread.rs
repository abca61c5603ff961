//! The thread that takes pictures, one after the other: a camera may block for as long as it likes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::mpsc;

use crate::capture::pipeline::{CaptureOutcome, CaptureRequest, Pipeline};
use crate::light::handle::LightHandle;
use crate::light::indicator::LightEvent;
use crate::time::clock::boottime_us;

/// Presses that may wait for the camera; the button waits when there are more.
pub(crate) const REQUESTS_MAX: usize = 4;

pub(crate) fn spawn(
    mut pipeline: Pipeline,
    light: LightHandle,
    requests: Receiver<CaptureRequest>,
    outcomes: mpsc::Sender<CaptureOutcome>,
    heartbeat_us: Arc<AtomicU64>,
) -> anyhow::Result<std::thread::JoinHandle<()>> {
    let take_pictures = move || {
        pipeline.prepare();
        loop {
            heartbeat_us.store(boottime_us(), Ordering::Relaxed);
            let request = match requests.recv_timeout(Duration::from_millis(500)) {
                Ok(request) => request,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let outcome = pipeline.capture(request, |request| match request {
                CaptureRequest::Press { number, .. } => light.send(LightEvent::Captured(*number)),
                CaptureRequest::Command { .. } => {
                    let _ = outcomes.blocking_send(CaptureOutcome::Captured { request: request.clone() });
                }
                CaptureRequest::Interval => {}
            });
            // While stopping nobody listens any more; what was asked for is saved all the same.
            let _ = outcomes.blocking_send(outcome);
        }
    };
    std::thread::Builder::new()
        .name("capture".to_owned())
        .spawn(take_pictures)
        .context("start the camera's thread")
}
