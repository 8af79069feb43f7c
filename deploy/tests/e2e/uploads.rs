//! Uploads by a client that others wrote: through the edge, over a server that is killed.

use std::{fs, process::Output};

use serde_json::Value;

use crate::{
    http, signal,
    stack::{self, Stack},
    tools,
    wav::{self, Sample},
};

const NEEDS: &[&str] = &["node", "node_modules/tus-js-client"];

/// Runs the client, which has to come to its end.
fn send(env: &[(&str, &str)]) -> Value {
    let output: Output = tools::command("node")
        .arg(tools::root().join("deploy/tests/uploads/tus.mjs"))
        .envs(env.iter().copied())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{line}{words}");
    serde_json::from_str(line.trim()).unwrap()
}

#[test]
fn an_upload_outlives_a_killed_server_and_becomes_a_track() {
    if !tools::have(NEEDS) {
        return;
    }
    let dir = stack::scratch("uploads");
    let data = dir.join("data");
    let file = dir.join("An uploaded song.wav");
    let voices = [0, 1].map(|c| signal::voice(c, 48_000, 48_000 * 5, 5400.0));
    wav::write(&file, &voices, 48_000, Sample::S16);
    let file = file.to_str().unwrap();

    let stack = Stack::start(&data, &[]);
    let key = fs::read_to_string(data.join("origin/keys/worker.key")).unwrap();
    let env = [("FILE", file), ("KEY", key.trim()), ("STOP", "300000")];
    let base = stack.http.clone();
    let half = send(&[&env[..], &[("BASE", base.as_str())]].concat());
    let place = half["url"].as_str().unwrap().strip_prefix(&base).unwrap();
    let accepted = half["accepted"].as_u64().unwrap();
    stack.kill();

    let stack = Stack::start(&data, &[]);
    let head = http::get(format!("{}{place}", stack.http))
        .method("HEAD")
        .header("authorization", &format!("Bearer {}", key.trim()))
        .header("tus-resumable", "1.0.0")
        .send()
        .expect(200);
    let offset: u64 = head.header("upload-offset").unwrap().parse().unwrap();
    let size = fs::metadata(file).unwrap().len();
    assert!((accepted..size).contains(&offset), "{accepted} {offset}");
    let (base, url) = (stack.http.clone(), format!("{}{place}", stack.http));
    let resumed = [("BASE", base.as_str()), ("RESUME", url.as_str())];
    let whole = send(&[&env[..2], &resumed].concat());
    let answers = whole["answers"].as_array().unwrap();
    assert_eq!(answers[0], "HEAD 200", "it goes on: {answers:?}");
    assert!(answers.iter().all(|a| a != "POST 201"), "{answers:?}");

    let job = whole["job"].as_str().unwrap();
    let worked = stack::segue()
        .args(["worker", "--drain", "--data"])
        .arg(&data)
        .output()
        .unwrap();
    assert!(worked.status.success(), "{worked:?}");
    let job = http::get(format!("{}/api/v1/jobs/{job}", stack.http))
        .header("authorization", &format!("Bearer {}", key.trim()))
        .send()
        .expect(200)
        .json();
    assert_eq!(job["state"], "done", "{job}");
    let track = job["tracks"][0].as_str().unwrap();
    let track = stack.get(&format!("/api/v1/tracks/{track}")).expect(200);
    assert_eq!(track.json()["title"], "An uploaded song");
    // Without the key there is nothing.
    let closed = http::get(format!("{}/api/v1/uploads", stack.http))
        .method("POST")
        .header("tus-resumable", "1.0.0")
        .header("upload-length", "5")
        .send();
    assert_eq!(closed.status, 401);
}
