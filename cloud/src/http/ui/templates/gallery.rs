//! `/pictures`: all pictures, newest arrival first, a hundred at a time.

use maud::{Markup, html};

use crate::http::ui::components::grid;
use crate::http::ui::format::{TimeFormat, time};
use crate::http::ui::messages::t;
use crate::http::ui::templates::{LiveUpdates, Nav, layout};
use crate::http::ui::views::{GalleryView, PageContext, PictureView};

/// `/pictures?device=&before=&after=`.
///
/// Days are those of the arrival, because that is the order: what waited on a card for a day stands where it came in,
/// with its own date on it. The browser regroups the days in its own time zone.
pub fn gallery_page(site: &PageContext, view: &GalleryView) -> Markup {
    let lang = site.visitor.language;
    let device = view.device.as_ref().map(|device| device.as_str());
    let title = match device {
        Some(device) => t!(lang, "pictures-of", camera = device),
        None => t!(lang, "pictures-title"),
    };
    let main = html! {
        h1.hear { (title) }
        div.filters {
            form method="get" action="/pictures" {
                label for="device" { (t!(lang, "camera")) }
                select #device name="device" {
                    option value="" selected[device.is_none()] { (t!(lang, "all-cameras")) }
                    @for camera in &view.cameras {
                        option value=(camera) selected[Some(camera) == view.device.as_ref()] { (camera) }
                    }
                }
                button.button type="submit" { (t!(lang, "show")) }
            }
            p { (t!(lang, "picture-count", count = view.total)) }
        }
        // live.js fills and shows it; it never moves what is being looked at.
        a #news .pill href=(address(device, None)) hidden {}
        @if view.pictures.is_empty() {
            (nothing(site, view, device))
        } @else {
            div #days {
                @for day in days(&view.pictures) {
                    section.day {
                        h2 { (time(lang, day[0].stored_us, TimeFormat::Day, site.now_us)) }
                        (grid(lang, day, device.is_none()))
                    }
                }
            }
        }
        @if view.newer.is_some() || view.older.is_some() {
            nav.pages aria-label=(t!(lang, "pages")) {
                @if let Some(after) = view.newer {
                    a.button href=(address(device, None)) { (t!(lang, "newest")) }
                    a.button rel="prev" href=(address(device, Some(("after", after)))) { (t!(lang, "newer")) }
                }
                @if let Some(before) = view.older {
                    a.button rel="next" href=(address(device, Some(("before", before)))) { (t!(lang, "older")) }
                }
            }
        }
    };
    let live = if view.newer.is_none() {
        LiveUpdates::Offer { device }
    } else {
        LiveUpdates::No
    };
    layout(site, &t!(lang, "pictures-title"), Nav::Pictures, &live, &main)
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

fn nothing(site: &PageContext, view: &GalleryView, device: Option<&str>) -> Markup {
    let lang = site.visitor.language;
    let link = |href: &str, text| html! { a href=(href) { (text) } };
    html! {
        p.lead {
            @match device {
                Some(device) => (t!(
                    lang,
                    "pictures-none-of",
                    camera = device,
                    link = link(&format!("/cameras/{device}"), t!(lang, "pictures-none-of-link"))
                )),
                None if view.cameras.is_empty() => (t!(
                    lang,
                    "pictures-no-camera",
                    link = link("/", t!(lang, "pictures-no-camera-link"))
                )),
                None => (t!(lang, "pictures-none")),
            }
        }
    }
}
