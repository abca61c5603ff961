//! The LED pattern when the program has stopped: fault 7.
//!
//! A program that was killed leaves the LED as it was, and an LED that shows "ready" then lies. systemd runs this
//! instead (`ExecStopPost=` and `keepsake-stopped.service` in `appliance/debian`): one pass of the rhythm before the program
//! starts again, or repeats where it does not.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Instant;

use keepsake_protocol::faults::FaultCode;
use keepsake_protocol::light::Pattern;
use nix::sys::signal::{SigSet, Signal};

use crate::hardware::Led;
use crate::light::player::{self, Player};
use crate::settings::LightSettings;

/// The value of `$SERVICE_RESULT` of a service that was stopped on request.
const SUCCESS: &str = "success";

/// Returns true if the program ended without a request to stop.
///
/// `service_result`: `$SERVICE_RESULT`; absent = a person wants to see what it looks like.
pub(crate) fn should_show(service_result: Option<&str>) -> bool {
    service_result != Some(SUCCESS)
}

/// Shows fault 7: one pass, then dark, or until a signal ends this process.
pub(crate) fn show(mut led: Box<dyn Led>, settings: &LightSettings, once: bool) -> io::Result<()> {
    let pattern = Pattern::Fault(FaultCode::Program);
    if once {
        player::play_once(&mut *led, pattern, settings);
        return Ok(());
    }
    // Before there is a thread that could be hit: a signal must not leave the LED lit.
    let mut end = SigSet::empty();
    end.add(Signal::SIGTERM);
    end.add(Signal::SIGINT);
    end.thread_block()?;
    let (signalled, stop) = sync_channel(1);
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || signalled.send(end.wait()))?;
    let mut player = Player::new(led, settings, Instant::now());
    player.show(pattern, Instant::now());
    loop {
        let step_left = player.step_ends().saturating_duration_since(Instant::now());
        match stop.recv_timeout(step_left) {
            Err(RecvTimeoutError::Timeout) => player.advance(Instant::now()),
            Ok(signal) => return signal.map(drop).map_err(Into::into),
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::LedState;
    use crate::hardware::testing::WatchedLed;
    use crate::settings::Config;

    #[test]
    fn a_stop_that_was_asked_for_leaves_the_light_alone() {
        assert!(!should_show(Some("success")));
        for result in [None, Some("watchdog"), Some("signal"), Some("exit-code"), Some("oom-kill")] {
            assert!(should_show(result), "{result:?}");
        }
    }

    #[test]
    fn it_is_one_long_and_seven_short_and_then_dark() {
        let (states, shown) = std::sync::mpsc::channel();
        show(Box::new(WatchedLed(states)), &Config::default().light, true).unwrap();
        let shown: Vec<bool> = shown.iter().map(|state| state != LedState::Off).collect();
        let one_pass = Pattern::Fault(FaultCode::Program).rhythm().steps;
        let expected: Vec<bool> = one_pass.iter().map(|step| step.on).chain([false]).collect();
        assert_eq!(shown, expected);
        assert_eq!(shown.iter().filter(|on| **on).count(), 8, "{shown:?}");
    }
}
