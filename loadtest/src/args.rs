//! What a run is asked to do.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use clap::ValueEnum;

/// Longest run, so that a forgotten one ends.
const MAX_DURATION: Duration = Duration::from_secs(24 * 3600);
/// Most requests in flight.
const MAX_IN_FLIGHT: usize = 20_000;

/// HTTP version to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// HTTP/1.1.
    H1,
    /// HTTP/2, by ALPN or with prior knowledge.
    H2,
    /// HTTP/3.
    H3,
}

impl Protocol {
    /// The version's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::H1 => "h1",
            Self::H2 => "h2",
            Self::H3 => "h3",
        }
    }
}

/// How requests are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Random ranges, as fast as answers come or at a given rate.
    Range,
    /// Listeners: each connection plays tracks, a start range and then segment by segment.
    Player,
}

/// Fetch like players do, and print latency percentiles and throughput.
///
/// TARGET is the URL of one object, or the address of a Segue edge, whose catalogue is then used.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// URL of an object, or the base URL of a Segue edge
    #[arg(value_name = "TARGET", required_unless_present = "catalog")]
    pub target: Option<String>,
    /// Base URL of a Segue edge whose catalogue to play
    #[arg(long, value_name = "URL", conflicts_with = "target")]
    pub catalog: Option<String>,
    /// HTTP version [default: h2 for https, h1 for http]
    #[arg(long, value_enum)]
    pub protocol: Option<Protocol>,
    /// How requests are chosen
    #[arg(long, value_enum, default_value = "range")]
    pub mode: Mode,
    /// Connections; in player mode, listeners
    #[arg(long, alias = "concurrency", default_value_t = 8, value_name = "N")]
    pub connections: usize,
    /// Requests in flight on each connection [default: 1 on h1, else 4]
    #[arg(long, value_name = "N")]
    pub streams: Option<usize>,
    /// How long to run
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub duration: Duration,
    /// Stop after that many requests
    #[arg(long, value_name = "N")]
    pub requests: Option<u64>,
    /// Bytes a request
    #[arg(long, default_value = "64KiB", value_parser = parse_size, value_name = "SIZE")]
    pub range_size: u64,
    /// Requests a second over all connections, started on time whether or not answers come
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,
    /// Longest wait for one answer
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// Rendition to fetch from the catalogue
    #[arg(long, default_value = "opus-96", value_name = "ID")]
    pub rendition: String,
    /// Player mode: times faster than real time
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    pub speed: f64,
    /// Player mode: seconds of sound to keep ahead
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS")]
    pub buffer: f64,
    /// Access token to send as a header
    #[arg(long, env = "SEGUE_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Accept any certificate
    #[arg(long, conflicts_with = "ca")]
    pub insecure: bool,
    /// Certificates to trust, PEM
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Fetch each object whole first, and compare every range with it
    #[arg(long)]
    pub verify: bool,
    /// Seed of what is random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Allow targets other than this machine. Only aim at what is yours
    #[arg(long)]
    pub allow_remote: bool,
    /// Print the report as JSON, and nothing else
    #[arg(long)]
    pub json: bool,
}

impl Args {
    /// Arguments for one target, everything else as by default.
    pub fn new(target: impl Into<String>) -> Self {
        use clap::{Args as _, FromArgMatches as _};
        let command = Self::augment_args(clap::Command::new("loadtest"));
        let matches = command.try_get_matches_from(["loadtest".to_owned(), target.into()]);
        let args = matches.and_then(|matches| Self::from_arg_matches(&matches));
        // The defaults are constants of this file.
        args.unwrap_or_else(|e| unreachable!("{e}"))
    }

    /// Requests in flight on each connection.
    pub(crate) fn streams(&self, protocol: Protocol) -> usize {
        self.streams
            .unwrap_or(if protocol == Protocol::H1 { 1 } else { 4 })
    }

    pub(crate) fn check(&self, protocol: Protocol) -> anyhow::Result<()> {
        let streams = self.streams(protocol);
        ensure!(
            self.connections > 0 && streams > 0,
            "--connections and --streams start at 1"
        );
        ensure!(
            protocol != Protocol::H1 || streams == 1,
            "HTTP/1.1 has one stream a connection: use --connections"
        );
        ensure!(
            self.connections * streams <= MAX_IN_FLIGHT,
            "at most {MAX_IN_FLIGHT} requests in flight"
        );
        ensure!(
            !self.duration.is_zero() && self.duration <= MAX_DURATION,
            "--duration lies between 1ms and 24h"
        );
        ensure!(
            !self.timeout.is_zero() && self.timeout <= MAX_DURATION,
            "--timeout lies between 1ms and 24h"
        );
        ensure!(self.range_size > 0, "--range-size starts at 1");
        let positive = |value: f64| value.is_finite() && value > 0.0;
        ensure!(self.rate.is_none_or(positive), "--rate must be above 0");
        ensure!(
            positive(self.speed) && positive(self.buffer),
            "--speed and --buffer must be above 0"
        );
        ensure!(
            self.mode == Mode::Range || self.rate.is_none(),
            "listeners set their own pace: no --rate"
        );
        Ok(())
    }
}

/// Reads `65536`, `64KiB`, `1MiB`, `1MB`.
fn parse_size(text: &str) -> anyhow::Result<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        other => anyhow::bail!("`{other}` is no unit; use KiB, MiB, GiB, kB, MB or GB"),
    };
    let count: u64 = digits
        .trim()
        .parse()
        .context("expected a size like 64KiB")?;
    count.checked_mul(unit).context("too large")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Args, Mode, Protocol, parse_size};

    #[test]
    fn sizes() {
        assert_eq!(parse_size("64KiB").unwrap(), 65_536);
        assert_eq!(parse_size("1 MB").unwrap(), 1_000_000);
        assert_eq!(parse_size("7").unwrap(), 7);
        assert!(
            parse_size("KiB").is_err() && parse_size("1XB").is_err() && parse_size("-1").is_err()
        );
    }

    #[test]
    fn nonsense_is_refused() {
        let args = Args::new("http://127.0.0.1/x");
        assert!(args.check(Protocol::H1).is_ok());
        assert!(
            Args {
                streams: Some(2),
                ..args.clone()
            }
            .check(Protocol::H1)
            .is_err()
        );
        assert!(
            Args {
                streams: Some(2),
                ..args.clone()
            }
            .check(Protocol::H3)
            .is_ok()
        );
        assert!(
            Args {
                connections: 0,
                ..args.clone()
            }
            .check(Protocol::H1)
            .is_err()
        );
        assert!(
            Args {
                rate: Some(0.0),
                ..args.clone()
            }
            .check(Protocol::H1)
            .is_err()
        );
        assert!(
            Args {
                rate: Some(1.0),
                mode: Mode::Player,
                ..args.clone()
            }
            .check(Protocol::H1)
            .is_err()
        );
        assert!(
            Args {
                speed: f64::NAN,
                ..args
            }
            .check(Protocol::H1)
            .is_err()
        );
    }
}
