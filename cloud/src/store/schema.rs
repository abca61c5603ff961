//! Brings the tables up to date, one statement a file.
//!
//! MySQL and MariaDB commit a table at once, so a process that dies between that and its note leaves the note open. What
//! one statement makes is there or not, never half: the next start looks which.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{AnyConnection, AssertSqlSafe, Executor};

use crate::store::error::{ErrorContext, Result, StoreError};

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static MYSQL: Migrator = {
    let mut all = sqlx::migrate!("migrations/mysql");
    // Its own lock is taken by a call that MariaDB answers with NULL. We hold one of ours, which only one writer has.
    all.locking = false;
    all
};

/// Messages of MySQL and MariaDB for a table, a column and an index that is there already.
const THERE_ALREADY: [&str; 3] = ["42S01", "42S21", "42000"];

pub(super) async fn of_sqlite(connection: &mut AnyConnection) -> Result<()> {
    SQLITE.run_direct(None, connection, false).await.map_err(failed)
}

/// The caller holds the lease.
pub(super) async fn of_server(connection: &mut AnyConnection) -> Result<()> {
    finish_what_was_begun(connection).await?;
    MYSQL.run_direct(None, connection, false).await.map_err(failed)
}

/// Whether the tables of the server are of a newer program, or not there yet.
///
/// # Errors
/// [`StoreError::SchemaTooNew`], [`StoreError::UnsafeDatabase`] or [`StoreError::Database`].
pub(super) async fn check_server(connection: &mut AnyConnection) -> Result<()> {
    let newest = newest();
    let found: Option<i64> = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations WHERE success")
        .fetch_one(connection)
        .await
        .context("read the version of the tables")?;
    match found {
        Some(found) if found > newest => Err(StoreError::SchemaTooNew(found)),
        Some(_) => Ok(()),
        None => Err(StoreError::UnsafeDatabase("the database has no tables".to_owned())),
    }
}

/// The highest number of a migration that this program knows.
fn newest() -> i64 {
    MYSQL.iter().map(|one| one.version).max().unwrap_or(0)
}

async fn finish_what_was_begun(connection: &mut AnyConnection) -> Result<()> {
    let tables: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM information_schema.tables \
         WHERE table_schema = DATABASE() AND table_name = '_sqlx_migrations'",
    )
    .fetch_one(&mut *connection)
    .await
    .context("look for tables")?;
    if tables == 0 {
        return Ok(());
    }
    let open: Vec<i64> = sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE NOT success ORDER BY version")
        .fetch_all(&mut *connection)
        .await
        .context("look for a migration that was not finished")?;
    for version in open {
        let migration = MYSQL.iter().find(|one| one.version == version);
        let migration = migration.ok_or(StoreError::SchemaTooNew(version))?;
        tracing::warn!(version, "a migration was begun and not finished; going on with it");
        let statement = AssertSqlSafe(migration.sql.as_str().to_owned());
        match connection.execute(statement).await {
            Ok(_) => {}
            Err(sqlx::Error::Database(error)) if exists_already(error.code().as_deref(), error.message()) => {}
            Err(error) => return Err(error).context("go on with a migration"),
        }
        sqlx::query("UPDATE _sqlx_migrations SET success = TRUE, checksum = ? WHERE version = ?")
            .bind(&*migration.checksum)
            .bind(version)
            .execute(&mut *connection)
            .await
            .context("note that a migration is finished")?;
    }
    Ok(())
}

/// Returns true if a statement failed because its table, column or index exists. Both the code and the message must say
/// so: 42000 also stands for syntax errors.
fn exists_already(code: Option<&str>, message: &str) -> bool {
    let message = message.to_lowercase();
    code.is_some_and(|code| THERE_ALREADY.contains(&code))
        && (message.contains("duplicate") || message.contains("already exists"))
}

fn failed(error: MigrateError) -> StoreError {
    match error {
        MigrateError::VersionMissing(version) => StoreError::SchemaTooNew(version),
        other => StoreError::Database {
            what: "bring the tables up to date",
            source: Box::new(other),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_of_the_tables_is_made_for_all_databases() {
        let list = |all: &'static Migrator| {
            let named = all.iter().map(|one| (one.version, one.description.clone()));
            named.collect::<Vec<_>>()
        };
        assert_eq!(list(&SQLITE), list(&MYSQL));
    }

    #[test]
    fn only_a_table_column_or_index_that_exists_is_passed_over() {
        for (code, message, passed_over) in [
            (Some("42S01"), "Table 'picture' already exists", true),
            (Some("42S21"), "Duplicate column name 'rotation'", true),
            (Some("42000"), "Duplicate key name 'picture_by_time'", true),
            (Some("42000"), "You have an error in your SQL syntax", false),
            (Some("23000"), "Duplicate entry '1' for key 'PRIMARY'", false),
            (Some("HY000"), "Tablespace 'picture' already exists", false),
            (None, "Table 'picture' already exists", false),
        ] {
            assert_eq!(exists_already(code, message), passed_over, "{message}");
        }
    }

    #[test]
    fn every_table_of_a_server_survives_a_crash_and_compares_names_exactly() {
        for migration in MYSQL.iter() {
            let sql = migration.sql.as_str();
            let ends = sql.lines().filter(|line| line.trim_end().ends_with(';'));
            assert_eq!(ends.count(), 1, "{}", migration.description);
            if sql.contains("CREATE TABLE") {
                let exact = ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4\n  \
                     COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */;\n";
                assert!(sql.ends_with(exact), "{}", migration.description);
            }
        }
    }
}
