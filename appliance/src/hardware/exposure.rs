//! When a camera has found its exposure. Pure.

/// Number of frames in a row that are as bright as the one before: a control loop that swings crosses the right value as well, but
/// does not stay there.
const STEADY_FRAMES: u32 = 3;
/// The change, of 255, that noise and flickering light cause.
const TOLERANCE: u8 = 4;

#[derive(Debug, Default)]
pub(crate) struct Exposure {
    last: Option<u8>,
    steady: u32,
}

impl Exposure {
    /// `brightness`: of the next frame, 0 to 255; `None` = it could not be seen.
    pub(crate) fn is_steady(&mut self, brightness: Option<u8>) -> bool {
        let steady = self.last.zip(brightness).is_some_and(|(last, now)| last.abs_diff(now) <= TOLERANCE);
        self.steady = if steady { self.steady + 1 } else { 0 };
        self.last = brightness;
        self.steady >= STEADY_FRAMES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames_until_steady(seen: &[Option<u8>]) -> Option<usize> {
        let mut exposure = Exposure::default();
        seen.iter().position(|&now| exposure.is_steady(now)).map(|at| at + 1)
    }

    #[test]
    fn a_picture_that_still_brightens_is_waited_for() {
        let rising: Vec<_> = (0..20).map(|n: u8| Some((n * 10).min(120))).collect();
        // 120 is reached by the thirteenth frame.
        assert_eq!(frames_until_steady(&rising), Some(16));
        let swinging = [10, 200, 80, 130, 100, 112, 108, 110, 110].map(Some);
        assert_eq!(frames_until_steady(&swinging), Some(9));
        assert_eq!(frames_until_steady(&[Some(90); 9]), Some(4));
        assert_eq!(frames_until_steady(&[None; 9]), None);
        let damaged = [90, 90, 90].map(Some);
        let one_damaged = [&damaged[..], &[None], &damaged, &[Some(90)]].concat();
        assert_eq!(frames_until_steady(&one_damaged), Some(8));
    }
}
