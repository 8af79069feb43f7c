//! ffmpeg as a player: files, HLS and DASH, old and new, over HTTP with the token in the path.

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
        let mut by_way: Vec<(&str, usize, i64, i64)> = Vec::new();
        for (index, way) in ways(shared, published) {
            let rendition = &published.renditions()[index];
            let id = rendition["id"].as_str().unwrap();
            let rate = rendition["sample_rate"].as_u64().unwrap() as u32;
            let channels = rendition["channels"].as_u64().unwrap() as usize;
            let valid = rendition["valid"].as_i64().unwrap();
            let heard = decode::decode(ffmpeg, &way.url, way.stream, channels);
            let surplus = heard.frames() as i64 - valid;
            let reference = published.fixture.sound(0, rate);
            let ends = correlate::both_ends(&reference, &heard.channels[0]);
            let known = known_lag(ffmpeg, rendition);
            if ends.iter().any(|m| m.lag != 0 && Some(m.lag) != known) || ends[0].lag != ends[1].lag
            {
                faults.push(format!("{ffmpeg:?} {} {id}: {ends:?}", way.name));
            }
            // A frame at the end, and where it ignores the edit list the priming at the start.
            if !(0..2048 + known.unwrap_or(0).max(0)).contains(&surplus) {
                faults.push(format!(
                    "{ffmpeg:?} {} {id}: {surplus} samples too many",
                    way.name
                ));
            }
            match by_way.iter_mut().find(|w| w.0 == way.name) {
                Some(seen) => {
                    seen.1 += 1;
                    seen.2 = seen.2.max(surplus);
                    seen.3 = seen.3.max(ends[0].lag);
                }
                None => by_way.push((way.name, 1, surplus, ends[0].lag)),
            }
        }
        for (way, count, surplus, lag) in by_way {
            println!("{ffmpeg:?} {way}: {count} renditions, surplus ≤ {surplus}, lag ≤ {lag}");
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Samples by which a decoder is late because it does not apply edit lists in fragmented files:
/// ffmpeg before 7 keeps AAC's priming.
fn known_lag(ffmpeg: Ffmpeg, rendition: &serde_json::Value) -> Option<i64> {
    let aac = rendition["codec"] != "opus" && rendition["codec"] != "flac";
    (ffmpeg == Ffmpeg::Five && aac).then(|| rendition["priming"].as_i64().unwrap())
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
