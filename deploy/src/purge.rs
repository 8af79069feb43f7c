//! `segue purge`: drop cached responses from a running edge, by its admin listener.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args as ClapArgs;
use edge::exchange::Purge;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use manifests::TrackId;
use serde_json::{Value, json};

use crate::data::DataDir;

/// Most bytes of an admin answer that are read.
const ANSWER_LIMIT: usize = 8 << 20;

/// How long an admin listener may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What `segue purge` takes.
#[derive(Debug, ClapArgs)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(false)))]
pub(crate) struct Args {
    /// One URL's path, with its query: /media/…/opus-96.mp4
    #[arg(long, group = "what", value_name = "PATH")]
    url: Option<String>,

    /// Every path that begins so: /media/t0123…/
    #[arg(long, group = "what", value_name = "PATH")]
    prefix: Option<String>,

    /// Every response with that word in its Surrogate-Key field: track/t0123…
    #[arg(long, group = "what", value_name = "KEY")]
    key: Option<String>,

    /// Mark as stale instead of dropping: the upstream is asked, and stale copies stand in while
    /// it fails.
    #[arg(long)]
    soft: bool,

    /// The edge's admin URL [default: of the stack of the data directory].
    #[arg(long, env = "SEGUE_ADMIN", value_name = "URL")]
    admin: Option<String>,

    /// The admin listener's token, where it has one.
    #[arg(
        long,
        env = "SEGUE_ADMIN_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,

    /// The stack's data directory [default: ~/.local/share/segue].
    #[arg(long, env = "SEGUE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Purges; when it returns, the edge has made it durable and in force.
///
/// # Errors
/// Where no edge answers, or it refuses.
#[expect(clippy::print_stdout, reason = "the command's result")]
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let admin = match args.admin {
        Some(admin) => admin,
        None => {
            let data = DataDir::open(args.data)?;
            let running = data.running().with_context(|| {
                format!(
                    "nothing runs on {}; say which edge with --admin URL",
                    data.path().display()
                )
            })?;
            running.admin
        }
    };
    let what = match (&args.url, &args.prefix, &args.key) {
        (Some(url), _, _) => serde_json::json!({ "url": url, "soft": args.soft }),
        (_, Some(prefix), _) => serde_json::json!({ "prefix": prefix, "soft": args.soft }),
        (_, _, key) => serde_json::json!({ "surrogate-key": key, "soft": args.soft }),
    };
    let (status, body) = http_call(
        "POST",
        &admin,
        "/purge",
        args.token.as_deref(),
        Some(what.to_string()),
    )
    .await?;
    anyhow::ensure!(
        (200..300).contains(&status),
        "the edge answered {status}: {}",
        body.trim()
    );
    println!("purged");
    Ok(())
}

/// What a track's responses are found by: the key that the origin gives them, and their paths, for
/// edges in front of something that gives none.
pub(crate) fn of_track(track: &TrackId) -> [Purge; 4] {
    [
        Purge::SurrogateKey(format!("track/{track}")),
        Purge::Prefix(format!("/media/{track}/")),
        Purge::Prefix(format!("/v1/tracks/{track}/")),
        Purge::Prefix(format!("/api/v1/covers/{track}/")),
    ]
}

/// A hard purge as the admin listener takes it.
pub(crate) fn to_json(what: &Purge) -> Value {
    match what {
        Purge::Url(url) => json!({ "url": url }),
        Purge::Prefix(prefix) => json!({ "prefix": prefix }),
        Purge::SurrogateKey(key) => json!({ "surrogate-key": key }),
        Purge::All => json!({ "all": true }),
    }
}

/// One call to an admin listener: status and body as text.
///
/// # Errors
/// Where nothing answers within 10 s or the answer is larger than 8 MiB.
pub(crate) async fn http_call(
    method: &str,
    base: &str,
    path: &str,
    token: Option<&str>,
    json: Option<String>,
) -> anyhow::Result<(u16, String)> {
    http_call_within(PATIENCE, method, base, path, token, json).await
}

/// The same with another patience.
///
/// # Errors
/// As above.
pub(crate) async fn http_call_within(
    patience: Duration,
    method: &str,
    base: &str,
    path: &str,
    token: Option<&str>,
    json: Option<String>,
) -> anyhow::Result<(u16, String)> {
    let url = format!("{}{path}", base.trim_end_matches('/'));
    let mut request = hyper::Request::builder()
        .method(method)
        .uri(&url)
        .header("content-type", "application/json");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request
        .body(Full::new(Bytes::from(json.unwrap_or_default())))
        .with_context(|| format!("{url} is no URL"))?;
    let call = async {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let answer = client.request(request).await?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), ANSWER_LIMIT)
            .collect()
            .await
            .map_err(|e| anyhow::anyhow!(e))?
            .to_bytes();
        anyhow::Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    tokio::time::timeout(patience, call)
        .await
        .with_context(|| format!("no answer from {url} within {} s", patience.as_secs()))?
        .with_context(|| format!("can't reach {url}"))
}
