//! `/pictures`: all pictures, newest arrival first, a hundred at a time.

use maud::{Markup, html};

use crate::http::ui::components::grid;
use crate::http::ui::format::{TimeFormat, pluralize, time};
use crate::http::ui::templates::{LiveUpdates, Nav, layout};
use crate::http::ui::views::{GalleryView, PageContext, PictureView};

/// `/pictures?device=&before=&after=`.
///
/// Days are those of the arrival, because that is the order: what waited on a card for a day stands where it came in,
/// with its own date on it. The browser regroups the days in its own time zone.
pub fn gallery_page(site: &PageContext, view: &GalleryView) -> Markup {
    let device = view.device.as_ref().map(|device| device.as_str());
    let main = html! {
        h1.hear { "Pictures" @if let Some(device) = device { " of " (device) } }
        div.filters {
            form method="get" action="/pictures" {
                label for="device" { "Camera" }
                select #device name="device" {
                    option value="" selected[device.is_none()] { "All cameras" }
                    @for camera in &view.cameras {
                        option value=(camera) selected[Some(camera) == view.device.as_ref()] { (camera) }
                    }
                }
                button.button type="submit" { "Show" }
            }
            p { (pluralize(view.total, "picture", "pictures")) }
        }
        // live.js fills and shows it; it never moves what is being looked at.
        a #news .pill href=(address(device, None)) hidden {}
        @if view.pictures.is_empty() {
            (nothing(view, device))
        } @else {
            div #days {
                @for day in days(&view.pictures) {
                    section.day {
                        h2 { (time(day[0].stored_us, TimeFormat::Day, site.now_us)) }
                        (grid(day, device.is_none()))
                    }
                }
            }
        }
        @if view.newer.is_some() || view.older.is_some() {
            nav.pages aria-label="Pages" {
                @if let Some(after) = view.newer {
                    a.button href=(address(device, None)) { "Newest" }
                    a.button rel="prev" href=(address(device, Some(("after", after)))) { "Newer" }
                }
                @if let Some(before) = view.older {
                    a.button rel="next" href=(address(device, Some(("before", before)))) { "Older" }
                }
            }
        }
    };
    let live = if view.newer.is_none() {
        LiveUpdates::Offer { device }
    } else {
        LiveUpdates::No
    };
    layout(site, "Pictures", Nav::Pictures, &live, &main)
}

/// A device name needs no escaping in a URL: its letters are `A-Z a-z 0-9 . _ -`.
fn address(device: Option<&str>, cursor: Option<(&str, i64)>) -> String {
    let mut query = Vec::new();
    if let Some(device) = device {
        query.push(format!("device={device}"));
    }
    if let Some((name, arrival)) = cursor {
        query.push(format!("{name}={arrival}"));
    }
    if query.is_empty() {
        "/pictures".to_owned()
    } else {
        format!("/pictures?{}", query.join("&"))
    }
}

/// Pictures that came in on the same day (UTC), in their order.
fn days(pictures: &[PictureView]) -> impl Iterator<Item = &[PictureView]> {
    let day = |picture: &PictureView| picture.stored_us.div_euclid(86_400_000_000);
    pictures.chunk_by(move |a, b| day(a) == day(b))
}

fn nothing(view: &GalleryView, device: Option<&str>) -> Markup {
    html! {
        @match device {
            Some(device) => p.lead {
                (device) " has no pictures here. Press its button, or "
                a href={ "/cameras/" (device) } { "take one from its page" } "."
            },
            None if view.cameras.is_empty() => p.lead {
                "No pictures yet, and no camera. " a href="/" { "Start with a camera" } "."
            },
            None => p.lead { "No pictures yet. Press the button of a camera, and the picture appears here." },
        }
    }
}
