//! The progress of desired settings, by what the camera reported last.

use keepsake_protocol::status::Status;
use serde::Serialize;

use crate::store::DeviceSettings;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SettingsProgress {
    /// Nothing was ever changed.
    None,
    /// The camera has not reported this version yet.
    Waiting,
    Applied,
    /// All but the rejected ones.
    Partly,
    /// Connection settings are on trial.
    Trying,
    /// The camera has settings that this cloud never sent: the cloud was restored from a backup.
    Ahead,
}

impl SettingsProgress {
    pub(crate) fn of(desired: Option<&DeviceSettings>, status: &Status) -> Self {
        let version = status.settings_version;
        let wanted = desired.map_or(0, |desired| desired.version);
        let Some(report) = status.settings.as_deref() else {
            return if wanted == 0 { Self::None } else { Self::Waiting };
        };
        let other = desired.is_some_and(|desired| desired.revision != report.revision);
        if version > wanted || (version == wanted && other) {
            Self::Ahead
        } else if version < wanted {
            Self::Waiting
        } else if wanted == 0 {
            Self::None
        } else if report.trial.is_some() {
            Self::Trying
        } else if report.rejected.is_empty() {
            Self::Applied
        } else {
            Self::Partly
        }
    }
}

#[cfg(test)]
mod tests {
    use keepsake_protocol::settings::{RejectedSetting, SettingsReport, TrialStatus};

    use super::*;

    #[test]
    fn the_camera_decides_how_far_settings_got() {
        use SettingsProgress::{Ahead, Applied, None as Unchanged, Partly, Trying, Waiting};
        let reported = |revision| SettingsReport { revision, ..SettingsReport::default() };
        let rejected = SettingsReport {
            rejected: vec![RejectedSetting { name: "capture_interval_s".into(), reason: "no".into() }],
            ..reported(7)
        };
        let trying = SettingsReport {
            trial: Some(TrialStatus { names: vec!["cloud.url".into()], remaining_s: 3 }),
            ..reported(7)
        };
        let desired = DeviceSettings {
            version: 3,
            revision: 7,
            values: serde_json::Map::new(),
            changed_us: 0,
        };
        for (desired, settings_version, report, expected) in [
            (None, 0, None, Unchanged),
            (None, 0, Some(reported(0)), Unchanged),
            (Some(&desired), 0, None, Waiting),
            (Some(&desired), 2, Some(reported(5)), Waiting),
            (Some(&desired), 3, Some(reported(7)), Applied),
            (Some(&desired), 3, Some(rejected), Partly),
            (Some(&desired), 3, Some(trying), Trying),
            // A cloud restored from a backup: the number was given out before, or is behind.
            (Some(&desired), 3, Some(reported(8)), Ahead),
            (Some(&desired), 4, Some(reported(8)), Ahead),
            (None, 4, Some(reported(8)), Ahead),
        ] {
            let status = Status {
                settings_version,
                settings: report.map(Box::new),
                ..Status::last_will()
            };
            assert_eq!(SettingsProgress::of(desired, &status), expected, "{status:?}");
        }
    }
}
