//! Decides who a request comes from and what it may do, and serves the login, set-up and account pages.

pub(crate) mod account;
pub(crate) mod authorize;
pub(crate) mod login;
pub(crate) mod state;
