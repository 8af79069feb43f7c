//! Where files come from: URLs that are allowed and nothing else, and a look before anything is done.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
};

use serde_json::Value;

use crate::{
    bad_input::{list, published},
    signal,
    stack::{self, scratch, segue},
    wav::{self, Sample},
};

fn song() -> Vec<u8> {
    let voice = signal::voice(0, 48_000, 48_000, 7000.0);
    wav::encode(&[voice.clone(), voice], 48_000, Sample::S16)
}

/// A server of a few fixed answers, for as long as the tests run.
fn server(answers: HashMap<&'static str, Vec<u8>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answers = Arc::new(answers);
    std::thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            let answers = Arc::clone(&answers);
            std::thread::spawn(move || {
                let mut lines = BufReader::new(&tcp).lines().map_while(Result::ok);
                let first = lines.next().unwrap_or_default();
                lines.find(|line| line.is_empty());
                let path = first.split(' ').nth(1).unwrap_or_default();
                let missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec();
                let _ = (&tcp).write_all(answers.get(path).unwrap_or(&missing));
            });
        }
    });
    address
}

fn answer(status: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// Ingests a source; its last line.
fn ingest(data: &Path, source: &str, args: &[&str]) -> Value {
    let mut command = segue();
    command
        .args(["ingest", "--json", "--quiet", source])
        .args(args);
    let output = command.arg("--data").arg(data).output().unwrap();
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["status"].is_string());
    let line = lines.next_back().unwrap_or_else(|| {
        panic!("{source}: {}", String::from_utf8_lossy(&output.stderr));
    });
    assert_eq!(
        output.status.success(),
        line["status"] != "failed",
        "{line}"
    );
    line
}

#[test]
fn urls_are_fetched_where_they_are_allowed_and_as_far() {
    let data = scratch("fetch").join("data");
    let sound = "Content-Type: audio/wav\r\n";
    let address = server(HashMap::from([
        ("/music/song.wav", answer("200 OK", sound, &song())),
        (
            "/page",
            answer("200 OK", "Content-Type: text/html\r\n", b"<html>"),
        ),
        (
            "/moved",
            answer("302 Found", "Location: /music/song.wav\r\n", b""),
        ),
        (
            "/away",
            answer("302 Found", "Location: http://localhost/\r\n", b""),
        ),
        ("/around", answer("302 Found", "Location: /around\r\n", b"")),
        // Promises more than it sends.
        ("/cut", answer("200 OK", sound, &song())[..50_000].to_vec()),
    ]));
    let url = |path: &str| format!("http://{address}{path}");
    let host = ["--allow-host", "127.0.0.1"];
    let open = ["--allow-host", "127.0.0.1", "--allow-private"];

    let refused = |path: &str, args: &[&str], reason: &str| {
        let line = ingest(&data, &url(path), args);
        assert_eq!(line["reason"], reason, "{line}");
        assert_eq!(line["file"], url(path), "it goes by its own name");
        println!("{reason:17} {}", line["error"]);
    };
    refused("/music/song.wav", &[], "host_not_allowed");
    refused("/music/song.wav", &host, "private_address");
    refused("/page", &open, "not_sound");
    refused("/gone", &open, "bad_status");
    refused("/away", &open, "host_not_allowed");
    refused("/around", &open, "not_fetched");
    refused("/cut", &open, "not_fetched");
    let small = [&open[..], &["--max-fetch", "10KiB"]].concat();
    refused("/music/song.wav", &small, "too_large");
    assert_eq!(published(&data), 0);

    let line = ingest(&data, &url("/moved"), &open);
    assert_eq!(line["status"], "published", "{line}");
    assert_eq!(line["file"], "song.wav");
    // The same bytes are the same track, wherever they come from.
    let path = scratch("fetch").join("the same.wav");
    std::fs::write(&path, song()).unwrap();
    let again = ingest(&data, path.to_str().unwrap(), &[]);
    assert_eq!(again["status"], "present");
    assert_eq!(again["track"], line["track"]);
    assert_eq!(published(&data), 1, "nothing of what was fetched is left");
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let dir = scratch("dry-run");
    let (music, data) = (dir.join("music"), dir.join("data"));
    std::fs::create_dir_all(&music).unwrap();
    std::fs::write(music.join("song.wav"), song()).unwrap();
    let dry = || ingest(&data, music.to_str().unwrap(), &["--dry-run"])["status"].clone();
    assert_eq!(dry(), "new");
    assert!(list(&data.join("objects/tracks")).is_empty());
    let (done, _) = stack::ingest(&data, &[&music]);
    assert!(done.status.success());
    assert_eq!(dry(), "present");
}

#[test]
fn every_event_is_a_line_and_failures_are_summed_up() {
    let dir = scratch("events");
    let (music, data) = (dir.join("music"), dir.join("data"));
    std::fs::create_dir_all(&music).unwrap();
    std::fs::write(music.join("song.wav"), song()).unwrap();
    std::fs::write(music.join("broken.wav"), b"RIFF").unwrap();
    let run = |args: &[&str]| {
        let mut command = segue();
        command
            .arg("ingest")
            .args(args)
            .arg(&music)
            .arg("--data")
            .arg(&data);
        command.output().unwrap()
    };
    let output = run(&["--json"]);
    assert_eq!(output.status.code(), Some(1));
    let events: Vec<Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let count = |name: &str| events.iter().filter(|e| e["event"] == name).count();
    assert_eq!(
        (count("found"), count("started"), count("ended")),
        (2, 2, 2)
    );
    assert!(count("stored") >= 3 && count("progress") > 0, "{events:?}");
    let last = events.last().unwrap();
    assert_eq!(last["event"], "summary");
    assert_eq!((&last["tracks"], &last["failed"]), (&1.into(), &1.into()));
    assert!(last["times_real_time"].as_f64().unwrap() > 0.0, "{last}");

    let output = run(&["--quiet"]);
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(
        words.contains("1 failed:") && words.contains("broken.wav: "),
        "{words}"
    );
}
