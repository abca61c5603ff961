//! Button, LED and camera without a Pi: a line on stdin or SIGUSR1, the terminal, and a directory of photographs or a
//! drawn scene.
//!
//! The whole camera runs on a laptop with these, in tests and with `--simulated`. Every frame is unique: a JPEG comment
//! carries its number, the boot and random digits, so that two presses never look like a repeat (P3).

mod scene;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, IsTerminal, Read as _, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use keepsake_protocol::capture::ContentType;
use nix::sys::signal::Signal;
use rand::Rng as _;

use super::{ButtonEdge, CameraError, HardwareError, LedState};
use crate::imaging::frame::Frame;
use crate::imaging::jpeg::check_jpeg;
use crate::settings::{self, Config};
use crate::time::clock::{self, Clock};

/// One press per line or SIGUSR1, released at once.
///
/// A press has the time at which it is taken: lines that come together wait in the pipe, and none is lost. The end of the
/// input ends only its presses. The kernel merges a signal with one that is still waiting to be delivered, so someone who
/// sends many without spacing is counted fewer.
pub(crate) struct SimulatedButton {
    presses: Receiver<()>,
    /// Since when it is down, CLOCK_BOOTTIME in microseconds; it is released next.
    down_at_us: Option<u64>,
}

impl SimulatedButton {
    pub(crate) fn on_stdin() -> Result<Self, HardwareError> {
        let fix = "start it with stdin open, < /dev/null will do";
        let input = io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .map_err(|e| HardwareError::new("read presses from stdin", fix).caused_by(e))?;
        Self::on(File::from(input))
    }

    /// The same on any input.
    pub(crate) fn on(input: File) -> Result<Self, HardwareError> {
        let fix = "allow the program to handle signals";
        let presses =
            spawn_readers(input).map_err(|e| HardwareError::new("take presses from SIGUSR1", fix).caused_by(e))?;
        Ok(Self { presses, down_at_us: None })
    }
}

impl super::Button for SimulatedButton {
    fn wait(&mut self, timeout: Duration) -> Result<Option<ButtonEdge>, HardwareError> {
        // Released at the moment of the press: a program that was stopped in between has held no button.
        if let Some(at_boottime_us) = self.down_at_us.take() {
            return Ok(Some(ButtonEdge { down: false, at_boottime_us }));
        }
        self.down_at_us = self.presses.recv_timeout(timeout).ok().map(|()| clock::boottime_us());
        Ok(self.down_at_us.map(|at_boottime_us| ButtonEdge { down: true, at_boottime_us }))
    }
}

/// Starts a thread that reads lines and one that reads signals. Each hands over one press, and reads on when it is taken.
fn spawn_readers(input: File) -> io::Result<Receiver<()>> {
    let (press, presses) = sync_channel(0);
    let (mut signals, signalled) = io::pipe()?;
    signal_hook::low_level::pipe::register(Signal::SIGUSR1 as i32, signalled)?;
    let signal_press = press.clone();
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || while signals.read_exact(&mut [0]).is_ok() && signal_press.send(()).is_ok() {})?;
    thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let mut lines = BufReader::new(input).split(b'\n');
        while lines.next().is_some_and(|line| line.is_ok()) && press.send(()).is_ok() {}
    })?;
    Ok(presses)
}

/// The LED as a dot with its meaning, on one line of the terminal that is overwritten.
pub(crate) struct SimulatedLed {
    /// `None` when stderr is no terminal: a log needs no drawing.
    terminal: Option<io::Stderr>,
    state: LedState,
    appearance: String,
    meaning: String,
}

impl SimulatedLed {
    pub(crate) fn on_stderr() -> Self {
        let stderr = io::stderr();
        Self {
            terminal: stderr.is_terminal().then_some(stderr),
            state: LedState::Off,
            appearance: String::new(),
            meaning: String::new(),
        }
    }

    fn draw(&mut self) {
        let line = drawn(self.state, &self.appearance, &self.meaning);
        if let Some(terminal) = &mut self.terminal {
            // A terminal that went away must not stop a camera.
            let _ = terminal.write_all(line.as_bytes());
            let _ = terminal.flush();
        }
    }
}

impl super::Led for SimulatedLed {
    fn show(&mut self, state: LedState) {
        self.state = state;
        self.draw();
    }

    fn caption(&mut self, appearance: &str, meaning: &str) {
        appearance.clone_into(&mut self.appearance);
        meaning.clone_into(&mut self.meaning);
        self.draw();
    }
}

impl Drop for SimulatedLed {
    fn drop(&mut self) {
        if let Some(terminal) = &mut self.terminal {
            // The last line stays, what is written next begins on its own.
            let _ = terminal.write_all(b"\n");
        }
    }
}

/// Back to the first column, the line, and the rest of what stood there before wiped away.
fn drawn(state: LedState, appearance: &str, meaning: &str) -> String {
    let dot = match state {
        LedState::Off => "\x1b[2m○\x1b[0m".to_owned(),
        LedState::On { brightness, colour } => {
            // An eye sees a tenth of the light as about a third.
            let share = (f64::from(brightness.min(100)) / 100.0).sqrt();
            let [r, g, b] = colour.map(|c| f64::from(c) * share);
            format!("\x1b[38;2;{r:.0};{g:.0};{b:.0}m●\x1b[0m")
        }
    };
    format!("\r{dot} {appearance}: {meaning}\x1b[K")
}

/// Photographs in turn, or a drawn scene.
pub(crate) struct SimulatedCamera {
    source: Source,
    boot: String,
    /// Tells this run from the next one of the same boot.
    run: String,
    frames: u64,
    missing: u64,
    frame_bytes: usize,
    takes: Duration,
}

enum Source {
    /// JPEG files in the order of their names, never none.
    Photographs(Vec<PathBuf>),
    Scene {
        width: u32,
        height: u32,
    },
}

impl SimulatedCamera {
    /// Fails if the folder of photographs cannot be read or holds no JPEG.
    pub(crate) fn open(config: &Config) -> Result<Self, HardwareError> {
        let settings = &config.simulated;
        let source = if settings.photos.as_os_str().is_empty() {
            Source::Scene { width: config.camera.width, height: config.camera.height }
        } else {
            Source::Photographs(photographs(&settings.photos)?)
        };
        let boot = Clock::open().map_or_else(|_| "unknown".to_owned(), |c| c.boot().to_string());
        Ok(Self {
            source,
            boot,
            run: format!("{:016x}", rand::random::<u64>()),
            frames: 0,
            missing: settings.camera_missing_presses,
            frame_bytes: usize::try_from(settings.frame_bytes).unwrap_or(usize::MAX),
            takes: Duration::from_millis(settings.frame_ms),
        })
    }

    fn photograph(&self, paths: &[PathBuf]) -> Result<Vec<u8>, CameraError> {
        let turn = usize::try_from(self.frames).unwrap_or(0) % paths.len();
        let path = &paths[turn];
        fs::read(path).map_err(|e| CameraError::Failed {
            camera: "simulated".to_owned(),
            what: format!("read {}", path.display()),
            source: Some(e),
        })
    }
}

impl super::Camera for SimulatedCamera {
    fn configure(&mut self, settings: &settings::CameraSettings) {
        match &mut self.source {
            // A photograph has the size it has.
            Source::Photographs(_) => {}
            Source::Scene { width, height } => {
                (*width, *height) = (settings.width, settings.height);
            }
        }
    }

    fn describe(&mut self) -> Vec<String> {
        vec![match &self.source {
            Source::Photographs(paths) => format!("{} photographs in turn, simulated", paths.len()),
            Source::Scene { .. } => "a drawn scene, simulated".to_owned(),
        }]
    }

    fn frame(&mut self, deadline: Duration) -> Result<Frame, CameraError> {
        if self.missing > 0 {
            self.missing -= 1;
            return Err(CameraError::not_found("simulated", "lower simulated.camera_missing_presses"));
        }
        thread::sleep(self.takes.min(deadline));
        if self.takes > deadline {
            return Err(CameraError::TimedOut {
                camera: "simulated".to_owned(),
                after_ms: deadline.as_millis(),
            });
        }
        let plain = match &self.source {
            Source::Photographs(paths) => self.photograph(paths)?,
            Source::Scene { width, height } => scene::drawn(*width, *height, self.frames + 1, clock_face()),
        };
        let (width, height) = check_jpeg(&plain).map_err(|e| CameraError::failed("simulated", e.to_string()))?;
        self.frames += 1;
        let comment = format!("keepsake frame {} of boot {} run {}", self.frames, self.boot, self.run);
        Ok(Frame {
            bytes: with_comments(&plain, &comment, self.frame_bytes),
            content_type: ContentType::Jpeg,
            width,
            height,
        })
    }
}

/// Time of day for the scene, from the wall clock as it is: hours, minutes, seconds.
fn clock_face() -> [u8; 3] {
    let now = jiff::Zoned::now();
    [now.hour(), now.minute(), now.second()].map(i8::unsigned_abs)
}

fn photographs(folder: &Path) -> Result<Vec<PathBuf>, HardwareError> {
    let doing = || format!("look for photographs in {}", folder.display());
    let fix = "name a folder with JPEG files (--photos, simulated.photos)";
    let listed = || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>();
    let mut paths = listed().map_err(|e| HardwareError::new(doing(), fix).caused_by(e))?;
    let is_jpeg = |extension: &OsStr| ["jpg", "jpeg"].iter().any(|of| extension.eq_ignore_ascii_case(of));
    paths.retain(|path| path.extension().is_some_and(is_jpeg) && path.is_file());
    paths.sort();
    if paths.is_empty() {
        return Err(HardwareError::new(doing(), fix));
    }
    Ok(paths)
}

/// A comment segment holds its own length in two bytes.
const COMMENT_BYTES_MAX: usize = 65_535 - 2;

/// The JPEG with `comment` right behind its start, and noise in further comments until it is `bytes_min` long.
fn with_comments(jpeg: &[u8], comment: &str, bytes_min: usize) -> Vec<u8> {
    let (start, rest) = jpeg.split_at(2);
    let mut bytes = Vec::with_capacity(bytes_min.max(jpeg.len() + comment.len() + 4));
    bytes.extend_from_slice(start);
    push_comment(&mut bytes, comment.as_bytes());
    while bytes.len() + rest.len() + 4 < bytes_min {
        let room = bytes_min - bytes.len() - rest.len() - 4;
        // A picture does not compress, so padding must not either.
        let mut padding = vec![0; room.min(COMMENT_BYTES_MAX)];
        rand::rng().fill_bytes(&mut padding);
        push_comment(&mut bytes, &padding);
    }
    bytes.extend_from_slice(rest);
    bytes
}

fn push_comment(bytes: &mut Vec<u8>, text: &[u8]) {
    let text = &text[..text.len().min(COMMENT_BYTES_MAX)];
    let length = u16::try_from(text.len() + 2).expect("a comment is cut to fit its length");
    bytes.extend_from_slice(&[0xff, 0xfe]);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::PipeWriter;
    use std::os::fd::OwnedFd;
    use std::time::Instant;

    use super::*;
    use crate::hardware::{Button as _, Camera as _};

    const LONG: Duration = Duration::from_secs(10);

    fn button() -> (PipeWriter, SimulatedButton) {
        let (reader, writer) = io::pipe().unwrap();
        let button = SimulatedButton::on(File::from(OwnedFd::from(reader))).unwrap();
        (writer, button)
    }

    /// Pressed, and released.
    fn is_pressed(button: &mut SimulatedButton) -> bool {
        let mut touch = || button.wait(LONG).unwrap().is_some_and(|touch| touch.down);
        touch() && !touch()
    }

    fn camera(set: impl FnOnce(&mut Config)) -> SimulatedCamera {
        let mut config = Config::default();
        config.camera.width = 64;
        config.camera.height = 48;
        set(&mut config);
        SimulatedCamera::open(&config).unwrap()
    }

    // Signals belong to the whole process, so everything about the button is one test.
    #[test]
    fn every_line_and_every_signal_is_one_press() {
        let (mut keys, mut button) = button();
        keys.write_all(&b"\n".repeat(5000)).unwrap();
        let sent_us = clock::boottime_us();
        let mut last_us = 0;
        for _ in 0..5000 {
            let press = button.wait(LONG).unwrap().unwrap();
            let end = button.wait(LONG).unwrap().unwrap();
            assert!(press.down && !end.down, "and let go at once");
            let in_order = press.at_boottime_us >= last_us.max(sent_us);
            assert!(in_order, "a press has the time at which it is taken");
            last_us = press.at_boottime_us;
        }
        assert_eq!(button.wait(Duration::from_millis(20)).unwrap(), None);

        for _ in 0..3 {
            nix::sys::signal::raise(Signal::SIGUSR1).unwrap();
        }
        for _ in 0..3 {
            assert!(is_pressed(&mut button));
        }
        assert_eq!(button.wait(Duration::ZERO).unwrap(), None);

        // A signal wakes it although it came to another thread.
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(50));
                nix::sys::signal::raise(Signal::SIGUSR1).unwrap();
            });
            assert!(is_pressed(&mut button));
        });

        keys.write_all(b"one\nand a line without end").unwrap();
        drop(keys);
        assert!(is_pressed(&mut button));
        assert!(is_pressed(&mut button));
        assert_eq!(button.wait(Duration::from_millis(20)).unwrap(), None);
        // The end of the lines is not the end of the signals.
        nix::sys::signal::raise(Signal::SIGUSR1).unwrap();
        assert!(is_pressed(&mut button));
    }

    #[test]
    fn no_two_frames_are_alike_even_of_one_photograph() {
        let folder = tempfile::tempdir().unwrap();
        let jpeg = |number| scene::drawn(64, 48, number, [0; 3]);
        fs::write(folder.path().join("b.JPG"), jpeg(2)).unwrap();
        fs::write(folder.path().join("a.jpeg"), jpeg(1)).unwrap();
        fs::write(folder.path().join("notes.txt"), "no picture").unwrap();
        let open = || camera(|c| c.simulated.photos = folder.path().to_owned());
        let mut frames = BTreeSet::new();
        for mut camera in [open(), open()] {
            for turn in 0..5 {
                let frame = camera.frame(LONG).unwrap();
                let plain = jpeg(1 + turn % 2);
                assert!(frame.bytes.ends_with(&plain[2..]), "by their names");
                assert_eq!((frame.width, frame.height), (64, 48));
                let start = String::from_utf8_lossy(&frame.bytes[..40]).into_owned();
                let comment = format!("keepsake frame {} of boot", turn + 1);
                assert!(start.contains(&comment), "{start}");
                frames.insert(frame.bytes);
            }
        }
        assert_eq!(frames.len(), 10);
    }

    #[test]
    fn a_frame_can_be_as_large_as_one_likes() {
        for bytes in [0, 5000, 65_540, 65_541, 140_000, 8 << 20] {
            let mut camera = camera(|c| c.simulated.frame_bytes = bytes);
            let frame = camera.frame(LONG).unwrap();
            let found = frame.bytes.len() as u64;
            let wanted = bytes.saturating_sub(4)..=bytes.max(4000);
            assert!(wanted.contains(&found), "{found} for {bytes}");
            assert_eq!(check_jpeg(&frame.bytes), Ok((64, 48)));
            image::load_from_memory(&frame.bytes).unwrap();
        }
    }

    #[test]
    fn a_camera_can_be_missing_and_come_back() {
        let mut camera = camera(|c| c.simulated.camera_missing_presses = 2);
        for _ in 0..2 {
            let error = camera.frame(LONG).unwrap_err();
            assert_eq!(error.reason(), keepsake_protocol::event::TombstoneReason::CameraNotFound);
        }
        camera.frame(LONG).unwrap();
    }

    #[test]
    fn a_slow_camera_is_not_waited_for_longer_than_the_deadline() {
        let mut camera = camera(|c| c.simulated.frame_ms = 60_000);
        let asked = Instant::now();
        let error = camera.frame(Duration::from_millis(30)).unwrap_err();
        assert_eq!(error.reason(), keepsake_protocol::event::TombstoneReason::CameraTimedOut);
        assert!(asked.elapsed() < LONG);
    }

    #[test]
    fn a_folder_without_photographs_names_the_setting() {
        let folder = tempfile::tempdir().unwrap();
        for photos in [folder.path().to_owned(), folder.path().join("none")] {
            let mut config = Config::default();
            config.simulated.photos = photos;
            let error = SimulatedCamera::open(&config).err().unwrap();
            assert!(error.to_string().contains("--photos"), "{error}");
        }
    }

    #[test]
    fn the_led_is_a_dot_with_its_meaning() {
        let state = LedState::On { brightness: 100, colour: [0, 255, 0] };
        let line = drawn(state, "one long", "In the cloud.");
        let dot = "\x1b[38;2;0;255;0m●\x1b[0m";
        assert_eq!(line, format!("\r{dot} one long: In the cloud.\x1b[K"));
        assert!(drawn(LedState::Off, "off", "").contains('○'));
    }
}
