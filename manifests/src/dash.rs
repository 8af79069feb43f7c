//! MPEG-DASH: on-demand MPDs (ISO/IEC 23009-1), a period a track, an adaptation set a codec.
//!
//! Media time in DASH is what remains after the edit list (§7.2.1 with ISO/IEC 14496-12 §8.6.6), so
//! `presentationTimeOffset` stays 0 although the first sample lies `priming` ticks earlier:
//! players that honour edit lists would otherwise cut the priming twice.

use std::fmt::Write as _;

use crate::{
    Addressing, Codec, CodecFilter, Layout, Rendition, Track,
    escape::xml,
    timeline::{decimal_seconds, micros},
};

/// Codecs in the order of their adaptation sets, each with its `selectionPriority`: players that
/// choose a set once take the widest ladder, and lossless only when asked.
const SETS: [(Codec, u32); 4] = [
    (Codec::Opus, 4),
    (Codec::AacLc, 3),
    (Codec::HeAac, 2),
    (Codec::Flac, 1),
];

/// Renders an MPD that presents `tracks` one after the other.
///
/// `None` where a track has no rendition that passes the filter, or there are no tracks.
pub fn mpd(tracks: &[&Track], filter: CodecFilter, layout: &Layout<'_>) -> Option<String> {
    let renditions = |t: &'_ &Track| t.renditions.iter().any(|r| filter.admits(r));
    if tracks.is_empty() || !tracks.iter().all(renditions) {
        return None;
    }
    let total_us: u64 = tracks.iter().map(|t| duration_us(t)).sum();
    let longest_us = tracks
        .iter()
        .flat_map(|t| &t.renditions)
        .flat_map(segment_us)
        .max()?;
    let profile = match layout.addressing {
        Addressing::Ranges => "urn:mpeg:dash:profile:isoff-on-demand:2011",
        Addressing::Segments => "urn:mpeg:dash:profile:isoff-live:2011",
    };
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" profiles=\"{profile}\" \
         mediaPresentationDuration=\"{total}\" minBufferTime=\"{longest}\" \
         maxSegmentDuration=\"{longest}\">\n",
        total = iso8601(total_us),
        longest = iso8601(longest_us),
    );
    if let [track] = tracks {
        let title = xml(&track.tags.title);
        let _ = writeln!(
            out,
            "  <ProgramInformation><Title>{title}</Title></ProgramInformation>"
        );
    }
    let mut start_us = 0;
    for (i, track) in tracks.iter().enumerate() {
        period(&mut out, i + 1, start_us, track, filter, layout);
        start_us += duration_us(track);
    }
    out.push_str("</MPD>\n");
    Some(out)
}

fn segment_us(rendition: &Rendition) -> impl Iterator<Item = u64> + '_ {
    rendition
        .presented()
        .map(|s| s.duration_us(rendition.timescale))
}

/// A track's length: that of its longest rendition, which resampling may round up by a sample.
fn duration_us(track: &Track) -> u64 {
    track
        .renditions
        .iter()
        .map(|r| micros(r.valid, r.timescale))
        .max()
        .unwrap_or(0)
}

/// A duration as `xs:duration`.
fn iso8601(us: u64) -> String {
    format!("PT{}S", decimal_seconds(us))
}

fn period(
    out: &mut String,
    number: usize,
    start_us: u64,
    track: &Track,
    filter: CodecFilter,
    layout: &Layout<'_>,
) {
    let (start, duration) = (iso8601(start_us), iso8601(duration_us(track)));
    let _ = writeln!(
        out,
        "  <Period id=\"{number}\" start=\"{start}\" duration=\"{duration}\">"
    );
    for (id, (codec, priority)) in (1..).zip(SETS) {
        let mut rungs: Vec<&Rendition> = track
            .renditions
            .iter()
            .filter(|r| r.codec == codec && filter.admits(r))
            .collect();
        rungs.sort_by_key(|r| r.average);
        if !rungs.is_empty() {
            adaptation_set(out, id, codec, priority, track, &rungs, layout);
        }
    }
    out.push_str("  </Period>\n");
}

fn adaptation_set(
    out: &mut String,
    id: u32,
    codec: Codec,
    priority: u32,
    track: &Track,
    rungs: &[&Rendition],
    layout: &Layout<'_>,
) {
    let aligned = match layout.addressing {
        Addressing::Ranges => "subsegmentAlignment=\"true\" subsegmentStartsWithSAP=\"1\"",
        Addressing::Segments => "segmentAlignment=\"true\" startWithSAP=\"1\"",
    };
    let _ = writeln!(
        out,
        "    <AdaptationSet id=\"{id}\" contentType=\"audio\" mimeType=\"audio/mp4\" \
         codecs=\"{}\" {aligned} selectionPriority=\"{priority}\">\n      \
         <Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"main\"/>",
        codec.rfc6381()
    );
    for rendition in rungs {
        representation(out, track, rendition, layout);
    }
    out.push_str("    </AdaptationSet>\n");
}

fn representation(out: &mut String, track: &Track, rendition: &Rendition, layout: &Layout<'_>) {
    let _ = writeln!(
        out,
        "      <Representation id=\"{}\" bandwidth=\"{}\" audioSamplingRate=\"{}\">\n        \
         <AudioChannelConfiguration \
         schemeIdUri=\"urn:mpeg:dash:23003:3:audio_channel_configuration:2011\" value=\"{}\"/>",
        rendition.id,
        rendition.bandwidth().peak.0,
        rendition.sample_rate,
        channel_configuration(rendition.channels),
    );
    match layout.addressing {
        Addressing::Ranges => segment_base(out, track, rendition, layout),
        Addressing::Segments => segment_template(out, track, rendition, layout),
    }
    out.push_str("      </Representation>\n");
}

fn segment_base(out: &mut String, track: &Track, rendition: &Rendition, layout: &Layout<'_>) {
    let (init, index) = (rendition.init, rendition.index);
    let _ = writeln!(
        out,
        "        <BaseURL>{}</BaseURL>\n        \
         <SegmentBase timescale=\"{}\" indexRange=\"{}-{}\" indexRangeExact=\"true\">\n          \
         <Initialization range=\"{}-{}\"/>\n        </SegmentBase>",
        layout.packed(track, rendition),
        rendition.timescale.0,
        index.start,
        index.end().saturating_sub(1),
        init.start,
        init.end().saturating_sub(1),
    );
}

fn segment_template(out: &mut String, track: &Track, rendition: &Rendition, layout: &Layout<'_>) {
    let stem = layout.stem(track, "$RepresentationID$");
    let _ = writeln!(
        out,
        "        <SegmentTemplate timescale=\"{}\" initialization=\"{stem}/init.mp4\" \
         media=\"{stem}/$Number$.m4s\" startNumber=\"1\">\n          <SegmentTimeline>",
        rendition.timescale.0
    );
    let mut runs: Vec<(u64, u64, u64)> = Vec::new();
    for segment in rendition.presented() {
        match runs.last_mut() {
            Some((_, duration, repeats)) if *duration == segment.duration.0 => *repeats += 1,
            _ => runs.push((segment.start.0, segment.duration.0, 0)),
        }
    }
    for (i, (start, duration, repeats)) in runs.into_iter().enumerate() {
        out.push_str("            <S");
        if i == 0 {
            let _ = write!(out, " t=\"{start}\"");
        }
        let _ = write!(out, " d=\"{duration}\"");
        if repeats > 0 {
            let _ = write!(out, " r=\"{repeats}\"");
        }
        out.push_str("/>\n");
    }
    out.push_str("          </SegmentTimeline>\n        </SegmentTemplate>\n");
}

/// ChannelConfiguration of ISO/IEC 23003-3 for a channel count in its usual layout.
fn channel_configuration(channels: u32) -> u32 {
    match channels {
        7 => 11,
        8 => 12,
        other => other,
    }
}
