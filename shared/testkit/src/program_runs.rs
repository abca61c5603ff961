//! The runs of one program under test: it is started, killed and started again, with one log and one list of events.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use keepsake_provision::process::{Events, Program, WaitError, last_words};

/// A program, running or not. Dropping it stops it cleanly, unless the test has failed already.
#[derive(Debug)]
pub struct ProgramRuns {
    name: String,
    log: PathBuf,
    events: Arc<Events>,
    program: Option<Program>,
    /// The number of the first event of the current run.
    run_start: usize,
}

impl ProgramRuns {
    pub(crate) fn new(name: &str, log: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            log,
            events: Arc::default(),
            program: None,
            run_start: 0,
        }
    }

    /// Starts it without waiting.
    pub(crate) fn launch(&mut self, command: Command) {
        assert!(self.program.is_none(), "{} is running already", self.name);
        self.run_start = self.events.len();
        self.program = Some(Program::start(command, &self.events, &self.log));
    }

    pub(crate) fn program(&mut self) -> Option<&mut Program> {
        self.program.as_mut()
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn pid(&self) -> u32 {
        self.program.as_ref().expect("a running program").pid()
    }

    pub fn is_running(&mut self) -> bool {
        self.program.as_mut().is_some_and(Program::is_running)
    }

    /// Sends SIGKILL.
    pub fn kill(&mut self) {
        if let Some(program) = self.program.take() {
            program.kill();
        }
    }

    /// Sends SIGTERM and expects a clean end.
    pub fn stop(&mut self) {
        self.stop_by(Duration::from_secs(30), |program| program.signal(libc::SIGTERM));
    }

    pub(crate) fn stop_by(&mut self, within: Duration, request: impl FnOnce(&mut Program)) {
        if let Some(mut program) = self.program.take() {
            request(&mut program);
            let status = program.wait(within);
            let name = &self.name;
            assert!(status.success(), "{name}: a clean stop ends with 0, not {status}\n{}", self.last_words());
        }
    }

    /// Waits until `found` returns something for the events from number `since` on, over all runs.
    pub fn expect<T>(&self, what: &str, since: usize, within: Duration, found: impl FnMut(&[Value]) -> Option<T>) -> T {
        self.events.wait(since, within, found).unwrap_or_else(|missed| {
            panic!("{}: {what}: {missed:?} after at most {within:?}\n{}", self.name, self.last_words())
        })
    }

    /// Waits for an event with all these fields, from number `since` on, and returns it.
    pub fn expect_event(&self, since: usize, within: Duration, fields: &Value) -> Value {
        let fields = fields.as_object().expect("fields are an object");
        self.expect(&format!("an event with {fields:?}"), since, within, |events| {
            let has_all = |event: &&Value| fields.iter().all(|(name, value)| event[name] == *value);
            events.iter().find(has_all).cloned()
        })
    }

    /// Waits like [`ProgramRuns::expect`], where a test can go on without success.
    ///
    /// # Errors
    /// [`WaitError`] when the program ends first or `within` has passed.
    pub fn wait<T>(
        &self,
        since: usize,
        within: Duration,
        found: impl FnMut(&[Value]) -> Option<T>,
    ) -> Result<T, WaitError> {
        self.events.wait(since, within, found)
    }

    /// Returns the number of events over all runs.
    pub fn event_count(&self) -> usize {
        self.events.len()
    }

    /// Returns the events of all runs from number `since` on.
    pub fn events(&self, since: usize) -> Vec<Value> {
        self.events.since(since)
    }

    /// Returns the events of the current run.
    pub fn run_events(&self) -> Vec<Value> {
        self.events.since(self.run_start)
    }

    pub(crate) fn run_start(&self) -> usize {
        self.run_start
    }

    pub(crate) fn log_path(&self) -> &Path {
        &self.log
    }

    /// Returns the end of the log and the last events, for the message of a failed test.
    pub(crate) fn last_words(&self) -> String {
        last_words(&self.log, &self.events)
    }

    /// Returns the log of all runs.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for ProgramRuns {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

/// Lets a type be used as the [`ProgramRuns`] in its field `runs`.
macro_rules! deref_to_runs {
    ($type:ty) => {
        impl std::ops::Deref for $type {
            type Target = crate::program_runs::ProgramRuns;

            fn deref(&self) -> &Self::Target {
                &self.runs
            }
        }

        impl std::ops::DerefMut for $type {
            fn deref_mut(&mut self) -> &mut Self::Target {
                &mut self.runs
            }
        }
    };
}

pub(crate) use deref_to_runs;

/// Returns the number of events of this kind.
pub fn count(events: &[Value], kind: &str) -> usize {
    events.iter().filter(|event| event["event"] == kind).count()
}

/// Returns the log level of the programs: `KEEPSAKE_TEST_LOG`, or the level that a failed test needs.
pub(crate) fn log_level() -> String {
    std::env::var("KEEPSAKE_TEST_LOG").unwrap_or_else(|_| "info".to_owned())
}
