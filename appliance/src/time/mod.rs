//! Time on a computer without a battery-backed clock: the kernel's clocks, the boots so far, and the journal that keeps them.

pub(crate) mod boot_history;
pub(crate) mod clock;
pub(crate) mod journal;
