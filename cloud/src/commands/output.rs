//! The output of the commands.

use std::io::Write;

use anyhow::Context;

/// Prints a line; a closed pipe is an error, not a panic.
pub(super) fn print_line(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").context("write to standard output")
}
