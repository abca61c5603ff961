//! The thread that takes pictures, one after the other: a camera may block for as long as it likes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use anyhow::Context;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::capture::pipeline::{CaptureOutcome, CaptureRequest, Pipeline};
use crate::light::handle::LightHandle;
use crate::light::indicator::LightEvent;
use crate::time::clock::boottime_us;

/// Presses that may wait for the camera; the button waits when there are more.
pub(crate) const REQUESTS_MAX: usize = 4;
/// The value of `busy_since_us` while the thread waits for a request.
const IDLE: u64 = 0;

/// The way to the thread, for button and engine. It is taken away when the program stops, and the thread ends after the
/// requests before.
pub(crate) type CaptureRequests = Arc<Mutex<Option<SyncSender<CaptureRequest>>>>;

/// Returns for how long the thread has worked on one request, and zero while it waits for one.
pub(crate) fn busy_for(busy_since_us: &AtomicU64) -> Duration {
    match busy_since_us.load(Ordering::Relaxed) {
        IDLE => Duration::ZERO,
        since_us => Duration::from_micros(boottime_us().saturating_sub(since_us)),
    }
}

pub(crate) fn spawn(
    mut pipeline: Pipeline,
    light: LightHandle,
    requests: Receiver<CaptureRequest>,
    outcomes: mpsc::Sender<CaptureOutcome>,
    busy_since_us: Arc<AtomicU64>,
) -> anyhow::Result<std::thread::JoinHandle<()>> {
    let take_pictures = move || {
        pipeline.prepare();
        loop {
            busy_since_us.store(IDLE, Ordering::Relaxed);
            let Ok(request) = requests.recv() else { return };
            busy_since_us.store(boottime_us(), Ordering::Relaxed);
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
