//! `/cameras/{device}`: one camera: its pictures, counters, last report and commands.

mod commands;
mod counters;
mod diagnostics;
mod status;
#[cfg(test)]
pub(super) mod tests;

use keepsake_protocol::command::CommandKind;
use maud::{Markup, html};

use crate::auth::Role;
use crate::http::ui::badge::chip;
use crate::http::ui::capture_time;
use crate::http::ui::components::{grid, headline, image, picture_url};
use crate::http::ui::format::{TimeFormat, age_us, format_duration, time};
use crate::http::ui::messages::t;
use crate::http::ui::templates::{LiveUpdates, Nav, layout, settings};
use crate::http::ui::timeline::{command_line, is_in_progress, picture_line, press_to_stored_us};
use crate::http::ui::views::{CommandView, DeviceView, PageContext};

/// A command is shown above the picture for this time, unless its picture came.
const COMMAND_SHOWN_FOR_US: u64 = 120_000_000;

/// `/cameras/{device}`.
pub fn camera_page(page: &PageContext, view: &DeviceView) -> Markup {
    let camera = &view.camera;
    let lang = page.visitor.language;
    let (tone, words) = headline(lang, camera, page.now_us);
    let poll = view
        .commands
        .iter()
        .any(|command| is_recent(command, page.now_us) && is_in_progress(command, page.now_us));
    let main = html! {
        // While a command is under way the page asks by itself: not every step is news to the stream.
        div.headline data-poll=[poll.then_some("1000")] {
            div {
                p.crumbs { a href="/" { (t!(lang, "cameras-title")) } " / " (camera.id) }
                div.title { h1 { (camera.id) } (chip(tone, &words)) }
            }
            @if page.may(Role::Operator) { (commands::buttons(lang, camera)) }
        }
        (status::faults(page, camera, &view.faults))
        div.columns {
            div.column {
                (latest(page, view))
                (counters::counters(lang, camera))
                (counters::without_picture(page, &view.tombstones))
                @if !view.recent.is_empty() {
                    section.panel aria-labelledby="recent" {
                        h2 #recent { (t!(lang, "latest-pictures")) }
                        (grid(lang, &view.recent, false))
                        p {
                            a.all href={ "/pictures?device=" (camera.id) } {
                                (t!(lang, "all-pictures-of", camera = camera.id.as_str()))
                            }
                        }
                    }
                }
            }
            div.column {
                (status::light(lang, camera))
                (status::queue(page, camera))
                (status::clock(page, view))
                @if let Some(settings) = &view.settings { (settings::summary(page, settings)) }
                (commands::commands(page, &view.commands))
                (commands::service(page, view))
                (status::past_faults(page, camera, &view.faults))
                (status::about(lang, camera))
            }
        }
    };
    layout(
        page,
        &html! { (camera.id) },
        Nav::Cameras,
        &LiveUpdates::Redraw(Some(camera.id.as_str())),
        &main,
    )
}

fn is_recent(command: &CommandView, now_us: i64) -> bool {
    age_us(command.command.created_us, now_us) < COMMAND_SHOWN_FOR_US
}

fn latest(page: &PageContext, view: &DeviceView) -> Markup {
    let lang = page.visitor.language;
    let camera = &view.camera;
    let requested = view
        .commands
        .iter()
        .find(|command| command.command.command == CommandKind::Snap)
        .filter(|command| command.stored.is_none() && is_recent(command, page.now_us));
    let old = camera.is_offline();
    let title = t!(lang, "latest-picture");
    html! {
        section class={ "panel latest" @if old { " card-old" } } aria-labelledby="latest" {
            @if let Some(picture) = &camera.latest {
                a.latest-picture #{ "latest-" (picture.id()) } href=(picture_url(&picture.id())) {
                    (image(lang, picture, true, &title))
                    span.over-time { (capture_time::short(lang, picture, page.now_us)) }
                }
            } @else {
                div.latest-picture {
                    span.no-image {
                        @match camera.is_online() {
                            true => (t!(lang, "no-picture-yet-press")),
                            false => (t!(lang, "no-picture-yet")),
                        }
                    }
                }
            }
            div.latest-words {
                @if let Some(command) = requested {
                    @let age = time(lang, command.command.created_us, TimeFormat::Age, page.now_us);
                    div.latest-title {
                        h2 #latest { (t!(lang, "picture-requested", age = age)) }
                        span { (commands::expectation(lang, &command.command, page.now_us)) }
                    }
                    (command_line(lang, command, page.now_us))
                } @else if let Some(picture) = &camera.latest {
                    div.latest-title {
                        h2 #latest { (title) }
                        span {
                            (t!(lang, "presses-so-far", count = picture.capture.sequence.get()))
                            @if let Some(total) = press_to_stored_us(picture) {
                                ", " (t!(lang, "this-took", duration = format_duration(lang, total)))
                            }
                        }
                    }
                    (picture_line(lang, picture))
                } @else {
                    h2 #latest { (title) }
                }
            }
        }
    }
}
