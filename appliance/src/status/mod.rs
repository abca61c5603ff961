//! Reports on the state of the camera: diagnostics, the status file and the event stream.

pub mod diagnostics;
pub mod events;
pub mod text_file;
