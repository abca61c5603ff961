//! The capture time in words, never more exact than it is known.

use keepsake_protocol::capture::Cause;
use maud::{Markup, html};

use crate::http::ui::badge::{Tone, chip};
use crate::http::ui::format::{TimeFormat, age_us, format_duration, time};
use crate::http::ui::views::{PageContext, PictureView};
use crate::pictures::capture_time::{CaptureTime, TimeSource};

/// Up to this error a time stands as it is, microseconds: the page shows seconds.
const EXACT_US: u64 = 1_000_000;
/// Up to this error it is "about", and one time says more than two.
const ABOUT_US: u64 = 120_000_000;
/// Shown by a clock that starts at 1970, or earlier: no date that anybody took for one.
const NO_DATE_US: i64 = 365 * 24 * 3600 * 1_000_000;

/// The moment of the press if it is known to a second, microseconds UTC.
pub(crate) fn exact_time(picture: &PictureView) -> Option<i64> {
    let error_us = picture.taken.error_us()?;
    (error_us <= EXACT_US).then_some(picture.taken.best_us)
}

/// The time of a picture in a few characters, with `~` before an uncertain one.
pub(crate) fn short(picture: &PictureView, now_us: i64) -> Markup {
    let taken = &picture.taken;
    let form = TimeFormat::Near;
    html! {
        @match taken.error_us() {
            Some(..=EXACT_US) => (time(taken.best_us, form, now_us)),
            Some(..=ABOUT_US) => { "~" (time(taken.best_us, form, now_us)) }
            Some(_) | None => { "before " (time(taken.latest_us, form, now_us)) }
        }
    }
}

/// The time of a picture as a sentence has it: a time, "about" one, "between" two, or "before" one.
pub(crate) fn full(picture: &PictureView, now_us: i64) -> Markup {
    let taken = &picture.taken;
    let at = |at_us| time(at_us, TimeFormat::Full, now_us);
    html! {
        @match (taken.error_us(), taken.earliest_us) {
            (Some(..=EXACT_US), _) => (at(taken.best_us)),
            (Some(..=ABOUT_US), _) => { "about " (at(taken.best_us)) }
            (Some(_) | None, Some(earliest_us)) => { "between " (at(earliest_us)) " and " (at(taken.latest_us)) }
            (Some(_) | None, None) => { "before " (at(taken.latest_us)) }
        }
    }
}

/// It waited for more than an hour, however one counts.
pub(crate) fn late(picture: &PictureView) -> bool {
    age_us(picture.taken.latest_us, picture.stored_us) > 3_600_000_000
}

/// `Sure, ±40 ms`, `Corrected, ±2.0 s` or `Guessed`.
fn uncertainty(taken: &CaptureTime) -> Markup {
    let error = taken.error_us().map(format_duration);
    let (tone, word) = match taken.source {
        TimeSource::Synchronised => (Tone::Ok, "Sure"),
        TimeSource::Corrected => (Tone::Ok, "Corrected"),
        TimeSource::Guessed => return chip(Tone::Wait, &html! { "Guessed" }),
    };
    chip(tone, &html! { (word) @if let Some(error) = error { ", ±" (error) } })
}

/// Why the time of a picture is as sure as it is.
pub(crate) fn explanation(site: &PageContext, picture: &PictureView) -> Markup {
    if picture.cause == Cause::Upload {
        return html! {
            p { "It came in as an upload at " (time(picture.stored_us, TimeFormat::Full, site.now_us)) ". When it was taken is not known here." }
        };
    }
    html! {
        p { (uncertainty(&picture.taken)) }
        p { (reason(site, picture)) }
    }
}

fn reason(site: &PageContext, picture: &PictureView) -> Markup {
    let taken = &picture.taken;
    let press = html! { (format_duration(picture.pressed.boottime_us)) " before the press" };
    let showed = |shown_us: i64| html! { "It showed " (time(shown_us, TimeFormat::Full, site.now_us)) ". " };
    // A clock that starts in 1970 shows a time that would only confuse.
    let shown_us = Some(picture.pressed.wall_us).filter(|shown| *shown > NO_DATE_US);
    match taken.source {
        TimeSource::Synchronised => {
            html! { "The camera's clock followed a source of time at the press." }
        }
        TimeSource::Corrected => html! {
            "The camera was switched on " (press) ", and its clock was not set yet. "
            "It was set while the camera stayed on, and the time of this picture was moved "
            @if let Some(shown_us) = shown_us { "by " (moved(shown_us, taken.best_us)) }
            @else { "to what it was" }
            "."
        },
        TimeSource::Guessed if taken.contradicted => html! {
            "The camera's clock contradicts itself, or what else is known: it was set wrong at some time. "
            @if picture.pressed.synchronised && let Some(shown_us) = shown_us { (showed(shown_us)) }
            "Whichever was right, the press was " (full(picture, site.now_us)) "."
        },
        TimeSource::Guessed => html! {
            "Nothing had set the camera's clock since it was switched on, " (press) ". "
            @if let Some(shown_us) = shown_us { (showed(shown_us)) }
            "By what is known from before and after, the press was " (full(picture, site.now_us)) "."
        },
    }
}

/// `+3 h 12 min`, `-1 h`.
fn moved(from_us: i64, to_us: i64) -> String {
    let sign = if to_us < from_us { "-" } else { "+" };
    format!("{sign}{}", format_duration(to_us.abs_diff(from_us)))
}
