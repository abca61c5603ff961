//! The path of a message from its arrival to the commit and the receipt.

mod commit;
pub mod decode;
pub mod external;
pub mod operation;
pub mod queue;
pub(crate) mod receipts;
mod respond;
mod store_bytes;
pub(crate) mod window_budget;
pub mod windows;
pub mod worker;
