//! The file `notes` on the card: what is known of the time ([`crate::time::boot_history`]), and faults and boot lines that the cloud has not
//! confirmed yet. Small, written whole and durably, a few times an hour.
//!
//! Pictures do not wait for it: a card too full to take it, or a file that was damaged, costs narrower times and old
//! faults, and is said, but the camera goes on. Bounded (P4): when too many events wait, faults go first.

use std::path::{Path, PathBuf};

use keepsake_protocol::clock::ClockReading;
use keepsake_protocol::event::{BootClockOffset, Event, Fault};
use keepsake_protocol::{Hash, HashPrefix, SpoolId, codec};
use serde::{Deserialize, Serialize};

use crate::durable_file;
use crate::time::boot_history::{BootHistory, WRITE_EVERY_US};

/// Events that may wait for the cloud.
pub(crate) const EVENTS_MAX: usize = 64;
/// A larger file is none of ours, bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The notes of one card.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: JournalFile,
    /// CLOCK_BOOTTIME when it was last written, microseconds.
    written_us: u64,
    /// The file on the card is older than this.
    changed: bool,
    /// It could not be written, and that was said.
    failing: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct JournalFile {
    #[serde(default)]
    history: BootHistory,
    /// Exactly as they are sent: the receipt names their hash.
    #[serde(default)]
    events: Vec<String>,
}

impl Journal {
    /// Reads the notes in the spool folder, and notes that this boot has begun. The second value is what a person should
    /// know.
    pub(crate) fn open(spool: &Path, now: &ClockReading) -> (Self, Option<String>) {
        let path = spool.join("notes");
        let (mut file, warning) = match durable_file::read_json::<JournalFile>(&path, FILE_BYTES_MAX) {
            Ok(file) => (file, None),
            Err(error) => {
                let aside = path.with_extension("damaged");
                let _ = std::fs::rename(&path, aside);
                let text = format!("what was noted of the time cannot be read: {error}");
                (JournalFile::default(), Some(text))
            }
        };
        file.events.truncate(EVENTS_MAX);
        file.history.begin(now);
        let mut journal = Self {
            path,
            file,
            written_us: now.boottime_us,
            changed: true,
            failing: false,
        };
        journal.write(now);
        (journal, warning)
    }

    /// The clock as it is now: at least once a second. Returns whether there is something new to send. May wait for the
    /// card.
    pub(crate) fn observe(&mut self, now: &ClockReading, spool: SpoolId) -> bool {
        let news = self.file.history.observe(now);
        let has_news = !news.is_empty();
        for line in news {
            self.push_event(&Event::Boot(BootClockOffset { spool: Some(spool), ..line }));
        }
        if self.changed || now.boottime_us.saturating_sub(self.written_us) >= WRITE_EVERY_US {
            self.write(now);
        }
        has_news
    }

    /// Keeps a fault until the cloud has it. May wait for the card.
    pub(crate) fn record_fault(&mut self, fault: Fault, spool: SpoolId) {
        let now = fault.at;
        self.push_event(&Event::Fault(Fault { spool: Some(spool), ..fault }));
        self.write(&now);
    }

    /// The cloud has these. Returns whether any of them waited. May wait for the card.
    pub(crate) fn confirm(&mut self, events: &[HashPrefix], now: &ClockReading) -> bool {
        let before = self.file.events.len();
        self.file.events.retain(|event| !events.contains(&Hash::of(event.as_bytes()).prefix()));
        let any = self.file.events.len() < before;
        if any {
            self.changed = true;
            self.write(now);
        }
        any
    }

    /// The latest time that the cloud has reported; it is written with the rest.
    pub(crate) fn on_cloud_time(&mut self, cloud_us: i64, now: &ClockReading) {
        self.file.history.on_cloud_time(cloud_us, now);
    }

    /// Returns the events that the cloud has not confirmed, oldest first, exactly as they are to be sent.
    pub(crate) fn unconfirmed(&self) -> impl Iterator<Item = &str> {
        self.file.events.iter().map(String::as_str)
    }

    pub(crate) fn history(&self) -> &BootHistory {
        &self.file.history
    }

    /// A last look at the clock before the end.
    pub(crate) fn close(mut self, now: &ClockReading, spool: SpoolId) {
        self.observe(now, spool);
        self.write(now);
    }

    fn push_event(&mut self, event: &Event) {
        let json = String::from_utf8(codec::encode(event)).expect("JSON is UTF-8");
        self.file.events.push(json);
        if self.file.events.len() > EVENTS_MAX {
            let is_fault = |event: &String| matches!(codec::decode(event.as_bytes()), Ok(Event::Fault(_)));
            let first = self.file.events.iter().position(is_fault).unwrap_or(0);
            self.file.events.remove(first);
        }
        self.changed = true;
    }

    fn write(&mut self, now: &ClockReading) {
        let json = codec::encode(&self.file);
        self.written_us = now.boottime_us;
        match durable_file::replace(&self.path, &json) {
            Ok(()) => {
                self.changed = false;
                self.failing = false;
            }
            Err(error) => {
                if !self.failing {
                    tracing::warn!(%error, "write the journal");
                }
                self.failing = true;
                // Not every second: a card that fails is not asked more often than one that works.
                self.changed = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keepsake_protocol::BootId;

    const SPOOL: SpoolId = SpoolId([1; 16]);

    fn moment(at_s: u64, synchronised: bool) -> ClockReading {
        ClockReading {
            boot: BootId([7; 16]),
            boottime_us: at_s * 1_000_000,
            wall_us: 1_795_000_000_000_000 + i64::try_from(at_s).unwrap() * 1_000_000,
            synchronised,
            error_us: 40_000,
        }
    }

    fn fault(number: u8, at_s: u64) -> Fault {
        Fault {
            number,
            text: "the camera does not answer".to_owned(),
            at: moment(at_s, false),
            spool: None,
        }
    }

    fn waiting(journal: &Journal) -> Vec<Event> {
        journal.unconfirmed().map(|event| codec::decode(event.as_bytes()).unwrap()).collect()
    }

    fn hash(event: &str) -> HashPrefix {
        Hash::of(event.as_bytes()).prefix()
    }

    #[test]
    fn what_the_cloud_has_not_confirmed_survives_a_power_cut_and_is_sent_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(folder.path(), &moment(1, false));
        journal.record_fault(fault(5, 2), SPOOL);
        assert!(journal.observe(&moment(3, true), SPOOL));
        assert!(!journal.observe(&moment(4, true), SPOOL));
        let sent: Vec<String> = journal.unconfirmed().map(str::to_owned).collect();
        assert_eq!(sent.len(), 2);
        drop(journal);

        let (mut journal, warning) = Journal::open(folder.path(), &moment(5, false));
        assert_eq!(warning, None);
        assert!(journal.unconfirmed().eq(sent.iter()));
        let Event::Boot(line) = &waiting(&journal)[1] else {
            panic!("no boot line");
        };
        assert_eq!((line.spool, line.error_us), (Some(SPOOL), 40_000));

        // A receipt for something else changes nothing, its own ends the waiting.
        assert!(!journal.confirm(&[HashPrefix([9; 8])], &moment(6, false)));
        assert!(journal.confirm(&[hash(&sent[0])], &moment(6, false)));
        drop(journal);
        let (journal, _) = Journal::open(folder.path(), &moment(7, false));
        assert!(journal.unconfirmed().eq(sent[1..].iter()));
    }

    #[test]
    fn a_time_that_was_known_is_known_after_a_power_cut() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(folder.path(), &moment(1, false));
        journal.observe(&moment(10, true), SPOOL);
        for at_s in 11..700 {
            journal.observe(&moment(at_s, true), SPOOL);
        }
        drop(journal);
        let next = ClockReading { boot: BootId([8; 16]), ..moment(5, false) };
        let (journal, _) = Journal::open(folder.path(), &next);
        let known = journal.history().latest_known_us().unwrap();
        let was = moment(700, true).wall_us;
        assert!((was - 301_000_000..was).contains(&known), "{}", was - known);
        assert_eq!(journal.history().not_before(&next), Some(known));
    }

    #[test]
    fn events_are_bounded_and_faults_go_first() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(folder.path(), &moment(1, true));
        journal.observe(&moment(2, true), SPOOL);
        for at_s in 0..200 {
            journal.record_fault(fault(2, at_s), SPOOL);
        }
        let all = waiting(&journal);
        assert_eq!(all.len(), EVENTS_MAX);
        assert!(matches!(all[0], Event::Boot(_)));
        let Event::Fault(last) = &all[EVENTS_MAX - 1] else {
            panic!("no fault");
        };
        assert_eq!(last.at.boottime_us, 199_000_000);
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_said() {
        for damage in [&b"{"[..], b"\xff\xfe", &vec![b' '; 2 << 20]] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("notes"), damage).unwrap();
            let (journal, warning) = Journal::open(folder.path(), &moment(1, false));
            assert!(warning.is_some());
            assert_eq!(journal.unconfirmed().count(), 0);
            let aside = std::fs::read(folder.path().join("notes.damaged")).unwrap();
            assert_eq!(aside, damage);
            let (_, warning) = Journal::open(folder.path(), &moment(2, false));
            assert_eq!(warning, None);
        }
    }
}
