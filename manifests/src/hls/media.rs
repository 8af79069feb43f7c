//! Media playlists: the segments of one rendition, of one track or of several in a row.

use std::fmt::Write as _;

use super::{Item, VERSION};
use crate::{
    Addressing, Layout, Span, bandwidth::target_duration_s, escape::line, timeline::decimal_seconds,
};

/// Renders a VOD media playlist. Tracks after the first start with a discontinuity and an
/// initialisation section of their own (RFC 8216 §4.3.2.3, §4.3.2.5); their first segments carry
/// the title where there are several.
///
/// Playing starts at the first sample, also where a player would start within the first segment
/// (`PRECISE`, RFC 8216bis §4.4.2.2). The multivariant playlist may say so as well, but doesn't:
/// ffmpeg takes it for a media playlist then; 5.1 lists each stream twice, 9 plays nothing.
pub fn media(items: &[Item<'_>], layout: &Layout<'_>) -> String {
    let mut out = String::with_capacity(256 + items.len() * 64 * 128);
    let _ = write!(
        out,
        "#EXTM3U\n#EXT-X-VERSION:{VERSION}\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:0\n\
         #EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-INDEPENDENT-SEGMENTS\n\
         #EXT-X-START:TIME-OFFSET=0,PRECISE=YES\n",
        target(items)
    );
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push_str("#EXT-X-DISCONTINUITY\n");
        }
        track(&mut out, item, layout, items.len() > 1);
    }
    out.push_str("#EXT-X-ENDLIST\n");
    out
}

/// The target duration that all variants of these tracks share, as RFC 8216 §6.2.4 demands: that of the
/// longest segment in any rendition.
fn target(items: &[Item<'_>]) -> u64 {
    let renditions = items.iter().flat_map(|item| &item.track.renditions);
    let durations = renditions.flat_map(|r| r.decoded().map(|s| s.duration_us(r.timescale)));
    target_duration_s(durations)
}

fn track(out: &mut String, item: &Item<'_>, layout: &Layout<'_>, titled: bool) {
    let Item { track, rendition } = *item;
    let packed = layout.packed(track, rendition);
    let _ = match layout.addressing {
        Addressing::Ranges => writeln!(
            out,
            "#EXT-X-MAP:URI=\"{packed}\",BYTERANGE=\"{}@{}\"",
            rendition.init.len, rendition.init.start
        ),
        Addressing::Segments => {
            writeln!(out, "#EXT-X-MAP:URI=\"{}\"", layout.init(track, rendition))
        }
    };
    for segment in rendition.decoded() {
        let Span { number, bytes, .. } = segment;
        let seconds = decimal_seconds(segment.duration_us(rendition.timescale));
        let title = if titled && number == 1 {
            title(item)
        } else {
            String::new()
        };
        let _ = writeln!(out, "#EXTINF:{seconds},{title}");
        let _ = match layout.addressing {
            Addressing::Ranges => {
                writeln!(
                    out,
                    "#EXT-X-BYTERANGE:{}@{}\n{packed}",
                    bytes.len, bytes.start
                )
            }
            Addressing::Segments => {
                writeln!(out, "{}", layout.segment(track, rendition, number))
            }
        };
    }
}

fn title(item: &Item<'_>) -> String {
    let tags = &item.track.tags;
    match &tags.artist {
        Some(artist) => line(&format!("{artist} - {}", tags.title)),
        None => line(&tags.title),
    }
}
