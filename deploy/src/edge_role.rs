//! `segue edge`: a cache node in front of any origin. Flags over environment over file.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use clap::Args as ClapArgs;
use edge::{Control, Handle};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    data::write_whole,
    logging, notify,
    settings::{self, Given, Origin, Settings},
    shutdown,
    upgrade::{self, Program},
};

/// What `segue edge` takes. Values are read where those of file and environment are, so that all
/// faults are reported together.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Args {
    /// The origin: http://host:port, https://host (HTTP/2 where offered), h2c://host:port (HTTP/2 in
    /// the clear) or s3://bucket/prefix?endpoint=URL. May be given several times; the environment
    /// has them with spaces between.
    #[arg(long, value_name = "URL")]
    upstream: Vec<String>,

    /// Path that is asked for to see whether an origin is up [default: no checks].
    #[arg(long, value_name = "PATH")]
    health_path: Option<String>,

    /// Plaintext HTTP/1.1 and HTTP/2 (prior knowledge), for local use and behind a balancer
    /// [default: 127.0.0.1:8080 where --https is not given either].
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,

    /// TLS 1.3: HTTP/1.1 and HTTP/2 over TCP, HTTP/3 over UDP.
    #[arg(long, value_name = "ADDR")]
    https: Option<String>,

    /// Health, metrics and purge; keep it private.
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,

    /// Bearer token of the admin listener; required where --admin is not a loopback address.
    #[arg(long, value_name = "TOKEN")]
    admin_token: Option<String>,

    /// Certificate chain in PEM [default: a development certificate, made on first start].
    #[arg(long, value_name = "PEM")]
    cert: Option<String>,

    /// Private key in PEM.
    #[arg(long, value_name = "PEM")]
    key: Option<String>,

    /// Memory for cached bodies: 256MiB, 4GiB [default: 256MiB].
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,

    /// Directory for cached bodies on disk [default: memory only].
    #[arg(long, value_name = "DIR")]
    disk: Option<String>,

    /// Disk for cached bodies [default: 10GiB].
    #[arg(long, value_name = "SIZE")]
    disk_size: Option<String>,

    /// Keyset that tokens are verified with [default: no tokens, everything is open].
    #[arg(long, value_name = "FILE")]
    keyset: Option<String>,

    /// Path prefix that needs a token once there is a keyset; may be given several times
    /// [default: /media/ and /v1/].
    #[arg(long, value_name = "PREFIX")]
    protect: Vec<String>,

    /// Where the development certificate and the purge log are kept [default: ./segue-edge].
    #[arg(long, value_name = "DIR")]
    state_dir: Option<String>,

    /// Access log, one JSON object a request: a file, `-` for standard output [default: none].
    #[arg(long, value_name = "FILE")]
    access_log: Option<String>,

    /// Any other key of the file's [edge] table, such as limits.idle=30s; may be given several
    /// times. Each is also a variable: SEGUE_EDGE_LIMITS__IDLE.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,

    /// TOML file with an [edge] table; flags and environment override it.
    #[arg(long, env = "SEGUE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// Write the addresses as JSON to this file once everything answers.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

impl Args {
    /// What these flags, the environment and the file come to.
    ///
    /// # Errors
    /// Where the file can't be read.
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        let variables = std::env::vars_os()
            .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)));
        let mut given = settings::from_environment(variables);
        for (key, text) in [
            ("upstreams.health.path", &self.health_path),
            ("http", &self.http),
            ("https", &self.https),
            ("admin", &self.admin),
            ("admin-token", &self.admin_token),
            ("cert", &self.cert),
            ("key", &self.key),
            ("memory", &self.memory),
            ("disk", &self.disk),
            ("disk-size", &self.disk_size),
            ("keyset", &self.keyset),
            ("state-dir", &self.state_dir),
            ("access-log", &self.access_log),
        ] {
            if let Some(text) = text {
                let name = match key {
                    "upstreams.health.path" => "health-path",
                    key => key,
                };
                given.push(flag(key, text, format!("--{name}")));
            }
        }
        if !self.upstream.is_empty() {
            let urls = self.upstream.join(" ");
            given.push(flag("upstream", &urls, "--upstream".into()));
        }
        if !self.protect.is_empty() {
            let list = serde_json::to_string(&self.protect)?;
            given.push(flag("protect", &list, "--protect".into()));
        }
        for set in &self.set {
            let Some((key, text)) = set.split_once('=') else {
                anyhow::bail!("--set {set} is not KEY=VALUE");
            };
            given.push(flag(key.trim(), text, format!("--set {key}")));
        }
        settings::read(self.config.as_deref(), given)
    }

    /// The same, where it has no fault.
    fn sound(&self) -> anyhow::Result<edge::Config> {
        let settings = self.settings()?;
        if settings.faults.is_empty() {
            return Ok(settings.config);
        }
        let faults: Vec<String> = settings.faults.iter().map(ToString::to_string).collect();
        anyhow::bail!("the configuration has faults:\n  {}", faults.join("\n  "));
    }
}

fn flag(key: &str, text: &str, name: String) -> Given {
    Given {
        key: key.to_owned(),
        text: text.to_owned(),
        origin: Origin::Flag(name),
    }
}

/// Runs until SIGINT or SIGTERM, then drains. SIGHUP reads the configuration again, SIGUSR2 hands
/// over to the program as it lies on disk.
///
/// # Errors
/// Where the configuration has faults or an address can't be bound.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let config = args.sound()?;
    let program = Program::this()?;
    let cancel = shutdown::on_signals()?;
    let inherited = tokio::task::spawn_blocking(upgrade::inherit).await??;
    let mut server = edge::Server::take_over(config, inherited).await?;
    server.set_alone();
    let handle = server.handle();
    let steering = Arc::new(Steering {
        args: args.clone(),
        handle: handle.clone(),
        program,
    });
    server.set_control(Arc::clone(&steering) as Arc<dyn Control>);
    on_hangup(Arc::clone(&steering))?;
    on_upgrade(steering)?;
    let addrs = server.addrs();
    tracing::info!(http = ?addrs.http, https = ?addrs.https, admin = ?addrs.admin, "edge is ready");
    if let Some(file) = &args.ready_file {
        announce(file, addrs)?;
    }
    notify::ready();
    let stopped = cancel.clone();
    tokio::spawn(async move {
        // After an upgrade the service goes on in another process.
        stopped.cancelled().await;
        notify::stopping();
    });
    Ok(server.run(cancel).await?)
}

/// Writes where it listens.
fn announce(file: &Path, addrs: edge::Addrs) -> anyhow::Result<()> {
    let url = |scheme: &str, addr: Option<SocketAddr>| addr.map(|a| format!("{scheme}://{a}"));
    let ready = serde_json::json!({
        "http": url("http", addrs.http),
        "https": url("https", addrs.https),
        "admin": url("http", addrs.admin),
        "pid": std::process::id(),
    });
    write_whole(file, &serde_json::to_vec(&ready)?)
}

/// What the edge's operator asks of this process.
struct Steering {
    args: Args,
    handle: Handle,
    program: Program,
}

#[async_trait]
impl Control for Steering {
    async fn reload(&self) -> Result<(), String> {
        let (args, handle) = (self.args.clone(), self.handle.clone());
        let reloaded = tokio::task::spawn_blocking(move || {
            let config = args.sound().inspect_err(|e| handle.refused(e));
            let config = config.map_err(|e| e.to_string())?;
            handle.reload(config).map_err(|e| e.to_string())
        });
        reloaded.await.map_err(|e| e.to_string())?
    }

    async fn upgrade(&self) -> Result<(), String> {
        let (program, handle) = (self.program.clone(), self.handle.clone());
        let replaced = tokio::task::spawn_blocking(move || program.replace(&handle)).await;
        let replaced = replaced.map_err(anyhow::Error::from).and_then(|done| done);
        replaced
            .inspect_err(|error| tracing::error!(%error, "not upgraded; this process goes on"))
            .map_err(|e| e.to_string())
    }

    fn log_level(&self) -> Result<String, String> {
        Ok(logging::level())
    }

    fn set_log_level(&self, filter: &str) -> Result<(), String> {
        logging::set_level(filter).map_err(|e| e.to_string())
    }
}

/// Upgrades at SIGUSR2.
fn on_upgrade(steering: Arc<Steering>) -> anyhow::Result<()> {
    let mut asked = signal(SignalKind::user_defined2())?;
    tokio::spawn(async move {
        while asked.recv().await.is_some() {
            // What went wrong is in the log.
            let _ = steering.upgrade().await;
        }
    });
    Ok(())
}

/// Reloads at each SIGHUP, one after another.
fn on_hangup(steering: Arc<Steering>) -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            // What is wrong is in the log and in the metrics.
            let _ = steering.reload().await;
        }
    });
    Ok(())
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

    fn configured(flags: &[&str]) -> edge::Config {
        let flags = ["edge"].iter().chain(flags);
        let args = Cli::try_parse_from(flags).unwrap().args;
        args.settings().unwrap().config
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
