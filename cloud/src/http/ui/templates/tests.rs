//! All pages with views that show every state, and with texts that would like to be code.
//!
//! `KEEPSAKE_PAGE_PREVIEW=DIR cargo test -p keepsake-cloud pages_render` writes them into DIR, to be looked at.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use keepsake_protocol::settings::schema::{SETTINGS, ValueKind};
use maud::Render;

use super::*;
use crate::http::ui::templates::fixtures::{HOSTILE, assert_reviewed, page_in};
use crate::http::ui::text::capitalize;

#[test]
fn pages_render() {
    let preview = std::env::var_os("KEEPSAKE_PAGE_PREVIEW");
    for language in Language::ALL {
        for (name, page) in all_pages(language) {
            let html = page.into_string();
            assert_obeys_the_policy(name, &html);
            if let Some(folder) = &preview {
                let folder = Path::new(folder).join(language.code());
                fs::create_dir_all(&folder).unwrap();
                fs::write(folder.join(format!("{name}.html")), html).unwrap();
            }
        }
    }
}

/// Every page in English and one in Korean. How to review a change: docs/contributing.md.
#[test]
fn pages_are_as_they_were_reviewed() {
    let mut changed = Vec::new();
    for language in Language::ALL {
        for (name, page) in all_pages(language) {
            if name.contains("hostile") || (language == Language::Korean && name != "camera") {
                continue;
            }
            let html = page.into_string();
            // The header and the footer are the same on all pages.
            let (start, end) = match name {
                "cameras-hold" => ("<header", "</body>"),
                _ => ("<main", "</main>"),
            };
            let part = &html[html.find(start).unwrap()..html.find(end).unwrap()];
            let name = format!("{}-{name}", language.code());
            if catch_unwind(|| assert_reviewed(&name, part)).is_err() {
                changed.push(name);
            }
        }
    }
    assert!(changed.is_empty(), "changed pages: {changed:?}");
}

/// The texts of the disguised language have no letter of the Latin alphabet, so each one left is data or a text that is
/// not from a message file.
#[test]
fn every_text_is_from_a_message_file() {
    const SENTENCES: &[&str] = &[
        HOSTILE,
        "no video device answered under /dev/video*",
        "connection refused",
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0",
    ];
    const WORDS: &str = "Keepsake SHA UTC English KB MB GB TB B C ada grace porch boat shed north field greenhouse jetty camera prometheus image jpeg steady";
    let mut found = Vec::new();
    for (name, page) in all_pages(Language::Disguised) {
        if name.contains("hostile") {
            continue;
        }
        let mut html = page.into_string();
        for sentence in SENTENCES {
            html = html.replace(&sentence.render().0, "").replace(&capitalize(sentence).render().0, "");
        }
        for text in shown_texts(&html) {
            // The words of a setting are the same in camera.toml.
            if SETTINGS
                .iter()
                .any(|setting| matches!(setting.kind, ValueKind::Choice(of) if of.contains(&text.as_str())))
            {
                continue;
            }
            let is_word = |word: &&str| word.chars().any(|letter| letter.is_ascii_alphabetic());
            let words = text.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(is_word);
            let unknown: Vec<_> = words.filter(|word| !WORDS.split(' ').any(|known| known == *word)).collect();
            if !unknown.is_empty() {
                found.push(format!("{name}: {text:?}: {unknown:?}"));
            }
        }
    }
    assert!(found.is_empty(), "not from a message file:\n{}", found.join("\n"));
}

/// The texts between tags and in the attributes that a person sees or hears, without code and times.
fn shown_texts(html: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let mut hidden = 0_u32;
    for (text, tag) in tags(html) {
        if hidden == 0 {
            texts.push(text.to_owned());
        }
        match tag[0].0.as_str() {
            "code" | "pre" | "time" => hidden += 1,
            "/code" | "/pre" | "/time" => hidden -= 1,
            _ => {}
        }
        let shown = ["aria-label", "alt", "placeholder", "title"];
        let attributes = tag.into_iter().skip(1).filter(|(name, _)| shown.contains(&name.as_str()));
        if hidden == 0 {
            texts.extend(attributes.map(|(_, value)| value));
        }
    }
    texts
}

fn all_pages(language: Language) -> Vec<(&'static str, Markup)> {
    let page = page_in(language);
    let mut pages = vec![("problem", problem_page(&page, StatusCode::NOT_FOUND, HOSTILE))];
    pages.extend(cameras::tests::pages(&page));
    pages.extend(camera::tests::pages(&page));
    pages.extend(settings::tests::pages(&page));
    pages.extend(gallery::tests::pages(&page));
    pages.extend(picture::tests::pages(&page));
    pages.extend(quarantine::tests::pages(&page));
    pages.extend(users::tests::pages(&page));
    pages.extend(login::tests::pages(&page.visitor));
    pages
}

/// Checks that nothing is there which the browser would refuse to run or draw.
fn assert_obeys_the_policy(name: &str, html: &str) {
    let mut scripts = 0;
    for pair in tags(html).windows(2) {
        let [(_, tag), (text, _)] = pair else { unreachable!() };
        let element = tag[0].0.as_str();
        assert_ne!(element, "style", "{name}: inline style");
        if element == "script" {
            scripts += 1;
            let is_file = tag.iter().any(|(name, value)| name == "src" && value.starts_with("/assets/"));
            assert!(is_file && text.is_empty(), "{name}: inline script {tag:?}");
        }
        for (attribute, value) in &tag[1..] {
            assert!(!attribute.starts_with("on") && attribute != "style", "{name}: {attribute}={value}");
            if ["href", "src", "action", "data-src"].contains(&attribute.as_str()) {
                assert!(value.starts_with('/') || value == "#main", "{name}: {attribute}={value}");
            }
        }
    }
    // The pages before the log-in need none.
    assert!(scripts <= 1, "{name}");
    assert!(
        !html.contains("<script>") && !html.contains("<img src=x"),
        "{name}: something was not escaped"
    );
    assert_eq!(html.matches("<h1").count(), 1, "{name}: one heading for the page");
    assert!(html.matches("role=\"status\"").count() <= 1, "{name}: one voice for the page");
    let mut ids: Vec<&str> = html.split(" id=\"").skip(1).filter_map(|s| s.split('"').next()).collect();
    ids.sort_unstable();
    let all = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), all, "{name}: an id stands twice");
}

type Attributes = Vec<(String, String)>;

/// Returns the tags of a page, each with the text before it.
fn tags(html: &str) -> Vec<(&str, Attributes)> {
    let mut tags = Vec::new();
    let mut rest = html;
    while let Some((text, after)) = rest.split_once('<') {
        let (tag, after) = read_tag(after);
        tags.push((text, tag));
        rest = after;
    }
    tags
}

/// The name and attributes of the tag whose `<` is just behind, and what follows its `>`.
fn read_tag(text: &str) -> (Attributes, &str) {
    let mut attributes = vec![(String::new(), String::new())];
    let mut quoted = false;
    for (index, letter) in text.char_indices() {
        let last = attributes.last_mut().unwrap();
        match letter {
            '"' => quoted = !quoted,
            '>' if !quoted => return (attributes, &text[index + 1..]),
            ' ' if !quoted => attributes.push((String::new(), String::new())),
            _ if quoted => last.1.push(letter),
            '=' => {}
            _ => last.0.push(letter),
        }
    }
    panic!("a tag without an end: {text}");
}
