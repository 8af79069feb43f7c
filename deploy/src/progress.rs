//! Progress of an ingest for people: a bar for each file and one for the whole on a terminal,
//! plain lines elsewhere.

use std::{
    collections::HashMap,
    io::IsTerminal as _,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use transcoder::{Change, Event, Stage};

/// Resolution of a file's bar.
const STEPS: u64 = 1000;

/// Shows events of an ingest as they come.
pub(crate) struct Progress {
    screen: MultiProgress,
    whole: ProgressBar,
    terminal: bool,
    since: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    files: HashMap<usize, File>,
    tally: Tally,
}

/// A file that is not over.
struct File {
    name: String,
    bytes: u64,
    bar: Option<ProgressBar>,
    stage: Stage,
    /// 0–1.
    done: f64,
    /// Renditions in the store.
    stored: Vec<String>,
}

/// Sums over all files. Pure.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Tally {
    bytes: u64,
    /// Of files that are over.
    bytes_over: u64,
    /// Of files under way, by what is done of them.
    bytes_part: f64,
    /// Sound newly published, in seconds.
    sound_s: f64,
}

impl Tally {
    /// What is done of the whole, 0–1.
    fn fraction(&self) -> f64 {
        (self.bytes_over as f64 + self.bytes_part) / self.bytes.max(1) as f64
    }

    /// Seconds until the end, if it goes on like this. `None` as long as that is a guess.
    fn left_s(&self, elapsed_s: f64) -> Option<f64> {
        let fraction = self.fraction();
        (fraction > 0.02 && elapsed_s > 2.0)
            .then(|| elapsed_s * (1.0 - fraction.min(1.0)) / fraction)
    }

    /// Published seconds of sound for each second.
    fn speed(&self, elapsed_s: f64) -> Option<f64> {
        (self.sound_s > 0.0 && elapsed_s > 0.0).then(|| self.sound_s / elapsed_s)
    }

    /// Both in words.
    fn words(&self, elapsed_s: f64) -> String {
        let mut words = Vec::new();
        if let Some(speed) = self.speed(elapsed_s) {
            words.push(format!("{speed:.0}× real time"));
        }
        if let Some(left) = self.left_s(elapsed_s).filter(|left| *left >= 1.0) {
            words.push(format!("{} left", clock(left)));
        }
        words.join(", ")
    }
}

/// What of a file's work is done: reading takes little of it, and storing not much more.
fn overall(stage: Stage, fraction: f64) -> f64 {
    let percent = match stage {
        Stage::Hash => 3.0 * fraction,
        Stage::Encode => 3.0 + 92.0 * fraction,
        Stage::Store => 95.0 + 5.0 * fraction,
    };
    percent / 100.0
}

fn clock(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole / 3600 {
        0 => format!("{}:{:02}", whole / 60, whole % 60),
        hours => format!("{hours}:{:02}:{:02}", whole / 60 % 60, whole % 60),
    }
}

impl Progress {
    /// Starts on standard error; `quiet` shows nothing.
    pub(crate) fn start(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let screen = if quiet {
            MultiProgress::with_draw_target(indicatif::ProgressDrawTarget::hidden())
        } else {
            MultiProgress::new()
        };
        let whole = screen.add(ProgressBar::new(0));
        whole.set_style(style("{bar:30} {pos}/{len} files  {elapsed}  {msg}"));
        if terminal && !quiet {
            whole.enable_steady_tick(Duration::from_millis(250));
        }
        Self {
            screen,
            whole,
            terminal: terminal || quiet,
            since: Instant::now(),
            state: Mutex::default(),
        }
    }

    /// Takes one event.
    pub(crate) fn event(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Found { job, path, bytes } => {
                let name = path.file_name().map_or_else(
                    || path.display().to_string(),
                    |n| n.to_string_lossy().into_owned(),
                );
                state.tally.bytes += bytes;
                state.files.insert(
                    *job,
                    File {
                        name,
                        bytes: *bytes,
                        bar: None,
                        stage: Stage::Hash,
                        done: 0.0,
                        stored: Vec::new(),
                    },
                );
                self.whole.inc_length(1);
            }
            Event::Started { job } => {
                if let Some(file) = state.files.get_mut(job) {
                    let bar = ProgressBar::new(STEPS);
                    let bar = self.screen.insert_before(&self.whole, bar);
                    bar.set_style(style("{bar:30} {percent:>3} %  {wide_msg}"));
                    file.bar = Some(bar);
                    file.show();
                }
            }
            Event::Progress {
                job,
                stage,
                fraction,
            } => self.moved(&mut state, *job, |file| {
                file.stage = *stage;
                // Storing a part of a long file's renditions does not undo what was encoded.
                file.done = file.done.max(overall(*stage, *fraction));
            }),
            Event::Stored { job, rendition, .. } => self.moved(&mut state, *job, |file| {
                file.stored.push(rendition.clone());
            }),
            Event::Published { job, track, change } => {
                if *change == Change::Track {
                    state.tally.sound_s += track.duration_s;
                }
                self.end(&mut state, *job);
                let note = match change {
                    Change::Track => "published",
                    Change::Tags => "new tags for",
                    Change::Nothing => "already there",
                };
                self.line(&format!("{note}  {}  {}", track.id, title(track)));
            }
            Event::Failed { job, path, error } => {
                self.end(&mut state, *job);
                self.line(&format!("failed     {}: {error}", path.display()));
            }
        }
    }

    /// Clears the bars.
    pub(crate) fn finish(&self) {
        self.whole.finish_and_clear();
        let _ = self.screen.clear();
    }

    /// Seconds since the start, and seconds of sound published for each of them.
    pub(crate) fn speed(&self) -> (f64, Option<f64>) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed_s = self.since.elapsed().as_secs_f64();
        (elapsed_s, state.tally.speed(elapsed_s))
    }

    fn moved(&self, state: &mut State, job: usize, change: impl FnOnce(&mut File)) {
        if let Some(file) = state.files.get_mut(&job) {
            let before = file.done;
            change(file);
            file.show();
            state.tally.bytes_part += (file.done - before) * file.bytes as f64;
            self.tell(state);
        }
    }

    fn end(&self, state: &mut State, job: usize) {
        if let Some(file) = state.files.remove(&job) {
            state.tally.bytes_part -= file.done * file.bytes as f64;
            state.tally.bytes_over += file.bytes;
            if let Some(bar) = file.bar {
                bar.finish_and_clear();
            }
        }
        self.whole.inc(1);
        self.tell(state);
    }

    fn tell(&self, state: &State) {
        let elapsed_s = self.since.elapsed().as_secs_f64();
        self.whole.set_message(state.tally.words(elapsed_s));
    }

    fn line(&self, text: &str) {
        if self.terminal {
            let _ = self.screen.println(text);
        } else {
            #[expect(clippy::print_stderr, reason = "progress where there is no terminal")]
            {
                eprintln!("{text}");
            }
        }
    }
}

impl File {
    fn show(&self) {
        let Some(bar) = &self.bar else { return };
        bar.set_position((self.done * STEPS as f64) as u64);
        let stored = match self.stored.as_slice() {
            [] => String::new(),
            ids => format!("  stored {}", ids.join(" ")),
        };
        bar.set_message(format!("{}  {}{stored}", self.name, self.stage.as_str()));
    }
}

/// A number of things: `1 track`, `2 tracks`.
pub(crate) fn count(n: usize, thing: &str) -> String {
    match n {
        1 => format!("1 {thing}"),
        n => format!("{n} {thing}s"),
    }
}

/// A time that something took, as precisely as people want to know: `0.4 s`, `12 s`, `3 min 05 s`.
pub(crate) fn span(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        _ => format!("{} min {:02} s", whole / 60, whole % 60),
    }
}

/// `Artist – Title`, or the title alone.
pub(crate) fn title(track: &manifests::Track) -> String {
    match &track.tags.artist {
        Some(artist) => format!("{artist} – {}", track.tags.title),
        None => track.tags.title.clone(),
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_and_remaining_time_follow_the_work() {
        let mut tally = Tally {
            bytes: 100,
            ..Tally::default()
        };
        assert_eq!(tally.words(10.0), "", "nothing is known yet");
        tally.bytes_over = 20;
        tally.bytes_part = 5.0;
        tally.sound_s = 200.0;
        assert_eq!(tally.words(10.0), "20× real time, 0:30 left");
        tally.bytes_over = 100;
        tally.bytes_part = 0.0;
        assert_eq!(tally.words(10.0), "20× real time");
        assert_eq!(clock(3661.0), "1:01:01");
    }

    #[test]
    fn stages_follow_each_other_without_a_gap() {
        assert_eq!(overall(Stage::Hash, 1.0), overall(Stage::Encode, 0.0));
        assert_eq!(overall(Stage::Encode, 1.0), overall(Stage::Store, 0.0));
        assert_eq!(overall(Stage::Store, 1.0), 1.0);
    }
}
