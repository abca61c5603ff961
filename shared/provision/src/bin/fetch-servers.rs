//! Fetches the servers and the Python that the end-to-end tests want, before they want them, and says which they are:
//! one of them comes from a suite that moves. What cannot be had is said here and again by each test that is not run.

use std::thread;
use std::time::Instant;

use keepsake_testkit::engines::database::{Database, Kind};
use keepsake_testkit::engines::mosquitto::{Mosquitto, Persistence};
use keepsake_testkit::engines::python::Python;
use keepsake_testkit::folder::Folder;

/// Returns the version, or a sentence: why there is none.
type Fetch = fn() -> Result<String, String>;

fn main() {
    let fetches: [(&str, Fetch); 4] = [
        ("mosquitto", mosquitto),
        ("MariaDB", || database(Kind::MariaDb)),
        ("MySQL", || database(Kind::MySql)),
        ("Python", || {
            Python::new().and_then(|python| python.version())
        }),
    ];
    let start = Instant::now();
    let under_way = fetches.map(|(name, fetch)| {
        // A server ends with the thread that has started it, and each of these stops its own.
        let fetched = thread::spawn(move || (fetch(), start.elapsed()));
        (name, fetched)
    });
    for (name, fetched) in under_way {
        let took = |took: std::time::Duration| format!("{:.1} s", took.as_secs_f64());
        match fetched.join() {
            Ok((Ok(version), after)) => println!("engine: {version}, after {}", took(after)),
            Ok((Err(why), after)) => println!("engine: no {name} after {}: {why}", took(after)),
            Err(_) => println!("engine: {name} does not start, see above"),
        }
    }
}

fn mosquitto() -> Result<String, String> {
    let broker = Mosquitto::new(&Folder::new("engines"), Persistence::Off)?;
    Ok(broker.version().to_owned())
}

fn database(kind: Kind) -> Result<String, String> {
    let folder = Folder::new("engines");
    let mut database = Database::new(kind, &folder)?;
    database.start();
    database.stop();
    Ok(database.version())
}
