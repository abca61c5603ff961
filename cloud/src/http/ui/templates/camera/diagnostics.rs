//! The diagnostics of a camera, which may be anything.

use maud::{Markup, Render, html};

use crate::http::ui::components::fact;
use crate::http::ui::format::{format_duration, size};
use crate::http::ui::language::Language;
use crate::http::ui::messages::{named, t};
use crate::http::ui::text::capitalize;

/// Names and values, three levels deep at the most.
pub(super) fn diagnostics(lang: Language, result: &serde_json::Map<String, serde_json::Value>, depth: u8) -> Markup {
    use serde_json::Value;
    const DEPTH_MAX: u8 = 3;
    html! {
        dl.facts {
            @for (name, value) in result {
                @match value {
                    Value::Object(inner) if depth < DEPTH_MAX => {
                        dt.facts-group { (label(lang, name)) }
                        dd { (diagnostics(lang, inner, depth + 1)) }
                    }
                    Value::Array(list) if depth < DEPTH_MAX => {
                        dt.facts-group { (label(lang, name)) }
                        dd {
                            @if list.is_empty() { (t!(lang, "none")) }
                            @for one in list {
                                @match one {
                                    Value::Object(inner) => (diagnostics(lang, inner, depth + 1)),
                                    plain => p { (plain_value(lang, "", plain)) },
                                }
                            }
                        }
                    }
                    plain => (fact(&label(lang, name), &plain_value(lang, name, plain))),
                }
            }
        }
    }
}

/// A value with its unit, which the end of its name tells.
fn plain_value(lang: Language, name: &str, value: &serde_json::Value) -> Markup {
    use serde_json::Value;
    match value {
        Value::String(text) => text.render(),
        Value::Bool(true) => t!(lang, "yes"),
        Value::Bool(false) => t!(lang, "no"),
        Value::Number(number) => match (name.rsplit('_').next(), number.as_u64()) {
            (Some("bytes"), Some(bytes)) => size(bytes).render(),
            (Some("s"), Some(seconds)) if name.ends_with("_for_s") || name.ends_with("ago_s") => {
                format_duration(lang, seconds.saturating_mul(1_000_000))
            }
            (Some("mc"), Some(thousandths)) => html! { (thousandths / 1000) " °C" },
            _ => number.to_string().render(),
        },
        other => other.to_string().render(),
    }
}

/// The name of a value in words; one that this version does not know is in English.
fn label(lang: Language, name: &str) -> Markup {
    let bare = ["_for_s", "_s", "_bytes", "_mc"]
        .iter()
        .find_map(|unit| name.strip_suffix(unit))
        .unwrap_or(name);
    let key = format!("diagnostic-{}", bare.replace('_', "-"));
    named(lang, &key, &capitalize(&bare.replace('_', " ")))
}
