//! How soon an edge is ready again with a full disk: `restart [--entries N] [--dir DIR]`.
//!
//! Fetches small objects through the cache until N entries (a record and a slice each, 4 KiB on
//! disk) are written, closes it, opens it again and reads some back. Prints what it took.

#![allow(clippy::print_stdout)]

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use edge::{
    exchange::{
        BodyError, BoxBody, Protocol, Request, RequestBody, Service as _, Upstream, UpstreamError,
    },
    serve::{Edge, Settings},
};
use http::{HeaderMap, HeaderValue, Method, header};
use http_body_util::{BodyExt as _, Full};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error>;

/// Objects between two pauses in which the disk's queue empties; what it can't take is dropped.
const PACE: u64 = 256;

/// Answers every path with itself.
#[derive(Default)]
struct Echo {
    asked: AtomicU64,
}

#[async_trait]
impl Upstream for Echo {
    async fn fetch(
        &self,
        request: http::Request<RequestBody>,
    ) -> Result<http::Response<BoxBody>, UpstreamError> {
        self.asked.fetch_add(1, Relaxed);
        let body = Bytes::from(request.uri().path().to_owned());
        let mut response = http::Response::new(());
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        let forever = HeaderValue::from_static("max-age=31536000");
        fields.insert(header::CACHE_CONTROL, forever);
        fields.insert(header::ETAG, HeaderValue::from_static("\"1\""));
        let body = Full::new(body).map_err(|never| -> BodyError { match never {} });
        Ok(response.map(|()| body.boxed_unsync()))
    }
}

fn main() -> Result<(), Failure> {
    let (mut entries, mut directory) = (1_000_000_u64, None);
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--entries" => entries = value.parse()?,
            "--dir" => directory = Some(value),
            _ => return Err(format!("unknown flag {flag}").into()),
        }
    }
    let temporary = tempfile::tempdir()?;
    let directory = directory.map_or_else(|| temporary.path().into(), std::path::PathBuf::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure(entries, &directory))
}

async fn open(directory: &Path, entries: u64, echo: &Arc<Echo>) -> Result<Edge, Failure> {
    let settings = Settings {
        memory: 64 << 20,
        disk: Some(directory.to_owned()),
        disk_size: entries * 4096 * 5 / 4 + (1 << 30),
        ..Settings::default()
    };
    Ok(Edge::open(settings, echo.clone()).await?)
}

async fn measure(entries: u64, directory: &Path) -> Result<(), Failure> {
    let echo = Arc::new(Echo::default());
    let begun = Instant::now();
    let edge = Arc::new(open(directory, entries, &echo).await?);
    let mut objects = 0;
    while edge.stats().disk_writes < entries {
        // The second use admits an entry to the disk; the first may still read the fill.
        for _ in 0..3 {
            get(&edge, objects).await?;
        }
        objects += 1;
        if objects % PACE == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let stats = edge.stats();
    edge.close().await?;
    drop(edge);
    println!(
        "{objects} objects fetched and {} entries written in {:.1?} ({} dropped)",
        stats.disk_writes,
        begun.elapsed(),
        stats.disk_dropped,
    );
    let begun = Instant::now();
    let edge = Arc::new(open(directory, entries, &echo).await?);
    println!("open again after {:.2?}", begun.elapsed());
    get(&edge, objects / 2).await?;
    println!("first answer after {:.2?}", begun.elapsed());
    let before = echo.asked.load(Relaxed);
    let sample = (objects / 5000).max(1);
    let mut read = 0;
    for n in (0..objects).step_by(usize::try_from(sample)?) {
        get(&edge, n).await?;
        read += 1;
    }
    let lost = echo.asked.load(Relaxed) - before;
    println!(
        "of {read} objects read back, {} came from the disk and none was wrong",
        read - lost
    );
    Ok(())
}

/// Fetches object `n`, and fails where anything but it comes.
async fn get(edge: &Arc<Edge>, n: u64) -> Result<(), Failure> {
    let path = format!("/object/{n}");
    let mut response = edge
        .serve(Request {
            method: Method::GET,
            scheme: http::uri::Scheme::HTTP,
            authority: Some(http::uri::Authority::from_static("localhost")),
            target: path.parse()?,
            headers: HeaderMap::new(),
            body: RequestBody::Empty,
            protocol: Protocol::H1,
            peer: SocketAddr::from(([127, 0, 0, 1], 1)),
            received: Instant::now(),
            interim: Default::default(),
        })
        .await;
    let mut got = Vec::new();
    while let Some(frame) = response.body.next().await {
        got.extend_from_slice(frame?.data_ref().unwrap_or(&Bytes::new()));
    }
    match got == path.as_bytes() {
        true => Ok(()),
        false => Err(format!("{path} came as {:?}", String::from_utf8_lossy(&got)).into()),
    }
}
