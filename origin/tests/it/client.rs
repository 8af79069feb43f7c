//! A plain HTTP client.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper_util::{
    client::legacy::{Client as Hyper, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

#[derive(Clone, Debug)]
pub(crate) struct Client {
    base: String,
    hyper: Hyper<HttpConnector, Body>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Client {
    pub(crate) fn new(addr: std::net::SocketAddr) -> Self {
        let hyper = Hyper::builder(TokioExecutor::new()).build_http();
        Self {
            base: format!("http://{addr}"),
            hyper,
        }
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self
            .hyper
            .request(request.body(body.into()).unwrap())
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Body::empty()).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, path, headers, Body::empty()).await
    }

    /// Sends JSON and reads JSON.
    pub(crate) async fn json(
        &self,
        method: Method,
        path: &str,
        body: Value,
    ) -> (StatusCode, Value) {
        let headers = [("content-type", "application/json")];
        let answer = self.send(method, path, &headers, body.to_string()).await;
        let status = StatusCode::from_u16(answer.status).unwrap();
        let value = if answer.body.is_empty() {
            Value::Null
        } else {
            answer.json()
        };
        (status, value)
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// The code of an error, after checking its form.
    pub(crate) fn error_code(&self) -> String {
        let error = self.json()["error"].clone();
        assert!(error["message"].as_str().unwrap().len() > 5, "{error}");
        error["code"].as_str().unwrap().to_owned()
    }
}
