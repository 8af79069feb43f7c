//! A file that was tagged anew is the same track: its sound stays as it is, and its names change.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::{
    fixtures, signal,
    stack::{self, Line, Stack},
    tools, wav,
    wav::Sample,
};

/// Every format, with the words that have ffmpeg make it.
const FORMATS: [(&str, &[&str]); 6] = [
    ("flac", &["-c:a", "flac"]),
    ("mp3", &["-c:a", "libmp3lame", "-b:a", "192k"]),
    ("m4a", &["-c:a", "aac", "-b:a", "128k"]),
    ("opus", &["-c:a", "libopus", "-b:a", "96k"]),
    ("ogg", &["-c:a", "libvorbis"]),
    ("wav", &["-c:a", "pcm_s16le"]),
];

/// A song of four seconds in a format, tagged.
fn song(dir: &Path, format: &str, words: &[&str], hz: f64) -> PathBuf {
    let source = dir.join(format!("source-{format}.wav"));
    let voices = [0, 1].map(|c| signal::voice(c, 44_100, 44_100 * 4, hz));
    wav::write(&source, &voices, 44_100, Sample::S16);
    let words = [
        &["ffmpeg-9", "-v", "error", "-y", "-i", "{in}"][..],
        words,
        &[
            "-metadata",
            "title=Before",
            "-metadata",
            "artist=Ann",
            "-metadata",
            "album=Blue",
            "{out}",
        ],
    ]
    .concat();
    fixtures::convert(&words, &source, &dir.join(format!("song.{format}")))
}

/// The same file as another program writes it, under other names.
fn retagged(dir: &Path, file: &Path) -> PathBuf {
    let format = file.extension().unwrap().to_str().unwrap();
    // Ogg keeps a file's tags with its stream, and those win over what is said of the file.
    let of = match format {
        "ogg" | "opus" => "-metadata:s:a:0",
        _ => "-metadata",
    };
    let words = [
        "ffmpeg-9",
        "-v",
        "error",
        "-y",
        "-i",
        "{in}",
        "-c",
        "copy",
        of,
        "title=After",
        of,
        "artist=Bob with a name that takes more room than the one before",
        of,
        "album=Red",
        "{out}",
    ];
    fixtures::convert(&words, file, &dir.join(format!("again.{format}")))
}

/// Objects below a track, and when each was written.
fn objects(data: &Path, track: &str) -> BTreeMap<String, SystemTime> {
    let mut found = BTreeMap::new();
    let mut folders = vec![data.join("objects/tracks").join(track)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let meta = entry.metadata().unwrap();
            if meta.is_dir() {
                folders.push(entry.path());
            } else {
                let name = entry.file_name().to_string_lossy().into_owned();
                found.insert(name, meta.modified().unwrap());
            }
        }
    }
    found
}

fn ingest(data: &Path, file: &Path) -> Line {
    let (output, lines) = stack::ingest(data, &[file]);
    assert!(output.status.success(), "{output:?}");
    lines[0].clone()
}

#[test]
fn other_tags_make_no_other_track() {
    if !tools::have(&["ffmpeg-9"]) {
        return;
    }
    let dir = stack::scratch("retag");
    let data = dir.join("data");
    let stack = Stack::start(&data, &[]);
    for (n, (format, words)) in FORMATS.iter().enumerate() {
        let file = song(&dir, format, words, 3000.0 + 500.0 * n as f64);
        let first = ingest(&data, &file);
        assert_eq!(first.status, "published", "{format}");
        let before = objects(&data, &first.track);
        assert_eq!(stack_title(&stack, &first), ("Before".into(), "Ann".into()));

        let second = ingest(&data, &retagged(&dir, &file));
        assert_eq!(second.status, "updated", "{format}");
        assert_eq!(
            (&second.track, &second.revision),
            (&first.track, &first.revision),
            "{format}"
        );
        let mut after = objects(&data, &first.track);
        let written = after.insert("track.json".into(), before["track.json"]);
        assert_ne!(written, Some(before["track.json"]), "{format}");
        assert_eq!(after, before, "{format}: nothing else is written");
        let (title, artist) = stack_title(&stack, &first);
        assert_eq!(title, "After", "{format}");
        assert!(artist.starts_with("Bob"), "{format}: {artist}");

        // The same once more changes nothing.
        let third = ingest(&data, &dir.join(format!("again.{format}")));
        assert_eq!(third.status, "present", "{format}");
    }
    // Nothing is left of the album and the artist that all of them have left.
    let albums = stack.get("/api/v1/albums").expect(200).json();
    let titles: Vec<_> = albums["albums"].as_array().unwrap().iter().collect();
    assert!(titles.iter().all(|a| a["title"] == "Red"), "{titles:?}");
    let artists = stack.get("/api/v1/artists").expect(200).json();
    assert!(!artists.to_string().contains("\"Ann\""), "{artists}");
}

/// Title and artist of a track, where catalogue and manifests say the same. The manifests are asked
/// for by a query that is in no cache: an edge may answer with what it had for a minute.
fn stack_title(stack: &Stack, line: &Line) -> (String, String) {
    let track = stack
        .get(&format!("/api/v1/tracks/{}", line.track))
        .expect(200)
        .json();
    let token = stack.session();
    let unique = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    let index = stack
        .get(&format!(
            "/~{token}/v1/tracks/{}/track.json?{unique}",
            line.track
        ))
        .expect(200)
        .json();
    let hls = stack
        .get(&format!(
            "/~{token}/v1/tracks/{}/index.m3u8?{unique}",
            line.track
        ))
        .expect(200)
        .text();
    let said = |name: &str| index["tags"][name].as_str().unwrap().to_owned();
    assert_eq!(track["title"], said("title"));
    assert_eq!(track["artist"], said("artist"));
    assert!(
        hls.contains(&format!("VALUE=\"{}\"", said("title"))),
        "{hls}"
    );
    (said("title"), said("artist"))
}

#[test]
fn another_cover_has_a_path_of_its_own() {
    if !tools::have(&["ffmpeg-9"]) {
        return;
    }
    let dir = stack::scratch("recover");
    let data = dir.join("data");
    let stack = Stack::start(&data, &[]);
    let plain = song(&dir, "flac", &["-c:a", "flac"], 5100.0);
    let covered = |colour: &str| {
        let picture = dir.join(format!("{colour}.png"));
        let of = format!("color={colour}:size=64x64");
        tools::run(
            tools::command("ffmpeg-9")
                .args(["-v", "error", "-y", "-f", "lavfi", "-i", &of])
                .args(["-frames:v", "1"])
                .arg(&picture),
        );
        let out = dir.join(format!("{colour}.flac"));
        tools::run(
            tools::command("ffmpeg-9")
                .args(["-v", "error", "-y", "-i"])
                .arg(&plain)
                .arg("-i")
                .arg(&picture)
                .args(["-map", "0:a", "-map", "1:v", "-c", "copy"])
                .args(["-disposition:v", "attached_pic"])
                .arg(&out),
        );
        (out, fs::read(picture).unwrap())
    };
    let mut last = None;
    for colour in ["red", "blue"] {
        let (file, picture) = covered(colour);
        let line = ingest(&data, &file);
        let track = stack
            .get(&format!("/api/v1/tracks/{}", line.track))
            .expect(200)
            .json();
        let path = track["cover"].as_str().unwrap().to_owned();
        assert_eq!(stack.get(&path).expect(200).body, picture);
        assert_ne!(
            last.replace((line.track, path.clone())),
            Some((String::new(), path))
        );
    }
    // Without a picture, and no longer with one.
    let line = ingest(&data, &plain);
    assert_eq!(line.status, "updated");
    let (track, path) = last.unwrap();
    assert_eq!(line.track, track);
    let entry = stack.get(&format!("/api/v1/tracks/{track}")).json();
    assert!(entry["cover"].is_null(), "{entry}");
    assert_eq!(stack.get(&format!("{path}?anew")).status, 404);
    let left = objects(&data, &track);
    assert!(
        !left.keys().any(|name| name.starts_with("cover")),
        "{left:?}"
    );
}

/// Rights don't end with a tag.
#[test]
fn what_was_taken_down_stays_down_under_another_name() {
    if !tools::have(&["ffmpeg-9"]) {
        return;
    }
    let dir = stack::scratch("retag-takedown");
    let data = dir.join("data");
    for (n, (format, words)) in FORMATS[..3].iter().enumerate() {
        let file = song(&dir, format, words, 4200.0 + 500.0 * n as f64);
        let line = ingest(&data, &file);
        let taken = stack::segue()
            .args(["takedown", &line.track, "--reason", "order 18", "--data"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(taken.status.success(), "{taken:?}");
        let (output, lines) = stack::ingest(&data, &[&retagged(&dir, &file)]);
        assert!(!output.status.success());
        assert_eq!(lines[0].status, "failed", "{format}");
        assert!(lines[0].error.contains("order 18"), "{}", lines[0].error);
        let index = data.join("objects/tracks").join(&line.track);
        assert!(!index.exists(), "{format}: something is back");
    }
}
