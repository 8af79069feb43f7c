//! Pitches, scales, chords and voice-leading.

/// Frequency of a MIDI pitch in Hz (69 is 440 Hz).
pub(super) fn hz(pitch: f32) -> f32 {
    440.0 * ((pitch - 69.0) / 12.0).exp2()
}

/// A seven-note scale.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// MIDI pitch of degree 1.
    pub(super) tonic: i32,
    steps: [i32; 7],
}

impl Scale {
    /// Major, from that pitch.
    pub(super) const fn major(tonic: i32) -> Scale {
        Scale {
            tonic,
            steps: [0, 2, 4, 5, 7, 9, 11],
        }
    }

    /// Natural minor, from that pitch.
    pub(super) const fn minor(tonic: i32) -> Scale {
        Scale {
            tonic,
            steps: [0, 2, 3, 5, 7, 8, 10],
        }
    }

    /// MIDI pitch of a degree; 1 is the tonic, 8 its octave, 0 the seventh below.
    pub(super) fn pitch(&self, degree: i32) -> i32 {
        let n = degree - 1;
        self.tonic + 12 * n.div_euclid(7) + self.steps[n.rem_euclid(7) as usize]
    }
}

/// A chord by pitch classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chord {
    /// Pitch class of the bass.
    pub(super) bass: i32,
    /// Pitch classes, root first.
    pub(super) tones: Vec<i32>,
}

/// Intervals of each chord quality. Where five or more are given, players leave the fifth out.
const QUALITIES: [(&str, &[i32]); 19] = [
    ("", &[0, 4, 7]),
    ("m", &[0, 3, 7]),
    ("6", &[0, 4, 7, 9]),
    ("m6", &[0, 3, 7, 9]),
    ("69", &[0, 4, 9, 14]),
    ("7", &[0, 4, 7, 10]),
    ("maj7", &[0, 4, 7, 11]),
    ("m7", &[0, 3, 7, 10]),
    ("9", &[0, 4, 10, 14]),
    ("maj9", &[0, 4, 11, 14]),
    ("m9", &[0, 3, 10, 14]),
    ("m11", &[0, 3, 10, 17]),
    ("13", &[0, 4, 10, 21]),
    ("9sus", &[0, 5, 10, 14]),
    ("7sus", &[0, 5, 7, 10]),
    ("7b9", &[0, 4, 10, 13]),
    ("m7b5", &[0, 3, 6, 10]),
    ("add9", &[0, 4, 7, 14]),
    ("dim7", &[0, 3, 6, 9]),
];

impl Chord {
    /// Reads a chord symbol: `Ebmaj9`, `F#m7b5`, `C/G`.
    pub(super) fn parse(symbol: &str) -> Option<Chord> {
        let (chord, bass) = symbol.split_once('/').unwrap_or((symbol, ""));
        let (root, quality) = pitch_class(chord)?;
        let (_, intervals) = QUALITIES.iter().find(|(name, _)| *name == quality)?;
        let bass = if bass.is_empty() {
            root
        } else {
            pitch_class(bass)?.0
        };
        Some(Chord {
            bass,
            tones: intervals.iter().map(|i| (root + i) % 12).collect(),
        })
    }

    /// The bass at or above that pitch.
    pub(super) fn bass_from(&self, low: i32) -> i32 {
        low + (self.bass - low).rem_euclid(12)
    }

    /// The chord tone nearest to a pitch.
    pub(super) fn nearest(&self, pitch: i32) -> i32 {
        let near = (-6..=6).filter(|d| self.tones.contains(&(pitch + d).rem_euclid(12)));
        pitch + near.min_by_key(|d| (d.abs(), *d)).unwrap_or(0)
    }

    /// The voicing of so many voices within a range that moves least from the one before.
    pub(super) fn voicing(&self, voices: usize, low: i32, high: i32, before: &[i32]) -> Vec<i32> {
        let pitches: Vec<i32> = (low..=high)
            .filter(|p| self.tones.contains(&p.rem_euclid(12)))
            .collect();
        let mut best = (i32::MAX, Vec::new());
        choose(&pitches, voices, &mut Vec::new(), &mut |voicing| {
            let cost = self.cost(voicing, before, (low + high) / 2);
            if cost < best.0 {
                best = (cost, voicing.to_vec());
            }
        });
        best.1
    }

    fn cost(&self, voicing: &[i32], before: &[i32], centre: i32) -> i32 {
        let missing = self
            .tones
            .iter()
            .filter(|t| !voicing.iter().any(|p| p.rem_euclid(12) == **t))
            .count();
        let moves: i32 = voicing.iter().zip(before).map(|(a, b)| (a - b).abs()).sum();
        let wide: i32 = voicing.windows(2).map(|w| (w[1] - w[0] - 7).max(0)).sum();
        let close: i32 = voicing
            .windows(2)
            .map(|w| i32::from(w[1] - w[0] < 2) * 3)
            .sum();
        let mean = voicing.iter().sum::<i32>() / voicing.len().max(1) as i32;
        missing as i32 * 12 + moves * 2 + wide * 2 + close + (mean - centre).abs()
    }
}

/// All ascending choices of `left` pitches.
fn choose(pitches: &[i32], left: usize, taken: &mut Vec<i32>, each: &mut impl FnMut(&[i32])) {
    if left == 0 {
        each(taken);
        return;
    }
    for (n, pitch) in pitches.iter().enumerate() {
        taken.push(*pitch);
        choose(&pitches[n + 1..], left - 1, taken, each);
        taken.pop();
    }
}

/// Reads a note name from the front: pitch class and what follows.
fn pitch_class(text: &str) -> Option<(i32, &str)> {
    let letter = match text.chars().next()? {
        'C' => 0,
        'D' => 2,
        'E' => 4,
        'F' => 5,
        'G' => 7,
        'A' => 9,
        'B' => 11,
        _ => return None,
    };
    match &text[1..] {
        rest if rest.starts_with('#') => Some(((letter + 1) % 12, &rest[1..])),
        rest if rest.starts_with('b') => Some(((letter + 11) % 12, &rest[1..])),
        rest => Some((letter, rest)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn chords_are_spelt_and_lead_smoothly() {
        let chord = Chord::parse("F#m7b5/E").unwrap();
        assert_eq!((chord.bass, chord.tones.as_slice()), (4, &[6, 9, 0, 4][..]));
        assert_eq!(Chord::parse("H7"), None);
        let first = Chord::parse("Cmaj7").unwrap().voicing(4, 52, 72, &[]);
        let second = Chord::parse("Am7").unwrap().voicing(4, 52, 72, &first);
        let moved: i32 = first.iter().zip(&second).map(|(a, b)| (a - b).abs()).sum();
        assert!(moved <= 4, "{first:?} {second:?}");
        assert_eq!(Scale::minor(57).pitch(8), 69);
        assert_eq!(Scale::major(60).pitch(0), 59);
    }
}
