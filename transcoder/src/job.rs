//! One file to renditions: decodes and resamples once, and feeds every encoder and the loudness
//! meter in parallel.
//!
//! Blocking: runs on a thread of its own and starts one more for each rendition. Memory does not
//! depend on the file's length: the channels are bounded and segments go to unlinked files.

use std::{
    fs::File,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use manifests::{Omitted, R128};

use crate::{
    Error,
    cmaf::{Packaged, SourceLength},
    content::{Content, Listener},
    encode::{Input, Pcm, Quantiser, Rendition, opus},
    isolate::OnProgress,
    loudness, preroll,
    recipe::{Capacity, Recipe, Rung, Settings},
    resample::Resampler,
    source::{self, Block, Format, Limits, Source},
};

/// Runs of sound waiting for one encoder. With [`RUN`] this is about 3 s of sound.
const QUEUE: usize = 8;

/// Least samples per channel in a run, so that threads wake a few times for each second of sound
/// and not for every packet of the source.
const RUN: usize = 16_384;

/// Depth of a lossless rendition whose source has no integers to take over: floats, 32 bits, or
/// channels mixed down.
const QUANTISED_DEPTH: u8 = 24;

/// A finished rendition: the file is `head` and then what is in `spool`.
pub(crate) struct Encoded {
    /// Complete but for the digest, which is taken where the file is stored.
    pub(crate) rendition: manifests::Rendition,
    pub(crate) head: Vec<u8>,
    /// Which of the scratch files that were given, in order, it is.
    pub(crate) slot: usize,
    pub(crate) spool: File,
}

impl Encoded {
    fn new(slot: usize, rung: Rung, packaged: Packaged<File>, channels: u32) -> Encoded {
        let described = &packaged.description;
        let rendition = manifests::Rendition {
            codec: rung.codec(),
            id: rung.id,
            sample_rate: described.rate,
            channels,
            bit_depth: described.bit_depth().map(u32::from),
            timescale: manifests::Timescale(described.rate),
            priming: manifests::Ticks(described.priming),
            valid: manifests::Ticks(described.valid),
            padding: manifests::Ticks(0),
            average: packaged.average,
            peak: packaged.peak,
            bytes: packaged.bytes,
            sha256: String::new(),
            init: packaged.init,
            index: packaged.index,
            segments: packaged.segments,
        };
        Encoded {
            rendition,
            head: packaged.head,
            slot,
            spool: packaged.spool,
        }
    }
}

/// All that a file yielded.
pub(crate) struct Outcome {
    pub(crate) format: Format,
    pub(crate) length: SourceLength,
    pub(crate) renditions: Vec<Encoded>,
    pub(crate) omitted: Vec<Omitted>,
    pub(crate) loudness: R128,
    pub(crate) meter: loudness::State,
}

/// Surroundings of a job.
pub(crate) struct Bench<'a> {
    pub(crate) recipe: &'a Recipe,
    pub(crate) limits: &'a Limits,
    /// Renditions that are there already.
    pub(crate) skip: &'a [String],
    /// What [`preroll::lead`] has left.
    pub(crate) lead: Option<File>,
    /// Gives scratch files, one a rung, in the order of the ladder.
    pub(crate) spool: &'a mut dyn FnMut() -> Result<File, Error>,
    pub(crate) on_progress: OnProgress<'a>,
}

/// Encodes a file to all rungs that it can fill.
pub(crate) fn encode(file: File, bench: Bench<'_>) -> Result<Outcome, Error> {
    let mut source = Source::read(file, bench.limits)?;
    let format = source.format().clone();
    let channels = format.block_channels();
    let capacity = Capacity {
        rate: format.sample_rate,
        channels,
        lossy_bitrate: format.lossy_bitrate,
    };
    let mut plan = bench.recipe.plan(capacity);
    let lead = match bench.lead {
        Some(scratch) => preroll::read(&scratch, format.sample_rate, channels)?,
        None => Vec::new(),
    };
    let input = Input {
        rate: format.sample_rate,
        channels,
        depth: format
            .exact_depth()
            .map_or(QUANTISED_DEPTH, |depth| depth as u8),
        length_hint: format.samples_hint,
        preroll: preroll::resampled(lead.first().map_or(0, Vec::len), format.sample_rate),
    };
    thread::scope(|scope| {
        let mut lines = Vec::new();
        let mut workers = Vec::new();
        let wanted = plan.rungs.iter().filter(|r| !bench.skip.contains(&r.id));
        for (slot, rung) in wanted.cloned().enumerate() {
            let spool = (bench.spool)()?;
            let rendition = Rendition::new(&rung, input, spool)?;
            let (sender, receiver) = sync_channel(QUEUE);
            lines.push(Line {
                kind: Kind::of(&rung.settings),
                sender,
            });
            let name = rung.id.clone();
            let worker = named(scope, name, move || run_encoder(rendition, &receiver));
            workers.push((slot, rung, worker));
        }
        let (meter_sender, meter_blocks) = sync_channel::<Block>(QUEUE);
        let rate = format.sample_rate;
        let meter = named(scope, "listener".into(), move || {
            listen(rate, channels, &meter_blocks)
        });

        let mut feed = Feed::new(lines, meter_sender, input);
        let fed = feed
            .lead(&lead)
            .and_then(|()| feed.all(&mut source, &format, bench.on_progress));
        drop(feed);

        // An encoder's own error says more than the feed's, which only found it gone.
        let mut renditions = Vec::new();
        let mut failed = None;
        for (slot, rung, worker) in workers {
            match worker
                .join()
                .map_err(|_| crashed("an encoder"))
                .and_then(|done| done)
            {
                Ok(Some(packaged)) => {
                    renditions.push((slot, rung, packaged));
                }
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        }
        let measured = meter.join().map_err(|_| crashed("the loudness meter"));
        if let Some(error) = failed {
            return Err(error);
        }
        let length = fed?;
        let Heard {
            loudness,
            meter,
            content,
        } = measured?;
        plan.review(&content, bench.recipe);
        renditions.retain(|(_, rung, _)| plan.rungs.contains(rung));
        Ok(Outcome {
            format: format.clone(),
            length,
            renditions: renditions
                .into_iter()
                .map(|(slot, rung, packaged)| {
                    let packaged = packaged.with_loudness(loudness)?;
                    Ok(Encoded::new(slot, rung, packaged, channels as u32))
                })
                .collect::<Result<_, Error>>()?,
            omitted: plan.omitted,
            loudness,
            meter,
        })
    })
}

/// Starts a thread that profilers and process lists know by its name.
fn named<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    name: String,
    work: impl FnOnce() -> T + Send + 'scope,
) -> thread::ScopedJoinHandle<'scope, T> {
    thread::Builder::new()
        .name(name)
        .spawn_scoped(scope, work)
        // As `Scope::spawn` does: `isolate` knows the words for want of memory.
        .expect("failed to spawn thread")
}

/// Digests a file's sound as it is coded.
pub(crate) fn identify(file: File, on_progress: OnProgress<'_>) -> Result<[u8; 32], Error> {
    let total = file.metadata().map_err(Error::Read)?.len();
    let mut go_on = Ok(());
    let digest = source::payload(file, &mut |done| {
        go_on = on_progress(done, Some(total));
        go_on.is_ok()
    });
    go_on?;
    Ok(digest?)
}

/// None in place of a fault of the file.
pub(crate) fn if_sound<T>(identity: Result<T, Error>) -> Result<Option<T>, Error> {
    match identity {
        Ok(identity) => Ok(Some(identity)),
        Err(Error::Source(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Decodes a file for its loudness alone.
pub(crate) fn measure(
    file: File,
    limits: &Limits,
    on_progress: OnProgress<'_>,
) -> Result<loudness::State, Error> {
    let mut source = Source::read(file, limits)?;
    let total = source.format().samples_hint;
    let mut done = 0;
    let mut meter = loudness::Meter::new(
        source.format().sample_rate,
        source.format().block_channels(),
    );
    while let Some(block) = source.next()? {
        meter.push(&planes(&block.samples));
        done += block.frames() as u64;
        on_progress(done, total)?;
    }
    Ok(meter.finish().1)
}

fn crashed(what: &str) -> Error {
    Error::Internal(format!("{what} crashed"))
}

/// What goes to an encoder's thread.
enum Message {
    Sound(Pcm),
    /// The sound is complete. A channel closed without it means: give up.
    End(SourceLength),
}

/// What an encoder takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Resampled,
    Quantised,
    Native,
}

impl Kind {
    fn of(settings: &Settings) -> Kind {
        match settings {
            Settings::Opus(_) => Kind::Resampled,
            Settings::Aac(_) => Kind::Quantised,
            Settings::Flac { .. } => Kind::Native,
        }
    }
}

/// The way to one encoder.
struct Line {
    kind: Kind,
    sender: SyncSender<Message>,
}

fn run_encoder(
    mut rendition: Rendition<File>,
    messages: &Receiver<Message>,
) -> Result<Option<Packaged<File>>, Error> {
    for message in messages {
        match message {
            Message::Sound(pcm) => rendition.push(&pcm)?,
            Message::End(length) => return rendition.finish(length).map(Some),
        }
    }
    Ok(None)
}

/// What listening to the whole track gave.
struct Heard {
    loudness: R128,
    meter: loudness::State,
    content: Content,
}

fn listen(rate: u32, channels: usize, blocks: &Receiver<Block>) -> Heard {
    let mut meter = loudness::Meter::new(rate, channels);
    let mut listener = Listener::new(rate, channels);
    for block in blocks {
        let planes = planes(&block.samples);
        meter.push(&planes);
        listener.push(&planes);
    }
    let (loudness, meter) = meter.finish();
    Heard {
        loudness,
        meter,
        content: listener.finish(),
    }
}

fn planes(samples: &[Vec<f32>]) -> Vec<&[f32]> {
    samples.iter().map(Vec::as_slice).collect()
}

/// Gathers decoded blocks into runs and hands them to every encoder.
struct Feed {
    lines: Vec<Line>,
    meter: SyncSender<Block>,
    resampler: Resampler,
    input: Input,
    /// For the source's depth.
    quantiser: Quantiser,
    /// For AAC.
    sixteen: Quantiser,
    gathered: Block,
    samples: u64,
}

/// An encoder's thread ended early; its own result says why.
fn gone<T>(_: T) -> Error {
    Error::Internal("an encoder gave up".into())
}

impl Feed {
    fn new(lines: Vec<Line>, meter: SyncSender<Block>, input: Input) -> Feed {
        let resampler = Resampler::new(input.rate, opus::RATE, input.channels);
        Feed {
            lines,
            meter,
            resampler,
            input,
            quantiser: Quantiser::new(input.depth.into()),
            sixteen: Quantiser::new(i16::BITS),
            gathered: Block::default(),
            samples: 0,
        }
    }

    /// Has encoders that come after the resampler hear what is before the sound; [`Input::preroll`]
    /// tells them how much it is.
    fn lead(&mut self, planes_before: &[Vec<f32>]) -> Result<(), Error> {
        if planes_before.is_empty() {
            return Ok(());
        }
        let resampled = self.resampler.push(&planes(planes_before));
        self.send_resampled(&resampled)
    }

    fn all(
        &mut self,
        source: &mut Source,
        format: &Format,
        on_progress: OnProgress<'_>,
    ) -> Result<SourceLength, Error> {
        while let Some(block) = source.next()? {
            self.gather(block);
            if self.gathered.frames() >= RUN {
                self.pass_on()?;
                on_progress(self.samples, format.samples_hint)?;
            }
        }
        self.pass_on()?;
        if self.samples == 0 {
            return Err(crate::source::Error::Empty.into());
        }
        let resampler = std::mem::replace(
            &mut self.resampler,
            Resampler::new(opus::RATE, opus::RATE, self.input.channels),
        );
        self.send_resampled(&resampler.finish())?;
        let length = SourceLength {
            samples: self.samples,
            rate: self.input.rate,
        };
        for line in &self.lines {
            line.sender.send(Message::End(length)).map_err(gone)?;
        }
        Ok(length)
    }

    fn gather(&mut self, block: Block) {
        if self.gathered.frames() == 0 {
            self.gathered = block;
            return;
        }
        for (plane, more) in self.gathered.samples.iter_mut().zip(&block.samples) {
            plane.extend_from_slice(more);
        }
        if let (Some(planes), Some(more)) = (&mut self.gathered.exact, &block.exact) {
            for (plane, more) in planes.iter_mut().zip(more) {
                plane.extend_from_slice(more);
            }
        }
    }

    fn pass_on(&mut self) -> Result<(), Error> {
        let run = std::mem::take(&mut self.gathered);
        if run.frames() == 0 {
            return Ok(());
        }
        self.samples += run.frames() as u64;
        if self.wants(Kind::Native) {
            let pcm = Pcm::Native(self.native(&run).into());
            self.send(Kind::Native, &pcm)?;
        }
        let resampled = self.resampler.push(&planes(&run.samples));
        self.send_resampled(&resampled)?;
        self.meter.send(run).map_err(gone)
    }

    fn send_resampled(&mut self, planes: &[Vec<f32>]) -> Result<(), Error> {
        if planes.first().is_none_or(Vec::is_empty) {
            return Ok(());
        }
        if self.wants(Kind::Quantised) {
            let sixteen = interleave(planes, |s| self.sixteen.sample(s) as i16);
            self.send(Kind::Quantised, &Pcm::Quantised(sixteen.into()))?;
        }
        if self.wants(Kind::Resampled) {
            let pcm = Pcm::Resampled(interleave(planes, |s| s).into());
            self.send(Kind::Resampled, &pcm)?;
        }
        Ok(())
    }

    fn wants(&self, kind: Kind) -> bool {
        self.lines.iter().any(|line| line.kind == kind)
    }

    fn send(&self, kind: Kind, pcm: &Pcm) -> Result<(), Error> {
        for line in self.lines.iter().filter(|line| line.kind == kind) {
            line.sender
                .send(Message::Sound(pcm.clone()))
                .map_err(gone)?;
        }
        Ok(())
    }

    /// The source's integers, or its floats with dither.
    fn native(&mut self, run: &Block) -> Vec<i32> {
        if let Some(exact) = &run.exact {
            return interleave(exact, |s| s);
        }
        interleave(&run.samples, |s| self.quantiser.sample(s))
    }
}

fn interleave<T: Copy, U>(planes: &[Vec<T>], mut convert: impl FnMut(T) -> U) -> Vec<U> {
    match planes {
        [mono] => mono.iter().map(|s| convert(*s)).collect(),
        [left, right, ..] => left
            .iter()
            .zip(right)
            .flat_map(|(l, r)| [convert(*l), convert(*r)])
            .collect(),
        [] => Vec::new(),
    }
}
