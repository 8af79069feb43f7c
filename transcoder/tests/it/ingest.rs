//! From files to published tracks.

use std::{fs, path::Path, process::Command};

use tokio_util::sync::CancellationToken;
use transcoder::{Event, Stage};

use crate::{
    place::{Place, check_track, floats, published},
    sound,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_ingest_changes_nothing() {
    let place = Place::new();
    let pcm = place.wav("a.wav", 3.0, 2, 44_100, 16);
    let (report, events) = place.ingest().await;
    assert_eq!(
        (report.published, report.unchanged, report.failed),
        (1, 0, 0),
        "{report:?}"
    );
    let (track, fresh) = published(&events).remove(0);
    assert!(fresh);
    assert_eq!(track.source.samples, 132_300);
    assert_eq!(track.duration_s, 3.0);
    assert_eq!(track.renditions.len(), 8);
    assert!(track.loudness.track.integrated_lufs.is_some());
    check_track(&place, &track, &floats(&pcm, 2, 16));
    for ffmpeg in sound::ffmpegs() {
        let expected: Vec<_> = pcm.iter().map(|s| s << 16).collect();
        assert!(sound::decode_exact(&ffmpeg, &place.rendition(&track, "flac")) == expected);
    }

    let before = place.objects().await;
    let (report, events) = place.ingest().await;
    assert_eq!((report.published, report.unchanged), (0, 1));
    assert_eq!(published(&events), [(track, false)]);
    assert_eq!(place.objects().await, before);
    assert_eq!(
        fs::read_dir(place.dir.path().join("work")).unwrap().count(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rates_and_depths_keep_their_place() {
    for (rate, channels, bits) in [(8_000, 1, 16), (48_000, 1, 16), (96_000, 2, 24)] {
        let place = Place::new();
        let pcm = place.wav("a.wav", 2.5, channels, rate, bits);
        let (report, events) = place.ingest().await;
        assert_eq!(report.published, 1, "{rate}: {:?}", report.failures);
        let (track, _) = published(&events).remove(0);
        check_track(
            &place,
            &track,
            &floats(&pcm, usize::from(channels), u32::from(bits)),
        );
        assert!(track.renditions.iter().any(|r| r.id == "opus-32"));
        assert!(channels == 2 || track.omitted.iter().any(|o| o.id == "opus-160"));
        for ffmpeg in sound::ffmpegs() {
            let expected: Vec<_> = pcm.iter().map(|s| s << (32 - bits)).collect();
            assert!(sound::decode_exact(&ffmpeg, &place.rendition(&track, "flac")) == expected);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sample_is_a_track() {
    let place = Place::new();
    sound::wav(&place.music().join("a.wav"), &[12_345], 1, 44_100, 16);
    let (report, events) = place.ingest().await;
    assert_eq!(report.published, 1, "{:?}", report.failures);
    let (track, _) = published(&events).remove(0);
    assert_eq!(track.source.samples, 1);
    assert!(track.renditions.iter().all(|r| r.segments.len() == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_is_named_and_the_others_go_on() {
    let place = Place::new();
    place.wav("good.wav", 1.0, 1, 48_000, 16);
    let bad = [
        ("empty.mp3", &b""[..]),
        ("text.flac", b"not audio at all, only words\n"),
    ];
    for (name, bytes) in bad {
        fs::write(place.music().join(name), bytes).unwrap();
    }
    let long = place.wav("cut.wav", 1.0, 1, 48_000, 16).len();
    let whole = fs::read(place.music().join("cut.wav")).unwrap();
    fs::write(place.music().join("cut.wav"), &whole[..44 + long]).unwrap();
    fs::write(place.music().join("cover.jpg"), b"x").unwrap();
    let (report, events) = place.ingest().await;
    assert_eq!(
        (report.published, report.failed, report.ignored),
        (1, 3, 1),
        "{report:?}"
    );
    for name in ["empty.mp3", "text.flac", "cut.wav"] {
        assert!(
            report.failures.iter().any(|f| f.path.ends_with(name)),
            "{name}"
        );
    }
    let failed = events
        .iter()
        .filter(|e| matches!(e, Event::Failed { .. }))
        .count();
    assert_eq!(failed, 3);
    let indices = place
        .objects()
        .await
        .iter()
        .filter(|o| o.key.as_str().ends_with("track.json"))
        .count();
    assert_eq!(indices, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_ingest_leaves_nothing_visible_and_a_rerun_completes() {
    let place = Place::new();
    place.wav("long.wav", 40.0, 2, 44_100, 16);
    let cancel = CancellationToken::new();
    let (report, events) = place
        .ingest_until(cancel.clone(), |event| {
            let encoding = matches!(event, Event::Progress { stage: Stage::Encode, fraction, .. } if *fraction > 0.1);
            if encoding {
                cancel.cancel();
            }
        })
        .await;
    assert!(cancel.is_cancelled());
    assert_eq!(
        (report.published, report.failed, report.unfinished),
        (0, 0, 1)
    );
    assert!(published(&events).is_empty());
    let index = |o: &storage::Meta| o.key.as_str().ends_with("track.json");
    assert!(!place.objects().await.iter().any(index));
    assert_eq!(
        fs::read_dir(place.dir.path().join("work")).unwrap().count(),
        0
    );

    let (report, _) = place.ingest().await;
    assert_eq!(report.published, 1);
    assert!(place.objects().await.iter().any(index));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_under_two_names_are_one_track() {
    let place = Place::new();
    place.wav("a.wav", 1.0, 1, 48_000, 16);
    fs::copy(place.music().join("a.wav"), place.music().join("b.wav")).unwrap();
    let (report, events) = place.ingest().await;
    assert_eq!((report.published, report.unchanged), (1, 1));
    let tracks = published(&events);
    assert_eq!(tracks[0].0.id, tracks[1].0.id);
}

/// Makes a tagged FLAC of a WAV. False where there is no ffmpeg.
fn tagged(from: &Path, to: &Path, gain: &str) -> bool {
    let Some(ffmpeg) = sound::ffmpegs().into_iter().next() else {
        return false;
    };
    let made = Command::new(ffmpeg)
        .args(["-v", "error", "-i"])
        .arg(from)
        .args(["-af", &format!("volume={gain}"), "-metadata", "album=Pair"])
        .args(["-metadata", "album_artist=Someone"])
        .arg(to)
        .status()
        .unwrap();
    made.success()
}

#[tokio::test(flavor = "multi_thread")]
async fn tracks_of_an_album_carry_its_loudness() {
    let place = Place::new();
    place.wav("a.wav", 4.0, 2, 44_100, 16);
    let (wav, at) = (place.music().join("a.wav"), |name: &str| {
        place.music().join(name)
    });
    if !tagged(&wav, &at("1.flac"), "0.9") || !tagged(&wav, &at("2.flac"), "0.09") {
        return;
    }
    fs::remove_file(&wav).unwrap();
    let (report, events) = place.ingest().await;
    assert_eq!(report.published, 2, "{:?}", report.failures);
    let tracks = published(&events);
    let album = tracks[0].0.loudness.album.unwrap();
    assert_eq!(Some(album), tracks[1].0.loudness.album);
    let lufs = |n: usize| tracks[n].0.loudness.track.integrated_lufs.unwrap();
    let (loud, soft) = (lufs(0).max(lufs(1)), lufs(0).min(lufs(1)));
    let whole = album.integrated_lufs.unwrap();
    assert!(
        soft < whole && whole <= loud + 0.01,
        "{soft} {whole} {loud}"
    );

    // A third track, later: the album's figure covers the two that are there already.
    place.wav("b.wav", 2.0, 2, 48_000, 16);
    assert!(tagged(&at("b.wav"), &at("3.flac"), "0.5"));
    fs::remove_file(at("b.wav")).unwrap();
    let (report, events) = place.ingest().await;
    assert_eq!((report.published, report.unchanged), (1, 2));
    let third = published(&events)
        .into_iter()
        .find(|(_, fresh)| *fresh)
        .unwrap()
        .0;
    assert!(third.loudness.album.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn rungs_that_the_sound_does_not_fill_are_left_out_and_track_json_says_why() {
    let place = Place::new();
    let (rate, frames) = (44_100_u32, 44_100 * 4);
    let tone = |hz: f64, n: usize| {
        let cycles = hz * n as f64 / f64::from(rate);
        (std::f64::consts::TAU * cycles).sin() as f32
    };
    let mono = sound::music(frames as u64, 1, rate);
    let write = |name: &str, sample: &dyn Fn(usize) -> [f32; 2]| {
        let pcm: Vec<f32> = (0..frames).flat_map(sample).collect();
        let path = place.music().join(name);
        sound::wav(&path, &sound::integers(&pcm, 16), 2, rate, 16);
    };
    write("alike.wav", &|n| [mono[n]; 2]);
    write("narrow.wav", &|n| {
        [0.2 * tone(3_000.0, n), 0.2 * tone(2_500.0, n)]
    });
    write("silent.wav", &|_| [0.0; 2]);
    let (report, events) = place.ingest().await;
    assert_eq!(report.published, 3, "{:?}", report.failures);
    let tracks = published(&events);
    let check = |name: &str, reason: &str, kept: &[&str]| {
        let (track, _) = tracks
            .iter()
            .find(|(t, _)| t.source.file_name == name)
            .unwrap();
        let ids: Vec<_> = track.renditions.iter().map(|r| r.id.as_str()).collect();
        assert_eq!(ids, kept, "{name}");
        assert_eq!(track.omitted.len() + ids.len(), 8, "{name}");
        for omitted in &track.omitted {
            assert!(omitted.reason.contains(reason), "{name}: {omitted:?}");
        }
        for id in ids {
            place.rendition(track, id);
        }
    };
    if cfg!(feature = "fdk-aac") {
        let most = ["opus-32", "opus-64", "opus-96", "aac-64", "aac-128", "flac"];
        check("alike.wav", "both channels are the same", &most);
        check(
            "narrow.wav",
            "nothing above 3",
            &["opus-32", "aac-64", "flac"],
        );
        check("silent.wav", "silent", &["opus-32", "aac-64", "flac"]);
    }
}

/// Spoken words that Debian has as recordings.
const VOICE: &str = "/usr/share/sounds/alsa";

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_voice_is_heard_as_speech() {
    let words = ["Front", "Rear", "Side"].map(|place| {
        ["Left", "Right"].map(|side| Path::new(VOICE).join(format!("{place}_{side}.wav")))
    });
    let words = words.concat();
    if !words.iter().all(|word| word.exists()) {
        return sound::skip("alsa-utils");
    }
    let place = Place::new();
    let spoken = place.music().join("spoken.wav");
    let joined = Command::new("sox").args(&words).arg(&spoken).status();
    if !joined.is_ok_and(|status| status.success()) {
        return sound::skip("sox");
    }
    let (report, events) = place.ingest().await;
    assert_eq!(report.published, 1, "{:?}", report.failures);
    let (track, _) = &published(&events)[0];
    let voice = track.omitted.iter().find(|o| o.id == "opus-96");
    assert!(
        voice.is_some_and(|o| o.reason.contains("one voice")),
        "{:?}",
        track.omitted
    );
}
