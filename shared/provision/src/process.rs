//! Child processes: run to completion, or running with their JSON lines as events. None outlives its parent.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Runs a command to completion without standard input and returns its standard output.
///
/// # Errors
/// It cannot be started or fails; with its arguments and its last lines.
pub fn run(command: &mut Command) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("run {name}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let arguments: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    bail!(
        "{name} {}: {}: {}",
        arguments.join(" "),
        output.status,
        last_lines(&String::from_utf8_lossy(&text), 6).join("; ")
    );
}

/// Returns the last `count` lines of a text.
pub fn last_lines(text: &str, count: usize) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].to_vec()
}

/// Returns a free port below the range that the kernel uses for outgoing connections: a program that is down for a
/// moment finds its own port free when it comes back, and no client can connect to itself.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id() * 97;
    for _ in 0..5000 {
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(21_000 + (start + step) % 11_000).expect("below 32,000");
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between 21000 and 32000");
}

/// The JSON lines that one program, or several runs of it, have printed.
#[derive(Debug, Default)]
pub struct Events {
    state: Mutex<Lines>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<Value>,
    ended: bool,
}

/// The reason why a wait was in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitError {
    /// The program ended first.
    Ended,
    Deadline,
}

impl Events {
    pub fn len(&self) -> usize {
        self.lock().lines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns a copy of all events from number `since` on.
    pub fn since(&self, since: usize) -> Vec<Value> {
        self.lock().lines[since..].to_vec()
    }

    /// Waits until `found` returns something for the events from number `since` on.
    ///
    /// # Errors
    /// [`WaitError`] when the program ends first or `within` has passed.
    pub fn wait<T>(
        &self,
        since: usize,
        within: Duration,
        mut found: impl FnMut(&[Value]) -> Option<T>,
    ) -> Result<T, WaitError> {
        let deadline = Instant::now() + within;
        let mut state = self.lock();
        loop {
            if let Some(found) = found(&state.lines[since..]) {
                return Ok(found);
            }
            if state.ended {
                return Err(WaitError::Ended);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(WaitError::Deadline);
            }
            state = match self.more.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Works after a panic as well: a failed test must still be able to show the events.
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, line: Value) {
        self.lock().lines.push(line);
        self.more.notify_all();
    }

    fn set_ended(&self, ended: bool) {
        self.lock().ended = ended;
        self.more.notify_all();
    }
}

/// A running program.
#[derive(Debug)]
pub struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    events: Arc<Events>,
    reader: Option<thread::JoinHandle<()>>,
    log: PathBuf,
}

impl Program {
    /// Starts `command`; its JSON lines on stdout go to `events`, its log is appended to the file `log`.
    pub fn start(mut command: Command, events: &Arc<Events>, log: &Path) -> Self {
        let log_file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("open a log file in the folder of the test");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("KEEPSAKE_") {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log_file);
        die_with_parent(&mut command);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        events.set_ended(false);
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("stdout is piped");
        let reader = {
            let events = Arc::clone(events);
            thread::spawn(move || {
                for line in BufReader::new(stdout).lines() {
                    let Ok(line) = line else { break };
                    match serde_json::from_str(&line) {
                        Ok(value) => events.add(value),
                        // A kill may cut the last line; a complete line that is not JSON is printed.
                        Err(_) => println!("not JSON: {line}"),
                    }
                }
                events.set_ended(true);
            })
        };
        Self {
            child,
            stdin,
            events: Arc::clone(events),
            reader: Some(reader),
            log: log.to_owned(),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn events(&self) -> &Arc<Events> {
        &self.events
    }

    /// Writes one line to its standard input; does nothing if the program has ended.
    pub fn write_line(&mut self, line: &str) {
        if let Some(stdin) = &mut self.stdin {
            let _ = stdin.write_all(format!("{line}\n").as_bytes());
            let _ = stdin.flush();
        }
    }

    /// Sends SIGKILL.
    pub fn kill(mut self) {
        self.kill_and_reap();
    }

    /// Sends SIGTERM and waits at most `within` for the end.
    pub fn stop(mut self, within: Duration) -> ExitStatus {
        self.signal(libc::SIGTERM);
        self.wait(within)
    }

    pub fn signal(&self, signal: i32) {
        send_signal(&self.child, signal);
    }

    /// Waits for its end.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        self.stdin = None;
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for a child") {
                self.join_reader();
                return status;
            }
            if Instant::now() > deadline {
                self.kill_and_reap();
                panic!("still running after {within:?}\n{}", self.last_words());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns whether it is running.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("wait for a child").is_none()
    }

    /// Returns the end of its log and its last events, for the message of a failed test.
    pub fn last_words(&self) -> String {
        last_words(&self.log, &self.events)
    }

    fn kill_and_reap(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.join_reader();
    }

    /// Waits until everything in the pipe is read.
    fn join_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.last_words());
        }
        self.kill_and_reap();
    }
}

/// Returns the end of a log and the last events, for the message of a failed test.
pub fn last_words(log: &Path, events: &Events) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let events: Vec<String> = {
        let all = events.since(0);
        all[all.len().saturating_sub(15)..].iter().map(Value::to_string).collect()
    };
    format!(
        "--- last events\n{}\n--- end of {}\n{}",
        events.join("\n"),
        log.display(),
        last_lines(&text, 25).join("\n")
    )
}

/// Makes the kernel kill the child when the thread that started it ends.
fn die_with_parent(command: &mut Command) {
    // SAFETY: prctl(2) with these arguments is async-signal-safe and touches no memory of ours.
    unsafe {
        command.pre_exec(|| {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == -1 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
}

fn send_signal(child: &Child, signal: i32) {
    let pid = i32::try_from(child.id()).expect("a pid is an i32");
    // SAFETY: kill(2) takes no pointer; the child is not reaped yet, so the number is still its own.
    unsafe {
        libc::kill(pid, signal);
    }
}

/// A child process that is stopped when it goes out of scope. Start it on the main thread: the kernel kills it when
/// the thread that started it ends.
pub struct ChildGuard {
    child: Child,
    name: &'static str,
}

impl ChildGuard {
    pub fn start(command: &mut Command, name: &'static str) -> Result<Self> {
        // In a process group of its own: Ctrl-C reaches only this program, which then stops its children one by one.
        command.process_group(0);
        die_with_parent(command);
        let child = command.spawn().with_context(|| format!("start {name}"))?;
        Ok(Self { child, name })
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Returns how it ended, if it has.
    pub fn exit_message(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(format!("{} ended: {status}", self.name))
    }

    /// Sends SIGTERM and waits; kills it after `within`.
    pub fn stop(mut self, within: Duration) {
        self.terminate(within);
    }

    fn terminate(&mut self, within: Duration) {
        let deadline = Instant::now() + within;
        if matches!(self.child.try_wait(), Ok(None)) {
            send_signal(&self.child, libc::SIGTERM);
        }
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        self.terminate(Duration::from_secs(3));
    }
}

/// Calls `ask` until it returns something: for facts that cannot be waited for, such as a row or a page.
pub fn eventually<T>(what: &str, within: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Returns the peak memory of a process in bytes (`VmHWM`).
pub fn peak_memory_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process that runs has a status");
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.parse::<u64>().ok())
        .expect("VmHWM in /proc/PID/status")
        * 1024
}
