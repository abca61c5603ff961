//! Tables `user_account` and `invitation`: the users, and the links with which they choose a password.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::auth::token::TokenHash;
use crate::auth::{PrincipalId, Role, UserName};
use crate::store::bind::{id, role};
use crate::store::error::{ErrorContext, Result, UserError};
use crate::store::open::Store;
use crate::store::query::sessions;

/// People of one cloud (P4).
const PEOPLE_MAX: i64 = 500;

/// A user who can sign in.
#[derive(Debug, Clone)]
pub struct User {
    pub id: PrincipalId,
    pub name: String,
    pub role: Role,
    /// As argon2id; absent until the invitation is accepted.
    pub password: Option<String>,
    pub created_us: i64,
    /// When the user last signed in.
    pub seen_us: Option<i64>,
}

impl Store {
    /// Returns true if a user with a password is an owner. Once true, it stays true.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    pub async fn has_owner(&self) -> Result<bool> {
        self.with_timeout(async {
            let mut connection = self.readers.acquire().await.context("look for an owner")?;
            Ok(owners(&mut connection).await? > 0)
        })
        .await
    }

    /// Creates the first owner; an existing user of this name becomes the owner.
    ///
    /// # Errors
    /// [`UserError::HasOwner`], and other [`crate::store::StoreError`]s: nothing was changed.
    pub async fn create_first_owner(&self, name: &UserName, password: &str, now_us: i64) -> Result<User> {
        self.with_timeout(async {
            let mut tx = self.begin("begin making the owner").await?;
            if owners(&mut tx).await? > 0 {
                return Err(UserError::HasOwner.into());
            }
            let user = match named(&mut tx, name).await? {
                Some(user) => {
                    set_role(&mut tx, user.id, Role::Owner).await?;
                    set_password(&mut tx, user.id, Some(password)).await?;
                    user.id
                }
                None => insert(&mut tx, name, Role::Owner, Some(password), now_us).await?,
            };
            let user = known(&mut tx, user).await?;
            tx.commit().await.context("commit the owner")?;
            Ok(user)
        })
        .await
    }

    /// Adds a user, without a password if there is none yet.
    ///
    /// # Errors
    /// [`UserError::NameTaken`], [`UserError::TooMany`], and other [`crate::store::StoreError`]s: nothing was changed.
    pub async fn add_user(&self, name: &UserName, role: Role, password: Option<&str>, now_us: i64) -> Result<User> {
        self.with_timeout(async {
            let mut tx = self.begin("begin adding a user").await?;
            if named(&mut tx, name).await?.is_some() {
                return Err(UserError::NameTaken.into());
            }
            let user = insert(&mut tx, name, role, password, now_us).await?;
            let user = known(&mut tx, user).await?;
            tx.commit().await.context("commit an added user")?;
            Ok(user)
        })
        .await
    }

    /// Everybody, by name.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    pub async fn users(&self) -> Result<Vec<User>> {
        self.with_timeout(async {
            let rows =
                sqlx::query("SELECT id, name, role, password, created_us, seen_us FROM user_account ORDER BY name_key")
                    .fetch_all(&self.readers)
                    .await
                    .context("list people")?;
            rows.iter().map(user).collect()
        })
        .await
    }

    /// # Errors
    /// [`crate::store::StoreError`].
    pub async fn user_named(&self, name: &UserName) -> Result<Option<User>> {
        self.with_timeout(async {
            let mut connection = self.readers.acquire().await.context("look up a user")?;
            named(&mut connection, name).await
        })
        .await
    }

    /// Changes the role of a user.
    ///
    /// # Errors
    /// [`UserError::Unknown`], [`UserError::LastOwner`], and other [`crate::store::StoreError`]s: nothing was changed.
    pub async fn change_role(&self, user: PrincipalId, role: Role) -> Result<()> {
        self.with_timeout(async {
            let mut tx = self.begin("begin changing a role").await?;
            let before = known(&mut tx, user).await?;
            set_role(&mut tx, user, role).await?;
            keep_an_owner(&mut tx, &before).await?;
            tx.commit().await.context("commit a changed role")
        })
        .await
    }

    /// Removes a user with all sessions.
    ///
    /// # Errors
    /// [`UserError::Unknown`], [`UserError::LastOwner`], and other [`crate::store::StoreError`]s: nothing was changed.
    pub async fn remove_user(&self, user: PrincipalId) -> Result<()> {
        self.with_timeout(async {
            let mut tx = self.begin("begin removing a user").await?;
            let before = known(&mut tx, user).await?;
            sessions::end_all(&mut tx, user, None).await?;
            forget_invitation(&mut tx, user).await?;
            sqlx::query("DELETE FROM user_account WHERE id = ?")
                .bind(user.0.as_slice())
                .execute(&mut *tx)
                .await
                .context("remove a user")?;
            keep_an_owner(&mut tx, &before).await?;
            tx.commit().await.context("commit a removed user")
        })
        .await
    }

    /// Sets a password and ends all sessions but the one kept, and the invitation.
    ///
    /// # Errors
    /// [`UserError::Unknown`], and other [`crate::store::StoreError`]s: nothing was changed.
    pub async fn change_password(&self, user: PrincipalId, password: &str, kept: Option<&TokenHash>) -> Result<()> {
        self.with_timeout(async {
            let mut tx = self.begin("begin changing a password").await?;
            known(&mut tx, user).await?;
            set_password(&mut tx, user, Some(password)).await?;
            forget_invitation(&mut tx, user).await?;
            sessions::end_all(&mut tx, user, kept).await?;
            tx.commit().await.context("commit a changed password")
        })
        .await
    }

    /// Takes the password away, ends all sessions, and notes the link with which a new one is chosen. The only owner
    /// keeps the old password until then, as a cloud without an owner could be set up by anyone who reads its log.
    ///
    /// # Errors
    /// [`UserError::Unknown`], and other [`crate::store::StoreError`]s: nothing was changed.
    pub async fn invite(&self, user: PrincipalId, secret: &TokenHash, expires_us: i64) -> Result<()> {
        self.with_timeout(async {
            let mut tx = self.begin("begin an invitation").await?;
            let before = known(&mut tx, user).await?;
            sessions::end_all(&mut tx, user, None).await?;
            forget_invitation(&mut tx, user).await?;
            let only_owner = before.role == Role::Owner && before.password.is_some() && owners(&mut tx).await? == 1;
            if !only_owner {
                set_password(&mut tx, user, None).await?;
            }
            sqlx::query("INSERT INTO invitation (user_id, token_hash, expires_us) VALUES (?, ?, ?)")
                .bind(user.0.as_slice())
                .bind(secret.0.as_slice())
                .bind(expires_us)
                .execute(&mut *tx)
                .await
                .context("note an invitation")?;
            tx.commit().await.context("commit an invitation")
        })
        .await
    }

    /// Whom an invitation is for, while it is valid.
    ///
    /// # Errors
    /// [`crate::store::StoreError`].
    pub async fn invited(&self, secret: &TokenHash, now_us: i64) -> Result<Option<User>> {
        self.with_timeout(async {
            let mut connection = self.readers.acquire().await.context("read an invitation")?;
            invited(&mut connection, secret, now_us).await
        })
        .await
    }

    /// Sets the password that an invited user has chosen; `None` where the invitation is used, over or unknown.
    ///
    /// # Errors
    /// [`crate::store::StoreError`]: nothing was changed.
    pub async fn accept_invitation(&self, secret: &TokenHash, password: &str, now_us: i64) -> Result<Option<User>> {
        self.with_timeout(async {
            let mut tx = self.begin("begin accepting an invitation").await?;
            let Some(user) = invited(&mut tx, secret, now_us).await? else {
                return Ok(None);
            };
            set_password(&mut tx, user.id, Some(password)).await?;
            forget_invitation(&mut tx, user.id).await?;
            sessions::end_all(&mut tx, user.id, None).await?;
            tx.commit().await.context("commit an accepted invitation")?;
            Ok(Some(user))
        })
        .await
    }
}

async fn owners(connection: &mut AnyConnection) -> Result<i64> {
    sqlx::query_scalar("SELECT COUNT(*) FROM user_account WHERE role = 'owner' AND password IS NOT NULL")
        .fetch_one(connection)
        .await
        .context("count owners")
}

/// An owner who can sign in can be removed only if there is another one.
async fn keep_an_owner(tx: &mut AnyConnection, before: &User) -> Result<()> {
    let was = before.role == Role::Owner && before.password.is_some();
    if was && owners(tx).await? == 0 {
        return Err(UserError::LastOwner.into());
    }
    Ok(())
}

async fn named(connection: &mut AnyConnection, name: &UserName) -> Result<Option<User>> {
    let row = sqlx::query("SELECT id, name, role, password, created_us, seen_us FROM user_account WHERE name_key = ?")
        .bind(name.key())
        .fetch_optional(connection)
        .await
        .context("look up a user by name")?;
    row.as_ref().map(user).transpose()
}

async fn known(connection: &mut AnyConnection, id: PrincipalId) -> Result<User> {
    let row = sqlx::query("SELECT id, name, role, password, created_us, seen_us FROM user_account WHERE id = ?")
        .bind(id.0.as_slice())
        .fetch_optional(connection)
        .await
        .context("look up a user")?;
    row.as_ref().map_or(Err(UserError::Unknown.into()), user)
}

async fn invited(connection: &mut AnyConnection, secret: &TokenHash, now_us: i64) -> Result<Option<User>> {
    let row = sqlx::query(
        "SELECT user_account.id, name, role, password, created_us, seen_us FROM user_account \
         JOIN invitation ON invitation.user_id = user_account.id WHERE invitation.token_hash = ? AND expires_us > ?",
    )
    .bind(secret.0.as_slice())
    .bind(now_us)
    .fetch_optional(connection)
    .await
    .context("read an invitation")?;
    row.as_ref().map(user).transpose()
}

async fn insert(
    tx: &mut AnyConnection,
    name: &UserName,
    role: Role,
    password: Option<&str>,
    now_us: i64,
) -> Result<PrincipalId> {
    let there: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM user_account")
        .fetch_one(&mut *tx)
        .await
        .context("count people")?;
    if there >= PEOPLE_MAX {
        return Err(UserError::TooMany.into());
    }
    let id = PrincipalId::new();
    sqlx::query("INSERT INTO user_account (id, name, name_key, role, password, created_us) VALUES (?, ?, ?, ?, ?, ?)")
        .bind(id.0.as_slice())
        .bind(name.as_str())
        .bind(name.key())
        .bind(role.as_str())
        .bind(password)
        .bind(now_us)
        .execute(tx)
        .await
        .context("store a user")?;
    Ok(id)
}

async fn set_role(tx: &mut AnyConnection, id: PrincipalId, role: Role) -> Result<()> {
    sqlx::query("UPDATE user_account SET role = ? WHERE id = ?")
        .bind(role.as_str())
        .bind(id.0.as_slice())
        .execute(tx)
        .await
        .context("change a role")?;
    Ok(())
}

async fn set_password(tx: &mut AnyConnection, id: PrincipalId, password: Option<&str>) -> Result<()> {
    sqlx::query("UPDATE user_account SET password = ? WHERE id = ?")
        .bind(password)
        .bind(id.0.as_slice())
        .execute(tx)
        .await
        .context("change a password")?;
    Ok(())
}

async fn forget_invitation(tx: &mut AnyConnection, id: PrincipalId) -> Result<()> {
    sqlx::query("DELETE FROM invitation WHERE user_id = ?")
        .bind(id.0.as_slice())
        .execute(tx)
        .await
        .context("forget an invitation")?;
    Ok(())
}

/// From the columns id, name, rights, password, created_us, seen_us.
fn user(row: &AnyRow) -> Result<User> {
    Ok(User {
        id: id(row.get::<&[u8], _>(0), "a person")?,
        name: row.get(1),
        role: role(row.get(2))?,
        password: row.get(3),
        created_us: row.get(4),
        seen_us: row.get(5),
    })
}
