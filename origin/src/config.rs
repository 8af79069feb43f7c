//! An origin's settings.

use std::{collections::BTreeSet, path::PathBuf, str::FromStr, time::Duration};

use crate::uploads::Limits as UploadLimits;

/// What an origin needs to know, besides its object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Directory of databases and keys; made where it is missing.
    pub data: PathBuf,
    /// Whether anyone may listen without an account: `POST /api/v1/session` gives out tokens.
    pub anonymous_listening: bool,
    /// How long a listening token lasts. Default: 12 hours, longer than any sitting.
    pub session_ttl: Duration,
    /// What uploads may take up.
    pub uploads: UploadLimits,
    /// Which services this process answers for. Default: all.
    pub services: BTreeSet<Service>,
}

impl Config {
    /// Everything in one process, open to all who can reach it.
    pub fn at(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            anonymous_listening: true,
            session_ttl: Duration::from_secs(12 * 60 * 60),
            uploads: UploadLimits::default(),
            services: Service::ALL.into(),
        }
    }
}

/// A part of the origin that can be left to another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// Objects, segment view, covers and manifests of tracks.
    Media,
    /// Sessions and keys.
    Accounts,
    /// Artists, albums, tracks.
    Catalog,
    /// Playlists and their streams.
    Playlists,
    /// Search.
    Search,
    /// The web player.
    Web,
    /// The queue of ingest jobs, and uploads, which fill it.
    Jobs,
}

impl Service {
    /// All services.
    pub const ALL: [Service; 7] = [
        Service::Media,
        Service::Accounts,
        Service::Catalog,
        Service::Playlists,
        Service::Search,
        Service::Web,
        Service::Jobs,
    ];

    /// Its name on a command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Service::Media => "media",
            Service::Accounts => "accounts",
            Service::Catalog => "catalog",
            Service::Playlists => "playlists",
            Service::Search => "search",
            Service::Web => "web",
            Service::Jobs => "jobs",
        }
    }
}

/// Text that names no [`Service`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no service `{0}`; there are media, accounts, catalog, playlists, search, web, jobs"
)]
pub struct UnknownService(pub String);

impl FromStr for Service {
    type Err = UnknownService;

    fn from_str(text: &str) -> Result<Self, UnknownService> {
        let found = Service::ALL.into_iter().find(|s| s.as_str() == text);
        found.ok_or_else(|| UnknownService(text.to_owned()))
    }
}
