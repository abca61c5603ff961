//! The input of step two.

use std::path::Path;

use crate::prepare::Package;

/// The sources of an image.
pub struct Inputs<'a> {
    pub packages: &'a [Package],
    /// The camera's program for the Pi.
    pub program: &'a Path,
    /// The workspace, which has the units, rules and settings.
    pub workspace: &'a Path,
    /// A scratch directory; its contents are deleted.
    pub work: &'a Path,
    /// The time of every file in the image, seconds since 1970.
    pub epoch_s: u64,
}
