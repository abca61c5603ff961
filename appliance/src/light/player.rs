//! Plays patterns on the lamp, on a thread of its own so that nothing can disturb a rhythm or delay an answer.
//!
//! Only the newest pattern counts, so the way to the thread is one place, not a queue: it cannot fill up (P4). What the
//! lamp must not do by the settings (hours of the night, mode `off`) is left out here, but a press is always answered.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use keepsake_protocol::light::{Pattern, Rhythm, Step};

use crate::hardware::{Led, LedState};
use crate::settings::{LightMode, LightSettings as Settings};
use crate::time::clock;

/// How often it is asked whether the night has begun.
const NIGHT_CHECKED_EVERY: Duration = Duration::from_secs(20);

/// The thread that plays. Dropping it puts the light out.
pub struct Player {
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<()>>,
}

/// What is to be played, and the bell that says that it changed.
struct Mailbox {
    next: Mutex<Next>,
    settings: Mutex<Settings>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Play(Pattern),
    /// The pattern being played goes on.
    Continue,
    /// It goes on as other settings have it.
    SettingsChanged,
    Stop,
}

impl Player {
    /// Starts the thread; the lamp is off until [`Self::show`].
    ///
    /// `shown`: called on that thread each time the first step of another pattern is on the lamp, with CLOCK_BOOTTIME
    /// in microseconds. It must not block.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        light: Box<dyn Led>,
        settings: &Settings,
        shown: impl FnMut(Pattern, u64) + Send + 'static,
    ) -> io::Result<Self> {
        let score = Arc::new(Mailbox {
            next: Mutex::new(Next::Continue),
            settings: Mutex::new(settings.clone()),
            changed: Condvar::new(),
        });
        let thread = {
            let score = Arc::clone(&score);
            thread::Builder::new()
                .name("light".to_owned())
                .spawn(move || play(&score, light, shown))?
        };
        Ok(Self {
            mailbox: score,
            thread: Some(thread),
        })
    }

    /// Plays `pattern` from its beginning; the same pattern again goes on as it is. Returns at once.
    pub fn show(&self, pattern: Pattern) {
        self.mailbox.set(Next::Play(pattern));
    }

    /// Plays as these settings have it from now on; the pins stay what they were.
    pub fn configure(&self, settings: &Settings) {
        *self.mailbox.settings() = settings.clone();
        let mut next = self.mailbox.lock();
        // What is about to begin begins with them anyway.
        if *next == Next::Continue {
            *next = Next::SettingsChanged;
            self.mailbox.changed.notify_one();
        }
    }

    /// Puts the light out and ends the thread.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.mailbox.set(Next::Stop);
        if let Some(thread) = self.thread.take() {
            // A lamp that panicked has told so already; there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

impl Mailbox {
    fn set(&self, next: Next) {
        *self.lock() = next;
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Next> {
        // One word is always complete, even if another thread panicked.
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for another pattern, at most until `until`.
    fn wait_until(&self, until: Instant) -> Next {
        let mut next = self.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if *next != Next::Continue || left.is_zero() {
                return std::mem::replace(&mut next, Next::Continue);
            }
            next = self
                .changed
                .wait_timeout(next, left)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(next, _)| next);
        }
    }
}

/// Plays one pass of `pattern` on the thread of the caller, then puts the lamp out. However late a step is on a busy
/// machine, it is one pass.
pub fn play_once(light: &mut dyn Led, pattern: Pattern, settings: &Settings) {
    light.caption(pattern.appearance(), pattern.meaning());
    for step in rhythm(pattern, settings, is_night(settings)).steps {
        light.show(led_state(pattern, step, settings));
        thread::sleep(Duration::from_millis(u64::from(step.ms)));
    }
    turn_off(light);
}

fn turn_off(light: &mut dyn Led) {
    light.show(LedState::Off);
    light.caption(Pattern::Off.appearance(), "");
}

fn play(score: &Mailbox, mut light: Box<dyn Led>, mut shown: impl FnMut(Pattern, u64)) {
    let mut pattern = Pattern::Off;
    let mut steps = Pattern::Off.rhythm();
    let mut at_step = 0;
    light.show(LedState::Off);
    let mut step_ends = Instant::now() + NIGHT_CHECKED_EVERY;
    loop {
        let next = score.wait_until(step_ends);
        let settings = score.settings().clone();
        let settings = &settings;
        match next {
            Next::Stop => break,
            Next::SettingsChanged => {
                steps = rhythm(pattern, settings, is_night(settings));
                at_step = 0;
                light.show(led_state(pattern, steps.steps[0], settings));
                step_ends = Instant::now() + length(&steps, at_step);
            }
            Next::Play(other) if other != pattern => {
                pattern = other;
                steps = rhythm(pattern, settings, is_night(settings));
                at_step = 0;
                light.show(led_state(pattern, steps.steps[0], settings));
                shown(pattern, clock::boottime_us());
                light.caption(pattern.appearance(), pattern.meaning());
                step_ends = Instant::now() + length(&steps, at_step);
            }
            Next::Play(_) => {}
            Next::Continue => {
                at_step += 1;
                if at_step >= steps.steps.len() {
                    if steps.repeat {
                        // Between two passes is the time to notice that the night came or went.
                        steps = rhythm(pattern, settings, is_night(settings));
                    } else {
                        steps = Pattern::Off.rhythm();
                    }
                    at_step = 0;
                }
                light.show(led_state(pattern, steps.steps[at_step], settings));
                // From the end of the last step, not from now: a rhythm does not drift. Unless the machine slept.
                let now = Instant::now();
                step_ends += length(&steps, at_step);
                if step_ends < now {
                    step_ends = now + length(&steps, at_step);
                }
            }
        }
    }
    turn_off(&mut *light);
}

/// The rhythm of a pattern as the settings allow it.
fn rhythm(pattern: Pattern, settings: &Settings, night: bool) -> Rhythm {
    let silent = night || settings.mode == LightMode::Off;
    if silent && !pattern.is_feedback() {
        return Pattern::Off.rhythm();
    }
    if pattern == Pattern::Ready && settings.mode == LightMode::Heartbeat {
        return Rhythm::repeated(&[(40, 4960)]);
    }
    pattern.rhythm()
}

fn length(steps: &Rhythm, at_step: usize) -> Duration {
    if steps.repeat && steps.steps.len() == 1 {
        // A steady light needs no waking but for the night.
        return NIGHT_CHECKED_EVERY;
    }
    Duration::from_millis(u64::from(steps.steps[at_step].ms))
}

fn led_state(pattern: Pattern, step: Step, settings: &Settings) -> LedState {
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

/// Before the clock is set nobody knows, so it counts as day: better a light too many than a camera that seems dead.
fn is_night(settings: &Settings) -> bool {
    let Some(night) = settings.quiet_hours else {
        return false;
    };
    if !clock::wall_is_synchronised() {
        return false;
    }
    let now = jiff::Zoned::now();
    let minute = u16::from(now.hour().unsigned_abs()) * 60 + u16::from(now.minute().unsigned_abs());
    night.contains(minute)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver, Sender};

    use keepsake_protocol::faults::FaultCode;

    use super::*;
    use crate::settings::Config;

    struct Watched(Sender<(LedState, Instant)>);

    impl Led for Watched {
        fn show(&mut self, lamp: LedState) {
            let _ = self.0.send((lamp, Instant::now()));
        }
    }

    fn watched(settings: &Settings) -> (Player, Receiver<(LedState, Instant)>) {
        let (lamps, seen) = mpsc::channel();
        let player = Player::start(Box::new(Watched(lamps)), settings, |_, _| {}).unwrap();
        assert_eq!(next(&seen).0, LedState::Off);
        (player, seen)
    }

    fn next(seen: &Receiver<(LedState, Instant)>) -> (LedState, Instant) {
        seen.recv_timeout(Duration::from_secs(10)).unwrap()
    }

    fn settings() -> Settings {
        Config::default().light
    }

    #[test]
    fn a_rhythm_is_played_and_the_light_is_out_at_the_end() {
        let (player, seen) = watched(&settings());
        player.show(Pattern::Saved);
        let lamps: Vec<_> = (0..6).map(|_| next(&seen)).collect();
        let on: Vec<bool> = lamps.iter().map(|(lamp, _)| *lamp != LedState::Off).collect();
        assert_eq!(on, [false, true, false, true, false, false]);
        // A busy machine may be late, but a step is never cut short.
        let mut at_ms = 0;
        for ((_, shown), ms) in lamps.iter().zip([250, 200, 200, 200, 250, 0]) {
            assert!(shown.duration_since(lamps[0].1) >= Duration::from_millis(at_ms));
            at_ms += ms;
        }
        player.show(Pattern::Capturing);
        assert_ne!(next(&seen).0, LedState::Off);
        player.stop();
        assert_eq!(next(&seen).0, LedState::Off);
        assert!(seen.recv().is_err(), "nothing is shown after the end");
    }

    #[test]
    fn another_pattern_does_not_wait_for_the_step_being_played() {
        let (player, seen) = watched(&settings());
        // A steady light is one step of twenty seconds; `next` waits for ten.
        for pattern in [Pattern::Ready, Pattern::Capturing].repeat(10) {
            player.show(pattern);
            assert_eq!(
                next(&seen).0,
                led_state(pattern, pattern.rhythm().steps[0], &settings())
            );
        }
    }

    #[test]
    fn a_press_is_answered_at_night_and_with_the_light_off() {
        let off = Settings {
            mode: LightMode::Off,
            ..settings()
        };
        for (settings, night) in [(&off, false), (&settings(), true)] {
            for pattern in [
                Pattern::Identify,
                Pattern::HoldForget,
                Pattern::Capturing,
                Pattern::Stored,
                Pattern::Saved,
                Pattern::Failed {
                    fault: Some(FaultCode::Camera),
                },
            ] {
                assert_eq!(rhythm(pattern, settings, night), pattern.rhythm());
            }
            for pattern in [
                Pattern::Starting,
                Pattern::Ready,
                Pattern::Uploading,
                Pattern::Offline,
                Pattern::Fault(FaultCode::Card),
            ] {
                assert_eq!(rhythm(pattern, settings, night), Pattern::Off.rhythm());
            }
        }
    }

    #[test]
    fn ready_is_dim_or_a_wink() {
        let step = Step { on: true, ms: 1 };
        let brightness = |pattern, settings: &Settings| match led_state(pattern, step, settings) {
            LedState::On { brightness, .. } => brightness,
            LedState::Off => 0,
        };
        assert_eq!(brightness(Pattern::Ready, &settings()), 10);
        assert_eq!(brightness(Pattern::Stored, &settings()), 100);
        let quiet = Settings {
            mode: LightMode::Heartbeat,
            ..settings()
        };
        let wink = rhythm(Pattern::Ready, &quiet, false);
        assert_eq!(wink.length(), Duration::from_secs(5));
        assert_eq!(brightness(Pattern::Ready, &quiet), 100);
    }
}
