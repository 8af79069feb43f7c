//! Version floors of the lock file: known holes below them are closed.

use crate::tools;

/// Crate, lowest version, first version that is too new.
const FLOORS: &[(&str, [u32; 3], [u32; 3])] = &[
    ("quinn-proto", [0, 11, 17], [0, 12, 0]),
    ("h2", [0, 4, 16], [0, 5, 0]),
    ("rustls", [0, 23, 46], [0, 24, 0]),
];

/// Crates that must not come in by any way.
const BANNED: &[&str] = &["openssl-sys", "native-tls", "shiguredo_opus"];

#[test]
fn locked_versions_keep_their_floors() {
    let lock = std::fs::read_to_string(tools::root().join("Cargo.lock")).unwrap();
    let packages: Vec<(&str, &str)> = lock
        .split("[[package]]")
        .filter_map(|package| Some((field(package, "name")?, field(package, "version")?)))
        .collect();
    for (name, floor, ceiling) in FLOORS {
        let versions: Vec<[u32; 3]> = packages
            .iter()
            .filter(|p| p.0 == *name)
            .map(|p| version(p.1))
            .collect();
        assert!(!versions.is_empty(), "{name} is not in Cargo.lock");
        for found in versions {
            assert!(found >= *floor && found < *ceiling, "{name} {found:?}");
        }
    }
    for name in BANNED {
        assert!(
            packages.iter().all(|p| p.0 != *name),
            "{name} is in Cargo.lock"
        );
    }
}

fn field<'a>(package: &'a str, name: &str) -> Option<&'a str> {
    package.lines().find_map(|line| {
        line.strip_prefix(name)?
            .strip_prefix(" = \"")?
            .strip_suffix('"')
    })
}

fn version(text: &str) -> [u32; 3] {
    let core = text.split(['-', '+']).next().unwrap_or_default();
    let mut parts = core.split('.').map(|part| part.parse().unwrap_or(0));
    [0; 3].map(|_| parts.next().unwrap_or(0))
}
