//! Readers that others have written take every rendition for what it is, without a complaint.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{
    http, process,
    stack::{self, Published, Shared},
    tools,
};

/// A rendition in a file of its own, and what the index says of it.
struct File<'a> {
    path: PathBuf,
    index: &'a Value,
}

impl File<'_> {
    fn number(&self, name: &str) -> u64 {
        self.index[name].as_u64().unwrap()
    }

    fn codec(&self) -> &str {
        self.index["codec"].as_str().unwrap()
    }

    /// Ticks in a frame; FLAC's depend on the rate.
    fn frame(&self) -> Option<u64> {
        match self.codec() {
            "opus" => Some(960),
            "aac-lc" => Some(1_024),
            "he-aac" => Some(2_048),
            _ => None,
        }
    }
}

fn download<'a>(shared: &Shared, published: &'a Published, dir: &Path) -> Vec<File<'a>> {
    let save = |index: &'a Value| {
        let id = index["id"].as_str().unwrap();
        let path = dir.join(format!("{}-{id}.mp4", published.fixture.name));
        let url = shared.url(&published.media(id));
        std::fs::write(&path, http::get(url).send().expect(200).body).unwrap();
        File { path, index }
    };
    published.renditions().iter().map(save).collect()
}

fn files(shared: &Shared) -> Vec<File<'_>> {
    let dir = stack::scratch("parsers");
    ["s16-44k", "s24-192k", "u8-mono-8k", "5.1-48k"]
        .into_iter()
        .flat_map(|name| download(shared, shared.track(name), &dir))
        .collect()
}

/// Runs a script over all files; what it says of each.
fn ask(program: &str, script: &str, files: &[File<'_>]) -> Vec<Value> {
    let output = tools::run(
        tools::command(program)
            .arg(tools::root().join("deploy/tests/parsers").join(script))
            .args(files.iter().map(|f| &f.path)),
    );
    let lines = String::from_utf8(output.stdout).unwrap();
    let all: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(all.len(), files.len(), "{lines}");
    all
}

#[test]
fn mp4box_reads_every_rendition() {
    if !tools::have(&["node", "node_modules/mp4box"]) {
        return;
    }
    let shared = stack::shared();
    let files = files(shared);
    for (file, seen) in files.iter().zip(ask("node", "mp4box.mjs", &files)) {
        let name = file.path.display();
        let codec = match file.codec() {
            "opus" => "Opus",
            "aac-lc" => "mp4a.40.2",
            "he-aac" => "mp4a.40.5",
            _ => "fLaC",
        };
        assert_eq!(seen["codec"], codec, "{name}");
        assert_eq!(seen["channels"], file.index["channels"], "{name}");
        // The sample entry has 16 bits for the rate (FLAC in ISOBMFF §3.3.1).
        let rate = file.number("sample_rate");
        let told = if rate > 65_535 { 48_000 } else { rate };
        assert_eq!(seen["rate"], told, "{name}");
        let edit = [file.number("priming"), file.number("valid")];
        assert_eq!(seen["edits"], serde_json::json!([edit]), "{name}");
        if let Some(frame) = file.frame() {
            let coded = (edit[0] + edit[1]).div_ceil(frame);
            assert_eq!(seen["samples"], coded, "{name}");
        }
        let boxes: Vec<&str> = seen["boxes"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        assert_eq!(boxes[..3], ["ftyp", "moov", "sidx"], "{name}");
        let body = boxes[3..].chunks(2);
        assert!(body.clone().all(|pair| pair == ["moof", "mdat"]), "{name}");
        assert_eq!(body.len(), file.index["segments"].as_array().unwrap().len());
        // It knows no `ludt` and no iTunes tags, and takes `dfLa` for longer than it is.
        let known = ["'ludt'", "'mean'", "'ilst'", "'dfLa'"];
        for words in seen["words"].as_array().unwrap() {
            let words = words.as_str().unwrap();
            assert!(known.iter().any(|k| words.contains(k)), "{name}: {words}");
        }
    }
}

#[test]
fn mediainfo_reads_every_rendition() {
    if !tools::have(&["python", ".venv/lib"]) {
        return;
    }
    let shared = stack::shared();
    let files = files(shared);
    for (file, seen) in files.iter().zip(ask("python", "mediainfo.py", &files)) {
        let name = file.path.display();
        let format = match file.codec() {
            "opus" => "Opus",
            "flac" => "FLAC",
            _ => "AAC",
        };
        assert_eq!(seen["format"], format, "{name}");
        assert_eq!(seen["rate"], file.index["sample_rate"], "{name}");
        assert_eq!(seen["truncated"], "No", "{name}");
        // It checks AAC in CMAF for a field that only USAC has.
        let misled = seen["faults"].as_array().unwrap();
        assert!(
            misled.iter().all(|f| f.as_str().unwrap().contains("USAC")),
            "{name}: {seen}"
        );
        let errors = seen["errors"].as_u64().unwrap();
        assert_eq!(errors, misled.len() as u64, "{name}: {seen}");
    }
}

#[test]
fn shaka_packager_reads_every_rendition_and_packages_it_again() {
    if !tools::have(&["shaka-packager"]) {
        return;
    }
    let _busy = process::busy();
    let shared = stack::shared();
    for file in files(shared) {
        let name = file.path.display().to_string();
        let out = file.path.with_extension("again.mp4");
        let output = tools::run(
            tools::command("shaka-packager")
                .arg(format!("in={name},stream=audio,output={}", out.display()))
                .arg("--dump_stream_info")
                .arg(format!(
                    "--mpd_output={}",
                    out.with_extension("mpd").display()
                )),
        );
        let words = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        let told = |what: &str| {
            let line = words.lines().find_map(|l| l.trim().strip_prefix(what));
            line.unwrap_or_else(|| panic!("{name}: no {what} in {words}"))
                .trim()
                .to_owned()
        };
        let codec = match file.codec() {
            "opus" => "opus",
            "aac-lc" => "mp4a.40.2",
            "he-aac" => "mp4a.40.5",
            _ => "flac",
        };
        assert_eq!(told("codec_string:"), codec, "{name}");
        let scale = file.index["timescale"].to_string();
        assert_eq!(told("time_scale:"), scale, "{name}");
        let valid = format!("{} ", file.number("valid"));
        assert!(told("duration:").starts_with(&valid), "{name}");
        assert!(out.exists(), "{name}");
    }
}

#[test]
fn ffprobe_reads_every_rendition_without_a_word() {
    if !tools::have(&["ffprobe"]) {
        return;
    }
    let shared = stack::shared();
    for file in files(shared) {
        let name = file.path.display();
        let output = tools::run(
            tools::command("ffprobe")
                .args(["-v", "warning", "-of", "json", "-show_streams"])
                .arg(&file.path),
        );
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(words.trim().is_empty(), "{name}: {words}");
        let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
        let stream = &seen["streams"][0];
        let codec = match file.codec() {
            "aac-lc" | "he-aac" => "aac",
            other => other,
        };
        assert_eq!(stream["codec_name"], codec, "{name}");
        assert_eq!(
            stream["sample_rate"],
            file.index["sample_rate"].to_string(),
            "{name}"
        );
    }
}
