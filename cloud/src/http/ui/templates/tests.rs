//! All pages with views that show every state, and with texts that would like to be code.
//!
//! `KEEPSAKE_PAGE_PREVIEW=DIR cargo test -p keepsake-cloud pages_render` writes them into DIR, to be looked at.

use std::fs;
use std::path::Path;

use axum::http::StatusCode;
use keepsake_protocol::capture::{Cause, ContentType};
use keepsake_protocol::clock::ClockReading;
use keepsake_protocol::command::{CommandKind, CommandStage};
use keepsake_protocol::event::{BootClockOffset, TombstoneReason};
use keepsake_protocol::id::{BootId, CaptureId, DeviceId, Hash, PictureId, Sequence, SpoolId, StoreId};
use keepsake_protocol::presence::{Health, LedStatus, Presence, Queue};
use maud::Render;

use crate::auth::{Role, TokenScope};
use crate::http::ui::badge::Tone;
use crate::http::ui::components::{counters_line, headline, status_summary};
use crate::http::ui::format::capitalize;
use crate::http::ui::language::Language;
use crate::http::ui::templates::*;
use crate::pictures::capture_time::{CaptureTime, PressEvidence};

/// 21 November 2026, 14:32:09 UTC.
const NOW_US: i64 = 1_795_271_529_000_000;
const S: i64 = 1_000_000;
const MIN: i64 = 60 * S;
const HOUR: i64 = 60 * MIN;
const HOSTILE: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>&amp; style=\"x\" javascript:1";

#[test]
fn pages_render() {
    let preview = std::env::var_os("KEEPSAKE_PAGE_PREVIEW");
    for language in Language::ALL {
        for (name, page) in all_pages(language) {
            let html = page.into_string();
            assert_obeys_the_policy(name, &html);
            if let Some(folder) = &preview {
                let folder = Path::new(folder).join(language.code());
                fs::create_dir_all(&folder).unwrap();
                fs::write(folder.join(format!("{name}.html")), html).unwrap();
            }
        }
    }
}

/// The texts of the disguised language have no letter of the Latin alphabet, so each one left is data or a text that is
/// not from a message file.
#[test]
fn every_text_is_from_a_message_file() {
    const SENTENCES: &[&str] = &[
        HOSTILE,
        "no video device answered under /dev/video*",
        "connection refused",
        "the header is 70,000 bytes long, more than 4,096",
        "the hash in the header is not the hash of the bytes",
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0",
    ];
    const WORDS: &[&str] = &[
        "Keepsake",
        "SHA",
        "UTC",
        "English",
        "KB",
        "MB",
        "GB",
        "TB",
        "B",
        "C",
        "ada",
        "grace",
        "porch",
        "boat",
        "shed",
        "north",
        "field",
        "greenhouse",
        "jetty",
        "camera",
        "prometheus",
        "image",
        "jpeg",
        "steady",
        "heartbeat",
        "off",
    ];
    let mut found = Vec::new();
    for (name, page) in all_pages(Language::Disguised) {
        if name.contains("hostile") {
            continue;
        }
        let mut html = page.into_string();
        for sentence in SENTENCES {
            html = html
                .replace(&sentence.render().0, "")
                .replace(&capitalize(sentence).render().0, "");
        }
        for text in shown_texts(&html) {
            let is_word = |word: &&str| word.chars().any(|letter| letter.is_ascii_alphabetic());
            let words = text
                .split(|letter: char| !letter.is_ascii_alphanumeric())
                .filter(is_word);
            let unknown: Vec<_> = words.filter(|word| !WORDS.contains(word)).collect();
            if !unknown.is_empty() {
                found.push(format!("{name}: {text:?}: {unknown:?}"));
            }
        }
    }
    assert!(
        found.is_empty(),
        "not from a message file:
{}",
        found.join(
            "
"
        )
    );
}

/// The texts between tags and in the attributes that a person sees or hears, without code and times.
fn shown_texts(html: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let mut hidden = 0_u32;
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        if hidden == 0 {
            texts.push(rest[..start].to_owned());
        }
        let (tag, after) = read_tag(&rest[start + 1..]);
        rest = after;
        let name = tag[0].0.as_str();
        match name {
            "code" | "pre" | "time" => hidden += 1,
            "/code" | "/pre" | "/time" => hidden -= 1,
            _ => {}
        }
        let shown = ["aria-label", "alt", "placeholder", "title"];
        let attributes = tag[1..].iter().filter(|(name, _)| shown.contains(&name.as_str()));
        if hidden == 0 {
            texts.extend(attributes.map(|(_, value)| value.clone()));
        }
    }
    texts
}

#[test]
fn the_line_of_counters_is_exact() {
    let cases = [
        (
            Counters {
                stored: 1204,
                ..Counters::default()
            },
            false,
            "1,204 pressed, 1,204 stored, 0 held, 0 missing",
        ),
        (
            Counters {
                stored: 1000,
                deleted: 3,
                told: 5,
                held: 38,
                missing: 2,
            },
            false,
            "1,048 pressed, 1,000 stored, 3 deleted, 5 without a picture, 38 held, 2 missing",
        ),
        (
            Counters {
                stored: 1,
                held: 7,
                ..Counters::default()
            },
            true,
            "8 pressed, 1 stored, up to 7 held, at least 0 missing",
        ),
    ];
    for (counters, coarse, line) in cases {
        assert_eq!(counters_line(Language::English, &counters, coarse).0, line);
    }
    let html = cameras_page(&site(), &cameras()).into_string();
    assert!(html.contains(">1,204 pressed, 1,204 stored, 0 held, 0 missing<"));
}

fn summary(cameras: &[CameraView], hold: bool) -> (String, Vec<(Tone, String)>) {
    let (lead, troubles) = status_summary(Language::English, cameras, hold);
    (
        lead.0,
        troubles.into_iter().map(|(tone, text)| (tone, text.0)).collect(),
    )
}

#[test]
fn the_promise_is_made_only_when_it_holds() {
    let well = vec![
        camera("porch", Some(Presence::Online)),
        camera("field", Some(Presence::Offline)),
        camera("uploads", None),
    ];
    let holds = "1 of 2 online. Every picture is either in the cloud or safe on a card.";
    assert_eq!(summary(&well, false), (holds.to_owned(), Vec::new()));

    let with = |change: &dyn Fn(&mut CameraView)| {
        let mut cameras = well.clone();
        change(&mut cameras[0]);
        summary(&cameras, true)
    };
    let (lead, troubles) = with(&|camera| camera.counters.missing = 3);
    assert!(!lead.contains("Every"), "{lead}");
    assert_eq!(troubles[0].0, Tone::Err);
    assert_eq!(
        troubles[0].1,
        "3 pictures are missing (porch): taken, but neither in the cloud nor on a known card."
    );
    let (lead, _) = with(&|camera| camera.coarse = true);
    assert!(lead.contains("as far as the cameras could list them"), "{lead}");
    let (lead, _) = with(&|camera| camera.counters.deleted = 1);
    assert!(lead.ends_with("or deleted by you."), "{lead}");
    for (change, words) in [
        (
            (&|camera: &mut CameraView| camera.conflicts = 2) as &dyn Fn(&mut CameraView),
            "copied or restored",
        ),
        (&|camera| camera.damaged = 1, "1 picture does not decode"),
        (&|camera| camera.counters.told = 5, "5 presses gave no picture"),
        (
            &|camera| camera.counters.held = 4,
            "4 pictures wait on cards until the cloud takes pictures again",
        ),
        (&|camera| camera.queue.parked = 1, "the cloud refuses it"),
    ] {
        let (_, troubles) = with(change);
        assert!(troubles[0].1.contains(words), "{troubles:?}");
    }
    let mut new = camera("new", Some(Presence::Online));
    new.counters = Counters::default();
    assert_eq!(
        summary(&[new], false).0,
        "1 of 1 online. No picture has been taken yet."
    );
}

#[test]
fn the_headline_is_the_worst_there_is_to_say() {
    let online = camera("porch", Some(Presence::Online));
    let say = |change: &dyn Fn(&mut CameraView)| {
        let mut camera = online.clone();
        change(&mut camera);
        let (tone, words) = headline(Language::English, &camera, NOW_US);
        (tone.as_str(), words.into_string())
    };
    assert_eq!(say(&|_| ()), ("ok", "Online".to_owned()));
    assert_eq!(
        say(&|c| c.queue.waiting = 38),
        ("wait", "Online, 38 waiting".to_owned())
    );
    let full = |c: &mut CameraView| {
        c.queue.waiting = 38;
        c.health.card_free = c.health.card_total / 11;
    };
    assert_eq!(say(&full), ("err", "Card nearly full".to_owned()));
    let fault = |c: &mut CameraView| {
        full(c);
        c.faults = vec![5];
    };
    assert_eq!(say(&fault), ("err", "Camera not found".to_owned()));
    let (tone, words) = say(&|c| {
        fault(c);
        c.presence = Some(Presence::Offline);
        c.last_seen_us = NOW_US - 130 * MIN;
    });
    assert!(
        tone == "off" && words.starts_with("Offline <time") && words.contains(">2 h 10 min<"),
        "{words}"
    );
}

#[test]
fn a_time_that_nobody_knew_is_not_shown_as_known() {
    let mut guessed = picture("porch", 7, NOW_US - MIN);
    guessed.pressed.synchronised = false;
    guessed.taken = taken(&guessed, None, &[]);
    let show = |picture: &PictureView| {
        picture_page(
            &site(),
            &PictureDetailView {
                picture: picture.clone(),
                newer: None,
                older: None,
                twins: Vec::new(),
            },
        )
        .into_string()
    };
    let html = show(&guessed);
    assert!(html.contains("Guessed") && !html.contains("Sure"), "{html}");
    assert!(
        !html.contains("took "),
        "no length of time between two clocks of which one was never set"
    );
    guessed.pressed.wall_us = 17 * S;
    guessed.taken = taken(&guessed, None, &[]);
    let html = show(&guessed);
    assert!(!html.contains("1970"), "{html}");
    assert!(html.contains("<h1>before <time"), "{html}");

    // The card had noted a time two hours before, then one a minute before.
    guessed.sent_after_us = None;
    guessed.taken = taken(&guessed, Some(NOW_US - 2 * HOUR), &[]);
    let html = show(&guessed);
    assert!(html.contains("<h1>between <time"), "{html}");
    assert!(html.contains("Sat 21 Nov 2026 12:32:09"), "{html}");
    guessed.taken = taken(&guessed, Some(NOW_US - 2 * MIN), &[]);
    let html = show(&guessed);
    assert!(html.contains("<h1>about <time"), "{html}");
}

#[test]
fn a_picture_says_how_its_time_became_known() {
    let show = |picture: &PictureView| {
        let view = PictureDetailView {
            picture: picture.clone(),
            newer: None,
            older: None,
            twins: Vec::new(),
        };
        picture_page(&site(), &view).into_string()
    };
    let mut picture = picture("porch", 7, NOW_US - MIN);
    let html = show(&picture);
    assert!(html.contains("Sure, ±40 ms"), "{html}");

    // Its clock was three hours behind, and was set ten minutes after the press.
    let mut later = picture.pressed;
    later.boottime_us += 600_000_000;
    later.wall_us += 10 * MIN;
    let line = BootClockOffset::from_reading(&later).unwrap();
    picture.pressed.synchronised = false;
    picture.pressed.wall_us -= 3 * HOUR;
    picture.taken = taken(&picture, None, std::slice::from_ref(&line));
    let html = show(&picture);
    assert!(html.contains("Corrected, ±340 ms"), "{html}");
    assert!(html.contains("moved by +3 h."), "{html}");
    assert!(html.contains("took 4.1 s"), "{html}");

    // And then back by a day, and called right again.
    let back = BootClockOffset {
        offset_us: line.offset_us - 24 * HOUR,
        ..line.clone()
    };
    picture.taken = taken(&picture, None, &[line, back]);
    let html = show(&picture);
    assert!(
        html.contains("Guessed") && html.contains("contradicts itself"),
        "{html}"
    );
    assert!(html.contains("<h1>between <time") && !html.contains("took "), "{html}");
}

/// What the store would say of this picture.
fn taken(picture: &PictureView, not_before_us: Option<i64>, lines: &[BootClockOffset]) -> CaptureTime {
    let press = PressEvidence {
        clock: &picture.pressed,
        stored_us: picture.stored_us,
        sent_after_us: picture.sent_after_us,
        not_before_us,
    };
    crate::pictures::capture_time::capture_time(&press, lines)
}

#[test]
fn a_camera_that_is_away_is_not_asked() {
    let mut view = device();
    view.camera.presence = Some(Presence::Offline);
    let html = camera_page(&site(), &view).into_string();
    // Snap, identify, restart and diagnostics.
    assert_eq!(html.matches(" id=\"ask-").count(), 4, "{html}");
    assert_eq!(html.matches(" disabled").count(), 4, "{html}");
    assert!(html.contains("Offline. Commands are available again"));
}

#[test]
fn tombstones_of_one_reason_are_one_sentence() {
    let html = camera_page(&site(), &device()).into_string();
    assert!(html.contains("5 presses without a picture: camera not found"), "{html}");
}

/// What the browser would refuse to run or draw must not be there at all.
fn assert_obeys_the_policy(name: &str, html: &str) {
    let mut scripts = 0;
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        let (tag, after) = read_tag(rest);
        rest = after;
        let element = tag.first().map(|(name, _)| name.as_str()).unwrap_or_default();
        assert_ne!(element, "style", "{name}: inline style");
        if element == "script" {
            scripts += 1;
            assert!(
                tag.iter()
                    .any(|(name, value)| name == "src" && value.starts_with("/assets/")),
                "{name}: {tag:?}"
            );
            assert!(rest.starts_with("</script>"), "{name}: inline script");
        }
        for (attribute, value) in &tag[1..] {
            assert!(
                !attribute.starts_with("on") && attribute != "style",
                "{name}: {attribute}={value}"
            );
            if ["href", "src", "action", "data-src"].contains(&attribute.as_str()) {
                assert!(
                    value.starts_with('/') || value == "#main",
                    "{name}: {attribute}={value}"
                );
            }
        }
    }
    // The pages before the log-in need none.
    assert!(scripts <= 1, "{name}");
    assert!(
        !html.contains("<script>") && !html.contains("<img src=x"),
        "{name}: something was not escaped"
    );
    assert_eq!(html.matches("<h1").count(), 1, "{name}: one heading for the page");
    assert!(
        html.matches("role=\"status\"").count() <= 1,
        "{name}: one voice for the page"
    );
    let mut ids: Vec<&str> = html
        .split(" id=\"")
        .skip(1)
        .filter_map(|s| s.split('"').next())
        .collect();
    ids.sort_unstable();
    let all = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), all, "{name}: an id stands twice");
}

type Attributes = Vec<(String, String)>;

/// The name and attributes of the tag whose `<` is just behind, and what follows its `>`.
fn read_tag(text: &str) -> (Attributes, &str) {
    let mut attributes = vec![(String::new(), String::new())];
    let mut quoted = false;
    for (index, letter) in text.char_indices() {
        let last = attributes.last_mut().unwrap();
        match letter {
            '"' => quoted = !quoted,
            '>' if !quoted => return (attributes, &text[index + 1..]),
            ' ' if !quoted => attributes.push((String::new(), String::new())),
            _ if quoted => last.1.push(letter),
            '=' => {}
            _ => last.0.push(letter),
        }
    }
    panic!("a tag without an end: {text}");
}

fn all_pages(language: Language) -> Vec<(&'static str, Markup)> {
    let site = site_in(language);
    let visitor = &site.visitor;
    let on_hold = PageContext {
        hold: Some("the cloud's disk is nearly full: 900 MiB free, 1024 MiB are kept free".to_owned()),
        quarantined: 3,
        ..site.clone()
    };
    let hostile = PageContext {
        version: HOSTILE.to_owned(),
        http: HOSTILE.to_owned(),
        mqtt: HOSTILE.to_owned(),
        hold: Some(HOSTILE.to_owned()),
        warnings: vec![HOSTILE.to_owned()],
        ..site.clone()
    };
    let gallery = gallery();
    let filtered = GalleryView {
        device: Some(id("boat-shed")),
        newer: Some(900),
        older: Some(700),
        pictures: gallery.pictures.iter().take(30).cloned().collect(),
        ..gallery.clone()
    };
    let nothing = GalleryView {
        cameras: Vec::new(),
        device: None,
        pictures: Vec::new(),
        total: 0,
        newer: None,
        older: None,
    };
    let mut twin = picture("boat-shed", 12, NOW_US - MIN);
    twin.conflict = true;
    twin.damaged = true;
    twin.attempt = 2;
    let mut guessed = picture("north-field", 9, NOW_US - 2 * HOUR);
    guessed.pressed.synchronised = false;
    guessed.taken = taken(&guessed, None, &[]);
    let other = picture("boat-shed", 13, NOW_US).id;
    let detail = |picture: &PictureView, twins: Vec<PictureId>| {
        picture_page(
            &site,
            &PictureDetailView {
                picture: picture.clone(),
                newer: Some(other),
                older: Some(other),
                twins,
            },
        )
    };
    let mut upload = picture("camera", 3, NOW_US - MIN);
    upload.cause = Cause::Upload;
    let mut still = device();
    still.commands.remove(0);
    still.camera.faults.clear();
    still.camera.counters = Counters {
        stored: 311,
        ..Counters::default()
    };
    still.camera.conflicts = 0;
    still.camera.installs.truncate(1);
    vec![
        ("cameras", cameras_page(&site, &cameras())),
        ("settings", settings_page(&site, &settings())),
        ("settings-hostile", settings_page(&hostile, &hostile_settings())),
        ("cameras-hold", cameras_page(&on_hold, &cameras())),
        (
            "cameras-none",
            cameras_page(&site, &CamerasView { cameras: Vec::new() }),
        ),
        (
            "cameras-hostile",
            cameras_page(
                &hostile,
                &CamerasView {
                    cameras: vec![hostile_device().camera],
                },
            ),
        ),
        (
            "cameras-none-hostile",
            cameras_page(&hostile, &CamerasView { cameras: Vec::new() }),
        ),
        ("camera", camera_page(&site, &device())),
        ("camera-still", camera_page(&site, &still)),
        ("camera-hostile", camera_page(&hostile, &hostile_device())),
        ("camera-new", camera_page(&site, &new_device(Some(Presence::Online)))),
        ("camera-upload", camera_page(&site, &new_device(None))),
        ("pictures", gallery_page(&site, &gallery)),
        ("pictures-camera", gallery_page(&site, &filtered)),
        ("pictures-none", gallery_page(&site, &nothing)),
        ("picture", detail(&picture("boat-shed", 12, NOW_US - MIN), Vec::new())),
        ("picture-conflict", detail(&twin, vec![other])),
        ("picture-guessed", detail(&guessed, Vec::new())),
        ("picture-upload", detail(&upload, Vec::new())),
        ("quarantine", quarantine_page(&on_hold, &quarantine())),
        (
            "quarantine-none",
            quarantine_page(&site, &QuarantineView { rows: Vec::new() }),
        ),
        ("problem", problem_page(&site, StatusCode::NOT_FOUND, HOSTILE)),
        ("refusal", denied_page(visitor, StatusCode::FORBIDDEN, HOSTILE)),
        ("setup", setup_page(visitor, &set_up(""))),
        ("setup-wrong", setup_page(visitor, &set_up(HOSTILE))),
        ("login", login_page(visitor, &log_in(""))),
        ("login-wrong", login_page(visitor, &log_in(HOSTILE))),
        (
            "invitation",
            invitation_page(
                visitor,
                &InvitationView {
                    name: Some("ada".to_owned()),
                    code: HOSTILE.to_owned(),
                    wrong: Some(HOSTILE.to_owned()),
                },
            ),
        ),
        (
            "invitation-over",
            invitation_page(
                visitor,
                &InvitationView {
                    name: None,
                    code: HOSTILE.to_owned(),
                    wrong: None,
                },
            ),
        ),
        ("account", account_page(&site, &account())),
        ("users", users_page(&site, &people())),
        ("tokens", tokens_page(&site, &keys())),
    ]
}

fn set_up(text: &str) -> SetupView {
    SetupView {
        code: text.to_owned(),
        name: text.to_owned(),
        wrong: (!text.is_empty()).then(|| text.to_owned()),
        plain_http: !text.is_empty(),
    }
}

fn log_in(text: &str) -> LoginView {
    LoginView {
        name: text.to_owned(),
        next: text.to_owned(),
        wrong: (!text.is_empty()).then(|| text.to_owned()),
        plain_http: !text.is_empty(),
    }
}

fn account() -> AccountView {
    let session = |id: &str, agent: &str, this| SessionView {
        id: id.to_owned(),
        this,
        created_us: NOW_US - 30 * HOUR,
        used_us: NOW_US - MIN,
        address: "203.0.113.7".to_owned(),
        agent: agent.to_owned(),
    };
    AccountView {
        wrong: Some("Current password is incorrect.".to_owned()),
        sessions: vec![
            session("1", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0", true),
            session("2", HOSTILE, false),
        ],
    }
}

fn people() -> UsersView {
    let person = |name: &str, role, has_password, current_user| UserView {
        id: "00".repeat(16),
        name: name.to_owned(),
        role,
        current_user,
        has_password,
        seen_us: has_password.then_some(NOW_US - HOUR),
    };
    UsersView {
        invited: Some(("grace".to_owned(), "/invitation?code=0123".to_owned())),
        users: vec![
            person("ada", Role::Owner, true, true),
            person("grace", Role::Viewer, false, false),
            person(HOSTILE, Role::Operator, true, false),
        ],
    }
}

fn keys() -> TokensView {
    let key = |name: &str, scope, used_us| TokenView {
        id: "00".repeat(16),
        name: name.to_owned(),
        scope,
        created_us: NOW_US - HOUR,
        used_us,
    };
    TokensView {
        made: Some((HOSTILE.to_owned(), "ks_0123".to_owned())),
        cameras: vec![id("porch")],
        tokens: vec![
            key("prometheus", TokenScope::Role(Role::Viewer), Some(NOW_US - MIN)),
            key(HOSTILE, TokenScope::Camera(id("porch")), None),
        ],
    }
}

#[test]
fn the_time_of_a_report_is_that_of_its_numbers() {
    let mut view = new_device(Some(Presence::Online));
    view.camera.last_seen_us = NOW_US - S;
    view.camera.status_us = Some(NOW_US - 50 * MIN);
    assert_eq!(view.camera.reported_us(), NOW_US - 50 * MIN);
    view.camera.status_us = None;
    assert_eq!(view.camera.reported_us(), NOW_US - S);
}

#[test]
fn a_viewer_sees_no_button_that_only_an_operator_may_press() {
    let owner = site();
    let looks = PageContext {
        role: Role::Viewer,
        ..site()
    };
    let camera = |site| camera_page(site, &device()).into_string();
    assert!(camera(&owner).contains("ask-snap"));
    for button in ["ask-snap", "ask-identify", "ask-diagnostics", "ask-restart"] {
        assert!(camera(&owner).contains(button), "{button}");
        assert!(!camera(&looks).contains(button), "{button}");
    }
    let account = |site| account_page(site, &account()).into_string();
    assert!(account(&owner).contains("href=\"/users\""));
    assert!(!account(&looks).contains("href=\"/users\""));
}

fn visitor(language: Language) -> Visitor {
    Visitor {
        language,
        here: "/pictures?device=porch".to_owned(),
    }
}

fn site() -> PageContext {
    site_in(Language::English)
}

fn site_in(language: Language) -> PageContext {
    PageContext {
        visitor: visitor(language),
        now_us: NOW_US,
        store: StoreId([0x5e; 16]),
        version: "0.1.0".to_owned(),
        http: "http://127.0.0.1:5000".to_owned(),
        mqtt: "mqtt://127.0.0.1:1883".to_owned(),
        loopback_only: true,
        hold: None,
        warnings: Vec::new(),
        free_bytes: Some(31_800_000_000),
        quarantined: 0,
        user: Some(SignedInUser {
            name: "ada".to_owned(),
            role: Role::Owner,
        }),
        role: Role::Owner,
        origin: "https://cam.example".to_owned(),
    }
}

fn id(name: &str) -> DeviceId {
    name.parse().unwrap()
}

fn moment(wall_us: i64) -> ClockReading {
    ClockReading {
        boot: BootId([1; 16]),
        boottime_us: 3_900_000_000,
        wall_us,
        synchronised: true,
        error_us: 40_000,
    }
}

fn picture(device: &str, sequence: u64, stored_us: i64) -> PictureView {
    let hash = Hash::of(format!("{device} {sequence}").as_bytes());
    let mut picture = PictureView {
        id: PictureId {
            capture: CaptureId {
                spool: SpoolId([0xa1; 16]),
                sequence: Sequence::try_from(sequence).unwrap(),
            },
            hash: hash.prefix(),
        },
        device: id(device),
        hash,
        bytes: 2_512_345,
        content_type: ContentType::Jpeg,
        width: 640,
        height: 427,
        cause: Cause::Button,
        conflict: false,
        damaged: false,
        pressed: moment(stored_us - 4_100_000),
        taken: crate::pictures::capture_time::upload_time(stored_us),
        captured_after_us: 900_000,
        saved_after_us: Some(1_000_000),
        sent_after_us: Some(1_600_000),
        stored_us,
        attempt: 0,
        thumbnail: Thumbnail::Ready,
        color: Some(0x8a_6f_4d),
    };
    picture.taken = taken(&picture, None, &[]);
    picture
}

fn camera(name: &str, presence: Option<Presence>) -> CameraView {
    CameraView {
        device: id(name),
        presence,
        last_seen_us: NOW_US - 2 * S,
        status_us: None,
        counters: Counters {
            stored: 1204,
            ..Counters::default()
        },
        conflicts: 0,
        damaged: 0,
        queue: Queue::default(),
        kept: 12,
        coarse: false,
        light: Some(LedStatus {
            pattern: "ready".to_owned(),
            appearance: "steady".to_owned(),
            meaning: "everything is stored; you can trust it".to_owned(),
        }),
        faults: Vec::new(),
        version: "0.1.0".to_owned(),
        health: Health {
            card_free: 21_000_000_000,
            card_total: 32_000_000_000,
            temperature_mc: Some(47_200),
        },
        latest: Some(picture(name, 1204, NOW_US - 2 * S)),
        installs: vec![SpoolView {
            install: SpoolId([0xa1; 16]),
            counters: Counters {
                stored: 1204,
                ..Counters::default()
            },
        }],
    }
}

fn cameras() -> CamerasView {
    let porch = camera("porch", Some(Presence::Online));
    let shed = device().camera;
    let mut field = camera("north-field", Some(Presence::Offline));
    field.last_seen_us = NOW_US - 130 * MIN;
    field.counters = Counters {
        stored: 88,
        held: 47,
        ..Counters::default()
    };
    field.queue.waiting = 47;
    field.latest = Some(picture("north-field", 88, NOW_US - 132 * MIN));
    let mut greenhouse = camera("greenhouse", Some(Presence::Online));
    greenhouse.counters = Counters {
        stored: 640,
        held: 212,
        missing: 2,
        ..Counters::default()
    };
    greenhouse.queue.waiting = 212;
    greenhouse.health.card_free = 1_000_000_000;
    greenhouse.coarse = true;
    greenhouse.latest = Some(PictureView {
        thumbnail: Thumbnail::Pending,
        ..picture("greenhouse", 640, NOW_US - 149 * S)
    });
    let mut lab = camera("camera", None);
    lab.light = None;
    lab.latest = None;
    CamerasView {
        cameras: vec![porch, shed, field, greenhouse, lab],
    }
}

fn device() -> DeviceView {
    let mut camera = camera("boat-shed", Some(Presence::Online));
    camera.counters = Counters {
        stored: 311,
        told: 5,
        held: 38,
        ..Counters::default()
    };
    camera.conflicts = 1;
    camera.queue = Queue {
        waiting: 38,
        waiting_bytes: 96_000_000,
        oldest: Some(moment(NOW_US - 164 * MIN)),
        parked: 1,
        lost: 0,
        bytes_per_s: Some(180_000),
    };
    camera.faults = vec![5];
    camera.light = Some(LedStatus {
        pattern: "uploading".to_owned(),
        appearance: "even blink, twice a second".to_owned(),
        meaning: "Uploading. Nothing for you to do; pictures are safe on the card meanwhile.".to_owned(),
    });
    camera.latest = Some(picture("boat-shed", 311, NOW_US - 17 * S));
    camera.installs.push(SpoolView {
        install: SpoolId([0x0b; 16]),
        counters: Counters {
            stored: 4,
            ..Counters::default()
        },
    });
    let tombstone = |first: u64, last: u64, reason| TombstoneView {
        install: SpoolId([0xa1; 16]),
        first: first.try_into().unwrap(),
        last: last.try_into().unwrap(),
        reason,
        cause: Cause::Button,
        told_us: NOW_US - 5 * MIN,
        pressed: Some(moment(NOW_US - 6 * MIN)),
    };
    let said = |stage, after: i64| StageView {
        stage,
        at_us: NOW_US - 3_100_000 + 200_000 + after,
        after_us: u64::try_from(after).ok(),
        text: None,
    };
    let command = |id: &str, command, ago: i64, stages| CommandView {
        id: id.to_owned(),
        command,
        created_us: NOW_US - ago,
        expires_us: NOW_US - ago + 30 * S,
        sent_us: Some(NOW_US - ago),
        stages,
        uploading: None,
        stored: None,
        result: None,
    };
    DeviceView {
        camera,
        said: Some(moment(NOW_US - 2 * S)),
        commands: vec![
            CommandView {
                uploading: Some((1_530_000, 2_510_000)),
                ..command(
                    "c3",
                    CommandKind::Snap,
                    3_100_000,
                    vec![
                        said(CommandStage::Accepted, 0),
                        said(CommandStage::Captured, 900_000),
                        said(CommandStage::Saved, 1_000_000),
                    ],
                )
            },
            command(
                "c2",
                CommandKind::Identify,
                HOUR,
                vec![said(CommandStage::Accepted, 0), said(CommandStage::Done, 1_400_000)],
            ),
            CommandView {
                stored: Some((picture("boat-shed", 300, NOW_US).id, NOW_US - 2 * HOUR + 4_100_000)),
                ..command("c1", CommandKind::Snap, 2 * HOUR, Vec::new())
            },
            command("c0", CommandKind::Snap, 20 * HOUR, Vec::new()),
        ],
        tombstones: vec![
            tombstone(320, 320, TombstoneReason::CameraNotFound),
            tombstone(316, 319, TombstoneReason::CameraNotFound),
            tombstone(200, 200, TombstoneReason::PowerLostWhileSaving),
        ],
        faults: vec![
            FaultView {
                number: 5,
                text: "no video device answered under /dev/video*".to_owned(),
                told_us: NOW_US - 5 * MIN,
            },
            FaultView {
                number: 3,
                text: "connection refused".to_owned(),
                told_us: NOW_US - 3 * HOUR,
            },
        ],
        recent: (300..312)
            .rev()
            .map(|n| picture("boat-shed", n, NOW_US - (312 - i64::try_from(n).unwrap()) * MIN))
            .collect(),
        settings: Some(settings()),
    }
}

fn new_device(presence: Option<Presence>) -> DeviceView {
    let mut camera = camera("jetty", presence);
    camera.counters = Counters::default();
    camera.latest = None;
    camera.installs.clear();
    if presence.is_none() {
        camera.light = None;
        camera.version = String::new();
        camera.health = Health::default();
    }
    DeviceView {
        camera,
        said: None,
        commands: Vec::new(),
        tombstones: Vec::new(),
        faults: Vec::new(),
        recent: Vec::new(),
        settings: None,
    }
}

/// A form with a field of every kind, some wished for, one of them not taken.
fn settings() -> SettingsView {
    let field = |name, what, kind, value: &str| FieldView {
        name,
        what,
        kind,
        connection: false,
        value: value.to_owned(),
        is_set: !value.is_empty(),
        current: Some("60".to_owned()),
        rejected: None,
    };
    let seconds = FieldKind::Number {
        min: 1,
        max: 604_800,
        or_zero: true,
        unit: "seconds",
    };
    SettingsView {
        device: "boat-shed".parse().unwrap(),
        version: 13,
        changed_us: Some(NOW_US - HOUR),
        camera_version: 13,
        state: SettingsState::Partly,
        rejected: vec![(
            "light.mode".to_owned(),
            "is set by the command line of the camera, which overrides it".to_owned(),
        )],
        fields: vec![
            field(
                "capture_interval_s",
                "Takes a picture automatically at this interval.",
                seconds,
                "60",
            ),
            FieldView {
                rejected: Some("is set by the command line of the camera, which overrides it".to_owned()),
                ..field(
                    "light.mode",
                    "Ready is a steady light, or a wink.",
                    FieldKind::Choice(&["steady", "heartbeat", "off"]),
                    "heartbeat",
                )
            },
            FieldView {
                connection: true,
                ..field("cloud.url", "Where it finds the cloud.", FieldKind::Text, "")
            },
            FieldView {
                connection: true,
                current: None,
                is_set: true,
                ..field("cloud.password", "Its password.", FieldKind::Token, "")
            },
        ],
        problem: None,
    }
}

#[test]
fn every_state_of_settings_is_said_in_words() {
    let said = |state, rejected| {
        let view = SettingsView {
            state,
            rejected,
            ..settings()
        };
        settings_page(&site(), &view).into_string()
    };
    for (state, says) in [
        (SettingsState::None, "is using camera.toml on the device"),
        (SettingsState::Waiting, "waiting for the camera"),
        (SettingsState::Applied, "is applied"),
        (
            SettingsState::Trying {
                names: vec!["cloud.url".to_owned()],
                for_s: 240,
            },
            "reverted in",
        ),
        (SettingsState::Ahead { version: 20 }, "restored from a backup"),
    ] {
        let html = said(state, Vec::new());
        assert!(html.contains(says), "{says}");
    }
    let html = said(SettingsState::Partly, vec![(HOSTILE.to_owned(), HOSTILE.to_owned())]);
    assert!(html.contains("except for 1 setting that the camera rejected"));
    // A secret is not in the page, whatever is wished for.
    assert!(html.contains("type=\"password\"") && html.contains("unchanged"));
}

fn hostile_device() -> DeviceView {
    let mut view = device();
    view.camera.light = Some(LedStatus {
        pattern: HOSTILE.to_owned(),
        appearance: HOSTILE.to_owned(),
        meaning: HOSTILE.to_owned(),
    });
    view.camera.version = HOSTILE.to_owned();
    view.camera.faults = vec![0, 5, 255];
    for fault in &mut view.faults {
        fault.text = HOSTILE.to_owned();
    }
    let said = view.settings.as_mut().unwrap();
    said.rejected = vec![(HOSTILE.to_owned(), HOSTILE.to_owned())];
    said.state = SettingsState::Trying {
        names: vec![HOSTILE.to_owned()],
        for_s: u64::MAX,
    };
    view.commands[0].result = Some(hostile_result());
    for command in &mut view.commands {
        command.id = HOSTILE.to_owned();
        command.created_us = i64::MIN;
        command.expires_us = i64::MAX;
        command.stages.push(StageView {
            stage: CommandStage::Failed,
            at_us: i64::MAX,
            after_us: Some(u64::MAX),
            text: Some(HOSTILE.to_owned()),
        });
    }
    view.commands[0].created_us = NOW_US;
    view.camera.queue.oldest = Some(moment(i64::MIN));
    view.camera.queue.waiting_bytes = u64::MAX;
    view.camera.queue.bytes_per_s = Some(1);
    view.said = Some(ClockReading {
        error_us: u64::MAX,
        boottime_us: u64::MAX,
        ..moment(i64::MAX)
    });
    view.camera.health = Health {
        card_free: u64::MAX,
        card_total: u64::MAX,
        temperature_mc: Some(i64::MIN),
    };
    view.camera.counters = Counters {
        stored: u64::MAX,
        deleted: 1,
        told: u64::MAX,
        held: u64::MAX,
        missing: u64::MAX,
    };
    if let Some(latest) = &mut view.camera.latest {
        latest.pressed = moment(i64::MIN);
        latest.captured_after_us = u64::MAX;
        latest.stored_us = i64::MAX;
    }
    view.recent[0].stored_us = i64::MAX;
    view.recent[0].pressed = moment(i64::MIN);
    view.recent[0].taken = taken(&view.recent[0], None, &[]);
    view
}

fn gallery() -> GalleryView {
    let names = ["porch", "boat-shed", "north-field", "greenhouse"];
    let pictures = (0..100_u64)
        .map(|n| {
            let index = usize::try_from(n % 4).unwrap();
            let mut picture = picture(names[index], 1000 - n, NOW_US - i64::try_from(n).unwrap() * 25 * MIN);
            match n {
                1 => picture.conflict = true,
                2 => picture.damaged = true,
                3 => picture.pressed.synchronised = false,
                4 => picture.thumbnail = Thumbnail::Pending,
                5 => picture.pressed.wall_us -= 30 * HOUR,
                6 => (picture.pressed.synchronised, picture.pressed.wall_us) = (false, 0),
                _ => {}
            }
            picture.taken = taken(&picture, None, &[]);
            picture
        })
        .collect();
    GalleryView {
        cameras: names.iter().map(|name| id(name)).collect(),
        device: None,
        pictures,
        total: 12_431,
        newer: None,
        older: Some(901),
    }
}

fn quarantine() -> QuarantineView {
    let row = |device: &str, reason: &str| QuarantineRow {
        device: device.to_owned(),
        topic: format!("keepsake/v1/{device}/up/frame"),
        reason: reason.to_owned(),
        hash: Hash::of(device.as_bytes()).to_string(),
        bytes: 4711,
        times: 3,
        last_us: NOW_US - HOUR,
    };
    QuarantineView {
        rows: vec![
            row("porch", "the header is 70,000 bytes long, more than 4,096"),
            row("boat-shed", "the hash in the header is not the hash of the bytes"),
            row(HOSTILE, HOSTILE),
        ],
    }
}

fn hostile_settings() -> SettingsView {
    let mut view = settings();
    view.problem = Some(HOSTILE.to_owned());
    view.rejected = vec![(HOSTILE.to_owned(), HOSTILE.to_owned())];
    for field in &mut view.fields {
        field.value = HOSTILE.to_owned();
        field.current = Some(HOSTILE.to_owned());
        field.rejected = Some(HOSTILE.to_owned());
    }
    view
}

/// What a camera says about itself may be anything.
fn hostile_result() -> serde_json::Map<String, serde_json::Value> {
    let deep = (0..40).fold(
        serde_json::json!(HOSTILE),
        |inner, _| serde_json::json!({ HOSTILE: [inner] }),
    );
    [
        (HOSTILE.to_owned(), HOSTILE.into()),
        ("up_for_s".to_owned(), u64::MAX.into()),
        ("temperature_mc".to_owned(), 1.5.into()),
        ("free_bytes".to_owned(), serde_json::json!(-1)),
        (String::new(), deep),
    ]
    .into_iter()
    .collect()
}
