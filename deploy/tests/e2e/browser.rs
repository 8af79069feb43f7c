//! Headless Chromium plays everything: hls.js, Shaka, dash.js, and the web player.

use std::process::Output;

use serde_json::{Value, json};

use crate::{
    process, signal,
    stack::{self, Stack},
    tools,
    wav::{self, Sample},
};

const NEEDS: &[&str] = &["node", "chromium", "node_modules/playwright-core"];

fn node(script: &str, env: &[(&str, &str)]) -> Output {
    let output = tools::command("node")
        .arg(tools::root().join(script))
        .envs(env.iter().copied())
        .env("CHROMIUM", tools::find("chromium").unwrap())
        .output()
        .unwrap();
    print!("{}", String::from_utf8_lossy(&output.stdout));
    output
}

/// What the script needs to know of a fixture.
fn describe(shared: &stack::Shared, name: &str) -> Value {
    let published = shared.track(name);
    let renditions: Vec<Value> = published
        .renditions()
        .iter()
        .map(|r| json!({"id": r["id"], "valid": r["valid"], "timescale": r["timescale"]}))
        .collect();
    json!({
        "name": name,
        "id": published.id,
        "duration": published.track["duration_s"],
        "renditions": renditions,
    })
}

#[test]
fn chromium_plays_by_hls_js_shaka_and_dash_js() {
    let _busy = process::busy();
    if !tools::have(NEEDS) {
        return;
    }
    let shared = stack::shared();
    let request = json!({
        "base": shared.stack.http,
        "token": shared.token,
        "tracks": [describe(shared, "s16-44k"), describe(shared, "s32-48k")],
    });
    let output = node(
        "deploy/tests/browser/players.mjs",
        &[("REQUEST", &request.to_string())],
    );
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A folder with an album of tagged tracks.
fn album(name: &str, titles: &[&str], seconds: usize) -> std::path::PathBuf {
    let dir = stack::scratch(name);
    for (index, title) in titles.iter().enumerate() {
        let voices = [0, 1].map(|c| {
            signal::voice(
                c + 2 * index + name.len() * 8,
                44_100,
                44_100 * seconds,
                7000.0,
            )
        });
        let source = dir.with_extension("source.wav");
        wav::write(&source, &voices, 44_100, Sample::S16);
        let tags = [
            format!("ALBUM={name}"),
            "ARTIST=The Partials".to_owned(),
            format!("TITLE={title}"),
            format!("TRACKNUMBER={}", index + 1),
        ];
        let mut flac = tools::command("flac");
        flac.args(["--silent", "--force"])
            .args(tags.iter().flat_map(|tag| ["--tag", tag]));
        flac.arg(&source)
            .arg("-o")
            .arg(dir.join(format!("{index}.flac")));
        tools::run(&mut flac);
    }
    dir
}

#[test]
fn chromium_plays_by_our_own_player() {
    let _alone = process::alone();
    if !tools::have(NEEDS) || !tools::have(&["flac"]) {
        return;
    }
    let shared = stack::shared();
    let files = album("Running On", &["First Light", "Second Wind"], 14);
    let (output, lines) = stack::ingest(shared.stack.data(), &[&files]);
    assert!(output.status.success(), "{lines:?}");
    let env = [
        ("BASE_URL", shared.stack.http.as_str()),
        ("ALBUM", "Running On"),
    ];
    let output = node("deploy/tests/browser/own.mjs", &env);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn chromium_fetches_over_http_3() {
    if !tools::have(NEEDS) {
        return;
    }
    let shared = stack::shared();
    let url = format!(
        "{}/~{}{}",
        shared.stack.https,
        shared.token,
        shared.track("s32-48k").media("opus-96")
    );
    let output = node("deploy/tests/browser/http3.mjs", &[("URL", &url)]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The web player's own tests, against the real stack where they take one.
#[test]
fn the_web_players_own_tests_pass() {
    let _alone = process::alone();
    if !tools::have(NEEDS) || !tools::have(&["flac"]) {
        return;
    }
    // Tracks as long as listeners' are: whole segments beyond what is buffered.
    let data = stack::scratch("web-tests").join("data");
    let stack = Stack::start(&data, &[]);
    let long = album("Long Way Round", &["Outward", "Half Way", "Homeward"], 45);
    let other = album("Another Road", &["Left", "Right"], 40);
    let (output, lines) = stack::ingest(&data, &[&long, &other]);
    assert!(output.status.success(), "{lines:?}");
    let folder = tools::root().join("origin/web-tests");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(".test.mjs"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no tests in {}", folder.display());
    let output = tools::command("node")
        .arg("--test")
        .args(&files)
        .env("BASE_URL", &stack.http)
        .env("CHROMIUM", tools::find("chromium").unwrap())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{words}");
    let summary = words
        .lines()
        .filter(|l| l.starts_with('#') || l.starts_with('\u{2139}'));
    println!("{}", summary.collect::<Vec<_>>().join("\n"));
}
