//! Which frame began after the press. Pure.
//!
//! Between presses the driver fills its buffers and then waits: when a press comes, minutes later, every one of them
//! holds an old frame. Their stamps tell, where a driver stamps well. Where it does not, they are counted.

use super::super::driver::BufferTimestamp;

/// More buffers than a driver makes out of the three it is asked for. After skipping this number of frames one has a buffer
/// twice, and filled it after the press.
const PASSED_OVER_MAX: u32 = 8;
/// A stamp further in the future is of another clock, microseconds.
const AHEAD_US_MAX: u64 = 1_000_000;

/// By how much the stamps of a stream run ahead of its frames, microseconds.
///
/// Some drivers reckon when a frame will have ended, or ask a clock of the camera, and hand it out before that. No frame
/// is handed out before it has ended, so the furthest that was seen is what their stamps are too late by.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TimestampSkew(u64);

impl TimestampSkew {
    /// Learns from a frame handed out at `now_us`; returns whether its stamp can be of this clock.
    pub(super) fn learn(&mut self, stamp: BufferTimestamp, now_us: u64) -> bool {
        let ahead = stamp.us().saturating_sub(now_us);
        let believed = ahead <= AHEAD_US_MAX;
        if believed {
            self.0 = self.0.max(ahead);
        }
        believed
    }
}

#[derive(Debug)]
pub(super) struct Freshness<'a> {
    pressed_us: u64,
    ahead: &'a mut TimestampSkew,
    passed_over: u32,
    last: Option<BufferTimestamp>,
}

impl<'a> Freshness<'a> {
    /// `pressed_us`: CLOCK_MONOTONIC. `ahead`: what is known of this stream.
    pub(super) fn new(pressed_us: u64, ahead: &'a mut TimestampSkew) -> Self {
        Self { pressed_us, ahead, passed_over: 0, last: None }
    }

    /// `stamp`: of the next frame. `now_us`: CLOCK_MONOTONIC, when it was handed out.
    pub(super) fn is_fresh(&mut self, stamp: Option<BufferTimestamp>, now_us: u64) -> bool {
        let rises = |stamp: &BufferTimestamp| self.last.is_none_or(|last| stamp.us() > last.us());
        // A stamp from far in the future is of another clock, and so is one that stands still.
        let believed = stamp.filter(|&stamp| self.ahead.learn(stamp, now_us) && rises(&stamp));
        let after_the_press = |us: u64| us >= self.pressed_us + self.ahead.0;
        let began_after = match (believed, self.last) {
            (Some(BufferTimestamp::Began(us)), _) => after_the_press(us),
            // It began when the one before had ended, or later.
            (Some(BufferTimestamp::Ended(_)), Some(BufferTimestamp::Ended(before))) => after_the_press(before),
            (Some(BufferTimestamp::Ended(_)), Some(BufferTimestamp::Began(_)) | None) | (None, _) => false,
        };
        let fresh = began_after || self.passed_over >= PASSED_OVER_MAX;
        self.passed_over += 1;
        self.last = stamp;
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which frame is taken, counted from zero. The press is at 1000, one frame is handed out every 10.
    fn taken(stamps: &[Option<BufferTimestamp>]) -> Option<usize> {
        let mut ahead = TimestampSkew::default();
        let mut freshness = Freshness::new(1000, &mut ahead);
        stamps
            .iter()
            .zip((1001..).step_by(10))
            .position(|(&stamp, now)| freshness.is_fresh(stamp, now))
    }

    fn began(us: &[u64]) -> Vec<Option<BufferTimestamp>> {
        us.iter().map(|&us| Some(BufferTimestamp::Began(us))).collect()
    }

    fn ended(us: &[u64]) -> Vec<Option<BufferTimestamp>> {
        us.iter().map(|&us| Some(BufferTimestamp::Ended(us))).collect()
    }

    #[test]
    fn frames_from_before_the_press_are_passed_over() {
        assert_eq!(taken(&began(&[400, 410, 420, 1003])), Some(3));
        assert_eq!(taken(&began(&[999, 1005])), Some(1));
        assert_eq!(taken(&began(&[1000])), Some(0));
    }

    #[test]
    fn a_frame_that_ended_after_the_press_may_have_begun_before_it() {
        assert_eq!(taken(&ended(&[400, 410, 1005, 1020, 1030])), Some(3));
        assert_eq!(taken(&ended(&[1000, 1008])), Some(1));
    }

    #[test]
    fn stamps_that_run_ahead_are_set_right() {
        // Handed out at 1001, 1011, 1021 and so on, each stamped 90 later, as vivid does.
        assert_eq!(taken(&ended(&[1091, 1101, 1111, 1121])), Some(1));
        // Two ended before the press, though their stamps say otherwise: the warm-up has shown by how much they run ahead.
        let mut ahead = TimestampSkew::default();
        assert!(ahead.learn(BufferTimestamp::Ended(590), 500));
        let mut freshness = Freshness::new(1000, &mut ahead);
        let fresh = [1040, 1050, 1100, 1110].map(|us| freshness.is_fresh(Some(BufferTimestamp::Ended(us)), 1101));
        assert_eq!(fresh, [false, false, false, true]);
    }

    #[test]
    fn stamps_of_another_clock_are_not_believed() {
        let eight_passed = Some(8);
        let wall = |n: u64| Some(BufferTimestamp::Began(1_700_000_000_000_000 + n));
        assert_eq!(taken(&(0..20).map(wall).collect::<Vec<_>>()), eight_passed);
        assert_eq!(taken(&[None; 20]), eight_passed);
        assert_eq!(taken(&[Some(BufferTimestamp::Began(0)); 20]), eight_passed);
        assert_eq!(taken(&[Some(BufferTimestamp::Ended(1000)); 20]), eight_passed);
        assert_eq!(taken(&[None; 8]), None);
    }
}
