//! Headless Chromium plays everything: hls.js, Shaka, dash.js, and the web player.

use std::process::Output;

use serde_json::{Value, json};

use crate::{stack, tools};

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

#[test]
fn chromium_plays_by_our_own_player() {
    if !tools::have(NEEDS) {
        return;
    }
    let shared = stack::shared();
    let env = [("BASE_URL", shared.stack.http.as_str())];
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
