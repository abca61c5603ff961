//! `cloud user …`, `cloud token …` and `cloud bytes …`: manages users, API tokens and the bytes of pictures from a shell on the server, whether the cloud runs or not.
//!
//! Access that always works: anyone who can write the database decides who owns it.

mod bytes;
mod output;
mod token;
mod user;

use anyhow::Context;

use crate::args::Command;
use crate::config::Config;
use crate::store::{Limits, Store, StoreOptions};

/// Runs the command on the store of `config`.
///
/// # Errors
/// The store cannot be opened, or the command failed.
pub async fn run(command: &Command, config: &Config) -> anyhow::Result<()> {
    let place = StoreOptions {
        address: config.database.clone(),
        data: config.data.clone(),
        capture_bytes_max: config.capture_bytes_max,
        allow_unsafe_durability: config.allow_unsafe_durability,
    };
    let store = Store::open_secondary(place, Limits::default())
        .await
        .with_context(|| format!("open the store {}", config.database))?;
    let done = match command {
        Command::User(command) => user::run(command, &store).await,
        Command::Token(command) => token::run(command, &store).await,
        Command::Bytes(command) => bytes::run(command, &store, config).await,
    };
    store.close().await;
    done
}
