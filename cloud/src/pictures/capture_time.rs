//! When a picture was taken, as honestly as it can be said: an interval that contains the true moment, and why it is
//! not narrower. Pure: no clock, no store.
//!
//! A *claim* is what a clock said that followed a source of time: the camera's at the press, or a boot line of the same
//! boot. Claims that agree are believed, the narrowest one. Claims that contradict each other beyond their errors mean
//! that a person set the clock, and it is unknown which of them was right: then the interval covers all of them.
//! *Bounds* are what is known without any clock of the camera: it was pressed before it was sent, and not before what
//! the card had noted. They are the answer where there is no claim, and the check where there is one.

use keepsake_protocol::clock::{ClockReading, drift_us, to_signed};
use keepsake_protocol::event::BootClockOffset;
use serde::Serialize;

/// The clock of the cloud itself is right to this, microseconds.
const CLOUD_CLOCK_US: i64 = 2_000_000;
/// Clock and bounds may differ by this much, microseconds, before they contradict each other: a cloud on a person's
/// desk has a clock like any other.
const BELIEVED_US: i64 = 5 * 60 * 1_000_000;
/// 1 January 2024: there was no such camera before. An earlier bound is none.
const FIRST_POSSIBLE_US: i64 = 1_704_067_200_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeSource {
    /// The camera's clock followed a source of time at the press.
    Synchronised,
    /// It did so at another moment of the same boot.
    Corrected,
    /// It is known only from what came before and after, or clocks contradict each other.
    Estimated,
}

/// The moment of a press, microseconds UTC. `earliest_us <= best_us <= latest_us`, and the true one lies between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CaptureTime {
    #[serde(rename = "state")]
    pub source: TimeSource,
    /// Absent where nothing is known of what came before.
    pub earliest_us: Option<i64>,
    pub latest_us: i64,
    /// The one to show where only one can be shown.
    pub best_us: i64,
    /// Clocks contradict each other, or what else is known.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub contradicted: bool,
}

impl CaptureTime {
    /// Returns the largest error of `best_us`, microseconds; `None` where there is no earliest moment.
    pub fn error_us(&self) -> Option<u64> {
        let before_us = self.best_us.saturating_sub(self.earliest_us?);
        let after_us = self.latest_us.saturating_sub(self.best_us);
        u64::try_from(before_us.max(after_us)).ok()
    }
}

/// All that one picture tells of its press.
#[derive(Debug, Clone, Copy)]
pub struct PressEvidence<'a> {
    pub clock: &'a ClockReading,
    /// The commit, by the cloud's clock.
    pub stored_us: i64,
    /// From the press until the try that brought it began; only where both were in one boot.
    pub sent_after_us: Option<u64>,
    /// The latest time that the camera knew to be past at the press.
    pub not_before_us: Option<i64>,
}

/// Returns the capture time of an uploaded file: it was taken before.
pub fn upload_time(stored_us: i64) -> CaptureTime {
    guess(None, stored_us.saturating_add(CLOUD_CLOCK_US), stored_us, false)
}

/// `lines`: those of the picture's boot, in any order; others must not be among them.
pub fn capture_time(press: &PressEvidence<'_>, lines: &[BootClockOffset]) -> CaptureTime {
    let at_us = press.clock.boottime_us;
    let own = BootClockOffset::from_reading(press.clock);
    let state = if own.is_some() {
        TimeSource::Synchronised
    } else {
        TimeSource::Corrected
    };
    let bounds = bounds(press, lines);
    let claims: Vec<Span> = lines
        .iter()
        .chain(&own)
        .filter(|line| !line.estimated)
        .map(|line| line.wall_interval(at_us))
        .collect();
    let wall_us = press.clock.wall_us;
    let Some(narrowest) = claims.iter().min_by_key(|span| width(**span)).copied() else {
        return guess(bounds.earliest_us, bounds.latest_us, wall_us, bounds.contradicted);
    };
    let latest_begin = claims.iter().map(|span| span.0).max();
    let earliest_end = claims.iter().map(|span| span.1).min();
    if latest_begin <= earliest_end {
        let (earliest_us, latest_us) = narrowest;
        if bounds.allow(narrowest) {
            return CaptureTime {
                source: state,
                earliest_us: Some(earliest_us),
                latest_us,
                best_us: middle(narrowest),
                contradicted: false,
            };
        }
        return guess(
            bounds.earliest_us.map(|bound| bound.min(earliest_us)),
            bounds.latest_us.max(latest_us),
            wall_us,
            true,
        );
    }
    let covering = claims.iter().fold(narrowest, |all, one| (all.0.min(one.0), all.1.max(one.1)));
    // The bounds are nobody's clock, so they cut off what cannot be; unless they leave nothing.
    let cut = (
        bounds.earliest_us.map_or(covering.0, |bound| bound.max(covering.0)),
        bounds.latest_us.min(covering.1),
    );
    if !bounds.contradicted && cut.0 <= cut.1 {
        guess(Some(cut.0), cut.1, wall_us, true)
    } else {
        guess(
            bounds.earliest_us.map(|bound| bound.min(covering.0)),
            bounds.latest_us.max(covering.1),
            wall_us,
            true,
        )
    }
}

/// Earliest and latest, microseconds UTC.
type Span = (i64, i64);

fn width((earliest_us, latest_us): Span) -> u64 {
    latest_us.abs_diff(earliest_us)
}

fn middle((earliest_us, latest_us): Span) -> i64 {
    earliest_us.midpoint(latest_us)
}

struct Bounds {
    earliest_us: Option<i64>,
    latest_us: i64,
    contradicted: bool,
}

impl Bounds {
    fn allow(&self, (earliest_us, latest_us): Span) -> bool {
        let (early, late) = (earliest_us.saturating_sub(BELIEVED_US), latest_us.saturating_add(BELIEVED_US));
        early <= self.latest_us && self.earliest_us.is_none_or(|bound| late >= bound)
    }
}

fn bounds(press: &PressEvidence<'_>, lines: &[BootClockOffset]) -> Bounds {
    let guesses = || {
        lines
            .iter()
            .filter(|line| line.estimated)
            .map(|line| line.wall_interval(press.clock.boottime_us))
    };
    // A camera that has learnt that a clock was wrong estimates again: one of its estimates is right.
    let earliest_us = guesses()
        .map(|(earliest_us, _)| earliest_us)
        .min()
        .max(press.not_before_us)
        .filter(|bound| *bound > FIRST_POSSIBLE_US);
    let sent_after_us = press.sent_after_us.unwrap_or(0);
    let arrived_us = press
        .stored_us
        .saturating_sub(to_signed(sent_after_us.saturating_sub(drift_us(sent_after_us))))
        .saturating_add(CLOUD_CLOCK_US);
    let latest_us = guesses()
        .map(|(_, latest_us)| latest_us)
        .max()
        .map_or(arrived_us, |guessed_us| guessed_us.min(arrived_us));
    match earliest_us {
        // One of them is wrong, and with it all that follows from it.
        Some(bound) if bound > latest_us => Bounds {
            earliest_us: None,
            latest_us: bound.max(arrived_us),
            contradicted: true,
        },
        Some(_) | None => Bounds { earliest_us, latest_us, contradicted: false },
    }
}

/// `wall_us`: what the camera's clock showed; it is the best there is if it is possible, for a clock that nothing has
/// set may well have gone on from where it was.
fn guess(earliest_us: Option<i64>, latest_us: i64, wall_us: i64, contradicted: bool) -> CaptureTime {
    let latest_us = earliest_us.map_or(latest_us, |earliest_us| earliest_us.max(latest_us));
    let best_us = match earliest_us {
        Some(earliest_us) if (earliest_us..=latest_us).contains(&wall_us) => wall_us,
        Some(earliest_us) => middle((earliest_us, latest_us)),
        None if (FIRST_POSSIBLE_US..=latest_us).contains(&wall_us) => wall_us,
        None => latest_us,
    };
    CaptureTime {
        source: TimeSource::Estimated,
        earliest_us,
        latest_us,
        best_us,
        contradicted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keepsake_protocol::BootId;
    use proptest::prelude::*;

    const BOOT: BootId = BootId([7; 16]);
    const S: i64 = 1_000_000;
    const HOUR: i64 = 3600 * S;
    const DAY: i64 = 24 * HOUR;
    /// When the boot truly began.
    const BEGAN: i64 = 1_795_000_000 * S;

    fn us(signed: i64) -> u64 {
        u64::try_from(signed).unwrap()
    }

    /// A moment `at` after the boot, by a clock that is `off`.
    fn moment(at: i64, off: i64, synchronised: bool) -> ClockReading {
        ClockReading {
            boot: BOOT,
            boottime_us: us(at),
            wall_us: BEGAN + at + off,
            synchronised,
            error_us: 40_000,
        }
    }

    fn line(at: i64, off: i64) -> BootClockOffset {
        BootClockOffset::from_reading(&moment(at, off, true)).unwrap()
    }

    fn between(earliest: i64, latest: i64) -> BootClockOffset {
        BootClockOffset {
            offset_us: middle((earliest, latest)),
            error_us: us(latest - earliest) / 2,
            at_us: None,
            estimated: true,
            ..line(0, 0)
        }
    }

    /// Pressed an hour after the boot, stored a day later after a restart.
    fn check(
        clock: ClockReading,
        not_before: Option<i64>,
        lines: &[BootClockOffset],
        (state, earliest, latest, contradicted): (TimeSource, Option<i64>, i64, bool),
    ) {
        let press = PressEvidence {
            clock: &clock,
            stored_us: BEGAN + DAY - CLOUD_CLOCK_US,
            sent_after_us: None,
            not_before_us: not_before.map(|bound| BEGAN + bound),
        };
        let taken = capture_time(&press, lines);
        assert_eq!(taken.source, state, "{taken:?}");
        assert_eq!(taken.contradicted, contradicted, "{taken:?}");
        // To the second: the drift of an hour is 1.8 s.
        let near = |found: i64, expected: i64| (found - BEGAN - expected).abs() <= 2 * S;
        assert!(near(taken.latest_us, latest), "{taken:?}");
        assert_eq!(taken.earliest_us.is_some(), earliest.is_some(), "{taken:?}");
        if let (Some(found), Some(expected)) = (taken.earliest_us, earliest) {
            assert!(near(found, expected), "{taken:?}");
        }
    }

    #[test]
    fn each_case_is_said_as_sure_as_it_is() {
        use TimeSource::{Corrected, Estimated, Synchronised};
        let sure = moment(HOUR, 0, true);
        let unset = moment(HOUR, -BEGAN, false);
        check(sure, None, &[], (Synchronised, Some(HOUR), HOUR, false));
        check(sure, Some(0), &[line(0, 0)], (Synchronised, Some(HOUR), HOUR, false));
        check(unset, None, &[line(2 * HOUR, 0)], (Corrected, Some(HOUR), HOUR, false));
        // Nothing at all, and what was noted before.
        check(unset, None, &[], (Estimated, None, DAY, false));
        check(unset, Some(-DAY), &[], (Estimated, Some(-DAY), DAY, false));
        // What lies between the boots around it.
        let around = between(BEGAN - HOUR, BEGAN + 2 * HOUR);
        check(unset, Some(-DAY), std::slice::from_ref(&around), (Estimated, Some(0), 3 * HOUR, false));
        check(unset, Some(30 * 60 * S), &[around], (Estimated, Some(30 * 60 * S), 3 * HOUR, false));
        // Set back by a day, and still called synchronised: before and after the press, and at the press itself.
        let twice = [line(0, 0), line(2 * HOUR, -DAY)];
        check(unset, None, &twice, (Estimated, Some(HOUR - DAY), HOUR, true));
        check(sure, None, &[line(0, -DAY)], (Estimated, Some(HOUR - DAY), HOUR, true));
        // By all that the card knows it was later.
        let back = moment(HOUR, -DAY, true);
        check(back, Some(0), &[], (Estimated, Some(HOUR - DAY), DAY, true));
        // Set forward by two days: it would have been stored before it was pressed.
        let forward = moment(HOUR, 2 * DAY, true);
        check(forward, Some(0), &[], (Estimated, Some(0), HOUR + 2 * DAY, true));
        check(forward, None, &[line(0, 0)], (Estimated, Some(HOUR), DAY, true));
        // Card and cloud contradict each other.
        check(unset, Some(3 * DAY), &[], (Estimated, None, 3 * DAY, true));
        // A clock of the cloud that is a little behind takes nothing away.
        let ahead = moment(DAY + 60 * S, 0, true);
        check(ahead, None, &[], (Synchronised, Some(DAY + 60 * S), DAY + 60 * S, false));
    }

    #[test]
    fn an_upload_was_taken_before_it_came() {
        let taken = upload_time(BEGAN);
        assert_eq!((taken.source, taken.earliest_us), (TimeSource::Estimated, None));
        assert!(taken.latest_us >= BEGAN);
        assert_eq!(taken.error_us(), None);
    }

    #[derive(Debug, Clone)]
    struct Reading {
        at: i64,
        error: i64,
        /// The part of its error that it has used up, thousandths.
        used: i64,
    }

    fn reading() -> impl Strategy<Value = Reading> {
        (0..3 * DAY, 0..60 * S, -1000..=1000_i64).prop_map(|(at, error, used)| Reading { at, error, used })
    }

    proptest! {
        /// The model knows the true time. Readings that are honest are within their error; the clock of the camera runs
        /// up to 450 millionths fast or slow; lies are more than a day off, and there are none without an honest line.
        #[test]
        fn what_is_said_contains_the_true_moment(
            rate in -450..=450_i64,
            pressed in 0..3 * DAY,
            own in prop::option::of(reading()),
            lines in prop::collection::vec(reading(), 0..4),
            lies in prop::collection::vec((0..3 * DAY, prop::sample::select(vec![-3 * DAY, -2 * DAY, 2 * DAY])), 0..3),
            noted in prop::option::of(0..10 * DAY),
            next in prop::option::of((0..DAY, 0..DAY)),
            waited in 0..5 * DAY,
            same_boot: bool,
            unset in any::<i64>(),
        ) {
            let true_at = |boottime: i64| BEGAN + boottime + boottime / 1_000_000 * rate;
            let claim = |reading: &Reading, at: i64| {
                let wall = true_at(at) + reading.error * reading.used / 1000;
                ClockReading { boot: BOOT, boottime_us: us(at), wall_us: wall, synchronised: true, error_us: us(reading.error) }
            };
            let mut all: Vec<BootClockOffset> = lines
                .iter()
                .map(|reading| BootClockOffset::from_reading(&claim(reading, reading.at)).unwrap())
                .collect();
            if !all.is_empty() || own.is_some() {
                all.extend(lies.iter().map(|(at, off)| line(*at, *off)));
            }
            if let Some((before, after)) = next {
                let bound = between(true_at(0) - before, true_at(0) + after);
                // What a guessed line says holds for the whole boot, so it allows for the drift itself.
                all.push(BootClockOffset { error_us: bound.error_us + drift_us(us(3 * DAY)), ..bound });
            }
            let moment = own.map_or(
                ClockReading { boot: BOOT, boottime_us: us(pressed), wall_us: unset, synchronised: false, error_us: 0 },
                |reading| claim(&reading, pressed),
            );
            let sent = pressed + waited;
            let press = PressEvidence {
                clock: &moment,
                stored_us: true_at(sent) + 5 * S,
                sent_after_us: same_boot.then_some(us(waited)),
                not_before_us: noted.map(|ago| true_at(pressed) - ago),
            };
            let taken = capture_time(&press, &all);
            let truth = true_at(pressed);
            prop_assert!(taken.earliest_us.is_none_or(|earliest| earliest <= truth), "{taken:?} {truth}");
            prop_assert!(truth <= taken.latest_us, "{taken:?} {truth}");
            prop_assert!(taken.best_us <= taken.latest_us);
            prop_assert!(taken.earliest_us.is_none_or(|earliest| earliest <= taken.best_us));
        }

        #[test]
        fn no_claim_of_a_camera_panics(
            boottime: u64, wall: i64, synchronised: bool, error: u64, stored: i64, sent: Option<u64>, noted: Option<i64>,
            lines in prop::collection::vec((any::<i64>(), any::<u64>(), any::<Option<u64>>(), any::<bool>()), 0..4),
        ) {
            let moment = ClockReading { boot: BOOT, boottime_us: boottime, wall_us: wall, synchronised, error_us: error };
            let lines: Vec<_> = lines
                .into_iter()
                .map(|(offset_us, error_us, at_us, guessed)| BootClockOffset { boot: BOOT, offset_us, error_us, at_us, estimated: guessed, spool: None })
                .collect();
            let press = PressEvidence { clock: &moment, stored_us: stored, sent_after_us: sent, not_before_us: noted };
            let taken = capture_time(&press, &lines);
            prop_assert!(taken.earliest_us.is_none_or(|earliest| earliest <= taken.best_us));
            prop_assert!(taken.best_us <= taken.latest_us);
            taken.error_us();
        }
    }
}
