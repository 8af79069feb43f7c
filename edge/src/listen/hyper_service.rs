//! Between hyper's HTTP/1.1 and the service: requests in, responses out.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use http::{
    HeaderValue, header,
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::{
    Shared,
    dribble::Dribble,
    exchange::Exchange,
    unfit::{Fault, refuse},
    vitals::Vitals,
};
use crate::exchange::{Body, BodyError, Interim, Protocol, Request, RequestBody, Service};

/// Answers the requests of one connection.
pub(crate) struct Connection<S> {
    pub shared: Arc<Shared<S>>,
    pub vitals: Arc<Vitals>,
    pub peer: SocketAddr,
    pub secure: bool,
}

impl<S: Service> Connection<S> {
    /// Answers one request. Never fails.
    pub(crate) async fn answer(
        self: Arc<Self>,
        request: http::Request<Incoming>,
    ) -> Result<http::Response<SentBody>, Infallible> {
        let (request, fault) = self.take(request);
        let mut exchange = Exchange::begin(&self.shared.observer, Some(&self.vitals), &request);
        let mut response = match fault {
            None => self.shared.service.serve(request).await,
            Some(fault) => refuse(&fault),
        };
        exchange.answered(
            response.status.as_u16(),
            std::mem::take(&mut response.facts),
        );
        if self.secure
            && let Some(alt_svc) = &self.shared.alt_svc
        {
            response.headers.insert(header::ALT_SVC, alt_svc.clone());
        }
        if fault.is_some() || self.shared.draining.load(Relaxed) {
            response
                .headers
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let bodiless = response.body.is_empty();
        if bodiless {
            exchange.complete();
        }
        let mut out = http::Response::new(SentBody {
            body: response.body,
            exchange: (!bodiless).then_some(exchange),
        });
        *out.status_mut() = response.status;
        *out.headers_mut() = response.headers;
        Ok(out)
    }

    /// The request in our terms, and what is wrong with it.
    fn take(&self, request: http::Request<Incoming>) -> (Request, Option<Fault>) {
        let (mut parts, incoming) = request.into_parts();
        let limits = &self.shared.limits;
        let authority = authority(&parts);
        let target = parts
            .uri
            .path_and_query()
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/"));
        let length = incoming.size_hint().exact();
        let fault = if parts.headers.len() > limits.header_count {
            Some(Fault::TooManyFields)
        } else if target.as_str().len() as u64 > limits.target_size {
            Some(Fault::TargetTooLong)
        } else if length.is_some_and(|length| length > limits.body_size) {
            Some(Fault::BodyTooLarge)
        } else {
            authority.as_ref().err().copied()
        };
        parts.headers.remove(header::TRANSFER_ENCODING);
        parts.headers.remove(header::CONTENT_LENGTH);
        let body = if incoming.is_end_stream() {
            RequestBody::Empty
        } else {
            let body = ReceivedBody {
                incoming,
                left: limits.body_size,
                dribble: Dribble::new(limits),
            };
            RequestBody::Stream {
                body: BodyExt::boxed_unsync(body),
                len: length,
            }
        };
        let request = Request {
            method: parts.method,
            scheme: if self.secure {
                Scheme::HTTPS
            } else {
                Scheme::HTTP
            },
            authority: authority.ok().flatten(),
            target,
            headers: parts.headers,
            body,
            protocol: Protocol::H1,
            peer: self.peer,
            received: Instant::now(),
            // hyper has no way to send them, but for the 100 that it sends by itself on HTTP/1.1.
            interim: Interim::default(),
        };
        (request, fault)
    }
}

/// The authority a request is for.
fn authority(parts: &http::request::Parts) -> Result<Option<Authority>, Fault> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(
            host.to_str()
                .ok()
                .and_then(|h| h.parse::<Authority>().ok())
                .ok_or(Fault::BadHost)?,
        ),
        (None, _) => None,
        (Some(_), Some(_)) => return Err(Fault::BadHost),
    };
    if host
        .as_ref()
        .is_some_and(|host| host.as_str().contains('@'))
    {
        return Err(Fault::BadHost);
    }
    match (parts.uri.authority(), host) {
        // An absolute target wins (RFC 9112 §3.2.2).
        (Some(authority), _) if authority.as_str().contains('@') => Err(Fault::BadHost),
        (Some(authority), _) => Ok(Some(authority.clone())),
        (None, Some(host)) => Ok(Some(host)),
        (None, None) if parts.version == http::Version::HTTP_10 => Ok(None),
        (None, None) => Err(Fault::BadHost),
    }
}

/// A request's body under its size limit and stall timeout.
struct ReceivedBody {
    incoming: Incoming,
    left: u64,
    dribble: Dribble,
}

impl http_body::Body for ReceivedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) else {
            ready!(this.dribble.poll_late(cx));
            return Poll::Ready(Some(Err(BodyError::Client(
                "the request's body stalled".into(),
            ))));
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                this.dribble.came(length);
                match this.left.checked_sub(length) {
                    Some(left) => {
                        this.left = left;
                        Some(Ok(frame))
                    }
                    None => Some(Err(BodyError::Client(
                        "the request's body is over its limit".into(),
                    ))),
                }
            }
            Some(Err(e)) => Some(Err(BodyError::Client(e.to_string()))),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// A response's body on its way out. The exchange ends with its last byte, not when hyper lets go
/// of it: a connection must count as idle from then on.
pub(crate) struct SentBody {
    body: Body,
    exchange: Option<Exchange>,
}

impl SentBody {
    fn wait_for_us(&mut self, waits: bool) {
        if let Some(exchange) = &mut self.exchange {
            exchange.wait_for_us(waits);
        }
    }

    /// Notes what leaves.
    fn note(&mut self, frame: Option<&Result<Frame<Bytes>, BodyError>>) {
        let Some(exchange) = &mut self.exchange else {
            return;
        };
        let last = match frame {
            Some(Ok(frame)) => {
                exchange.sent(frame.data_ref().map_or(0, Bytes::len));
                frame.is_trailers() || self.body.is_end_stream() || self.body.len() == Some(0)
            }
            Some(Err(_)) => false,
            None => true,
        };
        if last {
            exchange.complete();
            self.exchange = None;
        }
    }
}

impl http_body::Body for SentBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            this.wait_for_us(true);
            return Poll::Pending;
        };
        this.wait_for_us(false);
        this.note(frame.as_ref());
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
