//! Tables `user_account` and `invitation`: the users, and the links with which they choose a password.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::auth::token::TokenHash;
use crate::auth::{PrincipalId, Role, UserName};
use crate::store::bind::{id, role};
use crate::store::error::{Result, UserError};
use crate::store::open::Store;
use crate::store::query::sessions;
use crate::store::statement::sql;

/// People of one cloud (P4).
const PEOPLE_MAX: i64 = 500;

/// A user who can sign in.
#[derive(Debug, Clone)]
pub struct User {
    pub id: PrincipalId,
    pub name: String,
    pub role: Role,
    /// The argon2id hash; absent until the invitation is accepted.
    pub password: Option<String>,
    pub created_us: i64,
    /// When the user last signed in.
    pub seen_us: Option<i64>,
}

impl Store {
    /// Returns true if a user with a password is an owner. Once true, it stays true.
    pub async fn has_owner(&self) -> Result<bool> {
        self.with_timeout(async {
            let mut connection = self.reader().await?;
            let owners = owners(&mut connection).await?;
            connection.release();
            Ok(owners > 0)
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
            tx.commit("commit the owner").await?;
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
            tx.commit("commit an added user").await?;
            Ok(user)
        })
        .await
    }

    /// Everybody, by name.
    pub async fn users(&self) -> Result<Vec<User>> {
        let rows = sql("SELECT id, name, role, password, created_us, seen_us FROM user_account ORDER BY name_key")
            .rows(self, "list people")
            .await?;
        rows.iter().map(user).collect()
    }

    /// Returns the user with this name.
    pub async fn user_named(&self, name: &UserName) -> Result<Option<User>> {
        self.with_timeout(async {
            let mut connection = self.reader().await?;
            let user = named(&mut connection, name).await?;
            connection.release();
            Ok(user)
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
            tx.commit("commit a changed role").await
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
            sessions::end_all(user, None).execute(&mut *tx, "end the sessions of a user").await?;
            forget_invitation(&mut tx, user).await?;
            sql("DELETE FROM user_account WHERE id = ?")
                .bind(user)
                .execute(&mut *tx, "remove a user")
                .await?;
            keep_an_owner(&mut tx, &before).await?;
            tx.commit("commit a removed user").await
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
            sessions::end_all(user, kept).execute(&mut *tx, "end the sessions of a user").await?;
            tx.commit("commit a changed password").await
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
            sessions::end_all(user, None).execute(&mut *tx, "end the sessions of a user").await?;
            forget_invitation(&mut tx, user).await?;
            let only_owner = before.role == Role::Owner && before.password.is_some() && owners(&mut tx).await? == 1;
            if !only_owner {
                set_password(&mut tx, user, None).await?;
            }
            sql("INSERT INTO invitation (user_id, token_hash, expires_us) VALUES (?, ?, ?)")
                .bind((user, secret, expires_us))
                .execute(&mut *tx, "note an invitation")
                .await?;
            tx.commit("commit an invitation").await
        })
        .await
    }

    /// Whom an invitation is for, while it is valid.
    pub async fn invited(&self, secret: &TokenHash, now_us: i64) -> Result<Option<User>> {
        self.with_timeout(async {
            let mut connection = self.reader().await?;
            let user = invited(&mut connection, secret, now_us).await?;
            connection.release();
            Ok(user)
        })
        .await
    }

    /// Sets the password that an invited user has chosen; `None` where the invitation is used, over or unknown.
    pub async fn accept_invitation(&self, secret: &TokenHash, password: &str, now_us: i64) -> Result<Option<User>> {
        self.with_timeout(async {
            let mut tx = self.begin("begin accepting an invitation").await?;
            let Some(user) = invited(&mut tx, secret, now_us).await? else {
                return Ok(None);
            };
            set_password(&mut tx, user.id, Some(password)).await?;
            forget_invitation(&mut tx, user.id).await?;
            sessions::end_all(user.id, None).execute(&mut *tx, "end the sessions of a user").await?;
            tx.commit("commit an accepted invitation").await?;
            Ok(Some(user))
        })
        .await
    }
}

async fn owners(connection: &mut AnyConnection) -> Result<i64> {
    sql("SELECT COUNT(*) FROM user_account WHERE role = 'owner' AND password IS NOT NULL")
        .scalar(connection, "count owners")
        .await
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
    let row = sql("SELECT id, name, role, password, created_us, seen_us FROM user_account WHERE name_key = ?")
        .bind(name.key())
        .fetch_optional(connection, "look up a user by name")
        .await?;
    row.as_ref().map(user).transpose()
}

async fn known(connection: &mut AnyConnection, id: PrincipalId) -> Result<User> {
    let row = sql("SELECT id, name, role, password, created_us, seen_us FROM user_account WHERE id = ?")
        .bind(id)
        .fetch_optional(connection, "look up a user")
        .await?;
    row.as_ref().map_or(Err(UserError::Unknown.into()), user)
}

async fn invited(connection: &mut AnyConnection, secret: &TokenHash, now_us: i64) -> Result<Option<User>> {
    let row = sql("SELECT user_account.id, name, role, password, created_us, seen_us FROM user_account \
         JOIN invitation ON invitation.user_id = user_account.id WHERE invitation.token_hash = ? AND expires_us > ?")
    .bind((secret, now_us))
    .fetch_optional(connection, "read an invitation")
    .await?;
    row.as_ref().map(user).transpose()
}

async fn insert(
    tx: &mut AnyConnection,
    name: &UserName,
    role: Role,
    password: Option<&str>,
    now_us: i64,
) -> Result<PrincipalId> {
    let there: i64 = sql("SELECT COUNT(*) FROM user_account").scalar(&mut *tx, "count people").await?;
    if there >= PEOPLE_MAX {
        return Err(UserError::TooMany.into());
    }
    let id = PrincipalId::new();
    sql("INSERT INTO user_account (id, name, name_key, role, password, created_us) VALUES (?, ?, ?, ?, ?, ?)")
        .bind((id, name.as_str(), name.key(), role.as_str(), password, now_us))
        .execute(tx, "store a user")
        .await?;
    Ok(id)
}

async fn set_role(tx: &mut AnyConnection, id: PrincipalId, role: Role) -> Result<()> {
    sql("UPDATE user_account SET role = ? WHERE id = ?")
        .bind((role.as_str(), id))
        .execute(tx, "change a role")
        .await?;
    Ok(())
}

async fn set_password(tx: &mut AnyConnection, id: PrincipalId, password: Option<&str>) -> Result<()> {
    sql("UPDATE user_account SET password = ? WHERE id = ?")
        .bind((password, id))
        .execute(tx, "change a password")
        .await?;
    Ok(())
}

async fn forget_invitation(tx: &mut AnyConnection, id: PrincipalId) -> Result<()> {
    sql("DELETE FROM invitation WHERE user_id = ?")
        .bind(id)
        .execute(tx, "forget an invitation")
        .await?;
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
