//! The same with the lab that Keepsake grew from: pictures published as base64 to `camera/image`, and its listener, which
//! stores them in a database. What it loses is the measure of what Keepsake does not.
//!
//! It is treated kindly: QoS 1 on both sides, a sender that waits for the broker's word as the lab's own one does, and
//! somebody who starts the listener again a second after it has crashed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keepsake_protocol::Hash;
use mysql::prelude::Queryable;

use super::{AWAY_FOR, BEFORE, Fault, Plan, SOON, Way, at_random_moments, shares, strike_a_server};
use crate::engines::database::{Database, Kind};
use crate::engines::mosquitto::{Mosquitto, Persistence};
use crate::engines::python::{Python, fixture};
use crate::mqtt::{Client, Outcome};
use crate::photo;
use crate::program::{Events, Program, eventually};
use crate::seed::Seed;

/// What became of the pictures of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    pub published: usize,
    /// Of these the broker said that it has them.
    pub acknowledged: usize,
    /// Different pictures in the database, as they were.
    pub stored: usize,
    /// Rows beyond the first of a picture.
    pub doubled: usize,
    /// How often the listener ended by itself.
    pub crashes: usize,
}

impl Figures {
    pub fn lost(&self) -> usize {
        self.published - self.stored
    }
}

/// Runs `plan` with the lab's listener and MariaDB; `None` after it was said what cannot be had, and where the lab has
/// nothing that could be struck: its camera is a script for one picture.
pub fn run(plan: &Plan, folder: &Path, seed: &mut Seed) -> Option<Figures> {
    let Way::Mosquitto(persistence) = plan.way else {
        return None;
    };
    if plan.faults.contains(&Fault::Camera) {
        return None;
    }
    let mut lab = Lab::or_not_run(&plan.name, folder, persistence)?;
    let cat = photo::all(&photo::folder()).swap_remove(1);
    let pictures = numbered(&cat, plan.presses);
    let port = lab.mqtt_port();
    let (mut rest, mut acknowledged) = (&pictures[..], 0);
    for (fault, presses) in shares(plan) {
        println!("{}: {fault}", plan.name);
        let (now, later) = rest.split_at(presses);
        rest = later;
        let mut publishing = seed.fork();
        acknowledged += thread::scope(|scope| {
            let published = scope.spawn(|| publish(now, port, fault, &mut publishing));
            lab.pause(seed.moment(BEFORE));
            lab.strike(fault, seed);
            while !published.is_finished() {
                lab.pause(Duration::from_millis(20));
            }
            published.join().unwrap()
        });
    }
    Some(lab.figures(&pictures, acknowledged))
}

/// Different pictures, all of which look like this one.
pub(super) fn numbered(photo: &[u8], n: usize) -> Vec<Vec<u8>> {
    let (start, rest) = photo.split_at(2);
    (0..n)
        .map(|number| {
            let comment = format!("{number:08}");
            [start, b"\xff\xfe\x00\x0a", comment.as_bytes(), rest].concat()
        })
        .collect()
}

/// Its broker, its database and its listener.
pub(super) struct Lab {
    broker: Mosquitto,
    database: Database,
    listener: Listener,
}

impl Lab {
    pub(super) fn or_not_run(what: &str, folder: &Path, persistence: Persistence) -> Option<Self> {
        let python = Python::or_not_run(what)?;
        let mut broker = Mosquitto::or_not_run(what, folder, persistence)?;
        let mut database = Database::or_not_run(what, Kind::MariaDb, folder)?;
        broker.start();
        database.start();
        make_the_labs_schema(&database);
        let listener = Listener::start(&python, folder, broker.port(), database.port());
        Some(Self {
            broker,
            database,
            listener,
        })
    }

    pub(super) fn mqtt_port(&self) -> u16 {
        self.broker.port()
    }

    /// Lets time pass, with somebody who looks after the listener.
    pub(super) fn pause(&mut self, how_long: Duration) {
        self.listener.pause(how_long);
    }

    fn strike(&mut self, fault: Fault, seed: &mut Seed) {
        if fault == Fault::Cloud {
            self.listener.kill();
            self.pause(seed.moment(AWAY_FOR));
            self.listener.start_again();
        } else {
            let mut pause = |how_long| self.listener.pause(how_long);
            let database = Some(&mut self.database);
            strike_a_server(fault, Some(&mut self.broker), database, seed, &mut pause);
        }
    }

    /// Waits until nothing comes any more, and counts.
    pub(super) fn figures(mut self, pictures: &[Vec<u8>], acknowledged: usize) -> Figures {
        let rows = self
            .listener
            .count_when_nothing_comes_any_more(&self.database);
        let all: BTreeSet<Hash> = pictures.iter().map(|picture| Hash::of(picture)).collect();
        let stored: BTreeSet<&Hash> = rows.iter().collect();
        assert!(
            stored.iter().all(|hash| all.contains(hash)),
            "a picture nobody took"
        );
        self.broker.stop();
        self.database.stop();
        Figures {
            published: pictures.len(),
            acknowledged,
            stored: stored.len(),
            doubled: rows.len() - stored.len(),
            crashes: self.listener.crashes,
        }
    }
}

/// One connection a picture, as `send_image_mqtt.py` has it; returns how many the broker has acknowledged.
fn publish(pictures: &[Vec<u8>], port: u16, fault: Fault, seed: &mut Seed) -> usize {
    let mut acknowledged = 0;
    at_random_moments(pictures.len(), fault, seed, |number| {
        let encoded = STANDARD.encode(&pictures[number]);
        let outcome = Client::connect(port, &format!("lab-{number}"))
            .and_then(|mut client| client.publish(b"camera/image", encoded.as_bytes()));
        if matches!(outcome, Ok(Outcome::Acknowledged)) {
            acknowledged += 1;
        }
    });
    acknowledged
}

fn make_the_labs_schema(database: &Database) {
    let schema = std::fs::read_to_string(fixture("lab/schema.sql")).unwrap();
    for statement in schema
        .split(';')
        .map(str::trim)
        .filter(|one| !one.is_empty())
    {
        database.execute(statement);
    }
    // Whoever may do everything may also write into a database that is read-only.
    for host in ["127.0.0.1", "localhost"] {
        database.execute(&format!(
            "REVOKE READ ONLY ADMIN ON *.* FROM 'lab'@'{host}'"
        ));
    }
}

/// `mqtt_listener.py`, and whoever starts it again.
struct Listener {
    python: Python,
    environment: Vec<(&'static str, String)>,
    log: PathBuf,
    program: Option<Program>,
    ended_at: Option<Instant>,
    crashes: usize,
}

impl Listener {
    fn start(python: &Python, folder: &Path, mqtt_port: u16, database_port: u16) -> Self {
        let received = folder.join("received");
        let mut listener = Self {
            python: python.clone(),
            environment: vec![
                ("LAB_QOS", "1".to_owned()),
                ("LAB_MPORT", mqtt_port.to_string()),
                ("LAB_DBPORT", database_port.to_string()),
                ("LAB_OUT", received.to_string_lossy().into_owned()),
            ],
            log: folder.join("listener.log"),
            program: None,
            ended_at: None,
            crashes: 0,
        };
        listener.start_again();
        let log = listener.log.clone();
        eventually("the lab's listener is connected", SOON, || {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            said.contains("connected").then_some(())
        });
        listener
    }

    fn start_again(&mut self) {
        let script = self.python.script("lab/mqtt_listener.py");
        // What it prints belongs into its log.
        let mut command = Command::new("sh");
        command.args(["-c", r#"exec "$@" 1>&2"#, "sh"]);
        command.arg(script.get_program()).args(script.get_args());
        command.envs(self.environment.iter().cloned());
        let events: Arc<Events> = Arc::default();
        self.program = Some(Program::start(command, &events, &self.log));
        self.ended_at = None;
    }

    fn kill(&mut self) {
        if let Some(program) = self.program.take() {
            program.kill();
        }
    }

    /// Lets time pass, and starts the listener again a second after it has crashed.
    fn pause(&mut self, how_long: Duration) {
        let until = Instant::now() + how_long;
        loop {
            if let Some(program) = &mut self.program
                && !program.runs()
            {
                match self.ended_at {
                    None => {
                        self.crashes += 1;
                        self.ended_at = Some(Instant::now());
                    }
                    Some(at) if at.elapsed() > Duration::from_secs(1) => self.start_again(),
                    Some(_) => {}
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(Duration::from_millis(20)));
        }
    }

    /// The hashes of all rows, once there have been no new ones for some seconds.
    fn count_when_nothing_comes_any_more(&mut self, database: &Database) -> Vec<Hash> {
        let mut client = database.connect("image_db");
        let mut count = || -> u64 {
            let count = client.query_first("SELECT COUNT(*) FROM images");
            count.expect("count rows").expect("a count")
        };
        let (mut rows, mut since) = (count(), Instant::now());
        while since.elapsed() < Duration::from_secs(5) {
            self.pause(Duration::from_millis(200));
            let now = count();
            if now != rows {
                (rows, since) = (now, Instant::now());
            }
        }
        let images: Vec<Vec<u8>> = client
            .query("SELECT image_data FROM images")
            .expect("read rows");
        images.iter().map(|image| Hash::of(image)).collect()
    }
}
