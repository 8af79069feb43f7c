//! The end of the track before, for encoders to hear before a track's first sample: where a track of
//! an album runs on from another, its first frame is then coded as in an unbroken recording.
//!
//! Owns how much is heard, whether one track runs into another, and the scratch file in which that
//! end goes from the process that decodes it to those that encode. Does not own which track is the one
//! before (`albums`), nor how much of it an encoder has room for (`encode`).

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
};

use crate::{
    Error,
    encode::opus,
    isolate::OnProgress,
    resample::gcd,
    source::{Block, Limits, Source},
};

/// Longest pre-roll, in ms: Opus has room for 40, and the priming of AAC-LC takes 44. A longer one
/// costs AAC the bits that it has saved up.
const LENGTH_MS: u64 = 50;

/// How much of either side of a seam tells whether sound goes on over it, in ms.
const EDGE_MS: u64 = 10;

/// Mean square below which a side is silent: −60 dBFS.
const SILENCE: f64 = 1e-6;

/// Rate and channels, 4 bytes each.
const HEAD: usize = 8;

/// Sound on one side of a seam.
#[derive(Clone, Debug)]
struct Side {
    rate: u32,
    /// `[channel][frame]`, at least one channel.
    samples: Vec<Vec<f32>>,
}

impl Side {
    fn frames(&self) -> usize {
        self.samples.first().map_or(0, Vec::len)
    }

    fn push(&mut self, block: &Block) {
        for (plane, more) in self.samples.iter_mut().zip(&block.samples) {
            plane.extend_from_slice(more);
        }
    }

    /// Leaves the last frames.
    fn keep_last(&mut self, frames: usize) {
        let off = self.frames().saturating_sub(frames);
        for plane in &mut self.samples {
            plane.drain(..off);
        }
    }

    /// Whether the frames from `from`, up to `count`, are louder than silence.
    fn sounds(&self, from: usize, count: usize) -> bool {
        let mut samples = 0_u64;
        let mut power = 0.0;
        for plane in &self.samples {
            for sample in plane.iter().skip(from).take(count) {
                power += f64::from(*sample).powi(2);
                samples += 1;
            }
        }
        samples > 0 && power / samples as f64 > SILENCE
    }
}

/// Whether sound of the same shape goes on where one track ends and the next starts.
fn runs_on(end: &Side, start: &Side) -> bool {
    let edge = edge(end.rate);
    end.rate == start.rate
        && end.samples.len() == start.samples.len()
        && end.sounds(end.frames().saturating_sub(edge), edge)
        && start.sounds(0, edge)
}

fn edge(rate: u32) -> usize {
    (u64::from(rate) * EDGE_MS).div_ceil(1000) as usize
}

/// The least number of frames that is a whole number of samples at 48 kHz too: a pre-roll of so many,
/// or several times so many, leaves the track's first sample where the resampler puts it without one.
fn period(rate: u32) -> usize {
    (rate / gcd(rate, opus::RATE).max(1)).max(1) as usize
}

/// Frames of the longest pre-roll. None where the rate has no period that is short enough.
fn longest(rate: u32) -> usize {
    let frames = u64::from(rate) * LENGTH_MS / 1000;
    frames as usize / period(rate) * period(rate)
}

/// Frames at 48 kHz that a pre-roll at `rate` becomes.
pub(crate) fn resampled(frames: usize, rate: u32) -> u64 {
    frames as u64 * u64::from(opus::RATE) / u64::from(rate.max(1))
}

/// Puts the end of the file `before` into `scratch` where `track` runs on from it, and tells whether
/// it does. Decodes all of `before`, and keeps no more of it than a pre-roll.
///
/// # Errors
/// As [`Source::read`] and [`Source::next`] of either file; [`Error::Spool`].
pub(crate) fn lead(
    before: File,
    track: File,
    scratch: &File,
    limits: &Limits,
    on_progress: OnProgress<'_>,
) -> Result<bool, Error> {
    let start = start(track, limits)?;
    let longest = longest(start.rate);
    // Most seams are silent, and this side of it costs next to nothing to look at.
    if longest == 0 || !start.sounds(0, edge(start.rate)) {
        return Ok(false);
    }
    let mut source = Source::read(before, limits)?;
    let mut end = empty(&source);
    if (end.rate, end.samples.len()) != (start.rate, start.samples.len()) {
        return Ok(false);
    }
    let total = source.format().samples_hint;
    let mut done = 0;
    while let Some(block) = source.next()? {
        done += block.frames() as u64;
        end.push(&block);
        if end.frames() >= 2 * longest {
            end.keep_last(longest);
        }
        on_progress(done, total)?;
    }
    let frames = end.frames().min(longest) / period(end.rate) * period(end.rate);
    end.keep_last(frames);
    if !runs_on(&end, &start) {
        return Ok(false);
    }
    write(&end, scratch)?;
    Ok(true)
}

fn empty(source: &Source) -> Side {
    let format = source.format();
    Side {
        rate: format.sample_rate,
        samples: vec![Vec::new(); format.block_channels()],
    }
}

/// The first few ms of a file.
fn start(file: File, limits: &Limits) -> Result<Side, Error> {
    let mut source = Source::read(file, limits)?;
    let mut start = empty(&source);
    while start.frames() < edge(start.rate) {
        match source.next()? {
            Some(block) => start.push(&block),
            None => break,
        }
    }
    Ok(start)
}

fn write(end: &Side, mut scratch: &File) -> Result<(), Error> {
    let mut bytes = Vec::new();
    bytes.extend(end.rate.to_le_bytes());
    bytes.extend((end.samples.len() as u32).to_le_bytes());
    for sample in end.samples.iter().flatten() {
        bytes.extend(sample.to_le_bytes());
    }
    scratch.write_all(&bytes).map_err(Error::Spool)
}

/// The pre-roll of a track of that rate and so many channels, `[channel][frame]` at that rate: what
/// [`lead`] has put into `scratch`.
///
/// # Errors
/// [`Error::Spool`]. [`Error::Internal`] where it is of another shape: one of the files was replaced
/// meanwhile.
pub(crate) fn read(mut scratch: &File, rate: u32, channels: usize) -> Result<Vec<Vec<f32>>, Error> {
    let frames = longest(rate);
    let most = HEAD + frames * channels * size_of::<f32>();
    let mut bytes = Vec::new();
    scratch
        .seek(SeekFrom::Start(0))
        .and_then(|_| scratch.take(most as u64).read_to_end(&mut bytes))
        .map_err(Error::Spool)?;
    let words: Vec<[u8; 4]> = bytes
        .chunks_exact(4)
        .filter_map(|word| word.first_chunk().copied())
        .collect();
    let shape = [rate, channels as u32].map(u32::to_le_bytes);
    match words.split_at_checked(shape.len()) {
        Some((head, sound))
            if head == shape && sound.len().is_multiple_of(channels * period(rate)) =>
        {
            let sound: Vec<f32> = sound.iter().copied().map(f32::from_le_bytes).collect();
            let plane = (sound.len() / channels).max(1);
            Ok(sound.chunks_exact(plane).map(<[f32]>::to_vec).collect())
        }
        _ => Err(Error::Internal(
            "the sound before is not of the track's shape".into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A second of a level in dBFS, square.
    fn level(rate: u32, channels: usize, dbfs: f64) -> Side {
        let amplitude = 10_f64.powf(dbfs / 20.0) as f32;
        let square = |n: u32| {
            if n.is_multiple_of(2) {
                amplitude
            } else {
                -amplitude
            }
        };
        Side {
            rate,
            samples: vec![(0..rate).map(square).collect(); channels],
        }
    }

    #[test]
    fn sound_runs_on_where_neither_side_is_silent_and_both_have_one_shape() {
        let loud = level(44_100, 2, -20.0);
        let soft = level(44_100, 2, -59.0);
        let silent = level(44_100, 2, -61.0);
        assert!(runs_on(&loud, &loud) && runs_on(&soft, &soft));
        assert!(!runs_on(&loud, &silent) && !runs_on(&silent, &loud));
        assert!(!runs_on(&loud, &level(48_000, 2, -20.0)));
        assert!(!runs_on(&loud, &level(44_100, 1, -20.0)));
        // Only what is next to the seam counts.
        let mut fades = loud.clone();
        for plane in &mut fades.samples {
            let from = plane.len() - 441;
            plane[from..].fill(0.0);
        }
        assert!(!runs_on(&fades, &loud) && runs_on(&loud, &fades));
        fades.samples.iter_mut().for_each(Vec::clear);
        assert!(!runs_on(&fades, &loud) && !runs_on(&loud, &fades));
    }

    #[test]
    fn a_pre_roll_is_a_whole_number_of_samples_at_either_rate() {
        for rate in [
            8_000, 11_025, 22_050, 44_100, 48_000, 88_200, 176_400, 192_000,
        ] {
            let frames = longest(rate);
            assert!(frames as u64 * 1000 >= u64::from(rate) * 40, "{rate}");
            assert_eq!(frames as u64 * 48_000 % u64::from(rate), 0, "{rate}");
            assert_eq!(
                resampled(frames, rate) * u64::from(rate),
                frames as u64 * 48_000
            );
        }
        assert_eq!(longest(44_101), 0);
    }

    #[test]
    fn a_scratch_file_gives_back_what_was_put_into_it() {
        let scratch = tempfile::tempfile().unwrap();
        let mut end = level(44_100, 2, -20.0);
        end.samples[1].fill(0.25);
        end.keep_last(longest(44_100));
        write(&end, &scratch).unwrap();
        for _ in 0..2 {
            assert_eq!(read(&scratch, 44_100, 2).unwrap(), end.samples);
        }
        assert!(read(&scratch, 48_000, 2).is_err());
        assert!(read(&scratch, 44_100, 1).is_err());
        assert!(read(&tempfile::tempfile().unwrap(), 44_100, 2).is_err());
    }
}
