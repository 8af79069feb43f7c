//! What was taken down is gone at once, everywhere, and stays away.

use std::path::{Path, PathBuf};

use crate::{
    http::{self, Response},
    process, signal,
    stack::{self, Line, Stack},
    wav::{self, Sample},
};

/// A song on disk and in a stack of its own.
struct Scene {
    data: PathBuf,
    file: PathBuf,
    other: PathBuf,
    line: Line,
    kept: Line,
}

fn scene(name: &str) -> (Scene, Stack) {
    let dir = stack::scratch(name);
    let song = |name: &str, hz: f64| {
        let file = dir.join(name);
        let voices = [0, 1].map(|c| signal::voice(c, 48_000, 48_000 * 4, hz));
        wav::write(&file, &voices, 48_000, Sample::S16);
        file
    };
    let (file, other) = (song("song.wav", 7000.0), song("other.wav", 6000.0));
    let data = dir.join("data");
    let stack = Stack::start(&data, &[]);
    let (output, lines) = stack::ingest(&data, &[&file, &other]);
    assert!(output.status.success(), "{lines:?}");
    let line = |name: &str| lines.iter().find(|l| l.file == name).unwrap().clone();
    let scene = Scene {
        line: line("song.wav"),
        kept: line("other.wav"),
        data,
        file,
        other,
    };
    (scene, stack)
}

impl Scene {
    /// Every way to something of the track.
    fn paths(&self) -> Vec<String> {
        let Line {
            track, revision, ..
        } = &self.line;
        vec![
            format!("/media/{track}/{revision}/opus-96.mp4"),
            format!("/media/{track}/{revision}/opus-96/init.mp4"),
            format!("/media/{track}/{revision}/opus-96/1.m4s"),
            format!("/v1/tracks/{track}/index.m3u8"),
            format!("/v1/tracks/{track}/opus-96.m3u8"),
            format!("/v1/tracks/{track}/manifest.mpd"),
            format!("/v1/tracks/{track}/track.json"),
        ]
    }

    fn takedown(&self, more: &[&str]) -> std::process::Output {
        let mut command = stack::segue();
        command.args(["takedown", &self.line.track, "--data"]);
        command.arg(&self.data).args(more).output().unwrap()
    }

    fn taken_down(&self) {
        let output = self.takedown(&["--reason", "the label's order 17", "--by", "ann"]);
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words}");
    }

    fn records(&self) -> Vec<serde_json::Value> {
        let folder = self.data.join("objects/takedowns").join(&self.line.track);
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        names.sort();
        names
            .iter()
            .map(|name| serde_json::from_slice(&std::fs::read(name).unwrap()).unwrap())
            .collect()
    }
}

/// Through the edge by the name that listeners use, whatever the port.
fn get(stack: &Stack, token: &str, path: &str) -> Response {
    http::get(format!("{}/~{token}{path}", stack.http))
        .header("Host", "music.example")
        .send()
}

fn is_hit(answer: &Response) -> bool {
    answer
        .header("cache-status")
        .is_some_and(|status| status.contains("; hit"))
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}

#[test]
fn a_takedown_holds_everywhere_at_once_and_for_good() {
    let _busy = process::busy();
    let (scene, stack) = scene("takedown");
    let token = stack.session();
    for path in scene.paths() {
        get(&stack, &token, &path).expect(200);
        let again = get(&stack, &token, &path).expect(200);
        assert!(is_hit(&again), "{path}: {again:?}");
    }

    scene.taken_down();
    for path in scene.paths() {
        let answer = get(&stack, &token, &path).expect(410);
        assert!(
            !is_hit(&answer) && answer.text().contains("taken_down"),
            "{path}: {answer:?}"
        );
    }
    let kept = format!("/v1/tracks/{}/index.m3u8", scene.kept.track);
    get(&stack, &token, &kept).expect(200);
    let search = stack.get("/api/v1/search?q=song").expect(200).text();
    assert!(!search.contains(&scene.line.track), "{search}");
    assert!(is_empty(
        &scene.data.join("objects/tracks").join(&scene.line.track)
    ));
    let records = scene.records();
    assert_eq!(records.len(), 2, "a notice and a record: {records:#?}");
    for record in &records {
        assert_eq!(
            (&record["reason"], &record["by"]),
            (&"the label's order 17".into(), &"ann".into())
        );
    }
    assert!(
        records
            .iter()
            .any(|r| r["purged"] == serde_json::json!([stack.admin])),
        "{records:#?}"
    );

    // Its file is known again, under whatever name.
    let renamed = scene.file.with_file_name("innocent.wav");
    std::fs::copy(&scene.file, &renamed).unwrap();
    let (output, lines) = stack::ingest(&scene.data, &[&renamed, &scene.other]);
    assert!(!output.status.success());
    let refused = lines.iter().find(|l| l.file == "innocent.wav").unwrap();
    assert!(refused.error.contains("the label's order 17"), "{lines:?}");

    // A power cut brings nothing back.
    stack.kill();
    let stack = Stack::start(&scene.data, &[]);
    let token = stack.session();
    for path in scene.paths() {
        get(&stack, &token, &path).expect(410);
    }

    // Only whoever lifts it has it back.
    let output = scene.takedown(&["--lift"]);
    assert!(output.status.success(), "{output:?}");
    let (output, lines) = stack::ingest(&scene.data, &[&scene.file]);
    assert!(output.status.success(), "{lines:?}");
    for path in scene.paths() {
        get(&stack, &token, &path).expect(200);
    }
}

#[test]
fn a_takedown_reaches_the_cache_of_a_stack_that_is_not_running() {
    let _busy = process::busy();
    let (scene, stack) = scene("takedown-stopped");
    let token = stack.session();
    let path = &scene.paths()[0];
    for _ in 0..3 {
        get(&stack, &token, path).expect(200);
    }
    stack.stop();
    scene.taken_down();
    let stack = Stack::start(&scene.data, &[]);
    let token = stack.session();
    get(&stack, &token, path).expect(410);
    let kept = format!("/v1/tracks/{}/index.m3u8", scene.kept.track);
    get(&stack, &token, &kept).expect(200);
}

#[test]
fn a_takedown_says_what_it_could_not_do() {
    let (scene, stack) = scene("takedown-edge");
    // An edge that nobody answers for: everything else is done, and the exit says so.
    let output = scene.takedown(&[
        "--reason",
        "x",
        "--edge",
        "http://127.0.0.1:9",
        "--edge",
        &stack.admin,
    ]);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        words.contains("http://127.0.0.1:9") && words.contains("again"),
        "{words}"
    );
    let token = stack.session();
    get(&stack, &token, &scene.paths()[0]).expect(410);
    // A second run finds the rest done.
    let output = scene.takedown(&["--reason", "y"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        scene.records().last().unwrap()["reason"],
        "x",
        "the first notice stands"
    );

    let mut command = stack::segue();
    let unknown = "t00000000000000000000";
    command
        .args(["takedown", unknown, "--reason", "x", "--data"])
        .arg(&scene.data);
    let output = command.output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && words.contains("there is no track"),
        "{words}"
    );
}
