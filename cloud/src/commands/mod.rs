//! `cloud user …` and `cloud token …`: manages users and API tokens from a shell on the server, whether the cloud runs or not.
//!
//! Access that always works: anyone who can write the database decides who owns it.

use std::io::{BufRead, IsTerminal, Read, Write};

use anyhow::{Context, bail};
use clap::Subcommand;
use keepsake_protocol::DeviceId;

use crate::auth::password::{BoundedPasswordHasher, check_strength};
use crate::auth::token::Token;
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
    /// Manage users
    #[command(subcommand)]
    User(User),
    /// Manage API tokens of programs and cameras
    #[command(subcommand)]
    Key(Key),
}

#[derive(Debug, Clone, Subcommand)]
pub enum User {
    /// Create a user; the password is prompted for, or read from standard input
    Create {
        name: UserName,
        /// viewer, operator or owner
        #[arg(long)]
        role: Role,
    },
    /// Set a new password and end all sessions
    Reset {
        name: UserName,
        /// Print a link for setting a password, valid once within 48 hours, instead of prompting for one
        #[arg(long)]
        link: bool,
    },
    /// List the users
    List,
}

#[derive(Debug, Clone, Subcommand)]
pub enum Key {
    /// Create an API token and print it: it is shown only once
    Create {
        /// What the token is for
        name: String,
        /// viewer, operator or owner
        #[arg(long, required_unless_present = "camera", conflicts_with = "camera")]
        role: Option<Role>,
        /// Allow uploads for this camera, and nothing else
        #[arg(long, value_name = "NAME")]
        camera: Option<DeviceId>,
        /// Revoke the tokens of the same name
        #[arg(long)]
        replace: bool,
    },
    /// List the API tokens
    List,
    /// Revoke a token by its id, or all of a name
    Revoke { token: String },
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
                bail!("user {name} already exists; `cloud user reset` sets a password");
            }
            let hash = ask_password(name).await?;
            store.add_user(name, *role, Some(&hash), now_us()).await?;
            print_line(&format!("{name} can log in now, as {role}."))
        }
        User::Reset { name, link } => {
            let user = store.user_named(name).await?;
            let user = user.with_context(|| format!("there is no user {name}"))?;
            if *link {
                let secret = Token::new();
                let expires_us = now_us().saturating_add(LINK_FOR_US);
                store.invite(user.id, &secret.hash(), expires_us).await?;
                return print_line(&format!("/invitation?code={}", secret.as_str()));
            }
            let hash = ask_password(name).await?;
            store.change_password(user.id, &hash, None).await?;
            print_line(&format!(
                "The password of {name} is changed, and all sessions are ended."
            ))
        }
        User::List => {
            for user in store.users().await? {
                let state = match (&user.password, user.seen_us) {
                    (None, _) => "invited",
                    (Some(_), None) => "never logged in",
                    (Some(_), Some(_)) => "has logged in",
                };
                print_line(&format!("{}\t{}\t{state}", user.name, user.role))?;
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
                bail!("name the token in 1 to 64 characters");
            }
            let scope = match (role, camera) {
                (Some(role), _) => TokenScope::Role(*role),
                (None, Some(camera)) => TokenScope::Camera(camera.clone()),
                (None, None) => bail!("give --role or --camera"),
            };
            let secret = Token::new_api_token();
            let old = store.tokens().await?;
            store
                .add_token(name, &scope, &secret.hash(), now_us())
                .await?;
            for old in old.iter().filter(|old| *replace && old.name == *name) {
                store.revoke_token(old.id).await?;
            }
            print_line(secret.as_str())
        }
        Key::List => {
            for key in store.tokens().await? {
                let opens = match &key.scope {
                    TokenScope::Role(role) => role.to_string(),
                    TokenScope::Camera(device) => format!("camera {device}"),
                };
                print_line(&format!("{}\t{opens}\t{}", key.id, key.name))?;
            }
            Ok(())
        }
        Key::Revoke { token } => {
            let mut revoked = 0;
            for known in store.tokens().await? {
                let meant = known.name == *token || known.id.to_string() == *token;
                if meant && store.revoke_token(known.id).await? {
                    revoked += 1;
                }
            }
            match revoked {
                0 => bail!("there is no API token {token}"),
                _ => print_line(&format!("revoked {revoked}")),
            }
        }
    }
}

async fn ask_password(name: &UserName) -> anyhow::Result<String> {
    let password = tokio::task::spawn_blocking(read_password).await??;
    if let Err(why) = check_strength(&password, name) {
        bail!("{why}");
    }
    Ok(BoundedPasswordHasher::default().hash(password).await?)
}

fn read_password() -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        let password = rpassword::prompt_password("Password: ").context("read the password")?;
        let again = rpassword::prompt_password("Repeat password: ").context("read the password")?;
        if password != again {
            bail!("the passwords differ");
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

/// A closed pipe is an error, not a panic.
fn print_line(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").context("write to standard output")
}
