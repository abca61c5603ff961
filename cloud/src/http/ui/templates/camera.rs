//! `/cameras/{device}`: what one camera sees, holds, shows on its light and was asked to do.

use keepsake_protocol::command::{CommandKind, CommandStage};
use keepsake_protocol::event::TombstoneReason;
use keepsake_protocol::presence::Presence;
use maud::{Markup, html};

use crate::auth::Role;
use crate::http::ui::badge::{Tone, chip, shape};
use crate::http::ui::capture_time;
use crate::http::ui::components::{
    capitalize, counters_line, fact, fault_advice, fault_name, grid, headline, image, is_online, picture_url,
};
use crate::http::ui::format::{TimeFormat, age_us, count, format_duration, pluralize, size, time};
use crate::http::ui::templates::led::{led, strip};
use crate::http::ui::templates::{LiveUpdates, Nav, layout, settings};
use crate::http::ui::timeline::{command_line, is_in_progress, picture_line, press_to_stored_us};
use crate::http::ui::views::{CameraView, CommandView, DeviceView, FaultView, PageContext, TombstoneView};

/// How long a command stands above the picture after it was given, unless its picture came.
const COMMAND_SHOWN_FOR_US: u64 = 120_000_000;

/// `/cameras/{device}`.
pub fn camera_page(site: &PageContext, view: &DeviceView) -> Markup {
    let camera = &view.camera;
    let (tone, words) = headline(camera, site.now_us);
    let poll = view
        .commands
        .iter()
        .any(|command| is_recent(command, site.now_us) && is_in_progress(command, site.now_us));
    let main = html! {
        // While a command is under way the page asks by itself: not every step is news to the stream.
        div.headline data-poll=[poll.then_some("1000")] {
            div {
                p.crumbs { a href="/" { "Cameras" } " / " (camera.device) }
                div.title { h1 { (camera.device) } (chip(tone, &words)) }
            }
            @if site.may(Role::Operator) { (buttons(camera)) }
        }
        (faults(site, camera, &view.faults))
        div.columns {
            div.column {
                (latest(site, view))
                (counters(camera))
                (without_picture(site, &view.tombstones))
                @if !view.recent.is_empty() {
                    section.panel aria-labelledby="recent" {
                        h2 #recent { "Latest pictures" }
                        (grid(&view.recent, false))
                        p { a.all href={ "/pictures?device=" (camera.device) } { "All pictures of " (camera.device) } }
                    }
                }
            }
            div.column {
                (light(camera))
                (queue(site, camera))
                (clock(site, view))
                @if let Some(settings) = &view.settings { (settings::summary(site, settings)) }
                (commands(site, &view.commands))
                (service(site, view))
                (past_faults(site, camera, &view.faults))
                (about(camera))
            }
        }
    };
    layout(
        site,
        camera.device.as_str(),
        Nav::Cameras,
        &LiveUpdates::Redraw {
            device: Some(camera.device.as_str()),
        },
        &main,
    )
}

fn buttons(camera: &CameraView) -> Markup {
    let device = &camera.device;
    let why_not = match camera.presence {
        Some(Presence::Online) => None,
        Some(Presence::Offline) => Some("Offline. Commands are available again once it reconnects."),
        None => Some("This camera only uploads pictures. It accepts no commands."),
    };
    html! {
        div.asks {
            div.ask-buttons {
                @for (kind, class, text) in [
                    (CommandKind::Identify, "button", "Blink LED"),
                    (CommandKind::Snap, "button button-first", "Take picture"),
                ] {
                    form method="post" action={ "/api/v1/devices/" (device) "/commands" } data-device=(device) {
                        button #{ "ask-" (kind.as_str()) } class=(class) type="submit" name="command" value=(kind.as_str()) disabled[why_not.is_some()]
                            aria-describedby=[why_not.map(|_| "why-not")] { (text) }
                    }
                }
            }
            @if let Some(why_not) = why_not {
                p #why-not .quiet { (why_not) }
            }
        }
    }
}

/// What is about the camera's program and not about pictures: away from the button that is pressed all day.
fn service(site: &PageContext, view: &DeviceView) -> Markup {
    let camera = &view.camera;
    let device = &camera.device;
    if camera.presence.is_none() {
        return html! {};
    }
    let away = !is_online(camera);
    let said = view
        .commands
        .iter()
        .find_map(|command| Some((command, command.result.as_ref()?)));
    html! {
        section.panel aria-labelledby="service" {
            h2 #service { "Service" }
            @if site.may(Role::Operator) { div.ask-buttons {
                @for (kind, text) in [
                    (CommandKind::Diagnostics, "Run diagnostics"),
                    (CommandKind::Restart, "Restart camera software"),
                ] {
                    form method="post" action={ "/api/v1/devices/" (device) "/commands" } data-device=(device) {
                        button.button #{ "ask-" (kind.as_str()) } type="submit" name="command" value=(kind.as_str()) disabled[away] { (text) }
                    }
                }
            } }
            @if away && site.may(Role::Operator) { p.quiet { "Offline. Commands are available again once it reconnects." } }
            @if site.may(Role::Operator) { p.quiet { "Restarting takes a few seconds. Pictures on the card are kept." } }
            @if let Some((command, result)) = said {
                details data-key={ "said-" (command.id) } {
                    summary { "Diagnostics from " (time(command.created_us, TimeFormat::Near, site.now_us)) }
                    (diagnostics(result, 0))
                }
            }
        }
    }
}

/// What a camera says about itself, whatever that is: names and values, three levels deep at the most.
fn diagnostics(result: &serde_json::Map<String, serde_json::Value>, depth: u8) -> Markup {
    use serde_json::Value;
    const DEPTH_MAX: u8 = 3;
    html! {
        dl.facts {
            @for (name, value) in result {
                @match value {
                    Value::Object(inner) if depth < DEPTH_MAX => {
                        dt.facts-group { (words(name)) }
                        dd { (diagnostics(inner, depth + 1)) }
                    }
                    Value::Array(list) if depth < DEPTH_MAX => {
                        dt.facts-group { (words(name)) }
                        dd {
                            @if list.is_empty() { "none" }
                            @for one in list {
                                @match one {
                                    Value::Object(inner) => (diagnostics(inner, depth + 1)),
                                    plain => p { (plain_value("", plain)) },
                                }
                            }
                        }
                    }
                    plain => (fact(&words(name), &html! { (plain_value(name, plain)) })),
                }
            }
        }
    }
}

/// A value with its unit, which the end of its name tells.
fn plain_value(name: &str, value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => match (name.rsplit('_').next(), number.as_u64()) {
            (Some("bytes"), Some(bytes)) => size(bytes),
            (Some("s"), Some(seconds)) if name.ends_with("_for_s") || name.ends_with("ago_s") => {
                format_duration(seconds.saturating_mul(1_000_000))
            }
            (Some("mc"), Some(thousandths)) => format!("{} °C", thousandths / 1000),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

fn words(name: &str) -> String {
    let bare = ["_for_s", "_s", "_bytes", "_mc"]
        .iter()
        .find_map(|unit| name.strip_suffix(unit))
        .unwrap_or(name);
    capitalize(&bare.replace('_', " "))
}

fn is_recent(command: &CommandView, now_us: i64) -> bool {
    age_us(command.created_us, now_us) < COMMAND_SHOWN_FOR_US
}

fn latest(site: &PageContext, view: &DeviceView) -> Markup {
    let camera = &view.camera;
    let asked = view
        .commands
        .iter()
        .find(|command| command.command == CommandKind::Snap)
        .filter(|command| command.stored.is_none() && is_recent(command, site.now_us));
    let old = !is_online(camera) && camera.presence.is_some();
    html! {
        section class={ "panel latest" @if old { " card-old" } } aria-labelledby="latest" {
            @if let Some(picture) = &camera.latest {
                a.latest-picture href=(picture_url(&picture.id)) data-key=(picture.id) {
                    (image(picture, true, "The latest picture"))
                    span.over-time { (capture_time::short(picture, site.now_us)) }
                }
            } @else {
                div.latest-picture {
                    span.no-image {
                        "No picture yet. "
                        @if is_online(camera) { "Press its button, or take a picture from here." }
                    }
                }
            }
            div.latest-words {
                @if let Some(command) = asked {
                    div.latest-title {
                        h2 #latest { "Picture requested " (time(command.created_us, TimeFormat::Age, site.now_us)) " ago" }
                        span { (expectation(command, site.now_us)) }
                    }
                    (command_line(command, site.now_us))
                } @else if let Some(picture) = &camera.latest {
                    div.latest-title {
                        h2 #latest { "The latest picture" }
                        span {
                            (pluralize(picture.id.capture.sequence.get(), "press", "presses")) " so far"
                            @if let Some(total) = press_to_stored_us(picture) { ", this one took " (format_duration(total)) }
                        }
                    }
                    (picture_line(picture))
                } @else {
                    h2 #latest { "The latest picture" }
                }
            }
        }
    }
}

/// What is known while a picture is awaited, instead of a wheel that turns.
fn expectation(command: &CommandView, now_us: i64) -> String {
    let reached = |stage: CommandStage| command.stages.iter().find(|said| said.stage == stage);
    if let Some(failed) = reached(CommandStage::Failed) {
        return match &failed.text {
            Some(text) => capitalize(text),
            None => "The camera could not run the command.".to_owned(),
        };
    }
    if reached(CommandStage::Expired).is_some() {
        return "The command reached the camera too late and was not run.".to_owned();
    }
    if reached(CommandStage::Saved).is_some() {
        return "Saved on the card, uploading.".to_owned();
    }
    if reached(CommandStage::Captured).is_some() {
        return "The camera is saving the picture.".to_owned();
    }
    if reached(CommandStage::Accepted).is_some() {
        return "The camera received the command.".to_owned();
    }
    if now_us >= command.expires_us {
        return "The camera did not answer in time. The command has expired.".to_owned();
    }
    if command.sent_us.is_none() {
        return "The command is sent once the camera reconnects.".to_owned();
    }
    "No answer from the camera yet.".to_owned()
}

fn light(camera: &CameraView) -> Markup {
    if camera.presence.is_none() {
        return html! {};
    }
    html! {
        section.panel aria-labelledby="light" {
            h2 #light { "LED status" }
            @match (&camera.light, is_online(camera)) {
                (Some(light), true) => {
                    div.light {
                        (led(&light.pattern))
                        div {
                            p.light-looks { (capitalize(&light.appearance)) }
                            p { (capitalize(&light.meaning)) }
                        }
                    }
                    (strip(&light.pattern))
                },
                (Some(_), false) => p { "Not known while it is offline." },
                (None, _) => p { "Not reported" },
            }
        }
    }
}

fn queue(site: &PageContext, camera: &CameraView) -> Markup {
    let queue = &camera.queue;
    if camera.presence.is_none() {
        return html! {};
    }
    let rest_us = queue
        .bytes_per_s
        .filter(|rate| *rate > 0 && is_online(camera) && site.hold.is_none())
        .map(|rate| (queue.waiting_bytes / rate).saturating_mul(1_000_000));
    html! {
        section.panel aria-labelledby="queue" {
            h2 #queue { "Queue" }
            dl.facts {
                (fact("Waiting", &html! {
                    (pluralize(queue.waiting, "picture", "pictures"))
                    @if queue.waiting > 0 { ", " (size(queue.waiting_bytes)) }
                }))
                @if let Some(oldest) = &queue.oldest {
                    (fact("Oldest", &html! {
                        @if oldest.synchronised {
                            (time(oldest.wall_us, TimeFormat::Near, site.now_us)) ", " (time(oldest.wall_us, TimeFormat::Age, site.now_us))
                        } @else {
                            "from before its clock was set"
                        }
                    }))
                }
                @if queue.waiting > 0 {
                    @match (&site.hold, rest_us) {
                        (Some(_), _) => (fact("At this speed", &html! { "Paused: the cloud is not accepting uploads" })),
                        (None, Some(rest)) => (fact("At this speed", &html! {
                            "done in about " (format_duration(rest.max(1_000_000)))
                        })),
                        (None, None) => {},
                    }
                }
                (fact("Still on card (already uploaded)", &html! { (count(camera.kept)) }))
                @if queue.parked > 0 {
                    (fact("Rejected by this cloud", &html! { (shape(Tone::Wait)) " " (count(queue.parked)) }))
                }
                (fact("Lost on card (total)", &html! {
                    @if queue.lost > 0 { (shape(Tone::Err)) " " }
                    (count(queue.lost))
                }))
            }
            @if !is_online(camera) { p.quiet { "Last reported" } }
        }
    }
}

fn counters(camera: &CameraView) -> Markup {
    html! {
        section.panel aria-labelledby="counters" {
            h2 #counters { "Press accounting" }
            p.counters { (counters_line(&camera.counters, camera.coarse)) }
            @if camera.coarse {
                p.quiet { "The camera's inventory was too long for one message, so some pictures counted as held may be missing." }
            }
            @if camera.counters.missing > 0 {
                p.trouble.trouble-err {
                    (shape(Tone::Err))
                    span {
                        (pluralize(camera.counters.missing, "picture is", "pictures are"))
                        " missing: not in the cloud and not on the card. If you have an older card from this camera, insert it; its pictures upload automatically."
                    }
                }
            }
            @if camera.conflicts > 0 {
                p.trouble.trouble-wait {
                    (shape(Tone::Wait))
                    span {
                        (pluralize(camera.conflicts, "picture has", "pictures have"))
                        " a duplicate number, because a card was copied or restored. All of them are kept and shown."
                    }
                }
            }
            @if camera.damaged > 0 {
                p.trouble.trouble-wait {
                    (shape(Tone::Wait))
                    span {
                        (pluralize(camera.damaged, "picture does", "pictures do"))
                        " not decode. The original bytes are kept."
                    }
                }
            }
            @if camera.installs.len() > 1 {
                (installs(camera))
            }
        }
    }
}

fn installs(camera: &CameraView) -> Markup {
    html! {
        p {
            "This camera restarted its numbering " (count(camera.installs.len() as u64 - 1))
            @if camera.installs.len() == 2 { " time" } @else { " times" }
            ": a card was replaced, copied or restored. Pictures are numbered separately for each card."
        }
        div.scroll tabindex="0" role="region" aria-label="Presses by card" {
            table {
                thead { tr {
                    th scope="col" { "Card" }
                    @for name in ["Pressed", "Stored", "Deleted", "No picture", "Held", "Missing"] { th.number scope="col" { (name) } }
                } }
                tbody {
                    @for (index, install) in camera.installs.iter().enumerate() {
                        @let sums = &install.counters;
                        tr {
                            th scope="row" {
                                code title=(install.install) { (install.install.to_string()[..8]) }
                                @if index == 0 { " now" }
                            }
                            @for number in [sums.pressed(), sums.stored, sums.deleted, sums.told, sums.held, sums.missing] {
                                td.number { (count(number)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Presses of the same reason next to each other, as one line.
struct MissingPictures {
    presses: u64,
    reason: TombstoneReason,
    newest: (Option<i64>, i64),
}

fn without_picture(site: &PageContext, tombstones: &[TombstoneView]) -> Markup {
    if tombstones.is_empty() {
        return html! {};
    }
    let mut groups: Vec<MissingPictures> = Vec::new();
    for stone in tombstones {
        let presses = stone.last.get().saturating_sub(stone.first.get()).saturating_add(1);
        match groups.last_mut() {
            Some(group) if group.reason == stone.reason => {
                group.presses = group.presses.saturating_add(presses);
            }
            Some(_) | None => groups.push(MissingPictures {
                presses,
                reason: stone.reason,
                newest: (
                    stone.pressed.filter(|m| m.synchronised).map(|m| m.wall_us),
                    stone.told_us,
                ),
            }),
        }
    }
    html! {
        section.panel aria-labelledby="without" {
            h2 #without { "Presses without a picture" }
            ul.rows {
                @for group in &groups {
                    li {
                        span { (pluralize(group.presses, "press", "presses")) " without a picture: " (group.reason.describe()) }
                        span.quiet {
                            @match group.newest {
                                (Some(pressed), _) => (time(pressed, TimeFormat::Near, site.now_us)),
                                (None, told) => { "reported " (time(told, TimeFormat::Near, site.now_us)) },
                            }
                        }
                    }
                }
            }
        }
    }
}

fn clock(site: &PageContext, view: &DeviceView) -> Markup {
    let Some(said) = &view.said else {
        return html! {};
    };
    html! {
        section.panel aria-labelledby="clock" {
            h2 #clock { "Clock" }
            @if said.synchronised {
                p { (chip(Tone::Ok, &html! { "Accurate to ±" (format_duration(said.error_us)) })) }
                p {
                    "Synchronised, last reported " (time(view.camera.reported_us(), TimeFormat::Near, site.now_us)) "."
                }
            } @else {
                p { (chip(Tone::Wait, &html! { "Not set" })) }
                p { "The clock has not been set since startup (" (format_duration(said.boottime_us)) " before the last report). Pictures are still in order, by their number." }
            }
        }
    }
}

fn faults(site: &PageContext, camera: &CameraView, told: &[FaultView]) -> Markup {
    html! {
        @for number in &camera.faults {
            section.panel.fault aria-label=(fault_name(*number)) {
                h2 { (shape(Tone::Err)) " " (fault_name(*number)) }
                @if let Some(said) = told.iter().find(|fault| fault.number == *number) {
                    p { "Reported: " (capitalize(&said.text)) " " span.quiet { (time(said.told_us, TimeFormat::Near, site.now_us)) } }
                }
                p { (fault_advice(*number)) }
                @if (1..=7).contains(number) {
                    p.quiet { "LED: one long, " (number) " short." }
                }
            }
        }
    }
}

fn past_faults(site: &PageContext, camera: &CameraView, told: &[FaultView]) -> Markup {
    html! {
        @let past: Vec<&FaultView> = told.iter().filter(|fault| !camera.faults.contains(&fault.number)).take(5).collect();
        @if !past.is_empty() {
            section.panel aria-labelledby="past" {
                h2 #past { "Resolved faults" }
                ul.rows {
                    @for fault in past {
                        li {
                            span { (fault_name(fault.number)) ": " (fault.text) }
                            span.quiet { (time(fault.told_us, TimeFormat::Near, site.now_us)) }
                        }
                    }
                }
            }
        }
    }
}

fn commands(site: &PageContext, commands: &[CommandView]) -> Markup {
    if commands.is_empty() {
        return html! {};
    }
    html! {
        section.panel aria-labelledby="commands" {
            h2 #commands { "Commands" }
            ul.rows {
                @for command in commands.iter().take(10) {
                    li data-key=(command.id) {
                        span {
                            span.quiet { (time(command.created_us, TimeFormat::Near, site.now_us)) } " "
                            (match command.command {
                                CommandKind::Snap => "Take picture",
                                CommandKind::Identify => "Blink LED",
                                CommandKind::Restart => "Restart",
                                CommandKind::Diagnostics => "Run diagnostics",
                            })
                        }
                        span { (outcome(command, site.now_us)) }
                    }
                }
            }
        }
    }
}

fn outcome(command: &CommandView, now_us: i64) -> Markup {
    let last = command.stages.iter().max_by_key(|said| said.stage);
    let text = last.and_then(|said| said.text.as_deref());
    html! {
        @if let Some((picture, at)) = &command.stored {
            a href=(picture_url(picture)) {
                "stored after " (format_duration(u64::try_from(at.saturating_sub(command.created_us)).unwrap_or(0)))
            }
        } @else if let Some(said) = last {
            @match said.stage {
                CommandStage::Accepted => "received by the camera",
                CommandStage::Captured => "captured",
                CommandStage::Saved => "safe on the card",
                CommandStage::Done => {
                    "done"
                    @if let Some(after) = said.after_us { " in " (format_duration(after)) }
                },
                CommandStage::Failed => { (shape(Tone::Err)) " failed" },
                CommandStage::Expired => { (shape(Tone::Off)) " expired" },
            }
            @if let Some(text) = text { ": " (text) }
        } @else if now_us >= command.expires_us {
            (shape(Tone::Off)) " not answered"
        } @else if command.sent_us.is_some() {
            "sent"
        } @else {
            (shape(Tone::Wait)) " waiting for the camera"
        }
    }
}

fn about(camera: &CameraView) -> Markup {
    let health = &camera.health;
    if camera.version.is_empty() && health.card_total == 0 {
        return html! {};
    }
    html! {
        section.panel aria-labelledby="about" {
            h2 #about { "The camera" }
            dl.facts {
                @if health.card_total > 0 {
                    (fact("Card free", &html! { (size(health.card_free)) " of " (size(health.card_total)) }))
                }
                @if let Some(temperature) = health.temperature_mc {
                    (fact("Temperature", &html! { (temperature / 1000) " °C" }))
                }
                @if !camera.version.is_empty() {
                    (fact("Version", &html! { (camera.version) }))
                }
                @if let Some(install) = camera.installs.first() {
                    (fact("Spool", &html! { code { (install.install) } }))
                }
            }
        }
    }
}
