//! Files from elsewhere: HTTP(S) URLs and objects in S3, brought to a scratch directory.
//!
//! Whoever names a URL makes this machine ask for it. So hosts have to be allowed by name, names are
//! resolved once and the connection goes to the address that was looked at, addresses that are not
//! public are refused, and redirects are new URLs to which all of it applies.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use clap::Args as ClapArgs;
use futures_util::TryStreamExt as _;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Response, StatusCode, Uri, body::Incoming, header};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, rustls};

/// Redirects that are followed.
const MAX_REDIRECTS: usize = 5;
/// How long connecting, and each step after it, may take.
const STEP: Duration = Duration::from_secs(30);
/// Characters of a file's name, at most.
const MAX_NAME: usize = 128;

/// What may be fetched.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct FetchArgs {
    /// A host that files may be fetched from over HTTP(S); give each, `*.example.org` for all below
    /// one.
    #[arg(
        long = "allow-host",
        env = "SEGUE_ALLOW_HOSTS",
        value_name = "HOST",
        value_delimiter = ','
    )]
    hosts: Vec<String>,

    /// Also from addresses that are not public.
    #[arg(long, env = "SEGUE_ALLOW_PRIVATE")]
    allow_private: bool,

    /// Largest file that is fetched.
    #[arg(long, env = "SEGUE_MAX_FETCH", value_name = "SIZE", default_value = "4GiB", value_parser = edge::units::parse_size)]
    max_fetch: u64,

    /// How long a file may take.
    #[arg(long, env = "SEGUE_FETCH_TIME", value_name = "DURATION", default_value = "30m", value_parser = humantime::parse_duration)]
    fetch_time: Duration,
}

/// Why a file was not fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It is no URL, or not one of these.
    #[error("is no URL that can be fetched: {0}")]
    Url(String),
    /// The host is not one of those allowed.
    #[error("is on {0}, which is not allowed; see --allow-host")]
    Host(String),
    /// The name leads to this machine or into its network.
    #[error("is on {host}, which is at {address}, not a public address; see --allow-private")]
    Private {
        /// The name.
        host: String,
        /// Where it leads.
        address: IpAddr,
    },
    /// It is larger than allowed.
    #[error("has more than {0} bytes; see --max-fetch")]
    TooLarge(u64),
    /// The server says that it is not sound.
    #[error("is {0}, by its Content-Type")]
    NotSound(String),
    /// The server answered with something else.
    #[error("was answered with {0}")]
    Status(StatusCode),
    /// The server could not be reached, or broke off.
    #[error("could not be fetched: {0}")]
    Failed(String),
    /// It took too long.
    #[error("took longer than {} s to fetch", .0.as_secs())]
    Late(Duration),
    /// There is nowhere to put it.
    #[error("can't be put into the scratch directory: {0}")]
    Scratch(std::io::Error),
}

impl Error {
    /// For programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Error::Url(_) => "bad_url",
            Error::Host(_) => "host_not_allowed",
            Error::Private { .. } => "private_address",
            Error::TooLarge(_) => "too_large",
            Error::NotSound(_) => "not_sound",
            Error::Status(_) => "bad_status",
            Error::Failed(_) => "not_fetched",
            Error::Late(_) => "fetch_time",
            Error::Scratch(_) => "no_scratch",
        }
    }

    /// Whether it may go better another time.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Error::Failed(_) | Error::Late(_) | Error::Scratch(_) => true,
            Error::Status(status) => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            _ => false,
        }
    }
}

/// Whether a source has to be fetched.
pub(crate) fn is_remote(source: &str) -> bool {
    ["http://", "https://", "s3://"]
        .iter()
        .any(|scheme| source.starts_with(scheme))
}

impl FetchArgs {
    /// Nothing may be fetched.
    pub(crate) fn none() -> Self {
        Self {
            hosts: Vec::new(),
            allow_private: false,
            max_fetch: 0,
            fetch_time: Duration::ZERO,
        }
    }

    /// Brings a file into an existing directory.
    ///
    /// # Errors
    /// Any [`Error`]; nothing is left in the directory that would be taken for the file.
    pub(crate) async fn fetch(&self, source: &str, dir: &Path) -> Result<PathBuf, Error> {
        let fetch = async {
            match source.starts_with("s3://") {
                true => Box::pin(self.object(source, dir)).await,
                false => Box::pin(self.url(source, dir)).await,
            }
        };
        match timeout(self.fetch_time, fetch).await {
            Ok(done) => done,
            Err(_) => Err(Error::Late(self.fetch_time)),
        }
    }

    /// An object: `s3://bucket/prefix?endpoint=URL#key`.
    async fn object(&self, source: &str, dir: &Path) -> Result<PathBuf, Error> {
        let (url, name) = source
            .split_once('#')
            .ok_or_else(|| Error::Url("it names no object".to_owned()))?;
        let failed = |error: storage::Error| match error {
            storage::Error::NotFound(_) => Error::Status(StatusCode::NOT_FOUND),
            storage::Error::BadKey(_) | storage::Error::Config(_) => Error::Url(error.to_string()),
            error => Error::Failed(error.to_string()),
        };
        let store = storage::open(url).await.map_err(failed)?;
        let key = storage::Key::new(name).map_err(failed)?;
        let object = store.get(&key, None).await.map_err(failed)?;
        if object.meta.size > self.max_fetch {
            return Err(Error::TooLarge(self.max_fetch));
        }
        let path = dir.join(file_name(name));
        let mut file = tokio::fs::File::create(&path)
            .await
            .map_err(Error::Scratch)?;
        let mut body = object.body;
        while let Some(part) = body.try_next().await.map_err(failed)? {
            file.write_all(&part).await.map_err(Error::Scratch)?;
        }
        file.flush().await.map_err(Error::Scratch)?;
        Ok(path)
    }

    async fn url(&self, source: &str, dir: &Path) -> Result<PathBuf, Error> {
        let mut url: Uri = source
            .split('#')
            .next()
            .unwrap_or_default()
            .parse()
            .map_err(|error: hyper::http::uri::InvalidUri| Error::Url(error.to_string()))?;
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.ask(&url).await?;
            if answer.status().is_redirection() {
                url = redirected(&url, &answer)?;
                continue;
            }
            if answer.status() != StatusCode::OK {
                return Err(Error::Status(answer.status()));
            }
            return self.save(answer, &dir.join(file_name(url.path()))).await;
        }
        Err(Error::Failed(format!(
            "more than {MAX_REDIRECTS} redirects"
        )))
    }

    /// Asks for one URL, at an address that was looked at.
    async fn ask(&self, url: &Uri) -> Result<Response<Incoming>, Error> {
        let authority = url
            .authority()
            .ok_or_else(|| Error::Url("it has no host".to_owned()))?;
        if authority.as_str().contains('@') {
            return Err(Error::Url("it has a user in it".to_owned()));
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        if !self.is_allowed(host) {
            return Err(Error::Host(host.to_owned()));
        }
        let tls = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(Error::Url("it is neither http nor https".to_owned())),
        };
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let address = self.resolve(host, port).await?;
        let tcp = within("no connection", TcpStream::connect(address)).await?;
        match tls {
            false => exchange(tcp, url).await,
            true => {
                let name = ServerName::try_from(host.to_owned())
                    .map_err(|error| Error::Url(error.to_string()))?;
                let tls = connector()?.connect(name, tcp);
                exchange(within("no TLS", tls).await?, url).await
            }
        }
    }

    fn is_allowed(&self, host: &str) -> bool {
        self.hosts
            .iter()
            .any(|allowed| match allowed.strip_prefix("*.") {
                Some(parent) => host
                    .to_ascii_lowercase()
                    .strip_suffix(&parent.to_ascii_lowercase())
                    .is_some_and(|left| left.ends_with('.')),
                None => allowed.eq_ignore_ascii_case(host),
            })
    }

    /// The address to connect to. One that is not public makes the whole name suspect.
    async fn resolve(&self, host: &str, port: u16) -> Result<SocketAddr, Error> {
        let found = within("no address", tokio::net::lookup_host((host, port))).await?;
        let found: Vec<SocketAddr> = found.collect();
        let hidden = found.iter().find(|found| !is_public(found.ip()));
        if let Some(hidden) = hidden.filter(|_| !self.allow_private) {
            return Err(Error::Private {
                host: host.to_owned(),
                address: hidden.ip(),
            });
        }
        let first = found.first().copied();
        first.ok_or_else(|| Error::Failed(format!("{host} has no address")))
    }

    async fn save(&self, answer: Response<Incoming>, path: &Path) -> Result<PathBuf, Error> {
        let text = |name| {
            let value = answer.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        if let Some(kind) = text(header::CONTENT_TYPE).filter(|kind| !may_be_sound(kind)) {
            return Err(Error::NotSound(kind));
        }
        let length = text(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        if length.is_some_and(|length| length > self.max_fetch) {
            return Err(Error::TooLarge(self.max_fetch));
        }
        let mut file = tokio::fs::File::create(path)
            .await
            .map_err(Error::Scratch)?;
        let mut body = answer.into_body();
        let mut bytes = 0;
        loop {
            let frame = timeout(STEP, body.frame()).await;
            let frame = frame.map_err(|_| Error::Failed("it stalled".to_owned()))?;
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|error| Error::Failed(error.to_string()))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            bytes += data.len() as u64;
            if bytes > self.max_fetch {
                return Err(Error::TooLarge(self.max_fetch));
            }
            file.write_all(&data).await.map_err(Error::Scratch)?;
        }
        file.flush().await.map_err(Error::Scratch)?;
        Ok(path.to_owned())
    }
}

async fn within<T>(what: &str, step: impl Future<Output = std::io::Result<T>>) -> Result<T, Error> {
    match timeout(STEP, step).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(Error::Failed(format!("{what}: {error}"))),
        Err(_) => Err(Error::Failed(format!("{what} within {} s", STEP.as_secs()))),
    }
}

/// One request over a connection of its own.
async fn exchange(
    wire: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    url: &Uri,
) -> Result<Response<Incoming>, Error> {
    let failed = |error: hyper::Error| Error::Failed(error.to_string());
    let shake = hyper::client::conn::http1::handshake(TokioIo::new(wire));
    let (mut sender, connection) = timeout(STEP, shake)
        .await
        .map_err(|_| Error::Failed("it stalled".to_owned()))?
        .map_err(failed)?;
    // Ends with the answer's body.
    tokio::spawn(connection);
    let target = url.path_and_query().map_or("/", |target| target.as_str());
    let host = url.authority().map_or("", |authority| authority.as_str());
    let request = hyper::Request::get(target)
        .header(header::HOST, host)
        .header(
            header::USER_AGENT,
            concat!("segue/", env!("CARGO_PKG_VERSION")),
        )
        .header(header::ACCEPT, "audio/*, */*;q=0.5")
        .body(Empty::<Bytes>::new())
        .map_err(|error| Error::Url(error.to_string()))?;
    timeout(STEP, sender.send_request(request))
        .await
        .map_err(|_| Error::Failed("it did not answer".to_owned()))?
        .map_err(failed)
}

fn connector() -> Result<TlsConnector, Error> {
    let roots = rustls::RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Failed(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Where a redirect leads: an absolute URL, or a path on the same host.
fn redirected(from: &Uri, answer: &Response<Incoming>) -> Result<Uri, Error> {
    let location = answer
        .headers()
        .get(header::LOCATION)
        .and_then(|location| location.to_str().ok())
        .ok_or(Error::Status(answer.status()))?;
    let whole = match location.starts_with('/') && !location.starts_with("//") {
        true => format!(
            "{}://{}{location}",
            from.scheme_str().unwrap_or_default(),
            from.authority().map_or("", |authority| authority.as_str()),
        ),
        false => location.to_owned(),
    };
    let url: Uri = whole
        .parse()
        .map_err(|error: hyper::http::uri::InvalidUri| Error::Url(error.to_string()))?;
    // What was asked for in secret is not to be had in the open.
    if from.scheme_str() == Some("https") && url.scheme_str() != Some("https") {
        return Err(Error::Url("it leads from https to http".to_owned()));
    }
    Ok(url)
}

/// Media types that are sound, might hold sound, or say nothing.
fn may_be_sound(kind: &str) -> bool {
    let kind = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    kind.starts_with("audio/")
        || ["video/mp4", "video/webm", "video/ogg", "video/x-matroska"].contains(&kind.as_str())
        || ["application/ogg", "application/mp4"].contains(&kind.as_str())
        || ["application/octet-stream", "binary/octet-stream", ""].contains(&kind.as_str())
}

/// The last segment of a path, as a name that can't lead anywhere.
fn file_name(path: &str) -> String {
    let last = path.rsplit('/').next().unwrap_or_default();
    let name: String = last
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || "-_. ()".contains(c) {
                c
            } else {
                '_'
            }
        })
        .take(MAX_NAME)
        .collect();
    match name.trim_start_matches('.') {
        "" => "download".to_owned(),
        name => name.to_owned(),
    }
}

/// Whether an address is one of the public internet, by IANA's registries of special ones.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        // This network; shared (RFC 6598); protocol assignments; 6to4 relays; benchmarks (RFC 2544);
        // reserved, and broadcast.
        || a == 0
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && b & 0xfe == 18)
        || a >= 240)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    // An IPv4 address in disguise: mapped, translated (RFC 6052), or by 6to4 (RFC 3056).
    let inner = |at: usize| {
        let octets = address.octets();
        Ipv4Addr::new(octets[at], octets[at + 1], octets[at + 2], octets[at + 3])
    };
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    match (first, second) {
        (0x64, 0xff9b) if address.segments()[2..6] == [0; 4] => is_public_v4(inner(12)),
        (0x2002, _) => is_public_v4(inner(2)),
        // Teredo, ORCHID, protocol assignments; documentation.
        (0x2001, second) if second < 0x200 => false,
        (0x2001, 0xdb8) | (0x3fff, 0..0x1000) => false,
        // Nothing else than 2000::/3 is handed out.
        (first, _) => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn args(hosts: &[&str]) -> FetchArgs {
        FetchArgs {
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            allow_private: false,
            max_fetch: 1 << 20,
            fetch_time: STEP,
        }
    }

    #[test]
    fn only_public_addresses_are_public() {
        for public in [
            "1.1.1.1",
            "100.128.0.1",
            "2606:4700::1111",
            "2002:101:101::1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for hidden in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.8",
            "192.168.1.1",
            "198.18.0.1",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
            "100::1",
        ] {
            assert!(!is_public(hidden.parse().unwrap()), "{hidden}");
        }
    }

    #[test]
    fn hosts_are_allowed_by_whole_names() {
        let args = args(&["music.example.org", "*.cdn.example"]);
        for good in [
            "music.example.org",
            "MUSIC.example.org",
            "a.cdn.example",
            "a.b.cdn.example",
        ] {
            assert!(args.is_allowed(good), "{good}");
        }
        for bad in [
            "example.org",
            "xmusic.example.org",
            "cdn.example",
            "evilcdn.example",
            "",
        ] {
            assert!(!args.is_allowed(bad), "{bad}");
        }
    }

    #[tokio::test]
    async fn what_is_not_allowed_is_not_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let args = args(&["localhost", "127.0.0.1", "[::1]", "::1"]);
        for (url, code) in [
            ("http://example.org/a.flac", "host_not_allowed"),
            ("http://127.0.0.1:9/a.flac", "private_address"),
            ("http://[::1]:9/a.flac", "private_address"),
            ("http://localhost:9/a.flac", "private_address"),
            ("http://user@localhost/a.flac", "bad_url"),
            ("ftp://localhost/a.flac", "bad_url"),
            ("s3://bucket/prefix", "bad_url"),
        ] {
            let error = args.fetch(url, dir.path()).await.unwrap_err();
            assert_eq!(error.code(), code, "{url}: {error}");
        }
    }

    #[test]
    fn names_lead_nowhere() {
        assert_eq!(file_name("/a/b/Song (1).flac"), "Song (1).flac");
        assert_eq!(file_name("/a/..%2f..%2fetc"), "_2f.._2fetc");
        assert_eq!(file_name("/a/.."), "download");
        assert_eq!(file_name("/"), "download");
        assert!(may_be_sound("audio/flac; x=y") && may_be_sound("Application/Octet-Stream"));
        assert!(!may_be_sound("text/html"));
    }
}
