//! Suggestions on how to correct mistakes, for people who do not know TOML.
//!
//! Pure. An unreadable line may contain a password, so only names of our settings are repeated.

use keepsake_protocol::settings::schema::{SETTINGS, Setting, ValueKind};
use keepsake_protocol::settings::value::CloudUrl;
use toml::Value;

use super::system;
use super::value::{closest, is_number, raw_value, short_name};

/// Recognizes a file that is not settings by its beginning.
pub(super) fn for_file(text: &str) -> Option<String> {
    let begins = text.trim_start();
    let what = if begins.starts_with("{\\rtf") {
        "a word processor document (RTF); save it as plain text"
    } else if begins.starts_with('{') {
        "JSON; write one setting on each line, such as device = \"porch\", without braces and commas"
    } else if begins.starts_with('<') {
        "a web page; download the file itself, not the page that shows it"
    } else if begins.starts_with("PK\u{3}\u{4}") {
        "a Word document or a zip file; save it as plain text"
    } else if text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
        return Some(NO_TEXT.to_owned());
    } else {
        return None;
    };
    Some(format!("the file is {what}"))
}

pub(super) const NO_TEXT: &str = "the file is not a text file; replace it with the camera.toml of the image";

/// Describes the mistake in an invalid line, as the end of a sentence that begins with the line number.
///
/// `before`: the earlier line with the same name.
pub(super) fn for_line(line: &str, before: Option<usize>) -> String {
    let line = line.trim();
    if ["//", ";", "--", "/*"].iter().any(|sign| line.starts_with(sign)) {
        return "a comment begins with #".to_owned();
    }
    if line.starts_with('[') {
        return for_section(line, before);
    }
    let Some((name, value)) = line.split_once('=') else {
        return without_equals(line);
    };
    let (name, value) = (name.trim(), value.trim());
    if name.split_whitespace().nth(1).is_some() {
        return NOTE.to_owned();
    }
    if !name.is_ascii() || name.is_empty() || name.contains(['"', '\'', ',']) {
        return "the name before the = must have plain letters and no quotes".to_owned();
    }
    let name = setting_name(name);
    let shown = name.unwrap_or("it");
    if let Some(before) = before {
        return format!("{shown} is already set in line {before}; delete one of the two");
    }
    let example = example(name);
    match value.chars().next() {
        None => format!("nothing follows the =; write {example}"),
        Some('=') => format!("one = is enough; write {example}"),
        Some(quote @ ('"' | '\'')) => in_quotes(&value[1..], quote, &example),
        Some(_) => without_quotes(value, &example, name),
    }
}

/// Suggests a valid value; empty if the bounds say enough.
pub(super) fn for_value(setting: &Setting, value: &Value) -> String {
    let name = short_name(setting);
    match (&setting.kind, value) {
        (
            ValueKind::Integer { unit, .. }
            | ValueKind::OptionalInteger { unit, .. }
            | ValueKind::IntegerEnum { unit, .. },
            value,
        ) => number(setting, name, unit, value),
        (ValueKind::Bool, Value::String(text)) if matches!(text.as_str(), "true" | "false") => {
            format!("; write {name} = {text}, without quotes")
        }
        (ValueKind::Bool, _) => format!("; write {name} = true or {name} = false, without quotes"),
        (ValueKind::Choice(of), Value::String(text)) => {
            closest(text, of.iter().copied()).map_or_else(String::new, |word| format!("; write {name} = \"{word}\""))
        }
        (ValueKind::Choice(_), _) => ", in quotes".to_owned(),
        (ValueKind::Text(_), Value::String(text)) => match setting.key {
            "cloud.url" => url(text),
            "device" => device(text),
            _ => String::new(),
        },
        // The bounds say that it needs quotes.
        (ValueKind::Text(_), _) => String::new(),
    }
}

const NOTE: &str = "this is neither a setting (name = value) nor a [section]; if it is a comment, put # in front of it";

fn for_section(line: &str, before: Option<usize>) -> String {
    let name = line.trim_matches(['[', ']']);
    if let Some(before) = before {
        return if name.trim() == "wifi" {
            "for more than one network write [[wifi]], with two brackets, above each of them".to_owned()
        } else {
            format!("this section already begins in line {before}; move its settings there, and delete this line")
        };
    }
    let wanted = if name.trim().starts_with("wifi") {
        "[[wifi]]"
    } else {
        "such as [cloud]"
    };
    format!("a section is a name in brackets on a line of its own, {wanted}")
}

fn without_equals(line: &str) -> String {
    let first = line.split([' ', '\t', ':']).next().unwrap_or(line);
    let rest = line[first.len()..].trim_start();
    let name = setting_name(first);
    if let Some(value) = rest.strip_prefix(':')
        && !first.is_empty()
    {
        return if value.trim().is_empty() && name.is_none() {
            "a section is a name in brackets on a line of its own, such as [cloud]".to_owned()
        } else {
            format!("write = instead of the colon, such as {}", example(name))
        };
    }
    match name {
        // A sentence in a comment may begin with such a word.
        Some(name) if rest.is_empty() || rest.starts_with(['"', '\'']) || rest.split_whitespace().nth(1).is_none() => {
            format!("the = is missing; write {}", example(Some(name)))
        }
        _ => NOTE.to_owned(),
    }
}

/// `value`: the text after the opening quote.
fn in_quotes(value: &str, quote: char, example: &str) -> String {
    if value.starts_with(quote) && value[1..].starts_with(quote) {
        return format!("one quote is enough; write {example}");
    }
    let other = if quote == '"' { '\'' } else { '"' };
    if quote == '"' && value.contains('\\') {
        return "a backslash has a special meaning between double quotes; write / instead, or put single quotes (') around the text".to_owned();
    }
    match value.matches(quote).count() {
        0 if value.ends_with(other) => {
            format!("the text begins with {quote} and ends with {other}; write {example}")
        }
        0 => format!("the closing quote is missing; write {example}"),
        1 => "there is text after the closing quote; a comment there begins with #".to_owned(),
        _ => format!("there is a {quote} between the quotes; put {other} around the whole text instead"),
    }
}

fn without_quotes(value: &str, example: &str, name: Option<&str>) -> String {
    let bare = value.split('#').next().unwrap_or(value).trim();
    if bare.ends_with(['"', '\'']) {
        return format!("the opening quote is missing; write {example}");
    }
    if ["true", "false", "yes", "no", "on", "off"].contains(&bare.to_ascii_lowercase().as_str()) {
        return "write true or false, in lower case and without quotes".to_owned();
    }
    if bare.starts_with(|c: char| c.is_ascii_digit()) && name.is_none_or(is_number_setting) {
        return if bare.bytes().all(|c| c.is_ascii_digit()) {
            "a number must not begin with 0".to_owned()
        } else {
            format!("write only the number, without unit, comma or quotes; write {example}")
        };
    }
    format!("text needs quotes; write {example}")
}

fn number(setting: &Setting, name: &str, unit: &str, value: &Value) -> String {
    let pin = if name == "pin" {
        " (the BCM number, not the position on the header)"
    } else {
        ""
    };
    let Value::String(text) = value else {
        return pin.to_owned();
    };
    let text = text.trim();
    let from = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
    let digits: &str = text[from..].split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    let rest = text[from + digits.len()..].trim().to_ascii_lowercase();
    // "5 min" is not 5 seconds.
    let is_meant = rest.is_empty() || (!unit.is_empty() && unit.starts_with(&rest));
    let is_good = digits
        .parse()
        .is_ok_and(|number| setting.check(raw_value(&Value::Integer(number))).is_ok());
    if is_meant && is_good {
        return format!("; write {name} = {digits}, without quotes{pin}");
    }
    let alone = if unit.is_empty() {
        String::new()
    } else {
        format!(", in {unit}")
    };
    format!("; write only the number{alone}, without quotes{pin}")
}

fn url(text: &str) -> String {
    const FALLBACK: &str = "; an address looks like \"mqtt://192.168.1.10:1883\"";
    if text.contains('@') {
        return String::new();
    }
    let bare: String = text.split_whitespace().collect();
    let rest = bare.split_once("://").map_or(bare.as_str(), |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or(rest);
    let scheme = bare.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let scheme = match scheme.as_deref() {
        Some(known @ ("mqtts" | "http" | "https")) => known,
        Some("ssl" | "tls") => "mqtts",
        _ => "mqtt",
    };
    let meant = format!("{scheme}://{host}");
    match meant.parse::<CloudUrl>() {
        // Text with spaces may be a name instead of an address.
        Ok(_) if text.split_whitespace().count() == 1 || text.contains("://") => {
            format!("; write url = \"{meant}\"")
        }
        _ => FALLBACK.to_owned(),
    }
}

fn device(text: &str) -> String {
    let mut name = String::new();
    for c in text.trim().chars().take(64) {
        match c {
            'A'..='Z' | 'a'..='z' | '0'..='9' | '.' | '_' | '-' => name.push(c),
            'ä' | 'Ä' => name.push_str("ae"),
            'ö' | 'Ö' | 'ø' | 'Ø' => name.push_str("oe"),
            'ü' | 'Ü' => name.push_str("ue"),
            'å' | 'Å' => name.push_str("aa"),
            'ß' => name.push_str("ss"),
            _ if name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    name.truncate(64);
    let name = name.trim_matches(['-', '.', '_']);
    match name.parse::<keepsake_protocol::DeviceId>() {
        Ok(name) => format!("; write device = \"{name}\""),
        Err(_) => "; write device = \"porch\", or leave it empty".to_owned(),
    }
}

/// Returns the name of a known setting, without its section.
fn setting_name(name: &str) -> Option<&'static str> {
    let name = name.trim();
    SETTINGS
        .iter()
        .map(short_name)
        .chain(system::names())
        .find(|known| known.eq_ignore_ascii_case(name))
}

fn is_number_setting(name: &str) -> bool {
    SETTINGS.iter().any(|setting| short_name(setting) == name && is_number(setting))
}

/// Returns an example line for this name.
fn example(name: Option<&str>) -> String {
    let Some(name) = name else {
        return "it as name = \"text\" or name = 5".to_owned();
    };
    let value = match name {
        "url" => "\"mqtt://192.168.1.10:1883\"".to_owned(),
        "country" => "\"NO\"".to_owned(),
        "timezone" => "\"Europe/Oslo\"".to_owned(),
        _ => SETTINGS
            .iter()
            .find(|setting| short_name(setting) == name)
            .and_then(|setting| match setting.kind {
                ValueKind::Integer { .. }
                | ValueKind::OptionalInteger { .. }
                | ValueKind::IntegerEnum { .. }
                | ValueKind::Bool => Some(serde_json::Value::from(setting.default).to_string()),
                ValueKind::Choice(of) => Some(format!("\"{}\"", of[0])),
                ValueKind::Text(_) => None,
            })
            .unwrap_or_else(|| "\"...\"".to_owned()),
    };
    format!("{name} = {value}")
}
