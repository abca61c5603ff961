//! Programs and systems of other makers, fetched without installing them, and the child processes that run them.
//!
//! The ground that the test kit, the labs, `xtask` and `image-build` share. Nothing here knows Keepsake's own programs
//! from the inside.

pub mod apt;
pub mod chroot;
pub mod cpio;
pub mod cross;
pub mod host;
pub mod prefix;
pub mod process;
pub mod qemu;
#[cfg(feature = "servers")]
pub mod servers;
pub mod skip;
pub mod temp_dir;
pub mod workspace;
