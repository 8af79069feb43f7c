//! HTTP as an outsider speaks it: one `curl` a request, so that no code of ours is on both sides.

use std::fmt;

use serde_json::Value;

use crate::tools;

/// Which protocol to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    Http2,
}

/// A request about to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    url: String,
    args: Vec<String>,
}

/// A whole answer.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) version: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(300)]);
        write!(
            f,
            "{} {} {:?} {body:?}",
            self.version, self.status, self.headers
        )
    }
}

/// `GET url`, HTTP/1.1 unless said otherwise.
pub(crate) fn get(url: impl Into<String>) -> Request {
    Request {
        url: url.into(),
        args: vec!["--http1.1".into()],
    }
}

impl Request {
    pub(crate) fn version(mut self, version: Version) -> Self {
        self.args[0] = match version {
            Version::Http1 => "--http1.1".into(),
            Version::Http2 => "--http2".into(),
        };
        self
    }

    pub(crate) fn method(self, method: &str) -> Self {
        match method {
            "HEAD" => self.arg("--head"),
            _ => self.arg("--request").arg(method),
        }
    }

    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        self.arg("--header").arg(format!("{name}: {value}"))
    }

    /// `range` as in the header, without `bytes=`.
    pub(crate) fn range(self, range: &str) -> Self {
        self.header("Range", &format!("bytes={range}"))
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json")
            .arg("--data")
            .arg(body.to_string())
    }

    fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Sends it; panics where no answer comes.
    pub(crate) fn send(self) -> Response {
        self.try_send().unwrap_or_else(|e| panic!("{e}"))
    }

    /// Sends it; an error where no answer comes.
    pub(crate) fn try_send(self) -> Result<Response, String> {
        let mut curl = tools::command("curl");
        // --path-as-is: what a test asks for is what is sent.
        curl.args([
            "--silent",
            "--show-error",
            "--insecure",
            "--include",
            "--path-as-is",
        ])
        .args(["--globoff", "--max-time", "30"])
        .args(&self.args)
        .arg(&self.url);
        let output = curl.output().map_err(|e| e.to_string())?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{}: {}", self.url, words.trim()));
        }
        Ok(parse(&output.stdout))
    }
}

fn parse(mut bytes: &[u8]) -> Response {
    loop {
        let end = bytes
            .windows(4)
            .position(|w| w == b"\r\n\r\n")
            .unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let body = &bytes[end + 4..];
        let mut lines = head.lines();
        let mut first = lines.next().unwrap().split(' ');
        let version = first.next().unwrap().to_owned();
        let status = first.next().unwrap().parse().unwrap();
        if (100..200).contains(&status) {
            bytes = body;
            continue;
        }
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        return Response {
            status,
            version,
            headers,
            body: body.to_vec(),
        };
    }
}

impl Response {
    /// The first header of that (lower-case) name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// The body as JSON; panics with the answer where it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {self:?}"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Itself, if the status is this one; panics with the answer otherwise.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}
