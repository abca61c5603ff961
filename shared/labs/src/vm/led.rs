//! The flashes of an LED, classified by their length as a person would see them. Pure.

use serde_json::Value;

/// One time that the LED was lit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flash {
    /// CLOCK_BOOTTIME of the machine, microseconds.
    pub at_us: u64,
    /// `None`: it is still lit.
    pub for_us: Option<u64>,
}

/// The kind of a flash. The bounds lie between the lengths that the light plays (150 to 250, 900 and 1500 ms), with
/// room for a machine that stalls for a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlashKind {
    Short,
    /// The long flash before a counted fault code.
    Counting,
    /// The answer for a picture that is in the cloud.
    Long,
    Steady,
}

impl Flash {
    pub fn kind(self) -> FlashKind {
        match self.for_us.map(|us| us / 1000) {
            Some(0..=550) => FlashKind::Short,
            Some(551..=1200) => FlashKind::Counting,
            Some(1201..=2600) => FlashKind::Long,
            Some(_) | None => FlashKind::Steady,
        }
    }
}

/// Returns the flashes of the LED on `pin` in these events.
pub fn flashes(events: &[Value], pin: u8) -> Vec<Flash> {
    let mut all: Vec<Flash> = Vec::new();
    for event in events {
        if event["type"] != "led" || event["pin"] != pin {
            continue;
        }
        let at_us = event["at_us"].as_u64().expect("a change of a lamp has a time");
        let lit = event["lit"] == true;
        match all.last_mut() {
            Some(last) if !lit && last.for_us.is_none() => {
                last.for_us = Some(at_us - last.at_us);
            }
            _ if lit => all.push(Flash { at_us, for_us: None }),
            _ => {}
        }
    }
    all
}

/// Returns the kinds of these flashes.
pub fn flash_kinds(flashes: &[Flash]) -> Vec<FlashKind> {
    flashes.iter().map(|flash| flash.kind()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn events(changes: &[(u8, bool, u64)]) -> Vec<Value> {
        let event = |&(pin, lit, at_ms): &(u8, bool, u64)| json!({"type": "led", "pin": pin, "lit": lit, "at_us": at_ms * 1000});
        changes.iter().map(event).collect()
    }

    #[test]
    fn lengths_are_told_apart() {
        let events = events(&[
            (27, true, 0),
            (22, true, 50),
            (27, false, 500),
            (27, true, 750),
            (27, false, 2250),
            (27, true, 2500),
            (27, false, 3400),
            (27, true, 3800),
        ]);
        assert_eq!(
            flash_kinds(&flashes(&events, 27)),
            [FlashKind::Short, FlashKind::Long, FlashKind::Counting, FlashKind::Steady]
        );
        assert_eq!(flash_kinds(&flashes(&events, 22)), [FlashKind::Steady]);
        assert!(flashes(&events, 23).is_empty());
    }

    #[test]
    fn a_lamp_that_was_lit_before_is_counted_from_its_next_flash() {
        let events = events(&[(27, false, 10), (27, true, 20), (27, false, 220)]);
        assert_eq!(flashes(&events, 27), [Flash { at_us: 20_000, for_us: Some(200_000) }]);
    }
}
