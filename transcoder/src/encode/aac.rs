//! What every AAC encoder has to agree on: profiles, frames, priming, settings.

/// Samples per second of every AAC rendition.
pub const RATE: u32 = 48_000;

/// Samples before the sound in AAC-LC: what Apple's software assumes where it reads no edit list.
const LC_PRIMING: u64 = 2_112;

/// In HE-AAC the delay of band replication comes on top, and two access units are needed before
/// the first that decodes to sound. One frame more than [`LC_PRIMING`], so that both cut at the
/// same instants.
const HE_PRIMING: u64 = LC_PRIMING + 2_048;

/// Audio object types (ISO/IEC 14496-3 §1.5.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Profile {
    /// AAC-LC, object type 2, 1,024-sample frames.
    Lc,
    /// HE-AAC v1, object type 5 signalled explicitly, 2,048-sample frames.
    He,
}

impl Profile {
    /// Samples in a frame at the output rate.
    pub fn frame(self) -> usize {
        match self {
            Profile::Lc => 1_024,
            Profile::He => 2_048,
        }
    }

    /// Samples that a decoder yields before the sound.
    pub fn priming(self) -> u64 {
        match self {
            Profile::Lc => LC_PRIMING,
            Profile::He => HE_PRIMING,
        }
    }

    /// The object type's number.
    pub fn object_type(self) -> u32 {
        match self {
            Profile::Lc => 2,
            Profile::He => 5,
        }
    }
}

/// Settings of a rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Settings {
    /// Object type.
    pub profile: Profile,
    /// Constant rate in bit/s, all channels together, evened out by the bit reservoir.
    pub bitrate: u32,
    /// The highest frequency that is encoded, in Hz, at most 20,000; `None` leaves it to the encoder.
    pub bandwidth: Option<u32>,
    /// Whether each frame's quantisation is tried several times over (FDK's afterburner): up to twice
    /// the CPU time, for what few bits can say.
    pub thorough: bool,
}
