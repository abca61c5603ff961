//! The thread that waits for the button, and passes on what was pressed or held.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::mpsc;

use crate::button::gesture::{Action, Gesture, Wish};
use crate::capture::pipeline::Job;
use crate::error::display_chain;
use crate::hardware::Button;
use crate::light::indicator::Event as Light;
use crate::light::lamp::Lamp;
use crate::status::events::{Report, Reporter};
use crate::time::clock::boottime_us;

/// Wishes of whoever held the button; nobody holds it more often than one is carried out.
pub(crate) const HELD_MAX: usize = 4;

/// How long the button's thread waits before it looks whether the program stops.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Waits for the button, lights up, and hands over what a touch means.
pub(crate) struct ButtonThread {
    pub(crate) button: Box<dyn Button>,
    pub(crate) gesture: Gesture,
    pub(crate) lamp: Lamp,
    pub(crate) jobs: SyncSender<Job>,
    pub(crate) held: mpsc::Sender<Wish>,
    pub(crate) stopping: Arc<AtomicBool>,
    pub(crate) reporter: Reporter,
    pub(crate) presses: u64,
}

impl ButtonThread {
    pub(crate) fn spawn(mut self) -> anyhow::Result<()> {
        std::thread::Builder::new()
            .name("button".to_owned())
            .spawn(move || while self.turn() {})
            .context("start the button's thread")?;
        Ok(())
    }

    /// Waits for one touch, or for the next stage of a hold. Returns whether to go on.
    fn turn(&mut self) -> bool {
        let due_us = self.gesture.due_us();
        let due = due_us.map(|due| Duration::from_micros(due.saturating_sub(boottime_us())));
        let touched = self
            .button
            .wait(due.map_or(LOOK_EVERY, |due| due.min(LOOK_EVERY)));
        if self.stopping.load(Ordering::Relaxed) {
            return false;
        }
        let actions = match touched {
            Ok(Some(touch)) => self.gesture.touched(touch.down, touch.at_boottime_us),
            Ok(None) => self.gesture.passed(boottime_us()).into_iter().collect(),
            Err(error) => {
                let text = display_chain(&error);
                tracing::error!(error = text, "the button cannot be read");
                self.reporter.tell(&Report::Warning { text: &text });
                std::thread::sleep(Duration::from_secs(5));
                Vec::new()
            }
        };
        actions.into_iter().all(|action| self.act(action))
    }

    fn act(&mut self, action: Action) -> bool {
        match action {
            Action::Press { at_us } => {
                self.presses += 1;
                let number = self.presses;
                self.lamp.pressed(number, at_us);
                let at_boottime_us = at_us;
                let job = Job::Press {
                    number,
                    at_boottime_us,
                };
                self.jobs.send(job).is_ok()
            }
            Action::Show(stage) => {
                self.lamp.tell(Light::Held(stage));
                true
            }
            // One that finds no room was wished for a moment before.
            Action::Do(wish) => !matches!(
                self.held.try_send(wish),
                Err(mpsc::error::TrySendError::Closed(_))
            ),
        }
    }
}
