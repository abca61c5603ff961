//! The name of an object for people.

use bytes::Bytes;
use keepsake_protocol::capture::ContentType;
use keepsake_protocol::{DeviceId, Hash, Sequence};

/// An object to store.
#[derive(Debug, Clone)]
pub struct NewObject {
    /// The name by which a person finds it, such as `porch/00000017-abcdef0123456789.jpg`.
    pub name: String,
    pub bytes: Bytes,
}

impl NewObject {
    /// Returns the extension of the name, `bin` if it has none.
    pub(super) fn extension(&self) -> &str {
        self.name.rsplit_once('.').map_or("bin", |(_, extension)| extension)
    }

    /// Returns the object of a picture.
    ///
    /// `sequence`: of a camera that numbers its pictures.
    pub fn of_picture(
        device: &DeviceId,
        sequence: Option<Sequence>,
        hash: Hash,
        content_type: ContentType,
        bytes: Bytes,
    ) -> Self {
        let number = sequence.map_or_else(String::new, |sequence| format!("{:08}-", sequence.get()));
        Self {
            name: format!("{device}/{number}{}.{}", hash.prefix(), content_type.extension()),
            bytes,
        }
    }
}
