//! `cargo xtask chaos`: injects faults into broker, cloud, camera and database while presses go on, with one table at
//! the end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
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

/// One row of the table: the fault, and the result with each database.
struct Row {
    case: String,
    cells: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let all_well = if arguments.flood {
        flood(&arguments)
    } else {
        inject(&arguments)
    };
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns whether Keepsake has lost nothing.
fn inject(arguments: &Arguments) -> bool {
    let mut seed = Seed::from_env_or_random("chaos");
    let mut lines = Vec::new();
    let (mut versions, mut all_well) = (Vec::new(), true);
    for (case, way, faults) in cases(arguments) {
        let mut row = Row { case: case.clone(), cells: Vec::new() };
        let plan = |name: &str, database| Plan {
            name: format!("{case}, {name}"),
            presses: usize::try_from(arguments.presses).expect("a few presses"),
            database,
            transport: way,
            faults: faults.clone(),
        };
        for database in &arguments.databases {
            let plan = plan(&database.name(), database.kind());
            let cell = match (database.kind(), faults.iter().any(|fault| fault.needs_database_server())) {
                (None, true) => "no server".to_owned(),
                (None, false) | (Some(_), _) => match run_case(&plan, &mut seed) {
                    Ok(Some(figures)) => {
                        if !versions.contains(&figures.versions) {
                            versions.push(figures.versions.clone());
                        }
                        summary(&figures)
                    }
                    Ok(None) => "NOT RUN".to_owned(),
                    Err(()) => {
                        all_well = false;
                        "FAILED".to_owned()
                    }
                },
            };
            println!("{}: {cell}", plan.name);
            row.cells.push(cell);
        }
        lines.push(row);
    }
    print_table(arguments, &lines);
    println!("\nWith {}.", versions.join("; "));
    all_well
}

/// Returns whether Keepsake has lost nothing.
fn flood(arguments: &Arguments) -> bool {
    let mut all_well = true;
    let mut lines = Vec::new();
    let plan = |name: String, database| flood::Plan {
        name: format!("flood, {name}"),
        cameras: 20,
        each: 150,
        database,
    };
    for database in &arguments.databases {
        let plan = plan(database.name(), database.kind());
        let folder = TempDir::new("chaos");
        let run = catch_unwind(AssertUnwindSafe(|| flood::run(&plan, &folder)));
        lines.push(match run {
            Ok(Some(figures)) => format!("{}: 0 lost: {figures:?}", plan.name),
            Ok(None) => format!("{}: NOT RUN", plan.name),
            Err(_) => {
                all_well = false;
                format!("{}: FAILED, see {}", plan.name, folder.keep().display())
            }
        });
    }
    println!("\n{}", lines.join("\n"));
    all_well
}

/// Returns the cases: each fault several times, then all faults in turn.
fn cases(arguments: &Arguments) -> Vec<(String, Transport, Vec<Fault>)> {
    let count = usize::try_from(arguments.faults).expect("a few faults");
    let mut cases = Vec::new();
    for fault in Fault::ALL {
        let faults = vec![fault; count];
        if fault == Fault::Broker {
            let old = format!("{fault}, with persistence");
            cases.push((old, Transport::Mosquitto(Persistence::EverySecond), faults.clone()));
            let new = format!("{fault}, without");
            cases.push((new, Transport::Mosquitto(Persistence::Off), faults));
        } else {
            cases.push((fault.to_string(), Transport::Mosquitto(Persistence::Off), faults));
        }
    }
    let all = Fault::ALL.to_vec();
    let way = Transport::Mosquitto(Persistence::EverySecond);
    cases.push(("all in turn".to_owned(), way, all));
    if arguments.http {
        cases.retain(|(_, _, faults)| faults.iter().any(|fault| *fault != Fault::Broker));
        for (_, way, faults) in &mut cases {
            *way = Transport::Http;
            faults.retain(|fault| *fault != Fault::Broker);
        }
    }
    cases.retain(|(case, ..)| arguments.only.as_ref().is_none_or(|only| case.contains(only)));
    cases
}

/// Runs one case. A case that loses something panics with all details, and the next one runs all the same.
fn run_case(plan: &Plan, seed: &mut Seed) -> Result<Option<chaos::Counts>, ()> {
    let folder = TempDir::new("chaos");
    catch_unwind(AssertUnwindSafe(|| chaos::run(plan, &folder, seed))).map_err(|_| {
        println!("the files of this case are kept in {}", folder.keep().display());
    })
}

fn summary(figures: &chaos::Counts) -> String {
    let found = &figures.found;
    format!(
        "{} pressed, {} confirmed, {} stored, 0 lost ({:.0} s)",
        figures.pressed,
        figures.confirmed,
        found.stored,
        figures.took.as_secs_f64()
    )
}

fn print_table(arguments: &Arguments, lines: &[Row]) {
    let heads: Vec<String> = arguments.databases.iter().map(|database| database.name()).collect();
    println!("\n| fault | {} |", heads.join(" | "));
    println!("|---|{}", "---|".repeat(heads.len()));
    for Row { case, cells } in lines {
        println!("| {case} | {} |", cells.join(" | "));
    }
}
