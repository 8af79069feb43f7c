//! How much of what listeners ask for the memory tier answers, beside LRU, FIFO and the optimum:
//! `trace [--seed N] [--sessions N] [--tracks N] [--skew X]`.
//!
//! Replays a made-up day of a music service (`listeners.rs`) against the tier's own code, with
//! sizes in the place of bytes, and against the peers (`peers.rs`), each at 1, 5 and 10 % of the
//! footprint: of the bytes of all distinct slices in the trace.

#![allow(clippy::print_stdout)]

mod cache;
mod listeners;
mod peers;

use std::{collections::HashMap, sync::Arc, time::Instant};

use cache::{
    key::{EntryKey, Mixer},
    memory::{Memory, Reason, Weigh},
};
use listeners::{Access, Listeners};

/// Requests and bytes answered.
#[derive(Clone, Copy, Debug, Default)]
struct Answered {
    requests: u64,
    bytes: u64,
}

impl Answered {
    fn count(&mut self, access: &Access) {
        self.requests += 1;
        self.bytes += u64::from(access.bytes);
    }
}

/// A way to decide what stays, given the trace and a capacity in bytes.
type Policy = fn(&[Access], u64) -> Answered;

const POLICIES: [(&str, Policy); 4] = [
    ("FIFO", peers::fifo),
    ("LRU", peers::lru),
    ("Segue", segue),
    ("optimum", peers::optimum),
];

/// A slice's size without its bytes.
#[derive(Clone, Copy)]
struct Size(u32);

impl Weigh for Size {
    fn weight(&self) -> u64 {
        u64::from(self.0)
    }
}

/// The memory tier.
fn segue(trace: &[Access], capacity: u64) -> Answered {
    // A fixed secret, so that a run can be repeated.
    let memory = Memory::seeded(capacity, Arc::default(), Mixer::new([1, 2]));
    let mut answered = Answered::default();
    for access in trace {
        let key = EntryKey {
            id: u128::from(access.track) << 64,
            part: access.part,
        };
        if memory.get(key).is_some() {
            answered.count(access);
        } else {
            memory.insert(key, Size(access.bytes), Reason::Demand);
        }
    }
    answered
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listeners = parse()?;
    let trace = listeners.trace();
    let distinct: HashMap<_, _> = trace.iter().map(|a| (a.slice(), a.bytes)).collect();
    let footprint: u64 = distinct.values().map(|bytes| u64::from(*bytes)).sum();
    let total: u64 = trace.iter().map(|a| u64::from(a.bytes)).sum();
    println!("{listeners:?}");
    println!(
        "{} requests for {} slices; {:.1} GB of {:.1} GB footprint; {:.1} % are asked for again",
        trace.len(),
        distinct.len(),
        total as f64 / 1e9,
        footprint as f64 / 1e9,
        100.0 * (1.0 - distinct.len() as f64 / trace.len() as f64),
    );
    println!("\nmemory  policy   requests   bytes   a request");
    for percent in [1, 5, 10] {
        let mut byte_ratio = HashMap::new();
        for (name, policy) in POLICIES {
            let begun = Instant::now();
            let answered = policy(&trace, footprint * percent / 100);
            let each = begun.elapsed().as_nanos() as f64 / trace.len() as f64;
            let requests = 100.0 * answered.requests as f64 / trace.len() as f64;
            let bytes = 100.0 * answered.bytes as f64 / total as f64;
            byte_ratio.insert(name, bytes);
            println!("{percent:5} %  {name:8} {requests:6.2} %  {bytes:6.2} %  {each:5.0} ns");
        }
        let [lru, ours, best] = ["LRU", "Segue", "optimum"].map(|name| byte_ratio[name]);
        println!(
            "         {:+.1} points on LRU; {:.0} % of the way from LRU to the optimum, {:.0} % of the optimum",
            ours - lru,
            100.0 * (ours - lru) / (best - lru),
            100.0 * ours / best,
        );
    }
    Ok(())
}

fn parse() -> Result<Listeners, Box<dyn std::error::Error>> {
    let mut listeners = Listeners::default();
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--seed" => listeners.seed = value.parse()?,
            "--sessions" => listeners.sessions = value.parse()?,
            "--tracks" => listeners.tracks = value.parse()?,
            "--skew" => listeners.skew = value.parse()?,
            _ => return Err(format!("unknown flag {flag}").into()),
        }
    }
    Ok(listeners)
}
