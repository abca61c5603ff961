//! The limits of everything that the store keeps from outside.

use std::time::Duration;

/// One transaction takes at most this many messages.
pub const BATCH_MESSAGES_MAX: usize = 128;

/// The limits of data from outside (P4).
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of unfinished captures per camera; beyond, the ones without progress for longest go.
    pub part_bytes_max: u64,
    /// Bytes of unfinished captures of all cameras; beyond, the camera with the most gives way.
    pub part_all_bytes_max: u64,
    /// Parts of unfinished captures per camera.
    pub parts_max: u64,
    /// The time that an unfinished capture is kept without progress.
    pub part_age_max: Duration,
    /// Messages in quarantine per camera; beyond, the oldest go.
    pub quarantine_rows_max: u64,
    /// First bytes kept of one message in quarantine.
    pub quarantine_message_bytes_max: usize,
    /// Bytes in quarantine per camera.
    pub quarantine_bytes_max: u64,
    /// Faults and boot lines per camera.
    pub events_max: u64,
    /// Cameras; a client that may publish can invent names.
    pub devices_max: u64,
    /// Messages in quarantine in all, for the same reason.
    pub quarantine_all_rows_max: u64,
    /// Commands remembered per camera.
    pub commands_max: u64,
    /// Versions of its settings remembered per camera.
    pub settings_max: u64,
    /// Captures asked back in answer to one status.
    pub wants_max: usize,
    /// The longest a unit of work may take.
    pub unit_of_work: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            part_bytes_max: 256 * 1024 * 1024,
            part_all_bytes_max: 1024 * 1024 * 1024,
            parts_max: 5_000,
            part_age_max: Duration::from_secs(7 * 24 * 3600),
            quarantine_rows_max: 500,
            quarantine_message_bytes_max: 64 * 1024,
            quarantine_bytes_max: 4 * 1024 * 1024,
            events_max: 1_000,
            devices_max: 1_000,
            quarantine_all_rows_max: 2_000,
            commands_max: 1_000,
            settings_max: 100,
            wants_max: 500,
            unit_of_work: Duration::from_secs(30),
        }
    }
}
