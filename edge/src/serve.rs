//! The path of one request through the cache node, top to bottom.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use http::{
    HeaderMap, HeaderValue, Method, StatusCode, header::WWW_AUTHENTICATE, uri::PathAndQuery,
};

use crate::{
    asked::Asked,
    auth::{Gate, Keyset, Refusal},
    cache::{
        Directory, Disk,
        ahead::Ahead,
        opening::{Base, Lead, Opened, Shared},
        record::Stored,
        store::Store,
    },
    cache_status::{Forward, Told},
    cmcd::Cmcd,
    config::Config,
    exchange::{
        BoxBody, CacheStats, Outcome, Protocol, Purge, PurgeMode, Request, RequestBody, Response,
        Service, Upstream, UpstreamError, UpstreamFault,
    },
    policy::{
        UnixMs, directives, fields, invalidate, precondition,
        reuse::{self, Reuse},
    },
    purge::{MAX_TARGET_BYTES, Purges, Verdict},
    respond, timing,
    trace::Tracer,
};

/// Times a request looks again because what it found was gone or another's.
const ROUNDS: usize = 8;

/// Settings of the cache node's inside; listeners and upstreams have their own.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes the memory tier may hold.
    pub memory: u64,
    /// Directory of the disk tier and of purge state; none for memory only.
    pub disk: Option<PathBuf>,
    /// Bytes the disk tier may hold.
    pub disk_size: u64,
    /// Bytes a slice holds; a power of two from 4 KiB to 8 MiB.
    pub slice: u64,
    /// Keys that tokens are verified with; none lets everyone in.
    pub keyset: Option<Arc<Keyset>>,
    /// Path prefixes that need a token once a keyset is set.
    pub protect: Vec<String>,
    /// Seconds a response may be stale and still stand in for an upstream that fails, where neither
    /// side says anything of it.
    pub stale_if_error_s: u64,
    /// Bytes that may be on their way before anybody asked for them: readahead and prefetch. 0
    /// turns both off.
    pub prefetch: u64,
    /// Name in `Cache-Status` and `Via`.
    pub name: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            memory: 256 << 20,
            disk: None,
            disk_size: 10 << 30,
            slice: 256 << 10,
            keyset: None,
            protect: vec!["/media/".into(), "/v1/".into()],
            stale_if_error_s: 24 * 3600,
            prefetch: 16 << 20,
            name: "Segue".into(),
        }
    }
}

impl Settings {
    fn check(&self) -> Result<(), Error> {
        if self.slice.is_power_of_two() && (4 << 10..=8 << 20).contains(&self.slice) {
            return Ok(());
        }
        Err(Error::Settings(
            "slice must be a power of two from 4 KiB to 8 MiB".into(),
        ))
    }
}

/// Why the cache could not open, or a purge not be made durable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is out of range; the text says which.
    #[error("{0}")]
    Settings(String),
    /// The disk tier or the purge state failed.
    #[error("{what}: {source}")]
    Disk {
        /// The operation.
        what: &'static str,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The cache node.
pub struct Edge {
    store: Arc<Store>,
    ahead: Arc<Ahead>,
    gate: Gate,
    stale_if_error_s: AtomicU64,
    server_timing: AtomicBool,
    tracer: Option<Tracer>,
    name: Arc<str>,
}

/// What a lookup says to do.
enum Found {
    /// Answer with this.
    Reuse(Arc<Stored>),
    /// Answer with this, and ask the upstream meanwhile.
    ReuseAndAsk(Arc<Stored>, Base),
    /// Answer with this though stale: the upstream has just failed.
    StandIn(Arc<Stored>),
    /// Ask the upstream first.
    Ask(Forward, Base),
    /// Ask the upstream, apart from others.
    AskAlone,
}

impl Service for Edge {
    async fn serve(&self, mut request: Request) -> Response {
        let cmcd = Cmcd::take(&mut request);
        let trace = self
            .tracer
            .as_ref()
            .and_then(|tracer| tracer.begin(&mut request.headers));
        let admitted = self.gate.admit(&mut request, UnixMs::now().seconds());
        let (target, method) = (request.target.clone(), request.method.clone());
        let peer = request.peer;
        let mut response = match admitted {
            Err(refusal) => self.refuse(refusal),
            Ok(_) if method == Method::CONNECT => {
                self.error(StatusCode::NOT_IMPLEMENTED, "connect", Forward::Method)
            }
            Ok(ref subject) => {
                let (asked, body) = self.parse(request);
                let mut response = match body {
                    RequestBody::Empty if asked.cacheable() => self.answer(&asked).await,
                    body if asked.cacheable() => self.pass(&asked, body, Forward::Bypass).await,
                    body => self.change(&asked, body).await,
                };
                self.ahead.follow(&asked, peer, &response);
                response.facts.subject.clone_from(subject);
                response
            }
        };
        response.facts.target = Some(target);
        response.facts.cmcd = cmcd;
        response.facts.trace = trace.map(Box::new);
        if self.server_timing.load(Relaxed) {
            timing::tell(&mut response);
        }
        response
    }
}

impl Edge {
    /// Answers a GET or HEAD from the cache, or through it.
    async fn answer(&self, asked: &Arc<Asked>) -> Response {
        for _ in 0..ROUNDS {
            let now = UnixMs::now();
            let answered = match self.look_up(asked, now).await {
                Found::Reuse(stored) => self.reuse(asked, &stored, Outcome::Hit, now).await,
                Found::ReuseAndAsk(stored, base) => {
                    self.store.begin(asked, base);
                    self.reuse(asked, &stored, Outcome::Stale, now).await
                }
                Found::StandIn(stored) => self.reuse(asked, &stored, Outcome::Stale, now).await,
                Found::Ask(forward, _) if asked.cc.only_if_cached => {
                    return self.error(StatusCode::GATEWAY_TIMEOUT, "only-if-cached", forward);
                }
                Found::Ask(forward, _) if asked.method == Method::HEAD => {
                    return self.pass(asked, RequestBody::Empty, forward).await;
                }
                Found::Ask(forward, base) => {
                    let begun = Instant::now();
                    let mut answered = self.ask(asked, forward, base).await;
                    if let Some(response) = &mut answered {
                        response.facts.upstream_wait.get_or_insert(begun.elapsed());
                    }
                    answered
                }
                Found::AskAlone => break,
            };
            if let Some(response) = answered {
                return response;
            }
        }
        self.pass(asked, RequestBody::Empty, Forward::Bypass).await
    }

    /// Finds what is stored for a request and what may be done with it.
    async fn look_up(&self, asked: &Asked, now: UnixMs) -> Found {
        if precondition::for_origin_only(&asked.headers) {
            return Found::AskAlone;
        }
        let Some(record) = self.store.record(asked.key).await else {
            return Found::Ask(Forward::UriMiss, Base::default());
        };
        let mut forward = Forward::UriMiss;
        for stored in record.variants.iter().filter(|stored| stored.usable()) {
            if !stored.selecting.matches(&asked.headers, &stored.headers) {
                forward = Forward::VaryMiss;
                continue;
            }
            let verdict = self.store.judge(asked, stored);
            if verdict == Verdict::Hard {
                continue;
            }
            if asked.method == Method::GET && !self.store.complete(stored) {
                forward = Forward::Partial;
                continue;
            }
            let base = || Base {
                record: Some(record.clone()),
                stored: Some(stored.clone()),
            };
            return match reuse::decide(&stored.freshness, &asked.cc, verdict == Verdict::Soft, now)
            {
                Reuse::Fresh | Reuse::Stale => Found::Reuse(stored.clone()),
                Reuse::StaleWhileRevalidate => Found::ReuseAndAsk(stored.clone(), base()),
                Reuse::Validate
                    if record.failing_until > now && self.may_stand_in(asked, stored, now) =>
                {
                    Found::StandIn(stored.clone())
                }
                Reuse::Validate
                    if stored.freshness.left_ms(now) > 0 && verdict == Verdict::Keep =>
                {
                    Found::Ask(Forward::Request, base())
                }
                Reuse::Validate => Found::Ask(Forward::Stale, base()),
            };
        }
        if record.pass_until > now {
            Found::AskAlone
        } else {
            Found::Ask(
                forward,
                Base {
                    record: Some(record),
                    stored: None,
                },
            )
        }
    }

    /// Answers with what is stored.
    async fn reuse(
        &self,
        asked: &Arc<Asked>,
        stored: &Arc<Stored>,
        outcome: Outcome,
        now: UnixMs,
    ) -> Option<Response> {
        let told = Told {
            hit: true,
            ttl: Some(stored.freshness.left_ms(now).div_euclid(1000)),
            ..Told::default()
        };
        respond::stored(&self.store, asked, stored, None, told, outcome, &self.name).await
    }

    /// Asks the upstream, together with whoever else does, and answers.
    async fn ask(&self, asked: &Arc<Asked>, forward: Forward, base: Base) -> Option<Response> {
        let told = Told {
            forward: Some(forward),
            ..Told::default()
        };
        match self.store.open(asked, base.clone()).await {
            Opened::Overtaken => None,
            Opened::Led(Lead::Stored(answer)) => {
                let told = Told {
                    status: Some(answer.status),
                    stored: true,
                    ..told
                };
                let outcome = if answer.status == StatusCode::NOT_MODIFIED {
                    Outcome::Revalidated
                } else {
                    Outcome::Miss
                };
                let mut response = respond::stored(
                    &self.store,
                    asked,
                    &answer.stored,
                    Some(&answer),
                    told,
                    outcome,
                    &self.name,
                )
                .await?;
                response.headers.extend(answer.withheld);
                Some(response)
            }
            Opened::Led(Lead::Passed { response, .. }) if response.status().is_server_error() => {
                match self.stand_in(asked, &base).await {
                    Some(stale) => Some(stale),
                    None => Some(self.relay(asked, response, forward)),
                }
            }
            Opened::Led(Lead::Passed {
                response,
                misfit: false,
            }) => Some(self.relay(asked, response, forward)),
            Opened::Led(Lead::Passed { misfit: true, .. }) => {
                Some(self.pass(asked, RequestBody::Empty, forward).await)
            }
            Opened::Led(Lead::Failed(error)) | Opened::Joined(Shared::Failed(error)) => {
                match self.stand_in(asked, &base).await {
                    Some(stale) => Some(stale),
                    None => Some(self.failed(&error, forward)),
                }
            }
            Opened::Joined(Shared::Stored(answer)) => {
                let stored = &answer.stored;
                if self.store.judge(asked, stored) != Verdict::Keep {
                    // Purged while it was on its way, perhaps before this request came.
                    return None;
                }
                let ours =
                    stored.usable() && stored.selecting.matches(&asked.headers, &stored.headers);
                let shareable = reuse::decide(
                    &stored.freshness,
                    &directives::Request::default(),
                    false,
                    UnixMs::now(),
                );
                match (ours, shareable) {
                    (false, _) => None,
                    (true, Reuse::Fresh | Reuse::StaleWhileRevalidate) => {
                        let told = Told {
                            status: Some(answer.status),
                            collapsed: true,
                            ..told
                        };
                        respond::stored(
                            &self.store,
                            asked,
                            stored,
                            Some(&answer),
                            told,
                            Outcome::Collapsed,
                            &self.name,
                        )
                        .await
                    }
                    (true, _) => Some(self.pass(asked, RequestBody::Empty, forward).await),
                }
            }
            Opened::Joined(Shared::Alone { error }) => {
                let stale = if error {
                    self.stand_in(asked, &base).await
                } else {
                    None
                };
                match stale {
                    Some(stale) => Some(stale),
                    None => Some(self.pass(asked, RequestBody::Empty, forward).await),
                }
            }
        }
    }

    /// Answers with what is stored though stale, if that is allowed, since the upstream failed.
    async fn stand_in(&self, asked: &Arc<Asked>, base: &Base) -> Option<Response> {
        let (stored, now) = (base.stored.as_ref()?, UnixMs::now());
        if self.may_stand_in(asked, stored, now) {
            self.reuse(asked, stored, Outcome::Stale, now).await
        } else {
            None
        }
    }

    fn may_stand_in(&self, asked: &Asked, stored: &Stored, now: UnixMs) -> bool {
        !asked.cc.no_cache
            && reuse::stands_in(
                &stored.freshness,
                &asked.cc,
                self.stale_if_error_s.load(Relaxed),
                now,
            )
    }

    /// Passes a request through, looking at nothing and storing nothing.
    async fn pass(&self, asked: &Asked, body: RequestBody, forward: Forward) -> Response {
        let begun = Instant::now();
        let mut response = match self.store.upstream.fetch(asked.as_is(body)).await {
            Ok(mut response) => {
                fields::strip_hop_by_hop(response.headers_mut());
                fields::add_via(response.headers_mut(), "1.1", &self.name);
                self.relay(asked, response, forward)
            }
            Err(error) => self.failed(&error, forward),
        };
        response.facts.upstream_wait = Some(begun.elapsed());
        response
    }

    /// Passes an unsafe request through and forgets what it has changed.
    async fn change(&self, asked: &Arc<Asked>, body: RequestBody) -> Response {
        let response = self.pass(asked, body, Forward::Method).await;
        let answered = response.facts.upstream_status;
        if answered.is_some_and(|status| invalidate::changed(&asked.method, status)) {
            self.store.invalidate(asked);
            for target in invalidate::also_named(
                &response.headers,
                asked.authority.as_ref(),
                asked.target.as_str(),
            ) {
                if let Ok(target) = PathAndQuery::try_from(target) {
                    self.store
                        .invalidate(&Asked::bare(asked.authority.clone(), target));
                }
            }
        }
        response
    }

    fn relay(
        &self,
        asked: &Asked,
        response: http::Response<BoxBody>,
        forward: Forward,
    ) -> Response {
        let told = Told {
            forward: Some(forward),
            status: Some(response.status()),
            ..Told::default()
        };
        respond::relayed(asked, response, told, &self.name)
    }

    fn failed(&self, error: &UpstreamError, forward: Forward) -> Response {
        tracing::warn!(%error, "upstream failed");
        let status = match error.fault {
            UpstreamFault::Timeout => StatusCode::GATEWAY_TIMEOUT,
            UpstreamFault::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            UpstreamFault::RequestBody => StatusCode::BAD_REQUEST,
            UpstreamFault::Loop => StatusCode::LOOP_DETECTED,
            _ => StatusCode::BAD_GATEWAY,
        };
        self.error(status, error.fault.as_str(), forward)
    }

    fn error(&self, status: StatusCode, reason: &'static str, forward: Forward) -> Response {
        respond::error(
            status,
            reason,
            Told {
                forward: Some(forward),
                ..Told::default()
            },
            &self.name,
        )
    }

    /// Tells a client why it isn't let in; the word for the log may say more.
    fn refuse(&self, refusal: Refusal) -> Response {
        let (status, public, reason) = match refusal {
            Refusal::Path(reason) => (StatusCode::BAD_REQUEST, "ambiguous path", reason),
            Refusal::Missing => (
                StatusCode::UNAUTHORIZED,
                "a token is needed",
                "missing-token",
            ),
            Refusal::Rejected(reason) => (
                StatusCode::FORBIDDEN,
                "the token does not open this",
                reason,
            ),
        };
        let mut response = respond::error(
            status,
            public,
            Told {
                forward: None,
                ..Told::default()
            },
            &self.name,
        );
        if status == StatusCode::UNAUTHORIZED {
            response
                .headers
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.facts.outcome = Outcome::Refused;
        response.facts.reason = Some(reason);
        response
    }

    fn parse(&self, request: Request) -> (Arc<Asked>, RequestBody) {
        let Request {
            method,
            authority,
            target,
            headers,
            body,
            protocol,
            ..
        } = request;
        let asked = Asked::new(
            method,
            authority,
            target,
            headers,
            protocol,
            self.name.clone(),
        );
        (Arc::new(asked), body)
    }
}

impl Edge {
    /// Opens the cache, taking up what a former run left on disk. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// [`Error`] where settings or the disk directory are unusable.
    pub async fn open(settings: Settings, upstream: Arc<dyn Upstream>) -> Result<Self, Error> {
        settings.check()?;
        let purges = Purges::open(settings.disk.as_deref(), UnixMs::now())?;
        let disk = match &settings.disk {
            Some(directory) => {
                let directory = directory.join("slices");
                let shelf = Directory::new(&directory, settings.disk_size, settings.slice);
                Some(Disk::open(shelf).await?)
            }
            None => None,
        };
        Self::over(settings, purges, disk, upstream)
    }

    /// As [`Edge::open`], over what is open already.
    pub(crate) fn over(
        settings: Settings,
        purges: Purges,
        disk: Option<Arc<Disk>>,
        upstream: Arc<dyn Upstream>,
    ) -> Result<Self, Error> {
        settings.check()?;
        let Settings { memory, slice, .. } = settings;
        let store = Arc::new(Store::new(memory, disk, purges, slice, upstream));
        Ok(Self {
            ahead: Ahead::new(store.clone(), settings.prefetch),
            store,
            gate: Gate::new(settings.keyset, settings.protect),
            stale_if_error_s: settings.stale_if_error_s.into(),
            server_timing: AtomicBool::new(false),
            tracer: None,
            name: settings.name.into(),
        })
    }

    /// Traces requests from now on.
    pub(crate) fn trace(&mut self, tracer: Option<Tracer>) {
        self.tracer = tracer;
    }

    /// What a reload may change beside the keys.
    pub(crate) fn adjust(&self, config: &Config) {
        self.gate.set_protect(config.protect.clone());
        let stale_if_error_s = config.stale_if_error.as_secs();
        self.stale_if_error_s.store(stale_if_error_s, Relaxed);
        self.server_timing.store(config.server_timing, Relaxed);
    }

    /// Replaces the keys; verdicts so far are forgotten.
    pub fn set_keyset(&self, keyset: Option<Arc<Keyset>>) {
        self.gate.set_keyset(keyset);
    }

    /// Purges; durable and in force when it returns.
    ///
    /// # Errors
    /// [`Error::Settings`] where the target is too long; [`Error::Disk`] where it could not be made
    /// durable: it is then in force until a restart.
    pub async fn purge(&self, what: Purge, mode: PurgeMode) -> Result<(), Error> {
        let length = match &what {
            Purge::Url(text) | Purge::Prefix(text) | Purge::SurrogateKey(text) => text.len(),
            Purge::All => 0,
        };
        if length > MAX_TARGET_BYTES {
            return Err(Error::Settings(format!(
                "a purge target has at most {MAX_TARGET_BYTES} bytes"
            )));
        }
        self.store.purges.purge(what, mode).await
    }

    /// What a restart would read from the purge log.
    #[cfg(test)]
    pub(crate) fn purges_after_restart(&self) -> Purges {
        self.store.purges.restarted()
    }

    /// Fails where a slice is being brought by two fills.
    #[cfg(test)]
    pub(crate) fn assert_one_fill_a_slice(&self, seed: u64) {
        self.store.assert_one_fill_a_slice(seed);
    }

    /// Purges until this process ends: where the log is another process's.
    pub(crate) fn purge_here(&self, what: &Purge, mode: PurgeMode) {
        self.store.purges.note(what, mode);
    }

    /// Counters for `/metrics`.
    pub fn stats(&self) -> CacheStats {
        self.store.stats()
    }

    /// Flushes the disk tier; call once, after the last request.
    ///
    /// # Errors
    /// [`Error::Disk`] where the flush failed; what was not flushed is fetched again.
    pub async fn close(&self) -> Result<(), Error> {
        self.store.close().await
    }
}

impl Asked {
    /// Whether the cache may answer it at all.
    fn cacheable(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }

    /// A request that says nothing but what it is for.
    fn bare(authority: Option<http::uri::Authority>, target: PathAndQuery) -> Self {
        Self::new(
            Method::GET,
            authority,
            target,
            HeaderMap::new(),
            Protocol::H1,
            Arc::from(""),
        )
    }
}
