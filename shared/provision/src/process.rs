//! A program of ours as a child process: its lines as events, its end by signal, and never an orphan.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// The folder of the programs that were built together with this test.
pub fn built_beside_this_test() -> PathBuf {
    let own = std::env::current_exe().expect("a running program knows its own file");
    let folder = own.parent().expect("a file is in a folder");
    // Cargo puts tests into target/<profile>/deps, and other programs one above.
    match folder.file_name() {
        Some(name) if name == "deps" => folder.parent().expect("deps is in a folder").to_owned(),
        Some(_) | None => folder.to_owned(),
    }
}

/// The file of the program `name`.
pub fn binary(name: &str) -> PathBuf {
    let path = built_beside_this_test().join(name);
    assert!(
        path.exists(),
        "{} is not built: run `cargo build -p keepsake-cloud -p keepsake-appliance`, or `cargo verify` which does it",
        path.display()
    );
    warn_if_older_than_its_source(name, &path);
    path
}

/// `cargo test` builds the tests but not the programs they start. Whoever changed one and forgot to build it should
/// read that beside the failure he wonders about; a passing test shows nothing.
fn warn_if_older_than_its_source(name: &str, binary: &Path) {
    let changed = |path: &Path| {
        std::fs::metadata(path)
            .and_then(|meta| meta.modified())
            .ok()
    };
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let newest = [name, "shared"]
        .iter()
        .map(|source| workspace.join(source).join("src"))
        .filter(|source| source.is_dir())
        .flat_map(|source| crate::folder::files(&source))
        .filter_map(|file| changed(&file))
        .max();
    if newest > changed(binary) {
        println!(
            "{name} may be older than its source: run `cargo build -p keepsake-cloud -p keepsake-appliance`"
        );
    }
}

/// Ports below the range from which the kernel takes those of outgoing connections: a program that is down for a moment
/// finds its own port free when it comes back, and nobody connects to himself meanwhile.
pub fn free_port() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
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

/// All JSON lines that one program, or one after the other, has said.
#[derive(Debug, Default)]
pub struct Events {
    said: Mutex<Said>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Said {
    lines: Vec<Value>,
    ended: bool,
}

/// What was waited for did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// The program ended first.
    Ended,
    Deadline,
}

impl Events {
    pub fn len(&self) -> usize {
        self.said().lines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy of all events from number `since` on.
    pub fn since(&self, since: usize) -> Vec<Value> {
        self.said().lines[since..].to_vec()
    }

    /// Waits until `found` sees what it looks for among the events from number `since` on.
    ///
    /// # Errors
    /// [`Missed`] when the program ends first or `within` has passed.
    pub fn wait<T>(
        &self,
        since: usize,
        within: Duration,
        mut found: impl FnMut(&[Value]) -> Option<T>,
    ) -> Result<T, Missed> {
        let deadline = Instant::now() + within;
        let mut said = self.said();
        loop {
            if let Some(found) = found(&said.lines[since..]) {
                return Ok(found);
            }
            if said.ended {
                return Err(Missed::Ended);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Missed::Deadline);
            }
            said = match self.more.wait_timeout(said, left) {
                Ok((said, _)) => said,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// A test that fails while it looks must still be able to show the events.
    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, line: Value) {
        self.said().lines.push(line);
        self.more.notify_all();
    }

    fn set_ended(&self, ended: bool) {
        self.said().ended = ended;
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
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log_file);
        die_with_parent(&mut command);
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("start {command:?}: {error}"));
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
                        // A kill may cut the last line in the middle; a whole line that is no JSON is shown.
                        Err(_) => println!("not an event: {line}"),
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

    /// Writes one line to its standard input. A program that is gone takes none, and that is no error of the writer's.
    pub fn say(&mut self, line: &str) {
        if let Some(stdin) = &mut self.stdin {
            let _ = stdin.write_all(format!("{line}\n").as_bytes());
            let _ = stdin.flush();
        }
    }

    /// kill -9: the program gets no chance to do anything more.
    pub fn kill(mut self) {
        self.kill_now();
    }

    /// SIGTERM, and `within` for a clean end.
    pub fn stop(mut self, within: Duration) -> ExitStatus {
        self.signal(libc::SIGTERM);
        self.wait(within)
    }

    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.pid()).expect("a pid is an i32");
        // SAFETY: kill(2) takes no pointer; the child is not reaped yet, so the number is still its own.
        unsafe {
            libc::kill(pid, signal);
        }
    }

    /// Waits for the end it comes to by itself.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        self.stdin = None;
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for a child") {
                self.join();
                return status;
            }
            if Instant::now() > deadline {
                self.kill_now();
                panic!("still running after {within:?}\n{}", self.last_words());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("wait for a child").is_none()
    }

    /// The end of its log and its last events, for the message of a failed test.
    pub fn last_words(&self) -> String {
        last_words(&self.log, &self.events)
    }

    fn kill_now(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.join();
    }

    /// Everything that was still in the pipe is read before the end counts as an end.
    fn join(&mut self) {
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
        self.kill_now();
    }
}

/// The end of a log and the last events, for the message of a failed test.
pub fn last_words(log: &Path, events: &Events) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let events: Vec<String> = {
        let all = events.since(0);
        all[all.len().saturating_sub(15)..]
            .iter()
            .map(Value::to_string)
            .collect()
    };
    format!(
        "--- last events\n{}\n--- end of {}\n{}",
        events.join("\n"),
        log.display(),
        lines[lines.len().saturating_sub(25)..].join("\n")
    )
}

/// A child ends with the test, whatever ends the test.
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

/// Asks again and again until there is an answer: for what can only be asked for, not waited for (a row, a page).
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

/// The most memory a process ever had, bytes (`VmHWM`).
pub fn memory_peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .expect("a process that runs has a status");
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.parse::<u64>().ok())
        .expect("VmHWM in /proc/PID/status")
        * 1024
}
