//! Content steering (RFC 8216bis §4.4.6.6, §7): the same variants by several pathways, and the
//! document that ranks these.

/// A way to the same objects: a region, a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pathway<'a> {
    /// Letters, digits, `.`, `-` and `_`.
    pub id: &'a str,
    /// URL of the multivariant playlist's directory there, ending in `/`.
    pub base: &'a str,
}

/// What a player needs for being steered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steering<'a> {
    /// URL of the steering manifest.
    pub server: &'a str,
    /// The pathways, that to start on first.
    pub pathways: &'a [Pathway<'a>],
}

impl Steering<'_> {
    /// The steering manifest: the pathways in order of preference, to be asked for again after so
    /// many seconds (§7.1).
    pub fn manifest(&self, ttl_s: u32) -> String {
        let ids: Vec<&str> = self.pathways.iter().map(|pathway| pathway.id).collect();
        serde_json::json!({ "VERSION": 1, "TTL": ttl_s, "PATHWAY-PRIORITY": ids }).to_string()
    }
}
