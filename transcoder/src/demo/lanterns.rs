//! Paper Lanterns: three slow pieces for electric piano, vibraphone, flute, bass and brushes.

use super::drums;
use super::electric::round_bass;
use super::keys::{bell, electric_piano, flute, vibraphone};
use super::score::{Change, Dice, Note, chart, comp, human, later, phrase, shift};
use super::sound::Stereo;
use super::studio::{Layer, Seat, Studio};
use super::theory::Scale;

const RATE: u32 = 44_100;

/// What a piece needs beyond its chords.
struct Piece {
    bpm: f64,
    swing: f64,
    seed: u64,
    changes: Vec<Change>,
    melody: Vec<Note>,
    answer: Vec<Note>,
    /// Bars with drums, from and to.
    drums: (usize, usize),
    beats: f64,
    lead: Lead,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lead {
    Vibraphone,
    Flute,
    Bell,
}

/// Harbour Steps.
pub(super) fn harbour_steps() -> Stereo {
    let key = Scale::major(63);
    let intro = chart("Abmaj9 | Bb9sus", 4.0);
    let a = chart("Ebmaj9 | Cm9 | Fm9 | Bb13 | Gm7 | C7b9 | Fm9 | Bb9sus", 4.0);
    let b = chart("Abmaj9 | Abm6 | Gm7 | C9 | Fm9 | Bb13 | Eb69 | Bb9sus", 4.0);
    let outro = chart("Abmaj9 | Abm6 | Eb69", 4.0);
    let theme = "5:1.5 6:.5 5:1 3 | 2:2.5 .:.5 3:.5 4 | 5:1.5 4:.5 2:1 1 | 7,:2 .:2 \
                 | 3:1.5 5:.5 7:1 5 | b7:1 5:.5 4:1.5 .:1 | 4:1 5:.5 6 1':1 7:.5 6 | 5:3 .:1";
    let bridge = "1':1.5 7:.5 5:1 3 | b6:1.5 5:.5 1':2 | 7:1 6:.5 5 4:1 3 | 3:1.5 4:.5 5:2 \
                  | 6:1 1':.5 2' 3':1 2' | 1':.5 7 6 4 5:2 | 3:3.5 .:.5 | .:4";
    let varied = "5:.5 6 5:.5 3 5:1 3' | 2':1.5 1':.5 7:1 .:.5 5 | 4:.5 5 6 1' 2':1 1' | 7:2 .:2 \
                  | 3':1.5 2':.5 7:1 5 | b7:1 5:.5 4:1.5 2:1 | 4:.5 5 6 1' 2':1 3':.5 2' | 1':3 .:1";
    let answer = "3,:2 5, | 1:4 | 6,:2 1 | 2:3 .:1 | 5,:2 7, | b7,:3 .:1 | 6,:4 | 5,:4";
    let (vel, soft) = (0.72, 0.42);
    let melody = [
        shift(&phrase(theme, key, vel), 8.0),
        shift(&phrase(bridge, key, vel + 0.05), 40.0),
        shift(&phrase(varied, key, vel + 0.08), 72.0),
    ];
    render(Piece {
        bpm: 88.0,
        swing: 0.58,
        seed: 11,
        changes: [
            intro,
            later(&a, 8.0),
            later(&b, 40.0),
            later(&a, 72.0),
            later(&outro, 104.0),
        ]
        .concat(),
        melody: melody.concat(),
        answer: shift(&phrase(answer, Scale::major(75), soft), 72.0),
        drums: (2, 26),
        beats: 116.0,
        lead: Lead::Vibraphone,
    })
}

/// Second-hand Rain.
pub(super) fn second_hand_rain() -> Stereo {
    let key = Scale::minor(64);
    let a = chart("Am9 | D9 | Gmaj9 | Cmaj9 | F#m7b5 | B7b9 | Em9 | Em9", 4.0);
    let b = chart(
        "Cmaj9 | Bm7 | Am9 | Gmaj9 | F#m7b5 | B7b9 | Em9 E7b9 | Am9 B7b9",
        4.0,
    );
    let outro = chart("Em9 | Am9 | Em9", 4.0);
    let theme = "5:3 4:.5 3 | 2:3 .:1 | 3:2 2:.5 3 5:1 | 7:3 .:1 \
                 | 6:2 5:.5 4 3:1 | 6:1.5 4:.5 #7,:2 | 1:4 | .:2 1:.5 2 3 4";
    let climb = "5:2 6:.5 7 1':1 | 2':2.5 1':.5 7:1 | 1':1.5 7:.5 5:2 | 3':2.5 2':.5 7:1 \
                 | 6:1 7:.5 1' 3':1 1' | #7:1 6:.5 5 4:2 | 5:2 #3' | 1':2 #7";
    let rain = "5':.5 .:1.5 3':.5 .:1.5 | 2':.5 .:3.5 | 7:.5 .:1.5 5:.5 .:1.5 | 7:.5 .:3.5 \
                | 1':.5 .:1.5 6:.5 .:1.5 | #7:.5 .:3.5 | 5':.5 .:1 3':.5 .:2 | 1':.5 .:3.5";
    let theme = phrase(theme, key, 0.7);
    render(Piece {
        bpm: 80.0,
        swing: 0.55,
        seed: 23,
        changes: [
            a.clone(),
            later(&b, 32.0),
            later(&a, 64.0),
            later(&outro, 96.0),
        ]
        .concat(),
        melody: [
            theme.clone(),
            shift(&phrase(climb, key, 0.78), 32.0),
            shift(&theme, 64.0),
        ]
        .concat(),
        answer: shift(&phrase(rain, Scale::minor(76), 0.32), 64.0),
        drums: (4, 24),
        beats: 108.0,
        lead: Lead::Flute,
    })
}

/// Last Ferry, Lights On.
pub(super) fn last_ferry() -> Stereo {
    let key = Scale::major(61);
    let a = chart(
        "Gbmaj9 | F7b9 | Bbm9 | Abm9 Db13 | Gbmaj9 | Gbm6 | Dbmaj9 | Ebm9 Ab13",
        4.0,
    );
    let b = chart(
        "Bbm9 | Ebm9 | Ab13 | Dbmaj9 | Gbmaj9 | Gbm6 | Fm7 Bb7b9 | Ebm9 Ab9sus",
        4.0,
    );
    let outro = chart("Gbmaj9 | Gbm6 | Dbmaj9", 4.0);
    let theme = "3':1 1':.5 6 5:2 | 4:.5 5 #5 6 7:1 4 | 6:1 1':.5 3' 7:2 | b7:1 6:.5 5 3:2 \
                 | 3:1 4:.5 6 1':2 | 2':1 1':.5 2' b6:2 | 5:1 7:.5 3' 2':2 | 2':.5 1' 6 4 5:2";
    let bridge = "1':2 7:1 6 | 4:2 6:1 1' | 2':2 1':.5 7 6:1 | 5:3 .:1 \
                  | 6:.5 1' 3' 6' 5':2 | 2':1.5 1':.5 b6:2 | 5:1 1' 3':.5 2' #1' 7 | 2':2 1':1 5";
    let close = "3':2 1':1 6 | 2':2 b6:2 | 5:4";
    let theme = phrase(theme, key, 0.62);
    render(Piece {
        bpm: 92.0,
        swing: 0.6,
        seed: 37,
        changes: [
            a.clone(),
            later(&b, 32.0),
            later(&a, 64.0),
            later(&outro, 96.0),
        ]
        .concat(),
        melody: [
            theme.clone(),
            shift(&phrase(bridge, key, 0.68), 32.0),
            shift(&theme, 64.0),
            shift(&phrase(close, key, 0.5), 96.0),
        ]
        .concat(),
        answer: Vec::new(),
        drums: (0, 24),
        beats: 108.0,
        lead: Lead::Bell,
    })
}

fn render(piece: Piece) -> Stereo {
    let mut studio = Studio::new(RATE, piece.bpm, piece.beats, 3.5, piece.seed);
    let mut dice = Dice::new(piece.seed + 100);

    let mut keys = studio.layer();
    keys.play(&piano(&piece, &mut dice), 0.0, 0.35, |hz, s, v, _| {
        electric_piano(hz, s, v, RATE as f32)
    });
    let tremolo = std::f32::consts::TAU * 2.7;
    keys.sound.each(|l, r, t| {
        let sway = 0.14 * (tremolo * t).sin();
        (l * (1.0 + sway), r * (1.0 - sway))
    });
    studio.mix(keys, Seat::dry(0.62, 0.22));

    let mut bass = studio.layer();
    bass.play(&bass_line(&piece, &mut dice), 0.0, 0.0, |hz, s, v, _| {
        round_bass(hz, s, v, RATE as f32)
    });
    studio.mix(bass, Seat::dry(0.85, 0.03));

    let mut lead = studio.layer();
    let (mut melody, mut answer) = (piece.melody.clone(), piece.answer.clone());
    human(&mut melody, piece.swing, &mut dice);
    human(&mut answer, piece.swing, &mut dice);
    sing(&mut lead, &melody, piece.lead);
    studio.mix(
        lead,
        Seat {
            gain: 0.72,
            hall: 0.4,
            echo: 0.16,
            echo_beats: 1.5,
        },
    );
    let mut second = studio.layer();
    second.play(&answer, 0.45, 0.2, |hz, s, v, _| {
        bell(hz, s, v, RATE as f32)
    });
    studio.mix(
        second,
        Seat {
            gain: 0.6,
            hall: 0.6,
            echo: 0.2,
            echo_beats: 0.75,
        },
    );

    brushes(&mut studio, &piece, &mut dice);
    studio.finish(1.9, 0.55, -17.0)
}

fn sing(layer: &mut Layer, melody: &[Note], lead: Lead) {
    layer.play(melody, -0.15, 0.15, |hz, s, v, dice| match lead {
        Lead::Vibraphone => vibraphone(hz, s, v, RATE as f32),
        Lead::Flute => flute(hz, s * 0.97, v, RATE as f32, dice),
        Lead::Bell => {
            let mut sound = vibraphone(hz, s, v * 0.6, RATE as f32);
            let shine = bell(hz * 2.0, s * 0.5, v * 0.4, RATE as f32);
            sound.resize(sound.len().max(shine.len()), 0.0);
            sound.iter_mut().zip(shine).for_each(|(a, b)| *a += b);
            sound
        }
    });
}

/// Rolled chords, and a softer push on the "and" of two.
fn piano(piece: &Piece, dice: &mut Dice) -> Vec<Note> {
    let mut notes = Vec::new();
    for (change, voicing) in piece.changes.iter().zip(comp(&piece.changes, 4, 51, 70)) {
        for (n, pitch) in voicing.iter().enumerate() {
            let roll = n as f64 * 0.03;
            let pitch = *pitch as f32;
            let velocity = 0.5 + 0.05 * n as f32;
            let first = if change.len > 3.0 {
                2.4
            } else {
                change.len - 0.1
            };
            notes.push(Note {
                at: change.at + roll,
                len: first,
                pitch,
                velocity,
            });
            if change.len > 3.0 {
                let at = change.at + 2.5 + roll * 0.3;
                notes.push(Note {
                    at,
                    len: change.len - 2.6,
                    pitch,
                    velocity: velocity * 0.72,
                });
            }
        }
    }
    human(&mut notes, piece.swing, dice);
    notes
}

/// Root, fifth below the turn, and a step into the next root.
fn bass_line(piece: &Piece, dice: &mut Dice) -> Vec<Note> {
    let mut notes = Vec::new();
    for (n, change) in piece.changes.iter().enumerate() {
        let root = change.chord.bass_from(33);
        let next = piece
            .changes
            .get(n + 1)
            .map_or(root, |c| c.chord.bass_from(33));
        let note = |at: f64, len: f64, pitch: i32, velocity: f32| Note {
            at: change.at + at,
            len,
            pitch: pitch as f32,
            velocity,
        };
        notes.push(note(0.0, change.len.min(2.3), root, 0.85));
        if change.len > 3.0 {
            let fifth = change.chord.nearest(root + 7);
            notes.push(note(2.5, 0.9, fifth, 0.62));
            let step = if next > root { next - 1 } else { next + 1 };
            notes.push(note(3.5, 0.45, step, 0.55));
        }
    }
    human(&mut notes, piece.swing, dice);
    notes
}

/// Bass drum, brushed backbeat, a swung hat that leaves gaps.
fn brushes(studio: &mut Studio, piece: &Piece, dice: &mut Dice) {
    let (mut kicks, mut snares, mut hats) = (Vec::new(), Vec::new(), Vec::new());
    let hit = |at: f64, velocity: f32| Note {
        at,
        len: 0.25,
        pitch: 64.0,
        velocity,
    };
    for bar in piece.drums.0..piece.drums.1 {
        let at = bar as f64 * 4.0;
        kicks.push(hit(at, 0.8));
        kicks.push(hit(at + 2.5, 0.6));
        if bar % 4 == 3 {
            kicks.push(hit(at + 3.5, 0.45));
        }
        snares.push(hit(at + 1.0, 0.6));
        snares.push(hit(at + 3.0, 0.68));
        for eighth in 0..8 {
            if bar % 2 == 0 || eighth != 5 {
                let accent = if eighth % 2 == 0 { 0.34 } else { 0.5 };
                hats.push(hit(at + f64::from(eighth) * 0.5, accent));
            }
        }
        if bar % 8 == 7 {
            snares.extend([hit(at + 3.5, 0.35), hit(at + 3.75, 0.45)]);
        }
    }
    for notes in [&mut kicks, &mut snares, &mut hats] {
        human(notes, piece.swing, dice);
    }
    let rate = RATE as f32;
    let mut drums = studio.layer();
    drums.play(&kicks, 0.0, 0.0, |_, _, v, _| drums::kick(v, 0.15, rate));
    drums.play(&snares, 0.1, 0.0, |_, _, v, dice| {
        drums::snare(v, 0.8, rate, dice)
    });
    drums.play(&hats, 0.35, 0.0, |_, _, v, dice| {
        drums::hat(v * 0.7, 0.05, rate, dice)
    });
    studio.mix(drums, Seat::dry(0.62, 0.1));
}
