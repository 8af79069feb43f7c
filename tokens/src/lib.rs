//! Common Access Tokens: mint, verify, keysets.
