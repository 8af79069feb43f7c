//! Demo music, synthesised by our own code, deterministic, CC0: what a fresh installation plays.
//!
//! Three albums: Paper Lanterns (slow, for electric piano and friends), Strings of Glass (plucked
//! and bowed), Night Transit (electronic, three tracks cut from one continuous piece). The music
//! is composed by hand as chord charts and phrases; how it is performed and recorded is code.

mod cover;
mod drums;
mod electric;
mod file;
mod filter;
mod glass;
mod keys;
mod lanterns;
mod png;
mod score;
mod sound;
mod space;
mod strings;
mod studio;
mod theory;
mod transit;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sound::Stereo;

/// An album of the demo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Album {
    /// Title.
    pub title: &'static str,
    /// Artist, invented.
    pub artist: &'static str,
    /// Release date, ISO 8601.
    pub date: &'static str,
    /// Genre.
    pub genre: &'static str,
    /// Tracks in order.
    pub tracks: Vec<Track>,
}

/// A track of the demo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Title.
    pub title: &'static str,
    /// Position, from 1.
    pub number: u32,
}

/// An album with the code that plays it.
struct Score {
    title: &'static str,
    artist: &'static str,
    genre: &'static str,
    titles: [&'static str; 3],
    depth: u32,
    cover: fn() -> Vec<u8>,
    music: Music,
}

/// How an album's sound is made.
enum Music {
    /// Each track by itself.
    Pieces([fn() -> Stereo; 3]),
    /// All tracks at once.
    Continuous(fn() -> [Stereo; 3]),
}

impl Music {
    /// One track, from 0.
    fn track(&self, n: usize) -> Stereo {
        match self {
            Music::Pieces(pieces) => pieces[n](),
            Music::Continuous(render) => {
                let [a, b, c] = render();
                match n {
                    0 => a,
                    1 => b,
                    _ => c,
                }
            }
        }
    }
}

const DATE: &str = "2026";

const SCORES: [Score; 3] = [
    Score {
        title: "Paper Lanterns",
        artist: "Mallow & Reed",
        genre: "Downtempo",
        titles: ["Harbour Steps", "Second-hand Rain", "Last Ferry, Lights On"],
        depth: 16,
        cover: cover::lanterns,
        music: Music::Pieces([
            lanterns::harbour_steps,
            lanterns::second_hand_rain,
            lanterns::last_ferry,
        ]),
    },
    Score {
        title: "Strings of Glass",
        artist: "Ensemble Vierkant",
        genre: "Chamber",
        titles: [
            "Prelude in Open Water",
            "Waltz for a Clockmaker",
            "Canon at the Window",
        ],
        depth: 16,
        cover: cover::glass,
        music: Music::Pieces([glass::prelude, glass::waltz, glass::canon]),
    },
    Score {
        title: "Night Transit",
        artist: "Linea 9",
        genre: "Electronic",
        titles: ["Platform Four", "Under the River", "First Light"],
        depth: 24,
        cover: cover::transit,
        music: Music::Continuous(transit::tracks),
    },
];

/// What [`write`] would write.
pub fn albums() -> Vec<Album> {
    let track = |(n, title): (usize, &&'static str)| Track {
        title,
        number: n as u32 + 1,
    };
    SCORES
        .iter()
        .map(|score| Album {
            title: score.title,
            artist: score.artist,
            date: DATE,
            genre: score.genre,
            tracks: score.titles.iter().enumerate().map(track).collect(),
        })
        .collect()
}

/// Renders the albums as tagged FLAC files with covers below `dir`, one folder an album, and
/// returns their paths. A file that is already there is kept: each appears under its name only
/// when it is whole. `progress` hears `(tracks done, tracks in all)`.
///
/// # Errors
/// If a file can't be written.
pub fn write(dir: &Path, progress: impl Fn(usize, usize)) -> io::Result<Vec<PathBuf>> {
    let total = SCORES.iter().map(|score| score.titles.len()).sum();
    let mut paths = Vec::new();
    progress(0, total);
    for (score, album) in SCORES.iter().zip(albums()) {
        let folder = dir.join(format!("{} - {}", album.artist, album.title));
        fs::create_dir_all(&folder)?;
        let path = |track: &Track| folder.join(format!("{:02} {}.flac", track.number, track.title));
        let missing = album.tracks.iter().any(|track| !path(track).exists());
        let cover = if missing { (score.cover)() } else { Vec::new() };
        let mut whole = match score.music {
            Music::Continuous(render) if missing => render().map(Some),
            _ => [None, None, None],
        };
        for (n, track) in album.tracks.iter().enumerate() {
            let path = path(track);
            if !path.exists() {
                let sound = whole[n].take().unwrap_or_else(|| score.music.track(n));
                file::write(&path, &sound, score.depth, &album, track, &cover)?;
            }
            paths.push(path);
            progress(paths.len(), total);
        }
    }
    Ok(paths)
}
