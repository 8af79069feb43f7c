//! Tracks of an album that run into each other: what an ingest makes of them.

use std::{collections::HashMap, fs, path::Path, sync::Arc};

use manifests::{Takedown, Track};
use tokio_util::sync::CancellationToken;
use transcoder::{Change, Event, Report};

use crate::{
    place::{Place, check_track, floats, published},
    sound,
};

const RATE: u32 = 44_100;

/// Where the recording is cut: a whole number of samples at 48 kHz too.
const CUT: usize = 147 * 1_500;

/// A recording of ten seconds in 16 bits, two channels.
fn recording() -> Vec<i32> {
    sound::integers(&sound::music(u64::from(RATE) * 10, 2, RATE), 16)
}

fn write(place: &Place, name: &str, pcm: &[i32], album: &str, number: u32) {
    let path = place.music().join(name);
    sound::album_wav(&path, pcm, 2, RATE, (album, number));
}

/// The recording as two tracks of an album.
fn write_album(place: &Place) {
    let pcm = recording();
    let (first, second) = pcm.split_at(CUT * 2);
    write(place, "1.wav", first, "Live", 1);
    write(place, "2.wav", second, "Live", 2);
}

/// Tracks by the names of their files.
fn by_name(events: &[Event]) -> HashMap<String, Arc<Track>> {
    published(events)
        .into_iter()
        .map(|(track, _)| (track.source.file_name.clone(), track))
        .collect()
}

async fn ingest_file(place: &Place, name: &str) -> (Report, Vec<Event>) {
    let input = place.music().join(name);
    place
        .ingest_as(place.config(), input, CancellationToken::new(), |_| {})
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_track_that_runs_on_is_another_revision_that_lies_where_it_lay() {
    let place = Place::new();
    write_album(&place);
    let pcm = recording();
    write(&place, "whole.wav", &pcm, "Whole", 1);
    let (report, events) = place.ingest().await;
    assert_eq!(report.published, 3, "{:?}", report.failures);
    let tracks = by_name(&events);
    let (first, second, whole) = (&tracks["1.wav"], &tracks["2.wav"], &tracks["whole.wav"]);
    assert!(first.preroll.is_none() && whole.preroll.is_none());
    assert_eq!(second.preroll.as_ref().unwrap().track, first.id);
    check_track(&place, second, &floats(&pcm[CUT * 2..], 2, 16));

    // The same without the track before.
    let other = Place::new();
    write(&other, "alone.wav", &pcm[CUT * 2..], "Live", 2);
    let (_, events) = other.ingest().await;
    let alone = &by_name(&events)["alone.wav"];
    assert!(alone.preroll.is_none());
    assert_eq!(alone.id, second.id);
    assert_ne!(alone.revision, second.revision);
    for (with, without) in second.renditions.iter().zip(&alone.renditions) {
        assert_eq!((&with.id, with.valid), (&without.id, without.valid));
        assert_eq!(
            with.sha256 == without.sha256,
            with.id == "flac",
            "{}",
            with.id
        );
    }
    let Some(ffmpeg) = sound::ffmpegs().into_iter().find(|f| sound::knows_edits(f)) else {
        sound::skip("ffmpeg-9");
        return;
    };
    let decode = |place: &Place, track: &Track, id: &str| {
        sound::decode(&ffmpeg, &place.rendition(track, id), None)
    };
    for id in ["opus-160", "aac-128", "aac-256"] {
        let unbroken = decode(&place, whole, id);
        let unbroken = &unbroken[CUT / 147 * 160..][..480];
        let power = |samples: &mut dyn Iterator<Item = f32>| -> f64 {
            samples.map(|s| f64::from(s).powi(2)).sum()
        };
        let signal = power(&mut unbroken.iter().copied());
        for (what, heard) in [
            ("with", decode(&place, second, id)),
            ("without", decode(&other, alone, id)),
        ] {
            let pairs = unbroken.iter().zip(&heard);
            let noise = power(&mut pairs.map(|(a, b)| a - b));
            let db = 10.0 * (signal / noise).log10();
            println!("{id} {what} a pre-roll: {db:.1} dB from the unbroken one in its first 10 ms");
            assert!(db > 15.0, "{id}: {db} dB");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tracks_that_begin_by_themselves_are_encoded_by_themselves() {
    let place = Place::new();
    let pcm = recording();
    let (first, second) = pcm[CUT..CUT * 3].split_at(CUT);
    let silent = |pcm: &[i32], from: usize| {
        let mut pcm = pcm.to_vec();
        pcm[from..from + 882].fill(0);
        pcm
    };
    // No two files of the same sound: those would be one track.
    let mut made = 0;
    let mut pair = |album: &str, end: &[i32], start: &[i32], numbers: (u32, u32)| {
        for (pcm, number) in [(end, numbers.0), (start, numbers.1)] {
            made += 1;
            let mut pcm = pcm.to_vec();
            pcm[CUT / 2] += made;
            let name = format!("{album} {number}.wav");
            write(&place, &name, &pcm, album, number);
        }
    };
    pair("fades out", &silent(first, CUT - 882), second, (1, 2));
    pair("fades in", first, &silent(second, 0), (1, 2));
    pair("lacks one", first, second, (1, 3));
    pair("runs backwards", first, second, (2, 1));
    write(
        &place,
        "goes on elsewhere 2.wav",
        &second[..CUT / 2],
        "elsewhere",
        2,
    );
    let slower = place.music().join("changes its rate 1.wav");
    sound::album_wav(&slower, first, 2, 48_000, ("changes its rate", 1));
    write(
        &place,
        "changes its rate 2.wav",
        &second[..CUT / 3],
        "changes its rate",
        2,
    );
    let (report, events) = place.ingest().await;
    assert_eq!((report.published, report.failed), (11, 0), "{report:?}");
    for (name, track) in by_name(&events) {
        // Backwards, track 2 runs on from track 1: from other sound, but from sound.
        let runs_on = name == "runs backwards 2.wav";
        assert_eq!(track.preroll.is_some(), runs_on, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_stays_whether_or_not_the_track_before_is_at_hand() {
    let place = Place::new();
    write_album(&place);
    let (_, events) = place.ingest().await;
    let second = by_name(&events)["2.wav"].clone();
    assert!(second.preroll.is_some());
    let objects = place.objects().await;

    let (report, _) = ingest_file(&place, "2.wav").await;
    assert_eq!((report.published, report.unchanged), (0, 1));
    let (report, _) = place.ingest().await;
    assert_eq!((report.published, report.unchanged), (0, 2));
    assert_eq!(place.objects().await, objects);

    // Other tags, and no album around it any more.
    let pcm = recording();
    write(&place, "2.wav", &pcm[CUT * 2..], "Best of", 7);
    let (report, events) = ingest_file(&place, "2.wav").await;
    assert_eq!((report.published, report.updated), (0, 1));
    let retagged = &by_name(&events)["2.wav"];
    assert_eq!(retagged.tags.album.as_deref(), Some("Best of"));
    assert_eq!(retagged.revision, second.revision);
    assert_eq!(retagged.renditions, second.renditions);
    assert_eq!(retagged.preroll, second.preroll);
    let names =
        |objects: &[storage::Meta]| -> Vec<_> { objects.iter().map(|o| o.key.clone()).collect() };
    assert_eq!(names(&place.objects().await), names(&objects));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_track_that_was_published_by_itself_stays_so_when_its_album_comes() {
    let place = Place::new();
    write_album(&place);
    let (_, events) = ingest_file(&place, "2.wav").await;
    let alone = by_name(&events)["2.wav"].clone();
    assert!(alone.preroll.is_none());
    let (report, events) = place.ingest().await;
    assert_eq!((report.published, report.unchanged), (1, 1));
    let again = &by_name(&events)["2.wav"];
    assert_eq!(again.revision, alone.revision);
    assert_eq!(again.preroll, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_track_before_that_can_not_be_had_keeps_no_other_from_being_published() {
    // Cut off, or taken down.
    for taken_down in [false, true] {
        let place = Place::new();
        write_album(&place);
        let first = place.music().join("1.wav");
        if taken_down {
            let elsewhere = Place::new();
            fs::copy(&first, elsewhere.music().join("1.wav")).unwrap();
            let (_, events) = elsewhere.ingest().await;
            let id = by_name(&events)["1.wav"].id.clone();
            let key = storage::Key::new(Takedown::key(&id)).unwrap();
            let of = |text: &str| text.to_owned();
            let notice = Takedown::new(id, of("a claim"), of("Ann"), of("2026-01-01T00:00:00Z"));
            let json = serde_json::to_vec(&notice).unwrap();
            place.store.put(&key, json.into()).await.unwrap();
        } else {
            let bytes = fs::read(&first).unwrap();
            fs::write(&first, &bytes[..bytes.len() / 2]).unwrap();
        }
        let (report, events) = place.ingest().await;
        assert_eq!((report.published, report.failed), (1, 1), "{report:?}");
        let code = report.failures[0].error.code();
        assert_eq!(
            code,
            if taken_down {
                "taken_down"
            } else {
                "truncated"
            }
        );
        assert!(by_name(&events)["2.wav"].preroll.is_none());
    }
}

/// What the renditions of the second track are, once published.
fn digests(events: &[Event]) -> Vec<(String, String)> {
    let track = &by_name(events)["2.wav"];
    assert!(track.preroll.is_some());
    let renditions = track.renditions.iter();
    renditions
        .map(|r| (r.id.clone(), r.sha256.clone()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_track_with_a_pre_roll_goes_on_with_the_renditions_that_are_missing() {
    let whole = Place::new();
    write_album(&whole);
    let expected = digests(&whole.ingest().await.1);

    let place = Place::new();
    write_album(&place);
    let config = || {
        let mut config = place.config();
        config.checkpoint_from = 0;
        config.threads = 1;
        config
    };
    let second = |path: &Path| path.ends_with("2.wav");
    let cancel = CancellationToken::new();
    let job = std::sync::Mutex::new(None);
    let (report, _) = place
        .ingest_as(
            config(),
            place.music(),
            cancel.clone(),
            |event| match event {
                Event::Found {
                    job: found, path, ..
                } if second(path) => {
                    *job.lock().unwrap() = Some(*found);
                }
                Event::Stored { job: stored, .. } if *job.lock().unwrap() == Some(*stored) => {
                    cancel.cancel();
                }
                _ => {}
            },
        )
        .await;
    assert!(report.unfinished > 0, "{report:?}");
    let (report, events) = place
        .ingest_as(config(), place.music(), CancellationToken::new(), |_| {})
        .await;
    assert_eq!(report.published, 2, "{report:?}");
    let job = *job.lock().unwrap();
    let resumed = events.iter().filter(|event| {
        matches!(event, Event::Stored { job: stored, resumed: true, .. } if Some(*stored) == job)
    });
    assert!(resumed.count() > 0);
    assert_eq!(digests(&events), expected);
    let changed = |event: &&Event| {
        matches!(
            event,
            Event::Published {
                change: Change::Track,
                ..
            }
        )
    };
    assert_eq!(events.iter().filter(changed).count(), 2);
}
