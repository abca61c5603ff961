//! Kills a process with SIGKILL while it stores, moves and deletes pictures and sweeps orphans, again and again.
//!
//! `KEEPSAKE_KILLS=10000 cargo test -p keepsake-cloud --test object_kills` for a long run.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::TryStreamExt;
use keepsake_cloud::args::{Args, BytesCommand, Command as CloudCommand};
use keepsake_cloud::config::Config;
use keepsake_cloud::now_us;
use keepsake_cloud::objects::{BytesLocation, ObjectKey, read_all};
use keepsake_cloud::ops::orphan_sweep::{self, SweepTerms};
use keepsake_cloud::store::{Limits, Store, Upload};
use keepsake_protocol::capture::ContentType;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The kills of a run of all tests.
const KILLS: u32 = 40;
/// Pictures that are in the store at most.
const PICTURES_MAX: usize = 24;
const FOLDER: &str = "KEEPSAKE_KILLS_FOLDER";
const SEED: &str = "KEEPSAKE_KILLS_SEED";
/// Everything old enough at once: the only writer is dead, or waits for the sweep.
const AT_ONCE: SweepTerms = SweepTerms { age_min: Duration::ZERO, second_look_after: Duration::ZERO };

fn places(folder: &Path) -> [String; 3] {
    let place = |name| format!("folder:{}", folder.join(name).display());
    [place("a"), place("b"), "database".to_owned()]
}

async fn open(folder: &Path) -> Store {
    Store::open(folder, Limits::default()).await.unwrap()
}

/// Stores, moves, deletes and sweeps until it is killed, and says what it has stored and what it is about to delete.
#[tokio::test]
#[ignore = "the process that is killed"]
async fn victim() {
    let Ok(folder) = std::env::var(FOLDER).map(PathBuf::from) else {
        return;
    };
    let mut random = StdRng::seed_from_u64(std::env::var(SEED).unwrap().parse().unwrap());
    let store = open(&folder).await;
    let config = ["cloud", "--data", folder.to_str().unwrap()];
    let config = Config::load(&<Args as clap::Parser>::parse_from(config)).unwrap();
    println!("ready");
    loop {
        let pictures = store.pictures_arrived_after(0, 1000).await.unwrap();
        match random.random_range(0..10) {
            0..4 if pictures.len() < PICTURES_MAX => {
                let bytes: Vec<u8> = (0..random.random_range(1..60_000)).map(|_| random.random()).collect();
                let upload = Upload {
                    content_type: ContentType::Jpeg,
                    width: 1,
                    height: 1,
                    damaged: false,
                };
                let picture = store.upload(&"camera".parse().unwrap(), bytes.into(), upload, now_us()).await.unwrap();
                println!("stored {}", picture.arrival);
            }
            0..6 if !pictures.is_empty() => {
                let picture = &pictures[random.random_range(0..pictures.len())];
                println!("deleting {}", picture.arrival);
                assert!(store.delete(picture).await.unwrap());
            }
            6 => {
                orphan_sweep::sweep(&store, AT_ONCE).await.unwrap();
            }
            _ => {
                let to = places(&folder)[random.random_range(0..3)].clone();
                let command = BytesCommand::Move { to: Some(to), keep_days: 0, rate: None };
                keepsake_cloud::commands::run(&CloudCommand::Bytes(command), &config).await.unwrap();
                store.collect_garbage(now_us()).await.unwrap();
            }
        }
    }
}

/// Runs the victim in `folder` until it is killed. Returns what it has stored and what it was about to delete.
fn kill_once(folder: &Path, seed: u64, after: Duration) -> (BTreeSet<i64>, BTreeSet<i64>) {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["victim", "--exact", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "ready"), "the victim did not start");
    std::thread::sleep(after);
    victim.kill().unwrap();
    let status = victim.wait().unwrap();
    assert!(!status.success() && status.code().is_none(), "the victim ended by itself: {status}");
    let (mut stored, mut deleted) = (BTreeSet::new(), BTreeSet::new());
    // A last line that was cut off is not a promise.
    for line in lines {
        match line.split_once(' ') {
            Some(("stored", arrival)) => stored.extend(arrival.parse::<i64>()),
            Some(("deleting", arrival)) => deleted.extend(arrival.parse::<i64>()),
            _ => {}
        }
    }
    (stored, deleted)
}

/// Every row has its bytes, and after a sweep every object has its row. Returns the pictures by their arrival.
async fn audit(folder: &Path) -> BTreeSet<i64> {
    let store = open(folder).await;
    let images = store.stored_images_after(0, 1000).await.unwrap();
    let mut named: Vec<(i64, ObjectKey)> = Vec::new();
    for image in &images {
        // The hash is compared as well.
        let stream = store.open_image(image, 0..image.len).await;
        let bytes = read_all(stream.unwrap_or_else(|error| panic!("a row without bytes: {image:?}: {error:?}"))).await;
        assert_eq!(bytes.unwrap().len() as u64, image.len);
        if let BytesLocation::Object { place, key } = &image.location {
            named.push((*place, key.clone()));
        }
    }
    store.collect_garbage(now_us()).await.unwrap();
    orphan_sweep::sweep(&store, AT_ONCE).await.unwrap();
    let mut found: Vec<(i64, ObjectKey)> = Vec::new();
    for (id, _) in store.place_list().await.unwrap() {
        // A place whose marker was not written yet holds nothing.
        if let Ok(place) = store.place(id).await {
            let keys: Vec<ObjectKey> = place.list().map_ok(|object| object.key).try_collect().await.unwrap();
            found.extend(keys.into_iter().map(|key| (id, key)));
        }
    }
    named.sort();
    found.sort();
    assert_eq!(named, found, "rows and objects differ after a sweep");
    store.close().await;
    images.iter().map(|image| image.arrival).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kill_leaves_a_row_without_bytes_or_an_orphan_that_is_never_swept() {
    let kills = std::env::var("KEEPSAKE_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let root = tempfile::tempdir().unwrap();
    let folder = root.path();
    let seed = std::env::var(SEED).map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    let mut random = StdRng::seed_from_u64(seed);
    println!("{SEED}={seed}");
    let mut expected = BTreeSet::new();
    for kill in 0..kills {
        let after = Duration::from_micros(random.random_range(0..60_000));
        let (stored, deleted) = kill_once(folder, random.random(), after);
        expected.extend(stored);
        expected.retain(|arrival| !deleted.contains(arrival));
        let found = audit(folder).await;
        let lost: Vec<_> = expected.difference(&found).collect();
        assert!(lost.is_empty(), "kill {kill}: pictures {lost:?} are gone");
        // A picture that was committed and not yet reported, or about to be deleted and not yet gone.
        expected = found;
        if kill % 500 == 499 {
            println!("{} kills", kill + 1);
        }
    }
}
