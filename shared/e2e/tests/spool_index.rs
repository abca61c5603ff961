//! P1, P2, P6: the files are the truth, the index is what may vanish. Whatever becomes of sled's folder between two
//! starts, no capture is lost, no number is given out twice, and somebody is told.

use std::fs;
use std::path::Path;
use std::time::Duration;

use keepsake_provision::temp_dir::{self, TempDir};
use keepsake_testkit::appliance::{Appliance, CaptureKey};
use keepsake_testkit::cloud::Cloud;
use keepsake_testkit::ledger::audit;
use keepsake_testkit::photos;
use keepsake_testkit::seed::Seed;

const SOON: Duration = Duration::from_secs(60);

/// What happens to the folder of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    Deleted,
    Truncated,
    Noise,
    Yesterdays,
}

const ALL: [Harm; 4] = [
    Harm::Deleted,
    Harm::Truncated,
    Harm::Noise,
    Harm::Yesterdays,
];

#[test]
fn an_index_that_is_harmed_loses_nothing_of_a_full_spool() {
    let mut seed = Seed::from_env_or_random("index-full");
    let folder = TempDir::new("index-full");
    let mut cloud = Cloud::new(&folder);
    let mut cameras: Vec<Appliance> = ALL
        .iter()
        .map(|harm| {
            let name = format!("{harm:?}").to_lowercase();
            let mut camera = Appliance::new(&folder, &name, &cloud.mqtt_url());
            camera.start();
            camera.press_and_save(3, SOON);
            camera.stop();
            let yesterday = folder.join(format!("{name}-yesterday"));
            temp_dir::copy(&index_of(&camera), &yesterday);
            camera.start();
            camera.press_and_save(2, SOON);
            camera.stop();
            do_harm(*harm, &index_of(&camera), &yesterday, &mut seed);
            camera
        })
        .collect();

    for (camera, harm) in cameras.iter_mut().zip(ALL) {
        starts_after_harm(camera, harm);
        let next = camera.press_and_save(1, SOON);
        assert_eq!(next[0].sequence, 6, "{harm:?}: the next number");
    }
    cloud.start();
    all_is_stored(&cloud, &mut cameras);
}

#[test]
fn an_index_that_is_harmed_loses_nothing_of_a_drained_spool() {
    let mut seed = Seed::from_env_or_random("index-drained");
    let folder = TempDir::new("index-drained");
    let mut cloud = Cloud::new(&folder);
    cloud.start();
    let mut cameras: Vec<Appliance> = ALL
        .iter()
        .map(|harm| {
            let name = format!("{harm:?}").to_lowercase();
            let mut camera = Appliance::new(&folder, &name, &cloud.mqtt_url());
            camera.start();
            let first = camera.press_and_save(3, SOON);
            camera.expect_stored(&first, SOON);
            camera.stop();
            let yesterday = folder.join(format!("{name}-yesterday"));
            temp_dir::copy(&index_of(&camera), &yesterday);
            camera.start();
            let second = camera.press_and_save(2, SOON);
            camera.expect_stored(&second, SOON);
            camera.stop();
            do_harm(*harm, &index_of(&camera), &yesterday, &mut seed);
            camera
        })
        .collect();

    for (camera, harm) in cameras.iter_mut().zip(ALL) {
        starts_after_harm(camera, harm);
        let next = camera.press_and_save(1, SOON);
        assert_eq!(next[0].sequence, 6, "{harm:?}: the next number");
        camera.expect_stored(&next, SOON);
    }
    all_is_stored(&cloud, &mut cameras);
}

#[test]
fn a_second_process_on_the_same_spool_says_so_and_ends() {
    let folder = TempDir::new("second");
    let cloud = Cloud::new(&folder);
    let mut camera = Appliance::new(&folder, "porch", &cloud.mqtt_url());
    camera.start();
    let (status, said) = camera.start_a_second(SOON);
    assert!(
        !status.success(),
        "a second camera on the same spool: {status}"
    );
    assert!(
        said.contains("spool") && !said.contains("panicked"),
        "it should say what is the matter: {said}"
    );
    assert_eq!(
        camera.press_and_save(1, SOON)[0].sequence,
        1,
        "the first goes on"
    );
    camera.stop();
}

fn index_of(camera: &Appliance) -> std::path::PathBuf {
    camera.spool().join("index")
}

fn do_harm(harm: Harm, index: &Path, yesterday: &Path, seed: &mut Seed) {
    assert!(index.is_dir(), "{} is where the index is", index.display());
    match harm {
        Harm::Deleted => fs::remove_dir_all(index).unwrap(),
        Harm::Truncated => {
            for file in temp_dir::files(index) {
                let file = fs::File::options().write(true).open(file).unwrap();
                let half = file.metadata().unwrap().len() / 2;
                file.set_len(half).unwrap();
            }
        }
        Harm::Noise => {
            for file in temp_dir::files(index) {
                let length = usize::try_from(fs::metadata(&file).unwrap().len()).unwrap();
                fs::write(file, seed.bytes(length.max(4096))).unwrap();
            }
        }
        Harm::Yesterdays => temp_dir::restore(yesterday, index),
    }
}

fn starts_after_harm(camera: &mut Appliance, harm: Harm) {
    camera.start();
    let (install, next) = camera.ready();
    assert_eq!(next, 6, "{harm:?}: no number is used twice (P6)");
    assert!(
        camera.saved().iter().all(|saved| saved.install == install),
        "{harm:?}: the files say whose spool this is"
    );
    let warnings = camera.warnings();
    assert!(
        warnings.iter().any(|text| text.contains("index")),
        "{harm:?}: a warning says what happened, not just {warnings:?}"
    );
}

fn all_is_stored(cloud: &Cloud, cameras: &mut [Appliance]) {
    let mut confirmed: Vec<CaptureKey> = Vec::new();
    for camera in cameras.iter_mut() {
        let device = cloud
            .api()
            .wait_for_device(camera.device(), SOON, |device| {
                device["stored"] == 6 && device["waiting"] == 0
            });
        assert_eq!(device["pressed"], 6, "{device:#}");
        assert_eq!(device["missing"], 0, "{device:#}");
        assert_eq!(device["conflicts"], 0, "{device:#}");
        confirmed.extend(camera.saved());
        camera.stop();
    }
    let found = audit(&cloud.store(), &confirmed, &photos::all(&photos::folder()));
    assert_eq!(found.stored, 6 * cameras.len() as u64);
}
