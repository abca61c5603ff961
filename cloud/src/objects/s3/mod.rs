//! A bucket of S3, or of a server that speaks its protocol.
//!
//! Credentials come from the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and the other variables of AWS's
//! tools) or from the role of the EC2 instance. Every upload carries its SHA-256, which the server compares.

mod client;

use std::future::ready;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum};
use object_store::path::Path;
use object_store::{
    BackoffConfig, Error, GetOptions, GetRange, ObjectStore as _, ObjectStoreExt, PutPayload, RetryConfig,
};

use crate::objects::error::ObjectError;
use crate::objects::key::ObjectKey;
use crate::objects::location::S3Location;
use crate::objects::name::NewObject;
use crate::objects::object::{ByteStream, ListedObject, PlaceMarker, Result};

/// Requests of one batch at the same time.
const REQUESTS_MAX: usize = 16;
/// The wait for the next bytes of an object.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(10);
/// A failed request is repeated so often and for so long; its caller tries again later. The waits grow by jitter from
/// the first to the longest, also when the server asks to slow down.
const RETRIES_MAX: usize = 4;
const RETRY_FOR: Duration = Duration::from_secs(30);
const RETRY_WAIT_MIN: Duration = Duration::from_millis(100);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct S3 {
    location: S3Location,
    client: AmazonS3,
}

impl S3 {
    pub(super) fn new(location: &S3Location) -> Result<Self> {
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&location.bucket)
            .with_http_connector(client::Connector)
            .with_checksum_algorithm(Checksum::SHA256)
            .with_retry(RetryConfig {
                backoff: BackoffConfig {
                    init_backoff: RETRY_WAIT_MIN,
                    max_backoff: RETRY_WAIT_MAX,
                    ..BackoffConfig::default()
                },
                max_retries: RETRIES_MAX,
                retry_timeout: RETRY_FOR,
            });
        if let Some(endpoint) = &location.endpoint {
            builder = builder.with_endpoint(endpoint).with_allow_http(true);
        }
        if let Some(region) = &location.region {
            builder = builder.with_region(region);
        }
        let client = builder
            .build()
            .map_err(|source| ObjectError::S3 { what: "set up", source: source.into() })?;
        Ok(Self { location: location.clone(), client })
    }

    pub(super) fn location(&self) -> &S3Location {
        &self.location
    }

    fn path(&self, name: &str) -> Path {
        Path::from(self.location.prefix.as_str()).join(name)
    }

    fn key_path(&self, key: &ObjectKey) -> Path {
        Path::from(format!("{}/{key}", self.location.prefix))
    }

    pub(super) async fn put_batch(&self, objects: Vec<NewObject>) -> Vec<Result<ObjectKey>> {
        stream::iter(objects)
            .map(|object| async move {
                let key = ObjectKey::new(object.extension(), crate::now_us());
                let put = self.client.put(&self.key_path(&key), PutPayload::from_bytes(object.bytes)).await;
                put.map_err(failed("store", Some(&key)))?;
                Ok(key)
            })
            .buffered(REQUESTS_MAX)
            .collect()
            .await
    }

    pub(super) async fn get(&self, key: &ObjectKey, range: Range<u64>) -> Result<ByteStream> {
        let length = range.end - range.start;
        // A range of no bytes cannot be asked for.
        let asked = if length == 0 {
            None
        } else {
            Some(GetRange::Bounded(range.clone()))
        };
        let options = GetOptions { range: asked, ..GetOptions::default() };
        let found = self.client.get_opts(&self.key_path(key), options).await;
        let found = found.map_err(failed("read", Some(key)))?;
        if found.range != range {
            return Err(ObjectError::Missing { key: key.clone() });
        }
        let key = key.clone();
        let chunks = stream::try_unfold((found.into_stream(), key), |(mut chunks, key)| async move {
            let next = tokio::time::timeout(CHUNK_TIMEOUT, chunks.try_next()).await;
            let next = next.map_err(|_| ObjectError::TimedOut { key: key.clone() })?;
            let next = next.map_err(failed("read", Some(&key)))?;
            Ok(next.map(|chunk| (chunk, (chunks, key))))
        });
        Ok(chunks.boxed())
    }

    pub(super) async fn length(&self, key: &ObjectKey) -> Result<Option<u64>> {
        match self.client.head(&self.key_path(key)).await {
            Ok(found) => Ok(Some(found.size)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed("look at", Some(key))(error)),
        }
    }

    pub(super) async fn delete(&self, keys: &[ObjectKey]) -> Result<()> {
        let paths: Vec<_> = keys.iter().map(|key| Ok(self.key_path(key))).collect();
        let deleted = self.client.delete_stream(stream::iter(paths).boxed());
        let deleted = deleted.filter(|result| ready(!matches!(result, Err(Error::NotFound { .. }))));
        deleted.try_for_each(|_| ready(Ok(()))).await.map_err(failed("delete", None))
    }

    pub(super) fn list(self: &Arc<Self>) -> BoxStream<'static, Result<ListedObject>> {
        let prefix = self.location.prefix.clone();
        let listed = self.client.list(Some(&Path::from(prefix.as_str())));
        listed
            .map_err(failed("list", None))
            .try_filter_map(move |found| {
                let name = found.location.as_ref().strip_prefix(&format!("{prefix}/")).map(str::parse::<ObjectKey>);
                ready(Ok(match name {
                    Some(Ok(key)) => Some(ListedObject { key, len: found.size, modified: found.last_modified.into() }),
                    // Not ours, or the marker.
                    Some(Err(_)) | None => None,
                }))
            })
            .boxed()
    }

    pub(super) async fn read_marker(&self) -> Result<Option<Vec<u8>>> {
        let failed = failed("read the marker of", None);
        let found = match self.client.get(&self.path(PlaceMarker::NAME)).await {
            Err(Error::NotFound { .. }) => return Ok(None),
            found => found.map_err(&failed)?,
        };
        if found.meta.size > PlaceMarker::BYTES_MAX {
            return Ok(Some(Vec::new()));
        }
        Ok(Some(found.bytes().await.map_err(&failed)?.to_vec()))
    }

    pub(super) async fn write_marker(&self, bytes: Vec<u8>) -> Result<()> {
        let put = self.client.put(&self.path(PlaceMarker::NAME), bytes.into()).await;
        put.map(drop).map_err(failed("write the marker of", None))
    }
}

fn failed(what: &'static str, key: Option<&ObjectKey>) -> impl Fn(Error) -> ObjectError + use<> {
    let key = key.cloned();
    move |error| match (error, &key) {
        (Error::NotFound { .. }, Some(key)) => ObjectError::Missing { key: key.clone() },
        (error, _) => ObjectError::S3 { what, source: error.into() },
    }
}
