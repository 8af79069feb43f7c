//! DASH: golden MPDs, read back with quick-xml.

use std::collections::BTreeMap;

use manifests::{Addressing, Codec, CodecFilter, Layout, dash::mpd};
use quick_xml::{Reader, events::Event};

use crate::{check, sample};

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
