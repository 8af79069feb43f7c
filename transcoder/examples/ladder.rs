//! What the ladder costs: CPU seconds of each rung alone, of the whole ingest, and of ffmpeg
//! making the same ladder in one command.
//!
//!     cargo run --release -p transcoder --example ladder -- FILE [FFMPEG | --ingest]
//!
//! With `--ingest` the whole ingest alone, for profilers.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};

use tokio_util::sync::CancellationToken;
use transcoder::{
    Config, Limits, Recipe,
    cmaf::SourceLength,
    encode::{Input, Pcm, Rendition},
    ingest, loudness,
    recipe::Settings,
    resample::Resampler,
    source::{Block, Source},
};

fn main() {
    let mut args = std::env::args().skip(1);
    let Some(file) = args.next().map(PathBuf::from) else {
        println!("usage: ladder FILE [FFMPEG | --ingest]");
        return;
    };
    let peer_program = args.next();
    if peer_program.as_deref() == Some("--ingest") {
        whole(&file, None);
        return;
    }
    let seconds = stages(&file);
    let Some(ffmpeg) = peer_program else {
        whole(&file, Some(seconds));
        return;
    };
    // In turns: what else a machine does changes within seconds.
    let rounds: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let ours = whole(&file, Some(seconds));
            let theirs = peer(&ffmpeg, &file, seconds);
            (ours.0 / theirs.0, ours.1 / theirs.1)
        })
        .collect();
    println!(
        "ingest / ffmpeg, median of {ROUNDS}: {:.2} of the CPU time, {:.2} of the time",
        median(rounds.iter().map(|r| r.0)),
        median(rounds.iter().map(|r| r.1)),
    );
}

/// Comparisons with the peer.
const ROUNDS: usize = 3;

fn median(ratios: impl Iterator<Item = f64>) -> f64 {
    let mut ratios: Vec<f64> = ratios.collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

/// CPU and wall-clock time since a start.
struct Clock {
    wall: Instant,
    cpu_s: f64,
}

impl Clock {
    fn start() -> Clock {
        Clock {
            wall: Instant::now(),
            cpu_s: cpu_s(),
        }
    }

    /// Prints and returns CPU and wall-clock seconds.
    fn print(&self, what: &str, seconds: f64) -> (f64, f64) {
        let (cpu, wall) = (cpu_s() - self.cpu_s, self.wall.elapsed().as_secs_f64());
        let speed = seconds / cpu.max(1e-3);
        println!("{what:12} {cpu:8.2} CPU s  {wall:8.2} s  {speed:7.1} s of sound per CPU second");
        (cpu, wall)
    }
}

/// CPU seconds of this process and of the children it waited for (`/proc/self/stat`, in ticks of
/// 1/100 s).
fn cpu_s() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name
        .split_whitespace()
        .skip(11)
        .take(4)
        .filter_map(|t| t.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// Each stage alone, on one thread. Returns the length in seconds.
fn stages(file: &Path) -> f64 {
    let clock = Clock::start();
    let mut source = Source::open(file, &Limits::default()).unwrap();
    let format = source.format().clone();
    let channels = format.block_channels();
    let mut blocks: Vec<Block> = Vec::new();
    while let Some(block) = source.next().unwrap() {
        blocks.push(block);
    }
    let samples = blocks.iter().map(|b| b.frames() as u64).sum();
    let length = SourceLength {
        samples,
        rate: format.sample_rate,
    };
    let seconds = samples as f64 / f64::from(format.sample_rate);
    println!(
        "{seconds:.1} s of {} at {} Hz",
        format.codec, format.sample_rate
    );
    clock.print("decode", seconds);

    let clock = Clock::start();
    let mut meter = loudness::Meter::new(format.sample_rate, channels);
    for block in &blocks {
        meter.push(&block.samples.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }
    meter.finish();
    clock.print("loudness", seconds);

    let clock = Clock::start();
    let mut resampler = Resampler::new(format.sample_rate, 48_000, channels);
    let mut resampled = Vec::new();
    for block in &blocks {
        let planes: Vec<_> = block.samples.iter().map(Vec::as_slice).collect();
        resampled.push(interleave(&resampler.push(&planes)));
    }
    resampled.push(interleave(&resampler.finish()));
    clock.print("resample", seconds);

    let depth = format.exact_depth().unwrap_or(16) as u8;
    let input = Input {
        rate: format.sample_rate,
        channels,
        depth,
        length_hint: Some(samples),
        preroll: 0,
    };
    for rung in Recipe::default().rungs {
        let pcm: Vec<Pcm> = match rung.settings {
            Settings::Flac { .. } => blocks
                .iter()
                .filter_map(|b| b.exact.as_ref())
                .map(|planes| Pcm::Native(interleave(planes).into()))
                .collect(),
            _ => resampled
                .iter()
                .map(|run| Pcm::Resampled(run.as_slice().into()))
                .collect(),
        };
        if pcm.is_empty() {
            continue;
        }
        let clock = Clock::start();
        let mut rendition = Rendition::new(&rung, input, io::sink()).unwrap();
        for run in &pcm {
            rendition.push(run).unwrap();
        }
        let packaged = rendition.finish(length).unwrap();
        clock.print(&rung.id, seconds);
        println!(
            "{:12} {:8} kbit/s, peak {}",
            "",
            packaged.average.0 / 1000,
            packaged.peak.0 / 1000
        );
    }
    seconds
}

fn interleave<T: Copy>(planes: &[Vec<T>]) -> Vec<T> {
    let frames = planes.first().map_or(0, Vec::len);
    (0..frames)
        .flat_map(|n| planes.iter().map(move |plane| plane[n]))
        .collect()
}

/// The whole way into a store on this machine. Without a length no speed is printed.
fn whole(file: &Path, seconds: Option<f64>) -> (f64, f64) {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(storage::Directory::open(dir.path().join("store")).unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let clock = Clock::start();
    let config = Config::new(store, dir.path());
    let ingest = ingest(
        config,
        vec![file.to_path_buf()],
        |_| {},
        CancellationToken::new(),
    );
    let report = runtime.block_on(ingest).unwrap();
    assert_eq!(report.published, 1, "{:?}", report.failures);
    clock.print("whole ingest", seconds.unwrap_or(0.0))
}

/// The same ladder by ffmpeg. It has no HE-AAC encoder: AAC-LC stands in for that rung.
fn peer(ffmpeg: &str, file: &Path, seconds: f64) -> (f64, f64) {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(ffmpeg);
    command.args(["-v", "error", "-i"]).arg(file);
    let rungs = [
        ("libopus", "32k"),
        ("libopus", "64k"),
        ("libopus", "96k"),
        ("libopus", "160k"),
        ("aac", "64k"),
        ("aac", "128k"),
        ("aac", "256k"),
        ("flac", ""),
    ];
    for (codec, rate) in rungs {
        command.args(["-map", "0:a:0", "-c:a", codec]);
        if codec != "flac" {
            command.args(["-b:a", rate, "-ar", "48000"]);
        }
        command.args(["-movflags", "cmaf", "-strict", "-2", "-f", "mp4"]);
        command.arg(dir.path().join(format!("{codec}-{rate}.mp4")));
    }
    let clock = Clock::start();
    let done = command.stdin(Stdio::null()).status().unwrap();
    assert!(done.success());
    clock.print("ffmpeg", seconds)
}
