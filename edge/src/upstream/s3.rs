//! A bucket as an upstream: requests are mapped to keys and signed, answers are reduced to what a
//! cache and its clients may see.
//!
//! Signs by itself and sends over the pools of every other upstream rather than through an SDK: so
//! ranges, conditions, deadlines, breaker and hedging are those of HTTP, and fields and statuses
//! arrive as the service sent them. Credentials come from where the `storage` crate has them.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header,
    uri::PathAndQuery,
};
use http_body_util::{BodyExt as _, Empty, Limited};
use storage::s3::{Identity, Keys};
use tokio::sync::Mutex;

use super::{
    sigv4::{self, SigningKey, Stamp},
    target::{Server, Speech},
    transport::fault,
};
use crate::exchange::{BodyError, BoxBody, RequestBody, UpstreamError, UpstreamFault};

static CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
static DATE: HeaderName = HeaderName::from_static("x-amz-date");
static TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// What of a request a bucket is told.
const ASKED: [HeaderName; 6] = [
    header::RANGE,
    header::IF_RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

/// What of an answer clients are told.
const TOLD: [HeaderName; 12] = [
    header::ACCEPT_RANGES,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::DATE,
    header::ETAG,
    header::EXPIRES,
    header::LAST_MODIFIED,
];

/// Largest error document that is read.
const ERROR_MAX: usize = 16 << 10;

/// How long an error document may take.
const ERROR_WAIT: Duration = Duration::from_secs(2);

/// Credentials are asked for again after this, or a minute before they expire.
const KEYS_FOR: Duration = Duration::from_secs(300);

/// Region of services that have none but want one signed.
const ANY_REGION: &str = "us-east-1";

/// A bucket as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    config: storage::s3::Config,
    /// `Cache-Control` of objects that have none.
    cache_control: Option<HeaderValue>,
}

impl Bucket {
    /// Reads `s3://bucket/prefix?endpoint=…&region=…&path-style=…&cache-control=…`; all parameters
    /// may be left out, values are percent-encoded.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let mut rest = Vec::new();
        let mut cache_control = None;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.strip_prefix("cache-control=") {
                Some(value) => {
                    let text = decode(value)
                        .ok_or_else(|| format!("`{url}`: cache-control is badly encoded"))?;
                    let value = HeaderValue::from_str(&text)
                        .map_err(|_| format!("`{url}`: cache-control is no field value"))?;
                    cache_control = Some(value);
                }
                None => rest.push(pair),
            }
        }
        let config = storage::s3::Config::from_url(&format!("{place}?{}", rest.join("&")))
            .map_err(|e| e.to_string())?;
        if let Some(endpoint) = &config.endpoint {
            Server::parse(endpoint).map_err(|e| format!("`{url}`: endpoint {e}"))?;
        }
        Ok(Self {
            config,
            cache_control,
        })
    }

    /// What it is called where it has no name.
    pub(super) fn label(&self) -> String {
        format!("s3:{}", self.config.bucket)
    }

    /// Finds out where the bucket is and who asks for it.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub(super) async fn open(self) -> Result<(Server, Signer), String> {
        let identity = Identity::load(&self.config).await;
        let bucket = &self.config.bucket;
        let endpoint = self.config.endpoint.as_deref().or(identity.endpoint());
        let region = match (identity.region(), endpoint) {
            (Some(region), _) => region.to_owned(),
            (None, Some(_)) => ANY_REGION.to_owned(),
            (None, None) => {
                return Err(format!(
                    "bucket `{bucket}` has no region: set AWS_REGION, or region= in the URL"
                ));
            }
        };
        // A dot in a bucket's name would match no certificate.
        let in_path = self
            .config
            .path_style
            .unwrap_or(endpoint.is_some() || bucket.contains('.'));
        let amazon = format!("https://s3.{region}.amazonaws.com");
        let mut server = Server::parse(endpoint.unwrap_or(&amazon))?;
        if !in_path {
            server.host = format!("{bucket}.{}", server.host);
            server.authority = format!("{bucket}.{}", server.authority);
        }
        let mut root = String::from("/");
        if in_path {
            sigv4::encode_path(bucket, &mut root);
            root.push('/');
        }
        if !self.config.prefix.is_empty() {
            sigv4::encode_path(&self.config.prefix, &mut root);
            root.push('/');
        }
        let host = signed_host(&server);
        let signer = Signer {
            host: HeaderValue::from_str(&host).map_err(|e| e.to_string())?,
            root,
            region,
            identity,
            cache_control: self.cache_control,
            bucket: bucket.clone(),
            current: ArcSwapOption::empty(),
            asking: Mutex::default(),
        };
        Ok((server, signer))
    }
}

/// `Host` without a default port, as clients of S3 send and sign it.
fn signed_host(server: &Server) -> String {
    let default = if server.speech == Speech::Tls {
        ":443"
    } else {
        ":80"
    };
    let authority = server.authority.as_str();
    authority
        .strip_suffix(default)
        .unwrap_or(authority)
        .to_owned()
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                return None;
            }
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = rest.get(2..)?;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

/// Why a request was not signed.
pub(super) enum Unsigned {
    /// It has an answer already: no key is meant.
    Answer(Box<Response<BoxBody>>),
    /// There are no credentials.
    Failed(UpstreamError),
}

/// Maps requests to a bucket and signs them.
pub(super) struct Signer {
    host: HeaderValue,
    /// What stands before every key, encoded.
    root: String,
    region: String,
    identity: Identity,
    cache_control: Option<HeaderValue>,
    bucket: String,
    current: ArcSwapOption<Current>,
    /// One question for credentials at a time.
    asking: Mutex<()>,
}

/// Credentials in use.
struct Current {
    keys: Keys,
    until: SystemTime,
    signing: SigningKey,
}

impl Signer {
    /// The request for the object that a path names: the path is the key below the prefix.
    ///
    /// # Errors
    /// [`Unsigned`].
    pub(super) async fn sign(
        &self,
        request: Request<RequestBody>,
        now: SystemTime,
    ) -> Result<Request<RequestBody>, Unsigned> {
        let refuse = |status| Unsigned::Answer(Box::new(plain(status)));
        let (head, _) = request.into_parts();
        if !matches!(head.method, Method::GET | Method::HEAD) {
            return Err(refuse(StatusCode::METHOD_NOT_ALLOWED));
        }
        let path = self
            .path(head.uri.path())
            .ok_or_else(|| refuse(StatusCode::NOT_FOUND))?;
        let stamp = Stamp::of(now);
        let current = self.keys(now, &stamp).await.map_err(Unsigned::Failed)?;
        self.build(&head, &path, &current, &stamp)
            .ok_or_else(|| refuse(StatusCode::BAD_REQUEST))
    }

    fn build(
        &self,
        head: &http::request::Parts,
        path: &str,
        current: &Current,
        stamp: &Stamp,
    ) -> Option<Request<RequestBody>> {
        let mut fields = vec![("host", self.host.to_str().ok()?)];
        if let Some(range) = head.headers.get(header::RANGE) {
            fields.push(("range", range.to_str().ok()?));
        }
        fields.push((CONTENT_SHA256.as_str(), sigv4::EMPTY_SHA256));
        fields.push((DATE.as_str(), stamp.as_str()));
        if let Some(token) = &current.keys.token {
            fields.push((TOKEN.as_str(), token));
        }
        let authorization = current
            .signing
            .authorize(head.method.as_str(), path, &fields, stamp);
        let mut request = Request::new(RequestBody::Empty);
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = PathAndQuery::try_from(path).ok()?.into();
        let headers = request.headers_mut();
        for name in ASKED {
            if let Some(value) = head.headers.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        headers.insert(header::HOST, self.host.clone());
        headers.insert(
            CONTENT_SHA256.clone(),
            HeaderValue::from_static(sigv4::EMPTY_SHA256),
        );
        headers.insert(DATE.clone(), HeaderValue::from_str(stamp.as_str()).ok()?);
        if let Some(token) = &current.keys.token {
            headers.insert(TOKEN.clone(), HeaderValue::from_str(token).ok()?);
        }
        headers.insert(
            header::AUTHORIZATION,
            HeaderValue::from_str(&authorization).ok()?,
        );
        Some(request)
    }

    /// The path of an object in the bucket. None where a path can be no key: such as `/`, which
    /// would list the bucket.
    fn path(&self, path: &str) -> Option<String> {
        let key = storage::Key::new(decode(path.strip_prefix('/')?)?).ok()?;
        let mut full = self.root.clone();
        sigv4::encode_path(key.as_str(), &mut full);
        Some(full)
    }

    async fn keys(&self, now: SystemTime, stamp: &Stamp) -> Result<Arc<Current>, UpstreamError> {
        let good = |current: &Arc<Current>| current.until > now && current.signing.is_for(stamp);
        if let Some(current) = self.current.load_full().filter(good) {
            return Ok(current);
        }
        let _one = self.asking.lock().await;
        let before = self.current.load_full();
        if let Some(current) = before.clone().filter(good) {
            return Ok(current);
        }
        let keys = match (self.identity.keys().await, before) {
            (Ok(keys), _) => keys,
            // What was good may still be.
            (Err(e), Some(before)) => {
                tracing::warn!(bucket = self.bucket, error = %e, "keeping the last credentials");
                before.keys.clone()
            }
            (Err(e), None) => {
                let detail = format!("bucket `{}`: {e}", self.bucket);
                return Err(fault(UpstreamFault::Unavailable, detail));
            }
        };
        let mut until = now + KEYS_FOR;
        if let Some(expires) = keys.expires {
            until = until.min(expires - Duration::from_secs(60));
        }
        let current = Arc::new(Current {
            signing: SigningKey::derive(&keys.access, &keys.secret, &self.region, stamp),
            keys,
            until,
        });
        self.current.store(Some(Arc::clone(&current)));
        Ok(current)
    }

    /// What an answer means.
    ///
    /// # Errors
    /// Where it says that bucket, region or credentials are wrong: that is for the operator, not for
    /// clients.
    pub(super) async fn read(
        &self,
        response: Response<BoxBody>,
    ) -> Result<Response<BoxBody>, UpstreamError> {
        let status = response.status();
        match status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED => {
                Ok(self.object(response))
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                let mut told = plain(status);
                copy(
                    response.headers(),
                    told.headers_mut(),
                    &[header::CONTENT_RANGE],
                );
                Ok(told)
            }
            StatusCode::PRECONDITION_FAILED => Ok(plain(status)),
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => {
                match code(response).await.as_str() {
                    // HEAD has no document.
                    "" | "NoSuchKey" | "NoSuchVersion" | "AccessDenied" => Ok(plain(status)),
                    code => Err(self.misconfigured(status, code)),
                }
            }
            _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                let mut told = plain(status);
                copy(
                    response.headers(),
                    told.headers_mut(),
                    &[header::RETRY_AFTER],
                );
                Ok(told)
            }
            _ => Err(self.misconfigured(status, &code(response).await)),
        }
    }

    fn object(&self, response: Response<BoxBody>) -> Response<BoxBody> {
        let (head, body) = response.into_parts();
        let mut told = Response::new(body);
        *told.status_mut() = head.status;
        copy(&head.headers, told.headers_mut(), &TOLD);
        let silent = ![header::CACHE_CONTROL, header::EXPIRES]
            .iter()
            .any(|name| head.headers.contains_key(name));
        if let Some(value) = self.cache_control.as_ref().filter(|_| silent) {
            told.headers_mut()
                .insert(header::CACHE_CONTROL, value.clone());
        }
        told
    }

    fn misconfigured(&self, status: StatusCode, code: &str) -> UpstreamError {
        let advice = match code {
            "NoSuchBucket" => "create the bucket or name another",
            "RequestTimeTooSkewed" => "set this machine's clock",
            "PermanentRedirect" | "AuthorizationHeaderMalformed" => "set the bucket's region",
            "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "ExpiredToken" => {
                "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            }
            _ => "check endpoint, region and credentials",
        };
        tracing::error!(bucket = self.bucket, %status, code, "S3 refuses: {advice}");
        let detail = format!("bucket `{}`: {status} {code}: {advice}", self.bucket);
        fault(UpstreamFault::Protocol, detail)
    }
}

fn copy(from: &HeaderMap, to: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        if let Some(value) = from.get(name) {
            to.insert(name.clone(), value.clone());
        }
    }
}

/// A response without a body.
fn plain(status: StatusCode) -> Response<BoxBody> {
    let empty = Empty::<Bytes>::new().map_err(|never| -> BodyError { match never {} });
    let mut response = Response::new(empty.boxed_unsync());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

/// The `<Code>` of an error document; empty where there is none.
async fn code(response: Response<BoxBody>) -> String {
    let document = Limited::new(response.into_body(), ERROR_MAX).collect();
    let Ok(Ok(document)) = tokio::time::timeout(ERROR_WAIT, document).await else {
        return String::new();
    };
    let document = document.to_bytes();
    let text = String::from_utf8_lossy(&document);
    let code = text
        .split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"))
        .map_or("", |(code, _)| code);
    code.chars()
        .filter(char::is_ascii_alphanumeric)
        .take(64)
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn urls() {
        let full = Bucket::parse(
            "s3://b/a/c?endpoint=http%3A%2F%2Flocalhost:9000&cache-control=public,%20max-age=60",
        )
        .unwrap();
        assert_eq!(full.cache_control.unwrap(), "public, max-age=60");
        assert_eq!(full.config.prefix, "a/c");
        assert_eq!(
            full.config.endpoint.as_deref(),
            Some("http://localhost:9000")
        );
        for (bad, names) in [
            ("s3:///x", "bucket"),
            ("s3://b?cache-control=%zz", "cache-control"),
            ("s3://b?regoin=eu", "regoin"),
            ("s3://b?endpoint=localhost", "endpoint"),
        ] {
            let fault = Bucket::parse(bad).unwrap_err();
            assert!(fault.contains(names), "{bad}: {fault}");
        }
    }

    #[tokio::test]
    async fn paths_are_keys_below_the_prefix() {
        let url = "s3://music/pre%20fix?endpoint=http://127.0.0.1:1&region=eu";
        let (server, signer) = Bucket::parse(url).unwrap().open().await.unwrap();
        assert_eq!(server.authority, "127.0.0.1:1");
        let check = |path: &str, expected: Option<&str>| {
            assert_eq!(signer.path(path).as_deref(), expected, "{path}");
        };
        check("/a/b.mp4", Some("/music/pre%20fix/a/b.mp4"));
        check("/a%20b+c", Some("/music/pre%20fix/a%20b%2Bc"));
        check("/%61", Some("/music/pre%20fix/a"));
        for path in [
            "/",
            "//",
            "/a/",
            "/a//b",
            "/../other",
            "/%2e%2e/other",
            "/a%",
            "/a%00",
        ] {
            check(path, None);
        }
        let hosted = "s3://music?region=eu-north-1&endpoint=https://s3.example&path-style=false";
        let (server, signer) = Bucket::parse(hosted).unwrap().open().await.unwrap();
        assert_eq!(server.host, "music.s3.example");
        assert_eq!(signer.path("/a").as_deref(), Some("/a"));
    }
}
