//! Fetches the servers and the Python that tests need before they need them, and prints their versions: some come from
//! a suite that moves. What cannot be fetched is printed here, and again by each test that is not run.

use std::thread;
use std::time::Instant;

use anyhow::Result;
use keepsake_provision::servers::database::{Database, Kind};
use keepsake_provision::servers::mosquitto::{Mosquitto, Persistence};
use keepsake_provision::servers::python::Python;
use keepsake_provision::temp_dir::TempDir;

/// Returns the version.
type Fetch = fn() -> Result<String>;

fn main() {
    let fetches: [(&str, Fetch); 4] = [
        ("mosquitto", mosquitto),
        ("MariaDB", || database(Kind::MariaDb)),
        ("MySQL", || database(Kind::MySql)),
        ("Python", || Python::new()?.version()),
    ];
    let start = Instant::now();
    let running = fetches.map(|(name, fetch)| {
        // A server ends with the thread that started it, and each of these stops its own.
        let thread = thread::spawn(move || (fetch(), start.elapsed().as_secs_f64()));
        (name, thread)
    });
    for (name, thread) in running {
        match thread.join() {
            Ok((Ok(version), after_s)) => println!("server: {version}, after {after_s:.1} s"),
            Ok((Err(why), after_s)) => {
                println!("server: no {name} after {after_s:.1} s: {why:#}");
            }
            Err(_) => println!("server: {name} does not start, see above"),
        }
    }
}

fn mosquitto() -> Result<String> {
    let broker = Mosquitto::new(&TempDir::new("servers"), Persistence::Off)?;
    Ok(broker.version().to_owned())
}

fn database(kind: Kind) -> Result<String> {
    let folder = TempDir::new("servers");
    let mut database = Database::new(kind, &folder)?;
    database.start();
    database.stop();
    Ok(database.version())
}
