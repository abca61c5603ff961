//! The button on a line. The kernel debounces it: an edge is reported once the level has been stable for a while.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gpiocdev::Request;
use gpiocdev::line::{Bias, EdgeDetection, EdgeKind};

use crate::hardware::{Button, ButtonEdge, HardwareError};
use crate::settings::{Active, ButtonSettings, Pull};
use crate::time::clock;

pub(super) const CONSUMER: &str = "keepsake";
/// Edges that may wait while a press is handled. The kernel's own default is 16, a few presses.
const EDGES_MAX: u32 = 64;

/// A button between a line and ground, or between a line and 3.3 V.
pub(super) struct GpiochipButton {
    chip: PathBuf,
    settings: ButtonSettings,
    /// `None` after an error, until it is opened again.
    line: Option<Request>,
}

impl GpiochipButton {
    pub(super) fn open(chip: &Path, settings: &ButtonSettings) -> Result<Self, HardwareError> {
        let mut button = Self {
            chip: chip.to_owned(),
            settings: settings.clone(),
            line: None,
        };
        button.listen_for_edges()?;
        Ok(button)
    }

    fn listen_for_edges(&mut self) -> Result<&Request, HardwareError> {
        let Self { chip, settings, line } = self;
        if let Some(line) = line {
            return Ok(line);
        }
        let mut request = Request::builder();
        request
            .on_chip(&*chip)
            .with_consumer(CONSUMER)
            .with_kernel_event_buffer_size(EDGES_MAX)
            .with_line(u32::from(settings.pin))
            .with_edge_detection(EdgeDetection::BothEdges);
        match settings.pull {
            Pull::Up => request.with_bias(Bias::PullUp),
            Pull::Down => request.with_bias(Bias::PullDown),
            Pull::None => request.with_bias(None),
        };
        // Active is pressed, whichever level that is, and so a rising edge is a press.
        match settings.active {
            Active::Low => request.as_active_low(),
            Active::High => request.as_active_high(),
        };
        if !settings.debounce().is_zero() {
            request.with_debounce_period(settings.debounce());
        }
        let requested = request.request().map_err(|e| {
            let pin = settings.pin;
            HardwareError::of_pin(format!("listen to line {pin} of {}", chip.display()), e)
        })?;
        Ok(line.insert(requested))
    }
}

impl Button for GpiochipButton {
    fn wait(&mut self, timeout: Duration) -> Result<Option<ButtonEdge>, HardwareError> {
        let line = self.listen_for_edges()?;
        let event = match line.wait_edge_event(timeout) {
            Ok(false) => return Ok(None),
            Ok(true) => line.read_edge_event(),
            Err(error) => Err(error),
        };
        match event {
            Ok(event) => Ok(Some(ButtonEdge {
                down: event.kind == EdgeKind::Rising,
                at_boottime_us: clock::boottime_of_monotonic_us(event.timestamp_ns / 1000),
            })),
            Err(error) => {
                self.line = None;
                let doing = format!("wait for the button on line {}", self.settings.pin);
                Err(HardwareError::of_pin(doing, error))
            }
        }
    }
}
