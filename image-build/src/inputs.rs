//! The sources that every way to an image has.

use std::path::Path;

/// The sources of an image besides Debian's packages.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The camera's program for the Pi.
    pub program: &'a Path,
    /// The workspace, which has the units, rules and settings.
    pub workspace: &'a Path,
    /// A scratch directory; its contents are deleted.
    pub work: &'a Path,
    /// The time of every file in the image, seconds since 1970.
    pub epoch_s: u64,
}
