//! Reports tests that cannot run here, so that they do not look like passed ones.

use std::fmt::Display;
use std::fs::File;
use std::io::Write;

/// Reports on stderr that a test was not run, why, and how to make it run; `cargo verify` repeats it at its end.
pub fn not_run(what: &str, why: impl Display, how: &str) {
    let line = format!("NOT RUN: {what}: {why:#}; {how}");
    // Not `eprintln!`: the test runner swallows that of a passing test.
    let _ = writeln!(std::io::stderr(), "{line}");
    if let Some(path) = std::env::var_os("KEEPSAKE_NOT_RUN")
        && let Ok(mut file) = File::options().create(true).append(true).open(path)
    {
        let _ = writeln!(file, "{line}");
    }
}
