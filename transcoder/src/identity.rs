//! Names of tracks and revisions, and of the objects below them.

use std::{fs::File, io::Read, path::Path};

use manifests::{Revision, TrackId};
use sha2::{Digest, Sha256};

use crate::{Error, recipe::Recipe};

/// Digits of Crockford's base 32, in lower case.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// SHA-256 of a source: of its sound as it is coded, by which tracks are known, or of the file.
///
/// A digest of the decoded sound would tell the same of files of different codecs, but is known only
/// when all of it was decoded; the coded sound is found by taking the container apart, at the speed
/// of reading. So a file that was ingested before, under whatever tags, is never decoded again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SourceHash(pub(crate) [u8; 32]);

impl SourceHash {
    /// Reads and hashes a file; `on_bytes` hears how many bytes are done and may stop it.
    pub(crate) fn of(
        path: &Path,
        mut on_bytes: impl FnMut(u64) -> Result<(), Error>,
    ) -> Result<(SourceHash, u64), Error> {
        let mut file = File::open(path).map_err(Error::Read)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 18];
        let mut done = 0;
        loop {
            let read = file.read(&mut buffer).map_err(Error::Read)?;
            if read == 0 {
                return Ok((SourceHash(hash.finalize().into()), done));
            }
            hash.update(&buffer[..read]);
            done += read as u64;
            on_bytes(done)?;
        }
    }

    /// Where this recipe puts what it makes of the source.
    pub(crate) fn place(&self, recipe: &Recipe) -> Place {
        Place {
            track: self.track(),
            revision: self.revision(recipe),
        }
    }

    /// The track: `t` and the digest's first 100 bits in base 32.
    pub(crate) fn track(&self) -> TrackId {
        let digit = |n: usize| {
            let bits = (0..5).fold(0, |value, bit| {
                let at = n * 5 + bit;
                value << 1 | usize::from(self.0[at / 8] >> (7 - at % 8) & 1)
            });
            char::from(DIGITS[bits])
        };
        TrackId(std::iter::once('t').chain((0..20).map(digit)).collect())
    }

    /// The revision that a recipe makes of this source.
    pub(crate) fn revision(&self, recipe: &Recipe) -> Revision {
        let digest = Sha256::new()
            .chain_update(self.0)
            .chain_update(recipe.digest())
            .finalize();
        Revision(hex::encode(&digest[..8]))
    }

    /// The revision that a recipe makes of this source where its encoders hear the end of `before`
    /// first.
    pub(crate) fn revision_after(&self, recipe: &Recipe, before: &TrackId) -> Revision {
        let digest = Sha256::new()
            .chain_update(self.0)
            .chain_update(recipe.digest())
            .chain_update(b"after ")
            .chain_update(&before.0)
            .finalize();
        Revision(hex::encode(&digest[..8]))
    }
}

/// The folder of a revision's objects.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) track: TrackId,
    pub(crate) revision: Revision,
}

impl Place {
    /// The key of an object in the folder.
    pub(crate) fn key(&self, name: &str) -> Result<storage::Key, Error> {
        Ok(storage::Key::new(format!(
            "tracks/{}/{}/{name}",
            self.track, self.revision
        ))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stable() {
        let hash = SourceHash(Sha256::digest(b"segue").into());
        let track = hash.track();
        assert_eq!(track.0.len(), 21);
        assert!(track.0[1..].bytes().all(|b| DIGITS.contains(&b)));
        assert_eq!(
            SourceHash([0xff; 32]).track().0,
            format!("t{}", "z".repeat(20))
        );
        let recipe = Recipe::default();
        let after = |before: &str| hash.revision_after(&recipe, &TrackId(before.into()));
        assert_eq!(hash.revision(&recipe).0.len(), 16);
        assert_eq!(after("ta").0.len(), 16);
        assert_ne!(after("ta"), hash.revision(&recipe));
        assert_ne!(after("ta"), after("tb"));
    }
}
