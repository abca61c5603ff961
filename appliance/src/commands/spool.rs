//! `appliance spool`: lists, verifies and exports the pictures on the card.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::settings_arguments::{FAILED, spool_folder};
use crate::spool::export;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// List every file.
    List {
        #[arg(long, env = "KEEPSAKE_SPOOL_DIR")]
        spool: Option<PathBuf>,
    },
    /// Read every file and check its hash.
    Verify {
        #[arg(long, env = "KEEPSAKE_SPOOL_DIR")]
        spool: Option<PathBuf>,
    },
    /// Copy every picture to another directory as a plain image file.
    Export {
        #[arg(long, env = "KEEPSAKE_SPOOL_DIR")]
        spool: Option<PathBuf>,
        #[arg(long)]
        to: PathBuf,
    },
}

pub(super) fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::List { spool } => {
            for file in export::files(&spool_folder(spool))? {
                println!("{} {}", file.spool_id, file.name);
            }
        }
        Verb::Verify { spool } => {
            let files = export::files(&spool_folder(spool))?;
            let damaged: Vec<_> = files.iter().filter_map(|file| file.verify().err()).collect();
            for error in &damaged {
                println!("{error}");
            }
            println!("{} files, {} damaged", files.len(), damaged.len());
            return Ok(if damaged.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(FAILED)
            });
        }
        Verb::Export { spool, to } => {
            let count = export::export(&spool_folder(spool), &to)?;
            println!("{count} pictures in {}", to.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}
