//! Plays patterns on the LED as the settings allow it: what it must not show in quiet hours or in mode `off` is left
//! out, but a press is always answered.
//!
//! It has no thread and no clock: its caller says when time has passed, so the same thread can decide and play.

use std::thread;
use std::time::{Duration, Instant};

use keepsake_protocol::light::{Pattern, Rhythm, Step};

use crate::hardware::{Led, LedState};
use crate::settings::{LightMode, LightSettings};
use crate::time::clock;

/// The interval at which it is checked whether quiet hours have begun.
const QUIET_HOURS_CHECKED_EVERY: Duration = Duration::from_secs(20);

/// An LED and the pattern being played. Dropping it turns the LED off.
pub(crate) struct Player {
    led: Box<dyn Led>,
    settings: LightSettings,
    pattern: Pattern,
    rhythm: Rhythm,
    step: usize,
    step_ends: Instant,
}

impl Player {
    /// Turns the LED off; it stays off until [`Self::show`].
    pub(crate) fn new(mut led: Box<dyn Led>, settings: &LightSettings, now: Instant) -> Self {
        led.show(LedState::Off);
        Self {
            led,
            settings: settings.clone(),
            pattern: Pattern::Off,
            rhythm: Pattern::Off.rhythm(),
            step: 0,
            step_ends: now + QUIET_HOURS_CHECKED_EVERY,
        }
    }

    /// Plays `pattern` from its beginning and returns true; the same pattern again continues.
    pub(crate) fn show(&mut self, pattern: Pattern, now: Instant) -> bool {
        if pattern == self.pattern {
            return false;
        }
        self.pattern = pattern;
        self.restart(now);
        self.led.caption(pattern.appearance(), pattern.meaning());
        true
    }

    /// Applies other settings to the pattern being played; the pins stay what they were.
    pub(crate) fn configure(&mut self, settings: &LightSettings, now: Instant) {
        self.settings = settings.clone();
        self.restart(now);
    }

    /// Returns when [`Self::advance`] is due.
    pub(crate) fn step_ends(&self) -> Instant {
        self.step_ends
    }

    /// Begins the next step if the current one has ended. However late it is called, no step is left out.
    pub(crate) fn advance(&mut self, now: Instant) {
        if now < self.step_ends {
            return;
        }
        self.step += 1;
        if self.step >= self.rhythm.steps.len() {
            self.step = 0;
            self.rhythm = if self.rhythm.repeat {
                // Between two passes is the time to notice that quiet hours have begun or ended.
                rhythm(self.pattern, &self.settings, is_quiet(&self.settings))
            } else {
                Pattern::Off.rhythm()
            };
        }
        self.light_step();
        // From the end of the last step, not from now: a rhythm does not drift. Unless the machine slept.
        self.step_ends += self.step_length();
        if self.step_ends < now {
            self.step_ends = now + self.step_length();
        }
    }

    fn restart(&mut self, now: Instant) {
        self.rhythm = rhythm(self.pattern, &self.settings, is_quiet(&self.settings));
        self.step = 0;
        self.light_step();
        self.step_ends = now + self.step_length();
    }

    fn light_step(&mut self) {
        let step = self.rhythm.steps[self.step];
        self.led.show(led_state(self.pattern, step, &self.settings));
    }

    fn step_length(&self) -> Duration {
        if self.rhythm.repeat && self.rhythm.steps.len() == 1 {
            // A steady LED needs no attention but for quiet hours.
            return QUIET_HOURS_CHECKED_EVERY;
        }
        Duration::from_millis(u64::from(self.rhythm.steps[self.step].ms))
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        turn_off(&mut *self.led);
    }
}

/// Plays one pass of `pattern` on the caller's thread, then turns the LED off.
pub(crate) fn play_once(led: &mut dyn Led, pattern: Pattern, settings: &LightSettings) {
    led.caption(pattern.appearance(), pattern.meaning());
    for step in rhythm(pattern, settings, is_quiet(settings)).steps {
        led.show(led_state(pattern, step, settings));
        thread::sleep(Duration::from_millis(u64::from(step.ms)));
    }
    turn_off(led);
}

fn turn_off(led: &mut dyn Led) {
    led.show(LedState::Off);
    led.caption(Pattern::Off.appearance(), Pattern::Off.meaning());
}

/// Returns the rhythm of a pattern as the settings allow it.
fn rhythm(pattern: Pattern, settings: &LightSettings, quiet: bool) -> Rhythm {
    let silent = quiet || settings.mode == LightMode::Off;
    if silent && !pattern.is_feedback() {
        return Pattern::Off.rhythm();
    }
    if pattern == Pattern::Ready && settings.mode == LightMode::Heartbeat {
        return Rhythm::repeated(&[(40, 4960)]);
    }
    pattern.rhythm()
}

fn led_state(pattern: Pattern, step: Step, settings: &LightSettings) -> LedState {
    if !step.on {
        return LedState::Off;
    }
    let steady_ready = pattern == Pattern::Ready && settings.mode == LightMode::Steady;
    LedState::On {
        brightness: if steady_ready {
            settings.ready_brightness_percent
        } else {
            settings.brightness_percent
        },
        colour: pattern.colour().rgb(),
    }
}

/// Returns false until the clock is set: an LED that is lit at night is better than a camera that seems dead.
fn is_quiet(settings: &LightSettings) -> bool {
    let Some(quiet_hours) = settings.quiet_hours else {
        return false;
    };
    if !clock::wall_is_synchronised() {
        return false;
    }
    let now = jiff::Zoned::now();
    let minute = u16::from(now.hour().unsigned_abs()) * 60 + u16::from(now.minute().unsigned_abs());
    quiet_hours.contains(minute)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver};

    use keepsake_protocol::faults::FaultCode;

    use super::*;
    use crate::hardware::testing::WatchedLed;
    use crate::settings::Config;

    fn watched(settings: &LightSettings, now: Instant) -> (Player, Receiver<LedState>) {
        let (states, seen) = mpsc::channel();
        let player = Player::new(Box::new(WatchedLed(states)), settings, now);
        assert_eq!(seen.recv().unwrap(), LedState::Off);
        (player, seen)
    }

    fn settings() -> LightSettings {
        Config::default().light
    }

    #[test]
    fn a_rhythm_is_played_and_the_light_is_out_at_the_end() {
        let start = Instant::now();
        let (mut player, seen) = watched(&settings(), start);
        assert!(player.show(Pattern::Saved, start));
        let mut at_ms = 0;
        // A busy machine may be late, but a step is never cut short.
        for (on, ms) in [(false, 250), (true, 200), (false, 200), (true, 200), (false, 250)] {
            assert_eq!(seen.try_recv().unwrap() != LedState::Off, on, "at {at_ms} ms");
            at_ms += ms;
            let ends = start + Duration::from_millis(at_ms);
            assert_eq!(player.step_ends(), ends);
            player.advance(ends - Duration::from_millis(1));
            assert!(seen.try_recv().is_err(), "the step has not ended at {at_ms} ms");
            player.advance(ends);
        }
        assert_eq!(seen.try_recv().unwrap(), LedState::Off);
        assert!(player.show(Pattern::Capturing, start));
        assert_ne!(seen.try_recv().unwrap(), LedState::Off);
        drop(player);
        assert_eq!(seen.recv().unwrap(), LedState::Off);
        assert!(seen.recv().is_err(), "nothing is shown after the end");
    }

    #[test]
    fn after_a_sleep_of_the_machine_a_rhythm_continues_at_its_own_pace() {
        let start = Instant::now();
        let (mut player, _seen) = watched(&settings(), start);
        player.show(Pattern::Uploading, start);
        let woken = start + Duration::from_secs(3600);
        player.advance(woken);
        assert_eq!(player.step_ends(), woken + Duration::from_millis(250));
    }

    #[test]
    fn another_pattern_does_not_wait_for_the_step_being_played() {
        let now = Instant::now();
        let (mut player, seen) = watched(&settings(), now);
        for pattern in [Pattern::Ready, Pattern::Capturing].repeat(10) {
            assert!(player.show(pattern, now));
            assert_eq!(seen.try_recv().unwrap(), led_state(pattern, pattern.rhythm().steps[0], &settings()));
            assert!(!player.show(pattern, now), "the same pattern again continues");
            assert!(seen.try_recv().is_err());
        }
    }

    #[test]
    fn a_press_is_answered_at_night_and_with_the_light_off() {
        let off = LightSettings { mode: LightMode::Off, ..settings() };
        for (settings, quiet) in [(&off, false), (&settings(), true)] {
            for pattern in [
                Pattern::Identify,
                Pattern::HoldForget,
                Pattern::Capturing,
                Pattern::Stored,
                Pattern::Saved,
                Pattern::Failed { fault: Some(FaultCode::Camera) },
            ] {
                assert_eq!(rhythm(pattern, settings, quiet), pattern.rhythm());
            }
            for pattern in [
                Pattern::Starting,
                Pattern::Ready,
                Pattern::Uploading,
                Pattern::Offline,
                Pattern::Fault(FaultCode::Card),
            ] {
                assert_eq!(rhythm(pattern, settings, quiet), Pattern::Off.rhythm());
            }
        }
    }

    #[test]
    fn ready_is_dim_or_a_heartbeat() {
        let step = Step { on: true, ms: 1 };
        let brightness = |pattern, settings: &LightSettings| match led_state(pattern, step, settings) {
            LedState::On { brightness, .. } => brightness,
            LedState::Off => 0,
        };
        assert_eq!(brightness(Pattern::Ready, &settings()), 10);
        assert_eq!(brightness(Pattern::Stored, &settings()), 100);
        let heartbeat = LightSettings { mode: LightMode::Heartbeat, ..settings() };
        let blink = rhythm(Pattern::Ready, &heartbeat, false);
        assert_eq!(blink.length(), Duration::from_secs(5));
        assert_eq!(brightness(Pattern::Ready, &heartbeat), 100);
    }
}
