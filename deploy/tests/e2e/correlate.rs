//! Finds by how many samples one recording lags another.

/// Where a recording lies against its reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Match {
    /// Samples by which the recording is late; negative where it is early.
    pub(crate) lag: i64,
    /// Normalised correlation there, 1 for equal sounds.
    pub(crate) likeness: f64,
}

/// Furthest lag looked at, either way: more than any codec's delay.
pub(crate) const REACH: usize = 3000;

/// Samples compared.
const WINDOW: usize = 8192;

/// Compares at the start and at the end of `reference`; the two agree when nothing was inserted or
/// lost between them.
pub(crate) fn both_ends(reference: &[f32], recording: &[f32]) -> [Match; 2] {
    let last = reference.len().saturating_sub(WINDOW);
    [at(reference, recording, 0), at(reference, recording, last)]
}

/// The lag of the window of `reference` that starts at `start`, by the highest normalised
/// cross-correlation. Lags at which fewer than half of the window's samples were recorded don't
/// count.
pub(crate) fn at(reference: &[f32], recording: &[f32], start: usize) -> Match {
    let window = &reference[start..(start + WINDOW).min(reference.len())];
    let reach = REACH as i64;
    let mut best = Match {
        lag: i64::MAX,
        likeness: -1.0,
    };
    for lag in -reach..=reach {
        let from = start as i64 + lag;
        let skipped = (-from).max(0) as usize;
        let from = from.max(0) as usize;
        let wanted = window.get(skipped..).unwrap_or_default();
        let heard = recording.get(from..).unwrap_or_default();
        let heard = &heard[..heard.len().min(wanted.len())];
        if heard.len() * 2 < window.len() {
            continue;
        }
        let likeness = likeness(&wanted[..heard.len()], heard);
        if likeness > best.likeness {
            best = Match { lag, likeness };
        }
    }
    best
}

fn likeness(a: &[f32], b: &[f32]) -> f64 {
    // Eight sums at once, so that the compiler can use vector registers.
    let mut dot = [0.0_f32; 8];
    let mut aa = [0.0_f32; 8];
    let mut bb = [0.0_f32; 8];
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for i in 0..8 {
            dot[i] += a[i] * b[i];
            aa[i] += a[i] * a[i];
            bb[i] += b[i] * b[i];
        }
    }
    let sum = |parts: [f32; 8]| parts.iter().map(|&p| f64::from(p)).sum::<f64>();
    let energy = (sum(aa) * sum(bb)).sqrt();
    if energy > 0.0 { sum(dot) / energy } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::both_ends;
    use crate::signal;

    #[test]
    fn correlation_finds_shifts_in_both_directions() {
        let sound = signal::voice(0, 48_000, 30_000, 7000.0);
        for shift in [0, 1, 312, 2112] {
            let mut late = vec![0.0; shift];
            late.extend_from_slice(&sound);
            let ends = both_ends(&sound, &late);
            assert!(
                ends.iter().all(|m| m.lag == shift as i64),
                "{shift}: {ends:?}"
            );
            let ends = both_ends(&sound, &sound[shift..]);
            assert!(
                ends.iter().all(|m| m.lag == -(shift as i64)),
                "-{shift}: {ends:?}"
            );
        }
    }
}
