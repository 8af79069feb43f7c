//! Tokens as issuers and verifiers meet them.
