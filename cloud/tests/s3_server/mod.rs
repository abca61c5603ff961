//! A server that speaks S3, in this process, and what it does wrong on request.

#![allow(dead_code, clippy::allow_attributes, reason = "every test file takes what it needs")]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use keepsake_cloud::objects::{BytesSetting, ObjectStore};
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;

pub(crate) const ACCESS_KEY: &str = "keepsake";
pub(crate) const SECRET_KEY: &str = "a secret of a test";

/// Ends a test that has no credentials in its environment, after it has run once more with them.
macro_rules! needs_credentials {
    () => {
        if !crate::s3_server::has_credentials() {
            return;
        }
    };
}
pub(crate) use needs_credentials;

pub(crate) fn has_credentials() -> bool {
    if std::env::var("AWS_ACCESS_KEY_ID").is_ok_and(|key| key == ACCESS_KEY) {
        return true;
    }
    // The environment of a process that has threads cannot be changed.
    let test = std::thread::current()
        .name()
        .expect("the test runner names a thread like its test")
        .to_owned();
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args([&test, "--exact", "--nocapture"])
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
    false
}

/// A fault of the server in its answer to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// 500.
    Error,
    /// 503, as S3 asks for fewer requests.
    SlowDown,
    Disconnect,
    /// Never answers.
    Hang,
    /// Sends half of the body.
    Truncate,
    ChangeDownload,
    ChangeUpload,
    /// Answers 200 and stores nothing.
    LoseUploads,
}

#[derive(Clone)]
pub(crate) struct S3Server {
    endpoint: String,
    service: S3Service,
    faults: Arc<Mutex<VecDeque<Fault>>>,
    root: Arc<tempfile::TempDir>,
}

type Body = BoxBody<Bytes, std::io::Error>;

impl S3Server {
    pub(crate) async fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("bucket")).unwrap();
        let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root.path()).unwrap());
        service.set_auth(s3s::auth::SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            endpoint: format!("http://{}", listener.local_addr().unwrap()),
            service: service.build(),
            faults: Arc::default(),
            root: Arc::new(root),
        };
        tokio::spawn({
            let server = server.clone();
            async move {
                loop {
                    let (socket, _) = listener.accept().await.unwrap();
                    let server = server.clone();
                    let service = hyper::service::service_fn(move |request| {
                        let server = server.clone();
                        async move { server.answer(request).await }
                    });
                    tokio::spawn(async move {
                        let _ =
                            Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
                    });
                }
            }
        });
        server
    }

    pub(crate) fn setting(&self) -> BytesSetting {
        let text = format!("s3://bucket/some/prefix?endpoint={}&region=us-east-1", self.endpoint);
        BytesSetting::parse(&text, Path::new("/")).unwrap()
    }

    pub(crate) async fn bucket(&self) -> ObjectStore {
        let objects = ObjectStore::open(&self.setting()).unwrap().unwrap();
        assert_eq!(objects.marker().await.unwrap(), None);
        objects.set_marker(&crate::MARKER).await.unwrap();
        objects
    }

    /// Does this to the next requests, one fault each.
    pub(crate) fn fail(&self, faults: &[Fault]) {
        *self.faults.lock().unwrap() = faults.iter().copied().collect();
    }

    pub(crate) fn faults_left(&self) -> usize {
        self.faults.lock().unwrap().len()
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, std::io::Error> {
        let fault = self.faults.lock().unwrap().pop_front();
        let (mut head, body) = request.into_parts();
        let mut sent = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        match fault {
            Some(Fault::Error) => return Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")),
            Some(Fault::SlowDown) => return Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, "SlowDown")),
            Some(Fault::Disconnect) => return Err(std::io::Error::other("a fault")),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::ChangeUpload) => sent = changed(&sent),
            Some(Fault::LoseUploads) if head.method == Method::PUT => {
                return Ok(Response::builder().header("etag", "\"lost\"").body(full(Bytes::new())).unwrap());
            }
            Some(Fault::Truncate | Fault::ChangeDownload | Fault::LoseUploads) | None => {}
        }
        head.extensions.clear();
        let response = self.service.call(Request::from_parts(head, s3s::Body::from(sent))).await;
        let (head, body) = response.map_err(|error| std::io::Error::other(format!("{error:?}")))?.into_parts();
        let bytes = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        let body = match fault {
            Some(Fault::ChangeDownload) => full(changed(&bytes)),
            Some(Fault::Truncate) => {
                let half = Ok(Frame::data(bytes.slice(..bytes.len() / 2)));
                StreamBody::new(stream::iter([half, Err(std::io::Error::other("a fault"))])).boxed()
            }
            _ => full(bytes),
        };
        Ok(Response::from_parts(head, body))
    }
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never: Infallible| match never {}).boxed()
}

fn refusal(status: StatusCode, code: &str) -> Response<Body> {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>A fault.</Message></Error>");
    Response::builder().status(status).body(full(body.into())).unwrap()
}

/// Returns the bytes with one bit changed.
fn changed(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    if let Some(byte) = bytes.last_mut() {
        *byte ^= 1;
    }
    bytes.into()
}
