//! The patterns of the LED: name on the wire, appearance, meaning, colour and rhythm. The camera plays them, the
//! cloud's pages draw them, and the documents list them from this table.
//!
//! The rhythm carries the meaning; the colour only repeats it. No pattern flashes more than three times in any second
//! (WCAG 2.3.1).

use std::time::Duration;

use crate::faults::FaultCode;

/// A rhythm of the LED with a name, an appearance and a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pattern {
    Off,
    Starting,
    /// Everything is stored.
    Ready,
    Uploading,
    /// No connection, or nothing moves: pictures are kept.
    Offline,
    Identify,
    /// The button is held; releasing it now reconnects.
    HoldReconnect,
    /// The button is held; releasing it now unpairs from the cloud.
    HoldForget,
    /// The button is held too long; releasing it does nothing.
    HoldCancelled,
    Capturing,
    /// The answer: in the cloud.
    Stored,
    /// The answer: safe on the card.
    Saved,
    /// The answer: at least one press has no picture. A status does not say because of which fault.
    Failed {
        fault: Option<FaultCode>,
    },
    Fault(FaultCode),
}

/// The LED is on or off for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub on: bool,
    pub ms: u32,
}

/// A sequence of steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rhythm {
    /// Never empty.
    pub steps: Vec<Step>,
    /// The steps start again at the end; otherwise the LED stays off.
    pub repeat: bool,
}

impl Rhythm {
    /// Builds a rhythm from times on and off, in milliseconds.
    fn new(repeat: bool, blinks: &[(u32, u32)]) -> Self {
        let steps = blinks
            .iter()
            .flat_map(|&(on, off)| [(true, on), (false, off)])
            .filter(|(_, ms)| *ms > 0)
            .map(|(on, ms)| Step { on, ms })
            .collect();
        Self { steps, repeat }
    }

    /// Returns a rhythm that starts again at its end, from times on and off in milliseconds.
    pub fn repeated(blinks: &[(u32, u32)]) -> Self {
        Self::new(true, blinks)
    }

    fn once(blinks: &[(u32, u32)]) -> Self {
        Self::new(false, blinks)
    }

    /// The length of one pass.
    pub fn length(&self) -> Duration {
        Duration::from_millis(self.steps.iter().map(|step| u64::from(step.ms)).sum())
    }
}

/// The colour of an LED that has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Colour {
    White,
    Green,
    Amber,
    Blue,
    Red,
}

impl Colour {
    /// Returns red, green and blue, each 0 to 255.
    pub const fn rgb(self) -> [u8; 3] {
        match self {
            Self::White => [255, 255, 255],
            Self::Green => [0, 255, 0],
            Self::Amber => [255, 140, 0],
            Self::Blue => [0, 0, 255],
            Self::Red => [255, 0, 0],
        }
    }
}

impl Pattern {
    pub const ALL: [Self; 20] = [
        Self::Off,
        Self::Starting,
        Self::Ready,
        Self::Uploading,
        Self::Offline,
        Self::Identify,
        Self::HoldReconnect,
        Self::HoldForget,
        Self::HoldCancelled,
        Self::Capturing,
        Self::Stored,
        Self::Saved,
        Self::Failed { fault: None },
        Self::Fault(FaultCode::Config),
        Self::Fault(FaultCode::Network),
        Self::Fault(FaultCode::Cloud),
        Self::Fault(FaultCode::Pairing),
        Self::Fault(FaultCode::Camera),
        Self::Fault(FaultCode::Card),
        Self::Fault(FaultCode::Program),
    ];

    /// Returns the name, as events and `up/status` carry it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Uploading => "uploading",
            Self::Offline => "offline",
            Self::Identify => "identify",
            Self::HoldReconnect => "held-reconnect",
            Self::HoldForget => "held-forget",
            Self::HoldCancelled => "held-cancelled",
            Self::Capturing => "capturing",
            Self::Stored => "stored",
            Self::Saved => "kept",
            Self::Failed { .. } => "failed",
            Self::Fault(fault) => fault.name(),
        }
    }

    /// Returns the pattern with this name; none if a newer camera sent it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|pattern| pattern.name() == name)
    }

    /// Returns what a person beside the camera would call it.
    pub const fn appearance(self) -> &'static str {
        match self {
            Self::Off | Self::HoldCancelled => "off",
            Self::Starting => "double pulse",
            Self::Ready => "steady",
            Self::Uploading => "even blink, twice a second",
            Self::Offline => "a short blink every two seconds",
            Self::Identify | Self::HoldForget => "quick even blink",
            Self::HoldReconnect => "slow even blink, one second on, one off",
            Self::Capturing => "on",
            Self::Stored => "one long blink",
            Self::Saved => "two short blinks",
            Self::Failed { .. } => "five short blinks, then the fault number",
            Self::Fault(fault) => match fault {
                FaultCode::Config => "one long blink, one short",
                FaultCode::Network => "one long blink, two short",
                FaultCode::Cloud => "one long blink, three short",
                FaultCode::Pairing => "one long blink, four short",
                FaultCode::Camera => "one long blink, five short",
                FaultCode::Card => "one long blink, six short",
                FaultCode::Program => "one long blink, seven short",
            },
        }
    }

    /// Returns the meaning, in sentences.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Off => "Switched off, or no power.",
            Self::Starting => "Starting. Do not unplug.",
            Self::Ready => "Ready. Everything is stored.",
            Self::Uploading => "Uploading. No action needed.",
            Self::Offline => "No connection. Pictures are safe on the card and will be uploaded later.",
            Self::Identify => "This is the camera you are looking for.",
            Self::HoldReconnect => "Release to reload camera.toml and reconnect.",
            Self::HoldForget => "Release to unpair from the cloud. Pictures are kept.",
            Self::HoldCancelled => "Held too long. Releasing does nothing.",
            Self::Capturing => "Taking the picture. Hold still.",
            Self::Stored => "In the cloud.",
            Self::Saved => "Safe on the card. It will be uploaded later.",
            Self::Failed { .. } => "Not taken. Try again.",
            Self::Fault(fault) => fault.meaning(),
        }
    }

    pub const fn colour(self) -> Colour {
        match self {
            Self::Off | Self::Starting | Self::Identify | Self::Capturing => Colour::White,
            Self::Ready | Self::Uploading | Self::Stored => Colour::Green,
            Self::Offline | Self::Saved => Colour::Amber,
            Self::HoldReconnect | Self::HoldCancelled => Colour::Blue,
            Self::Failed { .. } | Self::Fault(_) | Self::HoldForget => Colour::Red,
        }
    }

    /// Returns true for an answer to a person at the camera: it is shown in quiet hours and with the LED set to off,
    /// too.
    pub const fn is_feedback(self) -> bool {
        match self {
            Self::Identify
            | Self::HoldReconnect
            | Self::HoldForget
            | Self::HoldCancelled
            | Self::Capturing
            | Self::Stored
            | Self::Saved
            | Self::Failed { .. } => true,
            Self::Off | Self::Starting | Self::Ready | Self::Uploading | Self::Offline | Self::Fault(_) => false,
        }
    }

    /// Returns the rhythm. Only two speeds of blinking are used that a person must tell apart.
    pub fn rhythm(self) -> Rhythm {
        match self {
            Self::Off | Self::HoldCancelled => Rhythm::repeated(&[(0, 1000)]),
            Self::Ready | Self::Capturing => Rhythm::repeated(&[(1000, 0)]),
            Self::Starting => Rhythm::repeated(&[(150, 150), (150, 600)]),
            Self::Uploading => Rhythm::repeated(&[(250, 250)]),
            Self::Offline => Rhythm::repeated(&[(150, 1850)]),
            Self::HoldReconnect => Rhythm::repeated(&[(1000, 1000)]),
            Self::Identify | Self::HoldForget => Rhythm::repeated(&[(200, 200)]),
            Self::Stored => Rhythm::once(&[(0, 250), (1500, 250)]),
            Self::Saved => Rhythm::once(&[(0, 250), (200, 200), (200, 250)]),
            Self::Failed { fault } => {
                let mut blinks = vec![(0, 250)];
                blinks.extend([(150, 200); 5]);
                if let Some(fault) = fault {
                    // A pause, so that nobody counts the five and the fault together.
                    blinks.push((0, 600));
                    blinks.extend(fault_blinks(fault));
                }
                Rhythm::once(&blinks)
            }
            Self::Fault(fault) => Rhythm::repeated(&fault_blinks(fault)),
        }
    }
}

/// One long, then as many short as its number. Pi firmware never blinks one long, so a fault of ours is never taken
/// for one of its own, even on the board's own LED.
fn fault_blinks(fault: FaultCode) -> Vec<(u32, u32)> {
    let mut blinks = vec![(900, 400)];
    blinks.extend(vec![(200, 300); usize::from(fault.number()) - 1]);
    blinks.push((200, 2000));
    blinks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_patterns() -> impl Iterator<Item = Pattern> {
        let failed = FaultCode::ALL.map(|fault| Pattern::Failed { fault: Some(fault) });
        Pattern::ALL.into_iter().chain(failed)
    }

    #[test]
    fn no_pattern_flashes_more_than_three_times_in_any_second() {
        for pattern in all_patterns() {
            let steps = pattern.rhythm();
            let passes = if steps.repeat { 4 } else { 1 };
            let mut lit = Vec::new();
            let (mut at, mut was_on) = (0, false);
            for step in steps.steps.repeat(passes) {
                if step.on && !was_on {
                    lit.push(at);
                }
                was_on = step.on;
                at += step.ms;
            }
            for from in &lit {
                let within = lit.iter().filter(|at| (*from..from + 1000).contains(at)).count();
                assert!(within <= 3, "{pattern:?}: {within} from {from} ms");
            }
        }
    }

    #[test]
    fn every_pattern_can_be_named_and_told_apart() {
        for pattern in all_patterns() {
            assert!(!pattern.appearance().is_empty() && !pattern.meaning().is_empty());
            assert!(pattern.rhythm().length() > Duration::ZERO);
            let named = Pattern::from_name(pattern.name()).unwrap();
            let same_fault = matches!((named, pattern), (Pattern::Failed { .. }, Pattern::Failed { .. }));
            assert!(named == pattern || same_fault, "{pattern:?}");
        }
        assert_eq!(Pattern::Fault(FaultCode::Camera).name(), "fault-5");
        assert_eq!(Pattern::Failed { fault: None }.name(), "failed");
    }
}
