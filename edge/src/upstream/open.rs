//! Upstreams from a validated configuration: names, TLS, pools and checks put together.

use std::{io, sync::Arc, time::Duration};

use http::{HeaderValue, uri::PathAndQuery};
use rustls::ClientConfig;

use super::{
    budget::Budget,
    cdn_loop::Mark,
    check, choose,
    config::{Named, UpstreamLimits},
    connect::{Connector, client_config},
    node::{Address, Node, Role},
    peers::{self, Pass, Peers},
    resolve::{Lookup, Name, SystemLookup},
    router::Upstreams,
    stats::Stats,
    target::{Server, Speech, Target},
    transport::Transport,
};
use crate::{
    config::{Config, HostPolicy, KeysetSource},
    metrics::Metrics,
};

/// Why an upstream can't be used.
#[derive(Debug, thiserror::Error)]
#[error("upstream {upstream}: {source}")]
pub struct Error {
    /// As configured.
    upstream: String,
    /// The cause.
    source: io::Error,
}

/// What all upstreams of an edge are made with.
struct Workshop<'a> {
    config: &'a Config,
    metrics: Arc<Metrics>,
    lookup: Arc<dyn Lookup>,
}

impl Upstreams {
    /// The upstreams of a validated configuration. Doesn't connect yet. Must run inside a tokio
    /// runtime.
    ///
    /// # Errors
    /// Where authorities can't be read, a host is no name that TLS can check, or a bucket has no
    /// region.
    pub async fn open(config: &Config, metrics: Arc<Metrics>) -> Result<Self, Error> {
        Self::open_with(config, metrics, Arc::new(SystemLookup)).await
    }

    /// The same with another resolver.
    ///
    /// # Errors
    /// As [`Upstreams::open`].
    pub async fn open_with(
        config: &Config,
        metrics: Arc<Metrics>,
        lookup: Arc<dyn Lookup>,
    ) -> Result<Self, Error> {
        let routing = &config.upstreams;
        let workshop = Workshop {
            config,
            metrics: Arc::clone(&metrics),
            lookup,
        };
        let origins = workshop.origins().await?;
        let peers = workshop.peers()?;
        let members = peers
            .iter()
            .flat_map(|peers| peers.members.iter().flatten());
        let nodes = origins.iter().chain(members);
        let stats: Vec<_> = nodes.map(|node| Arc::clone(&node.stats)).collect();
        stats.iter().for_each(|stats| stats.anew());
        metrics.set_upstreams(stats);
        Ok(Self {
            origins,
            peers,
            balance: routing.balance,
            retry: routing.retry.clone(),
            hedge: routing.hedge.clone(),
            budget: Budget::new(routing.retry.budget, routing.retry.burst),
            mark: Mark::new(&config.name, &routing.peers.group, rand::random()),
            metrics,
        })
    }
}

impl Workshop<'_> {
    async fn origins(&self) -> Result<Vec<Arc<Node>>, Error> {
        let ca = self.config.upstream_ca.as_deref();
        let tls = Arc::new(client_config(ca).map_err(at("upstream-ca"))?);
        let mut origins = Vec::new();
        let named = self.config.named_origins();
        let alone = named.len() == 1;
        for origin in named {
            let Named {
                name,
                target,
                weight,
                backup,
            } = origin;
            let (server, address) = match target {
                Target::Http(server) => {
                    let policy = self.config.upstream_host;
                    let address = http_address(&server, policy).map_err(at(&name))?;
                    (server, address)
                }
                Target::S3(bucket) => {
                    let opened = bucket.open().await;
                    let (server, signer) = opened.map_err(|e| at(&name)(io::Error::other(e)))?;
                    (server, Address::S3(Box::new(signer)))
                }
            };
            let limits = self.config.upstream_limits.clone();
            let role = Role {
                weight,
                backup,
                alone,
            };
            let node = self
                .node(&name, role, &server, address, &tls, limits)
                .map_err(at(&name))?;
            self.check(&node);
            origins.push(node);
        }
        Ok(origins)
    }

    fn check(&self, node: &Arc<Node>) {
        let health = &self.config.upstreams.health;
        if let Some(path) = &health.path
            && let Ok(path) = PathAndQuery::try_from(path.as_str())
            && node.is_checkable()
        {
            check::start(node, path, health.clone());
        }
    }

    fn node(
        &self,
        name: &str,
        role: Role,
        server: &Server,
        address: Address,
        tls: &Arc<ClientConfig>,
        limits: UpstreamLimits,
    ) -> io::Result<Arc<Node>> {
        let routing = &self.config.upstreams;
        let lookup = Arc::clone(&self.lookup);
        let addresses = Name::new(&server.host, server.port, lookup, routing.dns.interval);
        let connector = Connector::new(addresses, server, tls, limits.clone())?;
        // Counters go on over a reload.
        let known = self.metrics.upstream(name);
        let stats = known.unwrap_or_else(|| Stats::new(name, Arc::clone(&self.metrics)));
        let secure = server.speech == Speech::Tls;
        let stall = limits.stall;
        let transport = Transport::new(connector, secure, limits, Arc::clone(&stats));
        let mut breaker = routing.breaker.clone();
        if !role.alone {
            breaker.failing_for = Duration::ZERO;
        }
        Ok(Node::new(
            name, role, address, transport, stall, breaker, stats,
        ))
    }

    fn peers(&self) -> Result<Option<Peers>, Error> {
        let peers = &self.config.upstreams.peers;
        if peers.members.is_empty() {
            return Ok(None);
        }
        let tls = Arc::new(client_config(peers.ca.as_deref()).map_err(at("peers.ca"))?);
        let limits = UpstreamLimits {
            connect: peers.connect,
            first_byte: peers.first_byte,
            ..self.config.upstream_limits.clone()
        };
        let mut members = Vec::new();
        for url in &peers.members {
            if *url == peers.this {
                members.push(None);
                continue;
            }
            let server = Server::parse(url).map_err(|e| at(url)(io::Error::other(e)))?;
            // A peer's cache has the client's host in its keys.
            let address = http_address(&server, HostPolicy::Client).map_err(at(url))?;
            let node = self
                .node(url, Role::PEER, &server, address, &tls, limits.clone())
                .map_err(at(url))?;
            members.push(Some(node));
        }
        let gated = !matches!(self.config.keyset, KeysetSource::None);
        let pass = match &peers.secret {
            Some(secret) if gated => {
                let key = peers::key(secret.expose());
                let key = key.map_err(|e| at("peers.secret")(io::Error::other(e)))?;
                Some(Pass::new(key))
            }
            _ => None,
        };
        Ok(Some(Peers {
            members,
            own_id: choose::hash(peers.this.as_bytes()),
            pass,
        }))
    }
}

fn http_address(server: &Server, policy: HostPolicy) -> io::Result<Address> {
    let authority = HeaderValue::from_str(&server.authority).map_err(io::Error::other)?;
    Ok(Address::Http { policy, authority })
}

fn at(upstream: &str) -> impl Fn(io::Error) -> Error {
    let upstream = upstream.to_owned();
    move |source| Error {
        upstream: upstream.clone(),
        source,
    }
}
