//! Night Transit: one continuous piece of electronic music in three tracks, cut on bar lines in
//! mid-sound, so that a player that leaves gaps is heard to.

use super::drums;
use super::electric::{bass, blip, lead, pad};
use super::keys::bell;
use super::score::{Change, Dice, Note, chart, comp, later, phrase, shift};
use super::sound::Stereo;
use super::studio::{Seat, Studio};
use super::theory::{Scale, hz};

const RATE: u32 = 48_000;
const BPM: f64 = 120.0;
const BAR: f64 = 4.0;
/// Bars at which the tracks begin, and at which the last ends.
const BORDERS: [usize; 4] = [0, 32, 66, 98];
/// The sound goes on this long after the last bar.
const TAIL_S: f64 = 4.0;

/// What sounds when, in bars.
struct Plan {
    pads: &'static [(usize, usize)],
    arpeggio: &'static [(usize, usize)],
    bass: &'static [(usize, usize)],
    kick: &'static [(usize, usize)],
    hats: &'static [(usize, usize)],
    claps: &'static [(usize, usize)],
    risers: &'static [usize],
}

const PLAN: Plan = Plan {
    pads: &[(0, 98)],
    arpeggio: &[(4, 44), (50, 94)],
    bass: &[(16, 42), (50, 90)],
    kick: &[(8, 42), (50, 90)],
    hats: &[(12, 31), (32, 42), (50, 90)],
    claps: &[(20, 31), (32, 42), (54, 90)],
    risers: &[14, 30, 48, 64],
};

/// The three tracks. Put end to end they are the whole piece.
pub(super) fn tracks() -> [Stereo; 3] {
    let whole = render();
    let frame = |bar: usize| (bar as f64 * BAR * 60.0 / BPM * f64::from(RATE)) as usize;
    let cut = |from: usize, to: usize| Stereo {
        rate: whole.rate,
        left: whole.left[from..to].to_vec(),
        right: whole.right[from..to].to_vec(),
    };
    let [a, b, c, _] = BORDERS.map(frame);
    [cut(a, b), cut(b, c), cut(c, whole.frames())]
}

/// A chord every two bars, from A minor by way of D minor to F and C major.
fn changes() -> Vec<Change> {
    let first = "Am9 | Fmaj7 | C/G | Em7";
    let second = "Dm9 | Bbmaj7 | Fmaj9/A | C";
    let third = "Fmaj9 | C/E | Am7 | G";
    let mut all = Vec::new();
    let mut bar = 0;
    for (text, times) in [(first, 4), (second, 4), ("Dm9", 1), (third, 3), (third, 1)] {
        for _ in 0..times {
            let section = chart(text, 2.0 * BAR);
            let beats = section.len() as f64 * 2.0 * BAR;
            all.extend(later(&section, bar as f64));
            bar += beats as usize;
        }
    }
    all
}

fn render() -> Stereo {
    let bars = BORDERS[3];
    let mut studio = Studio::new(RATE, BPM, bars as f64 * BAR, TAIL_S, 71);
    let mut dice = Dice::new(171);
    let changes = changes();
    let kicks = kicks();

    let mut layer = studio.layer();
    layer.play_wide(&chords(&changes), |hz, s, v, dice| {
        pad(hz, s, v, RATE as f32, dice)
    });
    layer.duck(&kicks, 0.62, 0.9);
    studio.mix(layer, Seat::dry(0.8, 0.35));

    let mut layer = studio.layer();
    for (part, (from, to)) in arpeggios(&changes) {
        let span = (to - from) as f64;
        for note in part {
            // The filter opens over each stretch.
            let open = (0.15 + 0.6 * ((note.at / BAR - from as f64) / span)) as f32;
            let pan = 0.5 * ((note.at * 0.37) as f32).sin();
            layer.play(&[note], pan, 0.0, |hz, s, v, _| {
                blip(hz, s, v, open, RATE as f32)
            });
        }
    }
    layer.duck(&kicks, 0.35, 0.6);
    studio.mix(
        layer,
        Seat {
            gain: 0.42,
            hall: 0.25,
            echo: 0.34,
            echo_beats: 0.75,
        },
    );

    let mut layer = studio.layer();
    layer.play(&bass_line(&changes), 0.0, 0.0, |hz, s, v, _| {
        bass(hz, s, v, RATE as f32)
    });
    layer.duck(&kicks, 0.5, 0.5);
    studio.mix(layer, Seat::dry(0.66, 0.0));

    let mut layer = studio.layer();
    layer.play(&kicks, 0.0, 0.0, |_, _, v, _| {
        drums::kick(v, 0.9, RATE as f32)
    });
    studio.mix(layer, Seat::dry(0.86, 0.0));
    percussion(&mut studio);

    melodies(&mut studio, &kicks, &mut dice);
    studio.finish(2.8, 0.38, -16.0)
}

fn melodies(studio: &mut Studio, kicks: &[Note], dice: &mut Dice) {
    let key = Scale::minor(69);
    // Under the River: a motif of three notes, turned over and over; alone in the breakdown.
    let motif = "4:1.5 5:1.5 1':5 | .:4 7:1.5 6:1.5 5:5";
    let song = "1':3 7:1 6:3 5:1 | 4:6 .:2 | 3:3 4:1 5:3 7:1 | 5:5 .:3 \
                | 1':3 7:1 4':3 3':1 | 3':3 1':1 6:4 | 3':3 2':1 7:3 5:1 | 6:3 5:1 4:4";
    // First Light: the same motif in major, rising.
    let light = "1':1.5 7:1.5 3':5 | 5':3 3':1 2':1 1' 7:2 | 3':3 1':1 5:4 | 7:2 2' 5':3 4':1";
    let mut notes = shift(&phrase(motif, key, 0.5), 34.0 * BAR);
    notes.extend(shift(&phrase(song, key, 0.62), 42.0 * BAR));
    let light = phrase(light, key, 0.62);
    notes.extend(shift(&light, 66.0 * BAR));
    notes.extend(shift(&light, 74.0 * BAR));
    notes.extend(shift(&light, 82.0 * BAR));
    let mut layer = studio.layer();
    let mut from = None;
    for note in &notes {
        let target = hz(note.pitch);
        let start = from.replace(target).unwrap_or(target);
        layer.play(&[*note], 0.0, 0.0, |hz, s, v, _| {
            lead(start, hz, s * 0.96, v, RATE as f32)
        });
    }
    layer.duck(kicks, 0.2, 0.5);
    studio.mix(
        layer,
        Seat {
            gain: 0.5,
            hall: 0.45,
            echo: 0.3,
            echo_beats: 1.5,
        },
    );

    // Stars: sparse bells over the quiet stretches.
    let mut stars = Vec::new();
    for bar in (0..8).chain(42..50).chain(82..97) {
        let at = bar as f64 * BAR + 0.5 * f64::from((dice.roll() * 3.9).abs().floor() * 2.0);
        let degree = [1, 5, 8, 9, 12][((dice.roll() + 1.0) * 2.49) as usize];
        let pitch = Scale::major(72).pitch(degree) as f32;
        stars.push(Note {
            at,
            len: 1.0,
            pitch,
            velocity: 0.34 + 0.1 * dice.roll(),
        });
    }
    let mut layer = studio.layer();
    layer.play(&stars, 0.1, 0.9, |hz, s, v, _| bell(hz, s, v, RATE as f32));
    studio.mix(
        layer,
        Seat {
            gain: 0.5,
            hall: 0.8,
            echo: 0.4,
            echo_beats: 0.75,
        },
    );
}

fn chords(changes: &[Change]) -> Vec<Note> {
    let voicings = comp(changes, 4, 53, 74);
    let play = |(change, voicing): (&Change, Vec<i32>)| {
        let bar = change.at / BAR;
        let level = if within(PLAN.kick, bar) { 0.62 } else { 0.8 };
        let note = move |pitch: i32, velocity| Note {
            at: change.at,
            len: change.len,
            pitch: pitch as f32,
            velocity,
        };
        let low = change.chord.bass_from(41);
        let upper: Vec<Note> = voicing
            .into_iter()
            .map(|pitch| note(pitch, level))
            .collect();
        upper.into_iter().chain([note(low, level * 0.8)])
    };
    let sounding = changes
        .iter()
        .zip(voicings)
        .filter(|(c, _)| within(PLAN.pads, c.at / BAR));
    sounding.flat_map(play).collect()
}

/// Sixteenths up and down the chord, with gaps in a pattern that turns against the bar.
fn arpeggios(changes: &[Change]) -> Vec<(Vec<Note>, (usize, usize))> {
    const STEPS: [usize; 12] = [0, 2, 1, 3, 2, 4, 3, 5, 4, 2, 3, 1];
    const GAPS: [usize; 3] = [3, 9, 14];
    let part = |span: &(usize, usize)| {
        let (from, to) = (span.0 * 16, span.1 * 16);
        let mut notes = Vec::new();
        for step in (from..to).filter(|step| !GAPS.contains(&(step % 16))) {
            let at = step as f64 * 0.25;
            let Some(change) = changes.iter().find(|c| at >= c.at && at < c.at + c.len) else {
                continue;
            };
            let mut ladder = change.chord.voicing(3, 60, 76, &[]);
            ladder.extend(ladder.clone().iter().map(|pitch| pitch + 12));
            let pitch = ladder[STEPS[step % 12] % ladder.len()] as f32;
            let velocity = if step % 4 == 0 { 0.75 } else { 0.52 };
            notes.push(Note {
                at,
                len: 0.22,
                pitch,
                velocity,
            });
        }
        (notes, *span)
    };
    PLAN.arpeggio.iter().map(part).collect()
}

/// Off-beat eighths that lean on the root, with an octave at the end of each bar.
fn bass_line(changes: &[Change]) -> Vec<Note> {
    const PATTERN: [(f64, i32, f32); 7] = [
        (0.5, 0, 0.8),
        (1.0, 0, 0.55),
        (1.5, 0, 0.8),
        (2.5, 0, 0.8),
        (2.75, 0, 0.5),
        (3.25, 12, 0.6),
        (3.5, 7, 0.7),
    ];
    let mut notes = Vec::new();
    for change in changes {
        let root = change.chord.bass_from(33);
        for bar in 0..2 {
            let at = change.at + f64::from(bar) * BAR;
            if !within(PLAN.bass, at / BAR) {
                continue;
            }
            notes.extend(PATTERN.iter().map(|(beat, up, velocity)| Note {
                at: at + beat,
                len: 0.4,
                pitch: (if *up == 7 {
                    change.chord.nearest(root + 7)
                } else {
                    root + up
                }) as f32,
                velocity: *velocity,
            }));
        }
    }
    notes
}

fn kicks() -> Vec<Note> {
    let beats = 0..BORDERS[3] * 4;
    let on = beats.filter(|beat| within(PLAN.kick, *beat as f64 / BAR));
    // The last beat before each riser's end is left out.
    let on = on.filter(|beat| {
        !PLAN
            .risers
            .iter()
            .any(|bar| beat / 4 == bar + 1 && beat % 4 == 3)
    });
    on.map(|beat| hit(beat as f64, 0.9)).collect()
}

fn percussion(studio: &mut Studio) {
    let rate = RATE as f32;
    let (mut closed, mut open, mut claps, mut risers) = (vec![], vec![], vec![], vec![]);
    for sixteenth in 0..BORDERS[3] * 16 {
        let at = sixteenth as f64 * 0.25;
        if within(PLAN.hats, at / BAR) {
            match sixteenth % 4 {
                2 => open.push(hit(at, 0.62)),
                3 if sixteenth % 8 == 7 => closed.push(hit(at, 0.42)),
                0 | 1 => closed.push(hit(at, 0.3)),
                _ => {}
            }
        }
        if within(PLAN.claps, at / BAR) && sixteenth % 8 == 4 {
            claps.push(hit(at, 0.6));
        }
    }
    for bar in PLAN.risers {
        risers.push(Note {
            at: *bar as f64 * BAR,
            len: 8.0,
            pitch: 64.0,
            velocity: 0.7,
        });
    }
    let mut layer = studio.layer();
    layer.play(&closed, -0.25, 0.0, |_, _, v, dice| {
        drums::hat(v, 0.035, rate, dice)
    });
    layer.play(&open, 0.2, 0.0, |_, _, v, dice| {
        drums::hat(v, 0.12, rate, dice)
    });
    layer.play(&claps, 0.05, 0.0, |_, _, v, dice| {
        drums::clap(v, rate, dice)
    });
    layer.play(&risers, 0.0, 0.0, |_, s, v, dice| {
        drums::riser(s, v, rate, dice)
    });
    studio.mix(layer, Seat::dry(0.6, 0.16));
}

fn hit(at: f64, velocity: f32) -> Note {
    Note {
        at,
        len: 0.25,
        pitch: 64.0,
        velocity,
    }
}

fn within(spans: &[(usize, usize)], bar: f64) -> bool {
    spans
        .iter()
        .any(|(from, to)| (*from as f64..*to as f64).contains(&bar))
}
