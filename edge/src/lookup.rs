//! What is stored for a request, and what may be done with it.

use std::sync::Arc;

use http::Method;

use crate::{
    asked::Asked,
    cache::{
        opening::Base,
        record::{Record, Stored},
    },
    cache_status::Forward,
    node::Edge,
    policy::{
        UnixMs, precondition,
        reuse::{self, Reuse},
    },
    purge::Verdict,
};

/// What a lookup says to do.
pub(crate) enum Found {
    /// Answer with this.
    Fresh(Arc<Stored>),
    /// Answer with this though stale, and ask the upstream meanwhile.
    StaleMeanwhile(Arc<Stored>, Base),
    /// Answer with this though stale: the upstream has just failed.
    StandIn(Arc<Stored>),
    /// Ask the upstream first.
    Ask(Forward, Base),
    /// Ask the upstream, apart from others.
    AskAlone,
}

impl Edge {
    /// Finds what is stored for a request and what may be done with it.
    pub(crate) async fn look_up(&self, asked: &Asked, now: UnixMs) -> Found {
        if precondition::for_origin_only(&asked.headers) {
            return Found::AskAlone;
        }
        match self.store.record(asked.key).await {
            Some(record) => self.select(asked, record, now),
            None => Found::Ask(Forward::UriMiss, Base::default()),
        }
    }

    /// The same without the disk; none where memory knows nothing of the object.
    pub(crate) fn look_up_in_memory(&self, asked: &Asked, now: UnixMs) -> Option<Found> {
        if precondition::for_origin_only(&asked.headers) {
            return None;
        }
        let record = self.store.record_in_memory(asked.key)?;
        Some(self.select(asked, record, now))
    }

    /// Which of an object's stored responses answers a request, and whether it may.
    fn select(&self, asked: &Asked, record: Arc<Record>, now: UnixMs) -> Found {
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
            let held = stored.answers(asked)
                && (asked.method == Method::HEAD || self.store.complete(stored));
            if !held {
                forward = Forward::Partial;
                continue;
            }
            return self.weigh(asked, &record, stored, verdict, now);
        }
        if record.pass_until > now {
            return Found::AskAlone;
        }
        let base = Base {
            record: Some(record),
            stored: None,
        };
        Found::Ask(forward, base)
    }

    /// What may be done with a stored response that a request selects.
    fn weigh(
        &self,
        asked: &Asked,
        record: &Arc<Record>,
        stored: &Arc<Stored>,
        verdict: Verdict,
        now: UnixMs,
    ) -> Found {
        let base = || Base {
            record: Some(record.clone()),
            stored: Some(stored.clone()),
        };
        match reuse::decide(&stored.freshness, &asked.cc, verdict == Verdict::Soft, now) {
            Reuse::Fresh | Reuse::Stale => Found::Fresh(stored.clone()),
            Reuse::StaleWhileRevalidate => Found::StaleMeanwhile(stored.clone(), base()),
            Reuse::Validate
                if record.failing_until > now && self.may_stand_in(asked, stored, now) =>
            {
                Found::StandIn(stored.clone())
            }
            Reuse::Validate if stored.freshness.left_ms(now) > 0 && verdict == Verdict::Keep => {
                Found::Ask(Forward::Request, base())
            }
            Reuse::Validate => Found::Ask(Forward::Stale, base()),
        }
    }

    /// Whether a stored response may answer though stale, the upstream having failed.
    pub(crate) fn may_stand_in(&self, asked: &Asked, stored: &Stored, now: UnixMs) -> bool {
        let default_s = asked.rules.stale_if_error_s;
        !asked.cc.no_cache && reuse::stands_in(&stored.freshness, &asked.cc, default_s, now)
    }
}
