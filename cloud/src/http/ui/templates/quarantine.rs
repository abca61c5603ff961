//! `/quarantine`: messages that could not be parsed or attributed.

use maud::{Markup, Render, html};

use crate::http::ui::components::table;
use crate::http::ui::format::{TimeFormat, size, time};
use crate::http::ui::messages::{t, translate};
use crate::http::ui::templates::{LiveUpdates, Nav, layout};
use crate::http::ui::views::PageContext;
use crate::store::QuarantinedMessage;

/// `/quarantine`.
pub fn quarantine_page(page: &PageContext, messages: &[QuarantinedMessage]) -> Markup {
    let lang = page.visitor.language;
    let headings = [
        ("", t!(lang, "when")),
        ("", t!(lang, "claimed-sender")),
        ("", t!(lang, "reason")),
        ("number", t!(lang, "fact-size")),
        ("", "SHA-256".render()),
    ];
    let rows = html! {
        @for row in messages {
            tr {
                td.when {
                    (time(lang, row.last_us, TimeFormat::Near, page.now_us))
                    @if row.times > 1 { br; (t!(lang, "times", count = row.times)) }
                }
                td.outside { (row.device) @if !row.topic.is_empty() { br; code { (row.topic) } } }
                td.outside { (translate(lang, &row.reason)) }
                td.number { (size(row.size)) }
                td { code title=(row.hash) { (row.hash.chars().take(16).collect::<String>()) } }
            }
        }
    };
    let main = html! {
        h1 { (t!(lang, "quarantine-title")) }
        @if messages.is_empty() {
            p.lead { (t!(lang, "quarantine-empty")) }
        } @else {
            p.lead { (t!(lang, "quarantine-lead")) }
            div.panel { (table(&t!(lang, "quarantine-messages"), &headings, &rows)) }
            @if page.quarantined > messages.len() as u64 {
                p.quiet {
                    (t!(
                        lang,
                        "quarantine-newest",
                        shown = messages.len() as u64,
                        total = page.quarantined
                    ))
                }
            }
        }
    };
    layout(page, &t!(lang, "quarantine-title"), Nav::None, &LiveUpdates::No, &main)
}

#[cfg(test)]
pub(super) mod tests {
    use keepsake_protocol::id::Hash;

    use super::*;
    use crate::http::ui::templates::fixtures::{HOSTILE, HOUR, NOW_US, on_hold};

    /// The pages with views that show every state.
    pub(in crate::http::ui::templates) fn pages(page: &PageContext) -> Vec<(&'static str, Markup)> {
        vec![
            ("quarantine", quarantine_page(&on_hold(page), &quarantine())),
            ("quarantine-none", quarantine_page(page, &[])),
        ]
    }

    fn quarantine() -> [QuarantinedMessage; 3] {
        let row = |device: &str, reason: &str| QuarantinedMessage {
            device: device.to_owned(),
            topic: format!("keepsake/v1/{device}/up/frame"),
            reason: reason.to_owned(),
            hash: Hash::of(device.as_bytes()).to_string(),
            size: 4711,
            times: 3,
            first_us: NOW_US - 2 * HOUR,
            last_us: NOW_US - HOUR,
        };
        [
            row("porch", "header of 70000 bytes, at most 4096 are allowed"),
            row("boat-shed", "the bytes do not have the hash their header claims"),
            row(HOSTILE, HOSTILE),
        ]
    }
}
