//! A whole cloud in this process, cameras that are a bare MQTT client, and an observer with its own database connection.

#![allow(dead_code, clippy::allow_attributes, reason = "every test file takes what it needs")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use keepsake_cloud::app;
use keepsake_cloud::app::Ready;
use keepsake_cloud::args::Args;
use keepsake_cloud::config::Config;
use keepsake_protocol::capture::{CaptureMetadata, Cause, ContentType, FrameHeader};
use keepsake_protocol::clock::ClockReading;
use keepsake_protocol::event::{Tombstone, TombstoneReason};
use keepsake_protocol::receipt::Receipt;
use keepsake_protocol::status::{Presence, SpoolInventory, Status};
use keepsake_protocol::topic::{MessageKind, Topic};
use keepsake_protocol::{BootId, DeviceId, Hash, Sequence, SpoolId, codec};
use rumqttc::{AsyncClient, Event, Incoming, LastWill, MqttOptions, Outgoing, PublishOptions, QoS};
use sqlx::Connection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

pub(crate) const WAIT: Duration = Duration::from_secs(30);

pub(crate) struct Cloud {
    pub ready: Ready,
    pub folder: tempfile::TempDir,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Cloud {
    pub(crate) async fn start(more: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), more).await
    }

    pub(crate) async fn start_in(folder: tempfile::TempDir, more: &[&str]) -> Self {
        let cloud = Self::start_unowned(folder, more).await;
        let key = owners_key(&cloud.ready, cloud.folder.path()).await;
        KEYS.lock().unwrap().insert(cloud.ready.http, key);
        cloud
    }

    /// Without doing its set-up, if it has no owner yet.
    pub(crate) async fn start_unowned(folder: tempfile::TempDir, more: &[&str]) -> Self {
        let data = folder.path().to_str().unwrap();
        let all = ["cloud", "--data", data]
            .into_iter()
            .chain(["--listen", "127.0.0.1:0", "--mqtt-listen", "127.0.0.1:0"])
            .chain(["--free-bytes-min", "0", "--free-percent-min", "0"])
            .chain(more.iter().copied());
        let args = <Args as clap::Parser>::parse_from(all);
        let config = Config::load(&args).unwrap();
        let (ready_tx, ready) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(app::run(config, move |ready| ready_tx.send(ready).unwrap(), async move {
            let _ = stopped.await;
        }));
        let ready = tokio::time::timeout(WAIT, ready).await.unwrap().unwrap();
        Self { ready, folder, stop, task }
    }

    /// Stops cleanly and gives the folder back.
    pub(crate) async fn stop(self) -> tempfile::TempDir {
        let _ = self.stop.send(());
        self.task.await.unwrap().unwrap();
        self.folder
    }

    pub(crate) async fn database(&self) -> sqlx::SqliteConnection {
        database(self.folder.path()).await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        request(self.ready.http, "GET", path, "", b"").await
    }

    /// Sends the request of the owner.
    pub(crate) async fn send(&self, method: &str, path: &str, body: &[u8]) -> (u16, String) {
        request(self.ready.http, method, path, "", body).await
    }

    /// Opens the stream of live events, from after this arrival on.
    pub(crate) async fn open_stream(&self, last_event_id: i64) -> TcpStream {
        let mut stream = TcpStream::connect(self.ready.http).await.unwrap();
        let request = format!(
            "GET /api/v1/live HTTP/1.1\r\nhost: {0}\r\n{1}last-event-id: {last_event_id}\r\n\r\n",
            self.ready.http,
            authorization(self.ready.http)
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    pub(crate) async fn json(&self, path: &str) -> serde_json::Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }
}

/// A connection of the observer's own.
pub(crate) async fn database(folder: &Path) -> sqlx::SqliteConnection {
    let file = folder.join("keepsake.sqlite");
    sqlx::SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.unwrap()
}

/// The key of the owner, with which requests to each cloud are made.
static KEYS: LazyLock<Mutex<HashMap<SocketAddr, String>>> = LazyLock::new(Mutex::default);

pub(crate) const OWNER: &str = "ada";
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// Does the set-up of a new cloud, and makes a key. It lies beside the database, and goes where that goes.
async fn owners_key(ready: &Ready, folder: &Path) -> String {
    let file = folder.join("tests.key");
    let Some(link) = &ready.setup else {
        return std::fs::read_to_string(file).unwrap();
    };
    let code = link.split_once("code=").unwrap().1;
    let body = serde_json::json!({"code": code, "name": OWNER, "password": PASSWORD}).to_string();
    let json = "content-type: application/json\r\n";
    let (status, head, _) = request_bare(ready.http, "POST", "/setup", json, body.as_bytes()).await;
    assert_eq!(status, 201, "{head}");
    let headers = format!("{json}{}", as_browser(ready.http, &cookie(&head)));
    let body = br#"{"name": "tests", "role": "owner"}"#;
    let (status, _, made) = request_bare(ready.http, "POST", "/api/v1/tokens", &headers, body).await;
    assert_eq!(status, 201, "{}", String::from_utf8_lossy(&made));
    let made: serde_json::Value = serde_json::from_slice(&made).unwrap();
    let key = made["token"].as_str().unwrap().to_owned();
    std::fs::write(file, &key).unwrap();
    key
}

/// The `name=value` of the cookie that an answer sets.
pub(crate) fn cookie(head: &str) -> String {
    let (_, set) = head.split_once("set-cookie: ").unwrap();
    set.split(';').next().unwrap().to_owned()
}

/// The headers that a browser sends from a page of the cloud.
pub(crate) fn as_browser(to: SocketAddr, cookie: &str) -> String {
    format!("cookie: {cookie}\r\norigin: http://{to}\r\n")
}

/// One HTTP request of the owner on a connection of its own; the body must not be longer than it says.
pub(crate) async fn request(to: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, String) {
    let (status, _, body) = request_bytes(to, method, path, headers, body).await;
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// The same, with the head of the answer.
pub(crate) async fn request_bytes(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> (u16, String, Vec<u8>) {
    let headers = format!("{}{headers}", authorization(to));
    request_bare(to, method, path, &headers, body).await
}

/// The header with the key of the owner; nothing before there is one.
pub(crate) fn authorization(to: SocketAddr) -> String {
    let keys = KEYS.lock().unwrap();
    keys.get(&to).map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default()
}

/// Sends one HTTP request with these headers and no other credentials.
pub(crate) async fn request_bare(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(WAIT, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head, answer[end + 4..].to_vec())
}

/// A bare MQTT client in the name of a camera.
pub(crate) struct Camera {
    pub device: DeviceId,
    pub spool: SpoolId,
    pub client: AsyncClient,
    pub received: mpsc::UnboundedReceiver<(String, Vec<u8>)>,
    poll: tokio::task::JoinHandle<()>,
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.poll.abort();
    }
}

impl Camera {
    pub(crate) async fn connect(cloud: &Cloud, device: &str, spool: u8) -> Self {
        let spool = SpoolId([spool; 16]);
        let device: DeviceId = device.parse().unwrap();
        let id = format!("{device}.{}", &spool.to_string()[..8]);
        let filter = keepsake_protocol::topic::downlink_subscription(&device);
        Self::connect_as(cloud, &id, device, spool, &filter).await
    }

    pub(crate) async fn connect_as(cloud: &Cloud, id: &str, device: DeviceId, spool: SpoolId, filter: &str) -> Self {
        let address = cloud.ready.mqtt.expect("the embedded broker runs");
        let mut options = MqttOptions::new(id, (address.ip().to_string(), address.port()));
        options
            .set_max_packet_size(80 * 1024 * 1024, 80 * 1024 * 1024)
            .set_last_will(LastWill::new(
                Topic::new(&device, MessageKind::Status).to_string(),
                codec::encode(&Status::last_will()),
                QoS::AtLeastOnce,
                true,
            ));
        let (client, mut events) = AsyncClient::builder(options).capacity(1000).build();
        let (sender, received) = mpsc::unbounded_channel();
        let (subscribed_tx, subscribed) = oneshot::channel();
        client.subscribe(filter, QoS::AtLeastOnce).await.unwrap();
        let mut subscribed_tx = Some(subscribed_tx);
        let poll = tokio::spawn(async move {
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Incoming::SubAck(_))) => {
                        if let Some(tx) = subscribed_tx.take() {
                            let _ = tx.send(());
                        }
                    }
                    Ok(Event::Incoming(Incoming::Publish(publish))) => {
                        let topic = String::from_utf8(publish.topic.to_vec()).unwrap();
                        let _ = sender.send((topic, publish.payload.to_vec()));
                    }
                    Ok(Event::Outgoing(Outgoing::Disconnect)) => return,
                    Ok(_) => {}
                    // A hostile message may cost the connection; the client comes back by itself.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        });
        tokio::time::timeout(WAIT, subscribed).await.unwrap().unwrap();
        Self { device, spool, client, received, poll }
    }

    /// Goes away without a word: the socket closes, and the broker says the last will.
    pub(crate) fn vanish(self) {}

    pub(crate) async fn say(&self, leaf: MessageKind, payload: Vec<u8>) {
        let topic = Topic::new(&self.device, leaf).to_string();
        let options = PublishOptions::new(QoS::AtLeastOnce).retain(leaf.retained());
        self.client.publish(topic, payload, options).await.unwrap();
    }

    pub(crate) async fn online(&self, next: u64, waiting: &[(u64, u64)]) {
        let number = |n: u64| Sequence::try_from(n).unwrap();
        let status = Status {
            presence: Presence::Online,
            spools: vec![SpoolInventory {
                spool: self.spool,
                next: number(next),
                waiting: waiting.iter().map(|(first, last)| (number(*first), number(*last))).collect(),
                kept: keepsake_protocol::ranges::Ranges::default(),
                coarse: false,
            }],
            reported_at: Some(moment()),
            version: "test".to_owned(),
            ..Status::last_will()
        };
        self.say(MessageKind::Status, codec::encode(&status)).await;
    }

    pub(crate) fn header(&self, sequence: u64, bytes: &[u8], start: usize, end: usize) -> FrameHeader {
        frame_header(self.spool, sequence, bytes, start, end)
    }

    pub(crate) async fn send(&self, sequence: u64, bytes: &[u8]) {
        self.send_part(sequence, bytes, 0, bytes.len()).await;
    }

    pub(crate) async fn send_part(&self, sequence: u64, bytes: &[u8], start: usize, end: usize) {
        let header = self.header(sequence, bytes, start, end);
        let frame = codec::encode_frame(&header, &bytes[start..end]);
        self.say(MessageKind::Frame, frame).await;
    }

    /// Says why these sequences have no picture, and returns the hash that the receipt names.
    pub(crate) async fn say_tombstone(&self, sequence: u64, through: Option<u64>, reason: TombstoneReason) -> Hash {
        let payload = codec::encode(&keepsake_protocol::event::Event::Tombstone(Tombstone {
            spool: self.spool,
            sequence: sequence.try_into().unwrap(),
            through: through.map(|last| last.try_into().unwrap()),
            reason,
            cause: Cause::Button,
            command: None,
            pressed: None,
        }));
        let hash = Hash::of(&payload);
        self.say(MessageKind::Event, payload).await;
        hash
    }

    /// The next message on a leaf; others are skipped.
    pub(crate) async fn next<T: serde::de::DeserializeOwned>(&mut self, leaf: MessageKind) -> T {
        let topic = Topic::new(&self.device, leaf).to_string();
        let found = async {
            loop {
                let (on, payload) = self.received.recv().await.unwrap();
                if on == topic {
                    return codec::decode(&payload).unwrap();
                }
            }
        };
        tokio::time::timeout(WAIT, found)
            .await
            .unwrap_or_else(|_| panic!("nothing on {topic} within {WAIT:?}"))
    }

    /// Reads receipts until all these are stored.
    pub(crate) async fn stored(&mut self, wanted: &[(u64, Hash)]) {
        let mut open: Vec<_> = wanted
            .iter()
            .map(|(sequence, hash)| (Sequence::try_from(*sequence).unwrap(), hash.prefix()))
            .collect();
        while !open.is_empty() {
            let receipt: Receipt = self.next(MessageKind::Receipt).await;
            assert_eq!(receipt.spool, self.spool);
            open.retain(|entry| !receipt.stored.contains(entry));
        }
    }
}

/// The header of a part of a picture.
pub(crate) fn frame_header(spool: SpoolId, sequence: u64, bytes: &[u8], start: usize, end: usize) -> FrameHeader {
    FrameHeader {
        capture: CaptureMetadata {
            spool,
            sequence: sequence.try_into().unwrap(),
            hash: Hash::of(bytes),
            total: bytes.len() as u64,
            content_type: ContentType::Jpeg,
            width: 640,
            height: 480,
            cause: Cause::Button,
            command: None,
            pressed: moment(),
            captured_after_us: 1,
            settings_version: 0,
        },
        offset: start as u64,
        len: (end - start) as u64,
        attempt: 0,
        saved_after_us: Some(2),
        sent_after_us: Some(3),
        not_before_us: None,
    }
}

pub(crate) fn moment() -> ClockReading {
    ClockReading {
        boot: BootId([1; 16]),
        boottime_us: 5,
        wall_us: 1_800_000_000_000_000,
        synchronised: true,
        error_us: 3,
    }
}

/// Asks until there is an answer.
pub(crate) async fn eventually<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let answer = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(WAIT, answer).await.expect("an answer in time")
}

/// The header of [`image_form`].
pub(crate) const FORM: &str = "content-type: multipart/form-data; boundary=xyz\r\n";

/// The body of a form with one file.
pub(crate) fn image_form(field: &str, file: &str, bytes: &[u8]) -> Vec<u8> {
    let head = format!(
        "--xyz\r\ncontent-disposition: form-data; name=\"{field}\"; filename=\"{file}\"\r\ncontent-type: image/svg+xml\r\n\r\n"
    );
    [head.as_bytes(), bytes, b"\r\n--xyz--\r\n"].concat()
}

/// A real photograph, made unique by what stands after it.
pub(crate) fn photograph(number: u32) -> Vec<u8> {
    let mut bytes = include_bytes!("../../../shared/testkit/photos/coffee.jpg").to_vec();
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes
}

/// Returns the files below `folder` with this extension.
pub(crate) fn files(folder: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found
}
