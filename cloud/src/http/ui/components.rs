//! Components that several pages share: chips, pictures, counters, the summary.

use keepsake_protocol::faults::FaultCode;
use keepsake_protocol::id::{DeviceId, PictureId};
use maud::{Markup, PreEscaped, html};

use crate::http::ui::badge::{Tone, chip, shape};
use crate::http::ui::capture_time;
use crate::http::ui::format::{TimeFormat, time};
use crate::http::ui::language::Language;
use crate::http::ui::messages::{named, t};
use crate::store::{Counters, Device, Picture, Thumbnail};

/// The most important fact about a camera, in one chip.
pub(crate) fn headline(lang: Language, camera: &Device, now_us: i64) -> (Tone, Markup) {
    let status = camera.last_status();
    if !camera.is_camera() {
        (Tone::Off, t!(lang, "uploads-only"))
    } else if camera.is_offline() {
        let since = time(lang, camera.last_seen_us, TimeFormat::Age, now_us);
        (Tone::Off, t!(lang, "offline-for", duration = since))
    } else if let Some(number) = status.faults.first() {
        (Tone::Err, fault_title(lang, *number))
    } else if card_nearly_full(camera) {
        (Tone::Err, t!(lang, "card-nearly-full"))
    } else if status.queue.waiting > 0 {
        (Tone::Wait, t!(lang, "online-waiting", count = status.queue.waiting))
    } else {
        (Tone::Ok, t!(lang, "online"))
    }
}

/// Less than a tenth of the card is free.
pub(crate) fn card_nearly_full(camera: &Device) -> bool {
    let health = &camera.last_status().health;
    health.card_total > 0 && health.card_free < health.card_total / 10
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
    if counters.failed > 0 {
        parts.push(t!(lang, "counter-failed", count = counters.failed));
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

/// Returns the summary of all cameras: one sentence about where every picture is, and the troubles with their marks.
pub(crate) fn status_summary(lang: Language, cameras: &[Device], hold: bool) -> (Markup, Vec<(Tone, Markup)>) {
    let reporting = cameras.iter().filter(|camera| camera.is_camera()).count() as u64;
    let online = cameras.iter().filter(|camera| camera.is_online()).count() as u64;
    let sum: Counters = cameras.iter().map(|camera| camera.counters).sum();
    let coarse = cameras.iter().any(Device::is_coarse);
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

fn troubles(lang: Language, cameras: &[Device], hold: bool) -> Vec<(Tone, Markup)> {
    type Count = fn(&Device) -> u64;
    let sum = |of: Count| cameras.iter().map(of).fold(0, u64::saturating_add);
    let names = |of: Count| {
        let mut names = cameras.iter().filter(|c| of(c) > 0).map(|c| c.id.as_str());
        let first = names.next().unwrap_or_default();
        match names.count() {
            0 => t!(lang, "cameras-one", camera = first),
            more => t!(lang, "cameras-more", camera = first, count = more as u64),
        }
    };
    let mut troubles = Vec::new();
    let mut add = |tone, of: Count, text: &dyn Fn(u64, Markup) -> Markup| {
        if sum(of) > 0 {
            troubles.push((tone, text(sum(of), names(of))));
        }
    };
    let coarse = cameras.iter().any(Device::is_coarse);
    add(Tone::Err, |c| c.counters.missing, &|count, cameras| match coarse {
        true => t!(lang, "trouble-missing-least", count = count, cameras = cameras),
        false => t!(lang, "trouble-missing", count = count, cameras = cameras),
    });
    if hold {
        add(Tone::Err, |c| c.counters.held, &|count, _| t!(lang, "trouble-hold", count = count));
    }
    add(Tone::Wait, |c| c.counters.failed, &|count, cameras| {
        t!(lang, "trouble-failed", count = count, cameras = cameras)
    });
    add(Tone::Wait, |c| c.conflicts, &|count, cameras| {
        t!(lang, "trouble-conflict", count = count, cameras = cameras)
    });
    add(Tone::Wait, |c| c.damaged, &|count, cameras| {
        t!(lang, "trouble-damaged", count = count, cameras = cameras)
    });
    add(Tone::Wait, |c| c.last_status().queue.parked, &|count, cameras| {
        t!(lang, "trouble-deferred", count = count, cameras = cameras)
    });
    troubles
}

/// The picture in an area whose shape the style decides: its colour first, then its thumbnail, or the whole picture.
pub(crate) fn image(lang: Language, picture: &Picture, whole: bool, alt: &Markup) -> Markup {
    let id = picture.id();
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
pub(crate) fn badges(lang: Language, picture: &Picture) -> Markup {
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
pub(crate) fn grid(lang: Language, pictures: &[Picture], named: bool) -> Markup {
    html! {
        ul.grid {
            @for picture in pictures {
                li #{ "tile-" (picture.id()) } data-sort=(picture.sort_us / 1000) {
                    a.tile href=(picture_url(&picture.id())) {
                        (image(lang, picture, false, &html! { @if !named { (picture.device) } }))
                        (badges(lang, picture))
                        span.tile-words {
                            @if named { span.tile-name { (picture.device) } }
                            span.tile-time {
                                @if capture_time::late(picture) { (shape(Tone::Wait)) span.hear { (t!(lang, "arrived-late")) } }
                                // With its date if that is not the day it stands under.
                                (capture_time::short(lang, picture, picture.sort_us))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A table that scrolls within itself on a narrow screen. Each heading comes with the class of its cell.
pub(crate) fn table(label: &Markup, headings: &[(&str, Markup)], rows: &Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(label) {
            table {
                thead { tr { @for (class, heading) in headings {
                    @if heading.0.is_empty() { td {} } @else { th class=[Some(class).filter(|class| !class.is_empty())] scope="col" { (heading) } }
                } } }
                tbody { (rows) }
            }
        }
    }
}

/// One row of a list of facts.
pub(crate) fn fact(name: &Markup, value: &Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

#[cfg(test)]
mod tests {
    use keepsake_protocol::status::Presence;

    use super::*;
    use crate::http::ui::templates::fixtures::{MIN, NOW_US, camera, status};

    #[test]
    fn the_line_of_counters_is_exact() {
        let cases = [
            (
                Counters { stored: 1204, ..Counters::default() },
                false,
                "1,204 pressed, 1,204 stored, 0 held, 0 missing",
            ),
            (
                Counters { stored: 1000, deleted: 3, failed: 5, held: 38, missing: 2 },
                false,
                "1,048 pressed, 1,000 stored, 3 deleted, 5 without a picture, 38 held, 2 missing",
            ),
            (
                Counters { stored: 1, held: 7, ..Counters::default() },
                true,
                "8 pressed, 1 stored, up to 7 held, at least 0 missing",
            ),
        ];
        for (counters, coarse, line) in cases {
            assert_eq!(counters_line(Language::English, &counters, coarse).0, line);
        }
    }

    fn summary(cameras: &[Device], hold: bool) -> (String, Vec<(Tone, String)>) {
        let (lead, troubles) = status_summary(Language::English, cameras, hold);
        (lead.0, troubles.into_iter().map(|(tone, text)| (tone, text.0)).collect())
    }

    #[test]
    fn the_promise_is_made_only_when_it_holds() {
        let well = vec![
            camera("porch", Some(Presence::Online)),
            camera("field", Some(Presence::Offline)),
            camera("uploads", None),
        ];
        let holds = "1 of 2 online. Every picture is either in the cloud or safe on a card.";
        assert_eq!(summary(&well, false), (holds.to_owned(), Vec::new()));

        let with = |change: &dyn Fn(&mut Device)| {
            let mut cameras = well.clone();
            change(&mut cameras[0]);
            summary(&cameras, true)
        };
        let (lead, troubles) = with(&|camera| camera.counters.missing = 3);
        assert!(!lead.contains("Every"), "{lead}");
        assert_eq!(troubles[0].0, Tone::Err);
        assert_eq!(
            troubles[0].1,
            "3 pictures are missing (porch): taken, but neither in the cloud nor on a known card."
        );
        let (lead, _) = with(&|camera| camera.spools[0].coarse = true);
        assert!(lead.contains("as far as the cameras could list them"), "{lead}");
        let (lead, _) = with(&|camera| camera.counters.deleted = 1);
        assert!(lead.ends_with("or deleted by a user."), "{lead}");
        for (change, words) in [
            (
                (&|camera: &mut Device| camera.conflicts = 2) as &dyn Fn(&mut Device),
                "copied or restored",
            ),
            (&|camera| camera.damaged = 1, "1 picture is damaged and cannot be displayed"),
            (&|camera| camera.counters.failed = 5, "5 presses produced no picture"),
            (
                &|camera| camera.counters.held = 4,
                "4 pictures are waiting on cameras until the cloud accepts uploads again",
            ),
            (&|camera| status(camera).queue.parked = 1, "the cloud rejected it"),
        ] {
            let (_, troubles) = with(change);
            assert!(troubles[0].1.contains(words), "{troubles:?}");
        }
        let mut new = camera("new", Some(Presence::Online));
        new.counters = Counters::default();
        assert_eq!(summary(&[new], false).0, "1 of 1 online. No picture has been taken yet.");
    }

    #[test]
    fn the_headline_is_the_worst_there_is_to_say() {
        let online = camera("porch", Some(Presence::Online));
        let say = |change: &dyn Fn(&mut Device)| {
            let mut camera = online.clone();
            change(&mut camera);
            let (tone, words) = headline(Language::English, &camera, NOW_US);
            (tone.as_str(), words.into_string())
        };
        assert_eq!(say(&|_| ()), ("ok", "Online".to_owned()));
        assert_eq!(
            say(&|camera| status(camera).queue.waiting = 38),
            ("wait", "Online, 38 waiting".to_owned())
        );
        let full = |camera: &mut Device| {
            let status = status(camera);
            status.queue.waiting = 38;
            status.health.card_free = status.health.card_total / 11;
        };
        assert_eq!(say(&full), ("err", "Card nearly full".to_owned()));
        let fault = |camera: &mut Device| {
            full(camera);
            status(camera).faults = vec![5];
        };
        assert_eq!(say(&fault), ("err", "Camera not found".to_owned()));
        let (tone, words) = say(&|camera| {
            fault(camera);
            camera.presence = Presence::Offline;
            camera.last_seen_us = NOW_US - 130 * MIN;
        });
        assert!(
            tone == "off" && words.starts_with("Offline <time") && words.contains(">2 h 10 min<"),
            "{words}"
        );
    }
}
