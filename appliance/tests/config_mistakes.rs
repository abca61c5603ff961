//! Every mistake in `camera.toml` is explained in `CAMERA-STATUS.txt`, and costs no picture.
//!
//! Folders stand for the card; everything else is what a card runs: `appliance sd-card prepare`, `appliance sd-card watch`, and
//! the camera itself with the settings that the first has laid out for it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use keepsake_appliance::sd_card::{self, Paths, Watch};
use keepsake_appliance::settings;
use keepsake_appliance::spool::export;

/// Good settings, before they are edited.
const GOOD: &str = "device = \"porch\"\ncapture_interval_s = 0\n\n[[wifi]]\nname = \"Hytta\"\npassword = \"the old secret\"\ncountry = \"NO\"\n\n[cloud]\nurl = \"mqtt://192.168.1.10:1883\"\nuser = \"porch\"\npassword = \"broker secret\"\n\n[button]\npin = 17\n\n[light]\npin = 27\n";
/// Secrets that must never appear.
const SECRETS: [&str; 4] = ["the old secret", "broker secret", "hunter2", "s3cret"];

struct Card {
    root: tempfile::TempDir,
    paths: Paths,
}

/// The result of a start.
struct Seen {
    /// `CAMERA-STATUS.txt` without the spaces at its end.
    status: String,
    /// Fault 1.
    is_bad: bool,
    config: settings::Config,
}

impl Card {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        for folder in [&paths.boot, &paths.data, &paths.etc, &paths.run, &paths.root_home] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::write(&paths.shipped, "# as shipped\n").unwrap();
        fs::create_dir(root.path().join("pictures")).unwrap();
        Self { root, paths }
    }

    /// Creates a card that was started with good settings before.
    fn with_good_settings() -> Self {
        let card = Self::new();
        card.save("camera.toml", GOOD.as_bytes());
        let seen = card.start();
        assert!(!seen.is_bad && seen.status.contains("it has no mistakes"), "{}", seen.status);
        fs::remove_file(card.paths.boot.join("camera.toml")).unwrap();
        card
    }

    fn save(&self, name: &str, bytes: &[u8]) {
        fs::write(self.paths.boot.join(name), bytes).unwrap();
    }

    fn pictures(&self) -> PathBuf {
        self.root.path().join("pictures")
    }

    /// Starts the card, and checks what is seen of it.
    #[track_caller]
    fn assert_start(&self, light: Light, says: &str) -> Seen {
        let seen = self.start();
        assert_eq!(troubles(&seen, light, says), [""; 0], "{}", seen.status);
        seen
    }

    /// Starts the card, without the camera program.
    fn start(&self) -> Seen {
        sd_card::prepare(&self.paths).unwrap();
        // A real restart has another boot ID; here the boot is recorded again.
        let _ = fs::remove_file(self.paths.data.join("starts.json"));
        Watch::begin(self.paths.clone()).unwrap().update();
        let status = fs::read_to_string(self.paths.boot.join("CAMERA-STATUS.txt")).unwrap();
        assert_eq!(status.len(), 4096);
        let spool = self.pictures().display().to_string();
        let file = self.paths.etc.join("keepsake/camera.toml");
        let loaded = settings::load(Some(&file), &[("spool.dir".to_owned(), spool)], true);
        loaded.save_as_last_good().unwrap();
        Seen {
            status: status.trim_end().to_owned(),
            is_bad: loaded.file_has_errors(),
            config: loaded.config,
        }
    }
}

/// The fault that the LED shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Light {
    /// The file is understood.
    NoFault,
    /// Fault 1, and the last good settings apply.
    Settings,
    /// Fault 2 after two minutes: the file is valid, but there is no network.
    Network,
}
use Light::{Network, NoFault, Settings};

/// [`GOOD`] with one part replaced.
fn instead(of: &str, with: &str) -> Vec<u8> {
    assert!(GOOD.contains(of), "{of}");
    GOOD.replacen(of, with, 1).into_bytes()
}

fn utf_16(text: &str, mark: bool) -> Vec<u8> {
    let mark = mark.then_some([0xff, 0xfe]).into_iter().flatten();
    mark.chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect()
}

type Mistake = (&'static str, Vec<u8>, Light, &'static str);

/// Each mistake: its description, the resulting file, the fault, and part of the expected sentence.
fn mistakes() -> Vec<Mistake> {
    let url = "url = \"mqtt://192.168.1.10:1883\"";
    let device = "device = \"porch\"";
    let wifi_password = "password = \"the old secret\"";
    let mut noise: Vec<u8> = (0..4096_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
    noise[3] = 0;
    vec![
        // How it was saved: all of this is understood.
        ("saved with a mark (BOM)", [b"\xef\xbb\xbf", GOOD.as_bytes()].concat(), NoFault, "it has no mistakes"),
        ("saved on Windows", GOOD.replace('\n', "\r\n").into_bytes(), NoFault, "it has no mistakes"),
        ("saved on an old Mac", GOOD.replace('\n', "\r").into_bytes(), NoFault, "it has no mistakes"),
        ("saved as Unicode by an old Notepad", utf_16(GOOD, true), NoFault, "it has no mistakes"),
        ("the same without a mark", utf_16(GOOD, false), NoFault, "it has no mistakes"),
        ("lines indented with tabs", GOOD.replace('\n', "\n\t").into_bytes(), NoFault, "it has no mistakes"),
        ("curly quotes of a word processor", instead(url, "url = “mqtt://192.168.1.10:1883”"), NoFault, "line 10 of camera.toml: typographic quotes or spaces were read as plain characters"),
        ("German quotes", instead(device, "device = „porch“"), NoFault, "line 1 of camera.toml: typographic quotes"),
        ("French quotes", instead(device, "device = «\u{a0}porch\u{a0}»"), NoFault, "line 1 of camera.toml: typographic quotes"),
        ("a Wi-Fi with letters of its own", instead("\"Hytta\"", "\"Skjærgården ⛵\""), NoFault, "it has no mistakes"),
        ("the same saved as old Windows text", b"[[wifi]]\nname = \"M\xfcller\"\npassword = \"s3cret s3cret\"\ncountry = \"DE\"\n[cloud]\nurl = \"mqtt://a\"\n".to_vec(), NoFault, "line 2 of camera.toml: the file was not saved as UTF-8; check its special characters"),
        // A line that is no setting.
        ("no closing quote", instead(device, "device = \"porch"), Settings, "line 1 of camera.toml: the closing quote is missing; write device = \"...\""),
        ("no opening quote", instead(device, "device = porch\""), Settings, "line 1 of camera.toml: the opening quote is missing"),
        ("no quotes", instead(wifi_password, "password = hunter2 hunter2"), Settings, "line 6 of camera.toml: text needs quotes; write password = \"...\""),
        ("two kinds of quotes", instead(wifi_password, "password = \"hunter2 hunter2'"), Settings, "line 6 of camera.toml: the text begins with \" and ends with '"),
        ("a quote between the quotes", instead(wifi_password, "password = \"hunter2\"hunter2\""), Settings, "line 6 of camera.toml: there is a \" between the quotes; put ' around the whole text"),
        ("three quotes", instead(wifi_password, "password = \"\"\"hunter2\""), Settings, "line 6 of camera.toml: one quote is enough"),
        ("no =", instead(wifi_password, "password \"hunter2\""), Settings, "line 6 of camera.toml: the = is missing; write password = \"...\""),
        ("two =", instead(device, "device == \"porch\""), Settings, "line 1 of camera.toml: one = is enough"),
        ("nothing behind the =", instead(device, "device ="), Settings, "line 1 of camera.toml: nothing follows the ="),
        ("a colon instead of the =", instead(url, "url: \"mqtt://192.168.1.10:1883\""), Settings, "line 10 of camera.toml: write = instead of the colon, such as url = \"mqtt://192.168.1.10:1883\""),
        ("the # of a note taken away", instead(device, "The name of this camera: 1 to 64 letters\ndevice = \"porch\""), Settings, "line 1 of camera.toml: this is neither a setting (name = value) nor a [section]; if it is a comment, put # in front of it"),
        ("the note of another language", instead(device, "// my camera\ndevice = \"porch\""), Settings, "line 1 of camera.toml: a comment begins with #"),
        ("a note right behind the text", instead(device, "device = \"porch\" by the door"), Settings, "line 1 of camera.toml: there is text after the closing quote"),
        ("a path of Windows", instead("user = \"porch\"", "ca_file = \"C:\\Users\\me\\ca.pem\""), Settings, "line 11 of camera.toml: a backslash has a special meaning between double quotes; write / instead"),
        ("a section without its bracket", instead("[cloud]", "[cloud"), Settings, "line 9 of camera.toml: a section is a name in brackets on a line of its own, such as [cloud]"),
        // Once too often, or in the wrong place.
        ("a setting twice", instead(device, "device = \"porch\"\ndevice = \"door\""), Settings, "line 2 of camera.toml: device is already set in line 1; delete one of the two"),
        ("a section twice", [GOOD, "[cloud]\nkeep_alive_s = 60\n"].concat().into_bytes(), Settings, "line 19 of camera.toml: this section already begins in line 9"),
        ("a second Wi-Fi with one bracket", instead("[cloud]", "[wifi]\nname = \"Other\"\npassword = \"s3cret s3cret\"\n\n[cloud]"), Settings, "line 9 of camera.toml: for more than one network write [[wifi]], with two brackets"),
        ("two brackets where there is one", instead("[cloud]", "[[cloud]]"), Settings, "line 9 of camera.toml: write [cloud], with one bracket on each side"),
        ("an unknown setting", instead("capture_interval_s = 0", "capture_intervall = 5"), Settings, "line 2 of camera.toml: capture_intervall is not a setting, did you mean capture_interval_s?"),
        ("a setting in the wrong section", instead("[button]\n", "[button]\nurl = \"mqtt://a\"\n"), Settings, "line 15 of camera.toml: button.url is not a setting, did you mean cloud.url?"),
        ("an unknown section", instead("[cloud]", "[clod]"), Settings, "line 9 of camera.toml: [clod] is not a section, did you mean [cloud]?"),
        ("a section of something else", instead("[button]", "[weather]"), Settings, "[weather] is not a section, and nothing below it is used"),
        // A value that it cannot have.
        ("a number in quotes with its unit", instead("capture_interval_s = 0", "capture_interval_s = \"30 s\""), Settings, "line 2 of camera.toml: capture_interval_s = \"30 s\" must be 0 or a whole number, 1 to 604800 seconds; write capture_interval_s = 30, without quotes"),
        ("a number with another unit", instead("capture_interval_s = 0", "capture_interval_s = 5 min"), Settings, "line 2 of camera.toml: write only the number, without unit, comma or quotes"),
        ("a number out of bounds", instead("capture_interval_s = 0", "capture_interval_s = 9999999"), Settings, "capture_interval_s = 9999999 must be 0 or a whole number, 1 to 604800 seconds"),
        ("a fraction", instead("capture_interval_s = 0", "capture_interval_s = 0.5"), Settings, "capture_interval_s = 0.5 must be 0 or a whole number"),
        ("a number where text belongs", instead(device, "device = 7"), Settings, "line 1 of camera.toml: device = 7 must be text (write it in quotes)"),
        ("yes instead of true", [GOOD, "[simulated]\nenabled = yes\n"].concat().into_bytes(), Settings, "line 20 of camera.toml: write true or false, in lower case and without quotes"),
        ("a word that is none of the choice", [GOOD, "mode = \"stedy\"\n"].concat().into_bytes(), Settings, "light.mode = \"stedy\" must be one of steady, heartbeat, off; write mode = \"steady\""),
        ("a pin there is none of", instead("pin = 17", "pin = 40"), Settings, "line 15 of camera.toml: button.pin = 40 must be a whole number, 0 to 27 (the BCM number, not the position on the header)"),
        ("a pin with its name", instead("pin = 17", "pin = \"GPIO17\""), Settings, "write pin = 17, without quotes (the BCM number"),
        ("one pin for both", instead("pin = 17", "pin = 27"), Settings, "button.pin and light.pin are both 27; each needs a pin of its own, such as 17 for the button and 27 for the light"),
        ("a name with a space", instead("\"porch\"", "\"front door\""), Settings, "device = \"front door\" is not a device name: a device name is 1 to 64 of A-Z a-z 0-9 . _ - and starts with a letter or digit; write device = \"front-door\""),
        ("a name with a slash", instead("\"porch\"", "\"house/porch\""), Settings, "write device = \"house-porch\""),
        ("a name that is too long", instead("\"porch\"", &format!("\"{}\"", "porch".repeat(14))), Settings, "is not a device name"),
        ("an emoji for a name", instead("\"porch\"", "\"📷\""), Settings, "write device = \"porch\", or leave it empty"),
        // The cloud.
        ("a cloud without mqtt://", instead(url, "url = \"192.168.1.10\""), Settings, "line 10 of camera.toml: cloud.url = \"192.168.1.10\" must begin with mqtt://, such as mqtt://192.168.1.10:1883; write url = \"mqtt://192.168.1.10\""),
        ("a cloud of another kind", instead(url, "url = \"tcp://cloud.example:1883\""), Settings, "begins with tcp://, use mqtt(s):// or http(s)://; write url = \"mqtt://cloud.example:1883\""),
        ("spaces in the address", instead(url, "url = \"mqtt:// cloud.example\""), Settings, "which is neither a host name nor an IP address; write url = \"mqtt://cloud.example\""),
        ("a path behind the address", instead(url, "url = \"https://cloud.example/index.html\""), Settings, "write url = \"https://cloud.example\""),
        ("a port there is none of", instead(url, "url = \"mqtt://cloud.example:188300\""), Settings, "has the port \"188300\", which must be 1 to 65535"),
        ("a password in the address", instead(url, "url = \"mqtt://me:hunter2@cloud.example\""), Settings, "cloud.url = (hidden) contains a user name; set cloud.user and cloud.password instead"),
        ("no cloud", instead(url, ""), NoFault, "No cloud is set. What to do: write its address into camera.toml"),
        // The Wi-Fi.
        ("a Wi-Fi password that is too short", instead("\"the old secret\"", "\"hunter2\""), Settings, "line 6 of camera.toml: the password of Wi-Fi \"Hytta\" has 7 characters; a Wi-Fi password has 8 to 63"),
        ("a Wi-Fi password with an accent", instead("\"the old secret\"", "\"hunter2 é hunter2\""), Settings, "line 6 of camera.toml: the password of Wi-Fi \"Hytta\" has a character that is not allowed"),
        ("a Wi-Fi password and no name", instead("name = \"Hytta\"\n", ""), Settings, "line 4 of camera.toml: this [[wifi]] has a password but no name"),
        ("a Wi-Fi name that is too long", instead("\"Hytta\"", &format!("\"{}\"", "Hytta".repeat(7))), Settings, "has 35 bytes, and a Wi-Fi name has at most 32"),
        ("a Wi-Fi twice", instead("[cloud]", "[[wifi]]\nname = \"Hytta\"\npassword = \"s3cret s3cret\"\n\n[cloud]"), Settings, "line 10 of camera.toml: Wi-Fi \"Hytta\" is listed twice"),
        ("ssid, as others call it", instead("name = \"Hytta\"", "ssid = \"Hytta\""), Settings, "line 5 of camera.toml: ssid is not a setting of [[wifi]], did you mean name?"),
        ("a country in words", instead("\"NO\"", "\"Norway\""), Settings, "line 7 of camera.toml: a country is two letters; write country = \"NO\" for Norway"),
        ("a Wi-Fi without a password", instead("password = \"the old secret\"\n", ""), Settings, "line 4 of camera.toml: Wi-Fi \"Hytta\" has no password; write password = \"...\" below its name, or password = \"\" if it is open"),
        ("a Wi-Fi with an empty password", instead("\"the old secret\"", "\"\""), NoFault, "The password of Wi-Fi \"Hytta\" is empty, so it can only be joined if it is open."),
        ("a Wi-Fi without a country", instead("country = \"NO\"\n", ""), NoFault, "No country is set for the Wi-Fi"),
        ("no Wi-Fi", instead("[[wifi]]\nname = \"Hytta\"\npassword = \"the old secret\"\ncountry = \"NO\"\n", ""), Network, "No network (fault 2): there is no cable, and no Wi-Fi in camera.toml"),
        // Not the file that was meant.
        ("an empty file", b" \r\n\r\n".to_vec(), Settings, "camera.toml is empty. What to do: put the camera.toml of the image"),
        ("YAML", b"device: porch\ncloud:\n  url: mqtt://192.168.1.10\n".to_vec(), Settings, "line 1 of camera.toml: write = instead of the colon, such as device = \"...\""),
        ("JSON", b"{\"device\": \"porch\", \"cloud\": {\"password\": \"hunter2\"}}".to_vec(), Settings, "camera.toml: the file is JSON; write one setting on each line"),
        ("a web page", b"<!doctype html>\n<title>camera.toml</title>".to_vec(), Settings, "camera.toml: the file is a web page; download the file itself"),
        ("a document of a word processor", b"{\\rtf1\\ansi device = porch}".to_vec(), Settings, "camera.toml: the file is a word processor document (RTF); save it as plain text"),
        ("a Word document", b"PK\x03\x04\x14\x00\x06\x00\x08\x00\xff\xfe\x00".to_vec(), Settings, "camera.toml: the file is a Word document or a zip file"),
        ("noise", noise, Settings, "camera.toml: the file is not a text file"),
        ("a file of 5 MB", vec![b'#'; 5 << 20], Settings, "camera.toml: the file is larger than 64 KB, too large for a settings file"),
    ]
}

#[test]
fn every_mistake_is_explained_and_the_last_good_settings_apply() {
    let mistakes = mistakes();
    assert!(mistakes.len() >= 30, "{}", mistakes.len());
    let mut wrong = String::new();
    for (did, file, light, says) in mistakes {
        let card = Card::with_good_settings();
        card.save("camera.toml", &file);
        let seen = if light == Network {
            without_a_network(|| card.start())
        } else {
            card.start()
        };
        println!("== {did}\n{}\n", sentences(&seen.status));
        for trouble in troubles(&seen, light, says) {
            wrong.push_str(&format!("{did}: {trouble}\n{}\n\n", seen.status));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// In a network of its own, in which there is none; for others than root in the one that is there.
fn without_a_network<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|threads| {
        let thread = threads.spawn(|| {
            if nix::unistd::geteuid().is_root() {
                nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            }
            act()
        });
        thread.join().unwrap()
    })
}

/// Returns the unmet expectations.
fn troubles(seen: &Seen, light: Light, says: &str) -> Vec<String> {
    let mut found = Vec::new();
    // Where there is a cable, as on most computers that test this, there is a network.
    let has_network = seen.status.contains("Network: by cable");
    let cannot_be_seen = light == Network && has_network;
    if !cannot_be_seen && !seen.status.contains(says) {
        found.push(format!("it does not say: {says}"));
    }
    for secret in SECRETS {
        if seen.status.contains(secret) {
            found.push(format!("it tells {secret}"));
        }
    }
    if seen.is_bad != (light == Settings) {
        found.push(format!("fault 1 is {}", seen.is_bad));
    }
    let tells_fault_1 = seen.status.contains("the last good settings are used (fault 1)");
    if tells_fault_1 != (light == Settings) {
        found.push("what is told of fault 1 is not what the light says".to_owned());
    }
    if light == Settings {
        let (device, cloud) = (&seen.config.device, &seen.config.cloud);
        if device.as_ref().is_none_or(|name| name.as_str() != "porch")
            || cloud.url.host != "192.168.1.10"
            || cloud.password != "broker secret"
        {
            found.push("the camera has not its last good settings".to_owned());
        }
    }
    found
}

/// The sentences of the last start about the file.
fn sentences(status: &str) -> String {
    let lines = status.lines().skip(3);
    lines
        .filter(|line| !line.contains("Network: ") && !line.contains("Camera: "))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_card_without_settings_keeps_its_previous_ones() {
    let card = Card::with_good_settings();
    card.assert_start(Settings, "There is no camera.toml on this card. What to do: put");
    let prepared = fs::read_to_string(card.paths.run.join("prepared.json")).unwrap();
    assert!(prepared.contains("Hytta"), "the Wi-Fi of the last good settings is tried");

    // A folder of that name is none either.
    fs::create_dir(card.paths.boot.join("camera.toml")).unwrap();
    card.assert_start(Settings, "camera.toml is a folder, not a file");
}

#[test]
fn a_card_that_never_had_settings_reports_that_the_camera_works_without_them() {
    let card = Card::new();
    let seen = card.start();
    assert!(seen.is_bad, "fault 1");
    for says in [
        "There is no camera.toml on this card",
        "no Wi-Fi, no cloud; pictures are kept on this card",
    ] {
        assert!(seen.status.contains(says), "{}", seen.status);
    }
}

#[test]
fn the_newer_of_two_files_is_read_and_the_other_is_named() {
    for (other, first) in [("camera.toml.txt", true), ("camera.txt", true), ("camera (1).toml", false)] {
        let card = Card::with_good_settings();
        let mut names = ["camera.toml", other];
        if !first {
            names.reverse();
        }
        let [old, new] = names;
        card.save(old, &instead("porch", "old"));
        card.save(new, &instead("porch", "new"));
        let then = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
        let file = fs::File::options().write(true).open(card.paths.boot.join(old)).unwrap();
        file.set_modified(then).unwrap();
        let says = format!(
            "There are several settings files. {new} was read, because it was changed last; {old} was ignored."
        );
        let seen = card.assert_start(NoFault, &says);
        assert_eq!(seen.config.device.unwrap().as_str(), "new");
    }
    let card = Card::with_good_settings();
    card.save("camera.toml.txt", &instead("\"porch\"", "\"porch"));
    card.assert_start(Settings, "Mistake in line 1 of camera.toml.txt: the closing quote is missing");
}

#[test]
fn settings_without_read_permission_are_reported() {
    let card = Card::with_good_settings();
    card.save("camera.toml", GOOD.as_bytes());
    let closed = fs::Permissions::from_mode(0o000);
    fs::set_permissions(card.paths.boot.join("camera.toml"), closed).unwrap();
    let nobody = nix::unistd::Uid::from_raw(65534);
    let is_root = nix::unistd::geteuid().is_root();
    if is_root {
        // Root reads everything; this thread acts as another user for a while.
        let closed = card.paths.boot.join("camera.toml");
        let mut paths = vec![card.root.path().to_owned()];
        while let Some(path) = paths.pop() {
            if path == closed {
                continue;
            }
            nix::unistd::chown(&path, Some(nobody), None).unwrap();
            if path.is_dir() {
                paths.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
        nix::unistd::setfsuid(nobody);
    }
    let seen = card.start();
    if is_root {
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(0));
    }
    let says = "camera.toml cannot be read: its permissions do not allow it";
    assert_eq!(troubles(&seen, Settings, says), [""; 0], "{}", seen.status);
}

/// One missing quote costs neither the Wi-Fi nor the other mistakes their sentences.
#[test]
fn every_line_is_checked_separately() {
    let card = Card::new();
    card.save(
        "camera.toml",
        b"device = \"porch\n[[wifi]]\nname = \"Home\"\npassword = \"s3cret s3cret\"\n[cloud]\nurl \"mqtt://a\"\nuser = \"me\"\n[button]\npin = 99\n",
    );
    let seen = card.start();
    for says in ["line 1 of", "line 6 of", "line 9 of", "the rest of the file is used (fault 1)"] {
        assert!(seen.status.contains(says), "{says}\n{}", seen.status);
    }
    assert_eq!(seen.config.cloud.user, "me");
    let prepared = fs::read_to_string(card.paths.run.join("prepared.json")).unwrap();
    assert!(prepared.contains("Home"), "the Wi-Fi below the mistake is tried");
}

/// Runs the whole camera: presses are saved whatever the file contains, and the LED shows fault 1.
#[test]
fn with_bad_settings_and_no_good_ones_pictures_are_taken_and_kept() {
    for (file, device) in [
        (&b"device = \"porch\n[cloud]\nurl = mqtt://\n[camera]\nwidth = \"wide\"\n"[..], None),
        (b"{\"device\": \"porch\"}", None),
        (b"device = \"porch\"\n[cloud\nurl = \"mqtt://127.0.0.1:9\"\n", Some("porch")),
    ] {
        let card = Card::new();
        card.save("camera.toml", file);
        sd_card::prepare(&card.paths).unwrap();
        let events = press_twice(&card.paths.etc.join("keepsake/camera.toml"), &card.pictures());
        let count = |what: &str| events.iter().filter(|event| event.contains(what)).count();
        assert_eq!(count(r#""event":"saved""#), 2, "{events:#?}");
        assert_eq!(count(r#""event":"light","pattern":"fault-1"#).min(1), 1, "{events:#?}");
        if let Some(device) = device {
            assert_eq!(count(&format!(r#""event":"ready","device":"{device}""#)), 1, "{events:#?}");
        }
        let kept = export::files(&card.pictures()).unwrap();
        let pictures = kept.iter().filter(|file| file.verify().is_ok()).count();
        assert_eq!(pictures, 2, "{events:#?}");
    }
}

/// The last lines it says when it is stopped after two presses and the sight of its fault.
fn press_twice(settings: &Path, pictures: &Path) -> Vec<String> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_appliance"))
        .args(["run", "--simulated", "--events", "--config"])
        .arg(settings)
        .arg("--spool")
        .arg(pictures)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut keyboard = child.stdin.take().unwrap();
    keyboard.write_all(b"\n\n").unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    // A camera that never says it must not hang the test: the end of its output fails it.
    std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_secs(120));
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    });
    let mut events = Vec::new();
    let mut asked = false;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        events.push(line.unwrap());
        let has = |what: &str, times: usize| events.iter().filter(|event| event.contains(what)).count() >= times;
        if !asked && has(r#""event":"saved""#, 2) && has("fault-1", 1) {
            asked = true;
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        }
    }
    assert!(child.wait().unwrap().success(), "{events:#?}");
    events
}
