//! The thread that waits for the button, and passes on what was pressed or held.

use std::time::Duration;

use anyhow::Context;
use tokio::sync::mpsc;

use crate::button::press_or_hold::{Action, Gesture, HoldAction};
use crate::capture::pipeline::CaptureRequest;
use crate::capture::thread::CaptureRequests;
use crate::error::display_chain;
use crate::hardware::Button;
use crate::light::handle::LightHandle;
use crate::light::indicator::LightEvent;
use crate::status::events::{Event, EventWriter};
use crate::time::clock::boottime_us;

/// Capacity of the channel for hold actions; one is carried out before a person can request the next.
pub(crate) const HOLD_ACTIONS_MAX: usize = 4;

/// The wait for a touch, after which the thread waits again: any length will do.
const WAIT: Duration = Duration::from_secs(3600);

/// Waits for the button, lights up, and hands over what a touch means.
pub(crate) struct ButtonThread {
    pub(crate) button: Box<dyn Button>,
    pub(crate) gesture: Gesture,
    pub(crate) light: LightHandle,
    pub(crate) requests: CaptureRequests,
    pub(crate) hold_actions: mpsc::Sender<HoldAction>,
    pub(crate) events: EventWriter,
    pub(crate) presses: u64,
}

impl ButtonThread {
    pub(crate) fn spawn(mut self) -> anyhow::Result<()> {
        std::thread::Builder::new()
            .name("button".to_owned())
            .spawn(move || while self.wait_once() {})
            .context("start the button's thread")?;
        Ok(())
    }

    /// Waits for one touch, or for the next stage of a hold. Returns whether to go on.
    fn wait_once(&mut self) -> bool {
        let due_us = self.gesture.deadline_us();
        let due = due_us.map(|due| Duration::from_micros(due.saturating_sub(boottime_us())));
        let touched = self.button.wait(due.unwrap_or(WAIT));
        let actions = match touched {
            Ok(Some(touch)) => self.gesture.on_edge(touch.down, touch.at_boottime_us),
            Ok(None) => self.gesture.on_timeout(boottime_us()).into_iter().collect(),
            Err(error) => {
                let text = display_chain(&error);
                tracing::error!(error = text, "the button cannot be read");
                self.events.emit(&Event::Warning { text: &text });
                std::thread::sleep(Duration::from_secs(5));
                Vec::new()
            }
        };
        actions.into_iter().all(|action| self.perform(action))
    }

    fn perform(&mut self, action: Action) -> bool {
        match action {
            Action::Press { at_us } => {
                let Some(requests) = self.requests.lock().clone() else {
                    return false;
                };
                self.presses += 1;
                let number = self.presses;
                self.light.pressed(number, at_us);
                let at_boottime_us = at_us;
                let job = CaptureRequest::Press { number, at_boottime_us };
                requests.send(job).is_ok()
            }
            Action::Show(stage) => {
                self.light.send(LightEvent::Hold(stage));
                true
            }
            // One that finds no room was wished for a moment before.
            Action::Perform(wish) => {
                !matches!(self.hold_actions.try_send(wish), Err(mpsc::error::TrySendError::Closed(_)))
            }
        }
    }
}
