//! HTTP/2 (RFC 9113) of our own: one task a connection and none a request. Requests that memory
//! answers are answered in the poll that read them, their framing in one buffer and their bodies as
//! the cache's own shared bytes, so that many leave in one write.
//!
//! `core.rs` and what is below it do no I/O; `connection.rs` drives them.

mod answer;
mod connection;
mod core;
mod encode;
mod error;
mod frame;
pub(crate) mod fuzzing;
mod hpack;
mod output;
mod reader;
mod receiving;
mod requests;
mod responses;
mod sending;
mod stalls;
mod static_table;
mod stream;
mod table;

pub(crate) use self::{connection::Connection, reader::PREFACE};

/// Bytes of all bodies on a connection that may.
const CONNECTION_WINDOW: u32 = 256 << 10;
