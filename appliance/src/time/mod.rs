//! Time on a computer without a battery-backed clock: the kernel's clocks, the boots so far, and the journal that keeps them.

pub mod boot_history;
pub mod clock;
pub mod journal;
