//! Asking the upstream for an object, together with whoever else does, and answering with what
//! became of it.

use std::sync::Arc;

use http::StatusCode;

use crate::{
    asked::Asked,
    cache::opening::{Answer, Base, Lead, Opened, Shared},
    cache_status::{Forward, Told},
    exchange::{Outcome, RequestBody, Response, UpstreamError},
    node::Edge,
    policy::{
        UnixMs, directives,
        reuse::{self, Reuse},
    },
    purge::Verdict,
    respond::{self, Reply},
};

impl Edge {
    /// Asks the upstream and answers. None where what is stored has changed since the lookup: look
    /// again.
    pub(crate) async fn ask(
        &self,
        asked: &Arc<Asked>,
        forward: Forward,
        base: Base,
    ) -> Option<Response> {
        match self.store.open(asked, base.clone()).await {
            Opened::Overtaken => None,
            Opened::Led(Lead::Stored(answer)) => self.led(asked, forward, answer).await,
            Opened::Led(Lead::Passed { misfit: true, .. }) => {
                Some(self.pass(asked, RequestBody::Empty, forward).await)
            }
            Opened::Led(Lead::Passed { response, why, .. }) => {
                let status = response.status();
                if status.is_server_error()
                    && let Some(stale) = self.stand_in(asked, forward, &base, Some(status)).await
                {
                    return Some(stale);
                }
                Some(self.relay(asked, response, forward, Some(why.as_str())))
            }
            Opened::Led(Lead::Failed(error)) | Opened::Joined(Shared::Failed(error)) => {
                Some(self.without(asked, forward, &base, &error).await)
            }
            Opened::Joined(Shared::Stored(answer)) => self.joined(asked, forward, &answer).await,
            Opened::Joined(Shared::Alone { error }) => {
                if error && let Some(stale) = self.stand_in(asked, forward, &base, None).await {
                    return Some(stale);
                }
                Some(self.pass(asked, RequestBody::Empty, forward).await)
            }
        }
    }

    /// The first asker's answer is stored, or what was stored is confirmed.
    async fn led(&self, asked: &Arc<Asked>, forward: Forward, answer: Answer) -> Option<Response> {
        let told = Told {
            forward: Some(forward),
            status: Some(answer.status),
            stored: true,
            ..Told::default()
        };
        let outcome = if answer.status == StatusCode::NOT_MODIFIED {
            Outcome::Revalidated
        } else {
            Outcome::Miss
        };
        let reply = Reply {
            stored: &answer.stored,
            answer: Some(&answer),
            told,
            outcome,
        };
        let mut response = respond::stored(&self.store, asked, reply).await?;
        response.headers.extend(answer.withheld);
        Some(response)
    }

    /// Another's answer is stored: ours too, if this request selects it and it may be shared.
    async fn joined(
        &self,
        asked: &Arc<Asked>,
        forward: Forward,
        answer: &Answer,
    ) -> Option<Response> {
        let stored = &answer.stored;
        if self.store.judge(asked, stored) != Verdict::Keep {
            // Purged while it was on its way, perhaps before this request came.
            return None;
        }
        if !stored.usable() || !stored.selecting.matches(&asked.headers, &stored.headers) {
            return None;
        }
        let nothing_asked = directives::Request::default();
        let shareable = matches!(
            reuse::decide(&stored.freshness, &nothing_asked, false, UnixMs::now()),
            Reuse::Fresh | Reuse::StaleWhileRevalidate
        );
        if !shareable || !stored.answers(asked) {
            return Some(self.pass(asked, RequestBody::Empty, forward).await);
        }
        let told = Told {
            forward: Some(forward),
            status: Some(answer.status),
            collapsed: true,
            ..Told::default()
        };
        let reply = Reply {
            stored,
            answer: Some(answer),
            told,
            outcome: Outcome::Collapsed,
        };
        respond::stored(&self.store, asked, reply).await
    }

    /// The upstream did not answer: what is stored stands in, or the client learns of it.
    pub(crate) async fn without(
        &self,
        asked: &Arc<Asked>,
        forward: Forward,
        base: &Base,
        error: &UpstreamError,
    ) -> Response {
        match self.stand_in(asked, forward, base, None).await {
            Some(stale) => stale,
            None => self.failed(error, forward),
        }
    }

    /// Answers with what is stored though stale, if that is allowed, since the upstream failed.
    async fn stand_in(
        &self,
        asked: &Arc<Asked>,
        forward: Forward,
        base: &Base,
        status: Option<StatusCode>,
    ) -> Option<Response> {
        let stored = base.stored.as_ref()?;
        if !self.may_stand_in(asked, stored, UnixMs::now()) {
            return None;
        }
        let told = Told {
            forward: Some(forward),
            status,
            detail: Some("stale-if-error"),
            ..Told::default()
        };
        let reply = Reply {
            stored,
            answer: None,
            told,
            outcome: Outcome::Stale,
        };
        respond::stored(&self.store, asked, reply).await
    }
}
