//! The LED as the rest of the program sees it: send what happened, and the right pattern is played.
//!
//! One thread lets the [`Indicator`] decide and the [`Player`] play, so that a press is answered whatever else is busy.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Instant;

use keepsake_protocol::light::Pattern;
use keepsake_protocol::status::LedStatus;
use parking_lot::Mutex;

use crate::hardware::Led;
use crate::light::indicator::{Indicator, LightEvent};
use crate::light::player::Player;
use crate::settings::LightSettings;
use crate::status::events::{Event, EventWriter};
use crate::time::clock::boottime_us;

/// Events that may wait; the thread never blocks, so there are never many.
const EVENTS_MAX: usize = 1024;

enum Input {
    Event(LightEvent),
    /// A press and when it was felt, CLOCK_BOOTTIME in microseconds.
    Pressed(u64, u64),
    Settings(Box<LightSettings>),
    Stop,
}

/// Tells the light what happens. Cheap to clone.
#[derive(Clone)]
pub(crate) struct LightHandle {
    inputs: SyncSender<Input>,
    status: Arc<Mutex<LedStatus>>,
    presses: Arc<PressCounts>,
    thread: Arc<Mutex<Option<std::thread::JoinHandle<()>>>>,
}

#[derive(Default)]
struct PressCounts {
    felt: AtomicU64,
    answered: AtomicU64,
}

impl LightHandle {
    /// Starts the thread; the LED shows that the camera is starting until [`LightHandle::send`] says otherwise.
    pub(crate) fn start(led: Box<dyn Led>, settings: &LightSettings, events: &EventWriter) -> io::Result<Self> {
        let (inputs, to_handle) = sync_channel(EVENTS_MAX);
        let status = Arc::new(Mutex::new(LedStatus::default()));
        let presses = Arc::new(PressCounts::default());
        let light = Light {
            indicator: Indicator::new(),
            player: Player::new(led, settings, Instant::now()),
            began: Instant::now(),
            unlit: BTreeMap::new(),
            status: Arc::clone(&status),
            presses: Arc::clone(&presses),
            handled: 0,
            events: events.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("light".to_owned())
            .spawn(move || light.run(&to_handle))?;
        Ok(Self {
            inputs,
            status,
            presses,
            thread: Arc::new(Mutex::new(Some(thread))),
        })
    }

    /// Turns the LED on at once for a press that was felt.
    pub(crate) fn pressed(&self, press: u64, at_boottime_us: u64) {
        self.presses.felt.fetch_add(1, Ordering::SeqCst);
        let _ = self.inputs.send(Input::Pressed(press, at_boottime_us));
    }

    /// Returns true when every press so far has been answered to the end.
    pub(crate) fn has_answered_all(&self) -> bool {
        self.presses.answered.load(Ordering::SeqCst) == self.presses.felt.load(Ordering::SeqCst)
    }

    pub(crate) fn send(&self, event: LightEvent) {
        let _ = self.inputs.send(Input::Event(event));
    }

    /// Applies another brightness, mode and quiet hours.
    pub(crate) fn configure(&self, settings: &LightSettings) {
        let _ = self.inputs.send(Input::Settings(Box::new(settings.clone())));
    }

    /// Returns the pattern that the LED shows now.
    pub(crate) fn status(&self) -> LedStatus {
        self.status.lock().clone()
    }

    /// Turns the LED off, because it must not lie when the program is gone.
    pub(crate) fn stop(&self) {
        let _ = self.inputs.send(Input::Stop);
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

/// The state of the thread.
struct Light {
    indicator: Indicator,
    player: Player,
    /// The start of the indicator's time.
    began: Instant,
    /// Presses for which the LED is not on yet, with the moment they were felt.
    unlit: BTreeMap<u64, u64>,
    status: Arc<Mutex<LedStatus>>,
    presses: Arc<PressCounts>,
    /// Presses that the indicator has been told.
    handled: u64,
    events: EventWriter,
}

impl Light {
    fn run(mut self, inputs: &Receiver<Input>) {
        loop {
            let wake_at = self.update();
            match inputs.recv_timeout(wake_at.saturating_duration_since(Instant::now())) {
                Ok(Input::Event(event)) => self.indicator.handle(self.began.elapsed(), event),
                Ok(Input::Pressed(press, at_us)) => {
                    self.unlit.insert(press, at_us);
                    self.handled += 1;
                    self.indicator.handle(self.began.elapsed(), LightEvent::Pressed(press));
                }
                Ok(Input::Settings(settings)) => self.player.configure(&settings, Instant::now()),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Plays what is to be seen now, and returns when to look again.
    fn update(&mut self) -> Instant {
        let now = Instant::now();
        let (pattern, deadline) = self.indicator.view(now - self.began);
        for answer in self.indicator.take_feedback() {
            self.events
                .emit(&Event::Answer { answer: answer.pattern.name(), presses: &answer.presses });
        }
        if self.indicator.has_answered_all() {
            self.presses.answered.store(self.handled, Ordering::SeqCst);
        }
        let begun = self.player.show(pattern, now);
        self.player.advance(now);
        if pattern == Pattern::Capturing {
            self.report_light_delay();
        }
        if begun {
            *self.status.lock() = led_status(pattern);
            self.events.emit(&Event::Light { pattern: pattern.name() });
        }
        let step_ends = self.player.step_ends();
        deadline.map_or(step_ends, |deadline| step_ends.min(self.began + deadline))
    }

    fn report_light_delay(&mut self) {
        let lit_us = boottime_us();
        for (press, felt_us) in std::mem::take(&mut self.unlit) {
            self.events
                .emit(&Event::Pressed { press, light_after_us: lit_us.saturating_sub(felt_us) });
        }
    }
}

fn led_status(pattern: Pattern) -> LedStatus {
    LedStatus {
        pattern: pattern.name().to_owned(),
        appearance: pattern.appearance().to_owned(),
        meaning: pattern.meaning().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::hardware::LedState;
    use crate::hardware::testing::WatchedLed;
    use crate::settings::Config;

    #[test]
    fn a_press_does_not_wait_for_the_step_being_played() {
        let (states, seen) = mpsc::channel();
        let settings = Config::default().light;
        let light = LightHandle::start(Box::new(WatchedLed(states)), &settings, &EventWriter::default()).unwrap();
        // A steady LED is one step of twenty seconds; `next` waits for ten.
        light.send(LightEvent::Connected(true));
        light.send(LightEvent::Starting(false));
        let next = || seen.recv_timeout(Duration::from_secs(10)).unwrap();
        let brightness = |state| match state {
            LedState::On { brightness, .. } => brightness,
            LedState::Off => 0,
        };
        while brightness(next()) != settings.ready_brightness_percent {}
        light.pressed(1, boottime_us());
        assert_eq!(brightness(next()), settings.brightness_percent);
        light.stop();
        assert_eq!(next(), LedState::Off);
    }
}
