//! What a recording holds, by listening to all of it: how far up its spectrum reaches, whether its
//! channels differ, whether it is one voice speaking. And which rungs add nothing for it.
//!
//! Listens while the encoders work, so that the usual track, which fills its ladder, costs no second
//! pass; the rungs that turn out to be idle are dropped before anything is stored.

mod spectrum;
mod voice;

use spectrum::Spectrum;
use voice::{FRAMES_PER_S, Voice};

use crate::recipe::{Rung, Settings, bandwidth_cap};

/// Difference of the channels against their sum, in power, up to which they carry the same sound.
const SAME: f32 = 1e-7;

/// Power of a frame's difference that is inaudible whatever the sound.
const SAME_ANYWAY: f32 = 1e-10;

/// One voice is carried in full by Opus at 64 kbit/s.
const VOICE_CAP: u32 = 64_000;

/// One channel is transparent at 96 kbit/s in Opus and at 128 in AAC.
pub(crate) const MONO_CAP: u32 = 128_000;

/// What was heard.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Content {
    /// Upper edge of the audible spectrum in Hz; `None` where nothing is audible.
    pub bandwidth_hz: Option<u32>,
    /// Two channels that carry the same sound.
    pub alike: bool,
    /// One channel, or two alike, of somebody speaking.
    pub speech: bool,
}

impl Content {
    /// Why a rung adds nothing to those below it; `None` where it does, as lossless ones always do.
    /// Never asked of the lowest rung of a family.
    pub fn surplus(&self, rung: &Rung) -> Option<String> {
        let bitrate = rung.bitrate()?;
        let Some(hz) = self.bandwidth_hz else {
            return Some("the source is silent".into());
        };
        if bitrate > bandwidth_cap(hz.saturating_mul(2)) {
            return Some(format!(
                "the source has nothing above {} Hz",
                hz / 100 * 100
            ));
        }
        if self.alike && bitrate > MONO_CAP {
            return Some("both channels are the same, which a lower rung carries as well".into());
        }
        let opus = matches!(rung.settings, Settings::Opus(_));
        if self.speech && opus && bitrate > VOICE_CAP {
            return Some("the source is one voice, which a lower rung carries as well".into());
        }
        None
    }
}

/// Listens to a track. Feed it everything, in order.
pub struct Listener {
    rate: u32,
    spectrum: Spectrum,
    /// `None` for one channel.
    alike: Option<bool>,
    voice: Voice,
    /// The mean of all channels, of the frame that is not complete.
    frame: Vec<f32>,
    frame_len: usize,
    difference: f32,
    sum: f32,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}

impl Listener {
    /// For sound of that rate in Hz and 1 or 2 channels.
    pub fn new(rate: u32, channels: usize) -> Listener {
        Listener {
            rate,
            spectrum: Spectrum::new(rate),
            alike: (channels == 2).then_some(true),
            voice: Voice::new(rate),
            frame: Vec::new(),
            frame_len: (rate as usize / FRAMES_PER_S).max(1),
            difference: 0.0,
            sum: 0.0,
        }
    }

    /// Takes `[channel][frame]`.
    pub fn push(&mut self, samples: &[&[f32]]) {
        self.spectrum.push(samples);
        let worth = self.alike != Some(false);
        match samples {
            [mono] if worth => self.frames(mono, mono),
            [left, right, ..] if worth => self.frames(left, right),
            _ => {}
        }
    }

    fn frames(&mut self, left: &[f32], right: &[f32]) {
        for (l, r) in left.iter().zip(right) {
            let (sum, difference) = (l + r, l - r);
            self.sum += sum * sum;
            self.difference += difference * difference;
            self.frame.push(sum * 0.5);
            if self.frame.len() == self.frame_len {
                self.end_frame();
            }
        }
    }

    fn end_frame(&mut self) {
        let frames = self.frame.len().max(1) as f32;
        let apart = self.difference > (self.sum * SAME).max(SAME_ANYWAY * frames);
        if apart && self.alike.is_some() {
            self.alike = Some(false);
        }
        self.voice.frame(&self.frame);
        self.frame.clear();
        (self.sum, self.difference) = (0.0, 0.0);
    }

    /// What was heard.
    pub fn finish(mut self) -> Content {
        self.end_frame();
        let bandwidth_hz = self.spectrum.edge(self.rate);
        let one = self.alike != Some(false);
        Content {
            bandwidth_hz,
            alike: self.alike == Some(true),
            speech: one && bandwidth_hz.is_some() && self.voice.speaks(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 44_100;

    /// White noise in −1…1 from a seed.
    struct Noise(u64);

    impl Noise {
        fn next(&mut self) -> f32 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 40) as f32 / 8_388_608.0 - 1.0
        }
    }

    fn heard(planes: &[Vec<f32>]) -> Content {
        let mut listener = Listener::new(RATE, planes.len());
        let frames = planes[0].len();
        for at in (0..frames).step_by(10_000) {
            let run: Vec<&[f32]> = planes
                .iter()
                .map(|p| &p[at..(at + 10_000).min(frames)])
                .collect();
            listener.push(&run);
        }
        listener.finish()
    }

    fn noise(seed: u64, seconds: f32, gain: f32) -> Vec<f32> {
        let mut noise = Noise(seed);
        let frames = (seconds * RATE as f32) as usize;
        (0..frames).map(|_| noise.next() * gain).collect()
    }

    /// Sines every 100 Hz up to `hz`, with 16-bit noise over all of the band.
    fn up_to(hz: f32) -> Vec<f32> {
        let mut hiss = Noise(7);
        (0..RATE * 3)
            .map(|n| {
                let t = f64::from(n) / f64::from(RATE);
                let tones = (1..=(hz / 100.0) as u32)
                    .map(|k| (std::f64::consts::TAU * f64::from(k * k % 97 + k * 100) * t).sin());
                (tones.sum::<f64>() * 0.002) as f32 + hiss.next() / 32_768.0
            })
            .collect()
    }

    #[test]
    fn the_edge_of_the_spectrum_is_found_above_the_noise_of_sixteen_bits() {
        for hz in [3_400.0, 8_000.0, 12_000.0] {
            let found = heard(&[up_to(hz)]).bandwidth_hz.unwrap_or(0) as f32;
            assert!((hz..hz + 800.0).contains(&found), "{hz}: {found}");
        }
        let full = heard(&[noise(1, 2.0, 0.1)]).bandwidth_hz;
        assert!(full.is_some_and(|hz| hz > 21_500), "{full:?}");
    }

    #[test]
    fn silence_is_silent_and_a_click_has_no_bandwidth() {
        assert_eq!(heard(&[vec![0.0; 100_000]]).bandwidth_hz, None);
        let mut click = up_to(3_400.0);
        click[50_000] += 0.5;
        assert!(heard(&[click]).bandwidth_hz.is_some_and(|hz| hz < 4_400));
        // But what is short is heard all the same.
        assert!(heard(&[noise(3, 0.01, 0.5)]).bandwidth_hz.is_some());
    }

    #[test]
    fn channels_are_alike_until_they_differ() {
        let left = noise(1, 4.0, 0.2);
        assert!(heard(&[left.clone(), left.clone()]).alike);
        assert!(!heard(&[left.clone(), noise(2, 4.0, 0.2)]).alike);
        let mut late = left.clone();
        for sample in &mut late[150_000..151_000] {
            *sample += 0.001;
        }
        assert!(!heard(&[left.clone(), late]).alike);
        assert!(!heard(&[left]).alike, "one channel has no twin");
    }

    /// Syllables of buzz, hisses and pauses.
    fn talk() -> Vec<f32> {
        let mut noise = Noise(11);
        let mut out = Vec::new();
        for word in 0..60 {
            let pitch = 95.0 + (word * 37 % 50) as f32;
            let hiss = RATE as usize / 12;
            out.extend((0..hiss).map(|_| noise.next() * 0.05));
            let voiced = RATE as usize * (12 + word % 9) / 100;
            out.extend((0..voiced).map(|n| {
                let t = n as f32 / RATE as f32;
                let swell = (std::f32::consts::PI * n as f32 / voiced as f32).sin();
                let buzz = (1..20)
                    .map(|h| (std::f32::consts::TAU * pitch * h as f32 * t).sin() / h as f32)
                    .sum::<f32>();
                0.2 * swell * buzz
            }));
            let pause = RATE as usize * (4 + word * 5 % 11) / 100;
            out.extend((0..pause).map(|_| noise.next() * 1e-4));
        }
        out
    }

    /// Chords that follow each other without a gap.
    fn play() -> Vec<f32> {
        (0..RATE * 10)
            .map(|n| {
                let t = n as f32 / RATE as f32;
                let root = [220.0, 246.9, 196.0, 261.6][(t * 2.0) as usize % 4];
                let chord = [1.0, 1.25, 1.5, 2.0, 4.01, 6.02];
                let tone = |ratio: f32| (std::f32::consts::TAU * root * ratio * t).sin();
                0.1 * chord.into_iter().map(tone).sum::<f32>()
            })
            .collect()
    }

    #[test]
    fn speech_is_told_from_music_and_noise() {
        assert!(heard(&[talk()]).speech);
        assert!(heard(&[talk(), talk()]).speech);
        assert!(!heard(&[play()]).speech);
        assert!(!heard(&[noise(5, 8.0, 0.1)]).speech);
        let mixed: Vec<f32> = play().iter().zip(talk()).map(|(a, b)| a + b).collect();
        assert!(!heard(&[mixed]).speech, "a voice over music");
    }

    #[test]
    fn rungs_that_add_nothing_say_why() {
        let ladder = crate::Recipe::default().rungs;
        let idle = |content: Content| {
            let idle = ladder.iter().filter(move |r| content.surplus(r).is_some());
            idle.map(|r| r.id.clone()).collect::<Vec<_>>()
        };
        let full = Content {
            bandwidth_hz: Some(20_000),
            ..Content::default()
        };
        assert!(idle(full).is_empty());
        let alike = Content {
            alike: true,
            ..full
        };
        assert_eq!(idle(alike), ["opus-160", "aac-256"]);
        let speech = Content {
            speech: true,
            ..alike
        };
        assert_eq!(idle(speech), ["opus-96", "opus-160", "aac-256"]);
        let narrow = Content {
            bandwidth_hz: Some(8_000),
            ..full
        };
        assert_eq!(idle(narrow), ["opus-96", "opus-160", "aac-128", "aac-256"]);
        let silent = Content::default();
        assert_eq!(idle(silent).len(), ladder.len() - 1, "all but FLAC");
    }
}
