//! Bounds on everything parsed from outside, in one table.

/// Characters of a token's text. Header and path limits of edges lie above this.
pub const MAX_TOKEN_CHARS: usize = 4096;
/// Nesting of CBOR containers within skipped values.
pub(crate) const MAX_CBOR_DEPTH: usize = 8;
/// Entries of any one CBOR array or map.
pub(crate) const MAX_CBOR_ITEMS: usize = 64;
/// Bytes of any one string within a token.
pub(crate) const MAX_STRING_BYTES: usize = 1024;
/// Bytes of a key identifier.
pub(crate) const MAX_KID_BYTES: usize = 64;
/// Rules within `catu`.
pub(crate) const MAX_RULES: usize = 16;
/// Bytes of a regular expression within `catu`.
pub(crate) const MAX_REGEX_BYTES: usize = 256;
/// Bytes that one compiled regular expression may take, and its lazy automaton again.
pub(crate) const MAX_REGEX_SIZE: usize = 64 << 10;
/// Nesting of groups within a regular expression.
pub(crate) const MAX_REGEX_NESTING: u32 = 8;
/// Regular expressions within one token, since each costs a compilation.
pub(crate) const MAX_REGEXES: usize = 4;
/// Compiled regular expressions that a thread keeps for the next token.
pub(crate) const KNOWN_REGEXES: usize = 8;
/// Keys of a keyset.
pub(crate) const MAX_KEYS: usize = 64;
/// Tokens that a keyset may name as revoked; those expired since need no naming.
pub(crate) const MAX_REVOKED_TOKENS: usize = 16_384;
/// Bytes of a keyset's JSON.
pub(crate) const MAX_KEYSET_BYTES: usize = 2 << 20;
/// Clock leeway in seconds that a keyset may allow, and how far `iat` may lie ahead.
pub(crate) const MAX_LEEWAY_S: u64 = 30;
/// Shards of the sound tokens remembered.
pub(crate) const VERDICT_SHARDS: usize = 16;
/// Sound tokens remembered in each of two generations of each shard.
pub(crate) const VERDICTS: usize = 512;
