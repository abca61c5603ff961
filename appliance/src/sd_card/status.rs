//! The text of `CAMERA-STATUS.txt`: the last starts, for a person who has only a card reader.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// The constant size: overwriting the file in place moves nothing else on the partition.
pub const BYTES: usize = 4096;
const STARTS: usize = 5;
/// Shorter secrets are not hidden, because they occur in ordinary words.
const SECRET_CHARS_MIN: usize = 4;

/// One start of the camera.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The boot ID.
    pub boot: String,
    /// The time, empty until it is known.
    pub at: String,
    /// The status, one sentence each.
    pub sentences: Vec<String>,
}

/// The last starts, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Starts(VecDeque<Start>);

impl Starts {
    /// Records the status of this start. Returns true if it changed.
    pub fn record(&mut self, start: Start) -> bool {
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

    /// The whole file: [`BYTES`] bytes, lines as Windows ends them, and none of the `secrets`.
    ///
    /// If the space is too small, older starts are left out first.
    pub fn text(&self, secrets: &[&str]) -> String {
        let mut text = "The last starts of this Keepsake camera, newest first. Times are in UTC.\n".to_owned();
        for start in &self.0 {
            let at = if start.at.is_empty() { "Time unknown" } else { &start.at };
            let mut part = format!("\n{at}\n");
            for sentence in &start.sentences {
                part.push_str(&format!("- {sentence}\n"));
            }
            for secret in secrets.iter().filter(|s| s.chars().count() >= SECRET_CHARS_MIN) {
                part = part.replace(secret, "(hidden)");
            }
            let bytes = |text: &str| text.len() + text.matches('\n').count();
            if bytes(&text) + bytes(&part) > BYTES - 2 {
                let room = (BYTES - 64).saturating_sub(bytes(&text));
                // A single start that is longer than the file is cut at a line.
                if text.lines().count() == 1 {
                    for line in part.split_inclusive('\n') {
                        if bytes(&text) + bytes(line) > room {
                            break;
                        }
                        text.push_str(line);
                    }
                }
                break;
            }
            text.push_str(&part);
        }
        let mut text = text.replace('\n', "\r\n");
        let spaces = (BYTES - 2).saturating_sub(text.len());
        text.push_str(&" ".repeat(spaces));
        text.push_str("\r\n");
        text
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
    fn the_last_five_starts_are_told_the_newest_first() {
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
