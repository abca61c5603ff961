//! `cloud token …`: creates, lists and revokes API tokens.

use anyhow::bail;

use crate::args::TokenCommand;
use crate::auth::TokenScope;
use crate::auth::token::Token;
use crate::commands::output::print_line;
use crate::now_us;
use crate::store::Store;

pub(super) async fn run(command: &TokenCommand, store: &Store) -> anyhow::Result<()> {
    match command {
        TokenCommand::Create { name, role, camera, replace } => {
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
            store.add_token(name, &scope, &secret.hash(), now_us()).await?;
            for old in old.iter().filter(|old| *replace && old.name == *name) {
                store.revoke_token(old.id).await?;
            }
            print_line(secret.as_str())
        }
        TokenCommand::List => {
            for key in store.tokens().await? {
                let opens = match &key.scope {
                    TokenScope::Role(role) => role.to_string(),
                    TokenScope::Camera(device) => format!("camera {device}"),
                };
                print_line(&format!("{}\t{opens}\t{}", key.id, key.name))?;
            }
            Ok(())
        }
        TokenCommand::Revoke { token } => {
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
