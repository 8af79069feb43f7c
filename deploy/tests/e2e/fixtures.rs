//! The input files: one short sound in every format, made by the encoders that people use.

use std::path::{Path, PathBuf};

use crate::{
    signal, tools,
    wav::{self, Sample},
};

/// An input file and what is known of the sound in it.
#[derive(Clone, Debug)]
pub(crate) struct Fixture {
    /// Short name, as tests ask for it.
    pub(crate) name: &'static str,
    /// Base name of the file.
    pub(crate) file: String,
    /// Samples a second.
    pub(crate) rate: u32,
    /// Channels.
    pub(crate) channels: u32,
    /// `codec` in track.json.
    pub(crate) codec: &'static str,
    /// How samples were stored before encoding, where that loses nothing.
    pub(crate) lossless: Option<Sample>,
}

impl Fixture {
    /// Samples a channel that a listener should hear.
    pub(crate) fn frames(&self) -> usize {
        signal::frames(self.rate)
    }

    /// The sound of channel `channel` (0 left or mono, 1 right) as it should come out at `rate`.
    pub(crate) fn sound(&self, channel: usize, rate: u32) -> Vec<f32> {
        signal::voice(channel, rate, signal::frames(rate), signal::band(self.rate))
    }
}

/// How a fixture is made from a WAV file.
enum Make {
    /// It is the WAV file.
    Wav,
    /// `program arguments… IN … OUT`, with `{in}` and `{out}` put in.
    Run(&'static [&'static str]),
}

struct Recipe {
    name: &'static str,
    file: &'static str,
    rate: u32,
    channels: u32,
    sample: Sample,
    codec: &'static str,
    lossless: bool,
    make: Make,
}

const fn wav(
    name: &'static str,
    file: &'static str,
    rate: u32,
    channels: u32,
    sample: Sample,
    codec: &'static str,
) -> Recipe {
    Recipe {
        name,
        file,
        rate,
        channels,
        sample,
        codec,
        lossless: true,
        make: Make::Wav,
    }
}

const fn made(
    name: &'static str,
    file: &'static str,
    rate: u32,
    codec: &'static str,
    lossless: bool,
    make: &'static [&'static str],
) -> Recipe {
    Recipe {
        name,
        file,
        rate,
        channels: 2,
        sample: Sample::S16,
        codec,
        lossless,
        make: Make::Run(make),
    }
}

const RECIPES: &[Recipe] = &[
    wav(
        "u8-mono-8k",
        "u8 mono 8k.wav",
        8_000,
        1,
        Sample::U8,
        "pcm_u8",
    ),
    wav(
        "s16-mono-22k",
        "s16 mono 22k.wav",
        22_050,
        1,
        Sample::S16,
        "pcm_s16le",
    ),
    wav(
        "s16-44k",
        "s16 44k.wav",
        44_100,
        2,
        Sample::S16,
        "pcm_s16le",
    ),
    wav(
        "s32-48k",
        "s32 48k.wav",
        48_000,
        2,
        Sample::S32,
        "pcm_s32le",
    ),
    wav(
        "f32-48k",
        "f32 48k.wav",
        48_000,
        2,
        Sample::F32,
        "pcm_f32le",
    ),
    wav(
        "s24-96k",
        "s24 96k.wav",
        96_000,
        2,
        Sample::S24,
        "pcm_s24le",
    ),
    wav(
        "s24-192k",
        "s24 192k.wav",
        192_000,
        2,
        Sample::S24,
        "pcm_s24le",
    ),
    wav(
        "5.1-48k",
        "surround 5.1 48k.wav",
        48_000,
        6,
        Sample::S16,
        "pcm_s16le",
    ),
    wav(
        "7.1-48k",
        "surround 7.1 48k.wav",
        48_000,
        8,
        Sample::S16,
        "pcm_s16le",
    ),
    made(
        "aiff-44k",
        "aiff.aiff",
        44_100,
        "pcm_s16be",
        true,
        &["sox", "{in}", "{out}"],
    ),
    made(
        "flac-44k",
        "flac.flac",
        44_100,
        "flac",
        true,
        &["flac", "--silent", "{in}", "-o", "{out}"],
    ),
    made(
        "alac-44k",
        "alac.m4a",
        44_100,
        "alac",
        true,
        &[
            "ffmpeg", "-v", "error", "-i", "{in}", "-c:a", "alac", "{out}",
        ],
    ),
    made(
        "mp3-44k",
        "lame.mp3",
        44_100,
        "mp3",
        false,
        &["lame", "--quiet", "-V2", "{in}", "{out}"],
    ),
    made(
        "aac-44k",
        "aac.m4a",
        44_100,
        "aac",
        false,
        &[
            "ffmpeg", "-v", "error", "-i", "{in}", "-c:a", "aac", "-b:a", "160k", "{out}",
        ],
    ),
    made(
        "vorbis-44k",
        "vorbis.ogg",
        44_100,
        "vorbis",
        false,
        &["oggenc", "--quiet", "-q", "5", "-o", "{out}", "{in}"],
    ),
    made(
        "opus-48k",
        "opus.opus",
        48_000,
        "opus",
        false,
        &["opusenc", "--quiet", "--bitrate", "128", "{in}", "{out}"],
    ),
];

/// Programs that [`make_all`] uses.
pub(crate) const ENCODERS: &[&str] = &["sox", "flac", "lame", "oggenc", "opusenc", "ffmpeg"];

/// Makes every fixture whose encoder is installed.
pub(crate) fn make_all(dir: &Path) -> Vec<Fixture> {
    tools::have(ENCODERS);
    std::fs::create_dir_all(dir).unwrap();
    RECIPES
        .iter()
        .filter_map(|recipe| make(recipe, dir))
        .collect()
}

fn make(recipe: &Recipe, dir: &Path) -> Option<Fixture> {
    let out = dir.join(recipe.file);
    let channels = channels(recipe);
    match recipe.make {
        Make::Wav => wav::write(&out, &channels, recipe.rate, recipe.sample),
        Make::Run(words) => {
            tools::find(words[0])?;
            let source = dir.with_extension("source.wav");
            wav::write(&source, &channels, recipe.rate, recipe.sample);
            convert(words, &source, &out);
        }
    }
    Some(Fixture {
        name: recipe.name,
        file: recipe.file.to_owned(),
        rate: recipe.rate,
        channels: recipe.channels,
        codec: recipe.codec,
        lossless: recipe.lossless.then_some(recipe.sample),
    })
}

/// Runs an encoder's command line with `{in}` and `{out}` put in.
pub(crate) fn convert(words: &[&str], source: &Path, out: &Path) -> PathBuf {
    let _ = std::fs::remove_file(out);
    let mut command = tools::command(words[0]);
    for word in &words[1..] {
        match *word {
            "{in}" => command.arg(source),
            "{out}" => command.arg(out),
            word => command.arg(word),
        };
    }
    tools::run(&mut command);
    out.to_owned()
}

/// `[channel][frame]`. Beyond stereo: front left and right as in stereo, quieter copies behind, both
/// in the centre, silence in the subwoofer; so that a downmix still holds left and right.
fn channels(recipe: &Recipe) -> Vec<Vec<f32>> {
    let frames = signal::frames(recipe.rate);
    let band = signal::band(recipe.rate);
    let left = signal::voice(0, recipe.rate, frames, band);
    if recipe.channels == 1 {
        return vec![left];
    }
    let right = signal::voice(1, recipe.rate, frames, band);
    if recipe.channels == 2 {
        return vec![left, right];
    }
    let quiet = |voice: &[f32], gain: f32| voice.iter().map(|s| s * gain).collect::<Vec<f32>>();
    let centre = left
        .iter()
        .zip(&right)
        .map(|(l, r)| 0.2 * (l + r))
        .collect();
    let mut all = vec![left.clone(), right.clone(), centre, vec![0.0; frames]];
    for _ in (4..recipe.channels).step_by(2) {
        all.extend([quiet(&left, 0.4), quiet(&right, 0.4)]);
    }
    all
}
