//! `/cameras/{device}/settings`: what is wished of one camera, as a form that works without a script.
//!
//! The form is a separate page without live updates, so that typed text is never overwritten.

use maud::{Markup, html};

use crate::auth::Role;
use crate::http::ui::badge::{Tone, chip, shape};
use crate::http::ui::components::camera_url;
use crate::http::ui::format::{TimeFormat, format_duration, time};
use crate::http::ui::language::Language;
use crate::http::ui::messages::{named, sentence, t, translate};
use crate::http::ui::templates::{LiveUpdates, Nav, PageContext, layout};
use crate::http::ui::views::{FieldKind, FieldView, SettingsState, SettingsView};

/// The sections in the order of the page: what the names of their settings begin with, and the title.
fn sections(lang: Language) -> [(&'static str, Markup); 7] {
    [
        ("capture_interval_s", t!(lang, "settings-schedule")),
        ("picture.", t!(lang, "settings-picture")),
        ("camera.", t!(lang, "settings-camera")),
        ("light.", t!(lang, "settings-light")),
        ("spool.", t!(lang, "settings-spool")),
        ("cloud.", t!(lang, "settings-bandwidth")),
        ("backoff.", t!(lang, "settings-backoff")),
    ]
}

/// `/cameras/{device}/settings`.
pub fn settings_page(page: &PageContext, view: &SettingsView) -> Markup {
    let lang = page.visitor.language;
    let device = &view.device;
    let title = t!(lang, "settings-of", camera = device.as_str());
    let (connection, plain): (Vec<_>, Vec<_>) = view.fields.iter().partition(|field| field.connection);
    let main = html! {
        div.headline {
            div {
                p.crumbs {
                    a href="/" { (t!(lang, "cameras-title")) } " / " a href=(camera_url(device)) { (device) } " / "
                    (t!(lang, "settings-title"))
                }
                div.title { h1 { (title) } (state_chip(lang, &view.state)) }
            }
        }
        @if let Some(problem) = &view.problem {
            p.trouble.trouble-err role="alert" { (shape(Tone::Err)) span { (sentence(lang, problem)) } }
        }
        p.lead { (explained(page, view)) }
        form.settings method="post" action={ (camera_url(device)) "/settings" } {
            input type="hidden" name="version" value=(view.version);
            @for (prefix, title) in &sections(lang) {
                (section(lang, title, &plain.iter().copied().filter(|field| field.name.starts_with(*prefix)).collect::<Vec<_>>()))
            }
            @if !connection.is_empty() {
                details open[connection.iter().any(|field| !field.value.is_empty() || field.is_set)] {
                    summary { (t!(lang, "settings-connection-summary")) }
                    p.quiet { (t!(lang, "settings-connection-trial")) }
                    (section(lang, &t!(lang, "settings-connection"), &connection))
                }
            }
            p.form-end {
                @if page.may(Role::Operator) { button.button.button-first type="submit" { (t!(lang, "save")) } }
                " " a.button href=(camera_url(device)) { (t!(lang, "back-to-camera")) }
            }
            p.quiet { (t!(lang, "settings-empty")) }
        }
    };
    layout(page, &title, Nav::Cameras, &LiveUpdates::No, &main)
}

/// The section of the camera's page: state of the settings, and those that the camera rejected.
pub(crate) fn summary(page: &PageContext, view: &SettingsView) -> Markup {
    let lang = page.visitor.language;
    html! {
        section.panel aria-labelledby="settings" {
            h2 #settings { (t!(lang, "settings-title")) }
            p { (state_chip(lang, &view.state)) }
            p { (explained(page, view)) }
            (rejections(lang, view))
            p {
                a.all href={ (camera_url(&view.device)) "/settings" } {
                    @if page.may(Role::Operator) { (t!(lang, "change-settings")) } @else { (t!(lang, "view-settings")) }
                }
            }
        }
    }
}

fn rejections(lang: Language, view: &SettingsView) -> Markup {
    html! {
        @for (name, reason) in &view.rejected {
            p.trouble.trouble-wait {
                (shape(Tone::Wait))
                span { (t!(lang, "setting-rejected-name", name = html! { code { (name) } }, reason = translate(lang, reason))) }
            }
        }
    }
}

fn section(lang: Language, title: &Markup, fields: &[&FieldView]) -> Markup {
    html! {
        @if !fields.is_empty() {
            fieldset.panel {
                legend { (title) }
                @for field in fields { (field_line(lang, field)) }
            }
        }
    }
}

fn field_line(lang: Language, field: &FieldView) -> Markup {
    let id = field.name.replace('.', "-");
    let about = format!("about-{id}");
    let label = named(lang, &format!("setting-{}", id.replace('_', "-")), field.what);
    html! {
        div.field {
            label for=(id) { (label) }
            div.field-value {
                (input(lang, field, &id, &about))
                @if let FieldKind::Number { unit, .. } = &field.kind { span.quiet { (unit_name(lang, unit)) } }
            }
            p.quiet id=(about) {
                code { (field.name) }
                @if let FieldKind::Number { min, max, or_zero, .. } = &field.kind {
                    ", "
                    @match or_zero {
                        true => (t!(lang, "number-or-zero", min = range_end(*min), max = range_end(*max))),
                        false => (t!(lang, "number-range", min = range_end(*min), max = range_end(*max))),
                    }
                }
                @if let Some(now) = &field.current { ", " (t!(lang, "value-now", value = now.as_str())) }
            }
            @if let Some(reason) = &field.rejected {
                p.trouble.trouble-err {
                    (shape(Tone::Err)) span { (t!(lang, "setting-rejected", reason = translate(lang, reason))) }
                }
            }
        }
    }
}

/// Writes a number as it is typed into the field.
fn range_end(number: u64) -> Markup {
    html! { (number) }
}

/// Returns the unit of the table of settings in a language.
fn unit_name(lang: Language, unit: &str) -> Markup {
    if unit.is_empty() {
        return html! {};
    }
    named(lang, &format!("unit-{}", unit.replace(' ', "-")), unit)
}

fn input(lang: Language, field: &FieldView, id: &str, about: &str) -> Markup {
    let name = field.name;
    let now = field.current.as_deref().unwrap_or("");
    html! {
        @match &field.kind {
            FieldKind::Number { .. } => {
                input #(id) name=(name) type="text" inputmode="numeric" pattern="[0-9]*" maxlength="20"
                    value=(field.value) placeholder=(now) aria-describedby=(about);
            }
            FieldKind::Choice(choices) => {
                select #(id) name=(name) aria-describedby=(about) {
                    option value="" selected[field.value.is_empty()] { (t!(lang, "value-of-file")) }
                    @for choice in *choices {
                        option value=(choice) selected[field.value == *choice] { (choice) }
                    }
                }
            }
            FieldKind::Text => {
                input #(id) name=(name) type="text" maxlength="256" value=(field.value) placeholder=(now)
                    autocomplete="off" spellcheck="false" aria-describedby=(about);
            }
            FieldKind::Token => {
                input #(id) name=(name) type="password" maxlength="256" autocomplete="new-password"
                    placeholder=[field.is_set.then(|| t!(lang, "unchanged"))] aria-describedby=(about);
            }
        }
    }
}

fn state_chip(lang: Language, state: &SettingsState) -> Markup {
    let (tone, text) = match state {
        SettingsState::None => (Tone::Off, t!(lang, "state-none")),
        SettingsState::Waiting => (Tone::Wait, t!(lang, "state-waiting")),
        SettingsState::Applied => (Tone::Ok, t!(lang, "state-applied")),
        SettingsState::Partly => (Tone::Wait, t!(lang, "state-partly")),
        SettingsState::Trying { .. } => (Tone::Wait, t!(lang, "state-trial")),
        SettingsState::Ahead { .. } => (Tone::Err, t!(lang, "state-ahead")),
    };
    chip(tone, &text)
}

fn explained(page: &PageContext, view: &SettingsView) -> Markup {
    let lang = page.visitor.language;
    let version = view.version;
    let changed = view.changed_us.map(|at| time(lang, at, TimeFormat::Near, page.now_us));
    match &view.state {
        SettingsState::None => t!(lang, "settings-none"),
        SettingsState::Waiting => html! {
            (match changed {
                Some(time) => t!(lang, "settings-waiting-changed", version = version, time = time),
                None => t!(lang, "settings-waiting", version = version),
            })
            @if view.camera_version > 0 { " " (t!(lang, "settings-camera-version", version = view.camera_version)) }
        },
        SettingsState::Applied => match changed {
            Some(time) => t!(lang, "settings-applied-changed", version = version, time = time),
            None => t!(lang, "settings-applied", version = version),
        },
        SettingsState::Partly => {
            t!(lang, "settings-partly", version = version, count = view.rejected.len() as u64)
        }
        SettingsState::Trying { names, for_s } => t!(
            lang,
            "settings-trial",
            version = version,
            names = names.join(", ").as_str(),
            duration = format_duration(lang, for_s.saturating_mul(1_000_000))
        ),
        SettingsState::Ahead { version: theirs } => t!(lang, "settings-ahead", version = *theirs),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::http::ui::templates::fixtures::{HOSTILE, HOUR, NOW_US, hostile, page};

    /// The pages with views that show every state.
    pub(in crate::http::ui::templates) fn pages(page: &PageContext) -> Vec<(&'static str, Markup)> {
        vec![
            ("settings", settings_page(page, &settings())),
            ("settings-hostile", settings_page(&hostile(page), &hostile_settings())),
        ]
    }

    /// A form with a field of every kind, some wished for, one of them not taken.
    pub(in crate::http::ui::templates) fn settings() -> SettingsView {
        let field = |name, what, kind, value: &str| FieldView {
            name,
            what,
            kind,
            connection: false,
            value: value.to_owned(),
            is_set: !value.is_empty(),
            current: Some("60".to_owned()),
            rejected: None,
        };
        let seconds = FieldKind::Number { min: 1, max: 604_800, or_zero: true, unit: "seconds" };
        SettingsView {
            device: "boat-shed".parse().unwrap(),
            version: 13,
            changed_us: Some(NOW_US - HOUR),
            camera_version: 13,
            state: SettingsState::Partly,
            rejected: vec![(
                "light.mode".to_owned(),
                "is set by the command line of the camera, which overrides it".to_owned(),
            )],
            fields: vec![
                field("capture_interval_s", "Takes a picture automatically at this interval.", seconds, "60"),
                FieldView {
                    rejected: Some("is set by the command line of the camera, which overrides it".to_owned()),
                    ..field(
                        "light.mode",
                        "Ready is a steady light, or a wink.",
                        FieldKind::Choice(&["steady", "heartbeat", "off"]),
                        "heartbeat",
                    )
                },
                FieldView {
                    connection: true,
                    ..field("cloud.url", "Where it finds the cloud.", FieldKind::Text, "")
                },
                FieldView {
                    connection: true,
                    current: None,
                    is_set: true,
                    ..field("cloud.password", "Its password.", FieldKind::Token, "")
                },
            ],
            problem: None,
        }
    }

    fn hostile_settings() -> SettingsView {
        let mut view = settings();
        view.problem = Some(HOSTILE.to_owned());
        view.rejected = vec![(HOSTILE.to_owned(), HOSTILE.to_owned())];
        for field in &mut view.fields {
            field.value = HOSTILE.to_owned();
            field.current = Some(HOSTILE.to_owned());
            field.rejected = Some(HOSTILE.to_owned());
        }
        view
    }

    #[test]
    fn every_state_of_settings_is_said_in_words() {
        let said = |state, rejected| {
            let view = SettingsView { state, rejected, ..settings() };
            settings_page(&page(), &view).into_string()
        };
        for (state, says) in [
            (SettingsState::None, "The camera uses its camera.toml"),
            (SettingsState::Waiting, "waiting for the camera"),
            (SettingsState::Applied, "is applied"),
            (
                SettingsState::Trying { names: vec!["cloud.url".to_owned()], for_s: 240 },
                "returns to the previous values in",
            ),
            (SettingsState::Ahead { version: 20 }, "restored from a backup"),
        ] {
            let html = said(state, Vec::new());
            assert!(html.contains(says), "{says}");
        }
        let html = said(SettingsState::Partly, vec![(HOSTILE.to_owned(), HOSTILE.to_owned())]);
        assert!(html.contains("except for 1 setting that the camera rejected"));
        // A secret is not in the page, whatever is wished for.
        assert!(html.contains("type=\"password\"") && html.contains("unchanged"));
    }
}
