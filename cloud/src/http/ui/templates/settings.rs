//! `/cameras/{device}/settings`: the desired settings of one camera, as a form that works without a script.
//!
//! The form is a separate page without live updates, so that typed text is never overwritten.

use keepsake_protocol::settings::schema::{SETTINGS, Scope, Setting, ValueKind};
use maud::{Markup, Render, html};
use serde_json::Value;

use crate::auth::Role;
use crate::http::settings_progress::SettingsProgress;
use crate::http::ui::badge::{Tone, chip, shape};
use crate::http::ui::components::camera_url;
use crate::http::ui::format::{TimeFormat, format_duration, time};
use crate::http::ui::language::Language;
use crate::http::ui::messages::{named, sentence, t, translate};
use crate::http::ui::templates::{LiveUpdates, Nav, PageContext, layout};
use crate::http::ui::views::SettingsView;

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
    let remote = SETTINGS.iter().filter(|setting| setting.scope != Scope::Local);
    let (connection, live): (Vec<_>, Vec<_>) = remote.partition(|setting| setting.scope == Scope::Connection);
    let is_changed = |setting: &&Setting| view.desired(setting).is_some() || view.submitted(setting).is_some();
    let main = html! {
        div.headline {
            div {
                p.crumbs {
                    a href="/" { (t!(lang, "cameras-title")) } " / " a href=(camera_url(device)) { (device) } " / "
                    (t!(lang, "settings-title"))
                }
                div.title { h1 { (title) } (state_chip(lang, view.progress)) }
            }
        }
        @if let Some(problem) = &view.problem {
            p.trouble.trouble-err role="alert" { (shape(Tone::Err)) span { (sentence(lang, problem)) } }
        }
        p.lead { (explained(page, view)) }
        form.settings method="post" action={ (camera_url(device)) "/settings" } {
            input type="hidden" name="version" value=(view.version());
            @for (prefix, title) in &sections(lang) {
                (section(lang, view, title, live.iter().filter(|setting| setting.key.starts_with(*prefix))))
            }
            details open[connection.iter().any(is_changed)] {
                summary { (t!(lang, "settings-connection-summary")) }
                p.quiet { (t!(lang, "settings-connection-trial")) }
                (section(lang, view, &t!(lang, "settings-connection"), connection.iter()))
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
            p { (state_chip(lang, view.progress)) }
            p { (explained(page, view)) }
            @for rejected in &view.report.rejected {
                p.trouble.trouble-wait {
                    (shape(Tone::Wait))
                    span {
                        (t!(
                            lang,
                            "setting-rejected-name",
                            name = html! { code { (rejected.name) } },
                            reason = translate(lang, &rejected.reason)
                        ))
                    }
                }
            }
            p {
                a.all href={ (camera_url(&view.device)) "/settings" } {
                    @if page.may(Role::Operator) { (t!(lang, "change-settings")) } @else { (t!(lang, "view-settings")) }
                }
            }
        }
    }
}

fn section<'a>(
    lang: Language,
    view: &SettingsView,
    title: &Markup,
    settings: impl Iterator<Item = &'a &'a Setting>,
) -> Markup {
    html! {
        fieldset.panel {
            legend { (title) }
            @for setting in settings { (field(lang, view, setting)) }
        }
    }
}

fn field(lang: Language, view: &SettingsView, setting: &Setting) -> Markup {
    let id = setting.key.replace('.', "-");
    let about = format!("about-{id}");
    let label = named(lang, &format!("setting-{}", id.replace('_', "-")), setting.description);
    let rejected = view.report.rejected.iter().find(|rejected| rejected.name == setting.key);
    let now = view.effective(setting);
    html! {
        div.field {
            label for=(id) { (label) }
            div.field-value {
                (input(lang, view, setting, &id, &about))
                @if let ValueKind::Integer { unit, .. } | ValueKind::OptionalInteger { unit, .. } = setting.kind {
                    span.quiet { (unit_name(lang, unit)) }
                }
            }
            p.quiet id=(about) {
                code { (setting.key) }
                @match setting.kind {
                    ValueKind::Integer { min, max, .. } => {
                        ", " (t!(lang, "number-range", min = min.render(), max = max.render()))
                    }
                    ValueKind::OptionalInteger { min, max, .. } => {
                        ", " (t!(lang, "number-or-zero", min = min.render(), max = max.render()))
                    }
                    ValueKind::IntegerEnum { .. } | ValueKind::Bool | ValueKind::Choice(_) | ValueKind::Text(_) => {}
                }
                @if !now.is_empty() { ", " (t!(lang, "value-now", value = now.as_str())) }
            }
            @if let Some(rejected) = rejected {
                p.trouble.trouble-err {
                    (shape(Tone::Err))
                    span { (t!(lang, "setting-rejected", reason = translate(lang, &rejected.reason))) }
                }
            }
        }
    }
}

/// Returns the unit of the table of settings in a language.
fn unit_name(lang: Language, unit: &str) -> Markup {
    if unit.is_empty() {
        return html! {};
    }
    named(lang, &format!("unit-{}", unit.replace(' ', "-")), unit)
}

fn input(lang: Language, view: &SettingsView, setting: &Setting, id: &str, about: &str) -> Markup {
    let name = setting.key;
    let value = view.value(setting);
    let now = view.effective(setting);
    let select = |choices: &[&str]| {
        html! {
            select #(id) name=(name) aria-describedby=(about) {
                option value="" selected[value.is_empty()] { (t!(lang, "value-of-file")) }
                @for choice in choices { option value=(choice) selected[value == *choice] { (choice) } }
            }
        }
    };
    match setting.kind {
        _ if setting.secret => html! {
            input #(id) name=(name) type="password" maxlength="256" autocomplete="new-password"
                placeholder=[view.desired(setting).map(|_| t!(lang, "unchanged"))] aria-describedby=(about);
        },
        ValueKind::Integer { .. } | ValueKind::OptionalInteger { .. } => html! {
            input #(id) name=(name) type="text" inputmode="numeric" pattern="[0-9]*" maxlength="20"
                value=(value) placeholder=(now) aria-describedby=(about);
        },
        ValueKind::Bool => select(&["true", "false"]),
        ValueKind::Choice(choices) | ValueKind::IntegerEnum { of: choices, .. } => select(choices),
        ValueKind::Text(_) => html! {
            input #(id) name=(name) type="text" maxlength="256" value=(value) placeholder=(now)
                autocomplete="off" spellcheck="false" aria-describedby=(about);
        },
    }
}

fn state_chip(lang: Language, progress: SettingsProgress) -> Markup {
    let (tone, text) = match progress {
        SettingsProgress::None => (Tone::Off, t!(lang, "state-none")),
        SettingsProgress::Waiting => (Tone::Wait, t!(lang, "state-waiting")),
        SettingsProgress::Applied => (Tone::Ok, t!(lang, "state-applied")),
        SettingsProgress::Partly => (Tone::Wait, t!(lang, "state-partly")),
        SettingsProgress::Trying => (Tone::Wait, t!(lang, "state-trial")),
        SettingsProgress::Ahead => (Tone::Err, t!(lang, "state-ahead")),
    };
    chip(tone, &text)
}

fn explained(page: &PageContext, view: &SettingsView) -> Markup {
    let lang = page.visitor.language;
    let version = view.version();
    let changed_us = view.desired.as_ref().map_or(0, |desired| desired.changed_us);
    let changed = time(lang, changed_us, TimeFormat::Near, page.now_us);
    match view.progress {
        SettingsProgress::None => t!(lang, "settings-none"),
        SettingsProgress::Waiting => html! {
            (t!(lang, "settings-waiting", version = version, time = changed))
            @if view.camera_version > 0 { " " (t!(lang, "settings-camera-version", version = view.camera_version)) }
        },
        SettingsProgress::Applied => t!(lang, "settings-applied", version = version, time = changed),
        SettingsProgress::Partly => {
            t!(lang, "settings-partly", version = version, count = view.report.rejected.len() as u64)
        }
        SettingsProgress::Trying => {
            let (names, remaining_s) = match &view.report.trial {
                Some(trial) => (trial.names.join(", "), trial.remaining_s),
                None => (String::new(), 0),
            };
            let duration = format_duration(lang, remaining_s.saturating_mul(1_000_000));
            t!(lang, "settings-trial", version = version, names = names.as_str(), duration = duration)
        }
        SettingsProgress::Ahead => t!(lang, "settings-ahead", version = view.camera_version),
    }
}

impl SettingsView {
    fn version(&self) -> u64 {
        self.desired.as_ref().map_or(0, |desired| desired.version)
    }

    fn desired(&self, setting: &Setting) -> Option<&Value> {
        self.desired.as_ref()?.values.get(setting.key)
    }

    fn submitted(&self, setting: &Setting) -> Option<&str> {
        let mut fields = self.submitted.iter();
        fields.find_map(|(name, text)| (name == setting.key).then_some(text.as_str()))
    }

    /// Returns the text of a field: as it was typed, or the desired value.
    fn value(&self, setting: &Setting) -> String {
        match self.submitted(setting) {
            Some(text) => text.to_owned(),
            None => self.desired(setting).map(plain).unwrap_or_default(),
        }
    }

    /// Returns the value that the camera uses, as it reported it.
    fn effective(&self, setting: &Setting) -> String {
        let value = self.report.effective.get(setting.key).map(plain).unwrap_or_default();
        value.chars().take(100).collect()
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
pub(super) mod tests {
    use keepsake_protocol::settings::{RejectedSetting, SettingsReport, TrialStatus};
    use serde_json::json;

    use super::*;
    use crate::http::ui::templates::fixtures::{HOSTILE, HOUR, NOW_US, assert_reviewed, hostile, id, page};
    use crate::store::DeviceSettings;

    /// The pages with views that show every state.
    pub(in crate::http::ui::templates) fn pages(page: &PageContext) -> Vec<(&'static str, Markup)> {
        vec![
            ("settings", settings_page(page, &settings())),
            ("settings-hostile", settings_page(&hostile(page), &hostile_settings())),
        ]
    }

    /// Some desired settings, one of them rejected.
    pub(in crate::http::ui::templates) fn settings() -> SettingsView {
        let reason = "is set by the command line of the camera, which overrides it".to_owned();
        let values = json!({"capture_interval_s": 60, "light.mode": "heartbeat", "cloud.password": "sesame"});
        let effective = json!({"capture_interval_s": 60, "light.mode": "steady", "cloud.keep_alive_s": 30});
        SettingsView {
            device: id("boat-shed"),
            desired: Some(DeviceSettings {
                version: 13,
                revision: 7,
                values: values.as_object().unwrap().clone(),
                changed_us: NOW_US - HOUR,
            }),
            camera_version: 13,
            report: SettingsReport {
                rejected: vec![RejectedSetting { name: "light.mode".to_owned(), reason }],
                effective: effective.as_object().unwrap().clone(),
                ..SettingsReport::default()
            },
            progress: SettingsProgress::Partly,
            submitted: Vec::new(),
            problem: None,
        }
    }

    /// Everything that a camera or a browser can write would like to be code.
    pub(in crate::http::ui::templates) fn hostile_settings() -> SettingsView {
        let rejected = |name: &str| RejectedSetting { name: name.to_owned(), reason: HOSTILE.to_owned() };
        SettingsView {
            report: SettingsReport {
                rejected: vec![rejected("light.mode"), rejected(HOSTILE)],
                effective: SETTINGS.iter().map(|setting| (setting.key.to_owned(), HOSTILE.into())).collect(),
                trial: Some(TrialStatus { names: vec![HOSTILE.to_owned()], remaining_s: u64::MAX }),
                ..SettingsReport::default()
            },
            progress: SettingsProgress::Trying,
            submitted: SETTINGS.iter().map(|setting| (setting.key.to_owned(), HOSTILE.to_owned())).collect(),
            problem: Some(HOSTILE.to_owned()),
            ..settings()
        }
    }

    #[test]
    fn every_state_of_settings_is_said_in_words() {
        use SettingsProgress::{Ahead, Applied, None, Partly, Trying, Waiting};
        let report = SettingsReport {
            trial: Some(TrialStatus { names: vec!["cloud.url".to_owned()], remaining_s: 240 }),
            ..settings().report
        };
        let states = [None, Waiting, Applied, Partly, Trying, Ahead]
            .map(|progress| SettingsView { progress, report: report.clone(), ..settings() })
            .map(|view| summary(&page(), &view).into_string());
        assert_reviewed("en-settings-states", &states.concat());
    }

    #[test]
    fn a_secret_is_never_in_the_page() {
        let mut view = settings();
        view.submitted = vec![("cloud.token".to_owned(), "sesame".to_owned())];
        let html = settings_page(&page(), &view).into_string();
        assert!(
            !html.contains("sesame") && html.contains("type=\"password\"") && html.contains("unchanged"),
            "{html}"
        );
    }
}
