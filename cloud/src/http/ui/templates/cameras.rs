//! `/`: all cameras, and whether every picture can be pointed at.

use maud::{Markup, html};

use crate::http::ui::badge::{Tone, chip, shape};
use crate::http::ui::capture_time;
use crate::http::ui::components::{
    camera_url, card_nearly_full, counters_line, headline, image, is_online, status_summary,
};
use crate::http::ui::format::{TimeFormat, count, pluralize, size, time};
use crate::http::ui::templates::{LiveUpdates, Nav, layout};
use crate::http::ui::views::{CameraView, CamerasView, Counters, PageContext};

/// `/`: the promise, the sums, a card for every camera.
pub fn cameras_page(site: &PageContext, view: &CamerasView) -> Markup {
    let main = html! {
        h1 { "Cameras" }
        @if view.cameras.is_empty() {
            (no_camera(site))
        } @else {
            @let (lead, troubles) = status_summary(&view.cameras, site.hold.is_some());
            p.lead { (lead) }
            @if !troubles.is_empty() {
                ul.troubles { @for (tone, text) in troubles {
                    li class={ "trouble trouble-" (tone.as_str()) } { (shape(tone)) span { (text) } }
                } }
            }
            (tiles(site, &view.cameras))
            ul.cards {
                @for camera in in_order(&view.cameras) {
                    li data-key=(camera.device) { (card(site, camera)) }
                }
            }
        }
    };
    layout(
        site,
        "Cameras",
        Nav::Cameras,
        &LiveUpdates::Redraw { device: None },
        &main,
    )
}

/// Cameras that need attention first, then by name. Waiting pictures do not count: they come and go with every press,
/// and cards that change places under the finger are worse than any order.
fn in_order(cameras: &[CameraView]) -> Vec<&CameraView> {
    let mut cameras: Vec<&CameraView> = cameras.iter().collect();
    cameras.sort_by_key(|camera| {
        let trouble = camera.counters.missing > 0
            || (is_online(camera) && (!camera.faults.is_empty() || card_nearly_full(camera)));
        (!trouble, camera.device.as_str().to_lowercase())
    });
    cameras
}

fn tiles(site: &PageContext, cameras: &[CameraView]) -> Markup {
    let sum: Counters = cameras.iter().map(|camera| camera.counters).sum();
    let coarse = cameras.iter().any(|camera| camera.coarse);
    let (most, least) = if coarse { ("up to ", "at least ") } else { ("", "") };
    html! {
        dl.tiles {
            div { dt { "stored in the cloud" } dd { (count(sum.stored)) } }
            div { dt { "waiting on cameras" } dd { (most) (count(sum.held)) } }
            div class=[(sum.missing > 0).then_some("tile-err")] {
                dt { "missing" }
                dd { @if sum.missing > 0 { (shape(Tone::Err)) " " } (least) (count(sum.missing)) }
            }
            @match (&site.hold, site.free_bytes) {
                (Some(_), free) => div.tile-err {
                    dt { "storage" @if let Some(free) = free { ", " (size(free)) " free" } }
                    dd { (shape(Tone::Err)) " Uploads paused" }
                },
                (None, Some(free)) => div { dt { "free for pictures" } dd { (size(free)) } },
                (None, None) => div { dt { "storage" } dd { "In use" } },
            }
        }
    }
}

fn card(site: &PageContext, camera: &CameraView) -> Markup {
    let (tone, words) = headline(camera, site.now_us);
    let old = !is_online(camera) && camera.presence.is_some();
    html! {
        article class={ "card" @if old { " card-old" } } {
            div.card-picture {
                @if let Some(latest) = &camera.latest {
                    (image(latest, false, ""))
                    span.over-time { (capture_time::short(latest, site.now_us)) }
                } @else {
                    span.no-image { "No picture yet" }
                }
                (chip(tone, &words))
            }
            div.card-words {
                h2 { a href=(camera_url(&camera.device)) { (camera.device) } }
                p.counters { (counters_line(&camera.counters, camera.coarse)) }
                @if old {
                    p.quiet { "Last report " (time(camera.reported_us(), TimeFormat::Near, site.now_us)) "; newer pictures are not known yet." }
                }
                (notes(camera))
            }
        }
    }
}

/// What the headline of a card has no room for.
fn notes(camera: &CameraView) -> Markup {
    html! {
        @if camera.counters.missing > 0 || camera.conflicts > 0 || camera.damaged > 0 {
            p.notes {
                @if camera.counters.missing > 0 {
                    (chip(Tone::Err, &html! {
                        @if camera.coarse { "at least " } (count(camera.counters.missing)) " missing"
                    }))
                }
                @if camera.conflicts > 0 {
                    (chip(Tone::Wait, &html! { (pluralize(camera.conflicts, "duplicate number", "duplicate numbers")) }))
                }
                @if camera.damaged > 0 {
                    (chip(Tone::Wait, &html! { (count(camera.damaged)) " damaged" }))
                }
            }
        }
    }
}

fn no_camera(site: &PageContext) -> Markup {
    html! {
        p.lead { "No cameras yet. Start one, and it appears here." }
        section.panel.steps aria-label="First steps" {
            h2 { "A camera without a Raspberry Pi" }
            p { "It takes photographs from a folder. Press Enter to take one:" }
            pre { code { "appliance run --simulated --cloud " (site.mqtt) } }
            h2 { "A Raspberry Pi" }
            p {
                "Put this address into its " code { "camera.toml" } ": " code { (site.mqtt) } "."
                @if site.loopback_only {
                    " This cloud listens on this machine only, so the camera must run here too, or connect through a tunnel."
                }
            }
            h2 { "A single picture" }
            pre { code { "curl -F image=@photo.jpg " (site.http) "/upload" } }
        }
    }
}
