//! `cloud user …` and `cloud key …`: people and keys for whoever has a shell on the server, while the cloud runs or not.
//!
//! This is the way in that always works: who can read the database may say who owns it.

use std::io::{BufRead, IsTerminal, Read, Write};

use anyhow::{Context, bail};
use clap::Subcommand;
use keepsake_protocol::DeviceId;

use crate::auth::password::{Passwords, acceptable};
use crate::auth::token::Secret;
use crate::auth::{Role, TokenScope, UserName};
use crate::config::Config;
use crate::now_us;
use crate::store::{Limits, Store, StoreOptions};

/// More than any password; a pipe may go on for ever.
const STDIN_BYTES_MAX: u64 = 4096;
/// How long a link for choosing a password is good, microseconds: 48 hours.
const LINK_FOR_US: i64 = 48 * 3600 * 1_000_000;

#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// People who may log in
    #[command(subcommand)]
    User(User),
    /// Keys for programs and cameras
    #[command(subcommand, alias = "token")]
    Key(Key),
}

#[derive(Debug, Clone, Subcommand)]
pub enum User {
    /// Add somebody; the password is asked for, or read from standard input
    Create {
        name: UserName,
        /// owner, manage or look
        #[arg(long)]
        role: Role,
    },
    /// Set another password, and end all sessions
    Reset {
        name: UserName,
        /// Print a link with which a password is chosen, once, within 48 hours, instead of asking for one
        #[arg(long)]
        link: bool,
    },
    /// Say who may log in
    List,
}

#[derive(Debug, Clone, Subcommand)]
pub enum Key {
    /// Make a key and print it: it is shown once
    Create {
        /// What it is for
        name: String,
        /// owner, manage or look
        #[arg(long, required_unless_present = "camera", conflicts_with = "camera")]
        role: Option<Role>,
        /// Bring pictures in the name of this camera, and nothing else
        #[arg(long, value_name = "NAME")]
        camera: Option<DeviceId>,
        /// Revoke the keys of the same name
        #[arg(long)]
        replace: bool,
    },
    /// Say which keys there are
    List,
    /// Revoke a key by its id, or all of a name
    Revoke { key: String },
}

/// Does what was asked in the store of `config`.
///
/// # Errors
/// What could not be done, in one sentence.
pub async fn run(command: &Command, config: &Config) -> anyhow::Result<()> {
    let place = StoreOptions {
        address: config.database.clone(),
        capture_bytes_max: config.capture_bytes_max,
        accept_weak_durability: config.accept_weak_durability,
    };
    let store = Store::open_secondary(place, Limits::default())
        .await
        .with_context(|| format!("open the store {}", config.database))?;
    let done = match command {
        Command::User(user) => self::user(user, &store).await,
        Command::Key(key) => self::key(key, &store).await,
    };
    store.close().await;
    done
}

async fn user(user: &User, store: &Store) -> anyhow::Result<()> {
    match user {
        User::Create { name, role } => {
            if store.user_named(name).await?.is_some() {
                bail!(
                    "there is somebody called {name} already; `cloud user reset` sets a password"
                );
            }
            let hash = ask_password(name).await?;
            store.add_user(name, *role, Some(&hash), now_us()).await?;
            print_line(&format!("{name} may log in now, as {role}."))
        }
        User::Reset { name, link } => {
            let person = store.user_named(name).await?;
            let person = person.with_context(|| format!("there is nobody called {name}"))?;
            if *link {
                let secret = Secret::new();
                let expires_us = now_us().saturating_add(LINK_FOR_US);
                store.invite(person.id, &secret.hash(), expires_us).await?;
                return print_line(&format!("/invitation?code={}", secret.as_str()));
            }
            let hash = ask_password(name).await?;
            store.change_password(person.id, &hash, None).await?;
            print_line(&format!(
                "{name} has another password and is logged out everywhere."
            ))
        }
        User::List => {
            for person in store.people().await? {
                let state = match (&person.password, person.seen_us) {
                    (None, _) => "invited",
                    (Some(_), None) => "never logged in",
                    (Some(_), Some(_)) => "has logged in",
                };
                print_line(&format!("{}\t{}\t{state}", person.name, person.role))?;
            }
            Ok(())
        }
    }
}

async fn key(key: &Key, store: &Store) -> anyhow::Result<()> {
    match key {
        Key::Create {
            name,
            role,
            camera,
            replace,
        } => {
            let length = name.chars().count();
            if !(1..=64).contains(&length) || name.chars().any(char::is_control) {
                bail!("say in 1 to 64 characters what the key is for");
            }
            let rights = match (role, camera) {
                (Some(role), _) => TokenScope::Role(*role),
                (None, Some(camera)) => TokenScope::Camera(camera.clone()),
                (None, None) => bail!("say --role or --camera"),
            };
            let secret = Secret::key();
            let old = store.tokens().await?;
            store
                .add_token(name, &rights, &secret.hash(), now_us())
                .await?;
            for old in old.iter().filter(|old| *replace && old.name == *name) {
                store.revoke_token(old.id).await?;
            }
            print_line(secret.as_str())
        }
        Key::List => {
            for key in store.tokens().await? {
                let opens = match &key.rights {
                    TokenScope::Role(role) => role.to_string(),
                    TokenScope::Camera(device) => format!("camera {device}"),
                };
                print_line(&format!("{}\t{opens}\t{}", key.id, key.name))?;
            }
            Ok(())
        }
        Key::Revoke { key } => {
            let mut revoked = 0;
            for known in store.tokens().await? {
                let meant = known.name == *key || known.id.to_string() == *key;
                if meant && store.revoke_token(known.id).await? {
                    revoked += 1;
                }
            }
            match revoked {
                0 => bail!("there is no key {key}"),
                _ => print_line(&format!("revoked {revoked}")),
            }
        }
    }
}

async fn ask_password(name: &UserName) -> anyhow::Result<String> {
    let password = tokio::task::spawn_blocking(read_password).await??;
    if let Err(why) = acceptable(&password, name) {
        bail!("{why}");
    }
    Ok(Passwords::default().hash(password).await?)
}

fn read_password() -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        let password = rpassword::prompt_password("Password: ").context("read the password")?;
        let again = rpassword::prompt_password("Once more: ").context("read the password")?;
        if password != again {
            bail!("the two are not the same");
        }
        return Ok(password);
    }
    let mut line = String::new();
    stdin
        .lock()
        .take(STDIN_BYTES_MAX)
        .read_line(&mut line)
        .context("read the password from standard input")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Somebody who does not read on is no reason to panic.
fn print_line(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").context("write to standard output")
}
