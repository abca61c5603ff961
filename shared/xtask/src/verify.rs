//! `cargo verify`: everything CI runs, fastest failures first, with a table at the end.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fs_err as fs;

use keepsake_provision::host::{apt_install, ensure_libclang, find_program};
use keepsake_provision::workspace;

use crate::delegate::VMTEST;
use crate::{delegate, dependencies};

/// The longest time from the press to the light, milliseconds.
const PRESS_TO_LIGHT_MS_MAX: f64 = 50.0;
/// The median time from the press to the stored picture, milliseconds.
const PRESS_TO_STORED_P50_MS_MAX: f64 = 150.0;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run the inner loop: no v4l, only the shortest end-to-end test, no docs, no checks of dependencies, no demo.
    #[arg(long)]
    quick: bool,
}

/// Returns whether every step that could be run has passed.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let not_run_file = workspace::target().join("not-run.txt");
    let _ = fs::remove_file(&not_run_file);
    let mut verify = Verify {
        not_run_file,
        steps: Vec::new(),
        notes: Vec::new(),
        results: Vec::new(),
        failed: Vec::new(),
    };
    verify.step("format", |_| succeeds(&mut cargo("fmt --all --check")));
    if arguments.quick {
        verify.step("clippy", |_| clippy(""));
        if verify.step("build", |_| build("")) {
            verify.step("tests", |verify| {
                let unit = "test --workspace --exclude keepsake-e2e --exclude keepsake-labs --no-fail-fast";
                let shortest = "test --package keepsake-e2e --test flow -- a_press_is_stored";
                Ok(verify.test(unit)? & verify.test(shortest)?)
            });
        }
    } else {
        let v4l = verify.can_build_v4l();
        let (all, packaged) = if v4l {
            ("--all-features", "--features keepsake-appliance/v4l")
        } else {
            ("", "")
        };
        verify.step("clippy, all features", |_| clippy(all));
        // The features of the packages.
        if verify.step("build", |_| build(packaged)) {
            verify.step("servers: broker, databases, Python", Verify::servers);
            verify.step("tests", |verify| verify.test(&format!("test --workspace --no-fail-fast {packaged}")));
        }
        verify.step("vmtest: GPIO and V4L2 in a virtual machine", Verify::vmtest);
        verify.step("systemd units", Verify::units);
        verify.step("docs", |_| docs());
        verify.step("deny: bans, licences, sources", |_| dependencies::deny(&["bans", "licenses", "sources"]));
        verify.step("machete: unused dependencies", |_| dependencies::unused());
        verify.step("demo, 20 presses", Verify::demo);
    }
    Ok(verify.report())
}

struct Verify {
    /// The file in which tests report what they could not run.
    not_run_file: PathBuf,
    steps: Vec<(&'static str, bool, Duration)>,
    notes: Vec<String>,
    /// The summary lines of the test runner.
    results: Vec<String>,
    /// Its lines that name a failed test.
    failed: Vec<String>,
}

impl Verify {
    fn step(&mut self, name: &'static str, run: impl FnOnce(&mut Self) -> Result<bool>) -> bool {
        println!("\n==> {name}");
        let start = Instant::now();
        let passed = run(self).unwrap_or_else(|error| {
            println!("{error:#}");
            false
        });
        let took = start.elapsed();
        let word = if passed { "passed" } else { "FAILED" };
        println!("==> {name}: {word} after {:.1} s", took.as_secs_f64());
        self.steps.push((name, passed, took));
        passed
    }

    /// The v4l feature generates its bindings with libclang, which not every machine has.
    fn can_build_v4l(&mut self) -> bool {
        if ensure_libclang() {
            return true;
        }
        self.notes.push(
            "NOT RUN: clippy and tests of the v4l feature: libclang is missing; install libclang-dev (Debian, Ubuntu) or \
             clang-devel"
                .to_owned(),
        );
        false
    }

    /// Fetches what the tests need and this machine lacks. A server that cannot be fetched is not a failure: its
    /// tests print `NOT RUN`.
    fn servers(&mut self) -> Result<bool> {
        let missing = delegate::image_packages_missing()?;
        let missing: Vec<&str> = missing.split_whitespace().collect();
        if !missing.is_empty() {
            println!("installing the tools that build images: {}", missing.join(", "));
            apt_install(&missing);
        }
        if find_program("chromium").is_none() {
            println!("installing chromium for the tests of the pages");
            apt_install(&["chromium"]);
        }
        let mut fetch = cargo("run --quiet --package keepsake-provision --features servers --bin fetch-servers");
        let (text, done) = printed(&mut fetch)?;
        let versions = text.lines().filter(|line| line.starts_with("server:"));
        self.notes.extend(versions.map(str::to_owned));
        Ok(done)
    }

    /// Runs cargo test, prints its output, and keeps its summary lines for the end.
    fn test(&mut self, arguments: &str) -> Result<bool> {
        let mut child = cargo(arguments)
            .env("KEEPSAKE_NOT_RUN", &self.not_run_file)
            .env(workspace::ALREADY_BUILT, "yes")
            .stdout(Stdio::piped())
            .spawn()
            .context("run cargo test")?;
        let stdout = child.stdout.take().context("read the output of cargo test")?;
        for line in BufReader::new(stdout).lines() {
            let line = line.context("read the output of cargo test")?;
            println!("{line}");
            if line.starts_with("test result:") {
                self.results.push(line);
            } else if line.starts_with("test ") && line.ends_with("FAILED") {
                self.failed.push(line);
            }
        }
        Ok(child.wait().context("wait for cargo test")?.success())
    }

    /// Runs the camera's program with kernel drivers. The debug build exists already, and a release build differs
    /// only in its memory.
    fn vmtest(&mut self) -> Result<bool> {
        succeeds(VMTEST.command().arg("--debug").env("KEEPSAKE_NOT_RUN", &self.not_run_file))
    }

    /// Runs `systemd-analyze verify` on our units. `cargo xtask deb --check` runs the units themselves.
    fn units(&mut self) -> Result<bool> {
        let folder = workspace::target().join("units");
        fs::create_dir_all(&folder)?;
        let mut units = Vec::new();
        for package in ["appliance/debian", "cloud/debian"] {
            let from = workspace::root().join(package);
            let entries = fs::read_dir(&from)?;
            let files = entries.flatten().map(|entry| entry.path());
            for file in files.filter(|file| file.extension().is_some_and(|kind| kind == "service")) {
                // Our programs are not installed here, and it only checks that the program exists.
                let text = fs::read_to_string(&file)?
                    .replace("/usr/bin/appliance ", "/bin/true ")
                    .replace("/usr/bin/cloud ", "/bin/true ");
                let copy = folder.join(file.file_name().unwrap_or_default());
                fs::write(&copy, text)?;
                units.push(copy);
            }
        }
        let done = Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .args(&units)
            .stdin(Stdio::null())
            .output();
        let Ok(done) = done else {
            let what = "NOT RUN: systemd units: there is no systemd-analyze here; it comes with systemd 250 or later";
            self.notes.push(what.to_owned());
            return Ok(true);
        };
        // It also checks the units that ours name, reports all problems on stderr, and exits with 0.
        let text = String::from_utf8_lossy(&done.stderr);
        let ours: Vec<&str> = text.lines().filter(|line| line.contains("keepsake-")).collect();
        println!("{} units checked", units.len());
        for line in &ours {
            println!("{line}");
        }
        Ok(ours.is_empty() && !units.is_empty())
    }

    /// Runs a demo in a directory of its own on a free port, and checks its times.
    fn demo(&mut self) -> Result<bool> {
        let data = workspace::target().join("tmp").join(format!("demo-{}", std::process::id()));
        // Not the file of this program: the tests have built it again in the meantime.
        let (text, done) = printed(cargo("demo --presses 20 --port 0 --data").arg(&data))?;
        // Reported but not judged: a shared machine is slow at times.
        for (what, most) in [
            ("press-to-light max", PRESS_TO_LIGHT_MS_MAX),
            ("press-to-stored p50", PRESS_TO_STORED_P50_MS_MAX),
        ] {
            let found = number_after(&text, what);
            if found.is_none_or(|ms| ms > most) {
                self.notes
                    .push(format!("SLOW: {what} should be at most {most} ms and was {found:?} on this machine"));
            }
        }
        let _ = fs::remove_dir_all(&data);
        Ok(done)
    }

    fn report(mut self) -> bool {
        if let Ok(lines) = fs::read_to_string(&self.not_run_file) {
            self.notes.extend(lines.lines().map(str::to_owned));
        }
        println!();
        if !self.results.is_empty() {
            println!("{}", sum_of(&self.results));
        }
        for line in &self.failed {
            println!("{line}");
        }
        for (name, passed, took) in &self.steps {
            let word = if *passed { "passed" } else { "FAILED" };
            println!("{word}  {:>7.1} s  {name}", took.as_secs_f64());
        }
        let all: Duration = self.steps.iter().map(|(_, _, took)| *took).sum();
        println!("        {:>7.1} s  in all", all.as_secs_f64());
        for line in &self.notes {
            println!("{line}");
        }
        self.steps.iter().all(|(_, passed, _)| *passed)
    }
}

/// Returns cargo with these arguments, separated by blanks.
fn cargo(arguments: &str) -> Command {
    let mut cargo = workspace::cargo();
    cargo.args(arguments.split_whitespace()).stdin(Stdio::null());
    cargo
}

fn succeeds(command: &mut Command) -> Result<bool> {
    Ok(command.status().with_context(|| format!("run {command:?}"))?.success())
}

/// Runs a command; prints and returns its output, and whether it succeeded.
fn printed(command: &mut Command) -> Result<(String, bool)> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("run {command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    print!("{text}");
    Ok((text, output.status.success()))
}

fn clippy(features: &str) -> Result<bool> {
    succeeds(&mut cargo(&format!("clippy --workspace --all-targets {features} -- -D warnings")))
}

/// Builds the programs that the end-to-end tests start.
fn build(features: &str) -> Result<bool> {
    succeeds(&mut cargo(&format!(
        "build --package keepsake-cloud --package keepsake-appliance {features}"
    )))
}

/// With private items: readers of these docs are about to change the programs.
fn docs() -> Result<bool> {
    let mut docs = cargo("doc --workspace --no-deps --document-private-items");
    // Private items are documented too, so links to them work.
    succeeds(docs.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private-intra-doc-links"))
}

fn number_after(text: &str, what: &str) -> Option<f64> {
    let (_, after) = text.split_once(what)?;
    after.split_whitespace().next()?.parse().ok()
}

/// Adds up all summary lines of the test runner.
fn sum_of(results: &[String]) -> String {
    let sum = |what: &str| -> u64 {
        results
            .iter()
            .filter_map(|line| {
                let (before, _) = line.split_once(what)?;
                before.split_whitespace().last()?.parse::<u64>().ok()
            })
            .sum()
    };
    format!(
        "{} test programs: {} passed; {} failed; {} ignored",
        results.len(),
        sum(" passed"),
        sum(" failed"),
        sum(" ignored")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_lines_are_added_up() {
        let line = |passed, failed| {
            format!(
                "test result: ok. {passed} passed; {failed} failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s"
            )
        };
        assert_eq!(sum_of(&[line(8, 0), line(15, 2)]), "2 test programs: 23 passed; 2 failed; 2 ignored");
    }

    #[test]
    fn a_number_is_found_after_its_name() {
        let line = "pressed 3, stored 3, missing 0, press-to-stored p50 41.2 ms p95 55.0 ms";
        assert_eq!(number_after(line, "press-to-stored p50"), Some(41.2));
        assert_eq!(number_after(line, "press-to-light max"), None);
        assert_eq!(number_after("press-to-light max - ms", "press-to-light max"), None);
    }
}
