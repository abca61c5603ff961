//! `/`: all cameras, and whether every picture can be pointed at.

use maud::{Markup, Render, html};

use crate::http::ui::badge::{Tone, chip, shape};
use crate::http::ui::capture_time;
use crate::http::ui::components::{camera_url, card_nearly_full, counters_line, headline, image, status_summary};
use crate::http::ui::format::{TimeFormat, size, time};
use crate::http::ui::language::Language;
use crate::http::ui::messages::t;
use crate::http::ui::templates::{LiveUpdates, Nav, layout};
use crate::http::ui::text::count;
use crate::http::ui::views::PageContext;
use crate::store::{Counters, Device};

/// `/`: the promise, the sums, a card for every camera.
pub fn cameras_page(page: &PageContext, cameras: &[Device]) -> Markup {
    let lang = page.visitor.language;
    let main = html! {
        h1 { (t!(lang, "cameras-title")) }
        @if cameras.is_empty() {
            (no_camera(page))
        } @else {
            @let (lead, troubles) = status_summary(lang, cameras, page.hold.is_some());
            p.lead { (lead) }
            @if !troubles.is_empty() {
                ul.troubles { @for (tone, text) in troubles {
                    li class={ "trouble trouble-" (tone.as_str()) } { (shape(tone)) span { (text) } }
                } }
            }
            (tiles(page, cameras))
            ul.cards {
                @for camera in in_order(cameras) {
                    li #{ "camera-" (camera.id) } { (card(page, camera)) }
                }
            }
        }
    };
    layout(page, &t!(lang, "cameras-title"), Nav::Cameras, &LiveUpdates::Redraw(None), &main)
}

/// Cameras that need attention first, then by name. Waiting pictures do not count: they come and go with every press,
/// and cards that change places under the finger are worse than any order.
fn in_order(cameras: &[Device]) -> Vec<&Device> {
    let mut cameras: Vec<&Device> = cameras.iter().collect();
    cameras.sort_by_key(|camera| {
        let trouble = camera.counters.missing > 0
            || (camera.is_online() && (!camera.last_status().faults.is_empty() || card_nearly_full(camera)));
        (!trouble, camera.id.as_str().to_lowercase())
    });
    cameras
}

fn tiles(page: &PageContext, cameras: &[Device]) -> Markup {
    let lang = page.visitor.language;
    let sum: Counters = cameras.iter().map(|camera| camera.counters).sum();
    let coarse = cameras.iter().any(Device::is_coarse);
    let (held, missing) = if coarse {
        (t!(lang, "at-most", count = sum.held), t!(lang, "at-least", count = sum.missing))
    } else {
        (count(sum.held).render(), count(sum.missing).render())
    };
    html! {
        dl.tiles {
            div { dt { (t!(lang, "tile-stored")) } dd { (count(sum.stored)) } }
            div { dt { (t!(lang, "tile-held")) } dd { (held) } }
            div class=[(sum.missing > 0).then_some("tile-err")] {
                dt { (t!(lang, "tile-missing")) }
                dd { @if sum.missing > 0 { (shape(Tone::Err)) " " } (missing) }
            }
            @match (&page.hold, page.free_bytes) {
                (Some(_), free) => div.tile-err {
                    dt {
                        @match free {
                            Some(free) => (t!(lang, "tile-storage-free", size = size(free).as_str())),
                            None => (t!(lang, "tile-storage")),
                        }
                    }
                    dd { (shape(Tone::Err)) " " (t!(lang, "uploads-paused")) }
                },
                (None, Some(free)) => div { dt { (t!(lang, "tile-free")) } dd { (size(free)) } },
                (None, None) => div { dt { (t!(lang, "tile-storage")) } dd { (t!(lang, "tile-in-use")) } },
            }
        }
    }
}

fn card(page: &PageContext, camera: &Device) -> Markup {
    let lang = page.visitor.language;
    let (tone, words) = headline(lang, camera, page.now_us);
    let old = camera.is_offline();
    html! {
        article class={ "card" @if old { " card-old" } } {
            div.card-picture {
                @if let Some(latest) = &camera.latest {
                    (image(lang, latest, false, &html! {}))
                    span.over-time { (capture_time::short(lang, latest, page.now_us)) }
                } @else {
                    span.no-image { (t!(lang, "no-picture-yet")) }
                }
                (chip(tone, &words))
            }
            div.card-words {
                h2 { a href=(camera_url(&camera.id)) { (camera.id) } }
                p.counters { (counters_line(lang, &camera.counters, camera.is_coarse())) }
                @if old {
                    p.quiet {
                        (t!(
                            lang,
                            "last-report",
                            time = time(lang, camera.reported_us(), TimeFormat::Near, page.now_us)
                        ))
                    }
                }
                (notes(lang, camera))
            }
        }
    }
}

/// The notes for which the headline of a card has no room.
fn notes(lang: Language, camera: &Device) -> Markup {
    let missing = camera.counters.missing;
    html! {
        @if missing > 0 || camera.conflicts > 0 || camera.damaged > 0 {
            p.notes {
                @if missing > 0 {
                    (chip(Tone::Err, &match camera.is_coarse() {
                        true => t!(lang, "counter-missing-least", count = missing),
                        false => t!(lang, "counter-missing", count = missing),
                    }))
                }
                @if camera.conflicts > 0 { (chip(Tone::Wait, &t!(lang, "duplicate-numbers", count = camera.conflicts))) }
                @if camera.damaged > 0 { (chip(Tone::Wait, &t!(lang, "damaged-count", count = camera.damaged))) }
            }
        }
    }
}

fn no_camera(page: &PageContext) -> Markup {
    let lang = page.visitor.language;
    html! {
        p.lead { (t!(lang, "no-camera")) }
        section.panel.steps aria-label=(t!(lang, "first-steps")) {
            h2 { (t!(lang, "first-simulated")) }
            p { (t!(lang, "first-simulated-how")) }
            pre { code { "appliance run --simulated --cloud " (page.mqtt) } }
            h2 { (t!(lang, "first-raspberry-pi")) }
            p {
                (t!(
                    lang,
                    "first-address",
                    file = html! { code { "camera.toml" } },
                    address = html! { code { (page.mqtt) } }
                ))
                @if page.loopback_only { " " (t!(lang, "first-loopback")) }
            }
            h2 { (t!(lang, "first-upload")) }
            pre { code { "curl -F image=@photo.jpg " (page.http) "/upload" } }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use keepsake_protocol::status::Presence;

    use super::*;
    use crate::http::ui::templates::camera::tests::{device, hostile_device};
    use crate::http::ui::templates::fixtures::{MIN, NOW_US, S, camera, hostile, on_hold, picture, status};
    use crate::store::{Picture, Thumbnail};

    /// The pages with views that show every state.
    pub(in crate::http::ui::templates) fn pages(page: &PageContext) -> Vec<(&'static str, Markup)> {
        vec![
            ("cameras", cameras_page(page, &cameras())),
            ("cameras-hold", cameras_page(&on_hold(page), &cameras())),
            ("cameras-none", cameras_page(page, &[])),
            ("cameras-hostile", cameras_page(&hostile(page), &[hostile_device().camera])),
            ("cameras-none-hostile", cameras_page(&hostile(page), &[])),
        ]
    }

    fn cameras() -> [Device; 5] {
        let porch = camera("porch", Some(Presence::Online));
        let shed = device().camera;
        let mut field = camera("north-field", Some(Presence::Offline));
        field.last_seen_us = NOW_US - 130 * MIN;
        field.counters = Counters { stored: 88, held: 47, ..Counters::default() };
        status(&mut field).queue.waiting = 47;
        field.latest = Some(picture("north-field", 88, NOW_US - 132 * MIN));
        let mut greenhouse = camera("greenhouse", Some(Presence::Online));
        greenhouse.counters = Counters { stored: 640, held: 212, missing: 2, ..Counters::default() };
        status(&mut greenhouse).queue.waiting = 212;
        status(&mut greenhouse).health.card_free = 1_000_000_000;
        greenhouse.spools[0].coarse = true;
        greenhouse.latest = Some(Picture {
            thumbnail: Thumbnail::Pending,
            ..picture("greenhouse", 640, NOW_US - 149 * S)
        });
        let mut lab = camera("camera", None);
        lab.latest = None;
        [porch, shed, field, greenhouse, lab]
    }
}
