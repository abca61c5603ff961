//! `/cameras/{device}/settings`: what is wished of one camera, as a form that works without a script.
//!
//! The form is a separate page without live updates, so that typed text is never overwritten.

use maud::{Markup, html};

use crate::auth::Role;
use crate::http::ui::badge::{Tone, chip, shape};
use crate::http::ui::components::camera_url;
use crate::http::ui::format::{TimeFormat, format_duration, pluralize, time};
use crate::http::ui::templates::{LiveUpdates, Nav, PageContext, layout, sentence};
use crate::http::ui::views::{FieldKind, FieldView, SettingsState, SettingsView};

/// Sections in the order of the page: what they begin with, and what they are called.
const SECTIONS: [(&str, &str); 7] = [
    ("capture_interval_s", "Scheduled capture"),
    ("picture.", "Picture size"),
    ("camera.", "Camera"),
    ("light.", "LED"),
    ("spool.", "Card"),
    ("cloud.", "Bandwidth"),
    ("backoff.", "Retry"),
];

/// `/cameras/{device}/settings`.
pub fn settings_page(site: &PageContext, view: &SettingsView) -> Markup {
    let device = &view.device;
    let (connection, plain): (Vec<_>, Vec<_>) = view.fields.iter().partition(|field| field.connection);
    let main = html! {
        div.headline {
            div {
                p.crumbs { a href="/" { "Cameras" } " / " a href=(camera_url(device)) { (device) } " / Settings" }
                div.title { h1 { "Settings of " (device) } (state_chip(&view.state)) }
            }
        }
        @if let Some(problem) = &view.problem {
            p.trouble.trouble-err role="alert" { (shape(Tone::Err)) span { (sentence(problem)) } }
        }
        p.lead { (explained(site, view)) }
        form.settings method="post" action={ (camera_url(device)) "/settings" } {
            input type="hidden" name="version" value=(view.version);
            @for (prefix, title) in SECTIONS {
                (section(title, &plain.iter().copied().filter(|field| field.name.starts_with(prefix)).collect::<Vec<_>>()))
            }
            @if !connection.is_empty() {
                details open[connection.iter().any(|field| !field.value.is_empty() || field.is_set)] {
                    summary { "Connection to this cloud" }
                    p.quiet {
                        "The camera tries these first. If it cannot connect to this cloud within five minutes, it goes back to its previous settings."
                    }
                    (section("Connection", &connection))
                }
            }
            p.form-end {
                @if site.may(Role::Operator) { button.button.button-first type="submit" { "Save" } }
                " " a.button href=(camera_url(device)) { "Back to the camera" }
            }
            p.quiet { "Leave empty to use the value in camera.toml." }
        }
    };
    layout(
        site,
        &format!("Settings of {device}"),
        Nav::Cameras,
        &LiveUpdates::No,
        &main,
    )
}

/// What the camera's page says about settings: where they are, and what it did not take.
pub(crate) fn summary(site: &PageContext, view: &SettingsView) -> Markup {
    html! {
        section.panel aria-labelledby="settings" {
            h2 #settings { "Settings" }
            p { (state_chip(&view.state)) }
            p { (explained(site, view)) }
            (rejections(view))
            p { a.all href={ (camera_url(&view.device)) "/settings" } { @if site.may(Role::Operator) { "Change settings" } @else { "View settings" } } }
        }
    }
}

fn rejections(view: &SettingsView) -> Markup {
    html! {
        @for (name, reason) in &view.rejected {
            p.trouble.trouble-wait {
                (shape(Tone::Wait))
                span { code { (name) } " " (reason) "." }
            }
        }
    }
}

fn section(title: &str, fields: &[&FieldView]) -> Markup {
    html! {
        @if !fields.is_empty() {
            fieldset.panel {
                legend { (title) }
                @for field in fields { (field_line(field)) }
            }
        }
    }
}

fn field_line(field: &FieldView) -> Markup {
    let id = field.name.replace('.', "-");
    let about = format!("about-{id}");
    html! {
        div.field {
            label for=(id) { (field.what) }
            div.field-value {
                (input(field, &id, &about))
                @if let FieldKind::Number { unit, .. } = &field.kind { span.quiet { (unit) } }
            }
            p.quiet id=(about) {
                code { (field.name) }
                @if let FieldKind::Number { min, max, or_zero, .. } = &field.kind {
                    ", " @if *or_zero { "0 or " } (min) " to " (max)
                }
                @if let Some(now) = &field.current { ", now " (now) }
            }
            @if let Some(reason) = &field.rejected {
                p.trouble.trouble-err { (shape(Tone::Err)) span { "Rejected: it " (reason) "." } }
            }
        }
    }
}

fn input(field: &FieldView, id: &str, about: &str) -> Markup {
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
                    option value="" selected[field.value.is_empty()] { "Value in camera.toml" }
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
                    placeholder=(if field.is_set { "unchanged" } else { "" }) aria-describedby=(about);
            }
        }
    }
}

fn state_chip(state: &SettingsState) -> Markup {
    let (tone, text) = match state {
        SettingsState::None => (Tone::Off, "Using camera.toml"),
        SettingsState::Waiting => (Tone::Wait, "Waiting for the camera"),
        SettingsState::Applied => (Tone::Ok, "Applied"),
        SettingsState::Partly => (Tone::Wait, "Partly applied"),
        SettingsState::Trying { .. } => (Tone::Wait, "Trying the connection"),
        SettingsState::Ahead { .. } => (Tone::Err, "Different version on camera"),
    };
    chip(tone, &html! { (text) })
}

fn explained(site: &PageContext, view: &SettingsView) -> Markup {
    let version = view.version;
    html! {
        @match &view.state {
            SettingsState::None => "No changes yet. The camera is using camera.toml on the device.",
            SettingsState::Waiting => {
                "Version " (version)
                @if let Some(at) = view.changed_us { ", changed " (time(at, TimeFormat::Near, site.now_us)) "," }
                " waiting for the camera"
                @if view.camera_version > 0 { ", which has version " (view.camera_version) }
                "."
            },
            SettingsState::Applied => {
                "Version " (version)
                @if let Some(at) = view.changed_us { ", changed " (time(at, TimeFormat::Near, site.now_us)) "," }
                " is applied."
            },
            SettingsState::Partly => {
                "Version " (version) " is applied except for "
                (pluralize(view.rejected.len() as u64, "setting", "settings")) " that the camera rejected."
            },
            SettingsState::Trying { names, for_s } => {
                "Version " (version) " is applied. " (names.join(", ")) " on trial: reverted in "
                (format_duration(for_s.saturating_mul(1_000_000))) " unless a connection is made."
            },
            SettingsState::Ahead { version: theirs } => {
                "The camera has version " (theirs) ", which this cloud does not know, because the cloud was restored from a backup. Saving creates a newer version."
            },
        }
    }
}
