//! Notes in time: phrases written as text, chord charts, and small human inaccuracies.

use super::theory::{Chord, Scale};

/// One note.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Note {
    /// Start in beats.
    pub(super) at: f64,
    /// Length in beats.
    pub(super) len: f64,
    /// MIDI pitch.
    pub(super) pitch: f32,
    /// Strength, 0…1.
    pub(super) velocity: f32,
}

/// A chord and when it sounds.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// Start in beats.
    pub(super) at: f64,
    /// Length in beats.
    pub(super) len: f64,
    /// The chord.
    pub(super) chord: Chord,
}

/// Reads a chord chart: bars divided by `|`, each shared evenly by its chords. `%` repeats.
pub(super) fn chart(text: &str, beats_per_bar: f64) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    for (bar, symbols) in text.split('|').enumerate() {
        let symbols: Vec<&str> = symbols.split_whitespace().collect();
        let len = beats_per_bar / symbols.len().max(1) as f64;
        for (n, symbol) in symbols.iter().enumerate() {
            let chord = match Chord::parse(symbol) {
                Some(chord) => chord,
                None if *symbol != "%" => unreachable!("no such chord: {symbol}"),
                None => changes.last().map_or(
                    Chord {
                        bass: 0,
                        tones: vec![0],
                    },
                    |c| c.chord.clone(),
                ),
            };
            changes.push(Change {
                at: bar as f64 * beats_per_bar + n as f64 * len,
                len,
                chord,
            });
        }
    }
    changes
}

/// Reads a melody of scale degrees: `5` is the fifth, `5'` an octave above, `5,` below, `#4` and
/// `b7` altered, `.` a rest; `:1.5` sets the length in beats from here on; `|` is for the eye.
pub(super) fn phrase(text: &str, scale: Scale, velocity: f32) -> Vec<Note> {
    let (mut notes, mut at, mut len) = (Vec::new(), 0.0, 1.0);
    for token in text.split_whitespace().filter(|token| *token != "|") {
        let (name, length) = token.split_once(':').unwrap_or((token, ""));
        len = length.parse().unwrap_or(len);
        if let Some(pitch) = degree(name, scale) {
            // Downbeats a little stronger.
            let accent = if at % 2.0 == 0.0 { 1.0 } else { 0.86 };
            notes.push(Note {
                at,
                len,
                pitch: pitch as f32,
                velocity: velocity * accent,
            });
        }
        at += len;
    }
    notes
}

fn degree(name: &str, scale: Scale) -> Option<i32> {
    let digits: String = name.chars().filter(char::is_ascii_digit).collect();
    let count = |mark: char| name.matches(mark).count() as i32;
    let altered = count('#') - count('b') + 12 * (count('\'') - count(','));
    Some(scale.pitch(digits.parse().ok()?) + altered)
}

/// The same notes later.
pub(super) fn shift(notes: &[Note], beats: f64) -> Vec<Note> {
    notes
        .iter()
        .map(|note| Note {
            at: note.at + beats,
            ..*note
        })
        .collect()
}

/// The same notes higher.
pub(super) fn transpose(notes: &[Note], semitones: f32) -> Vec<Note> {
    notes
        .iter()
        .map(|note| Note {
            pitch: note.pitch + semitones,
            ..*note
        })
        .collect()
}

/// The same chart later.
pub(super) fn later(changes: &[Change], beats: f64) -> Vec<Change> {
    changes
        .iter()
        .map(|c| Change {
            at: c.at + beats,
            ..c.clone()
        })
        .collect()
}

/// Held chords with the least motion from one to the next.
pub(super) fn comp(changes: &[Change], voices: usize, low: i32, high: i32) -> Vec<Vec<i32>> {
    let mut voicings: Vec<Vec<i32>> = Vec::new();
    for change in changes {
        let before = voicings.last().cloned().unwrap_or_default();
        voicings.push(change.chord.voicing(voices, low, high, &before));
    }
    voicings
}

/// A small generator: the same music every time.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// A generator from a seed.
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number in −1…1.
    pub(super) fn roll(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Swings the off-beat eighths to `swing` of a beat (0.5 is straight) and loosens time and touch.
pub(super) fn human(notes: &mut [Note], swing: f64, dice: &mut Dice) {
    for note in notes {
        let beat = note.at.floor();
        let part = note.at - beat;
        let swung = if part < 0.5 {
            part * swing / 0.5
        } else {
            swing + (part - 0.5) * (1.0 - swing) / 0.5
        };
        note.at = (beat + swung + f64::from(dice.roll()) * 0.008).max(0.0);
        note.velocity = (note.velocity * (1.0 + 0.08 * dice.roll())).clamp(0.02, 1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_and_charts_read_as_written() {
        let notes = phrase("1:1 3' .:.5 b7, | 5:2", Scale::major(60), 1.0);
        let pitches: Vec<f32> = notes.iter().map(|n| n.pitch).collect();
        assert_eq!(pitches, [60.0, 76.0, 58.0, 67.0]);
        assert_eq!((notes[2].at, notes[3].at, notes[3].len), (2.5, 3.0, 2.0));
        let changes = chart("C | Am F | %", 4.0);
        let times: Vec<f64> = changes.iter().map(|c| c.at).collect();
        assert_eq!(times, [0.0, 4.0, 6.0, 8.0]);
        assert_eq!(changes[3].chord, changes[2].chord);
    }
}
