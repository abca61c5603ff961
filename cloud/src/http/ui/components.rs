//! Components that several pages share: chips, pictures, counters, the summary.

use keepsake_protocol::faults::FaultCode;
use keepsake_protocol::id::{DeviceId, PictureId};
use keepsake_protocol::presence::Presence;
use maud::{Markup, PreEscaped, html};

use crate::http::ui::badge::{Tone, chip, shape};
use crate::http::ui::capture_time;
use crate::http::ui::format::{TimeFormat, time};
use crate::http::ui::language::Language;
use crate::http::ui::messages::{named, t};
use crate::http::ui::views::{CameraView, Counters, PictureView, Thumbnail};

/// The most important fact about a camera, in one chip.
pub(crate) fn headline(lang: Language, camera: &CameraView, now_us: i64) -> (Tone, Markup) {
    match camera.presence {
        None => (Tone::Off, t!(lang, "uploads-only")),
        Some(Presence::Offline) => {
            let since = time(lang, camera.last_seen_us, TimeFormat::Age, now_us);
            (Tone::Off, t!(lang, "offline-for", duration = since))
        }
        Some(Presence::Online) => {
            if let Some(number) = camera.faults.first() {
                (Tone::Err, fault_title(lang, *number))
            } else if card_nearly_full(camera) {
                (Tone::Err, t!(lang, "card-nearly-full"))
            } else if camera.queue.waiting > 0 {
                (Tone::Wait, t!(lang, "online-waiting", count = camera.queue.waiting))
            } else {
                (Tone::Ok, t!(lang, "online"))
            }
        }
    }
}

pub(crate) fn is_online(camera: &CameraView) -> bool {
    camera.presence == Some(Presence::Online)
}

/// Less than a tenth of the card is free.
pub(crate) fn card_nearly_full(camera: &CameraView) -> bool {
    camera.health.card_total > 0 && camera.health.card_free < camera.health.card_total / 10
}

/// Returns the title of a fault.
pub(crate) fn fault_title(lang: Language, number: u8) -> Markup {
    match FaultCode::from_number(number) {
        Some(fault) => named(lang, &format!("{}-title", fault.name()), fault.title()),
        None => t!(lang, "fault-unknown-title"),
    }
}

/// Returns what is wrong and what to do, for the person beside the camera.
pub(crate) fn fault_advice(lang: Language, number: u8) -> Markup {
    match FaultCode::from_number(number) {
        Some(fault) => html! {
            (named(lang, &format!("{}-meaning", fault.name()), fault.meaning())) " "
            (commands_as_code(&named(lang, &format!("{}-remedy", fault.name()), fault.remedy())))
        },
        None => t!(lang, "fault-unknown-advice"),
    }
}

/// Marks what stands between backticks as code.
fn commands_as_code(text: &Markup) -> Markup {
    html! {
        @for (index, part) in text.0.split('`').map(PreEscaped).enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// `1,204 pressed, 1,204 stored, 0 held, 0 missing`, with what was explained or deleted where there is any, so that the
/// sum is always right.
pub(crate) fn counters_line(lang: Language, counters: &Counters, coarse: bool) -> Markup {
    let mut parts = vec![
        t!(lang, "counter-pressed", count = counters.pressed()),
        t!(lang, "counter-stored", count = counters.stored),
    ];
    if counters.deleted > 0 {
        parts.push(t!(lang, "counter-deleted", count = counters.deleted));
    }
    if counters.told > 0 {
        parts.push(t!(lang, "counter-failed", count = counters.told));
    }
    // A joined list claims too much for the card, so what is missing hides in it.
    if coarse {
        parts.push(t!(lang, "counter-held-most", count = counters.held));
        parts.push(t!(lang, "counter-missing-least", count = counters.missing));
    } else {
        parts.push(t!(lang, "counter-held", count = counters.held));
        parts.push(t!(lang, "counter-missing", count = counters.missing));
    }
    html! {
        @for (index, part) in parts.iter().enumerate() {
            @if index > 0 { ", " }
            (part)
        }
    }
}

/// Whether every picture of these cameras can be pointed at, in sentences. The first is for everyone; the others are
/// troubles, each to be shown with its mark.
pub(crate) fn status_summary(lang: Language, cameras: &[CameraView], hold: bool) -> (Markup, Vec<(Tone, Markup)>) {
    let reporting = cameras.iter().filter(|c| c.presence.is_some()).count() as u64;
    let online = cameras.iter().filter(|c| is_online(c)).count() as u64;
    let sum: Counters = cameras.iter().map(|camera| camera.counters).sum();
    let coarse = cameras.iter().any(|camera| camera.coarse);
    let promise = if sum.pressed() == 0 {
        t!(lang, "summary-no-picture")
    } else if sum.missing > 0 {
        t!(lang, "summary-all-other")
    } else if coarse {
        t!(lang, "summary-coarse")
    } else if sum.deleted > 0 {
        t!(lang, "summary-deleted")
    } else {
        t!(lang, "summary-all")
    };
    let lead = html! {
        @if reporting > 0 { (t!(lang, "summary-online", online = online, total = reporting)) " " }
        (promise)
    };
    (lead, troubles(lang, cameras, hold))
}

fn troubles(lang: Language, cameras: &[CameraView], hold: bool) -> Vec<(Tone, Markup)> {
    let sum_of = |of: fn(&CameraView) -> u64| cameras.iter().map(of).fold(0, u64::saturating_add);
    let names = |of: fn(&CameraView) -> u64| {
        let mut names = cameras.iter().filter(|c| of(c) > 0).map(|c| c.device.as_str());
        let first = names.next().unwrap_or_default();
        match names.count() {
            0 => t!(lang, "cameras-one", camera = first),
            more => t!(lang, "cameras-more", camera = first, count = more as u64),
        }
    };
    let (missing, held): (fn(&CameraView) -> u64, _) = (|c| c.counters.missing, sum_of(|c| c.counters.held));
    let mut troubles = Vec::new();
    match sum_of(missing) {
        0 => {}
        count if cameras.iter().any(|camera| camera.coarse) => troubles.push((
            Tone::Err,
            t!(lang, "trouble-missing-least", count = count, cameras = names(missing)),
        )),
        count => troubles.push((
            Tone::Err,
            t!(lang, "trouble-missing", count = count, cameras = names(missing)),
        )),
    }
    if hold && held > 0 {
        troubles.push((Tone::Err, t!(lang, "trouble-hold", count = held)));
    }
    let failed: fn(&CameraView) -> u64 = |c| c.counters.told;
    if sum_of(failed) > 0 {
        let text = t!(lang, "trouble-failed", count = sum_of(failed), cameras = names(failed));
        troubles.push((Tone::Wait, text));
    }
    let conflicts: fn(&CameraView) -> u64 = |c| c.conflicts;
    if sum_of(conflicts) > 0 {
        let text = t!(
            lang,
            "trouble-conflict",
            count = sum_of(conflicts),
            cameras = names(conflicts)
        );
        troubles.push((Tone::Wait, text));
    }
    let damaged: fn(&CameraView) -> u64 = |c| c.damaged;
    if sum_of(damaged) > 0 {
        let text = t!(
            lang,
            "trouble-damaged",
            count = sum_of(damaged),
            cameras = names(damaged)
        );
        troubles.push((Tone::Wait, text));
    }
    let deferred: fn(&CameraView) -> u64 = |c| c.queue.parked;
    if sum_of(deferred) > 0 {
        let text = t!(
            lang,
            "trouble-deferred",
            count = sum_of(deferred),
            cameras = names(deferred)
        );
        troubles.push((Tone::Wait, text));
    }
    troubles
}

/// The picture in an area whose shape the style decides: its colour first, then its thumbnail, or the whole picture.
pub(crate) fn image(lang: Language, picture: &PictureView, whole: bool, alt: &Markup) -> Markup {
    let id = picture.id;
    html! {
        @if let Some(color) = picture.color {
            svg.color viewBox="0 0 1 1" preserveAspectRatio="none" aria-hidden="true" {
                rect width="1" height="1" fill=(format!("#{:06x}", color & 0xff_ffff)) {}
            }
        }
        @if picture.damaged || (!whole && picture.thumbnail == Thumbnail::None) {
            span.no-image { (t!(lang, "no-preview")) }
        } @else if whole {
            img src=(image_url(&id)) alt=(alt) width=[known(picture.width)] height=[known(picture.height)] decoding="async";
        } @else if picture.thumbnail == Thumbnail::Ready {
            img src=(thumbnail_url(&id)) alt=(alt) loading="lazy" decoding="async";
        } @else {
            // live.js asks for it until it is there.
            img data-src=(thumbnail_url(&id)) alt=(alt) hidden;
        }
    }
}

fn known(pixels: u32) -> Option<u32> {
    (pixels > 0).then_some(pixels)
}

pub(crate) fn camera_url(device: &DeviceId) -> String {
    format!("/cameras/{device}")
}

pub(crate) fn picture_url(id: &PictureId) -> String {
    format!("/pictures/{id}")
}

pub(crate) fn image_url(id: &PictureId) -> String {
    format!("/api/v1/pictures/{id}/image")
}

fn thumbnail_url(id: &PictureId) -> String {
    format!("/api/v1/pictures/{id}/thumbnail")
}

/// Marks that a picture carries in a grid, as words.
pub(crate) fn badges(lang: Language, picture: &PictureView) -> Markup {
    html! {
        @if picture.conflict || picture.damaged {
            span.marks {
                @if picture.conflict { (chip(Tone::Wait, &t!(lang, "duplicate-number"))) }
                @if picture.damaged { (chip(Tone::Err, &t!(lang, "damaged"))) }
            }
        }
    }
}

/// A grid of pictures. Each says its time; the camera too where they are mixed.
pub(crate) fn grid(lang: Language, pictures: &[PictureView], named: bool) -> Markup {
    html! {
        ul.grid {
            @for picture in pictures {
                li data-key=(picture.id) data-stored=(picture.stored_us / 1000) {
                    a.tile href=(picture_url(&picture.id)) {
                        (image(lang, picture, false, &html! { @if !named { (picture.device) } }))
                        (badges(lang, picture))
                        span.tile-words {
                            @if named { span.tile-name { (picture.device) } }
                            span.tile-time {
                                @if capture_time::late(picture) { (shape(Tone::Wait)) span.hear { (t!(lang, "arrived-late")) } }
                                // With its date if that is not the day it stands under.
                                (capture_time::short(lang, picture, picture.stored_us))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// One row of a list of facts.
pub(crate) fn fact(name: &Markup, value: &Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}
