//! Connection IDs that say which shard a connection lives on, so that its packets find it whatever
//! address they come from.

use std::hash::{BuildHasher, RandomState};

use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};
use rand::RngCore;

/// Bytes of our connection IDs.
pub(super) const LENGTH: usize = 8;

/// Most shards there can be.
pub(super) const SHARDS_MAX: usize = 256;

/// What all shards of an endpoint share to recognise their IDs: random, so that nobody outside can
/// tell connections of one shard from others, nor forge IDs in bulk.
#[derive(Clone, Debug, Default)]
pub(super) struct Routing(RandomState);

impl Routing {
    /// Mask of the shard and signature under a nonce.
    fn seal(&self, nonce: [u8; 4]) -> [u8; 4] {
        let hash = self.0.hash_one(nonce).to_le_bytes();
        [hash[0], hash[1], hash[2], hash[3]]
    }

    /// The shard that made an ID, if one of ours did.
    pub(super) fn shard(&self, cid: &[u8]) -> Option<usize> {
        let nonce: [u8; 4] = cid.get(..4)?.try_into().ok()?;
        let sealed: [u8; 4] = cid.get(4..LENGTH)?.try_into().ok()?;
        let seal = self.seal(nonce);
        (sealed[1..] == seal[1..]).then(|| usize::from(sealed[0] ^ seal[0]))
    }

    /// IDs of that shard.
    pub(super) fn generator(&self, shard: usize) -> Box<dyn ConnectionIdGenerator> {
        Box::new(Generator {
            routing: self.clone(),
            shard: (shard % SHARDS_MAX) as u8,
        })
    }
}

struct Generator {
    routing: Routing,
    shard: u8,
}

impl ConnectionIdGenerator for Generator {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut cid = [0; LENGTH];
        let mut nonce = [0; 4];
        rand::rng().fill_bytes(&mut nonce);
        cid[..4].copy_from_slice(&nonce);
        cid[4..].copy_from_slice(&self.routing.seal(nonce));
        cid[4] ^= self.shard;
        ConnectionId::new(&cid)
    }

    fn validate(&self, cid: &ConnectionId) -> Result<(), InvalidCid> {
        self.routing.shard(cid).map(|_| ()).ok_or(InvalidCid)
    }

    fn cid_len(&self) -> usize {
        LENGTH
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

/// The destination of a datagram that an established connection, or one past its first flight,
/// sent to an ID of ours. None for first packets, whose ID the client chose (RFC 9000 §7.2).
pub(super) fn destination(datagram: &[u8]) -> Option<&[u8]> {
    let first = *datagram.first()?;
    if first & 0x80 == 0 {
        return datagram.get(1..1 + LENGTH);
    }
    // Long header (RFC 9000 §17.2): type Handshake is 2.
    let version = datagram.get(1..5)?;
    let handshake = version == [0, 0, 0, 1] && first & 0x30 == 0x20;
    let length = usize::from(*datagram.get(5)?);
    (handshake && length == LENGTH)
        .then(|| datagram.get(6..6 + LENGTH))
        .flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ids_lead_back_to_their_shard() {
        let routing = Routing::default();
        for shard in [0, 1, 7, 255] {
            let mut generator = routing.generator(shard);
            for _ in 0..100 {
                let cid = generator.generate_cid();
                assert_eq!(routing.shard(&cid), Some(shard));
                let short = [&[0x40][..], &cid, &[0; 20]].concat();
                assert_eq!(routing.shard(destination(&short).unwrap()), Some(shard));
                let long = [&[0xe3, 0, 0, 0, 1, 8][..], &cid, &[0; 20]].concat();
                assert_eq!(routing.shard(destination(&long).unwrap()), Some(shard));
            }
        }
        // First packets and foreign IDs are nobody's.
        assert_eq!(
            destination(&[0xc3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8]),
            None
        );
        assert_eq!(destination(&[]), None);
        assert_eq!(destination(&[0x40, 1]), None);
        let foreign = Routing::default();
        let ours = (0..1000).filter(|_| {
            let cid = foreign.generator(0).generate_cid();
            routing.shard(&cid).is_some()
        });
        assert_eq!(ours.count(), 0);
    }
}
