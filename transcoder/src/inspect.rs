//! Reads a fragmented MP4 and says what is in it and what is wrong with it.
//!
//! The boxes are parsed by `mp4-atom`, not by the code that writes them, so that writer and
//! reader don't share a mistake. Works on any single-track fragmented file; what only our own
//! files promise is in [`Inspection::check_ours`].

use std::{
    fmt,
    fs::File,
    io::{self, Read},
};

use mp4_atom::{Codec, Decode, DecodeMaybe, Ftyp, Header, Moof, Moov, Sidx, Stbl, Trak};

/// One movie fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Media time of the first sample.
    pub start: u64,
    /// Samples.
    pub samples: usize,
    /// Sum of sample durations.
    pub duration: u64,
    /// Bytes of `moof` and `mdat`.
    pub bytes: u64,
    /// Samples in a `roll` group.
    pub rolling: u64,
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inspection {
    /// Types and sizes of the top-level boxes.
    pub boxes: Vec<(String, u64)>,
    /// Brands of the file.
    pub brands: Vec<String>,
    /// Sample entry, for people.
    pub codec: String,
    /// Ticks per second of the media and of the movie.
    pub timescales: (u32, u32),
    /// Media time and duration of each edit, `None` for an empty one.
    pub edits: Vec<(Option<u64>, u64)>,
    /// Pre-skip that an Opus configuration tells.
    pub pre_skip: Option<u64>,
    /// Whether the file describes a roll group.
    pub rolls: bool,
    /// Duration of the presentation by `mehd`.
    pub movie_duration: Option<u64>,
    /// Sizes and durations by `sidx`.
    pub index: Vec<(u64, u64)>,
    /// Fragments in order.
    pub fragments: Vec<Fragment>,
    /// What breaks a rule.
    pub problems: Vec<String>,
}

/// A last fragment should not be shorter: it is merged into the one before.
const SHORTEST_LAST_S: f64 = 0.45;

/// A file larger than this is not read.
const MAX_BYTES: u64 = 2 << 30;

/// Reads a whole file, at most 2 GiB, into memory and inspects it.
///
/// # Errors
/// Where it can't be read or is larger.
pub fn file(file: File) -> io::Result<Inspection> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("larger than 2 GiB"));
    }
    Ok(inspect(&bytes))
}

/// Inspects the bytes of a file.
pub fn inspect(file: &[u8]) -> Inspection {
    let mut seen = Inspection::default();
    let mut at = 0;
    while at < file.len() {
        let mut rest = &file[at..];
        let header = match Header::decode_maybe(&mut rest) {
            Ok(Some(header)) => header,
            _ => {
                seen.problem(format!("byte {at}: no box header"));
                break;
            }
        };
        let head = file.len() - at - rest.len();
        let size = header.size.unwrap_or(rest.len()) + head;
        let Some(whole) = file.get(at..at + size) else {
            seen.problem(format!("byte {at}: `{}` is cut off", header.kind));
            break;
        };
        seen.boxes.push((header.kind.to_string(), size as u64));
        seen.top_level(&header.kind.to_string(), whole, size - head);
        at += size;
    }
    seen.check_index();
    seen.check_times();
    seen.check_gapless();
    seen
}

impl Inspection {
    fn problem(&mut self, text: impl Into<String>) {
        self.problems.push(text.into());
    }

    /// Decodes one box, noting a failure.
    fn parse<T: Decode>(&mut self, kind: &str, whole: &[u8]) -> Option<T> {
        let mut rest = whole;
        match T::decode(&mut rest) {
            Ok(parsed) if rest.is_empty() => Some(parsed),
            Ok(_) => {
                self.problem(format!("`{kind}` has bytes after its end"));
                None
            }
            Err(error) => {
                self.problem(format!("`{kind}` can't be read: {error}"));
                None
            }
        }
    }

    fn top_level(&mut self, kind: &str, whole: &[u8], body: usize) {
        match kind {
            "ftyp" => {
                if let Some(ftyp) = self.parse::<Ftyp>(kind, whole) {
                    self.brands = ftyp
                        .compatible_brands
                        .iter()
                        .map(ToString::to_string)
                        .collect();
                }
            }
            "moov" => {
                if let Some(moov) = self.parse::<Moov>(kind, whole) {
                    self.movie(&moov);
                }
            }
            "sidx" => {
                if let Some(sidx) = self.parse::<Sidx>(kind, whole) {
                    self.segment_index(&sidx);
                }
            }
            "moof" => {
                if let Some(moof) = self.parse::<Moof>(kind, whole) {
                    self.fragment(&moof, whole.len() as u64);
                }
            }
            "mdat" => self.media(body as u64, whole.len() as u64),
            _ => {}
        }
    }

    fn movie(&mut self, moov: &Moov) {
        let [trak] = moov.trak.as_slice() else {
            self.problem(format!("{} tracks", moov.trak.len()));
            return;
        };
        self.timescales = (trak.mdia.mdhd.timescale, moov.mvhd.timescale);
        self.edits = edits(trak);
        match &moov.mvex {
            Some(mvex) => self.movie_duration = mvex.mehd.as_ref().map(|m| m.fragment_duration),
            None => self.problem("no `mvex`, so not a fragmented file"),
        }
        let stbl = &trak.mdia.minf.stbl;
        if stbl.stss.is_some() {
            self.problem("`stss` in a file where every sample is a sync sample");
        }
        self.rolls = stbl.sgpd.iter().any(|s| s.grouping_type == b"roll".into());
        self.sample_entry(stbl);
    }

    fn sample_entry(&mut self, stbl: &Stbl) {
        let [entry] = stbl.stsd.codecs.as_slice() else {
            self.problem(format!("{} sample entries", stbl.stsd.codecs.len()));
            return;
        };
        self.codec = match entry {
            Codec::Opus(opus) => {
                self.pre_skip = Some(u64::from(opus.dops.pre_skip));
                format!("Opus, {} channels", opus.audio.channel_count)
            }
            Codec::Mp4a(aac) => {
                let config = &aac.esds.es_desc.dec_config;
                let object = config
                    .dec_specific
                    .as_ref()
                    .map_or(0, |specific| specific.profile);
                format!(
                    "AAC object type {object}, {} channels",
                    aac.audio.channel_count
                )
            }
            Codec::Flac(flac) => {
                format!(
                    "FLAC, {} channels, {} bits",
                    flac.audio.channel_count, flac.audio.sample_size
                )
            }
            other => {
                self.problem("a sample entry that is no audio codec of ours");
                format!("{other:?}").chars().take(40).collect()
            }
        };
    }

    fn segment_index(&mut self, sidx: &Sidx) {
        if sidx.timescale != self.timescales.0 {
            self.problem("`sidx` has another timescale than the media");
        }
        if sidx.earliest_presentation_time != 0 || sidx.first_offset != 0 {
            self.problem("`sidx` does not start at the presentation's start, directly behind it");
        }
        if sidx
            .references
            .iter()
            .any(|r| r.reference_type || !r.starts_with_sap || r.sap_type != 1)
        {
            self.problem("`sidx` names a segment without an access point of type 1");
        }
        let entries = sidx.references.iter();
        self.index = entries
            .map(|r| {
                (
                    u64::from(r.referenced_size),
                    u64::from(r.subsegment_duration),
                )
            })
            .collect();
    }

    fn fragment(&mut self, moof: &Moof, size: u64) {
        let number = self.fragments.len() + 1;
        if moof.mfhd.sequence_number as usize != number {
            self.problem(format!("fragment {number} has another sequence number"));
        }
        let [traf] = moof.traf.as_slice() else {
            self.problem(format!(
                "fragment {number} has {} track fragments",
                moof.traf.len()
            ));
            return;
        };
        if !traf.tfhd.default_base_is_moof {
            self.problem(format!("fragment {number} has no default-base-is-moof"));
        }
        let default = traf.tfhd.default_sample_duration.unwrap_or(0);
        let samples = traf.trun.iter().flat_map(|run| run.samples.iter());
        let (mut count, mut duration, mut payload) = (0, 0, 0);
        for sample in samples {
            count += 1;
            duration += u64::from(sample.duration.unwrap_or(default));
            payload += u64::from(sample.size.or(traf.tfhd.default_sample_size).unwrap_or(0));
        }
        // The header of `mdat` lies between.
        if traf.trun.first().and_then(|run| run.data_offset) != Some(size as i32 + 8) {
            self.problem(format!(
                "fragment {number}: data does not start where `trun` says"
            ));
        }
        let rolling = traf
            .sbgp
            .iter()
            .filter(|group| group.grouping_type == b"roll".into())
            .flat_map(|group| &group.entries)
            .map(|entry| u64::from(entry.sample_count))
            .sum();
        let start = traf.tfdt.as_ref().map_or(0, |t| t.base_media_decode_time);
        self.fragments.push(Fragment {
            start,
            samples: count,
            duration,
            bytes: size + payload + 8,
            rolling,
        });
    }

    fn media(&mut self, payload: u64, size: u64) {
        let number = self.fragments.len();
        let moof = self
            .boxes
            .iter()
            .rev()
            .nth(1)
            .filter(|(kind, _)| kind == "moof")
            .map(|b| b.1);
        match (moof, self.fragments.last()) {
            (Some(moof), Some(fragment)) if fragment.bytes != moof + size => {
                let told = fragment.bytes.saturating_sub(moof + 8);
                self.problem(format!(
                    "fragment {number}: samples of {told} bytes in {payload}"
                ));
            }
            (Some(_), Some(_)) => {}
            _ => self.problem("`mdat` without a `moof` before it"),
        }
    }

    fn check_index(&mut self) {
        if self.index.is_empty() {
            return;
        }
        let told: Vec<_> = self.index.iter().map(|(size, _)| *size).collect();
        let held: Vec<_> = self.fragments.iter().map(|f| f.bytes).collect();
        if told != held {
            self.problem("`sidx` has other sizes than the fragments");
        }
        let first_edit = self.edits.first().and_then(|e| e.0).unwrap_or(0);
        let mut at = 0;
        let lengths = self.index.iter().zip(&self.fragments);
        let off = lengths
            .enumerate()
            .position(|(n, ((_, duration), fragment))| {
                let start = if n == 0 {
                    0
                } else {
                    fragment.start.saturating_sub(first_edit)
                };
                let wrong = start != at;
                at += duration;
                wrong
            });
        if let Some(n) = off {
            self.problem(format!("`sidx` has another start than fragment {}", n + 1));
        }
    }

    fn check_times(&mut self) {
        let mut at = 0;
        let gap = self.fragments.iter().position(|fragment| {
            let wrong = fragment.start != at;
            at = fragment.start + fragment.duration;
            wrong
        });
        if let Some(n) = gap {
            self.problem(format!(
                "fragment {} does not start where the one before ends",
                n + 1
            ));
        }
        if self
            .fragments
            .iter()
            .any(|f| f.samples == 0 || f.duration == 0)
        {
            self.problem("an empty fragment");
        }
        if self.rolls && self.fragments.iter().any(|f| f.rolling != f.samples as u64) {
            self.problem("a fragment whose samples are not all in the roll group");
        }
    }

    /// Names what keeps a player from starting and ending with the sound, and what follows from it.
    fn check_gapless(&mut self) {
        let (opus, aac) = (
            self.codec.starts_with("Opus"),
            self.codec.starts_with("AAC"),
        );
        if self.fragments.is_empty() || !(opus || aac) {
            return;
        }
        let (media, movie) = self.timescales;
        if media != movie && !self.edits.is_empty() {
            self.problem(format!(
                "the movie timescale is {movie}, the media's {media}: edits, which are in movie ticks, \
                 end beside the sample they mean"
            ));
        }
        let start = self.edits.iter().find_map(|edit| edit.0);
        match (start, self.pre_skip) {
            (None, _) if aac => self.problem(
                "no edit list: players guess the encoder's delay, Apple's as 2112 samples",
            ),
            (start, Some(skip)) if start.unwrap_or(0) != skip => self.problem(format!(
                "the edit list skips {} samples, pre-skip says {skip}: players that go by the list \
                 start beside the sound",
                start.unwrap_or(0)
            )),
            _ => {}
        }
        if !self.rolls {
            let frames = if opus { "80 ms" } else { "one frame" };
            self.problem(format!(
                "no roll group: after a seek players don't know that the decoder needs {frames} \
                 before it sounds right"
            ));
        }
        if self.index.is_empty() && self.fragments.len() > 1 {
            self.problem("no `sidx`: a fragment can't be found without reading all before it");
        }
        if let [.., _, last] = self.fragments.as_slice() {
            let seconds = last.duration as f64 / f64::from(media.max(1));
            if seconds < SHORTEST_LAST_S {
                self.problem(format!(
                    "the last fragment has only {seconds:.3} s: a request for next to no sound"
                ));
            }
        }
        let coded: u64 = self.fragments.iter().map(|f| f.duration).sum();
        if let [(Some(start), length)] = self.edits[..]
            && media == movie
            && length > 0
            && coded > start + length
        {
            self.problem(format!(
                "{} samples of padding are only in the edit list: players that know no end of it play \
                 them",
                coded - start - length
            ));
        }
    }

    /// Checks what Segue promises of its own files beyond what any sound file has.
    pub fn check_ours(&mut self) {
        let layout: Vec<_> = self.boxes.iter().map(|b| b.0.as_str()).collect();
        let body = layout.get(3..).unwrap_or_default();
        let paired = body.chunks(2).all(|pair| pair == ["moof", "mdat"]);
        if layout.get(..3) != Some(&["ftyp", "moov", "sidx"]) || body.is_empty() || !paired {
            self.problem("the layout is not `ftyp moov sidx (moof mdat)*`");
        }
        if !self.brands.iter().any(|brand| brand == "cmfc") {
            self.problem("no brand `cmfc`");
        }
        if self.timescales.0 != self.timescales.1 {
            self.problem("movie and media timescale differ");
        }
        let media: u64 = self.fragments.iter().map(|f| f.duration).sum();
        match self.edits[..] {
            [(Some(start), duration)] => {
                if start + duration != media {
                    self.problem(format!(
                        "edit ends at {}, media at {media}",
                        start + duration
                    ));
                }
                if self.movie_duration != Some(duration) {
                    self.problem("`mehd` has another duration than the edit");
                }
                if self.pre_skip.is_some_and(|skip| skip != start) {
                    self.problem("pre-skip and edit list differ");
                }
                if self.index.iter().map(|(_, d)| d).sum::<u64>() != duration {
                    self.problem("`sidx` has another duration than the edit");
                }
            }
            _ => self.problem(format!("{} edits, not one", self.edits.len())),
        }
        if self.rolls == self.codec.starts_with("FLAC") {
            self.problem("roll groups belong to Opus and AAC, and only there");
        }
    }
}

fn edits(trak: &Trak) -> Vec<(Option<u64>, u64)> {
    let list = trak.edts.as_ref().and_then(|edts| edts.elst.as_ref());
    list.map(|elst| {
        elst.entries
            .iter()
            .map(|e| (e.media_time, e.segment_duration))
            .collect()
    })
    .unwrap_or_default()
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |ticks: u64| ticks as f64 / f64::from(self.timescales.0.max(1));
        writeln!(f, "codec      {} at {} Hz", self.codec, self.timescales.0)?;
        writeln!(f, "brands     {}", self.brands.join(" "))?;
        for (start, duration) in &self.edits {
            match start {
                Some(start) => writeln!(
                    f,
                    "edit       skips {start}, plays {duration} ({:.3} s)",
                    seconds(*duration)
                )?,
                None => writeln!(f, "edit       waits {duration}")?,
            }
        }
        writeln!(f, "index      {} segments", self.index.len())?;
        for (n, fragment) in self.fragments.iter().enumerate() {
            let Fragment {
                start,
                samples,
                duration,
                bytes,
                ..
            } = fragment;
            let kbps = *bytes as f64 * 8.0 / seconds(*duration).max(1e-9) / 1000.0;
            writeln!(
                f,
                "{n:>5}  {:>9.3} s  {:>6.3} s  {samples:>4} samples  {bytes:>8} bytes  {kbps:>6.1} kbit/s",
                seconds(*start),
                seconds(*duration)
            )?;
        }
        for problem in &self.problems {
            writeln!(f, "PROBLEM    {problem}")?;
        }
        Ok(())
    }
}
