//! `track.json`: what is read back, and what is refused.

use manifests::{ByteRange, JsonError, Part, Track};
use serde_json::Value;

use crate::sample;

#[test]
fn a_document_reads_back_as_written() {
    let track = sample::track(480_000);
    let bytes = track.to_json().unwrap();
    assert_eq!(Track::from_json(&bytes).unwrap(), track);
}

#[test]
fn a_newer_schema_is_refused_before_its_fields_are_looked_at() {
    let err = Track::from_json(br#"{"schema": 2, "novel": []}"#).unwrap_err();
    assert!(matches!(err, JsonError::Schema { found: 2 }), "{err}");
    assert!(err.to_string().contains("upgrade"), "{err}");
}

/// Alters one field of a sound document and expects a complaint that contains `complaint`.
fn refused(pointer: &str, value: Value, complaint: &str) {
    let bytes = sample::track(480_000).to_json().unwrap();
    let mut document: Value = serde_json::from_slice(&bytes).unwrap();
    *document.pointer_mut(pointer).unwrap() = value;
    let err = Track::from_json(document.to_string().as_bytes()).unwrap_err();
    assert!(err.to_string().contains(complaint), "{pointer}: {err}");
}

#[test]
fn contradictions_are_refused() {
    refused("/id", "../etc".into(), "track `../etc`");
    refused("/revision", "".into(), "revision ``");
    refused("/renditions", Value::Array(Vec::new()), "no renditions");
    refused("/renditions/0/id", "a/b".into(), "rendition id `a/b`");
    refused("/renditions/0/id", "flac".into(), "rendition id `flac`");
    refused("/renditions/0/timescale", 0.into(), "no timescale");
    refused(
        "/renditions/0/segments",
        Value::Array(Vec::new()),
        "no segments",
    );
    refused(
        "/renditions/0/segments/1/bytes/start",
        5.into(),
        "gap in bytes",
    );
    refused(
        "/renditions/0/segments/1/bytes/len",
        u64::MAX.into(),
        "overflows",
    );
    refused("/renditions/0/segments/1/start", 5.into(), "gap in time");
    refused("/renditions/0/bytes", 5.into(), "end with the file");
    refused("/renditions/0/valid", 10_000_000.into(), "shorter than");
    refused("/renditions/0/codec", "mp3".into(), "not a track index");
}

#[test]
fn parts_map_to_bytes_of_the_file() {
    let track = sample::track(480_000);
    let rendition = track.rendition("opus-96").unwrap();
    assert_eq!(
        rendition.part(Part::Init),
        Some(ByteRange { start: 0, len: 900 })
    );
    assert_eq!(
        rendition.part(Part::Segment(2)),
        Some(rendition.segments[1].bytes)
    );
    assert_eq!(rendition.part(Part::Segment(0)), None);
    assert_eq!(rendition.part(Part::Segment(5)), None);
    assert_eq!(rendition.start_bytes(2), rendition.segments[1].bytes.end());
}
