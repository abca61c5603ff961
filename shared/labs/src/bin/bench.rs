//! `cargo xtask bench`: measures the cloud against the listener of a lab and against bare writers in the same run.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use keepsake_labs::bench::figures::StepResult;
use keepsake_labs::bench::steps::{backlog, fleets, growth, images, ingest, latency};
use keepsake_labs::bench::{Plan, report};
use keepsake_provision::servers::database::Kind;
use keepsake_provision::workspace;

/// Measure ingest, latency, thumbnails and images, and write the results as JSON into target/bench
#[derive(Parser)]
#[command(bin_name = "cargo xtask bench")]
struct Arguments {
    /// Steps, separated by commas [default: everything]
    #[arg(long, value_delimiter = ',', value_name = "STEP")]
    only: Vec<Step>,
    /// Repetitions of each measurement, all contenders in turn
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    repetitions: u32,
    /// Database servers, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "mariadb,mysql")]
    database: Vec<Database>,
    /// Send a twentieth of the pictures, to see that everything works
    #[arg(long)]
    quick: bool,
    /// Only write docs/performance.md and its charts from the results of earlier runs
    #[arg(long)]
    report: bool,
    /// Directory of the results
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    Ingest,
    Fleet,
    Backlog,
    Latency,
    Images,
    Thumbnails,
    Growth,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Database {
    Mariadb,
    Mysql,
}

impl Step {
    fn run(self, plan: &Plan, command: &str) -> Result<StepResult> {
        match self {
            Self::Ingest => ingest::run(plan, command),
            Self::Fleet => fleets::run(plan, command),
            Self::Backlog => backlog::run(plan, command),
            Self::Latency => latency::run(plan, command),
            Self::Images => images::run(plan, command),
            Self::Thumbnails => growth::thumbnails(plan, command),
            Self::Growth => growth::run(plan, command),
        }
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let results = arguments.results.clone().unwrap_or_else(|| workspace::target().join("bench"));
    if arguments.report {
        return report::write(&results, &workspace::root().join("docs"));
    }
    let plan = Plan {
        databases: arguments
            .database
            .iter()
            .map(|database| match database {
                Database::Mariadb => Kind::MariaDb,
                Database::Mysql => Kind::MySql,
            })
            .collect(),
        repetitions: arguments.repetitions,
        quick: arguments.quick,
    };
    let steps = match arguments.only.as_slice() {
        [] => Step::value_variants(),
        only => only,
    };
    for step in steps {
        let name = step.to_possible_value().expect("no step is hidden");
        let command = format!("cargo xtask bench --only {} --repetitions {}", name.get_name(), plan.repetitions);
        let file = step.run(&plan, &command)?.save(&results)?;
        println!("{}", file.display());
    }
    Ok(())
}
