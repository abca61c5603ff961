//! `cargo demo`: the whole of Keepsake on one machine. A person presses Enter; a script gets its presses counted.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::child::{self, Guarded};
use crate::workspace;

/// How often the loops look whether somebody wants to stop.
const TICK: Duration = Duration::from_millis(100);
/// A press that has not come to anything after this time never will.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Press so many times without spacing, print what became of them, and end.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    presses: Option<u32>,
    /// Where the page is; 0 takes any free port.
    #[arg(long, value_name = "PORT", default_value_t = 5000)]
    port: u16,
    /// Where cloud and camera keep what they have; a later start with the same folder goes on where this one stops.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Returns whether every press was stored.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    child::listen_for_signals();
    let listen = format!("127.0.0.1:{}", arguments.port);
    if let Err(error) = TcpListener::bind(&listen) {
        bail!(
            "port {} cannot be used ({error}): stop what is there, or choose another one with --port, such as --port 0 for any free one",
            arguments.port
        );
    }
    build()?;
    let data = match &arguments.data {
        Some(data) => std::path::absolute(data).context("read --data")?,
        None => workspace::target()?.join("demo"),
    };
    fs::create_dir_all(&data).with_context(|| format!("create {}", data.display()))?;

    let presses = match arguments.presses {
        Some(presses) => Some(presses),
        None if std::io::stdin().is_terminal() => None,
        None => Some(3),
    };
    let mut cloud = Cloud::start(&listen, &data)?;
    println!(
        "The page is on http://{}/ and everything is kept in {}",
        cloud.http,
        data.display()
    );
    if let Some(link) = &cloud.setup {
        println!("Nobody owns it yet. Open this link and choose a name and a password: {link}");
    }
    let (events, heard) = mpsc::channel();
    let mut camera = Camera::start(&cloud.mqtt, &data, presses.is_none(), events.clone())?;
    let all_stored = match presses {
        Some(presses) => press_and_count(presses, &mut camera, &mut cloud, &heard),
        None => sit_and_watch(&mut camera, &mut cloud, &heard, events),
    };
    camera.program.stop(Duration::from_secs(15));
    cloud.program.stop(Duration::from_secs(15));
    all_stored
}

fn build() -> Result<()> {
    let status = workspace::cargo()
        .args([
            "build",
            "--release",
            "--package",
            "keepsake-cloud",
            "--package",
            "keepsake-appliance",
        ])
        .status()
        .context("run cargo")?;
    if !status.success() {
        bail!("the programs do not build");
    }
    Ok(())
}

fn built(name: &str) -> Result<Command> {
    let mut command = Command::new(workspace::target()?.join("release").join(name));
    if std::env::var_os("RUST_LOG").is_none() {
        command.env("RUST_LOG", "info");
    }
    Ok(command)
}

/// The cloud, ready.
struct Cloud {
    program: Guarded,
    http: String,
    mqtt: String,
    /// Where the owner is made, until there is one.
    setup: Option<String>,
    /// With which the pictures are counted, whether anybody has logged in or not.
    key: String,
}

impl Cloud {
    fn start(listen: &str, data: &Path) -> Result<Self> {
        let log = data.join("cloud.log");
        let key = make_key(data)?;
        let mut command = built("cloud")?;
        command
            .arg("--data")
            .arg(data.join("cloud"))
            .args(["--listen", listen, "--mqtt-listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(append_to(&log)?);
        let mut program = Guarded::start(&mut command, "the cloud")?;
        let stdout = program
            .child()
            .stdout
            .take()
            .context("read what the cloud says")?;
        let mut said = BufReader::new(stdout);
        let mut line = String::new();
        said.read_line(&mut line)
            .context("read what the cloud says")?;
        let ready: Value = match serde_json::from_str(&line) {
            Ok(ready) => ready,
            Err(_) => bail!("the cloud did not start:\n{}", end_of(&log)),
        };
        // Nobody may stand in a full pipe, whatever else is said.
        thread::spawn(move || {
            let _ = said.read_to_end(&mut Vec::new());
        });
        let address = |what: &str| -> Result<String> {
            let address = ready["ready"][what].as_str();
            Ok(address
                .with_context(|| format!("{what} is missing in {line}"))?
                .to_owned())
        };
        Ok(Self {
            program,
            http: address("http")?,
            mqtt: address("mqtt")?,
            setup: ready["ready"]["setup"].as_str().map(str::to_owned),
            key,
        })
    }

    fn get(&self, path: &str) -> Result<Value> {
        let url = format!("http://{}{path}", self.http);
        ureq::get(&url)
            .header("authorization", format!("Bearer {}", self.key))
            .call()
            .and_then(|mut answer| answer.body_mut().read_json())
            .with_context(|| format!("ask {url}"))
    }

    /// The arrival number of the newest picture; 0 when there is none.
    fn newest_arrival(&self) -> Result<u64> {
        let page = self.get("/api/v1/pictures?limit=1")?;
        Ok(page["pictures"][0]["arrival"].as_u64().unwrap_or(0))
    }

    /// The ids of all pictures that came after `arrival`.
    fn pictures_after(&self, mut arrival: u64) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        loop {
            let page = self.get(&format!("/api/v1/pictures?after={arrival}&limit=500"))?;
            let pictures = page["pictures"].as_array().context("a list of pictures")?;
            for picture in pictures {
                ids.push(
                    picture["id"]
                        .as_str()
                        .context("a picture has an id")?
                        .to_owned(),
                );
                arrival = picture["arrival"]
                    .as_u64()
                    .context("a picture has an arrival")?;
            }
            if page["next"].is_null() || pictures.is_empty() {
                return Ok(ids);
            }
        }
    }
}

/// A key of this demo's own; the one of the last start is revoked.
fn make_key(data: &Path) -> Result<String> {
    let made = built("cloud")?
        .args(["token", "create", "demo", "--role", "viewer", "--replace"])
        .arg("--data")
        .arg(data.join("cloud"))
        .stdin(Stdio::null())
        .stderr(append_to(&data.join("cloud.log"))?)
        .output()
        .context("run the cloud")?;
    if !made.status.success() {
        let log = end_of(&data.join("cloud.log"));
        bail!("the cloud could not prepare its data folder:\n{log}");
    }
    let key = String::from_utf8(made.stdout).context("read the key")?;
    Ok(key.trim().to_owned())
}

/// The simulated camera.
struct Camera {
    program: Guarded,
    log: PathBuf,
}

enum Heard {
    Event(Value),
    Enter,
    /// The camera closed its output.
    Silence,
}

impl Camera {
    fn start(mqtt: &str, data: &Path, drawn: bool, events: Sender<Heard>) -> Result<Self> {
        let log = data.join("camera.log");
        let photos = workspace::root().join("shared/testkit/photos");
        let mut command = built("appliance")?;
        command
            .args(["run", "--simulated", "--events", "--device", "demo"])
            .args(["--cloud", &format!("mqtt://{mqtt}")])
            .arg("--spool")
            .arg(data.join("spool"))
            .arg("--photos")
            .arg(photos)
            // Enter is not a finger on a worn button: two of them are always two presses.
            .args(["--set", "button.min_gap_ms=0"])
            .current_dir(data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if drawn {
            // The light is drawn on the terminal; of the log only what someone should know.
            command.env("RUST_LOG", "warn");
        } else {
            command.stderr(append_to(&log)?);
        }
        let mut program = Guarded::start(&mut command, "the camera")?;
        let stdout = program
            .child()
            .stdout
            .take()
            .context("read what the camera says")?;
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Ok(event) = serde_json::from_str(&line)
                    && events.send(Heard::Event(event)).is_err()
                {
                    return;
                }
            }
            let _ = events.send(Heard::Silence);
        });
        Ok(Self { program, log })
    }

    fn press(&mut self, times: u32) -> Result<()> {
        let stdin = self
            .program
            .child()
            .stdin
            .as_mut()
            .context("the camera has a button")?;
        let lines = "\n".repeat(usize::try_from(times).unwrap_or(usize::MAX));
        stdin
            .write_all(lines.as_bytes())
            .context("press the button")?;
        stdin.flush().context("press the button")
    }
}

/// Presses, waits for what becomes of every press, asks the cloud what it has, and says it in one line.
fn press_and_count(
    presses: u32,
    camera: &mut Camera,
    cloud: &mut Cloud,
    heard: &Receiver<Heard>,
) -> Result<bool> {
    let before = cloud.newest_arrival()?;
    let mut seen = Seen::default();
    wait(camera, cloud, heard, &mut seen, |seen| seen.ready)?;
    camera.press(presses)?;
    let presses = u64::from(presses);
    let waited = wait(camera, cloud, heard, &mut seen, |seen| {
        seen.settled() >= presses && seen.saved.values().all(|saved| *saved)
    });
    if let Err(error) = waited {
        eprintln!("{error:#}");
    }

    let stored = cloud
        .pictures_after(before)?
        .iter()
        .filter(|id| seen.saved.contains_key(*id))
        .count() as u64;
    for told in &seen.told {
        println!("no picture: {told}");
    }
    seen.to_light.sort_unstable();
    seen.to_stored.sort_unstable();
    println!(
        "press-to-light max {} ms, press-to-saved p50 {} ms",
        in_ms(seen.to_light.last().copied()),
        in_ms(percentile(&mut seen.to_saved, 50)),
    );
    println!(
        "pressed {presses}, stored {stored}, missing {}, press-to-stored p50 {} ms p95 {} ms",
        presses.saturating_sub(stored),
        in_ms(percentile(&mut seen.to_stored, 50)),
        in_ms(percentile(&mut seen.to_stored, 95)),
    );
    if stored != presses {
        eprintln!("the end of the camera's log:\n{}", end_of(&camera.log));
    }
    Ok(stored == presses)
}

/// What the camera has said, counted.
#[derive(Default)]
struct Seen {
    ready: bool,
    /// Picture ids as the API spells them, and whether their receipt has come.
    saved: BTreeMap<String, bool>,
    told: Vec<String>,
    to_light: Vec<u64>,
    to_saved: Vec<u64>,
    to_stored: Vec<u64>,
}

impl Seen {
    fn settled(&self) -> u64 {
        (self.saved.len() + self.told.len()) as u64
    }

    fn note(&mut self, event: &Value) {
        match event["event"].as_str() {
            Some("ready") => self.ready = true,
            Some("pressed") => self.to_light.extend(event["light_after_us"].as_u64()),
            Some("saved") => {
                self.to_saved.extend(event["after_us"].as_u64());
                self.saved.insert(picture_id(event), false);
            }
            Some("stored") => {
                // One that waited from an earlier run is good news, but not of this run's presses.
                if let Some(stored) = self.saved.get_mut(&picture_id(event)) {
                    *stored = true;
                    self.to_stored.extend(event["after_us"].as_u64());
                }
            }
            Some("tombstone" | "refused") => self.told.push(event.to_string()),
            Some(_) | None => {}
        }
    }
}

fn picture_id(event: &Value) -> String {
    let text = |field: &str| event[field].as_str().unwrap_or_default();
    let hash: String = text("hash").chars().take(16).collect();
    format!("{}-{}-{hash}", text("install"), event["sequence"])
}

/// Listens until `done`, with patience for each next word.
fn wait(
    camera: &mut Camera,
    cloud: &mut Cloud,
    heard: &Receiver<Heard>,
    seen: &mut Seen,
    done: impl Fn(&Seen) -> bool,
) -> Result<()> {
    let mut deadline = Instant::now() + PATIENCE;
    while !done(seen) {
        match heard.recv_timeout(TICK) {
            Ok(Heard::Event(event)) => {
                let settled = (seen.settled(), seen.to_stored.len());
                seen.note(&event);
                if (seen.settled(), seen.to_stored.len()) != settled {
                    deadline = Instant::now() + PATIENCE;
                }
            }
            Ok(Heard::Enter) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Heard::Silence) | Err(RecvTimeoutError::Disconnected) => {
                bail!("the camera stopped:\n{}", end_of(&camera.log))
            }
        }
        if let Some(end) = camera.program.ended().or_else(|| cloud.program.ended()) {
            bail!("{end}");
        }
        if child::stop_wished() {
            bail!("stopped");
        }
        if Instant::now() > deadline {
            bail!("nothing more has come for {PATIENCE:?}");
        }
    }
    Ok(())
}

/// Somebody is at the keyboard: Enter is the button, the light is drawn by the camera, every step is a line.
fn sit_and_watch(
    camera: &mut Camera,
    cloud: &mut Cloud,
    heard: &Receiver<Heard>,
    events: Sender<Heard>,
) -> Result<bool> {
    println!("Enter takes a picture, Ctrl-C ends it.");
    thread::spawn(move || {
        for _ in std::io::stdin().lock().lines().map_while(Result::ok) {
            if events.send(Heard::Enter).is_err() {
                return;
            }
        }
    });
    let mut stored = 0_u64;
    let mut saved = 0_u64;
    while !child::stop_wished() {
        match heard.recv_timeout(TICK) {
            Ok(Heard::Enter) => camera.press(1)?,
            Ok(Heard::Event(event)) => {
                saved += u64::from(event["event"] == "saved");
                stored += u64::from(event["event"] == "stored");
                if let Some(line) = step(&event, &cloud.http) {
                    // The camera draws its light on the last line of the terminal; ours go above it.
                    println!("\r\x1b[K{line}");
                }
            }
            Ok(Heard::Silence) => break,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        if let Some(end) = camera.program.ended().or_else(|| cloud.program.ended()) {
            bail!("{end}");
        }
    }
    println!("\r\x1b[K{saved} saved on the card, {stored} stored in the cloud. Stopping.");
    Ok(true)
}

/// One step of a press, or of the connection, as a person reads it.
fn step(event: &Value, http: &str) -> Option<String> {
    let ms = |field: &str| in_ms(event[field].as_u64());
    let sequence = &event["sequence"];
    Some(match event["event"].as_str()? {
        "ready" => format!(
            "the camera is ready; its next picture is number {}",
            event["next"]
        ),
        "pressed" => format!(
            "press {}: light on after {} ms",
            event["press"],
            ms("light_after_us")
        ),
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

/// The value below which `percent` of all are; `None` of nothing.
fn percentile(all: &mut [u64], percent: usize) -> Option<u64> {
    all.sort_unstable();
    let at = (all.len() * percent).div_ceil(100).max(1) - 1;
    all.get(at).copied()
}

/// Microseconds as milliseconds with one digit behind the point.
fn in_ms(us: Option<u64>) -> String {
    match us {
        Some(us) => format!("{}.{}", us / 1000, us % 1000 / 100),
        None => "-".to_owned(),
    }
}

/// Another demo may still be writing there.
fn append_to(log: &Path) -> Result<File> {
    let opened = File::options().create(true).append(true).open(log);
    opened.with_context(|| format!("open {}", log.display()))
}

fn end_of(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
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
            assert_eq!(
                percentile(&mut all, percent),
                expected,
                "{percent} of {all:?}"
            );
        }
        assert_eq!(in_ms(Some(41_290)), "41.2");
    }
}
