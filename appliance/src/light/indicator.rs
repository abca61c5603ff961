//! Decides which pattern the LED shows. Pure: events and the time go in, a [`Pattern`] and the [`PressFeedback`]s to
//! presses come out.
//!
//! A press turns the LED on at once and is answered: one long = in the cloud, two short = safe on the card, five short
//! = not taken. Presses whose answers would overlap form one group. Those without a picture are answered first and
//! once; all others get one answer, so that a long never hides a press that is not in the cloud: [`Pattern::Stored`] is
//! shown only when every press of the group is stored. The bound of the wait for an answer is [`FEEDBACK_WITHIN`].

use std::time::Duration;

use keepsake_protocol::faults::FaultCode;
use keepsake_protocol::light::Pattern;

use crate::button::press_or_hold::HoldStage;

/// A press is answered this long after it at the latest, or as soon as its saving ends.
pub(crate) const FEEDBACK_WITHIN: Duration = Duration::from_secs(10);

/// A press is seen for at least this long, however fast it is captured. So the LED goes on at most every 400 ms, and
/// someone who hammers on the button makes no strobe light.
pub(crate) const PRESS_SHOWN_FOR: Duration = Duration::from_millis(400);

/// The time for which the camera identifies itself to a person who looks for it.
pub(crate) const IDENTIFY_FOR: Duration = Duration::from_secs(10);

/// More presses than this in one group are answered one by one, oldest first (P4).
pub(crate) const GROUP_PRESSES_MAX: usize = 1024;

/// An event. A press is known by the number its caller gave it; events of unknown presses change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LightEvent {
    Pressed(u64),
    /// The camera has the frame: no need to hold still any longer.
    Captured(u64),
    /// It survives a power cut (P1).
    Saved(u64),
    /// There will be no picture.
    Failed(u64, FaultCode),
    /// Its receipt arrived (P2).
    Stored(u64),
    Starting(bool),
    Connected(bool),
    /// Something on the card is not in the cloud yet.
    Waiting(bool),
    /// A capture is being sent.
    Uploading(bool),
    /// The fault is active, or no longer.
    Fault(FaultCode, bool),
    /// A person is looking for this camera.
    Identify,
    /// The stage that the held button has reached; `None` after its release.
    Hold(Option<HoldStage>),
}

/// The answer to these presses. Every press is in exactly one answer, which has at least begun. A long or two short that
/// was cut short by another press is shown again for all of them together, but reported only for those to which it is
/// new; five short are not, because the press after them may be a good one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PressFeedback {
    /// [`Pattern::Stored`], [`Pattern::Saved`] or [`Pattern::Failed`].
    pub pattern: Pattern,
    /// In the order they were pressed, never empty.
    pub presses: Vec<u64>,
    /// When the light began to say it.
    pub at: Duration,
}

/// The state behind the light. All times are since some start of the caller's choice and never fall.
#[derive(Debug, Default)]
pub(crate) struct Indicator {
    conditions: Conditions,
    identify_until: Option<Duration>,
    hold: Option<HoldStage>,
    group: Group,
    feedback: Vec<PressFeedback>,
}

#[derive(Debug, Default)]
struct Conditions {
    starting: bool,
    connected: bool,
    waiting: bool,
    uploading: bool,
    /// Bit n = fault n.
    faults: u8,
}

/// The presses that will get one answer, or are being given one.
#[derive(Debug, Default)]
struct Group {
    members: Vec<Member>,
    last_press_at: Duration,
    showing: Option<Showing>,
    /// The worst outcome of the members that were dropped because there were too many.
    dropped: Option<Pattern>,
}

#[derive(Debug)]
struct Member {
    press: u64,
    at: Duration,
    state: PressState,
    /// In an [`PressFeedback`] already. It stays in the group while that answer may still be cut short by another press.
    has_feedback: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PressState {
    Capturing,
    Captured,
    Saved,
    Stored,
    Failed(FaultCode),
}

impl PressState {
    fn is_settled(self) -> bool {
        match self {
            Self::Capturing | Self::Captured => false,
            Self::Saved | Self::Stored | Self::Failed(_) => true,
        }
    }

    fn is_failed(self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

#[derive(Debug)]
struct Showing {
    pattern: Pattern,
    until: Duration,
}

impl Indicator {
    /// Starting, not connected, nothing known.
    pub(crate) fn new() -> Self {
        Self {
            conditions: Conditions { starting: true, ..Conditions::default() },
            ..Self::default()
        }
    }

    /// Returns true when no press waits for its answer or for the end of it.
    pub(crate) fn has_answered_all(&self) -> bool {
        self.group.members.is_empty()
    }

    /// Handles an event at `now`.
    pub(crate) fn handle(&mut self, now: Duration, event: LightEvent) {
        self.advance_time(now);
        let conditions = &mut self.conditions;
        match event {
            LightEvent::Pressed(press) => self.pressed(now, press),
            LightEvent::Captured(press) => self.set_press_state(press, PressState::Captured),
            LightEvent::Saved(press) => self.set_press_state(press, PressState::Saved),
            LightEvent::Failed(press, fault) => {
                self.set_press_state(press, PressState::Failed(fault));
            }
            LightEvent::Stored(press) => self.set_press_state(press, PressState::Stored),
            LightEvent::Starting(on) => conditions.starting = on,
            LightEvent::Connected(on) => conditions.connected = on,
            LightEvent::Waiting(on) => conditions.waiting = on,
            LightEvent::Uploading(on) => conditions.uploading = on,
            LightEvent::Fault(fault, true) => conditions.faults |= 1 << fault.number(),
            LightEvent::Fault(fault, false) => conditions.faults &= !(1 << fault.number()),
            LightEvent::Identify => self.identify_until = Some(now + IDENTIFY_FOR),
            LightEvent::Hold(stage) => self.hold = stage,
        }
        self.decide(now);
    }

    /// Returns the pattern at `now`, and when to ask again if nothing happens before.
    pub(crate) fn view(&mut self, now: Duration) -> (Pattern, Option<Duration>) {
        self.advance_time(now);
        (self.pattern(now), self.next_deadline(now))
    }

    /// Returns the answers since the last call.
    pub(crate) fn take_feedback(&mut self) -> Vec<PressFeedback> {
        std::mem::take(&mut self.feedback)
    }

    /// Returns the active faults, lowest number first.
    pub(crate) fn faults(&self) -> Vec<FaultCode> {
        FaultCode::ALL
            .into_iter()
            .filter(|fault| self.conditions.faults & (1 << fault.number()) != 0)
            .collect()
    }

    fn pressed(&mut self, now: Duration, press: u64) {
        let group = &mut self.group;
        if group.members.iter().any(|member| member.press == press) {
            return;
        }
        // An answer that is being shown is cut short: the person watches for the answer to the press just made.
        if group.showing.take().is_some_and(|showing| is_failed(showing.pattern)) {
            group.forget_failed();
        }
        // Presses come faster than answers can be shown: the old ones are at least reported.
        if group.is_overdue(now) {
            let (first, rest) = (group.feedback_pattern(), group.pattern_of_good());
            self.report(now, first);
            self.report(now, rest);
        }
        let group = &mut self.group;
        group.last_press_at = now;
        group.members.push(Member {
            press,
            at: now,
            state: PressState::Capturing,
            has_feedback: false,
        });
        self.drop_oldest(now);
    }

    fn set_press_state(&mut self, press: u64, to: PressState) {
        let Some(member) = self.group.members.iter_mut().find(|m| m.press == press) else {
            return;
        };
        member.state = match (member.state, to) {
            // The end of a capture is final.
            (PressState::Failed(_) | PressState::Stored, _) => member.state,
            (PressState::Saved, PressState::Capturing | PressState::Captured) => member.state,
            (PressState::Captured, PressState::Capturing) => member.state,
            (PressState::Capturing | PressState::Captured | PressState::Saved, to) => to,
        };
    }

    fn drop_oldest(&mut self, now: Duration) {
        let group = &mut self.group;
        if group.members.len() <= GROUP_PRESSES_MAX {
            return;
        }
        // Those that are still being captured stay; the camera's own queue bounds them.
        let Some(oldest) = group.members.iter().position(|m| m.state.is_settled()) else {
            return;
        };
        let member = group.members.remove(oldest);
        let word = match member.state {
            PressState::Failed(fault) => Some(Pattern::Failed { fault: Some(fault) }),
            PressState::Stored => None,
            PressState::Capturing | PressState::Captured | PressState::Saved => Some(Pattern::Saved),
        };
        if !group.dropped.is_some_and(is_failed) {
            group.dropped = word.or(group.dropped);
        }
        if !member.has_feedback {
            self.feedback.push(PressFeedback {
                pattern: word.unwrap_or(Pattern::Stored),
                presses: vec![member.press],
                at: now,
            });
        }
    }

    /// Begins the answer to the group, if it is time.
    fn decide(&mut self, now: Duration) {
        let group = &self.group;
        let in_peace = group.showing.is_none() && now >= group.visible_until();
        if in_peace && (group.is_overdue(now) || group.is_ready(now, self.conditions.connected)) {
            self.begin_feedback(now);
        }
    }

    fn begin_feedback(&mut self, now: Duration) {
        let answer = self.group.feedback_pattern();
        self.group.showing = Some(Showing { pattern: answer, until: now + answer.rhythm().length() });
        self.report(now, answer);
    }

    /// Reports an answer to the failed presses, or to all others. Those that are still being saved are left for the next.
    fn report(&mut self, now: Duration, pattern: Pattern) {
        let is_answered = |member: &&mut Member| {
            !member.has_feedback && member.state.is_settled() && member.state.is_failed() == is_failed(pattern)
        };
        let answered = self.group.members.iter_mut().filter(is_answered);
        let presses: Vec<u64> = answered
            .map(|member| {
                member.has_feedback = true;
                member.press
            })
            .collect();
        if !presses.is_empty() {
            self.feedback.push(PressFeedback { pattern, presses, at: now });
        }
    }

    /// Drops what has ended by `now`.
    fn advance_time(&mut self, now: Duration) {
        if self.identify_until.is_some_and(|until| until <= now) {
            self.identify_until = None;
        }
        let group = &mut self.group;
        if let Some(over) = group.showing.take_if(|showing| showing.until <= now) {
            if is_failed(over.pattern) {
                group.forget_failed();
            }
            if !is_failed(over.pattern) || group.oldest_without_feedback().is_none() {
                group.members.retain(|member| !member.has_feedback);
                group.dropped = None;
            }
        }
        self.decide(now);
    }

    fn pattern(&self, now: Duration) -> Pattern {
        let group = &self.group;
        if let Some(showing) = &group.showing {
            return showing.pattern;
        }
        if !group.members.is_empty() {
            let holding_still = group.members.iter().any(|member| member.state == PressState::Capturing);
            if holding_still || now < group.visible_until() {
                return Pattern::Capturing;
            }
        }
        let conditions = &self.conditions;
        // A press is answered first, also that of the hold itself.
        if let Some(stage) = self.hold {
            match stage {
                HoldStage::Reconnect => Pattern::HoldReconnect,
                HoldStage::Forget => Pattern::HoldForget,
                HoldStage::Cancelled => Pattern::HoldCancelled,
            }
        } else if self.identify_until.is_some() {
            Pattern::Identify
        } else if conditions.starting {
            Pattern::Starting
        } else if let Some(&fault) = self.faults().first() {
            Pattern::Fault(fault)
        } else if conditions.connected && conditions.uploading {
            Pattern::Uploading
        } else if !conditions.connected || conditions.waiting {
            Pattern::Offline
        } else {
            Pattern::Ready
        }
    }

    fn next_deadline(&self, now: Duration) -> Option<Duration> {
        let group = &self.group;
        let showing = group.showing.as_ref();
        let seen_until = (!group.members.is_empty()).then(|| group.visible_until());
        [
            self.identify_until,
            showing.map(|showing| showing.until),
            seen_until,
            group.feedback_due(),
        ]
        .into_iter()
        .flatten()
        .filter(|deadline| *deadline > now)
        .min()
    }
}

impl Group {
    fn visible_until(&self) -> Duration {
        self.last_press_at + PRESS_SHOWN_FOR
    }

    fn oldest_without_feedback(&self) -> Option<&Member> {
        self.members.iter().find(|member| !member.has_feedback)
    }

    /// When waiting for the cloud is over; `None` when nobody waits. Early enough that a press which is made just then
    /// is seen first, and the older ones are answered in time all the same.
    fn feedback_due(&self) -> Option<Duration> {
        self.oldest_without_feedback().map(|member| member.at + FEEDBACK_WITHIN - PRESS_SHOWN_FOR)
    }

    /// The oldest press is safe and must not wait any longer, whatever happens to the others.
    fn is_overdue(&self, now: Duration) -> bool {
        let settled = |member: &Member| member.state.is_settled();
        self.oldest_without_feedback().is_some_and(settled) && self.feedback_due().is_some_and(|due| now >= due)
    }

    /// Everything that the answer depends on is known: all presses are at their end, or they are as far as they get
    /// without a connection.
    fn is_ready(&self, now: Duration, connected: bool) -> bool {
        let Some(due) = self.feedback_due() else {
            return false;
        };
        // With a dropped member that was only saved, the answer can no longer be one long.
        let may_improve = self.feedback_pattern() == Pattern::Saved && self.dropped.is_none();
        let waits_for_the_cloud = may_improve && connected && now < due;
        self.members.iter().all(|m| m.state.is_settled()) && !waits_for_the_cloud
    }

    /// The next answer to the group, as things are: to the failed presses if there are any.
    fn feedback_pattern(&self) -> Pattern {
        let failed = self.members.iter().rev().find_map(|member| match member.state {
            PressState::Failed(fault) => Some(Pattern::Failed { fault: Some(fault) }),
            PressState::Capturing | PressState::Captured | PressState::Saved | PressState::Stored => None,
        });
        let dropped = self.dropped.filter(|dropped| is_failed(*dropped));
        failed.or(dropped).unwrap_or_else(|| self.pattern_of_good())
    }

    /// The one answer to all presses that have not failed.
    fn pattern_of_good(&self) -> Pattern {
        let mut good = self.members.iter().filter(|member| !member.state.is_failed());
        if self.dropped.is_none() && good.all(|member| member.state == PressState::Stored) {
            Pattern::Stored
        } else {
            Pattern::Saved
        }
    }

    /// Drops the failed presses, because the light has shown their answer.
    fn forget_failed(&mut self) {
        self.members.retain(|member| !(member.state.is_failed() && member.has_feedback));
        // Others may have been dropped before them, and a long would hide these.
        self.dropped = self.dropped.map(|_| Pattern::Saved);
    }
}

fn is_failed(pattern: Pattern) -> bool {
    matches!(pattern, Pattern::Failed { .. })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::LightEvent::{
        Captured, Connected, Failed, Fault, Hold, Identify, Pressed, Saved, Starting, Stored, Uploading, Waiting,
    };
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A camera that has started and is connected.
    fn ready() -> Indicator {
        let mut indicator = Indicator::new();
        indicator.handle(ms(0), Starting(false));
        indicator.handle(ms(0), Connected(true));
        indicator
    }

    const CAMERA: Pattern = Pattern::Failed { fault: Some(FaultCode::Camera) };
    const CARD: Pattern = Pattern::Failed { fault: Some(FaultCode::Card) };

    /// A press that is pressed, captured and saved at these milliseconds.
    fn saved(press: u64, at: [u64; 3]) -> [(u64, LightEvent); 3] {
        let events = [Pressed(press), Captured(press), Saved(press)];
        [(at[0], events[0]), (at[1], events[1]), (at[2], events[2])]
    }

    /// Plays `events` (milliseconds, event) and checks the pattern at the given times, and the answers to presses.
    #[track_caller]
    fn check(events: &[(u64, LightEvent)], shown: &[(u64, Pattern)], answers: &[(Pattern, &[u64])]) {
        let mut indicator = ready();
        let mut moments: Vec<u64> = events.iter().map(|e| e.0).chain(shown.iter().map(|s| s.0)).collect();
        moments.sort_unstable();
        moments.dedup();
        let mut at = Duration::ZERO;
        for moment in moments {
            let moment_at = ms(moment);
            // As the thread that drives it does: it comes back at every deadline.
            while let (_, Some(deadline)) = indicator.view(at)
                && deadline < moment_at
            {
                at = deadline;
            }
            at = moment_at;
            for (_, event) in events.iter().filter(|e| e.0 == moment) {
                indicator.handle(at, *event);
            }
            for (_, pattern) in shown.iter().filter(|s| s.0 == moment) {
                assert_eq!(indicator.view(at).0, *pattern, "at {moment} ms");
            }
        }
        let given = indicator.take_feedback();
        let given: Vec<_> = given.iter().map(|a| (a.pattern, a.presses.as_slice())).collect();
        assert_eq!(given, answers);
    }

    #[test]
    fn a_press_that_is_stored_is_one_long() {
        check(
            &[
                (1000, Pressed(1)),
                (1500, Captured(1)),
                (1510, Uploading(true)),
                (1520, Saved(1)),
                (1900, Stored(1)),
                (1900, Uploading(false)),
            ],
            &[
                (999, Pattern::Ready),
                (1000, Pattern::Capturing),
                (1499, Pattern::Capturing),
                (1520, Pattern::Uploading),
                (1900, Pattern::Stored),
                (3899, Pattern::Stored),
                (3900, Pattern::Ready),
            ],
            &[(Pattern::Stored, &[1])],
        );
    }

    #[test]
    fn a_fast_press_is_seen_before_it_is_answered() {
        let events = [&saved(1, [1000, 1001, 1002])[..], &[(1003, Stored(1))]].concat();
        let shown = [(1003, Pattern::Capturing), (1399, Pattern::Capturing), (1400, Pattern::Stored)];
        check(&events, &shown, &[(Pattern::Stored, &[1])]);
    }

    #[test]
    fn without_a_connection_a_press_is_two_short_at_once() {
        check(
            &[
                (0, Connected(false)),
                (1000, Pressed(1)),
                (2000, Captured(1)),
                (2100, Saved(1)),
                (2100, Waiting(true)),
                // Too late for this answer: it changes nothing but the state.
                (2500, Connected(true)),
                (2500, Stored(1)),
                (2500, Waiting(false)),
            ],
            &[
                (2050, Pattern::Offline),
                (2100, Pattern::Saved),
                (3199, Pattern::Saved),
                (3200, Pattern::Ready),
            ],
            &[(Pattern::Saved, &[1])],
        );
    }

    #[test]
    fn a_slow_cloud_is_two_short_within_ten_seconds() {
        check(
            &[&saved(1, [1000, 1100, 1200])[..], &[(1200, Uploading(true))]].concat(),
            &[(10_599, Pattern::Uploading), (10_600, Pattern::Saved), (11_700, Pattern::Uploading)],
            &[(Pattern::Saved, &[1])],
        );
    }

    #[test]
    fn a_press_without_a_picture_is_five_short_then_its_fault() {
        check(
            &[
                (1000, Pressed(1)),
                (1500, Failed(1, FaultCode::Camera)),
                (1500, Fault(FaultCode::Camera, true)),
            ],
            &[(1500, CAMERA), (9599, CAMERA), (9600, Pattern::Fault(FaultCode::Camera))],
            &[(CAMERA, &[1])],
        );
        let steps = CAMERA.rhythm();
        let shorts = steps.steps.iter().filter(|s| s.on && s.ms == 150).count();
        let counted = steps.steps.iter().filter(|s| s.on && s.ms == 200).count();
        assert_eq!((shorts, counted), (5, 5));
    }

    #[test]
    fn presses_in_quick_succession_get_one_answer() {
        check(
            &[&[(0, Connected(false))], &saved(1, [1000, 1010, 1020])[..], &saved(2, [1300, 1310, 1320])].concat(),
            &[(1400, Pattern::Capturing), (1699, Pattern::Capturing), (1700, Pattern::Saved)],
            &[(Pattern::Saved, &[1, 2])],
        );
    }

    #[test]
    fn presses_that_overlap_get_one_long_only_when_all_are_stored() {
        check(
            &[
                &saved(1, [1000, 1100, 1100])[..],
                &[(1500, Stored(1))],
                // While the long of the first is shown.
                &saved(2, [2000, 2100, 2100]),
                &[(5000, Stored(2))],
            ]
            .concat(),
            &[
                (1999, Pattern::Stored),
                (2000, Pattern::Capturing),
                (2400, Pattern::Ready),
                (4999, Pattern::Ready),
                (5000, Pattern::Stored),
            ],
            &[(Pattern::Stored, &[1]), (Pattern::Stored, &[2])],
        );
    }

    #[test]
    fn a_good_press_that_cuts_off_five_short_gets_its_own_answer() {
        check(
            &[
                (1000, Pressed(1)),
                (1100, Failed(1, FaultCode::Camera)),
                // The five short of the first are cut off by the second.
                (1800, Pressed(2)),
                (1900, Captured(2)),
                (1900, Saved(2)),
                (2300, Stored(2)),
            ],
            &[
                (1500, CAMERA),
                (1800, Pattern::Capturing),
                (2200, Pattern::Ready),
                (2300, Pattern::Stored),
            ],
            &[(CAMERA, &[1]), (Pattern::Stored, &[2])],
        );
    }

    #[test]
    fn a_long_never_hides_a_failed_press_of_the_group() {
        check(
            &[
                &[(1000, Pressed(1)), (1100, Failed(1, FaultCode::Camera))],
                &saved(2, [1200, 1210, 1220])[..],
                &[(1250, Stored(2))],
            ]
            .concat(),
            &[(1600, CAMERA), (9699, CAMERA), (9700, Pattern::Stored), (11_700, Pattern::Ready)],
            &[(CAMERA, &[1]), (Pattern::Stored, &[2])],
        );
    }

    #[test]
    fn a_failed_press_leaves_its_mark_on_none_of_the_good_ones_after_it() {
        let mut indicator = ready();
        indicator.handle(ms(0), Pressed(0));
        indicator.handle(ms(10), Failed(0, FaultCode::Camera));
        let mut now = 0;
        for (press, gap) in (1..).zip([500, 600, 1000, 2000, 4000, 6000, 8000]) {
            for at in (now..now + gap).step_by(50) {
                indicator.view(ms(at));
            }
            now += gap;
            for event in [Pressed(press), Captured(press), Saved(press), Stored(press)] {
                indicator.handle(ms(now), event);
            }
        }
        indicator.view(ms(now + 400));
        let answers: Vec<(Pattern, Vec<u64>)> = indicator
            .take_feedback()
            .into_iter()
            .map(|answer| (answer.pattern, answer.presses))
            .collect();
        let (failed, good): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(pattern, _)| is_failed(*pattern));
        assert_eq!(failed, [(CAMERA, vec![0])]);
        assert!(good.iter().all(|(pattern, _)| *pattern == Pattern::Stored), "{good:?}");
        assert_eq!(
            good.into_iter().flat_map(|(_, presses)| presses).collect::<Vec<_>>(),
            [1, 2, 3, 4, 5, 6, 7]
        );
    }

    #[test]
    fn one_not_taken_waits_for_those_still_being_captured() {
        check(
            &[
                (1000, Pressed(1)),
                (1300, Pressed(2)),
                (1400, Failed(1, FaultCode::Card)),
                (4000, Captured(2)),
                (4100, Saved(2)),
            ],
            &[(3999, Pattern::Capturing), (4100, CARD), (20_000, Pattern::Ready)],
            &[(CARD, &[1]), (Pattern::Saved, &[2])],
        );
    }

    #[test]
    fn a_person_who_keeps_pressing_is_answered() {
        let mut indicator = ready();
        let mut now = Duration::ZERO;
        for press in 0..100 {
            // Pressed before the one before is saved, for 20 seconds.
            indicator.handle(now, Pressed(press));
            assert_eq!(indicator.view(now).0, Pattern::Capturing);
            now += ms(200);
            if press > 0 {
                indicator.handle(now, Saved(press - 1));
            }
        }
        let first = indicator.take_feedback().remove(0);
        assert_eq!(first.pattern, Pattern::Saved);
        assert_eq!(first.presses[0], 0);
        assert!(first.at <= ms(10_200), "{first:?}");
    }

    #[test]
    fn a_group_is_bounded() {
        let mut indicator = ready();
        let many = 3 * GROUP_PRESSES_MAX as u64;
        for press in 0..many {
            indicator.handle(ms(1), Pressed(press));
            let end = if press == 0 {
                Failed(0, FaultCode::Camera)
            } else {
                Saved(press)
            };
            indicator.handle(ms(1), end);
            indicator.handle(ms(1), Stored(press));
            assert!(indicator.group.members.len() <= GROUP_PRESSES_MAX);
        }
        // The first failed, and the light does not forget it.
        assert_eq!(indicator.view(ms(1000)).0, CAMERA);
        // The others may not be told that all is stored.
        assert_eq!(indicator.view(ms(10_000)).0, Pattern::Saved);
        let mut answered: Vec<u64> = indicator.take_feedback().into_iter().flat_map(|a| a.presses).collect();
        answered.sort_unstable();
        assert_eq!(answered, (0..many).collect::<Vec<_>>());
    }

    #[test]
    fn the_more_important_pattern_wins() {
        let mut indicator = ready();
        let mut at = 0;
        let mut after = |event, pattern| {
            at += 1;
            indicator.handle(ms(at), event);
            assert_eq!(indicator.view(ms(at)).0, pattern, "after {event:?}");
        };
        after(Waiting(true), Pattern::Offline);
        after(Uploading(true), Pattern::Uploading);
        after(Connected(false), Pattern::Offline);
        after(Fault(FaultCode::Card, true), Pattern::Fault(FaultCode::Card));
        after(Fault(FaultCode::Network, true), Pattern::Fault(FaultCode::Network));
        after(Starting(true), Pattern::Starting);
        after(Identify, Pattern::Identify);
        after(Hold(Some(HoldStage::Reconnect)), Pattern::HoldReconnect);
        after(Pressed(7), Pattern::Capturing);
        after(Hold(None), Pattern::Capturing);
        assert_eq!(indicator.faults(), [FaultCode::Network, FaultCode::Card]);
        for (event, pattern) in [
            (Failed(7, FaultCode::Card), Pattern::Capturing),
            (Starting(false), Pattern::Capturing),
            (Fault(FaultCode::Network, false), Pattern::Capturing),
        ] {
            indicator.handle(ms(100), event);
            assert_eq!(indicator.view(ms(100)).0, pattern);
        }
        let not_taken = CARD;
        assert_eq!(indicator.view(ms(600)).0, not_taken);
        assert_eq!(indicator.view(ms(20_000)).0, Pattern::Fault(FaultCode::Card));
        indicator.handle(ms(20_000), Fault(FaultCode::Card, false));
        assert_eq!(indicator.view(ms(20_000)).0, Pattern::Offline);
    }

    #[test]
    fn identify_ends_after_ten_seconds() {
        let mut indicator = ready();
        indicator.handle(ms(500), Identify);
        assert_eq!(indicator.view(ms(500)), (Pattern::Identify, Some(ms(10_500))));
        assert_eq!(indicator.view(ms(10_500)), (Pattern::Ready, None));
    }

    /// A step of a test with one press, and its time after the step before it.
    #[derive(Debug, Clone)]
    enum Act {
        Press,
        /// The oldest that is not captured, saved, or stored.
        Capture,
        Save,
        Fail,
        Store(prop::sample::Index),
        Connect(bool),
    }

    fn act() -> impl Strategy<Value = (u64, Act)> {
        let gap = prop_oneof![4 => 0u64..50, 4 => 50u64..1500, 1 => 1500u64..15_000];
        let act = prop_oneof![
            5 => Just(Act::Press),
            4 => Just(Act::Capture),
            5 => Just(Act::Save),
            1 => Just(Act::Fail),
            4 => any::<prop::sample::Index>().prop_map(Act::Store),
            1 => any::<bool>().prop_map(Act::Connect),
        ];
        (gap, act)
    }

    /// Drives an indicator as its thread does, and checks everything it shows.
    #[derive(Default)]
    struct Watch {
        indicator: Indicator,
        now: Duration,
        presses: u64,
        /// Pressed and not settled, in order.
        open: Vec<u64>,
        saved: Vec<u64>,
        stored: Vec<u64>,
        failed: Vec<u64>,
        pressed_at: Vec<Duration>,
        settled_at: Vec<Option<Duration>>,
        answered: Vec<Option<(Pattern, Duration)>>,
        /// The answers that the light has shown, and when they began.
        shown: Vec<(Pattern, Duration)>,
    }

    impl Watch {
        fn pass(&mut self, to: Duration) {
            while let (_, Some(deadline)) = self.indicator.view(self.now) {
                assert!(deadline > self.now, "time goes on");
                if deadline > to {
                    break;
                }
                self.now = deadline;
                self.look();
            }
            self.now = to;
            self.look();
        }

        fn tell(&mut self, event: LightEvent) {
            self.indicator.handle(self.now, event);
            self.look();
        }

        fn look(&mut self) {
            let (pattern, _) = self.indicator.view(self.now);
            let group = &self.indicator.group;
            if let Some(showing) = &group.showing {
                let begun = showing.until - showing.pattern.rhythm().length();
                if self.shown.last().is_none_or(|(_, last)| *last != begun) {
                    self.shown.push((pattern, begun));
                }
            }
            if pattern == Pattern::Stored {
                for member in &group.members {
                    assert!(self.stored.contains(&member.press), "long, but not all are stored");
                }
            }
            // One that fails while the others get their answer is answered next.
            let failed_and_answered = |m: &Member| m.has_feedback && self.failed.contains(&m.press);
            if group.members.iter().any(failed_and_answered) {
                assert!(!matches!(pattern, Pattern::Stored | Pattern::Saved), "{pattern:?}");
            }
            for answer in self.indicator.take_feedback() {
                assert!(!answer.presses.is_empty());
                for press in answer.presses {
                    let given = &mut self.answered[usize::try_from(press).unwrap()];
                    assert_eq!(*given, None, "press {press} is answered once");
                    *given = Some((answer.pattern, answer.at));
                    match answer.pattern {
                        Pattern::Stored => assert!(self.stored.contains(&press)),
                        Pattern::Saved => {
                            assert!(!self.open.contains(&press) && !self.failed.contains(&press));
                        }
                        Pattern::Failed { .. } => assert!(self.failed.contains(&press)),
                        _ => panic!("{:?} is no answer", answer.pattern),
                    }
                }
            }
        }

        fn settle(&mut self, press: u64) {
            self.open.retain(|p| *p != press);
            self.settled_at[usize::try_from(press).unwrap()] = Some(self.now);
        }

        fn act(&mut self, act: &Act) {
            match act {
                Act::Press => {
                    self.pressed_at.push(self.now);
                    self.settled_at.push(None);
                    self.answered.push(None);
                    self.open.push(self.presses);
                    self.tell(Pressed(self.presses));
                    assert_eq!(self.indicator.view(self.now).0, Pattern::Capturing, "a press lights at once");
                    self.presses += 1;
                }
                Act::Capture => {
                    if let Some(&press) = self.open.first() {
                        self.tell(Captured(press));
                    }
                }
                Act::Save => {
                    if let Some(&press) = self.open.first() {
                        self.settle(press);
                        self.saved.push(press);
                        self.tell(Saved(press));
                    }
                }
                Act::Fail => {
                    if let Some(&press) = self.open.first() {
                        self.settle(press);
                        self.failed.push(press);
                        self.tell(Failed(press, FaultCode::Camera));
                    }
                }
                Act::Store(which) => {
                    if !self.saved.is_empty() {
                        let press = self.saved.remove(which.index(self.saved.len()));
                        self.stored.push(press);
                        self.tell(Stored(press));
                    }
                }
                Act::Connect(on) => self.tell(Connected(*on)),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn every_press_gets_exactly_one_honest_answer_in_time(acts in proptest::collection::vec(act(), 0..60)) {
            let mut watch = Watch { indicator: ready(), ..Watch::default() };
            for (gap, act) in &acts {
                watch.pass(watch.now + ms(*gap));
                watch.act(act);
            }
            while !watch.open.is_empty() {
                watch.act(&Act::Save);
            }
            watch.pass(watch.now + ms(60_000));
            prop_assert!(watch.indicator.group.members.is_empty(), "the light goes back to the state");
            for press in 0..watch.answered.len() {
                let Some((_, at)) = watch.answered[press] else {
                    return Err(TestCaseError::fail(format!("press {press} got no answer")));
                };
                let settled = watch.settled_at[press].unwrap();
                prop_assert!(at >= settled, "an answer before the end of saving");
                let due = watch.pressed_at[press] + FEEDBACK_WITHIN;
                let mut latest = due.max(settled + PRESS_SHOWN_FOR);
                // An answer to others that is being shown is not interrupted by one that is due.
                for (answer, begun) in &watch.shown {
                    if (*begun..*begun + answer.rhythm().length()).contains(&latest) {
                        latest = *begun + answer.rhythm().length();
                    }
                }
                prop_assert!(at <= latest, "press {press}: {at:?}, {latest:?}, {settled:?}");
            }
        }
    }
}
