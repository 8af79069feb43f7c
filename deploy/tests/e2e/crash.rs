//! kill -9 in the middle of things: nothing half-visible, and the next run completes.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    bad_input::{list, published},
    http, process, signal,
    stack::{self, Stack},
    wav::{self, Sample},
};

const TRACKS: usize = 3;
const KILLS: u32 = 6;

fn write_music(dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    for track in 0..TRACKS {
        let voice = signal::voice(track, 48_000, 48_000 * 12, 7000.0);
        wav::write(
            &dir.join(format!("{track}.wav")),
            &[voice.clone(), voice],
            48_000,
            Sample::S16,
        );
    }
}

#[test]
fn killed_ingest_leaves_nothing_half_visible_and_a_rerun_completes() {
    let _busy = process::busy();
    let dir = stack::scratch("crash");
    let music = dir.join("music");
    write_music(&music);

    // Undisturbed, for the time it takes and the bytes that come out.
    let calm = dir.join("calm");
    let since = Instant::now();
    let (output, lines) = stack::ingest(&calm, &[&music]);
    let took = since.elapsed();
    assert!(output.status.success(), "{lines:?}");
    let expected = objects(&calm);

    let data = dir.join("data");
    let mut seen = 0;
    let mut early = 0;
    for kill in 1..=KILLS {
        let mut child = process::spawn(&stack::ingest_command(&data, &[&music]));
        // Spread over the whole run, also after parts of it are done already.
        std::thread::sleep(took * kill / (KILLS + 1));
        process::signal(&child, "KILL");
        early += usize::from(!child.wait().unwrap().success());
        let complete = whole_tracks(&data);
        assert!(complete >= seen, "a published track is gone");
        seen = complete;
    }
    println!(
        "{took:.1?} undisturbed; killed {early} times, {seen} of {TRACKS} tracks were through"
    );
    assert!(early >= 2, "the kills came too late to mean anything");

    // What is visible is whole, also by way of the catalogue.
    let stack = Stack::start(&data, &[]);
    assert_eq!(album_tracks(&stack), whole_tracks(&data));
    let (output, lines) = stack::ingest(&data, &[&music]);
    assert!(output.status.success(), "{lines:?}");
    assert_eq!(lines.len(), TRACKS);
    assert_eq!(published(&data), TRACKS, "and no scratch is left");
    assert_eq!(
        objects(&data),
        expected,
        "objects differ from an undisturbed run's"
    );
    assert_eq!(album_tracks(&stack), TRACKS);

    // Once more costs a hash.
    let since = Instant::now();
    let (output, lines) = stack::ingest(&data, &[&music]);
    assert!(
        output.status.success() && lines.iter().all(|l| l.status == "present"),
        "{lines:?}"
    );
    println!("a second ingest of the same took {:.2?}", since.elapsed());
    assert!(since.elapsed() < took);
}

/// Tracks whose track.json is in the store; panics unless every object it names is whole.
fn whole_tracks(data: &Path) -> usize {
    let mut whole = 0;
    for revision in list(&data.join("objects/tracks"))
        .iter()
        .flat_map(|t| list(t))
    {
        let Ok(index) = std::fs::read(revision.join("track.json")) else {
            continue;
        };
        let track: Value = serde_json::from_slice(&index).expect("track.json is whole");
        for rendition in track["renditions"].as_array().unwrap() {
            let file = revision.join(format!("{}.mp4", rendition["id"].as_str().unwrap()));
            let size = std::fs::metadata(&file)
                .unwrap_or_else(|e| panic!("{file:?}: {e}"))
                .len();
            assert_eq!(rendition["bytes"], size, "{file:?}");
        }
        whole += 1;
    }
    whole
}

/// Every object of a directory store: key and size, and for media a digest by the shell.
fn objects(data: &Path) -> BTreeMap<String, String> {
    let root = data.join("objects/tracks");
    let output = crate::tools::run(crate::tools::command("find").current_dir(&root).args([
        ".",
        "-type",
        "f",
        "-name",
        "*.mp4",
        "-exec",
        "sha256sum",
        "{}",
        "+",
    ]));
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(digest, key)| (key.to_owned(), digest.to_owned()))
        .collect()
}

/// Tracks that the catalogue shows.
fn album_tracks(stack: &Stack) -> usize {
    let albums = stack.get("/api/v1/albums").expect(200).json();
    albums["albums"]
        .as_array()
        .unwrap()
        .iter()
        .map(|album| {
            album["track_count"]
                .as_u64()
                .unwrap_or_else(|| panic!("{album}")) as usize
        })
        .sum()
}

#[test]
fn acknowledged_changes_survive_a_killed_stack() {
    let dir = stack::scratch("killed-stack");
    let data = dir.join("data");
    let stack = Stack::start(&data, &[]);
    let playlists = format!("{}/api/v1/playlists", stack.http);
    let made = http::get(&playlists)
        .method("POST")
        .json(&json!({"name": "Evening"}))
        .send();
    assert!((200..300).contains(&made.status), "{made:?}");
    let id = made.json()["id"].clone();
    stack.kill();

    let since = Instant::now();
    let stack = Stack::start(&data, &[]);
    println!("ready {:.2?} after kill -9", since.elapsed());
    assert!(since.elapsed() < Duration::from_secs(20));
    let path = format!(
        "/api/v1/playlists/{}",
        id.as_str().map_or(id.to_string(), str::to_owned)
    );
    assert_eq!(stack.get(&path).expect(200).json()["name"], "Evening");
}
