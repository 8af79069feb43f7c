//! The `catu` claim: rules on the components of a request's URI.
//!
//! Every rule of a token must hold. Filename, stem and extension are cut as the implementations in
//! the field cut them: the stem ends at the filename's first dot, the extension starts with it.

use std::{cell::RefCell, collections::VecDeque, fmt, sync::Arc};

use aws_lc_rs::digest;
use regex::bytes::{Regex, RegexBuilder};

use crate::{
    cbor::{Major, Reader, Writer},
    limits::{
        KNOWN_REGEXES, MAX_REGEX_BYTES, MAX_REGEX_NESTING, MAX_REGEX_SIZE, MAX_REGEXES, MAX_RULES,
    },
    reject::Reject,
    verify::Request,
};

/// A component of a URI, with its label in the claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Component {
    /// `https`; label 0.
    Scheme,
    /// Host without port, lower case; label 1.
    Host,
    /// Port in decimal digits; label 2.
    Port,
    /// Path, as sent; label 3.
    Path,
    /// Query without `?` and without the token; label 4.
    Query,
    /// Path up to its last `/`, exclusive; label 5.
    ParentPath,
    /// Path after its last `/`; label 6.
    Filename,
    /// Filename before its first dot; label 7.
    Stem,
    /// Filename from its first dot on; label 8.
    Extension,
}

const COMPONENTS: [Component; 9] = [
    Component::Scheme,
    Component::Host,
    Component::Port,
    Component::Path,
    Component::Query,
    Component::ParentPath,
    Component::Filename,
    Component::Stem,
    Component::Extension,
];

impl Component {
    /// The component's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheme => "scheme",
            Self::Host => "host",
            Self::Port => "port",
            Self::Path => "path",
            Self::Query => "query",
            Self::ParentPath => "parent-path",
            Self::Filename => "filename",
            Self::Stem => "stem",
            Self::Extension => "extension",
        }
    }

    fn label(self) -> u64 {
        self as u64
    }

    fn of<'a>(self, request: &'a Request<'_>) -> std::borrow::Cow<'a, str> {
        let path = request.path;
        let (parent, filename) = path.rsplit_once('/').unwrap_or(("", path));
        let dot = filename.find('.').unwrap_or(filename.len());
        match self {
            Self::Scheme => request.scheme.to_ascii_lowercase().into(),
            Self::Host => request
                .host
                .trim_end_matches('.')
                .to_ascii_lowercase()
                .into(),
            Self::Port => request.port.to_string().into(),
            Self::Path => path.into(),
            Self::Query => request.query.into(),
            Self::ParentPath => parent.into(),
            Self::Filename => filename.into(),
            Self::Stem => filename[..dot].into(),
            Self::Extension => filename[dot..].into(),
        }
    }
}

/// How a component is compared, case-sensitively.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// Equal; label 0.
    Exact(String),
    /// Starts with; label 1. A path prefix should end with `/`, else `/a/1` allows `/a/10` too.
    Prefix(String),
    /// Ends with; label 2.
    Suffix(String),
    /// Holds somewhere; label 3.
    Contains(String),
    /// Matches somewhere unless anchored by `^` and `$`; label 4. ASCII classes only.
    Regex(String),
    /// SHA-256 of the component's bytes; label −1.
    Sha256([u8; 32]),
    /// SHA-512/256 of the component's bytes; label −2.
    Sha512T256([u8; 32]),
}

/// One rule of `catu`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What is compared.
    pub component: Component,
    /// With what.
    pub matches: Match,
}

impl Rule {
    /// A rule on the path.
    pub fn path(matches: Match) -> Self {
        Self {
            component: Component::Path,
            matches,
        }
    }
}

/// Reads the claim's value.
pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Vec<Rule>, Reject> {
    let mut rules: Vec<Rule> = Vec::new();
    for _ in 0..reader.map()? {
        let label =
            usize::try_from(reader.int()?).map_err(|_| Reject::BadRule("unknown component"))?;
        let component = *COMPONENTS
            .get(label)
            .ok_or(Reject::BadRule("unknown component"))?;
        if rules.iter().any(|rule| rule.component == component) {
            return Err(Reject::Malformed("duplicate URI component"));
        }
        let matches = reader.map()?;
        if matches == 0 {
            return Err(Reject::BadRule("no match for a component"));
        }
        let mut labels = Vec::new();
        for _ in 0..matches {
            let label = reader.int()?;
            if labels.contains(&label) {
                return Err(Reject::Malformed("duplicate match type"));
            }
            labels.push(label);
            rules.push(Rule {
                component,
                matches: read_match(label, reader)?,
            });
        }
        if rules.len() > MAX_RULES {
            return Err(Reject::BadRule("too many rules"));
        }
    }
    Ok(rules)
}

fn read_match(label: i64, reader: &mut Reader<'_>) -> Result<Match, Reject> {
    Ok(match label {
        0 => Match::Exact(reader.text()?.into()),
        1 => Match::Prefix(reader.text()?.into()),
        2 => Match::Suffix(reader.text()?.into()),
        3 => Match::Contains(reader.text()?.into()),
        4 => {
            // Further elements constrain capture groups (or are flags, with some issuers): both
            // narrow or change the rule in ways that aren't evaluated here.
            if reader.array()? != 1 {
                return Err(Reject::BadRule("regular expression with parameters"));
            }
            Match::Regex(reader.text()?.into())
        }
        -1 => Match::Sha256(read_digest(reader)?),
        -2 => Match::Sha512T256(read_digest(reader)?),
        _ => return Err(Reject::BadRule("unknown match type")),
    })
}

/// A digest as bytes or, as some issuers write it, as hexadecimal text.
fn read_digest(reader: &mut Reader<'_>) -> Result<[u8; 32], Reject> {
    const BAD: Reject = Reject::BadRule("digest of another size");
    if reader.peek()? != Major::Text {
        return reader.bytes()?.try_into().map_err(|_| BAD);
    }
    let text = reader.text()?.as_bytes();
    if text.len() != 64 {
        return Err(BAD);
    }
    let digit = |b: u8| char::from(b).to_digit(16).ok_or(BAD);
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Ok(out)
}

/// Writes the claim's value.
pub(crate) fn write(rules: &[Rule], writer: &mut Writer) {
    let used: Vec<_> = COMPONENTS
        .into_iter()
        .filter(|c| rules.iter().any(|rule| rule.component == *c))
        .collect();
    writer.map(used.len());
    for component in used {
        writer.uint(component.label());
        let matches: Vec<_> = rules
            .iter()
            .filter(|rule| rule.component == component)
            .collect();
        writer.map(matches.len());
        for rule in matches {
            write_match(&rule.matches, writer);
        }
    }
}

fn write_match(matches: &Match, writer: &mut Writer) {
    let (label, text) = match matches {
        Match::Exact(text) => (0, text),
        Match::Prefix(text) => (1, text),
        Match::Suffix(text) => (2, text),
        Match::Contains(text) => (3, text),
        Match::Regex(text) => {
            writer.int(4);
            writer.array(1);
            return writer.text(text);
        }
        Match::Sha256(digest) => {
            writer.int(-1);
            return writer.bytes(digest);
        }
        Match::Sha512T256(digest) => {
            writer.int(-2);
            return writer.bytes(digest);
        }
    };
    writer.int(label);
    writer.text(text);
}

/// Rules made ready to be evaluated many times.
pub(crate) struct Matchers(Vec<(Component, Matcher)>);

impl fmt::Debug for Matchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(component, _)| component))
            .finish()
    }
}

enum Matcher {
    Plain(Match),
    Prefixes(Prefixes),
    Regex(Arc<Regex>),
}

impl Matchers {
    /// Compiles a token's rules.
    ///
    /// # Errors
    /// [`Reject::BadRule`] where a regular expression is invalid or too costly.
    pub(crate) fn compile(rules: &[Rule]) -> Result<Self, Reject> {
        let regexes = rules
            .iter()
            .filter(|r| matches!(r.matches, Match::Regex(_)))
            .count();
        if regexes > MAX_REGEXES {
            return Err(Reject::BadRule("too many regular expressions"));
        }
        let compile = |rule: &Rule| {
            let matcher = match &rule.matches {
                Match::Regex(pattern) => match Prefixes::parse(pattern) {
                    Some(prefixes) => Matcher::Prefixes(prefixes),
                    None => Matcher::Regex(known(pattern)?),
                },
                plain => Matcher::Plain(plain.clone()),
            };
            Ok((rule.component, matcher))
        };
        rules
            .iter()
            .map(compile)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Checks that every rule holds.
    pub(crate) fn check(&self, request: &Request<'_>) -> Result<(), Reject> {
        for (component, matcher) in &self.0 {
            if !matcher.holds(&component.of(request)) {
                return Err(Reject::Uri(*component));
            }
        }
        Ok(())
    }
}

impl Matcher {
    fn holds(&self, value: &str) -> bool {
        match self {
            Self::Plain(Match::Exact(text)) => value == text,
            Self::Plain(Match::Prefix(text)) => value.starts_with(text),
            Self::Plain(Match::Suffix(text)) => value.ends_with(text),
            Self::Plain(Match::Contains(text)) => value.contains(text),
            Self::Plain(Match::Sha256(wanted)) => {
                digest::digest(&digest::SHA256, value.as_bytes()).as_ref() == wanted
            }
            Self::Plain(Match::Sha512T256(wanted)) => {
                digest::digest(&digest::SHA512_256, value.as_bytes()).as_ref() == wanted
            }
            // Compiled above into one of the other two.
            Self::Plain(Match::Regex(_)) => false,
            Self::Prefixes(prefixes) => prefixes.holds(value),
            Self::Regex(regex) => regex.is_match(value.as_bytes()),
        }
    }
}

thread_local! {
    /// Patterns compiled before, the last one first: an issuer writes the same ones into all of its
    /// tokens, and compiling costs half as much as a signature. Shared, since a clone would have to
    /// make its automaton's states anew. At most [`KNOWN_REGEXES`] a thread.
    static KNOWN: RefCell<VecDeque<(Box<str>, Arc<Regex>)>> = const { RefCell::new(VecDeque::new()) };
}

/// The pattern, compiled now or before.
fn known(pattern: &str) -> Result<Arc<Regex>, Reject> {
    KNOWN.with_borrow_mut(|known| {
        let found = known.iter().position(|(other, _)| **other == *pattern);
        let entry = match found.and_then(|at| known.remove(at)) {
            Some(entry) => entry,
            None => (pattern.into(), Arc::new(regex(pattern)?)),
        };
        let compiled = entry.1.clone();
        known.push_front(entry);
        known.truncate(KNOWN_REGEXES);
        Ok(compiled)
    })
}

fn regex(pattern: &str) -> Result<Regex, Reject> {
    if pattern.len() > MAX_REGEX_BYTES {
        return Err(Reject::BadRule("regular expression too long"));
    }
    RegexBuilder::new(pattern)
        .unicode(false)
        .size_limit(MAX_REGEX_SIZE)
        .dfa_size_limit(MAX_REGEX_SIZE)
        .nest_limit(MAX_REGEX_NESTING)
        .build()
        .map_err(|_| Reject::BadRule("regular expression invalid or too large"))
}

/// A regular expression of the form `^head(a|b|…)tail` with plain characters only, as scopes are
/// written. Comparing prefixes costs a fraction of compiling an automaton.
#[derive(Debug)]
struct Prefixes {
    head: String,
    middles: Vec<String>,
    tail: String,
}

impl Prefixes {
    fn parse(pattern: &str) -> Option<Self> {
        let plain = |text: &str| {
            text.bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'~'))
        };
        let rest = pattern
            .strip_prefix('^')
            .filter(|_| pattern.len() <= MAX_REGEX_BYTES)?;
        let (head, rest) = rest.split_once('(').unwrap_or((rest, ")"));
        let (middles, tail) = rest.split_once(')')?;
        let middles: Vec<String> = middles.split('|').map(str::to_owned).collect();
        (plain(head) && plain(tail) && middles.iter().all(|m| plain(m))).then(|| Self {
            head: head.into(),
            middles,
            tail: tail.into(),
        })
    }

    fn holds(&self, value: &str) -> bool {
        let Some(rest) = value.strip_prefix(&self.head) else {
            return false;
        };
        let tail = |middle: &String| {
            rest.strip_prefix(middle.as_str())
                .is_some_and(|r| r.starts_with(&self.tail))
        };
        self.middles.iter().any(tail)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::{KNOWN, KNOWN_REGEXES, Prefixes, known, regex};

    #[test]
    fn scope_patterns_need_no_automaton() {
        let prefixes = Prefixes::parse("^/(v1/tracks|media)/t0abc/").unwrap();
        assert!(prefixes.holds("/media/t0abc/x"));
        assert!(prefixes.holds("/v1/tracks/t0abc/index.m3u8"));
        assert!(!prefixes.holds("/media/t0abcd/x"));
        assert!(!prefixes.holds("/x/media/t0abc/x"));
        for other in [
            "/a",
            "^/a$",
            "^/a.b",
            "^/(a|(b))",
            "^/a|b",
            "^/(a)b)",
            "^(?i)a",
            "^/a*",
        ] {
            assert!(Prefixes::parse(other).is_none(), "{other}");
        }
    }

    #[test]
    fn patterns_known_are_few_and_each_itself() {
        for round in 0..3 {
            for n in 0..2 * KNOWN_REGEXES {
                let compiled = known(&format!("^/{n}.$")).unwrap();
                assert!(compiled.is_match(format!("/{n}x").as_bytes()), "{round}");
                assert!(!compiled.is_match(format!("/{n}").as_bytes()), "{round}");
                KNOWN.with_borrow(|known| assert!(known.len() <= KNOWN_REGEXES));
            }
        }
        assert!(known("(").is_err());
        assert!(known("^/0.$").unwrap().is_match(b"/0x"));
    }

    proptest! {
        #[test]
        fn prefixes_agree_with_the_regex_crate(pattern in r"\^[ab/]{0,2}(\([ab/]{0,2}(\|[ab/]{0,2}){0,2}\))?[ab/]{0,2}", value in "[ab/]{0,8}") {
            let prefixes = Prefixes::parse(&pattern).unwrap();
            prop_assert_eq!(prefixes.holds(&value), regex(&pattern).unwrap().is_match(value.as_bytes()));
        }
    }
}
