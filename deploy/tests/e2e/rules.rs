//! The rules of HLS, one by one, against what the stack serves: RFC 8216 and its successor draft
//! (bis), and Apple's authoring specification as far as it speaks of sound.

use std::collections::{BTreeMap, HashSet};

use crate::{
    http,
    stack::{self, Published, Shared},
};

/// A variant as the multivariant playlist offers it, with its media playlist.
struct Variant {
    attributes: BTreeMap<String, String>,
    uri: String,
    playlist: Playlist,
    /// The bytes that `EXT-X-MAP` names.
    init: Vec<u8>,
}

impl Variant {
    fn number(&self, name: &str) -> f64 {
        self.attributes[name].parse().unwrap()
    }
}

/// A playlist's text and lines.
struct Playlist {
    mime: String,
    text: String,
}

/// A segment of a media playlist: seconds, length and offset in bytes.
type Segment = (f64, u64, u64);

impl Playlist {
    fn get(shared: &Shared, path: &str) -> Playlist {
        let response = http::get(shared.url(path)).send().expect(200);
        Playlist {
            mime: response.header("content-type").unwrap_or_default().into(),
            text: response.text(),
        }
    }

    fn tags<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.text.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            rest.strip_prefix(':')
                .or_else(|| rest.is_empty().then_some(""))
        })
    }

    fn tag(&self, name: &str) -> Option<&str> {
        self.text
            .lines()
            .find_map(|l| l.strip_prefix(name)?.strip_prefix(':'))
    }

    fn segments(&self) -> Vec<Segment> {
        let seconds = self
            .tags("#EXTINF")
            .map(|t| t.trim_end_matches(',').parse::<f64>().unwrap());
        let ranges = self.tags("#EXT-X-BYTERANGE").map(|t| {
            let (len, offset) = t.split_once('@').unwrap();
            (len.parse().unwrap(), offset.parse().unwrap())
        });
        seconds.zip(ranges).map(|(s, (l, o))| (s, l, o)).collect()
    }
}

/// `NAME=value,NAME="value"`.
fn attributes(text: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut rest = text;
    while let Some((name, value)) = rest.split_once('=') {
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap(),
            None => value.split_at(value.find(',').unwrap_or(value.len())),
        };
        all.insert(name.to_owned(), value.to_owned());
        rest = after.trim_start_matches(',');
    }
    all
}

/// A track as HLS.
struct Show {
    multivariant: Playlist,
    variants: Vec<Variant>,
    seconds: f64,
}

impl Show {
    fn of(shared: &Shared, published: &Published) -> Show {
        let folder = format!("/v1/tracks/{}", published.id);
        let multivariant = Playlist::get(shared, &format!("{folder}/index.m3u8"));
        let lines: Vec<&str> = multivariant.text.lines().collect();
        let variants = lines
            .windows(2)
            .filter_map(|pair| Some((pair[0].strip_prefix("#EXT-X-STREAM-INF:")?, pair[1])))
            .map(|(tag, uri)| {
                let playlist = Playlist::get(shared, &format!("{folder}/{uri}"));
                let map = attributes(playlist.tag("#EXT-X-MAP").unwrap());
                let (len, offset) = map["BYTERANGE"].split_once('@').unwrap();
                let (len, offset): (u64, u64) = (len.parse().unwrap(), offset.parse().unwrap());
                let media = map["URI"].replace("../../../", "/");
                let range = format!("{offset}-{}", offset + len - 1);
                let init = http::get(shared.url(&media)).range(&range).send();
                Variant {
                    attributes: attributes(tag),
                    uri: uri.to_owned(),
                    init: init.expect(206).body.to_vec(),
                    playlist,
                }
            })
            .collect();
        let seconds = published.track["duration_s"].as_f64().unwrap();
        Show {
            multivariant,
            variants,
            seconds,
        }
    }

    fn playlists(&self) -> impl Iterator<Item = &Playlist> {
        std::iter::once(&self.multivariant).chain(self.variants.iter().map(|v| &v.playlist))
    }

    /// The `EXT-X-MEDIA` tags.
    fn groups(&self) -> Vec<BTreeMap<String, String>> {
        let tags = self.multivariant.tags("#EXT-X-MEDIA");
        tags.map(attributes).collect()
    }

    /// That which the variant's `AUDIO` names.
    fn group(&self, variant: &Variant) -> BTreeMap<String, String> {
        let named = |g: &BTreeMap<String, String>| g["GROUP-ID"] == variant.attributes["AUDIO"];
        self.groups().into_iter().find(named).unwrap()
    }

    /// Whether it holds for all variants, each with its segments.
    fn every(&self, holds: impl Fn(&Variant, &[Segment]) -> bool) -> bool {
        self.variants
            .iter()
            .all(|v| holds(v, &v.playlist.segments()))
    }
}

/// Bits a second of a run of segments.
fn rate(segments: &[Segment]) -> f64 {
    let bytes: u64 = segments.iter().map(|s| s.1).sum();
    bytes as f64 * 8.0 / segments.iter().map(|s| s.0).sum::<f64>()
}

fn target(playlist: &Playlist) -> f64 {
    let text = playlist.tag("#EXT-X-TARGETDURATION").unwrap();
    text.parse().unwrap()
}

/// The largest rate of any run between half and one and a half target durations (bis §4.1).
fn peak(playlist: &Playlist) -> f64 {
    let (segments, target) = (playlist.segments(), target(playlist));
    let mut peak: f64 = 0.0;
    for from in 0..segments.len() {
        for to in from + 1..=segments.len() {
            let run = &segments[from..to];
            let seconds: f64 = run.iter().map(|s| s.0).sum();
            if (target * 0.5..=target * 1.5).contains(&seconds) {
                peak = peak.max(rate(run));
            }
        }
    }
    peak
}

fn has(bytes: &[u8], name: &[u8]) -> bool {
    bytes.windows(name.len()).any(|w| w == name)
}

/// The channels that an init segment's sample entry has: 24 bytes behind the start of its box
/// (ISO/IEC 14496-12 §12.2.3), so 20 behind its type.
fn sample_entry_channels(init: &[u8]) -> Option<u16> {
    let entry = [b"Opus", b"fLaC", b"mp4a"].into_iter().find_map(|name| {
        let head = [name.as_slice(), b"\0\0\0\0\0\0\0\x01"].concat();
        init.windows(head.len()).position(|w| w == head)
    })?;
    let count = init.get(entry + 20..entry + 22)?;
    Some(u16::from_be_bytes([count[0], count[1]]))
}

/// Where a rule is written, what it says, and whether a track keeps it.
type Rule = (&'static str, &'static str, fn(&Show) -> bool);

const RULES: &[Rule] = &[
    (
        "bis §4",
        "playlists are UTF-8 without byte order mark or control characters",
        |s| {
            s.playlists().all(|p| {
                !p.text.starts_with('\u{feff}')
                    && !p.text.chars().any(|c| c.is_control() && c != '\n')
            })
        },
    ),
    ("bis §4", "served as application/vnd.apple.mpegurl", |s| {
        s.playlists()
            .all(|p| p.mime.starts_with("application/vnd.apple.mpegurl"))
    }),
    ("bis §4.4.1.1", "EXTM3U is the first line", |s| {
        s.playlists().all(|p| p.text.starts_with("#EXTM3U\n"))
    }),
    (
        "bis §4.4.1.2, §8",
        "one EXT-X-VERSION, at least 6 for EXT-X-MAP",
        |s| {
            s.playlists().all(|p| {
                p.tags("#EXT-X-VERSION").count() == 1
                    && p.tag("#EXT-X-VERSION").unwrap().parse::<u32>().unwrap() >= 6
            })
        },
    ),
    ("bis §4.4.2.1", "segments are declared independent", |s| {
        s.playlists()
            .all(|p| p.text.contains("#EXT-X-INDEPENDENT-SEGMENTS\n"))
    }),
    (
        "bis §4.4.3.1",
        "no segment is longer than the target, rounded",
        |s| s.every(|v, segments| segments.iter().all(|g| g.0.round() <= target(&v.playlist))),
    ),
    (
        "bis §6.2.4",
        "all variants have the same target duration",
        |s| {
            let targets = s.variants.iter().map(|v| target(&v.playlist));
            targets.map(|t| t as u64).collect::<HashSet<_>>().len() == 1
        },
    ),
    ("bis §4.4.3.4, §4.4.3.5", "a VOD playlist ends", |s| {
        s.every(|v, _| {
            v.playlist.tag("#EXT-X-PLAYLIST-TYPE") == Some("VOD")
                && v.playlist.text.ends_with("#EXT-X-ENDLIST\n")
        })
    }),
    (
        "bis §4.4.4.2",
        "byte ranges follow each other and the index, without a gap",
        |s| {
            s.every(|v, segments| {
                let joined = segments.windows(2).all(|w| w[0].2 + w[0].1 == w[1].2);
                joined && segments[0].2 > v.init.len() as u64
            })
        },
    ),
    (
        "bis §4.4.4.5, §3.1.2",
        "EXT-X-MAP names ftyp and moov, before the first segment",
        |s| {
            s.every(|v, _| {
                let text = &v.playlist.text;
                let first = text.find("#EXTINF").unwrap();
                text.find("#EXT-X-MAP").unwrap() < first
                    && &v.init[4..8] == b"ftyp"
                    && has(&v.init, b"moov")
                    && !has(&v.init, b"sidx")
            })
        },
    ),
    (
        "bis §4.4.6.2",
        "BANDWIDTH is the peak, to a tenth (Apple 9.12, 9.13)",
        |s| {
            s.every(|v, _| {
                let (declared, found) = (v.number("BANDWIDTH"), peak(&v.playlist));
                found <= declared * 1.1 && declared <= found * 1.1 + 1.0
            })
        },
    ),
    (
        "bis §4.4.6.2, Apple 9.14",
        "AVERAGE-BANDWIDTH is there, and right to a tenth",
        |s| {
            s.every(|v, segments| {
                let (declared, found) = (v.number("AVERAGE-BANDWIDTH"), rate(segments));
                (declared - found).abs() <= found * 0.1 && declared <= v.number("BANDWIDTH")
            })
        },
    ),
    (
        "bis §4.4.6.2",
        "CODECS names what the sample entry is",
        |s| {
            s.every(|v, _| {
                let (codecs, init) = (v.attributes["CODECS"].as_str(), &v.init);
                match codecs {
                    "opus" => has(init, b"Opus\0\0\0\0\0\0\0\x01"),
                    "fLaC" => has(init, b"fLaC\0\0\0\0\0\0\0\x01"),
                    "mp4a.40.2" | "mp4a.40.5" => has(init, b"mp4a\0\0\0\0\0\0\0\x01"),
                    _ => false,
                }
            })
        },
    ),
    (
        "bis §4.4.6.2.2",
        "STABLE-VARIANT-ID is unique, of allowed characters",
        |s| {
            let ids = s
                .variants
                .iter()
                .map(|v| &v.attributes["STABLE-VARIANT-ID"]);
            let plain = |id: &&String| {
                id.chars()
                    .all(|c| c.is_ascii_alphanumeric() || "+/=.-_".contains(c))
            };
            ids.filter(plain).collect::<HashSet<_>>().len() == s.variants.len()
        },
    ),
    (
        "bis §6.2.4",
        "variants are equally long, as long as the sound",
        |s| {
            s.every(|_, segments| {
                let sum: f64 = segments.iter().map(|g| g.0).sum();
                // A resampled rendition may be longer by a part of a sample.
                (sum - s.seconds).abs() < 5e-5
            })
        },
    ),
    (
        "bis §6.2.4",
        "variants are cut at the same instants, to half a frame and the priming",
        |s| {
            let cuts = |v: &Variant| {
                let mut at = 0.0;
                let sum = |g: &Segment| {
                    at += g.0;
                    at
                };
                v.playlist.segments().iter().map(sum).collect::<Vec<f64>>()
            };
            let first = cuts(&s.variants[0]);
            s.variants.iter().all(|v| {
                let pairs = cuts(v).into_iter().zip(&first);
                cuts(v).len() == first.len() && pairs.into_iter().all(|(a, b)| (a - b).abs() < 0.11)
            })
        },
    ),
    (
        "bis §4.4.6.4",
        "each EXT-X-SESSION-DATA is told once, by value",
        |s| {
            let tags: Vec<_> = s
                .multivariant
                .tags("#EXT-X-SESSION-DATA")
                .map(attributes)
                .collect();
            let ids: HashSet<_> = tags.iter().map(|t| &t["DATA-ID"]).collect();
            ids.len() == tags.len() && tags.iter().all(|t| t.contains_key("VALUE"))
        },
    ),
    ("bis §4.4.2.2", "playing starts at the first sample", |s| {
        s.variants.iter().all(|v| {
            let starts: Vec<_> = v.playlist.tags("#EXT-X-START").collect();
            starts == ["TIME-OFFSET=0,PRECISE=YES"]
        })
    }),
    (
        "bis §4.4.6.1",
        "each EXT-X-MEDIA has the attributes that sound must have",
        |s| {
            let groups = s.groups();
            groups.len() == s.variants.len()
                && groups.iter().all(|g| {
                    g["TYPE"] == "AUDIO" && !g["GROUP-ID"].is_empty() && !g["NAME"].is_empty()
                })
        },
    ),
    (
        "bis §4.4.6.1",
        "what is DEFAULT is also AUTOSELECT, and so chosen unasked",
        |s| {
            let yes = |g: &BTreeMap<_, _>, name: &str| g[name] == "YES";
            let mut groups = s.groups().into_iter();
            groups.all(|g| yes(&g, "DEFAULT") && yes(&g, "AUTOSELECT"))
        },
    ),
    (
        "bis §4.4.6.1.1",
        "a group has one member of a name, and all groups have the same members",
        |s| {
            let groups = s.groups();
            let ids: HashSet<_> = groups.iter().map(|g| &g["GROUP-ID"]).collect();
            let own = ["GROUP-ID", "URI", "CHANNELS", "STABLE-RENDITION-ID"];
            let shared = |g: &BTreeMap<String, String>| {
                let mut g = g.clone();
                g.retain(|name, _| !own.contains(&name.as_str()));
                g
            };
            ids.len() == groups.len() && groups.iter().all(|g| shared(g) == shared(&groups[0]))
        },
    ),
    (
        "bis §4.4.6.2",
        "AUDIO names a group, whose member is what the variant plays",
        |s| {
            s.every(|v, _| {
                let group = s.group(v);
                group["URI"] == v.uri
                    && group["STABLE-RENDITION-ID"] == v.attributes["STABLE-VARIANT-ID"]
            })
        },
    ),
    (
        "bis §4.4.6.1",
        "CHANNELS is there, and what the sample entry has",
        |s| {
            s.every(|v, _| {
                let told: u16 = s.group(v)["CHANNELS"].parse().unwrap();
                Some(told) == sample_entry_channels(&v.init)
            })
        },
    ),
    (
        "bis §4.4.6.2.1",
        "a group is one codec, which its variant's CODECS name",
        |s| {
            let mut codecs: BTreeMap<&str, &str> = BTreeMap::new();
            s.variants.iter().all(|v| {
                let codec = v.attributes["CODECS"].as_str();
                !codec.contains(',')
                    && *codecs.entry(&v.attributes["AUDIO"]).or_insert(codec) == codec
            })
        },
    ),
    ("bis §4.4.6.4", "loudness is told as session data", |s| {
        s.multivariant
            .text
            .contains("loudness.track.integrated-lufs\",VALUE=\"-")
    }),
    (
        "Apple 2.2",
        "there is AAC for those who play nothing else, and it comes first",
        |s| s.variants[0].attributes["CODECS"].starts_with("mp4a.40."),
    ),
    ("Apple 2.4", "HE-AAC is not used above 64 kbit/s", |s| {
        s.variants
            .iter()
            .filter(|v| v.attributes["CODECS"] == "mp4a.40.5")
            .all(|v| v.number("AVERAGE-BANDWIDTH") < 68_000.0)
    }),
    (
        "Apple 9.1",
        "there is a variant for cellular networks, at most 192 kbit/s",
        |s| s.variants.iter().any(|v| v.number("BANDWIDTH") < 192_000.0),
    ),
    (
        "Apple 8.1",
        "target durations are short, segments no longer than 6 s",
        |s| s.every(|_, segments| segments.iter().all(|g| g.0 <= 6.0)),
    ),
    (
        "bis §4.1",
        "variants are playlists beside the multivariant one",
        |s| {
            s.variants
                .iter()
                .all(|v| v.uri.ends_with(".m3u8") && !v.uri.contains('/'))
        },
    ),
];

#[test]
fn hls_keeps_the_rules() {
    let shared = stack::shared();
    let mut broken = Vec::new();
    for name in ["s16-44k", "s32-48k", "u8-mono-8k", "s24-192k", "opus-48k"] {
        let show = Show::of(shared, shared.track(name));
        assert!(!show.variants.is_empty(), "{name}");
        for (place, rule, keeps) in RULES {
            if !keeps(&show) {
                broken.push(format!("{name}: {place}: {rule}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    println!("{} rules kept", RULES.len());
}
