//! Fault injection: presses go on while the broker, the cloud, the camera and the database fail one after the other
//! at random moments. At the end every press is counted, and every receipt and every acknowledgement has been
//! checked.
//!
//! [`run`] injects the faults, and [`flood`] delivers more at once than the broker queues. `cargo xtask chaos` has
//! the long runs, `tests/chaos.rs` short ones.

pub mod flood;

use std::fmt;
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use keepsake_provision::servers::database::{Database, Kind};
use keepsake_provision::servers::mosquitto::{Mosquitto, Persistence};
use keepsake_testkit::appliance::Appliance;
use keepsake_testkit::cloud::Cloud;
use keepsake_testkit::http_proxy::HttpProxy;
use keepsake_testkit::ledger::{Audit, audit};
use keepsake_testkit::mqtt_proxy::MqttProxy;
use keepsake_testkit::photos;
use keepsake_testkit::receipt_observer::ReceiptObserver;
use keepsake_testkit::seed::Seed;

const STEP_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest that everything may take to arrive after the last press, retries included.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(240);
/// The time that a database is stopped or frozen.
const DATABASE_OUTAGE: Duration = Duration::from_secs(10);
/// The time that a database is read-only.
const READ_ONLY_PERIOD: Duration = Duration::from_secs(4);
/// The longest time from the first press of a share to its fault.
const LEAD_MAX: Duration = Duration::from_secs(1);
/// The longest that a killed program stays away.
const OUTAGE_MAX: Duration = Duration::from_secs(2);

/// A fault injected while presses go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Kills the broker and starts it again, with or without saved state.
    Broker,
    /// Kills the cloud, sometimes again while it starts.
    Cloud,
    /// Kills the camera; presses while it is dead have no effect.
    Camera,
    /// Stops the database and starts it ten seconds later.
    DatabaseStopped,
    /// Freezes the database for ten seconds: connections stay open, and nothing answers.
    DatabaseFrozen,
    /// Kills the database.
    DatabaseKilled,
    /// Makes the database read-only for some seconds.
    DatabaseReadOnly,
    /// Kills every connection of the database, several times.
    DatabaseCut,
}

impl Fault {
    pub const ALL: [Self; 8] = [
        Self::Broker,
        Self::Cloud,
        Self::Camera,
        Self::DatabaseStopped,
        Self::DatabaseFrozen,
        Self::DatabaseKilled,
        Self::DatabaseReadOnly,
        Self::DatabaseCut,
    ];

    /// Returns the longest time that the fault lasts.
    fn outage_max(self) -> Duration {
        match self {
            Self::DatabaseStopped | Self::DatabaseFrozen => DATABASE_OUTAGE,
            Self::DatabaseReadOnly => READ_ONLY_PERIOD,
            Self::Broker | Self::Cloud | Self::Camera | Self::DatabaseKilled | Self::DatabaseCut => OUTAGE_MAX,
        }
    }

    /// Returns whether the fault needs a database server.
    pub fn needs_database_server(self) -> bool {
        !matches!(self, Self::Broker | Self::Cloud | Self::Camera)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Broker => "broker killed",
            Self::Cloud => "cloud killed",
            Self::Camera => "camera killed",
            Self::DatabaseStopped => "database stopped 10 s",
            Self::DatabaseFrozen => "database frozen 10 s",
            Self::DatabaseKilled => "database killed",
            Self::DatabaseReadOnly => "database read-only",
            Self::DatabaseCut => "connections cut",
        })
    }
}

/// The transport of the pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Mosquitto(Persistence),
    Http,
}

/// The plan of one run.
#[derive(Debug, Clone)]
pub struct Plan {
    pub name: String,
    pub presses: usize,
    /// `None`: the cloud's own SQLite.
    pub database: Option<Kind>,
    /// With HTTP there is no broker that could fail.
    pub transport: Transport,
    /// The faults in their order, each with its share of the presses before, during and after it.
    pub faults: Vec<Fault>,
}

/// The counts of a run that lost nothing.
#[derive(Debug, Clone)]
pub struct Counts {
    pub pressed: usize,
    /// The captures that the camera has confirmed.
    pub confirmed: usize,
    pub found: Audit,
    /// The captures in receipts, all checked.
    pub receipts: u64,
    /// The acknowledgements to the broker, all checked; none with HTTP.
    pub acknowledged: u64,
    /// The versions of the broker and the database.
    pub versions: String,
    pub took: Duration,
}

/// Runs `plan` with its files in `folder`; returns `None` after reporting that a server cannot be had.
///
/// # Panics
/// A picture is lost or doubled, or a receipt or an acknowledgement came before its commit.
pub fn run(plan: &Plan, folder: &Path, seed: &mut Seed) -> Option<Counts> {
    let start = Instant::now();
    let mut servers = Servers::or_skip(&plan.name, folder, plan.transport, plan.database)?;
    let (mut cloud, witnesses) = servers.start(folder);
    let mut camera = Appliance::new(folder, "porch", &witnesses.url);
    if witnesses.http.is_some() {
        camera.change(&cloud.camera_token("porch"));
    }
    camera.start();
    camera.wait_until_connected(STEP_TIMEOUT);

    let camera = Mutex::new(camera);
    for (fault, presses) in shares(plan) {
        println!("{}: {fault}", plan.name);
        let mut pressing = seed.fork();
        thread::scope(|scope| {
            scope.spawn(|| {
                at_random_moments(presses, fault, &mut pressing, |_| {
                    camera.lock().unwrap().press();
                });
            });
            thread::sleep(seed.duration_up_to(LEAD_MAX));
            inject(fault, &camera, &mut cloud, &mut servers, seed);
        });
    }
    let camera = &mut *camera.lock().unwrap();
    let pressed = plan.presses + make_up_missed_presses(plan, camera);

    let (confirmed, found) = check_counts(plan, camera, &cloud, pressed);
    let (receipts, acknowledged) = witnesses.verdict();
    let counts = Counts {
        pressed,
        confirmed,
        found,
        receipts,
        acknowledged,
        versions: servers.versions(),
        took: start.elapsed(),
    };
    camera.stop();
    cloud.stop();
    servers.stop();
    Some(counts)
}

/// Waits until everything has arrived, compares camera, cloud and database, and returns the number of confirmed
/// captures and the audit.
fn check_counts(plan: &Plan, camera: &mut Appliance, cloud: &Cloud, pressed: usize) -> (usize, Audit) {
    let confirmed = camera.saved();
    camera.expect_stored(&confirmed, ARRIVAL_TIMEOUT);
    let device = cloud.api().wait_for_device("porch", ARRIVAL_TIMEOUT, |device| {
        device["waiting"] == 0 && device["held"] == 0 && device["stored"].as_u64() >= Some(confirmed.len() as u64)
    });
    assert_eq!(device["missing"], 0, "{device:#}");
    assert_eq!(device["conflicts"], 0, "{device:#}");
    let found = audit(&cloud.store(), &confirmed, &photos::all(&photos::folder()));
    assert_eq!(device["stored"], found.stored, "{device:#}");
    if plan.faults.contains(&Fault::Camera) {
        assert!(found.stored + found.tombstones <= pressed as u64, "{found:?}");
    } else {
        assert_eq!(confirmed.len(), pressed, "every press is confirmed");
        assert_eq!(found.stored, pressed as u64, "{found:?}");
    }
    (confirmed.len(), found)
}

/// The servers of a run.
struct Servers {
    /// `None`: the pictures come by HTTP.
    broker: Option<Mosquitto>,
    /// `None`: the cloud's own SQLite.
    database: Option<Database>,
}

impl Servers {
    /// Returns the servers, not started, or `None` after reporting that one cannot be had.
    fn or_skip(name: &str, folder: &Path, transport: Transport, database: Option<Kind>) -> Option<Self> {
        let broker = match transport {
            Transport::Mosquitto(persistence) => Some(Mosquitto::or_skip(name, folder, persistence)?),
            Transport::Http => None,
        };
        let database = match database {
            Some(kind) => Some(Database::or_skip(name, kind, folder)?),
            None => None,
        };
        Some(Self { broker, database })
    }

    /// Starts them and a cloud that uses them.
    fn start(&mut self, folder: &Path) -> (Cloud, Checkers) {
        if let Some(broker) = &mut self.broker {
            broker.start();
        }
        let mut cloud = Cloud::new(folder);
        if let Some(database) = &mut self.database {
            database.start();
            cloud = cloud.storing_in(&create_cloud_schema(database)).flag(CAPTURE_BYTES_MAX);
        }
        let checkers = Checkers::start(&mut cloud, self.broker.as_ref());
        (cloud, checkers)
    }

    fn database(&mut self) -> &mut Database {
        self.database.as_mut().expect("a plan with a database server")
    }

    fn versions(&self) -> String {
        let transport = self.broker.as_ref().map_or("HTTP", Mosquitto::version);
        let database = self.database.as_ref().map(|database| format!(", {}", database.version()));
        format!("{transport}{}", database.unwrap_or_default())
    }

    fn stop(self) {
        if let Some(mut broker) = self.broker {
            broker.stop();
        }
        if let Some(mut database) = self.database {
            database.stop();
        }
    }
}

/// The checkers of everything between camera and cloud.
struct Checkers {
    /// The URL of the cloud for the camera.
    url: String,
    mqtt: Option<(ReceiptObserver, MqttProxy)>,
    http: Option<HttpProxy>,
}

impl Checkers {
    /// Starts them and the cloud. Without a broker the camera uses HTTP.
    fn start(cloud: &mut Cloud, broker: Option<&Mosquitto>) -> Self {
        let Some(broker) = broker else {
            let web = HttpProxy::start(cloud.http_port(), cloud.database());
            cloud.start();
            return Self { url: web.url(), mqtt: None, http: Some(web) };
        };
        let proxy = MqttProxy::start(broker.port(), cloud.database());
        cloud.ingest_through(proxy.port());
        cloud.start();
        let observer = ReceiptObserver::start(broker.port(), cloud.database());
        observer.wait_until_subscribed(STEP_TIMEOUT);
        Self { url: broker.url(), mqtt: Some((observer, proxy)), http: None }
    }

    /// Returns how many captures in receipts and how many acknowledgements were checked.
    fn verdict(self) -> (u64, u64) {
        let mqtt = self.mqtt.map(|(observer, proxy)| (observer.verdict(), proxy.verdict()));
        mqtt.or(self.http.map(|web| (web.verdict(), 0))).expect("one of the two was started")
    }
}

/// Returns each fault with its share of the presses.
fn shares(plan: &Plan) -> Vec<(Fault, usize)> {
    let n = plan.faults.len();
    let share = |(at, fault): (usize, &Fault)| {
        let (from, to) = (at * plan.presses / n, (at + 1) * plan.presses / n);
        (*fault, to - from)
    };
    plan.faults.iter().enumerate().map(share).collect()
}

/// Calls `act` `n` times, spread over the time before, during and after this fault.
fn at_random_moments(n: usize, fault: Fault, seed: &mut Seed, mut act: impl FnMut(usize)) {
    let start = Instant::now();
    let mut moments: Vec<Duration> = (0..n).map(|_| seed.duration_up_to(LEAD_MAX * 2 + fault.outage_max())).collect();
    moments.sort();
    for (number, moment) in moments.into_iter().enumerate() {
        thread::sleep(moment.saturating_sub(start.elapsed()));
        act(number);
    }
}

/// Waits for the results of the presses so far, and repeats those that a dead camera has missed. Returns how many.
fn make_up_missed_presses(plan: &Plan, camera: &mut Appliance) -> usize {
    let camera_fails = plan.faults.contains(&Fault::Camera);
    let wait = if camera_fails {
        Duration::from_secs(5)
    } else {
        STEP_TIMEOUT
    };
    let all = |events: &[serde_json::Value]| {
        let saved = events.iter().filter(|event| event["event"] == "saved");
        (saved.count() >= plan.presses).then_some(())
    };
    if !camera_fails {
        camera.expect("every press saved", 0, wait, all);
        return 0;
    }
    // How many presses a kill has swallowed is unknown, so the last ones get some time.
    let _ = camera.wait(0, wait, all);
    let lacking = plan.presses.saturating_sub(camera.saved().len());
    camera.press_and_save(lacking, STEP_TIMEOUT);
    lacking
}

fn inject(fault: Fault, camera: &Mutex<Appliance>, cloud: &mut Cloud, servers: &mut Servers, seed: &mut Seed) {
    match fault {
        Fault::Broker => {
            let broker = servers.broker.as_mut().expect("a transport with a broker");
            broker.kill();
            thread::sleep(seed.duration_up_to(OUTAGE_MAX));
            broker.start();
        }
        Fault::Cloud => {
            cloud.kill();
            thread::sleep(seed.duration_up_to(OUTAGE_MAX));
            if seed.one_in(3) {
                cloud.launch();
                thread::sleep(seed.duration_up_to(Duration::from_millis(400)));
                cloud.kill();
            }
            cloud.start();
        }
        Fault::Camera => {
            camera.lock().unwrap().kill();
            thread::sleep(seed.duration_up_to(OUTAGE_MAX));
            camera.lock().unwrap().start();
        }
        Fault::DatabaseStopped => {
            let database = servers.database();
            database.stop();
            thread::sleep(DATABASE_OUTAGE);
            database.start();
        }
        Fault::DatabaseFrozen => {
            let database = servers.database();
            database.freeze();
            thread::sleep(DATABASE_OUTAGE);
            database.thaw();
        }
        Fault::DatabaseKilled => {
            let database = servers.database();
            database.kill();
            thread::sleep(seed.duration_up_to(OUTAGE_MAX));
            database.start();
        }
        Fault::DatabaseReadOnly => {
            let database = servers.database();
            database.execute("SET GLOBAL read_only = 1");
            thread::sleep(READ_ONLY_PERIOD);
            database.execute("SET GLOBAL read_only = 0");
        }
        Fault::DatabaseCut => {
            let database = servers.database();
            for _ in 0..5 {
                database.kill_connections();
                thread::sleep(seed.duration_up_to(Duration::from_millis(500)));
            }
        }
    }
}

/// Fits into the largest packet that both servers accept by default.
const CAPTURE_BYTES_MAX: &str = "--capture-bytes-max=8388608";
const SCHEMA: &str = "keepsake";
const USER: &str = "cloud";
const PASSWORD: &str = "only-for-this-test";

/// Creates a schema for the cloud, and a user who owns only that: a user with all privileges could write into a
/// read-only database.
fn create_cloud_schema(database: &Database) -> String {
    database.create_schema(SCHEMA);
    database.execute(&format!("CREATE USER '{USER}'@'%' IDENTIFIED BY '{PASSWORD}'"));
    database.execute(&format!("GRANT ALL PRIVILEGES ON {SCHEMA}.* TO '{USER}'@'%'"));
    format!("mysql://{USER}:{PASSWORD}@127.0.0.1:{}/{SCHEMA}", database.port())
}
