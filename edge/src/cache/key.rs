//! What entries are stored under.

use http::uri::Authority;
use sha2::{Digest as _, Sha256};

/// An object: host, path and query, without token. Nothing else a request carries is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ObjectKey(pub(crate) u128);

impl ObjectKey {
    /// The key of `target` (path and query) at `authority`.
    pub(crate) fn new(authority: Option<&Authority>, target: &str) -> Self {
        let mut digest = Sha256::new();
        let authority = authority.map_or("", Authority::as_str);
        if authority.bytes().any(|b| b.is_ascii_uppercase()) {
            digest.update(authority.to_ascii_lowercase());
        } else {
            digest.update(authority);
        }
        digest.update([0]);
        digest.update(target);
        let digest = digest.finalize();
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        Self(u128::from_be_bytes(half))
    }

    /// The entry that describes the object.
    pub(crate) fn record(self) -> EntryKey {
        EntryKey {
            id: self.0,
            part: u32::MAX,
        }
    }
}

/// The bytes of one stored response. Fresh for every one, so that bytes of two revisions can't mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BodyId(pub(crate) u128);

impl BodyId {
    /// Slice `n`, counted from 0.
    pub(crate) fn slice(self, n: u32) -> EntryKey {
        EntryKey {
            id: self.0,
            part: n,
        }
    }
}

/// One entry of either tier: an object's record or a slice of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EntryKey {
    /// Of the object or the body.
    pub(crate) id: u128,
    /// Slice number; [`u32::MAX`] for a record.
    pub(crate) part: u32,
}

impl EntryKey {
    /// Bytes of an encoded key.
    pub(crate) const ENCODED: usize = 20;

    /// For the disk.
    pub(crate) fn encode(self) -> [u8; Self::ENCODED] {
        let mut bytes = [0; Self::ENCODED];
        bytes[..16].copy_from_slice(&self.id.to_le_bytes());
        bytes[16..].copy_from_slice(&self.part.to_le_bytes());
        bytes
    }

    /// Reads what [`EntryKey::encode`] wrote.
    pub(crate) fn decode(bytes: [u8; Self::ENCODED]) -> Self {
        let (mut id, mut part) = ([0; 16], [0; 4]);
        id.copy_from_slice(&bytes[..16]);
        part.copy_from_slice(&bytes[16..]);
        Self {
            id: u128::from_le_bytes(id),
            part: u32::from_le_bytes(part),
        }
    }
}
