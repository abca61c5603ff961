//! The path of a message from its arrival to the commit and the receipt.

pub mod decode;
pub mod external;
pub mod operation;
pub mod queue;
pub(crate) mod receipts;
pub(crate) mod window_budget;
pub mod windows;
pub mod worker;
