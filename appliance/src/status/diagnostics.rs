//! The answer to the `diagnostics` command: machine, card, connection and recent
//! problems. Everything is bounded, nothing is secret, and unknown values are left out.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;

use keepsake_protocol::clock::ClockReading;
use keepsake_protocol::status::Status;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use crate::time::clock::boottime_us;

/// Most warnings and errors to remember.
const WARNINGS_MAX: usize = 20;
/// Most bytes of each.
const WARNING_BYTES_MAX: usize = 300;
/// Most bytes of a kernel file.
const FACT_BYTES_MAX: usize = 200;

/// Facts that only the running program knows.
#[derive(Debug)]
pub struct Facts {
    pub status: Status,
    pub clock: ClockReading,
    pub running_for_s: u64,
    /// Since this program began.
    pub connections: u64,
    pub connected_for_s: Option<u64>,
    pub warnings: Vec<Warning>,
}

impl Facts {
    /// Returns the number of captures that are uploaded and still on the card.
    pub(crate) fn kept(&self) -> u64 {
        self.status.spools.iter().map(|spool| spool.kept.count()).sum()
    }

    #[cfg(test)]
    pub(crate) fn example() -> Self {
        use keepsake_protocol::faults::FaultCode;
        use keepsake_protocol::status::{Health, Queue, SpoolInventory};
        use keepsake_protocol::{BootId, Sequence, SpoolId};

        let sequence = |number: u64| Sequence::try_from(number).unwrap();
        let spool = SpoolInventory {
            spool: SpoolId([1; 16]),
            next: sequence(11),
            waiting: [(sequence(8), sequence(10))].into_iter().collect(),
            kept: [(sequence(1), sequence(7))].into_iter().collect(),
            coarse: false,
        };
        Self {
            status: Status {
                spools: vec![spool],
                queue: Queue { waiting: 3, waiting_bytes: 5 << 20, ..Queue::default() },
                health: Health {
                    card_free: 900 << 20,
                    card_total: 1000 << 20,
                    temperature_mc: None,
                },
                faults: vec![FaultCode::Cloud.number()],
                settings_version: 7,
                ..Status::last_will()
            },
            clock: ClockReading {
                boot: BootId([1; 16]),
                boottime_us: 5,
                wall_us: 1_795_375_898_076_691,
                synchronised: true,
                error_us: 0,
            },
            running_for_s: 60,
            connections: 0,
            connected_for_s: None,
            warnings: Vec::new(),
        }
    }
}

/// A warning or an error of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// CLOCK_BOOTTIME, microseconds.
    pub at_boottime_us: u64,
    pub text: String,
}

/// Returns the answer, at most `bytes_max` bytes as JSON: older problems are left out first.
pub fn describe(facts: &Facts, bytes_max: usize) -> Map<String, Value> {
    let now_us = boottime_us();
    let mut warnings: VecDeque<Value> = facts
        .warnings
        .iter()
        .map(|warning| {
            let ago_s = now_us.saturating_sub(warning.at_boottime_us) / 1_000_000;
            json!({"ago_s": ago_s, "text": warning.text})
        })
        .collect();
    loop {
        let answer = to_json(facts, now_us, &warnings);
        let fits = serde_json::to_vec(&answer).is_ok_and(|json| json.len() <= bytes_max);
        if fits || warnings.pop_front().is_none() {
            return answer;
        }
    }
}

fn to_json(facts: &Facts, now_us: u64, warnings: &VecDeque<Value>) -> Map<String, Value> {
    let Status { spools, queue, health, led, faults, settings_version, .. } = &facts.status;
    let answer = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "running_for_s": facts.running_for_s,
        "settings_version": settings_version,
        "machine": {
            "model": read_fact("/proc/device-tree/model"),
            "kernel": read_fact("/proc/sys/kernel/osrelease"),
            "system": system_name(),
            "processor": std::env::consts::ARCH,
            "up_for_s": now_us / 1_000_000,
            "load": read_fact("/proc/loadavg").and_then(|load| load.split(' ').next().map(str::to_owned)),
            "temperature_mc": health.temperature_mc,
            "throttled": throttled(),
            "memory_bytes": memory_bytes(),
        },
        "clock": {
            "synchronised": facts.clock.synchronised,
            "error_us": facts.clock.synchronised.then_some(facts.clock.error_us),
            "wall_us": facts.clock.wall_us,
        },
        "card": {"free_bytes": health.card_free, "total_bytes": health.card_total},
        "spool": {
            "waiting": queue.waiting,
            "waiting_bytes": queue.waiting_bytes,
            "kept": facts.kept(),
            "lost": queue.lost,
            "refused": queue.parked,
            "installs": spools.len(),
            "oldest_for_s": queue.oldest.filter(|oldest| oldest.boot == facts.clock.boot).map(|oldest| {
                now_us.saturating_sub(oldest.boottime_us) / 1_000_000
            }),
        },
        "line": {
            "bytes_per_s": queue.bytes_per_s,
            "connections": facts.connections,
            "connected_for_s": facts.connected_for_s,
            "wifi_dbm": read_fact("/proc/net/wireless").and_then(|table| wifi_dbm(&table)),
        },
        "light": led.pattern,
        "faults": faults,
        "troubles": warnings,
    });
    match answer {
        Value::Object(answer) => without_nulls(answer),
        _ => Map::new(),
    }
}

/// Removes unknown values.
fn without_nulls(map: Map<String, Value>) -> Map<String, Value> {
    map.into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| match value {
            Value::Object(inner) => (name, Value::Object(without_nulls(inner))),
            plain => (name, plain),
        })
        .collect()
}

/// Returns the processor temperature in thousandths of a degree Celsius, if the kernel reports it.
pub fn temperature_mc() -> Option<i64> {
    read_fact("/sys/class/thermal/thermal_zone0/temp")?.parse().ok()
}

/// Returns the power and temperature problems that the firmware of a Raspberry Pi reports.
fn throttled() -> Option<Vec<&'static str>> {
    let bits = read_fact("/sys/devices/platform/soc/soc:firmware/get_throttled")?;
    let bits = u32::from_str_radix(bits.trim_start_matches("0x"), 16).ok()?;
    Some(throttled_words(bits))
}

/// Source: <https://www.raspberrypi.com/documentation/computers/os.html#get_throttled>
fn throttled_words(bits: u32) -> Vec<&'static str> {
    [
        (0, "under-voltage now"),
        (1, "frequency capped now"),
        (2, "throttled now"),
        (3, "near its temperature limit now"),
        (16, "under-voltage since the start"),
        (17, "frequency capped since the start"),
        (18, "throttled since the start"),
        (19, "near its temperature limit since the start"),
    ]
    .into_iter()
    .filter(|(bit, _)| bits & (1 << bit) != 0)
    .map(|(_, words)| words)
    .collect()
}

fn system_name() -> Option<String> {
    let release = fs::read_to_string("/etc/os-release").ok()?;
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(truncated(name.trim_matches('"'), FACT_BYTES_MAX))
}

/// Returns the resident memory of this process.
fn memory_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

/// The signal of the first interface; the third number of its line, with a full stop behind it.
fn wifi_dbm(table: &str) -> Option<i64> {
    let line = table.lines().nth(2)?;
    let level = line.split_whitespace().nth(3)?;
    level.trim_end_matches('.').parse().ok()
}

/// A short file of the kernel's. Strings of the device tree end in a NUL.
fn read_fact(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    let most = if path.ends_with("wireless") {
        4096
    } else {
        FACT_BYTES_MAX
    };
    (!text.is_empty()).then(|| truncated(text, most))
}

fn truncated(text: &str, bytes_max: usize) -> String {
    text[..text.floor_char_boundary(bytes_max)].to_owned()
}

/// Remembers the last warnings and errors of the log. Cheap to clone; all clones remember the same.
#[derive(Debug, Clone, Default)]
pub struct RecentWarnings(Arc<Mutex<VecDeque<Warning>>>);

impl RecentWarnings {
    /// The oldest first.
    pub fn latest(&self) -> Vec<Warning> {
        self.0.lock().iter().cloned().collect()
    }
}

impl<S: Subscriber> Layer<S> for RecentWarnings {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() > tracing::Level::WARN {
            return;
        }
        let mut line = Line::default();
        event.record(&mut line);
        let mut warnings = self.0.lock();
        if warnings.len() == WARNINGS_MAX {
            warnings.pop_front();
        }
        warnings.push_back(Warning {
            at_boottime_us: boottime_us(),
            text: truncated(&format!("{}{}", line.message, line.fields), WARNING_BYTES_MAX),
        });
    }
}

/// A line of the log: its message, then its fields.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = write!(self.fields, " {}={value}", field.name());
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn an_answer_is_bounded_and_the_latest_troubles_stay() {
        let warning = |n: u64| Warning {
            at_boottime_us: n,
            text: format!("{n} {}", "\u{1}x".repeat(WARNING_BYTES_MAX / 2)),
        };
        let facts = Facts {
            warnings: (0..WARNINGS_MAX as u64).map(warning).collect(),
            ..Facts::example()
        };
        let answer = describe(&facts, 8000);
        assert!(serde_json::to_vec(&answer).unwrap().len() <= 8000);
        let warnings = answer["troubles"].as_array().unwrap();
        assert!(!warnings.is_empty() && warnings.len() < WARNINGS_MAX);
        let last = warnings.last().unwrap()["text"].as_str().unwrap();
        assert!(last.starts_with("19 "), "{last}");
        assert_eq!(answer["spool"]["waiting"], 3);
        assert_eq!(answer["settings_version"], 7);
        // What is not known is not there at all.
        assert!(answer["line"].get("bytes_per_s").is_none());
    }

    #[test]
    fn warnings_and_errors_are_remembered_and_nothing_else() {
        let warnings = RecentWarnings::default();
        let log = tracing_subscriber::registry().with(warnings.clone());
        tracing::subscriber::with_default(log, || {
            tracing::info!("all is well");
            for number in 0..WARNINGS_MAX + 5 {
                tracing::warn!(number, error = "card", "{}", "ä".repeat(400));
            }
            tracing::error!(text = "why", "it broke");
        });
        let latest = warnings.latest();
        assert_eq!(latest.len(), WARNINGS_MAX);
        assert_eq!(latest.last().unwrap().text, "it broke text=why");
        assert!(latest.iter().all(|one| one.text.len() <= WARNING_BYTES_MAX));
    }

    #[test]
    fn what_the_kernel_says_is_read() {
        let table = "Inter-| sta-|   Quality        |\n face | tus | link level noise |\n wlan0: 0000   61.  -49.  -256        0\n";
        assert_eq!(wifi_dbm(table), Some(-49));
        assert_eq!(wifi_dbm("Inter-|\n face |"), None);
        assert_eq!(
            throttled_words(0x50001),
            ["under-voltage now", "under-voltage since the start", "throttled since the start"]
        );
        assert!(memory_bytes().is_some_and(|bytes| bytes > 100_000));
    }
}
