//! What looks at an HTTP/2 connection's plaintext on its way to the protocol: floods.

use std::{io, time::Instant};

use super::h2_budget::Budget;
use crate::{config::Limits, metrics::Cut};

/// One connection's guard.
#[derive(Debug)]
pub(crate) struct Guard {
    budget: Box<Budget>,
    /// Whether it was exceeded.
    exceeded: bool,
}

impl Guard {
    /// At the start of a connection.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            budget: Box::new(Budget::new(limits, Instant::now())),
            exceeded: false,
        }
    }

    /// Looks at bytes from the client.
    ///
    /// # Errors
    /// Where the connection must be cut off at once.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.exceeded |= self.budget.pass(bytes).is_err();
        if self.exceeded {
            return Err(io::Error::other("too many frames that ask for nothing"));
        }
        Ok(())
    }

    /// Whether a head is under way.
    pub(crate) fn heading(&self) -> bool {
        self.budget.heading()
    }

    /// Bytes went to the client.
    pub(crate) fn wrote(&mut self, bytes: usize) {
        self.budget.sent(bytes);
    }

    /// Why the connection was refused, if it was.
    pub(crate) fn cut(&self) -> Option<Cut> {
        self.exceeded.then_some(Cut::Limit)
    }
}
