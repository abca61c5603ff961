//! Measures Keepsake against two others in the same run: the listener of a lab (`baseline/listener.py`), and bare
//! writers that do the same work without a product around them ([`ceiling`]).
//!
//! Every machine differs, so only ratios of one run count. All contenders take turns within each repetition, so that
//! what else the machine does affects all of them; medians and extremes of the repetitions are recorded as
//! [`figures`], and [`report`] writes `docs/performance.md` from them.

use std::path::Path;

use anyhow::Result;
use keepsake_provision::servers::database::{Database, Kind};
use keepsake_provision::servers::mosquitto::Mosquitto;
use keepsake_provision::temp_dir::TempDir;
use keepsake_testkit::cloud::Cloud;

pub mod ceiling;
pub mod figures;
pub mod load;
pub mod report;
pub mod steps;
pub mod usage;

/// The extent of the measurements.
#[derive(Debug, Clone)]
pub struct Plan {
    pub databases: Vec<Kind>,
    /// At least 5 for figures to publish.
    pub repetitions: u32,
    /// A twentieth of the pictures, to see that everything works.
    pub quick: bool,
}

impl Plan {
    /// Returns how many pictures to send instead of `full`: the same number for each of up to eight cameras.
    fn count(&self, full: usize) -> usize {
        let count = if self.quick { full / 20 } else { full };
        count.next_multiple_of(8)
    }
}

/// A database server that all contenders use in turn, each with a new schema.
#[derive(Debug)]
struct Server {
    database: Database,
    schemas: u32,
    _folder: TempDir,
}

impl Server {
    fn start(kind: Kind) -> Result<Self> {
        let folder = TempDir::new("bench-database");
        let mut database = Database::new(kind, &folder)?;
        // The default of both servers; the test kit's is smaller.
        database.set_flags(&["--innodb-buffer-pool-size=128M"]);
        database.start();
        Ok(Self { database, schemas: 0, _folder: folder })
    }

    /// Replaces the schema of the contender before by an empty one, and returns its name.
    fn new_schema(&mut self) -> String {
        self.database.execute(&format!("DROP DATABASE IF EXISTS bench_{}", self.schemas));
        self.schemas += 1;
        let name = format!("bench_{}", self.schemas);
        self.database.create_schema(&name);
        name
    }

    /// Returns its name and version for the report.
    fn version(&self) -> String {
        self.database.version()
    }
}

/// A new mosquitto: the sessions of a contender before would receive every message, too.
fn start_broker(folder: &Path) -> Result<Mosquitto> {
    let mut broker = Mosquitto::with_shipped_limits(folder)?;
    broker.start();
    Ok(broker)
}

/// Returns a cloud with its data in `folder`, not started, that accepts third-party cameras.
fn cloud(folder: &Path, broker: Option<&Mosquitto>, database_url: Option<&str>) -> Cloud {
    let mut cloud = Cloud::new(folder).flag("--anonymous-upload=everyone");
    if let Some(broker) = broker {
        cloud.ingest_through(broker.port());
    }
    if let Some(url) = database_url {
        cloud = cloud.storing_in(url);
    }
    cloud
}
