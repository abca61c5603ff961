//! Numbers, sizes and times as a person reads them: decimal units, the reader's language, and the reader's time zone. The
//! server writes UTC into `<time>`, and `time.js` writes the same moment in the zone of the browser.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use maud::{Markup, Render, html};

use crate::http::ui::language::Language;
use crate::http::ui::messages::t;

/// Bytes in decimal units: `512 B`, `23 KB`, `2.5 MB`, `31.8 GB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    let mut tenths = u128::from(bytes) / 100;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    // One decimal where it says something: 2.5 MB, but 143 KB.
    let (whole, tenth) = (tenths / 10, tenths % 10);
    if whole >= 100 || tenth == 0 {
        format!("{whole} {}", UNITS[unit])
    } else {
        format!("{whole}.{tenth} {}", UNITS[unit])
    }
}

/// A length of time in one or two units: `40 ms`, `4.1 s`, `9 min`, `2 h 10 min`, `3 days`.
pub(crate) fn format_duration(lang: Language, micros: u64) -> Markup {
    let ms = micros / 1000;
    let s = ms / 1000;
    let min = s / 60;
    let h = min / 60;
    match s {
        _ if micros > 0 && ms == 0 => t!(lang, "duration-under-ms"),
        _ if ms < 1000 => t!(lang, "duration-ms", ms = ms),
        0..10 => t!(lang, "duration-s", s = format!("{s}.{}", ms % 1000 / 100).as_str()),
        10..60 => t!(lang, "duration-s", s = s),
        60..3600 => t!(lang, "duration-min", min = min),
        3600..172_800 if min.is_multiple_of(60) => t!(lang, "duration-h", h = h),
        3600..172_800 => t!(lang, "duration-h-min", h = h, min = min % 60),
        _ => t!(lang, "duration-days", days = h / 24),
    }
}

/// The step from one moment to the next: `+12 ms`, `+0.1 s`, `+4.1 s`; a step back counts as none.
pub(crate) fn step(lang: Language, from_us: u64, to_us: u64) -> Markup {
    let micros = to_us.saturating_sub(from_us);
    html! {
        "+"
        @match micros / 1000 {
            ms @ 100..1000 => (t!(lang, "duration-s", s = format!("0.{}", ms / 100).as_str())),
            _ => (format_duration(lang, micros)),
        }
    }
}

/// The format of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeFormat {
    /// `14:32:07`.
    Clock,
    /// `14:32:07.4`.
    Tenths,
    /// `Sat 21 Nov 2026 14:32:07`.
    Full,
    /// `Saturday 21 November 2026`.
    Day,
    /// `14:32:07` today, `21 Nov 14:32` in this year, `21 Nov 2025` before.
    Near,
    /// `2 h 10 min`, counted up to now.
    Age,
}

impl TimeFormat {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Tenths => "tenths",
            Self::Full => "full",
            Self::Day => "day",
            Self::Near => "near",
            Self::Age => "age",
        }
    }
}

/// A moment, microseconds UTC, as a `<time>` element. One that is no date at all (a camera may claim anything) is said
/// to be unknown.
pub(crate) fn time(lang: Language, micros: i64, form: TimeFormat, now_us: i64) -> Markup {
    let Ok(moment) = Timestamp::from_microsecond(micros) else {
        return t!(lang, "time-unknown");
    };
    let utc = moment.to_zoned(TimeZone::UTC);
    let clock = utc.strftime("%H:%M:%S");
    let full = html! { (date(&utc, &t!(lang, "date-full", weekday = weekday(&utc)))) " " (clock.to_string()) " UTC" };
    let text = match form {
        TimeFormat::Clock => clock.to_string().render(),
        TimeFormat::Tenths => {
            let tenths = utc.subsec_nanosecond().unsigned_abs() / 100_000_000;
            format!("{clock}.{tenths}").render()
        }
        TimeFormat::Full => full.clone(),
        TimeFormat::Day => date(&utc, &t!(lang, "date-day", weekday = weekday(&utc))),
        TimeFormat::Near => {
            let now = Timestamp::from_microsecond(now_us)
                .unwrap_or(Timestamp::UNIX_EPOCH)
                .to_zoned(TimeZone::UTC);
            if now.date() == utc.date() {
                clock.to_string().render()
            } else if now.year() == utc.year() {
                date(&utc, &t!(lang, "date-near"))
            } else {
                date(&utc, &t!(lang, "date-near-year"))
            }
        }
        TimeFormat::Age => format_duration(lang, age_us(micros, now_us)),
    };
    html! {
        time datetime=(utc.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")) data-as=(form.as_str()) title=(full) { (text) }
    }
}

/// From 1 for Monday to 7 for Sunday.
fn weekday(moment: &Zoned) -> u64 {
    u64::from(moment.weekday().to_monday_one_offset().unsigned_abs())
}

/// Writes a date by a pattern of the message files.
fn date(moment: &Zoned, pattern: &Markup) -> Markup {
    moment.strftime(&pattern.0).to_string().render()
}

/// Returns the age, rounded down to whole seconds; 0 for a moment in the future.
pub(crate) fn age_us(micros: i64, now_us: i64) -> u64 {
    let age = u64::try_from(now_us.saturating_sub(micros)).unwrap_or(0);
    age / 1_000_000 * 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_like_a_person_writes_them() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1 KB"),
            (23_400, "23.4 KB"),
            (143_000, "143 KB"),
            (999_999, "999 KB"),
            (1_000_000, "1 MB"),
            (2_540_000, "2.5 MB"),
            (31_800_000_000, "31.8 GB"),
            (u64::MAX, "18446 PB"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
        for (micros, text) in [
            (0, "0 ms"),
            (400, "under 1 ms"),
            (40_000, "40 ms"),
            (4_199_000, "4.1 s"),
            (59_000_000, "59 s"),
            (540_000_000, "9 min"),
            (7_200_000_000, "2 h"),
            (7_800_000_000, "2 h 10 min"),
            (3 * 86_400_000_000, "3 days"),
        ] {
            assert_eq!(format_duration(Language::English, micros).0, text, "{micros}");
        }
        format_duration(Language::English, u64::MAX);
        for (from, to, text) in [(0, 12_000, "+12 ms"), (900_000, 1_099_000, "+0.1 s"), (5, 4, "+0 ms")] {
            assert_eq!(step(Language::English, from, to).0, text);
        }
    }

    #[test]
    fn no_moment_a_camera_can_claim_panics() {
        for micros in [i64::MIN, -1, 0, i64::MAX] {
            for form in [
                TimeFormat::Clock,
                TimeFormat::Tenths,
                TimeFormat::Full,
                TimeFormat::Day,
                TimeFormat::Near,
                TimeFormat::Age,
            ] {
                for now_us in [i64::MIN, 0, i64::MAX] {
                    time(Language::Korean, micros, form, now_us);
                }
            }
        }
    }

    #[test]
    fn a_time_carries_its_moment_for_the_browser() {
        let html =
            time(Language::English, 1_795_270_327_412_000, TimeFormat::Near, 1_795_270_400_000_000).into_string();
        assert_eq!(
            html,
            "<time datetime=\"2026-11-21T14:12:07.412Z\" data-as=\"near\" \
             title=\"Sat 21 Nov 2026 14:12:07 UTC\">14:12:07</time>"
        );
    }
}
