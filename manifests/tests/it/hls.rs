//! HLS: golden playlists, read back with m3u8-rs.

use m3u8_rs::{MediaPlaylistType, Playlist};
use manifests::{
    Addressing, CodecFilter, Layout, Track,
    hls::{Item, Pathway, Steering, items as hls_items, media, multivariant, steered},
};

use crate::{check, sample};

fn opus_96(samples: u64, addressing: Addressing) -> String {
    let track = sample::track(samples);
    let item = Item {
        track: &track,
        rendition: track.rendition("opus-96").unwrap(),
    };
    media(&[item], &Layout::v1(addressing))
}

#[test]
fn a_media_playlist_addresses_byte_ranges() {
    check(
        &opus_96(480_000, Addressing::Ranges),
        r#"
        #EXTM3U
        #EXT-X-VERSION:6
        #EXT-X-TARGETDURATION:4
        #EXT-X-MEDIA-SEQUENCE:0
        #EXT-X-PLAYLIST-TYPE:VOD
        #EXT-X-INDEPENDENT-SEGMENTS
        #EXT-X-START:TIME-OFFSET=0,PRECISE=YES
        #EXT-X-MAP:URI="../../../media/t0123456789abcdefghjk/00112233445566aa/opus-96.mp4",BYTERANGE="900@0"
        #EXTINF:1.920000,
        #EXT-X-BYTERANGE:23040@1000
        ../../../media/t0123456789abcdefghjk/00112233445566aa/opus-96.mp4
        #EXTINF:1.920000,
        #EXT-X-BYTERANGE:23040@24040
        ../../../media/t0123456789abcdefghjk/00112233445566aa/opus-96.mp4
        #EXTINF:3.840000,
        #EXT-X-BYTERANGE:46080@47080
        ../../../media/t0123456789abcdefghjk/00112233445566aa/opus-96.mp4
        #EXTINF:2.320000,
        #EXT-X-BYTERANGE:27918@93160
        ../../../media/t0123456789abcdefghjk/00112233445566aa/opus-96.mp4
        #EXT-X-ENDLIST
        "#,
    );
}

#[test]
fn a_media_playlist_addresses_segments_when_asked() {
    check(
        &opus_96(100_000, Addressing::Segments),
        r#"
        #EXTM3U
        #EXT-X-VERSION:6
        #EXT-X-TARGETDURATION:2
        #EXT-X-MEDIA-SEQUENCE:0
        #EXT-X-PLAYLIST-TYPE:VOD
        #EXT-X-INDEPENDENT-SEGMENTS
        #EXT-X-START:TIME-OFFSET=0,PRECISE=YES
        #EXT-X-MAP:URI="../../../media/t0123456789abcdefghjk/00112233445566aa/opus-96/init.mp4"
        #EXTINF:1.920000,
        ../../../media/t0123456789abcdefghjk/00112233445566aa/opus-96/1.m4s
        #EXTINF:0.163333,
        ../../../media/t0123456789abcdefghjk/00112233445566aa/opus-96/2.m4s
        #EXT-X-ENDLIST
        "#,
    );
}

#[test]
fn a_multivariant_playlist_starts_with_aac_and_lists_every_rendition() {
    let track = sample::track(480_000);
    let text = multivariant(
        &[&track],
        CodecFilter::default(),
        &Layout::v1(Addressing::Ranges),
    );
    check(
        &text.unwrap(),
        r#"
        #EXTM3U
        #EXT-X-VERSION:6
        #EXT-X-INDEPENDENT-SEGMENTS
        #EXT-X-SESSION-DATA:DATA-ID="audio.segue.title",VALUE="Nocturne"
        #EXT-X-SESSION-DATA:DATA-ID="audio.segue.artist",VALUE="Ann & Bob"
        #EXT-X-SESSION-DATA:DATA-ID="audio.segue.loudness.track.integrated-lufs",VALUE="-14.13"
        #EXT-X-SESSION-DATA:DATA-ID="audio.segue.loudness.track.range-lu",VALUE="6.50"
        #EXT-X-SESSION-DATA:DATA-ID="audio.segue.loudness.track.true-peak-dbtp",VALUE="-1.00"
        #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="aac-128",NAME="Audio",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",STABLE-RENDITION-ID="aac-128",URI="aac-128.m3u8"
        #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="aac-64",NAME="Audio",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",STABLE-RENDITION-ID="aac-64",URI="aac-64.m3u8"
        #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="aac-256",NAME="Audio",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",STABLE-RENDITION-ID="aac-256",URI="aac-256.m3u8"
        #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="opus-96",NAME="Audio",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",STABLE-RENDITION-ID="opus-96",URI="opus-96.m3u8"
        #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="opus-32",NAME="Audio",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",STABLE-RENDITION-ID="opus-32",URI="opus-32.m3u8"
        #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="opus-64",NAME="Audio",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",STABLE-RENDITION-ID="opus-64",URI="opus-64.m3u8"
        #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="opus-160",NAME="Audio",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",STABLE-RENDITION-ID="opus-160",URI="opus-160.m3u8"
        #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="flac",NAME="Audio",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",STABLE-RENDITION-ID="flac",URI="flac.m3u8"
        #EXT-X-STREAM-INF:BANDWIDTH=128000,AVERAGE-BANDWIDTH=128000,CODECS="mp4a.40.2",AUDIO="aac-128",STABLE-VARIANT-ID="aac-128"
        aac-128.m3u8
        #EXT-X-STREAM-INF:BANDWIDTH=64000,AVERAGE-BANDWIDTH=64000,CODECS="mp4a.40.5",AUDIO="aac-64",STABLE-VARIANT-ID="aac-64"
        aac-64.m3u8
        #EXT-X-STREAM-INF:BANDWIDTH=256000,AVERAGE-BANDWIDTH=256000,CODECS="mp4a.40.2",AUDIO="aac-256",STABLE-VARIANT-ID="aac-256"
        aac-256.m3u8
        #EXT-X-STREAM-INF:BANDWIDTH=96000,AVERAGE-BANDWIDTH=96000,CODECS="opus",AUDIO="opus-96",STABLE-VARIANT-ID="opus-96"
        opus-96.m3u8
        #EXT-X-STREAM-INF:BANDWIDTH=32000,AVERAGE-BANDWIDTH=32000,CODECS="opus",AUDIO="opus-32",STABLE-VARIANT-ID="opus-32"
        opus-32.m3u8
        #EXT-X-STREAM-INF:BANDWIDTH=64000,AVERAGE-BANDWIDTH=64000,CODECS="opus",AUDIO="opus-64",STABLE-VARIANT-ID="opus-64"
        opus-64.m3u8
        #EXT-X-STREAM-INF:BANDWIDTH=160000,AVERAGE-BANDWIDTH=160000,CODECS="opus",AUDIO="opus-160",STABLE-VARIANT-ID="opus-160"
        opus-160.m3u8
        #EXT-X-STREAM-INF:BANDWIDTH=700000,AVERAGE-BANDWIDTH=700000,CODECS="fLaC",AUDIO="flac",STABLE-VARIANT-ID="flac"
        flac.m3u8
        "#,
    );
}

#[test]
fn the_declared_rate_is_that_of_the_heaviest_stretch() {
    let mut track = sample::with_ladder(1_893_200, &sample::LADDER[2..3]);
    let rendition = &mut track.renditions[0];
    let last = rendition.segments.len() - 1;
    // A tail shorter than half a target duration may be of any rate: players have it buffered.
    assert!(rendition.segments[last].duration.0 < 96_000);
    rendition.segments[last].bytes.len *= 10;
    rendition.segments[4].bytes.len *= 2;
    let text = multivariant(
        &[&track],
        CodecFilter::default(),
        &Layout::v1(Addressing::Ranges),
    );
    let text = text.unwrap();
    let after = |name: &str| {
        let rest = &text[text.find(name).unwrap() + name.len()..];
        rest.split(',').next().unwrap().parse::<u32>().unwrap()
    };
    let heaviest = 2 * 96_000;
    assert!(after(":BANDWIDTH=") >= heaviest, "{text}");
    assert!(after("AVERAGE-BANDWIDTH=") < heaviest, "{text}");
}

#[test]
fn the_codec_filter_narrows_and_can_leave_nothing() {
    let track = sample::track(480_000);
    let layout = Layout::v1(Addressing::Segments);
    let text = multivariant(&[&track], "opus,flac".parse().unwrap(), &layout).unwrap();
    assert!(
        text.contains("opus-96.m3u8?addressing=segments\n"),
        "{text}"
    );
    assert!(
        text.contains("flac.m3u8") && !text.contains("mp4a"),
        "{text}"
    );

    let opus = sample::with_ladder(480_000, &sample::LADDER[..2]);
    assert_eq!(
        multivariant(&[&opus], "aac".parse().unwrap(), &layout),
        None
    );
    assert!(
        "opus,mp3"
            .parse::<CodecFilter>()
            .unwrap_err()
            .to_string()
            .contains("`mp3`")
    );
}

#[test]
fn m3u8_rs_reads_both_playlists() {
    let text = opus_96(10_000_000, Addressing::Ranges);
    let Ok(Playlist::MediaPlaylist(media)) = m3u8_rs::parse_playlist_res(text.as_bytes()) else {
        panic!("no media playlist: {text}");
    };
    assert_eq!(media.playlist_type, Some(MediaPlaylistType::Vod));
    assert!(media.end_list && media.independent_segments);
    let sum: f64 = media.segments.iter().map(|s| f64::from(s.duration)).sum();
    assert!((sum - 10_000_000.0 / 48_000.0).abs() < 1e-3, "{sum}");
    let map = media.segments[0].map.as_ref().unwrap();
    assert_eq!(
        map.byte_range.as_ref().map(|b| (b.length, b.offset)),
        Some((900, Some(0)))
    );

    let track = sample::track(480_000);
    let text = multivariant(
        &[&track],
        CodecFilter::default(),
        &Layout::v1(Addressing::Ranges),
    );
    let text = text.unwrap();
    let Ok(Playlist::MasterPlaylist(all)) = m3u8_rs::parse_playlist_res(text.as_bytes()) else {
        panic!("no multivariant playlist: {text}");
    };
    assert_eq!(all.variants.len(), 8);
    assert!(
        all.variants
            .iter()
            .all(|v| v.bandwidth >= v.average_bandwidth.unwrap())
    );
    assert_eq!(all.session_data.len(), 5);
    for variant in &all.variants {
        let mut group = all
            .alternatives
            .iter()
            .filter(|a| Some(&a.group_id) == variant.audio.as_ref());
        let member = group.next().unwrap();
        assert_eq!(member.uri.as_ref(), Some(&variant.uri));
        assert!(group.next().is_none(), "{} has one member", member.group_id);
    }
}

#[test]
fn tracks_in_a_row_are_one_stream_with_discontinuities() {
    let mut first = sample::track(96_000);
    first.tags.title = "One\nhttp://evil/x.mp4".into();
    let second = sample::with_ladder(192_000, &sample::LADDER[1..3]);
    let tracks = [&first, &second];
    let layout = Layout::v1(Addressing::Ranges);
    let all = multivariant(&tracks, CodecFilter::default(), &layout).unwrap();
    assert!(
        !all.contains("flac") && !all.contains("aac"),
        "the second has Opus only: {all}"
    );
    assert!(all.contains("opus-32.m3u8"), "a near rung stands in: {all}");

    let items = hls_items(&tracks, "opus-160").unwrap();
    assert_eq!(items[1].rendition.id, "opus-96");
    let text = media(&items, &layout);
    let Ok(Playlist::MediaPlaylist(parsed)) = m3u8_rs::parse_playlist_res(text.as_bytes()) else {
        panic!("no media playlist: {text}");
    };
    assert_eq!(
        parsed.segments.iter().filter(|s| s.discontinuity).count(),
        1
    );
    assert_eq!(text.matches("#EXT-X-MAP").count(), 2);
    assert!(
        parsed
            .segments
            .iter()
            .all(|s| s.uri.starts_with("../../../media/")),
        "{text}"
    );
    let sum: f32 = parsed.segments.iter().map(|s| s.duration).sum();
    assert!((sum - 6.0).abs() < 1e-3, "{sum}");
}

/// `CHANNELS` of each audio group, in order.
fn channels(playlist: &str) -> Vec<&str> {
    let tags = playlist.lines().filter(|l| l.starts_with("#EXT-X-MEDIA:"));
    tags.filter_map(|l| l.split_once("CHANNELS=\"")?.1.split('"').next())
        .collect()
}

#[test]
fn channels_are_the_most_that_any_track_has_in_that_rung() {
    let layout = Layout::v1(Addressing::Ranges);
    let mut surround = sample::with_ladder(480_000, &sample::LADDER[5..]);
    surround.renditions[2].channels = 6;
    let mut mono = sample::with_ladder(96_000, &sample::LADDER[5..]);
    for rendition in &mut mono.renditions {
        rendition.channels = 1;
    }
    let of = |tracks: &[&Track]| {
        let text = multivariant(tracks, CodecFilter::default(), &layout).unwrap();
        channels(&text).join(" ")
    };
    assert_eq!(of(&[&surround]), "2 2 6");
    assert_eq!(of(&[&mono]), "1 1 1");
    assert_eq!(of(&[&mono, &surround]), "2 2 6");
}

#[test]
fn hostile_titles_stay_inside_their_attribute() {
    let mut track = sample::track(48_000);
    track.tags.title = "x\",VALUE=\"y\"\n#EXT-X-ENDLIST".into();
    let text = multivariant(
        &[&track],
        CodecFilter::default(),
        &Layout::v1(Addressing::Ranges),
    );
    let text = text.unwrap();
    assert!(
        text.contains("VALUE=\"x',VALUE='y' #EXT-X-ENDLIST\"\n"),
        "{text}"
    );
}

#[test]
fn pathways_offer_the_same_variants() {
    let track = sample::track(480_000);
    let steering = Steering {
        server: "/steering.json",
        pathways: &[
            Pathway {
                id: "eu",
                base: "https://eu.example.org/v1/tracks/t/",
            },
            Pathway {
                id: "us",
                base: "https://us.example.org/v1/tracks/t/",
            },
        ],
    };
    let layout = Layout::v1(Addressing::Ranges);
    let text = steered(&[&track], "flac".parse().unwrap(), &layout, &steering).unwrap();
    let tail: Vec<&str> = text.lines().filter(|l| !l.contains("SESSION")).collect();
    assert_eq!(
        tail[3..].join("\n"),
        "#EXT-X-CONTENT-STEERING:SERVER-URI=\"/steering.json\",PATHWAY-ID=\"eu\"\n\
         #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"flac@eu\",NAME=\"Audio\",DEFAULT=YES,AUTOSELECT=YES,\
         CHANNELS=\"2\",STABLE-RENDITION-ID=\"flac\",URI=\"https://eu.example.org/v1/tracks/t/flac.m3u8\"\n\
         #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"flac@us\",NAME=\"Audio\",DEFAULT=YES,AUTOSELECT=YES,\
         CHANNELS=\"2\",STABLE-RENDITION-ID=\"flac\",URI=\"https://us.example.org/v1/tracks/t/flac.m3u8\"\n\
         #EXT-X-STREAM-INF:BANDWIDTH=700000,AVERAGE-BANDWIDTH=700000,CODECS=\"fLaC\",\
         AUDIO=\"flac@eu\",STABLE-VARIANT-ID=\"flac\",PATHWAY-ID=\"eu\"\n\
         https://eu.example.org/v1/tracks/t/flac.m3u8\n\
         #EXT-X-STREAM-INF:BANDWIDTH=700000,AVERAGE-BANDWIDTH=700000,CODECS=\"fLaC\",\
         AUDIO=\"flac@us\",STABLE-VARIANT-ID=\"flac\",PATHWAY-ID=\"us\"\n\
         https://us.example.org/v1/tracks/t/flac.m3u8"
    );
    let document: serde_json::Value = serde_json::from_str(&steering.manifest(300)).unwrap();
    assert_eq!(
        document,
        serde_json::json!({ "VERSION": 1, "TTL": 300, "PATHWAY-PRIORITY": ["eu", "us"] })
    );
    let nowhere = Steering {
        pathways: &[],
        ..steering
    };
    assert_eq!(
        steered(&[&track], CodecFilter::default(), &layout, &nowhere),
        None
    );
}
