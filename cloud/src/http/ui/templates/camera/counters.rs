//! The account of all presses of a camera.

use keepsake_protocol::event::{Tombstone, TombstoneReason};
use maud::{Markup, html};

use crate::http::ui::badge::{Tone, shape};
use crate::http::ui::components::{counters_line, table};
use crate::http::ui::format::{TimeFormat, time};
use crate::http::ui::language::Language;
use crate::http::ui::messages::{t, translate};
use crate::http::ui::text::count;
use crate::http::ui::views::PageContext;
use crate::store::Device;

pub(super) fn counters(lang: Language, camera: &Device) -> Markup {
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
            p.counters { (counters_line(lang, &camera.counters, camera.is_coarse())) }
            @if camera.is_coarse() { p.quiet { (t!(lang, "coarse-why")) } }
            @for (count, tone, text) in notes {
                @if count > 0 {
                    p class={ "trouble trouble-" (tone.as_str()) } { (shape(tone)) span { (text) } }
                }
            }
            @if camera.spools.len() > 1 { (spools(lang, camera)) }
        }
    }
}

fn spools(lang: Language, camera: &Device) -> Markup {
    let headings = [
        ("", t!(lang, "card")),
        ("number", t!(lang, "column-pressed")),
        ("number", t!(lang, "column-stored")),
        ("number", t!(lang, "column-deleted")),
        ("number", t!(lang, "column-failed")),
        ("number", t!(lang, "column-held")),
        ("number", t!(lang, "column-missing")),
    ];
    let rows = html! {
        @for (index, spool) in camera.spools.iter().enumerate() {
            @let sums = &spool.counters;
            tr {
                th scope="row" {
                    code title=(spool.spool) { (spool.spool.to_string()[..8]) }
                    @if index == 0 { " " (t!(lang, "now")) }
                }
                @for number in [sums.pressed(), sums.stored, sums.deleted, sums.failed, sums.held, sums.missing] {
                    td.number { (count(number)) }
                }
            }
        }
    };
    html! {
        p { (t!(lang, "renumbered", count = camera.spools.len() as u64 - 1)) }
        (table(&t!(lang, "presses-by-card"), &headings, &rows))
    }
}

/// Presses of the same reason next to each other, as one line.
struct MissingPictures {
    presses: u64,
    reason: TombstoneReason,
    /// The time of the newest press by the camera's clock, if that was synchronised.
    pressed_us: Option<i64>,
    stored_us: i64,
}

pub(super) fn without_picture(page: &PageContext, tombstones: &[(Tombstone, i64)]) -> Markup {
    let lang = page.visitor.language;
    if tombstones.is_empty() {
        return html! {};
    }
    let mut groups: Vec<MissingPictures> = Vec::new();
    for (tombstone, stored_us) in tombstones {
        let presses = tombstone.last().get().saturating_sub(tombstone.sequence.get()).saturating_add(1);
        match groups.last_mut() {
            Some(group) if group.reason == tombstone.reason => {
                group.presses = group.presses.saturating_add(presses);
            }
            Some(_) | None => groups.push(MissingPictures {
                presses,
                reason: tombstone.reason,
                pressed_us: tombstone.pressed.filter(|clock| clock.synchronised).map(|clock| clock.wall_us),
                stored_us: *stored_us,
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
                            @match group.pressed_us {
                                Some(pressed) => (time(lang, pressed, TimeFormat::Near, page.now_us)),
                                None => (t!(
                                    lang,
                                    "reported",
                                    time = time(lang, group.stored_us, TimeFormat::Near, page.now_us)
                                )),
                            }
                        }
                    }
                }
            }
        }
    }
}
