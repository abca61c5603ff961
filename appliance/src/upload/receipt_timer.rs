//! Decides when a capture without a receipt is sent again. Pure: measured times go in, a wait comes out.
//!
//! A cloud with a long queue takes its time. A camera that sends again what is still queued there makes the queue longer,
//! so the wait follows the time that receipts have taken lately.

use std::time::Duration;

/// Multiple of the time that receipts take.
const FACTOR: u32 = 3;
/// The wait never grows beyond this because of slow receipts: a message that the broker dropped is sent again.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// The most by which a wait is lengthened at random, as a part of it.
const SPREAD: f64 = 0.25;

/// The wait for receipts on one camera.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ReceiptTimer {
    /// From the broker's acknowledgement to the receipt; rises at once and falls slowly.
    takes: Duration,
    /// The place of this camera among others, 0.0 to 1.0.
    random: f64,
}

impl ReceiptTimer {
    /// `random`: uniform, 0.0 to 1.0.
    pub(crate) fn new(random: f64) -> Self {
        let random = if random.is_finite() {
            random.clamp(0.0, 1.0)
        } else {
            1.0
        };
        Self { takes: Duration::ZERO, random }
    }

    /// Records the time that a receipt took.
    pub(crate) fn measure(&mut self, took: Duration) {
        let smoothed = (self.takes * 7 + took.min(WAIT_MAX)) / 8;
        self.takes = smoothed.max(took.min(WAIT_MAX));
    }

    /// Returns the wait for the next receipt, at least `shortest`.
    pub(crate) fn wait(&self, shortest: Duration) -> Duration {
        self.spread((self.takes * FACTOR).clamp(shortest, WAIT_MAX.max(shortest)))
    }

    /// Lengthens a wait by this camera's share, so that cameras that began to wait together do not end together.
    pub(crate) fn spread(&self, wait: Duration) -> Duration {
        wait + wait.mul_f64(self.random * SPREAD)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHORTEST: Duration = Duration::from_secs(10);

    #[test]
    fn the_wait_follows_slow_receipts_and_returns_when_they_are_fast_again() {
        let mut timer = ReceiptTimer::default();
        timer.measure(Duration::from_millis(12));
        assert_eq!(timer.wait(SHORTEST), SHORTEST);
        timer.measure(Duration::from_secs(20));
        assert_eq!(timer.wait(SHORTEST), Duration::from_secs(60));
        for _ in 0..20 {
            timer.measure(Duration::from_millis(12));
        }
        assert_eq!(timer.wait(SHORTEST), SHORTEST);
    }

    #[test]
    fn cameras_that_began_to_wait_together_do_not_end_together() {
        let [first, last] = [0.0, 1.0].map(|random| ReceiptTimer::new(random).wait(SHORTEST));
        assert_eq!((first, last), (SHORTEST, Duration::from_millis(12_500)));
    }

    proptest! {
        #[test]
        fn the_wait_is_bounded(times in proptest::collection::vec(any::<Duration>(), 0..20), random in any::<f64>()) {
            let mut timer = ReceiptTimer::new(random);
            for took in times {
                timer.measure(took);
                prop_assert!((SHORTEST..=WAIT_MAX.mul_f64(1.25)).contains(&timer.wait(SHORTEST)));
            }
        }
    }
}
