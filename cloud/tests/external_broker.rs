//! The first minute on a server that the whole internet may reach: another host, which is a network namespace of its
//! own on this computer, with a cable between the two.

mod harness;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;

use harness::{Cloud, OWNER, PASSWORD};
use keepsake_testkit::skip::not_run;
use nix::sched::{CloneFlags, setns};

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_is_made_over_plain_http_from_another_host_and_nobody_else_gets_in() {
    let Some(there) = Elsewhere::or_not_run("an owner is made from another host") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start_unowned(folder, &["--listen", "0.0.0.0:0"]).await;
    let link = cloud.ready.setup.clone().expect("a new cloud has no owner");
    let code = link.split_once("code=").unwrap().1.to_owned();
    let to = SocketAddr::from((there.here, cloud.ready.http.port()));

    let told = tokio::task::spawn_blocking(move || there.visit(to, &code)).await;
    told.unwrap();
    cloud.stop().await;
}

/// Another host, for as long as this lives.
struct Elsewhere {
    name: String,
    /// This computer, as seen from there.
    here: Ipv4Addr,
}

impl Elsewhere {
    fn or_not_run(what: &str) -> Option<Self> {
        let number = std::process::id();
        let name = format!("keepsake-{number}");
        // Addresses for measuring between networks, which no network uses (RFC 2544).
        let [_, _, third, last] = (number << 2).to_be_bytes();
        let at = |more: u8| Ipv4Addr::new(198, 18, third, (last & 0b1111_1100) + more);
        let (ours, theirs) = (format!("ks{number}a"), format!("ks{number}b"));
        let host = Self { here: at(1), name: name.clone() };
        let (near, far) = (format!("{}/30", at(1)), format!("{}/30", at(2)));
        for step in [
            &["netns", "add", &name][..],
            &["link", "add", &ours, "type", "veth", "peer", "name", &theirs],
            &["link", "set", &theirs, "netns", &name],
            &["addr", "add", &near, "dev", &ours],
            &["link", "set", &ours, "up"],
            &["-n", &name, "addr", "add", &far, "dev", &theirs],
            &["-n", &name, "link", "set", &theirs, "up"],
        ] {
            if let Err(why) = ip(step) {
                not_run(what, &why, "run it as root, with iproute2");
                return None;
            }
        }
        Some(host)
    }

    /// Visits the cloud as a browser and as a stranger.
    fn visit(&self, to: SocketAddr, code: &str) {
        let ns = File::open(format!("/run/netns/{}", self.name)).unwrap();
        // Only this thread moves, and it ends there.
        let asking = std::thread::spawn({
            let code = code.to_owned();
            move || {
                setns(&ns, CloneFlags::CLONE_NEWNET).unwrap();
                before_there_is_an_owner(to);
                make_the_owner(to, &code);
            }
        });
        asking.join().unwrap();
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        // The cable goes with the host at its end.
        let _ = ip(&["netns", "del", &self.name]);
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let done = Command::new("ip")
        .args(arguments)
        .output()
        .map_err(|error| format!("there is no ip: {error}"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    let failed = || format!("ip {}: {}", arguments.join(" "), said.trim());
    done.status.success().then_some(()).ok_or_else(failed)
}

fn before_there_is_an_owner(to: SocketAddr) {
    let status = |request: &str| ask(to, request, "").0;
    for path in ["/", "/pictures", "/cameras/porch", "/users", "/nothing"] {
        let (status, head) = ask(to, &format!("GET {path}"), "");
        assert_eq!(status, 303, "{path}: {head}");
        assert!(head.contains("location: /setup"), "{path}: {head}");
    }
    for path in ["/api/v1/devices", "/api/v1/live", "/metrics", "/api/v1/down"] {
        assert!(matches!(status(&format!("GET {path}")), 401 | 403), "{path}");
    }
    // To be at this computer is not to say so.
    for lie in ["", "x-forwarded-for: 127.0.0.1\r\n", "forwarded: for=127.0.0.1\r\n", "x-real-ip: ::1\r\n"] {
        for path in ["/upload", "/api/v1/frames", "/api/v1/up/status"] {
            let (status, head) = ask(to, &format!("POST {path}"), lie);
            assert!(matches!(status, 401 | 403), "{path} {lie}: {head}");
        }
    }
    let (status, page) = ask(to, "GET /setup", "");
    assert_eq!(status, 200);
    assert!(page.contains("not encrypted"), "no warning: {page}");
    assert!(!page.contains("strict-transport-security"), "{page}");
}

fn make_the_owner(to: SocketAddr, code: &str) {
    let set_up = |code: &str| {
        let body = serde_json::json!({"code": code, "name": OWNER, "password": PASSWORD});
        let body = body.to_string();
        let headers = format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        send(to, "POST /setup", &headers, &body)
    };
    assert!(matches!(set_up("aaaaaaaaaaaaaaaaaaaa").0, 401 | 403));
    let (status, head) = set_up(code);
    assert_eq!(status, 201, "{head}");
    let (_, set) = head.split_once("set-cookie: ").unwrap();
    let (set, _) = set.split_once("\r\n").unwrap();
    assert!(set.contains("HttpOnly") && set.contains("SameSite"), "{set}");
    assert!(!set.contains("Secure"), "plain http would never send it back: {set}");
    let (cookie, _) = set.split_once(';').unwrap();

    let cookie = format!("cookie: {cookie}\r\n");
    assert_eq!(ask(to, "GET /", &cookie).0, 200);
    assert_eq!(ask(to, "GET /api/v1/devices", &cookie).0, 200);
    let (status, head) = set_up(code);
    assert!(status != 201 && !head.contains("set-cookie"), "the code twice: {head}");
    let (status, head) = ask(to, "GET /", "");
    assert!(status == 303 && head.contains("location: /login"), "{head}");
    // Log out, and the cookie is of no use any more.
    let own = format!("{cookie}origin: http://{to}\r\n");
    assert!(ask(to, "POST /logout", &own).0 < 400);
    assert_eq!(ask(to, "GET /api/v1/devices", &cookie).0, 401);
}

/// The status, and the whole answer as a text.
fn ask(to: SocketAddr, request: &str, headers: &str) -> (u16, String) {
    send(to, request, &format!("content-length: 0\r\n{headers}"), "")
}

fn send(to: SocketAddr, request: &str, headers: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(harness::WAIT)).unwrap();
    let head = format!("{request} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}
