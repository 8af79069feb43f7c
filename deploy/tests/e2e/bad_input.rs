//! Files that are not what they claim: each is named with a reason, and nothing of it is published.

use std::path::{Path, PathBuf};

use crate::{
    decode, fixtures, process, signal,
    stack::{self, Line},
    tools,
    wav::{self, Sample},
};

/// A short sound, enough for every encoder.
fn sound() -> Vec<Vec<f32>> {
    (0..2)
        .map(|c| signal::voice(c, 44_100, 44_100, 7000.0))
        .collect()
}

/// Files that no one can play whole, by name.
fn bad_files(dir: &Path) -> Vec<PathBuf> {
    let good = wav::encode(&sound(), 44_100, Sample::S16);
    let format = good[20..36].to_vec();
    let with = |at: usize, bytes: &[u8]| {
        let mut format = format.clone();
        format[at..at + bytes.len()].copy_from_slice(bytes);
        wav::riff(&format, &good[44..], (good.len() - 44) as u32)
    };
    let files: Vec<(&str, Vec<u8>)> = vec![
        ("zero length.wav", Vec::new()),
        ("zero length.flac", Vec::new()),
        ("zero length.mp3", Vec::new()),
        (
            "not audio.mp3",
            b"This is a letter, not a song.\n".repeat(400),
        ),
        (
            "not audio.flac",
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x10\0\0\0\x10\x08\x06\0\0\0".repeat(50),
        ),
        ("not audio.m4a", vec![0; 20_000]),
        ("header only.wav", good[..44].to_vec()),
        ("no samples.wav", wav::riff(&format, &[], 0)),
        ("truncated.wav", good[..good.len() / 2].to_vec()),
        ("half a header.wav", good[..30].to_vec()),
        ("no channels.wav", with(2, &0_u16.to_le_bytes())),
        (
            "thousands of channels.wav",
            with(2, &9_999_u16.to_le_bytes()),
        ),
        ("no rate.wav", with(4, &0_u32.to_le_bytes())),
        ("absurd rate.wav", with(4, &4_000_000_000_u32.to_le_bytes())),
        ("no bits.wav", with(14, &0_u16.to_le_bytes())),
        (
            "four gigabytes claimed.wav",
            wav::riff(&format, &good[44..1044], u32::MAX - 64),
        ),
    ];
    let mut paths: Vec<PathBuf> = files
        .into_iter()
        .map(|(name, bytes)| {
            let path = dir.join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        })
        .collect();
    paths.extend(truncated(dir));
    paths
}

/// Real files of each encoder, cut in the middle.
fn truncated(dir: &Path) -> Vec<PathBuf> {
    let source = dir.with_extension("source.wav");
    wav::write(&source, &sound(), 44_100, Sample::S16);
    let encoders: &[(&str, &[&str])] = &[
        (
            "truncated.flac",
            &["flac", "--silent", "{in}", "-o", "{out}"],
        ),
        (
            "truncated.mp3",
            &["lame", "--quiet", "-b", "128", "{in}", "{out}"],
        ),
        (
            "truncated.m4a",
            &[
                "ffmpeg", "-v", "error", "-i", "{in}", "-c:a", "aac", "{out}",
            ],
        ),
        (
            "truncated alac.m4a",
            &[
                "ffmpeg",
                "-v",
                "error",
                "-i",
                "{in}",
                "-c:a",
                "alac",
                "-movflags",
                "+faststart",
                "{out}",
            ],
        ),
        (
            "truncated.ogg",
            &["oggenc", "--quiet", "-o", "{out}", "{in}"],
        ),
        ("truncated.opus", &["opusenc", "--quiet", "{in}", "{out}"]),
        ("truncated.aiff", &["sox", "{in}", "{out}"]),
    ];
    let mut paths = Vec::new();
    for (name, words) in encoders {
        if tools::find(words[0]).is_none() {
            continue;
        }
        let path = fixtures::convert(words, &source, &dir.join(name));
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() * 6 / 10]).unwrap();
        paths.push(path);
    }
    paths
}

#[test]
fn bad_files_are_named_with_a_reason_and_the_rest_goes_on() {
    let _busy = process::busy();
    tools::have(fixtures::ENCODERS);
    let dir = stack::scratch("bad");
    let music = dir.join("music");
    std::fs::create_dir_all(&music).unwrap();
    let bad = bad_files(&music);
    // First and last in the folder, so that some bad ones come before and some after.
    for name in ["0 good.wav", "zz good.wav"] {
        let mut sound = sound();
        sound[0][0] = name.len() as f32 / 100.0;
        wav::write(&music.join(name), &sound, 44_100, Sample::S16);
    }
    let data = dir.join("data");
    let (output, lines) = stack::ingest(&data, &[&music]);
    assert!(
        !output.status.success(),
        "exit code 0 although files failed"
    );
    assert_eq!(
        output.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );

    let mut faults = Vec::new();
    for path in &bad {
        let name = path.file_name().unwrap().to_string_lossy();
        match lines.iter().find(|line| line.file == *name) {
            Some(Line { status, error, .. }) if status == "failed" && error.len() > 8 => {
                println!("{name:28} {error}");
            }
            other => faults.push(format!("{name}: {other:?}")),
        }
    }
    let good = lines
        .iter()
        .filter(|l| l.status == "published" && l.file.ends_with("good.wav"));
    assert_eq!(good.count(), 2, "{lines:#?}");
    assert!(faults.is_empty(), "not refused:\n{}", faults.join("\n"));
    assert_eq!(published(&data), 2);
}

#[test]
fn a_single_sample_is_refused_or_whole() {
    let dir = stack::scratch("one-sample");
    let path = dir.join("one sample.wav");
    let voices: Vec<Vec<f32>> = sound().iter().map(|voice| voice[..1].to_vec()).collect();
    wav::write(&path, &voices, 44_100, Sample::S16);
    let data = dir.join("data");
    let (_, lines) = stack::ingest(&data, &[&path]);
    match lines.as_slice() {
        [line] if line.status == "failed" => assert!(line.error.len() > 8, "{line:?}"),
        [line] if line.status == "published" && tools::have(&["ffmpeg-9"]) => {
            let folder = data
                .join("objects/tracks")
                .join(&line.track)
                .join(&line.revision);
            let heard = decode::decode_exact(&folder.join("flac.mp4").display().to_string(), 2);
            assert_eq!(heard[0].len(), 1);
        }
        [line] if line.status == "published" => {}
        other => panic!("{other:?}"),
    }
    published(&data);
}

#[test]
fn a_wrong_extension_does_not_matter() {
    let dir = stack::scratch("mislabelled");
    let music = dir.join("music");
    std::fs::create_dir_all(&music).unwrap();
    let path = music.join("really a wave file.mp3");
    wav::write(&path, &sound(), 44_100, Sample::S16);
    let (output, lines) = stack::ingest(&dir.join("data"), &[&path]);
    // Either is honest: taken for what it is, or refused by name. Half of it is not.
    match lines.as_slice() {
        [line] if line.status == "published" => assert!(output.status.success()),
        [line] if line.status == "failed" => assert!(!line.error.is_empty()),
        other => panic!("{other:?}"),
    }
    let expected = usize::from(lines[0].status == "published");
    assert_eq!(published(&dir.join("data")), expected);
}

#[test]
fn a_missing_path_fails_at_once() {
    let dir = stack::scratch("missing");
    let (output, lines) = stack::ingest(&dir.join("data"), &[Path::new("/no/such/folder")]);
    assert!(!output.status.success() && lines.is_empty());
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("/no/such/folder"), "{words}");
}

/// Revisions in the store that have a track.json; panics where one has none, or scratch is left.
pub(crate) fn published(data: &Path) -> usize {
    let mut complete = 0;
    for track in list(&data.join("objects/tracks")) {
        for revision in list(&track) {
            let index = revision.join("track.json");
            assert!(index.exists(), "half-published: {:?}", list(&revision));
            complete += 1;
        }
    }
    let left = list(&data.join("scratch"));
    assert!(left.is_empty(), "scratch files are left: {left:?}");
    complete
}

/// Entries of a directory, sorted; none where there is no directory.
pub(crate) fn list(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}
