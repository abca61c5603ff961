//! The camera's LED, drawn on the page: the blink rhythm, and the same rhythm as a static strip for reduced motion. A
//! pattern this version does not know is drawn as a plain ring beside the camera's own words.

use keepsake_protocol::light::{Colour, Pattern, Step};
use maud::{Markup, html};

/// The pause before the page repeats an answer, which the camera gives once.
const REST_MS: u32 = 1000;

/// Returns the class of a colour. It only repeats what the rhythm says.
fn hue(pattern: Pattern) -> &'static str {
    match pattern.colour() {
        Colour::Green => "ok",
        Colour::Amber => "wait",
        Colour::White | Colour::Blue => "plain",
        Colour::Red => "err",
    }
}

/// Returns the steps that the page repeats.
fn steps(pattern: Pattern) -> Vec<Step> {
    let mut rhythm = pattern.rhythm();
    if !rhythm.repeat {
        rhythm.steps.push(Step { on: false, ms: REST_MS });
    }
    rhythm.steps
}

/// Draws the LED, 36 pixels wide, blinking; a still one where the reader asked for less motion.
pub(crate) fn led(name: &str) -> Markup {
    let Some(pattern) = Pattern::from_name(name) else {
        return html! {
            svg class="lamp lamp-plain" viewBox="0 0 36 36" width="36" height="36" aria-hidden="true" {
                circle class="lamp-rim" cx="18" cy="18" r="15" {}
            }
        };
    };
    let steps = steps(pattern);
    let period: u32 = steps.iter().map(|step| step.ms).sum();
    let (mut values, mut times) = (Vec::new(), Vec::new());
    let mut at = 0;
    for step in &steps {
        let value = if step.on { "1" } else { "0.08" };
        if values.last() != Some(&value) {
            values.push(value);
            times.push(format!("{:.4}", f64::from(at) / f64::from(period)));
        }
        at += step.ms;
    }
    html! {
        svg class={ "lamp lamp-" (hue(pattern)) } viewBox="0 0 36 36" width="36" height="36" aria-hidden="true" {
            circle class="lamp-rim" cx="18" cy="18" r="15" {}
            circle class="lamp-glow lamp-moving" cx="18" cy="18" r="10" opacity=(values[0]) {
                @if values.len() > 1 {
                    animate attributeName="opacity" calcMode="discrete" repeatCount="indefinite"
                        dur={ (period) "ms" } values=(values.join(";")) keyTimes=(times.join(";")) {}
                }
            }
            circle class="lamp-glow lamp-still" cx="18" cy="18" r="10" opacity=(if pattern == Pattern::Off { "0.08" } else { "1" }) {}
        }
    }
}

/// Draws five seconds of the rhythm as bars: long is long, short is short.
pub(crate) fn strip(name: &str) -> Markup {
    const SHOWN_MS: u32 = 5000;
    let Some(pattern) = Pattern::from_name(name) else {
        return html! {};
    };
    let steps = steps(pattern);
    let mut bars = Vec::new();
    let mut at = 0;
    for step in steps.iter().cycle() {
        if at >= SHOWN_MS {
            break;
        }
        if step.on {
            bars.push((at, step.ms.min(SHOWN_MS - at)));
        }
        at += step.ms;
    }
    html! {
        svg class={ "strip lamp-" (hue(pattern)) } viewBox={ "0 0 " (SHOWN_MS) " 10" } preserveAspectRatio="none"
            aria-hidden="true" {
            rect class="strip-base" x="0" y="4.5" width=(SHOWN_MS) height="1" {}
            @for (start, width) in bars {
                rect class="strip-on" x=(start) y="0" width=(width) height="10" {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_light_on_the_page_flashes_more_than_three_times_in_a_second() {
        for pattern in Pattern::ALL {
            let mut flashes = Vec::new();
            let mut at = 0;
            let steps = steps(pattern);
            for step in steps.iter().cycle() {
                if at >= 20_000 {
                    break;
                }
                if step.on && steps.len() > 1 {
                    flashes.push(at);
                }
                at += step.ms;
            }
            for (index, start) in flashes.iter().enumerate() {
                let within = flashes[index..].iter().filter(|at| **at < start + 1000).count();
                assert!(within <= 3, "{pattern:?}: {within} flashes within a second");
            }
        }
    }

    #[test]
    fn a_fault_is_one_long_and_as_many_short_as_its_number() {
        let bars = strip("fault-5").into_string();
        assert_eq!(bars.matches("width=\"900\"").count(), 1, "{bars}");
        assert_eq!(bars.matches("width=\"200\"").count(), 5, "{bars}");
    }

    #[test]
    fn an_unknown_pattern_is_a_plain_ring() {
        for pattern in ["", "fault-0", "fault-8", "fault-", "<b>", "fault-99999999999999999999"] {
            assert!(Pattern::from_name(pattern).is_none());
            let html = led(pattern).into_string();
            assert!(!html.contains("animate") && !html.contains("<b>"), "{html}");
            assert_eq!(strip(pattern).into_string(), "");
        }
    }
}
