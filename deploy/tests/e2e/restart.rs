//! A restart costs nothing that listeners notice: data, keys and the disk cache stay.

use std::time::Instant;

use crate::{
    http, process, signal,
    stack::{self, Stack},
    wav::{self, Sample},
};

#[test]
fn a_restart_keeps_data_tokens_and_the_disk_cache() {
    let _busy = process::busy();
    let dir = stack::scratch("restart");
    let file = dir.join("song.wav");
    let voices = [0, 1].map(|c| signal::voice(c, 48_000, 48_000 * 9, 7000.0));
    wav::write(&file, &voices, 48_000, Sample::S16);
    let data = dir.join("data");

    let stack = Stack::start(&data, &[]);
    let (output, lines) = stack::ingest(&data, &[&file]);
    assert!(output.status.success(), "{lines:?}");
    let token = stack.session();
    let path = format!(
        "/~{token}/media/{}/{}/opus-160.mp4",
        lines[0].track, lines[0].revision
    );
    // Ports change from start to start here; the name that listeners use does not.
    let get = |stack: &Stack, path: &str| {
        http::get(format!("{}{path}", stack.http))
            .header("Host", "music.example")
            .send()
            .expect(200)
    };
    let fetch = |stack: &Stack| get(stack, &path);
    let first = fetch(&stack);
    let warm = fetch(&stack);
    assert!(is_hit(&warm), "{warm:?}");
    assert_eq!(first.header("etag"), warm.header("etag"));
    let drained = stack.stop();

    let since = Instant::now();
    let stack = Stack::start(&data, &[]);
    let ready = since.elapsed();
    let cold = fetch(&stack);
    assert_eq!(cold.body, first.body);
    assert!(
        is_hit(&cold),
        "the first answer after a restart is no hit: {cold:?}"
    );
    println!(
        "stopped in {drained:.2?}, ready again in {ready:.2?}; {}",
        cache_status(&cold)
    );
    assert_eq!(
        stack.get("/api/v1/albums").expect(200).json()["albums"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    // A fresh fetch of what was never asked for still reaches the store.
    let other = path.replace("opus-160", "opus-64");
    let miss = get(&stack, &other);
    assert!(!is_hit(&miss), "{miss:?}");
}

#[test]
fn two_stacks_on_one_directory_are_refused() {
    let data = stack::scratch("twice").join("data");
    let stack = Stack::start(&data, &[]);
    let output = stack::segue()
        .args([
            "up",
            "--no-demo",
            "--http",
            "127.0.0.1:0",
            "--https",
            "127.0.0.1:0",
        ])
        .args(["--admin", "127.0.0.1:0", "--data"])
        .arg(&data)
        .output()
        .unwrap();
    assert!(!output.status.success());
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains(&stack.http), "{words}");
}

fn cache_status(answer: &http::Response) -> String {
    answer.header("cache-status").unwrap_or_default().to_owned()
}

/// Whether the edge says that it needed no upstream (RFC 9211, section 2.1).
fn is_hit(answer: &http::Response) -> bool {
    cache_status(answer)
        .split(';')
        .any(|part| part.trim() == "hit")
}
