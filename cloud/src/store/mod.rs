//! Everything that is durable, behind one type: the only place that names sqlx and the only place with SQL.
//!
//! One writer connection (transactions queue for it) and a pool of readers. [`Store::commit`] is the heart: a batch of
//! operations in one transaction, all or nothing; what it returns is committed, and any error, a broken COMMIT too,
//! means not committed (P2). Doing an operation twice equals doing it once (P3). The SQL is what SQLite, MySQL and
//! MariaDB have in common; duplicates are found by looking first inside the one writing transaction.

pub mod address;
mod bind;
mod commit;
mod connection;
mod durability_check;
mod error;
mod garbage;
mod limits;
mod meta;
mod open;
mod open_place;
mod paginate;
mod parts;
mod picture;
mod places;
mod query;
mod readers;
mod schema;
mod statement;
mod writer;

pub use crate::store::commit::event::DeviceEvent;
pub use crate::store::commit::quarantine::QuarantinedMessage;
pub use crate::store::commit::relocate::NewBytes;
pub use crate::store::commit::upload::Upload;
pub use crate::store::connection::StoreOptions;
pub use crate::store::error::{StoreError, UserError};
pub use crate::store::limits::{BATCH_MESSAGES_MAX, Limits};
pub use crate::store::open::Store;
pub use crate::store::picture::{Picture, PictureCursor, Thumbnail};
pub use crate::store::query::commands::{Command, StageReached};
pub use crate::store::query::devices::Device;
pub use crate::store::query::images::StoredImage;
pub use crate::store::query::pictures::PageQuery;
pub use crate::store::query::sessions::LoginSession;
pub use crate::store::query::settings::{DeviceSettings, SettingsUpdate};
pub use crate::store::query::spools::{Counters, SpoolState};
pub use crate::store::query::thumbnails::{ClaimLimits, FinishedThumbnail};
pub use crate::store::query::tokens::ApiToken;
pub use crate::store::query::users::User;
