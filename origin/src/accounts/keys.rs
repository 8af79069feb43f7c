//! The key that signs tokens: made on the first start, kept where only its owner reads it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rand::Rng as _;
use tokens::{Keyset, SigningKey};

/// The signing key and what others verify with.
pub(crate) struct Keys {
    signing: SigningKey,
    public: Keyset,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("kid", &self.signing.kid())
            .finish_non_exhaustive()
    }
}

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
#[error("signing key {}: {source}", path.display())]
pub(crate) struct KeysError {
    path: PathBuf,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl Keys {
    /// Reads `keys/signing.json` below `data`, or makes it. Of several processes that start at
    /// once on a new directory one makes the key and all use it.
    pub(crate) fn open(data: &Path) -> Result<Self, KeysError> {
        let dir = data.join("keys");
        let path = dir.join("signing.json");
        let attempt = || -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
            private_dir(&dir)?;
            let json = match fs::read_to_string(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let kid = format!("k{:08x}", rand::rng().random::<u32>());
                    publish_once(&dir, &path, &SigningKey::generate(kid)?.to_json()?)?;
                    fs::read_to_string(&path)?
                }
                other => other?,
            };
            let signing = SigningKey::from_json(&json)?;
            let public = Keyset::new([signing.public()])?;
            Ok(Self { signing, public })
        };
        attempt().map_err(|source| KeysError {
            path: path.clone(),
            source,
        })
    }

    pub(crate) fn signing(&self) -> &SigningKey {
        &self.signing
    }

    pub(crate) fn public(&self) -> &Keyset {
        &self.public
    }
}

/// The file `keys/{name}` below `data` with 256 random bits in hexadecimal; made where there is
/// none.
pub(crate) fn secret(data: &Path, name: &str) -> io::Result<PathBuf> {
    let dir = data.join("keys");
    let path = dir.join(name);
    if !path.exists() {
        private_dir(&dir)?;
        publish_once(&dir, &path, &hex::encode(rand::rng().random::<[u8; 32]>()))?;
    }
    Ok(path)
}

fn private_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(dir)
}

/// Writes a file that did not exist, whole and durable, or leaves the one that does.
fn publish_once(dir: &Path, path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    let draft = dir.join(format!(".signing.{:016x}", rand::rng().random::<u64>()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let linked = match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    };
    fs::remove_file(&draft)?;
    fs::File::open(dir)?.sync_all()?;
    linked
}
