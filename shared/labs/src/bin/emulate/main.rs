//! `cargo emulate`: the image in an emulated Raspberry Pi 3, with a cloud on this computer, and its plug pulled.
//!
//! Four starts of one card. The first one with nothing but the way to the cloud; the second one with the cloud away, so that
//! pictures are held; the third one with the cloud back, in the middle of sending them; and the last one, to count. Three
//! plugs are pulled between them, each in the middle of pictures. Witnesses are the card itself, whose file system is read
//! from outside after every plug, the cloud's database, and what the camera has confirmed to the cloud.
//!
//! Not shown, because QEMU has none of it: the Pi's own firmware, edges on its pins, Wi-Fi, the watchdog, a real camera.
//! Pictures are a drawn scene, asked for by `snap` or taken by themselves. The pins are real as far as the kernel's driver:
//! the lamp is read from the chip's register.

mod card;
mod clock;
mod machine;
mod raspios;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use card::{Card, Setting};
use clap::Parser;
use image_build::{host_tools, image_in, layout};
use keepsake_protocol::Hash;
use keepsake_provision::chroot::{self, Chroot, ForeignBinaries, Release};
use keepsake_provision::cross::{self, Arch};
use keepsake_provision::temp_dir::TempDir;
use keepsake_provision::workspace;
use keepsake_testkit::appliance::CaptureKey;
use keepsake_testkit::cloud::Cloud;
use keepsake_testkit::ledger::audit;
use machine::{Machine, Pi, WITHIN};
use serde_json::Value;

const DEVICE: &str = "emulated";
/// The pin of the lamp, as `camera.toml` has it.
const LAMP: u32 = 27;
/// Pictures held on the card before the second plug is pulled.
const HELD: usize = 3;

/// What is run, and the Debian package that has it. QEMU is not among them: it can be fetched without installing it.
const NEEDED: [(&str, &str); 9] = [
    ("dd", "coreutils"),
    ("zstd", "zstd"),
    ("mkfs.vfat", "dosfstools"),
    ("mke2fs", "e2fsprogs"),
    ("mcopy", "mtools"),
    ("e2fsck", "e2fsprogs"),
    ("debugfs", "e2fsprogs"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
];

/// Boot the SD card image in an emulated Raspberry Pi 3, take pictures, cut its power three times, and audit
#[derive(Parser)]
#[command(bin_name = "cargo emulate")]
struct Arguments {
    /// The camera's program for arm64, instead of building it; an existing image is used as it is
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Boot an image laid out as Raspberry Pi OS Lite instead, made of Debian's packages, with the camera added as
    /// `cargo image -- --base-image` does; needs root on Debian
    #[arg(long)]
    raspios: bool,
    /// Pictures in a burst
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(3..=40))]
    pictures: u8,
    /// Keep the card and the console output, and print where they are
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let folder = TempDir::new("emulate");
    let mut seen = Checks::default();
    let result = catch_unwind(AssertUnwindSafe(|| run(&arguments, &folder, &mut seen)));
    let result = result.unwrap_or_else(|_| Err(anyhow::anyhow!("a promise was broken, see above")));
    if let Err(error) = &result {
        eprintln!("{error:#}");
    }
    for what in &seen.broken {
        eprintln!("NOT SO: {what}");
    }
    let good = result.is_ok() && seen.broken.is_empty();
    if arguments.keep || !good {
        println!("its files stay in {}", folder.keep().display());
    }
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// What was looked at.
#[derive(Default)]
struct Checks {
    broken: Vec<String>,
    checks: u32,
}

impl Checks {
    /// A check that has failed does not end the run: the rest is of use to whoever has to find out why.
    fn check(&mut self, holds: bool, what: impl Into<String>) {
        let what = what.into();
        println!("  {} {what}", if holds { "ok    " } else { "NOT SO" });
        self.checks += 1;
        if !holds {
            self.broken.push(what);
        }
    }
}

fn run(arguments: &Arguments, folder: &Path, seen: &mut Checks) -> Result<()> {
    let missing = host_tools::missing(&NEEDED);
    ensure!(
        missing.is_empty(),
        "the image cannot be looked at yet: sudo apt-get install {}",
        missing.join(" ")
    );
    let (image, person) = if arguments.raspios {
        (raspios_image(arguments, folder)?, raspios::PERSON)
    } else {
        (card_image(arguments)?, "root")
    };
    let card = Card::new(&image, folder)?;
    let pi = Pi::new(&card, folder, person)?;
    println!("{}, {}", image.display(), pi.version()?);
    let mut cloud = Cloud::new(folder);
    cloud.start();
    let mut story = Scenario {
        way: format!("\"mqtt://10.0.2.2:{}\"", cloud.mqtt_port()),
        key: format!("\"{}\"", pi.public_key()?),
        burst: arguments.pictures.into(),
        on_card: BTreeMap::new(),
        lost: BTreeSet::new(),
        missing: 0,
        cloud,
        card,
        pi,
        seen,
    };
    if arguments.raspios {
        story.run_raspios()
    } else {
        story.run()
    }
}

/// Returns an image laid out as Raspberry Pi OS, with the camera added.
fn raspios_image(arguments: &Arguments, folder: &Path) -> Result<PathBuf> {
    chroot::ensure_available()?;
    let program = cross::appliance_for_pi(arguments.program.as_deref())?;
    let _emulation = ForeignBinaries::enable(Arch::Arm64)?;
    let system = Chroot::for_pi(Release::Debian13)?;
    raspios::build_image(&system.root, &program, folder)
}

/// Returns the last image, which is built if there is none.
fn card_image(arguments: &Arguments) -> Result<PathBuf> {
    let image = image_in(&workspace::target().join("image"));
    if image.is_file() {
        println!("using the existing image; cargo image builds a new one");
        return Ok(image);
    }
    let mut cargo = workspace::cargo();
    cargo.args([
        "run",
        "--quiet",
        "--package",
        "image-build",
        "--bin",
        "image",
        "--",
    ]);
    if let Some(program) = &arguments.program {
        cargo.arg("--program").arg(program);
    }
    let status = cargo.status().context("run cargo")?;
    ensure!(status.success(), "the image cannot be built, see above");
    Ok(image)
}

struct Scenario<'a> {
    cloud: Cloud,
    card: Card,
    pi: Pi,
    /// The cloud as the emulated Pi finds it, as TOML.
    way: String,
    /// The key of the person who may log in, as TOML.
    key: String,
    /// Pictures in a burst.
    burst: usize,
    /// Every picture that was ever found on the card.
    on_card: BTreeMap<CaptureKey, Vec<u8>>,
    /// Of those, the ones that a later look did not find.
    lost: BTreeSet<CaptureKey>,
    /// Numbers without a fate, as the cloud counts them at the end.
    missing: u64,
    seen: &'a mut Checks,
}

impl Scenario<'_> {
    fn run(&mut self) -> Result<()> {
        let fixed = self.card.fixed()?;
        println!("a bare start: the same kernel until its first program");
        let bare_s = self.pi.bare_start(&self.card)?;
        println!("  {bare_s:.0} CPU seconds of QEMU");

        let ready_s = self.first_start()?;
        let first_untouched = self.nothing_fixed_has_changed(&fixed)?;
        self.second_start_with_the_cloud_away()?;
        self.third_start_with_the_cloud_back()?;
        let again_s = self.last_start()?;
        let untouched = self.nothing_fixed_has_changed(&fixed)? && first_untouched;
        let grown = self.card.data()?.bytes;
        let found = self.count()?;
        println!(
            "from the plug to \"ready for a press\": {ready_s:.0} CPU seconds of QEMU at the first start and {again_s:.0} at the last, \
             the bare kernel {bare_s:.0}; 3 plugs pulled in the middle of pictures: {} numbered by the camera, {} stored, {} told, \
             {} lost, {} doubled, {} missing; room for pictures grown from {} to {} MiB; the system and the boot files {}; \
             {} checks, {} of them not so",
            found.stored + found.told,
            found.stored,
            found.told,
            self.lost.len(),
            found.conflicts,
            self.missing,
            layout::DATA.bytes >> 20,
            grown >> 20,
            if untouched { "as they were" } else { "CHANGED" },
            self.seen.checks,
            self.seen.broken.len(),
        );
        Ok(())
    }

    /// As the card comes from the computer it was written with, and the way to the cloud.
    fn first_start(&mut self) -> Result<f64> {
        println!("first start: with a name, and the way to the cloud");
        self.save_settings(&[])?;
        let mut machine = self.pi.start(&self.card, "first")?;
        machine.wait_until_ready()?;
        let ready_s = self.say_ready(&machine)?;
        self.is_online(&mut machine)?;

        self.take_pictures(&mut machine, 5)?;
        let status = self.status_saying(&mut machine, "Cloud: connected")?;
        self.seen.check(
            status.contains("camera.toml was read, and everything in it is understood."),
            "CAMERA-STATUS.txt: the settings were understood",
        );
        self.seen.check(
            status.contains("The room for pictures has grown to the end of the card"),
            "CAMERA-STATUS.txt: the room for pictures has grown",
        );
        self.seen.check(
            status.contains("Network: by cable, address 10.0.2.15."),
            "CAMERA-STATUS.txt: by cable, with its address",
        );
        self.seen.check(
            status.contains("Camera: ready for a press. Cloud: connected."),
            "CAMERA-STATUS.txt: ready, and the cloud is reached",
        );
        self.seen.check(
            status.contains("Time not known"),
            "CAMERA-STATUS.txt: no time is made up where no server of time is reached",
        );
        self.seen.check(
            !machine.has_ssh()?,
            "SSH is off, because nobody has asked for it",
        );
        let grown = self.card.data()?;
        self.seen.check(
            grown.start_bytes + grown.bytes > card::BYTES - (16 << 20),
            format!(
                "the data partition has grown to the end of the card: {} MiB",
                grown.bytes >> 20
            ),
        );
        self.pull_in_the_middle_of_a_burst(machine, Self::pull)?;
        Ok(ready_s)
    }

    fn second_start_with_the_cloud_away(&mut self) -> Result<()> {
        println!(
            "second start: the cloud is away, and camera.toml asks for a picture every 2 seconds, for SSH, and for another name"
        );
        self.cloud.kill();
        let key = self.key.clone();
        self.save_settings(&[
            ("", "interval_s", "2"),
            ("system", "ssh_key", &key),
            ("system", "hostname", "\"porch-cam\""),
        ])?;
        let before = self.on_card.len();
        let mut machine = self.pi.start(&self.card, "second")?;
        machine.wait_until_ready()?;
        self.say_ready(&machine)?;
        let status = self.status_saying(&mut machine, "Cloud: not connected")?;
        self.seen.check(
            status.contains("pictures are kept"),
            "CAMERA-STATUS.txt: the cloud is not reached, and pictures are kept",
        );
        self.seen.check(
            status.matches("Camera: ").count() == 2,
            "CAMERA-STATUS.txt: the start before stands there as well",
        );
        machine.wait_for("a greeting by SSH", |machine| {
            Ok(machine.has_ssh()?.then_some(()))
        })?;
        self.look_inside(&machine)?;
        let card = &self.card;
        machine.wait_for("pictures that are nowhere but on the card", |machine| {
            std::thread::sleep(Duration::from_secs(3));
            let pictures = machine.while_paused(|| card.pictures())?;
            Ok((pictures.len() >= before + HELD).then_some(()))
        })?;
        self.pull(machine)
    }

    fn third_start_with_the_cloud_back(&mut self) -> Result<()> {
        println!("third start: the cloud is back");
        self.cloud.start();
        let key = self.key.clone();
        self.save_settings(&[("system", "ssh_key", &key)])?;
        let mut machine = self.pi.start(&self.card, "third")?;
        machine.wait_until_ready()?;
        self.say_ready(&machine)?;
        self.is_online(&mut machine)?;
        self.pull_in_the_middle_of_a_burst(machine, Self::pull)
    }

    fn last_start(&mut self) -> Result<f64> {
        let time = clock::serve();
        println!("last start: everything is brought home, and counted");
        let key = self.key.clone();
        self.save_settings(&[
            ("system", "ssh_key", &key),
            ("system", "time_server", "\"10.0.2.2\""),
            ("light", "ready_brightness_percent", "100"),
        ])?;
        let mut machine = self.pi.start(&self.card, "last")?;
        machine.wait_until_ready()?;
        let ready_s = self.say_ready(&machine)?;
        self.is_online(&mut machine)?;
        self.take_pictures(&mut machine, 3)?;
        self.everything_is_home(&mut machine)?;
        let cloud = &self.cloud;
        machine.wait_for("the light to say that all is stored", |_| {
            let device = cloud.api().device(DEVICE);
            Ok(device.filter(|device| device["light"]["pattern"] == "ready"))
        })?;
        let lit = (0..10)
            .map(|_| {
                std::thread::sleep(Duration::from_millis(200));
                machine.pin(LAMP)
            })
            .collect::<Result<Vec<_>>>()?;
        self.seen.check(
            lit.iter().all(|lit| *lit),
            "the lamp is lit steadily, by the register of the chip",
        );
        self.look_at_the_time(&mut machine, time)?;

        machine.ssh("systemctl start keepsake-journal-tail.service")?;
        machine.ssh("systemctl poweroff --no-block")?;
        machine.wait_for_power_off()?;
        let pictures = self.card.pictures()?;
        self.on_card.extend(pictures);
        let logs = std::fs::read_dir(self.card.data_folder("card/log"))?.count();
        self.seen.check(
            (1..=5).contains(&logs),
            format!("the end of the log lies on the data partition: {logs} file(s)"),
        );
        Ok(ready_s)
    }

    /// Waits until the camera holds nothing any more, and checks what the cloud says of it; returns that.
    fn everything_is_home(&mut self, machine: &mut Machine) -> Result<Value> {
        let cloud = &self.cloud;
        let device = machine.wait_for("every picture in the cloud", |_| {
            let device = cloud.api().device(DEVICE);
            Ok(device.filter(|device| device["held"] == 0 && device["waiting"] == 0))
        })?;
        self.missing = device["missing"].as_u64().context("a number")?;
        self.seen.check(
            self.missing == 0
                && device["conflicts"] == 0
                && device["pressed"].as_u64()
                    == sum(&device, &["stored", "told", "deleted", "held", "missing"]),
            format!(
                "the cloud says: {} pressed, {} stored, {} told, {} held, {} missing",
                device["pressed"], device["stored"], device["told"], device["held"], self.missing
            ),
        );
        Ok(device)
    }

    /// `camera.toml` with these settings besides those of every start.
    fn save_settings(&self, settings: &[Setting<'_>]) -> Result<()> {
        let device = format!("\"{DEVICE}\"");
        let always: [Setting<'_>; 4] = [
            ("", "device", &device),
            ("cloud", "url", &self.way),
            ("camera", "kind", "\"simulated\""),
            // Nobody who knows the time is there.
            ("system", "time_server", "\"127.0.0.1\""),
        ];
        self.card.set(&[&always[..], settings].concat())
    }

    fn say_ready(&self, machine: &Machine) -> Result<f64> {
        let cpu_s = machine.cpu_s()?;
        println!(
            "  ready for a press after {cpu_s:.0} CPU seconds of QEMU, {} s by the clock",
            machine.uptime().as_secs()
        );
        Ok(cpu_s)
    }

    fn is_online(&self, machine: &mut Machine) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let began_us = u64::try_from((now - machine.uptime()).as_micros())?;
        machine.wait_for("the camera in the cloud", |_| {
            // Of a camera whose plug was pulled the cloud may still believe that it is there.
            Ok(self.cloud.api().device(DEVICE).filter(|device| {
                device["presence"] == "online"
                    && device["last_seen_us"]
                        .as_u64()
                        .is_some_and(|at| at > began_us)
            }))
        })?;
        println!(
            "  in the cloud after {:.0} CPU seconds of QEMU",
            machine.cpu_s()?
        );
        Ok(())
    }

    /// Asks for pictures, and looks at each of them as it is stored.
    fn take_pictures(&mut self, machine: &mut Machine, count: usize) -> Result<()> {
        let api = self.cloud.api();
        let asked = self.ask_for(count);
        let stored = machine.wait_for(&format!("{count} pictures in the cloud"), |_| {
            let pictures = self.pictures_of(&asked);
            Ok((pictures.len() >= count).then_some(pictures))
        })?;
        let right = stored.iter().filter(|picture| {
            let hash = Hash::of(&api.image(picture["id"].as_str().expect("an id")));
            picture["hash"] == hash.to_string()
        });
        let right = right.count();
        self.seen.check(
            right == count && stored.len() == count,
            format!("{count} pictures asked for, {right} stored with the right hash"),
        );
        Ok(())
    }

    /// Asks for so many pictures; returns the commands.
    fn ask_for(&self, count: usize) -> BTreeSet<String> {
        let api = self.cloud.api();
        (0..count).map(|_| id(&api.snap(DEVICE))).collect()
    }

    /// Those of these commands that are in the cloud. Others may be on their way beside them.
    fn pictures_of(&self, asked: &BTreeSet<String>) -> Vec<Value> {
        let mut pictures = self.cloud.api().pictures(DEVICE);
        pictures.retain(|picture| {
            picture["command"]
                .as_str()
                .is_some_and(|command| asked.contains(command))
        });
        pictures
    }

    /// Asks for a burst, and pulls the plug when some of it is in the cloud and some is not.
    fn pull_in_the_middle_of_a_burst(
        &mut self,
        mut machine: Machine,
        pull: impl FnOnce(&mut Self, Machine) -> Result<()>,
    ) -> Result<()> {
        let asked = self.ask_for(self.burst);
        let some = self.burst / 3;
        machine.wait_for("the first pictures of a burst", |_| {
            Ok((self.pictures_of(&asked).len() >= some).then_some(()))
        })?;
        pull(self, machine)?;
        let came = self.pictures_of(&asked).len();
        self.seen.check(
            came >= some && came < asked.len(),
            format!("it was in the middle: {came} of {} had come", asked.len()),
        );
        Ok(())
    }

    /// kill -9, and a look at the card.
    fn pull(&mut self, machine: Machine) -> Result<()> {
        machine.cut_power();
        let pictures = self.card.pictures()?;
        let whole = pictures.len();
        let store = self.cloud.store();
        let mut stored = BTreeSet::new();
        store.for_each_picture(|picture| {
            stored.insert((picture.install, picture.sequence));
        })?;
        let held = pictures
            .keys()
            .filter(|named| !stored.contains(&(named.install, named.sequence)))
            .count();
        let gone = self
            .on_card
            .keys()
            .filter(|named| !pictures.contains_key(named));
        let gone: Vec<CaptureKey> = gone.copied().collect();
        let lost = gone.len();
        self.lost.extend(gone);
        self.on_card.extend(pictures);
        println!(
            "  plug pulled: {whole} whole pictures on the card, {held} of them not in the cloud yet"
        );
        self.seen.check(
            lost == 0,
            "every picture that was on the card before is there",
        );
        Ok(())
    }

    fn nothing_fixed_has_changed(&mut self, before: &BTreeMap<String, String>) -> Result<bool> {
        let now = self.card.fixed()?;
        let changed: Vec<&String> = before
            .keys()
            .chain(now.keys())
            .filter(|name| before.get(*name) != now.get(*name))
            .collect();
        self.seen.check(
            changed.is_empty(),
            if changed.is_empty() {
                format!(
                    "both system slots and {} boot files are what they were",
                    now.len() - 2
                )
            } else {
                format!("what no start may change has changed: {changed:?}")
            },
        );
        Ok(changed.is_empty())
    }

    /// Waits until `CAMERA-STATUS.txt` says so; returns all of it.
    fn status_saying(&self, machine: &mut Machine, words: &str) -> Result<String> {
        let status = machine.wait_for(&format!("\"{words}\" in CAMERA-STATUS.txt"), |_| {
            // While it is written, mtools may find half of it.
            let text = self.card.text("CAMERA-STATUS.txt").unwrap_or_default();
            Ok(newest(&text).contains(words).then_some(text))
        })?;
        for line in newest(&status).lines() {
            println!("  | {}", line.trim_end());
        }
        Ok(status)
    }

    /// What only a look from inside shows.
    fn look_inside(&mut self, machine: &Machine) -> Result<()> {
        for (what, command, expected) in [
            (
                "its name is that of camera.toml",
                "cat /proc/sys/kernel/hostname",
                "porch-cam",
            ),
            (
                "what is written to the system goes to memory",
                "findmnt --noheadings --output FSTYPE /",
                "overlay",
            ),
            (
                "nobody has a password",
                r"grep --invert-match --count '^[^:]*:!\?\*:' /etc/shadow; true",
                "0",
            ),
            (
                "no unit has failed",
                "systemctl --failed --no-legend --plain",
                "",
            ),
            (
                "the radio may know its country",
                "dmesg | grep -c 'failed to load regulatory.db'; true",
                "0",
            ),
            (
                "its name is known on the network (mDNS)",
                "resolvectl query --legend=no porch-cam.local | grep -o '^porch-cam.local'",
                "porch-cam.local",
            ),
        ] {
            self.says(machine, what, command, expected);
        }
        Ok(())
    }

    /// Asks the Pi, and checks what it says.
    fn says(&mut self, machine: &Machine, what: &str, command: &str, expected: &str) {
        let said = machine
            .ssh(command)
            .unwrap_or_else(|error| format!("{error:#}"));
        self.seen.check(
            said == expected,
            if said == expected {
                what.to_owned()
            } else {
                format!("{what}; `{command}` says {said:?}")
            },
        );
    }

    fn look_at_the_time(&mut self, machine: &mut Machine, time: std::io::Result<()>) -> Result<()> {
        let pictures = self.cloud.api().pictures(DEVICE);
        let boot = |picture: &Value| picture["pressed"]["boot"].clone();
        let state = |picture: &Value| picture["taken"]["state"].clone();
        let this = boot(pictures.last().context("there are pictures")?);
        let earlier = || pictures.iter().filter(|picture| boot(picture) != this);
        let guessed = earlier().filter(|picture| state(picture) == "guessed");
        let (guessed, earlier) = (guessed.count(), earlier().count());
        self.seen.check(
            guessed == earlier && earlier > 0,
            format!(
                "{guessed} of {earlier} pictures of the starts without a server of time are told as guessed"
            ),
        );
        if let Err(error) = time {
            println!(
                "  NOT RUN: the time from the network: port 123 of this computer cannot be had ({error}); be root, with \
                 no server of time on it"
            );
            return Ok(());
        }
        machine.wait_for("the time from the network", |machine| {
            let said = machine.ssh("timedatectl show --property=NTPSynchronized --value")?;
            Ok((said == "yes").then_some(()))
        })?;
        self.take_pictures(machine, 1)?;
        let pictures = self.cloud.api().pictures(DEVICE);
        let last = pictures.last().context("there are pictures")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let taken = Duration::from_micros(last["taken"]["best_us"].as_u64().unwrap_or_default());
        self.seen.check(
            state(last) == "synchronised" && now.abs_diff(taken) < WITHIN,
            format!("a picture taken then is {}, and of today", state(last)),
        );
        let card = &self.card;
        let status = machine.wait_for("the time in CAMERA-STATUS.txt", |_| {
            let text = card.text("CAMERA-STATUS.txt").unwrap_or_default();
            Ok(newest(&text).starts_with("20").then_some(text))
        })?;
        println!("  | {}", newest(&status).lines().next().unwrap_or_default());
        Ok(())
    }

    /// Everything against everything.
    fn count(&mut self) -> Result<keepsake_testkit::ledger::Audit> {
        let confirmed: Vec<CaptureKey> = self.on_card.keys().copied().collect();
        let photos: Vec<Vec<u8>> = self.on_card.values().cloned().collect();
        let found = audit(&self.cloud.store(), &confirmed, &photos);
        self.seen.check(
            found.conflicts == 0 && found.stored == confirmed.len() as u64,
            format!(
                "{} pictures on the card, {} in the database, each once and with its bytes",
                confirmed.len(),
                found.stored
            ),
        );
        // What the camera has numbered for a command, it has saved before.
        let commands = self
            .cloud
            .api()
            .json(&format!("/api/v1/devices/{DEVICE}/commands"));
        let commands = commands["commands"].as_array().context("a list")?;
        let named: BTreeSet<(String, u64)> = confirmed
            .iter()
            .map(|named| (named.install.to_string(), named.sequence))
            .collect();
        let numbered: Vec<&Value> = commands
            .iter()
            .map(|command| &command["capture"])
            .filter(|capture| capture.is_object())
            .collect();
        let there = numbered.iter().filter(|capture| {
            let install = capture["install"].as_str().unwrap_or_default();
            let sequence = capture["sequence"].as_u64().unwrap_or_default();
            named.contains(&(install.to_owned(), sequence))
        });
        let there = there.count();
        self.seen.check(
            there == numbered.len() && !numbered.is_empty(),
            format!(
                "of {} commands the camera has confirmed {} as pictures, and {there} are stored",
                commands.len(),
                numbered.len()
            ),
        );
        self.cloud.stop();
        Ok(found)
    }
}

/// The part of `CAMERA-STATUS.txt` about the present start.
fn newest(status: &str) -> &str {
    status.split("\r\n\r\n").nth(1).unwrap_or_default()
}

fn id(command: &Value) -> String {
    command["id"]
        .as_str()
        .expect("a command has an id")
        .to_owned()
}

fn sum(device: &Value, names: &[&str]) -> Option<u64> {
    names.iter().map(|name| device[*name].as_u64()).sum()
}
