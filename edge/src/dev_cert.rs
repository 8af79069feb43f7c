//! A development certificate for `localhost` and the loopback addresses, made on first start and
//! kept in the state directory.
//!
//! ECDSA P-256, valid 13 days and replaced three before its end: short enough for browsers'
//! `serverCertificateHashes`, which allow 14. No one trusts it by itself: Chromium is started with
//! `--ignore-certificate-errors-spki-list=` and the [`DevCert::spki_hash`].

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, PublicKeyData,
};
use sha2::{Digest, Sha256};

/// Names the certificate is good for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// How long a certificate is valid.
const VALIDITY: Duration = Duration::from_secs(13 * 86_400);

/// How long before its end it is replaced.
const RENEW_BEFORE: Duration = Duration::from_secs(3 * 86_400);

/// What stands before the end of validity (Unix seconds) in the certificate file.
const EXPIRES: &str = "# Segue development certificate, expires ";

/// Where a development certificate lies.
#[derive(Clone, Debug)]
pub struct DevCert {
    /// Certificate, PEM.
    pub cert: PathBuf,
    /// Private key, PEM, readable by its owner only.
    pub key: PathBuf,
    /// Base64 of the SHA-256 of the public key (SubjectPublicKeyInfo).
    pub spki_hash: String,
}

/// Why there is no development certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The state directory can't be used.
    #[error("development certificate in {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Key or certificate could not be made or read.
    #[error("development certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// The certificate in `dir`, made or renewed if need be.
///
/// # Errors
/// [`Error`] where the directory can't be used or the kept key is unreadable.
pub fn ensure(dir: &Path) -> Result<DevCert, Error> {
    ensure_at(dir, SystemTime::now())
}

fn ensure_at(dir: &Path, now: SystemTime) -> Result<DevCert, Error> {
    let (cert, key) = (dir.join("dev-cert.pem"), dir.join("dev-key.pem"));
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { path, source }
    };
    fs::create_dir_all(dir).map_err(at(dir))?;
    // The key is kept across renewals, so that its hash stays good in scripts.
    let pair = match fs::read_to_string(&key) {
        Ok(pem) => KeyPair::from_pem(&pem)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
            write_private(&key, pair.serialize_pem().as_bytes()).map_err(at(&key))?;
            let _ = fs::remove_file(&cert);
            pair
        }
        Err(source) => return Err(at(&key)(source)),
    };
    let good_until = fs::read_to_string(&cert)
        .ok()
        .and_then(|pem| expiry(&pem))
        .unwrap_or(UNIX_EPOCH);
    if now + RENEW_BEFORE >= good_until {
        write_private(&cert, make(&pair, now)?.as_bytes()).map_err(at(&cert))?;
    }
    let spki_hash = STANDARD.encode(Sha256::digest(pair.subject_public_key_info()));
    Ok(DevCert {
        cert,
        key,
        spki_hash,
    })
}

/// The certificate as PEM, its end noted before it.
fn make(pair: &KeyPair, now: SystemTime) -> Result<String, rcgen::Error> {
    let mut params = CertificateParams::new(NAMES.map(String::from).to_vec())?;
    params
        .distinguished_name
        .push(DnType::CommonName, "Segue development");
    // An hour for clocks that are behind.
    let end = now + VALIDITY;
    params.not_before = (now - Duration::from_secs(3600)).into();
    params.not_after = end.into();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let pem = params.self_signed(pair)?.pem();
    let unix_s = end.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Ok(format!("{EXPIRES}{unix_s}\n{pem}"))
}

/// The end of validity noted in a certificate file.
fn expiry(pem: &str) -> Option<SystemTime> {
    let unix_s = pem
        .lines()
        .next()?
        .strip_prefix(EXPIRES)?
        .trim()
        .parse()
        .ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(unix_s))
}

/// Writes a file whole or not at all, readable by its owner only.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let part = path.with_extension(format!("{}.part", std::process::id()));
    let _ = fs::remove_file(&part);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&part, path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn kept_then_renewed_with_the_same_key() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let first = ensure_at(dir.path(), now).unwrap();
        let pem = fs::read_to_string(&first.cert).unwrap();
        assert_eq!(
            fs::metadata(&first.key).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(STANDARD.decode(&first.spki_hash).unwrap().len(), 32);

        ensure_at(dir.path(), now + Duration::from_secs(9 * 86_400)).unwrap();
        assert_eq!(fs::read_to_string(&first.cert).unwrap(), pem);

        let later = ensure_at(dir.path(), now + Duration::from_secs(11 * 86_400)).unwrap();
        assert_ne!(fs::read_to_string(&first.cert).unwrap(), pem);
        assert_eq!(later.spki_hash, first.spki_hash);
    }
}
