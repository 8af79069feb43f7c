//! A request as the cache sees it: parsed once, without token, ready to be sent upstream again and
//! again.

use std::sync::Arc;

use http::{
    HeaderMap, HeaderValue, Method, Uri,
    header::{self, HOST},
    uri::{Authority, PathAndQuery},
};

use crate::{
    cache::key::ObjectKey,
    exchange::{Protocol, RequestBody},
    policy::{directives, fields},
    range::Spec,
};

/// A request.
#[derive(Debug)]
pub(crate) struct Asked {
    /// What it is stored under.
    pub(crate) key: ObjectKey,
    /// Its method.
    pub(crate) method: Method,
    /// Its host.
    pub(crate) authority: Option<Authority>,
    /// Path and query, without token.
    pub(crate) target: PathAndQuery,
    /// Its fields without token.
    pub(crate) headers: HeaderMap,
    /// By which protocol it came.
    protocol: Protocol,
    /// This node's name in `Via`.
    pub(crate) name: Arc<str>,
    /// Its caching directives.
    pub(crate) cc: directives::Request,
    /// Its range, of a GET.
    pub(crate) range: Option<Spec>,
    /// Whether nobody has asked for it yet.
    pub(crate) ahead: bool,
}

impl Asked {
    /// Parses a request whose token is already gone.
    pub(crate) fn new(
        method: Method,
        authority: Option<Authority>,
        target: PathAndQuery,
        headers: HeaderMap,
        protocol: Protocol,
        name: Arc<str>,
    ) -> Self {
        let cc = directives::Request::of(&headers);
        let range = if method == Method::GET {
            Spec::of(&headers)
        } else {
            None
        };
        let key = ObjectKey::new(authority.as_ref(), target.as_str());
        Self {
            key,
            method,
            authority,
            target,
            headers,
            cc,
            range,
            protocol,
            name,
            ahead: false,
        }
    }

    /// A request for another object of the same host, made before anybody asks for it.
    pub(crate) fn for_prefetch(&self, target: PathAndQuery, headers: HeaderMap) -> Self {
        let (authority, name) = (self.authority.clone(), self.name.clone());
        Self {
            ahead: true,
            ..Self::new(Method::GET, authority, target, headers, self.protocol, name)
        }
    }

    /// The host, lower-cased; empty if there is none.
    pub(crate) fn host(&self) -> String {
        self.authority
            .as_ref()
            .map(|a| a.as_str().to_ascii_lowercase())
            .unwrap_or_default()
    }

    /// The request as it came, to be passed on.
    pub(crate) fn as_is(&self, body: RequestBody) -> http::Request<RequestBody> {
        self.request(self.method.clone(), body)
    }

    /// A GET for the whole object without the client's conditions.
    pub(crate) fn unconditional(&self) -> http::Request<RequestBody> {
        let mut request = self.request(Method::GET, RequestBody::Empty);
        fields::strip_conditions(request.headers_mut());
        fields::strip_overrides(request.headers_mut());
        // A body, if a GET had one, isn't passed on where the answer is stored.
        request.headers_mut().remove(header::CONTENT_LENGTH);
        request
    }

    fn request(&self, method: Method, body: RequestBody) -> http::Request<RequestBody> {
        let mut request = http::Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from(self.target.clone());
        *request.headers_mut() = self.forwarded();
        request
    }

    /// Its fields as they travel on.
    fn forwarded(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        fields::strip_hop_by_hop(&mut headers);
        headers.remove(header::EXPECT);
        headers.remove(HOST);
        if let Some(host) = self
            .authority
            .as_ref()
            .and_then(|a| HeaderValue::from_str(a.as_str()).ok())
        {
            headers.insert(HOST, host);
        }
        fields::add_via(&mut headers, self.protocol.via(), &self.name);
        headers
    }
}
