//! Decodes by ffmpeg: the outsider that says what comes out of a rendition.

use crate::tools;

/// Which ffmpeg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ffmpeg {
    /// Debian's 5.1.
    Five,
    /// 9.0.
    Nine,
}

impl Ffmpeg {
    /// The program.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Five => "ffmpeg",
            Self::Nine => "ffmpeg-9",
        }
    }
}

/// What a decoder made of a URL or file.
pub(crate) struct Decoded {
    /// `[channel][frame]`.
    pub(crate) channels: Vec<Vec<f32>>,
}

impl Decoded {
    /// Samples a channel.
    pub(crate) fn frames(&self) -> usize {
        self.channels.first().map_or(0, Vec::len)
    }
}

/// Decodes audio stream `stream` of `url` without resampling. `channels` is what is expected in it.
pub(crate) fn decode(ffmpeg: Ffmpeg, url: &str, stream: usize, channels: usize) -> Decoded {
    let output = tools::run(
        tools::command(ffmpeg.program())
            .args(["-v", "error", "-nostdin", "-threads", "1", "-i", url])
            // Without it ffmpeg makes two channels of mono HE-AAC, in case it were parametric stereo.
            .args(["-ac", &channels.to_string()])
            .args([
                "-map",
                &format!("0:a:{stream}"),
                "-f",
                "f32le",
                "-c:a",
                "pcm_f32le",
                "-",
            ]),
    );
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        words.trim().is_empty(),
        "{ffmpeg:?} complains of {url}: {words}"
    );
    let samples: Vec<f32> = output
        .stdout
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    assert_eq!(
        samples.len() % channels,
        0,
        "{url} is not of {channels} channels"
    );
    Decoded {
        channels: split(&samples, channels),
    }
}

/// Decodes the first stream to integers as stored, for lossless comparison; left-aligned in 32 bit.
pub(crate) fn decode_exact(url: &str, channels: usize) -> Vec<Vec<i32>> {
    let output = tools::run(
        tools::command(Ffmpeg::Nine.program())
            .args(["-v", "error", "-nostdin", "-threads", "1", "-i", url])
            .args(["-map", "0:a:0", "-f", "s32le", "-c:a", "pcm_s32le", "-"]),
    );
    let samples: Vec<i32> = output
        .stdout
        .chunks_exact(4)
        .map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    split(&samples, channels)
}

fn split<T: Copy>(interleaved: &[T], channels: usize) -> Vec<Vec<T>> {
    (0..channels)
        .map(|c| {
            interleaved
                .iter()
                .skip(c)
                .step_by(channels)
                .copied()
                .collect()
        })
        .collect()
}
