//! Table `session`: sessions of browsers, and when they end.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::auth::token::TokenHash;
use crate::auth::{PrincipalId, Role};
use crate::store::bind::{id, role};
use crate::store::error::{ErrorContext, Result};
use crate::store::open::Store;

/// Without a request for so long a session is over: two weeks, as a camera one looks at on Sundays should not ask for a
/// password each time.
const IDLE_US: i64 = 14 * 24 * 3600 * 1_000_000;
/// However often it is used.
const ABSOLUTE_US: i64 = 90 * 24 * 3600 * 1_000_000;
/// Use is noted at most so often.
pub(crate) const RECORD_USE_EVERY_US: i64 = 60 * 1_000_000;
/// Sessions of one person; beyond, the one unused for longest ends (P4).
const LOGINS_MAX: usize = 30;
/// What is kept of the browser's name, characters.
const AGENT_MAX: usize = 200;

/// One session of one person.
#[derive(Debug, Clone)]
pub struct LoginSession {
    pub secret: TokenHash,
    pub user: PrincipalId,
    pub name: String,
    pub role: Role,
    pub created_us: i64,
    pub used_us: i64,
    /// From where it began.
    pub address: String,
    /// What the browser called itself.
    pub agent: String,
}

impl LoginSession {
    fn is_over(&self, now_us: i64) -> bool {
        now_us - self.used_us > IDLE_US || now_us - self.created_us > ABSOLUTE_US
    }
}

impl Store {
    /// Begins a session.
    ///
    /// # Errors
    /// [`crate::store::StoreError`]: there is none.
    pub async fn create_session(
        &self,
        user: PrincipalId,
        secret: &TokenHash,
        address: &str,
        agent: &str,
        now_us: i64,
    ) -> Result<()> {
        let agent: String = agent.chars().take(AGENT_MAX).collect();
        self.with_timeout(async {
            let mut tx = self.begin("begin a session").await?;
            sqlx::query("DELETE FROM session WHERE used_us < ? OR created_us < ?")
                .bind(now_us - IDLE_US)
                .bind(now_us - ABSOLUTE_US)
                .execute(&mut *tx)
                .await
                .context("forget sessions that are over")?;
            for login in of(&mut tx, user).await?.iter().skip(LOGINS_MAX - 1) {
                end(&mut tx, &login.secret).await?;
            }
            sqlx::query(
                "INSERT INTO session (token_hash, user_id, created_us, used_us, address, agent) VALUES (?, ?, ?, ?, ?, ?)",
            )
            .bind(secret.0.as_slice())
            .bind(user.0.as_slice())
            .bind(now_us)
            .bind(now_us)
            .bind(address)
            .bind(agent)
            .execute(&mut *tx)
            .await
            .context("note a session")?;
            record_user_seen(&mut tx, user, now_us).await?;
            tx.commit().await.context("commit a session")
        })
        .await
    }

    /// The session of this secret, unless it is over.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    pub async fn session(&self, secret: &TokenHash, now_us: i64) -> Result<Option<LoginSession>> {
        self.with_timeout(async {
            let row = sqlx::query(
                "SELECT token_hash, user_id, name, role, session.created_us, used_us, address, agent \
                 FROM session JOIN user_account ON user_account.id = session.user_id WHERE token_hash = ?",
            )
            .bind(secret.0.as_slice())
            .fetch_optional(&self.readers)
            .await
            .context("look for a session")?;
            let found = row.as_ref().map(login).transpose()?;
            Ok(found.filter(|login| !login.is_over(now_us)))
        })
        .await
    }

    /// Notes that a session is used; at most once a minute, so that looking at pages hardly writes.
    ///
    /// # Errors
    /// [`crate::store::StoreError`]: not noted.
    pub async fn record_session_use(&self, login: &LoginSession, now_us: i64) -> Result<()> {
        if now_us - login.used_us < RECORD_USE_EVERY_US {
            return Ok(());
        }
        self.with_timeout(async {
            let mut tx = self.begin("begin noting use").await?;
            sqlx::query("UPDATE session SET used_us = ? WHERE token_hash = ?")
                .bind(now_us)
                .bind(login.secret.0.as_slice())
                .execute(&mut *tx)
                .await
                .context("note the use of a session")?;
            tx.commit().await.context("commit the use of a session")
        })
        .await
    }

    /// Returns the sessions of a user, last used first.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    pub async fn sessions(&self, user: PrincipalId, now_us: i64) -> Result<Vec<LoginSession>> {
        self.with_timeout(async {
            let mut connection = self.readers.acquire().await.context("list sessions")?;
            let mut all = of(&mut connection, user).await?;
            all.retain(|login| !login.is_over(now_us));
            Ok(all)
        })
        .await
    }

    /// Ends a session; one that is not there is no error.
    ///
    /// # Errors
    /// [`crate::store::StoreError`]: it goes on.
    pub async fn end_session(&self, secret: &TokenHash) -> Result<()> {
        self.with_timeout(async {
            let mut tx = self.begin("begin ending a session").await?;
            end(&mut tx, secret).await?;
            tx.commit().await.context("commit the end of a session")
        })
        .await
    }

    /// Ends all sessions of a user.
    ///
    /// # Errors
    /// [`crate::store::StoreError`]: they go on.
    pub async fn end_sessions(&self, user: PrincipalId, kept: Option<&TokenHash>) -> Result<()> {
        self.with_timeout(async {
            let mut tx = self.begin("begin ending all sessions").await?;
            end_all(&mut tx, user, kept).await?;
            tx.commit().await.context("commit the end of all sessions")
        })
        .await
    }
}

pub(crate) async fn end_all(tx: &mut AnyConnection, user: PrincipalId, kept: Option<&TokenHash>) -> Result<()> {
    // No session has an empty secret.
    let kept = kept.map_or(&[][..], |kept| kept.0.as_slice());
    sqlx::query("DELETE FROM session WHERE user_id = ? AND token_hash <> ?")
        .bind(user.0.as_slice())
        .bind(kept)
        .execute(tx)
        .await
        .context("end the sessions of a user")?;
    Ok(())
}

async fn end(tx: &mut AnyConnection, secret: &TokenHash) -> Result<()> {
    sqlx::query("DELETE FROM session WHERE token_hash = ?")
        .bind(secret.0.as_slice())
        .execute(tx)
        .await
        .context("end a session")?;
    Ok(())
}

async fn of(connection: &mut AnyConnection, user: PrincipalId) -> Result<Vec<LoginSession>> {
    let rows = sqlx::query(
        "SELECT token_hash, user_id, name, role, session.created_us, used_us, address, agent \
         FROM session JOIN user_account ON user_account.id = session.user_id WHERE user_id = ? ORDER BY used_us DESC",
    )
    .bind(user.0.as_slice())
    .fetch_all(connection)
    .await
    .context("list sessions")?;
    rows.iter().map(login).collect()
}

/// From the columns secret, person, name, rights, created_us, used_us, address, agent.
fn login(row: &AnyRow) -> Result<LoginSession> {
    Ok(LoginSession {
        secret: id(row.get::<&[u8], _>(0), "a session")?,
        user: id(row.get::<&[u8], _>(1), "a person")?,
        name: row.get(2),
        role: role(row.get(3))?,
        created_us: row.get(4),
        used_us: row.get(5),
        address: row.get(6),
        agent: row.get(7),
    })
}

async fn record_user_seen(tx: &mut AnyConnection, user: PrincipalId, now_us: i64) -> Result<()> {
    sqlx::query("UPDATE user_account SET seen_us = ? WHERE id = ?")
        .bind(now_us)
        .bind(user.0.as_slice())
        .execute(tx)
        .await
        .context("note when a user signed in")?;
    Ok(())
}
