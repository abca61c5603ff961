//! The buttons that send commands, and the commands that were sent.

use keepsake_protocol::DeviceId;
use keepsake_protocol::command::{CommandKind, CommandStage};
use maud::{Markup, html};

use crate::auth::Role;
use crate::http::ui::badge::{Tone, shape};
use crate::http::ui::components::picture_url;
use crate::http::ui::format::{TimeFormat, format_duration, time};
use crate::http::ui::language::Language;
use crate::http::ui::messages::{sentence, t, translate};
use crate::http::ui::templates::camera::diagnostics::diagnostics;
use crate::http::ui::views::{CommandView, DeviceView, PageContext};
use crate::store::{Command, Device};

pub(super) fn buttons(lang: Language, camera: &Device) -> Markup {
    let device = &camera.id;
    let why_not = match (camera.is_camera(), camera.is_online()) {
        (_, true) => None,
        (true, false) => Some(t!(lang, "commands-offline")),
        (false, false) => Some(t!(lang, "commands-upload-only")),
    };
    html! {
        div.asks {
            div.ask-buttons {
                (command_button(lang, device, CommandKind::Identify, "button", why_not.is_some()))
                (command_button(lang, device, CommandKind::Snap, "button button-first", why_not.is_some()))
            }
            @if let Some(why_not) = why_not {
                p #why-not .quiet { (why_not) }
            }
        }
    }
}

/// Commands about the camera's program, away from the button that is pressed all day.
pub(super) fn service(page: &PageContext, view: &DeviceView) -> Markup {
    let lang = page.visitor.language;
    let camera = &view.camera;
    let device = &camera.id;
    if !camera.is_camera() {
        return html! {};
    }
    let away = !camera.is_online();
    let mut commands = view.commands.iter().map(|command| &command.command);
    let latest = commands.find_map(|command| Some((command, command.result.as_ref()?)));
    html! {
        section.panel aria-labelledby="service" {
            h2 #service { (t!(lang, "service")) }
            @if page.may(Role::Operator) {
                div.ask-buttons {
                    (command_button(lang, device, CommandKind::Diagnostics, "button", away))
                    (command_button(lang, device, CommandKind::Restart, "button", away))
                }
                @if away { p.quiet { (t!(lang, "commands-offline")) } }
                p.quiet { (t!(lang, "restart-hint")) }
            }
            @if let Some((command, result)) = latest {
                details #{ "diagnostics-" (command.id) } {
                    summary {
                        (t!(
                            lang,
                            "diagnostics-from",
                            time = time(lang, command.created_us, TimeFormat::Near, page.now_us)
                        ))
                    }
                    (diagnostics(lang, result, 0))
                }
            }
        }
    }
}

fn command_button(lang: Language, device: &DeviceId, kind: CommandKind, class: &str, disabled: bool) -> Markup {
    html! {
        form method="post" action={ "/cameras/" (device) "/commands" } data-device=(device) {
            button #{ "ask-" (kind.as_str()) } class=(class) type="submit" name="command" value=(kind.as_str())
                disabled[disabled] aria-describedby=[disabled.then_some("why-not")] {
                (match kind {
                    CommandKind::Restart => t!(lang, "restart-software"),
                    other => command_name(lang, other),
                })
            }
        }
    }
}

/// The name of a command, as its button and the list of commands have it.
fn command_name(lang: Language, kind: CommandKind) -> Markup {
    match kind {
        CommandKind::Snap => t!(lang, "take-picture"),
        CommandKind::Identify => t!(lang, "blink-led"),
        CommandKind::Restart => t!(lang, "restart"),
        CommandKind::Diagnostics => t!(lang, "run-diagnostics"),
    }
}

/// The last known step while a picture is awaited, instead of a wheel that turns.
pub(super) fn expectation(lang: Language, command: &Command, now_us: i64) -> Markup {
    let reached = |stage: CommandStage| command.stages.iter().find(|reached| reached.stage == stage);
    if let Some(failed) = reached(CommandStage::Failed) {
        return match &failed.text {
            Some(text) => sentence(lang, text),
            None => t!(lang, "expect-failed"),
        };
    }
    if reached(CommandStage::Expired).is_some() {
        t!(lang, "expect-too-late")
    } else if reached(CommandStage::Saved).is_some() {
        t!(lang, "expect-uploading")
    } else if reached(CommandStage::Captured).is_some() {
        t!(lang, "expect-saving")
    } else if reached(CommandStage::Accepted).is_some() {
        t!(lang, "expect-received")
    } else if now_us >= command.expires_us {
        t!(lang, "expect-expired")
    } else if command.sent_us.is_none() {
        t!(lang, "expect-offline")
    } else {
        t!(lang, "expect-no-answer")
    }
}

pub(super) fn commands(page: &PageContext, commands: &[CommandView]) -> Markup {
    let lang = page.visitor.language;
    if commands.is_empty() {
        return html! {};
    }
    html! {
        section.panel aria-labelledby="commands" {
            h2 #commands { (t!(lang, "commands")) }
            ul.rows {
                @for command in commands.iter().take(10) {
                    li {
                        span {
                            span.quiet { (time(lang, command.command.created_us, TimeFormat::Near, page.now_us)) } " "
                            (command_name(lang, command.command.command))
                        }
                        span { (outcome(lang, command, page.now_us)) }
                    }
                }
            }
        }
    }
}

fn outcome(lang: Language, view: &CommandView, now_us: i64) -> Markup {
    let command = &view.command;
    let last = command.stages.iter().max_by_key(|reached| reached.stage);
    let text = last.and_then(|reached| reached.text.as_deref());
    html! {
        @if let Some((picture, at)) = &view.stored {
            @let after_us = u64::try_from(at.saturating_sub(command.created_us)).unwrap_or(0);
            a href=(picture_url(picture)) {
                (t!(lang, "outcome-stored", duration = format_duration(lang, after_us)))
            }
        } @else if let Some(reached) = last {
            @match (reached.stage, reached.after_us) {
                (CommandStage::Accepted, _) => (t!(lang, "outcome-received")),
                (CommandStage::Captured, _) => (t!(lang, "outcome-captured")),
                (CommandStage::Saved, _) => (t!(lang, "outcome-saved")),
                (CommandStage::Done, None) => (t!(lang, "outcome-done")),
                (CommandStage::Done, Some(after_us)) => {
                    (t!(lang, "outcome-done-in", duration = format_duration(lang, after_us)))
                }
                (CommandStage::Failed, _) => { (shape(Tone::Err)) " " (t!(lang, "outcome-failed")) },
                (CommandStage::Expired, _) => { (shape(Tone::Off)) " " (t!(lang, "outcome-expired")) },
            }
            @if let Some(text) = text { ": " (translate(lang, text)) }
        } @else if now_us >= command.expires_us {
            (shape(Tone::Off)) " " (t!(lang, "outcome-not-answered"))
        } @else if command.sent_us.is_some() {
            (t!(lang, "outcome-sent"))
        } @else {
            (shape(Tone::Wait)) " " (t!(lang, "state-waiting"))
        }
    }
}
