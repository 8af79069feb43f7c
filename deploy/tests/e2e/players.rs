//! ffmpeg as a player: files, HLS and DASH, old and new, over HTTP with the token in the path.

use std::{collections::BTreeMap, os::unix::fs::MetadataExt as _};

use serde_json::Value;

use crate::{
    correlate,
    decode::{self, Ffmpeg},
    http, process,
    stack::{self, Published, Shared},
    tools,
};

/// A way to hand a rendition to a player.
struct Way {
    name: &'static str,
    url: String,
    stream: usize,
}

/// Every way to play every rendition of a track.
fn ways(shared: &Shared, published: &Published) -> Vec<(usize, Way)> {
    let tracks = format!("/v1/tracks/{}", published.id);
    let mut ways = Vec::new();
    let dash = dash_order(shared, published);
    for (index, rendition) in published.renditions().iter().enumerate() {
        let id = rendition["id"].as_str().unwrap();
        let mut way = |name, path: String, stream| {
            ways.push((
                index,
                Way {
                    name,
                    url: shared.url(&path),
                    stream,
                },
            ));
        };
        way("file", published.media(id), 0);
        way("hls", format!("{tracks}/{id}.m3u8"), 0);
        way(
            "hls segments",
            format!("{tracks}/{id}.m3u8?addressing=segments"),
            0,
        );
        let stream = dash
            .iter()
            .position(|d| d == id)
            .unwrap_or_else(|| panic!("{id} not in {dash:?}"));
        way("dash", format!("{tracks}/manifest.mpd"), stream);
    }
    ways
}

/// Representation ids in the order of the MPD, which is ffmpeg's order of streams.
fn dash_order(shared: &Shared, published: &Published) -> Vec<String> {
    let path = format!("/v1/tracks/{}/manifest.mpd", published.id);
    let mpd = http::get(shared.url(&path)).send().expect(200).text();
    mpd.split("<Representation")
        .skip(1)
        .filter_map(|part| part.split(" id=\"").nth(1)?.split('"').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn ffmpeg_plays_files_hls_and_dash_alike() {
    let _busy = process::busy();
    if !tools::have(&["ffmpeg", "ffmpeg-9"]) {
        return;
    }
    let shared = stack::shared();
    let published = shared.track("s16-44k");
    let mut faults = Vec::new();
    for ffmpeg in [Ffmpeg::Nine, Ffmpeg::Five] {
        let mut summary: BTreeMap<&str, (usize, i64, i64)> = BTreeMap::new();
        for (index, way) in ways(shared, published) {
            if ffmpeg == Ffmpeg::Nine && way.name == "hls" {
                // 9.0.2 asks for all byte ranges of a file at once, plays the first and stops, also
                // with playlists that it made itself and from other servers.
                continue;
            }
            let rendition = &published.renditions()[index];
            let heard = listen(ffmpeg, &way, published, rendition);
            if heard.surplus < 0 || heard.surplus >= 2048 || heard.lags != [0, 0] {
                faults.push(format!(
                    "{ffmpeg:?} {} {}: {heard:?}",
                    way.name, rendition["id"]
                ));
            }
            let seen = summary.entry(way.name).or_default();
            *seen = (
                seen.0 + 1,
                seen.1.max(heard.surplus),
                seen.2.max(heard.kept_priming),
            );
        }
        for (way, (count, surplus, kept)) in summary {
            println!(
                "{ffmpeg:?} {way}: {count} renditions, at most {surplus} samples behind the end, {kept} of priming kept"
            );
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What a player made of a rendition.
#[derive(Debug)]
struct Heard {
    /// Samples behind the end that the source has.
    surplus: i64,
    /// Lags at start and end, in samples, after the kept priming.
    lags: [i64; 2],
    /// Samples of priming that it did not remove.
    kept_priming: i64,
}

fn listen(ffmpeg: Ffmpeg, way: &Way, published: &Published, rendition: &Value) -> Heard {
    let number = |name: &str| rendition[name].as_i64().unwrap();
    let channels = number("channels") as usize;
    let heard = decode::decode(ffmpeg, &way.url, way.stream, channels);
    let excess = heard.frames() as i64 - number("valid");
    // ffmpeg before 7 does not apply edit lists of AAC in fragmented files.
    let aac = !["opus", "flac"].contains(&rendition["codec"].as_str().unwrap());
    let keeps = ffmpeg == Ffmpeg::Five && aac && excess >= number("priming");
    let kept_priming = if keeps { number("priming") } else { 0 };
    let reference = published.fixture.sound(0, number("sample_rate") as u32);
    let sound = heard.channels[0]
        .get(kept_priming as usize..)
        .unwrap_or_default();
    Heard {
        surplus: excess - kept_priming,
        lags: correlate::both_ends(&reference, sound).map(|found| found.lag),
        kept_priming,
    }
}

#[test]
fn ffmpeg_plays_the_multivariant_playlist_over_tls() {
    // The static ffmpeg 9 speaks no TLS of its own; Debian's does.
    if !tools::have(&["ffmpeg"]) {
        return;
    }
    let shared = stack::shared();
    let published = shared.track("s32-48k");
    let path = format!("/v1/tracks/{}/index.m3u8", published.id);
    let url = format!("{}/~{}{path}", shared.stack.https, shared.token);
    let heard = decode::decode(Ffmpeg::Five, &url, 0, 2);
    let whole = published.fixture.frames();
    assert!(
        (whole..whole + 4096).contains(&heard.frames()),
        "{} of {whole}",
        heard.frames()
    );
}

#[test]
fn ffmpeg_plays_what_the_multivariant_playlist_offers() {
    if !tools::have(&["ffmpeg", "ffmpeg-9"]) {
        return;
    }
    let shared = stack::shared();
    let published = shared.track("s32-48k");
    // Of byte ranges ffmpeg 9 plays the first, see above.
    let path = format!("/v1/tracks/{}/index.m3u8?addressing=segments", published.id);
    let whole = published.fixture.frames();
    for ffmpeg in [Ffmpeg::Nine, Ffmpeg::Five] {
        let rungs = published.renditions().len();
        for stream in [0, rungs - 1] {
            let heard = decode::decode(ffmpeg, &shared.url(&path), stream, 2).frames();
            assert!(
                (whole..whole + 4096).contains(&heard),
                "{ffmpeg:?}, stream {stream}: {heard} of {whole}"
            );
        }
    }
}

#[test]
fn vlc_plays_hls_dash_and_files() {
    let _busy = process::busy();
    if !tools::have(&["cvlc", "setpriv", "soxi"]) {
        return;
    }
    let shared = stack::shared();
    let published = shared.track("s16-44k");
    let tracks = format!("/v1/tracks/{}", published.id);
    let rate = published.renditions()[0]["sample_rate"].as_f64().unwrap();
    let whole_s = published.renditions()[0]["valid"].as_f64().unwrap() / rate;
    // VLC 3 plays the first two segments of any on-demand DASH file twice, also of files that ffmpeg
    // made and nginx serves: both of 1.92 s here.
    for (path, twice_s) in [
        (format!("{tracks}/index.m3u8"), 0.0),
        (format!("{tracks}/manifest.mpd"), 3.84),
        (published.media("aac-128"), 0.0),
    ] {
        let heard_s = vlc(&shared.url(&path));
        println!("VLC {path}: {heard_s:.2} s of {whole_s:.2} s");
        // What its output has not played yet when it leaves, it drops.
        assert!(
            (whole_s - 1.0..whole_s + twice_s + 0.3).contains(&heard_s),
            "{path}: {heard_s} s of {whole_s} s"
        );
    }
}

/// Seconds of sound that VLC makes of a URL in real time.
fn vlc(url: &str) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let sound = dir.path().join("heard.wav");
    // VLC refuses to run as root.
    let nobody = "65534";
    std::os::unix::fs::chown(dir.path(), Some(65534), Some(65534)).ok();
    let mut command = tools::command("setpriv");
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|of| of.uid() == 0);
    if is_root {
        command.args(["--reuid", nobody, "--regid", nobody, "--clear-groups"]);
    }
    tools::run(
        command
            .args(["timeout", "--kill-after=5", "60", "cvlc"])
            .args(["--quiet", "--intf=dummy", "--no-video", "--play-and-exit"])
            // One rendition throughout: at a change of rate it writes another header in mid-file.
            .args(["--aout=afile", "--adaptive-logic=highest"])
            .arg(format!("--audiofile-file={}", sound.display()))
            .arg(url)
            .env("HOME", dir.path()),
    );
    let told = tools::run(tools::command("soxi").arg("-D").arg(&sound));
    let told = String::from_utf8_lossy(&told.stdout);
    told.trim().parse().unwrap()
}
