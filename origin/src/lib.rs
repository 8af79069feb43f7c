//! The store's front door: objects, manifests and the control plane's services.
//!
//! Services (accounts, catalog, playlists) are modules that each own their data and expose a
//! router. They never import one another: what they ask of each other are the traits in `ports`.
//! Nothing here transcodes, and nothing here caches bytes of media: that is the edge's.

mod accounts;
mod cache;
mod catalog;
mod conditional;
mod config;
mod cors;
mod db;
mod error;
mod extract;
pub mod jobs;
mod media;
mod metrics;
mod openapi;
mod operate;
mod origin;
mod orphans;
mod params;
mod playlists;
mod ports;
mod range;
mod reply;
mod serve;
pub mod takedown;
mod tracks;
mod uploads;
mod web;

pub use catalog::{Catalog, Error as CatalogError, Reconciled};
pub use config::{Config, Service, UnknownService};
pub use origin::{Error, Origin};
pub use orphans::{Collected, Collection};
pub use uploads::Limits as UploadLimits;

/// Nothing is at that path.
fn not_found(path: &str) -> error::ApiError {
    if path == "/" {
        return web::missing_player();
    }
    error::ApiError::not_found("nothing is here; /api/openapi.json describes what there is")
}
