//! `cargo demo`: the whole of Keepsake on one machine. Enter is the button; in a script the presses are counted.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;
use serde_json::Value;

use keepsake_provision::process::{ChildGuard, last_lines};
use keepsake_provision::workspace;

use crate::interrupt::{self, stop_requested};

/// The interval at which the loops look for a request to stop.
const TICK: Duration = Duration::from_millis(100);
/// The longest wait for the result of a press.
const EVENT_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Press N times, each as soon as the last picture is safe on the card, print the result, and end
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    presses: Option<u32>,
    /// The port of the dashboard; 0 takes any free port
    #[arg(long, value_name = "PORT", default_value_t = 5000)]
    port: u16,
    /// The directory of cloud and camera; a later demo in the same directory continues
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Returns whether every press was stored.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    interrupt::listen_for_signals();
    let listen = format!("127.0.0.1:{}", arguments.port);
    if let Err(error) = TcpListener::bind(&listen) {
        bail!(
            "port {} cannot be used ({error}): stop the program that uses it, or choose another port with --port (0 for any free one)",
            arguments.port
        );
    }
    build()?;
    let data = match &arguments.data {
        Some(data) => std::path::absolute(data).context("read --data")?,
        None => workspace::target().join("demo"),
    };
    fs::create_dir_all(&data)?;

    let presses = match arguments.presses {
        Some(presses) => Some(presses),
        None if std::io::stdin().is_terminal() => None,
        None => Some(3),
    };
    let cloud = Cloud::start(&listen, &data)?;
    println!("The dashboard is on http://{}/, the data in {}", cloud.http, data.display());
    // After counted presses the cloud stops, and the link with it.
    if let Some(link) = &cloud.setup
        && presses.is_none()
    {
        println!("The cloud has no owner yet. Open this link and choose a user name and a password: {link}");
    }
    let (sender, inputs) = mpsc::channel();
    let camera = Camera::start(&cloud.mqtt, &data, presses.is_none(), sender.clone())?;
    let mut demo = Demo { cloud, camera, inputs, presses_left: 0 };
    let all_stored = match presses {
        Some(presses) => demo.press_and_count(presses),
        None => demo.run_interactive(sender).map(|()| true),
    };
    demo.camera.program.stop(Duration::from_secs(15));
    demo.cloud.program.stop(Duration::from_secs(15));
    all_stored
}

fn build() -> Result<()> {
    let status = workspace::cargo()
        .args(["build", "--package", "keepsake-cloud", "--package", "keepsake-appliance"])
        .status()
        .context("run cargo")?;
    ensure!(status.success(), "the programs cannot be built, see above");
    Ok(())
}

fn program(name: &str) -> Command {
    let mut command = Command::new(workspace::target().join("debug").join(name));
    if std::env::var_os("RUST_LOG").is_none() {
        command.env("RUST_LOG", "info");
    }
    command
}

/// A cloud that is ready.
struct Cloud {
    program: ChildGuard,
    http: String,
    mqtt: String,
    /// The link for creating the owner, until there is one.
    setup: Option<String>,
    /// A token for looking up the pictures, whether or not a user has logged in.
    key: String,
}

impl Cloud {
    fn start(listen: &str, data: &Path) -> Result<Self> {
        let log = data.join("cloud.log");
        let key = create_token(data)?;
        let mut command = program("cloud");
        command
            .arg("--data")
            .arg(data.join("cloud"))
            .args(["--listen", listen, "--mqtt-listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(append_to(&log)?);
        let mut program = ChildGuard::start(&mut command, "the cloud")?;
        let stdout = program.child().stdout.take().context("read the output of the cloud")?;
        let mut output = BufReader::new(stdout);
        let mut line = String::new();
        output.read_line(&mut line).context("read the output of the cloud")?;
        let Ok(ready) = serde_json::from_str::<Value>(&line) else {
            bail!("the cloud did not start:\n{}", end_of(&log));
        };
        // Reads on, so that the cloud never blocks on a full pipe.
        thread::spawn(move || {
            let _ = output.read_to_end(&mut Vec::new());
        });
        let address = |what: &str| -> Result<String> {
            let address = ready["ready"][what].as_str();
            Ok(address.with_context(|| format!("{what} is missing in {line}"))?.to_owned())
        };
        Ok(Self {
            program,
            http: address("http")?,
            mqtt: address("mqtt")?,
            setup: ready["ready"]["setup"].as_str().map(str::to_owned),
            key,
        })
    }

    /// Returns whether the cloud has this picture.
    fn has_picture(&self, id: &str) -> Result<bool> {
        let url = format!("http://{}/api/v1/pictures/{id}", self.http);
        match ureq::get(&url).header("authorization", format!("Bearer {}", self.key)).call() {
            Ok(_) => Ok(true),
            Err(ureq::Error::StatusCode(404)) => Ok(false),
            Err(error) => Err(error).with_context(|| format!("ask {url}")),
        }
    }
}

/// Creates an API token for this demo, and revokes that of the last one.
fn create_token(data: &Path) -> Result<String> {
    let made = program("cloud")
        .args(["token", "create", "demo", "--role", "viewer", "--replace"])
        .arg("--data")
        .arg(data.join("cloud"))
        .stdin(Stdio::null())
        .stderr(append_to(&data.join("cloud.log"))?)
        .output()
        .context("run the cloud")?;
    ensure!(
        made.status.success(),
        "the cloud could not prepare its data folder:\n{}",
        end_of(&data.join("cloud.log"))
    );
    let key = String::from_utf8(made.stdout).context("read the key")?;
    Ok(key.trim().to_owned())
}

/// The simulated camera.
struct Camera {
    program: ChildGuard,
    log: PathBuf,
    /// The moments of the presses that no light has answered yet.
    unlit: VecDeque<Instant>,
}

enum Input {
    /// An event of the camera, and when it was read.
    Event(Value, Instant),
    Enter,
}

impl Camera {
    fn start(mqtt: &str, data: &Path, drawn: bool, inputs: Sender<Input>) -> Result<Self> {
        let log = data.join("camera.log");
        let photos = workspace::root().join("shared/testkit/photos");
        let mut command = program("appliance");
        command
            .args(["run", "--simulated", "--events", "--device", "demo"])
            .args(["--cloud", &format!("mqtt://{mqtt}")])
            .arg("--spool")
            .arg(data.join("spool"))
            .arg("--photos")
            .arg(photos)
            // Enter does not bounce as a worn button does: two are always two presses.
            .args(["--set", "button.repeat_ms_min=0"])
            .current_dir(data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if drawn {
            // The light is drawn on the terminal; the log is only for warnings.
            command.env("RUST_LOG", "warn");
        } else {
            command.stderr(append_to(&log)?);
        }
        let mut program = ChildGuard::start(&mut command, "the camera")?;
        let stdout = program.child().stdout.take().context("read the output of the camera")?;
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Ok(event) = serde_json::from_str(&line)
                    && inputs.send(Input::Event(event, Instant::now())).is_err()
                {
                    return;
                }
            }
        });
        Ok(Self { program, log, unlit: VecDeque::new() })
    }

    fn press(&mut self) -> Result<()> {
        self.unlit.push_back(Instant::now());
        let stdin = self.program.child().stdin.as_mut().context("the camera has a button")?;
        stdin.write_all(b"\n").context("press the button")?;
        stdin.flush().context("press the button")
    }

    /// Returns the time from the earliest press without an answer to the light that was seen at `lit_at`, microseconds.
    fn light_after_us(&mut self, lit_at: Instant) -> Option<u64> {
        let pressed_at = self.unlit.pop_front()?;
        u64::try_from((lit_at - pressed_at).as_micros()).ok()
    }
}

/// A running demo.
struct Demo {
    cloud: Cloud,
    camera: Camera,
    inputs: Receiver<Input>,
    /// The counted presses that are still to be made.
    presses_left: u32,
}

impl Demo {
    /// Returns the next input, or `None` after a while; an error if one of the programs has ended.
    fn next_input(&mut self) -> Result<Option<Input>> {
        let input = self.inputs.recv_timeout(TICK).ok();
        match self.camera.program.exit_message().or_else(|| self.cloud.program.exit_message()) {
            Some(end) => bail!("{end}\nthe end of the camera's log:\n{}", end_of(&self.camera.log)),
            None => Ok(input),
        }
    }

    /// Presses, waits for the result of every press, asks the cloud, and prints one line.
    fn press_and_count(&mut self, presses: u32) -> Result<bool> {
        let mut seen = Tally::default();
        self.wait(&mut seen, |seen| seen.ready)?;
        self.presses_left = presses - 1;
        self.camera.press()?;
        let presses = u64::from(presses);
        let waited = self.wait(&mut seen, |seen| seen.settled() >= presses && seen.saved.values().all(|saved| *saved));
        if let Err(error) = waited {
            eprintln!("{error:#}");
        }

        let mut stored = 0;
        for id in seen.saved.keys() {
            stored += u64::from(self.cloud.has_picture(id)?);
        }
        for failure in &seen.failures {
            println!("no picture: {failure}");
        }
        println!(
            "press-to-light max {} ms, press-to-saved p50 {} ms",
            format_ms(seen.to_light.iter().max().copied()),
            format_ms(percentile(&mut seen.to_saved, 50)),
        );
        println!(
            "pressed {presses}, stored {stored}, missing {}, press-to-stored p50 {} ms p95 {} ms",
            presses.saturating_sub(stored),
            format_ms(percentile(&mut seen.to_stored, 50)),
            format_ms(percentile(&mut seen.to_stored, 95)),
        );
        if stored != presses {
            eprintln!("the end of the camera's log:\n{}", end_of(&self.camera.log));
        }
        Ok(stored == presses)
    }

    /// Handles events until `done`; gives up when no press is settled for too long.
    fn wait(&mut self, seen: &mut Tally, done: impl Fn(&Tally) -> bool) -> Result<()> {
        let mut deadline = Instant::now() + EVENT_TIMEOUT;
        while !done(seen) {
            if let Some(Input::Event(event, at)) = self.next_input()? {
                let (settled, stored) = (seen.settled(), seen.to_stored.len());
                seen.record(&event);
                if event["event"] == "pressed" {
                    seen.to_light.extend(self.camera.light_after_us(at));
                }
                if seen.settled() > settled && self.presses_left > 0 {
                    self.presses_left -= 1;
                    self.camera.press()?;
                }
                if (seen.settled(), seen.to_stored.len()) != (settled, stored) {
                    deadline = Instant::now() + EVENT_TIMEOUT;
                }
            }
            ensure!(!stop_requested(), "stopped");
            ensure!(Instant::now() <= deadline, "no event for {EVENT_TIMEOUT:?}");
        }
        Ok(())
    }

    /// Makes Enter the button; the camera draws its light, and every step is a line.
    fn run_interactive(&mut self, inputs: Sender<Input>) -> Result<()> {
        println!("Press Enter to take a picture, Ctrl-C to stop.");
        thread::spawn(move || {
            for _ in std::io::stdin().lock().lines().map_while(Result::ok) {
                if inputs.send(Input::Enter).is_err() {
                    return;
                }
            }
        });
        let (mut saved, mut stored) = (0_u64, 0_u64);
        while !stop_requested() {
            match self.next_input()? {
                Some(Input::Enter) => self.camera.press()?,
                Some(Input::Event(event, at)) => {
                    saved += u64::from(event["event"] == "saved");
                    stored += u64::from(event["event"] == "stored");
                    let line = if event["event"] == "pressed" {
                        let after_ms = format_ms(self.camera.light_after_us(at));
                        Some(format!("press {}: light on after {after_ms} ms", event["press"]))
                    } else {
                        describe(&event, &self.cloud.http)
                    };
                    if let Some(line) = line {
                        // The camera draws its light on the last line of the terminal; our lines go above it.
                        println!("\r\x1b[K{line}");
                    }
                }
                None => {}
            }
        }
        println!("\r\x1b[K{saved} saved on the card, {stored} stored in the cloud. Stopping.");
        Ok(())
    }
}

/// The counted events of the camera.
#[derive(Default)]
struct Tally {
    ready: bool,
    /// True once the receipt has come, by picture id as the API spells it.
    saved: BTreeMap<String, bool>,
    failures: Vec<String>,
    to_light: Vec<u64>,
    to_saved: Vec<u64>,
    to_stored: Vec<u64>,
}

impl Tally {
    fn settled(&self) -> u64 {
        (self.saved.len() + self.failures.len()) as u64
    }

    fn record(&mut self, event: &Value) {
        match event["event"].as_str() {
            Some("ready") => self.ready = true,
            Some("saved") => {
                self.to_saved.extend(event["after_us"].as_u64());
                self.saved.insert(picture_id(event), false);
            }
            Some("stored") => {
                // A picture from an earlier run does not count for this run's presses.
                if let Some(stored) = self.saved.get_mut(&picture_id(event)) {
                    *stored = true;
                    self.to_stored.extend(event["after_us"].as_u64());
                }
            }
            Some("tombstone" | "refused") => self.failures.push(event.to_string()),
            Some(_) | None => {}
        }
    }
}

fn picture_id(event: &Value) -> String {
    let text = |field: &str| event[field].as_str().unwrap_or_default();
    let hash: String = text("hash").chars().take(16).collect();
    format!("{}-{}-{hash}", text("install"), event["sequence"])
}

/// Returns one step of a press, or of the connection, for a person to read.
fn describe(event: &Value, http: &str) -> Option<String> {
    let ms = |field: &str| format_ms(event[field].as_u64());
    let sequence = &event["sequence"];
    Some(match event["event"].as_str()? {
        "ready" => format!("the camera is ready; its next picture is number {}", event["next"]),
        "saved" => format!(
            "press {}: number {sequence} is safe on the card after {} ms, {} bytes",
            event["press"],
            ms("after_us"),
            event["bytes"]
        ),
        "stored" => format!(
            "number {sequence} is committed in the cloud after {} ms: http://{http}/pictures/{}",
            ms("after_us"),
            picture_id(event)
        ),
        "tombstone" => format!("number {sequence} has no picture: {}", event["reason"]),
        "refused" => format!("press {} is refused: {}", event["press"], event["text"]),
        "answer" => format!("the light answers: {}", event["answer"].as_str()?),
        "connected" => "connected to the broker".to_owned(),
        "disconnected" => format!("no broker: {}", event["text"]),
        "warning" => format!("warning: {}", event["text"]),
        _ => return None,
    })
}

/// Returns the percentile of the values; `None` if there are none.
fn percentile(all: &mut [u64], percent: usize) -> Option<u64> {
    all.sort_unstable();
    let at = (all.len() * percent).div_ceil(100).max(1) - 1;
    all.get(at).copied()
}

/// Formats microseconds as milliseconds with one decimal.
fn format_ms(us: Option<u64>) -> String {
    match us {
        Some(us) => format!("{}.{}", us / 1000, us % 1000 / 100),
        None => "-".to_owned(),
    }
}

/// Appends: another demo may still be writing to it.
fn append_to(log: &Path) -> Result<File> {
    let opened = File::options().create(true).append(true).open(log);
    opened.with_context(|| format!("open {}", log.display()))
}

fn end_of(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    last_lines(&String::from_utf8_lossy(&text), 15).join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        for (mut all, percent, expected) in [
            (vec![], 50, None),
            (vec![7], 95, Some(7)),
            (vec![3, 1, 2], 50, Some(2)),
            ((1..=20).collect(), 50, Some(10)),
            ((1..=20).collect(), 95, Some(19)),
            ((1..=3).collect(), 100, Some(3)),
        ] {
            assert_eq!(percentile(&mut all, percent), expected, "{percent} of {all:?}");
        }
        assert_eq!(format_ms(Some(41_290)), "41.2");
    }
}
