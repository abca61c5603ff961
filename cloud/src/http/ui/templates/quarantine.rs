//! `/quarantine`: what came in and could not be attributed to a press.

use maud::{Markup, html};

use crate::http::ui::format::{TimeFormat, size, time};
use crate::http::ui::messages::{t, translate};
use crate::http::ui::templates::{LiveUpdates, Nav, layout};
use crate::http::ui::views::{PageContext, QuarantineView};

/// `/quarantine`.
pub fn quarantine_page(page: &PageContext, view: &QuarantineView) -> Markup {
    let lang = page.visitor.language;
    let main = html! {
        h1 { (t!(lang, "quarantine-title")) }
        @if view.rows.is_empty() {
            p.lead { (t!(lang, "quarantine-empty")) }
        } @else {
            p.lead { (t!(lang, "quarantine-lead")) }
            div.scroll.panel tabindex="0" role="region" aria-label=(t!(lang, "quarantine-messages")) {
                table {
                    thead { tr {
                        th scope="col" { (t!(lang, "when")) }
                        th scope="col" { (t!(lang, "claimed-sender")) }
                        th scope="col" { (t!(lang, "reason")) }
                        th.number scope="col" { (t!(lang, "fact-size")) }
                        th scope="col" { "SHA-256" }
                    } }
                    tbody {
                        @for row in &view.rows {
                            tr {
                                td.when {
                                    (time(lang, row.last_us, TimeFormat::Near, page.now_us))
                                    @if row.times > 1 { br; (t!(lang, "times", count = row.times)) }
                                }
                                td.outside { (row.device) @if !row.topic.is_empty() { br; code { (row.topic) } } }
                                td.outside { (translate(lang, &row.reason)) }
                                td.number { (size(row.bytes)) }
                                td { code title=(row.hash) { (row.hash.chars().take(16).collect::<String>()) } }
                            }
                        }
                    }
                }
            }
            @if page.quarantined > view.rows.len() as u64 {
                p.quiet {
                    (t!(
                        lang,
                        "quarantine-newest",
                        shown = view.rows.len() as u64,
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
    use crate::http::ui::views::QuarantineRow;

    /// The pages with views that show every state.
    pub(in crate::http::ui::templates) fn pages(page: &PageContext) -> Vec<(&'static str, Markup)> {
        vec![
            ("quarantine", quarantine_page(&on_hold(page), &quarantine())),
            ("quarantine-none", quarantine_page(page, &QuarantineView { rows: Vec::new() })),
        ]
    }

    fn quarantine() -> QuarantineView {
        let row = |device: &str, reason: &str| QuarantineRow {
            device: device.to_owned(),
            topic: format!("keepsake/v1/{device}/up/frame"),
            reason: reason.to_owned(),
            hash: Hash::of(device.as_bytes()).to_string(),
            bytes: 4711,
            times: 3,
            last_us: NOW_US - HOUR,
        };
        QuarantineView {
            rows: vec![
                row("porch", "the header is 70,000 bytes long, more than 4,096"),
                row("boat-shed", "the hash in the header is not the hash of the bytes"),
                row(HOSTILE, HOSTILE),
            ],
        }
    }
}
