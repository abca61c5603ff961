//! The way of one picture as a line of five dots, with the times that are really known and no others.

use keepsake_protocol::capture::Cause;
use keepsake_protocol::command::CommandStage;
use maud::{Markup, html};

use crate::http::ui::capture_time::exact_time;
use crate::http::ui::format::{TimeFormat, count, format_duration, size, step, time};
use crate::http::ui::views::{CommandView, PictureView, StageView};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StepState {
    Done,
    Now,
    Next,
    Failed,
}

impl StepState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Now => "now",
            Self::Next => "next",
            Self::Failed => "failed",
        }
    }

    /// Text for screen readers.
    const fn heard(self) -> &'static str {
        match self {
            Self::Done => "",
            Self::Now => ", now",
            Self::Next => ", still to come",
            Self::Failed => ", failed",
        }
    }
}

struct TimelineStep {
    name: &'static str,
    state: StepState,
    /// When, by whichever clock knows it.
    at_us: Option<i64>,
    /// The way from the stop before, or what is to be said instead.
    note: String,
}

impl TimelineStep {
    fn done(name: &'static str, at_us: Option<i64>, note: String) -> Self {
        Self {
            name,
            state: StepState::Done,
            at_us,
            note,
        }
    }
}

/// A stored picture's journey on one line: names and steps.
pub(crate) fn picture_line(picture: &PictureView) -> Markup {
    line(&picture_stops(picture))
}

/// The same journey as a list with the time of every stop.
pub(crate) fn picture_list(picture: &PictureView) -> Markup {
    html! {
        ol.journey.journey-list {
            @for stop in picture_stops(picture) {
                li class={ "stop stop-" (stop.state.as_str()) } {
                    span.stop-name { (stop.name) }
                    span.stop-at {
                        @if let Some(at) = stop.at_us { (time(at, TimeFormat::Tenths, at)) }
                    }
                    span.stop-note { (stop.note) }
                }
            }
        }
    }
}

/// From the press to the commit, microseconds; only where both clocks are known to be right.
pub(crate) fn press_to_stored_us(picture: &PictureView) -> Option<u64> {
    if picture.cause == Cause::Upload {
        return None;
    }
    u64::try_from(picture.stored_us.saturating_sub(exact_time(picture)?)).ok()
}

fn picture_stops(picture: &PictureView) -> Vec<TimelineStep> {
    if picture.cause == Cause::Upload {
        return vec![TimelineStep::done(
            "Stored",
            Some(picture.stored_us),
            "came in as an upload".to_owned(),
        )];
    }
    // Times that nobody knows would look as good as the others, so they are left out.
    let pressed_us = exact_time(picture);
    let at = |after_us: u64| pressed_us.and_then(|pressed| pressed.checked_add(i64::try_from(after_us).ok()?));

    let mut before_us = 0;
    let mut stops = vec![TimelineStep::done(
        match picture.cause {
            Cause::Button | Cause::Upload => "Pressed",
            Cause::Command => "Asked for",
            Cause::Interval => "Due",
            Cause::Test => "Test",
        },
        pressed_us,
        String::new(),
    )];
    let known = [
        ("Captured", Some(picture.captured_after_us)),
        ("On the card", picture.saved_after_us),
        ("Upload begun", picture.sent_after_us),
    ];
    for (name, after_us) in known {
        let note = match after_us {
            Some(after_us) => {
                let note = step(before_us, after_us);
                before_us = after_us;
                note
            }
            None if name == "Upload begun" => "after a restart".to_owned(),
            None => String::new(),
        };
        let note = if name == "Upload begun" && picture.attempt > 0 {
            format!("{note}, try {}", count(u64::from(picture.attempt) + 1))
        } else {
            note
        };
        stops.push(TimelineStep::done(name, after_us.and_then(at), note));
    }
    let note = match press_to_stored_us(picture) {
        Some(total) if picture.sent_after_us.is_some() => step(before_us, total),
        Some(_) | None => String::new(),
    };
    stops.push(TimelineStep::done("Stored", Some(picture.stored_us), note));
    stops
}

/// How far a command for a picture got.
pub(crate) fn command_line(command: &CommandView, now_us: i64) -> Markup {
    line(&command_stops(command, now_us))
}

/// The command has not ended: neither stored, failed nor out of time.
pub(crate) fn is_in_progress(command: &CommandView, now_us: i64) -> bool {
    command.stored.is_none()
        && !ended(command)
        && (now_us < command.expires_us || command.stages.iter().any(|s| s.stage == CommandStage::Accepted))
}

fn ended(command: &CommandView) -> bool {
    let last = command.stages.iter().map(|s| s.stage).max();
    match last {
        Some(CommandStage::Failed | CommandStage::Expired) => true,
        // A snap that is done at the camera may still be on its way here.
        Some(CommandStage::Done) => command.command != keepsake_protocol::command::CommandKind::Snap,
        Some(CommandStage::Accepted | CommandStage::Captured | CommandStage::Saved) | None => false,
    }
}

fn command_stops(command: &CommandView, now_us: i64) -> Vec<TimelineStep> {
    let reached = |stage: CommandStage| command.stages.iter().find(|s| s.stage == stage);
    let failed = reached(CommandStage::Failed).or_else(|| reached(CommandStage::Expired));
    // Replies may be lost or come late: a later stage, and the picture itself, say that the ones before were reached.
    let passed = |stage: CommandStage| {
        let later = |s: &StageView| s.stage > stage && s.stage <= CommandStage::Done;
        command.stored.is_some() || command.stages.iter().any(later)
    };
    let mut stops = Vec::new();

    let accepted = reached(CommandStage::Accepted);
    let heard_of = accepted.is_some() || passed(CommandStage::Accepted);
    let heard = accepted.map_or(String::new(), |accepted| {
        format_duration(u64::try_from(accepted.at_us.saturating_sub(command.created_us)).unwrap_or(0))
    });
    stops.push(TimelineStep {
        name: "Sent",
        state: if command.sent_us.is_some() || heard_of {
            StepState::Done
        } else {
            StepState::Next
        },
        at_us: command.sent_us,
        note: heard,
    });

    let mut before_us = accepted.and_then(|s| s.after_us).unwrap_or(0);
    for (name, stage) in [
        ("Captured", CommandStage::Captured),
        ("On the card", CommandStage::Saved),
    ] {
        if let Some(said) = reached(stage) {
            let note = said.after_us.map_or(String::new(), |after| step(before_us, after));
            before_us = said.after_us.unwrap_or(before_us);
            stops.push(TimelineStep::done(name, Some(said.at_us), note));
        } else if passed(stage) {
            stops.push(TimelineStep::done(name, None, String::new()));
        } else {
            stops.push(TimelineStep {
                name,
                state: StepState::Next,
                at_us: None,
                note: String::new(),
            });
        }
    }
    stops.push(TimelineStep {
        name: "Uploading",
        state: if command.stored.is_some() {
            StepState::Done
        } else {
            StepState::Next
        },
        at_us: None,
        note: match command.uploading {
            Some((here, total)) if total > 0 && command.stored.is_none() => {
                format!("{} of {}", size(here), size(total))
            }
            Some(_) | None => String::new(),
        },
    });
    stops.push(match command.stored {
        Some((_, at)) => TimelineStep::done(
            "Stored",
            Some(at),
            format!(
                "{} in all",
                format_duration(u64::try_from(at.saturating_sub(command.created_us)).unwrap_or(0))
            ),
        ),
        None => TimelineStep {
            name: "Stored",
            state: StepState::Next,
            at_us: None,
            note: String::new(),
        },
    });

    // The first stop not reached is where it is now, or where it ended.
    let over = failed.is_some() || (now_us >= command.expires_us && !heard_of);
    if let Some(next) = stops.iter_mut().find(|stop| stop.state == StepState::Next) {
        next.state = if over { StepState::Failed } else { StepState::Now };
        if next.note.is_empty() {
            next.note = if over { "ended here" } else { "waiting" }.to_owned();
        }
    }
    stops
}

fn line(stops: &[TimelineStep]) -> Markup {
    html! {
        ol.journey.journey-line {
            @for stop in stops {
                li class={ "stop stop-" (stop.state.as_str()) } {
                    span.stop-name { (stop.name) span.hear { (stop.state.heard()) } }
                    span.stop-note {
                        @if stop.note.is_empty() {
                            @if let Some(at) = stop.at_us { (time(at, TimeFormat::Clock, at)) }
                        } @else {
                            (stop.note)
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_stage_implies_the_ones_before() {
        use CommandStage::{Accepted, Captured, Done, Expired, Failed, Saved};
        for (said, expected) in [
            (vec![], "done now next next next"),
            (vec![Accepted], "done now next next next"),
            (vec![Accepted, Captured], "done done now next next"),
            (vec![Accepted, Saved], "done done done now next"),
            (vec![Done], "done done done now next"),
            (vec![Accepted, Failed], "done failed next next next"),
            (vec![Expired], "done failed next next next"),
        ] {
            let stages = said.iter().map(|stage| StageView {
                stage: *stage,
                at_us: 10,
                after_us: Some(10),
                text: None,
            });
            let command = CommandView {
                id: "c".to_owned(),
                command: keepsake_protocol::command::CommandKind::Snap,
                created_us: 0,
                expires_us: 100,
                sent_us: Some(1),
                stages: stages.collect(),
                uploading: None,
                stored: None,
                result: None,
            };
            let stops = command_stops(&command, 20);
            let states: Vec<_> = stops.iter().map(|stop| stop.state.as_str()).collect();
            assert_eq!(states.join(" "), expected, "{said:?}");
        }
    }
}
