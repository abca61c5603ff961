//! Settings by the API, over the broker and back, with a camera that is a bare MQTT client.

mod harness;

use harness::{Camera, Cloud, WAIT, request_bytes};
use keepsake_protocol::codec;
use keepsake_protocol::command::{Command, CommandKind, CommandReply, CommandStage};
use keepsake_protocol::settings::{DesiredSettings, RejectedSetting, SettingsReport};
use keepsake_protocol::status::Status;
use keepsake_protocol::topic::MessageKind;
use serde_json::{Value, json};

const PATH: &str = "/api/v1/devices/porch/settings";

async fn with_porch() -> (Cloud, Camera) {
    let cloud = Cloud::start(&[]).await;
    let mut porch = Camera::connect(&cloud, "porch", 1).await;
    say(&porch, 0, 0, SettingsReport::default()).await;
    // Known from now on.
    let _: keepsake_protocol::cloud_info::CloudInfo = porch.next(MessageKind::Cloud).await;
    (cloud, porch)
}

/// Sends the status of a camera that has these settings.
async fn say(porch: &Camera, version: u64, mark: u64, state: SettingsReport) {
    let status = Status {
        presence: keepsake_protocol::status::Presence::Online,
        settings_version: version,
        settings: Some(Box::new(SettingsReport { revision: mark, ..state })),
        reported_at: Some(harness::moment()),
        version: "test".to_owned(),
        ..Status::last_will()
    };
    porch.say(MessageKind::Status, codec::encode(&status)).await;
}

async fn put(cloud: &Cloud, headers: &str, body: &Value) -> (u16, String, Value) {
    let body = body.to_string();
    let (status, head, answer) = request_bytes(cloud.ready.http, "PUT", PATH, headers, body.as_bytes()).await;
    (status, head, serde_json::from_slice(&answer).unwrap_or_default())
}

async fn becomes(cloud: &Cloud, state: &str) -> Value {
    let reached = async {
        loop {
            let now = cloud.json(PATH).await;
            if now["state"] == state {
                return now;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(WAIT, reached).await.unwrap_or_else(|_| panic!("never {state}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_goes_out_and_what_became_of_it_comes_back() {
    let (cloud, mut porch) = with_porch().await;
    let before = becomes(&cloud, "none").await;
    assert_eq!((&before["version"], &before["values"]), (&json!(0), &json!({})));
    let known = before["known"].as_array().unwrap();
    let interval = known.iter().find(|one| one["name"] == "capture_interval_s").unwrap();
    assert_eq!((&interval["max"], &interval["default"]), (&json!(604_800), &json!(0)));
    assert_eq!(interval["kind"], "optional-integer");
    assert!(known.iter().all(|one| one["description"].as_str().is_some_and(|text| !text.is_empty())));
    assert!(known.iter().all(|one| one["name"] != "spool.dir"));

    let wished = json!({"version": 0, "values": {"capture_interval_s": 60, "light.mode": "heartbeat"}});
    let (status, head, answer) = put(&cloud, "", &wished).await;
    assert_eq!((status, &answer["version"]), (200, &json!(1)), "{answer}");
    assert!(head.contains("etag: \"1\""), "{head}");
    assert_eq!(answer["state"], "waiting");
    let wire: DesiredSettings = porch.next(MessageKind::Settings).await;
    assert_eq!((wire.version, wire.store), (1, Some(cloud.ready.store)));
    assert_eq!(wire.values["capture_interval_s"], 60);

    let rejected = RejectedSetting {
        name: "light.mode".to_owned(),
        reason: "is set by the command line of the camera, which wins".to_owned(),
    };
    let state = SettingsReport { rejected: vec![rejected], ..SettingsReport::default() };
    say(&porch, 1, wire.revision, state).await;
    let partly = becomes(&cloud, "partly").await;
    assert_eq!(partly["camera"]["rejected"][0]["name"], "light.mode");
    say(&porch, 1, wire.revision, SettingsReport::default()).await;
    becomes(&cloud, "applied").await;
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_has_seen_the_latest_may_change_it() {
    let (cloud, _porch) = with_porch().await;
    let values = |interval: u64| json!({"values": {"capture_interval_s": interval}});
    let (status, _, answer) = put(&cloud, "", &values(1)).await;
    assert_eq!(status, 428, "{answer}");
    let mut first = values(1);
    first["version"] = 0.into();
    assert_eq!(put(&cloud, "", &first).await.0, 200);
    // By the body a conflict, by the header a precondition that does not hold.
    first["values"]["capture_interval_s"] = 2.into();
    assert_eq!(put(&cloud, "", &first).await.0, 409);
    assert_eq!(put(&cloud, "if-match: \"0\"\r\n", &values(2)).await.0, 412);
    assert_eq!(put(&cloud, "if-match: x\r\n", &values(2)).await.0, 400);
    let (status, _, answer) = put(&cloud, "if-match: \"1\"\r\n", &values(2)).await;
    assert_eq!((status, &answer["version"]), (200, &json!(2)));
    // The same once more is no new version.
    let (status, _, answer) = put(&cloud, "if-match: \"2\"\r\n", &values(2)).await;
    assert_eq!((status, &answer["version"]), (200, &json!(2)));
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_camera_would_take_never_goes_out() {
    let (cloud, _porch) = with_porch().await;
    for (values, says) in [
        (json!({"capture_interval_s": -1}), "must be 0 or a whole number"),
        (json!({"capture_interval_s": 1.5}), "must be 0 or a whole number"),
        (json!({"capture_interval_s": "60"}), "must be 0 or a whole number"),
        (json!({"light.mode": "party"}), "must be one of"),
        (json!({"cloud.url": "gopher://x"}), "begins with gopher://"),
        (json!({"spool.dir": "/"}), "only be set on the camera"),
        (json!({"device": "x"}), "only be set on the camera"),
        (json!({"nonsense": 1}), "is not a setting"),
        (json!({"light.quiet_hours": "\u{0}"}), "22:00-06:30"),
        (json!({"cloud.user": "x".repeat(300)}), "longer than 256"),
    ] {
        // One good name beside it does not make it better.
        let mut all = values.clone();
        all["picture.quality"] = 80.into();
        let (status, _, answer) = put(&cloud, "", &json!({"version": 0, "values": all})).await;
        assert_eq!(status, 422, "{values}");
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.contains(says), "{values}: {detail}");
    }
    let many: serde_json::Map<String, Value> = (0..500).map(|n| (format!("name{n}"), Value::from(n))).collect();
    let (status, _, answer) = put(&cloud, "", &json!({"version": 0, "values": many})).await;
    assert_eq!(status, 422);
    assert!(answer["detail"].as_str().unwrap().len() < 2000);
    let long = json!({"version": 0, "values": {"cloud.user": "x".repeat(70_000)}});
    assert_eq!(put(&cloud, "", &long).await.0, 413);
    for body in ["", "[]", "{\"values\":[]}", "{\"version\":-1,\"values\":{}}"] {
        let (status, _, _) = request_bytes(cloud.ready.http, "PUT", PATH, "", body.as_bytes()).await;
        assert_eq!(status, 400, "{body}");
    }
    let nobody = "/api/v1/devices/nobody/settings";
    let body = b"{\"version\":0,\"values\":{}}";
    let (status, _, _) = request_bytes(cloud.ready.http, "PUT", nobody, "", body).await;
    assert_eq!(status, 404);
    assert_eq!(cloud.json(PATH).await["version"], 0);
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_told_to_the_camera_and_to_nobody_else() {
    let (cloud, mut porch) = with_porch().await;
    let wished = json!({"version": 0, "values": {"cloud.password": "open sesame"}});
    let (status, _, answer) = put(&cloud, "", &wished).await;
    assert_eq!(status, 200);
    assert_eq!(answer["values"]["cloud.password"], "(hidden)");
    let wire: DesiredSettings = porch.next(MessageKind::Settings).await;
    assert_eq!(wire.values["cloud.password"], "open sesame");
    // A client that changes something else sends back what it was shown.
    let mut values = answer["values"].clone();
    values["capture_interval_s"] = 5.into();
    let (status, _, answer) = put(&cloud, "", &json!({"version": 1, "values": values})).await;
    assert_eq!(status, 200);
    assert!(!answer.to_string().contains("sesame"));
    let wire: DesiredSettings = porch.next(MessageKind::Settings).await;
    assert_eq!(wire.values["cloud.password"], "open sesame");
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_forgot_is_told_again_and_so_is_a_camera_that_is_behind() {
    let (cloud, mut porch) = with_porch().await;
    let wished = json!({"version": 0, "values": {"capture_interval_s": 60}});
    put(&cloud, "", &wished).await;
    let first: DesiredSettings = porch.next(MessageKind::Settings).await;
    drop(porch);
    // The embedded broker keeps nothing over a restart.
    let folder = cloud.stop().await;
    let cloud = Cloud::start_in(folder, &[]).await;
    let mut porch = Camera::connect(&cloud, "porch", 1).await;
    let again: DesiredSettings = porch.next(MessageKind::Settings).await;
    assert_eq!(again, first);
    // It says that it has none: perhaps its card was changed.
    say(&porch, 0, 0, SettingsReport::default()).await;
    let reminded: DesiredSettings = porch.next(MessageKind::Settings).await;
    assert_eq!(reminded, first);
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_restored_from_a_backup_says_that_the_camera_is_ahead() {
    let (cloud, mut porch) = with_porch().await;
    let wished = json!({"version": 0, "values": {"capture_interval_s": 60}});
    put(&cloud, "", &wished).await;
    let wire: DesiredSettings = porch.next(MessageKind::Settings).await;
    say(&porch, 1, wire.revision, SettingsReport::default()).await;
    becomes(&cloud, "applied").await;
    // The same number, given out in a life that this database knows nothing of.
    say(&porch, 1, wire.revision ^ 1, SettingsReport::default()).await;
    becomes(&cloud, "ahead").await;
    // Even settings that are already desired are sent again then.
    let wished = json!({"version": 1, "values": {"capture_interval_s": 60}});
    let (status, _, answer) = put(&cloud, "", &wished).await;
    assert_eq!((status, &answer["version"]), (200, &json!(2)));
    let wire: DesiredSettings = porch.next(MessageKind::Settings).await;
    assert_eq!(wire.version, 2);
    say(&porch, 7, 99, SettingsReport::default()).await;
    becomes(&cloud, "ahead").await;
    let wished = json!({"version": 2, "values": {"capture_interval_s": 60}});
    let (status, _, answer) = put(&cloud, "", &wished).await;
    assert_eq!((status, &answer["version"]), (200, &json!(8)));
    let wire: DesiredSettings = porch.next(MessageKind::Settings).await;
    assert_eq!(wire.version, 8);
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_camera_says_about_itself_is_shown_and_too_much_of_it_is_not_taken() {
    let (cloud, mut porch) = with_porch().await;
    let path = "/api/v1/devices/porch/commands";
    let ask = br#"{"command":"diagnostics"}"#;
    let (status, _, _) = request_bytes(cloud.ready.http, "POST", path, "", ask).await;
    assert_eq!(status, 202);
    let command: Command = porch.next(MessageKind::Command).await;
    assert_eq!(command.command, CommandKind::Diagnostics);
    let reply = |text: String| CommandReply {
        id: command.id.clone(),
        stage: CommandStage::Done,
        after_us: 5,
        capture: None,
        text: None,
        result: Some([("model".to_owned(), text.into())].into_iter().collect()),
    };
    for text in ["x".repeat(20_000), "<b>Pi</b>".to_owned()] {
        porch.say(MessageKind::Reply, codec::encode(&reply(text))).await;
    }
    let reached = async {
        loop {
            let commands = cloud.json(path).await;
            if commands["commands"][0]["stage"] == "done" {
                return commands["commands"][0]["result"]["model"].clone();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let model = tokio::time::timeout(WAIT, reached).await.unwrap();
    assert_eq!(model, "<b>Pi</b>");
    let quarantine = cloud.json("/api/v1/quarantine").await;
    assert_eq!(quarantine["count"], 1);
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_works_without_a_script() {
    let (cloud, mut porch) = with_porch().await;
    let page = "/cameras/porch/settings";
    let (status, html) = cloud.get(page).await;
    assert_eq!(status, 200);
    assert!(html.contains("name=\"capture_interval_s\"") && html.contains("name=\"version\" value=\"0\""));
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let post = async |body: &str| {
        let (status, head, html) = request_bytes(cloud.ready.http, "POST", page, form, body.as_bytes()).await;
        (status, head, String::from_utf8(html).unwrap())
    };
    let (status, head, _) =
        post("version=0&capture_interval_s=60&light.mode=heartbeat&cloud.url=&picture.quality=").await;
    assert_eq!(status, 303, "{head}");
    assert!(head.contains("location: /cameras/porch"), "{head}");
    let wire: DesiredSettings = porch.next(MessageKind::Settings).await;
    // An empty field is no wish.
    assert_eq!(wire.values.len(), 2, "{:?}", wire.values);
    assert_eq!(
        (&wire.values["capture_interval_s"], &wire.values["light.mode"]),
        (&json!(60), &json!("heartbeat"))
    );
    // What is wrong is shown again as it was typed, with the reason, and nothing is changed.
    let (status, _, html) = post("version=1&capture_interval_s=<b>&light.mode=heartbeat").await;
    assert_eq!(status, 422);
    assert!(html.contains("value=\"&lt;b&gt;\"") && html.contains("capture_interval_s must be 0 or"));
    let (status, _, html) = post("version=0&capture_interval_s=5").await;
    assert_eq!(status, 409);
    assert!(html.contains("These settings have changed since"));
    for bad in ["", "capture_interval_s=5", "version=x", "%ff=%ff&version=1%00"] {
        let (status, _, _) = post(bad).await;
        assert_eq!(status, 400, "{bad}");
    }
    assert_eq!(cloud.json(PATH).await["values"]["capture_interval_s"], 60);
    let (status, html) = cloud.get("/cameras/porch").await;
    assert_eq!(status, 200);
    assert!(html.contains("Waiting for the camera") && html.contains("Restart camera software"));
    let (status, _) = cloud.get("/cameras/nobody/settings").await;
    assert_eq!(status, 404);
    cloud.stop().await;
}
