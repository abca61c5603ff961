//! The labs: long runs that the inner loop does without.
//!
//! [`vm`] runs the camera's program in a virtual machine with kernel drivers (`cargo vmtest`); [`chaos`] injects faults
//! into broker, cloud, camera and database while presses go on, and [`card`] makes calls on the card fail (`cargo xtask
//! chaos`); [`fleet`] lets many cameras upload full cards at once; [`mod@bench`] measures the cloud (`cargo xtask bench`);
//! the program `emulate` boots the SD card image in an emulated Raspberry Pi (`cargo emulate`).

pub mod bench;
pub mod card;
pub mod chaos;
pub mod fleet;
pub mod vm;
