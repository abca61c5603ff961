//! The program as a child: what it writes is read all the time, so that nothing old waits in a pipe, and it never outlives
//! us.

use std::io::{self, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use keepsake_protocol::capture::ContentType;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::mjpeg::{MjpegSplitter, Step};
use crate::imaging::frame::Frame;

/// The capacity of a pipe, bytes.
const READ_BYTES: usize = 64 << 10;
/// Limits of its messages that are kept: the newest lines, and the characters of each.
const LINES_MAX: usize = 40;
const LINE_CHARS_MAX: usize = 300;
/// A process that was killed is gone by then, unless the kernel holds it.
const END_WITHIN: Duration = Duration::from_secs(1);

/// A running program.
pub(in crate::hardware) struct Process {
    process: std::process::Child,
    shared: Arc<Shared>,
}

/// The reason for the end of the pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::hardware) enum StreamEnd {
    /// There was none in time.
    TimedOut,
    /// It is gone, or has closed its output.
    Closed,
    /// Its output contains no pictures.
    NoPictures,
    /// Bytes of one that has not ended yet.
    TooLarge(usize),
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Pictures that have begun to arrive, so the number of the newest.
    begun: u64,
    /// The lowest frame number that is fresh enough, while a caller waits.
    wanted: Option<u64>,
    picture: Option<Frame>,
    ended: Option<StreamEnd>,
    messages: Vec<String>,
    all_read: bool,
}

impl Shared {
    /// Waits until `ready`, at most until then.
    fn wait(&self, until: Instant, ready: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        self.changed.wait_while_until(&mut state, |state| !ready(state), until);
        state
    }
}

impl Process {
    pub(super) fn start(program: &Path, arguments: &[String], picture_bytes_max: u64) -> io::Result<Self> {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C in a terminal is for us: the picture in hand is still finished.
            .process_group(0);
        // SAFETY: prctl(2) is one system call and touches no memory of ours.
        unsafe {
            // Killed with us, however we end: the next start needs the camera.
            command.pre_exec(|| nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from));
        }
        let mut process = command.spawn()?;
        let shared = Arc::new(Shared::default());
        let stdout = process.stdout.take().expect("it was asked for above");
        let stderr = process.stderr.take().expect("it was asked for above");
        // From here on dropping it ends the process.
        let child = Self { process, shared };
        let bytes_max = usize::try_from(picture_bytes_max).unwrap_or(usize::MAX);
        let shared = child.shared.clone();
        spawn("rpicam-pictures", move || {
            let ended = read_pictures(stdout, &shared, bytes_max);
            shared.state.lock().ended = Some(ended);
            shared.changed.notify_all();
        })?;
        let shared = child.shared.clone();
        spawn("rpicam-says", move || read_output(stderr, &shared))?;
        Ok(child)
    }

    /// The first picture that begins to arrive after `under_way` others, counted from now.
    pub(super) fn picture_after(&self, under_way: u64, until: Instant) -> Result<Frame, StreamEnd> {
        {
            let mut state = self.shared.state.lock();
            state.wanted = Some(state.begun + under_way + 1);
            state.picture = None;
        }
        let mut state = self.shared.wait(until, |state| state.picture.is_some() || state.ended.is_some());
        state.wanted = None;
        match (state.picture.take(), &state.ended) {
            (Some(picture), _) => Ok(picture),
            (None, Some(ended)) => Err(ended.clone()),
            (None, None) => Err(StreamEnd::TimedOut),
        }
    }

    /// Returns the newest lines of its messages.
    pub(super) fn recent_output(&self) -> String {
        self.shared.state.lock().messages.join("\n")
    }

    /// Ends it, and returns its status and messages.
    pub(super) fn end(mut self) -> (String, String) {
        // A child that closed its output is about to end, and its own status is more informative than our signal.
        let closed = self.shared.state.lock().ended == Some(StreamEnd::Closed);
        let status = if closed { self.wait_for_end() } else { None };
        let status = status.or_else(|| self.kill());
        // Its last words may still be in the pipe.
        let until = Instant::now() + END_WITHIN;
        let state = self.shared.wait(until, |state| state.all_read);
        let messages = state.messages.join("\n");
        drop(state);
        (status.map_or_else(|| "killed".to_owned(), |status| status.to_string()), messages)
    }

    fn kill(&mut self) -> Option<std::process::ExitStatus> {
        if let Ok(id) = i32::try_from(self.process.id()) {
            // Including its own children.
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
        let _ = self.process.kill();
        self.wait_for_end()
    }

    /// Bounded: a process that the kernel holds, in a driver, cannot be waited for.
    fn wait_for_end(&mut self) -> Option<std::process::ExitStatus> {
        let until = Instant::now() + END_WITHIN;
        loop {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Some(status);
            }
            if Instant::now() >= until {
                return None;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.process.try_wait(), Ok(Some(_))) {
            self.kill();
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

fn read_pictures(mut from: impl Read, shared: &Shared, bytes_max: usize) -> StreamEnd {
    let mut splitter = MjpegSplitter::new(bytes_max);
    let mut piece = vec![0; READ_BYTES];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return StreamEnd::Closed,
            Ok(n) => splitter.add(&piece[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return StreamEnd::Closed,
        }
        while let Some(step) = splitter.step() {
            match step {
                Step::Begun => shared.state.lock().begun += 1,
                Step::Whole { len, size } => {
                    let mut state = shared.state.lock();
                    if state.wanted.is_some_and(|wanted| state.begun >= wanted) && state.picture.is_none() {
                        let bytes = splitter.take(len);
                        let (width, height) = size;
                        state.picture = Some(Frame { bytes, content_type: ContentType::Jpeg, width, height });
                        shared.changed.notify_all();
                    } else {
                        splitter.skip(len);
                    }
                }
                Step::Broken => tracing::debug!("a picture of the camera is broken"),
                Step::TooLarge { bytes } => return StreamEnd::TooLarge(bytes),
                Step::Noise => return StreamEnd::NoPictures,
            }
        }
    }
}

/// Keeps the newest lines, but for the one a frame that it likes to write.
fn read_output(from: impl Read, shared: &Shared) {
    let mut line = Vec::new();
    let keep = |line: &mut Vec<u8>| {
        let text: String = String::from_utf8_lossy(line).trim().chars().take(LINE_CHARS_MAX).collect();
        line.clear();
        if text.is_empty() || text.starts_with('#') {
            return;
        }
        tracing::debug!(rpicam = text);
        let messages = &mut shared.state.lock().messages;
        if messages.len() >= LINES_MAX {
            messages.remove(0);
        }
        messages.push(text);
    };
    for byte in BufReader::new(from).bytes() {
        match byte {
            Ok(b'\n' | b'\r') => keep(&mut line),
            // A line without end is cut.
            Ok(byte) if line.len() < 4 * LINE_CHARS_MAX => line.push(byte),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    keep(&mut line);
    shared.state.lock().all_read = true;
    shared.changed.notify_all();
}
