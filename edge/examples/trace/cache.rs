//! The memory tier itself, from the edge's own files.

#![allow(dead_code, unreachable_pub)]

#[path = "../../src/cache/footsteps.rs"]
pub(crate) mod footsteps;
#[path = "../../src/cache/key.rs"]
pub(crate) mod key;
#[path = "../../src/cache/ledger.rs"]
pub(crate) mod ledger;
#[path = "../../src/cache/memory.rs"]
pub(crate) mod memory;
