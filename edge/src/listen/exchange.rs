//! One request under way, from its complete head to its last byte: counted, timed and logged
//! exactly once, however it ends.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use http::Method;

use super::vitals::Vitals;
use crate::{
    exchange::{Facts, Outcome, Protocol, Request},
    log::{AccessLog, Record},
    metrics::{Ended, Metrics},
    trace::Tracer,
};

/// Where requests are counted and logged.
#[derive(Clone, Debug)]
pub(crate) struct Observer {
    pub metrics: Arc<Metrics>,
    pub log: AccessLog,
    pub tracer: Option<Tracer>,
}

/// A request under way. Its end is its drop.
pub(crate) struct Exchange {
    observer: Arc<Observer>,
    vitals: Option<Arc<Vitals>>,
    waits_for_us: bool,
    method: Method,
    protocol: Protocol,
    peer: SocketAddr,
    received: Instant,
    facts: Facts,
    status: u16,
    bytes: u64,
    first_byte: Option<Duration>,
    complete: bool,
}

impl Exchange {
    /// Begins: the head is complete, the service is about to be asked.
    pub(crate) fn begin(
        observer: &Arc<Observer>,
        vitals: Option<&Arc<Vitals>>,
        request: &Request,
    ) -> Self {
        observer.metrics.request_began(request.protocol);
        if let Some(vitals) = vitals {
            vitals.request_began();
            vitals.wait_for_us(true);
        }
        Self {
            observer: Arc::clone(observer),
            vitals: vitals.cloned(),
            waits_for_us: vitals.is_some(),
            method: request.method.clone(),
            protocol: request.protocol,
            peer: request.peer,
            received: request.received,
            // Until the service has answered, the client is the only one who can end this.
            facts: Facts {
                outcome: Outcome::Failed,
                reason: Some("client-left"),
                ..Facts::default()
            },
            status: 0,
            bytes: 0,
            first_byte: None,
            complete: false,
        }
    }

    /// The service has answered.
    pub(crate) fn answered(&mut self, status: u16, facts: Facts) {
        self.status = status;
        self.facts = facts;
        let time = self.received.elapsed();
        self.first_byte = Some(time);
        self.observer.metrics.first_byte(self.protocol, time);
        self.wait_for_us(false);
    }

    /// Whether the response's next bytes are ours to bring.
    pub(crate) fn wait_for_us(&mut self, waits: bool) {
        if self.waits_for_us != waits
            && let Some(vitals) = &self.vitals
        {
            vitals.wait_for_us(waits);
            self.waits_for_us = waits;
        }
    }

    /// Body bytes went to the transport.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// The whole response went to the transport.
    pub(crate) fn complete(&mut self) {
        self.complete = true;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.wait_for_us(false);
        if let Some(vitals) = &self.vitals {
            vitals.request_ended();
        }
        let end = Ended {
            outcome: self.facts.outcome,
            status: self.status,
            bytes: self.bytes,
            complete: self.complete,
            time: self.received.elapsed(),
        };
        self.observer.metrics.request_ended(self.protocol, &end);
        let record = Record {
            method: &self.method,
            protocol: self.protocol,
            peer: self.peer,
            facts: &self.facts,
            end: &end,
            first_byte: self.first_byte,
        };
        self.observer.log.append(&record);
        if let (Some(tracer), Some(trace)) = (&self.observer.tracer, &self.facts.trace) {
            tracer.end(trace, &record);
        }
    }
}
