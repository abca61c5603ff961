//! Limits the memory of all request bodies together, and the share of it that one principal may use.
//!
//! A body is reserved before its first byte is read and released with the answer: a picture stays in memory until it is
//! committed. What does not fit is answered with 503, and the client tries again.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::HttpBody;
use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;

use crate::auth::PrincipalId;
use crate::auth::login_throttle::Network;
use crate::config::{BODY_BYTES_MAX, BODY_BYTES_OF_ONE_MAX};
use crate::http::auth::client_info::client_info;
use crate::http::auth::principal::Principal;
use crate::http::error::Problem;

/// The Retry-After while the memory is in use, seconds.
const RETRY_S: u64 = 2;

/// The user of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Sender {
    Principal(PrincipalId),
    /// A client without credentials.
    Network(Network),
}

/// The bodies that are in memory. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct BodyBudget(Arc<Mutex<Reserved>>);

#[derive(Debug, Default)]
struct Reserved {
    all: u64,
    of: HashMap<Sender, u64>,
}

impl BodyBudget {
    /// Reserves memory for a body; nothing if it is in use. A sender that has none in use always gets its first body,
    /// if there is memory at all.
    fn reserve(&self, sender: Sender, bytes: u64) -> Option<Reservation> {
        let mut reserved = self.0.lock();
        let own = reserved.of.get(&sender).copied().unwrap_or(0);
        if reserved.all + bytes > BODY_BYTES_MAX || own + bytes > BODY_BYTES_OF_ONE_MAX {
            return None;
        }
        reserved.all += bytes;
        reserved.of.insert(sender, own + bytes);
        Some(Reservation { budget: self.clone(), sender, bytes })
    }
}

/// Released when it is dropped, also if the client is gone.
struct Reservation {
    budget: BodyBudget,
    sender: Sender,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut reserved = self.budget.0.lock();
        reserved.all -= self.bytes;
        if let Some(own) = reserved.of.get_mut(&self.sender) {
            *own -= self.bytes;
            if *own == 0 {
                reserved.of.remove(&self.sender);
            }
        }
    }
}

/// Passes a request on while the bodies in memory stay within their limits. It runs after the principal is known, so a
/// body without the permission for its route is never read.
pub(super) async fn reserve(State(budget): State<BodyBudget>, request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared: Option<u64> = declared.and_then(|length| length.to_str().ok()?.parse().ok());
    // A body without a length may become as long as the largest. A longer one is refused by the limit of its route.
    let bytes = declared.unwrap_or(u64::MAX).min(BODY_BYTES_OF_ONE_MAX);
    let sender = match request.extensions().get::<Principal>() {
        Some(Principal::User { id, .. } | Principal::ApiToken { id, .. } | Principal::Camera { id, .. }) => {
            Sender::Principal(*id)
        }
        Some(Principal::Anonymous | Principal::AnonymousUpload) | None => {
            Sender::Network(client_info(request.extensions()).network())
        }
    };
    match budget.reserve(sender, bytes) {
        Some(_reservation) => next.run(request).await,
        None => Problem::unavailable("Too many concurrent uploads.", RETRY_S).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sender_can_use_the_memory_of_all() {
        let budget = BodyBudget::default();
        let sender = |last: u8| Sender::Network(std::net::IpAddr::from([192, 0, 2, last]).into());
        // The largest body there is, over and over again.
        let mut greedy = Vec::new();
        while let Some(body) = budget.reserve(sender(1), BODY_BYTES_OF_ONE_MAX) {
            greedy.push(body);
        }
        assert_eq!(greedy.len(), 1);
        let others: Vec<_> = (2..10).map_while(|last| budget.reserve(sender(last), 1024 * 1024)).collect();
        assert_eq!(others.len(), 8);
        // All together are limited, too, and what was released can be used again.
        let many = || -> Vec<_> {
            (10..=255)
                .map_while(|last| budget.reserve(sender(last), BODY_BYTES_OF_ONE_MAX / 2))
                .collect()
        };
        let all = many();
        let held = BODY_BYTES_OF_ONE_MAX + 8 * 1024 * 1024 + all.len() as u64 * BODY_BYTES_OF_ONE_MAX / 2;
        assert!(held <= BODY_BYTES_MAX && held + BODY_BYTES_OF_ONE_MAX / 2 > BODY_BYTES_MAX);
        let count = all.len();
        drop(all);
        assert_eq!(many().len(), count);
        drop((greedy, others));
        let reserved = budget.0.lock();
        assert_eq!((reserved.all, reserved.of.len()), (0, 0));
    }
}
