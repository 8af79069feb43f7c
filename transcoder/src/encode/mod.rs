//! One encoder per rendition: PCM in, packets of one frame each out.
//!
//! Each encoder places the sound so that decoded sample `priming` is the source's sample 0, and
//! emits exactly the packets that hold `priming` plus the sound. Before that sample it hears silence,
//! or the end of the track before. Does not own files, threads or which renditions a track gets.

pub mod aac;
mod approach;
#[cfg(feature = "fdk-aac")]
pub mod fdk;
pub mod flac;
pub mod opus;
mod quantise;
mod rendition;

pub(crate) use quantise::Quantiser;
pub use rendition::{Input, Pcm, Rendition};

use crate::Error;

/// Takes an encoder's packets in order.
pub trait Packets {
    /// One packet, one frame. All but the last frame of a rendition are full.
    ///
    /// # Errors
    /// Whatever keeps the packet from being taken.
    fn packet(&mut self, packet: &[u8]) -> Result<(), Error>;
}

impl Packets for Vec<Vec<u8>> {
    fn packet(&mut self, packet: &[u8]) -> Result<(), Error> {
        self.push(packet.to_vec());
        Ok(())
    }
}

impl<W: std::io::Write> Packets for crate::cmaf::Writer<W> {
    fn packet(&mut self, packet: &[u8]) -> Result<(), Error> {
        Self::packet(self, packet)
    }
}
