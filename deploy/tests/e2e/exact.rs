//! Every length in Chromium: what Media Source Extensions buffer of a rendition is its sound, to the
//! sample. (Lengths against ffmpeg are in the transcoder's own tests.)

use serde_json::json;

use crate::{
    process, signal,
    stack::{self, Stack},
    tools,
    wav::{self, Sample},
};

/// Around the frames of Opus and AAC, a second, a prime, a multiple of all frames.
const LENGTHS: [usize; 11] = [
    1, 959, 960, 961, 1_023, 1_024, 1_025, 24_001, 48_000, 61_440, 99_991,
];

#[test]
fn chromium_buffers_every_length_to_the_sample() {
    let _alone = process::alone();
    if !tools::have(&["node", "chromium", "node_modules/playwright-core"]) {
        return;
    }
    let dir = stack::scratch("lengths");
    let music = dir.join("music");
    std::fs::create_dir_all(&music).unwrap();
    for rate in [44_100, 48_000, 96_000] {
        for frames in LENGTHS {
            let voices = [0, 1].map(|c| signal::voice(c, rate, frames, 7000.0));
            let path = music.join(format!("{rate}-{frames}.wav"));
            wav::write(&path, &voices, rate, Sample::S24);
        }
    }
    let stack = Stack::start(&dir.join("data"), &[]);
    let (output, lines) = stack::ingest(stack.data(), &[&music]);
    assert!(output.status.success(), "{lines:?}");
    let token = stack.session();
    let mut files = Vec::new();
    for line in &lines {
        let folder = format!("{}/{}", line.track, line.revision);
        let index = stack.get(&format!("/~{token}/v1/tracks/{}/track.json", line.track));
        let track = index.expect(200).json();
        for rendition in track["renditions"].as_array().unwrap() {
            let id = rendition["id"].as_str().unwrap();
            let codec = match rendition["codec"].as_str().unwrap() {
                "opus" => "opus",
                "aac-lc" => "mp4a.40.2",
                "he-aac" => "mp4a.40.5",
                _ => "flac",
            };
            let number = |name: &str| rendition[name].as_f64().unwrap();
            files.push(json!({
                "name": format!("{} {id}", line.file),
                "path": format!("/media/{folder}/{id}.mp4"),
                "mime": format!("audio/mp4; codecs=\"{codec}\""),
                "seconds": number("valid") / number("timescale"),
            }));
        }
    }
    assert!(files.len() > LENGTHS.len() * 3 * 3, "{}", files.len());
    let request = json!({"base": stack.http, "token": token, "files": files});
    let output = tools::command("node")
        .arg(tools::root().join("deploy/tests/browser/exact.mjs"))
        .env("REQUEST", request.to_string())
        .env("CHROMIUM", tools::find("chromium").unwrap())
        .output()
        .unwrap();
    print!("{}", String::from_utf8_lossy(&output.stdout));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
}
