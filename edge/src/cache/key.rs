//! What entries are stored under.

use std::hash::{BuildHasher, Hasher, RandomState};

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

/// The bytes of one stored response. Fresh for every one, so that bytes of two revisions can't mix:
/// the upper half is the object's, the lower half no other response's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BodyId(pub(crate) u128);

impl BodyId {
    /// A body of an object, told from its others by `unique`.
    pub(crate) fn of(object: ObjectKey, unique: u64) -> Self {
        Self((object.0 >> 64 << 64) | u128::from(unique))
    }

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

    /// Whether it describes an object.
    pub(crate) fn is_record(self) -> bool {
        self.part == u32::MAX
    }

    /// What it has in common with the same slice of the object's other bodies.
    pub(crate) fn lineage(self) -> (u64, u32) {
        (u64::try_from(self.id >> 64).unwrap_or(0), self.part)
    }

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

/// Hashes keys: they are spread well already, but clients choose what they are made from, so a
/// secret goes in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mixer {
    secret: [u64; 2],
}

impl Mixer {
    /// With a secret of this process; in tests always the same, so that a seed repeats a run.
    pub(crate) fn random() -> Self {
        if cfg!(test) {
            return Self::new([1, 2]);
        }
        let random = RandomState::new();
        Self::new([random.hash_one(0), random.hash_one(1)])
    }

    /// With this secret.
    pub(crate) fn new(secret: [u64; 2]) -> Self {
        Self { secret }
    }
}

impl BuildHasher for Mixer {
    type Hasher = Mixed;

    fn build_hasher(&self) -> Mixed {
        Mixed {
            state: self.secret[0],
            secret: self.secret[1],
        }
    }
}

/// A hash under way.
pub(crate) struct Mixed {
    state: u64,
    secret: u64,
}

impl Mixed {
    /// Both halves of a product: every bit of it depends on every bit of both.
    fn fold(a: u64, b: u64) -> u64 {
        let product = u128::from(a) * u128::from(b | 1);
        let low = u64::try_from(product & u128::from(u64::MAX)).unwrap_or(0);
        low ^ u64::try_from(product >> 64).unwrap_or(0)
    }
}

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        Self::fold(self.state ^ 0x9e37_79b9_7f4a_7c15, self.secret)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
        self.write_u64(bytes.len() as u64);
    }

    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        self.state = Self::fold(self.state ^ n, self.secret ^ 0xd6e8_feb8_6659_fd93);
    }

    fn write_u128(&mut self, n: u128) {
        self.write_u64(u64::try_from(n >> 64).unwrap_or(0));
        self.write_u64(u64::try_from(n & u128::from(u64::MAX)).unwrap_or(0));
    }
}
