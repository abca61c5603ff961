//! Tests with a script in place of `rpicam-vid`: it takes the same arguments and writes real JPEGs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::hardware::Camera as _;
use crate::hardware::testing::{self, assert_error, grey_jpeg};

/// Long enough that no test depends on it.
const DEADLINE: Duration = Duration::from_secs(30);
/// For what never comes.
const SHORT: Duration = Duration::from_millis(900);

/// A folder with the script and what it writes.
struct FakeProgram {
    folder: tempfile::TempDir,
}

impl FakeProgram {
    /// `writes`: shell, run in the folder, that writes frames to stdout. `frame NAME` writes one and waits a moment.
    fn new(writes: &str) -> Self {
        let program = Self { folder: tempfile::tempdir().unwrap() };
        for (name, grey) in [("dark", 40), ("bright", 200)] {
            fs::write(program.path(name), jpeg(grey)).unwrap();
        }
        program.shows("dark");
        program.does(writes);
        program
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Changes the scene before the camera.
    fn shows(&self, picture: &str) {
        fs::write(self.path("new"), picture).unwrap();
        fs::rename(self.path("new"), self.path("scene")).unwrap();
    }

    fn does(&self, writes: &str) {
        let script = format!(
            "#!/bin/sh\ncd '{}' || exit 9\necho $$ > pid\necho \"$@\" >> arguments\n\
             frame() {{ cat \"$1\"; sleep 0.02; }}\n{writes}\n",
            self.folder.path().display()
        );
        // A program that is being written cannot be started.
        let new = self.path("rpicam-vid.new");
        fs::write(&new, script).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, self.path("rpicam-vid")).unwrap();
    }

    fn camera(&self, set: impl FnOnce(&mut settings::CameraSettings)) -> RpicamCamera {
        let mut settings = settings::CameraSettings { warm_up_frames: 0, ..settings::Config::default().camera };
        set(&mut settings);
        RpicamCamera {
            program: Some(self.path("rpicam-vid")),
            settings,
            process: None,
        }
    }

    /// The arguments of every start.
    fn starts(&self) -> Vec<String> {
        let arguments = fs::read_to_string(self.path("arguments")).unwrap_or_default();
        arguments.lines().map(str::to_owned).collect()
    }

    fn pid(&self) -> Pid {
        let pid = fs::read_to_string(self.path("pid")).unwrap();
        Pid::from_raw(pid.trim().parse().unwrap())
    }
}

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Frames of what is before the camera, two of which are always under way.
const STREAM: &str = r#"
    one=$(cat scene); two=$one
    while :; do frame "$two"; two=$one; one=$(cat scene); done"#;

/// More bytes than a pipe holds, so that none waits there.
fn jpeg(grey: u8) -> Vec<u8> {
    let mut noise = 1u32;
    let pixels: Vec<u8> = (0..640 * 480)
        .map(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let [.., grain] = noise.to_le_bytes();
            grey - 20 + grain % 40
        })
        .collect();
    let jpeg = grey_jpeg(&pixels, 640, 480);
    assert!(jpeg.len() > 80_000, "{}", jpeg.len());
    jpeg
}

#[track_caller]
fn assert_grey(frame: Result<Frame, CameraError>, expected: u8) {
    testing::assert_grey(frame, expected, 5);
}

use keepsake_protocol::event::TombstoneReason::{CameraFailed, CameraNotFound, CameraTimedOut};

fn running(writes: &str) -> (FakeProgram, RpicamCamera) {
    let program = FakeProgram::new(writes);
    let camera = program.camera(|_| {});
    (program, camera)
}

#[test]
fn a_press_takes_a_picture_that_began_after_it() {
    let (program, mut camera) = running(STREAM);
    assert_grey(camera.frame(DEADLINE), 40);
    for turn in 0..10 {
        let (scene, grey) = [("bright", 200), ("dark", 40)][turn % 2];
        program.shows(scene);
        assert_grey(camera.frame(DEADLINE), grey);
    }
    assert_eq!(program.starts().len(), 1, "it runs on between presses");
}

#[test]
fn the_program_is_asked_for_what_the_settings_say() {
    let program = FakeProgram::new(STREAM);
    let mut camera = program.camera(|settings| {
        (settings.width, settings.height) = (800, 600);
        settings.device = "1".to_owned();
        settings.brightness_percent = 75;
    });
    camera.frame(DEADLINE).unwrap();
    assert_eq!(
        program.starts(),
        [
            "--nopreview --timeout 0 --codec mjpeg --flush --output - --quality 90 --framerate 15 --width 800 \
          --height 600 --brightness 0.50 --camera 1"
        ]
    );
    // Others hold from the next frame on; what it need not know starts nothing.
    let mut settings = camera.settings.clone();
    settings.timeout_s = 5;
    camera.configure(&settings);
    camera.frame(DEADLINE).unwrap();
    assert_eq!(program.starts().len(), 1);
    settings.width = 1024;
    camera.configure(&settings);
    camera.frame(DEADLINE).unwrap();
    assert!(program.starts()[1].contains("--width 1024"));
    settings.device = "/dev/video0".to_owned();
    camera.configure(&settings);
    assert_error(camera.frame(DEADLINE), CameraFailed, &["camera.device"]);
}

#[test]
fn a_camera_that_starts_dark_is_waited_for() {
    let program = FakeProgram::new("for n in 1 2 3; do frame dark; done; while :; do frame bright; done");
    let mut camera = program.camera(|settings| settings.warm_up_frames = 0);
    assert_grey(camera.frame(DEADLINE), 40);
    let program = FakeProgram::new("frame dark; frame bright; frame dark; while :; do frame bright; done");
    let mut camera = program.camera(|settings| (settings.warm_up_frames, settings.warm_up_s) = (60, 30));
    assert_grey(camera.frame(DEADLINE), 200);
}

#[test]
fn a_program_that_is_not_there_is_named_with_its_package() {
    let program = FakeProgram::new(STREAM);
    fs::remove_file(program.path("rpicam-vid")).unwrap();
    let mut camera = program.camera(|_| {});
    assert_error(camera.frame(DEADLINE), CameraNotFound, &["apt install rpicam-apps"]);
    assert!(!is_program(&program.path("rpicam-vid")));
    assert!(!is_program(Path::new("/")));
}

#[test]
fn a_missing_camera_is_reported_until_there_is_one() {
    let (program, mut camera) = running("echo 'ERROR: *** no cameras available ***' >&2; exit 255");
    for _ in 0..2 {
        assert_error(camera.frame(DEADLINE), CameraNotFound, &["flat cable"]);
    }
    assert_eq!(program.starts().len(), 2, "once a press");
    program.does(STREAM);
    assert_grey(camera.frame(DEADLINE), 40);
}

#[test]
fn a_camera_in_use_and_a_program_that_fails_say_so() {
    let busy = "echo 'ERROR: *** failed to acquire camera /base/soc/i2c0mux/i2c@1/imx219@10 ***' >&2; exit 255";
    let mut camera = FakeProgram::new(busy).camera(|_| {});
    // The directory is removed with the fake program, so nothing is found.
    assert_error(camera.frame(DEADLINE), CameraNotFound, &["rpicam-apps"]);
    let (_program, mut camera) = running(busy);
    assert_error(camera.frame(DEADLINE), CameraFailed, &["another program uses it"]);

    let (program, mut camera) = running("echo 'first' >&2; printf 'ERROR: *** it is tired ***' >&2; exit 3");
    assert_error(
        camera.frame(DEADLINE),
        CameraFailed,
        &["ended (exit status: 3): ERROR: *** it is tired ***"],
    );
    assert_eq!(program.starts().len(), 2, "twice and no more");
}

#[test]
fn a_child_that_was_killed_between_presses_costs_no_picture() {
    let (program, mut camera) = running(STREAM);
    camera.frame(DEADLINE).unwrap();
    kill(program.pid(), Signal::SIGKILL).unwrap();
    program.shows("bright");
    assert_grey(camera.frame(DEADLINE), 200);
    assert_eq!(program.starts().len(), 2);
}

#[test]
fn a_child_that_stopped_writing_is_killed_and_restarted() {
    let (program, mut camera) = running("frame dark; exec sleep 1000");
    camera.frame(DEADLINE).unwrap();
    let hangs = program.pid();
    program.does(STREAM);
    assert_grey(camera.frame(Duration::from_secs(6)), 40);
    assert_eq!(kill(hangs, None), Err(nix::Error::ESRCH), "it is gone");
}

#[test]
fn a_child_that_never_writes_is_killed_at_the_deadline() {
    // With a child of its own that has the pipes, too.
    let (program, mut camera) = running("sleep 1000 & wait");
    assert_error(camera.frame(SHORT), CameraTimedOut, &["wait for a frame"]);
    assert_eq!(kill(program.pid(), None), Err(nix::Error::ESRCH));
    program.does(STREAM);
    assert_grey(camera.frame(DEADLINE), 40);
}

#[test]
fn half_a_picture_is_passed_over() {
    let (_program, mut camera) =
        running("half=$(($(wc -c < dark) / 2)); while :; do head -c $half dark; printf noise; frame bright; done");
    for _ in 0..3 {
        assert_grey(camera.frame(DEADLINE), 200);
    }
    // A child that dies in the middle of one leaves no picture, but a second try.
    let (program, mut camera) = running("head -c 9000 dark; exit 1");
    assert_error(camera.frame(DEADLINE), CameraFailed, &["ended"]);
    assert_eq!(program.starts().len(), 2);
}

#[test]
fn a_child_that_writes_no_pictures_is_given_up() {
    let (program, mut camera) = running("exec cat /dev/zero");
    assert_error(camera.frame(DEADLINE), CameraFailed, &["no JPEGs"]);
    assert_eq!(kill(program.pid(), None), Err(nix::Error::ESRCH));
    // A picture without end is no better.
    let program = FakeProgram::new("head -c 9000 dark; exec tr '\\0' x < /dev/zero");
    let mut camera = program.camera(|settings| settings.frame_bytes_max = 200_000);
    assert_error(camera.frame(DEADLINE), CameraFailed, &["camera.frame_bytes_max"]);
}

#[test]
fn what_it_says_is_kept_within_bounds_and_names_the_camera() {
    let program = FakeProgram::new(
        "i=0; while [ $i -lt 300 ]; do echo \"#$i (15.00 fps) exp 66\"; i=$((i+1)); done >&2
         echo '[0:01] INFO RPI vc4.cpp:447 Registered camera /base/soc/i2c0mux/i2c@1/imx219@10 to Unicam' >&2
         while :; do frame dark; done",
    );
    let mut camera = program.camera(|_| {});
    assert_eq!(camera.describe(), Vec::<String>::new());
    camera.frame(DEADLINE).unwrap();
    // Its words come by another pipe than its pictures.
    let until = Instant::now() + DEADLINE;
    let about = loop {
        let about = camera.describe().join("\n");
        if about.contains("imx219") || Instant::now() > until {
            break about;
        }
        std::thread::yield_now();
    };
    assert!(about.contains("imx219") && about.contains("1920x1080"), "{about}");
    assert!(!about.contains("fps"), "{about}");
}

#[test]
fn the_child_goes_with_the_camera() {
    let (program, mut camera) = running(STREAM);
    camera.frame(DEADLINE).unwrap();
    drop(camera);
    assert_eq!(kill(program.pid(), None), Err(nix::Error::ESRCH));
}
