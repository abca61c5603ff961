//! House rules that a compiler does not check: the language of the sources, and the arrows between their modules.
//!
//! `cargo test -p xtask --test tidy` runs them; `docs/contributing.md` explains each rule.

mod imports;
mod language;
mod layers;
mod sizes;

use std::path::{Path, PathBuf};

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("shared/xtask is two folders below the root")
        .to_owned()
}

/// The files below `folder` with one of these extensions, build output left out, sorted.
fn files(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("read a source folder") {
            let entry = entry.expect("read a source folder");
            let path = entry.path();
            let name = entry.file_name();
            if entry.file_type().expect("read a source folder").is_dir() {
                if name != "target" && name != ".git" {
                    folders.push(path);
                }
            } else if path
                .extension()
                .is_some_and(|found| extensions.iter().any(|wanted| found == *wanted))
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Fails when there are more findings than `left`, and when there are fewer: then `left` is lowered with them.
///
/// `left` is what the tree still has of old code. It only falls; new code has none.
fn assert_left(findings: &[String], left: usize, rule: &str) {
    assert!(
        findings.len() <= left,
        "{} findings, {left} at most: {rule}\n{}",
        findings.len(),
        findings.join("\n")
    );
    assert!(
        findings.len() == left,
        "{} findings are left of {left}: lower the constant",
        findings.len()
    );
}

/// The path below the root of the repository, for messages.
fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}
