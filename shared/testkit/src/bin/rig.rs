//! `cargo rig`: the unmodified `appliance` in a machine with kernel drivers, pressed over GPIO edges, photographing through
//! V4L2, sending its pictures over a network to a cloud outside, and answering on a pin.
//!
//! Without QEMU or a kernel it says what it could not run, and why, and is no failure.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::Value;
use testkit::cloud::Cloud;
use testkit::folder::Folder;
use testkit::not_run::not_run;
use testkit::program::binary;
use testkit::rig::kernel::Kernel;
use testkit::rig::lamp::{Flash, Look, flashes, looks};
use testkit::rig::words::{Ask, Board, User};
use testkit::rig::{HOST, Machine, Qemu, SPOOL};

const BUTTON: u8 = 17;
const LAMP: u8 = 27;
/// Numbers of the user and the groups in the machine.
const KEEPSAKE: u32 = 990;
const GPIO: u32 = 991;
const VIDEO: u32 = 992;
/// As long as a finger stays on a button.
const HELD_MS: u64 = 120;
/// Presses of each way.
const PRESSES: usize = 20;
/// Presses closer together than that are one (button.min_gap_ms).
const GAP: Duration = Duration::from_millis(350);
/// A level that stays for so long has settled (button.debounce_ms), microseconds.
const STEADY_US: u64 = 30_000;
/// Of what a busy computer may spoil.
const TRIES: u32 = 10;
/// The bound for the program at rest, KiB.
const RSS_KIB_MAX: u64 = 32 << 10;
/// A picture from press to receipt, and all else that is waited for, on a busy computer.
const WITHIN: Duration = Duration::from_secs(30);

/// Runs the camera's program in a machine with kernel drivers, and counts what the cloud has.
#[derive(Parser)]
#[command(name = "cargo rig")]
struct Arguments {
    /// The program it is about; it must have been built with the feature v4l
    #[arg(long)]
    appliance: Option<PathBuf>,
    /// Only ways to the pins whose name contains this: rppal, gpiochip
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Hold it to the memory a camera may need; a debug build needs more
    #[arg(long)]
    bound_memory: bool,
    /// Keep the files of the machine, and say where they are
    #[arg(long)]
    keep: bool,
}

/// A board, and how the program is to reach its pins.
struct Way {
    name: &'static str,
    board: Board,
    size: (u32, u32),
    /// How long the button is held at the end, and what for.
    held: (Duration, &'static str),
    /// What of the machine is given to a user who is not root, as the udev rules do; nothing = the program is root.
    given: &'static [(&'static str, u32)],
    /// What its log must say of it.
    says: &'static str,
}

fn ways() -> [Way; 2] {
    let board = |label: &str, registers| Board {
        label: label.to_owned(),
        registers,
        button: BUTTON,
        lamps: vec![LAMP],
    };
    [
        Way {
            name: "rppal",
            board: board("pinctrl-bcm2835", true),
            size: (640, 360),
            held: (Duration::from_millis(5_300), "reconnect"),
            // rppal finds /dev/gpiomem of a board without root; here it is a file that root has made.
            given: &[],
            says: "rppal",
        },
        Way {
            name: "gpiochip",
            board: board("pinctrl-bcm2711", false),
            size: (640, 480),
            held: (Duration::from_millis(10_300), "forget"),
            given: &[
                ("/dev/gpiochip0", GPIO),
                ("/dev/video0", VIDEO),
                (SPOOL, KEEPSAKE),
            ],
            says: "/dev/gpiochip",
        },
    ]
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let began = Instant::now();
    let parts = Kernel::fetch().and_then(|kernel| {
        let qemu = Qemu::find()?;
        let version = qemu.version()?;
        Ok((kernel, qemu, version))
    });
    let (kernel, qemu, version) = match parts {
        Ok(parts) => parts,
        Err(why) => {
            not_run(
                "cargo rig, the camera with kernel drivers",
                &why,
                "it needs Debian's apt with the archive's keys on x86-64, or qemu-system-x86 installed",
            );
            return ExitCode::SUCCESS;
        }
    };
    println!("rig: {version}; {}", kernel.version());
    let appliance = arguments.appliance.unwrap_or_else(|| binary("appliance"));
    let folder = Folder::new("rig");
    let mut cloud = Cloud::new(&folder);
    cloud.start();
    let mut machine = match Machine::start(&folder, &qemu, &kernel, &appliance) {
        Ok(machine) => machine,
        Err(why) => {
            eprintln!("rig: {why}");
            return ExitCode::FAILURE;
        }
    };
    println!("rig: the machine is up after {}", seconds(began));
    for way in ways() {
        let wanted = arguments.only.as_ref();
        if wanted.is_some_and(|text| !way.name.contains(text.as_str())) {
            continue;
        }
        Scene {
            machine: &mut machine,
            cloud: &mut cloud,
            way: &way,
            device: format!("rig-{}", way.name),
            bound_memory: arguments.bound_memory,
            taken: 0,
        }
        .play();
    }
    machine.off();
    cloud.stop();
    println!("rig: all as promised, after {}", seconds(began));
    if arguments.keep {
        println!("rig: the files are in {}", folder.keep().display());
    }
    ExitCode::SUCCESS
}

/// One way, from the first start of the program to its end.
struct Scene<'a> {
    machine: &'a mut Machine,
    cloud: &'a mut Cloud,
    way: &'a Way,
    device: String,
    bound_memory: bool,
    /// Pictures that must be in the cloud by now.
    taken: usize,
}

impl Scene<'_> {
    fn play(mut self) {
        let began = Instant::now();
        self.machine.ask(&Ask::Board(self.way.board.clone()));
        self.give();
        let since = self.start(&[]);
        self.expect_log(since, self.way.says);

        let lit_after = self.a_press_is_answered_long();
        let felt = self.presses_are_all_stored();
        let (rss_kib, anonymous_kib) = self.memory();
        assert!(
            !self.bound_memory || rss_kib <= RSS_KIB_MAX,
            "{:.1} MiB at rest, and {} are the bound",
            mib(rss_kib),
            RSS_KIB_MAX >> 10
        );
        self.a_bouncing_contact_is_one_press();
        self.without_a_camera_it_says_so();
        self.without_a_cloud_it_answers_short();
        let (later_kib, _) = self.memory();
        self.held_it_says_what_letting_go_does();
        self.stop();
        self.audit();

        let Way { name, size, .. } = self.way;
        println!(
            "rig: {name}: {PRESSES} pressed, {PRESSES} stored ({} x {}); edge to light {:.1} ms, of that felt to light max \
             {:.1} ms; at rest {:.1} MiB ({:.1} of them no file), after all faults {:.1}; {}",
            size.0,
            size.1,
            milliseconds(lit_after),
            milliseconds(felt),
            mib(rss_kib),
            mib(anonymous_kib),
            mib(later_kib),
            seconds(began)
        );
    }

    /// Starts the program and waits until it is connected; returns from where on it is told of.
    fn start(&mut self, settings: &[&str]) -> usize {
        let since = self.machine.moment();
        let mut arguments: Vec<String> = ["run", "--events", "--spool"].map(str::to_owned).into();
        arguments.push(format!("{SPOOL}/{}", self.device));
        arguments.extend(["--device".to_owned(), self.device.clone()]);
        arguments.push("--cloud".to_owned());
        arguments.push(format!("mqtt://{HOST}:{}", self.cloud.mqtt_port()));
        let (width, height) = self.way.size;
        let size = [
            format!("camera.width={width}"),
            format!("camera.height={height}"),
        ];
        // Dark but for answers, so that every flash is one.
        let all = ["light.mode=off", "backoff.reconnect_max_s=2"]
            .iter()
            .chain(settings);
        for setting in all.map(|one| (*one).to_owned()).chain(size) {
            arguments.extend(["--set".to_owned(), setting]);
        }
        let user = (!self.way.given.is_empty()).then(|| User {
            uid: KEEPSAKE,
            groups: vec![KEEPSAKE, GPIO, VIDEO],
        });
        self.machine.ask(&Ask::Start { arguments, user });
        self.expect_event(since, "connected");
        since
    }

    fn give(&mut self) {
        for &(path, group) in self.way.given {
            let path = path.to_owned();
            self.machine.ask(&Ask::Give { path, group });
        }
    }

    fn a_press_is_answered_long(&mut self) -> u64 {
        let since = self.machine.moment();
        let at_us = self.press();
        self.expect_event(since, "stored");
        let seen = self.expect_flashes("one long", since, &[Look::Long]);
        self.taken += 1;
        seen[0].at_us - at_us
    }

    /// Returns the longest time from when a press was felt until the light was on.
    fn presses_are_all_stored(&mut self) -> u64 {
        let since = self.machine.moment();
        for nth in 1..PRESSES {
            let began = Instant::now();
            self.press();
            self.expect_events(since, "saved", nth);
            std::thread::sleep(GAP.saturating_sub(began.elapsed()));
        }
        self.expect_events(since, "stored", PRESSES - 1);
        self.taken += PRESSES - 1;
        let all = self.machine.told(since);
        let felt = events(&all, "pressed").filter_map(|event| event["light_after_us"].as_u64());
        felt.max().expect("presses light up")
    }

    fn a_bouncing_contact_is_one_press(&mut self) {
        for _ in 0..TRIES {
            self.is_quiet();
            let since = self.machine.moment();
            let bounce = Ask::Bounce {
                pin: BUTTON,
                edges: 10,
                within_ms: 20,
                held_ms: HELD_MS,
            };
            let bounced = self.machine.ask_for(&bounce, "bounced");
            self.expect_event(since, "stored");
            self.expect_flashes("one long", since, &[Look::Long]);
            // Long after the last edge: a second press would have been felt by now.
            let all = self.machine.told(since);
            let (pressed, saved) = (
                events(&all, "pressed").count(),
                events(&all, "saved").count(),
            );
            self.taken += saved;
            // With a level that was steady for as long as the debounce, it was not one contact that bounced.
            if bounced["took_us"].as_u64().is_some_and(|us| us < STEADY_US) {
                assert_eq!(
                    (pressed, saved),
                    (1, 1),
                    "a bounce is one press, one picture"
                );
                return;
            }
        }
        panic!("in {TRIES} tries the machine never stood still for less than {STEADY_US} us");
    }

    fn without_a_camera_it_says_so(&mut self) {
        self.is_quiet();
        self.machine.ask(&Ask::Camera { plugged: false });
        let since = self.machine.moment();
        self.press();
        self.expect_event(since, "tombstone");
        // Five short: not taken. One that counts, and five short: fault 5, the camera.
        let mut looks = vec![Look::Short; 5];
        looks.push(Look::Counting);
        looks.extend([Look::Short; 5]);
        self.expect_flashes("five short, and the fault", since, &looks);
        self.machine.ask(&Ask::Camera { plugged: true });
        self.give();
        self.is_quiet();
        let since = self.machine.moment();
        self.press();
        self.expect_event(since, "stored");
        self.expect_flashes("one long", since, &[Look::Long]);
        self.taken += 1;
    }

    fn without_a_cloud_it_answers_short(&mut self) {
        self.is_quiet();
        let since = self.machine.moment();
        self.cloud.stop();
        self.expect_event(since, "disconnected");
        let since = self.machine.moment();
        self.press();
        self.expect_event(since, "saved");
        self.expect_flashes("two short", since, &[Look::Short, Look::Short]);
        self.cloud.start();
        self.expect_event(since, "stored");
        self.taken += 1;
    }

    fn held_it_says_what_letting_go_does(&mut self) {
        self.is_quiet();
        let since = self.machine.moment();
        let (held, wish) = self.way.held;
        self.machine.ask(&Ask::Press {
            pin: BUTTON,
            held_ms: u64::try_from(held.as_millis()).expect("seconds"),
        });
        self.machine.expect(wish, since, WITHIN, |said| {
            events(said, "held")
                .find(|held| held["wish"] == wish)
                .map(drop)
        });
        let all = self.machine.told(since);
        let shown = |pattern: &str| events(&all, "light").any(|light| light["pattern"] == pattern);
        assert!(shown("held-reconnect"), "from five seconds on");
        assert_eq!(
            shown("held-forget"),
            wish == "forget",
            "from ten seconds on"
        );
        // It took a picture as any press does, and comes up again by itself with all that was on the card.
        self.expect_event(since, "restarting");
        self.machine.expect("a new start", since, WITHIN, |said| {
            let again = said
                .iter()
                .position(|told| told["event"]["event"] == "restarting")?;
            events(&said[again..], "connected").next().map(drop)
        });
        self.taken += 1;
    }

    /// All of it, and what of it is no file, KiB.
    fn memory(&mut self) -> (u64, u64) {
        let told = self.machine.ask_for(&Ask::Memory, "memory");
        let kib = |name: &str| told[name].as_u64().expect("a number of KiB");
        (kib("rss_kib"), kib("anonymous_kib"))
    }

    fn stop(&mut self) {
        let since = self.machine.moment();
        self.machine.ask(&Ask::Stop);
        let ended = self.machine.expect("its end", since, WITHIN, |said| {
            said.iter().find(|told| told["told"] == "ended").cloned()
        });
        assert_eq!(ended["code"], 0, "a clean stop ends with 0");
        self.machine.expect("a dark lamp", 0, WITHIN, |said| {
            (!is_lit(said)).then_some(())
        });
    }

    /// What the cloud has: every picture whole, of the size asked for, and the one press without a camera told.
    fn audit(&self) {
        let api = self.cloud.api();
        let device = &self.device;
        let (taken, told) = (self.taken, 1);
        api.device_becomes(device, WITHIN, |found| {
            found["stored"] == taken && found["told"] == told && found["missing"] == 0
        });
        let pictures = api.pictures(device);
        assert_eq!(pictures.len(), taken, "{device}: pictures in the list");
        for picture in &pictures {
            let (width, height) = self.way.size;
            assert_eq!(picture["width"], width, "{picture}");
            assert_eq!(picture["height"], height, "{picture}");
            assert_eq!(picture["damaged"], false, "{picture}");
        }
    }

    /// Returns when the contact was closed.
    fn press(&mut self) -> u64 {
        let press = Ask::Press {
            pin: BUTTON,
            held_ms: HELD_MS,
        };
        let edge = self.machine.ask_for(&press, "edge");
        edge["at_us"].as_u64().expect("a time")
    }

    fn expect_log(&self, since: usize, text: &str) {
        self.machine.expect(text, since, WITHIN, |said| {
            let mut lines = said.iter().filter_map(|told| told["line"].as_str());
            lines.any(|line| line.contains(text)).then_some(())
        });
    }

    fn expect_event(&self, since: usize, kind: &str) {
        self.expect_events(since, kind, 1);
    }

    fn expect_events(&self, since: usize, kind: &str, count: usize) {
        let what = format!("{}: {count} {kind}", self.device);
        self.machine.expect(&what, since, WITHIN, |said| {
            (events(said, kind).count() >= count).then_some(())
        });
    }

    /// Waits until the lamp has flashed so, after the light that says that the press was felt.
    fn expect_flashes(&self, what: &str, since: usize, wanted: &[Look]) -> Vec<Flash> {
        let what = format!("{}: {what} on pin {LAMP}", self.device);
        let seen = self.machine.expect(&what, since, WITHIN, |said| {
            let seen = flashes(said, LAMP);
            // The last one is over, or it is not known yet what it will be.
            let over = seen.last().is_some_and(|last| last.for_us.is_some());
            (over && seen.len() > wanted.len()).then_some(seen)
        });
        assert_eq!(looks(&seen[1..]), wanted, "{what}: {seen:?}");
        seen
    }

    /// Waits until the last answer is over, to its last dark step: a press before that would be answered together with
    /// those it was for.
    fn is_quiet(&self) {
        let answers = ["capturing", "stored", "kept", "failed"];
        self.machine
            .expect("the end of an answer", 0, WITHIN, |said| {
                let light = events(said, "light").last()?;
                let over = answers.iter().all(|answer| light["pattern"] != *answer);
                (over && !is_lit(said)).then_some(())
            });
    }
}

fn is_lit(said: &[Value]) -> bool {
    let last = said.iter().rev().find(|told| told["told"] == "lamp");
    last.is_some_and(|told| told["lit"] == true)
}

/// The events of this kind that the program told.
fn events<'a>(said: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    said.iter()
        .filter(|told| told["told"] == "event")
        .map(|told| &told["event"])
        .filter(move |event| event["event"] == kind)
}

fn seconds(since: Instant) -> String {
    format!("{:.1} s", since.elapsed().as_secs_f64())
}

#[expect(clippy::cast_precision_loss, reason = "a figure to read")]
fn milliseconds(us: u64) -> f64 {
    us as f64 / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "a figure to read")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
