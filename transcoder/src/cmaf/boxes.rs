//! Writes ISO base media boxes (ISO/IEC 14496-12 §4.2) into a byte vector.
//!
//! Owns sizes and big-endian fields. Does not know any box's meaning: `init` and `fragment` do.

/// A vector of bytes under construction, with boxes nested by closures.
#[derive(Debug, Default)]
pub(super) struct Boxes(Vec<u8>);

impl Boxes {
    /// An empty buffer.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// The finished bytes.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Bytes written so far.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// A plain box: size, type, body.
    pub(super) fn plain(&mut self, kind: &[u8; 4], body: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.u32(0).bytes(kind);
        body(self);
        let size = (self.0.len() - start) as u32;
        self.patch_u32(start, size);
    }

    /// A full box: a plain one whose body starts with version and 24 bits of flags.
    pub(super) fn full(
        &mut self,
        kind: &[u8; 4],
        version: u8,
        flags: u32,
        body: impl FnOnce(&mut Self),
    ) {
        self.plain(kind, |b| {
            b.u32(u32::from(version) << 24 | flags);
            body(b);
        });
    }

    /// An MPEG-4 descriptor (ISO/IEC 14496-1 §8.3.3): tag, size in the four-byte form that every
    /// reader takes, body.
    pub(super) fn descriptor(&mut self, tag: u8, body: impl FnOnce(&mut Self)) {
        self.u8(tag).u32(0);
        let start = self.0.len();
        body(self);
        let size = (self.0.len() - start) as u32;
        let groups = [21, 14, 7, 0].map(|shift| (size >> shift & 0x7f) as u8);
        let coded = [
            groups[0] | 0x80,
            groups[1] | 0x80,
            groups[2] | 0x80,
            groups[3],
        ];
        self.patch_u32(start - 4, u32::from_be_bytes(coded));
    }

    /// Overwrites four bytes at `at`.
    pub(super) fn patch_u32(&mut self, at: usize, value: u32) {
        self.0[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }

    pub(super) fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    pub(super) fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(super) fn u24(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_be_bytes()[1..])
    }

    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(super) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(super) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.0.extend_from_slice(value);
        self
    }

    pub(super) fn zeros(&mut self, count: usize) -> &mut Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }
}
