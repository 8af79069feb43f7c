//! Requests counted and timed by route, in Prometheus' text format.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use parking_lot::Mutex;

/// Upper bounds in seconds, those of OpenTelemetry's HTTP conventions.
const BOUNDS_S: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

#[derive(Debug, Default)]
struct Histogram {
    buckets: [u64; BOUNDS_S.len()],
    count: u64,
    sum_s: f64,
}

/// Counters of one origin. Series are bounded: a route is one of the router's, a method one of
/// HTTP's own or `other`.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<(String, &'static str, u16), Histogram>>,
}

impl Metrics {
    /// Counts a request whose headers were answered after `elapsed`.
    pub(crate) fn request(
        &self,
        route: &str,
        method: &http::Method,
        status: u16,
        elapsed: Duration,
    ) {
        let seconds = elapsed.as_secs_f64();
        let mut requests = self.requests.lock();
        let h = requests
            .entry((route.to_owned(), method_name(method), status))
            .or_default();
        h.count += 1;
        h.sum_s += seconds;
        for (bucket, bound) in h.buckets.iter_mut().zip(BOUNDS_S) {
            *bucket += u64::from(seconds <= bound);
        }
    }

    /// All series as text.
    pub(crate) fn render(&self) -> String {
        let name = "http_server_request_duration_seconds";
        let mut out = format!(
            "# HELP {name} Time until the headers of an answer, by route.\n# TYPE {name} histogram\n"
        );
        for ((route, method, status), h) in self.requests.lock().iter() {
            let labels = format!(
                "http_route=\"{route}\",http_request_method=\"{method}\",\
                 http_response_status_code=\"{status}\""
            );
            for (bucket, bound) in h.buckets.iter().zip(BOUNDS_S) {
                let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {bucket}");
            }
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", h.count);
            let _ = writeln!(out, "{name}_sum{{{labels}}} {}", h.sum_s);
            let _ = writeln!(out, "{name}_count{{{labels}}} {}", h.count);
        }
        out
    }
}

fn method_name(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
