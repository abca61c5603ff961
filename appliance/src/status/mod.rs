//! Reports on the state of the camera: diagnostics, the status file and the event stream.

pub mod diagnostics;
pub mod events;
pub(crate) mod plain_text;
pub mod text_file;
