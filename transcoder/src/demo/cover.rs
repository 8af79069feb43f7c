//! The covers: three small paintings, each a function from a point to a colour.

use super::png;
use super::score::Dice;

/// Width and height in pixels.
const SIZE: usize = 800;

type Colour = [f32; 3];

/// Lanterns above dark water, mirrored in it.
pub(super) fn lanterns() -> Vec<u8> {
    let mut dice = Dice::new(5);
    let mut lamps: Vec<(f32, f32, f32)> = (0..17)
        .map(|n| {
            let depth = n as f32 / 16.0;
            let x = 0.5 + dice.roll() * 0.46;
            let y = 0.57 - (0.10 + 0.42 * depth) * (0.65 + 0.35 * dice.roll().abs());
            (x, y, 0.011 + 0.030 * depth * depth)
        })
        .collect();
    lamps.push((0.66, 0.22, 0.052));
    paint(|x, y| {
        let horizon = 0.62;
        let below = y > horizon;
        // Water: the sky upside down, broken into ripples.
        let deep = ((y - horizon) / (1.0 - horizon)).max(0.0);
        let ripple = (y * 240.0 / (0.35 + deep)).sin() * (x * 9.0 + y * 31.0).sin();
        let (sx, sy) = if below {
            (x + ripple * 0.010 * (0.3 + deep), 2.0 * horizon - y)
        } else {
            (x, y)
        };
        let night = mix(
            [0.045, 0.06, 0.15],
            [0.19, 0.15, 0.33],
            (sy / horizon).max(0.0).powi(2),
        );
        let dusk = (-((sy - horizon).abs() * 9.0)).exp();
        let mut colour = add(night, [0.42, 0.18, 0.16], dusk * 0.8);
        for (lx, ly, r) in &lamps {
            let (dx, dy) = ((sx - lx) / r, (sy - ly) / (r * 1.25));
            let d = (dx * dx + dy * dy).sqrt();
            let body = step(1.0, 0.93, d);
            let lit = mix(
                [1.0, 0.80, 0.42],
                [0.93, 0.36, 0.16],
                (0.5 + 0.5 * dy).clamp(0.0, 1.0),
            );
            let rib = 0.93 + 0.07 * (dy * 9.0).cos();
            colour = mix(colour, scale(lit, rib), body * 0.96);
            colour = add(
                colour,
                [1.0, 0.50, 0.20],
                0.34 / (1.0 + d * d * 1.6) * (1.0 - body),
            );
        }
        if below {
            colour = mix(scale(colour, 0.62), [0.03, 0.05, 0.12], 0.25 + 0.45 * deep);
            colour = add(
                colour,
                [0.25, 0.2, 0.3],
                (ripple * 0.5 - 0.32).max(0.0) * 0.2,
            );
        }
        colour
    })
}

/// Strings of light across panes of glass.
pub(super) fn glass() -> Vec<u8> {
    let mut dice = Dice::new(9);
    let panes: Vec<(f32, f32, f32, Colour)> = (0..9)
        .map(|n| {
            let hue = n as f32 / 9.0;
            let colour = [0.5 + 0.42 * hue, 0.62 - 0.18 * hue, 0.70 - 0.46 * hue];
            (
                0.1 + 0.1 * n as f32 + 0.05 * dice.roll(),
                0.5 + 0.25 * dice.roll(),
                0.4 * dice.roll(),
                colour,
            )
        })
        .collect();
    paint(|x, y| {
        let mut colour = mix([0.975, 0.955, 0.915], [0.90, 0.87, 0.84], y);
        for (px, py, tilt, tint) in &panes {
            let (dx, dy) = (x - px, y - py);
            let (u, v) = (
                dx * tilt.cos() + dy * tilt.sin(),
                dy * tilt.cos() - dx * tilt.sin(),
            );
            let inside = step(0.085, 0.083, u.abs()) * step(0.36, 0.358, v.abs());
            let sheen = 0.5 + 0.5 * (u * 26.0 + v * 2.0).sin();
            let through = [
                colour[0] * tint[0] * (1.02 + 0.1 * sheen),
                colour[1] * tint[1] * (1.10 + 0.1 * sheen),
                colour[2] * tint[2] * (1.16 + 0.1 * sheen),
            ];
            colour = mix(colour, through, inside * 0.62);
            let edge = step(0.003, 0.001, (u.abs() - 0.084).abs()) * step(0.36, 0.358, v.abs());
            colour = add(colour, [1.0; 3], edge * 0.35);
        }
        // Six strings, each swinging in its own mode.
        for n in 0..6 {
            let mode = (n + 1) as f32;
            let rest = 0.22 + 0.112 * n as f32;
            let swing = 0.030 / mode.sqrt() * (std::f32::consts::PI * mode * x).sin();
            for (part, strength) in [
                (1.0, 0.9),
                (0.5, 0.24),
                (0.0, 0.2),
                (-0.5, 0.24),
                (-1.0, 0.5),
            ] {
                let line = step(0.0026, 0.0010, (y - rest - swing * part).abs());
                colour = mix(colour, [0.16, 0.13, 0.20], line * strength);
            }
        }
        colour
    })
}

/// Rails running to a low sun over a grid of lights.
pub(super) fn transit() -> Vec<u8> {
    let mut dice = Dice::new(3);
    let towers: Vec<f32> = (0..48)
        .map(|_| 0.02 + 0.13 * dice.roll().abs().powf(1.6))
        .collect();
    paint(|x, y| {
        let horizon = 0.56;
        let sun = ((x - 0.5).powi(2) + (y - 0.44).powi(2)).sqrt();
        let mut colour = mix(
            [0.03, 0.02, 0.10],
            [0.36, 0.07, 0.34],
            (y / horizon).powi(2),
        );
        colour = add(colour, [0.95, 0.25, 0.35], 0.5 * (-sun * 4.2).exp());
        if y < horizon {
            let slats = step(
                0.0,
                0.012,
                ((y - 0.40) * 26.0).sin() * 0.1 + (0.47 - y) * 0.55,
            );
            let disc = step(0.235, 0.232, sun) * if y < 0.40 { 1.0 } else { slats };
            let face = mix(
                [1.0, 0.84, 0.38],
                [0.98, 0.22, 0.45],
                ((y - 0.2) / 0.34).clamp(0.0, 1.0),
            );
            colour = mix(colour, face, disc);
            let tower = towers[((x * 48.0) as usize).min(47)];
            let roof = horizon - tower * (0.35 + 1.6 * (x - 0.5).abs());
            let wall = step(
                roof + 0.002,
                roof,
                horizon - (y - roof) - 0.0 + roof - horizon,
            );
            let wall = if y > roof { 1.0 } else { wall * 0.0 };
            colour = mix(colour, [0.05, 0.03, 0.12], wall * 0.94);
            let window = ((x * 192.0).fract() - 0.5).abs() < 0.2
                && ((y * 110.0).fract() - 0.5).abs() < 0.2
                && ((x * 192.0).floor() * 7.31 + (y * 110.0).floor() * 3.17).sin() > 0.55;
            colour = mix(
                colour,
                [1.0, 0.78, 0.5],
                if window { wall * 0.75 } else { 0.0 },
            );
        } else {
            // The ground in perspective.
            let depth = 0.06 / (y - horizon + 0.012);
            let across = (x - 0.5) * depth * 9.0;
            let thin = 0.02 + 0.035 * depth;
            let grid = line(across, thin).max(line(depth * 4.0, thin * 1.4));
            let far = (-(depth * 0.32)).exp();
            colour = mix([0.05, 0.02, 0.12], [0.13, 0.03, 0.20], 1.0 - far);
            colour = add(colour, [0.20, 0.55, 0.95], grid * far * 0.7);
            for rail in [-0.46f32, 0.46] {
                let d = (across - rail).abs();
                colour = add(
                    colour,
                    [1.0, 0.55, 0.85],
                    step(0.09, 0.02, d) * (0.35 + 0.65 * far),
                );
                colour = add(colour, [0.9, 0.2, 0.6], 0.16 * (-d * 3.0).exp());
            }
            colour = add(
                colour,
                [0.9, 0.3, 0.4],
                0.35 * (-(y - horizon) * 22.0).exp(),
            );
        }
        colour
    })
}

/// Brightness of lines at whole numbers.
fn line(at: f32, width: f32) -> f32 {
    let d = (at - at.round()).abs();
    step(width * 1.6, width * 0.4, d)
}

/// Renders with four samples a pixel. A little grain hides the steps of 8 bits.
fn paint(colour: impl Fn(f32, f32) -> Colour) -> Vec<u8> {
    const OFFSETS: [(f32, f32); 4] = [
        (0.125, 0.375),
        (0.625, 0.125),
        (0.375, 0.875),
        (0.875, 0.625),
    ];
    let mut pixels = Vec::with_capacity(SIZE * SIZE);
    for py in 0..SIZE {
        for px in 0..SIZE {
            let mut sum = [0.0; 3];
            for (ox, oy) in OFFSETS {
                let at = |n: usize, o: f32| (n as f32 + o) / SIZE as f32;
                sum = add(sum, colour(at(px, ox), at(py, oy)), 0.25);
            }
            // Ordered, so that it costs the compressor little.
            let grain = [0.0, 0.5, 0.75, 0.25][(px & 1) + 2 * (py & 1)] - 0.375;
            pixels.push(sum.map(|c| (c.clamp(0.0, 1.0) * 255.0 + 0.5 + grain) as u8));
        }
    }
    png::encode(SIZE, SIZE, &pixels)
}

/// 0 at `from`, 1 at `to`, smooth between.
fn step(from: f32, to: f32, at: f32) -> f32 {
    let t = ((at - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

fn mix(a: Colour, b: Colour, part: f32) -> Colour {
    let part = part.clamp(0.0, 1.0);
    [0, 1, 2].map(|c| a[c] + (b[c] - a[c]) * part)
}

fn add(a: Colour, b: Colour, part: f32) -> Colour {
    [0, 1, 2].map(|c| a[c] + b[c] * part)
}

fn scale(a: Colour, by: f32) -> Colour {
    a.map(|c| c * by)
}
