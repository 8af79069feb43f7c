//! Progress of an ingest for people: a bar for each file and one for the whole on a terminal,
//! plain lines elsewhere.

use std::{
    collections::HashMap,
    io::IsTerminal as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use transcoder::Event;

/// Resolution of a file's bar.
const STEPS: u64 = 1000;

/// Shows events of an ingest as they come.
pub(crate) struct Progress {
    screen: MultiProgress,
    whole: ProgressBar,
    terminal: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bars: HashMap<usize, ProgressBar>,
    names: HashMap<usize, String>,
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
        whole.set_style(style("{bar:30} {pos}/{len} files  {elapsed} {msg}"));
        if terminal && !quiet {
            whole.enable_steady_tick(Duration::from_millis(250));
        }
        Self {
            screen,
            whole,
            terminal: terminal || quiet,
            state: Mutex::default(),
        }
    }

    /// Takes one event.
    pub(crate) fn event(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Found { job, path, .. } => {
                let name = path.file_name().map_or_else(
                    || path.display().to_string(),
                    |n| n.to_string_lossy().into_owned(),
                );
                state.names.insert(*job, name);
                self.whole.inc_length(1);
            }
            Event::Started { job } => {
                let bar = self
                    .screen
                    .insert_before(&self.whole, ProgressBar::new(STEPS));
                bar.set_style(style("{bar:30} {percent:>3} %  {wide_msg}"));
                bar.set_message(state.names.get(job).cloned().unwrap_or_default());
                state.bars.insert(*job, bar);
            }
            Event::Progress { job, fraction, .. } => {
                if let Some(bar) = state.bars.get(job) {
                    bar.set_position((*fraction * STEPS as f64) as u64);
                }
            }
            Event::Stored { .. } => {}
            Event::Published { job, track, fresh } => {
                self.end(&mut state, *job);
                let note = if *fresh { "published" } else { "already there" };
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

    fn end(&self, state: &mut State, job: usize) {
        if let Some(bar) = state.bars.remove(&job) {
            bar.finish_and_clear();
        }
        state.names.remove(&job);
        self.whole.inc(1);
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
