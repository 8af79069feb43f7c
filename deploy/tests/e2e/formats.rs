//! Every input format: read rightly, cut into the whole ladder, and sample-exact when decoded.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use serde_json::Value;

use crate::{
    correlate,
    decode::{self, Ffmpeg},
    fixtures, process, signal,
    stack::{self, Published, Shared},
    tools,
    wav::Sample,
};

/// The whole ladder of the recipe.
const LADDER: &[&str] = &[
    "opus-32", "opus-64", "opus-96", "opus-160", "aac-64", "aac-128", "aac-256", "flac",
];

#[test]
fn every_input_format_is_read_as_what_it_is() {
    if !tools::have(fixtures::ENCODERS) {
        return;
    }
    let shared = stack::shared();
    assert_eq!(shared.published.len(), 16);
    for published in &shared.published {
        let fixture = &published.fixture;
        let source = &published.track["source"];
        let facts = (
            &source["sample_rate"],
            &source["channels"],
            &source["codec"],
        );
        assert_eq!(*facts.0, fixture.rate, "{}", fixture.name);
        assert_eq!(*facts.1, fixture.channels, "{}", fixture.name);
        assert_eq!(*facts.2, fixture.codec, "{}", fixture.name);
        // Also of MP3, AAC, Vorbis and Opus: their delay and padding are no sound.
        assert_eq!(
            source["samples"],
            fixture.frames(),
            "samples of {}",
            fixture.name
        );
        let seconds = published.track["duration_s"].as_f64().unwrap();
        let expected = fixture.frames() as f64 / f64::from(fixture.rate);
        assert!(
            (seconds - expected).abs() < 1e-6,
            "{}: {seconds} s",
            fixture.name
        );
        let loudness = published.track["loudness"]["track"]["integrated_lufs"].as_f64();
        assert!(
            loudness.is_some_and(|l| (-40.0..-5.0).contains(&l)),
            "{loudness:?}"
        );
    }
}

#[test]
fn every_rung_is_there_or_its_absence_explained() {
    let shared = stack::shared();
    for published in &shared.published {
        let name = published.fixture.name;
        let omitted = published.track["omitted"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        for rung in LADDER {
            let made = published.renditions().iter().any(|r| r["id"] == *rung);
            let explained = omitted
                .iter()
                .any(|o| o["id"] == *rung && !o["reason"].as_str().unwrap_or_default().is_empty());
            assert!(
                made != explained,
                "{name}: {rung} made: {made}, explained: {explained}"
            );
        }
        let codecs: Vec<&str> = published
            .renditions()
            .iter()
            .filter_map(|r| r["codec"].as_str())
            .collect();
        assert!(codecs.contains(&"opus"), "{name}: {codecs:?}");
        if published.fixture.lossless.is_some() {
            assert!(codecs.contains(&"flac"), "{name}: {codecs:?}");
        }
    }
    let full = shared.track("s32-48k");
    assert_eq!(
        full.renditions().len(),
        LADDER.len(),
        "{}",
        full.track["omitted"]
    );
}

#[test]
fn decoded_renditions_begin_and_end_with_the_source() {
    let _busy = process::busy();
    if !tools::have(&["ffmpeg-9"]) {
        return;
    }
    let shared = stack::shared();
    let references = References::default();
    let faults = Mutex::new(Vec::new());
    let report = Mutex::new(Vec::new());
    let jobs: Vec<(&Published, &Value)> = shared
        .published
        .iter()
        .flat_map(|p| p.renditions().iter().map(move |r| (p, r)))
        .collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((published, rendition)) =
                    jobs.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    let (line, fault) = check(shared, published, rendition, &references);
                    report.lock().unwrap().push(line);
                    faults.lock().unwrap().extend(fault);
                }
            });
        }
    });
    let mut report = report.into_inner().unwrap();
    report.sort();
    println!("input          rendition  samples  surplus  lag at start, end  likeness");
    println!("{}", report.join("\n"));
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    println!(
        "{} renditions of {} inputs",
        jobs.len(),
        shared.published.len()
    );
}

/// Decodes one rendition over HTTP and compares; a line for the report, and what is wrong.
fn check(
    shared: &Shared,
    published: &Published,
    rendition: &Value,
    references: &References,
) -> (String, Option<String>) {
    let id = rendition["id"].as_str().unwrap();
    let rate = rendition["sample_rate"].as_u64().unwrap() as u32;
    let channels = rendition["channels"].as_u64().unwrap() as usize;
    let valid = rendition["valid"].as_u64().unwrap() as usize;
    let fixture = &published.fixture;
    let name = format!("{:14} {id:9}", fixture.name);

    let decoded = decode::decode(Ffmpeg::Nine, &shared.url(&published.media(id)), 0, channels);
    let surplus = decoded.frames() as i64 - valid as i64;
    let mut faults = Vec::new();
    let due = (fixture.frames() as f64 * f64::from(rate) / f64::from(fixture.rate)).round() as i64;
    if (valid as i64 - due).abs() > 1 {
        faults.push(format!("claims {valid} samples, {due} are due"));
    }
    if !(0..=end_padding(rendition)).contains(&surplus) {
        faults.push(format!("decodes to {surplus} samples more than {valid}"));
    }
    let mut lags = Vec::new();
    let mut likeness = 1.0_f64;
    for channel in 0..channels.min(2) {
        let reference = references.of(fixture, channel, rate);
        for found in correlate::both_ends(&reference, &decoded.channels[channel]) {
            lags.push(found.lag);
            likeness = likeness.min(found.likeness);
        }
    }
    if lags.iter().any(|&lag| lag != 0) {
        faults.push(format!("lags by {lags:?} samples"));
    }
    if likeness < least_likeness(id) {
        faults.push(format!("likeness {likeness:.3}"));
    }
    let line = format!(
        "{name}  {valid:7}  {surplus:7}  {:>17}  {likeness:.4}",
        format!("{lags:?}")
    );
    let fault = (!faults.is_empty()).then(|| format!("{name} {}", faults.join("; ")));
    (line, fault)
}

/// Most samples that a decoder which ignores the end of an edit list adds: less than a frame, and
/// what the file says is padding.
fn end_padding(rendition: &Value) -> i64 {
    let frame = match rendition["codec"].as_str().unwrap() {
        "opus" => 960,
        "aac-lc" => 1024,
        "he-aac" => 2048,
        _ => 1,
    };
    rendition["padding"].as_i64().unwrap_or(0).max(frame - 1)
}

/// Dense noise is the hardest there is to encode, and low rates keep little of its waveform.
fn least_likeness(rendition: &str) -> f64 {
    match rendition {
        "opus-32" | "aac-64" => 0.4,
        "opus-64" => 0.7,
        "flac" => 0.98,
        _ => 0.85,
    }
}

/// Channel, sample rate and band of a reference sound.
type Voice = (usize, u32, u32);

/// Reference sounds, each made once.
#[derive(Default)]
struct References(Mutex<HashMap<Voice, Arc<Vec<f32>>>>);

impl References {
    fn of(&self, fixture: &fixtures::Fixture, channel: usize, rate: u32) -> Arc<Vec<f32>> {
        let key = (channel, rate, signal::band(fixture.rate) as u32);
        let known = self.0.lock().unwrap().get(&key).cloned();
        known.unwrap_or_else(|| {
            let sound = Arc::new(fixture.sound(channel, rate));
            self.0.lock().unwrap().insert(key, Arc::clone(&sound));
            sound
        })
    }
}

#[test]
fn the_lossless_rendition_equals_the_source_bit_by_bit() {
    let _busy = process::busy();
    if !tools::have(&["ffmpeg-9"]) {
        return;
    }
    let shared = stack::shared();
    let mut compared = 0;
    for published in &shared.published {
        let fixture = &published.fixture;
        let Some(sample) = fixture.lossless else {
            continue;
        };
        if fixture.channels > 2 {
            continue;
        }
        let url = shared.url(&published.media("flac"));
        let decoded = decode::decode_exact(&url, fixture.channels as usize);
        for (channel, heard) in decoded.iter().enumerate() {
            let source = fixture.sound(channel, fixture.rate);
            assert_eq!(heard.len(), source.len(), "{}", fixture.name);
            let worst = source
                .iter()
                .zip(heard)
                .map(|(&s, &h)| (i64::from(h) - left_aligned(sample, s)).abs())
                .max();
            // FLAC has no floats, and 24 bits are the ladder's limit: a step of dither and half of one
            // by rounding are left.
            let allowed = match sample {
                Sample::S32 | Sample::F32 => 384,
                _ => 0,
            };
            assert!(
                worst <= Some(allowed),
                "{} differs by {worst:?}",
                fixture.name
            );
        }
        compared += 1;
    }
    println!("{compared} lossless inputs equal their FLAC renditions");
}

/// A source sample as 32 bits, stored bits on top.
fn left_aligned(sample: Sample, value: f32) -> i64 {
    let stored = sample.quantise(value).map(i64::from);
    match (sample, stored) {
        (Sample::U8, Some(v)) => v << 24,
        (Sample::S16, Some(v)) => v << 16,
        (Sample::S24, Some(v)) => v << 8,
        (_, Some(v)) => v,
        (_, None) => (f64::from(value) * 2_147_483_648.0).round() as i64,
    }
}

#[test]
fn real_music_keeps_its_length() {
    let _busy = process::busy();
    let file = std::path::Path::new("/usr/share/games/wesnoth/1.16/data/core/music/victory.ogg");
    if !tools::have(&["ffmpeg", "ffmpeg-9"]) {
        return;
    }
    if !file.exists() {
        eprintln!("skipped: no wesnoth music here");
        return;
    }
    let shared = stack::shared();
    let (output, lines) = stack::ingest(shared.stack.data(), &[file]);
    assert!(output.status.success(), "{lines:?}");
    let line = &lines[0];
    let path = format!("/v1/tracks/{}/track.json", line.track);
    let track = crate::http::get(shared.url(&path))
        .send()
        .expect(200)
        .json();
    let source = decode::decode(Ffmpeg::Nine, &file.display().to_string(), 0, 2);
    assert_eq!(track["source"]["samples"], source.frames());
    let media = format!("/media/{}/{}/opus-96.mp4", line.track, line.revision);
    let heard = decode::decode(Ffmpeg::Nine, &shared.url(&media), 0, 2);
    let resampled = track["source"]["sample_rate"] != 48_000;
    if !resampled {
        let ends = correlate::both_ends(&source.channels[0], &heard.channels[0]);
        assert!(ends.iter().all(|m| m.lag == 0), "{ends:?}");
    }
    println!("{}: {} samples", line.file, source.frames());
}
