//! The decision to pause uploads: while the store is unavailable, or its disk nearly full.
//!
//! Cameras are told (`down/cloud`) and keep everything; nothing is lost by it, it all comes in later.

use std::path::Path;

use tokio::sync::watch;

/// Why nothing is taken now; all may hold at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackpressureState {
    /// The store does not commit.
    pub store: Option<String>,
    /// The disk is nearly full.
    pub space: Option<String>,
    /// The database has no room for more, whatever the disk of this machine has: it may be on another.
    pub room: Option<String>,
    /// The place for the bytes of pictures takes none.
    pub bytes: Option<String>,
    /// Free bytes on the disk of the data folder when last measured.
    pub free_bytes: Option<u64>,
}

impl BackpressureState {
    /// A plain sentence for cameras and pages; absent while everything is taken.
    pub fn reason(&self) -> Option<&str> {
        let Self { store, space, room, bytes, .. } = self;
        store.as_deref().or(space.as_deref()).or(room.as_deref()).or(bytes.as_deref())
    }
}

/// Shared by all who set or ask it.
#[derive(Debug, Clone)]
pub struct Backpressure(watch::Sender<BackpressureState>);

impl Default for Backpressure {
    fn default() -> Self {
        Self(watch::Sender::new(BackpressureState::default()))
    }
}

impl Backpressure {
    pub fn state(&self) -> BackpressureState {
        self.0.borrow().clone()
    }

    pub fn watch(&self) -> watch::Receiver<BackpressureState> {
        self.0.subscribe()
    }

    /// Notes whether the store commits.
    pub fn set_store(&self, reason: Option<String>) {
        self.0.send_if_modified(|hold| {
            let changed = hold.store != reason;
            hold.store = reason;
            changed
        });
    }

    /// Notes whether the database has room.
    pub fn set_room(&self, reason: Option<String>) {
        self.0.send_if_modified(|hold| {
            let changed = hold.room != reason;
            hold.room = reason;
            changed
        });
    }

    /// Notes whether the place for the bytes of pictures takes them.
    pub fn set_bytes(&self, reason: Option<String>) {
        self.0.send_if_modified(|hold| {
            let changed = hold.bytes != reason;
            hold.bytes = reason;
            changed
        });
    }

    /// Notes how much room there is on the disk.
    pub fn set_space(&self, free_bytes: u64, reason: Option<String>) {
        self.0.send_if_modified(|hold| {
            hold.free_bytes = Some(free_bytes);
            // The sentence names the free space, which changes all the time; only the yes or no is news.
            let changed = hold.space.is_some() != reason.is_some();
            if changed {
                hold.space = reason;
            }
            changed
        });
    }
}

/// Free and total bytes of the disk that holds `folder`. Blocks for a moment.
///
/// # Errors
/// The folder cannot be asked.
pub(crate) fn disk_space(folder: &Path) -> std::io::Result<(u64, u64)> {
    let stat = nix::sys::statvfs::statvfs(folder)?;
    let fragment = stat.fragment_size();
    Ok((stat.blocks_available().saturating_mul(fragment), stat.blocks().saturating_mul(fragment)))
}

/// Returns the reason to pause uploads if less is free than the larger of the two limits.
pub(crate) fn low_space_reason(free: u64, total: u64, bytes_min: u64, percent_min: u8) -> Option<String> {
    let least = bytes_min.max(total / 100 * u64::from(percent_min));
    (free < least).then(|| {
        let mib = |bytes: u64| bytes / (1024 * 1024);
        format!(
            "the cloud's disk is nearly full: {} MiB free, {} MiB are kept free",
            mib(free),
            mib(least)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_limit_counts() {
        for (free, bytes_min, percent_min, held) in [
            (1000, 1000, 0, false),
            (999, 1000, 0, true),
            (4999, 0, 5, true),
            (5000, 1000, 5, false),
            (0, 0, 0, false),
        ] {
            let reason = low_space_reason(free, 100_000, bytes_min, percent_min);
            assert_eq!(reason.is_some(), held, "{free} {bytes_min} {percent_min}");
        }
    }

    #[test]
    fn only_a_change_of_mind_is_news() {
        let backpressure = Backpressure::default();
        let mut watch = backpressure.watch();
        backpressure.set_space(10, Some("full".to_owned()));
        assert!(watch.has_changed().unwrap());
        watch.mark_unchanged();
        backpressure.set_space(9, Some("fuller".to_owned()));
        assert!(!watch.has_changed().unwrap());
        assert_eq!(backpressure.state().reason(), Some("full"));
        backpressure.set_space(100, None);
        assert!(watch.has_changed().unwrap());
        assert_eq!(backpressure.state().reason(), None);
    }
}
