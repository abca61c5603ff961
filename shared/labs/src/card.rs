//! Card failures: calls of the real camera on its card fail while it starts and while it takes pictures.
//!
//! Every run has a seed, from which [`plan`] decides which calls fail, on which files, how, when and how often. The
//! library `failing_calls.c` makes them fail. A run ends with a start on a card that works again; then every confirmed
//! capture must be in the cloud, none may have been given up, and no number may name two pictures.

mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use keepsake_protocol::{HashPrefix, SpoolId};
use keepsake_testkit::appliance::{Appliance, CaptureKey, capture_keys};
use keepsake_testkit::cloud::Cloud;
use keepsake_testkit::photos;
use keepsake_testkit::process::WaitError;
use serde_json::Value;

use plan::{End, Plan, Round};

const STEP_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest that a press may stay without an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Starts of a program that ends by itself, as systemd makes them, before the card recovers.
const STARTS_MAX: usize = 3;
/// Nobody listens here.
const NO_CLOUD: &str = "mqtt://127.0.0.1:9";

/// The counts of all runs.
#[derive(Debug, Default)]
pub struct Counts {
    pub runs: usize,
    pub presses: usize,
    /// Captures that the camera has confirmed.
    pub confirmed: usize,
    pub refused: usize,
    /// Calls that were made to fail.
    pub failed_calls: usize,
    /// Starts that ended by themselves.
    pub failed_starts: usize,
    /// The broken promises, each with the plan of its run.
    pub violations: Vec<String>,
}

/// Carries out one run for every seed, `parallel` at a time, with all files in `folder`.
///
/// # Panics
/// The library cannot be compiled, or the cloud fails.
pub fn run(seeds: &[u64], parallel: usize, folder: &Path) -> Counts {
    let library = compile_library(folder);
    let photos = small_photos(folder);
    let mut cloud = Cloud::new(folder).started();
    let waiting = Mutex::new(seeds.iter().copied());
    let finished = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..parallel {
            scope.spawn(|| {
                loop {
                    let Some(seed) = waiting.lock().unwrap().next() else {
                        return;
                    };
                    let mut run = Run::new(seed, folder, &library, &photos, &cloud);
                    let outcome = catch_unwind(AssertUnwindSafe(|| run.carry_out(&cloud)));
                    if let Err(panic) = outcome {
                        run.camera.kill();
                        run.violations.push(panic.downcast_ref::<String>().cloned().unwrap_or_default());
                    }
                    finished.lock().unwrap().push(run);
                }
            });
        }
    });
    let mut finished = finished.into_inner().unwrap();
    finished.sort_by_key(|run| run.plan.seed);
    let fates = Fates::of(&cloud);
    cloud.stop();
    let mut counts = Counts { runs: finished.len(), ..Counts::default() };
    for run in &mut finished {
        run.check(&fates);
        counts.presses += run.presses;
        counts.confirmed += run.camera.saved().len();
        counts.refused += run.camera.events(0).iter().filter(|event| event["event"] == "refused").count();
        counts.failed_calls += run.failed_calls();
        counts.failed_starts += run.failed_starts;
        let plan = &run.plan;
        counts.violations.extend(run.violations.iter().map(|text| format!("{text}\n{plan}")));
    }
    counts
}

/// One camera and its card.
struct Run {
    plan: Plan,
    camera: Appliance,
    cloud_url: String,
    library: PathBuf,
    /// The file that lists the calls that failed.
    failed: PathBuf,
    presses: usize,
    failed_starts: usize,
    violations: Vec<String>,
}

impl Run {
    fn new(seed: u64, folder: &Path, library: &Path, photos: &Path, cloud: &Cloud) -> Self {
        let name = format!("card-{seed}");
        let camera = Appliance::new(folder, &name, &cloud.mqtt_url()).photographing(photos);
        Self {
            plan: Plan::new(seed, camera.spool()),
            camera,
            cloud_url: cloud.mqtt_url(),
            library: library.to_owned(),
            failed: folder.join(format!("{name}.failed-calls")),
            presses: 0,
            failed_starts: 0,
            violations: Vec::new(),
        }
    }

    fn carry_out(&mut self, cloud: &Cloud) {
        for round in self.plan.rounds.clone() {
            let url = if round.is_online {
                self.cloud_url.as_str()
            } else {
                NO_CLOUD
            };
            self.camera.connect_to(url);
            self.camera.set_environment(&[
                ("LD_PRELOAD", self.library.clone().into_os_string()),
                ("KEEPSAKE_FAILING_CALLS", OsString::from(round.rules())),
                ("KEEPSAKE_FAILED_CALLS", self.failed.clone().into_os_string()),
            ]);
            if self.start() {
                self.press(&round);
                match round.end {
                    End::Stop => self.camera.stop(),
                    End::Kill => self.camera.kill(),
                }
            }
        }
        self.camera.set_environment(&[]);
        self.camera.connect_to(&self.cloud_url);
        self.camera.start();
        self.presses += 1;
        self.camera.press_and_save(1, STEP_TIMEOUT);
        self.camera.expect_stored(&self.camera.saved(), STEP_TIMEOUT);
        let name = self.camera.name();
        let device = cloud
            .api()
            .wait_for_device(name, STEP_TIMEOUT, |device| device["waiting"] == 0 && device["held"] == 0);
        if device["missing"] != 0 || device["conflicts"] != 0 {
            self.violations.push(format!("missing or in conflict: {device:#}"));
        }
        self.camera.stop();
    }

    /// Returns whether the camera became ready.
    fn start(&mut self) -> bool {
        for _ in 0..STARTS_MAX {
            let since = self.camera.event_count();
            self.camera.launch();
            let is_ready = |events: &[Value]| events.iter().any(|event| event["event"] == "ready").then_some(());
            match self.camera.wait(since, STEP_TIMEOUT, is_ready) {
                Ok(()) => return true,
                Err(WaitError::Ended) => self.camera.kill(),
                Err(WaitError::Deadline) => panic!("{} neither starts nor ends", self.camera.name()),
            }
            self.failed_starts += 1;
        }
        false
    }

    fn press(&mut self, round: &Round) {
        for pause in &round.pauses_before_presses {
            thread::sleep(*pause);
            let since = self.camera.event_count();
            self.camera.press();
            self.presses += 1;
            let is_answer =
                |event: &&Value| ["saved", "refused", "tombstone"].iter().any(|kind| event["event"] == *kind);
            self.camera.expect("an answer to the press", since, ANSWER_TIMEOUT, |events| {
                events.iter().find(is_answer).map(drop)
            });
        }
        thread::sleep(round.pause_at_the_end);
    }

    fn failed_calls(&self) -> usize {
        std::fs::read_to_string(&self.failed).map_or(0, |text| text.lines().count())
    }

    /// Compares what the camera confirmed with what the cloud has.
    fn check(&mut self, fates: &Fates) {
        let events = self.camera.events(0);
        let saved = self.camera.saved();
        let mut by_number: BTreeMap<(SpoolId, u64), HashPrefix> = BTreeMap::new();
        for CaptureKey { spool, sequence, hash } in &saved {
            if by_number.insert((*spool, *sequence), *hash).is_some() {
                self.violations.push(format!("two presses were confirmed as number {sequence}"));
            }
        }
        let ready = events.iter().filter(|event| event["event"] == "ready");
        let mut spools: BTreeSet<SpoolId> = ready.filter_map(|event| event["install"].as_str()?.parse().ok()).collect();
        spools.extend(capture_keys(&events, "stored").iter().map(|capture| capture.spool));
        for key in &saved {
            if !fates.stored.contains(key) {
                self.violations.push(format!("confirmed and not stored: {}", key.sequence));
            }
        }
        for spool in spools {
            let of_spool = |key: &&CaptureKey| key.spool == spool;
            let stored: Vec<u64> = fates.stored.iter().filter(of_spool).map(|key| key.sequence).collect();
            let given_up: BTreeSet<u64> =
                fates.given_up.iter().filter(|(of, _)| *of == spool).map(|(_, n)| *n).collect();
            for number in &stored {
                if given_up.contains(number) {
                    self.violations.push(format!("both stored and given up: {number}"));
                }
            }
            for pair in stored.windows(2) {
                if pair[0] == pair[1] {
                    self.violations.push(format!("two pictures have number {}", pair[0]));
                }
            }
        }
    }
}

/// What became of the captures of all runs, read from the cloud's database.
struct Fates {
    stored: BTreeSet<CaptureKey>,
    given_up: BTreeSet<(SpoolId, u64)>,
}

impl Fates {
    fn of(cloud: &Cloud) -> Self {
        let store = cloud.store();
        let mut stored = BTreeSet::new();
        let add = |picture: keepsake_testkit::store_probe::Picture| {
            stored.insert(CaptureKey {
                spool: picture.spool,
                sequence: picture.sequence,
                hash: picture.hash.prefix(),
            });
        };
        store.for_each_picture(add).expect("read every picture");
        let tombstones = store.tombstones().expect("read every tombstone");
        let numbers = |one: &keepsake_testkit::store_probe::Tombstone| {
            let spool = one.spool;
            (one.first..=one.last).map(move |number| (spool, number))
        };
        Self {
            stored,
            given_up: tombstones.iter().flat_map(numbers).collect(),
        }
    }
}

fn compile_library(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/card/failing_calls.c");
    let library = folder.join("failing_calls.so");
    let done = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&library)
        .arg(source)
        .arg("-ldl")
        .status()
        .expect("run cc, the C compiler that building needs, too");
    assert!(done.success(), "cc: {done}");
    library
}

/// Small photographs: these runs are about calls, not about bytes.
fn small_photos(folder: &Path) -> PathBuf {
    let photos: Vec<Vec<u8>> = (0..3_u8)
        .map(|shade| {
            let picture = image::RgbImage::from_fn(96, 64, |x, y| {
                image::Rgb([shade * 80, x.to_le_bytes()[0], y.to_le_bytes()[0]])
            });
            let mut jpeg = std::io::Cursor::new(Vec::new());
            picture.write_to(&mut jpeg, image::ImageFormat::Jpeg).expect("write into memory");
            jpeg.into_inner()
        })
        .collect();
    let album = folder.join("photos");
    photos::album(&album, &photos)
}
