//! A proxy between an HTTP camera and a cloud: it checks receipts, and can inject the faults that hotels, proxies and
//! mobile networks cause.
//!
//! Before it forwards an answer to the camera, it looks up every receipt in the database: a receipt before its commit
//! would lose pictures (P2).

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use keepsake_protocol::downlink::Down;
use keepsake_protocol::receipt::Receipt;

use crate::receipt_observer::ReceiptChecker;
use crate::store_probe::Location;
use keepsake_provision::process::free_port;

/// A fault in an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpFault {
    None,
    /// The cloud answers, and the connection is cut before the camera hears it.
    Lose,
    /// The cloud answers, and the connection is cut in the middle of the answer.
    CutInTheMiddle,
    /// The cloud answers, and half of the answer is delivered as a complete one.
    Halve,
    /// The cloud is not asked: a page is returned with status 200.
    Page,
    /// The cloud is not asked: a redirect is returned.
    Redirect,
    /// The cloud is not asked: status 413 is returned.
    TooLarge,
    /// The cloud is not asked: an empty answer with status 200 is returned.
    Nothing,
}

#[derive(Debug)]
struct Observations {
    witness: ReceiptChecker,
    cloud_port: u16,
    /// Applies to requests with a body whose path contains the text.
    harm: Mutex<(HttpFault, &'static str)>,
    harmed: AtomicU64,
    requests: Mutex<Vec<String>>,
    checked: AtomicU64,
    violations: Mutex<Vec<String>>,
    sockets: Mutex<Vec<TcpStream>>,
    stop: AtomicBool,
}

/// The proxy. It runs until it is dropped, also while the cloud is down.
#[derive(Debug)]
pub struct HttpProxy {
    port: u16,
    seen: Arc<Observations>,
}

impl HttpProxy {
    /// `cloud_port`: of the cloud's HTTP listener; `database`: of the cloud.
    pub fn start(cloud_port: u16, database: impl Into<Location>) -> Self {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("bind a free port");
        let seen = Arc::new(Observations {
            witness: ReceiptChecker::new(database),
            cloud_port,
            harm: Mutex::new((HttpFault::None, "")),
            harmed: AtomicU64::new(0),
            requests: Mutex::default(),
            checked: AtomicU64::new(0),
            violations: Mutex::default(),
            sockets: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        {
            let seen = Arc::clone(&seen);
            thread::spawn(move || {
                for camera in listener.incoming().flatten() {
                    if seen.stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let seen = Arc::clone(&seen);
                    thread::spawn(move || {
                        let _ = forward(&camera, &seen);
                        let _ = camera.shutdown(Shutdown::Both);
                    });
                }
            });
        }
        Self { port, seen }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Injects this fault into every later POST whose path contains `path`.
    pub fn inject(&self, harm: HttpFault, path: &'static str) {
        *self.seen.harm.lock().unwrap() = (harm, path);
    }

    /// Returns how many exchanges had a fault so far.
    pub fn faults_injected(&self) -> u64 {
        self.seen.harmed.load(Ordering::Relaxed)
    }

    /// Returns the first lines of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        for socket in self.seen.sockets.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Fails the test if a receipt named an uncommitted capture.
    ///
    /// Returns how many captures the receipts named.
    pub fn verdict(self) -> u64 {
        let lies = self.seen.violations.lock().unwrap();
        assert!(lies.is_empty(), "receipts before their commit (P2): {lies:#?}");
        drop(lies);
        let checked = self.seen.checked.load(Ordering::Relaxed);
        assert!(checked > 0, "no receipt was checked, which proves nothing");
        checked
    }
}

impl Drop for HttpProxy {
    fn drop(&mut self) {
        self.seen.stop.store(true, Ordering::Relaxed);
        self.cut();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Serves one connection of a camera: a request, its answer, the next request.
fn forward(camera: &TcpStream, seen: &Observations) -> io::Result<()> {
    camera.set_nodelay(true)?;
    // A cloud that is down looks like one that closes the connection.
    let cloud = TcpStream::connect(("127.0.0.1", seen.cloud_port))?;
    cloud.set_nodelay(true)?;
    {
        let mut sockets = seen.sockets.lock().unwrap();
        sockets.push(camera.try_clone()?);
        sockets.push(cloud.try_clone()?);
    }
    let mut from_camera = BufReader::new(camera.try_clone()?);
    let mut from_cloud = BufReader::new(cloud.try_clone()?);
    let (mut to_camera, mut to_cloud) = (camera.try_clone()?, cloud);
    while let Some(request) = HttpMessage::read(&mut from_camera)? {
        seen.requests.lock().unwrap().push(request.first_line());
        let (harm, path) = *seen.harm.lock().unwrap();
        let first = request.first_line();
        let harm = if first.starts_with("POST ") && first.contains(path) {
            harm
        } else {
            HttpFault::None
        };
        if harm != HttpFault::None {
            seen.harmed.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(instead) = replaced_answer(harm) {
            to_camera.write_all(&instead)?;
            continue;
        }
        to_cloud.write_all(&request.to_bytes())?;
        let Some(answer) = HttpMessage::read(&mut from_cloud)? else {
            return Ok(());
        };
        check_receipts(&answer, seen);
        match harm {
            HttpFault::Lose => return Ok(()),
            HttpFault::CutInTheMiddle => {
                let bytes = answer.to_bytes();
                return to_camera.write_all(&bytes[..bytes.len() - answer.body.len() / 2 - 1]);
            }
            HttpFault::Halve => {
                let half = &answer.body[..answer.body.len() / 2];
                to_camera.write_all(&response("200 OK", "application/json", half))?;
            }
            HttpFault::None | HttpFault::Page | HttpFault::Redirect | HttpFault::TooLarge | HttpFault::Nothing => {
                to_camera.write_all(&answer.to_bytes())?;
            }
        }
    }
    Ok(())
}

fn replaced_answer(harm: HttpFault) -> Option<Vec<u8>> {
    match harm {
        HttpFault::None | HttpFault::Lose | HttpFault::CutInTheMiddle | HttpFault::Halve => None,
        HttpFault::Page => Some(response(
            "200 OK",
            "text/html",
            b"<!doctype html><title>Welcome</title>Please log in to use this network.",
        )),
        HttpFault::Redirect => {
            Some(response("307 Temporary Redirect\r\nLocation: http://127.0.0.1:9/", "text/html", b""))
        }
        HttpFault::TooLarge => Some(response("413 Request Entity Too Large", "text/html", b"<h1>nginx</h1>")),
        HttpFault::Nothing => Some(response("200 OK", "application/json", b"")),
    }
}

fn response(status: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Checks every receipt in an answer against the database.
fn check_receipts(answer: &HttpMessage, seen: &Observations) {
    for receipt in receipts(&answer.body) {
        let lies = seen.witness.violations(&receipt);
        seen.violations.lock().unwrap().extend(lies);
        let said = receipt.stored.len() as u64;
        seen.checked.fetch_add(said, Ordering::Relaxed);
    }
}

fn receipts(body: &[u8]) -> Vec<Receipt> {
    if let Ok(receipt) = serde_json::from_slice(body) {
        return vec![receipt];
    }
    let told: Option<Down> = serde_json::from_slice(body).ok();
    told.into_iter()
        .flat_map(|told| told.messages)
        .filter_map(|one| serde_json::from_str(one.message.get()).ok())
        .collect()
}

/// The bytes of a request or an answer.
struct HttpMessage {
    head: Vec<u8>,
    body: Vec<u8>,
}

impl HttpMessage {
    /// Returns `None` at the end of the connection.
    fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if from.read_until(b'\n', &mut head)? == 0 {
                return Ok(None);
            }
        }
        let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let length = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())
            .unwrap_or(0);
        let mut body = vec![0; length];
        from.read_exact(&mut body)?;
        Ok(Some(Self { head, body }))
    }

    fn first_line(&self) -> String {
        let text = String::from_utf8_lossy(&self.head);
        text.lines().next().unwrap_or_default().to_owned()
    }

    fn to_bytes(&self) -> Vec<u8> {
        [&self.head[..], &self.body[..]].concat()
    }
}
