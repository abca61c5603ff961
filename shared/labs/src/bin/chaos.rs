//! `cargo xtask chaos`: injects faults into broker, cloud, camera and database while presses go on, with one table at
//! the end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use keepsake_labs::card;
use keepsake_labs::chaos::{self, Fault, Plan, Transport, flood};
use keepsake_provision::servers::database::Kind;
use keepsake_provision::servers::mosquitto::Persistence;
use keepsake_provision::temp_dir::TempDir;
use keepsake_testkit::seed::Seed;

/// Inject faults into the broker, the cloud, the camera and the database while presses go on, and count what is lost
#[derive(Parser)]
#[command(bin_name = "cargo xtask chaos")]
struct Arguments {
    /// Databases, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "mariadb,mysql")]
    databases: Vec<Database>,
    /// Presses of one case
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    presses: u32,
    /// Faults of one case
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    faults: u32,
    /// Run only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Send pictures by HTTP instead of mosquitto
    #[arg(long)]
    http: bool,
    /// Instead, let 20 cameras with 150 pictures each upload through one broker with its default limits
    #[arg(long)]
    flood: bool,
    /// Instead, make calls on the camera's card fail, in this many runs
    #[arg(long, value_name = "RUNS", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    card: Option<u64>,
    /// The seed of the first of these runs; the others have the next numbers
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    card_seed: u64,
    /// How many of these runs go on at the same time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    card_parallel: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Database {
    Sqlite,
    Mariadb,
    Mysql,
}

impl Database {
    fn kind(self) -> Option<Kind> {
        match self {
            Self::Sqlite => None,
            Self::Mariadb => Some(Kind::MariaDb),
            Self::Mysql => Some(Kind::MySql),
        }
    }

    fn name(self) -> String {
        self.kind().map_or("SQLite".to_owned(), |kind| kind.to_string())
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let all_well = if let Some(runs) = arguments.card {
        fail_cards(&arguments, runs)
    } else if arguments.flood {
        flood(&arguments)
    } else {
        inject(&arguments)
    };
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns whether Keepsake has lost nothing.
fn inject(arguments: &Arguments) -> bool {
    let mut seed = Seed::from_env_or_random("chaos");
    let mut rows = Vec::new();
    let (mut versions, mut all_well) = (Vec::new(), true);
    for (case, transport, faults) in cases(arguments) {
        let mut cells = Vec::new();
        for database in &arguments.databases {
            let plan = Plan {
                name: format!("{case}, {}", database.name()),
                presses: usize::try_from(arguments.presses).expect("a few presses"),
                database: database.kind(),
                transport,
                faults: faults.clone(),
            };
            let cell = if plan.database.is_none() && faults.iter().any(|fault| fault.needs_database_server()) {
                "no server".to_owned()
            } else {
                match run_case(|folder| chaos::run(&plan, folder, &mut seed)) {
                    Ok(counts) => {
                        if !versions.contains(&counts.versions) {
                            versions.push(counts.versions.clone());
                        }
                        summary(&counts)
                    }
                    Err(outcome) => {
                        all_well &= outcome != FAILED;
                        outcome.to_owned()
                    }
                }
            };
            println!("{}: {cell}", plan.name);
            cells.push(cell);
        }
        rows.push((case, cells));
    }
    print_table(arguments, &rows);
    println!("\nWith {}.", versions.join("; "));
    all_well
}

/// Returns whether Keepsake has kept its promises.
fn fail_cards(arguments: &Arguments, runs: u64) -> bool {
    let seeds: Vec<u64> = (arguments.card_seed..arguments.card_seed.saturating_add(runs)).collect();
    let parallel = usize::try_from(arguments.card_parallel).expect("a few runs");
    let folder = TempDir::new("chaos-card");
    let mut counts = card::run(&seeds, parallel, &folder);
    let violations = std::mem::take(&mut counts.violations);
    for violation in &violations {
        println!("{violation}\n");
    }
    println!("{counts:?}, {} violations", violations.len());
    if !violations.is_empty() {
        println!("the files are kept in {}", folder.keep().display());
    }
    violations.is_empty()
}

/// Returns whether Keepsake has lost nothing.
fn flood(arguments: &Arguments) -> bool {
    let mut all_well = true;
    let mut lines = Vec::new();
    for database in &arguments.databases {
        let plan = flood::Plan {
            name: format!("flood, {}", database.name()),
            cameras: 20,
            each: 150,
            database: database.kind(),
        };
        let outcome = match run_case(|folder| flood::run(&plan, folder)) {
            Ok(counts) => format!("0 lost: {counts:?}"),
            Err(outcome) => {
                all_well &= outcome != FAILED;
                outcome.to_owned()
            }
        };
        lines.push(format!("{}: {outcome}", plan.name));
    }
    println!("\n{}", lines.join("\n"));
    all_well
}

/// Returns the cases: each fault several times, then all faults in turn.
fn cases(arguments: &Arguments) -> Vec<(String, Transport, Vec<Fault>)> {
    let count = usize::try_from(arguments.faults).expect("a few faults");
    let (with, without) = (Transport::Mosquitto(Persistence::EverySecond), Transport::Mosquitto(Persistence::Off));
    let mut cases = Vec::new();
    for fault in Fault::ALL {
        let faults = vec![fault; count];
        if fault == Fault::Broker {
            cases.push((format!("{fault}, with persistence"), with, faults.clone()));
            cases.push((format!("{fault}, without"), without, faults));
        } else {
            cases.push((fault.to_string(), without, faults));
        }
    }
    cases.push(("all in turn".to_owned(), with, Fault::ALL.to_vec()));
    if arguments.http {
        cases.retain(|(_, _, faults)| faults.iter().any(|fault| *fault != Fault::Broker));
        for (_, transport, faults) in &mut cases {
            *transport = Transport::Http;
            faults.retain(|fault| *fault != Fault::Broker);
        }
    }
    cases.retain(|(case, ..)| arguments.only.as_ref().is_none_or(|only| case.contains(only)));
    cases
}

const FAILED: &str = "FAILED";

/// Runs one case; returns why it has no counts. A case that loses something panics with all details, and the next one
/// runs all the same.
fn run_case<T>(run: impl FnOnce(&Path) -> Option<T>) -> Result<T, &'static str> {
    let folder = TempDir::new("chaos");
    match catch_unwind(AssertUnwindSafe(|| run(&folder))) {
        Ok(counts) => counts.ok_or("NOT RUN"),
        Err(_) => {
            println!("the files of this case are kept in {}", folder.keep().display());
            Err(FAILED)
        }
    }
}

fn summary(counts: &chaos::Counts) -> String {
    let chaos::Counts { pressed, confirmed, found, took, .. } = counts;
    let (stored, took_s) = (found.stored, took.as_secs_f64());
    format!("{pressed} pressed, {confirmed} confirmed, {stored} stored, 0 lost ({took_s:.0} s)")
}

fn print_table(arguments: &Arguments, rows: &[(String, Vec<String>)]) {
    let heads: Vec<String> = arguments.databases.iter().map(|database| database.name()).collect();
    println!("\n| fault | {} |", heads.join(" | "));
    println!("|---|{}", "---|".repeat(heads.len()));
    for (case, cells) in rows {
        println!("| {case} | {} |", cells.join(" | "));
    }
}
