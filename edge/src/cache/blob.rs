//! An entry as it lies on disk: version, kind, key, checksum of the payload, payload. A new field
//! is a new [`VERSION`](record::VERSION).

use std::sync::Arc;

use bytes::Bytes;

use super::{
    key::EntryKey,
    record::{self, VERSION},
    store::Entry,
};

const KIND_RECORD: u8 = 0;
const KIND_SLICE: u8 = 1;

/// Version, kind, key, checksum, payload length.
pub(super) const HEADER: usize = 2 + EntryKey::ENCODED + 8 + 8;

/// No payload is larger: guards the allocation against a damaged length.
pub(super) const MAX_PAYLOAD: u64 = 16 << 20;

/// The entry.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    version: u8,
    kind: u8,
    key: EntryKey,
    checksum: u64,
    bytes: Bytes,
}

impl Blob {
    /// Prepares an entry for the disk.
    pub(crate) fn of(key: EntryKey, entry: &Entry) -> Self {
        let (kind, bytes) = match entry {
            Entry::Record(record) => (KIND_RECORD, Bytes::from(record::encode(record))),
            Entry::Slice(bytes) => (KIND_SLICE, bytes.clone()),
        };
        let mut blob = Self {
            version: VERSION,
            kind,
            key,
            checksum: 0,
            bytes,
        };
        blob.checksum = blob.sum();
        blob
    }

    /// The entry, if this is a sound one of that key.
    pub(crate) fn open(self, key: EntryKey) -> Option<Entry> {
        if self.version != VERSION || self.key != key || self.checksum != self.sum() {
            return None;
        }
        match self.kind {
            KIND_RECORD => {
                record::decode(&self.bytes).map(|record| Entry::Record(Arc::new(record)))
            }
            KIND_SLICE => Some(Entry::Slice(self.bytes)),
            _ => None,
        }
    }

    /// Bytes of it on disk.
    pub(crate) fn size(&self) -> usize {
        HEADER + self.bytes.len()
    }

    /// Over everything but itself: what says whose bytes they are must be as sound as they are.
    fn sum(&self) -> u64 {
        // Another seed than foyer's own, over other bytes.
        let kind = u64::from(self.version) << 8 | u64::from(self.kind);
        let key = twox_hash::XxHash64::oneshot(kind, &self.key.encode());
        twox_hash::XxHash64::oneshot(0x5e_91_ce ^ key, &self.bytes)
    }

    /// Everything before the payload.
    pub(super) fn header(&self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[0] = self.version;
        header[1] = self.kind;
        header[2..22].copy_from_slice(&self.key.encode());
        header[22..30].copy_from_slice(&self.checksum.to_le_bytes());
        header[30..].copy_from_slice(&(self.bytes.len() as u64).to_le_bytes());
        header
    }

    /// The payload.
    pub(super) fn payload(&self) -> &Bytes {
        &self.bytes
    }

    /// Puts together what [`Blob::header`] and [`Blob::payload`] were. None where the payload has
    /// not the length that the header says.
    pub(super) fn from_parts(header: [u8; HEADER], bytes: Bytes) -> Option<Self> {
        let (mut key, mut sum) = ([0; EntryKey::ENCODED], [0; 8]);
        key.copy_from_slice(&header[2..22]);
        sum.copy_from_slice(&header[22..30]);
        (payload_length(&header) == bytes.len() as u64).then_some(Self {
            version: header[0],
            kind: header[1],
            key: EntryKey::decode(key),
            checksum: u64::from_le_bytes(sum),
            bytes,
        })
    }
}

/// The payload's length, as a header says it.
pub(super) fn payload_length(header: &[u8; HEADER]) -> u64 {
    let mut length = [0; 8];
    length.copy_from_slice(&header[30..]);
    u64::from_le_bytes(length)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::{Blob, Entry, EntryKey, HEADER};

    proptest! {
        #[test]
        fn one_flipped_bit_anywhere_is_refused(payload: Vec<u8>, bit: usize) {
            let key = EntryKey { id: 7, part: 3 };
            let blob = Blob::of(key, &Entry::Slice(payload.into()));
            let mut bytes = [&blob.header()[..], blob.payload()].concat();
            let bit = bit % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let (header, payload) = bytes.split_at(HEADER);
            let blob = Blob::from_parts(header.try_into().unwrap(), Bytes::copy_from_slice(payload));
            prop_assert!(blob.and_then(|blob| blob.open(key)).is_none());
        }
    }
}
