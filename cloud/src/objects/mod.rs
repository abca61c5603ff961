//! The bytes of pictures outside the database: one object for each picture, a file in a folder or an object in S3.
//!
//! An object is durable before a row names it, and its row is gone before it is deleted. Each attempt to store a picture
//! uses a new key, so an object without a row can never get one once its writer has given up (docs/decisions/0021-objects.md).

mod archive;
mod durable;
mod error;
mod folder;
mod key;
mod location;
mod name;
mod object;
mod place;
mod s3;
pub mod verify;

pub use crate::objects::durable::{COMMIT_WITHIN, DurableObject};
pub use crate::objects::error::ObjectError;
pub use crate::objects::key::ObjectKey;
pub use crate::objects::location::BytesSetting;
pub use crate::objects::name::NewObject;
pub use crate::objects::object::{ByteStream, BytesLocation, ListedObject, PlaceMarker, read_all};
pub use crate::objects::place::{BytesPlace, ORPHAN_AGE_MIN, ObjectStore};
