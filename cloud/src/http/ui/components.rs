//! Components that several pages share: chips, pictures, counters, the summary.

use keepsake_protocol::faults::FaultCode;
use keepsake_protocol::id::{DeviceId, PictureId};
use keepsake_protocol::presence::Presence;
use maud::{Markup, html};

use crate::http::ui::badge::{Tone, chip, shape};
use crate::http::ui::capture_time;
use crate::http::ui::format::{TimeFormat, count, pluralize, time};
use crate::http::ui::views::{CameraView, Counters, PictureView, Thumbnail};

/// The worst there is to say about a camera, in one chip.
pub(crate) fn headline(camera: &CameraView, now_us: i64) -> (Tone, Markup) {
    match camera.presence {
        None => (Tone::Off, html! { "Uploads only" }),
        Some(Presence::Offline) => (
            Tone::Off,
            html! { "Offline " (time(camera.last_seen_us, TimeFormat::Age, now_us)) },
        ),
        Some(Presence::Online) => {
            if let Some(number) = camera.faults.first() {
                (Tone::Err, html! { (fault_name(*number)) })
            } else if card_nearly_full(camera) {
                (Tone::Err, html! { "Card nearly full" })
            } else if camera.queue.waiting > 0 {
                (
                    Tone::Wait,
                    html! { "Online, " (count(camera.queue.waiting)) " waiting" },
                )
            } else {
                (Tone::Ok, html! { "Online" })
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
pub(crate) fn fault_name(number: u8) -> &'static str {
    FaultCode::from_number(number).map_or("Fault", FaultCode::title)
}

/// Returns what is wrong and what to do, for the person beside the camera.
pub(crate) fn fault_advice(number: u8) -> String {
    FaultCode::from_number(number).map_or_else(
        || "This page does not know the number. The camera may be newer than this cloud.".to_owned(),
        |fault| format!("{} {}", fault.meaning(), fault.remedy()),
    )
}

/// `1,204 pressed, 1,204 stored, 0 held, 0 missing`, with what was explained or deleted where there is any, so that the
/// sum is always right.
pub(crate) fn counters_line(counters: &Counters, coarse: bool) -> String {
    let mut line = format!(
        "{} pressed, {} stored, ",
        count(counters.pressed()),
        count(counters.stored)
    );
    if counters.deleted > 0 {
        line += &format!("{} deleted, ", count(counters.deleted));
    }
    if counters.told > 0 {
        line += &format!("{} without a picture, ", count(counters.told));
    }
    // A joined list claims too much for the card, so what is missing hides in it.
    let (most, least) = if coarse { ("up to ", "at least ") } else { ("", "") };
    line + &format!(
        "{most}{} held, {least}{} missing",
        count(counters.held),
        count(counters.missing)
    )
}

/// Whether every picture of these cameras can be pointed at, in sentences. The first is for everyone; the others are
/// troubles, each to be shown with its mark.
pub(crate) fn status_summary(cameras: &[CameraView], hold: bool) -> (String, Vec<(Tone, String)>) {
    let speaking = cameras.iter().filter(|c| c.presence.is_some()).count();
    let online = cameras.iter().filter(|c| is_online(c)).count();
    let sum: Counters = cameras.iter().map(|camera| camera.counters).sum();
    let names = |of: &dyn Fn(&CameraView) -> u64| {
        let mut names = cameras.iter().filter(|c| of(c) > 0).map(|c| c.device.as_str());
        match (names.next(), names.count()) {
            (Some(one), 0) => format!(" ({one})"),
            (Some(one), more) => {
                format!(" ({one} and {})", pluralize(more as u64, "other", "others"))
            }
            (None, _) => String::new(),
        }
    };

    let presence = match speaking {
        0 => String::new(),
        _ => format!("{online} of {speaking} online. "),
    };
    let coarse = cameras.iter().any(|camera| camera.coarse);
    let mut troubles = Vec::new();
    let lead = if sum.pressed() == 0 {
        format!("{presence}No picture has been taken yet.")
    } else if sum.missing > 0 {
        let least = if coarse { "At least " } else { "" };
        troubles.push((
            Tone::Err,
            format!(
                "{least}{} missing{}: taken, but neither in the cloud nor on a known card.",
                pluralize(sum.missing, "picture is", "pictures are"),
                names(&|c| c.counters.missing),
            ),
        ));
        format!("{presence}All other pictures are either in the cloud or safe on a card.")
    } else if coarse {
        format!("{presence}Every picture is in the cloud or, as far as the cameras could list them, safe on a card.")
    } else if sum.deleted > 0 {
        format!("{presence}Every picture is in the cloud, safe on a card, or deleted by you.")
    } else {
        format!("{presence}Every picture is either in the cloud or safe on a card.")
    };
    if hold && sum.held > 0 {
        troubles.push((
            Tone::Err,
            format!(
                "{} on cards until the cloud takes pictures again.",
                pluralize(sum.held, "picture waits", "pictures wait")
            ),
        ));
    }
    if sum.told > 0 {
        troubles.push((
            Tone::Wait,
            format!(
                "{} no picture; the camera reported the reason{}.",
                pluralize(sum.told, "press gave", "presses gave"),
                names(&|c| c.counters.told),
            ),
        ));
    }
    let conflicts: u64 = cameras.iter().map(|c| c.conflicts).sum();
    if conflicts > 0 {
        troubles.push((
            Tone::Wait,
            format!(
                "{} a duplicate number{}: a card was copied or restored. All are kept and shown.",
                pluralize(conflicts, "picture has", "pictures have"),
                names(&|c| c.conflicts),
            ),
        ));
    }
    let damaged: u64 = cameras.iter().map(|c| c.damaged).sum();
    if damaged > 0 {
        troubles.push((
            Tone::Wait,
            format!(
                "{} not decode{}. The bytes are kept exactly as they came.",
                pluralize(damaged, "picture does", "pictures do"),
                names(&|c| c.damaged),
            ),
        ));
    }
    let parked: u64 = cameras.iter().map(|c| c.queue.parked).sum();
    if parked > 0 {
        troubles.push((
            Tone::Wait,
            format!(
                "{} on the card because the cloud refuses {}{}.",
                pluralize(parked, "picture stays", "pictures stay"),
                if parked == 1 { "it" } else { "them" },
                names(&|c| c.queue.parked),
            ),
        ));
    }
    (lead, troubles)
}

/// The picture in an area whose shape the style decides: its colour first, then its thumbnail, or the whole picture.
pub(crate) fn image(picture: &PictureView, whole: bool, alt: &str) -> Markup {
    let id = picture.id;
    html! {
        @if let Some(color) = picture.color {
            svg.color viewBox="0 0 1 1" preserveAspectRatio="none" aria-hidden="true" {
                rect width="1" height="1" fill=(format!("#{:06x}", color & 0xff_ffff)) {}
            }
        }
        @if picture.damaged || (!whole && picture.thumbnail == Thumbnail::None) {
            span.no-image { "No preview" }
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
pub(crate) fn badges(picture: &PictureView) -> Markup {
    html! {
        @if picture.conflict || picture.damaged {
            span.marks {
                @if picture.conflict { (chip(Tone::Wait, &html! { "Duplicate number" })) }
                @if picture.damaged { (chip(Tone::Err, &html! { "Damaged" })) }
            }
        }
    }
}

/// A grid of pictures. Each says its time; the camera too where they are mixed.
pub(crate) fn grid(pictures: &[PictureView], named: bool) -> Markup {
    html! {
        ul.grid {
            @for picture in pictures {
                li data-key=(picture.id) data-stored=(picture.stored_us / 1000) {
                    a.tile href=(picture_url(&picture.id)) {
                        (image(picture, false, if named { "" } else { picture.device.as_str() }))
                        (badges(picture))
                        span.tile-words {
                            @if named { span.tile-name { (picture.device) } }
                            span.tile-time {
                                @if capture_time::late(picture) { (shape(Tone::Wait)) span.hear { "arrived late, " } }
                                // With its date if that is not the day it stands under.
                                (capture_time::short(picture, picture.stored_us))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// One row of a list of facts.
pub(crate) fn fact(name: &str, value: &Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

/// A capital first: the appliance's words begin in lower case.
pub(crate) fn capitalize(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| format!("{}{}", first.to_uppercase(), letters.as_str()))
        .unwrap_or_default()
}
