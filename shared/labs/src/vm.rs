//! A small computer with the kernel drivers a camera meets on a board, and the unmodified `appliance` inside: `cargo vmtest`.
//!
//! QEMU runs Debian's own kernel with `gpio-sim`, whose lines are as real to a program as those of a board, and `vivid`,
//! a camera that V4L2 does not tell from one with a lens. There is no system around them: the first program of the
//! machine is the [`guest`], which moves the contacts, watches the lamps, and starts the camera's program. A test speaks
//! with it in [`protocol`], one JSON line each, over a port of its own. The cloud is outside, on this computer, and the
//! camera comes to it by the machine's network.
//!
//! docs/decisions/0017-vmtest.md says why it is built so.

pub mod guest;
mod initramfs;
pub mod kernel;
pub mod led;
mod machine;
pub mod protocol;

pub use guest::SPOOL;
pub use machine::{HOST, Machine, qemu};
