//! Fetching what will be asked for: the next slices of who reads in order, the targets of
//! `Link: <…>; rel=prefetch` in responses, and what a player says it will ask for next (CMCD).
//!
//! It only fills the cache: every request that comes later is judged by itself, token and all.
//! Nothing of the client's goes upstream but its `Accept-Encoding`, and only paths of the same host
//! are fetched. It gives way: past its budget, and while the upstream is busy with what is wanted
//! now, it leaves things be. What it brings is on probation in the memory tier until it is used.

use std::{
    collections::HashMap,
    hash::BuildHasher as _,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{ACCEPT_ENCODING, LINK, RANGE},
    uri::PathAndQuery,
};
use parking_lot::Mutex;

use super::{
    key::{Mixer, ObjectKey},
    opening::Base,
    store::Store,
};
use crate::{
    asked::Asked,
    cmcd::{Cmcd, Next},
    exchange::Response,
    link,
    policy::{UnixMs, reuse},
    purge::Verdict,
    range,
};

/// Slices kept ahead of a reader.
const AHEAD: u32 = 2;

/// Readers remembered, and targets prefetched lately: places in tables without locks, 8 bytes each.
const READERS: usize = 1 << 14;
const RECENT: usize = 1 << 12;

/// How long a target isn't prefetched again.
const AGAIN_S: u64 = 30;

/// A client's share of the budget.
const SHARE: u64 = 8;

/// Bytes asked for of a target: its head and first seconds.
const HEAD: u64 = 256 << 10;

/// Fills under way at which the upstream counts as busy.
const BUSY: u64 = 128;

static SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");

/// What is fetched ahead, and for whom.
pub(crate) struct Ahead {
    store: Arc<Store>,
    /// Bytes that may be on their way at once; 0 turns it off.
    budget: u64,
    under_way: Mutex<UnderWay>,
    mixer: Mixer,
    /// For each reader: who (24 bits), the slice read last (20 bits), the slice fetched last (20).
    readers: Box<[AtomicU64]>,
    /// For each target: which (32 bits), when (seconds, 32 bits).
    recent: Box<[AtomicU64]>,
}

/// Bytes asked for and not yet here.
#[derive(Default)]
struct UnderWay {
    total: u64,
    /// At most one entry a task, of which the budget allows few.
    of: HashMap<IpAddr, u64>,
}

impl Ahead {
    /// Fetches into `store`, at most `budget` bytes at once.
    pub(crate) fn new(store: Arc<Store>, budget: u64) -> Arc<Self> {
        let places = |count| (0..count).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self {
            store,
            budget,
            under_way: Mutex::default(),
            mixer: Mixer::random(),
            readers: places(READERS),
            recent: places(RECENT),
        })
    }

    /// Looks at what a client is sent, and fetches what it will want next. Never waits.
    pub(crate) fn follow(
        self: &Arc<Self>,
        asked: &Arc<Asked>,
        peer: SocketAddr,
        sent: &Response,
        cmcd: Option<&Cmcd>,
    ) {
        let ok = matches!(sent.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT);
        if self.budget == 0 || !ok || asked.method != Method::GET {
            return;
        }
        let client = peer.ip().to_canonical();
        if asked.range.is_some()
            && let Some((range, Some(size))) = match &sent.hit {
                Some(hit) => hit.range(),
                None => range::content_range(&sent.headers),
            }
        {
            let last = self.store.slice_number(range.end - 1);
            let end = self.store.slice_number(size - 1);
            let place = self.mixer.hash_one((client, asked.key));
            let ahead = self.advance(place, self.store.slice_number(range.start), last, end);
            if let Some((from, to)) = ahead {
                self.read_on(asked, client, from, to);
            }
        }
        let links = match &sent.hit {
            Some(hit) => hit.links(),
            None => Some(&sent.headers).filter(|headers| headers.contains_key(LINK)),
        };
        if let Some(links) = links {
            for target in link::prefetch(links, &asked.target) {
                let last = self.store.slice_number(HEAD - 1);
                self.prefetch(asked, client, target, 0..=last);
            }
        }
        for Next { target, range } in cmcd.map_or_else(Vec::new, |cmcd| cmcd.next(&asked.target)) {
            let (first, last) = range.unwrap_or((0, HEAD - 1));
            let from = self.store.slice_number(first);
            let most = self
                .store
                .slice_number(HEAD.max(self.store.slice * u64::from(AHEAD)) - 1);
            let to = self.store.slice_number(last).min(from.saturating_add(most));
            self.prefetch(asked, client, target, from..=to);
        }
    }

    /// Notes that a reader got slices `first` to `last` of a body whose last one is `end`; the
    /// slices to fetch, if it reads in order and needs any.
    fn advance(&self, hash: u64, first: u32, last: u32, end: u32) -> Option<(u32, u32)> {
        const SLICES: u64 = (1 << 20) - 1;
        let place = &self.readers[index(hash, READERS)];
        let (was, who) = (place.load(Ordering::Relaxed), hash >> 40);
        let part = |shift: u32| u32::try_from(was >> shift & SLICES).unwrap_or(0);
        let (before, fetched) = (part(20), part(0));
        let known = was >> 40 == who;
        let in_order = known && (before..=before.saturating_add(1)).contains(&first);
        let to = last.saturating_add(AHEAD).min(end);
        let from = (last + 1).max(if in_order { fetched + 1 } else { 0 });
        let ahead = (in_order && last > 0 && from <= to).then_some((from, to));
        let fetched = match ahead {
            Some((_, to)) => to,
            None if in_order => fetched.max(last),
            None => last,
        };
        // Slices beyond the millionth are not read ahead of.
        if u64::from(end) < SLICES {
            let now = who << 40 | u64::from(last) << 20 | u64::from(fetched);
            place.store(now, Ordering::Relaxed);
            return ahead;
        }
        None
    }

    /// Fetches slices of what a client reads.
    fn read_on(self: &Arc<Self>, asked: &Arc<Asked>, client: IpAddr, from: u32, to: u32) {
        let bytes = u64::from(to - from + 1) * self.store.slice;
        let Some(claim) = self.claim(client, bytes) else {
            return;
        };
        let (ahead, asked) = (self.clone(), asked.clone());
        tokio::spawn(async move {
            let _claim = claim;
            let Some(record) = ahead.store.record(asked.key).await else {
                return;
            };
            let stored = record.variants.iter().find(|stored| {
                stored.usable()
                    && stored.ranged
                    && stored.selecting.matches(&asked.headers, &stored.headers)
                    && ahead.store.judge(&asked, stored) == Verdict::Keep
            });
            if let Some(stored) = stored {
                ahead.store.bring(&asked, stored, from, to).await;
            }
        });
    }

    /// Fetches some slices of what a response or a player names.
    fn prefetch(
        self: &Arc<Self>,
        from: &Asked,
        client: IpAddr,
        target: PathAndQuery,
        slices: RangeInclusive<u32>,
    ) {
        let (first, last) = slices.into_inner();
        let range = format!(
            "bytes={}-{}",
            u64::from(first) * self.store.slice,
            (u64::from(last) + 1) * self.store.slice - 1
        );
        let asked = Arc::new(from.for_prefetch(target, fields(from, range)));
        let key = asked.key;
        if !self.is_due(key, first, UnixMs::now()) {
            return;
        }
        let bytes = u64::from(last - first + 1) * self.store.slice;
        let Some(claim) = self.claim(client, bytes) else {
            return;
        };
        let ahead = self.clone();
        tokio::spawn(async move {
            let _claim = claim;
            let record = ahead.store.record(key).await;
            let held = record.as_ref().and_then(|record| {
                record.variants.iter().find(|stored| {
                    stored.usable()
                        && stored.selecting.matches(&asked.headers, &stored.headers)
                        && stored.answers(&asked)
                        && ahead.store.judge(&asked, stored) == Verdict::Keep
                        && reuse::decide(&stored.freshness, &asked.cc, false, UnixMs::now())
                            == reuse::Reuse::Fresh
                        && ahead.store.complete(stored)
                })
            });
            match held {
                Some(stored) if stored.ranged => {
                    let end = stored.size().map_or(0, |size| size.saturating_sub(1));
                    let last = last.min(ahead.store.slice_number(end));
                    ahead.store.bring(&asked, stored, first, last).await;
                }
                Some(_) => {}
                None => {
                    let base = Base {
                        record,
                        stored: None,
                    };
                    ahead.store.open_ahead(&asked, base).await;
                }
            }
        });
    }

    /// Whether a target hasn't been prefetched lately; if so, it now has.
    fn is_due(&self, key: ObjectKey, slice: u32, now: UnixMs) -> bool {
        let hash = self.mixer.hash_one((key, slice));
        let place = &self.recent[index(hash, RECENT)];
        let (was, now_s) = (place.load(Ordering::Relaxed), now.seconds() & WORD);
        let same = was >> 32 == hash >> 32;
        if same && now_s.saturating_sub(was & WORD) < AGAIN_S {
            return false;
        }
        place.store(hash >> 32 << 32 | now_s, Ordering::Relaxed);
        true
    }

    /// A claim on the budget; none where it is spent, or the upstream busy.
    fn claim(self: &Arc<Self>, client: IpAddr, bytes: u64) -> Option<Claim> {
        if self.store.fills_running() >= BUSY {
            return None;
        }
        let mut under_way = self.under_way.lock();
        let of_client = under_way.of.get(&client).copied().unwrap_or(0);
        let share = (self.budget / SHARE).max(self.store.slice * u64::from(AHEAD));
        if under_way.total + bytes > self.budget || of_client + bytes > share {
            return None;
        }
        under_way.total += bytes;
        under_way.of.insert(client, of_client + bytes);
        Some(Claim {
            ahead: self.clone(),
            client,
            bytes,
        })
    }
}

const WORD: u64 = u32::MAX as u64;

fn index(hash: u64, places: usize) -> usize {
    usize::try_from(hash & WORD).unwrap_or(0) & (places - 1)
}

/// What a prefetch asks with: some slices, and nothing of the client but its encodings.
fn fields(from: &Asked, range: String) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.extend(HeaderValue::try_from(range).map(|range| (RANGE, range)));
    let encoding = from.headers.get(ACCEPT_ENCODING).cloned();
    headers.extend(encoding.map(|encoding| (ACCEPT_ENCODING, encoding)));
    headers.insert(SEC_PURPOSE.clone(), HeaderValue::from_static("prefetch"));
    headers
}

/// Bytes under way, until dropped.
struct Claim {
    ahead: Arc<Ahead>,
    client: IpAddr,
    bytes: u64,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut under_way = self.ahead.under_way.lock();
        under_way.total -= self.bytes;
        if let Some(of) = under_way.of.get_mut(&self.client) {
            *of = of.saturating_sub(self.bytes);
            if *of == 0 {
                under_way.of.remove(&self.client);
            }
        }
    }
}
