//! DASH: golden MPDs, read back with quick-xml and held against the schema's rules.

use std::collections::BTreeMap;

use manifests::{Addressing, Codec, CodecFilter, Layout, dash::mpd};
use quick_xml::{Reader, events::Event};

use crate::{check, sample, schema};

/// Elements in document order: name, attributes, text.
fn elements(xml: &str) -> Vec<(String, BTreeMap<String, String>, String)> {
    let mut reader = Reader::from_str(xml);
    reader.config_mut().check_end_names = true;
    let mut all: Vec<(String, BTreeMap<String, String>, String)> = Vec::new();
    loop {
        match reader.read_event().unwrap() {
            Event::Start(e) | Event::Empty(e) => {
                let attributes = e.attributes().map(|a| {
                    let a = a.unwrap();
                    let key = String::from_utf8(a.key.as_ref().to_vec()).unwrap();
                    (key, a.unescape_value().unwrap().into_owned())
                });
                let name = String::from_utf8(e.name().as_ref().to_vec()).unwrap();
                all.push((name, attributes.collect(), String::new()));
            }
            Event::Text(t) => all
                .last_mut()
                .into_iter()
                .for_each(|e| e.2 += &t.decode().unwrap()),
            Event::GeneralRef(r) => {
                let text = quick_xml::escape::unescape(&format!("&{};", r.decode().unwrap()))
                    .unwrap()
                    .into_owned();
                all.last_mut().into_iter().for_each(|e| e.2 += &text);
            }
            Event::Eof => return all,
            _ => {}
        }
    }
}

#[test]
fn an_on_demand_mpd_points_at_the_index() {
    let ladder = [
        ("opus-96", Codec::Opus, 312, 96_000),
        ("flac", Codec::Flac, 0, 700_000),
    ];
    let track = sample::with_ladder(480_000, &ladder);
    let text = mpd(
        &[&track],
        CodecFilter::default(),
        &Layout::v1(Addressing::Ranges),
    );
    check(
        &text.unwrap(),
        r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" mediaPresentationDuration="PT10.000000S" minBufferTime="PT3.840000S" maxSegmentDuration="PT3.840000S">
          <ProgramInformation><Title>Nocturne</Title></ProgramInformation>
          <Period id="1" start="PT0.000000S" duration="PT10.000000S">
            <AdaptationSet id="1" contentType="audio" mimeType="audio/mp4" codecs="opus" subsegmentAlignment="true" subsegmentStartsWithSAP="1" selectionPriority="4">
              <Role schemeIdUri="urn:mpeg:dash:role:2011" value="main"/>
              <Representation id="opus-96" bandwidth="96000" audioSamplingRate="48000">
                <AudioChannelConfiguration schemeIdUri="urn:mpeg:dash:23003:3:audio_channel_configuration:2011" value="2"/>
                <BaseURL>../../../media/t0123456789abcdefghjk/00112233445566aa/opus-96.mp4</BaseURL>
                <SegmentBase timescale="48000" indexRange="900-999" indexRangeExact="true">
                  <Initialization range="0-899"/>
                </SegmentBase>
              </Representation>
            </AdaptationSet>
            <AdaptationSet id="4" contentType="audio" mimeType="audio/mp4" codecs="fLaC" subsegmentAlignment="true" subsegmentStartsWithSAP="1" selectionPriority="1">
              <Role schemeIdUri="urn:mpeg:dash:role:2011" value="main"/>
              <Representation id="flac" bandwidth="700000" audioSamplingRate="48000">
                <AudioChannelConfiguration schemeIdUri="urn:mpeg:dash:23003:3:audio_channel_configuration:2011" value="2"/>
                <BaseURL>../../../media/t0123456789abcdefghjk/00112233445566aa/flac.mp4</BaseURL>
                <SegmentBase timescale="48000" indexRange="900-999" indexRangeExact="true">
                  <Initialization range="0-899"/>
                </SegmentBase>
              </Representation>
            </AdaptationSet>
          </Period>
        </MPD>
        "#,
    );
}

#[test]
fn the_segment_view_has_a_timeline_that_adds_up() {
    let track = sample::track(1_000_000);
    let layout = Layout::v1(Addressing::Segments);
    let text = mpd(&[&track], "aac-lc".parse().unwrap(), &layout).unwrap();
    let all = elements(&text);
    let template = &all.iter().find(|e| e.0 == "SegmentTemplate").unwrap().1;
    assert_eq!(
        template["media"],
        "../../../media/t0123456789abcdefghjk/00112233445566aa/$RepresentationID$/$Number$.m4s"
    );
    assert_eq!(template["startNumber"], "1");
    let per_set = all.iter().filter(|e| e.0 == "Representation").count();
    assert_eq!(per_set, 2);
    let number = |e: &BTreeMap<String, String>, k: &str| e.get(k).map_or(0, |v| v.parse().unwrap());
    let sum: u64 = all
        .iter()
        .filter(|e| e.0 == "S")
        .map(|e| number(&e.1, "d") * (number(&e.1, "r") + 1))
        .sum();
    assert_eq!(sum, 2 * 1_000_000);
}

#[test]
fn each_codec_has_one_adaptation_set_and_each_track_a_period() {
    let mut first = sample::track(96_000);
    first.tags.title = "A <b> & \"c\"".into();
    let text = mpd(
        &[&first],
        CodecFilter::default(),
        &Layout::v1(Addressing::Ranges),
    )
    .unwrap();
    let all = elements(&text);
    let codecs: Vec<&str> = all
        .iter()
        .filter(|e| e.0 == "AdaptationSet")
        .map(|e| e.1["codecs"].as_str())
        .collect();
    assert_eq!(codecs, ["opus", "mp4a.40.2", "mp4a.40.5", "fLaC"]);
    assert_eq!(
        all.iter().find(|e| e.0 == "Title").unwrap().2.trim(),
        "A <b> & \"c\""
    );

    let second = sample::track(480_000);
    let layout = Layout::v1(Addressing::Ranges);
    let text = mpd(&[&first, &second], CodecFilter::default(), &layout).unwrap();
    let all = elements(&text);
    assert_eq!(all[0].1["mediaPresentationDuration"], "PT12.000000S");
    let starts: Vec<&str> = all
        .iter()
        .filter(|e| e.0 == "Period")
        .map(|e| e.1["start"].as_str())
        .collect();
    assert_eq!(starts, ["PT0.000000S", "PT2.000000S"]);
    assert_eq!(mpd(&[], CodecFilter::default(), &layout), None);
}

/// MPDs with every element that the renderer writes: both addressings, one period and several, each
/// codec alone and all, and from mono to 7.1.
fn all_kinds() -> Vec<(String, String)> {
    let mut tracks = [1, 100_000, 10_000_000].map(sample::track);
    tracks[0].tags.title = "A <b> & \"c\" \u{1f3b5}".into();
    for (track, channels) in tracks.iter_mut().zip([1, 2, 8]) {
        for rendition in &mut track.renditions {
            rendition.channels = channels;
        }
    }
    let rows: [Vec<&manifests::Track>; 4] = [
        vec![&tracks[0]],
        vec![&tracks[1]],
        vec![&tracks[2]],
        tracks.iter().collect(),
    ];
    let mut all = Vec::new();
    for (row, tracks) in rows.iter().enumerate() {
        for addressing in [Addressing::Ranges, Addressing::Segments] {
            for codecs in ["", "opus", "aac-lc", "he-aac", "flac", "opus,aac"] {
                let layout = Layout::v1(addressing);
                let text = mpd(tracks, codecs.parse().unwrap(), &layout).unwrap();
                all.push((format!("row {row}, {addressing:?}, `{codecs}`"), text));
            }
        }
    }
    all
}

#[test]
fn every_mpd_keeps_the_schema() {
    for (what, text) in all_kinds() {
        let faults = schema::complaints(&text);
        assert!(faults.is_empty(), "{what}: {faults:#?}\n{text}");
    }
}

#[test]
fn the_schema_check_complains_of_what_is_spoilt() {
    let whole = |(what, text): (String, String)| what.ends_with("``").then_some(text);
    let all: Vec<String> = all_kinds().into_iter().filter_map(whole).collect();
    let complains = |mpd: &str, expected: &str| {
        let faults = schema::complaints(mpd);
        let found = faults.iter().any(|fault| fault.contains(expected));
        assert!(found, "`{expected}` is not among {faults:#?}\n{mpd}");
    };
    // Each MPD that has `from` gets `to` in its first place.
    let spoil = |from: &str, to: &str, expected: &str| {
        let mut spoilt = all.iter().filter(|mpd| mpd.contains(from)).peekable();
        assert!(spoilt.peek().is_some(), "no MPD has `{from}`");
        for mpd in spoilt {
            complains(&mpd.replacen(from, to, 1), expected);
        }
    };
    // Order and number of children.
    let role = "<Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"main\"/>";
    for mpd in &all {
        let late = mpd.replacen(role, "", 1);
        let late = late.replacen("</Representation>", &format!("</Representation>{role}"), 1);
        complains(&late, "AdaptationSet: Role does not belong there");
    }
    spoil(
        role,
        &format!("{role}<S d=\"1\"/>"),
        "S does not belong there",
    );
    spoil(
        "<Initialization range",
        "<Initialization range=\"0-1\"/><Initialization range",
        "2 of Initialization",
    );
    // Elements and attributes that are missing or unknown.
    spoil("<Title>", "<Headline/><Title>", "unknown element");
    spoil(
        " indexRangeExact=",
        " indexRangeExactly=",
        "unknown attribute",
    );
    spoil(
        " minBufferTime=\"",
        " maxSegmentDuration_=\"",
        "no attribute minBufferTime",
    );
    spoil(" bandwidth=\"32000\"", "", "no attribute bandwidth");
    spoil(
        "xmlns=\"urn:mpeg:dash:schema:mpd:2011\" ",
        "",
        "no attribute xmlns",
    );
    // Types.
    for (from, to) in [
        ("start=\"PT0.000000S\"", "start=\"0.0\""),
        ("start=\"PT0.000000S\"", "start=\"PT\""),
        ("bandwidth=\"32000\"", "bandwidth=\"32000.5\""),
        ("bandwidth=\"32000\"", "bandwidth=\"4294967296\""),
        ("timescale=\"48000\"", "timescale=\"0\""),
        ("codecs=\"opus\"", "codecs=\"opus, fLaC\""),
        ("startWithSAP=\"1\"", "startWithSAP=\"7\""),
        ("range=\"0-899\"", "range=\"899-0\""),
        (
            "subsegmentAlignment=\"true\"",
            "subsegmentAlignment=\"yes\"",
        ),
        ("contentType=\"audio\"", "contentType=\"sound\""),
        ("type=\"static\"", "type=\"vod\""),
        ("/$Number$.m4s", "/$Nummer$.m4s"),
        (
            "Representation id=\"opus-32\"",
            "Representation id=\"opus 32\"",
        ),
        ("profiles=\"urn:mpeg", "profiles=\" urn:mpeg"),
    ] {
        spoil(from, to, " is no ");
    }
    // Ids.
    spoil("<Period id=\"2\"", "<Period id=\"1\"", "two of Period");
    spoil(
        "<AdaptationSet id=\"2\"",
        "<AdaptationSet id=\"1\"",
        "two of AdaptationSet",
    );
    spoil("id=\"opus-64\"", "id=\"opus-32\"", "two of Representation");
    // Text where none belongs, and what is no XML.
    spoil("</Period>", "soon</Period>", "text `soon`");
    spoil("</Period>", "</Perod>", "");
}
