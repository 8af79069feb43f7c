//! `segue edge`: a cache node in front of any origin. Flags over environment over file.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args as ClapArgs;
use edge::{
    Config,
    config::{AccessLog, KeysetSource},
    units::parse_size,
};

use crate::{config::File, data::write_whole, shutdown};

/// What `segue edge` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// The origin: http://host:port, https://host (HTTP/2 where offered), h2c://host:port (HTTP/2 in
    /// the clear) or s3://bucket/prefix?endpoint=URL. May be given several times; the environment
    /// has them with spaces between.
    #[arg(
        long,
        env = "SEGUE_UPSTREAM",
        value_name = "URL",
        value_delimiter = ' '
    )]
    upstream: Vec<String>,

    /// Path that is asked for to see whether an origin is up [default: no checks].
    #[arg(long, env = "SEGUE_HEALTH_PATH", value_name = "PATH")]
    health_path: Option<String>,

    /// Plaintext HTTP/1.1 and HTTP/2 (prior knowledge), for local use and behind a balancer
    /// [default: 127.0.0.1:8080 where --https is not given either].
    #[arg(long, env = "SEGUE_HTTP", value_name = "ADDR")]
    http: Option<SocketAddr>,

    /// TLS 1.3: HTTP/1.1 and HTTP/2 over TCP, HTTP/3 over UDP.
    #[arg(long, env = "SEGUE_HTTPS", value_name = "ADDR")]
    https: Option<SocketAddr>,

    /// Health, metrics and purge; keep it private.
    #[arg(long, env = "SEGUE_ADMIN", value_name = "ADDR")]
    admin: Option<SocketAddr>,

    /// Bearer token for purges; required where --admin is not a loopback address.
    #[arg(
        long,
        env = "SEGUE_ADMIN_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    admin_token: Option<String>,

    /// Certificate chain in PEM [default: a development certificate, made on first start].
    #[arg(long, env = "SEGUE_CERT", value_name = "PEM")]
    cert: Option<PathBuf>,

    /// Private key in PEM.
    #[arg(long, env = "SEGUE_KEY", value_name = "PEM")]
    key: Option<PathBuf>,

    /// Memory for cached bodies: 256MiB, 4GiB [default: 256MiB].
    #[arg(long, env = "SEGUE_MEMORY", value_name = "SIZE", value_parser = parse_size)]
    memory: Option<u64>,

    /// Directory for cached bodies on disk [default: memory only].
    #[arg(long, env = "SEGUE_DISK", value_name = "DIR")]
    disk: Option<PathBuf>,

    /// Disk for cached bodies [default: 10GiB].
    #[arg(long, env = "SEGUE_DISK_SIZE", value_name = "SIZE", value_parser = parse_size)]
    disk_size: Option<u64>,

    /// Keyset that tokens are verified with [default: no tokens, everything is open].
    #[arg(long, env = "SEGUE_KEYSET", value_name = "FILE")]
    keyset: Option<PathBuf>,

    /// Path prefix that needs a token once there is a keyset; may be given several times
    /// [default: /media/ and /v1/].
    #[arg(long, value_name = "PREFIX")]
    protect: Vec<String>,

    /// Where the development certificate and the purge log are kept [default: ./segue-edge].
    #[arg(long, env = "SEGUE_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// Access log, one JSON object a request: a file, `-` for standard output [default: none].
    #[arg(long, env = "SEGUE_ACCESS_LOG", value_name = "FILE")]
    access_log: Option<PathBuf>,

    /// TOML file with an [edge] table; flags and environment override it.
    #[arg(long, env = "SEGUE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// Write the addresses as JSON to this file once everything answers.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

/// Runs until SIGINT or SIGTERM, then drains.
///
/// # Errors
/// Where the configuration has faults or an address can't be bound.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let ready_file = args.ready_file.clone();
    let config = resolve(args)?;
    if let Err(faults) = config.validate() {
        anyhow::bail!("the configuration has faults:\n  {}", faults.0.join("\n  "));
    }
    let cancel = shutdown::on_signals()?;
    let server = edge::Server::bind(config).await?;
    let addrs = server.addrs();
    tracing::info!(http = ?addrs.http, https = ?addrs.https, admin = ?addrs.admin, "edge is ready");
    if let Some(file) = ready_file {
        let url = |scheme: &str, addr: Option<SocketAddr>| addr.map(|a| format!("{scheme}://{a}"));
        let ready = serde_json::json!({
            "http": url("http", addrs.http),
            "https": url("https", addrs.https),
            "admin": url("http", addrs.admin),
        });
        write_whole(&file, &serde_json::to_vec(&ready)?)?;
    }
    Ok(server.run(cancel).await?)
}

fn resolve(args: Args) -> anyhow::Result<Config> {
    let mut config = match &args.config {
        Some(path) => File::read(path)?.edge.unwrap_or_default(),
        None => Config::default(),
    };
    set_upstreams(&mut config, args.upstream);
    if let Some(path) = args.health_path {
        config.upstreams.health.path = Some(path);
    }
    set(&mut config.memory, args.memory);
    set(&mut config.disk_size, args.disk_size);
    set(&mut config.state_dir, args.state_dir);
    config.http = args.http.or(config.http);
    config.https = args.https.or(config.https);
    config.admin = args.admin.or(config.admin);
    config.cert = args.cert.or(config.cert);
    config.key = args.key.or(config.key);
    config.disk = args.disk.or(config.disk);
    if let Some(token) = args.admin_token {
        config.admin_token = Some(token.into());
    }
    if let Some(path) = args.keyset {
        config.keyset = KeysetSource::File(path);
    }
    if !args.protect.is_empty() {
        config.protect = args.protect;
    }
    if let Some(path) = args.access_log {
        config.access_log = if path.as_os_str() == "-" {
            AccessLog::Stdout
        } else {
            AccessLog::File(path)
        };
    }
    if config.http.is_none() && config.https.is_none() {
        config.http = Some(SocketAddr::from(([127, 0, 0, 1], 8080)));
    }
    Ok(config)
}

/// Flags replace whatever origins a file names.
fn set_upstreams(config: &mut Config, urls: Vec<String>) {
    match urls.as_slice() {
        [] => {}
        [one] => {
            config.upstream.clone_from(one);
            config.upstreams.origins.clear();
        }
        several => {
            config.upstream.clear();
            config.upstreams.origins = several.iter().map(|url| url.as_str().into()).collect();
        }
    }
}

fn set<T>(field: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *field = given;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn configured(flags: &[&str]) -> Config {
        let flags = ["edge"].iter().chain(flags);
        resolve(Cli::try_parse_from(flags).unwrap().args).unwrap()
    }

    #[test]
    fn one_upstream_or_several() {
        let one = configured(&["--upstream", "http://a", "--health-path", "/healthz"]);
        assert_eq!(one.upstream, "http://a");
        assert_eq!(one.upstreams.health.path.as_deref(), Some("/healthz"));
        let two = configured(&["--upstream", "http://a", "--upstream", "s3://b?region=eu"]);
        let urls: Vec<_> = two.upstreams.origins.iter().map(|o| &o.url).collect();
        assert_eq!(urls, ["http://a", "s3://b?region=eu"]);
        assert!(two.validate().is_ok());
    }

    #[test]
    fn flags_replace_the_origins_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("edge.toml");
        let text = "[edge.upstreams]\norigins = ['http://a', { url = 'http://b', weight = 2 }]\n\
                    [edge.upstreams.peers]\ngroup = 'pop'\n";
        std::fs::write(&file, text).unwrap();
        let config = ["--config", file.to_str().unwrap()];
        assert_eq!(configured(&config).upstreams.origins[1].weight, 2);
        let replaced = configured(&[config[0], config[1], "--upstream", "http://c"]);
        assert!(replaced.upstreams.origins.is_empty());
        assert!(replaced.validate().is_ok());
    }
}
