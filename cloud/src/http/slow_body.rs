//! Enforces a minimum upload rate on request bodies, so a slow client cannot hold a connection open.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, timeout_at};

/// Given to every body, whatever its size.
const GRACE: Duration = Duration::from_secs(30);
/// The slowest a body may come after that, bytes in a second: far below any modem, so that a camera on a bad line
/// gets through.
const BYTES_PER_SECOND_MIN: u64 = 256;

/// Cuts a body off that comes slower.
pub(super) async fn enforce_min_rate(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    next.run(request.map(|body| with_min_rate(body, GRACE, BYTES_PER_SECOND_MIN))).await
}

fn with_min_rate(body: Body, grace: Duration, bytes_per_second_min: u64) -> Body {
    let began = Instant::now();
    let chunks = stream::unfold((body.into_data_stream(), 0_u64), move |(mut rest, so_far)| async move {
        let earned = Duration::from_secs(so_far / bytes_per_second_min);
        match timeout_at(began + grace + earned, rest.next()).await {
            Ok(Some(Ok(chunk))) => {
                let so_far = so_far + chunk.len() as u64;
                Some((Ok(chunk), (rest, so_far)))
            }
            Ok(Some(Err(error))) => Some((Err(error), (rest, so_far))),
            Ok(None) => None,
            Err(_) => Some((Err(axum::Error::new(TooSlow)), (rest, so_far))),
        }
    });
    Body::from_stream(chunks)
}

#[derive(Debug, thiserror::Error)]
#[error("the body comes too slowly")]
struct TooSlow;

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use bytes::Bytes;

    /// One chunk of this many bytes, and then nothing more.
    fn stuck_after(bytes: usize) -> Body {
        let one = stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![0; bytes]))]);
        Body::from_stream(one.chain(stream::pending()))
    }

    #[tokio::test]
    async fn a_body_that_stops_coming_is_cut_off() {
        let grace = Duration::from_millis(50);
        let cut = to_bytes(with_min_rate(stuck_after(10), grace, 1000), usize::MAX).await;
        let cut = format!("{:#}", anyhow::Error::from(cut.unwrap_err()));
        assert!(cut.contains("too slowly"), "{cut}");
    }

    #[tokio::test]
    async fn every_byte_that_has_come_earns_time_for_the_next() {
        let grace = Duration::from_millis(50);
        let body = to_bytes(with_min_rate(stuck_after(3000), grace, 1000), usize::MAX);
        let waited = tokio::time::timeout(Duration::from_secs(1), body).await;
        assert!(waited.is_err(), "it may be silent for three seconds now");
        let all = with_min_rate(Body::from(vec![0; 3000]), grace, 1000);
        assert_eq!(to_bytes(all, usize::MAX).await.unwrap().len(), 3000);
    }
}
