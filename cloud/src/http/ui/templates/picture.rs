//! `/pictures/{id}`: one picture, and how it came here.

use keepsake_protocol::capture::Cause;
use maud::{Markup, html};

use crate::http::ui::badge::{Tone, chip, shape};
use crate::http::ui::capture_time;
use crate::http::ui::components::{camera_url, fact, image, image_url, picture_url};
use crate::http::ui::format::{count, format_duration, size};
use crate::http::ui::templates::{LiveUpdates, Nav, layout};
use crate::http::ui::timeline::{picture_list, press_to_stored_us};
use crate::http::ui::views::{PageContext, PictureDetailView, PictureView};

/// `/pictures/{id}`.
pub fn picture_page(site: &PageContext, view: &PictureDetailView) -> Markup {
    let picture = &view.picture;
    let main = html! {
        div.headline {
            div {
                p.crumbs {
                    a href=(camera_url(&picture.device)) { (picture.device) } " / "
                    a href={ "/pictures?device=" (picture.device) } { "Pictures" }
                }
                h1 { (capture_time::full(picture, site.now_us)) }
            }
            div.ask-buttons {
                @if let Some(older) = &view.older { a.button rel="prev" href=(picture_url(older)) { "‹ Older" } }
                @if let Some(newer) = &view.newer { a.button rel="next" href=(picture_url(newer)) { "Newer ›" } }
                a.button.button-first href=(image_url(&picture.id)) download=(file_name(picture)) {
                    "Download, " (size(picture.bytes))
                }
            }
        }
        div.columns {
            div.column {
                div.panel.whole {
                    a href=(image_url(&picture.id)) { (image(picture, true, &format!("Picture by {}", picture.device))) }
                }
            }
            div.column {
                (explained(view))
                section.panel aria-labelledby="journey" {
                    h2 #journey {
                        "Journey"
                        @if let Some(total) = press_to_stored_us(picture) { span.quiet { " took " (format_duration(total)) } }
                    }
                    (picture_list(picture))
                }
                (clock(site, picture))
                (facts(picture))
            }
        }
    };
    layout(
        site,
        &format!("Picture by {}", picture.device),
        Nav::Pictures,
        &LiveUpdates::No,
        &main,
    )
}

fn clock(site: &PageContext, picture: &PictureView) -> Markup {
    html! {
        section.panel aria-labelledby="clock" {
            h2 #clock { "When" }
            (capture_time::explanation(site, picture))
        }
    }
}

fn explained(view: &PictureDetailView) -> Markup {
    let picture = &view.picture;
    html! {
        @if picture.conflict || !view.twins.is_empty() {
            section.panel.notice aria-labelledby="conflict" {
                h2 #conflict { (shape(Tone::Wait)) " Duplicate number" }
                p {
                    "A card was copied or restored, and both continued with the same numbers. Both pictures are kept."
                }
                @for twin in &view.twins {
                    p { a href=(picture_url(twin)) { "The other picture, " code { (twin.hash) } } }
                }
            }
        }
        @if picture.damaged {
            section.panel.fault aria-labelledby="damaged" {
                h2 #damaged { (chip(Tone::Err, &html! { "Damaged" })) }
                p {
                    "These bytes do not decode as a picture. They arrived complete: their hash is the one the camera computed. They are kept as they are and can be downloaded; a repair program may read a part."
                }
            }
        }
    }
}

fn facts(picture: &PictureView) -> Markup {
    html! {
        section.panel aria-labelledby="facts" {
            h2 #facts { "The picture" }
            dl.facts {
                (fact("Trigger", &html! {
                    (match picture.cause {
                        Cause::Button => "button press",
                        Cause::Command => "requested from this page or the API",
                        Cause::Interval => "interval",
                        Cause::Test => "test",
                        Cause::Upload => "upload",
                    })
                }))
                (fact("Number", &html! { (count(picture.id.capture.sequence.get())) }))
                @if picture.width > 0 && picture.height > 0 {
                    (fact("Pixels", &html! { (picture.width) " × " (picture.height) }))
                }
                (fact("Size", &html! { (size(picture.bytes)) }))
                (fact("Kind", &html! { (picture.content_type.as_str()) }))
                (fact("Spool", &html! { code { (picture.id.capture.spool) } }))
                (fact("SHA-256", &html! { code { (picture.hash) } }))
            }
        }
    }
}

/// A name that sorts and says where it is from.
fn file_name(picture: &PictureView) -> String {
    let when = capture_time::exact_time(picture)
        .and_then(|at_us| jiff::Timestamp::from_microsecond(at_us).ok())
        .map(|at| at.strftime("%Y-%m-%d_%H-%M-%SZ_").to_string())
        .unwrap_or_default();
    format!(
        "{when}{}_{}.{}",
        picture.device,
        picture.id.capture.sequence,
        picture.content_type.extension()
    )
}
