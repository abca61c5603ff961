//! An image to describe.

use std::path::Path;

use anyhow::{Context, Result};

use crate::build::Built;
use crate::prepare::Package;

/// An image and its sources.
pub struct BuiltImage<'a> {
    /// The compressed image; the artifacts are beside it and named after it.
    pub image: &'a Path,
    pub built: &'a Built,
    pub packages: &'a [Package],
    /// The directory of the workspace, whose `Cargo.lock` lists the crates of the program.
    pub sources: &'a Path,
    pub epoch_s: u64,
}

impl BuiltImage<'_> {
    /// Returns the time of every file in the image.
    pub(super) fn moment(&self) -> Result<jiff::Timestamp> {
        let seconds = i64::try_from(self.epoch_s).context("the time of the image is no time")?;
        jiff::Timestamp::from_second(seconds).context("the time of the image is no time")
    }
}
