//! TLS 1.3 for the TCP and QUIC listeners: certificate, tickets, protocols.

use std::{path::Path, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::expiry;

/// Why TLS can't be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A PEM file is unreadable.
    #[error("{path}: {source}")]
    Pem {
        /// The file.
        path: std::path::PathBuf,
        /// The cause.
        source: rustls_pki_types::pem::Error,
    },
    /// A certificate file without certificates.
    #[error("{0}: no certificate in it")]
    Empty(std::path::PathBuf),
    /// Key and certificate don't fit, or are of a kind we can't use.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// The certificate in use; replaced without touching connections.
#[derive(Debug)]
pub(crate) struct Certificate(ArcSwap<CertifiedKey>);

impl Certificate {
    /// Reads chain and key.
    ///
    /// # Errors
    /// [`Error`] where they are unreadable or don't fit each other.
    pub(crate) fn load(cert: &Path, key: &Path) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self(ArcSwap::from_pointee(read(cert, key)?))))
    }
}

impl Certificate {
    /// Uses another from the next handshake on.
    pub(crate) fn replace(&self, other: &Self) {
        self.0.store(other.0.load_full());
    }

    /// End of the leaf's validity, Unix seconds.
    pub(crate) fn expiry_s(&self) -> Option<i64> {
        expiry::of(self.0.load().cert.first()?)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

fn read(cert: &Path, key: &Path) -> Result<CertifiedKey, Error> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Pem { path, source }
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<_, _>>)
        .map_err(at(cert))?;
    if chain.is_empty() {
        return Err(Error::Empty(cert.to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(at(key))?;
    Ok(CertifiedKey::from_der(
        chain,
        key,
        &aws_lc_rs::default_provider(),
    )?)
}

/// TLS 1.3 with that certificate, offering `protocols`. Resumption by encrypted tickets; no early
/// data, since a replayed request would be acted on twice.
///
/// # Errors
/// Where the provider lacks what TLS 1.3 needs.
pub(crate) fn server_config(
    certificate: &Arc<Certificate>,
    protocols: &[&[u8]],
) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(certificate) as Arc<dyn ResolvesServerCert>);
    config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    config.max_early_data_size = 0;
    Ok(config)
}
