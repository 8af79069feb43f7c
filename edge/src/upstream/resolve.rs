//! The addresses behind an upstream's name: looked up again and again, the last good ones kept.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Weak},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::sync::Mutex;

/// Addresses taken of one answer.
const ADDRESSES_MAX: usize = 32;

/// Looks in a row that an address may be missing from before connections to it are given up: names
/// of large services answer with a few of many addresses, other ones each time.
const MISSES: u32 = 2;

/// Where names are looked up.
pub trait Lookup: Send + Sync + 'static {
    /// The addresses of a name, best first.
    fn lookup(
        &self,
        host: &str,
        port: u16,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;
}

/// The system's resolver.
#[derive(Debug)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(
        &self,
        host: &str,
        port: u16,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>> {
        let host = host.to_owned();
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

/// What is known of a name.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// To connect to, in this order.
    pub(super) current: Vec<SocketAddr>,
    /// No longer told, with the looks they have been missing from.
    former: Vec<(SocketAddr, u32)>,
}

impl Known {
    /// Whether connections to an address may be used.
    pub(super) fn holds(&self, address: SocketAddr) -> bool {
        self.current.contains(&address) || self.former.iter().any(|(a, _)| *a == address)
    }

    /// What is known after another look.
    fn after(&self, answer: Vec<SocketAddr>) -> Self {
        let former = self
            .current
            .iter()
            .map(|address| (*address, 0))
            .chain(self.former.iter().copied())
            .filter(|(address, misses)| !answer.contains(address) && misses + 1 < MISSES)
            .map(|(address, misses)| (address, misses + 1))
            .take(ADDRESSES_MAX)
            .collect();
        Self {
            current: answer,
            former,
        }
    }
}

/// One name.
pub(super) struct Name {
    host: String,
    port: u16,
    lookup: Arc<dyn Lookup>,
    known: ArcSwapOption<Known>,
    /// One look at a time.
    looking: Mutex<()>,
}

impl Name {
    /// A name that is looked up each `interval` once it was needed; an address is taken as it is.
    /// Must run inside a tokio runtime.
    pub(super) fn new(
        host: &str,
        port: u16,
        lookup: Arc<dyn Lookup>,
        interval: Duration,
    ) -> Arc<Self> {
        let literal = host.parse::<IpAddr>().ok().map(|ip| Known {
            current: vec![SocketAddr::new(ip, port)],
            former: Vec::new(),
        });
        let fixed = literal.is_some();
        let name = Arc::new(Self {
            host: host.to_owned(),
            port,
            lookup,
            known: ArcSwapOption::from_pointee(literal),
            looking: Mutex::default(),
        });
        if !fixed {
            tokio::spawn(follow(Arc::downgrade(&name), interval));
        }
        name
    }

    /// What is known, looked up first where nothing is.
    ///
    /// # Errors
    /// Where the name was never found.
    pub(super) async fn addresses(&self) -> io::Result<Arc<Known>> {
        if let Some(known) = self.known.load_full() {
            return Ok(known);
        }
        let _one = self.looking.lock().await;
        if let Some(known) = self.known.load_full() {
            return Ok(known);
        }
        self.look().await
    }

    /// Whether a connection to an address may be used; also where nothing is known.
    pub(super) fn holds(&self, address: SocketAddr) -> bool {
        self.known
            .load()
            .as_ref()
            .is_none_or(|known| known.holds(address))
    }

    async fn look(&self) -> io::Result<Arc<Known>> {
        let mut answer = self.lookup.lookup(&self.host, self.port).await?;
        answer.truncate(ADDRESSES_MAX);
        if answer.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the name has no address",
            ));
        }
        let before = self.known.load_full().unwrap_or_default();
        if before.current.iter().any(|a| !answer.contains(a)) {
            tracing::info!(
                host = self.host,
                ?answer,
                "the upstream's addresses changed"
            );
        }
        let known = Arc::new(before.after(interleave(answer)));
        self.known.store(Some(Arc::clone(&known)));
        Ok(known)
    }
}

/// Looks at a name again and again until nobody needs it any more.
async fn follow(name: Weak<Name>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let Some(name) = name.upgrade() else { return };
        if name.known.load().is_none() {
            continue;
        }
        let _one = name.looking.lock().await;
        // A look that hangs must not end the looking.
        let look = tokio::time::timeout(interval.max(Duration::from_secs(5)), name.look()).await;
        if let Ok(Err(e)) = look {
            tracing::warn!(host = name.host, error = %e, "keeping the last known addresses");
        }
    }
}

/// Families by turns, the first answer's first (RFC 8305 §4).
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut a, mut b): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first);
    let (mut a, mut b) = (a.drain(..), b.drain(..));
    let mut all = Vec::new();
    loop {
        match (a.next(), b.next()) {
            (None, None) => return all,
            (one, other) => all.extend(one.into_iter().chain(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn families_take_turns() {
        let all = ["[::1]:1", "[::2]:1", "[::3]:1", "127.0.0.1:1"].map(address);
        let expected = ["[::1]:1", "127.0.0.1:1", "[::2]:1", "[::3]:1"].map(address);
        assert_eq!(interleave(all.to_vec()), expected);
    }

    #[test]
    fn an_address_is_given_up_after_missing_twice() {
        let (a, b) = (address("127.0.0.1:1"), address("127.0.0.2:1"));
        let known = Known::default().after(vec![a]);
        let known = known.after(vec![b]);
        assert!(known.holds(a) && known.current == [b]);
        assert!(known.after(vec![a, b]).current == [a, b]);
        let known = known.after(vec![b]);
        assert!(!known.holds(a));
    }

    /// Answers in turn; an empty one is a failure.
    struct Script(parking_lot::Mutex<Vec<Vec<SocketAddr>>>);

    impl Lookup for Script {
        fn lookup(
            &self,
            _: &str,
            _: u16,
        ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>> {
            let mut script = self.0.lock();
            let answer = if script.len() > 1 {
                script.remove(0)
            } else {
                script[0].clone()
            };
            Box::pin(async move {
                match answer.as_slice() {
                    [] => Err(io::Error::other("SERVFAIL")),
                    _ => Ok(answer),
                }
            })
        }
    }

    #[tokio::test]
    async fn a_name_is_followed_and_outlives_failures() {
        let (a, b) = (address("127.0.0.1:80"), address("127.0.0.2:80"));
        let script = vec![vec![a], vec![], vec![], vec![b]];
        let script = Arc::new(Script(parking_lot::Mutex::new(script)));
        let name = Name::new("origin.test", 80, script, Duration::from_secs(3600));
        assert_eq!(name.addresses().await.unwrap().current, [a]);
        for (found, expected) in [(false, a), (false, a), (true, b)] {
            assert_eq!(name.look().await.is_ok(), found);
            assert_eq!(name.addresses().await.unwrap().current, [expected]);
        }
        assert!(name.holds(a));
        name.look().await.unwrap();
        assert!(!name.holds(a) && name.holds(b));
    }

    #[tokio::test]
    async fn an_address_needs_no_lookup() {
        let script = Arc::new(Script(parking_lot::Mutex::new(vec![vec![]])));
        let name = Name::new("::1", 81, script, Duration::from_secs(30));
        let known = name.addresses().await.unwrap();
        assert_eq!(known.current, [address("[::1]:81")]);
    }
}
