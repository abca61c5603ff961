//! Divides the memory of the ingest queue over the cameras: how many bytes each may have in flight without a receipt.
//! Pure: cameras, the backlog and the time go in, windows come out.
//!
//! All windows together never exceed one budget, so what cameras have in flight fits into the queue, whatever their
//! number. A camera may always have one message in flight, even with a window of 0. A grant ends when its camera has
//! stopped using it: camera and cloud both count down, the camera faster. A window begins small and doubles with every
//! receipt, so that a camera with nothing to send holds little of the budget.

use std::collections::HashMap;
use std::time::Duration;

use keepsake_protocol::DeviceId;
use keepsake_protocol::receipt::WINDOW_FOR;

/// Bytes that all cameras together may have in flight without a receipt.
pub(crate) const WINDOW_BUDGET_BYTES: u64 = 32 * 1024 * 1024;
/// Bytes that a camera may have in flight before a receipt has granted it a window: the budget of 500 cameras that
/// come back together.
pub(crate) const START_WINDOW_BYTES: u64 = 64 * 1024;
/// Bytes that one camera may have in flight; the default of a camera's own setting.
const CAMERA_WINDOW_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// A grant counts for this long: the camera stops using it after [`WINDOW_FOR`], and a receipt may be on its way for
/// the rest.
const GRANT_FOR: Duration = WINDOW_FOR.saturating_mul(2);
/// Cameras with a grant at one time; further ones have a window of 0.
const CAMERAS_MAX: usize = 10_000;

/// The windows of all cameras that are sending.
#[derive(Debug, Default)]
pub(crate) struct WindowBudget {
    grants: HashMap<DeviceId, Grant>,
}

#[derive(Debug)]
struct Grant {
    bytes: u64,
    until: Duration,
}

impl WindowBudget {
    /// Returns the window of a camera, bytes: an equal share of what the backlog leaves of the budget, and at most twice
    /// the window before.
    ///
    /// `backlog_bytes`: received and not committed yet. `now`: since any fixed moment.
    pub(crate) fn grant(&mut self, device: &DeviceId, backlog_bytes: u64, now: Duration) -> u64 {
        self.grants.retain(|_, grant| now < grant.until);
        let before = self.grants.remove(device).map_or(0, |grant| grant.bytes);
        if self.grants.len() >= CAMERAS_MAX {
            return 0;
        }
        let of_others: u64 = self.grants.values().map(|grant| grant.bytes).sum();
        let cameras = self.grants.len() as u64 + 1;
        let share = WINDOW_BUDGET_BYTES.saturating_sub(backlog_bytes) / cameras;
        let bytes = share
            .min(WINDOW_BUDGET_BYTES.saturating_sub(of_others))
            .min((before * 2).clamp(START_WINDOW_BYTES, CAMERA_WINDOW_BYTES_MAX));
        self.grants.insert(device.clone(), Grant { bytes, until: now + GRANT_FOR });
        bytes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn camera(number: u32) -> DeviceId {
        format!("camera-{number}").parse().unwrap()
    }

    /// Lets these cameras have receipts until their windows do not grow any more. Returns the window of the last one.
    fn settle(budget: &mut WindowBudget, cameras: std::ops::RangeInclusive<u32>, now: Duration) -> u64 {
        let rounds = std::iter::repeat_n(cameras, 10).flatten();
        rounds.map(|number| budget.grant(&camera(number), 0, now)).last().unwrap()
    }

    #[test]
    fn one_camera_gets_the_largest_window_and_many_get_equal_shares() {
        let mut budget = WindowBudget::default();
        assert_eq!(budget.grant(&camera(1), 0, Duration::ZERO), START_WINDOW_BYTES);
        assert_eq!(budget.grant(&camera(1), 0, Duration::ZERO), START_WINDOW_BYTES * 2);
        assert_eq!(settle(&mut budget, 1..=1, Duration::ZERO), CAMERA_WINDOW_BYTES_MAX);
        settle(&mut budget, 1..=100, Duration::ZERO);
        for number in 1..=100 {
            assert_eq!(budget.grant(&camera(number), 0, Duration::ZERO), WINDOW_BUDGET_BYTES / 100);
        }
    }

    #[test]
    fn cameras_with_nothing_to_send_leave_the_budget_to_the_others() {
        let mut budget = WindowBudget::default();
        for number in 1..=100 {
            // One receipt, as for an empty inventory.
            budget.grant(&camera(number), 0, Duration::ZERO);
        }
        let window = settle(&mut budget, 101..=101, Duration::ZERO);
        assert_eq!(window, WINDOW_BUDGET_BYTES / 101, "an equal share");
    }

    #[test]
    fn a_full_queue_leaves_one_message_at_a_time() {
        let mut budget = WindowBudget::default();
        assert_eq!(budget.grant(&camera(1), WINDOW_BUDGET_BYTES, Duration::ZERO), 0);
        assert_eq!(budget.grant(&camera(1), u64::MAX, Duration::ZERO), 0);
    }

    #[test]
    fn what_silent_cameras_had_goes_to_the_others() {
        let mut budget = WindowBudget::default();
        settle(&mut budget, 1..=1000, Duration::ZERO);
        let before = budget.grant(&camera(1), 0, GRANT_FOR - Duration::from_nanos(1));
        assert!(before <= WINDOW_BUDGET_BYTES / 1000, "{before}");
        assert_eq!(settle(&mut budget, 1..=1, GRANT_FOR), CAMERA_WINDOW_BYTES_MAX);
    }

    #[test]
    fn the_number_of_cameras_is_bounded() {
        let mut budget = WindowBudget::default();
        for number in 0..=u32::try_from(CAMERAS_MAX).unwrap() {
            budget.grant(&camera(number), WINDOW_BUDGET_BYTES, Duration::ZERO);
        }
        assert_eq!(budget.grants.len(), CAMERAS_MAX);
    }

    proptest! {
        #[test]
        fn all_windows_together_never_exceed_the_budget(
            steps in proptest::collection::vec(
                (
                    0_u32..20,
                    1_usize..10,
                    prop_oneof![3 => Just(0), 1 => 0_u64..WINDOW_BUDGET_BYTES * 2],
                    prop_oneof![9 => Just(0), 1 => 0_u64..40],
                ),
                1..60,
            ),
        ) {
            let mut budget = WindowBudget::default();
            // What each camera may use: a grant, for the time that the protocol allows.
            let mut used: BTreeMap<u32, (u64, Duration)> = BTreeMap::new();
            let mut now = Duration::ZERO;
            for (number, receipts, backlog, pause_s) in steps {
                now += Duration::from_secs(pause_s);
                let windows = (0..receipts).map(|_| budget.grant(&camera(number), backlog, now));
                let window = windows.last().unwrap();
                prop_assert!(window <= CAMERA_WINDOW_BYTES_MAX);
                used.insert(number, (window, now + WINDOW_FOR));
                let in_flight: u64 = used.values().filter(|(_, until)| now < *until).map(|(bytes, _)| bytes).sum();
                prop_assert!(in_flight <= WINDOW_BUDGET_BYTES, "{in_flight}");
            }
        }

        #[test]
        fn a_longer_backlog_never_gives_a_larger_window(
            others in proptest::collection::vec(0_u64..WINDOW_BUDGET_BYTES, 0..30),
            backlog in 0_u64..WINDOW_BUDGET_BYTES * 2,
            more in 0_u64..WINDOW_BUDGET_BYTES,
        ) {
            let window = |backlog| {
                let mut budget = WindowBudget::default();
                for (number, backlog) in (1..).zip(&others) {
                    budget.grant(&camera(number), *backlog, Duration::ZERO);
                }
                budget.grant(&camera(0), backlog, Duration::ZERO)
            };
            prop_assert!(window(backlog + more) <= window(backlog));
        }
    }
}
