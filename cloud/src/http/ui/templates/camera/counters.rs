//! The account of all presses of a camera.

use keepsake_protocol::event::TombstoneReason;
use maud::{Markup, html};

use crate::http::ui::badge::{Tone, shape};
use crate::http::ui::components::counters_line;
use crate::http::ui::format::{TimeFormat, time};
use crate::http::ui::language::Language;
use crate::http::ui::messages::{t, translate};
use crate::http::ui::text::count;
use crate::http::ui::views::{CameraView, PageContext, TombstoneView};

pub(super) fn counters(lang: Language, camera: &CameraView) -> Markup {
    let notes = [
        (
            camera.counters.missing,
            Tone::Err,
            t!(lang, "missing-why", count = camera.counters.missing),
        ),
        (camera.conflicts, Tone::Wait, t!(lang, "conflicts-why", count = camera.conflicts)),
        (camera.damaged, Tone::Wait, t!(lang, "damaged-pictures-why", count = camera.damaged)),
    ];
    html! {
        section.panel aria-labelledby="counters" {
            h2 #counters { (t!(lang, "counters")) }
            p.counters { (counters_line(lang, &camera.counters, camera.coarse)) }
            @if camera.coarse { p.quiet { (t!(lang, "coarse-why")) } }
            @for (count, tone, text) in notes {
                @if count > 0 {
                    p class={ "trouble trouble-" (tone.as_str()) } { (shape(tone)) span { (text) } }
                }
            }
            @if camera.installs.len() > 1 { (spools(lang, camera)) }
        }
    }
}

fn spools(lang: Language, camera: &CameraView) -> Markup {
    html! {
        p { (t!(lang, "renumbered", count = camera.installs.len() as u64 - 1)) }
        div.scroll tabindex="0" role="region" aria-label=(t!(lang, "presses-by-card")) {
            table {
                thead { tr {
                    th scope="col" { (t!(lang, "card")) }
                    @for name in [
                        t!(lang, "column-pressed"),
                        t!(lang, "column-stored"),
                        t!(lang, "column-deleted"),
                        t!(lang, "column-failed"),
                        t!(lang, "column-held"),
                        t!(lang, "column-missing"),
                    ] { th.number scope="col" { (name) } }
                } }
                tbody {
                    @for (index, spool) in camera.installs.iter().enumerate() {
                        @let sums = &spool.counters;
                        tr {
                            th scope="row" {
                                code title=(spool.install) { (spool.install.to_string()[..8]) }
                                @if index == 0 { " " (t!(lang, "now")) }
                            }
                            @for number in [sums.pressed(), sums.stored, sums.deleted, sums.told, sums.held, sums.missing] {
                                td.number { (count(number)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Presses of the same reason next to each other, as one line.
struct MissingPictures {
    presses: u64,
    reason: TombstoneReason,
    newest: (Option<i64>, i64),
}

pub(super) fn without_picture(page: &PageContext, tombstones: &[TombstoneView]) -> Markup {
    let lang = page.visitor.language;
    if tombstones.is_empty() {
        return html! {};
    }
    let mut groups: Vec<MissingPictures> = Vec::new();
    for stone in tombstones {
        let presses = stone.last.get().saturating_sub(stone.first.get()).saturating_add(1);
        match groups.last_mut() {
            Some(group) if group.reason == stone.reason => {
                group.presses = group.presses.saturating_add(presses);
            }
            Some(_) | None => groups.push(MissingPictures {
                presses,
                reason: stone.reason,
                newest: (stone.pressed.filter(|m| m.synchronised).map(|m| m.wall_us), stone.told_us),
            }),
        }
    }
    html! {
        section.panel aria-labelledby="without" {
            h2 #without { (t!(lang, "without-picture")) }
            ul.rows {
                @for group in &groups {
                    li {
                        span {
                            (t!(
                                lang,
                                "without-picture-because",
                                count = group.presses,
                                reason = translate(lang, group.reason.describe())
                            ))
                        }
                        span.quiet {
                            @match group.newest {
                                (Some(pressed), _) => (time(lang, pressed, TimeFormat::Near, page.now_us)),
                                (None, told) => (t!(
                                    lang,
                                    "reported",
                                    time = time(lang, told, TimeFormat::Near, page.now_us)
                                )),
                            }
                        }
                    }
                }
            }
        }
    }
}
