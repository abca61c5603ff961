//! `cargo xtask torture`: Keepsake and the lab it grew from, struck in the same ways; one table of both at the end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use keepsake_testkit::engines::database::Kind;
use keepsake_testkit::engines::mosquitto::Persistence;
use keepsake_testkit::folder::Folder;
use keepsake_testkit::seed::Seed;
use keepsake_testkit::torture::{self, Fault, Plan, Way, flood, lab};

/// Strikes the broker, the cloud, the camera and the database while presses go on, and counts what is lost.
#[derive(Parser)]
#[command(name = "cargo xtask torture")]
struct Arguments {
    /// Databases, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "mariadb,mysql")]
    engines: Vec<Engine>,
    /// Presses of one case
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    presses: u32,
    /// How often a case strikes
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    strikes: u32,
    /// Only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// By HTTP instead of mosquitto; the lab has nothing of the kind that waits
    #[arg(long)]
    http: bool,
    /// Leave the lab out
    #[arg(long)]
    no_lab: bool,
    /// Instead: 20 cameras with 150 pictures each meet one broker with the limits it comes with
    #[arg(long)]
    flood: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Engine {
    Sqlite,
    Mariadb,
    Mysql,
}

impl Engine {
    fn kind(self) -> Option<Kind> {
        match self {
            Self::Sqlite => None,
            Self::Mariadb => Some(Kind::MariaDb),
            Self::Mysql => Some(Kind::MySql),
        }
    }

    fn name(self) -> String {
        self.kind()
            .map_or("SQLite".to_owned(), |kind| kind.to_string())
    }
}

/// One line of the table: what is struck, and what became of it, column by column.
struct Line {
    case: String,
    cells: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let all_well = if arguments.flood {
        flood(&arguments)
    } else {
        strike(&arguments)
    };
    if all_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Returns whether Keepsake has lost nothing.
fn strike(arguments: &Arguments) -> bool {
    let mut seed = Seed::of_this_run("torture");
    let mut lines = Vec::new();
    let (mut versions, mut all_well) = (Vec::new(), true);
    for (case, way, faults) in cases(arguments) {
        let mut line = Line {
            case: case.clone(),
            cells: Vec::new(),
        };
        let plan = |name: &str, database| Plan {
            name: format!("{case}, {name}"),
            presses: usize::try_from(arguments.presses).expect("a few presses"),
            database,
            way,
            faults: faults.clone(),
        };
        for engine in &arguments.engines {
            let plan = plan(&engine.name(), engine.kind());
            let cell = match (
                engine.kind(),
                faults.iter().any(|fault| fault.is_of_the_database()),
            ) {
                (None, true) => "no server".to_owned(),
                (None, false) | (Some(_), _) => match keepsake(&plan, &mut seed) {
                    Ok(Some(figures)) => {
                        if !versions.contains(&figures.versions) {
                            versions.push(figures.versions.clone());
                        }
                        told(&figures)
                    }
                    Ok(None) => "NOT RUN".to_owned(),
                    Err(()) => {
                        all_well = false;
                        "FAILED".to_owned()
                    }
                },
            };
            println!("{}: {cell}", plan.name);
            line.cells.push(cell);
        }
        if !arguments.no_lab {
            let plan = plan("lab", None);
            let folder = Folder::new("torture-lab");
            let cell = lab::run(&plan, &folder, &mut seed).map_or("-".to_owned(), |figures| {
                format!(
                    "{} published, {} acknowledged, {} stored, {} LOST",
                    figures.published,
                    figures.acknowledged,
                    figures.stored,
                    figures.lost()
                )
            });
            println!("{}: {cell}", plan.name);
            line.cells.push(cell);
        }
        lines.push(line);
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
    for engine in &arguments.engines {
        let plan = plan(engine.name(), engine.kind());
        let folder = Folder::new("torture");
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
    if !arguments.no_lab {
        let plan = plan("the lab".to_owned(), None);
        let figures = flood::lab(&plan, &Folder::new("torture-lab"));
        lines.push(
            figures.map_or(format!("{}: NOT RUN", plan.name), |figures| {
                format!("{}: {} LOST: {figures:?}", plan.name, figures.lost())
            }),
        );
    }
    println!("\n{}", lines.join("\n"));
    all_well
}

/// Each fault by itself, several times; then all in turn.
fn cases(arguments: &Arguments) -> Vec<(String, Way, Vec<Fault>)> {
    let strikes = usize::try_from(arguments.strikes).expect("a few strikes");
    let mut cases = Vec::new();
    for fault in Fault::ALL {
        let faults = vec![fault; strikes];
        if fault == Fault::Broker {
            let old = format!("{fault}, with persistence");
            cases.push((
                old,
                Way::Mosquitto(Persistence::EverySecond),
                faults.clone(),
            ));
            let new = format!("{fault}, without");
            cases.push((new, Way::Mosquitto(Persistence::Off), faults));
        } else {
            cases.push((fault.to_string(), Way::Mosquitto(Persistence::Off), faults));
        }
    }
    let all = Fault::ALL.to_vec();
    let way = Way::Mosquitto(Persistence::EverySecond);
    cases.push(("all in turn".to_owned(), way, all));
    if arguments.http {
        cases.retain(|(_, _, faults)| faults.iter().any(|fault| *fault != Fault::Broker));
        for (_, way, faults) in &mut cases {
            *way = Way::Http;
            faults.retain(|fault| *fault != Fault::Broker);
        }
    }
    cases.retain(|(case, ..)| {
        arguments
            .only
            .as_ref()
            .is_none_or(|only| case.contains(only))
    });
    cases
}

/// A run that loses something panics, with everything that is known; the next case is run all the same.
fn keepsake(plan: &Plan, seed: &mut Seed) -> Result<Option<torture::Figures>, ()> {
    let folder = Folder::new("torture");
    catch_unwind(AssertUnwindSafe(|| torture::run(plan, &folder, seed)))
        .map_err(|_| println!("the files of this case stay in {}", folder.keep().display()))
}

fn told(figures: &torture::Figures) -> String {
    let found = &figures.found;
    format!(
        "{} pressed, {} confirmed, {} stored, 0 lost ({:.0} s)",
        figures.pressed,
        figures.confirmed,
        found.stored,
        figures.took.as_secs_f64()
    )
}

fn print_table(arguments: &Arguments, lines: &[Line]) {
    let mut heads: Vec<String> = arguments
        .engines
        .iter()
        .map(|engine| engine.name())
        .collect();
    if !arguments.no_lab {
        heads.push("the lab, MariaDB".to_owned());
    }
    println!("\n| struck | {} |", heads.join(" | "));
    println!("|---|{}", "---|".repeat(heads.len()));
    for Line { case, cells } in lines {
        println!("| {case} | {} |", cells.join(" | "));
    }
}
