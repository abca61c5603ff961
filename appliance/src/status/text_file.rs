//! The status of the camera in plain text, for a file that any computer can read from the card. Pure. It contains no
//! secret.

use keepsake_protocol::DeviceId;
use keepsake_protocol::faults::FaultCode;
use keepsake_protocol::status::Status;

use crate::status::diagnostics::Facts;
use crate::status::plain_text::PlainText;

/// The largest size of the file.
pub const BYTES_MAX: usize = 4096;

/// The content of the status file.
pub struct StatusReport<'a> {
    pub device: &'a DeviceId,
    /// The address of the cloud.
    pub cloud: &'a str,
    /// The last connection error since the last connection.
    pub not_connected_because: Option<&'a str>,
    pub facts: &'a Facts,
}

/// The whole file, at most [`BYTES_MAX`] bytes.
pub fn text(report: &StatusReport<'_>) -> String {
    let facts = report.facts;
    let Status { queue, health, led, faults, .. } = &facts.status;
    let mut lines = vec![format!("Camera {}", report.device)];
    lines.push(match written_at(facts) {
        Some(at) => format!("Written {at}"),
        None => "Written before the camera knew the time".to_owned(),
    });
    lines.push(String::new());
    lines.push(match (facts.connected_for_s, report.not_connected_because) {
        (Some(_), _) => format!("Cloud: connected to {}", report.cloud),
        (None, Some(why)) => format!("Cloud: {} cannot be reached: {why}", report.cloud),
        (None, None) => format!("Cloud: {} has not been reached yet", report.cloud),
    });
    lines.push(format!(
        "Pictures: {} waiting for upload ({} MiB), {} uploaded and still on the card",
        queue.waiting,
        queue.waiting_bytes >> 20,
        facts.kept()
    ));
    lines.push(format!("Card: {} of {} MiB free", health.card_free >> 20, health.card_total >> 20));
    lines.push(format!("Light: {}. {}", led.appearance, led.meaning));
    for fault in faults.iter().filter_map(|number| FaultCode::from_number(*number)) {
        lines.push(format!("Fault {}: {} {}", fault.number(), fault.meaning(), fault.remedy()));
    }
    if !facts.warnings.is_empty() {
        lines.push(String::new());
        lines.push("Recent problems, newest first:".to_owned());
    }
    for trouble in facts.warnings.iter().rev() {
        lines.push(format!("- {} s after power-on: {}", trouble.at_boottime_us / 1_000_000, trouble.text));
    }
    let mut file = PlainText::new(BYTES_MAX);
    for line in lines {
        if !file.push(&line) {
            break;
        }
    }
    file.finish()
}

fn written_at(facts: &Facts) -> Option<String> {
    let clock = &facts.clock;
    if !clock.synchronised {
        return None;
    }
    let at = jiff::Timestamp::from_microsecond(clock.wall_us).ok()?;
    Some(at.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::diagnostics::Warning;

    fn facts() -> Facts {
        let text = "first\nwith a second line".to_owned();
        Facts {
            warnings: vec![Warning { at_boottime_us: 12_000_000, text }],
            ..Facts::example()
        }
    }

    fn file(facts: &Facts, why: Option<&str>) -> String {
        text(&StatusReport {
            device: &"porch".parse().unwrap(),
            cloud: "mqtt://broker.example:1883",
            not_connected_because: why,
            facts,
        })
    }

    #[test]
    fn it_says_what_is_wrong_in_lines_any_computer_shows() {
        let text = file(&facts(), Some("connection refused"));
        for line in [
            "Camera porch\r\n",
            "Written 2026-11-22 ",
            "cannot be reached: connection refused\r\n",
            "3 waiting for upload (5 MiB), 7 uploaded",
            "Fault 3: ",
            "- 12 s after power-on: first with a second line\r\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    }

    #[test]
    fn a_camera_without_a_clock_does_not_invent_a_time() {
        let mut facts = facts();
        facts.clock.synchronised = false;
        facts.connected_for_s = Some(1);
        let text = file(&facts, None);
        assert!(text.contains("before the camera knew"), "{text}");
        assert!(text.contains("connected to mqtt://broker.example:1883"), "{text}");
    }

    #[test]
    fn however_much_went_wrong_it_stays_short() {
        let mut facts = facts();
        facts.warnings = vec![Warning { at_boottime_us: 1, text: "x".repeat(300) }; 20];
        let text = file(&facts, None);
        assert!(text.len() <= BYTES_MAX && text.len() > BYTES_MAX - 400);
        assert!(text.ends_with("\r\n"));
    }
}
