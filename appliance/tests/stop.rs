//! A clean stop finishes what was felt before it. Guards P1: a press whose light went on is never silently nothing.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[test]
fn presses_that_wait_for_the_camera_are_saved_before_a_clean_stop() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_appliance"))
        .args(["run", "--simulated", "--events", "--device", "stopped", "--cloud", "mqtt://127.0.0.1:9"])
        .args(["--set", "simulated.frame_ms=700", "--spool"])
        .arg(folder.path().join("spool"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"\n\n\n").unwrap();
    let mut lit = 0;
    let mut saved = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        saved += usize::from(line.contains(r#""event":"saved""#));
        if line.contains(r#""event":"pressed""#) {
            lit += 1;
            if lit == 3 {
                let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
                kill(pid, Signal::SIGTERM).unwrap();
            }
        }
    }
    assert!(child.wait().unwrap().success());
    assert_eq!((lit, saved), (3, 3));
}
