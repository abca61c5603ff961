//! The texts of the pages, from `cloud/locales/{language}/*.ftl`, which are embedded in the program.
//!
//! Code names a text by its key: `t!(language, "cameras-title")`, `t!(language, "picture-count", count = 3)`. A value may be
//! markup, such as a link or a `<time>`, because the order of words differs between languages; plain text is escaped.
//!
//! Sentences that arrive in English (problems of the API, reports of cameras) are translated by their English text,
//! which is in `reports.ftl`, as gettext does. A sentence without a translation stays English.

use std::sync::LazyLock;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use fluent_syntax::ast;
use maud::{Markup, PreEscaped, Render, html};
use rust_embed::RustEmbed;

use crate::http::ui::language::Language;
use crate::http::ui::text;

#[derive(RustEmbed)]
#[folder = "locales/"]
struct Files;

/// The file with sentences that are translated by their English text.
const REPORTS: &str = "reports.ftl";
/// Markup in a message is formatted as one character of the private use area, and replaced afterwards.
const FIRST_PLACEHOLDER: u32 = 0xE000;

static ENGLISH: LazyLock<Catalog> = LazyLock::new(|| Catalog::load("en"));
static KOREAN: LazyLock<Catalog> = LazyLock::new(|| Catalog::load("ko"));
static REPORT_PATTERNS: LazyLock<Vec<ReportPattern>> = LazyLock::new(report_patterns);

/// The message `key` in a language, as markup. The key is a literal, so that a test can find it.
macro_rules! t {
    ($language:expr, $key:literal $(, $name:ident = $value:expr)* $(,)?) => {
        $crate::http::ui::messages::message(
            $language,
            $key,
            &[$((stringify!($name), $crate::http::ui::messages::Value::from($value))),*],
        )
    };
}
pub(crate) use t;

/// A value in a message.
#[derive(Debug)]
pub(crate) enum Value {
    Number(u64),
    Markup(Markup),
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<Markup> for Value {
    fn from(markup: Markup) -> Self {
        Self::Markup(markup)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Markup(text.render())
    }
}

/// Returns a message of the catalog; the key itself if there is none, which a test rules out.
pub(crate) fn message(language: Language, key: &str, values: &[(&'static str, Value)]) -> Markup {
    find(language, key, values).unwrap_or_else(|| key.render())
}

/// Returns a message whose key is made from data, such as the name of a setting.
pub(crate) fn find(language: Language, key: &str, values: &[(&str, Value)]) -> Option<Markup> {
    let bundle = &catalog(language).bundle;
    let pattern = bundle.get_message(key)?.value()?;
    let mut args = FluentArgs::new();
    for (placeholder, (name, value)) in (FIRST_PLACEHOLDER..).zip(values) {
        match value {
            Value::Number(number) => args.set(*name, *number),
            Value::Markup(_) => args.set(*name, char::from_u32(placeholder)?.to_string()),
        }
    }
    let text = bundle.format_pattern(pattern, Some(&args), &mut Vec::new());
    #[cfg(test)]
    let text = language.disguise(key, text);
    Some(fill(&text, values))
}

/// Returns a text that has its English in a table of the protocol, and its translation in a message file.
pub(crate) fn named(language: Language, key: &str, english: &str) -> Markup {
    #[cfg(test)]
    let english = &*language.disguise(key, english.into());
    find(language, key, &[]).unwrap_or_else(|| english.render())
}

/// Escapes a formatted text, and replaces the placeholders by their markup.
fn fill(text: &str, values: &[(&str, Value)]) -> Markup {
    let mut out = String::with_capacity(text.len());
    let mut plain = String::new();
    for letter in text.chars() {
        let index = u32::from(letter)
            .checked_sub(FIRST_PLACEHOLDER)
            .and_then(|index| usize::try_from(index).ok());
        match index.and_then(|index| values.get(index)) {
            Some((_, Value::Markup(markup))) => {
                plain.render_to(&mut out);
                plain.clear();
                out.push_str(&markup.0);
            }
            Some((_, Value::Number(_))) | None => plain.push(letter),
        }
    }
    plain.render_to(&mut out);
    PreEscaped(out)
}

/// Translates a sentence that arrived in English. One that is not known stays as it is.
pub(crate) fn translate(language: Language, english: &str) -> Markup {
    if language == Language::English {
        return english.render();
    }
    for pattern in REPORT_PATTERNS.iter() {
        if let Some(found) = pattern.captures(english) {
            let values: Vec<_> = found
                .into_iter()
                .map(|(name, text)| (name, Value::Markup(translate_list(language, text))))
                .collect();
            if let Some(translated) = find(language, &pattern.key, &values) {
                return translated;
            }
        }
    }
    english.render()
}

/// Translates a list of reasons, separated by semicolons.
fn translate_list(language: Language, english: &str) -> Markup {
    html! {
        @for (index, part) in english.split("; ").enumerate() {
            @if index > 0 { "; " }
            (translate(language, part))
        }
    }
}

/// Translates a text from elsewhere into a sentence: in English with a capital first and a full stop last.
pub(crate) fn sentence(language: Language, english: &str) -> Markup {
    let english = english.trim();
    let end = if english.is_empty() || english.ends_with(['.', '!', '?']) {
        ""
    } else {
        "."
    };
    translate(language, &format!("{}{end}", text::capitalize(english)))
}

struct Catalog {
    bundle: FluentBundle<FluentResource>,
}

impl Catalog {
    fn load(language: &str) -> Self {
        let identifier = language.parse().expect("a language of this program");
        let mut bundle = FluentBundle::new_concurrent(vec![identifier]);
        // Marks of direction around values would end up in copied text.
        bundle.set_use_isolating(false);
        bundle.set_formatter(Some(|value, _| match value {
            FluentValue::Number(number) => number.as_string().parse().ok().map(text::count),
            _ => None,
        }));
        for file in Files::iter().filter(|file| file.split('/').next() == Some(language)) {
            bundle
                .add_resource(resource(&file))
                .expect("no key twice in one language, a test reads all files");
        }
        Self { bundle }
    }
}

fn catalog(language: Language) -> &'static Catalog {
    match language {
        Language::English => &ENGLISH,
        Language::Korean => &KOREAN,
        #[cfg(test)]
        Language::Disguised => &ENGLISH,
    }
}

fn resource(file: &str) -> FluentResource {
    let text = Files::get(file).map(|file| file.data.into_owned()).unwrap_or_default();
    let text = String::from_utf8(text).expect("message files are UTF-8, a test reads them");
    FluentResource::try_new(text).unwrap_or_else(|(resource, errors)| {
        tracing::error!(file, ?errors, "message file");
        resource
    })
}

/// An English sentence with variables, to recognise and take apart.
struct ReportPattern {
    key: String,
    pieces: Vec<Piece>,
}

enum Piece {
    Literal(String),
    Variable(String),
}

impl ReportPattern {
    /// Returns the values of the variables if the text is this sentence. Case of the first letter and a full stop at the
    /// end do not count, because a sentence may be shown as part of another one.
    fn captures<'a>(&self, text: &'a str) -> Option<Vec<(&str, &'a str)>> {
        let mut rest = text.trim().trim_end_matches('.');
        let mut found = Vec::new();
        let mut open: Option<&str> = None;
        for (index, piece) in self.pieces.iter().enumerate() {
            match piece {
                Piece::Variable(name) => open = Some(name),
                Piece::Literal(literal) => {
                    if let Some(name) = open.take() {
                        let (value, after) = rest.split_once(literal)?;
                        found.push((name, value));
                        rest = after;
                    } else if index == 0 {
                        rest = strip_prefix_any_case(rest, literal)?;
                    } else {
                        rest = rest.strip_prefix(literal)?;
                    }
                }
            }
        }
        match open {
            Some(name) if !rest.is_empty() => found.push((name, rest)),
            None if rest.is_empty() => {}
            Some(_) | None => return None,
        }
        Some(found)
    }
}

/// Strips a prefix whose first letter may be of the other case.
fn strip_prefix_any_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    let same = text::capitalize(start) == text::capitalize(prefix);
    same.then_some(rest)
}

fn report_patterns() -> Vec<ReportPattern> {
    let mut patterns: Vec<ReportPattern> = resource(&format!("en/{REPORTS}"))
        .entries()
        .filter_map(|entry| match entry {
            ast::Entry::Message(message) => Some(ReportPattern {
                key: message.id.name.to_owned(),
                pieces: pieces(message.value.as_ref()?),
            }),
            _ => None,
        })
        .collect();
    // A sentence that begins with a variable fits almost everything, so it is tried last.
    patterns.sort_by_key(|pattern| matches!(pattern.pieces.first(), Some(Piece::Variable(_))));
    patterns
}

/// Returns the parts of a sentence without the full stop at its end.
fn pieces(pattern: &ast::Pattern<&str>) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = pattern
        .elements
        .iter()
        .filter_map(|element| match element {
            ast::PatternElement::TextElement { value } => Some(Piece::Literal((*value).to_owned())),
            ast::PatternElement::Placeable {
                expression: ast::Expression::Inline(ast::InlineExpression::VariableReference { id }),
            } => Some(Piece::Variable(id.name.to_owned())),
            ast::PatternElement::Placeable { .. } => None,
        })
        .collect();
    if let Some(Piece::Literal(last)) = pieces.last_mut() {
        last.truncate(last.trim_end_matches('.').len());
    }
    pieces.retain(|piece| !matches!(piece, Piece::Literal(literal) if literal.is_empty()));
    pieces
}

#[cfg(test)]
mod tests;
