//! A proxy between an HTTP camera and a cloud: it checks receipts, and can inject the faults that hotels, proxies and
//! mobile networks cause.
//!
//! Before it forwards an answer to the camera, it looks up every receipt in the database: a receipt before its commit
//! would lose pictures (P2).

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use keepsake_protocol::downlink::Down;
use keepsake_protocol::receipt::Receipt;

use crate::commit_checker::CommitChecker;
use crate::store_probe::StoreAddress;
use crate::tcp_proxy::TcpProxy;

/// A fault in an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpFault {
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
    checker: CommitChecker,
    /// Applies to POST requests whose path contains the text.
    fault: Mutex<Option<(HttpFault, &'static str)>>,
    faults_injected: AtomicU64,
    requests: Mutex<Vec<String>>,
}

/// The proxy.
#[derive(Debug)]
pub struct HttpProxy {
    proxy: TcpProxy,
    seen: Arc<Observations>,
}

impl HttpProxy {
    /// `cloud_port`: of the cloud's HTTP listener; `database`: of the cloud.
    pub fn start(cloud_port: u16, database: &StoreAddress) -> Self {
        let seen = Arc::new(Observations {
            checker: CommitChecker::new(database),
            fault: Mutex::default(),
            faults_injected: AtomicU64::new(0),
            requests: Mutex::default(),
        });
        let observations = Arc::clone(&seen);
        let proxy = TcpProxy::start(cloud_port, move |camera, cloud| observations.forward(camera, cloud));
        Self { proxy, seen }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.proxy.port())
    }

    /// Injects this fault into every later POST whose path contains `path`.
    pub fn inject(&self, fault: HttpFault, path: &'static str) {
        *self.seen.fault.lock().unwrap() = Some((fault, path));
    }

    pub fn stop_faults(&self) {
        *self.seen.fault.lock().unwrap() = None;
    }

    /// Returns how many exchanges had a fault so far.
    pub fn faults_injected(&self) -> u64 {
        self.seen.faults_injected.load(Ordering::Relaxed)
    }

    /// Returns the first lines of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        self.proxy.cut();
    }

    /// Fails the test if a receipt named an uncommitted capture.
    ///
    /// Returns how many captures the receipts named.
    pub fn verdict(self) -> u64 {
        self.seen.checker.verdict()
    }
}

impl Observations {
    /// Serves one connection of a camera: a request, its answer, the next request.
    fn forward(&self, mut camera: &TcpStream, mut cloud: &TcpStream) -> io::Result<()> {
        let (mut from_camera, mut from_cloud) = (BufReader::new(camera), BufReader::new(cloud));
        while let Some(request) = HttpMessage::read(&mut from_camera)? {
            let fault = self.fault_for(&request.first_line());
            self.requests.lock().unwrap().push(request.first_line());
            if let Some(answer) = fault.and_then(replaced_answer) {
                camera.write_all(&answer)?;
                continue;
            }
            cloud.write_all(&request.to_bytes())?;
            let Some(answer) = HttpMessage::read(&mut from_cloud)? else {
                return Ok(());
            };
            receipts(&answer.body).iter().for_each(|receipt| self.checker.check_receipt(receipt));
            let half = answer.body.len() / 2;
            match fault {
                Some(HttpFault::Lose) => return Ok(()),
                Some(HttpFault::CutInTheMiddle) => {
                    let bytes = answer.to_bytes();
                    return camera.write_all(&bytes[..bytes.len() - half - 1]);
                }
                Some(HttpFault::Halve) => {
                    camera.write_all(&response("200 OK", "application/json", &answer.body[..half]))?;
                }
                None | Some(HttpFault::Page | HttpFault::Redirect | HttpFault::TooLarge | HttpFault::Nothing) => {
                    camera.write_all(&answer.to_bytes())?;
                }
            }
        }
        Ok(())
    }

    fn fault_for(&self, first_line: &str) -> Option<HttpFault> {
        let (fault, path) = (*self.fault.lock().unwrap())?;
        if !first_line.starts_with("POST ") || !first_line.contains(path) {
            return None;
        }
        self.faults_injected.fetch_add(1, Ordering::Relaxed);
        Some(fault)
    }
}

fn replaced_answer(fault: HttpFault) -> Option<Vec<u8>> {
    match fault {
        HttpFault::Lose | HttpFault::CutInTheMiddle | HttpFault::Halve => None,
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

fn response(status: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn receipts(body: &[u8]) -> Vec<Receipt> {
    if let Ok(receipt) = serde_json::from_slice(body) {
        return vec![receipt];
    }
    let downlink: Option<Down> = serde_json::from_slice(body).ok();
    downlink
        .into_iter()
        .flat_map(|downlink| downlink.messages)
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
