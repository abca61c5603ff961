//! The known times of this boot and of those before it. Pure: clock readings go in, boot-clock offsets come out.
//!
//! A boot whose clock was synchronised once is known by a line, and its pictures are corrected by it. A boot that never
//! was lies between its neighbours: it began after the latest time noted before it, and ended before the next one began.
//! Lines of one boot that contradict each other beyond their errors are all kept and all reported: a person set the clock,
//! and only an interval that covers all of them is honest.
//!
//! Everything here holds for the true time, whatever the clock shows, as long as no clock that was called synchronised
//! was wrong for a whole boot. Source: docs/decisions/0007-honest-time.md.

use keepsake_protocol::BootId;
use keepsake_protocol::clock::{ClockReading, drift_us, to_signed};
use keepsake_protocol::event::BootClockOffset;
use serde::{Deserialize, Serialize};

/// The history is to be written to the card at least this often, microseconds.
pub(crate) const WRITE_EVERY_US: u64 = 5 * 60 * 1_000_000;
/// Boots remembered; older ones are as unsure as they were when they were forgotten.
const BOOTS_MAX: usize = 32;
/// Lines of one boot. A clock that is set more often than this gets one line that covers the rest.
const LINES_MAX: usize = 16;
/// The cloud's clock is right to this, microseconds.
const CLOUD_CLOCK_ERROR_US: i64 = 2_000_000;
/// 1 January 2024: there was no such camera before.
const FIRST_POSSIBLE_US: i64 = 1_704_067_200_000_000;
/// When synchronisation is lost, its last reading gets a line of its own if its error is this factor smaller.
const MUCH_NARROWER: u64 = 4;

/// The boots of a card, oldest first; the last one is this.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BootHistory {
    boots: Vec<Boot>,
    /// The last synchronised moment of this boot, while it is synchronised.
    #[serde(skip)]
    claim: Option<BootClockOffset>,
}

/// One boot, or one stretch of it: a card may be carried to another machine and back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Boot {
    boot: BootId,
    /// CLOCK_BOOTTIME when the program first ran in it, microseconds.
    from_us: u64,
    /// The same when it was last noted.
    seen_us: u64,
    /// The time that was past then, without any clock of this boot.
    #[serde(rename = "floor", default, skip_serializing_if = "Option::is_none")]
    lower_bound: Option<LowerBound>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lines: Vec<BootClockOffset>,
    /// The guess that was told last, as the earliest and the latest offset.
    #[serde(rename = "told", default, skip_serializing_if = "Option::is_none")]
    reported: Option<(i64, i64)>,
}

/// At `at_us` of its boot it was not before `wall_us`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct LowerBound {
    wall_us: i64,
    at_us: u64,
}

impl LowerBound {
    /// The same, at another moment of the boot.
    fn at(self, boottime_us: u64) -> i64 {
        self.wall_us
            .saturating_add(to_signed(boottime_us))
            .saturating_sub(to_signed(self.at_us))
            .saturating_sub(to_signed(drift_us(self.at_us.abs_diff(boottime_us))))
    }
}

impl BootHistory {
    /// The program runs in the boot of `now`.
    pub(crate) fn begin(&mut self, now: &ClockReading) {
        if self.boots.last().is_some_and(|last| last.boot == now.boot) {
            return;
        }
        // What was known when the card was last written was past before the program could start here.
        let lower_bound = self.latest_known_us().map(|wall_us| LowerBound { wall_us, at_us: now.boottime_us });
        let lines = self
            .boots
            .iter()
            .rfind(|earlier| earlier.boot == now.boot)
            .map_or(Vec::new(), |earlier| earlier.lines.clone());
        self.boots.push(Boot {
            boot: now.boot,
            from_us: now.boottime_us,
            seen_us: now.boottime_us,
            lower_bound,
            lines,
            reported: None,
        });
        let excess = self.boots.len().saturating_sub(BOOTS_MAX);
        self.boots.drain(..excess);
    }

    /// The clock as it is now. Returns the lines that are news: to be kept durably, and told.
    pub(crate) fn observe(&mut self, now: &ClockReading) -> Vec<BootClockOffset> {
        let Some(current) = self.boots.last_mut().filter(|last| last.boot == now.boot) else {
            return Vec::new();
        };
        current.seen_us = current.seen_us.max(now.boottime_us);
        let Some(claim) = BootClockOffset::from_reading(now) else {
            let last = self.claim.take();
            return last.filter(|last| current.is_improved_by(last)).map_or(Vec::new(), |last| {
                current.lines.push(last.clone());
                vec![last]
            });
        };
        let news = current.add_line(&claim);
        self.claim = Some(claim);
        let Some(line) = news else { return Vec::new() };
        let mut reported = vec![line];
        reported.append(&mut self.guesses());
        reported
    }

    /// The cloud said what its clock shows, and `now` is not earlier.
    pub(crate) fn on_cloud_time(&mut self, cloud_us: i64, now: &ClockReading) {
        let Some(current) = self.boots.last_mut().filter(|last| last.boot == now.boot) else {
            return;
        };
        let wall_us = cloud_us.saturating_sub(CLOUD_CLOCK_ERROR_US);
        let is_news = current.lower_bound.is_none_or(|lower_bound| lower_bound.at(now.boottime_us) < wall_us);
        // Also where this camera has a clock that is called right: it may have been set back.
        if is_news {
            current.lower_bound = Some(LowerBound { wall_us, at_us: now.boottime_us });
        }
    }

    /// The earliest wall time that a press can have had, microseconds UTC, by all that is known but the clocks of its own
    /// boot: those are told in lines.
    pub(crate) fn not_before(&self, pressed: &ClockReading) -> Option<i64> {
        let at_us = pressed.boottime_us;
        let of_boot = || self.boots.iter().filter(|boot| boot.boot == pressed.boot);
        of_boot()
            .rfind(|boot| boot.from_us <= at_us)
            .or_else(|| of_boot().next())?
            .lower_bound
            .map(|lower_bound| lower_bound.at(at_us))
    }

    /// The latest wall time that is known to be past, microseconds UTC. It rises, unless clocks turn out to contradict
    /// each other.
    pub(crate) fn latest_known_us(&self) -> Option<i64> {
        let last = self.boots.last()?;
        let by_floor = last.lower_bound.map(|lower_bound| lower_bound.at(last.seen_us));
        let by_lines = last.span_at(last.seen_us).map(|(earliest_us, _)| earliest_us);
        by_floor.max(by_lines)
    }

    /// Returns the estimates that are new of the earlier boots whose clock was never set.
    fn guesses(&mut self) -> Vec<BootClockOffset> {
        let mut news = Vec::new();
        // The latest that the stretch after the one in hand can have begun.
        let mut ended_by_us: Option<i64> = None;
        for boot in self.boots.iter_mut().rev() {
            if let Some((_, latest_us)) = boot.span_at(boot.from_us) {
                ended_by_us = Some(latest_us);
                continue;
            }
            let Some(end_us) = ended_by_us else { break };
            let (earliest, latest) = boot.offsets(end_us);
            // It may have drifted apart from the offset that holds at its end.
            ended_by_us = Some(latest.saturating_add(to_signed(boot.from_us)));
            if earliest <= latest && boot.reported != Some((earliest, latest)) {
                boot.reported = Some((earliest, latest));
                news.push(BootClockOffset {
                    boot: boot.boot,
                    offset_us: earliest.midpoint(latest),
                    error_us: earliest.abs_diff(latest) / 2 + 1,
                    at_us: None,
                    estimated: true,
                    spool: None,
                });
            }
        }
        news
    }
}

impl Boot {
    /// Keeps what a synchronised clock says, if it is news: the first of this boot, or one that contradicts all others.
    fn add_line(&mut self, claim: &BootClockOffset) -> Option<BootClockOffset> {
        let at_us = claim.at_us.unwrap_or(self.seen_us);
        let claimed = claim.wall_interval(at_us);
        let known = |line: &BootClockOffset| {
            let line = line.wall_interval(at_us);
            line.0 <= claimed.1 && claimed.0 <= line.1
        };
        if self.lines.iter().any(known) {
            return None;
        }
        let line = match self.lines.last() {
            Some(last) if self.lines.len() >= LINES_MAX => {
                let line = covering_line(last, claim, at_us);
                self.lines.pop();
                line
            }
            Some(_) | None => claim.clone(),
        };
        self.lines.push(line.clone());
        Some(line)
    }

    /// Returns true if the moment of `claim` is known much better by it than by the lines there are.
    fn is_improved_by(&self, claim: &BootClockOffset) -> bool {
        let width = |line: &BootClockOffset| {
            let (earliest_us, latest_us) = line.wall_interval(claim.at_us.unwrap_or(0));
            earliest_us.abs_diff(latest_us)
        };
        let best = self.lines.iter().map(width).min();
        self.lines.len() < LINES_MAX / 2 && best.is_none_or(|best| best / MUCH_NARROWER > width(claim))
    }

    /// The wall time of a moment by the lines of this boot: where they agree, what they have in common, else all of them.
    fn span_at(&self, boottime_us: u64) -> Option<(i64, i64)> {
        let spans = || self.lines.iter().map(|line| line.wall_interval(boottime_us));
        let common = (
            spans().map(|(earliest_us, _)| earliest_us).max()?,
            spans().map(|(_, latest_us)| latest_us).min()?,
        );
        if common.0 <= common.1 {
            return Some(common);
        }
        Some((
            spans().map(|(earliest_us, _)| earliest_us).min()?,
            spans().map(|(_, latest_us)| latest_us).max()?,
        ))
    }

    /// The earliest and the latest offset of wall time to boot time, for the whole of a boot that never saw the time and
    /// was last noted before `end_us`.
    fn offsets(&self, end_us: i64) -> (i64, i64) {
        // After it was noted last it may have gone on for a while.
        let drift_us = to_signed(drift_us(self.seen_us.saturating_add(2 * WRITE_EVERY_US)));
        let latest = end_us.saturating_sub(to_signed(self.seen_us)).saturating_add(drift_us);
        let earliest = self
            .lower_bound
            .map_or(FIRST_POSSIBLE_US.saturating_sub(to_signed(self.seen_us)), |lower_bound| {
                lower_bound.at(0).saturating_sub(drift_us)
            });
        (earliest, latest)
    }
}

/// One line that holds wherever one of the two does, measured at `at_us` as `other` is.
fn covering_line(one: &BootClockOffset, other: &BootClockOffset, at_us: u64) -> BootClockOffset {
    let (a, b) = (one.wall_interval(at_us), other.wall_interval(at_us));
    let (earliest_us, latest_us) = (a.0.min(b.0), a.1.max(b.1));
    BootClockOffset {
        offset_us: earliest_us.midpoint(latest_us).saturating_sub(to_signed(at_us)),
        error_us: (earliest_us.abs_diff(latest_us) / 2).saturating_add(1),
        ..other.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: i64 = 1_000_000;
    const HOUR: i64 = 3600 * S;
    const DAY: i64 = 24 * HOUR;
    const START: i64 = 1_795_000_000 * S;

    fn us(signed: i64) -> u64 {
        u64::try_from(signed).unwrap()
    }

    /// The world of the test: it knows the true time, and clocks in it are as wrong as they may be.
    #[derive(Debug)]
    struct World {
        true_us: i64,
        boot: u8,
        booted_us: i64,
        /// The rate error of the clock of this boot, millionths.
        rate: i64,
        synchronised: Option<Sync>,
    }

    #[derive(Debug, Clone, Copy)]
    struct Sync {
        error: i64,
        /// Thousandths of the error.
        used: i64,
    }

    impl World {
        fn new() -> Self {
            Self {
                true_us: START,
                boot: 0,
                booted_us: START - 20 * S,
                rate: 0,
                synchronised: None,
            }
        }

        fn moment(&self) -> ClockReading {
            self.moment_by(self.synchronised, 0)
        }

        fn moment_by(&self, sync: Option<Sync>, off: i64) -> ClockReading {
            let alive = self.true_us - self.booted_us;
            let wall_us = sync.map_or(7 * S, |sync| self.true_us + sync.error * sync.used / 1000 + off);
            ClockReading {
                boot: BootId([self.boot; 16]),
                boottime_us: us(alive + alive / 1_000_000 * self.rate),
                wall_us,
                synchronised: sync.is_some(),
                error_us: us(sync.map_or(0, |sync| sync.error)),
            }
        }

        fn reboot(&mut self, off_for: i64, rate: i64) {
            self.true_us += off_for + 20 * S;
            self.booted_us = self.true_us - 20 * S;
            self.boot += 1;
            self.rate = rate;
            self.synchronised = None;
        }
    }

    /// A camera that takes pictures in that world, with its card.
    struct Camera {
        history: BootHistory,
        card: BootHistory,
        reported: Vec<BootClockOffset>,
        pressed: Vec<(ClockReading, i64)>,
    }

    impl Camera {
        fn new(world: &World) -> Self {
            let mut history = BootHistory::default();
            history.begin(&world.moment());
            Self {
                card: history.clone(),
                history,
                reported: Vec::new(),
                pressed: Vec::new(),
            }
        }

        fn observe(&mut self, now: &ClockReading) {
            let news = self.history.observe(now);
            if !news.is_empty() {
                self.card = self.history.clone();
            }
            self.reported.extend(news);
        }

        fn press(&mut self, world: &World) {
            self.pressed.push((world.moment(), world.true_us));
        }

        /// After a power cut, or a clean stop.
        fn start(&mut self, world: &World, clean: bool) {
            if !clean {
                self.history = self.card.clone();
            }
            // As it is read from the card.
            let json = serde_json::to_string(&self.history).unwrap();
            self.history = serde_json::from_str(&json).unwrap();
            self.history.begin(&world.moment());
            self.card = self.history.clone();
        }

        /// Returns the interval that a cloud states for one press.
        fn stated(&self, pressed: &ClockReading) -> (i64, i64) {
            let at_us = pressed.boottime_us;
            let of_boot = || self.reported.iter().filter(|line| line.boot == pressed.boot);
            let all = |guessed: bool| {
                let spans = || {
                    of_boot()
                        .filter(move |line| line.estimated == guessed)
                        .map(|line| line.wall_interval(at_us))
                };
                Some((spans().map(|span| span.0).min()?, spans().map(|span| span.1).max()?))
            };
            all(false).unwrap_or_else(|| {
                let noted = self.history.not_before(pressed).unwrap_or(i64::MIN);
                let (earliest, latest) = all(true).unwrap_or((i64::MIN, i64::MAX));
                (earliest.max(noted), latest)
            })
        }

        #[track_caller]
        fn holds(&self) {
            for (moment, truth) in &self.pressed {
                let (earliest, latest) = self.stated(moment);
                assert!(
                    earliest <= *truth && *truth <= latest,
                    "{earliest} {truth} {latest}: {moment:?} {:?}",
                    self.reported
                );
            }
        }
    }

    const GOOD: Sync = Sync { error: 40_000, used: 500 };

    #[test]
    fn fifty_pictures_before_the_time_are_corrected_by_one_line() {
        let mut world = World::new();
        let mut camera = Camera::new(&world);
        for _ in 0..50 {
            camera.press(&world);
            camera.observe(&world.moment());
            world.true_us += S;
        }
        world.true_us += HOUR;
        world.synchronised = Some(GOOD);
        for _ in 0..1000 {
            camera.observe(&world.moment());
            world.true_us += S;
        }
        assert_eq!(camera.reported.len(), 1);
        camera.holds();
        let (earliest, latest) = camera.stated(&camera.pressed[0].0);
        assert!(latest - earliest < 4 * S);
    }

    #[test]
    fn a_clock_set_back_by_a_day_is_told_once_and_again_when_it_is_set_elsewhere() {
        let mut world = World::new();
        world.synchronised = Some(GOOD);
        let mut camera = Camera::new(&world);
        for off in [0, -DAY, -DAY, 0, -DAY, 2 * DAY] {
            camera.press(&world);
            camera.observe(&world.moment_by(Some(GOOD), off));
            world.true_us += S;
        }
        assert_eq!(camera.reported.len(), 3);
        camera.holds();
    }

    #[test]
    fn two_boots_without_time_lie_between_the_two_that_had_it() {
        let mut world = World::new();
        world.synchronised = Some(GOOD);
        let mut camera = Camera::new(&world);
        camera.observe(&world.moment());
        let known = world.true_us;
        for _ in 0..2 {
            world.reboot(HOUR, 0);
            camera.start(&world, true);
            camera.press(&world);
            world.true_us += HOUR;
            camera.observe(&world.moment());
        }
        world.reboot(HOUR, 0);
        camera.start(&world, true);
        assert_eq!(camera.reported.len(), 1);
        world.synchronised = Some(GOOD);
        camera.observe(&world.moment());
        assert_eq!(camera.reported.len(), 4);
        camera.holds();
        let (earliest, latest) = camera.stated(&camera.pressed[1].0);
        // It is known that the boot before ran for an hour, and this one too.
        assert!(earliest >= known + HOUR - 5 * S, "{}", earliest - known);
        assert!(latest <= world.true_us - HOUR + 5 * S);
        // Nothing is told again.
        camera.observe(&world.moment());
        assert_eq!(camera.reported.len(), 4);
    }

    #[test]
    fn a_card_without_any_time_claims_none() {
        let mut world = World::new();
        let mut camera = Camera::new(&world);
        for _ in 0..40 {
            camera.press(&world);
            camera.observe(&world.moment());
            world.reboot(HOUR, 100);
            camera.start(&world, false);
        }
        assert_eq!(camera.reported, []);
        assert_eq!(camera.history.latest_known_us(), None);
        assert!(camera.history.boots.len() <= BOOTS_MAX);
        camera.history.on_cloud_time(world.true_us, &world.moment());
        let known = camera.history.latest_known_us().unwrap();
        assert!((world.true_us - 3 * S..=world.true_us).contains(&known));
    }

    #[test]
    fn a_clock_set_all_day_long_fills_nothing() {
        let mut world = World::new();
        world.synchronised = Some(GOOD);
        let mut camera = Camera::new(&world);
        camera.press(&world);
        for days in 0..100 {
            camera.observe(&world.moment_by(Some(GOOD), -days * DAY));
            world.true_us += S;
        }
        assert!(camera.history.boots[0].lines.len() <= LINES_MAX);
        camera.holds();
    }

    #[derive(Debug, Clone)]
    enum Step {
        Run(i64),
        Press,
        Gain(Sync),
        Lose,
        /// The clock is set wrong by days and called right, and put right after a while.
        Lie(i64, i64),
        CloudTime(i64),
        Note,
        Reboot {
            off_for: i64,
            rate: i64,
            clean: bool,
        },
    }

    fn step() -> impl Strategy<Value = Step> {
        let sync = (0..10 * S, -1000..=1000_i64).prop_map(|(error, used)| Sync { error, used });
        prop_oneof![
            3 => (0..5 * HOUR).prop_map(Step::Run),
            4 => Just(Step::Press),
            1 => sync.prop_map(Step::Gain),
            1 => Just(Step::Lose),
            1 => (prop::sample::select(vec![-5, -2, 2, 5]), 0..HOUR).prop_map(|(days, ran)| Step::Lie(days * DAY, ran)),
            1 => (0..HOUR).prop_map(Step::CloudTime),
            1 => Just(Step::Note),
            2 => (0..3 * DAY, -450..=450_i64, any::<bool>()).prop_map(|(off_for, rate, clean)| Step::Reboot { off_for, rate, clean }),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_the_true_moment_is_stated(steps in prop::collection::vec(step(), 1..40)) {
            let mut world = World::new();
            let mut camera = Camera::new(&world);
            for step in steps {
                match step {
                    Step::Run(elapsed) => {
                        // It is noted every five minutes.
                        world.true_us += elapsed;
                        camera.observe(&world.moment());
                        camera.card = camera.history.clone();
                        world.true_us += 200 * S;
                    }
                    Step::Press => camera.press(&world),
                    Step::Gain(sync) => world.synchronised = Some(sync),
                    Step::Lose => world.synchronised = None,
                    Step::Lie(off, ran) => {
                        if let Some(sync) = world.synchronised {
                            camera.observe(&world.moment());
                            camera.observe(&world.moment_by(Some(sync), off));
                            world.true_us += ran;
                        }
                    }
                    Step::CloudTime(ago) => camera.history.on_cloud_time(world.true_us - ago, &world.moment()),
                    Step::Note => camera.card = camera.history.clone(),
                    Step::Reboot { off_for, rate, clean } => {
                        world.reboot(off_for, rate);
                        camera.start(&world, clean);
                    }
                }
                camera.observe(&world.moment());
                camera.holds();
            }
        }
    }
}
