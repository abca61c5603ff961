//! Fleets of our cameras with full cards that upload at once through mosquitto.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use keepsake_provision::temp_dir::TempDir;

use crate::bench::Plan;
use crate::bench::figures::{Bound, StepResult, as_float};
use crate::bench::load::pictures::MEDIUM;
use crate::fleet::{self, Load};

/// Cameras of each fleet: the first is what the largest is compared with.
const FLEETS: [u32; 4] = [8, 24, 100, 500];
/// Waiting pictures on each card.
const PICTURES: usize = 60;
const PATIENCE: Duration = Duration::from_secs(900);

/// Measures fleets of several sizes in turn.
pub fn run(plan: &Plan, command: &str) -> Result<StepResult> {
    let mut result = StepResult::new("fleet", command);
    for kind in &plan.databases {
        for _ in 0..plan.repetitions {
            let mut rates = Vec::new();
            for cameras in FLEETS {
                let pictures = u32::try_from(plan.count(PICTURES))?;
                let fleet = fleet::Plan {
                    name: "bench".to_owned(),
                    load: Load {
                        cameras,
                        pictures,
                        picture_bytes: MEDIUM.bytes,
                        patience: PATIENCE,
                    },
                    database: Some(*kind),
                    mosquitto: true,
                };
                let report = fleet::run(&fleet, &TempDir::new("bench-fleet")).context("a server is missing")?;
                let all = u64::from(cameras) * u64::from(pictures);
                let upload = &report.upload;
                ensure!(upload.stored == all, "{kind}, {cameras} cameras: {} of {all} stored", upload.stored);
                result.add_version(report.versions.clone());
                let group = format!("{kind}, {pictures} pictures of 150 KB from each camera");
                let name = format!("{cameras} cameras");
                result.record(&group, &name, "pictures/s", upload.pictures_per_s);
                let resent = as_float(usize::try_from(upload.resent.max(report.repeats))?) * 100.0;
                let share = resent / as_float(usize::try_from(all)?);
                result.record_bounded(&format!("{group}, sent again"), &name, "%", share, Bound::AtMost(1.0));
                let dropped = as_float(usize::try_from(upload.dropped_connections + report.dropped_sessions)?);
                let dropped_group = format!("{group}, dropped connections");
                result.record_bounded(&dropped_group, &name, "connections", dropped, Bound::AtMost(0.0));
                let receipts = format!("{group}, from the first byte to the receipt");
                result.record(&receipts, &format!("{name}, median"), "ms", upload.receipt_p50_ms);
                result.record(&receipts, &format!("{name}, 95 %"), "ms", upload.receipt_p95_ms);
                rates.push(upload.pictures_per_s);
            }
            let ratio = rates[FLEETS.len() - 1] / rates[0];
            let group = format!("{kind}, throughput of fleets");
            result.record_bounded(&group, "500 cameras : 8 cameras", "×", ratio, Bound::AtLeast(0.8));
        }
    }
    Ok(result)
}
