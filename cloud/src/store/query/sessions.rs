//! Table `session`: sessions of browsers, and when they end.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::auth::token::TokenHash;
use crate::auth::{PrincipalId, Role};
use crate::store::bind::{id, role};
use crate::store::error::Result;
use crate::store::open::Store;
use crate::store::statement::{Statement, sql};

/// Without a request for so long a session is over: two weeks, as a camera one looks at on Sundays should not ask for a
/// password each time.
const IDLE_US: i64 = 14 * 24 * 3600 * 1_000_000;
/// However often it is used.
const ABSOLUTE_US: i64 = 90 * 24 * 3600 * 1_000_000;
/// Use is noted at most so often.
pub(crate) const RECORD_USE_EVERY_US: i64 = 60 * 1_000_000;
/// Sessions of one person; beyond, the one unused for longest ends (P4).
const LOGINS_MAX: usize = 30;
/// Limit of the user agent that is stored, characters.
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
    /// The user agent of the browser.
    pub agent: String,
}

impl LoginSession {
    fn is_over(&self, now_us: i64) -> bool {
        now_us - self.used_us > IDLE_US || now_us - self.created_us > ABSOLUTE_US
    }
}

impl Store {
    /// Begins a session.
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
            sql("DELETE FROM session WHERE used_us < ? OR created_us < ?")
                .bind((now_us - IDLE_US, now_us - ABSOLUTE_US))
                .execute(&mut *tx, "forget sessions that are over")
                .await?;
            for login in of(&mut tx, user).await?.iter().skip(LOGINS_MAX - 1) {
                end(&login.secret).execute(&mut *tx, "end the oldest session").await?;
            }
            sql("INSERT INTO session (token_hash, user_id, created_us, used_us, address, agent) \
                 VALUES (?, ?, ?, ?, ?, ?)")
            .bind((secret, user, now_us, now_us, address, agent))
            .execute(&mut *tx, "note a session")
            .await?;
            sql("UPDATE user_account SET seen_us = ? WHERE id = ?")
                .bind((now_us, user))
                .execute(&mut *tx, "record when a user logged in")
                .await?;
            tx.commit("commit a session").await
        })
        .await
    }

    /// The session of this secret, unless it is over.
    pub async fn session(&self, secret: &TokenHash, now_us: i64) -> Result<Option<LoginSession>> {
        let row = sql("SELECT token_hash, user_id, name, role, session.created_us, used_us, address, agent \
             FROM session JOIN user_account ON user_account.id = session.user_id WHERE token_hash = ?")
        .bind(secret)
        .row(self, "look for a session")
        .await?;
        let found = row.as_ref().map(login).transpose()?;
        Ok(found.filter(|login| !login.is_over(now_us)))
    }

    /// Notes that a session is used; at most once a minute, so that looking at pages hardly writes.
    pub async fn record_session_use(&self, login: &LoginSession, now_us: i64) -> Result<()> {
        if now_us - login.used_us < RECORD_USE_EVERY_US {
            return Ok(());
        }
        sql("UPDATE session SET used_us = ? WHERE token_hash = ?")
            .bind((now_us, login.secret))
            .commit(self, "record the use of a session")
            .await?;
        Ok(())
    }

    /// Returns the sessions of a user, last used first.
    pub async fn sessions(&self, user: PrincipalId, now_us: i64) -> Result<Vec<LoginSession>> {
        self.with_timeout(async {
            let mut connection = self.reader().await?;
            let mut all = of(&mut connection, user).await?;
            connection.release();
            all.retain(|login| !login.is_over(now_us));
            Ok(all)
        })
        .await
    }

    /// Ends a session; one that is not there is no error.
    pub async fn end_session(&self, secret: &TokenHash) -> Result<()> {
        end(secret).commit(self, "end a session").await?;
        Ok(())
    }

    /// Ends all sessions of a user.
    pub async fn end_sessions(&self, user: PrincipalId, kept: Option<&TokenHash>) -> Result<()> {
        end_all(user, kept).commit(self, "end the sessions of a user").await?;
        Ok(())
    }
}

/// Ends all sessions of a user but the one kept.
pub(in crate::store) fn end_all(user: PrincipalId, kept: Option<&TokenHash>) -> Statement {
    // No session has an empty secret.
    let kept = kept.map_or(&[][..], |kept| kept.0.as_slice());
    sql("DELETE FROM session WHERE user_id = ? AND token_hash <> ?").bind((user, kept))
}

fn end(secret: &TokenHash) -> Statement {
    sql("DELETE FROM session WHERE token_hash = ?").bind(secret)
}

async fn of(connection: &mut AnyConnection, user: PrincipalId) -> Result<Vec<LoginSession>> {
    let rows = sql("SELECT token_hash, user_id, name, role, session.created_us, used_us, address, agent \
         FROM session JOIN user_account ON user_account.id = session.user_id WHERE user_id = ? ORDER BY used_us DESC")
    .bind(user)
    .fetch_all(connection, "list sessions")
    .await?;
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
