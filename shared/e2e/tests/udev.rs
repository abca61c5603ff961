//! The udev rules, as a current systemd reads them.

use std::path::Path;
use std::process::{Command, Output};

use keepsake_provision::prefix::{Prefix, Source};
use keepsake_provision::skip::not_run;
use keepsake_provision::temp_dir::TempDir;

const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../udev/60-keepsake.rules");

/// Fetched, because `udevadm verify` came with systemd 254 and the system may be older.
fn verify(udev: &Prefix, rules: &Path) -> Output {
    let command = udev.command("usr/bin/udevadm");
    let mut command: Command = command.expect("udevadm is in the package udev");
    // The groups of this computer are not those of a camera.
    let output = command.args(["verify", "--resolve-names=never"]).arg(rules).output();
    output.expect("run udevadm")
}

#[test]
fn udevadm_accepts_the_rules_and_rejects_a_mistake() {
    let udev = match Prefix::fetch("udev", &["udev"], Source::Suite("trixie")) {
        Ok(udev) => udev,
        Err(why) => {
            let how = "run it where apt can fetch Debian's package udev";
            return not_run("the udev rules, read by udevadm verify", &why, how);
        }
    };
    let good = verify(&udev, Path::new(RULES));
    let output = String::from_utf8_lossy(&good.stdout).into_owned() + &String::from_utf8_lossy(&good.stderr);
    assert!(good.status.success(), "{output}");

    let folder = TempDir::new("udev");
    let mistaken = folder.join("60-mistaken.rules");
    let text = std::fs::read_to_string(RULES).unwrap();
    let text = text.replacen("MODE=\"0660\"", "MODUS=\"0660\"", 1);
    std::fs::write(&mistaken, text).unwrap();
    assert!(!verify(&udev, &mistaken).status.success());
}

#[test]
fn every_rule_has_a_comment_and_gives_access_to_a_group_only() {
    let text = std::fs::read_to_string(RULES).unwrap();
    let mut explained = false;
    let mut rules = 0;
    for line in text.lines() {
        match line.trim() {
            "" => explained = false,
            comment if comment.starts_with('#') => explained = true,
            rule => {
                assert!(explained, "{rule}");
                assert!(!rule.contains("666") && !rule.contains("o+"), "{rule}");
                rules += 1;
            }
        }
    }
    assert_eq!(rules, 5, "camera, chip, registers, LED, watchdog");
}
