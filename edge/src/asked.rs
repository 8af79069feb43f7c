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
    cache_status::Key,
    exchange::{Interim, Protocol, RequestBody},
    policy::{directives, fields, rules::Rules},
    range::Ranges,
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
    /// The node's rules.
    pub(crate) rules: Arc<Rules>,
    /// Its caching directives.
    pub(crate) cc: directives::Request,
    /// Its ranges, of a GET.
    pub(crate) range: Option<Ranges>,
    /// Whether nobody has asked for it yet.
    pub(crate) ahead: bool,
    /// Where interim responses go.
    pub(crate) interim: Interim,
}

impl Asked {
    /// Parses a request whose token is already gone.
    pub(crate) fn new(
        method: Method,
        authority: Option<Authority>,
        target: PathAndQuery,
        headers: HeaderMap,
        protocol: Protocol,
        rules: Arc<Rules>,
    ) -> Self {
        let cc = directives::Request::of(&headers);
        let range = if method == Method::GET {
            Ranges::of(&headers)
        } else {
            None
        };
        let named = authority.as_ref().filter(|_| rules.host_in_key);
        let key = ObjectKey::new(named, target.as_str());
        Self {
            key,
            method,
            authority,
            target,
            headers,
            cc,
            range,
            protocol,
            rules,
            ahead: false,
            interim: Interim::default(),
        }
    }

    /// A request for another object of the same host, made before anybody asks for it.
    pub(crate) fn for_prefetch(&self, target: PathAndQuery, headers: HeaderMap) -> Self {
        let (authority, rules) = (self.authority.clone(), self.rules.clone());
        Self {
            ahead: true,
            ..Self::new(
                Method::GET,
                authority,
                target,
                headers,
                self.protocol,
                rules,
            )
        }
    }

    /// Another object at the same host, asked for without a word more.
    pub(crate) fn sibling(&self, target: PathAndQuery) -> Self {
        Self::new(
            Method::GET,
            self.authority.clone(),
            target,
            HeaderMap::new(),
            self.protocol,
            self.rules.clone(),
        )
    }

    /// Whether the cache may answer it at all.
    pub(crate) fn cacheable(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }

    /// The host, lower-cased; empty if there is none.
    pub(crate) fn host(&self) -> String {
        self.authority
            .as_ref()
            .map(|a| a.as_str().to_ascii_lowercase())
            .unwrap_or_default()
    }

    /// What it is stored under, for people.
    pub(crate) fn shown_key(&self) -> Key<'_> {
        let authority = self.authority.as_ref().filter(|_| self.rules.host_in_key);
        Key {
            authority: authority.map(Authority::as_str),
            target: self.target.as_str(),
        }
    }

    /// The request as it came, to be passed on; a GET or HEAD without what isn't in the key, so that
    /// nobody is answered by it, and that what a HEAD brings back may renew what is stored.
    pub(crate) fn as_is(&self, body: RequestBody) -> http::Request<RequestBody> {
        let mut request = self.request(self.method.clone(), body);
        match self.method {
            Method::GET | Method::HEAD => fields::strip_overrides(request.headers_mut()),
            Method::OPTIONS | Method::TRACE => fields::count_hop(request.headers_mut()),
            _ => {}
        }
        request
    }

    /// A GET for the whole object without the client's conditions, and without anything that isn't
    /// in the key and that upstreams are known to answer by.
    pub(crate) fn unconditional(&self) -> http::Request<RequestBody> {
        let mut request = self.request(Method::GET, RequestBody::Empty);
        let headers = request.headers_mut();
        fields::strip_conditions(headers);
        fields::strip_overrides(headers);
        // A body, if a GET had one, isn't passed on where the answer is stored.
        headers.remove(header::CONTENT_LENGTH);
        request
    }

    fn request(&self, method: Method, body: RequestBody) -> http::Request<RequestBody> {
        let mut headers = self.headers.clone();
        fields::strip_hop_by_hop(&mut headers);
        headers.remove(header::EXPECT);
        headers.remove(HOST);
        // An upstream that sees the client's host may answer by it: it is then part of the key.
        let authority = self.authority.as_ref().filter(|_| self.rules.host_in_key);
        if let Some(host) = authority.and_then(|a| HeaderValue::from_str(a.as_str()).ok()) {
            headers.insert(HOST, host);
        }
        fields::add_via(&mut headers, self.protocol.via(), &self.rules.name);
        let mut request = http::Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from(self.target.clone());
        *request.headers_mut() = headers;
        if self.interim.is_taken() {
            request.extensions_mut().insert(self.interim.clone());
        }
        request
    }
}
