//! The message files: complete in both languages, and nothing in them that no code uses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use keepsake_protocol::faults::FaultCode;
use keepsake_protocol::light::Pattern;
use keepsake_protocol::settings::schema::{SETTINGS, Scope, ValueKind};

use super::*;

/// The Korean for texts whose English is in the tables of the protocol.
const PROTOCOL: &str = "ko/protocol.ftl";

/// The keys of a language with the variables of each message.
fn messages(language: &str, wanted: impl Fn(&str) -> bool) -> BTreeMap<String, BTreeSet<String>> {
    let mut messages = BTreeMap::new();
    for file in Files::iter().filter(|file| file.starts_with(language) && wanted(file)) {
        let text = String::from_utf8(Files::get(&file).unwrap().data.into_owned()).unwrap();
        let resource = FluentResource::try_new(text).unwrap_or_else(|(_, errors)| panic!("{file}: {errors:?}"));
        for entry in resource.entries() {
            match entry {
                ast::Entry::Message(message) => {
                    let pattern = message.value.as_ref().unwrap_or_else(|| panic!("{file}: {}", message.id.name));
                    let mut variables = BTreeSet::new();
                    collect_variables(pattern, &mut variables);
                    let before = messages.insert(message.id.name.to_owned(), variables);
                    assert!(before.is_none(), "{file}: {} is defined twice", message.id.name);
                }
                ast::Entry::Junk { content } => panic!("{file}: {content}"),
                ast::Entry::Term(_) => panic!("{file}: terms are not supported"),
                ast::Entry::Comment(_) | ast::Entry::GroupComment(_) | ast::Entry::ResourceComment(_) => {}
            }
        }
    }
    messages
}

fn collect_variables(pattern: &ast::Pattern<&str>, variables: &mut BTreeSet<String>) {
    for element in &pattern.elements {
        let ast::PatternElement::Placeable { expression } = element else {
            continue;
        };
        match expression {
            ast::Expression::Inline(inline) => collect_inline(inline, variables),
            ast::Expression::Select { selector, variants } => {
                collect_inline(selector, variables);
                for variant in variants {
                    collect_variables(&variant.value, variables);
                }
            }
        }
    }
}

fn collect_inline(expression: &ast::InlineExpression<&str>, variables: &mut BTreeSet<String>) {
    if let ast::InlineExpression::VariableReference { id } = expression {
        variables.insert(id.name.to_owned());
    }
}

/// Returns all product code below a folder.
fn product_code(folder: &Path) -> String {
    let mut code = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            code += &product_code(&path);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            code += &fs::read_to_string(&path).unwrap();
        }
    }
    code
}

/// The names of the values that code passes to each key, from the calls of `t!`.
fn calls(code: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut calls = BTreeMap::new();
    for (start, name) in code.match_indices("t!(") {
        // `format!(` ends with the same letters.
        if code[..start].ends_with(|before: char| before.is_ascii_alphanumeric() || before == '_') {
            continue;
        }
        let Some((_, rest)) = code[start + name.len()..].split_once('"') else {
            continue;
        };
        let Some((key, rest)) = rest.split_once('"') else {
            continue;
        };
        let mut depth = 0;
        let mut arguments = String::new();
        for letter in rest.chars() {
            match letter {
                '(' | '{' | '[' => depth += 1,
                ')' | '}' | ']' if depth == 0 => break,
                ')' | '}' | ']' => depth -= 1,
                other if depth == 0 => arguments.push(other),
                _ => {}
            }
        }
        let names = arguments
            .split(',')
            .filter_map(|argument| argument.split_once(" = "))
            .map(|(name, _)| name.trim().to_owned());
        calls.insert(key.to_owned(), names.collect());
    }
    calls
}

#[test]
fn both_languages_have_the_same_messages_with_the_same_variables() {
    let (english, korean) = (messages("en", |_| true), messages("ko", |file| file != PROTOCOL));
    assert_eq!(english, korean);
    assert!(english.len() > 300);
}

#[test]
fn code_uses_every_message_and_no_other() {
    let code = product_code(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let used = calls(&code);
    let known = messages("en", |file| file != format!("en/{REPORTS}"));
    assert_eq!(used, known);
}

/// A report is found by its English text, so that text must be in the code that writes it.
#[test]
fn every_report_is_written_by_some_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let code = ["cloud/src", "shared/src", "appliance/src"]
        .map(|folder| product_code(&root.join(folder)))
        .concat()
        .replace("\\\n", "")
        .to_lowercase();
    for pattern in report_patterns() {
        for piece in &pattern.pieces {
            if let Piece::Literal(literal) = piece {
                let literal = literal.to_lowercase();
                for part in literal.split(['.', '(', ')', ':']).map(str::trim).filter(|part| part.len() > 3) {
                    let found = code.contains(part) || code.contains(part.strip_prefix("there is no ").unwrap_or(part));
                    assert!(found, "{}: no code writes {part:?}", pattern.key);
                }
            }
        }
    }
}

/// The Korean of faults, LED patterns, settings and units is complete, and has nothing else.
#[test]
fn every_text_of_the_protocol_has_a_translation() {
    let mut wanted = BTreeSet::new();
    for fault in FaultCode::ALL {
        wanted.extend(["title", "meaning", "remedy"].map(|kind| format!("{}-{kind}", fault.name())));
    }
    for pattern in Pattern::ALL {
        wanted.extend(["appearance", "meaning"].map(|kind| format!("led-{}-{kind}", pattern.name())));
    }
    for setting in SETTINGS.iter().filter(|setting| setting.scope != Scope::Local) {
        wanted.insert(format!("setting-{}", setting.key.replace(['.', '_'], "-")));
        if let ValueKind::Integer { unit, .. }
        | ValueKind::OptionalInteger { unit, .. }
        | ValueKind::IntegerEnum { unit, .. } = setting.kind
            && !unit.is_empty()
        {
            wanted.insert(format!("unit-{}", unit.replace(' ', "-")));
        }
    }
    let found = messages("ko", |file| file == PROTOCOL).into_keys();
    // A camera may name its diagnostics as it likes; those of this version are in the file.
    let found: BTreeSet<String> = found.filter(|key| !key.starts_with("diagnostic-")).collect();
    assert_eq!(found, wanted);
}

#[test]
fn a_value_in_a_message_is_escaped_and_markup_is_not() {
    let link = html! { a href="/" { "<x>" } };
    assert_eq!(t!(Language::English, "welcome", name = "<b>&").0, "Welcome, &lt;b&gt;&amp;");
    assert_eq!(
        t!(Language::English, "last-report", time = link).0,
        "Last report <a href=\"/\">&lt;x&gt;</a>. Newer pictures are not known yet."
    );
    // A value that looks like a placeholder is only text.
    let text = t!(Language::English, "cameras-one", camera = "\u{E000}\u{E001}").0;
    assert_eq!(text, "(\u{E000}\u{E001})");
}

#[test]
fn numbers_are_grouped_and_decide_the_plural() {
    assert_eq!(t!(Language::English, "picture-count", count = 1).0, "1 picture");
    assert_eq!(t!(Language::English, "picture-count", count = 1204).0, "1,204 pictures");
    assert_eq!(t!(Language::Korean, "picture-count", count = 1204).0, "사진 1,204장");
}

#[test]
fn a_sentence_from_elsewhere_is_translated_by_its_english() {
    for (english, korean) in [
        ("Current password is incorrect.", "현재 비밀번호가 맞지 않습니다."),
        ("power lost while saving", "저장하는 동안 전원이 끊김"),
        ("Camera not found", "카메라를 찾을 수 없음"),
        (
            "Too many failed attempts. Try again in 12 seconds.",
            "실패한 시도가 너무 많습니다. 12초 후에 다시 시도하십시오.",
        ),
        (
            "Nothing was changed: device can only be set on the camera; x is not a setting.",
            "변경하지 않았습니다: device: 카메라에서만 설정할 수 있습니다; x: 없는 설정입니다",
        ),
        (
            "Nothing was changed: cloud.rate_bytes_per_s must be 0 or a whole number, 1024 to 1073741824 bytes per second.",
            "변경하지 않았습니다: cloud.rate_bytes_per_s 값은 0 또는 1024~1073741824바이트/초 범위의 정수여야 합니다",
        ),
        (
            "Nothing was changed: capture_interval_s must be 0 or a whole number, 1 to 604800 seconds; \
             camera.flip must be one of none, both; cloud.url begins with ftp://, use mqtt(s):// or http(s)://.",
            "변경하지 않았습니다: capture_interval_s 값은 0 또는 1~604800초 범위의 정수여야 합니다; \
             camera.flip 값은 다음 중 하나여야 합니다: none, both; \
             cloud.url 값이 ftp://로 시작합니다. mqtt(s):// 또는 http(s)://를 사용하십시오",
        ),
        (
            "header of 70000 bytes, at most 4096 are allowed",
            "헤더가 70000바이트입니다(최대 4096바이트)",
        ),
        (
            "not the JSON expected here: missing field `id` at line 1 column 2",
            "올바른 JSON이 아닙니다: missing field `id` at line 1 column 2",
        ),
        ("A new sentence of a newer camera", "A new sentence of a newer camera"),
    ] {
        assert_eq!(translate(Language::Korean, english).0, korean);
        assert_eq!(translate(Language::English, english).0, english);
    }
    assert_eq!(sentence(Language::English, "the disk <is> full").0, "The disk &lt;is&gt; full.");
}
