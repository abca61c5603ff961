//! `appliance self-test`: tests every part of the camera and says how to fix those that fail.
//!
//! It needs a person who presses the button. It stores no picture and leaves nothing
//! behind, so it can run on a camera in use while its service is stopped.

use std::fmt::{self, Write as _};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::settings_arguments::{FAILED, MISCONFIGURED, Settings, config_or_report, load};
use crate::error::display_chain;
use crate::hardware::identity::Identity;
use crate::hardware::{LedState, open};
use crate::imaging::brightness::brightness;
use crate::settings::{CloudSettings, Config, SpoolSettings};
use crate::time::clock::Clock;

/// Longest wait for a press.
const PRESS_WITHIN: Duration = Duration::from_secs(10);
const BLINKS: u32 = 3;
const BLINK: Duration = Duration::from_millis(250);

pub(super) fn run(settings: &Settings) -> ExitCode {
    let loaded = load(settings);
    let Some(config) = config_or_report(&loaded) else {
        return ExitCode::from(MISCONFIGURED);
    };
    let report = check_all(config);
    for line in &report {
        println!("{line}");
    }
    if nothing_failed(&report) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    }
}

/// The result of one part.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    part: &'static str,
    verdict: Verdict,
    /// The result, and for a failure how to fix it. Further lines are details.
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    /// Works, with a remark.
    Note,
    Failed,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Good => "ok",
            Verdict::Note => "note",
            Verdict::Failed => "FAIL",
        };
        let indented = self.text.lines().collect::<Vec<_>>().join(&format!("\n{:14}", ""));
        write!(f, "{verdict:4} {:8} {indented}", self.part)
    }
}

fn nothing_failed(report: &[Line]) -> bool {
    report.iter().all(|line| line.verdict != Verdict::Failed)
}

/// Tests every part in turn. Blocks for up to half a minute.
fn check_all(config: &Config) -> Vec<Line> {
    let parts: [(&'static str, Check); 8] = [
        ("name", name),
        ("card", |config| card(&config.spool)),
        ("space", |config| space(&config.spool)),
        ("light", light),
        ("button", button),
        ("camera", camera),
        ("cloud", |config| cloud(&config.cloud)),
        ("clock", |_| clock()),
    ];
    parts
        .into_iter()
        .map(|(part, check)| {
            let (verdict, text) = check(config).unwrap_or_else(|text| (Verdict::Failed, text));
            Line { part, verdict, text }
        })
        .collect()
}

/// A verdict with what was found, or a failure with its fix.
type Check = fn(&Config) -> Result<(Verdict, String), String>;

fn name(config: &Config) -> Result<(Verdict, String), String> {
    let identity = Identity::of(config);
    let device = config.device_name(&identity.serial);
    let text = format!("{device} ({})", identity.fingerprint);
    Ok((Verdict::Good, text))
}

fn card(settings: &SpoolSettings) -> Result<(Verdict, String), String> {
    let folder = &settings.dir;
    let began = Instant::now();
    write_durably(folder).map_err(|error| {
        let folder = folder.display();
        format!("{folder} cannot be written: {error}. Give this user write permission, or set spool.dir")
    })?;
    let took = began.elapsed().as_millis();
    let text = format!("{} is writable, synced in {took} ms", folder.display());
    // A card that takes longer still works, but every press waits for it.
    let verdict = if took > 1000 { Verdict::Note } else { Verdict::Good };
    Ok((verdict, text))
}

/// Writes like a capture: file, then directory. Deletes the file afterwards.
fn write_durably(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let path = folder.join("self-test.tmp");
    let mut file = File::create(&path)?;
    let tried = file
        .write_all(&[0x5a; 64 << 10])
        .and_then(|()| file.sync_all())
        .and_then(|()| File::open(folder)?.sync_all());
    fs::remove_file(&path)?;
    tried
}

fn space(settings: &SpoolSettings) -> Result<(Verdict, String), String> {
    let (free, _) = crate::spool::space(&settings.dir)
        .map_err(|error| format!("the free space cannot be read: {error}. Check the card"))?;
    let mib = |bytes: u64| bytes >> 20;
    let usable = mib(free.saturating_sub(settings.reserve_bytes));
    if usable == 0 {
        return Err(format!(
            "{} MiB are free, {} are reserved. Make room, or use a larger card",
            mib(free),
            mib(settings.reserve_bytes)
        ));
    }
    let wanted = mib(settings.bytes_max);
    let text = format!("{usable} MiB for pictures, at most {wanted} by spool.bytes_max");
    Ok((Verdict::Good, text))
}

fn light(config: &Config) -> Result<(Verdict, String), String> {
    let mut light = open::open_led(config).map_err(|e| display_chain(&e))?;
    for _ in 0..BLINKS {
        light.show(LedState::On { brightness: 100, colour: [255, 255, 255] });
        thread::sleep(BLINK);
        light.show(LedState::Off);
        thread::sleep(BLINK);
    }
    let text = format!("blinked {BLINKS} times; if it did not, check the wiring, light.pin and light.active");
    Ok((Verdict::Good, text))
}

fn button(config: &Config) -> Result<(Verdict, String), String> {
    let mut button = open::open_button(config).map_err(|e| display_chain(&e))?;
    if config.simulated.enabled {
        return Ok((Verdict::Good, "simulated: lines on stdin, or SIGUSR1".to_owned()));
    }
    let seconds = PRESS_WITHIN.as_secs();
    eprintln!("press the button within {seconds} seconds");
    let way = open::open_pins(&config.gpio).map_err(|e| display_chain(&e))?;
    let way = way.describe();
    match button.wait(PRESS_WITHIN).map_err(|e| display_chain(&e))? {
        Some(_) => Ok((Verdict::Good, format!("was pressed; the pins are accessed {way}"))),
        None => Err(format!(
            "no press within {seconds} s; the pins are accessed {way}. Press it during the test; check the wiring, button.pin, button.pull and \
             button.active"
        )),
    }
}

/// Two frames: the first has to start the camera, the second is what a press waits for.
fn camera(config: &Config) -> Result<(Verdict, String), String> {
    let mut camera = open::open_camera(config).map_err(|e| display_chain(&e))?;
    let mut frame = || {
        let began = Instant::now();
        let frame = camera.frame(config.camera.timeout()).map_err(|e| display_chain(&e))?;
        Ok::<_, String>((frame, began.elapsed().as_millis()))
    };
    let (_, started_ms) = frame()?;
    let (frame, took_ms) = frame()?;
    let mut text = format!(
        "{} x {} pixels, {} KiB, in {took_ms} ms ({started_ms} ms including its start)",
        frame.width,
        frame.height,
        frame.bytes.len() >> 10,
    );
    let verdict = match brightness(&frame.bytes, frame.content_type) {
        None => return Err(format!("{text}; it cannot be decoded. Try another camera")),
        Some(level) => {
            let _ = write!(text, ", {} % bright", u32::from(level) * 100 / 255);
            let hint = match level {
                0..8 => "; nearly black: is the lens covered?",
                8..=247 => "",
                248.. => "; nearly white: does it face a bright light?",
            };
            text.push_str(hint);
            if hint.is_empty() { Verdict::Good } else { Verdict::Note }
        }
    };
    for line in camera.describe() {
        let _ = write!(text, "\n{line}");
    }
    Ok((verdict, text))
}

fn cloud(settings: &CloudSettings) -> Result<(Verdict, String), String> {
    let url = &settings.url;
    let fix = "Check the network and cloud.url; pictures are kept until it is back";
    let began = Instant::now();
    let addresses = resolve(&url.host, url.port, settings.connect_timeout())
        .map_err(|error| format!("{url}: the host name was not found: {error}. {fix}"))?;
    let mut failure = "the host name has no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, settings.connect_timeout()) {
            Ok(_) => {
                let took = began.elapsed().as_millis();
                return Ok((Verdict::Good, format!("{url} answers at {address} in {took} ms")));
            }
            Err(error) => failure = format!("{address}: {error}"),
        }
    }
    Err(format!("{url} does not answer: {failure}. {fix}"))
}

/// The system's resolver knows no time-out, so it works on a thread that may be left behind.
fn resolve(host: &str, port: u16, within: Duration) -> io::Result<Vec<SocketAddr>> {
    let (answer, answers) = mpsc::channel();
    let host = host.to_owned();
    thread::Builder::new().spawn(move || {
        let found = (host.as_str(), port).to_socket_addrs().map(|addresses| addresses.take(4).collect());
        let _ = answer.send(found);
    })?;
    answers
        .recv_timeout(within)
        .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)))
}

fn clock() -> Result<(Verdict, String), String> {
    let clock = Clock::open().map_err(|e| display_chain(&e))?;
    let now = clock.now();
    if now.synchronised {
        let text = format!("synchronised, error at most {} ms", now.error_us / 1000);
        return Ok((Verdict::Good, text));
    }
    let text = "not synchronised yet; pictures get the time since the start, and their date later";
    Ok((Verdict::Note, text.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::hardware::testing::grey_jpeg;

    fn config(folder: &Path, listener: &TcpListener) -> Config {
        let mut config = Config::default();
        config.simulated.enabled = true;
        config.spool.dir = folder.to_owned();
        config.cloud.url.port = listener.local_addr().unwrap().port();
        config
    }

    fn verdict(report: &[Line], part: &str) -> (Verdict, String) {
        let line = report.iter().find(|line| line.part == part).unwrap();
        (line.verdict, line.text.clone())
    }

    #[test]
    fn a_simulated_camera_passes_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let report = check_all(&config(folder.path(), &listener));
        assert!(nothing_failed(&report), "{report:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let begins_a_part = |line: &&str| !line.starts_with(' ');
        let shown = report.iter().map(Line::to_string).collect::<Vec<_>>().join("\n");
        assert_eq!(shown.lines().filter(begins_a_part).count(), 8);
        let (_, text) = verdict(&report, "camera");
        for found in ["640 x 360 pixels", "% bright", "\na drawn scene"] {
            assert!(text.contains(found), "{text}");
        }
    }

    #[test]
    fn a_camera_that_sees_nothing_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = config(folder.path(), &listener);
        config.simulated.photos = folder.path().join("photos");
        fs::create_dir(&config.simulated.photos).unwrap();
        for (level, says) in [(0, "black"), (255, "white")] {
            fs::write(config.simulated.photos.join("one.jpg"), grey_jpeg(&[level; 64 * 48], 64, 48)).unwrap();
            let (verdict, text) = camera(&config).unwrap();
            assert_eq!(verdict, Verdict::Note);
            assert!(text.contains(says), "{text}");
        }
    }

    #[test]
    fn what_fails_is_named_with_the_fix() {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = config(folder.path(), &listener);
        drop(listener);
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        config.spool.dir = file.join("spool");
        config.simulated.camera_missing_presses = 1;
        let report = check_all(&config);
        assert!(!nothing_failed(&report));
        for (part, fix) in [("card", "spool.dir"), ("camera", "camera_missing_presses"), ("cloud", "cloud.url")] {
            let (verdict, text) = verdict(&report, part);
            assert_eq!(verdict, Verdict::Failed, "{part}: {text}");
            assert!(text.contains(fix), "{part}: {text}");
        }
        config.spool.dir = folder.path().to_owned();
        config.spool.reserve_bytes = u64::MAX;
        let (verdict, text) = verdict(&check_all(&config), "space");
        assert_eq!(verdict, Verdict::Failed);
        assert!(text.contains("Make room"), "{text}");
    }
}
