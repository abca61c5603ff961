//! The wait before the next attempt. Pure: attempts and randomness go in, a time comes out.

use std::time::Duration;

/// The wait of a capture that got no receipt: `initial`, doubled with every attempt, at most `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    pub initial: Duration,
    pub max: Duration,
}

impl Backoff {
    pub fn from_secs(initial_s: u64, max_s: u64) -> Self {
        Self {
            initial: Duration::from_secs(initial_s),
            max: Duration::from_secs(max_s),
        }
    }

    /// The wait after `attempt` tries without a receipt; none before the first.
    pub fn wait(&self, attempt: u32) -> Duration {
        let Some(doublings) = attempt.checked_sub(1) else {
            return Duration::ZERO;
        };
        // 2^31 times anything is past every bound, and a larger shift would overflow.
        self.initial.saturating_mul(1 << doublings.min(31)).min(self.max)
    }

    /// The same, spread at random, so that cameras which lost their broker together do not come back together.
    ///
    /// `random`: uniform, 0.0 to 1.0. Returns `initial` to the doubled wait; the first try after a success waits
    /// for `initial` at most.
    pub fn wait_with_jitter(&self, attempt: u32, random: f64) -> Duration {
        let random = if random.is_finite() {
            random.clamp(0.0, 1.0)
        } else {
            1.0
        };
        let longest = self.wait(attempt);
        if attempt <= 1 {
            return longest.mul_f64(random);
        }
        let shortest = self.initial.min(longest);
        shortest + (longest - shortest).mul_f64(random)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CAPTURE: Backoff = Backoff {
        initial: Duration::from_secs(10),
        max: Duration::from_secs(6 * 3600),
    };

    #[test]
    fn a_capture_waits_ten_seconds_then_twice_as_long_each_time_up_to_six_hours() {
        for (attempt, seconds) in [
            (0, 0),
            (1, 10),
            (2, 20),
            (3, 40),
            (8, 1280),
            (12, 20_480),
            (13, 21_600),
            (40, 21_600),
            (u32::MAX, 21_600),
        ] {
            let wait = CAPTURE.wait(attempt);
            assert_eq!(wait, Duration::from_secs(seconds), "attempt {attempt}");
        }
    }

    #[test]
    fn cameras_that_lost_their_broker_together_come_back_one_by_one() {
        let reconnect = Backoff::from_secs(1, 60);
        assert_eq!(reconnect.wait_with_jitter(1, 0.0), Duration::ZERO);
        assert_eq!(reconnect.wait_with_jitter(1, 1.0), Duration::from_secs(1));
        assert_eq!(reconnect.wait_with_jitter(4, 0.0), Duration::from_secs(1));
        assert_eq!(reconnect.wait_with_jitter(4, 0.5), Duration::from_millis(4500));
        assert_eq!(reconnect.wait_with_jitter(99, 1.0), Duration::from_secs(60));
    }

    proptest! {
        #[test]
        fn a_wait_never_exceeds_its_bound_and_never_shrinks(
            initial_s in 1u64..100, max_s in 1u64..100_000, attempt in any::<u32>(), random in any::<f64>(),
        ) {
            let backoff = Backoff::from_secs(initial_s, max_s);
            prop_assert!(backoff.wait(attempt) <= backoff.max);
            prop_assert!(backoff.wait(attempt) <= backoff.wait(attempt.saturating_add(1)));
            prop_assert!(backoff.wait_with_jitter(attempt, random) <= backoff.max);
        }
    }
}
