//! `/pictures`: all pictures, newest capture first, a hundred at a time.

use maud::{Markup, html};

use crate::http::ui::components::grid;
use crate::http::ui::format::{TimeFormat, time};
use crate::http::ui::messages::t;
use crate::http::ui::templates::{LiveUpdates, Nav, layout};
use crate::http::ui::views::{GalleryView, PageContext};
use crate::store::{Picture, PictureCursor};

/// `/pictures?device=&before=&after=`.
///
/// Days are those of the capture time. The browser regroups them in its own time zone.
pub fn gallery_page(page: &PageContext, view: &GalleryView) -> Markup {
    let lang = page.visitor.language;
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
            @if view.pending_thumbnails > 0 {
                p { (t!(lang, "pending-thumbnails", count = view.pending_thumbnails)) }
            }
        }
        // live.js fills and shows it; it never moves what is being looked at.
        a #news .pill href=(address(device, None)) hidden {}
        @if view.pictures.is_empty() {
            (nothing(page, view, device))
        } @else {
            div #days {
                @for day in days(&view.pictures) {
                    section.day {
                        h2 { (time(lang, day[0].sort_us, TimeFormat::Day, page.now_us)) }
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
        LiveUpdates::Offer(device)
    } else {
        LiveUpdates::No
    };
    layout(page, &t!(lang, "pictures-title"), Nav::Pictures, &live, &main)
}

/// A device name needs no escaping in a URL: its letters are `A-Z a-z 0-9 . _ -`.
fn address(device: Option<&str>, cursor: Option<(&str, PictureCursor)>) -> String {
    let mut query = Vec::new();
    if let Some(device) = device {
        query.push(format!("device={device}"));
    }
    if let Some((name, cursor)) = cursor {
        query.push(format!("{name}={cursor}"));
    }
    if query.is_empty() {
        "/pictures".to_owned()
    } else {
        format!("/pictures?{}", query.join("&"))
    }
}

/// Groups the pictures by day (UTC), in their order.
fn days(pictures: &[Picture]) -> impl Iterator<Item = &[Picture]> {
    let day = |picture: &Picture| picture.sort_us.div_euclid(86_400_000_000);
    pictures.chunk_by(move |a, b| day(a) == day(b))
}

fn nothing(page: &PageContext, view: &GalleryView, device: Option<&str>) -> Markup {
    let lang = page.visitor.language;
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::http::ui::templates::fixtures::{HOUR, NOW_US, id, picture, taken};
    use crate::store::Thumbnail;

    /// The pages with views that show every state.
    pub(in crate::http::ui::templates) fn pages(page: &PageContext) -> Vec<(&'static str, Markup)> {
        let all = gallery();
        let filtered = GalleryView {
            device: Some(id("boat-shed")),
            newer: Some(cursor(900)),
            older: Some(cursor(700)),
            pictures: all.pictures.iter().take(3).cloned().collect(),
            ..all.clone()
        };
        let nothing = GalleryView {
            cameras: Vec::new(),
            device: None,
            pictures: Vec::new(),
            total: 0,
            pending_thumbnails: 0,
            newer: None,
            older: None,
        };
        vec![
            ("pictures", gallery_page(page, &all)),
            ("pictures-camera", gallery_page(page, &filtered)),
            ("pictures-none", gallery_page(page, &nothing)),
        ]
    }

    fn cursor(arrival: i64) -> PictureCursor {
        PictureCursor { sort_us: NOW_US, arrival }
    }

    fn gallery() -> GalleryView {
        let names = ["porch", "boat-shed", "north-field", "greenhouse"];
        let mut pictures: Vec<_> = (0..12_u32)
            .zip(names.iter().cycle())
            .map(|(n, name)| {
                let mut picture = picture(name, 1000 - u64::from(n), NOW_US - i64::from(n) * 2 * HOUR);
                match n {
                    1 => picture.conflict = true,
                    2 => picture.damaged = true,
                    3 => picture.pressed.synchronised = false,
                    4 => picture.thumbnail = Thumbnail::Pending,
                    5 => picture.pressed.wall_us -= 30 * HOUR,
                    6 => (picture.pressed.synchronised, picture.pressed.wall_us) = (false, 0),
                    _ => {}
                }
                picture.taken = taken(&picture, None, &[]);
                picture.sort_us = picture.taken.best_us;
                picture
            })
            .collect();
        pictures.sort_by_key(|picture| std::cmp::Reverse(picture.sort_us));
        GalleryView {
            cameras: names.iter().map(|name| id(name)).collect(),
            device: None,
            pictures,
            total: 12_431,
            pending_thumbnails: 210,
            newer: None,
            older: Some(cursor(901)),
        }
    }
}
