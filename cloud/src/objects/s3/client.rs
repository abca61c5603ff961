//! HTTP for the S3 client, over the hyper and rustls of this program.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::BodyExt;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody,
    HttpService,
};

use keepsake_tls::{DefaultTimeProvider, TlsFiles};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest time from the first byte of a request to the header of its response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);
/// An idle connection is closed before most proxies close it without a word.
const IDLE_FOR: Duration = Duration::from_secs(20);

/// Makes the HTTP client.
#[derive(Debug, Default)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let trust = keepsake_tls::client(&TlsFiles::default(), Arc::new(DefaultTimeProvider));
        let trust = trust.map_err(|source| object_store::Error::Generic { store: "S3", source: Box::new(source) })?;
        let mut tcp = TcpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(Arc::unwrap_or_clone(trust))
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_FOR)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(HttpClient::new(Service(client)))
    }
}

#[derive(Debug)]
struct Service(Client<HttpsConnector<TcpConnector>, HttpRequestBody>);

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let response = tokio::time::timeout(RESPONSE_TIMEOUT, self.0.request(request)).await;
        let response = response.map_err(|late| HttpError::new(HttpErrorKind::Timeout, late))?;
        let response = response.map_err(|error| HttpError::new(kind(&error), error))?;
        Ok(response
            .map(|body| HttpResponseBody::new(body.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error)))))
    }
}

/// Tells object_store whether the request may have been received.
fn kind(error: &ClientError) -> HttpErrorKind {
    if error.is_connect() {
        return HttpErrorKind::Connect;
    }
    let source = error.source().and_then(|source| source.downcast_ref::<hyper::Error>());
    match source {
        Some(error) if error.is_timeout() => HttpErrorKind::Timeout,
        Some(_) | None => HttpErrorKind::Interrupted,
    }
}
