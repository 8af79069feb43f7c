//! Strings of Glass: a prelude, a waltz and a canon for plucked and bowed strings.

use super::score::{Change, Dice, Note, chart, comp, human, later, phrase, shift, transpose};
use super::sound::Stereo;
use super::strings::{Build, GUITAR, HARP, PSALTERY, bowed, pluck};
use super::studio::{Layer, Seat, Studio};
use super::theory::Scale;

const RATE: u32 = 44_100;

/// Prelude in Open Water: broken chords over a bass that walks down, then holds.
pub(super) fn prelude() -> Stereo {
    let changes = chart(
        "D | Em7/D | A7/C# | D | Bm | E7/B | A | Amaj7/G# | F#m7 | Bm7 | Em7 | A7 | Dmaj7 | Gmaj7 \
         | C#m7b5 | F#7 | Bm | G6 | Em7/A | A7 | D7/A | Gm6/A | D/A A7 | D",
        4.0,
    );
    let mut studio = Studio::new(RATE, 78.0, 98.0, 4.5, 41);
    let mut dice = Dice::new(141);
    let voicings = comp(&changes, 4, 57, 78);
    let mut notes = Vec::new();
    for (change, voicing) in changes.iter().zip(&voicings) {
        notes.extend(broken(change, voicing));
    }
    // The last chord is rolled once and left to ring.
    let last = changes.len() - 1;
    notes.retain(|note| note.at < changes[last].at);
    let rolled = [38.0, 50.0, 57.0, 62.0, 66.0, 69.0, 74.0, 78.0];
    notes.extend(rolled.iter().enumerate().map(|(n, pitch)| Note {
        at: changes[last].at + n as f64 * 0.16,
        len: 6.0,
        pitch: *pitch,
        velocity: 0.6,
    }));
    arc(&mut notes, changes[last].at);
    human(&mut notes, 0.5, &mut dice);
    let mut harp = studio.layer();
    strum(&mut harp, &HARP, &notes, 0.05, 0.3);
    studio.mix(harp, Seat::dry(0.8, 0.34));

    let mut cello = studio.layer();
    let bass: Vec<Note> = changes
        .iter()
        .skip(8)
        .map(|c| Note {
            at: c.at,
            len: c.len * 0.98,
            pitch: c.chord.bass_from(38) as f32,
            velocity: 0.5,
        })
        .collect();
    let song = "5:4 | 4:1 3:3 | 2:4 | 1:2 7, | 1:4 | 3:3 4:1 | 6:2 4 | 3:4 \
                | 1':4 | 7:2 6 | 5:4 | 4:3 3:1 | 3:4 | 4:2 b6 | 5:2 4 | 3:6";
    cello.play(&bass, -0.3, 0.0, |hz, s, v, dice| {
        bowed(hz, s, v, RATE as f32, dice)
    });
    let song = shift(&phrase(song, Scale::major(62), 0.5), 32.0);
    cello.play(&song, 0.3, 0.1, |hz, s, v, dice| {
        bowed(hz, s, v, RATE as f32, dice)
    });
    studio.mix(cello, Seat::dry(0.5, 0.5));
    studio.finish(2.6, 0.45, -18.0)
}

/// Sixteenths through a chord: bass, then the upper voices in a wave, twice a bar.
fn broken(change: &Change, voicing: &[i32]) -> Vec<Note> {
    const WAVE: [usize; 8] = [0, 1, 2, 3, 4, 3, 2, 1];
    let low = change.chord.bass_from(43);
    let steps = (change.len * 4.0) as usize;
    (0..steps)
        .map(|n| {
            let pitch = match WAVE[n % 8] {
                0 => low,
                i => voicing[i - 1],
            };
            let first = n % 8 == 0;
            Note {
                at: change.at + n as f64 * 0.25,
                len: if first { 1.9 } else { 0.9 },
                pitch: pitch as f32,
                velocity: if first {
                    0.7
                } else {
                    0.42 + 0.04 * WAVE[n % 8] as f32
                },
            }
        })
        .collect()
}

/// Louder towards two thirds of the piece, softer to its end.
fn arc(notes: &mut [Note], end: f64) {
    for note in notes {
        let part = (note.at / end) as f32;
        let swell = if part < 0.66 {
            part / 0.66
        } else {
            (1.0 - part) / 0.34
        };
        note.velocity *= 0.72 + 0.36 * swell.clamp(0.0, 1.0);
    }
}

/// Waltz for a Clockmaker.
pub(super) fn waltz() -> Stereo {
    let key = Scale::minor(67);
    let a = chart(
        "Gm | Gm/F | Ebmaj7 | D7 | Gm | Cm7 | Am7b5 D7 | Gm \
         | Bb | F7/A | Gm | D7/F# | Eb6 | Bb/D | Cm7 D7 | Gm",
        3.0,
    );
    let b = chart(
        "Ebmaj7 | Ebmaj7 | Bb/D | Bb/D | Cm7 | F7 | Bbmaj7 | Bbmaj7 \
         | Ebmaj7 | Cm7 | Am7b5 | D7 | Gm/Bb | A7 | D7sus | D7",
        3.0,
    );
    let end = chart("Gm | Gm", 3.0);
    let theme = "5:2 #7,:.5 1 | 3:2 2:.5 1 | 5:2 3:1 | #7,:2 .:1 | 1:1 2 3 | 4:1.5 3:.5 2:1 \
                 | 3:.5 2 1:1 #7,: | 1:2 .:1 \
                 | 3':2 2':.5 1' | 7:2 5:1 | 1':1.5 7:.5 5:1 | #7:1.5 6:.5 5:1 | 6:1 5 3 \
                 | 5:1.5 4:.5 3:1 | 4:.5 3 2:1 #7, | 1:3";
    let trio = "5:3 | 6:1 5 3 | 3':3 | 7:1 5 3 | 6:2 5:1 | 4:1 3 2 | 3:3 | 5:1 3 1 \
                | 5:2 6:1 | 1':2 6:1 | 2':2 1':1 | #7:3 | 1':1 7 5 | 2':1.5 1':.5 #6:1 | 5:3 | #7:2 .:1";
    let mut studio = Studio::new(RATE, 144.0, 152.0, 4.0, 53);
    let mut dice = Dice::new(153);
    let changes = [
        a.clone(),
        later(&b, 48.0),
        later(&a, 96.0),
        later(&end, 144.0),
    ]
    .concat();

    let theme = phrase(theme, key, 0.78);
    let mut tune: Vec<Note> = [
        theme.clone(),
        shift(&phrase(trio, key, 0.66), 48.0),
        shift(&theme, 96.0),
    ]
    .concat();
    tune.push(Note {
        at: 144.0,
        len: 5.0,
        pitch: 67.0,
        velocity: 0.6,
    });
    human(&mut tune, 0.5, &mut dice);
    let mut psaltery = studio.layer();
    strum(&mut psaltery, &PSALTERY, &tune, 0.12, 0.1);
    // The return is doubled at the octave, as clockwork.
    let mut doubled = transpose(&shift(&theme, 96.0), 12.0);
    doubled.iter_mut().for_each(|note| note.velocity *= 0.45);
    strum(&mut psaltery, &PSALTERY, &doubled, 0.45, 0.1);
    studio.mix(
        psaltery,
        Seat {
            gain: 0.62,
            hall: 0.32,
            echo: 0.08,
            echo_beats: 1.5,
        },
    );

    let mut guitar = studio.layer();
    strum(
        &mut guitar,
        &GUITAR,
        &oompah(&changes, &mut dice),
        -0.08,
        0.12,
    );
    studio.mix(guitar, Seat::dry(0.62, 0.2));

    let mut viola = studio.layer();
    let held: Vec<Note> = changes
        .iter()
        .zip(comp(&changes, 2, 58, 70))
        .filter(|(c, _)| (48.0..96.0).contains(&c.at) || c.at >= 120.0)
        .flat_map(|(c, voicing)| {
            voicing.into_iter().map(|pitch| Note {
                at: c.at,
                len: c.len * 0.97,
                pitch: pitch as f32,
                velocity: 0.36,
            })
        })
        .collect();
    viola.play(&held, -0.1, 0.4, |hz, s, v, dice| {
        bowed(hz, s, v, RATE as f32, dice)
    });
    studio.mix(viola, Seat::dry(0.36, 0.55));
    studio.finish(1.7, 0.4, -18.0)
}

/// Bass on one, chord on two and three.
fn oompah(changes: &[Change], dice: &mut Dice) -> Vec<Note> {
    let mut notes = Vec::new();
    for (change, voicing) in changes.iter().zip(comp(changes, 3, 55, 69)) {
        let bass = change.chord.bass_from(40) as f32;
        notes.push(Note {
            at: change.at,
            len: change.len * 0.9,
            pitch: bass,
            velocity: 0.72,
        });
        let mut beat = change.at.ceil();
        if beat == change.at {
            beat += 1.0;
        }
        while beat < change.at + change.len {
            notes.extend(voicing.iter().enumerate().map(|(n, pitch)| Note {
                at: beat + n as f64 * 0.03,
                len: 0.7,
                pitch: *pitch as f32,
                velocity: 0.42,
            }));
            beat += 1.0;
        }
    }
    human(&mut notes, 0.5, dice);
    notes
}

/// Canon at the Window: three voices, two turns of the bass apart, over a bass of eight chords.
pub(super) fn canon() -> Stereo {
    let key = Scale::major(67);
    let ground = chart("G D/F# | Em Bm/D | C G/B | Am7 D7", 4.0);
    const TURN: f64 = 16.0;
    const TURNS: usize = 6;
    let verses = [
        "3:2 2 | 1 7, | 6, 5, | 6, 7,",
        "5:2 7 | 3' 7 | 1' 5 | 4 2",
        "3:1 5 2 5 | 1 3 7, 3 | 6, 1 5, 3 | 6, 1 2 7,",
        "5:.5 4 3 5 2 3 4 2 | 3 2 1 3 7, 1 2 7, | 1 7, 6, 1 5, 6, 7, 5, | 6, 7, 1 6, 2 3 4 2",
        "3':1 2':.5 1' 7:1 6:.5 5 | 1':1 7:.5 6 5:1 4:.5 3 | 4:1 6:.5 1' 5:1 3:.5 5 \
         | 6:1 1':.5 6 2:1 4:.5 7,",
    ];
    let mut subject = Vec::new();
    for (n, verse) in verses.iter().enumerate() {
        subject.extend(shift(&phrase(verse, key, 0.7), n as f64 * TURN));
    }
    let beats = TURN * TURNS as f64 + 6.0;
    let mut studio = Studio::new(RATE, 88.0, beats, 4.0, 67);
    let mut dice = Dice::new(167);
    let end = TURN * TURNS as f64;

    for (entry, (build, pan, octave, gain)) in [
        (GUITAR, -0.45, 0.0, 0.62),
        (HARP, 0.45, 12.0, 0.56),
        (PSALTERY, 0.0, 12.0, 0.34),
    ]
    .into_iter()
    .enumerate()
    {
        let mut voice = transpose(&shift(&subject, entry as f64 * TURN), octave);
        voice.retain(|note| note.at < end);
        human(&mut voice, 0.5, &mut dice);
        let mut layer = studio.layer();
        strum(&mut layer, &build, &voice, pan, 0.15);
        studio.mix(layer, Seat::dry(gain, 0.3));
    }

    let (mut bass, mut inner) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        let changes = later(&ground, turn as f64 * TURN);
        for (change, voicing) in changes.iter().zip(comp(&changes, 3, 55, 70)) {
            let low = change.chord.bass_from(40) as f32;
            bass.push(Note {
                at: change.at,
                len: 1.9,
                pitch: low,
                velocity: 0.55,
            });
            if turn >= 2 {
                inner.extend(voicing.iter().map(|pitch| Note {
                    at: change.at,
                    len: 1.95,
                    pitch: *pitch as f32,
                    velocity: 0.26 + 0.03 * turn as f32,
                }));
            }
        }
    }
    let close = [43.0, 55.0, 59.0, 62.0, 67.0];
    let close: Vec<Note> = close
        .iter()
        .map(|pitch| Note {
            at: end,
            len: 5.0,
            pitch: *pitch,
            velocity: 0.45,
        })
        .collect();
    let mut cello = studio.layer();
    cello.play(&bass, -0.15, 0.0, |hz, s, v, dice| {
        bowed(hz, s, v, RATE as f32, dice)
    });
    cello.play(&inner, 0.0, 0.5, |hz, s, v, dice| {
        bowed(hz, s, v, RATE as f32, dice)
    });
    cello.play(&close, 0.0, 0.5, |hz, s, v, dice| {
        bowed(hz, s, v, RATE as f32, dice)
    });
    studio.mix(cello, Seat::dry(0.42, 0.5));
    let mut last = studio.layer();
    let rolled: Vec<Note> = [43.0, 50.0, 59.0, 67.0, 71.0, 79.0]
        .iter()
        .enumerate()
        .map(|(n, p)| Note {
            at: end + n as f64 * 0.12,
            len: 5.0,
            pitch: *p,
            velocity: 0.6,
        })
        .collect();
    strum(&mut last, &GUITAR, &rolled, 0.0, 0.3);
    studio.mix(last, Seat::dry(0.62, 0.3));
    studio.finish(2.2, 0.42, -18.0)
}

fn strum(layer: &mut Layer, build: &Build, notes: &[Note], pan: f32, spread: f32) {
    layer.play(notes, pan, spread, |hz, s, v, dice| {
        pluck(build, hz, s.max(0.4), v, RATE as f32, dice)
    });
}
