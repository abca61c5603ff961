//! The camera's light, drawn on the page: the blink rhythm, and the same rhythm as a static strip for reduced motion.
//!
//! Both come from one table, so that what blinks and what is drawn cannot differ. The table follows the patterns the
//! appliance shows; a pattern this version does not know is drawn as a plain ring beside the camera's own words.

use maud::{Markup, html};

/// On and off, milliseconds; repeated for ever.
type Rhythm = Vec<(u32, u32)>;

/// The colour a light with colours would have. It only repeats what the rhythm says.
fn hue(pattern: &str) -> &'static str {
    match pattern {
        "ready" | "quiet" | "uploading" | "stored" => "ok",
        "offline" | "kept" => "wait",
        "setup" | "identify" | "starting" | "capturing" => "plain",
        _ if pattern.starts_with("fault-") || pattern == "failed" => "err",
        _ => "plain",
    }
}

/// The rhythm of a pattern by its name in a status; `None` for one that is not known.
fn rhythm(pattern: &str) -> Option<Rhythm> {
    Some(match pattern {
        "off" | "held-cancelled" => vec![(0, 1000)],
        "starting" => vec![(150, 150), (150, 600)],
        "ready" | "capturing" => vec![(1000, 0)],
        "quiet" => vec![(40, 4960)],
        "uploading" => vec![(250, 250)],
        "offline" => vec![(150, 1850)],
        "setup" | "held-reconnect" => vec![(1000, 1000)],
        "identify" | "held-forget" => vec![(200, 200)],
        // An answer is given once; the page repeats it, with a rest, for as long as the camera says so.
        "stored" => vec![(0, 250), (1500, 1250)],
        "kept" => vec![(0, 250), (200, 200), (200, 1250)],
        "failed" => {
            let mut blinks = vec![(0, 250)];
            blinks.extend([(150, 200); 4]);
            blinks.push((150, 1250));
            blinks
        }
        _ => {
            let number: usize = pattern.strip_prefix("fault-")?.parse().ok()?;
            if !(1..=7).contains(&number) {
                return None;
            }
            let mut blinks = vec![(900, 400)];
            blinks.extend(vec![(200, 300); number - 1]);
            blinks.push((200, 2000));
            blinks
        }
    })
}

/// The light, 36 pixels wide, blinking; a still one where the reader asked for less motion.
pub(crate) fn led(pattern: &str) -> Markup {
    let class = format!("lamp lamp-{}", hue(pattern));
    let Some(rhythm) = rhythm(pattern) else {
        return html! {
            svg class="lamp lamp-plain" viewBox="0 0 36 36" width="36" height="36" aria-hidden="true" {
                circle class="lamp-rim" cx="18" cy="18" r="15" {}
            }
        };
    };
    let period = period_ms(&rhythm);
    let (mut values, mut times) = (Vec::new(), Vec::new());
    for (start, shines) in switches(&rhythm) {
        values.push(if shines { "1" } else { "0.08" });
        times.push(format!("{:.4}", f64::from(start) / f64::from(period)));
    }
    html! {
        svg class=(class) viewBox="0 0 36 36" width="36" height="36" aria-hidden="true" {
            circle class="lamp-rim" cx="18" cy="18" r="15" {}
            circle class="lamp-glow lamp-moving" cx="18" cy="18" r="10" opacity=(values[0]) {
                @if values.len() > 1 {
                    animate attributeName="opacity" calcMode="discrete" repeatCount="indefinite"
                        dur={ (period) "ms" } values=(values.join(";")) keyTimes=(times.join(";")) {}
                }
            }
            circle class="lamp-glow lamp-still" cx="18" cy="18" r="10" opacity=(if pattern == "off" { "0.08" } else { "1" }) {}
        }
    }
}

/// Five seconds of the rhythm as bars: long is long, short is short.
pub(crate) fn strip(pattern: &str) -> Markup {
    const SHOWN_MS: u32 = 5000;
    let Some(rhythm) = rhythm(pattern) else {
        return html! {};
    };
    let mut bars = Vec::new();
    let mut at = 0;
    // A period is at least 400 ms, so this ends soon.
    while at < SHOWN_MS {
        for &(on, off) in &rhythm {
            if on > 0 && at < SHOWN_MS {
                bars.push((at, on.min(SHOWN_MS - at)));
            }
            at += on + off;
        }
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

fn period_ms(rhythm: &Rhythm) -> u32 {
    rhythm.iter().map(|(on, off)| on + off).sum()
}

/// When the light changes within one period, and to what.
fn switches(rhythm: &Rhythm) -> Vec<(u32, bool)> {
    let mut switches: Vec<(u32, bool)> = Vec::new();
    let mut at = 0;
    for &(on, off) in rhythm {
        for (lasts, shines) in [(on, true), (off, false)] {
            if lasts > 0 {
                if switches.last().is_none_or(|(_, before)| *before != shines) {
                    switches.push((at, shines));
                }
                at += lasts;
            }
        }
    }
    switches
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATTERNS: [&str; 21] = [
        "off",
        "starting",
        "ready",
        "quiet",
        "capturing",
        "uploading",
        "offline",
        "setup",
        "identify",
        "held-reconnect",
        "held-forget",
        "held-cancelled",
        "stored",
        "kept",
        "failed",
        "fault-1",
        "fault-2",
        "fault-4",
        "fault-5",
        "fault-6",
        "fault-7",
    ];

    #[test]
    fn no_light_on_the_page_flashes_more_than_three_times_in_a_second() {
        for pattern in PATTERNS {
            let rhythm = rhythm(pattern).unwrap();
            let mut flashes = Vec::new();
            let mut at = 0;
            while at < 20_000 {
                for &(on, off) in &rhythm {
                    if on > 0 && off > 0 {
                        flashes.push(at);
                    }
                    at += on + off;
                }
            }
            for (index, start) in flashes.iter().enumerate() {
                let within = flashes[index..].iter().filter(|at| **at < start + 1000).count();
                assert!(within <= 3, "{pattern}: {within} flashes within a second");
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
            assert!(rhythm(pattern).is_none());
            let html = led(pattern).into_string();
            assert!(!html.contains("animate") && !html.contains("<b>"), "{html}");
            assert_eq!(strip(pattern).into_string(), "");
        }
    }
}
