//! The path of a message from its arrival to the commit and the receipt.

pub mod decode;
pub mod deposit;
pub mod intake;
pub mod way_in;
