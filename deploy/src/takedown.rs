//! `segue takedown`: remove tracks from store, catalogue and every edge, so that they stay away.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::SystemTime};

use anyhow::Context as _;
use clap::Args as ClapArgs;
use manifests::TrackId;
use origin::{Origin, takedown::Order};
use serde_json::json;

use crate::{
    data::DataDir,
    pending::Pending,
    purge::{self, http_call},
};

/// Attempts to reach an edge before it is given up.
const ATTEMPTS: u32 = 3;

/// What `segue takedown` takes.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Track ids, or URLs that contain them.
    #[arg(required = true, value_name = "TRACK")]
    tracks: Vec<String>,

    /// Why; kept in the notice, and told to whoever ingests the file again.
    #[arg(long, value_name = "TEXT", required_unless_present = "lift")]
    reason: Option<String>,

    /// Who orders it [default: who you are logged in as].
    #[arg(long, value_name = "NAME")]
    by: Option<String>,

    /// Take earlier takedowns back: the tracks are there again once their files are ingested.
    #[arg(long, conflicts_with = "reason")]
    lift: bool,

    /// Admin URL of an edge to purge; give each edge [default: that of the running stack of the
    /// data directory].
    #[arg(
        long = "edge",
        env = "SEGUE_EDGES",
        value_name = "URL",
        value_delimiter = ','
    )]
    edges: Vec<String>,

    /// The edges' admin token, where they have one.
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

    /// Where objects lie: a directory, or s3://bucket/prefix?endpoint=URL&region=R&path-style=true
    /// [default: objects/ in the data directory].
    #[arg(long, env = "SEGUE_STORAGE", value_name = "URL")]
    storage: Option<String>,

    /// Print one JSON object for each track on standard output.
    #[arg(long)]
    json: bool,
}

/// Takes down; the exit code says whether everything was done everywhere.
///
/// # Errors
/// Where the store or the catalogue can't be opened, or fails.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let tracks = args
        .tracks
        .iter()
        .map(|text| track_in(text))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let data = DataDir::open(args.data.clone())?;
    let url = data.storage_url(args.storage.as_deref());
    let store = storage::open(&url)
        .await
        .with_context(|| format!("can't open the store {url}"))?;
    let origin = Origin::open(origin::Config::at(data.origin()), Arc::clone(&store)).await?;
    let desk = Desk {
        by: args.by.clone().unwrap_or_else(who),
        origin,
        data,
        args,
    };
    let mut complete = true;
    for track in tracks {
        complete &= if desk.args.lift {
            desk.lift(&track).await?
        } else {
            desk.take_down(&track).await?
        };
    }
    Ok(if complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Where takedowns are worked on.
struct Desk {
    origin: Origin,
    data: DataDir,
    by: String,
    args: Args,
}

impl Desk {
    /// Takes a track down, and keeps a record of it; whether all edges were reached.
    async fn take_down(&self, track: &TrackId) -> anyhow::Result<bool> {
        let at = now();
        let order = Order {
            track: track.clone(),
            reason: self.args.reason.clone().unwrap_or_default(),
            by: self.by.clone(),
            at: at.clone(),
        };
        let removed = self.origin.take_down(order).await?;
        let (purged, missed) = self.purge(track).await?;
        let record = json!({
            "action": "takedown",
            "track": track,
            "name": removed.notice.name,
            "reason": removed.notice.reason,
            "by": self.by,
            "at": at,
            "objects": removed.objects,
            "bytes": removed.bytes,
            "purged": purged,
            "missed": missed.iter().map(|(edge, _)| edge).collect::<Vec<_>>(),
        });
        let kept = serde_json::to_vec_pretty(&record)?;
        self.origin.record(track, &at, kept).await?;
        let name = removed
            .notice
            .name
            .as_deref()
            .unwrap_or("not in the catalogue");
        self.say(&record, || {
            format!(
                "taken down  {track}  {name}: {} objects of {:.1} MB removed, {}",
                removed.objects,
                removed.bytes as f64 / 1e6,
                match purged.len() {
                    0 => "no edge purged".to_owned(),
                    1 => "1 edge purged".to_owned(),
                    n => format!("{n} edges purged"),
                },
            )
        });
        for (edge, why) in &missed {
            complain(&format!(
                "{edge} was not purged and may still have {track}: {why}; run the same command again"
            ));
        }
        Ok(missed.is_empty())
    }

    async fn lift(&self, track: &TrackId) -> anyhow::Result<bool> {
        let at = now();
        let was = self.origin.lift(track).await?;
        anyhow::ensure!(was, "{track} is not taken down");
        let record = json!({ "action": "lift", "track": track, "by": self.by, "at": at });
        let kept = serde_json::to_vec_pretty(&record)?;
        self.origin.record(track, &at, kept).await?;
        self.say(&record, || {
            format!("lifted  {track}; ingest its file to have it back")
        });
        Ok(true)
    }

    /// Purges every edge; which were, and which were not and why.
    async fn purge(&self, track: &TrackId) -> anyhow::Result<(Vec<String>, Vec<(String, String)>)> {
        let mut edges = self.args.edges.clone();
        if edges.is_empty() {
            match self.data.running() {
                Some(running) => edges.push(running.admin),
                // Its cache outlives it: it is purged before it answers again.
                None => {
                    Pending::of(&self.data).add(track)?;
                    // One that starts just now may have looked before that.
                    edges.extend(self.data.running().map(|running| running.admin));
                }
            }
        }
        let mut missed = self.purge_once(track, &edges).await;
        if edges.len() > 1 {
            // One may have filled from another that had not been purged yet.
            missed = self.purge_once(track, &edges).await;
        }
        let purged = edges
            .into_iter()
            .filter(|edge| !missed.iter().any(|(other, _)| other == edge))
            .collect();
        Ok((purged, missed))
    }

    async fn purge_once(&self, track: &TrackId, edges: &[String]) -> Vec<(String, String)> {
        let calls = edges.iter().map(|edge| async move {
            let outcome = self.purge_edge(track, edge).await;
            outcome.err().map(|why| (edge.clone(), format!("{why:#}")))
        });
        let outcomes = futures_util::future::join_all(calls).await;
        outcomes.into_iter().flatten().collect()
    }

    async fn purge_edge(&self, track: &TrackId, edge: &str) -> anyhow::Result<()> {
        for what in purge::of_track(track) {
            let mut attempt = 1;
            loop {
                let token = self.args.token.as_deref();
                let json = Some(purge::to_json(&what).to_string());
                match http_call("POST", edge, "/purge", token, json).await {
                    Ok((200..300, _)) => break,
                    Ok((status, body)) if attempt == ATTEMPTS || status < 500 => {
                        anyhow::bail!("it answered {status}: {}", body.trim());
                    }
                    Err(why) if attempt == ATTEMPTS => return Err(why),
                    _ => tokio::time::sleep(std::time::Duration::from_millis(300)).await,
                }
                attempt += 1;
            }
        }
        Ok(())
    }

    #[expect(clippy::print_stdout, reason = "the command's result")]
    fn say(&self, record: &serde_json::Value, text: impl Fn() -> String) {
        if self.args.json {
            println!("{record}");
        } else {
            println!("{}", text());
        }
    }
}

#[expect(clippy::print_stderr, reason = "what is left to do")]
fn complain(text: &str) {
    eprintln!("{text}");
}

/// The id in an id, or in a URL.
fn track_in(text: &str) -> anyhow::Result<TrackId> {
    let id = text.split(['/', '?', '#']).find(|part| {
        part.len() == 21
            && part.starts_with('t')
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    });
    let id = id.with_context(|| {
        format!("{text}: no track id in it; those have t and 20 letters or digits")
    })?;
    Ok(TrackId(id.to_owned()))
}

/// The time as RFC 3339, to the millisecond, so that two records don't share a name.
fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

/// Who runs this.
fn who() -> String {
    ["SUDO_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .unwrap_or_else(|| "operator".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::track_in;

    #[test]
    fn ids_are_found() {
        let id = "t2yvs7nz7nap6m3v6t4vj";
        for text in [
            id.to_owned(),
            format!("http://127.0.0.1:8080/~abc/v1/tracks/{id}/index.m3u8?x=1"),
            format!("/media/{id}/c7b144c016400973/opus-32.mp4"),
        ] {
            assert_eq!(track_in(&text).unwrap().0, id);
        }
        for text in ["", "all", "/media/", "T2YVS7NZ7NAP6M3V6T4VJ"] {
            assert!(track_in(text).is_err(), "{text}");
        }
    }
}
