//! The border between the cache and upstreams: whatever implements [`Upstream`] can be replaced
//! while requests run. Those under way end where they began.

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;

use crate::{
    exchange::{BoxBody, RequestBody, Upstream, UpstreamError},
    metrics::Text,
};

/// An upstream that can be replaced.
pub(crate) struct Replaceable(ArcSwap<Arc<dyn Upstream>>);

impl Replaceable {
    /// Begins with that one.
    pub(crate) fn new(upstream: Arc<dyn Upstream>) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(upstream)))
    }

    /// Asks another from the next request on.
    pub(crate) fn replace(&self, upstream: Arc<dyn Upstream>) {
        self.0.store(Arc::new(upstream));
    }
}

#[async_trait]
impl Upstream for Replaceable {
    async fn fetch(
        &self,
        request: http::Request<RequestBody>,
    ) -> Result<http::Response<BoxBody>, UpstreamError> {
        let upstream = Arc::clone(&self.0.load());
        upstream.fetch(request).await
    }

    fn comes_back(&self, headers: &http::HeaderMap) -> bool {
        self.0.load().comes_back(headers)
    }

    fn render(&self, out: &mut Text) {
        self.0.load().render(out);
    }
}
