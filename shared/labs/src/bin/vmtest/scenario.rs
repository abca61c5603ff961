//! The scenario in one machine: from the first start of the program to its end, with the LED as a person would see
//! it.

use std::time::{Duration, Instant};

use keepsake_labs::vm::led::{Flash, FlashKind, flash_kinds, flashes};
use keepsake_labs::vm::protocol::{Request, User};
use keepsake_labs::vm::{HOST, Machine, SPOOL};
use keepsake_testkit::cloud::Cloud;
use serde_json::{Value, json};

use super::{BUTTON, GPIO, KEEPSAKE, Setup, VIDEO, VideoMode, color_bars};

/// The time that a finger stays on a button.
const HELD_MS: u64 = 120;
/// The presses of each setup.
const PRESSES: usize = 20;
/// Presses closer together than that count as one (button.repeat_ms_min).
const GAP: Duration = Duration::from_millis(350);
/// A level that lasts this long has settled (button.debounce_ms), microseconds.
const STEADY_US: u64 = 30_000;
/// The retries for results that a busy computer can spoil.
const TRIES: u32 = 10;
/// The limit for the idle program, KiB.
const RSS_KIB_MAX: u64 = 32 << 10;
/// The longest wait for anything, such as a picture from press to receipt, on a busy computer.
const WITHIN: Duration = Duration::from_secs(60);

/// The scenario of one setup.
pub(crate) struct Scenario<'a> {
    machine: &'a mut Machine,
    cloud: &'a mut Cloud,
    setup: &'a Setup,
    device: String,
    bound_memory: bool,
    /// The sizes of the pictures that must be in the cloud by now.
    picture_sizes: Vec<(u32, u32)>,
    /// The failed presses that must be in the cloud as tombstones.
    failed_presses: usize,
    /// The current setting of the camera.
    video_mode: VideoMode,
}

impl<'a> Scenario<'a> {
    pub(crate) fn new(machine: &'a mut Machine, cloud: &'a mut Cloud, setup: &'a Setup, bound_memory: bool) -> Self {
        Self {
            machine,
            cloud,
            setup,
            device: format!("vmtest-{}", setup.name),
            bound_memory,
            picture_sizes: Vec::new(),
            failed_presses: 0,
            video_mode: setup.video_modes[0],
        }
    }

    pub(crate) fn play(mut self) {
        let began = Instant::now();
        self.machine.request(&Request::Board(self.setup.board()));
        self.grant_device_access();
        let since = self.start();
        self.expect_log(since, self.setup.log_text);

        self.set_video_mode(self.video_mode);
        let lit_after = self.a_press_is_answered_long();
        let felt = self.presses_are_all_stored();
        let at_rest_kib = self.memory();
        self.a_bouncing_contact_is_one_press();
        for mode in &self.setup.video_modes[1..] {
            self.a_picture_has_the_colours_of_the_scene(*mode);
        }
        self.without_a_camera_it_says_so();
        self.without_a_cloud_it_answers_short();
        let later_kib = self.memory();
        self.held_it_says_what_letting_go_does();
        self.stop();
        self.audit();

        let formats: Vec<_> = self.setup.video_modes.iter().map(|(format, _)| *format).collect();
        println!(
            "vmtest: {}: {PRESSES} pressed, {PRESSES} stored; pictures of {}; edge to light {:.1} ms, of that felt to light \
             max {:.1} ms; at rest {:.1} MiB, after all faults {:.1}; {}",
            self.setup.name,
            formats.join(", "),
            milliseconds(lit_after),
            milliseconds(felt),
            mib(at_rest_kib),
            mib(later_kib),
            seconds(began)
        );
    }

    /// Starts the program, waits until it is connected, and returns the number of its first event.
    fn start(&mut self) -> usize {
        let since = self.machine.event_count();
        let mut arguments: Vec<String> = ["run", "--events", "--spool"].map(str::to_owned).into();
        arguments.push(format!("{SPOOL}/{}", self.device));
        arguments.extend(["--device".to_owned(), self.device.clone()]);
        arguments.push("--cloud".to_owned());
        arguments.push(format!("mqtt://{HOST}:{}", self.cloud.mqtt_port()));
        // Dark except for answers, so that every flash is part of one.
        let mut settings = vec!["light.mode=off".to_owned(), "backoff.reconnect_max_s=2".to_owned()];
        if let [red, green, blue] = self.setup.led.pins {
            settings.push(format!("light.rgb_pins={red},{green},{blue}"));
        }
        for setting in settings {
            arguments.extend(["--set".to_owned(), setting]);
        }
        let user =
            (!self.setup.device_groups.is_empty()).then(|| User { uid: KEEPSAKE, groups: vec![KEEPSAKE, GPIO, VIDEO] });
        self.machine.request(&Request::Start { arguments, user });
        self.expect_event(since, "connected");
        let api = self.cloud.api();
        api.wait_for_device(&self.device, WITHIN, |found| found["presence"] == "online");
        since
    }

    fn grant_device_access(&mut self) {
        for &(path, group) in self.setup.device_groups {
            let path = path.to_owned();
            self.machine.request(&Request::GrantAccess { path, group });
        }
    }

    /// Sets format and size from the cloud, while the program runs.
    fn set_video_mode(&mut self, mode: VideoMode) {
        let (format, (width, height)) = mode;
        let settings = json!({"camera.format": format, "camera.width": width, "camera.height": height});
        let api = self.cloud.api();
        api.set_settings(&self.device, &settings);
        api.wait_for_settings(&self.device, "applied", WITHIN);
        self.video_mode = mode;
    }

    fn take_picture(&mut self) {
        self.picture_sizes.push(self.video_mode.1);
    }

    /// Presses until a picture was in the cloud before the answer was due; returns its first event, and when the
    /// contact was closed. On a busy computer "saved" is the right answer of a machine that stalled for seconds.
    fn a_press_in_time(&mut self) -> (usize, u64) {
        for _ in 0..TRIES {
            self.is_quiet();
            let since = self.machine.event_count();
            let at_us = self.press();
            self.expect_event(since, "stored");
            self.take_picture();
            if self.is_in_time(since) {
                return (since, at_us);
            }
        }
        panic!("in {TRIES} tries no picture was in the cloud before its answer was due");
    }

    /// Returns whether the answer is "in the cloud" and not "saved".
    fn is_in_time(&self, since: usize) -> bool {
        let answer = self.machine.expect("an answer", since, WITHIN, |events| {
            let answer = appliance_events(events, "answer").next()?;
            answer["answer"].as_str().map(str::to_owned)
        });
        assert!(answer == "stored" || answer == "kept", "{}: {answer}", self.device);
        answer == "stored"
    }

    fn a_press_is_answered_long(&mut self) -> u64 {
        let (since, at_us) = self.a_press_in_time();
        let seen = self.expect_flashes(self.setup.led.stored, since, &[FlashKind::Long]);
        // "Pressed" is white and "in the cloud" is green, so the other two colours had one flash.
        for &pin in self.setup.led.pins {
            let all = flashes(&self.machine.events(since), pin);
            let wanted = if pin == self.setup.led.stored { 2 } else { 1 };
            assert_eq!(all.len(), wanted, "pin {pin}: {all:?}");
        }
        seen[0].at_us - at_us
    }

    /// Returns the longest time from a detected press to the light.
    fn presses_are_all_stored(&mut self) -> u64 {
        let since = self.machine.event_count();
        for nth in 1..PRESSES {
            let began = Instant::now();
            self.press();
            self.expect_events(since, "saved", nth);
            std::thread::sleep(GAP.saturating_sub(began.elapsed()));
        }
        self.expect_events(since, "stored", PRESSES - 1);
        self.picture_sizes.extend([self.video_mode.1; PRESSES - 1]);
        let all = self.machine.events(since);
        let felt = appliance_events(&all, "pressed").filter_map(|event| event["light_after_us"].as_u64());
        felt.max().expect("presses light up")
    }

    fn a_bouncing_contact_is_one_press(&mut self) {
        self.is_quiet();
        for _ in 0..TRIES {
            let since = self.machine.event_count();
            let bounce = Request::Bounce { pin: BUTTON, edges: 10, within_ms: 20, held_ms: HELD_MS };
            let bounced = self.machine.request_event(&bounce, "bounced");
            self.expect_event(since, "stored");
            if self.is_in_time(since) {
                self.expect_flashes(self.setup.led.stored, since, &[FlashKind::Long]);
            }
            self.is_quiet();
            // Long after the last edge: a second press would have been detected by now.
            let all = self.machine.events(since);
            let (pressed, saved) = (appliance_events(&all, "pressed").count(), appliance_events(&all, "saved").count());
            self.picture_sizes.extend(std::iter::repeat_n(self.video_mode.1, saved));
            // A level that was steady for as long as the debounce time means that it was not a single bounce.
            if bounced["took_us"].as_u64().is_some_and(|us| us < STEADY_US) {
                assert_eq!((pressed, saved), (1, 1), "a bounce is one press, one picture");
                return;
            }
        }
        panic!("in {TRIES} tries the machine always stalled for more than {STEADY_US} us");
    }

    /// Checks that the stream is rebuilt with another format, and that the picture shows vivid's pattern.
    fn a_picture_has_the_colours_of_the_scene(&mut self, mode: VideoMode) {
        let since = self.machine.event_count();
        self.set_video_mode(mode);
        self.press();
        let hash = self.expect_stored(since);
        self.take_picture();
        let (format, (width, height)) = mode;
        let starts = format!("format={format} size={width}x{height}");
        self.expect_log(since, &starts);
        let api = self.cloud.api();
        let pictures = api.pictures(&self.device);
        let of_it = |picture: &&Value| picture["hash"].as_str().is_some_and(|all| all.starts_with(&hash));
        let picture = pictures.iter().find(of_it).expect("a stored picture is in the list");
        let image = api.image(picture["id"].as_str().expect("a picture has an id"));
        if let Err(wrong) = color_bars::check(&image, format == "GREY") {
            panic!("{format} {width} x {height}: {wrong}");
        }
    }

    fn without_a_camera_it_says_so(&mut self) {
        // Five short: failed. A counting flash and five short: fault 5, the camera.
        let mut wanted = vec![FlashKind::Short; 5];
        wanted.push(FlashKind::Counting);
        wanted.extend([FlashKind::Short; 5]);
        self.is_quiet();
        self.machine.request(&Request::Camera { plugged: false });
        let pin = self.setup.led.not_stored;
        let answered = (0..TRIES).any(|_| {
            self.is_quiet();
            let since = self.machine.event_count();
            self.press();
            self.expect_event(since, "tombstone");
            self.failed_presses += 1;
            // A machine that stalls lengthens or shortens one of eleven flashes.
            let seen = self.wait_for_flashes(pin, since, wanted.len());
            flash_kinds(&seen[1..]) == wanted
        });
        assert!(answered, "not {wanted:?} on pin {pin} in {TRIES} tries");
        self.machine.request(&Request::Camera { plugged: true });
        self.grant_device_access();
        let (since, _) = self.a_press_in_time();
        self.expect_flashes(self.setup.led.stored, since, &[FlashKind::Long]);
    }

    fn without_a_cloud_it_answers_short(&mut self) {
        self.is_quiet();
        let since = self.machine.event_count();
        self.cloud.stop();
        self.expect_event(since, "disconnected");
        let since = self.machine.event_count();
        self.press();
        self.expect_event(since, "saved");
        self.expect_flashes(self.setup.led.not_stored, since, &[FlashKind::Short, FlashKind::Short]);
        self.cloud.start();
        self.expect_event(since, "stored");
        self.take_picture();
    }

    fn held_it_says_what_letting_go_does(&mut self) {
        self.is_quiet();
        let since = self.machine.event_count();
        let (held, action) = self.setup.hold;
        self.machine.request(&Request::Press {
            pin: BUTTON,
            held_ms: u64::try_from(held.as_millis()).expect("seconds"),
        });
        self.machine.expect(action, since, WITHIN, |events| {
            appliance_events(events, "held").find(|held| held["wish"] == action).map(drop)
        });
        let all = self.machine.events(since);
        let shown = |pattern: &str| appliance_events(&all, "light").any(|light| light["pattern"] == pattern);
        assert!(shown("held-reconnect"), "from five seconds on");
        assert_eq!(shown("held-forget"), action == "forget", "from ten seconds on");
        // It took a picture as for any press, and starts again with everything that was on the card.
        self.expect_event(since, "restarting");
        self.machine.expect("a new start", since, WITHIN, |events| {
            let restart = events.iter().position(|event| event["event"]["event"] == "restarting")?;
            appliance_events(&events[restart..], "connected").next().map(drop)
        });
        self.take_picture();
    }

    /// Returns the memory of the program, KiB.
    fn memory(&mut self) -> u64 {
        let event = self.machine.request_event(&Request::Memory, "memory");
        let rss_kib = event["rss_kib"].as_u64().expect("a number of KiB");
        assert!(
            !self.bound_memory || rss_kib <= RSS_KIB_MAX,
            "{:.1} MiB at rest, and {} are the bound: {event}",
            mib(rss_kib),
            RSS_KIB_MAX >> 10
        );
        rss_kib
    }

    fn stop(&mut self) {
        let since = self.machine.event_count();
        self.machine.request(&Request::Stop);
        let ended = self.machine.expect("its end", since, WITHIN, |events| {
            events.iter().find(|event| event["type"] == "ended").cloned()
        });
        assert_eq!(ended["code"], 0, "a clean stop ends with 0");
        self.machine
            .expect("a dark lamp", 0, WITHIN, |events| (!is_lit(events, self.setup.led.pins)).then_some(()));
    }

    /// Checks the cloud: every picture complete and of the requested size, and every press without a camera recorded.
    fn audit(&self) {
        let api = self.cloud.api();
        let device = &self.device;
        let (taken, failed) = (self.picture_sizes.len(), self.failed_presses);
        api.wait_for_device(device, WITHIN, |found| {
            found["stored"] == taken && found["failed"] == failed && found["missing"] == 0
        });
        let pictures = api.pictures(device);
        let size = |picture: &Value| (picture["width"].as_u64(), picture["height"].as_u64());
        let mut found: Vec<_> = pictures.iter().map(size).collect();
        let some = |&(width, height): &(u32, u32)| (Some(width.into()), Some(height.into()));
        let mut wanted: Vec<_> = self.picture_sizes.iter().map(some).collect();
        found.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "{device}: sizes of the pictures in the list");
        for picture in &pictures {
            assert_eq!(picture["damaged"], false, "{picture}");
        }
    }

    /// Presses and returns when the contact was closed.
    fn press(&mut self) -> u64 {
        let press = Request::Press { pin: BUTTON, held_ms: HELD_MS };
        let edge = self.machine.request_event(&press, "edge");
        edge["at_us"].as_u64().expect("a time")
    }

    fn expect_log(&self, since: usize, text: &str) {
        self.machine.expect(text, since, WITHIN, |events| {
            let mut lines = events.iter().filter_map(|event| event["line"].as_str());
            lines.any(|line| line.contains(text)).then_some(())
        });
    }

    /// Returns the beginning of the stored picture's hash.
    fn expect_stored(&self, since: usize) -> String {
        let what = format!("{}: a picture stored", self.device);
        self.machine.expect(&what, since, WITHIN, |events| {
            let stored = appliance_events(events, "stored").next()?;
            stored["hash"].as_str().map(str::to_owned)
        })
    }

    fn expect_event(&self, since: usize, kind: &str) {
        self.expect_events(since, kind, 1);
    }

    fn expect_events(&self, since: usize, kind: &str, count: usize) {
        let what = format!("{}: {count} {kind}", self.device);
        self.machine.expect(&what, since, WITHIN, |events| {
            (appliance_events(events, kind).count() >= count).then_some(())
        });
    }

    /// Waits until the LED has flashed like this after the light that confirms the press.
    fn expect_flashes(&self, pin: u8, since: usize, wanted: &[FlashKind]) -> Vec<Flash> {
        let seen = self.wait_for_flashes(pin, since, wanted.len());
        let device = &self.device;
        assert_eq!(flash_kinds(&seen[1..]), wanted, "{device}: pin {pin}: {seen:?}");
        seen
    }

    /// Waits for `count` flashes and the one before them.
    fn wait_for_flashes(&self, pin: u8, since: usize, count: usize) -> Vec<Flash> {
        let what = format!("{}: {count} flashes on pin {pin}", self.device);
        self.machine.expect(&what, since, WITHIN, |events| {
            let mut seen = flashes(events, pin);
            seen.truncate(count + 1);
            // Until the last one is over its kind is unknown.
            let over = seen.last().is_some_and(|last| last.for_us.is_some());
            (over && seen.len() > count).then_some(seen)
        })
    }

    /// Waits until the last answer is over, including its last dark step: a press before that would be answered
    /// together with the earlier ones.
    fn is_quiet(&self) {
        let answers = ["capturing", "stored", "kept", "failed"];
        self.machine.expect("the end of an answer", 0, WITHIN, |events| {
            let light = appliance_events(events, "light").last()?;
            let over = answers.iter().all(|answer| light["pattern"] != *answer);
            (over && !is_lit(events, self.setup.led.pins)).then_some(())
        });
    }
}

/// Returns whether any LED is lit.
fn is_lit(events: &[Value], pins: &[u8]) -> bool {
    let changes = |pin: u8| events.iter().rev().find(move |event| event["type"] == "led" && event["pin"] == pin);
    pins.iter().filter_map(|&pin| changes(pin)).any(|last| last["lit"] == true)
}

/// Returns the events of this kind that the program printed.
fn appliance_events<'a>(events: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    events
        .iter()
        .filter(|event| event["type"] == "event")
        .map(|event| &event["event"])
        .filter(move |event| event["event"] == kind)
}

pub(crate) fn seconds(since: Instant) -> String {
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
