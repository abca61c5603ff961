//! The LED on one line or three. The kernel cannot dim, so a thread switches a dimmed LED on and off, as rppal does.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use gpiocdev::Request;
use gpiocdev::line::{Value, Values};

use crate::hardware::{Led, LedState};

/// One pass of a dimmed LED: too fast for an eye to see it flicker.
const PWM_PERIOD: Duration = Duration::from_millis(5);
/// States of the LED that may wait. The thread takes them at once, unless the kernel is slow.
const STATES_MAX: usize = 16;

/// An LED of one colour, or of three. Dropping it turns it off.
pub(super) struct GpiochipLed {
    /// `None` only while it is dropped, which ends the thread.
    duty_cycles: Option<SyncSender<Vec<f64>>>,
    channels: usize,
    thread: Option<JoinHandle<()>>,
}

impl GpiochipLed {
    pub(super) fn start(request: Request, lines: Vec<u32>) -> std::io::Result<Self> {
        let channels = lines.len();
        let (duty_cycles, to_play) = sync_channel(STATES_MAX);
        let drive = move |lit: &[bool]| {
            let mut values = Values::default();
            for (&line, &lit) in lines.iter().zip(lit) {
                values.set(line, if lit { Value::Active } else { Value::Inactive });
            }
            // An LED that is broken must not stop a camera.
            let _ = request.set_values(&values);
        };
        let thread = thread::Builder::new()
            .name("lines".to_owned())
            .spawn(move || run_pwm(drive, channels, &to_play))?;
        Ok(Self {
            duty_cycles: Some(duty_cycles),
            channels,
            thread: Some(thread),
        })
    }
}

impl Led for GpiochipLed {
    fn show(&mut self, state: LedState) {
        if let Some(duty_cycles) = &self.duty_cycles {
            let _ = duty_cycles.send(state.duty_cycles(self.channels));
        }
    }
}

impl Drop for GpiochipLed {
    fn drop(&mut self) {
        self.duty_cycles = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Plays the latest duty cycles of the channels, 0 to 1 each, until their sender is dropped.
fn run_pwm(mut drive: impl FnMut(&[bool]), channels: usize, duty_cycles: &Receiver<Vec<f64>>) {
    let mut shares = vec![0.0; channels];
    loop {
        match play_pass(&mut drive, &shares, duty_cycles) {
            Ok(next) => shares = next,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    drive(&vec![false; channels]);
}

/// Plays one pass, or less if other duty cycles arrive, which are returned.
fn play_pass(
    drive: &mut impl FnMut(&[bool]),
    shares: &[f64],
    duty_cycles: &Receiver<Vec<f64>>,
) -> Result<Vec<f64>, RecvTimeoutError> {
    let steps = pwm_steps(shares);
    if let [(_, lit)] = steps.as_slice() {
        drive(lit);
        return duty_cycles.recv().map_err(|_| RecvTimeoutError::Disconnected);
    }
    let began = Instant::now();
    let ends = steps.iter().skip(1).map(|(from, _)| *from).chain([1.0]);
    for ((_, lit), end) in steps.iter().zip(ends) {
        drive(lit);
        let step_left = (began + PWM_PERIOD.mul_f64(end)).saturating_duration_since(Instant::now());
        match duty_cycles.recv_timeout(step_left) {
            Err(RecvTimeoutError::Timeout) => {}
            changed => return changed,
        }
    }
    Err(RecvTimeoutError::Timeout)
}

/// One pass as steps: from which part of it on which channels are lit. A single step is no dimming.
fn pwm_steps(shares: &[f64]) -> Vec<(f64, Vec<bool>)> {
    let mut ends: Vec<f64> = shares.iter().copied().filter(|share| *share < 1.0).collect();
    ends.push(0.0);
    ends.sort_by(f64::total_cmp);
    ends.dedup();
    ends.into_iter()
        .map(|from| (from, shares.iter().map(|share| *share > from).collect()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_ends_each_channel_at_its_share() {
        for (shares, steps) in [
            (&[1.0][..], vec![(0.0, vec![true])]),
            (&[0.0], vec![(0.0, vec![false])]),
            (&[0.1], vec![(0.0, vec![true]), (0.1, vec![false])]),
            (&[1.0, 0.0, 1.0], vec![(0.0, vec![true, false, true])]),
            (
                &[1.0, 0.5, 0.25],
                vec![
                    (0.0, vec![true, true, true]),
                    (0.25, vec![true, true, false]),
                    (0.5, vec![true, false, false]),
                ],
            ),
        ] {
            assert_eq!(pwm_steps(shares), steps, "{shares:?}");
        }
    }

    #[test]
    fn a_dimmed_led_is_switched_on_and_off_until_it_is_dropped() {
        let (driven, seen) = std::sync::mpsc::channel();
        let (duty_cycles, to_play) = sync_channel(STATES_MAX);
        let thread = thread::spawn(move || run_pwm(move |lit| driven.send(lit.to_vec()).unwrap(), 2, &to_play));
        let next = || seen.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(next(), [false, false]);
        duty_cycles.send(vec![1.0, 0.5]).unwrap();
        for lit in [true, false].repeat(3) {
            assert_eq!(next(), [true, lit]);
        }
        drop(duty_cycles);
        thread.join().unwrap();
        assert_eq!(seen.iter().last().unwrap(), [false, false]);
    }
}
