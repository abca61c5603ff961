//! Captures: from a request for a picture to a frame in the spool.

pub(crate) mod pipeline;
pub(crate) mod thread;
