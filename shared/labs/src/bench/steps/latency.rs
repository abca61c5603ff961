//! The time from a press to its receipt at the camera, with the real programs and one press at a time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use keepsake_provision::servers::database::Kind;
use keepsake_provision::temp_dir::TempDir;
use keepsake_testkit::appliance::Appliance;
use keepsake_testkit::{count, photos};

use crate::bench::figures::{Bound, StepResult, percentile};
use crate::bench::load::pictures::{Original, SMALL};
use crate::bench::{Plan, Server, cloud, start_broker};

/// Presses of one repetition, after those that warm up.
const PRESSES: usize = 40;
const WARM_UP: usize = 5;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const GROUP: &str = "press to stored, 23 KB";

/// Measures a cloud with its own broker and SQLite, and one with mosquitto and MariaDB.
pub fn run(plan: &Plan, command: &str) -> Result<StepResult> {
    let mut result = StepResult::new("latency", command);
    let mut server = Server::start(Kind::MariaDb)?;
    result.add_version(server.version());
    for _ in 0..plan.repetitions {
        let embedded = times(None, plan)?;
        record(&mut result, "embedded, SQLite", &embedded, 6.0);
        let mosquitto = times(Some(&mut server), plan)?;
        record(&mut result, "mosquitto, MariaDB", &mosquitto, 15.0);
    }
    Ok(result)
}

fn record(result: &mut StepResult, name: &str, ms: &[f64], median_ms_max: f64) {
    let median = percentile(ms, 50.0);
    result.record_bounded(GROUP, &format!("{name}, median"), "ms", median, Bound::AtMost(median_ms_max));
    result.record(GROUP, &format!("{name}, 95 %"), "ms", percentile(ms, 95.0));
}

/// Returns the time of each press in milliseconds.
fn times(server: Option<&mut Server>, plan: &Plan) -> Result<Vec<f64>> {
    let folder = TempDir::new("bench-latency");
    // The camera sends its frame as it is: the time to shrink one depends on the camera, not on the way to the cloud.
    let original = Original::new(SMALL);
    let album = photos::album(&folder.join("album"), &[original.copy(1), original.copy(2)]);
    let (broker, url) = match server {
        None => (None, None),
        Some(server) => {
            let schema = server.new_schema();
            (Some(start_broker(&folder)?), Some(server.database.url(&schema)))
        }
    };
    let cloud = cloud(&folder, broker.as_ref(), url.as_deref()).started();
    let camera_url = broker.as_ref().map_or(cloud.mqtt_url(), |broker| broker.url());
    let mut camera = Appliance::new(&folder, "bench", &camera_url)
        .photographing(&album)
        .connected(ANSWER_TIMEOUT);
    let presses = plan.count(PRESSES);
    let mut ms = Vec::new();
    for press in 0..WARM_UP + presses {
        let since = camera.event_count();
        let start = Instant::now();
        camera.press();
        let stored = |events: &[serde_json::Value]| (count(events, "stored") > 0).then_some(());
        camera
            .wait(since, ANSWER_TIMEOUT, stored)
            .map_err(|why| anyhow::anyhow!("{why:?}"))
            .with_context(|| format!("press {press}"))?;
        if press >= WARM_UP {
            ms.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(ms)
}
