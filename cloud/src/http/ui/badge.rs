//! Badges that show a state by shape, colour and words.

use maud::{Markup, html};

/// The state of a thing. Each has a shape of its own, so that colour is never the only sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Ok,
    Wait,
    Err,
    Off,
}

impl Tone {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Wait => "wait",
            Self::Err => "err",
            Self::Off => "off",
        }
    }
}

/// Filled dot, dashed ring, triangle, hollow ring.
pub(crate) fn shape(tone: Tone) -> Markup {
    html! {
        svg class={ "shape shape-" (tone.as_str()) } viewBox="0 0 12 12" width="12" height="12" aria-hidden="true" {
            @match tone {
                Tone::Ok => circle cx="6" cy="6" r="5" fill="currentColor" {},
                Tone::Wait => circle cx="6" cy="6" r="4.5" fill="none" stroke="currentColor" stroke-width="2"
                    stroke-dasharray="2.6 2.1" {},
                Tone::Err => path d="M6 .8 11.7 11.2H.3Z" fill="currentColor" {},
                Tone::Off => circle cx="6" cy="6" r="4.5" fill="none" stroke="currentColor" stroke-width="2" {},
            }
        }
    }
}

pub(crate) fn chip(tone: Tone, text: &Markup) -> Markup {
    html! { span class={ "chip chip-" (tone.as_str()) } { (shape(tone)) span { (text) } } }
}
