//! The buttons that send commands, and the commands that were sent.

use keepsake_protocol::command::{CommandKind, CommandStage};
use keepsake_protocol::status::Presence;
use maud::{Markup, html};

use crate::auth::Role;
use crate::http::ui::badge::{Tone, shape};
use crate::http::ui::components::{is_online, picture_url};
use crate::http::ui::format::{TimeFormat, format_duration, time};
use crate::http::ui::language::Language;
use crate::http::ui::messages::{sentence, t, translate};
use crate::http::ui::templates::camera::diagnostics::diagnostics;
use crate::http::ui::views::{CameraView, CommandView, DeviceView, PageContext};

pub(super) fn buttons(lang: Language, camera: &CameraView) -> Markup {
    let device = &camera.device;
    let why_not = match camera.presence {
        Some(Presence::Online) => None,
        Some(Presence::Offline) => Some(t!(lang, "commands-offline")),
        None => Some(t!(lang, "commands-upload-only")),
    };
    html! {
        div.asks {
            div.ask-buttons {
                @for (kind, class) in [(CommandKind::Identify, "button"), (CommandKind::Snap, "button button-first")] {
                    form method="post" action={ "/api/v1/devices/" (device) "/commands" } data-device=(device) {
                        button #{ "ask-" (kind.as_str()) } class=(class) type="submit" name="command"
                            value=(kind.as_str()) disabled[why_not.is_some()]
                            aria-describedby=[why_not.as_ref().map(|_| "why-not")] { (command_name(lang, kind)) }
                    }
                }
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
    let device = &camera.device;
    if camera.presence.is_none() {
        return html! {};
    }
    let away = !is_online(camera);
    let said = view.commands.iter().find_map(|command| Some((command, command.result.as_ref()?)));
    html! {
        section.panel aria-labelledby="service" {
            h2 #service { (t!(lang, "service")) }
            @if page.may(Role::Operator) {
                div.ask-buttons {
                    @for kind in [CommandKind::Diagnostics, CommandKind::Restart] {
                        form method="post" action={ "/api/v1/devices/" (device) "/commands" } data-device=(device) {
                            button.button #{ "ask-" (kind.as_str()) } type="submit" name="command"
                                value=(kind.as_str()) disabled[away] {
                                (match kind {
                                    CommandKind::Restart => t!(lang, "restart-software"),
                                    other => command_name(lang, other),
                                })
                            }
                        }
                    }
                }
                @if away { p.quiet { (t!(lang, "commands-offline")) } }
                p.quiet { (t!(lang, "restart-hint")) }
            }
            @if let Some((command, result)) = said {
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
pub(super) fn expectation(lang: Language, command: &CommandView, now_us: i64) -> Markup {
    let reached = |stage: CommandStage| command.stages.iter().find(|said| said.stage == stage);
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
                            span.quiet { (time(lang, command.created_us, TimeFormat::Near, page.now_us)) } " "
                            (command_name(lang, command.command))
                        }
                        span { (outcome(lang, command, page.now_us)) }
                    }
                }
            }
        }
    }
}

fn outcome(lang: Language, command: &CommandView, now_us: i64) -> Markup {
    let last = command.stages.iter().max_by_key(|said| said.stage);
    let text = last.and_then(|said| said.text.as_deref());
    html! {
        @if let Some((picture, at)) = &command.stored {
            @let after_us = u64::try_from(at.saturating_sub(command.created_us)).unwrap_or(0);
            a href=(picture_url(picture)) {
                (t!(lang, "outcome-stored", duration = format_duration(lang, after_us)))
            }
        } @else if let Some(said) = last {
            @match (said.stage, said.after_us) {
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
