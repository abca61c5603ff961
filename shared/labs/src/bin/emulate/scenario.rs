//! The scenario on one card: boots, power cuts, and the count at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use image_build::layout;
use keepsake_protocol::Hash;
use keepsake_testkit::appliance::CaptureKey;
use keepsake_testkit::cloud::Cloud;
use keepsake_testkit::ledger::{Audit, audit};
use serde_json::Value;

use crate::card::{self, Card, Setting};
use crate::checks::Checks;
use crate::clock;
use crate::machine::{Machine, Pi, WITHIN};

pub(crate) const DEVICE: &str = "emulated";
/// The pin of the LED in `camera.toml`.
const LED_PIN: u32 = 27;
/// The pictures on the card before the second power cut.
const HELD: usize = 3;

/// The card, the Pi and the cloud, and the pictures seen so far.
pub(crate) struct Scenario<'a> {
    pub(crate) cloud: Cloud,
    pub(crate) card: Card,
    pub(crate) pi: Pi,
    /// The address of the cloud for the emulated Pi, as TOML.
    pub(crate) cloud_url: String,
    /// The key of the user who may log in, as TOML.
    pub(crate) key: String,
    /// Pictures in a burst.
    pub(crate) burst: usize,
    /// Every picture ever found on the card.
    pub(crate) on_card: BTreeMap<CaptureKey, Vec<u8>>,
    /// The pictures that a later look did not find.
    pub(crate) lost: BTreeSet<CaptureKey>,
    /// The numbers without a fate in the cloud's final count.
    pub(crate) missing: u64,
    pub(crate) checks: &'a mut Checks,
}

impl Scenario<'_> {
    pub(crate) fn run(&mut self) -> Result<()> {
        let fixed = self.card.fixed()?;
        println!("a bare boot: the same kernel until its first program");
        let bare_s = self.pi.bare_start(&self.card)?;
        println!("  {bare_s:.0} CPU seconds of QEMU");

        let ready_s = self.first_boot()?;
        let first_untouched = self.check_unchanged(&fixed)?;
        self.second_boot_without_cloud()?;
        self.third_boot_with_cloud()?;
        let again_s = self.last_boot()?;
        let untouched = self.check_unchanged(&fixed)? && first_untouched;
        let grown = self.card.data()?.bytes;
        let found = self.count()?;
        println!(
            "from power-on to ready for a press: {ready_s:.0} CPU seconds of QEMU at the first boot and {again_s:.0} at the last, \
             the bare kernel {bare_s:.0}; 3 power cuts while pictures were taken: {} numbered by the camera, {} stored, \
             {} tombstones, {} lost, {} doubled, {} missing; the data partition has grown from {} to {} MiB; the system and \
             the boot files are {}; {} checks, {} failed",
            found.stored + found.tombstones,
            found.stored,
            found.tombstones,
            self.lost.len(),
            found.conflicts,
            self.missing,
            layout::DATA.bytes >> 20,
            grown >> 20,
            if untouched { "unchanged" } else { "CHANGED" },
            self.checks.count,
            self.checks.failed.len(),
        );
        Ok(())
    }

    /// Boots the card as it was written, with only the cloud's address set.
    fn first_boot(&mut self) -> Result<f64> {
        println!("first boot: with a name and the address of the cloud");
        self.save_settings(&[])?;
        let (mut machine, ready_s) = self.boot("first")?;
        self.wait_until_online(&mut machine)?;

        self.take_pictures(&mut machine, 5)?;
        let status = self.wait_for_status(&mut machine, "Cloud: connected")?;
        for (text, what) in [
            ("camera.toml was read, and it has no mistakes.", "the settings were understood"),
            (
                "The space for pictures was extended to the whole card",
                "the space for pictures was extended",
            ),
            ("Network: by cable, address 10.0.2.15.", "wired, with its address"),
            ("Camera: ready for a press. Cloud: connected.", "ready, and the cloud is connected"),
            ("Time unknown", "without a time server the time is unknown"),
        ] {
            self.checks.check(status.contains(text), format!("CAMERA-STATUS.txt: {what}"));
        }
        self.checks.check(!machine.has_ssh()?, "SSH is off by default");
        let grown = self.card.data()?;
        self.checks.check(
            grown.start_bytes + grown.bytes > card::BYTES - (16 << 20),
            format!("the data partition has grown to the end of the card: {} MiB", grown.bytes >> 20),
        );
        self.cut_power_during_burst(machine, Self::cut_power_and_check_card)?;
        Ok(ready_s)
    }

    fn second_boot_without_cloud(&mut self) -> Result<()> {
        println!(
            "second boot: the cloud is down, and camera.toml sets a picture every 2 seconds, SSH, and another host name"
        );
        self.cloud.kill();
        self.save_settings(&[
            ("", "capture_interval_s", "2"),
            ("system", "ssh_key", &self.key),
            ("system", "hostname", "\"porch-cam\""),
        ])?;
        let before = self.on_card.len();
        let (mut machine, _) = self.boot("second")?;
        let status = self.wait_for_status(&mut machine, "Cloud: not connected")?;
        self.checks.check(
            status.contains("pictures are kept"),
            "CAMERA-STATUS.txt: the cloud is not connected, and pictures are kept",
        );
        self.checks.check(
            status.matches("Camera: ").count() == 2,
            "CAMERA-STATUS.txt: the previous boot is there as well",
        );
        machine.wait_for("a greeting by SSH", |machine| Ok(machine.has_ssh()?.then_some(())))?;
        self.check_inside(&machine)?;
        let card = &self.card;
        machine.wait_for("pictures that are nowhere but on the card", |machine| {
            std::thread::sleep(Duration::from_secs(3));
            let pictures = machine.while_paused(|| card.pictures())?;
            Ok((pictures.len() >= before + HELD).then_some(()))
        })?;
        self.cut_power_and_check_card(machine)
    }

    fn third_boot_with_cloud(&mut self) -> Result<()> {
        println!("third boot: the cloud is back");
        self.cloud.start();
        self.save_settings(&[("system", "ssh_key", &self.key)])?;
        let (mut machine, _) = self.boot("third")?;
        self.wait_until_online(&mut machine)?;
        self.cut_power_during_burst(machine, Self::cut_power_and_check_card)
    }

    fn last_boot(&mut self) -> Result<f64> {
        let time = clock::serve();
        println!("last boot: everything is uploaded and counted");
        self.save_settings(&[
            ("system", "ssh_key", &self.key),
            ("system", "time_server", "\"10.0.2.2\""),
            ("light", "ready_brightness_percent", "100"),
        ])?;
        let (mut machine, ready_s) = self.boot("last")?;
        self.wait_until_online(&mut machine)?;
        self.take_pictures(&mut machine, 3)?;
        self.wait_until_uploaded(&mut machine)?;
        let cloud = &self.cloud;
        machine.wait_for("the light to say that all is stored", |_| {
            let device = cloud.api().device(DEVICE);
            Ok(device.filter(|device| device["light"]["pattern"] == "ready"))
        })?;
        let lit = (0..10)
            .map(|_| {
                std::thread::sleep(Duration::from_millis(200));
                machine.pin(LED_PIN)
            })
            .collect::<Result<Vec<_>>>()?;
        self.checks
            .check(lit.iter().all(|lit| *lit), "the LED is lit steadily, by the register of the chip");
        self.check_time(&mut machine, time)?;

        machine.ssh("systemctl start keepsake-journal-tail.service")?;
        machine.ssh("systemctl poweroff --no-block")?;
        machine.wait_for_power_off()?;
        let pictures = self.card.pictures()?;
        self.on_card.extend(pictures);
        let logs = std::fs::read_dir(self.card.data_folder("card/log"))?.count();
        self.checks.check(
            (1..=5).contains(&logs),
            format!("the end of the log is on the data partition: {logs} file(s)"),
        );
        Ok(ready_s)
    }

    /// Waits until the camera has uploaded everything, checks the cloud's counters, and returns them.
    pub(crate) fn wait_until_uploaded(&mut self, machine: &mut Machine) -> Result<Value> {
        let cloud = &self.cloud;
        let device = machine.wait_for("every picture in the cloud", |_| {
            let device = cloud.api().device(DEVICE);
            Ok(device.filter(|device| device["held"] == 0 && device["waiting"] == 0))
        })?;
        self.missing = device["missing"].as_u64().context("a number")?;
        self.checks.check(
            self.missing == 0
                && device["conflicts"] == 0
                && device["pressed"].as_u64() == sum(&device, &["stored", "failed", "deleted", "held", "missing"]),
            format!(
                "the cloud counts {} pressed, {} stored, {} tombstones, {} held, {} missing",
                device["pressed"], device["stored"], device["failed"], device["held"], self.missing
            ),
        );
        Ok(device)
    }

    /// Saves `camera.toml` with these settings besides those of every boot.
    fn save_settings(&self, settings: &[Setting<'_>]) -> Result<()> {
        let device = format!("\"{DEVICE}\"");
        let always: [Setting<'_>; 4] = [
            ("", "device", &device),
            ("cloud", "url", &self.cloud_url),
            ("camera", "kind", "\"simulated\""),
            // No time server is there.
            ("system", "time_server", "\"127.0.0.1\""),
        ];
        self.card.set(&[&always[..], settings].concat())
    }

    /// Powers the Pi on, and waits until the camera is ready for a press; returns the CPU seconds of QEMU as well.
    pub(crate) fn boot(&self, name: &str) -> Result<(Machine, f64)> {
        let mut machine = self.pi.start(&self.card, name)?;
        machine.wait_until_ready()?;
        let (cpu_s, uptime_s) = (machine.cpu_s()?, machine.uptime().as_secs());
        println!("  ready for a press after {cpu_s:.0} CPU seconds of QEMU, {uptime_s} s by the clock");
        Ok((machine, cpu_s))
    }

    pub(crate) fn wait_until_online(&self, machine: &mut Machine) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let began_us = u64::try_from((now - machine.uptime()).as_micros())?;
        machine.wait_for("the camera in the cloud", |_| {
            // The cloud may still consider a camera online whose power was cut.
            Ok(self.cloud.api().device(DEVICE).filter(|device| {
                device["presence"] == "online" && device["last_seen_us"].as_u64().is_some_and(|at| at > began_us)
            }))
        })?;
        println!("  in the cloud after {:.0} CPU seconds of QEMU", machine.cpu_s()?);
        Ok(())
    }

    /// Takes pictures by command, and checks each stored one.
    pub(crate) fn take_pictures(&mut self, machine: &mut Machine, count: usize) -> Result<()> {
        let api = self.cloud.api();
        let commands = self.send_snap_commands(count);
        let stored = machine.wait_for(&format!("{count} pictures in the cloud"), |_| {
            let pictures = self.pictures_of(&commands);
            Ok((pictures.len() >= count).then_some(pictures))
        })?;
        let right = stored.iter().filter(|picture| {
            let hash = Hash::of(&api.image(picture["id"].as_str().expect("an id")));
            picture["hash"] == hash.to_string()
        });
        let right = right.count();
        self.checks.check(
            right == count && stored.len() == count,
            format!("{count} pictures requested, {right} stored with the right hash"),
        );
        Ok(())
    }

    /// Sends `count` commands to take a picture; returns the commands.
    fn send_snap_commands(&self, count: usize) -> BTreeSet<String> {
        let api = self.cloud.api();
        (0..count).map(|_| id(&api.snap(DEVICE))).collect()
    }

    /// Returns the pictures in the cloud that belong to these commands.
    fn pictures_of(&self, commands: &BTreeSet<String>) -> Vec<Value> {
        let mut pictures = self.cloud.api().pictures(DEVICE);
        pictures.retain(|picture| picture["command"].as_str().is_some_and(|command| commands.contains(command)));
        pictures
    }

    /// Starts a burst, and cuts the power when only a part of it is in the cloud.
    pub(crate) fn cut_power_during_burst(
        &mut self,
        mut machine: Machine,
        pull: impl FnOnce(&mut Self, Machine) -> Result<()>,
    ) -> Result<()> {
        let commands = self.send_snap_commands(self.burst);
        let some = self.burst / 3;
        machine.wait_for("the first pictures of a burst", |_| {
            Ok((self.pictures_of(&commands).len() >= some).then_some(()))
        })?;
        pull(self, machine)?;
        let arrived = self.pictures_of(&commands).len();
        self.checks.check(
            arrived >= some && arrived < commands.len(),
            format!("the power was cut during the burst: {arrived} of {} had arrived", commands.len()),
        );
        Ok(())
    }

    /// Cuts the power and checks the card.
    fn cut_power_and_check_card(&mut self, machine: Machine) -> Result<()> {
        machine.cut_power();
        let pictures = self.card.pictures()?;
        let whole = pictures.len();
        let store = self.cloud.store();
        let mut stored = BTreeSet::new();
        store.for_each_picture(|picture| {
            stored.insert((picture.spool, picture.sequence));
        })?;
        let held = pictures.keys().filter(|named| !stored.contains(&(named.spool, named.sequence))).count();
        let gone = self.on_card.keys().filter(|named| !pictures.contains_key(named));
        let gone: Vec<CaptureKey> = gone.copied().collect();
        let lost = gone.len();
        self.lost.extend(gone);
        self.on_card.extend(pictures);
        println!("  power cut: {whole} complete pictures on the card, {held} of them not in the cloud yet");
        self.checks.check(lost == 0, "every earlier picture on the card is still there");
        Ok(())
    }

    fn check_unchanged(&mut self, before: &BTreeMap<String, String>) -> Result<bool> {
        let now = self.card.fixed()?;
        let changed: Vec<&String> = before
            .keys()
            .chain(now.keys())
            .filter(|name| before.get(*name) != now.get(*name))
            .collect();
        self.checks.check(
            changed.is_empty(),
            if changed.is_empty() {
                format!("both system slots and {} boot files are unchanged", now.len() - 2)
            } else {
                format!("files that no boot may change have changed: {changed:?}")
            },
        );
        Ok(changed.is_empty())
    }

    /// Waits until `CAMERA-STATUS.txt` contains a text; returns the file.
    fn wait_for_status(&self, machine: &mut Machine, words: &str) -> Result<String> {
        let status = machine.wait_for(&format!("\"{words}\" in CAMERA-STATUS.txt"), |_| {
            // mtools may see a half-written file.
            let text = self.card.text("CAMERA-STATUS.txt").unwrap_or_default();
            Ok(current_boot(&text).contains(words).then_some(text))
        })?;
        for line in current_boot(&status).lines() {
            println!("  | {}", line.trim_end());
        }
        Ok(status)
    }

    /// Checks that need a login.
    fn check_inside(&mut self, machine: &Machine) -> Result<()> {
        for (what, command, expected) in [
            ("its host name is that of camera.toml", "cat /proc/sys/kernel/hostname", "porch-cam"),
            (
                "changes to the system stay in memory",
                "findmnt --noheadings --output FSTYPE /",
                "overlay",
            ),
            (
                "no account has a password",
                r"grep --invert-match --count '^[^:]*:!\?\*:' /etc/shadow; true",
                "0",
            ),
            ("no unit has failed", "systemctl --failed --no-legend --plain", ""),
            (
                "the Wi-Fi regulatory database is loaded",
                "dmesg | grep -c 'failed to load regulatory.db'; true",
                "0",
            ),
            (
                "its name is known on the network (mDNS)",
                "resolvectl query --legend=no porch-cam.local | grep -o '^porch-cam.local'",
                "porch-cam.local",
            ),
        ] {
            self.check_output(machine, what, command, expected);
        }
        Ok(())
    }

    /// Runs a command on the Pi and checks its output.
    pub(crate) fn check_output(&mut self, machine: &Machine, what: &str, command: &str, expected: &str) {
        let output = machine.ssh(command).unwrap_or_else(|error| format!("{error:#}"));
        self.checks.check(
            output == expected,
            if output == expected {
                what.to_owned()
            } else {
                format!("{what}; `{command}` prints {output:?}")
            },
        );
    }

    fn check_time(&mut self, machine: &mut Machine, time: std::io::Result<()>) -> Result<()> {
        let pictures = self.cloud.api().pictures(DEVICE);
        let boot = |picture: &Value| picture["pressed"]["boot"].clone();
        let state = |picture: &Value| picture["taken"]["state"].clone();
        let this = boot(pictures.last().context("there are pictures")?);
        let earlier = || pictures.iter().filter(|picture| boot(picture) != this);
        let estimated = earlier().filter(|picture| state(picture) == "estimated");
        let (estimated, earlier) = (estimated.count(), earlier().count());
        self.checks.check(
            estimated == earlier && earlier > 0,
            format!("{estimated} of {earlier} pictures of boots without a time server are marked as estimated"),
        );
        if let Err(error) = time {
            println!(
                "  NOT RUN: the time from the network: port 123 of this computer cannot be opened ({error}); run it as root, \
                 without another NTP server"
            );
            return Ok(());
        }
        machine.wait_for("the time from the network", |machine| {
            let output = machine.ssh("timedatectl show --property=NTPSynchronized --value")?;
            Ok((output == "yes").then_some(()))
        })?;
        self.take_pictures(machine, 1)?;
        let pictures = self.cloud.api().pictures(DEVICE);
        let last = pictures.last().context("there are pictures")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let taken = Duration::from_micros(last["taken"]["best_us"].as_u64().unwrap_or_default());
        self.checks.check(
            state(last) == "synchronised" && now.abs_diff(taken) < WITHIN,
            format!("a picture taken after that is {}, and dated today", state(last)),
        );
        let card = &self.card;
        let status = machine.wait_for("the time in CAMERA-STATUS.txt", |_| {
            let text = card.text("CAMERA-STATUS.txt").unwrap_or_default();
            Ok(current_boot(&text).starts_with("20").then_some(text))
        })?;
        println!("  | {}", current_boot(&status).lines().next().unwrap_or_default());
        Ok(())
    }

    /// Compares the card, the database and the commands.
    fn count(&mut self) -> Result<Audit> {
        let confirmed: Vec<CaptureKey> = self.on_card.keys().copied().collect();
        let photos: Vec<Vec<u8>> = self.on_card.values().cloned().collect();
        let found = audit(&self.cloud.store(), &confirmed, &photos);
        self.checks.check(
            found.conflicts == 0 && found.stored == confirmed.len() as u64,
            format!(
                "{} pictures on the card, {} in the database, each once and with its bytes",
                confirmed.len(),
                found.stored
            ),
        );
        // The camera has saved a picture before it numbers it for a command.
        let (commands, numbered) = self.confirmed_commands()?;
        let named: BTreeSet<(String, u64)> =
            confirmed.iter().map(|named| (named.spool.to_string(), named.sequence)).collect();
        let there = numbered.iter().map(|command| &command["capture"]).filter(|capture| {
            let spool = capture["spool"].as_str().unwrap_or_default();
            let sequence = capture["sequence"].as_u64().unwrap_or_default();
            named.contains(&(spool.to_owned(), sequence))
        });
        let there = there.count();
        self.checks.check(
            there == numbered.len() && !numbered.is_empty(),
            format!(
                "of {} commands the camera has confirmed {} with a picture, and {there} of those are stored",
                commands,
                numbered.len()
            ),
        );
        self.cloud.stop();
        Ok(found)
    }

    /// Returns the number of commands, and those that the camera has confirmed with a capture.
    pub(crate) fn confirmed_commands(&self) -> Result<(usize, Vec<Value>)> {
        let answer = self.cloud.api().json(&format!("/api/v1/devices/{DEVICE}/commands"));
        let commands = answer["commands"].as_array().context("a list")?;
        let confirmed = commands.iter().filter(|command| command["capture"].is_object());
        Ok((commands.len(), confirmed.cloned().collect()))
    }
}

/// Returns the part of `CAMERA-STATUS.txt` about the current boot.
fn current_boot(status: &str) -> &str {
    status.split("\r\n\r\n").nth(1).unwrap_or_default()
}

fn id(command: &Value) -> String {
    command["id"].as_str().expect("a command has an id").to_owned()
}

fn sum(device: &Value, names: &[&str]) -> Option<u64> {
    names.iter().map(|name| device[*name].as_u64()).sum()
}
