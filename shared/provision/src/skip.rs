//! A test that cannot run here must not look like one that passed.

use std::fs::File;
use std::io::Write;

/// Says loudly that a test was not run, why, and how to get it; `cargo verify` repeats it at its end.
pub fn not_run(what: &str, why: &str, how: &str) {
    let line = format!("NOT RUN: {what}: {why}; {how}");
    // Past the test runner, which keeps to itself what a passing test prints.
    let _ = writeln!(std::io::stderr(), "{line}");
    if let Some(path) = std::env::var_os("KEEPSAKE_NOT_RUN")
        && let Ok(mut file) = File::options().create(true).append(true).open(path)
    {
        let _ = writeln!(file, "{line}");
    }
}
