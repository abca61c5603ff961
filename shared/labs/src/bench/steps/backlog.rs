//! Bursts of third-party pictures, and pictures that waited at the broker while the cloud was down: everything must be
//! stored once, on one connection.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use keepsake_provision::temp_dir::TempDir;

use crate::bench::figures::{Bound, StepResult, as_float};
use crate::bench::load::pictures::{MEDIUM, Original};
use crate::bench::load::{ThirdPartyCamera, all_at_once};
use crate::bench::{Plan, Server, cloud, start_broker};

/// Pictures of a burst: 180 MB as they are, 240 MB in base64.
const PICTURES: usize = 1_216;
const CAMERAS: u8 = 4;
const TIMEOUT: Duration = Duration::from_secs(300);

/// The moment at which the pictures are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Burst,
    CloudDown,
}

/// Measures both cases with each database.
pub fn run(plan: &Plan, command: &str) -> Result<StepResult> {
    let mut result = StepResult::new("backlog", command);
    for kind in &plan.databases {
        let mut server = Server::start(*kind)?;
        result.add_version(server.version());
        for _ in 0..plan.repetitions {
            for case in [Case::Burst, Case::CloudDown] {
                measure(case, plan, &mut server, &mut result).with_context(|| format!("{kind}, {case:?}"))?;
            }
        }
    }
    Ok(result)
}

fn measure(case: Case, plan: &Plan, server: &mut Server, result: &mut StepResult) -> Result<()> {
    let folder = TempDir::new("bench-backlog");
    let schema = server.new_schema();
    let broker = start_broker(&folder)?;
    result.add_version(broker.version().to_owned());
    // The first start subscribes, so that the broker keeps what comes while the cloud is down.
    let mut cloud = cloud(&folder, Some(&broker), Some(&server.database.url(&schema))).started();
    let count = plan.count(PICTURES);
    let original = Original::new(MEDIUM);
    let each = count / usize::from(CAMERAS);
    let camera = |number| ThirdPartyCamera::new(number, &format!("camera/{number}/image"), each, &original, true);
    let cameras: Vec<_> = (1..=CAMERAS).map(camera).collect();
    let log_before = cloud.log().len();
    let publish = || all_at_once(cameras, |camera| camera.publish(broker.port()));
    let start = match case {
        Case::Burst => {
            let start = Instant::now();
            publish()?;
            start
        }
        Case::CloudDown => {
            cloud.stop();
            publish()?;
            let start = Instant::now();
            cloud.start();
            start
        }
    };
    let store = cloud.store();
    while store.last_arrival() < count as u64 {
        ensure!(start.elapsed() < TIMEOUT, "{} of {count} stored", store.picture_count());
        thread::sleep(Duration::from_millis(20));
    }
    let took = start.elapsed();
    ensure!(store.picture_count() == count as u64, "{} stored of {count}", store.picture_count());
    let log = cloud.log().split_off(log_before);
    let dropped = ["no connection to the broker", "connection dropped"].map(|line| log.matches(line).count());
    let repeats = cloud.repeats();
    let kind = server.database.kind();
    let name = match case {
        Case::Burst => "a burst",
        Case::CloudDown => "the cloud was down",
    };
    result.record(
        &format!("{kind}, {count} pictures of 150 KB"),
        name,
        "pictures/s",
        as_float(count) / took.as_secs_f64(),
    );
    let group = format!("{kind}, {count} pictures of 150 KB, dropped connections");
    let dropped = as_float(dropped.iter().sum());
    result.record_bounded(&group, name, "connections", dropped, Bound::AtMost(0.0));
    let group = format!("{kind}, {count} pictures of 150 KB, sent again");
    let share = as_float(usize::try_from(repeats)?) * 100.0 / as_float(count);
    result.record_bounded(&group, name, "%", share, Bound::AtMost(1.0));
    Ok(())
}
