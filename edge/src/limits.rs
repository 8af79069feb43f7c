//! The one table of limits and timeouts towards clients. Every queue, buffer and wait of the
//! listeners is bounded by an entry here; the text of each says what it protects.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units;

/// Limits and timeouts towards clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    /// From the first byte to the end of the TLS or QUIC handshake; slower clients are cut off.
    /// 5 s.
    #[serde(with = "units::duration")]
    pub handshake: Duration,
    /// From a connection's or request's first byte to its complete head: slowloris. 10 s.
    #[serde(with = "units::duration")]
    pub header: Duration,
    /// A connection on which no request is under way is closed after this, whatever pings it gets.
    /// 60 s (HTTP/3 without pings: at most 30 s, since an idle QUIC connection costs more memory).
    #[serde(with = "units::duration")]
    pub idle: Duration,
    /// A request body or response on which the client makes no progress at all for this long is
    /// cut off: its connection on HTTP/1.1, its stream on HTTP/2 and 3, and an HTTP/2 connection on
    /// which nothing moves. 30 s: players that pause reading come back with a range request.
    #[serde(with = "units::duration")]
    pub stall: Duration,
    /// A client that has something to read must take it at no less than this many bytes per
    /// second, averaged over `stall`; a request's body must come so fast while it is waited for.
    /// 512 B/s.
    #[serde(with = "units::size")]
    pub min_rate: u64,
    /// After a drain began, connections still open are cut off after this. 30 s.
    #[serde(with = "units::duration")]
    pub drain: Duration,
    /// From readiness failing to the drain's beginning: how long balancers need to notice. 0 s.
    #[serde(with = "units::duration")]
    pub drain_delay: Duration,
    /// In a drain, how long an HTTP/1.1 connection may still ask for something: that answer says
    /// that it was the last. Longer than players pause between segments, so that none meets a
    /// closed connection. 5 s.
    #[serde(with = "units::duration")]
    pub drain_idle: Duration,
    /// Field section of a request, request line included, as the protocol counts it (RFC 9113
    /// §6.5.2, RFC 9114 §4.2.2). 16 KiB.
    #[serde(with = "units::size")]
    pub header_size: u64,
    /// Fields of a request. 100.
    pub header_count: usize,
    /// Bytes of one request's target (path and query, tokens included). 8 KiB.
    #[serde(with = "units::size")]
    pub target_size: u64,
    /// Bytes of one request's body. 64 MiB.
    #[serde(with = "units::size")]
    pub body_size: u64,
    /// Concurrent requests on an HTTP/2 or HTTP/3 connection. 100.
    pub streams: u32,
    /// HTTP/2 streams a client may make us reset by breaking rules, times eight, at once; 20 more each
    /// second (CVE-2025-8671). 20.
    pub pending_resets: usize,
    /// Requests a client may cancel on one HTTP/2 or HTTP/3 connection at once; 20 more each second.
    /// Players cancel what they have in flight when somebody skips. 500.
    pub resets: u32,
    /// HTTP/2 frames that ask for nothing (pings, settings, window updates, empty data) a client may
    /// send at once; 50 more each second, 8 by each request, 1 by each KiB moved. 1,000.
    pub h2_control: u32,
    /// Bytes that one HTTP/3 stream may hold unread: its receive window. 64 KiB.
    #[serde(with = "units::size")]
    pub h3_stream_window: u64,
    /// Bytes that all streams of one HTTP/3 connection may hold unread. 256 KiB.
    #[serde(with = "units::size")]
    pub h3_connection_window: u64,
    /// Bytes of bodies handed to one QUIC connection and not yet acknowledged. They are shared with
    /// the cache, so this bounds what a slow reader pins. 1 MiB.
    #[serde(with = "units::size")]
    pub h3_send_window: u64,
    /// Bytes of frames that one HTTP/3 request may spend before its head is complete, unknown
    /// frames included. 32 KiB.
    #[serde(with = "units::size")]
    pub h3_unresolved: u64,
    /// Bytes of frames on a client's HTTP/3 control and QPACK streams over the connection's life.
    /// 64 KiB.
    #[serde(with = "units::size")]
    pub h3_control: u64,
    /// Client connections, all protocols. 16,384.
    pub connections: usize,
    /// Connections of one client: an IPv4 address or an IPv6 /64. 2,048.
    pub connections_per_client: usize,
    /// Requests of one client a second on average, an IPv4 address or an IPv6 /64, over all its
    /// connections; more are answered with 429. 0: any number.
    pub requests_per_client: u32,
    /// Requests of one client at once, where `requests_per_client` is set. 200.
    pub requests_burst: u32,
    /// QUIC handshakes under way above which clients must first prove their address (Retry). 256.
    pub retry_above: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            header: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            min_rate: 512,
            drain: Duration::from_secs(30),
            drain_delay: Duration::ZERO,
            drain_idle: Duration::from_secs(5),
            header_size: 16 << 10,
            header_count: 100,
            target_size: 8 << 10,
            body_size: 64 << 20,
            streams: 100,
            pending_resets: 20,
            resets: 500,
            h2_control: 1_000,
            h3_stream_window: 64 << 10,
            h3_connection_window: 256 << 10,
            h3_send_window: 1 << 20,
            h3_unresolved: 32 << 10,
            h3_control: 64 << 10,
            connections: 16_384,
            connections_per_client: 2_048,
            requests_per_client: 0,
            requests_burst: 200,
            retry_above: 256,
        }
    }
}

impl Limits {
    /// What is out of range, one sentence each.
    pub(crate) fn faults(&self, faults: &mut Vec<String>) {
        let durations = [
            ("handshake", self.handshake),
            ("header", self.header),
            ("idle", self.idle),
            ("stall", self.stall),
            ("drain", self.drain),
        ];
        for (name, duration) in durations {
            if duration.is_zero() || duration > Duration::from_secs(3600) {
                faults.push(format!("limits.{name} must be between 1ms and 1h"));
            }
        }
        for (name, duration) in [
            ("drain-delay", self.drain_delay),
            ("drain-idle", self.drain_idle),
        ] {
            if duration > Duration::from_secs(3600) {
                faults.push(format!("limits.{name} must be at most 1h"));
            }
        }
        let sizes = [
            ("header-size", self.header_size, 8 << 10, 1 << 20),
            ("target-size", self.target_size, 256, 64 << 10),
            (
                "h3-stream-window",
                self.h3_stream_window,
                16 << 10,
                16 << 20,
            ),
            (
                "h3-connection-window",
                self.h3_connection_window,
                self.h3_stream_window,
                64 << 20,
            ),
            ("h3-send-window", self.h3_send_window, 64 << 10, 64 << 20),
            (
                "h3-unresolved",
                self.h3_unresolved,
                self.header_size,
                4 << 20,
            ),
            ("h3-control", self.h3_control, 1 << 10, 16 << 20),
            ("header-count", self.header_count as u64, 16, 1_000),
            ("streams", u64::from(self.streams), 1, 10_000),
            ("resets", u64::from(self.resets), 10, 1 << 20),
            ("h2-control", u64::from(self.h2_control), 100, 1 << 20),
            (
                "requests-per-client",
                u64::from(self.requests_per_client),
                0,
                1_000_000,
            ),
            (
                "requests-burst",
                u64::from(self.requests_burst),
                1,
                1_000_000,
            ),
            ("connections", self.connections as u64, 1, 1 << 24),
            (
                "connections-per-client",
                self.connections_per_client as u64,
                1,
                self.connections as u64,
            ),
        ];
        for (name, value, low, high) in sizes {
            if !(low..=high).contains(&value) {
                faults.push(format!(
                    "limits.{name} is {value}; it must be between {low} and {high}"
                ));
            }
        }
    }
}
