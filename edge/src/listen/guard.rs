//! What looks at a TCP connection's plaintext on its way to the protocol: ambiguous framing on
//! HTTP/1.1, floods on HTTP/2.

use std::{io, time::Instant};

use super::{
    h1_framing::{Framing, REFUSAL},
    h2_budget::Budget,
};
use crate::{config::Limits, exchange::Protocol, metrics::Cut};

/// Bytes that [`Guard::read`] may add.
pub(crate) const ROOM: usize = REFUSAL.len();

/// One connection's guard.
#[derive(Debug)]
pub(crate) enum Guard {
    H1(Framing),
    H2 {
        budget: Box<Budget>,
        /// Whether it was exceeded.
        exceeded: bool,
    },
}

impl Guard {
    /// At the start of a connection.
    pub(crate) fn new(protocol: Protocol, limits: &Limits) -> Self {
        match protocol {
            Protocol::H2 => Self::H2 {
                budget: Box::new(Budget::new(limits, Instant::now())),
                exceeded: false,
            },
            _ => Self::H1(Framing::new()),
        }
    }

    /// Looks at the first `n` bytes of `buf`, which are from the client; behind them there is
    /// [`ROOM`]. How many of `buf` are then to be passed on.
    ///
    /// # Errors
    /// Where the connection must be cut off at once.
    pub(crate) fn read(&mut self, buf: &mut [u8], n: usize) -> io::Result<usize> {
        match self {
            Self::H1(framing) => {
                if let Err(at) = framing.pass(&buf[..n]) {
                    buf[at..at + REFUSAL.len()].copy_from_slice(REFUSAL);
                    return Ok(at + REFUSAL.len());
                }
            }
            Self::H2 { budget, exceeded } => {
                *exceeded |= budget.pass(&buf[..n]).is_err();
                if *exceeded {
                    return Err(io::Error::other("too many frames that ask for nothing"));
                }
            }
        }
        Ok(n)
    }

    /// Whether a head is under way, where the protocol's own bytes don't tell.
    pub(crate) fn heading(&self) -> Option<bool> {
        match self {
            Self::H1(_) => None,
            Self::H2 { budget, .. } => Some(budget.heading()),
        }
    }

    /// Bytes went to the client.
    pub(crate) fn wrote(&mut self, bytes: usize) {
        if let Self::H2 { budget, .. } = self {
            budget.sent(bytes);
        }
    }

    /// Why the connection was refused, if it was.
    pub(crate) fn cut(&self) -> Option<Cut> {
        match self {
            Self::H1(framing) => framing.refused().then_some(Cut::Protocol),
            Self::H2 { exceeded, .. } => exceeded.then_some(Cut::Limit),
        }
    }
}
