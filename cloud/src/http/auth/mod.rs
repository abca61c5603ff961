//! Decides who a request comes from and what it may do, and serves the login, set-up and account pages.

pub(crate) mod account;
pub(crate) mod authorize;
pub(crate) mod client_info;
pub(crate) mod credentials;
pub(crate) mod csrf;
pub(crate) mod denial;
pub(crate) mod login;
pub(crate) mod principal;
pub(crate) mod request_context;
pub(crate) mod state;
