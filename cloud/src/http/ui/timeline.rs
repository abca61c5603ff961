//! The timeline of one picture as a line of five dots, with the times that are known and no others.

use keepsake_protocol::capture::Cause;
use keepsake_protocol::command::{CommandKind, CommandStage};
use maud::{Markup, html};

use crate::http::ui::capture_time::exact_time;
use crate::http::ui::format::{TimeFormat, format_duration, size, step, time};
use crate::http::ui::language::Language;
use crate::http::ui::messages::t;
use crate::http::ui::views::CommandView;
use crate::store::{Command, Picture, StageReached};

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
    fn spoken(self, lang: Language) -> Markup {
        match self {
            Self::Done => html! {},
            Self::Now => t!(lang, "step-now"),
            Self::Next => t!(lang, "step-next"),
            Self::Failed => t!(lang, "step-failed"),
        }
    }
}

struct TimelineStep {
    name: Markup,
    state: StepState,
    /// The time, by the clock of the camera or of the cloud.
    at_us: Option<i64>,
    /// The duration since the step before, or a remark.
    note: Option<Markup>,
}

impl TimelineStep {
    fn done(name: Markup, at_us: Option<i64>, note: Option<Markup>) -> Self {
        Self { name, state: StepState::Done, at_us, note }
    }
}

/// Draws the timeline of a stored picture on one line: names and durations.
pub(crate) fn picture_line(lang: Language, picture: &Picture) -> Markup {
    line(lang, &picture_steps(lang, picture))
}

/// Draws the same timeline as a list with the time of every step.
pub(crate) fn picture_list(lang: Language, picture: &Picture) -> Markup {
    html! {
        ol.journey.journey-list {
            @for step in picture_steps(lang, picture) {
                li class={ "stop stop-" (step.state.as_str()) } {
                    span.stop-name { (step.name) }
                    span.stop-at {
                        @if let Some(at) = step.at_us { (time(lang, at, TimeFormat::Tenths, at)) }
                    }
                    span.stop-note { @if let Some(note) = step.note { (note) } }
                }
            }
        }
    }
}

/// Returns the time from the press to the commit, microseconds; none unless both clocks are known to be right.
pub(crate) fn press_to_stored_us(picture: &Picture) -> Option<u64> {
    if picture.cause == Cause::Upload {
        return None;
    }
    u64::try_from(picture.stored_us.saturating_sub(exact_time(picture)?)).ok()
}

fn picture_steps(lang: Language, picture: &Picture) -> Vec<TimelineStep> {
    let stored = |note| TimelineStep::done(t!(lang, "step-stored"), Some(picture.stored_us), note);
    if picture.cause == Cause::Upload {
        return vec![stored(Some(t!(lang, "step-upload")))];
    }
    // An inexact time would look as good as an exact one, so it is left out.
    let pressed_us = exact_time(picture);
    let at = |after_us: u64| pressed_us.and_then(|pressed| pressed.checked_add(i64::try_from(after_us).ok()?));
    let name = match picture.cause {
        Cause::Button | Cause::Upload => t!(lang, "step-pressed"),
        Cause::Command => t!(lang, "step-requested"),
        Cause::Interval => t!(lang, "step-due"),
        Cause::Test => t!(lang, "step-test"),
    };
    let (captured_us, saved_us, sent_us) = (picture.captured_after_us, picture.saved_after_us, picture.sent_after_us);
    let sent = match sent_us {
        Some(sent_us) => step(lang, saved_us.unwrap_or(captured_us), sent_us),
        None => t!(lang, "step-after-restart"),
    };
    let sent = match picture.attempt {
        0 => sent,
        attempt => html! { (sent) ", " (t!(lang, "step-attempt", number = u64::from(attempt) + 1)) },
    };
    let saved = saved_us.map(|saved_us| step(lang, captured_us, saved_us));
    let total_us = press_to_stored_us(picture);
    vec![
        TimelineStep::done(name, pressed_us, None),
        TimelineStep::done(t!(lang, "step-captured"), at(captured_us), Some(step(lang, 0, captured_us))),
        TimelineStep::done(t!(lang, "step-saved"), saved_us.and_then(at), saved),
        TimelineStep::done(t!(lang, "step-upload-started"), sent_us.and_then(at), Some(sent)),
        stored(sent_us.zip(total_us).map(|(sent_us, total_us)| step(lang, sent_us, total_us))),
    ]
}

/// Draws the progress of a command for a picture.
pub(crate) fn command_line(lang: Language, view: &CommandView, now_us: i64) -> Markup {
    line(lang, &command_steps(lang, view, now_us))
}

/// Returns true until the picture is stored, or the command has failed or expired.
pub(crate) fn is_in_progress(view: &CommandView, now_us: i64) -> bool {
    let command = &view.command;
    view.stored.is_none()
        && !ended(command)
        && (now_us < command.expires_us || command.stages.iter().any(|s| s.stage == CommandStage::Accepted))
}

fn ended(command: &Command) -> bool {
    let last = command.stages.iter().map(|s| s.stage).max();
    match last {
        Some(CommandStage::Failed | CommandStage::Expired) => true,
        // A snap that is done at the camera may still be on its way here.
        Some(CommandStage::Done) => command.command != CommandKind::Snap,
        Some(CommandStage::Accepted | CommandStage::Captured | CommandStage::Saved) | None => false,
    }
}

fn command_steps(lang: Language, view: &CommandView, now_us: i64) -> Vec<TimelineStep> {
    let CommandView { command, uploading, stored } = view;
    let reached = |stage: CommandStage| command.stages.iter().find(|s| s.stage == stage);
    let failed = reached(CommandStage::Failed).or_else(|| reached(CommandStage::Expired));
    // Replies may be lost or come late: a later stage, and the picture itself, say that the ones before were reached.
    let passed = |stage: CommandStage| {
        let later = |s: &StageReached| s.stage > stage && s.stage <= CommandStage::Done;
        stored.is_some() || command.stages.iter().any(later)
    };
    let since_created =
        |at_us: i64| format_duration(lang, u64::try_from(at_us.saturating_sub(command.created_us)).unwrap_or(0));
    let state = |done: bool| if done { StepState::Done } else { StepState::Next };

    let accepted = reached(CommandStage::Accepted);
    let has_reply = accepted.is_some() || passed(CommandStage::Accepted);
    let mut steps = vec![TimelineStep {
        name: t!(lang, "step-sent"),
        state: state(command.sent_us.is_some() || has_reply),
        at_us: command.sent_us,
        note: accepted.map(|accepted| since_created(accepted.at_us)),
    }];

    let mut before_us = accepted.and_then(|s| s.after_us).unwrap_or(0);
    for (name, stage) in [
        (t!(lang, "step-captured"), CommandStage::Captured),
        (t!(lang, "step-saved"), CommandStage::Saved),
    ] {
        let reply = reached(stage);
        let after_us = reply.and_then(|reply| reply.after_us);
        steps.push(TimelineStep {
            name,
            state: state(reply.is_some() || passed(stage)),
            at_us: reply.map(|reply| reply.at_us),
            note: after_us.map(|after_us| step(lang, before_us, after_us)),
        });
        before_us = after_us.unwrap_or(before_us);
    }
    let stored_us = stored.map(|(_, at_us)| at_us);
    let uploading = uploading.filter(|(_, total)| *total > 0 && stored_us.is_none());
    steps.push(TimelineStep {
        name: t!(lang, "step-uploading"),
        state: state(stored_us.is_some()),
        at_us: None,
        note: uploading
            .map(|(here, total)| t!(lang, "size-of", part = size(here).as_str(), total = size(total).as_str())),
    });
    steps.push(TimelineStep {
        name: t!(lang, "step-stored"),
        state: state(stored_us.is_some()),
        at_us: stored_us,
        note: stored_us.map(|at_us| t!(lang, "step-total", duration = since_created(at_us))),
    });

    // The first step not reached is where it is now, or where it ended.
    let over = failed.is_some() || (now_us >= command.expires_us && !has_reply);
    if let Some(next) = steps.iter_mut().find(|step| step.state == StepState::Next) {
        next.state = if over { StepState::Failed } else { StepState::Now };
        next.note.get_or_insert_with(|| match over {
            true => t!(lang, "step-ended"),
            false => t!(lang, "step-waiting"),
        });
    }
    steps
}

fn line(lang: Language, steps: &[TimelineStep]) -> Markup {
    html! {
        ol.journey.journey-line {
            @for step in steps {
                li class={ "stop stop-" (step.state.as_str()) } {
                    span.stop-name { (step.name) span.hear { (step.state.spoken(lang)) } }
                    span.stop-note {
                        @match (&step.note, step.at_us) {
                            (Some(note), _) => (note),
                            (None, Some(at)) => (time(lang, at, TimeFormat::Clock, at)),
                            (None, None) => {},
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
    use crate::http::ui::templates::fixtures::command;

    #[test]
    fn a_later_stage_implies_the_ones_before() {
        use CommandStage::{Accepted, Captured, Done, Expired, Failed, Saved};
        for (stages, expected) in [
            (vec![], "done now next next next"),
            (vec![Accepted], "done now next next next"),
            (vec![Accepted, Captured], "done done now next next"),
            (vec![Accepted, Saved], "done done done now next"),
            (vec![Done], "done done done now next"),
            (vec![Accepted, Failed], "done failed next next next"),
            (vec![Expired], "done failed next next next"),
        ] {
            let view = command(CommandKind::Snap, 0, &stages);
            let steps = command_steps(Language::English, &view, 20);
            let states: Vec<_> = steps.iter().map(|step| step.state.as_str()).collect();
            assert_eq!(states.join(" "), expected, "{stages:?}");
        }
    }
}
