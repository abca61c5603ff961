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
pub fn settings_page(site: &PageContext, view: &SettingsView) -> Markup {
    let lang = site.visitor.language;
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
        p.lead { (explained(site, view)) }
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
                @if site.may(Role::Operator) { button.button.button-first type="submit" { (t!(lang, "save")) } }
                " " a.button href=(camera_url(device)) { (t!(lang, "back-to-camera")) }
            }
            p.quiet { (t!(lang, "settings-empty")) }
        }
    };
    layout(site, &title, Nav::Cameras, &LiveUpdates::No, &main)
}

/// What the camera's page says about settings: where they are, and what it did not take.
pub(crate) fn summary(site: &PageContext, view: &SettingsView) -> Markup {
    let lang = site.visitor.language;
    html! {
        section.panel aria-labelledby="settings" {
            h2 #settings { (t!(lang, "settings-title")) }
            p { (state_chip(lang, &view.state)) }
            p { (explained(site, view)) }
            (rejections(lang, view))
            p {
                a.all href={ (camera_url(&view.device)) "/settings" } {
                    @if site.may(Role::Operator) { (t!(lang, "change-settings")) } @else { (t!(lang, "view-settings")) }
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

fn explained(site: &PageContext, view: &SettingsView) -> Markup {
    let lang = site.visitor.language;
    let version = view.version;
    let changed = view.changed_us.map(|at| time(lang, at, TimeFormat::Near, site.now_us));
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
            t!(
                lang,
                "settings-partly",
                version = version,
                count = view.rejected.len() as u64
            )
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
