//! Objects in an S3-compatible service.
//!
//! Visibility, atomicity and durability are the service's. Bodies that are cut off in the middle
//! are taken up again where they ended, pinned to the same validator. Listings come in the
//! service's order: ascending keys by S3's rules, though SeaweedFS sorts segment by segment (`a/b`
//! before `a-b`).

mod fault;
mod identity;
mod upload;

use std::{
    fmt,
    ops::Range,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use aws_config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_s3::{
    Client,
    config::{Credentials, RequestChecksumCalculation, ResponseChecksumValidation},
    operation::get_object::GetObjectOutput,
    primitives::{ByteStream, DateTime},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};

use crate::{Error, Key, Meta, Object, ObjectStore, Upload, can_start_keys, clamp};
use fault::Fault;
pub use identity::{Identity, Keys};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the service may take to start answering.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// How long one attempt may take up to the answer's head, sending a part included.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);
/// The same with all its retries.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(180);
/// Attempts of one request.
const ATTEMPTS: u32 = 4;
/// How often one body may be taken up again.
const RESUMES: u32 = 3;
/// Highest offset that is ever asked for.
const MAX_OFFSET: u64 = i64::MAX as u64;
/// Region for services that have none but want one signed.
const ANY_REGION: &str = "us-east-1";

/// Where the objects are. What is `None` comes from the environment (`AWS_REGION`,
/// `AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`…), the profile or the instance.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// Bucket.
    pub bucket: String,
    /// Text before every key, without the `/` between; empty for none.
    pub prefix: String,
    /// Base URL of a service other than AWS.
    pub endpoint: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// Whether the bucket is named in the path rather than in the host. Default: where an
    /// endpoint is set.
    pub path_style: Option<bool>,
    /// Access key and secret key.
    pub credentials: Option<(String, String)>,
    /// Size in bytes of the parts of a streamed put; at least 5 MiB. Default 8 MiB. An upload
    /// keeps at most four parts in memory.
    pub part_size: usize,
}

impl Config {
    /// That bucket, with everything else from the environment.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            prefix: String::new(),
            endpoint: None,
            region: None,
            path_style: None,
            credentials: None,
            part_size: 8 << 20,
        }
    }

    /// Reads `s3://bucket/prefix?endpoint=…&region=…&path-style=…`.
    ///
    /// # Errors
    /// [`Error::Config`] with a sentence that says what to change.
    pub fn from_url(url: &str) -> Result<Self, Error> {
        let config = crate::url::parse_s3_url(url)?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), Error> {
        if !self.prefix.is_empty() && Key::new(self.prefix.as_str()).is_err() {
            return Err(Error::Config(format!(
                "`{}` can't be a prefix of object keys",
                self.prefix
            )));
        }
        if self.part_size < 5 << 20 {
            return Err(Error::Config("S3 takes parts of at least 5 MiB".into()));
        }
        Ok(())
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("bucket", &self.bucket)
            .field("prefix", &self.prefix)
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("path_style", &self.path_style)
            .field("part_size", &self.part_size)
            .finish_non_exhaustive()
    }
}

/// Objects in a bucket.
#[derive(Clone)]
pub struct S3 {
    client: Client,
    bucket: String,
    prefix: String,
    endpoint: String,
    part_size: usize,
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "S3(s3://{}/{} at {})",
            self.bucket, self.prefix, self.endpoint
        )
    }
}

/// The SDK's settings for a service, from a configuration and from the environment.
async fn shared(config: &Config) -> aws_config::SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS));
    if let Some(region) = &config.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(endpoint) = &config.endpoint {
        loader = loader.endpoint_url(endpoint.clone());
    }
    if let Some((access, secret)) = &config.credentials {
        loader = loader.credentials_provider(Credentials::new(
            access.clone(),
            secret.clone(),
            None,
            None,
            "configuration",
        ));
    }
    loader.load().await
}

impl S3 {
    /// Connects, and lists once to see that endpoint, credentials and bucket are right.
    ///
    /// # Errors
    /// [`Error::Config`] with a sentence that says what to change.
    pub async fn connect(config: Config) -> Result<Self, Error> {
        config.check()?;
        let shared = shared(&config).await;
        let endpoint = shared.endpoint_url().map(str::to_owned);
        let mut builder = aws_sdk_s3::config::Builder::from(&shared)
            .force_path_style(config.path_style.unwrap_or(endpoint.is_some()));
        if shared.region().is_none() {
            builder = builder.region(Region::new(ANY_REGION));
        }
        if endpoint.is_some() {
            // Services other than AWS often know no checksum trailers.
            builder = builder
                .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
                .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        }
        let store = Self {
            client: Client::from_conf(builder.build()),
            bucket: config.bucket,
            prefix: config.prefix,
            endpoint: endpoint.unwrap_or_else(|| "AWS".into()),
            part_size: config.part_size,
        };
        let probe = store
            .client
            .list_objects_v2()
            .bucket(&store.bucket)
            .max_keys(1)
            .send()
            .await;
        match probe {
            Ok(_) => Ok(store),
            Err(e) => Err(Error::Config(store.explain(&Fault::of(&e)))),
        }
    }

    fn name(&self, key: &Key) -> String {
        self.name_text(key.as_str())
    }

    fn name_text(&self, key: &str) -> String {
        if self.prefix.is_empty() {
            key.to_owned()
        } else {
            format!("{}/{key}", self.prefix)
        }
    }

    /// One `GetObject`, with the range inclusive as HTTP has it.
    async fn fetch(
        &self,
        key: &Key,
        range: Option<&Range<u64>>,
        etag: Option<&str>,
    ) -> Result<Result<GetObjectOutput, Fault>, Error> {
        // Services read offsets as signed.
        let range = range.map(|r| format!("bytes={}-{}", r.start, (r.end - 1).min(MAX_OFFSET)));
        let sent = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(self.name(key))
            .set_range(range)
            .set_if_match(etag.map(|etag| format!("\"{etag}\"")))
            .send()
            .await;
        match sent {
            Ok(output) => Ok(Ok(output)),
            Err(e) => match Fault::of(&e) {
                fault if fault.is_unsatisfiable() => Ok(Err(fault)),
                fault => Err(self.fault("get", key, &fault)),
            },
        }
    }

    fn fault(&self, what: &'static str, key: &Key, fault: &Fault) -> Error {
        if fault.is_absent() {
            return Error::NotFound(key.clone());
        }
        Error::Store {
            what,
            key: key.to_string(),
            source: self.explain(fault).into(),
        }
    }

    fn explain(&self, fault: &Fault) -> String {
        fault.explain(&self.bucket, &self.endpoint)
    }
}

#[async_trait]
impl ObjectStore for S3 {
    async fn put(&self, key: &Key, body: Bytes) -> Result<Meta, Error> {
        let size = body.len() as u64;
        let sent = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(self.name(key))
            .body(ByteStream::from(body))
            .send()
            .await
            .map_err(|e| self.fault("put", key, &Fault::of(&e)))?;
        written(key, size, sent.e_tag())
    }

    async fn upload(&self, key: &Key) -> Result<Box<dyn Upload>, Error> {
        Ok(Box::new(upload::Multipart::new(self.clone(), key.clone())))
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Object, Error> {
        let hopeless = |r: &&Range<u64>| r.start >= r.end || r.start > MAX_OFFSET;
        if let Some(range) = range.as_ref().filter(hopeless) {
            let size = self.head(key).await?.size;
            return Err(Error::BadRange {
                key: key.clone(),
                start: range.start,
                size,
            });
        }
        let output = match self.fetch(key, range.as_ref(), None).await? {
            Ok(output) => output,
            Err(_) => {
                let (start, size) = (range.map_or(0, |r| r.start), self.head(key).await?.size);
                return Err(Error::BadRange {
                    key: key.clone(),
                    start,
                    size,
                });
            }
        };
        let length = output.content_length().unwrap_or_default().max(0) as u64;
        let sent = output.content_range().and_then(parse_content_range);
        let size = sent.as_ref().map_or(length, |(_, size)| *size);
        let wanted = clamp(range, key, size)?;
        if sent.map_or(0..size, |(range, _)| range) != wanted {
            let source = "the service answered with another range than it was asked for".into();
            return Err(Error::Store {
                what: "get",
                key: key.to_string(),
                source,
            });
        }
        let meta = describe(key, size, output.e_tag(), output.last_modified())?;
        let body = Body {
            store: self.clone(),
            key: key.clone(),
            etag: meta.etag.clone(),
            left: wanted.clone(),
            stream: output.body,
            resumes: RESUMES,
        };
        Ok(Object {
            meta,
            range: wanted,
            body: body.stream(),
        })
    }

    async fn head(&self, key: &Key) -> Result<Meta, Error> {
        let output = self
            .client
            .head_object()
            .bucket(&self.bucket)
            .key(self.name(key))
            .send()
            .await
            .map_err(|e| self.fault("head", key, &Fault::of(&e)))?;
        let size = output.content_length().unwrap_or_default().max(0) as u64;
        describe(key, size, output.e_tag(), output.last_modified())
    }

    fn list(&self, prefix: &str) -> BoxStream<'static, Result<Meta, Error>> {
        // Some services tidy such a prefix and then list what doesn't start with it.
        if !can_start_keys(prefix) {
            return stream::empty().boxed();
        }
        let this = self.clone();
        let asked = prefix.to_owned();
        let pages = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(self.name_text(prefix))
            .into_paginator()
            .send();
        stream::unfold(Some(pages), move |pages| {
            let (this, asked) = (this.clone(), asked.clone());
            async move {
                let mut pages = pages?;
                match pages.next().await? {
                    Ok(page) => {
                        let metas = page
                            .contents()
                            .iter()
                            .filter_map(|object| this.listed(object));
                        Some((metas.map(Ok).collect::<Vec<_>>(), Some(pages)))
                    }
                    Err(e) => {
                        let source = this.explain(&Fault::of(&e)).into();
                        Some((
                            vec![Err(Error::Store {
                                what: "list",
                                key: asked,
                                source,
                            })],
                            None,
                        ))
                    }
                }
            }
        })
        .flat_map(stream::iter)
        .boxed()
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        let sent = self
            .client
            .delete_object()
            .bucket(&self.bucket)
            .key(self.name(key))
            .send()
            .await;
        match sent.map_err(|e| self.fault("delete", key, &Fault::of(&e))) {
            Ok(_) | Err(Error::NotFound(_)) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

impl S3 {
    /// A listed object; `None` where its name is no key of ours.
    fn listed(&self, object: &aws_sdk_s3::types::Object) -> Option<Meta> {
        let name = object.key()?;
        let name = match self.prefix.as_str() {
            "" => name,
            prefix => name.strip_prefix(prefix)?.strip_prefix('/')?,
        };
        let key = Key::new(name).ok()?;
        let size = object.size().unwrap_or_default().max(0) as u64;
        describe(&key, size, object.e_tag(), object.last_modified()).ok()
    }
}

/// An object's bytes on their way.
struct Body {
    store: S3,
    key: Key,
    etag: String,
    /// What is still to come.
    left: Range<u64>,
    stream: ByteStream,
    resumes: u32,
}

impl Body {
    fn stream(self) -> BoxStream<'static, Result<Bytes, Error>> {
        stream::try_unfold(self, |mut body| async move {
            let chunk = body.next().await?;
            Ok(chunk.map(|chunk| (chunk, body)))
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if self.left.is_empty() {
                return Ok(None);
            }
            let cause = match self.stream.next().await {
                Some(Ok(chunk)) if chunk.is_empty() => continue,
                Some(Ok(mut chunk)) => {
                    let left = self.left.end - self.left.start;
                    chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                    self.left.start += chunk.len() as u64;
                    return Ok(Some(chunk));
                }
                Some(Err(e)) => format!("the body broke off: {e}"),
                None => "the body ended early".into(),
            };
            self.resume(cause).await?;
        }
    }

    /// Asks for the rest of the same object.
    async fn resume(&mut self, cause: String) -> Result<(), Error> {
        let broken = |cause: String| Error::Store {
            what: "get",
            key: self.key.to_string(),
            source: cause.into(),
        };
        if self.resumes == 0 {
            return Err(broken(cause));
        }
        tracing::debug!(key = %self.key, at = self.left.start, cause, "resuming an object's body");
        let rest = self
            .store
            .fetch(&self.key, Some(&self.left), Some(&self.etag))
            .await?;
        let rest = rest.map_err(|_| broken("the object became shorter".into()))?;
        let range = rest.content_range().and_then(parse_content_range);
        if range.map(|(range, _)| range) != Some(self.left.clone()) {
            return Err(broken(cause));
        }
        self.stream = rest.body;
        self.resumes -= 1;
        Ok(())
    }
}

/// What is known of an object that was just written, without asking again.
fn written(key: &Key, size: u64, etag: Option<&str>) -> Result<Meta, Error> {
    describe(key, size, etag, Some(&DateTime::from(SystemTime::now())))
}

fn describe(
    key: &Key,
    size: u64,
    etag: Option<&str>,
    modified: Option<&DateTime>,
) -> Result<Meta, Error> {
    let etag = etag.unwrap_or_default().trim_matches('"').to_owned();
    // Weak or missing: no ranges could be put together by it.
    if etag.is_empty() || etag.starts_with("W/") {
        let source = "the service gives no strong ETag".into();
        return Err(Error::Store {
            what: "head",
            key: key.to_string(),
            source,
        });
    }
    let modified = modified
        .and_then(|t| SystemTime::try_from(*t).ok())
        .unwrap_or(SystemTime::UNIX_EPOCH);
    Ok(Meta {
        key: key.clone(),
        size,
        etag,
        modified,
    })
}

/// `bytes 0-9/100` as a half-open range and a size (RFC 9110 §14.4).
fn parse_content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let end = last.parse::<u64>().ok()?.checked_add(1)?;
    Some((first.parse().ok()?..end, size.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{Config, parse_content_range};

    #[test]
    fn content_ranges() {
        assert_eq!(parse_content_range("bytes 0-9/100"), Some((0..10, 100)));
        for text in [
            "bytes */100",
            "bytes 0-9/*",
            "0-9/100",
            "bytes 0-/1",
            "bytes 0-18446744073709551615/1",
        ] {
            assert_eq!(parse_content_range(text), None, "{text}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let credentials = Some(("access".into(), "hidden".into()));
        let shown = format!(
            "{:?}",
            Config {
                credentials,
                ..Config::new("b")
            }
        );
        assert!(!shown.contains("hidden"), "{shown}");
    }
}
