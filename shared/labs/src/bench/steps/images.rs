//! Pictures per second over HTTP, with connections that stay open.

use std::collections::HashSet;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use keepsake_provision::servers::database::Kind;
use keepsake_provision::temp_dir::TempDir;
use keepsake_testkit::api::Api;
use keepsake_testkit::cloud::Cloud;

use crate::bench::figures::{Bound, StepResult, as_float};
use crate::bench::load::pictures::{Original, SMALL};
use crate::bench::load::{NativeCamera, all_at_once};
use crate::bench::usage::cpu_time;
use crate::bench::{Plan, Server, cloud};

/// Stored pictures that are fetched in turn.
const PICTURES: usize = 1_920;
const CONNECTIONS: usize = 4;
/// The length of one repetition.
const PERIOD: Duration = Duration::from_secs(3);
const GROUP: &str = "images over HTTP, 23 KB, 4 connections";

/// Fetches pictures from a cloud with SQLite and from one with each database server.
pub fn run(plan: &Plan, command: &str) -> Result<StepResult> {
    let mut result = StepResult::new("images", command);
    let folder = TempDir::new("bench-images");
    let mut servers: Vec<Server> = plan.databases.iter().map(|kind| Server::start(*kind)).collect::<Result<_>>()?;
    let mut clouds = vec![("SQLite".to_owned(), None, filled(&folder.join("sqlite"), None, plan)?)];
    for server in &mut servers {
        result.add_version(server.version());
        let schema = server.new_schema();
        let kind = server.database.kind();
        let cloud = filled(&folder.join(kind.to_string()), Some(&server.database.url(&schema)), plan)?;
        clouds.push((kind.to_string(), Some(kind), cloud));
    }
    for _ in 0..plan.repetitions {
        for (name, kind, (cloud, paths)) in &clouds {
            let (cloud_before, own_before) = (cpu_time(cloud.pid()), cpu_time(std::process::id()));
            let (fetched, took) = fetch(&cloud.api(), paths)?;
            let rate = as_float(fetched) / took.as_secs_f64();
            if *kind == Some(Kind::MariaDb) {
                result.record_bounded(GROUP, name, "images/s", rate, Bound::AtLeast(3_000.0));
            } else {
                result.record(GROUP, name, "images/s", rate);
            }
            for (process, pid, before) in
                [("cloud", cloud.pid(), cloud_before), ("client", std::process::id(), own_before)]
            {
                let ms = (cpu_time(pid) - before).as_secs_f64() * 1e3 / as_float(fetched);
                let group = "images over HTTP, processor time";
                result.record(group, &format!("{name}: {process}"), "ms an image", ms);
            }
        }
    }
    Ok(result)
}

/// Returns a cloud with pictures, and their paths.
fn filled(folder: &std::path::Path, database_url: Option<&str>, plan: &Plan) -> Result<(Cloud, Vec<String>)> {
    let cloud = cloud(folder, None, database_url).started();
    let camera = NativeCamera::new(1, plan.count(PICTURES), &Original::new(SMALL), SMALL);
    all_at_once(vec![camera], |camera| camera.upload(cloud.mqtt_port()))?;
    let ids: HashSet<String> = cloud
        .api()
        .pictures("bench-1")
        .iter()
        .map(|picture| picture["id"].as_str().map(str::to_owned).context("a picture has an id"))
        .collect::<Result<_>>()?;
    ensure!(ids.len() == plan.count(PICTURES), "{} pictures", ids.len());
    // A set has no order: neighbours in the store are not fetched one after the other.
    Ok((cloud, ids.iter().map(|id| format!("/api/v1/pictures/{id}/image")).collect()))
}

/// Fetches pictures for [`PERIOD`]; returns their number and the exact time.
fn fetch(api: &Api, paths: &[String]) -> Result<(usize, Duration)> {
    let start = Instant::now();
    let fetched: Vec<Result<usize>> = thread::scope(|scope| {
        let fetch_share = |share: usize| {
            let api = api.clone();
            let mut fetched = 0;
            for path in paths.iter().cycle().skip(share * paths.len() / CONNECTIONS) {
                if start.elapsed() >= PERIOD {
                    break;
                }
                let (status, body) = api.get(path).map_err(anyhow::Error::msg)?;
                ensure!(status == 200 && body.len() > SMALL.bytes / 2, "{path}: {status}, {} bytes", body.len());
                fetched += 1;
            }
            Ok(fetched)
        };
        let threads: Vec<_> = (0..CONNECTIONS).map(|share| scope.spawn(move || fetch_share(share))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a client does not panic"))
            .collect()
    });
    let took = start.elapsed();
    Ok((fetched.into_iter().sum::<Result<usize>>()?, took))
}
