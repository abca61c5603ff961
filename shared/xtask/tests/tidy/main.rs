//! House rules that a compiler does not check: the language of the sources, and the arrows between their modules.
//!
//! `cargo test -p xtask --test tidy` runs them; `docs/contributing.md` explains each rule.

mod imports;
mod language;
mod layers;
mod sizes;

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("shared/xtask is two directories below the root")
        .to_owned()
}

/// The files below `directory` with one of these extensions, build output left out, sorted.
fn files(directory: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    WalkDir::new(directory)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| entry.file_name() != "target" && entry.file_name() != ".git")
        .map(|entry| entry.expect("read a source directory").into_path())
        .filter(|path| path.extension().is_some_and(|found| extensions.iter().any(|wanted| found == *wanted)))
        .collect()
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
