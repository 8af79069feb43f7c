//! Where an edge's settings come from: flags over environment over file over defaults, each key by
//! itself. All faults are found at once, and each says where its value stands.

use std::{
    collections::BTreeMap,
    fmt,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::{Path, PathBuf},
};

use serde_path_to_error::Segment;
use toml::{
    Table, Value,
    de::{DeTable, DeValue},
};

/// Faults of one kind looked for at most: each is found by leaving out the one before.
const FAULTS_MAX: usize = 100;

/// Where an edge listens that isn't told where.
const DEFAULT_HTTP: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8080));

/// What variables begin with: `SEGUE_EDGE_LIMITS__IDLE` is `limits.idle`.
const PREFIX: &str = "SEGUE_EDGE_";

/// Keys that are also variables without the role's name, as are those of other commands' flags.
const SHORT: [&str; 12] = [
    "upstream",
    "http",
    "https",
    "admin",
    "admin-token",
    "cert",
    "key",
    "memory",
    "disk",
    "disk-size",
    "keyset",
    "state-dir",
];

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// In a file, on a line.
    File(PathBuf, usize),
    /// In a variable of the environment.
    Variable(String),
    /// In a flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A value as text, from a flag or a variable.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    /// The key, its tables before it: `limits.idle`.
    pub(crate) key: String,
    /// The value.
    pub(crate) text: String,
    /// Where it stands.
    pub(crate) origin: Origin,
}

/// Something wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Where, if anywhere.
    origin: Option<Origin>,
    /// What, for the operator.
    text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(f, "{origin}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// Settings, and where they come from.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The configuration; where there are faults, as far as it could be read.
    pub(crate) config: edge::Config,
    /// Where each value stands that is no default, by key.
    pub(crate) origins: BTreeMap<String, Origin>,
    /// What is wrong.
    pub(crate) faults: Vec<Fault>,
}

/// What is known while reading.
#[derive(Default)]
struct Reading {
    table: Table,
    origins: BTreeMap<String, Origin>,
    /// Values given as text, by key, to be read in other ways where the first one doesn't fit.
    texts: BTreeMap<String, (String, usize)>,
    faults: Vec<Fault>,
    /// Keys that were left out.
    dropped: Vec<String>,
}

/// Reads a file, if there is one, then what is given over it, later ones over earlier ones.
///
/// # Errors
/// Where the file can't be read.
pub(crate) fn read(file: Option<&Path>, given: Vec<Given>) -> anyhow::Result<Settings> {
    let mut reading = Reading::default();
    if let Some(path) = file {
        let text = std::fs::read_to_string(path)
            .map_err(|e| anyhow::anyhow!("can't read {}: {e}", path.display()))?;
        reading.file(path, &text);
    }
    for given in given {
        reading.give(given);
    }
    Ok(reading.finish())
}

/// What the environment gives: short names first, so that the role's own win.
pub(crate) fn from_environment(variables: impl Iterator<Item = (String, String)>) -> Vec<Given> {
    let mut short = Vec::new();
    let mut own = Vec::new();
    for (name, text) in variables.filter(|(_, text)| !text.is_empty()) {
        let origin = Origin::Variable(name.clone());
        if let Some(rest) = name.strip_prefix(PREFIX) {
            // Kubernetes sets such names for a service that is called segue-edge.
            if rest.starts_with("SERVICE_") || rest == "PORT" || rest.starts_with("PORT_") {
                continue;
            }
            let key = rest.to_lowercase().replace("__", ".").replace('_', "-");
            own.push(Given { key, text, origin });
        } else if let Some(rest) = name.strip_prefix("SEGUE_") {
            let key = rest.to_lowercase().replace('_', "-");
            let key = match key.as_str() {
                "health-path" => "upstreams.health.path".to_owned(),
                _ => key,
            };
            let known = ["access-log", "upstreams.health.path"];
            if SHORT.contains(&key.as_str()) || known.contains(&key.as_str()) {
                short.push(Given { key, text, origin });
            }
        }
    }
    short.append(&mut own);
    short
}

impl Reading {
    /// Takes a file's `[edge]` in.
    fn file(&mut self, path: &Path, text: &str) {
        let line = |at: usize| {
            1 + text.as_bytes()[..at.min(text.len())]
                .iter()
                .filter(|b| **b == b'\n')
                .count()
        };
        let origin = |at: usize| Origin::File(path.to_owned(), line(at));
        let (spans, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            self.faults.push(Fault {
                origin: error.span().map(|span| origin(span.start)),
                text: error.message().to_owned(),
            });
        }
        for (key, value) in spans.get_ref() {
            let name = key.get_ref().as_ref();
            match value.get_ref() {
                DeValue::Table(table) if name == "edge" => {
                    note(table, "", &origin, &mut self.origins)
                }
                _ => self.faults.push(Fault {
                    origin: Some(origin(key.span().start)),
                    text: unknown(name, &["edge"], "table"),
                }),
            }
        }
        if !errors.is_empty() {
            return;
        }
        if let Ok(mut whole) = text.parse::<Table>()
            && let Some(Value::Table(edge)) = whole.remove("edge")
        {
            self.table = edge;
        }
    }

    /// Takes a value in that is given as text.
    fn give(&mut self, mut given: Given) {
        if given.key == "upstream" {
            // One origin or several replace whatever was named before.
            take(&mut self.table, "upstream");
            take(&mut self.table, "upstreams.origins");
            if given.text.trim().contains(char::is_whitespace) {
                given.key = "upstreams.origins".into();
                given.text = given.text.split_whitespace().collect::<Vec<_>>().join(",");
            }
        }
        let value = match (given.key.as_str(), given.text.as_str()) {
            ("access-log", "-") => Value::String("stdout".into()),
            ("access-log", "off" | "stdout") => Value::String(given.text.clone()),
            ("access-log", path) => Value::Table(Table::from_iter([(
                "file".to_owned(),
                Value::String(path.into()),
            )])),
            (_, text) => typed(text),
        };
        if !put(&mut self.table, &given.key, value) {
            self.faults.push(Fault {
                origin: Some(given.origin),
                text: format!("`{}` is inside of something that is no table", given.key),
            });
            return;
        }
        self.texts.insert(given.key.clone(), (given.text, 0));
        self.origins.insert(given.key, given.origin);
    }

    /// Reads the whole, leaving out one fault after another.
    fn finish(mut self) -> Settings {
        let mut config = edge::Config::default();
        for _ in 0..FAULTS_MAX {
            let whole = Value::Table(self.table.clone());
            match serde_path_to_error::deserialize::<_, edge::Config>(whole) {
                Ok(read) => {
                    config = read;
                    break;
                }
                Err(error) => {
                    let key = key(error.path());
                    if !self.fault(&key, error.inner().message()) {
                        break;
                    }
                }
            }
        }
        let listens = |key: &str| self.origins.contains_key(key);
        if !listens("http") && !listens("https") {
            config.http = Some(DEFAULT_HTTP);
        }
        if let Err(faults) = config.validate() {
            for text in faults.0 {
                let key = leading_key(&text);
                // What could not be read is at its default, which is not what was meant.
                if !self.dropped.iter().any(|dropped| dropped == key) {
                    let origin = self.origin(key);
                    self.faults.push(Fault { origin, text });
                }
            }
        }
        Settings {
            config,
            origins: self.origins,
            faults: self.faults,
        }
    }

    /// Deals with a value that doesn't fit: reads text in another way, else notes the fault and
    /// leaves the value out. False where there is nothing to leave out.
    fn fault(&mut self, key: &str, message: &str) -> bool {
        let known = (0..=key.len())
            .rev()
            .filter(|at| *at == key.len() || key.as_bytes()[*at] == b'.')
            .map(|at| key[..at].to_owned())
            .find(|key| self.texts.contains_key(key));
        if let Some(given) = known.filter(|_| !message.starts_with("unknown field"))
            && let Some((text, tries)) = self.texts.get_mut(&given)
            && *tries < 2
        {
            *tries += 1;
            let other = match *tries {
                1 => Value::String(text.clone()),
                _ => Value::Array(
                    text.split(',')
                        .map(|item| Value::String(item.trim().into()))
                        .collect(),
                ),
            };
            return put(&mut self.table, &given, other);
        }
        let name = key.rsplit('.').next().unwrap_or(key);
        let text = match message.strip_prefix("unknown field") {
            Some(rest) => {
                let expected: Vec<&str> = rest.split('`').skip(3).step_by(2).collect();
                let mut text = unknown(name, &expected, "key");
                if let Some((tables, _)) = key.rsplit_once('.') {
                    text = format!("{text} (in {tables})");
                }
                text
            }
            None => format!("{key}: {message}"),
        };
        let origin = self.origin(key);
        self.faults.push(Fault { origin, text });
        self.dropped.push(key.to_owned());
        take(&mut self.table, key)
    }

    /// Where a key's value stands, or its table's.
    fn origin(&self, key: &str) -> Option<Origin> {
        let mut key = key;
        loop {
            if let Some(origin) = self.origins.get(key) {
                return Some(origin.clone());
            }
            key = key.rsplit_once('.')?.0;
        }
    }
}

/// Notes where each value of a table stands.
fn note(
    table: &DeTable<'_>,
    above: &str,
    origin: &impl Fn(usize) -> Origin,
    origins: &mut BTreeMap<String, Origin>,
) {
    for (key, value) in table {
        let name = match above {
            "" => key.get_ref().to_string(),
            above => format!("{above}.{}", key.get_ref()),
        };
        if let DeValue::Table(table) = value.get_ref() {
            note(table, &name, origin, origins);
        }
        origins.insert(name, origin(key.span().start));
    }
}

/// Text as the most particular thing it can be.
fn typed(text: &str) -> Value {
    if let Ok(flag) = text.parse::<bool>() {
        return Value::Boolean(flag);
    }
    if let Ok(number) = text.parse::<i64>() {
        return Value::Integer(number);
    }
    if let Ok(number) = text.parse::<f64>()
        && number.is_finite()
    {
        return Value::Float(number);
    }
    if text.starts_with(['[', '{', '"', '\''])
        && let Ok(mut table) = format!("v = {text}").parse::<Table>()
        && let Some(value) = table.remove("v")
    {
        return value;
    }
    Value::String(text.to_owned())
}

/// Puts a value at a key, making the tables above it. False where something above is no table.
fn put(table: &mut Table, key: &str, value: Value) -> bool {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
            true
        }
        Some((first, rest)) => {
            let below = table
                .entry(first)
                .or_insert_with(|| Value::Table(Table::new()));
            match below {
                Value::Table(below) => put(below, rest, value),
                _ => false,
            }
        }
    }
}

/// Takes a key's value out. False where there is none.
fn take(table: &mut Table, key: &str) -> bool {
    match key.split_once('.') {
        None => table.remove(key).is_some(),
        Some((first, rest)) => match table.get_mut(first) {
            Some(Value::Table(below)) => take(below, rest),
            // Inside of a value, such as a list's item: the whole value goes.
            Some(_) => table.remove(first).is_some(),
            None => false,
        },
    }
}

/// The key of a path, down to where values are no tables any more.
fn key(path: &serde_path_to_error::Path) -> String {
    let keys = path.iter().map_while(|segment| match segment {
        Segment::Map { key } => Some(key.as_str()),
        _ => None,
    });
    keys.collect::<Vec<_>>().join(".")
}

/// The key that a fault of the configuration begins with.
fn leading_key(text: &str) -> &str {
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let end = text.find(|c| !letter(c)).unwrap_or(text.len());
    text[..end].trim_end_matches('.')
}

/// Says that a name is unknown, and which was probably meant.
fn unknown(name: &str, expected: &[&str], what: &str) -> String {
    let nearest = expected
        .iter()
        .map(|candidate| (distance(name, candidate), *candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(2));
    match nearest {
        Some((_, candidate)) => format!("unknown {what} `{name}`; did you mean `{candidate}`?"),
        None => format!("unknown {what} `{name}`"),
    }
}

/// Edits between two words: letters put in, left out, replaced, or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (rows[i - 1][j] + 1)
                .min(row[j - 1] + 1)
                .min(rows[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(rows[i - 2][j - 2] + 1);
            }
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("segue.toml");
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    fn flag(key: &str, text: &str) -> Given {
        let origin = Origin::Flag(format!("--{key}"));
        Given {
            key: key.into(),
            text: text.into(),
            origin,
        }
    }

    #[test]
    fn flags_win_over_environment_over_file() {
        let (_dir, path) = file(
            "[edge]\nupstream = 'http://file'\nhttp = '127.0.0.1:1'\nmemory = '8MiB'\n\
             [edge.limits]\nidle = '1s'\nstall = '2s'\n",
        );
        let variables = [
            ("SEGUE_MEMORY", "16MiB"),
            ("SEGUE_HTTP", "127.0.0.1:2"),
            ("SEGUE_EDGE_HTTP", "127.0.0.1:3"),
            ("SEGUE_EDGE_LIMITS__IDLE", "3s"),
            ("SEGUE_EDGE_PROTECT", "/a/,/b/"),
            ("SEGUE_EDGE_NAME", ""),
            ("SEGUE_EDGE_SERVICE_HOST", "10.0.0.1"),
            ("SEGUE_EDGE_PORT_443_TCP", "tcp://10.0.0.1:443"),
            ("SEGUE_DATA", "of another command"),
        ];
        let variables = variables.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let mut given = from_environment(variables.into_iter());
        given.push(flag("upstream", "http://flag"));
        given.push(flag("admin-token", "1234567890123456"));
        given.push(flag("access-log", "-"));
        let settings = read(Some(&path), given).unwrap();
        assert_eq!(settings.faults, []);
        let config = &settings.config;
        assert_eq!(config.upstream, "http://flag");
        assert_eq!(config.http, Some("127.0.0.1:3".parse().unwrap()));
        assert_eq!(config.memory, 16 << 20);
        assert_eq!(config.limits.idle, Duration::from_secs(3));
        assert_eq!(config.limits.stall, Duration::from_secs(2));
        assert_eq!(config.protect, ["/a/", "/b/"]);
        assert_eq!(config.name, "Segue");
        assert_eq!(config.access_log, edge::config::AccessLog::Stdout);
        let token = config.admin_token.as_ref().unwrap();
        assert_eq!(token.expose(), "1234567890123456");
        let origin = |key: &str| settings.origins[key].to_string();
        assert_eq!(origin("upstream"), "--upstream");
        assert_eq!(origin("http"), "SEGUE_EDGE_HTTP");
        assert_eq!(origin("limits.stall"), format!("{}:7", path.display()));
    }

    #[test]
    fn every_fault_is_named_with_its_place() {
        let (_dir, path) = file(
            "[edge]\nupstraem = 'http://a'\nmemory = 'much'\nslice = '3KiB'\nhttp = 'here'\n\
             [edge.limits]\nidel = '1s'\nstall = 5\n[origin]\n",
        );
        let given = vec![flag("disk-size", "-1"), flag("limits.streams", "none")];
        let settings = read(Some(&path), given).unwrap();
        let said: Vec<String> = settings.faults.iter().map(ToString::to_string).collect();
        let at = |line: usize, text: &str| format!("{}:{line}: {text}", path.display());
        for expected in [
            at(2, "unknown key `upstraem`; did you mean `upstream`?"),
            at(3, "memory: `much` is not a size"),
            at(4, "slice is 3072"),
            at(5, "http: "),
            at(7, "unknown key `idel`; did you mean `idle`? (in limits)"),
            at(8, "limits.stall: "),
            at(9, "unknown table `origin`"),
            "--disk-size: disk-size: ".to_owned(),
            "--limits.streams: limits.streams: ".to_owned(),
            "upstream is not set".to_owned(),
        ] {
            assert!(
                said.iter().any(|s| s.starts_with(&expected)),
                "{expected}\n{said:#?}"
            );
        }
        // What was given but could not be read isn't called missing as well.
        assert!(
            !said.iter().any(|s| s.contains("nothing to listen on")),
            "{said:#?}"
        );
    }

    #[test]
    fn broken_syntax_is_named_with_its_line() {
        let (_dir, path) = file("[edge]\nmemory = \nupstream = 'http://a'\nhttp = = 1\n");
        let settings = read(Some(&path), vec![]).unwrap();
        let said: Vec<String> = settings.faults.iter().map(ToString::to_string).collect();
        for line in [2, 4] {
            let place = format!("{}:{line}: ", path.display());
            assert!(said.iter().any(|s| s.starts_with(&place)), "{said:#?}");
        }
    }
}
