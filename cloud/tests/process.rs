//! The program as a process: what it prints, how it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn cloud(folder: &std::path::Path, more: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_cloud"))
        .arg("--data")
        .arg(folder)
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn ended(mut child: Child) -> (i32, String) {
    let status = child.wait().unwrap();
    let mut said = String::new();
    child.stderr.unwrap().read_to_string(&mut said).unwrap();
    (status.code().unwrap(), said)
}

#[test]
fn it_says_when_it_is_ready_and_stops_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let any = ["--listen", "127.0.0.1:0", "--mqtt-listen", "127.0.0.1:0"];
    let mut child = cloud(folder.path(), &any);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    for name in ["http", "mqtt"] {
        let address: std::net::SocketAddr = ready["ready"][name].as_str().unwrap().parse().unwrap();
        assert_ne!(address.port(), 0);
        std::net::TcpStream::connect(address).unwrap();
    }
    assert_eq!(ready["ready"]["store"].as_str().unwrap().len(), 32);
    let (code, said) = ended(cloud(folder.path(), &any));
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("another cloud is at work there"), "{said}");
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(lines.next().is_none(), "one line and no more");
    let (code, said) = ended(child);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_wrong_configuration_is_one_sentence_and_78() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let any = "127.0.0.1:0";
    for (args, names) in [
        (["--listen", any, "--mqtt-listen", "0.0.0.0:0"], "only this computer"),
        (["--listen", any, "--tls-cert", &taken], "--tls-key"),
        (["--listen", any, "--anonymous-upload", "perhaps"], "--anonymous-upload"),
        (["--listen", &taken, "--mqtt-listen", any], "--listen"),
        (["--listen", any, "--mqtt-listen", &taken], "--mqtt-listen"),
        (["--listen", any, "--mqtt-inflight-max", "0"], "--mqtt-inflight-max"),
        (["--listen", any, "--mqtt-broker-url", "broker:1883"], "mqtt://host:port"),
        (["--listen", "nowhere", "--mqtt-listen", any], "--listen"),
    ] {
        let (code, said) = ended(cloud(folder.path(), &args));
        assert_eq!(code, 78, "{args:?}: {said}");
        assert!(said.contains(names), "{args:?}: {said}");
        if args[..2] == ["--listen", &taken] {
            assert_eq!(said.matches("in use").count(), 1, "{args:?}: {said}");
        }
    }
}

/// A broker elsewhere may be away when the cloud starts: the page must say so and stay reachable.
#[test]
fn a_broker_that_is_away_is_said_on_the_page_and_not_by_silence() {
    let folder = tempfile::tempdir().unwrap();
    // Free a moment ago; nobody listens on port 9 of this machine.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = free.local_addr().unwrap().to_string();
    drop(free);
    let args = [
        "--listen",
        &listen,
        "--mqtt-listen",
        "127.0.0.1:0",
        "--mqtt-broker-url",
        "mqtt://127.0.0.1:9",
    ];
    let mut child = cloud(folder.path(), &args);
    let deadline = Instant::now() + Duration::from_secs(30);
    let ready = loop {
        match get(&listen, "/readyz") {
            Ok(answer) => break answer,
            Err(error) if Instant::now() > deadline => panic!("no answer: {error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    assert!(ready.contains("broker"), "{ready}");
    assert!(get(&listen, "/healthz").unwrap().starts_with("HTTP/1.1 200"));
    let page = get(&listen, "/").unwrap();
    assert!(page.starts_with("HTTP/1.1 303") && page.contains("location: /setup"), "{page}");
    child.kill().unwrap();
    child.wait().unwrap();
}

fn get(address: &str, path: &str) -> std::io::Result<String> {
    request(address, &format!("GET {path}"), "", "")
}

/// Returns the whole answer to `GET /path` or the like.
fn request(address: &str, what: &str, headers: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    let length = body.len();
    write!(
        stream,
        "{what} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Runs `cloud` with a subcommand, and gives what it said and whether it went well.
fn ask(folder: &std::path::Path, args: &[&str], stdin: &str) -> (bool, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cloud"))
        .args(args)
        .arg("--data")
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have ended without reading.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let ended = child.wait_with_output().unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status.success(), String::from_utf8(said).unwrap().trim().to_owned())
}

#[test]
fn whoever_has_a_shell_on_the_server_says_who_may_come_in() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    // Before the cloud has ever run, and before there is an owner.
    let (done, key) = ask(data, &["token", "create", "scripts", "--role", "operator"], "");
    assert!(done && key.starts_with("ks_"), "{key}");
    let any = ["--listen", "127.0.0.1:0", "--mqtt-listen", "127.0.0.1:0"];
    let mut child = cloud(data, &any);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let http = ready["ready"]["http"].as_str().unwrap();
    assert!(ready["ready"]["setup"].is_string());
    let with_token = |key: &str| {
        let token = format!("authorization: Bearer {key}\r\n");
        request(http, "GET /api/v1/devices", &token, "").unwrap()
    };
    assert!(with_token(&key).starts_with("HTTP/1.1 200"));

    // While it runs: an owner, whom it knows at once.
    let create = ["user", "create", "ada", "--role", "owner"];
    let (done, said) = ask(data, &create, "short\n");
    assert!(!done && said.contains("at least 10 characters"), "{said}");
    let (done, said) = ask(data, &create, "correct horse battery\n");
    assert!(done, "{said}");
    let (done, said) = ask(data, &create, "correct horse battery\n");
    assert!(!done && said.contains("already"), "{said}");
    let (_, said) = ask(data, &["user", "list"], "");
    assert_eq!(said, "ada\towner\tnever logged in");
    let log_in = |password: &str| request(http, "POST /login", "", &format!("name=ada&password={password}")).unwrap();
    assert!(log_in("correct+horse+battery").contains("\r\nset-cookie: "));
    assert!(get(http, "/setup").unwrap().contains("location: /login"));
    let (done, said) = ask(data, &["user", "reset", "ada"], "another password\n");
    assert!(done, "{said}");
    assert!(log_in("correct+horse+battery").starts_with("HTTP/1.1 401"));
    assert!(log_in("another+password").contains("\r\nset-cookie: "));
    let (done, link) = ask(data, &["user", "reset", "ada", "--link"], "");
    assert!(done && link.starts_with("/invitation?code="), "{link}");
    assert!(get(http, &link).unwrap().contains("Welcome, ada"));

    let (done, said) = ask(data, &["token", "revoke", "scripts"], "");
    assert!(done, "{said}");
    assert!(with_token(&key).starts_with("HTTP/1.1 401"));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Each password hash takes 19 MiB; they are worked on by many threads, two at a time.
#[cfg(target_env = "gnu")]
#[test]
fn logins_leave_no_memory_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (done, said) = ask(folder.path(), &["user", "create", "ada", "--role", "owner"], "correct horse battery\n");
    assert!(done, "{said}");
    let mut child = cloud(folder.path(), &["--listen", "127.0.0.1:0", "--mqtt-listen", "127.0.0.1:0"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let http = ready["ready"]["http"].as_str().unwrap();
    let resident_mib = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim_end_matches("kB").trim().parse::<u64>().unwrap() / 1024
    };
    let before = resident_mib();
    std::thread::scope(|scope| {
        // More at once would be taken for guesses.
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..16 {
                    let answer = request(http, "POST /login", "", "name=ada&password=correct+horse+battery").unwrap();
                    assert!(answer.contains("\r\nset-cookie: "), "{answer}");
                }
            });
        }
    });
    let after = resident_mib();
    println!("{before} MiB before 64 log-ins, {after} MiB after");
    assert!(after < before + 60, "{before} MiB before, {after} MiB after");
    child.kill().unwrap();
    child.wait().unwrap();
}
