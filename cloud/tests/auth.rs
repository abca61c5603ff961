//! The permissions of every kind of visitor on every route, tested over the sockets of a real cloud.

mod harness;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::http::Method;
use clap::Parser;
use harness::{Camera, Cloud, FORM, OWNER, PASSWORD, as_browser, cookie, image_form, request_bare};
use keepsake_cloud::args::Args;
use keepsake_cloud::auth::token::{Token, TokenHash};
use keepsake_cloud::auth::{PrincipalId, Role, TokenScope};
use keepsake_cloud::config::Config;
use keepsake_cloud::http::{Permission, route_table};
use keepsake_cloud::now_us;
use keepsake_cloud::store::{Limits, Store};
use keepsake_protocol::Hash;
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, PublishOptions, QoS};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const JSON: &str = "content-type: application/json\r\n";
/// Without anonymous upload a request without credentials has no access at all.
const NO_ANONYMOUS_UPLOAD: [&str; 2] = ["--anonymous-upload", "off"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visitor {
    Nobody,
    WrongKey,
    RevokedKey,
    LoggedOut,
    Expired,
    User(Role),
    Key(Role),
    CameraKey,
}

const VISITORS: [Visitor; 12] = [
    Visitor::Nobody,
    Visitor::WrongKey,
    Visitor::RevokedKey,
    Visitor::LoggedOut,
    Visitor::Expired,
    Visitor::User(Role::Viewer),
    Visitor::User(Role::Operator),
    Visitor::User(Role::Owner),
    Visitor::Key(Role::Viewer),
    Visitor::Key(Role::Operator),
    Visitor::Key(Role::Owner),
    Visitor::CameraKey,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Whatever the route has to say: not a word about who asks.
    In,
    /// 401 for a program, the log-in page for a browser.
    LogIn,
    Wrong,
    Forbidden,
    /// The log-in page, or a conflict: set-up is over.
    Over,
}

/// The rules once more, in other words than the program's.
fn expected(access: Permission, visitor: Visitor) -> Expected {
    use Visitor::{CameraKey, Expired, Key, LoggedOut, Nobody, RevokedKey, User, WrongKey};
    let role = match visitor {
        _ if access == Permission::Anyone => return Expected::In,
        WrongKey | RevokedKey => return Expected::Wrong,
        _ if access == Permission::Setup => return Expected::Over,
        _ if access == Permission::Login => return Expected::In,
        CameraKey if [Permission::Camera, Permission::Upload].contains(&access) => {
            return Expected::In;
        }
        CameraKey => return Expected::Forbidden,
        Nobody | LoggedOut | Expired => return Expected::LogIn,
        Key(_) if access == Permission::SelfService => return Expected::Forbidden,
        User(role) | Key(role) => role,
    };
    let enough = match access {
        Permission::Owner => role == Role::Owner,
        Permission::Operator | Permission::Camera | Permission::Upload => role != Role::Viewer,
        Permission::Viewer | Permission::SelfService => true,
        Permission::Anyone | Permission::Setup | Permission::Login => {
            unreachable!("answered above")
        }
    };
    if enough { Expected::In } else { Expected::Forbidden }
}

fn table() -> Vec<(Method, &'static str, Permission)> {
    route_table(&Config::load(&Args::parse_from(["cloud", "--data", "/nowhere"])).unwrap())
}

/// Every visitor there can be, at one cloud.
struct Visitors {
    store: Store,
    people: Vec<(Role, PrincipalId)>,
    keys: Vec<(Visitor, Token)>,
    to: SocketAddr,
    cookie_name: String,
}

impl Visitors {
    async fn of(cloud: &Cloud) -> Self {
        let store = Store::open(cloud.folder.path(), Limits::default()).await.unwrap();
        let now = now_us();
        let mut people = Vec::new();
        for role in Role::ALL {
            let name = format!("{role}-person").parse().unwrap();
            let person = store.add_user(&name, role, Some("$x"), now).await.unwrap();
            people.push((role, person.id));
        }
        let mut keys = vec![(Visitor::WrongKey, Token::new_api_token())];
        let camera = TokenScope::Camera("camera".parse().unwrap());
        let scope = Role::ALL
            .map(|role| (Visitor::Key(role), TokenScope::Role(role)))
            .into_iter()
            .chain([(Visitor::CameraKey, camera), (Visitor::RevokedKey, TokenScope::Role(Role::Owner))]);
        for (visitor, scope) in scope {
            let secret = Token::new_api_token();
            let key = store.add_token("x", &scope, &secret.hash(), now).await.unwrap();
            if visitor == Visitor::RevokedKey {
                store.revoke_token(key.id).await.unwrap();
            }
            keys.push((visitor, secret));
        }
        Self {
            store,
            people,
            keys,
            to: cloud.ready.http,
            cookie_name: format!("keepsake-{}", &cloud.ready.store.to_string()[..8]),
        }
    }

    /// Returns the headers of this visitor, with a session of its own: the request may end it.
    async fn headers(&self, visitor: Visitor) -> String {
        let key = |visitor| {
            let (_, secret) = self.keys.iter().find(|(of, _)| *of == visitor).unwrap();
            format!("authorization: Bearer {}\r\n", secret.as_str())
        };
        match visitor {
            Visitor::Nobody => String::new(),
            Visitor::WrongKey | Visitor::RevokedKey | Visitor::Key(_) | Visitor::CameraKey => key(visitor),
            Visitor::User(role) => self.session(role, now_us()).await,
            Visitor::Expired => {
                let weeks_ago = now_us() - 15 * 24 * 3600 * 1_000_000;
                self.session(Role::Owner, weeks_ago).await
            }
            Visitor::LoggedOut => {
                let secret = Token::new();
                self.create_session(Role::Owner, &secret.hash(), now_us()).await;
                self.store.end_session(&secret.hash()).await.unwrap();
                self.cookie(&secret)
            }
        }
    }

    async fn session(&self, role: Role, at_us: i64) -> String {
        let secret = Token::new();
        self.create_session(role, &secret.hash(), at_us).await;
        self.cookie(&secret)
    }

    async fn create_session(&self, role: Role, secret: &TokenHash, at_us: i64) {
        let (_, person) = self.people.iter().find(|(of, _)| *of == role).unwrap();
        self.store.create_session(*person, secret, "127.0.0.1", "test", at_us).await.unwrap();
    }

    fn cookie(&self, secret: &Token) -> String {
        as_browser(self.to, &format!("{}={}", self.cookie_name, secret.as_str()))
    }
}

/// The first lines of the answer; what comes after may never end.
async fn head(to: SocketAddr, method: &str, path: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\ncontent-length: 0\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
        let read = tokio::time::timeout(harness::WAIT, stream.read_buf(&mut answer));
        assert_ne!(read.await.unwrap().unwrap(), 0, "{method} {path}");
    }
    let head = String::from_utf8_lossy(&answer).into_owned();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head)
}

fn path_of(path: &str) -> String {
    path.replace("{device}", "nobody")
        .replace("{id}", "x")
        .replace("{leaf}", "have")
        .replace("{*path}", "x")
}

fn is_to(head: &str, place: &str) -> bool {
    head.contains(&format!("location: {place}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_open_to_those_in_the_table_and_to_nobody_else() {
    let cloud = Cloud::start(&NO_ANONYMOUS_UPLOAD).await;
    let visitors = Visitors::of(&cloud).await;
    let to = cloud.ready.http;
    let mut asked = 0;
    for (method, path, access) in table() {
        let path = path_of(path);
        for visitor in VISITORS {
            let headers = visitors.headers(visitor).await;
            let (status, head) = head(to, method.as_str(), &path, &headers).await;
            let what = format!("{method} {path} ({access:?}) by {visitor:?}: {head}");
            let refused = [401, 403, 429].contains(&status);
            let sent_away = status == 303 && (is_to(&head, "/login") || is_to(&head, "/setup"));
            match expected(access, visitor) {
                // A logout redirects to the login page.
                Expected::In => assert!(!refused && (!sent_away || path == "/logout"), "{what}"),
                Expected::LogIn => assert!(status == 401 || sent_away, "{what}"),
                Expected::Wrong => assert!(status == 401 || status == 429, "{what}"),
                Expected::Forbidden => assert_eq!(status, 403, "{what}"),
                Expected::Over => assert!(status == 409 || is_to(&head, "/login"), "{what}"),
            }
            if refused || sent_away {
                assert!(!head.contains("Store "), "{what}");
            }
            asked += 1;
        }
    }
    assert!(asked > 500, "{asked}");
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_the_table_is_refused() {
    let cloud = Cloud::start(&NO_ANONYMOUS_UPLOAD).await;
    let visitors = Visitors::of(&cloud).await;
    let to = cloud.ready.http;
    let table = table();
    let mut paths: Vec<&str> = table.iter().map(|(_, path, _)| *path).collect();
    paths.dedup();
    for path in paths {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            let listed = table.iter().any(|(known, of, _)| known.as_str() == method && *of == path);
            for visitor in [Visitor::Nobody, Visitor::Key(Role::Owner)] {
                let headers = visitors.headers(visitor).await;
                if !listed {
                    let (status, head) = head(to, method, &path_of(path), &headers).await;
                    assert!([401, 403, 405, 303].contains(&status), "{method} {path}: {head}");
                }
            }
        }
    }
    for path in [
        "/elsewhere",
        "/api/v1/nothing",
        "/assets/../../etc/passwd",
        "/assets/x/..%2f..%2f..%2fetc%2fpasswd",
        "/pictures/..%2f..%2fetc%2fpasswd",
        "//login",
    ] {
        for (visitor, statuses) in [(Visitor::Nobody, &[303, 401, 404][..]), (Visitor::Key(Role::Owner), &[404])] {
            let headers = visitors.headers(visitor).await;
            let (status, head) = head(to, "GET", path, &headers).await;
            assert!(statuses.contains(&status), "{path} by {visitor:?}: {head}");
            assert!(!head.contains("root:"), "{path}");
        }
    }
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn until_there_is_an_owner_nothing_but_set_up_answers() {
    let cloud = Cloud::start_unowned(tempfile::tempdir().unwrap(), &NO_ANONYMOUS_UPLOAD).await;
    let to = cloud.ready.http;
    for (method, path, access) in table() {
        let (status, head) = head(to, method.as_str(), &path_of(path), "").await;
        let what = format!("{method} {path}: {head}");
        match access {
            Permission::Anyone => assert!(![401, 403, 303].contains(&status), "{what}"),
            Permission::Setup => assert!(!is_to(&head, "/"), "{what}"),
            Permission::Login
            | Permission::Viewer
            | Permission::Operator
            | Permission::Owner
            | Permission::SelfService
            | Permission::Camera
            | Permission::Upload => {
                assert!(status == 403 || is_to(&head, "/setup"), "{what}");
            }
        }
    }
    let (status, _, page) = request_bare(to, "GET", "/setup", "", b"").await;
    let page = String::from_utf8(page).unwrap();
    assert_eq!(status, 200);
    let store = cloud.ready.store.to_string();
    assert!(!page.contains(&store), "set-up shows nothing of the cloud");
    cloud.stop().await;
}

fn set_up(code: &str, name: &str) -> Vec<u8> {
    serde_json::json!({"code": code, "name": name, "password": PASSWORD})
        .to_string()
        .into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_set_up_code_makes_one_owner_and_no_second() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start_unowned(folder, &[]).await;
    let to = cloud.ready.http;
    let link = cloud.ready.setup.clone().unwrap();
    let code = link.split_once("code=").unwrap().1.to_owned();
    let send = async |body: Vec<u8>| request_bare(to, "POST", "/setup", JSON, &body).await;
    assert_eq!(send(set_up("AAAA-AAAA-AAAA", "eve")).await.0, 403);
    assert_eq!(send(set_up(&code, "<script>")).await.0, 400);
    // Two at the same moment: one is the owner.
    let (one, two) = tokio::join!(send(set_up(&code, "ada")), send(set_up(&code, "eve")));
    let owners = [&one, &two].iter().filter(|answer| answer.0 == 201).count();
    assert_eq!(owners, 1, "{} {}", one.1, two.1);
    let (_, head, _) = send(set_up(&code, "eve")).await;
    assert!(is_to(&head, "/login"), "{head}");
    let folder = cloud.stop().await;
    let cloud = Cloud::start_unowned(folder, &[]).await;
    assert_eq!(cloud.ready.setup, None, "there is an owner");
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_the_set_up_code_is_slowed_down() {
    let cloud = Cloud::start_unowned(tempfile::tempdir().unwrap(), &[]).await;
    let to = cloud.ready.http;
    for _ in 0..5 {
        let body = set_up("AAAA-AAAA-AAAA", "eve");
        assert_eq!(request_bare(to, "POST", "/setup", JSON, &body).await.0, 403);
    }
    let link = cloud.ready.setup.clone().unwrap();
    let code = link.split_once("code=").unwrap().1.to_owned();
    let right = set_up(&code, "ada");
    let (status, head, _) = request_bare(to, "POST", "/setup", JSON, &right).await;
    assert_eq!(status, 429, "the right one too, else guessing would go on");
    let (_, wait) = head.split_once("retry-after: ").unwrap();
    let wait: u64 = wait.split("\r\n").next().unwrap().parse().unwrap();
    tokio::time::sleep(Duration::from_secs(wait)).await;
    assert_eq!(request_bare(to, "POST", "/setup", JSON, &right).await.0, 201);
    cloud.stop().await;
}

async fn login(to: SocketAddr, name: &str, password: &str) -> (u16, String) {
    login_from(to, "", name, password).await
}

/// Logs in through a proxy on this computer, which names the client's address.
async fn login_from(to: SocketAddr, address: &str, name: &str, password: &str) -> (u16, String) {
    let headers = format!("{JSON}x-forwarded-for: {address}\r\n");
    let body = serde_json::json!({"name": name, "password": password}).to_string();
    let (status, head, body) = request_bare(to, "POST", "/login", &headers, body.as_bytes()).await;
    (status, head + &String::from_utf8_lossy(&body))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_when_it_is_ended_and_when_the_password_changes() {
    let cloud = Cloud::start(&[]).await;
    let to = cloud.ready.http;
    let enter = async || {
        let (status, head) = login(to, OWNER, PASSWORD).await;
        assert_eq!(status, 201, "{head}");
        assert!(head.contains("HttpOnly; SameSite=Lax"), "{head}");
        assert!(!head.contains("Secure"), "{head}");
        as_browser(to, &cookie(&head))
    };
    let me = async |headers: &str| request_bare(to, "GET", "/api/v1/me", headers, b"").await.0;
    let (one, two) = (enter().await, enter().await);
    assert_eq!((me(&one).await, me(&two).await), (200, 200));
    let (status, head, _) = request_bare(to, "POST", "/logout", &one, b"").await;
    assert!(status == 303 && head.contains("Max-Age=0"), "{head}");
    assert_eq!((me(&one).await, me(&two).await), (401, 200));

    let three = enter().await;
    let change = |current: &str| serde_json::json!({"current": current, "new": "another long password"}).to_string();
    let account = "/account/password";
    let wrong = change("not the password");
    let (status, ..) = request_bare(to, "POST", account, &two, wrong.as_bytes()).await;
    assert_eq!((status, me(&three).await), (403, 200));
    let right = change(PASSWORD);
    let (status, ..) = request_bare(to, "POST", account, &two, right.as_bytes()).await;
    assert_eq!(status, 303);
    assert_eq!((me(&two).await, me(&three).await), (200, 401));
    assert_eq!(login(to, OWNER, PASSWORD).await.0, 401);
    assert_eq!(login(to, OWNER, "another long password").await.0, 201);
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_stream_ends_with_the_session() {
    let cloud = Cloud::start(&[]).await;
    let to = cloud.ready.http;
    let (_, head) = login(to, OWNER, PASSWORD).await;
    let headers = as_browser(to, &cookie(&head));
    let mut stream = TcpStream::connect(to).await.unwrap();
    let request = format!("GET /api/v1/live HTTP/1.1\r\nhost: {to}\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    request_bare(to, "POST", "/logout", &headers, b"").await;
    let mut rest = Vec::new();
    let ended = async {
        // The last chunk; the connection itself may be used again.
        while !rest.ends_with(b"\r\n0\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut rest).await.unwrap(), 0);
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.expect("the stream went on");
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_web_site_can_do_nothing_with_a_visitors_cookie() {
    let cloud = Cloud::start(&[]).await;
    let to = cloud.ready.http;
    let (_, head) = login(to, OWNER, PASSWORD).await;
    let cookie = format!("cookie: {}\r\n", cookie(&head));
    let path = "/api/v1/tokens";
    for (more, expected) in [
        ("origin: http://evil.example\r\n", 403),
        ("origin: null\r\n", 403),
        ("sec-fetch-site: cross-site\r\n", 403),
        ("sec-fetch-site: same-site\r\n", 403),
        ("sec-fetch-site: none\r\n", 403),
        ("", 403),
        ("sec-fetch-site: same-origin\r\n", 201),
        (&format!("origin: http://{to}\r\n"), 201),
    ] {
        let headers = format!("{JSON}{cookie}{more}");
        let body = br#"{"name": "x", "role": "viewer"}"#;
        let (status, ..) = request_bare(to, "POST", path, &headers, body).await;
        assert_eq!(status, expected, "{more}");
    }
    // Nor can it log a visitor in or out as another user.
    for path in ["/login", "/logout"] {
        let headers = format!("{JSON}origin: http://evil.example\r\n");
        let (status, ..) = request_bare(to, "POST", path, &headers, b"{}").await;
        assert_eq!(status, 403, "{path}");
    }
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_passwords_is_slowed_down_and_the_owner_still_comes_in() {
    let cloud = Cloud::start(&[]).await;
    let to = cloud.ready.http;
    let from = async |address: &str, name: &str, password: &str| login_from(to, address, name, password).await.0;
    let owners_place = "198.51.100.1";
    assert_eq!(from(owners_place, OWNER, PASSWORD).await, 201);
    for _ in 0..5 {
        assert_eq!(from("203.0.113.1", OWNER, "a wrong password").await, 401);
    }
    assert_eq!(from("203.0.113.1", OWNER, PASSWORD).await, 429, "by address");
    for n in 0..5 {
        let address = format!("203.0.113.{}", 10 + n);
        assert_eq!(from(&address, OWNER, "a wrong password").await, 401);
    }
    assert_eq!(from("203.0.113.99", OWNER, PASSWORD).await, 429, "by name");
    assert_eq!(from("203.0.113.98", "grace", PASSWORD).await, 401, "others");
    assert_eq!(from(owners_place, OWNER, PASSWORD).await, 201);
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_learns_from_the_time_who_there_is() {
    let cloud = Cloud::start(&[]).await;
    let to = cloud.ready.http;
    let mut fastest = [Duration::MAX; 2];
    for n in 0..3 {
        for (name, fastest) in [OWNER, "nobody"].into_iter().zip(&mut fastest) {
            let began = Instant::now();
            let (status, answer) = login_from(to, &format!("203.0.113.{n}"), name, "wrong password").await;
            *fastest = (*fastest).min(began.elapsed());
            assert_eq!(status, 401);
            assert!(answer.contains("Incorrect name or password."), "{answer}");
        }
    }
    let [known, unknown] = fastest;
    assert!(unknown * 3 > known, "{unknown:?} and {known:?}");
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invited_user_sets_a_password_once() {
    let cloud = Cloud::start(&[]).await;
    let to = cloud.ready.http;
    let person = br#"{"name": "grace", "role": "viewer"}"#;
    let (status, answer) = harness::request(to, "POST", "/api/v1/users", JSON, person).await;
    assert_eq!(status, 201, "{answer}");
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let link = answer["invitation"].as_str().unwrap();
    let (status, ..) = request_bare(to, "GET", link, "", b"").await;
    assert_eq!(status, 200);
    let code = link.split_once("code=").unwrap().1;
    let accept = |password: &str| serde_json::json!({"code": code, "password": password}).to_string().into_bytes();
    let send = async |body: Vec<u8>| request_bare(to, "POST", "/invitation", JSON, &body).await.0;
    assert_eq!(login(to, "grace", "long enough").await.0, 401);
    assert_eq!(send(accept("short")).await, 400);
    assert_eq!(send(accept("long enough")).await, 201);
    assert_eq!(send(accept("a second one")).await, 404);
    assert_eq!(login(to, "GRACE", "long enough").await.0, 201);
    // The last owner stays one.
    let people = harness::request(to, "GET", "/api/v1/users", "", b"").await.1;
    let people: serde_json::Value = serde_json::from_str(&people).unwrap();
    let ada = people["users"][0]["id"].as_str().unwrap();
    let ada = format!("/api/v1/users/{ada}");
    assert_eq!(harness::request(to, "DELETE", &ada, "", b"").await.0, 409);
    let role = format!("{ada}/role");
    let look = br#"{"role": "viewer"}"#;
    assert_eq!(harness::request(to, "POST", &role, JSON, look).await.0, 409);
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn anonymous_upload_and_publishing_end_with_the_first_owner() {
    let unset: [&str; 0] = [];
    for (owner, flags, allowed) in [
        (false, &unset[..], true),
        (true, &unset[..], false),
        (true, &["--anonymous-upload", "loopback"][..], true),
        (true, &["--anonymous-upload", "everyone"][..], true),
        (false, &NO_ANONYMOUS_UPLOAD[..], false),
        (true, &NO_ANONYMOUS_UPLOAD[..], false),
    ] {
        let cloud = if owner {
            Cloud::start(flags).await
        } else {
            Cloud::start_unowned(tempfile::tempdir().unwrap(), flags).await
        };
        let to = cloud.ready.http;
        let denied = if owner { 401 } else { 403 };
        publish_anonymously(&cloud, "camera/image", harness::photograph(1)).await;
        // The cloud receives both over one session, so this receipt comes after the decision on the other picture.
        let mut camera = Camera::connect(&cloud, "porch", 1).await;
        let known = harness::photograph(2);
        camera.send(1, &known).await;
        camera.stored(&[(1, Hash::of(&known))]).await;
        let count = "SELECT COUNT(*) FROM picture WHERE device = 'camera'";
        let stored: i64 = sqlx::query_scalar(count).fetch_one(&mut cloud.database().await).await.unwrap();
        assert_eq!(stored, i64::from(allowed), "{owner} {flags:?}");

        let picture = image_form("image", "a.jpg", &harness::photograph(3));
        let status = request_bare(to, "POST", "/upload", FORM, &picture).await.0;
        assert_eq!(status, if allowed { 201 } else { denied }, "{owner} {flags:?}");
        let device = "x-keepsake-device: porch\r\n";
        for (method, path) in [("GET", "/api/v1/down"), ("POST", "/api/v1/up/status"), ("POST", "/api/v1/frames")] {
            let status = request_bare(to, method, path, device, b"{}").await.0;
            assert_eq!(status, denied, "{owner} {flags:?} {path}");
        }
        cloud.stop().await;
    }
}

/// Publishes without credentials, and returns once the broker has acknowledged the message or closed the connection.
async fn publish_anonymously(cloud: &Cloud, topic: &str, bytes: Vec<u8>) {
    let broker = cloud.ready.mqtt.expect("the embedded broker runs");
    let mut options = MqttOptions::new("observer", (broker.ip().to_string(), broker.port()));
    options.set_max_packet_size(80 * 1024 * 1024, 80 * 1024 * 1024);
    let (client, mut events) = AsyncClient::builder(options).capacity(10).build();
    let at_least_once = PublishOptions::new(QoS::AtLeastOnce);
    client.publish(topic, bytes, at_least_once).await.unwrap();
    while !matches!(events.poll().await, Ok(Event::Incoming(Incoming::PubAck(_))) | Err(_)) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn anonymous_upload_is_open_on_this_computer_and_never_through_a_proxy() {
    let cloud = Cloud::start(&["--anonymous-upload", "loopback"]).await;
    let visitors = Visitors::of(&cloud).await;
    let to = cloud.ready.http;
    let picture = image_form("image", "a.jpg", &harness::photograph(1));
    let send = async |path: &str, headers: &str| {
        let headers = format!("{FORM}{headers}");
        let (status, ..) = request_bare(to, "POST", path, &headers, &picture).await;
        status
    };
    assert_eq!(send("/upload", "").await, 201);
    // A proxy forwards other clients.
    assert_eq!(send("/upload", "x-forwarded-for: 203.0.113.7\r\n").await, 401);
    assert_eq!(send("/upload", "forwarded: for=203.0.113.7\r\n").await, 401);
    let camera = visitors.headers(Visitor::CameraKey).await;
    assert_eq!(send("/upload", &camera).await, 201);
    assert_eq!(send("/upload?device=camera", &camera).await, 201);
    assert_eq!(send("/upload?device=porch", &camera).await, 403);
    let looks = visitors.headers(Visitor::Key(Role::Viewer)).await;
    assert_eq!(send("/upload", &looks).await, 403);
    let manages = visitors.headers(Visitor::Key(Role::Operator)).await;
    assert_eq!(send("/upload?device=porch", &manages).await, 201);
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_picture_never_runs_in_a_browser() {
    let cloud = Cloud::start(&["--anonymous-upload", "loopback"]).await;
    let to = cloud.ready.http;
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>";
    let html = b"<!doctype html><script>alert(1)</script>";
    for bytes in [&svg[..], &html[..], b"GIF89a<script>alert(1)</script>"] {
        let body = image_form("image", "../../../../etc/passwd\\\"><script>.jpg", bytes);
        let (status, ..) = request_bare(to, "POST", "/upload", FORM, &body).await;
        assert_eq!(status, 415);
    }
    // The beginning of a JPEG, and then a page.
    let both = [&harness::photograph(1)[..], html].concat();
    let body = image_form("image", "../x.html", &both);
    let (status, _, answer) = request_bare(to, "POST", "/upload", FORM, &body).await;
    assert_eq!(status, 201);
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    let path = format!("/api/v1/pictures/{}/image", answer["id"].as_str().unwrap());
    let (status, head, _) = harness::request_bytes(to, "GET", &path, "", b"").await;
    assert_eq!(status, 200);
    for header in [
        "content-type: image/jpeg",
        "x-content-type-options: nosniff",
        "content-security-policy: default-src 'none'; sandbox",
        "cross-origin-resource-policy: same-origin",
    ] {
        assert!(head.contains(header), "{header}: {head}");
    }
    assert!(!head.contains("x.html"), "{head}");
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_a_visitor_says_becomes_a_header() {
    let cloud = Cloud::start(&[]).await;
    let to = cloud.ready.http;
    for path in [
        "/pictures?x=%0d%0aset-cookie:%20a=b",
        "/cameras/a%0d%0aset-cookie:%20a=b",
        "/login?next=/%0d%0aset-cookie:%20a=b",
        "/login?next=//evil.example",
    ] {
        let (_, head, body) = request_bare(to, "GET", path, "", b"").await;
        assert!(!head.contains("a=b") || head.contains("%0"), "{head}");
        assert!(!head.to_lowercase().contains("\r\nset-cookie"), "{head}");
        let page = String::from_utf8(body).unwrap();
        assert!(!page.contains("value=\"//evil"), "{page}");
    }
    let body = serde_json::json!({"name": OWNER, "password": PASSWORD, "next": "//evil.example"});
    let form = "name=ada&password=correct+horse+battery+staple&next=%2F%2Fevil.example";
    let (_, head, _) = request_bare(to, "POST", "/login", "", form.as_bytes()).await;
    assert!(is_to(&head, "/\r\n"), "{head}");
    let (status, ..) = request_bare(to, "POST", "/login", JSON, body.to_string().as_bytes()).await;
    assert_eq!(status, 201);
    cloud.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_form_and_a_slow_header_are_cut_off() {
    let cloud = Cloud::start(&[]).await;
    let to = cloud.ready.http;
    let long = vec![b'x'; 17 * 1024];
    for path in ["/login", "/invitation", "/logout"] {
        let (status, ..) = request_bare(to, "POST", path, "", &long).await;
        let expected = if path == "/logout" { 303 } else { 413 };
        assert_eq!(status, expected, "{path}");
    }
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
    let mut silent = TcpStream::connect(to).await.unwrap();
    for stream in [&mut stream, &mut silent] {
        let mut rest = Vec::new();
        let cut = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest));
        assert!(cut.await.is_ok(), "it may sit there for ever");
    }
    cloud.stop().await;
}
