//! What a person beside the machine would see: flashes of a lamp, told apart by their length. Pure.

use serde_json::Value;

/// One time the lamp was lit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flash {
    /// Of the machine's CLOCK_BOOTTIME, microseconds.
    pub at_us: u64,
    /// `None` = it is lit still.
    pub for_us: Option<u64>,
}

/// How long a flash looks. The bounds lie between the lengths the light plays (150 to 250, 900 and 1500 ms), far from all
/// of them, for a machine that stands still for a moment now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    Short,
    /// The long one that goes before a counted fault.
    Counting,
    /// The answer of a picture that is in the cloud.
    Long,
    Steady,
}

impl Flash {
    pub fn look(self) -> Look {
        match self.for_us.map(|us| us / 1000) {
            Some(0..=550) => Look::Short,
            Some(551..=1200) => Look::Counting,
            Some(1201..=2600) => Look::Long,
            Some(_) | None => Look::Steady,
        }
    }
}

/// The flashes of the lamp on `pin` among what the guest told.
pub fn flashes(said: &[Value], pin: u8) -> Vec<Flash> {
    let mut all: Vec<Flash> = Vec::new();
    for told in said {
        if told["told"] != "lamp" || told["pin"] != pin {
            continue;
        }
        let at_us = told["at_us"]
            .as_u64()
            .expect("a change of a lamp has a time");
        let lit = told["lit"] == true;
        match all.last_mut() {
            Some(last) if !lit && last.for_us.is_none() => {
                last.for_us = Some(at_us - last.at_us);
            }
            _ if lit => all.push(Flash {
                at_us,
                for_us: None,
            }),
            _ => {}
        }
    }
    all
}

/// How the flashes look one after the other.
pub fn looks(flashes: &[Flash]) -> Vec<Look> {
    flashes.iter().map(|flash| flash.look()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(changes: &[(u8, bool, u64)]) -> Vec<Value> {
        let told = |&(pin, lit, at_ms): &(u8, bool, u64)| json!({"told": "lamp", "pin": pin, "lit": lit, "at_us": at_ms * 1000});
        changes.iter().map(told).collect()
    }

    #[test]
    fn lengths_are_told_apart() {
        let said = said(&[
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
            looks(&flashes(&said, 27)),
            [Look::Short, Look::Long, Look::Counting, Look::Steady]
        );
        assert_eq!(looks(&flashes(&said, 22)), [Look::Steady]);
        assert!(flashes(&said, 23).is_empty());
    }

    #[test]
    fn a_lamp_that_was_lit_before_is_counted_from_its_next_flash() {
        let said = said(&[(27, false, 10), (27, true, 20), (27, false, 220)]);
        assert_eq!(
            flashes(&said, 27),
            [Flash {
                at_us: 20_000,
                for_us: Some(200_000)
            }]
        );
    }
}
