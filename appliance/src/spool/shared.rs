//! The spool, shared by the thread that takes pictures and the engine.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Spool;

/// A handle on the one spool of the program. A panic while it was locked leaves files, and files are the truth.
#[derive(Clone)]
pub struct SharedSpool(Arc<Mutex<Spool>>);

impl SharedSpool {
    pub fn new(spool: Spool) -> Self {
        Self(Arc::new(Mutex::new(spool)))
    }

    pub fn lock(&self) -> MutexGuard<'_, Spool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the spool if no other handle is left.
    pub fn into_inner(self) -> Option<Spool> {
        let spool = Arc::into_inner(self.0)?;
        Some(spool.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}
