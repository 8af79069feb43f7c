//! Multivariant playlists: the ladder of a track, or the one that several tracks share.

use std::{collections::BTreeSet, fmt::Write as _};

use super::{Pathway, Steering, VERSION, items};
use crate::{
    CodecFilter, Layout, R128, Rendition, Track, bandwidth::Run, escape::quoted, ladder::offered,
};

/// Prefix of the `DATA-ID`s of our session data.
const DATA: &str = "audio.segue";

/// `NAME` of the one rendition in each audio group.
const NAME: &str = "Audio";

/// Renders the multivariant playlist over `tracks` in a row, usually one. AAC comes first, within
/// a family the rendition to start on; each is a variant with its peak and average rate. Several
/// tracks share a ladder: every rung that one of them has, in families that all of them have.
///
/// Each variant has an audio group that tells its `CHANNELS` (see the [module](super) for why).
///
/// `None` where no rendition passes the filter or there are no tracks.
pub fn multivariant(tracks: &[&Track], filter: CodecFilter, layout: &Layout<'_>) -> Option<String> {
    const HERE: [Pathway<'_>; 1] = [Pathway { id: "", base: "" }];
    render(tracks, filter, layout, None, &HERE)
}

/// The same where the ladder can be had by several pathways: each variant once a pathway.
///
/// `None` as [`multivariant`], and where there are no pathways.
pub fn steered(
    tracks: &[&Track],
    filter: CodecFilter,
    layout: &Layout<'_>,
    steering: &Steering<'_>,
) -> Option<String> {
    let server = Some(steering.server);
    render(tracks, filter, layout, server, steering.pathways)
}

fn render(
    tracks: &[&Track],
    filter: CodecFilter,
    layout: &Layout<'_>,
    server: Option<&str>,
    pathways: &[Pathway<'_>],
) -> Option<String> {
    let first = pathways.first()?;
    let mut out = format!("#EXTM3U\n#EXT-X-VERSION:{VERSION}\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    if let Some(server) = server {
        let _ = writeln!(
            out,
            "#EXT-X-CONTENT-STEERING:SERVER-URI=\"{}\",PATHWAY-ID=\"{}\"",
            quoted(server),
            quoted(first.id)
        );
    }
    if let [track] = tracks {
        session_data(&mut out, track);
    }
    // Groups come before the variants that name them, as everybody writes it.
    let mut variants = String::new();
    for rung in offered(tracks) {
        let Some(items) = items(tracks, &rung.id) else {
            continue;
        };
        let played: Vec<&Rendition> = items.iter().map(|i| i.rendition).collect();
        if !played.iter().all(|r| filter.admits(r)) {
            continue;
        }
        let variant = stream_inf(&played);
        let playlist = layout.media_playlist(&rung.id);
        for pathway in pathways {
            let offer = Offer {
                id: &rung.id,
                playlist: &playlist,
                pathway: server.map(|_| pathway),
            };
            offer.media(&mut out, channels(&played));
            offer.variant(&mut variants, &variant);
        }
    }
    if variants.is_empty() {
        return None;
    }
    out.push_str(&variants);
    Some(out)
}

/// A rung by one way: its playlist beside the multivariant one, or by a pathway.
struct Offer<'a> {
    id: &'a str,
    playlist: &'a str,
    pathway: Option<&'a Pathway<'a>>,
}

impl Offer<'_> {
    /// The group of one rendition that its variant names (RFC 8216bis §4.4.6.1). All groups have a
    /// member of the same name and attributes, but for the URI and what goes with it
    /// (§4.4.6.1.1).
    fn media(&self, out: &mut String, channels: u32) {
        out.push_str("#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"");
        self.group(out);
        let _ = write!(
            out,
            "\",NAME=\"{NAME}\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"{channels}\",\
             STABLE-RENDITION-ID=\"{}\",URI=\"",
            self.id
        );
        if let Some(pathway) = self.pathway {
            out.push_str(&quoted(pathway.base));
        }
        out.push_str(self.playlist);
        out.push_str("\"\n");
    }

    /// The variant (§4.4.6.2): what is `told` of it, its group, and the same URI.
    fn variant(&self, out: &mut String, told: &str) {
        out.push_str(told);
        out.push_str(",AUDIO=\"");
        self.group(out);
        let _ = write!(out, "\",STABLE-VARIANT-ID=\"{}\"", self.id);
        let base = match self.pathway {
            Some(pathway) => {
                let _ = write!(out, ",PATHWAY-ID=\"{}\"", quoted(pathway.id));
                pathway.base
            }
            None => "",
        };
        out.push('\n');
        out.push_str(base);
        out.push_str(self.playlist);
        out.push('\n');
    }

    /// The group's id: a rung's, by each pathway another.
    fn group(&self, out: &mut String) {
        out.push_str(self.id);
        if let Some(pathway) = self.pathway {
            out.push('@');
            out.push_str(&quoted(pathway.id));
        }
    }
}

/// `CHANNELS`: the most that any segment of what is played has (RFC 8216bis §4.4.6.1).
fn channels(played: &[&Rendition]) -> u32 {
    played.iter().map(|r| r.channels).max().unwrap_or(0)
}

fn stream_inf(played: &[&Rendition]) -> String {
    let codecs: BTreeSet<&str> = played.iter().map(|r| r.codec.rfc6381()).collect();
    let codecs = codecs.into_iter().collect::<Vec<_>>().join(",");
    let rates = played.iter().map(|r| r.bandwidth());
    let (peak, whole) = rates.fold((0, Run::default()), |(peak, whole), rates| {
        (peak.max(rates.peak.0), whole.and(rates.whole))
    });
    let average = whole.rate().0;
    format!("#EXT-X-STREAM-INF:BANDWIDTH={peak},AVERAGE-BANDWIDTH={average},CODECS=\"{codecs}\"")
}

/// Title, artist and loudness: what a player without `track.json` can read (RFC 8216 §4.3.4.4).
fn session_data(out: &mut String, track: &Track) {
    let mut put = |name: &str, value: &str| {
        let value = quoted(value);
        let _ = writeln!(
            out,
            "#EXT-X-SESSION-DATA:DATA-ID=\"{DATA}.{name}\",VALUE=\"{value}\""
        );
    };
    put("title", &track.tags.title);
    if let Some(artist) = &track.tags.artist {
        put("artist", artist);
    }
    let mut loudness = |scope: &str, figures: &R128| {
        let all = [
            ("integrated-lufs", figures.integrated_lufs),
            ("range-lu", figures.range_lu),
            ("true-peak-dbtp", figures.true_peak_dbtp),
        ];
        for (name, value) in all {
            if let Some(value) = value.filter(|v| v.is_finite()) {
                put(&format!("loudness.{scope}.{name}"), &format!("{value:.2}"));
            }
        }
    };
    loudness("track", &track.loudness.track);
    if let Some(album) = &track.loudness.album {
        loudness("album", album);
    }
}
