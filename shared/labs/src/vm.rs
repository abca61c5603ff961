//! A virtual machine with the kernel drivers of a board, and the unmodified `appliance` inside: `cargo vmtest`.
//!
//! QEMU runs Debian's kernel with `gpio-sim`, whose lines work like those of a board, and `vivid`, which V4L2 cannot
//! distinguish from a real camera. There is no operating system around them: the first program is the [`guest`],
//! which presses the button, watches the LEDs, and starts the camera's program. A test controls it with JSON lines
//! over a port ([`protocol`]). The cloud runs outside, on this computer, and the camera reaches it over the machine's
//! network.
//!
//! docs/decisions/0017-vmtest.md explains why.

pub mod guest;
mod initramfs;
pub mod kernel;
pub mod led;
mod machine;
pub mod protocol;

pub use guest::SPOOL;
pub use machine::{HOST, Machine, qemu};
