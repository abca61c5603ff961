//! Table `api_token`: the keys of programs and cameras.

use keepsake_protocol::DeviceId;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::auth::token::TokenHash;
use crate::auth::{PrincipalId, TokenScope};
use crate::store::bind::{id, role};
use crate::store::error::{Result, StoreError, UserError};
use crate::store::open::Store;
use crate::store::query::sessions::RECORD_USE_EVERY_US;
use crate::store::statement::sql;

/// Keys of one cloud: one for each of its cameras, and some for programs (P4).
const TOKENS_MAX: i64 = 2_000;
/// The value of `role` for a camera.
const CAMERA: &str = "camera";

/// A key, without what proves it.
#[derive(Debug, Clone)]
pub struct ApiToken {
    pub id: PrincipalId,
    /// The purpose, in the owner's words.
    pub name: String,
    pub scope: TokenScope,
    pub created_us: i64,
    /// To the minute.
    pub used_us: Option<i64>,
}

impl Store {
    /// Notes a key.
    ///
    /// # Errors
    /// [`UserError::TooMany`], and other [`StoreError`]s: there is no such key.
    pub async fn add_token(&self, name: &str, scope: &TokenScope, secret: &TokenHash, now_us: i64) -> Result<ApiToken> {
        let token = ApiToken {
            id: PrincipalId::new(),
            name: name.to_owned(),
            scope: scope.clone(),
            created_us: now_us,
            used_us: None,
        };
        let (scope, device) = match scope {
            TokenScope::Role(role) => (role.as_str(), None),
            TokenScope::Camera(device) => (CAMERA, Some(device.as_str())),
        };
        self.with_timeout(async {
            let mut tx = self.begin("begin a key").await?;
            let there: i64 = sql("SELECT COUNT(*) FROM api_token").scalar(&mut *tx, "count keys").await?;
            if there >= TOKENS_MAX {
                return Err(UserError::TooMany.into());
            }
            sql("INSERT INTO api_token (id, name, token_hash, role, device, created_us) VALUES (?, ?, ?, ?, ?, ?)")
                .bind((token.id, name, secret, scope, device, now_us))
                .execute(&mut *tx, "note a key")
                .await?;
            tx.commit("commit a key").await?;
            Ok(token)
        })
        .await
    }

    /// The key of this secret, unless it was revoked.
    pub async fn token(&self, secret: &TokenHash) -> Result<Option<ApiToken>> {
        let row = sql("SELECT id, name, role, device, created_us, used_us FROM api_token WHERE token_hash = ?")
            .bind(secret)
            .row(self, "look for a key")
            .await?;
        row.as_ref().map(token).transpose()
    }

    /// Notes that a key is used, at most once a minute.
    pub async fn record_token_use(&self, token: &ApiToken, now_us: i64) -> Result<()> {
        if token.used_us.is_some_and(|used| now_us - used < RECORD_USE_EVERY_US) {
            return Ok(());
        }
        sql("UPDATE api_token SET used_us = ? WHERE id = ?")
            .bind((now_us, token.id))
            .commit(self, "record the use of an API token")
            .await?;
        Ok(())
    }

    /// All keys, the newest first.
    pub async fn tokens(&self) -> Result<Vec<ApiToken>> {
        let rows =
            sql("SELECT id, name, role, device, created_us, used_us FROM api_token ORDER BY created_us DESC, id")
                .rows(self, "list keys")
                .await?;
        rows.iter().map(token).collect()
    }

    /// Revokes a key; returns whether it was there.
    pub async fn revoke_token(&self, token: PrincipalId) -> Result<bool> {
        let deleted = sql("DELETE FROM api_token WHERE id = ?")
            .bind(token)
            .commit(self, "revoke an API token")
            .await?;
        Ok(deleted > 0)
    }
}

/// From the columns id, name, rights, device, created_us, used_us.
fn token(row: &AnyRow) -> Result<ApiToken> {
    let scope = match row.get::<&str, _>(2) {
        CAMERA => {
            let device: Option<String> = row.get(3);
            let device = device.unwrap_or_default().parse::<DeviceId>();
            TokenScope::Camera(device.map_err(|error| StoreError::Corrupt(format!("a camera's name: {error}")))?)
        }
        name => TokenScope::Role(role(name)?),
    };
    Ok(ApiToken {
        id: id(row.get::<&[u8], _>(0), "a key")?,
        name: row.get(1),
        scope,
        created_us: row.get(4),
        used_us: row.get(5),
    })
}
