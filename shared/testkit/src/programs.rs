//! The programs under test, built on first use: `cargo test` builds tests, but not the programs they start.

use std::path::PathBuf;
use std::sync::LazyLock;

use keepsake_provision::workspace;

/// Both together, as `cargo build` in the root does, so that neither builds dependencies for itself.
const TARGETS: &[&str] = &["--package", "keepsake-appliance", "--package", "keepsake-cloud"];
const FEATURES: &[&str] = if cfg!(feature = "v4l") {
    &["--features", "keepsake-appliance/v4l"]
} else {
    &[]
};

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    workspace::build(&[TARGETS, FEATURES].concat())
        .unwrap_or_else(|error| panic!("build the programs under test: {error:#}"))
});

/// Returns the file of `appliance`.
///
/// # Panics
/// It cannot be built.
pub fn appliance() -> PathBuf {
    FOLDER.join("appliance")
}

/// Returns the file of `cloud`.
///
/// # Panics
/// It cannot be built.
pub fn cloud() -> PathBuf {
    FOLDER.join("cloud")
}
