//! HTTP/1.1 (RFC 9112) of our own: one task a connection and none a request. A request that memory
//! answers is answered in the poll that read it, its head in one buffer and its body as the cache's own
//! shared bytes. What two parsers could frame differently is refused (CWE-444): line ends are CRLF, a
//! body has one length, and nothing is folded.
//!
//! `head.rs`, `body.rs` and `encode.rs` do no I/O; `connection.rs` drives them.

mod body;
mod connection;
mod encode;
pub(crate) mod fuzzing;
mod head;

pub(crate) use self::connection::Connection;
