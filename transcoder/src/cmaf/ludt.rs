//! The loudness box (ISO/IEC 14496-12 §12.2.7): what a player knows of a track's level from the file
//! alone.
//!
//! Holds the track's figures. The album's are not in the files: these are stored before an album is
//! complete, and never change.

use manifests::R128;

use super::boxes::Boxes;

/// How figures were measured (ISO/IEC 23003-4 table A.46): EBU R 128.
const EBU_R128: u8 = 1;

/// ITU-R BS.1770-4, which defines the true peak.
const BS_1770: u8 = 2;

/// Reliability (table A.47): measured, and exact.
const ACCURATE: u8 = 3;

/// `methodDefinition` (table A.45) of integrated loudness and of loudness range.
const PROGRAM_LOUDNESS: u8 = 1;
const LOUDNESS_RANGE: u8 = 6;

/// Writes `ludt`, unless nothing was measured.
pub(super) fn ludt(b: &mut Boxes, figures: &R128) {
    let mut methods = Vec::new();
    if let Some(lufs) = figures.integrated_lufs {
        methods.push((PROGRAM_LOUDNESS, program_loudness(lufs)));
    }
    if let Some(lu) = figures.range_lu {
        methods.push((LOUDNESS_RANGE, loudness_range(lu)));
    }
    let peak = figures.true_peak_dbtp.map_or(0, true_peak);
    if methods.is_empty() && peak == 0 {
        return;
    }
    b.plain(b"ludt", |b| {
        b.full(b"tlou", 0, 0, |b| {
            // No downmix, no dynamic range control; sample peak unknown, true peak: 12 bits each.
            b.u16(0);
            b.u24(u32::from(peak));
            b.u8(BS_1770 << 4 | ACCURATE);
            b.u8(methods.len() as u8);
            for (definition, value) in methods {
                b.u8(definition).u8(value).u8(EBU_R128 << 4 | ACCURATE);
            }
        });
    });
}

/// 20 dBTP downwards in steps of 1/32 dB; 0 stands for unknown.
fn true_peak(dbtp: f64) -> u16 {
    ((20.0 - dbtp) * 32.0).round().clamp(1.0, 4_095.0) as u16
}

/// −57.75 LUFS upwards in steps of a quarter.
fn program_loudness(lufs: f64) -> u8 {
    ((lufs + 57.75) * 4.0).round().clamp(0.0, 255.0) as u8
}

/// Steps of 1/4 LU up to 32, of 1/2 up to 70, of 1 beyond.
fn loudness_range(lu: f64) -> u8 {
    let code = if lu <= 32.0 {
        lu * 4.0
    } else if lu <= 70.0 {
        (lu + 32.0) * 2.0
    } else {
        lu + 134.0
    };
    code.round().clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(figures: R128) -> Vec<u8> {
        let mut b = Boxes::new();
        ludt(&mut b, &figures);
        b.into_bytes()
    }

    #[test]
    fn figures_are_coded_as_the_standard_has_it() {
        let figures = R128 {
            integrated_lufs: Some(-14.0),
            range_lu: Some(6.5),
            true_peak_dbtp: Some(-1.0),
        };
        let body = [
            0, 0, 0x00, 0x02, 0xa0, 0x23, 2, // 21 dB below 20 in steps of 1/32: 672
            1, 175, 0x13, 6, 26, 0x13,
        ];
        let expected = [b"\0\0\0\x21ludt\0\0\0\x19tlou\0\0\0\0".as_slice(), &body].concat();
        assert_eq!(bytes(figures), expected);
    }

    #[test]
    fn what_was_not_measured_is_not_told() {
        assert!(bytes(R128::default()).is_empty());
        assert_eq!((loudness_range(40.0), loudness_range(80.0)), (144, 214));
        assert_eq!(true_peak(-200.0), 4_095);
    }
}
