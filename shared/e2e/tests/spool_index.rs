//! P1, P2, P6: the files are the truth, and the index may vanish. Whatever happens to sled's directory between two
//! starts, no capture is lost, no number is used twice, and a warning is reported.

use std::fs;
use std::path::Path;
use std::time::Duration;

use keepsake_testkit::{Appliance, CaptureKey, Cloud, SOON, Seed, TempDir, temp_dir};

/// The damage to the directory of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    Deleted,
    Truncated,
    Noise,
    Yesterdays,
}

const ALL: [Damage; 4] = [Damage::Deleted, Damage::Truncated, Damage::Noise, Damage::Yesterdays];

#[test]
fn a_damaged_index_loses_nothing_of_a_full_spool() {
    damage_indexes("index-full", false);
}

#[test]
fn a_damaged_index_loses_nothing_of_a_drained_spool() {
    damage_indexes("index-drained", true);
}

/// Damages the index of a camera with five captures in each way, and checks that it goes on with the sixth.
fn damage_indexes(name: &str, is_drained: bool) {
    let mut seed = Seed::from_env_or_random(name);
    let folder = TempDir::new(name);
    let mut cloud = Cloud::new(&folder);
    let press: fn(&mut Appliance, usize, Duration) -> Vec<CaptureKey> = if is_drained {
        cloud.start();
        Appliance::press_and_store
    } else {
        Appliance::press_and_save
    };
    let mut cameras: Vec<Appliance> = Vec::new();
    for damage in ALL {
        let device = format!("{damage:?}").to_lowercase();
        let mut camera = Appliance::new(&folder, &device, &cloud.mqtt_url()).started();
        press(&mut camera, 3, SOON);
        camera.stop();
        let yesterday = folder.join(format!("{device}-yesterday"));
        temp_dir::copy(&index_of(&camera), &yesterday);
        camera.start();
        press(&mut camera, 2, SOON);
        camera.stop();
        apply_damage(damage, &index_of(&camera), &yesterday, &mut seed);
        start_after_damage(&mut camera, damage);
        let next = press(&mut camera, 1, SOON);
        assert_eq!(next[0].sequence, 6, "{damage:?}: the next number");
        cameras.push(camera);
    }
    if !is_drained {
        cloud.start();
    }
    expect_all_stored(&cloud, &cameras);
}

#[test]
fn a_second_process_on_the_same_spool_reports_it_and_exits() {
    let folder = TempDir::new("second");
    let cloud = Cloud::new(&folder);
    let mut camera = Appliance::new(&folder, "porch", &cloud.mqtt_url()).started();
    let (status, log) = camera.start_a_second(SOON);
    assert!(!status.success(), "a second camera on the same spool: {status}");
    assert!(log.contains("spool") && !log.contains("panicked"), "the log explains it: {log}");
    assert_eq!(camera.press_and_save(1, SOON)[0].sequence, 1, "the first goes on");
}

fn index_of(camera: &Appliance) -> std::path::PathBuf {
    camera.spool().join("index")
}

fn apply_damage(damage: Damage, index: &Path, yesterday: &Path, seed: &mut Seed) {
    assert!(index.is_dir(), "{} is where the index is", index.display());
    match damage {
        Damage::Deleted => fs::remove_dir_all(index).unwrap(),
        Damage::Truncated => {
            for file in temp_dir::files(index) {
                let file = fs::File::options().write(true).open(file).unwrap();
                let half = file.metadata().unwrap().len() / 2;
                file.set_len(half).unwrap();
            }
        }
        Damage::Noise => {
            for file in temp_dir::files(index) {
                let length = usize::try_from(fs::metadata(&file).unwrap().len()).unwrap();
                fs::write(file, seed.bytes(length.max(4096))).unwrap();
            }
        }
        Damage::Yesterdays => temp_dir::restore(yesterday, index),
    }
}

fn start_after_damage(camera: &mut Appliance, damage: Damage) {
    camera.start();
    let (spool, next) = camera.ready();
    assert_eq!(next, 6, "{damage:?}: no number is used twice (P6)");
    assert!(
        camera.saved().iter().all(|saved| saved.spool == spool),
        "{damage:?}: the files say whose spool this is"
    );
    let warnings = camera.warnings();
    assert!(
        warnings.iter().any(|text| text.contains("index")),
        "{damage:?}: a warning says what happened, not just {warnings:?}"
    );
}

fn expect_all_stored(cloud: &Cloud, cameras: &[Appliance]) {
    for camera in cameras {
        let device = cloud
            .api()
            .wait_for_device(camera.name(), SOON, |device| device["stored"] == 6 && device["waiting"] == 0);
        assert_eq!(device["pressed"], 6, "{device:#}");
        assert_eq!(device["missing"], 0, "{device:#}");
        assert_eq!(device["conflicts"], 0, "{device:#}");
    }
    let confirmed: Vec<CaptureKey> = cameras.iter().flat_map(Appliance::saved).collect();
    assert_eq!(cloud.audit(&confirmed).stored, 6 * cameras.len() as u64);
}
