//! Limits the upload rate of pictures. Pure: bytes and the time go in, the time of the next message comes out.
//!
//! A bucket that is let run into debt by one message: nothing goes while it owes, so over any time `t` no more than
//! `rate × (t + 1 s)` and one message is handed over. Messages that are not pictures are few and not counted.
//!
//! Times are a `Duration` since any fixed moment that does not jump, as in [`drain`](crate::upload::drain).

use std::time::Duration;

/// Time that may be caught up on after a pause.
const BURST: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Default)]
pub struct RateLimiter {
    /// Bytes a second; `None` = no bound.
    rate: Option<u64>,
    /// When all that was sent so far is paid for.
    paid_at: Duration,
}

impl RateLimiter {
    /// `rate`: bytes a second, 0 = no bound.
    pub fn new(rate: u64) -> Self {
        Self { rate: (rate > 0).then_some(rate), paid_at: Duration::ZERO }
    }

    /// Another rate from now on. What is owed was counted at the old one and is forgiven: at a rate just raised nobody
    /// wants to wait for the old one.
    pub fn set_rate(&mut self, rate: u64, now: Duration) {
        let rate = (rate > 0).then_some(rate);
        if self.rate != rate {
            self.rate = rate;
            self.paid_at = now;
        }
    }

    /// When the next message may go; now or earlier = at once.
    pub fn free_at(&self) -> Duration {
        self.paid_at
    }

    pub fn may_send(&self, now: Duration) -> bool {
        self.rate.is_none() || now >= self.paid_at
    }

    /// Records that a message of this size was sent.
    pub fn sent(&mut self, bytes: u64, now: Duration) {
        let Some(rate) = self.rate else { return };
        // Rounded up, or many small messages together would take more than their share.
        let costs_us = (u128::from(bytes) * 1_000_000).div_ceil(u128::from(rate));
        let costs = Duration::from_micros(u64::try_from(costs_us).unwrap_or(u64::MAX));
        self.paid_at = self.paid_at.max(now.saturating_sub(BURST)).saturating_add(costs);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn without_a_rate_nothing_waits() {
        let mut limiter = RateLimiter::new(0);
        limiter.sent(u64::MAX, Duration::ZERO);
        assert!(limiter.may_send(Duration::ZERO));
    }

    #[test]
    fn a_message_waits_until_the_one_before_is_paid_for() {
        let at = Duration::from_secs(100);
        let mut limiter = RateLimiter::new(1000);
        // After a pause one second is there to be spent.
        limiter.sent(1000, at);
        assert!(limiter.may_send(at));
        limiter.sent(2000, at);
        assert!(!limiter.may_send(at + Duration::from_millis(1999)));
        assert_eq!(limiter.free_at(), at + Duration::from_secs(2));
        assert!(limiter.may_send(at + Duration::from_secs(2)));
        // Lifted, nothing waits any more.
        limiter.set_rate(0, at);
        assert!(limiter.may_send(at));
    }

    proptest! {
        #[test]
        fn over_any_time_no_more_goes_than_the_rate_allows(
            rate in 1_000_u64..1_000_000,
            messages in proptest::collection::vec((1_u64..300_000, 0_u64..2_000), 1..60),
        ) {
            let mut limiter = RateLimiter::new(rate);
            let mut now = Duration::from_secs(10);
            let mut sent: Vec<(Duration, u64)> = Vec::new();
            for (bytes, pause_ms) in messages {
                now = (now + Duration::from_millis(pause_ms)).max(limiter.free_at());
                prop_assert!(limiter.may_send(now));
                limiter.sent(bytes, now);
                sent.push((now, bytes));
            }
            for (from, (began, _)) in sent.iter().enumerate() {
                let mut bytes = 0;
                for (at, one) in &sent[from..] {
                    let allowed = ((*at - *began + BURST).as_micros() * u128::from(rate)).div_ceil(1_000_000);
                    // All before the last one fit; the last one may run into debt.
                    prop_assert!(u128::from(bytes) <= allowed + 1, "{bytes} in {:?} at {rate}/s", *at - *began);
                    bytes += one;
                }
            }
        }
    }
}
