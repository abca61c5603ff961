//! The last report of a camera: LED, queue, clock, faults, hardware.

use keepsake_protocol::event::Fault;
use keepsake_protocol::light::Pattern;
use keepsake_protocol::status::{LedStatus, Status};
use maud::{Markup, Render, html};

use crate::http::ui::badge::{Tone, chip, shape};
use crate::http::ui::components::{fact, fault_advice, fault_title};
use crate::http::ui::format::{TimeFormat, format_duration, size, time};
use crate::http::ui::language::Language;
use crate::http::ui::messages::{named, t, translate};
use crate::http::ui::templates::led::{led, strip};
use crate::http::ui::text::{capitalize, count};
use crate::http::ui::views::{DeviceView, PageContext};
use crate::store::Device;

pub(super) fn light(lang: Language, camera: &Device) -> Markup {
    if !camera.is_camera() {
        return html! {};
    }
    html! {
        section.panel aria-labelledby="light" {
            h2 #light { (t!(lang, "led-status")) }
            @match (camera.status.as_deref(), camera.is_online()) {
                (Some(Status { led: light, .. }), true) => {
                    @let (appearance, meaning) = led_text(lang, light);
                    div.light {
                        (led(&light.pattern))
                        div {
                            p.light-looks { (appearance) }
                            p { (meaning) }
                        }
                    }
                    (strip(&light.pattern))
                },
                (Some(_), false) => p { (t!(lang, "led-offline")) },
                (None, _) => p { (t!(lang, "not-reported")) },
            }
        }
    }
}

/// Returns appearance and meaning of the LED: by the name of the pattern, or as the camera wrote them.
fn led_text(lang: Language, light: &LedStatus) -> (Markup, Markup) {
    let known = Pattern::from_name(&light.pattern).map_or("unknown", Pattern::name);
    let text = |kind: &str, reported: &str| named(lang, &format!("led-{known}-{kind}"), &capitalize(reported));
    (text("appearance", &light.appearance), text("meaning", &light.meaning))
}

pub(super) fn queue(page: &PageContext, camera: &Device) -> Markup {
    let lang = page.visitor.language;
    let queue = &camera.last_status().queue;
    if !camera.is_camera() {
        return html! {};
    }
    let rest_us = queue
        .bytes_per_s
        .filter(|rate| *rate > 0 && camera.is_online() && page.hold.is_none())
        .map(|rate| (queue.waiting_bytes / rate).saturating_mul(1_000_000));
    let waiting = html! {
        (t!(lang, "picture-count", count = queue.waiting))
        @if queue.waiting > 0 { ", " (size(queue.waiting_bytes)) }
    };
    html! {
        section.panel aria-labelledby="queue" {
            h2 #queue { (t!(lang, "queue")) }
            dl.facts {
                (fact(&t!(lang, "fact-waiting"), &waiting))
                @if let Some(oldest) = &queue.oldest {
                    (fact(&t!(lang, "fact-oldest"), &html! {
                        @if oldest.synchronised {
                            (time(lang, oldest.wall_us, TimeFormat::Near, page.now_us)) ", "
                            (time(lang, oldest.wall_us, TimeFormat::Age, page.now_us))
                        } @else {
                            (t!(lang, "before-clock-set"))
                        }
                    }))
                }
                @if queue.waiting > 0 {
                    @match (&page.hold, rest_us) {
                        (Some(_), _) => (fact(&t!(lang, "fact-speed"), &t!(lang, "speed-paused"))),
                        (None, Some(rest)) => (fact(
                            &t!(lang, "fact-speed"),
                            &t!(lang, "speed-done-in", duration = format_duration(lang, rest.max(1_000_000)))
                        )),
                        (None, None) => {},
                    }
                }
                (fact(&t!(lang, "fact-retained"), &count(camera.retained()).render()))
                @if queue.parked > 0 {
                    (fact(&t!(lang, "fact-rejected"), &html! { (shape(Tone::Wait)) " " (count(queue.parked)) }))
                }
                (fact(&t!(lang, "fact-lost"), &html! {
                    @if queue.lost > 0 { (shape(Tone::Err)) " " }
                    (count(queue.lost))
                }))
            }
            @if !camera.is_online() { p.quiet { (t!(lang, "last-reported")) } }
        }
    }
}

pub(super) fn clock(page: &PageContext, view: &DeviceView) -> Markup {
    let lang = page.visitor.language;
    let Some(reading) = &view.camera.last_status().reported_at else {
        return html! {};
    };
    html! {
        section.panel aria-labelledby="clock" {
            h2 #clock { (t!(lang, "clock")) }
            @if reading.synchronised {
                @let reported = time(lang, view.camera.reported_us(), TimeFormat::Near, page.now_us);
                p { (chip(Tone::Ok, &t!(lang, "clock-accurate", error = format_duration(lang, reading.error_us)))) }
                p { (t!(lang, "clock-synchronised", time = reported)) }
            } @else {
                p { (chip(Tone::Wait, &t!(lang, "clock-not-set"))) }
                p { (t!(lang, "clock-not-set-why", duration = format_duration(lang, reading.boottime_us))) }
            }
        }
    }
}

pub(super) fn faults(page: &PageContext, camera: &Device, events: &[(Fault, i64)]) -> Markup {
    let lang = page.visitor.language;
    html! {
        @for number in &camera.last_status().faults {
            section.panel.fault aria-label=(fault_title(lang, *number)) {
                h2 { (shape(Tone::Err)) " " (fault_title(lang, *number)) }
                @if let Some((fault, stored_us)) = events.iter().find(|(fault, _)| fault.number == *number) {
                    p {
                        (t!(lang, "fault-reported", text = translate(lang, &capitalize(&fault.text)))) " "
                        span.quiet { (time(lang, *stored_us, TimeFormat::Near, page.now_us)) }
                    }
                }
                p { (fault_advice(lang, *number)) }
                @if (1..=7).contains(number) { p.quiet { (t!(lang, "fault-blinks", number = u64::from(*number))) } }
            }
        }
    }
}

pub(super) fn past_faults(page: &PageContext, camera: &Device, events: &[(Fault, i64)]) -> Markup {
    let lang = page.visitor.language;
    let active = &camera.last_status().faults;
    let mut past = events.iter().filter(|(fault, _)| !active.contains(&fault.number)).take(5).peekable();
    html! {
        @if past.peek().is_some() {
            section.panel aria-labelledby="past" {
                h2 #past { (t!(lang, "resolved-faults")) }
                ul.rows {
                    @for (fault, stored_us) in past {
                        li {
                            span { (fault_title(lang, fault.number)) ": " (translate(lang, &fault.text)) }
                            span.quiet { (time(lang, *stored_us, TimeFormat::Near, page.now_us)) }
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn about(lang: Language, camera: &Device) -> Markup {
    let Status { health, version, .. } = camera.last_status();
    if version.is_empty() && health.card_total == 0 {
        return html! {};
    }
    let free = || {
        t!(
            lang,
            "size-of",
            part = size(health.card_free).as_str(),
            total = size(health.card_total).as_str()
        )
    };
    html! {
        section.panel aria-labelledby="about" {
            h2 #about { (t!(lang, "about-camera")) }
            dl.facts {
                @if health.card_total > 0 { (fact(&t!(lang, "fact-card-free"), &free())) }
                @if let Some(temperature) = health.temperature_mc {
                    (fact(&t!(lang, "fact-temperature"), &html! { (temperature / 1000) " °C" }))
                }
                @if !version.is_empty() { (fact(&t!(lang, "fact-version"), &html! { (version) })) }
                @if let Some(spool) = camera.spools.first() {
                    (fact(&t!(lang, "fact-spool"), &html! { code { (spool.spool) } }))
                }
            }
        }
    }
}
