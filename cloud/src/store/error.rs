//! The errors of the store, and how an error of the database becomes one.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;

/// Why the store did not do something. Whatever was asked is not done.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{what}")]
    Database {
        what: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the store did not answer within {0:?}")]
    TimedOut(Duration),
    #[error("the store holds {0}, which no version of this program writes")]
    Corrupt(String),
    /// Nothing is committed there, so that nothing is promised that it cannot keep.
    #[error("{0}")]
    UnsafeDatabase(String),
    #[error("another cloud writes to this database")]
    AnotherWriter,
    #[error(
        "the database's tables are of a newer version of this program (migration {0}); start that one, or restore a backup from before"
    )]
    SchemaTooNew(i64),
    #[error("the database's tables are of a development version before the first release; use an empty database")]
    SchemaTooOld,
    #[error("no room for a camera of a new name, there are {0}")]
    TooManyDevices(u64),
    #[error("store a part of a picture")]
    Parts(#[source] std::io::Error),
    /// The place for the bytes of pictures cannot be used.
    #[error("use the place for the bytes of pictures")]
    Objects(#[source] Box<crate::objects::ObjectError>),
    #[error("the pictures in {0} belong to another store; choose another place in the setting bytes")]
    ForeignPlace(String),
    #[error("{0} should hold pictures and has no keepsake.json; is its disk mounted, or has it moved?")]
    EmptyPlace(String),
    /// It may be taken for an orphan; the bytes have to be stored again under another key.
    #[error("an object was begun too long ago to be named by a picture")]
    LateObject,
    #[error("the bytes of picture {0} in the database are missing or changed")]
    LostBytes(i64),
    #[error(transparent)]
    User(#[from] UserError),
    #[error("prepare the data folder {folder}")]
    Folder {
        folder: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl StoreError {
    /// Returns true if the cause seems to be the database and not the data that it was given.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Database { source, .. } => match source.downcast_ref::<sqlx::Error>() {
                // Classes 22 and 23 of SQLSTATE: the values themselves. SQLite has its own numbers, and is never cut
                // off.
                Some(sqlx::Error::Database(error)) => error
                    .code()
                    .is_some_and(|code| code.len() == 5 && !code.starts_with("22") && !code.starts_with("23")),
                Some(_) => true,
                None => false,
            },
            Self::TimedOut(_)
            | Self::UnsafeDatabase(_)
            | Self::AnotherWriter
            | Self::Parts(_)
            | Self::Objects(_)
            | Self::LateObject
            | Self::ForeignPlace(_)
            | Self::EmptyPlace(_) => true,
            Self::Corrupt(_)
            | Self::LostBytes(_)
            | Self::TooManyDevices(_)
            | Self::User(_)
            | Self::Folder { .. }
            | Self::SchemaTooNew(_)
            | Self::SchemaTooOld => false,
        }
    }

    /// Returns true if another writer was quicker: the same batch may simply be committed again.
    pub fn is_race(&self) -> bool {
        let mysql = self.database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
        // A deadlock, also in a cluster; a lock waited for in vain; a member of a replication group that was quicker
        // (3101, and 1180 with 149); a row that changed since the snapshot; a key that is there by now.
        mysql.is_some_and(|error| match error.number() {
            1213 | 1205 | 3101 | 1020 | 1062 => true,
            1180 => error.message().contains("149"),
            _ => false,
        })
    }

    fn database_error(&self) -> Option<&dyn DatabaseError> {
        let Self::Database { source, .. } = self else {
            return None;
        };
        source.downcast_ref::<sqlx::Error>()?.as_database_error()
    }

    /// Returns true if the database or its disk is full. Small changes may still be possible then.
    pub fn is_full(&self) -> bool {
        if let Self::Objects(error) = self {
            return error.is_full();
        }
        if let Self::Parts(error) = self {
            return matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
        }
        let Some(error) = self.database_error() else {
            return false;
        };
        match error.try_downcast_ref::<MySqlDatabaseError>() {
            // ER_DISK_FULL, ER_RECORD_FILE_FULL, and ER_GET_ERRNO with ENOSPC.
            Some(mysql) => match mysql.number() {
                1021 | 1114 => true,
                1030 => mysql.message().contains("error 28"),
                _ => false,
            },
            // SQLITE_FULL.
            None => error.code().is_some_and(|code| code == "13"),
        }
    }

    /// Returns true if the bytes of a picture are lost: missing, or not those that were stored.
    pub fn is_loss(&self) -> bool {
        match self {
            Self::Objects(error) => error.is_loss(),
            Self::LostBytes(_) => true,
            _ => false,
        }
    }

    /// A plain sentence for cameras and pages, without what only the log should have.
    pub fn sentence(&self) -> String {
        match self {
            Self::Parts(_) if self.is_full() => return "the cloud's disk has no room left".to_owned(),
            Self::Parts(_) => return "the cloud cannot write to its data directory".to_owned(),
            Self::Objects(error) if error.is_full() => {
                return "the cloud's folder of pictures has no room left".to_owned();
            }
            _ if self.is_full() => return "the cloud's database has no room left".to_owned(),
            _ => {}
        }
        match self {
            Self::UnsafeDatabase(_) | Self::AnotherWriter | Self::SchemaTooNew(_) | Self::SchemaTooOld => {
                self.to_string()
            }
            Self::Objects(_) | Self::ForeignPlace(_) | Self::EmptyPlace(_) => {
                "the cloud cannot use the place where it stores pictures".to_owned()
            }
            Self::Database { .. }
            | Self::Parts(_)
            | Self::TimedOut(_)
            | Self::Corrupt(_)
            | Self::LostBytes(_)
            | Self::LateObject
            | Self::TooManyDevices(_)
            | Self::User(_)
            | Self::Folder { .. } => "the cloud's database does not answer".to_owned(),
        }
    }
}

pub(in crate::store) type Result<T> = std::result::Result<T, StoreError>;

/// A change of users that is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    #[error("This name is already taken.")]
    NameTaken,
    #[error("This user does not exist.")]
    Unknown,
    #[error("This is the last owner. Make another user an owner first.")]
    LastOwner,
    #[error("An owner already exists.")]
    HasOwner,
    #[error("The limit is reached; remove some first.")]
    TooMany,
}

/// Says what was being done when the database failed.
pub(in crate::store) trait ErrorContext<T> {
    fn context(self, what: &'static str) -> Result<T>;
}

impl<T> ErrorContext<T> for std::result::Result<T, sqlx::Error> {
    fn context(self, what: &'static str) -> Result<T> {
        self.map_err(|source| StoreError::Database { what, source: Box::new(source) })
    }
}
