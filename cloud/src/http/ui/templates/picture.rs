//! `/pictures/{id}`: one picture and its timeline.

use keepsake_protocol::capture::Cause;
use maud::{Markup, html};

use crate::http::ui::badge::{Tone, chip, shape};
use crate::http::ui::capture_time;
use crate::http::ui::components::{camera_url, fact, image, image_url, picture_url};
use crate::http::ui::format::{format_duration, size};
use crate::http::ui::language::Language;
use crate::http::ui::messages::t;
use crate::http::ui::templates::{LiveUpdates, Nav, layout};
use crate::http::ui::text::count;
use crate::http::ui::timeline::{picture_list, press_to_stored_us};
use crate::http::ui::views::{PageContext, PictureDetailView};
use crate::store::Picture;

/// `/pictures/{id}`.
pub fn picture_page(page: &PageContext, view: &PictureDetailView) -> Markup {
    let lang = page.visitor.language;
    let picture = &view.picture;
    let title = t!(lang, "picture-by", camera = picture.device.as_str());
    let main = html! {
        div.headline {
            div {
                p.crumbs {
                    a href=(camera_url(&picture.device)) { (picture.device) } " / "
                    a href={ "/pictures?device=" (picture.device) } { (t!(lang, "pictures-title")) }
                }
                h1 { (capture_time::full(lang, picture, page.now_us)) }
            }
            div.ask-buttons {
                @if let Some(older) = &view.older { a.button rel="prev" href=(picture_url(older)) { "‹ " (t!(lang, "older")) } }
                @if let Some(newer) = &view.newer { a.button rel="next" href=(picture_url(newer)) { (t!(lang, "newer")) " ›" } }
                a.button.button-first href=(image_url(&picture.id())) download=(file_name(picture)) {
                    (t!(lang, "download", size = size(picture.bytes).as_str()))
                }
            }
        }
        div.columns {
            div.column {
                div.panel.whole {
                    a href=(image_url(&picture.id())) { (image(lang, picture, true, &title)) }
                }
            }
            div.column {
                (explained(lang, view))
                section.panel aria-labelledby="journey" {
                    h2 #journey {
                        (t!(lang, "journey"))
                        @if let Some(total) = press_to_stored_us(picture) {
                            " " span.quiet { (t!(lang, "journey-took", duration = format_duration(lang, total))) }
                        }
                    }
                    (picture_list(lang, picture))
                }
                (clock(page, picture))
                (facts(lang, picture))
            }
        }
    };
    layout(page, &title, Nav::Pictures, &LiveUpdates::No, &main)
}

fn clock(page: &PageContext, picture: &Picture) -> Markup {
    let lang = page.visitor.language;
    html! {
        section.panel aria-labelledby="clock" {
            h2 #clock { (t!(lang, "when")) }
            (capture_time::explanation(page, picture))
        }
    }
}

fn explained(lang: Language, view: &PictureDetailView) -> Markup {
    let picture = &view.picture;
    html! {
        @if picture.conflict || !view.twins.is_empty() {
            section.panel.notice aria-labelledby="conflict" {
                h2 #conflict { (shape(Tone::Wait)) " " (t!(lang, "duplicate-number")) }
                p {
                    (t!(lang, "conflict-why"))
                }
                @for twin in &view.twins {
                    p { a href=(picture_url(twin)) { (t!(lang, "other-picture", hash = html! { code { (twin.hash) } })) } }
                }
            }
        }
        @if picture.damaged {
            section.panel.fault aria-labelledby="damaged" {
                h2 #damaged { (chip(Tone::Err, &t!(lang, "damaged"))) }
                p {
                    (t!(lang, "damaged-why"))
                }
            }
        }
    }
}

fn facts(lang: Language, picture: &Picture) -> Markup {
    html! {
        section.panel aria-labelledby="facts" {
            h2 #facts { (t!(lang, "picture-facts")) }
            dl.facts {
                (fact(&t!(lang, "fact-trigger"), &html! {
                    (match picture.cause {
                        Cause::Button => t!(lang, "trigger-button"),
                        Cause::Command => t!(lang, "trigger-command"),
                        Cause::Interval => t!(lang, "trigger-interval"),
                        Cause::Test => t!(lang, "trigger-test"),
                        Cause::Upload => t!(lang, "trigger-upload"),
                    })
                }))
                (fact(&t!(lang, "fact-number"), &html! { (count(picture.capture.sequence.get())) }))
                @if picture.width > 0 && picture.height > 0 {
                    (fact(&t!(lang, "fact-pixels"), &html! { (picture.width) " × " (picture.height) }))
                }
                (fact(&t!(lang, "fact-size"), &html! { (size(picture.bytes)) }))
                (fact(&t!(lang, "fact-kind"), &html! { (picture.content_type.as_str()) }))
                (fact(&t!(lang, "fact-spool"), &html! { code { (picture.capture.spool) } }))
                (fact(&html! { "SHA-256" }, &html! { code { (picture.hash) } }))
            }
        }
    }
}

/// A name that sorts and says where it is from.
fn file_name(picture: &Picture) -> String {
    let when = capture_time::exact_time(picture)
        .and_then(|at_us| jiff::Timestamp::from_microsecond(at_us).ok())
        .map(|at| at.strftime("%Y-%m-%d_%H-%M-%SZ_").to_string())
        .unwrap_or_default();
    format!(
        "{when}{}_{}.{}",
        picture.device,
        picture.capture.sequence,
        picture.content_type.extension()
    )
}

#[cfg(test)]
pub(super) mod tests {
    use keepsake_protocol::event::BootClockOffset;
    use keepsake_protocol::id::PictureId;

    use super::*;
    use crate::http::ui::templates::fixtures::{HOUR, MIN, NOW_US, S, assert_reviewed, page, picture, taken};

    /// The pages with views that show every state.
    pub(in crate::http::ui::templates) fn pages(page: &PageContext) -> Vec<(&'static str, Markup)> {
        let mut twin = picture("boat-shed", 12, NOW_US - MIN);
        twin.conflict = true;
        twin.damaged = true;
        twin.attempt = 2;
        let mut estimated = picture("north-field", 9, NOW_US - 2 * HOUR);
        estimated.pressed.synchronised = false;
        estimated.taken = taken(&estimated, None, &[]);
        let mut upload = picture("camera", 3, NOW_US - MIN);
        upload.cause = Cause::Upload;
        let other = picture("boat-shed", 13, NOW_US).id();
        let page = |picture: Picture, twins: Vec<PictureId>| {
            let view = PictureDetailView { picture, newer: Some(other), older: Some(other), twins };
            picture_page(page, &view)
        };
        vec![
            ("picture", page(picture("boat-shed", 12, NOW_US - MIN), Vec::new())),
            ("picture-conflict", page(twin, vec![other])),
            ("picture-estimated", page(estimated, Vec::new())),
            ("picture-upload", page(upload, Vec::new())),
        ]
    }

    /// Each step makes the time of the same press less or better known; none shows more than is known.
    #[test]
    fn a_picture_says_how_its_time_became_known() {
        let mut picture = picture("porch", 7, NOW_US - MIN);
        let mut states = Vec::new();
        let mut show = |title: &str, picture: &Picture| {
            let view = PictureDetailView {
                picture: picture.clone(),
                newer: None,
                older: None,
                twins: Vec::new(),
            };
            let page = picture_page(&page(), &view).into_string();
            let (start, end) = (
                page.find("<h1").unwrap(),
                page.find("<section class=\"panel\" aria-labelledby=\"facts\"").unwrap(),
            );
            states.push(format!("<!-- {title} -->{}", &page[start..end]));
        };
        show("The clock was synchronised", &picture);

        // Its clock was three hours behind, and was set ten minutes after the press.
        let mut later = picture.pressed;
        later.boottime_us += 600_000_000;
        later.wall_us += 10 * MIN;
        let offset = BootClockOffset::from_reading(&later).unwrap();
        picture.pressed.synchronised = false;
        let synchronised_us = picture.pressed.wall_us;
        picture.pressed.wall_us -= 3 * HOUR;
        picture.taken = taken(&picture, None, std::slice::from_ref(&offset));
        show("The clock was set later in the same boot", &picture);

        // And then back by a day, and called right again.
        let back = BootClockOffset { offset_us: offset.offset_us - 24 * HOUR, ..offset.clone() };
        picture.taken = taken(&picture, None, &[offset, back]);
        show("The clock was set twice, to different times", &picture);
        picture.pressed.wall_us = synchronised_us;
        picture.taken = taken(&picture, None, &[]);
        show("The clock was never set", &picture);
        picture.pressed.wall_us = 17 * S;
        picture.taken = taken(&picture, None, &[]);
        show("The clock started in 1970", &picture);
        picture.sent_after_us = None;
        picture.taken = taken(&picture, Some(NOW_US - 2 * HOUR), &[]);
        show("The card had noted a time two hours before", &picture);
        picture.taken = taken(&picture, Some(NOW_US - 2 * MIN), &[]);
        show("The card had noted a time a minute before", &picture);
        assert_reviewed("en-picture-times", &states.concat());
    }
}
