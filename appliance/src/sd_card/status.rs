//! The text of `CAMERA-STATUS.txt`: the last starts, for a person who has only a card reader.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::status::plain_text::PlainText;

/// The constant size: overwriting the file in place moves nothing else on the partition.
pub(super) const BYTES: usize = 4096;
const STARTS: usize = 5;
/// Shorter secrets are not hidden, because they occur in ordinary words.
const SECRET_CHARS_MIN: usize = 4;

/// One start of the camera.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Start {
    /// The boot ID.
    pub boot: String,
    /// The time, empty until it is known.
    pub at: String,
    /// The status, one sentence each.
    pub sentences: Vec<String>,
}

/// The last starts, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Starts(VecDeque<Start>);

impl Starts {
    /// Records the status of this start. Returns true if it changed.
    pub(super) fn record(&mut self, start: Start) -> bool {
        match self.0.front_mut() {
            Some(newest) if newest.boot == start.boot => {
                let is_news = *newest != start;
                *newest = start;
                is_news
            }
            _ => {
                self.0.push_front(start);
                self.0.truncate(STARTS);
                true
            }
        }
    }

    /// Returns the whole file: [`BYTES`] bytes, and none of the `secrets`.
    ///
    /// If the space is too small, older starts are left out first, then the last sentences of the newest.
    pub(super) fn text(&self, secrets: &[&str]) -> String {
        let mut text = PlainText::new(BYTES - 2);
        text.push("The last starts of this Keepsake camera, newest first. Times are in UTC.");
        for (index, start) in self.0.iter().enumerate() {
            let lines = start.lines(secrets);
            if index > 0 && !text.fits(&lines) {
                break;
            }
            for line in &lines {
                if !text.push(line) {
                    break;
                }
            }
        }
        text.finish_padded(BYTES)
    }
}

impl Start {
    fn lines(&self, secrets: &[&str]) -> Vec<String> {
        let at = if self.at.is_empty() { "Time unknown" } else { &self.at };
        let mut lines = vec![String::new(), at.to_owned()];
        lines.extend(self.sentences.iter().map(|sentence| format!("- {sentence}")));
        for secret in secrets.iter().filter(|s| s.chars().count() >= SECRET_CHARS_MIN) {
            for line in &mut lines {
                *line = line.replace(secret, "(hidden)");
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(boot: &str, sentences: &[&str]) -> Start {
        Start {
            boot: boot.to_owned(),
            at: "2026-11-21 14:20".to_owned(),
            sentences: sentences.iter().map(|&s| s.to_owned()).collect(),
        }
    }

    #[test]
    fn the_last_five_starts_are_listed_newest_first() {
        let mut starts = Starts::default();
        for number in 1..=7 {
            assert!(starts.record(start(&number.to_string(), &[&format!("start {number}")])));
        }
        let same = start("7", &["start 7"]);
        assert!(!starts.record(same), "nothing has changed");
        assert!(starts.record(start("7", &["start 7", "joined"])));
        let text = starts.text(&[]);
        let at = |what: &str| text.find(what);
        assert!(at("start 7") < at("start 6") && at("start 6") < at("start 3"));
        assert_eq!(at("start 2"), None);
        assert!(at("joined").is_some());
    }

    #[test]
    fn the_text_is_for_windows_too_and_always_of_one_size() {
        let long = "a sentence that goes on for quite a while ".repeat(20);
        let mut starts = Starts::default();
        assert_eq!(starts.text(&[]).len(), BYTES);
        for number in 0..6 {
            starts.record(start(&number.to_string(), &[&long, &long]));
            let text = starts.text(&[]);
            assert_eq!(text.len(), BYTES, "{number}");
            assert!(!text.replace("\r\n", "").contains(['\r', '\n']));
        }
        starts.record(start("long", &[long.as_str(); 20]));
        let text = starts.text(&[]);
        assert_eq!(text.len(), BYTES);
        assert!(text.contains("goes on"));
    }

    #[test]
    fn no_secret_gets_into_the_text() {
        let mut starts = Starts::default();
        starts.record(start("1", &["the broker said: hunter2hunter2 is wrong, abc"]));
        let text = starts.text(&["hunter2hunter2", "abc", ""]);
        assert!(!text.contains("hunter2"));
        assert!(text.contains("(hidden)") && text.contains("abc"));
    }
}
