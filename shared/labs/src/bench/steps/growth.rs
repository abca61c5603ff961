//! Ingest into a store with few pictures and into one with many that wait for their thumbnails, and the time until
//! thumbnails have caught up.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use keepsake_provision::servers::database::Database;
use keepsake_provision::temp_dir::TempDir;
use keepsake_testkit::cloud::Cloud;
use mysql::prelude::Queryable;

use crate::bench::figures::{Bound, StepResult, as_float};
use crate::bench::load::pictures::{Original, SMALL};
use crate::bench::load::{NativeCamera, all_at_once};
use crate::bench::{Plan, Server, cloud, start_broker};

/// Pictures in the small store.
const FEW: usize = 3_000;
/// Pictures in the large store, and how many of them wait for their thumbnails.
const MANY: usize = 300_000;
const PENDING: usize = 200_000;
/// Pictures of one repetition.
const MEASURED: usize = 2_560;
/// Pictures whose thumbnails are awaited.
const WITH_THUMBNAILS: usize = 10_000;
const THUMBNAILS_TIMEOUT: Duration = Duration::from_secs(600);
const CAMERAS: u8 = 4;
/// Counting what is pending takes milliseconds of the database.
const POLL: Duration = Duration::from_millis(250);

/// Measures ingest into both stores in turn.
pub fn run(plan: &Plan, command: &str) -> Result<StepResult> {
    let mut result = StepResult::new("growth", command);
    for kind in &plan.databases {
        let server = Server::start(*kind)?;
        result.add_version(server.version());
        let folder = TempDir::new("bench-growth");
        let mut stores = Vec::new();
        for (name, stored, pending) in [("few", FEW, 0), ("many", plan.count(MANY), plan.count(PENDING))] {
            server.database.create_schema(name);
            let mut store = Grown::new(&folder.join(name), server.database.url(name))?;
            store.upload(plan.count(FEW))?;
            store.wait_for_thumbnails()?;
            store.cloud.stop();
            multiply(&server.database, name, stored, pending)?;
            stores.push(store);
        }
        let group = format!("{kind}, ingest by pictures stored, 23 KB");
        for _ in 0..plan.repetitions {
            let mut rates = Vec::new();
            for (store, name) in stores.iter_mut().zip(["3,000", "300,000, of which 200,000 without thumbnails"]) {
                store.cloud.start();
                let took = store.upload(plan.count(MEASURED))?;
                store.cloud.stop();
                let rate = as_float(plan.count(MEASURED)) / took.as_secs_f64();
                result.record(&group, name, "pictures/s", rate);
                rates.push(rate);
            }
            let ratio = rates[1] / rates[0];
            result.record_bounded(&format!("{group}, ratio"), "300,000 : 3,000", "×", ratio, Bound::AtLeast(0.9));
        }
    }
    Ok(result)
}

/// Measures how long thumbnails take beside and after ingest.
pub fn thumbnails(plan: &Plan, command: &str) -> Result<StepResult> {
    let mut result = StepResult::new("thumbnails", command);
    for kind in &plan.databases {
        let mut server = Server::start(*kind)?;
        result.add_version(server.version());
        for _ in 0..plan.repetitions {
            let folder = TempDir::new("bench-thumbnails");
            let schema = server.new_schema();
            let store = Grown::new(&folder, server.database.url(&schema))?;
            let start = Instant::now();
            let ingest = store.upload(plan.count(WITH_THUMBNAILS))?;
            store.wait_for_thumbnails()?;
            let all = start.elapsed();
            let group = format!("{kind}, {WITH_THUMBNAILS} pictures of 23 KB");
            result.record(&group, "stored", "s", ingest.as_secs_f64());
            result.record(&group, "thumbnails done", "s", all.as_secs_f64());
            let ratio = all.as_secs_f64() / ingest.as_secs_f64();
            let group = format!("{group}, ratio");
            result.record_bounded(&group, "thumbnails done : stored", "×", ratio, Bound::AtMost(1.5));
        }
    }
    Ok(result)
}

/// A cloud whose store grows.
struct Grown {
    cloud: Cloud,
    broker: keepsake_provision::servers::mosquitto::Mosquitto,
}

impl Grown {
    fn new(folder: &std::path::Path, database_url: String) -> Result<Self> {
        let broker = start_broker(folder)?;
        let cloud = cloud(folder, Some(&broker), Some(&database_url)).started();
        Ok(Self { cloud, broker })
    }

    /// Uploads different pictures, and returns the time to the last receipt.
    fn upload(&self, count: usize) -> Result<Duration> {
        let original = Original::new(SMALL);
        let each = count / usize::from(CAMERAS);
        let cameras = (1..=CAMERAS).map(|number| NativeCamera::new(number, each, &original, SMALL)).collect();
        let start = Instant::now();
        all_at_once(cameras, |camera: NativeCamera| camera.upload(self.broker.port()))?;
        Ok(start.elapsed())
    }

    fn wait_for_thumbnails(&self) -> Result<()> {
        let store = self.cloud.store();
        let deadline = Instant::now() + THUMBNAILS_TIMEOUT;
        loop {
            let pending = store.thumbnails_pending().context("ask for pending thumbnails")?;
            if pending == 0 {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{pending} thumbnails are still pending");
            thread::sleep(POLL);
        }
    }
}

/// Copies the rows of the pictures in a schema, under other spools, until there are `total`; `pending` of them wait for
/// their thumbnails. The copies share the objects of their originals.
fn multiply(database: &Database, schema: &str, total: usize, pending: usize) -> Result<()> {
    let mut connection = database.connect(schema);
    let stored: usize = connection.query_first("SELECT COUNT(*) FROM picture")?.context("a count")?;
    let mut pending_left = pending;
    for copy in 1..total / stored {
        let is_pending = pending_left >= stored;
        pending_left -= if is_pending { stored } else { 0 };
        let thumbnail = if is_pending { "0" } else { "thumbnail" };
        let arrival = format!("arrival + {}", copy * stored);
        let spool = format!("UNHEX(CONCAT(SUBSTR(HEX(spool), 1, 24), LPAD(HEX({copy}), 8, '0')))");
        for table in ["fate", "picture", "picture_bytes"] {
            let columns: Vec<String> = connection.exec(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = ? AND table_name = ?",
                (schema, table),
            )?;
            let values = columns.iter().map(|column| match column.as_str() {
                "arrival" => arrival.as_str(),
                "spool" => spool.as_str(),
                "thumbnail" => thumbnail,
                other => other,
            });
            let (columns, values) = (columns.join(", "), values.collect::<Vec<_>>().join(", "));
            let originals = match table {
                "fate" => format!(
                    "(spool, sequence, hash) IN (SELECT spool, sequence, hash FROM picture WHERE arrival <= {stored})"
                ),
                _ => format!("arrival <= {stored}"),
            };
            connection
                .query_drop(format!("INSERT INTO {table} ({columns}) SELECT {values} FROM {table} WHERE {originals}"))
                .with_context(|| format!("copy rows of {table}"))?;
        }
    }
    connection.exec_drop("UPDATE counter SET last = ? WHERE name = 'arrival'", (total,))?;
    Ok(())
}
