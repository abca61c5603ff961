//! Creates and updates the tables.
//!
//! MySQL and MariaDB commit every table at once, so a process can die between a statement and the note that the
//! migration is complete. The next start runs the whole migration again; its statements must therefore be able to run
//! twice.

use std::sync::LazyLock;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AnyConnection, Executor, SqlStr};

use crate::store::error::{ErrorContext, Result, StoreError};
use crate::store::statement::sql;

/// The version of the first release's tables. Development versions counted to 64.
const BASELINE: i64 = 100;
const SQLITE_TABLES: &str = include_str!("../../migrations/sqlite.sql");
const MYSQL_TABLES: &str = include_str!("../../migrations/mysql.sql");

static SQLITE: LazyLock<Migrator> = LazyLock::new(|| migrator(SQLITE_TABLES));
static MYSQL: LazyLock<Migrator> = LazyLock::new(|| {
    let mut all = migrator(MYSQL_TABLES);
    // sqlx locks by a call that MariaDB answers with NULL. The lease is our lock.
    all.set_locking(false);
    all
});

/// Not by sqlx's macro, which would compile all of sqlx a second time for the compiler.
fn migrator(baseline: &'static str) -> Migrator {
    let sql = SqlStr::from_static(baseline);
    Migrator::with_migrations(vec![Migration::new(BASELINE, "baseline".into(), MigrationType::Simple, sql, false)])
}

/// Updates the tables of SQLite.
///
/// # Errors
/// The errors of [`update_server`].
pub(super) async fn update_sqlite(connection: &mut AnyConnection) -> Result<()> {
    SQLITE.run_direct(None, connection, false).await.map_err(failed)
}

/// Updates the tables of MySQL or MariaDB. The caller holds the lease.
///
/// # Errors
/// [`StoreError::SchemaTooNew`], [`StoreError::SchemaTooOld`], [`StoreError::UnsafeDatabase`] or
/// [`StoreError::Database`].
pub(super) async fn update_server(connection: &mut AnyConnection) -> Result<()> {
    finish_interrupted(connection).await?;
    MYSQL.run_direct(None, connection, false).await.map_err(failed)
}

/// Checks that the tables of the server exist and are not of a newer program.
///
/// # Errors
/// The errors of [`update_server`].
pub(super) async fn check_server(connection: &mut AnyConnection) -> Result<()> {
    let newest = MYSQL.iter().map(|one| one.version).max();
    let found: Option<i64> = sql("SELECT MAX(version) FROM _sqlx_migrations WHERE success")
        .scalar(connection, "read the version of the tables")
        .await?;
    match found {
        Some(found) if Some(found) == newest => Ok(()),
        Some(found) => Err(unknown_version(found)),
        None => Err(StoreError::UnsafeDatabase("the database has no tables".to_owned())),
    }
}

async fn finish_interrupted(connection: &mut AnyConnection) -> Result<()> {
    let tables: i64 = sql("SELECT COUNT(*) FROM information_schema.tables \
         WHERE table_schema = DATABASE() AND table_name = '_sqlx_migrations'")
    .scalar(&mut *connection, "look for tables")
    .await?;
    if tables == 0 {
        return Ok(());
    }
    let open: Vec<i64> = sql("SELECT version FROM _sqlx_migrations WHERE NOT success ORDER BY version")
        .scalars(&mut *connection, "look for an interrupted migration")
        .await?;
    for version in open {
        let migration = MYSQL.iter().find(|one| one.version == version);
        let migration = migration.ok_or_else(|| unknown_version(version))?;
        tracing::warn!(version, "a migration was interrupted; running it again");
        connection.execute(migration.sql.clone()).await.context("run a migration again")?;
        sql("UPDATE _sqlx_migrations SET success = TRUE, checksum = ? WHERE version = ?")
            .bind((&*migration.checksum, version))
            .execute(&mut *connection, "note that a migration is complete")
            .await?;
    }
    Ok(())
}

fn failed(error: MigrateError) -> StoreError {
    match error {
        MigrateError::VersionMissing(version) => unknown_version(version),
        other => StoreError::Database { what: "update the tables", source: Box::new(other) },
    }
}

fn unknown_version(version: i64) -> StoreError {
    if version < BASELINE {
        StoreError::SchemaTooOld
    } else {
        StoreError::SchemaTooNew(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the name of every table with the names of its columns and keys.
    fn tables(sql: &str) -> Vec<Vec<&str>> {
        let tables = sql.split("CREATE TABLE ").skip(1).map(|table| {
            let (table, _) = table.split_once("\n)").expect("the end of the table");
            let lines = table.trim_start_matches("IF NOT EXISTS ").lines();
            let names = lines.filter_map(|line| line.split_whitespace().next());
            names.filter(|name| !["UNIQUE", "KEY", "PRIMARY"].contains(name)).collect()
        });
        tables.collect()
    }

    #[test]
    fn all_databases_have_the_same_tables_and_columns() {
        assert_eq!(tables(SQLITE_TABLES), tables(MYSQL_TABLES));
        assert!(tables(SQLITE_TABLES).len() > 20);
    }

    #[test]
    fn every_table_of_a_server_survives_a_crash_compares_names_exactly_and_can_be_created_twice() {
        let sql: Vec<&str> = MYSQL_TABLES.lines().filter(|line| !line.starts_with("--")).collect();
        let exact = ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4\n  \
             COLLATE=/*!50700 utf8mb4_0900_bin *//*M!100600 utf8mb4_nopad_bin */";
        for statement in sql.join("\n").trim_end().trim_end_matches(';').split(";\n") {
            let statement = statement.trim();
            assert!(statement.starts_with("CREATE TABLE IF NOT EXISTS "), "{statement}");
            assert!(statement.ends_with(exact), "{statement}");
        }
    }
}
