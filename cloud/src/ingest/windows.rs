//! The windows that receipts grant, from the queue as it is now.

use std::sync::Arc;
use std::time::Instant;

use keepsake_protocol::DeviceId;
use parking_lot::Mutex;

use crate::config::QUEUE_BYTES_MAX;
use crate::ingest::queue::Queue;
use crate::ingest::window_budget::{WINDOW_BUDGET_BYTES, WindowBudget};

/// Half of the queue, so that what cameras have in flight never fills it.
const _: () = assert!(WINDOW_BUDGET_BYTES <= QUEUE_BYTES_MAX as u64 / 2);

/// One budget for all workers.
#[derive(Debug)]
pub struct Windows {
    /// The pictures that wait; what is not a picture is small.
    pictures: Arc<Queue>,
    budget: Mutex<WindowBudget>,
    began: Instant,
}

impl Windows {
    pub fn new(pictures: Arc<Queue>) -> Self {
        Self { pictures, budget: Mutex::default(), began: Instant::now() }
    }

    /// Returns the bytes that a camera may have in flight now.
    pub(crate) fn grant(&self, device: &DeviceId) -> u64 {
        let (_, backlog_bytes) = self.pictures.depth();
        self.budget.lock().grant(device, backlog_bytes, self.began.elapsed())
    }
}
