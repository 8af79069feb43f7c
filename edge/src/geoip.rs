//! The country of a client, from a file in MaxMind's DB format: GeoLite2 Country, DB-IP, IPinfo and
//! others publish them. Read whole at start; nobody is asked at run time.

use std::{net::IpAddr, path::Path};

use maxminddb::{PathElement, Reader};
use tokens::Country;

/// Why a GeoIP file can't be used.
#[derive(Debug, thiserror::Error)]
#[error("geoip {path}: {source}")]
pub struct Error {
    /// The file.
    path: String,
    /// The cause.
    source: maxminddb::MaxMindDbError,
}

/// Countries by address.
pub struct GeoIp(Reader<Vec<u8>>);

impl GeoIp {
    /// Reads the file.
    ///
    /// # Errors
    /// Where it can't be read or isn't in that format.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Reader::open_readfile(path)
            .map(Self)
            .map_err(|source| Error {
                path: path.display().to_string(),
                source,
            })
    }

    /// The client's country; none where the file doesn't say.
    pub(crate) fn country(&self, address: IpAddr) -> Option<Country> {
        let found = self.0.lookup(address.to_canonical()).ok()?;
        // GeoIP2 and DB-IP nest it; IPinfo has it flat.
        let nested = [PathElement::Key("country"), PathElement::Key("iso_code")];
        let flat = [PathElement::Key("country_code")];
        let code: Option<&str> = found.decode_path(&nested).ok().flatten();
        code.or_else(|| found.decode_path(&flat).ok().flatten())?
            .parse()
            .ok()
    }
}

impl std::fmt::Debug for GeoIp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GeoIp").finish_non_exhaustive()
    }
}
