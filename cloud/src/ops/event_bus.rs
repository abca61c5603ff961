//! Tells open pages that something changed. What it is they read from the store, so nothing here can be out of date.

use std::sync::Arc;

use keepsake_protocol::DeviceId;
use tokio::sync::broadcast;

/// Something to look at again.
#[derive(Debug, Clone)]
pub enum ChangeEvent {
    /// Pictures were committed.
    Pictures,
    /// Something about one stored picture changed, such as its thumbnail.
    Picture(i64),
    Device(Arc<DeviceId>),
}

/// A reader this far behind has missed something and reads everything again.
const BEHIND_MAX: usize = 1024;

#[derive(Debug, Clone)]
pub struct EventBus(broadcast::Sender<ChangeEvent>);

impl Default for EventBus {
    fn default() -> Self {
        Self(broadcast::Sender::new(BEHIND_MAX))
    }
}

impl EventBus {
    /// Tells all who listen; that there is nobody is no error.
    pub fn publish(&self, notice: ChangeEvent) {
        let _ = self.0.send(notice);
    }

    pub fn subscribe(&self) -> broadcast::Receiver<ChangeEvent> {
        self.0.subscribe()
    }
}
