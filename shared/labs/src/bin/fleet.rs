//! `fleet`: many cameras with full cards upload at once; the result is one line of JSON.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use keepsake_labs::fleet::{self, Load, Plan};
use keepsake_provision::servers::database::Kind;
use keepsake_provision::temp_dir::TempDir;

/// Let many cameras with full cards upload at once, and print pictures per second, repeats and dropped connections
#[derive(Parser)]
struct Arguments {
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    cameras: u32,
    /// Pictures on each card
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pictures: u32,
    /// The size of a picture, KB
    #[arg(long, value_name = "N", default_value_t = 150, value_parser = clap::value_parser!(u32).range(8..=8_000))]
    kb: u32,
    #[arg(long, default_value = "sqlite")]
    database: Database,
    /// Upload to the cloud's embedded broker instead of mosquitto
    #[arg(long)]
    embedded: bool,
    /// The longest that the upload may take, seconds
    #[arg(long, value_name = "N", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    patience_s: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Database {
    Sqlite,
    Mariadb,
    Mysql,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let plan = Plan {
        name: "fleet".to_owned(),
        load: Load {
            cameras: arguments.cameras,
            pictures: arguments.pictures,
            picture_bytes: usize::try_from(arguments.kb).expect("at most 8,000") * 1000,
            patience: Duration::from_secs(arguments.patience_s),
        },
        database: match arguments.database {
            Database::Sqlite => None,
            Database::Mariadb => Some(Kind::MariaDb),
            Database::Mysql => Some(Kind::MySql),
        },
        mosquitto: !arguments.embedded,
    };
    let Some(report) = fleet::run(&plan, &TempDir::new("fleet")) else {
        return ExitCode::FAILURE;
    };
    println!("{}", serde_json::to_string(&report).expect("a report has no map with odd keys"));
    let all = u64::from(plan.load.cameras) * u64::from(plan.load.pictures);
    if report.upload.stored == all {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
