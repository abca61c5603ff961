//! The capture time in words, never more exact than it is known.

use keepsake_protocol::capture::Cause;
use maud::{Markup, html};

use crate::http::ui::badge::{Tone, chip};
use crate::http::ui::format::{TimeFormat, age_us, format_duration, time};
use crate::http::ui::language::Language;
use crate::http::ui::messages::t;
use crate::http::ui::views::PageContext;
use crate::pictures::capture_time::{CaptureTime, TimeSource};
use crate::store::Picture;

/// Up to this error a time stands as it is, microseconds: the page shows seconds.
const EXACT_US: u64 = 1_000_000;
/// Up to this error it is "about", and one time says more than two.
const ABOUT_US: u64 = 120_000_000;
/// Shown by a clock that starts at 1970, or earlier: no date that anybody took for one.
const NO_DATE_US: i64 = 365 * 24 * 3600 * 1_000_000;

/// The moment of the press if it is known to a second, microseconds UTC.
pub(crate) fn exact_time(picture: &Picture) -> Option<i64> {
    let error_us = picture.taken.error_us()?;
    (error_us <= EXACT_US).then_some(picture.taken.best_us)
}

/// The time of a picture in a few characters, with `~` before an uncertain one.
pub(crate) fn short(lang: Language, picture: &Picture, now_us: i64) -> Markup {
    let taken = &picture.taken;
    let at = |at_us| time(lang, at_us, TimeFormat::Near, now_us);
    match taken.error_us() {
        Some(..=EXACT_US) => at(taken.best_us),
        Some(..=ABOUT_US) => html! { "~" (at(taken.best_us)) },
        Some(_) | None => t!(lang, "time-before", time = at(taken.latest_us)),
    }
}

/// The time of a picture as a sentence has it: a time, "about" one, "between" two, or "before" one.
pub(crate) fn full(lang: Language, picture: &Picture, now_us: i64) -> Markup {
    let taken = &picture.taken;
    let at = |at_us| time(lang, at_us, TimeFormat::Full, now_us);
    match (taken.error_us(), taken.earliest_us) {
        (Some(..=EXACT_US), _) => at(taken.best_us),
        (Some(..=ABOUT_US), _) => t!(lang, "time-about", time = at(taken.best_us)),
        (Some(_) | None, Some(earliest_us)) => {
            t!(lang, "time-between", from = at(earliest_us), to = at(taken.latest_us))
        }
        (Some(_) | None, None) => t!(lang, "time-before", time = at(taken.latest_us)),
    }
}

/// It waited for more than an hour, however one counts.
pub(crate) fn late(picture: &Picture) -> bool {
    age_us(picture.taken.latest_us, picture.stored_us) > 3_600_000_000
}

/// `Synchronised, ±40 ms`, `Corrected, ±2.0 s` or `Estimated`.
fn uncertainty(lang: Language, taken: &CaptureTime) -> Markup {
    let error = taken.error_us().map(|error_us| format_duration(lang, error_us));
    let (tone, word) = match taken.source {
        TimeSource::Synchronised => (Tone::Ok, t!(lang, "time-synchronised")),
        TimeSource::Corrected => (Tone::Ok, t!(lang, "time-corrected")),
        TimeSource::Estimated => return chip(Tone::Wait, &t!(lang, "time-estimated")),
    };
    chip(tone, &html! { (word) @if let Some(error) = error { ", ±" (error) } })
}

/// Explains how exactly the time of a picture is known, and why.
pub(crate) fn explanation(page: &PageContext, picture: &Picture) -> Markup {
    let lang = page.visitor.language;
    if picture.cause == Cause::Upload {
        let stored = time(lang, picture.stored_us, TimeFormat::Full, page.now_us);
        return html! { p { (t!(lang, "time-upload", time = stored)) } };
    }
    html! {
        p { (uncertainty(lang, &picture.taken)) }
        p { (reason(page, picture)) }
    }
}

fn reason(page: &PageContext, picture: &Picture) -> Markup {
    let lang = page.visitor.language;
    let taken = &picture.taken;
    let since_boot = format_duration(lang, picture.pressed.boottime_us);
    // A clock that starts in 1970 shows a time that would only confuse.
    let shown_us = Some(picture.pressed.wall_us).filter(|shown| *shown > NO_DATE_US);
    let showed = |shown_us| t!(lang, "time-showed", time = time(lang, shown_us, TimeFormat::Full, page.now_us));
    match taken.source {
        TimeSource::Synchronised => t!(lang, "time-synchronised-press"),
        TimeSource::Corrected => html! {
            (t!(lang, "time-corrected-boot", duration = since_boot)) " "
            @match shown_us {
                Some(shown_us) => (t!(lang, "time-corrected-by", shift = shift(lang, shown_us, taken.best_us))),
                None => (t!(lang, "time-corrected-to")),
            }
        },
        TimeSource::Estimated if taken.contradicted => html! {
            (t!(lang, "time-contradicted")) " "
            @if picture.pressed.synchronised && let Some(shown_us) = shown_us { (showed(shown_us)) " " }
            (t!(lang, "time-contradicted-press", time = full(lang, picture, page.now_us)))
        },
        TimeSource::Estimated => html! {
            (t!(lang, "time-never-set", duration = since_boot)) " "
            @if let Some(shown_us) = shown_us { (showed(shown_us)) " " }
            (t!(lang, "time-estimated-press", time = full(lang, picture, page.now_us)))
        },
    }
}

/// `+3 h 12 min`, `-1 h`.
fn shift(lang: Language, from_us: i64, to_us: i64) -> Markup {
    let sign = if to_us < from_us { "-" } else { "+" };
    html! { (sign) (format_duration(lang, to_us.abs_diff(from_us))) }
}
