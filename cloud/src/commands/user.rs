//! `cloud user …`: creates and lists users, and resets their passwords.

use std::io::{BufRead, IsTerminal, Read};

use anyhow::{Context, bail};

use crate::args::UserCommand;
use crate::auth::UserName;
use crate::auth::password::{BoundedPasswordHasher, check_strength};
use crate::auth::token::Token;
use crate::commands::output::print_line;
use crate::now_us;
use crate::store::Store;

/// More than any password; a pipe may go on for ever.
const STDIN_BYTES_MAX: u64 = 4096;
/// The lifetime of a link for choosing a password, microseconds: 48 hours.
const LINK_FOR_US: i64 = 48 * 3600 * 1_000_000;

pub(super) async fn run(command: &UserCommand, store: &Store) -> anyhow::Result<()> {
    match command {
        UserCommand::Create { name, role } => {
            if store.user_named(name).await?.is_some() {
                bail!("user {name} already exists; `cloud user reset` sets a password");
            }
            let hash = ask_password(name).await?;
            store.add_user(name, *role, Some(&hash), now_us()).await?;
            print_line(&format!("{name} can log in now, as {role}."))
        }
        UserCommand::Reset { name, link } => {
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
            print_line(&format!("The password of {name} is changed, and all sessions are ended."))
        }
        UserCommand::List => {
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
