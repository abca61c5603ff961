//! SQL statements: binds the store's own types, runs, and names the attempt in the error.

use keepsake_protocol::{BootId, CaptureId, DeviceId, Hash, Sequence, SpoolId};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Decode, Executor, Row, SqlSafeStr, Type};

use crate::auth::PrincipalId;
use crate::auth::token::TokenHash;
use crate::store::bind::{Key, to_bigint};
use crate::store::error::{ErrorContext, Result};

/// A statement with its values. `what` of each function is what is attempted, for the error.
pub(crate) struct Statement(Query<'static, Any, AnyArguments>);

pub(crate) fn sql(text: impl SqlSafeStr) -> Statement {
    Statement(sqlx::query(text))
}

impl Statement {
    /// Binds the next value, or the values of a tuple in their order.
    pub(crate) fn bind(self, values: impl Bind) -> Self {
        values.bind(self)
    }

    /// Returns the number of rows that were inserted, found for an update, or deleted.
    pub(crate) async fn execute<'c>(self, on: impl Executor<'c, Database = Any>, what: &'static str) -> Result<u64> {
        Ok(self.0.execute(on).await.context(what)?.rows_affected())
    }

    pub(crate) async fn fetch_all<'c>(
        self,
        on: impl Executor<'c, Database = Any>,
        what: &'static str,
    ) -> Result<Vec<AnyRow>> {
        self.0.fetch_all(on).await.context(what)
    }

    pub(crate) async fn fetch_optional<'c>(
        self,
        on: impl Executor<'c, Database = Any>,
        what: &'static str,
    ) -> Result<Option<AnyRow>> {
        self.0.fetch_optional(on).await.context(what)
    }

    /// Returns the first column of the only row.
    pub(crate) async fn scalar<'c, T: Column>(
        self,
        on: impl Executor<'c, Database = Any>,
        what: &'static str,
    ) -> Result<T> {
        self.0.fetch_one(on).await.and_then(|row| row.try_get(0)).context(what)
    }

    /// Returns the first column of the row, if there is one.
    pub(crate) async fn optional_scalar<'c, T: Column>(
        self,
        on: impl Executor<'c, Database = Any>,
        what: &'static str,
    ) -> Result<Option<T>> {
        let row = self.fetch_optional(on, what).await?;
        row.map(|row| row.try_get(0)).transpose().context(what)
    }

    /// Returns the first column of all rows.
    pub(crate) async fn scalars<'c, T: Column>(
        self,
        on: impl Executor<'c, Database = Any>,
        what: &'static str,
    ) -> Result<Vec<T>> {
        let rows = self.fetch_all(on, what).await?;
        rows.iter().map(|row| row.try_get(0)).collect::<sqlx::Result<_>>().context(what)
    }
}

/// The most rows, or keys, of one statement.
const ROWS_MAX: usize = 128;

/// Statements that do the same with many rows or keys each.
pub(crate) struct Statements(Vec<Statement>);

impl Statements {
    pub(crate) async fn execute(self, tx: &mut AnyConnection, what: &'static str) -> Result<()> {
        for statement in self.0 {
            statement.execute(&mut *tx, what).await?;
        }
        Ok(())
    }

    /// Returns the rows of all statements.
    pub(crate) async fn fetch_all(self, connection: &mut AnyConnection, what: &'static str) -> Result<Vec<AnyRow>> {
        let mut rows = Vec::new();
        for statement in self.0 {
            rows.append(&mut statement.fetch_all(&mut *connection, what).await?);
        }
        Ok(rows)
    }
}

/// Inserts rows. Their number in a statement is a power of two, so that few different statements are prepared.
///
/// `into`: the statement up to its columns, such as `INSERT INTO fate (spool, sequence)`.
pub(crate) fn insert_rows<R: Bind>(into: &str, rows: impl IntoIterator<Item = R>) -> Statements {
    let columns = into.matches(',').count() + 1;
    let row = format!("({})", vec!["?"; columns].join(", "));
    let mut rows: Vec<R> = rows.into_iter().collect();
    let mut statements = Vec::new();
    while let Some(power) = rows.len().min(ROWS_MAX).checked_ilog2() {
        let count = 1 << power;
        let text = format!("{into} VALUES {}", vec![row.as_str(); count].join(", "));
        statements.push(rows.drain(..count).fold(sql(AssertSqlSafe(text)), Statement::bind));
    }
    Statements(statements)
}

/// Selects the rows that belong to any of the keys.
///
/// `select`: the statement up to `WHERE`. `condition`: of one key. `rest`: what follows all conditions.
pub(crate) fn select_rows<K: Bind + Copy>(select: &str, condition: &str, keys: &[K], rest: &str) -> Statements {
    let statement = |keys: &[K]| {
        let keys = padded(keys);
        let conditions = vec![condition; keys.len()].join(" OR ");
        let text = format!("{select} WHERE {conditions}{rest}");
        keys.into_iter().fold(sql(AssertSqlSafe(text)), Statement::bind)
    };
    Statements(keys.chunks(ROWS_MAX).map(statement).collect())
}

/// Updates the rows with any of the keys in the same way.
///
/// `update`: the statement up to `IN`. `set`: the values in it.
pub(crate) fn update_rows<K: Bind + Copy>(update: &str, set: impl Bind + Copy, keys: &[K]) -> Statements {
    let statement = |keys: &[K]| {
        let keys = padded(keys);
        let marks = vec!["?"; keys.len()].join(", ");
        let statement = sql(AssertSqlSafe(format!("{update} ({marks})"))).bind(set);
        keys.into_iter().fold(statement, Statement::bind)
    };
    Statements(keys.chunks(ROWS_MAX).map(statement).collect())
}

/// Repeats the last key up to a power of two, so that few different statements are prepared.
fn padded<K: Copy>(keys: &[K]) -> Vec<K> {
    let mut padded = keys.to_vec();
    if let Some(last) = keys.last() {
        padded.resize(keys.len().next_power_of_two(), *last);
    }
    padded
}

/// Selects what one SELECT finds for each of the keys.
///
/// `rest`: the statement from its `WHERE`, of one key.
pub(crate) fn select_each<K: Bind + Copy>(select: &str, rest: &str, mut keys: &[K]) -> Statements {
    let mut statements = Vec::new();
    while let Some(power) = keys.len().min(ROWS_MAX).checked_ilog2() {
        let (now, later) = keys.split_at(1 << power);
        // SQLite takes ORDER BY and LIMIT only in a subquery.
        let each: Vec<_> = (0..now.len()).map(|n| format!("SELECT * FROM ({select} {rest}) AS key_{n}")).collect();
        let statement = sql(AssertSqlSafe(each.join(" UNION ALL ")));
        statements.push(now.iter().copied().fold(statement, Statement::bind));
        keys = later;
    }
    Statements(statements)
}

/// Returns the end of a SELECT that locks the rows it reads until the transaction ends. SQLite locks the whole database
/// at the beginning, and does not know the words.
pub(crate) fn for_update(connection: &AnyConnection) -> &'static str {
    match connection.backend_name() {
        "SQLite" => "",
        _ => " FOR UPDATE",
    }
}

/// Keeps the `max` newest rows of a camera, by `column`, and deletes the older ones (P4).
pub(crate) async fn keep_newest(
    tx: &mut AnyConnection,
    table: &'static str,
    column: &'static str,
    device: &DeviceId,
    max: u64,
) -> Result<()> {
    let first_beyond = format!("SELECT {column} FROM {table} WHERE device = ? ORDER BY {column} DESC LIMIT 1 OFFSET ?");
    let first_beyond: Option<i64> = sql(AssertSqlSafe(first_beyond))
        .bind((device, max))
        .optional_scalar(&mut *tx, "count the rows of a camera")
        .await?;
    if let Some(first_beyond) = first_beyond {
        sql(AssertSqlSafe(format!("DELETE FROM {table} WHERE device = ? AND {column} <= ?")))
            .bind((device, first_beyond))
            .execute(tx, "delete the oldest rows of a camera")
            .await?;
    }
    Ok(())
}

/// A value of a column.
pub(crate) trait Column: for<'r> Decode<'r, Any> + Type<Any> {}
impl<T: for<'r> Decode<'r, Any> + Type<Any>> Column for T {}

/// A value, or several, that a statement binds.
pub(crate) trait Bind {
    fn bind(self, statement: Statement) -> Statement;
}

macro_rules! bind_as {
    ($($type:ty: |$value:ident| $as:expr),+ $(,)?) => {
        $(impl Bind for $type {
            fn bind(self, statement: Statement) -> Statement {
                let $value = self;
                Statement(statement.0.bind($as))
            }
        })+
    };
}

bind_as! {
    i64: |number| number,
    Option<i64>: |number| number,
    u32: |number| i64::from(number),
    u64: |number| to_bigint(number),
    Option<u64>: |number| number.map(to_bigint),
    bool: |yes| i64::from(yes),
    &str: |text| text,
    Option<&str>: |text| text,
    String: |text| text,
    Option<String>: |text| text,
    &String: |text| text.as_str(),
    Vec<u8>: |bytes| bytes,
    &[u8]: |bytes| bytes,
    Sequence: |sequence| to_bigint(sequence.get()),
    SpoolId: |id| id.0.as_slice(),
    BootId: |id| id.0.as_slice(),
    Hash: |hash| hash.0.as_slice(),
    PrincipalId: |id| id.0.as_slice(),
    TokenHash: |hash| hash.0.as_slice(),
    &TokenHash: |hash| hash.0.as_slice(),
    &DeviceId: |device| device.as_str(),
}

impl Bind for Key {
    fn bind(self, statement: Statement) -> Statement {
        statement.bind((self.spool, self.sequence, self.hash))
    }
}

impl Bind for CaptureId {
    fn bind(self, statement: Statement) -> Statement {
        statement.bind((self.spool, self.sequence))
    }
}

macro_rules! bind_tuples {
    ($($first:ident $($name:ident)*;)+) => {
        $(impl<$first: Bind $(, $name: Bind)*> Bind for ($first, $($name,)*) {
            fn bind(self, statement: Statement) -> Statement {
                #[expect(non_snake_case, reason = "the names of the types are those of the values, too")]
                let ($first, $($name,)*) = self;
                statement.bind($first)$(.bind($name))*
            }
        })+
    };
}

bind_tuples! {
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
    A B C D E F G H I;
    A B C D E F G H I J;
    A B C D E F G H I J K;
    A B C D E F G H I J K L;
    A B C D E F G H I J K L M;
    A B C D E F G H I J K L M N;
}
