//! `/quarantine`: what came in and could not be attributed to a press.

use maud::{Markup, html};

use crate::http::ui::format::{TimeFormat, count, size, time};
use crate::http::ui::templates::{LiveUpdates, Nav, layout};
use crate::http::ui::views::{PageContext, QuarantineView};

/// `/quarantine`.
pub fn quarantine_page(site: &PageContext, view: &QuarantineView) -> Markup {
    let main = html! {
        h1 { "Quarantine" }
        @if view.rows.is_empty() {
            p.lead { "Empty. Every message could be parsed." }
        } @else {
            p.lead {
                "Messages that could not be parsed. They are kept here and do not block later uploads."
            }
            div.scroll.panel tabindex="0" role="region" aria-label="Messages in quarantine" {
                table {
                    thead { tr {
                        th scope="col" { "When" }
                        th scope="col" { "Claimed sender" }
                        th scope="col" { "Why" }
                        th.number scope="col" { "Size" }
                        th scope="col" { "SHA-256" }
                    } }
                    tbody {
                        @for row in &view.rows {
                            tr {
                                td.when {
                                    (time(row.last_us, TimeFormat::Near, site.now_us))
                                    @if row.times > 1 { br; (count(row.times)) " times" }
                                }
                                td.outside { (row.device) @if !row.topic.is_empty() { br; code { (row.topic) } } }
                                td.outside { (row.reason) }
                                td.number { (size(row.bytes)) }
                                td { code title=(row.hash) { (row.hash.chars().take(16).collect::<String>()) } }
                            }
                        }
                    }
                }
            }
            @if site.quarantined > view.rows.len() as u64 {
                p.quiet { "The newest " (count(view.rows.len() as u64)) " of " (count(site.quarantined)) "." }
            }
        }
    };
    layout(site, "Quarantine", Nav::None, &LiveUpdates::No, &main)
}
