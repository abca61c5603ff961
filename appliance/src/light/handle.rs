//! The light as the rest of the program sees it: send what happened, and the right pattern is played.
//!
//! Joins the deciding [`indicator`](crate::light::indicator) to the playing [`light`](crate::light::player), on a thread of its own,
//! so that a press is answered whatever else is busy.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use keepsake_protocol::light::Pattern;
use keepsake_protocol::presence::LedStatus;

use crate::hardware::Led;
use crate::light::indicator::{Indicator, LightEvent};
use crate::light::player::Player;
use crate::settings;
use crate::status::events::{Event, EventWriter};
use crate::time::clock::boottime_us;

/// Events that may wait; the thread only decides, so there are never many.
const EVENTS_MAX: usize = 1024;

enum Input {
    Event(LightEvent),
    /// A press and when it was felt, CLOCK_BOOTTIME in microseconds.
    Pressed(u64, u64),
    Settings(Box<settings::LightSettings>),
    Stop,
}

/// Tells the light what happens. Cheap to clone.
#[derive(Clone)]
pub struct LightHandle {
    inputs: SyncSender<Input>,
    status: Arc<Mutex<LedStatus>>,
    thread: Arc<Mutex<Option<std::thread::JoinHandle<()>>>>,
}

impl LightHandle {
    /// Starts the threads; the light says that the camera is starting until [`LightHandle::send`] says otherwise.
    pub fn start(light: Box<dyn Led>, settings: &settings::LightSettings, events: &EventWriter) -> io::Result<Self> {
        let (inputs, to_decide) = sync_channel(EVENTS_MAX);
        let status = Arc::new(Mutex::new(LedStatus::default()));
        // Presses whose light is not on the lamp yet, with the moment they were felt.
        let unlit: Arc<Mutex<BTreeMap<u64, u64>>> = Arc::default();
        let player = {
            let (status, unlit, events) = (status.clone(), unlit.clone(), events.clone());
            Player::start(light, settings, move |pattern, at_us| {
                if pattern == Pattern::Capturing {
                    report_light_delay(&unlit, at_us, &events);
                }
                *locked(&status) = led_status(pattern);
                events.emit(&Event::Light {
                    pattern: pattern.name(),
                });
            })?
        };
        let events = events.clone();
        let thread = std::thread::Builder::new()
            .name("lamp".to_owned())
            .spawn(move || run(&to_decide, player, &unlit, &events))?;
        Ok(Self {
            inputs,
            status,
            thread: Arc::new(Mutex::new(Some(thread))),
        })
    }

    /// A press was felt: the light goes on at once.
    pub fn pressed(&self, press: u64, at_boottime_us: u64) {
        let _ = self.inputs.send(Input::Pressed(press, at_boottime_us));
    }

    pub fn send(&self, event: LightEvent) {
        let _ = self.inputs.send(Input::Event(event));
    }

    /// Other brightness, mode and hours of the night from now on.
    pub fn configure(&self, settings: &settings::LightSettings) {
        let _ = self.inputs.send(Input::Settings(Box::new(settings.clone())));
    }

    /// What the light shows now, for the page.
    pub fn status(&self) -> LedStatus {
        locked(&self.status).clone()
    }

    /// Puts the light out: it must not lie when the program is gone.
    pub fn stop(&self) {
        let _ = self.inputs.send(Input::Stop);
        if let Some(thread) = locked(&self.thread).take() {
            let _ = thread.join();
        }
    }
}

fn run(inputs: &Receiver<Input>, player: Player, unlit: &Mutex<BTreeMap<u64, u64>>, events: &EventWriter) {
    let began = Instant::now();
    let mut indicator = Indicator::new();
    let mut shown = None;
    loop {
        let now = began.elapsed();
        let (pattern, deadline) = indicator.view(now);
        for answer in indicator.take_feedback() {
            events.emit(&Event::Answer {
                answer: answer.pattern.name(),
                presses: &answer.presses,
            });
        }
        if shown != Some(pattern) {
            shown = Some(pattern);
            player.show(pattern);
        } else if pattern == Pattern::Capturing {
            // The light was on already when these were felt.
            report_light_delay(unlit, boottime_us(), events);
        }
        let wait = deadline.map_or(Duration::from_secs(60), |at| at.saturating_sub(began.elapsed()));
        match inputs.recv_timeout(wait) {
            Ok(Input::Event(event)) => indicator.handle(began.elapsed(), event),
            Ok(Input::Pressed(press, at_us)) => {
                locked(unlit).insert(press, at_us);
                indicator.handle(began.elapsed(), LightEvent::Pressed(press));
            }
            Ok(Input::Settings(settings)) => player.configure(&settings),
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => return player.stop(),
        }
    }
}

fn report_light_delay(unlit: &Mutex<BTreeMap<u64, u64>>, at_us: u64, events: &EventWriter) {
    for (press, felt_us) in std::mem::take(&mut *locked(unlit)) {
        events.emit(&Event::Pressed {
            press,
            light_after_us: at_us.saturating_sub(felt_us),
        });
    }
}

fn led_status(pattern: Pattern) -> LedStatus {
    LedStatus {
        pattern: pattern.name().to_owned(),
        appearance: pattern.appearance().to_owned(),
        meaning: pattern.meaning().to_owned(),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
