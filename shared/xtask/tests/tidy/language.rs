//! Phrases that a native speaker would not write, and doc comments that do not begin with what a thing does.

use std::fs;

use regex::Regex;

use crate::{assert_left, files, root, shown};

/// Stilted phrases. The name of this file is the only place where they may be written.
const BANNED: &str = r"(?i)\b(whoever|somebody|anew|so many|of late|is no [a-z]+ of|stands? (in|beside|behind|for itself)|lets? go of|in force|as it (is|was) said|as it said|by itself, by|has come about|came about|comes? about)\b";

/// Doc comments with such an opening that are left to rewrite.
const DOC_OPENINGS_LEFT: usize = 0;

/// Openings of a doc comment that describe a thing by a clause instead of naming it.
const DOC_OPENINGS: &str = r"^\s*//[/!] (What|Whether|Of|As|That|How|Who|Where) ";

/// Files whose words are data and not our prose.
const EXCEPT: [&str; 4] = [
    "shared/xtask/tests/tidy/language.rs",
    "Cargo.lock",
    "cloud/assets/vendor/",
    "shared/testkit/fixtures/",
];

#[test]
fn the_sources_have_no_stilted_phrases() {
    let banned = Regex::new(BANNED).expect("the pattern is valid");
    let extensions = [
        "rs", "md", "toml", "html", "js", "css", "ftl", "conf", "yaml", "yml", "txt", "service", "rules", "cnf", "py",
        "sh",
    ];
    let mut found = Vec::new();
    for file in files(&root(), &extensions) {
        let name = shown(&file);
        if EXCEPT.iter().any(|except| name.starts_with(except)) {
            continue;
        }
        let text = fs::read_to_string(&file).expect("sources are UTF-8");
        // A phrase may be broken over two lines of a comment, so lines are also looked at in pairs.
        let lines: Vec<&str> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            if banned.is_match(line) {
                found.push(format!("{name}:{}: {}", index + 1, line.trim()));
                continue;
            }
            let Some(next) = lines.get(index + 1) else {
                continue;
            };
            let continued = next.trim_start().trim_start_matches(['/', '!', '#', '*', ' ']);
            let pair = format!("{} {continued}", line.trim_end());
            if banned
                .find_iter(&pair)
                .any(|phrase| phrase.start() < line.trim_end().len() && phrase.end() > line.trim_end().len())
            {
                found.push(format!("{name}:{}: {}", index + 1, pair.trim()));
            }
        }
    }
    assert_left(&found, 0, "say it plainly");
}

#[test]
fn a_doc_comment_begins_with_what_a_thing_does_or_is() {
    let opening = Regex::new(DOC_OPENINGS).expect("the pattern is valid");
    let mut found = Vec::new();
    for file in files(&root(), &["rs"]) {
        let text = fs::read_to_string(&file).expect("sources are UTF-8");
        let mut in_comment = false;
        for (index, line) in text.lines().enumerate() {
            let trimmed = line.trim_start();
            let is_doc = trimmed.starts_with("///") || trimmed.starts_with("//!");
            // Only the summary: its first line, and the first line of a later paragraph is free.
            if is_doc && !in_comment && opening.is_match(line) {
                found.push(format!("{}:{}: {trimmed}", shown(&file), index + 1));
            }
            in_comment = is_doc;
        }
    }
    assert_left(&found, DOC_OPENINGS_LEFT, "begin with a verb (\"Returns …\") or a noun (\"The …\")");
}
