//! One picture in memory.

use keepsake_protocol::capture::ContentType;

/// One image as the camera gave it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// A whole JPEG or PNG.
    pub bytes: Vec<u8>,
    pub content_type: ContentType,
    /// Pixels.
    pub width: u32,
    pub height: u32,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Image bytes never go into a log.
        write!(
            f,
            "Frame({}, {}x{}, {} bytes)",
            self.content_type.as_str(),
            self.width,
            self.height,
            self.bytes.len()
        )
    }
}
