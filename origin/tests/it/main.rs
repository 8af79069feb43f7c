//! The origin through HTTP: a real listener, real databases, synthetic tracks.
#![allow(clippy::unwrap_used, missing_docs)]

mod accounts;
mod api;
mod catalog;
mod client;
mod manifest;
mod media;
mod memory;
mod playlists;
mod sample;
mod stack;
mod uploads;
mod web;
