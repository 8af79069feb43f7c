//! An edge from flags alone, for benchmarks and conformance suites:
//! `edge --upstream http://127.0.0.1:3000 [--http ADDR] [--https ADDR] [--admin ADDR] [--cert PEM
//! --key PEM] [--heuristic-freshness PERCENT] [--state DIR] [--memory SIZE] [--slice SIZE]
//! [--disk DIR] [--log FILE] [--threads N]`, or bare: `edge UPSTREAM ADDR`.
//!
//! Prints what it is bound to, then serves until SIGINT or SIGTERM.

#![allow(clippy::print_stdout)]

use edge::{Config, Server, config::AccessLog, units::parse_size};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

type Failure = Box<dyn std::error::Error>;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Failure> {
    let (config, threads) = configuration()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> Result<(), Failure> {
    let mut server = Server::bind(config).await?;
    server.set_alone();
    let addrs = server.addrs();
    for (name, address) in [
        ("http", addrs.http),
        ("https", addrs.https),
        ("admin", addrs.admin),
    ] {
        if let Some(address) = address {
            println!("{name} {address}");
        }
    }
    if let Some(hash) = server.spki_hash() {
        println!("spki {hash}");
    }
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        stop.cancel();
    });
    server.run(cancel).await?;
    Ok(())
}

fn configuration() -> Result<(Config, usize), Failure> {
    let mut config = Config::default();
    let mut threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--upstream" if config.upstream.is_empty() && config.upstreams.origins.is_empty() => {
                config.upstream = value;
            }
            "--upstream" => {
                let first = std::mem::take(&mut config.upstream);
                let origins = &mut config.upstreams.origins;
                origins.extend(
                    Some(first)
                        .filter(|url| !url.is_empty())
                        .map(|url| url.as_str().into()),
                );
                origins.push(value.as_str().into());
            }
            "--http" => config.http = Some(value.parse()?),
            "--https" => config.https = Some(value.parse()?),
            "--admin" => config.admin = Some(value.parse()?),
            "--cert" => config.cert = Some(value.into()),
            "--key" => config.key = Some(value.into()),
            "--state" => config.state_dir = value.into(),
            "--memory" => config.memory = parse_size(&value)?,
            "--heuristic-freshness" => config.heuristic_freshness.percent = value.parse()?,
            "--slice" => config.slice = parse_size(&value)?,
            "--disk" => config.disk = Some(value.into()),
            "--log" => config.access_log = AccessLog::File(value.into()),
            "--threads" => threads = value.parse()?,
            upstream if !upstream.starts_with("--") => {
                config.upstream = upstream.into();
                config.http = Some(value.parse()?);
            }
            _ => return Err(format!("unknown flag {flag}").into()),
        }
    }
    if config.http.is_none() && config.https.is_none() {
        config.http = Some(([127, 0, 0, 1], 8080).into());
    }
    Ok((config, threads))
}
