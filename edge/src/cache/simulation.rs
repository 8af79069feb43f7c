//! The cache in virtual time, on one thread: clients, an origin and a disk that misbehave by a seed, over
//! restarts. Whatever happens,
//!
//! - no client gets a wrong byte: what it gets is what the origin had under that entity tag;
//! - no request that begins after a purge was acknowledged gets what was fetched before it;
//! - no slice is brought by two fills at once.
//!
//! `SEGUE_SEED=n` runs one seed, `SEGUE_SEEDS=n` the first n. A failure names its seed.

#![allow(clippy::unwrap_used)]

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::{
    blob::{Blob, HEADER},
    disk::Disk,
    key::{EntryKey, Mixer},
    medium::{Fault, Medium, Shelf},
};
use crate::{
    exchange::{
        BodyError, BoxBody, Outcome, Protocol, Purge, PurgeMode, Request, RequestBody,
        Service as _, Upstream, UpstreamError, UpstreamFault,
    },
    policy::virtual_clock,
    purge::Purges,
    range,
    serve::{Edge, Settings},
};

/// Seeds of `make test`.
const SEEDS: u64 = 60;

const OBJECTS: u64 = 6;
const CLIENTS: u64 = 8;
const REQUESTS: u64 = 25;
const LIVES: u64 = 3;
const SLICE: u64 = 4096;

/// The bytes of a revision of an object: no two offsets, objects or revisions look alike.
fn content(object: u64, revision: u64) -> Bytes {
    let size = 3000 + object * 7001 + revision % 3 * 4096;
    let mut bytes = Vec::new();
    for word in 0..size.div_ceil(8) {
        let mixed = (word ^ object << 40 ^ revision << 20).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bytes.extend_from_slice(&(mixed ^ mixed >> 29).to_le_bytes());
    }
    bytes.truncate(usize::try_from(size).unwrap());
    bytes.into()
}

/// Virtual time that passes with every step of any task.
const STEP_US: u64 = 300;

/// Lets others go first, up to so many times.
async fn dawdle(rng: &Mutex<StdRng>, most: u64) {
    let steps = rng.lock().random_range(0..=most);
    for _ in 0..steps {
        virtual_clock::advance_us(STEP_US);
        tokio::task::yield_now().await;
    }
}

fn chance(rng: &Mutex<StdRng>, of: f64) -> bool {
    rng.lock().random_bool(of)
}

/// The origin: changes its objects, fails, cuts bodies short, ignores ranges.
struct Origin {
    rng: Arc<Mutex<StdRng>>,
    revisions: Mutex<HashMap<u64, u64>>,
    /// Answers so far; each carries its number.
    serial: AtomicU64,
}

#[async_trait]
impl Upstream for Origin {
    async fn fetch(
        &self,
        request: http::Request<RequestBody>,
    ) -> Result<http::Response<BoxBody>, UpstreamError> {
        let serial = self.serial.fetch_add(1, SeqCst) + 1;
        let object: u64 = request
            .uri()
            .path()
            .rsplit_once('/')
            .unwrap()
            .1
            .parse()
            .unwrap();
        dawdle(&self.rng, 40).await;
        if chance(&self.rng, 0.03) {
            return Err(UpstreamError {
                fault: UpstreamFault::Reset,
                retryable: false,
                detail: "simulated".into(),
            });
        }
        let revision = self.revisions.lock().get(&object).copied().unwrap_or(0);
        let whole = content(object, revision);
        let tag = format!("\"{object}.{revision}\"");
        let mut response = http::Response::new(Bytes::new());
        let fields = response.headers_mut();
        for (name, value) in [
            ("etag", tag.clone()),
            ("cache-control", format!("max-age={}", 1 + object)),
            ("surrogate-key", format!("all k{}", object % 2)),
            ("x-serial", serial.to_string()),
        ] {
            fields.insert(name, value.parse().unwrap());
        }
        let asked = request.headers();
        let is = |name, tag: &str| {
            asked
                .get(name)
                .is_some_and(|v| v.as_bytes() == tag.as_bytes())
        };
        let mut body = whole.clone();
        if chance(&self.rng, 0.03) {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            body = Bytes::from_static(b"busy");
        } else if is(header::IF_NONE_MATCH, &tag) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            body = Bytes::new();
        } else if let Some(spec) = range::Ranges::of(asked).map(|ranges| ranges.leading())
            && (!asked.contains_key(header::IF_RANGE) || is(header::IF_RANGE, &tag))
            && !chance(&self.rng, 0.1)
        {
            match spec.resolve(whole.len() as u64) {
                Some(range) => {
                    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                    let told = range::content_range_value(&range, Some(whole.len() as u64));
                    response.headers_mut().insert(header::CONTENT_RANGE, told);
                    body = whole.slice(range.start as usize..range.end as usize);
                }
                None => {
                    *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                    let told = range::unsatisfied_value(whole.len() as u64);
                    response.headers_mut().insert(header::CONTENT_RANGE, told);
                    body = Bytes::new();
                }
            }
        }
        if chance(&self.rng, 0.8) {
            let length = HeaderValue::from(body.len());
            response
                .headers_mut()
                .insert(header::CONTENT_LENGTH, length);
        }
        Ok(response.map(|_| self.drip(body)))
    }
}

impl Origin {
    /// A body in pieces with pauses, now and then cut short.
    fn drip(&self, mut body: Bytes) -> BoxBody {
        let rng = self.rng.clone();
        let mut pieces = Vec::new();
        {
            let mut rng = rng.lock();
            while !body.is_empty() {
                let piece = rng.random_range(1..=9000).min(body.len());
                pieces.push(Ok(Frame::data(body.split_to(piece))));
            }
            if rng.random_bool(0.05) && !pieces.is_empty() {
                let keep = rng.random_range(0..pieces.len());
                pieces.truncate(keep);
                pieces.push(Err(BodyError::Upstream("cut".into())));
            }
        }
        let pieces = stream::iter(pieces).then(move |piece| {
            let rng = rng.clone();
            async move {
                dawdle(&rng, 6).await;
                piece
            }
        });
        StreamBody::new(pieces).boxed_unsync()
    }
}

/// The disk: slow, forgetful, and a liar. What it holds outlives the process.
#[derive(Clone)]
struct Platter {
    rng: Arc<Mutex<StdRng>>,
    blobs: Arc<Mutex<HashMap<EntryKey, Blob, Mixer>>>,
    /// Whether every access fails for the time being.
    broken: Arc<Mutex<bool>>,
}

fn fault() -> Fault {
    Fault("simulated".into())
}

#[async_trait]
impl Shelf for Platter {
    async fn open(&self) -> Result<Arc<dyn Medium>, Fault> {
        match *self.broken.lock() {
            true => Err(fault()),
            false => Ok(Arc::new(self.clone())),
        }
    }
}

#[async_trait]
impl Medium for Platter {
    fn may_contain(&self, key: EntryKey) -> bool {
        self.blobs.lock().contains_key(&key) || chance(&self.rng, 0.02)
    }

    async fn load(&self, key: EntryKey) -> Result<Option<Blob>, Fault> {
        dawdle(&self.rng, 20).await;
        if *self.broken.lock() || chance(&self.rng, 0.01) {
            return Err(fault());
        }
        let blobs = self.blobs.lock();
        let mut rng = self.rng.lock();
        let found = blobs.get(&key).cloned();
        let found = match rng.random_range(0..100) {
            0..2 => None,
            // Another entry under that key.
            2..4 => blobs.values().next().cloned(),
            4..8 => found.and_then(|blob| flip(&blob, &mut rng)),
            _ => found,
        };
        Ok(found)
    }

    fn insert(&self, key: EntryKey, blob: Blob) {
        if !*self.broken.lock() && !chance(&self.rng, 0.05) {
            self.blobs.lock().insert(key, blob);
        }
    }

    async fn flush(&self) {
        dawdle(&self.rng, 15).await;
    }

    async fn close(&self) -> Result<(), Fault> {
        Ok(())
    }

    fn batch(&self) -> usize {
        1 << 20
    }
}

/// The blob with a bit flipped; none where its length no longer fits.
fn flip(blob: &Blob, rng: &mut StdRng) -> Option<Blob> {
    let mut bytes = [&blob.header()[..], blob.payload()].concat();
    let bit = rng.random_range(0..bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
    let (header, payload) = bytes.split_at(HEADER);
    Blob::from_parts(header.try_into().unwrap(), Bytes::copy_from_slice(payload))
}

/// What is known of purges: for each object, the last answer that must not be served any more.
#[derive(Default)]
struct Ledger {
    hard: Mutex<HashMap<u64, u64>>,
    soft: Mutex<HashMap<u64, u64>>,
}

/// How often things happened: a simulation in which nothing happens proves nothing.
#[derive(Default)]
struct Tally {
    whole: AtomicUsize,
    hits: AtomicUsize,
    from_disk: AtomicUsize,
    purges: AtomicUsize,
    broken: AtomicUsize,
}

/// One simulated world.
struct World {
    seed: u64,
    rng: Arc<Mutex<StdRng>>,
    origin: Arc<Origin>,
    edge: Arc<Edge>,
    ledger: Arc<Ledger>,
    tally: Arc<Tally>,
}

impl World {
    async fn request(&self, client: u64) {
        dawdle(&self.rng, 100).await;
        let (object, action) = {
            let mut rng = self.rng.lock();
            (rng.random_range(0..OBJECTS), rng.random_range(0..100))
        };
        match action {
            0..6 => self.purge(object).await,
            6..12 => *self.origin.revisions.lock().entry(object).or_default() += 1,
            _ => self.get(client, object).await,
        }
        self.edge.assert_one_fill_a_slice(self.seed);
    }

    async fn purge(&self, object: u64) {
        let (what, mode) = {
            let mut rng = self.rng.lock();
            let what = match rng.random_range(0..4) {
                0 => Purge::Prefix("/o".into()),
                1 => Purge::SurrogateKey(format!("k{}", object % 2)),
                _ => Purge::Url(format!("/o/{object}")),
            };
            (
                what,
                [PurgeMode::Hard, PurgeMode::Soft][rng.random_range(0..2)],
            )
        };
        let hit = |n: &u64| match &what {
            Purge::Prefix(_) => true,
            Purge::SurrogateKey(_) => n % 2 == object % 2,
            _ => *n == object,
        };
        let targets: Vec<u64> = (0..OBJECTS).filter(hit).collect();
        let before = self.origin.serial.load(SeqCst);
        self.edge.purge(what, mode).await.unwrap();
        self.tally.purges.fetch_add(1, SeqCst);
        let ledger = match mode {
            PurgeMode::Hard => &self.ledger.hard,
            PurgeMode::Soft => &self.ledger.soft,
        };
        for target in targets {
            let mut ledger = ledger.lock();
            let floor = ledger.entry(target).or_default();
            *floor = before.max(*floor);
        }
    }

    async fn get(&self, client: u64, object: u64) {
        let floors = [&self.ledger.hard, &self.ledger.soft]
            .map(|ledger| ledger.lock().get(&object).copied().unwrap_or(0));
        let response = self.edge.serve(self.compose(client, object)).await;
        let (status, headers) = (response.status, response.fields());
        let outcome = response.facts.outcome;
        let mut body = response.body;
        let mut bytes = Vec::new();
        let gives_up = chance(&self.rng, 0.05);
        let whole = loop {
            match body.next().await {
                Some(Ok(frame)) => bytes.extend_from_slice(frame.data_ref().unwrap()),
                Some(Err(_)) => break false,
                None => break true,
            }
            if gives_up {
                return;
            }
            if chance(&self.rng, 0.1) {
                dawdle(&self.rng, 60).await;
            }
        };
        let Some((tag, serial)) = told(&headers) else {
            return;
        };
        let about = || {
            format!(
                "seed {}: object {object}, {outcome:?}, {headers:?}",
                self.seed
            )
        };
        if !matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
            return;
        }
        assert_eq!(tag.0, object, "{}", about());
        assert!(serial > floors[0], "purged at {}: {}", floors[0], about());
        if outcome == Outcome::Hit {
            assert!(
                serial > floors[1],
                "made stale at {}: {}",
                floors[1],
                about()
            );
        }
        let full = content(object, tag.1);
        let expected = match status {
            StatusCode::OK => full,
            _ => {
                let (range, size) = range::content_range(&headers).unwrap();
                assert_eq!(size, Some(full.len() as u64), "{}", about());
                full.slice(range.start as usize..range.end as usize)
            }
        };
        match whole {
            true => assert!(bytes == expected, "wrong bytes: {}", about()),
            false => assert!(expected.starts_with(&bytes), "wrong bytes: {}", about()),
        }
        let count = match whole {
            true => &self.tally.whole,
            false => &self.tally.broken,
        };
        count.fetch_add(1, SeqCst);
        self.tally
            .hits
            .fetch_add(usize::from(outcome == Outcome::Hit), SeqCst);
    }

    fn compose(&self, client: u64, object: u64) -> Request {
        let mut rng = self.rng.lock();
        let mut headers = HeaderMap::new();
        let from = rng.random_range(0..30_000);
        let range = match rng.random_range(0..4) {
            0 => Some(format!("bytes={from}-{}", from + rng.random_range(0..9000))),
            1 => Some(format!("bytes={}-", rng.random_range(0..3000))),
            2 => Some(format!("bytes=-{}", rng.random_range(1..5000))),
            _ => None,
        };
        headers.extend(range.map(|range| (header::RANGE, range.parse().unwrap())));
        if rng.random_bool(0.05) {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        Request {
            method: Method::GET,
            scheme: http::uri::Scheme::HTTPS,
            authority: Some("cdn.example".parse().unwrap()),
            target: format!("/o/{object}").parse().unwrap(),
            headers,
            body: RequestBody::Empty,
            protocol: Protocol::H2,
            peer: SocketAddr::from(([192, 0, 2, u8::try_from(client).unwrap()], 1)),
            received: std::time::Instant::now(),
            interim: Default::default(),
        }
    }
}

/// Object and revision by the entity tag, and the answer's number; none for what is our own.
fn told(headers: &HeaderMap) -> Option<((u64, u64), u64)> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let (object, revision) = text("etag")?.trim_matches('"').split_once('.')?;
    let serial = text("x-serial")?.parse().ok()?;
    Some(((object.parse().ok()?, revision.parse().ok()?), serial))
}

/// Several lives of an edge over one disk and one origin.
async fn simulate(seed: u64, tally: Arc<Tally>) {
    let rng = Arc::new(Mutex::new(StdRng::seed_from_u64(seed)));
    let mut purges = Purges::open(None, virtual_clock::now().unwrap()).unwrap();
    let origin = Arc::new(Origin {
        rng: rng.clone(),
        revisions: Mutex::default(),
        serial: AtomicU64::new(0),
    });
    let platter = Platter {
        rng: rng.clone(),
        blobs: Arc::new(Mutex::new(HashMap::with_hasher(Mixer::random()))),
        broken: Arc::default(),
    };
    let ledger = Arc::new(Ledger::default());
    for life in 0..LIVES {
        // Room for a few slices only, so that the disk matters.
        let settings = Settings {
            memory: 96 << 10,
            slice: SLICE,
            prefetch: 64 << 10,
            ..Settings::default()
        };
        *platter.broken.lock() = false;
        let disk = Disk::open(platter.clone()).await.unwrap();
        let edge = Arc::new(Edge::over(settings, purges, Some(disk), origin.clone()).unwrap());
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let world = World {
                    seed,
                    rng: rng.clone(),
                    origin: origin.clone(),
                    edge: edge.clone(),
                    ledger: ledger.clone(),
                    tally: tally.clone(),
                };
                tokio::spawn(async move {
                    for _ in 0..REQUESTS {
                        world.request(client).await;
                    }
                })
            })
            .collect();
        if seed % 4 == 3 && life == 1 {
            for _ in 0..500 {
                tokio::task::yield_now().await;
            }
            *platter.broken.lock() = true;
        }
        for client in clients {
            if let Err(panic) = client.await {
                std::panic::resume_unwind(panic.into_panic());
            }
        }
        let stats = edge.stats();
        tally
            .from_disk
            .fetch_add(usize::try_from(stats.disk_hits).unwrap(), SeqCst);
        // The process dies: what was on its way to the disk may or may not have got there.
        // Purges are as if read from the log; that it is right after any death is shown elsewhere.
        purges = edge.purges_after_restart();
        drop(edge);
    }
}

#[test]
fn never_a_wrong_byte_nor_a_resurrected_purge_nor_a_slice_fetched_twice_at_once() {
    let number = |name| std::env::var(name).ok().map(|n| n.parse::<u64>().unwrap());
    let seeds = match (number("SEGUE_SEED"), number("SEGUE_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, seeds) => 0..seeds.unwrap_or(SEEDS),
    };
    let tally = Arc::new(Tally::default());
    for seed in seeds.clone() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            runtime.block_on(async {
                virtual_clock::start();
                simulate(seed, tally.clone()).await;
            });
        }));
        virtual_clock::stop();
        if let Err(panic) = ran {
            eprintln!("SEGUE_SEED={seed} repeats it");
            std::panic::resume_unwind(panic);
        }
    }
    let count = |counter: &AtomicUsize| counter.load(SeqCst);
    println!(
        "{} seeds: {} bodies whole, {} cut off, {} hits, {} entries from disk, {} purges",
        seeds.end - seeds.start,
        count(&tally.whole),
        count(&tally.broken),
        count(&tally.hits),
        count(&tally.from_disk),
        count(&tally.purges),
    );
    for counter in [&tally.whole, &tally.broken, &tally.hits, &tally.purges] {
        assert!(count(counter) > 0, "too little happened to prove anything");
    }
    assert!(count(&tally.from_disk) > 0, "the disk was never used");
}
