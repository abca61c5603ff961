//! Turns edges of the button into presses and holds. Pure: edges and the time go in, [`Action`]s come out.
//!
//! A press takes a picture on press-down, whatever becomes of it: one picture too many is the cheaper mistake. Held on, it
//! comes to stages that the light shows, and letting go in one of them does what it stands for. Nothing is done while the
//! finger is still there, so a person in the wrong stage can wait for the next, and in the last one
//! nothing is done at all.

use std::time::Duration;

/// From here on letting go means [`HoldAction::Reconnect`].
pub(crate) const RECONNECT_FROM: Duration = Duration::from_secs(5);
/// From here on letting go means [`HoldAction::Forget`].
pub(crate) const FORGET_FROM: Duration = Duration::from_secs(10);
/// From here on letting go means nothing.
pub(crate) const CANCELLED_FROM: Duration = Duration::from_secs(15);

/// The stage of a button that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum HoldStage {
    Reconnect,
    Forget,
    Cancelled,
}

/// The action that a person requests by holding the button and releasing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HoldAction {
    /// Read camera.toml again, reconnect, write the status file.
    Reconnect,
    /// Forget which cloud this camera belongs to; keep the pictures.
    Forget,
}

/// An action that an edge or the time calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Take a picture. The time is that of the touch.
    Press {
        at_us: u64,
    },
    /// Show that the button is held so long, or is not held any more.
    Show(Option<HoldStage>),
    Perform(HoldAction),
}

/// The state of one button. All times are of one clock, in microseconds.
#[derive(Debug, Default)]
pub(crate) struct Gesture {
    /// Touches closer together than this are one press.
    repeat_min: Duration,
    pressed_at: Option<u64>,
    /// Since when it is down.
    down_at: Option<u64>,
    shown: Option<HoldStage>,
}

impl Gesture {
    pub(crate) fn new(repeat_min: Duration) -> Self {
        Self { repeat_min, ..Self::default() }
    }

    /// The button was pressed down at `at_us`, or let go.
    pub(crate) fn on_edge(&mut self, down: bool, at_us: u64) -> Vec<Action> {
        if down {
            self.on_press(at_us)
        } else {
            self.on_release(at_us)
        }
    }

    /// Nothing happened until now.
    pub(crate) fn on_timeout(&mut self, now_us: u64) -> Option<Action> {
        let stage = self.down_at.and_then(|since| stage(since, now_us));
        if stage == self.shown {
            return None;
        }
        self.shown = stage;
        Some(Action::Show(stage))
    }

    /// When to call [`Self::on_timeout`] if nothing happens before.
    pub(crate) fn deadline_us(&self) -> Option<u64> {
        let since = self.down_at?;
        let from = match self.shown {
            None => RECONNECT_FROM,
            Some(HoldStage::Reconnect) => FORGET_FROM,
            Some(HoldStage::Forget) => CANCELLED_FROM,
            Some(HoldStage::Cancelled) => return None,
        };
        Some(since.saturating_add(micros(from)))
    }

    fn on_press(&mut self, at_us: u64) -> Vec<Action> {
        // An end that was not told is no reason to hold on forever: the time starts again.
        self.down_at = Some(at_us);
        let mut actions: Vec<Action> = self.hide_stage().into_iter().collect();
        // Nobody presses twice within the gap: that is a worn contact.
        let gap = micros(self.repeat_min);
        let new = self.pressed_at.is_none_or(|last| at_us.saturating_sub(last) >= gap);
        if new {
            self.pressed_at = Some(at_us);
            actions.push(Action::Press { at_us });
        }
        actions
    }

    fn on_release(&mut self, at_us: u64) -> Vec<Action> {
        let Some(since) = self.down_at.take() else {
            return Vec::new();
        };
        let wish = match stage(since, at_us) {
            None | Some(HoldStage::Cancelled) => None,
            Some(HoldStage::Reconnect) => Some(Action::Perform(HoldAction::Reconnect)),
            Some(HoldStage::Forget) => Some(Action::Perform(HoldAction::Forget)),
        };
        self.hide_stage().into_iter().chain(wish).collect()
    }

    fn hide_stage(&mut self) -> Option<Action> {
        self.shown.take().map(|_| Action::Show(None))
    }
}

fn stage(since_us: u64, now_us: u64) -> Option<HoldStage> {
    let held = Duration::from_micros(now_us.saturating_sub(since_us));
    if held < RECONNECT_FROM {
        None
    } else if held < FORGET_FROM {
        Some(HoldStage::Reconnect)
    } else if held < CANCELLED_FROM {
        Some(HoldStage::Forget)
    } else {
        Some(HoldStage::Cancelled)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GAP: Duration = Duration::from_millis(300);
    const MS: u64 = 1000;

    /// Holds it for `held_ms` and returns what is done when it is let go, and what was shown meanwhile.
    fn held(held_ms: u64) -> (Option<HoldAction>, Vec<Option<HoldStage>>) {
        let mut gesture = Gesture::new(GAP);
        let begin = 7_000 * MS;
        let press = Action::Press { at_us: begin };
        assert_eq!(gesture.on_edge(true, begin), [press], "on press-down");
        let end = begin + held_ms * MS;
        let mut shown = Vec::new();
        while let Some(due) = gesture.deadline_us().filter(|due| *due < end) {
            match gesture.on_timeout(due) {
                Some(Action::Show(stage)) => shown.push(stage),
                other => panic!("{other:?} while it is held"),
            }
        }
        let mut wish = None;
        for action in gesture.on_edge(false, end) {
            match action {
                Action::Press { .. } => panic!("a picture on letting go"),
                Action::Show(stage) => shown.push(stage),
                Action::Perform(done) => assert_eq!(wish.replace(done), None),
            }
        }
        (wish, shown)
    }

    #[test]
    fn how_long_it_is_held_says_what_is_meant() {
        use HoldStage::{Cancelled, Forget, Reconnect};
        for (held_ms, wish, shown) in [
            (0, None, vec![]),
            (120, None, vec![]),
            (4_999, None, vec![]),
            (5_000, Some(HoldAction::Reconnect), vec![]),
            (5_001, Some(HoldAction::Reconnect), vec![Some(Reconnect), None]),
            (9_999, Some(HoldAction::Reconnect), vec![Some(Reconnect), None]),
            (10_001, Some(HoldAction::Forget), vec![Some(Reconnect), Some(Forget), None]),
            (14_999, Some(HoldAction::Forget), vec![Some(Reconnect), Some(Forget), None]),
            (15_001, None, vec![Some(Reconnect), Some(Forget), Some(Cancelled), None]),
            (3_600_000, None, vec![Some(Reconnect), Some(Forget), Some(Cancelled), None]),
        ] {
            assert_eq!(held(held_ms), (wish, shown), "{held_ms} ms");
        }
    }

    #[test]
    fn a_worn_contact_is_one_press() {
        for (gap_ms, second) in [(299, false), (300, true), (0, false)] {
            let mut gesture = Gesture::new(GAP);
            gesture.on_edge(true, 1_000 * MS);
            gesture.on_edge(false, 1_000 * MS);
            let at_us = (1_000 + gap_ms) * MS;
            let actions = gesture.on_edge(true, at_us);
            let press = Action::Press { at_us };
            assert_eq!(actions.contains(&press), second, "{gap_ms} ms");
        }
        let mut eager = Gesture::new(Duration::ZERO);
        assert_eq!(eager.on_edge(true, 5).len(), 1);
        assert_eq!(eager.on_edge(true, 5).len(), 1);
    }

    #[test]
    fn letting_go_of_what_was_held_at_the_start_means_nothing() {
        let mut gesture = Gesture::new(GAP);
        assert_eq!(gesture.on_edge(false, 60_000 * MS), []);
        assert_eq!(gesture.deadline_us(), None);
    }

    #[test]
    fn a_contact_that_flickers_while_it_is_held_begins_anew() {
        let mut gesture = Gesture::new(GAP);
        gesture.on_edge(true, 0);
        assert!(gesture.on_timeout(6_000 * MS).is_some());
        // The end of the first was missed.
        let actions = gesture.on_edge(true, 8_000 * MS);
        assert_eq!(actions[0], Action::Show(None));
        assert_eq!(gesture.on_edge(false, 12_000 * MS), [], "held for four seconds");
    }

    proptest! {
        /// Whatever is touched when, and however late this is told.
        #[test]
        fn nothing_is_done_but_on_letting_go_and_the_light_is_given_back(
            touches in proptest::collection::vec((any::<bool>(), 0..20_000u64, any::<bool>()), 0..60),
        ) {
            let mut gesture = Gesture::new(GAP);
            let (mut now, mut down_at, mut last_press) = (0, None, None);
            let mut shown = None;
            for (down, after_ms, looked) in touches {
                now += after_ms * MS;
                if looked && let Some(action) = gesture.on_timeout(now) {
                    let Action::Show(stage) = action else {
                        return Err(TestCaseError::fail("done while it is held"));
                    };
                    prop_assert!(down_at.is_some());
                    shown = stage;
                }
                for action in gesture.on_edge(down, now) {
                    match action {
                        Action::Press { at_us } => {
                            prop_assert!(down && at_us == now);
                            prop_assert!(last_press.is_none_or(|last| now - last >= 300 * MS));
                            last_press = Some(now);
                        }
                        Action::Show(stage) => shown = stage,
                        Action::Perform(wish) => {
                            let since: u64 = down_at.expect("it was down");
                            let held_s = (now - since) as f64 / 1e6;
                            prop_assert!(!down);
                            prop_assert_eq!(wish == HoldAction::Forget, held_s >= 10.0);
                            prop_assert!((5.0..15.0).contains(&held_s));
                        }
                    }
                }
                // Whatever was shown of the last hold is over.
                prop_assert_eq!(shown, None);
                down_at = down.then_some(now);
            }
        }
    }
}
