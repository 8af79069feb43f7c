//! What the schema of the MPD (ISO/IEC 23009-1:2022, Annex B) demands of the elements that we write, as
//! a table, and a reader that holds an MPD against it. What the table doesn't have is a complaint: the
//! schema's other elements and attributes come in here when the renderer comes to use them.

use std::collections::{BTreeMap, HashSet};

use quick_xml::{
    Reader,
    events::{BytesStart, Event},
};

/// Namespace of all elements.
const NAMESPACE: &str = "urn:mpeg:dash:schema:mpd:2011";

/// An element as the document has it.
#[derive(Debug, Default)]
struct Element {
    name: String,
    attributes: BTreeMap<String, String>,
    children: Vec<Element>,
    text: String,
}

/// The schema's type of a value: of an attribute, or of an element's text.
#[derive(Clone, Copy, Debug)]
enum Type {
    /// `xs:string`: anything.
    Text,
    /// `xs:anyURI`, of the characters that RFC 3986 has.
    Uri,
    /// `xs:unsignedInt`, at least so much.
    Uint(u32),
    /// `xs:unsignedLong`.
    Ulong,
    /// `xs:integer`.
    Integer,
    /// `xs:boolean`.
    Bool,
    /// Either of the two above: `@segmentAlignment` (§5.3.3.2).
    BoolOrUint,
    /// `xs:duration` without sign, years and months.
    Duration,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// A comma-separated list of profile identifiers (§8.1).
    Profiles,
    /// A simple list of RFC 6381 (§5.3.7.2).
    Codecs,
    /// No white space (§5.3.5.2).
    Word,
    /// One or two numbers (§5.3.7.2).
    SamplingRates,
    /// 0 to 6 (§4.5.2).
    Sap,
    /// `first-last`, in bytes (§5.3.9.2.2).
    Range,
    /// A template whose identifiers are these or `$$` (§5.3.9.4.4).
    Template(&'static [&'static str]),
}

/// An attribute: its name, type, and whether the element must have it.
type Attribute = (&'static str, Type, Need);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Must,
    May,
}

/// A place in an element's sequence of children: who stands there, and how many at least and at most.
type Place = (&'static str, usize, usize);

const MANY: usize = usize::MAX;

/// What the schema says of one element.
struct Rules {
    name: &'static str,
    attributes: &'static [Attribute],
    /// In this order.
    children: &'static [Place],
    /// The type of its text, where it has any.
    text: Option<Type>,
}

use Need::{May, Must};

/// Of any descriptor (§5.8.2).
const DESCRIPTOR: &[Attribute] = &[("schemeIdUri", Type::Uri, Must), ("value", Type::Text, May)];

const SCHEMA: &[Rules] = &[
    // §5.3.1.2
    Rules {
        name: "MPD",
        attributes: &[
            ("xmlns", Type::OneOf(&[NAMESPACE]), Must),
            ("profiles", Type::Profiles, Must),
            ("type", Type::OneOf(&["static", "dynamic"]), May),
            ("mediaPresentationDuration", Type::Duration, May),
            ("minBufferTime", Type::Duration, Must),
            ("maxSegmentDuration", Type::Duration, May),
        ],
        children: &[("ProgramInformation", 0, MANY), ("Period", 1, MANY)],
        text: None,
    },
    // §5.7
    Rules {
        name: "ProgramInformation",
        attributes: &[],
        children: &[("Title", 0, 1)],
        text: None,
    },
    Rules {
        name: "Title",
        attributes: &[],
        children: &[],
        text: Some(Type::Text),
    },
    // §5.3.2.2
    Rules {
        name: "Period",
        attributes: &[
            ("id", Type::Text, May),
            ("start", Type::Duration, May),
            ("duration", Type::Duration, May),
        ],
        children: &[("AdaptationSet", 0, MANY)],
        text: None,
    },
    // §5.3.3.2, behind what is common to sets and representations (§5.3.7.2).
    Rules {
        name: "AdaptationSet",
        attributes: &[
            ("id", Type::Uint(0), May),
            (
                "contentType",
                Type::OneOf(&["text", "image", "audio", "video", "application", "font"]),
                May,
            ),
            ("mimeType", Type::OneOf(&["audio/mp4"]), May),
            ("codecs", Type::Codecs, May),
            ("segmentAlignment", Type::BoolOrUint, May),
            ("subsegmentAlignment", Type::BoolOrUint, May),
            ("startWithSAP", Type::Sap, May),
            ("subsegmentStartsWithSAP", Type::Sap, May),
            ("selectionPriority", Type::Uint(0), May),
        ],
        children: &[("Role", 0, MANY), ("Representation", 0, MANY)],
        text: None,
    },
    // §5.8.4.2
    Rules {
        name: "Role",
        attributes: DESCRIPTOR,
        children: &[],
        text: None,
    },
    // §5.3.5.2, behind §5.3.7.2: the descriptor, then where the bytes are.
    Rules {
        name: "Representation",
        attributes: &[
            ("id", Type::Word, Must),
            ("bandwidth", Type::Uint(1), Must),
            ("audioSamplingRate", Type::SamplingRates, May),
        ],
        children: &[
            ("AudioChannelConfiguration", 0, MANY),
            ("BaseURL", 0, MANY),
            ("SegmentBase", 0, 1),
            ("SegmentTemplate", 0, 1),
        ],
        text: None,
    },
    // §5.8.4.7
    Rules {
        name: "AudioChannelConfiguration",
        attributes: DESCRIPTOR,
        children: &[],
        text: None,
    },
    // §5.6
    Rules {
        name: "BaseURL",
        attributes: &[],
        children: &[],
        text: Some(Type::Uri),
    },
    // §5.3.9.2.2
    Rules {
        name: "SegmentBase",
        attributes: &[
            ("timescale", Type::Uint(1), May),
            ("indexRange", Type::Range, May),
            ("indexRangeExact", Type::Bool, May),
        ],
        children: &[("Initialization", 0, 1)],
        text: None,
    },
    Rules {
        name: "Initialization",
        attributes: &[("range", Type::Range, May)],
        children: &[],
        text: None,
    },
    // §5.3.9.4.2, with §5.3.9.2.2.
    Rules {
        name: "SegmentTemplate",
        attributes: &[
            ("timescale", Type::Uint(1), May),
            ("startNumber", Type::Uint(0), May),
            (
                "media",
                Type::Template(&["RepresentationID", "Number", "Time", "Bandwidth"]),
                May,
            ),
            (
                "initialization",
                Type::Template(&["RepresentationID", "Bandwidth"]),
                May,
            ),
        ],
        children: &[("SegmentTimeline", 0, 1)],
        text: None,
    },
    // §5.3.9.6.2; the schema allows an empty one, which would say that there is nothing to hear.
    Rules {
        name: "SegmentTimeline",
        attributes: &[],
        children: &[("S", 1, MANY)],
        text: None,
    },
    Rules {
        name: "S",
        attributes: &[
            ("t", Type::Ulong, May),
            ("d", Type::Ulong, Must),
            ("r", Type::Integer, May),
        ],
        children: &[],
        text: None,
    },
];

impl Type {
    fn admits(self, value: &str) -> bool {
        let uint = |v: &str| digits(v) && v.parse::<u32>().is_ok();
        match self {
            Type::Text => true,
            Type::Uri => is_uri(value),
            Type::Uint(least) => digits(value) && value.parse::<u32>().is_ok_and(|n| n >= least),
            Type::Ulong => digits(value) && value.parse::<u64>().is_ok(),
            Type::Integer => digits(value.strip_prefix('-').unwrap_or(value)),
            Type::Bool => ["true", "false", "0", "1"].contains(&value),
            Type::BoolOrUint => Type::Bool.admits(value) || uint(value),
            Type::Duration => is_duration(value),
            Type::OneOf(values) => values.contains(&value),
            Type::Profiles => value
                .split(',')
                .all(|p| p.strip_prefix("urn:").is_some_and(is_uri)),
            Type::Codecs => value.split(',').all(is_codec),
            Type::Word => !value.is_empty() && !value.chars().any(char::is_whitespace),
            Type::SamplingRates => {
                let rates: Vec<&str> = value.split(' ').collect();
                rates.len() <= 2 && rates.into_iter().all(uint)
            }
            Type::Sap => value.len() == 1 && ("0"..="6").contains(&value),
            Type::Range => value.split_once('-').is_some_and(|(first, last)| {
                let ends = first.parse::<u64>().ok().zip(last.parse::<u64>().ok());
                digits(first) && digits(last) && ends.is_some_and(|(first, last)| first <= last)
            }),
            Type::Template(identifiers) => is_template(value, identifiers),
        }
    }
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_uri(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&b);
    !text.is_empty() && text.bytes().all(plain)
}

/// A `simp-list`'s member: the characters of a token of MIME (RFC 2045), without the comma.
fn is_codec(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"!#$%^*_-+{}|'.`~&".contains(&b);
    !text.is_empty() && text.bytes().all(plain)
}

/// `PnDTnHnMnS`, each part at most once and in this order, and at least one; seconds with a fraction.
fn is_duration(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('P') else {
        return false;
    };
    let (days, time) = match rest.split_once('T') {
        Some((days, time)) => (days, Some(time)),
        None => (rest, None),
    };
    let mut parts = 0;
    let mut take = |text: &mut &str, unit: char, fraction: bool| {
        let Some((number, after)) = text.split_once(unit) else {
            return true;
        };
        parts += 1;
        *text = after;
        match number.split_once('.') {
            Some((whole, part)) => fraction && digits(whole) && digits(part),
            None => digits(number),
        }
    };
    let mut left = days;
    let mut valid = take(&mut left, 'D', false) && left.is_empty();
    if let Some(time) = time {
        let mut left = time;
        valid &= !time.is_empty()
            && take(&mut left, 'H', false)
            && take(&mut left, 'M', false)
            && take(&mut left, 'S', true)
            && left.is_empty();
    }
    valid && parts > 0
}

fn is_template(text: &str, identifiers: &[&str]) -> bool {
    let parts: Vec<&str> = text.split('$').collect();
    let known = |id: &str| identifiers.contains(&id);
    // Every second part stands between two dollar signs.
    let between = parts.iter().skip(1).step_by(2);
    let outside: String = parts.iter().copied().step_by(2).collect();
    parts.len() % 2 == 1
        && between.into_iter().all(|id| id.is_empty() || known(id))
        && is_uri(&outside)
}

/// Everything in `mpd` that the schema doesn't allow, each with the path to it.
pub(crate) fn complaints(mpd: &str) -> Vec<String> {
    let root = match parse(mpd) {
        Ok(root) => root,
        Err(fault) => return vec![fault],
    };
    let mut faults = Vec::new();
    if root.name != "MPD" {
        faults.push(format!("the root is {}", root.name));
    }
    check(&root, "", &mut faults);
    unique(&root, &mut faults);
    faults
}

fn check(element: &Element, above: &str, faults: &mut Vec<String>) {
    let path = format!("{above}/{}", element.name);
    let Some(rules) = SCHEMA.iter().find(|r| r.name == element.name) else {
        faults.push(format!("{path}: unknown element"));
        return;
    };
    for (name, value) in &element.attributes {
        match rules.attributes.iter().find(|a| a.0 == name) {
            None => faults.push(format!("{path}: unknown attribute {name}")),
            Some((_, kind, _)) if !kind.admits(value) => {
                faults.push(format!("{path}: {name}=\"{value}\" is no {kind:?}"));
            }
            Some(_) => {}
        }
    }
    for (name, _, need) in rules.attributes {
        if *need == Must && !element.attributes.contains_key(*name) {
            faults.push(format!("{path}: no attribute {name}"));
        }
    }
    let text = element.text.trim();
    match rules.text {
        None if !text.is_empty() => faults.push(format!("{path}: text `{text}`")),
        Some(kind) if !kind.admits(text) => {
            faults.push(format!("{path}: `{text}` is no {kind:?}"));
        }
        _ => {}
    }
    sequence(element, rules, &path, faults);
    for child in &element.children {
        check(child, &path, faults);
    }
}

/// Whether the children stand in the order of the rules, as many as these allow.
fn sequence(element: &Element, rules: &Rules, path: &str, faults: &mut Vec<String>) {
    let mut left = element.children.iter().map(|c| c.name.as_str()).peekable();
    for &(name, least, most) in rules.children {
        let mut found = 0;
        while left.next_if_eq(&name).is_some() {
            found += 1;
        }
        if found < least || found > most {
            faults.push(format!("{path}: {found} of {name}"));
        }
    }
    if let Some(name) = left.next() {
        faults.push(format!("{path}: {name} does not belong there"));
    }
}

/// Ids that must differ: of periods in the MPD (§5.3.2.2), of sets and of representations in a period
/// (§5.3.3.2, §5.3.5.2).
fn unique(root: &Element, faults: &mut Vec<String>) {
    let named = |above: &Element, name: &str| -> Vec<String> {
        let children = above.children.iter().filter(|c| c.name == name);
        children
            .filter_map(|c| c.attributes.get("id").cloned())
            .collect()
    };
    let mut differ = |what: &str, ids: Vec<String>| {
        let mut seen = HashSet::new();
        for id in ids {
            if !seen.insert(id.clone()) {
                faults.push(format!("two of {what} are called {id}"));
            }
        }
    };
    differ("Period", named(root, "Period"));
    for period in root.children.iter().filter(|c| c.name == "Period") {
        differ("AdaptationSet", named(period, "AdaptationSet"));
        let sets = period.children.iter();
        differ(
            "Representation",
            sets.flat_map(|set| named(set, "Representation")).collect(),
        );
    }
}

/// The document as a tree. `Err` where it is not well-formed.
fn parse(mpd: &str) -> Result<Element, String> {
    let mut reader = Reader::from_str(mpd);
    // What holds the root: elements are closed into the one above.
    let mut open = vec![Element::default()];
    loop {
        let event = reader.read_event().map_err(|e| e.to_string())?;
        match event {
            Event::Start(tag) => open.push(element(&tag)?),
            Event::Empty(tag) => {
                let element = element(&tag)?;
                open.last_mut().ok_or("no root")?.children.push(element);
            }
            Event::End(_) => {
                let closed = open.pop().ok_or("closed twice")?;
                open.last_mut().ok_or("no root")?.children.push(closed);
            }
            Event::Text(text) => {
                let text = text.decode().map_err(|e| e.to_string())?;
                open.last_mut().ok_or("no root")?.text += &text;
            }
            Event::GeneralRef(name) => {
                let name = name.decode().map_err(|e| e.to_string())?;
                let text = quick_xml::escape::unescape(&format!("&{name};"))
                    .map_err(|e| e.to_string())?
                    .into_owned();
                open.last_mut().ok_or("no root")?.text += &text;
            }
            Event::Decl(_) => {}
            Event::Eof => break,
            other => return Err(format!("{other:?}")),
        }
    }
    let mut document = open.pop().filter(|_| open.is_empty()).ok_or("left open")?;
    match document.children.len() {
        1 => document.children.pop().ok_or_else(|| "no root".into()),
        many => Err(format!("{many} roots")),
    }
}

fn element(tag: &BytesStart<'_>) -> Result<Element, String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|e| e.to_string());
    let mut attributes = BTreeMap::new();
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|e| e.to_string())?;
        let value = attribute.unescape_value().map_err(|e| e.to_string())?;
        attributes.insert(text(attribute.key.as_ref())?, value.into_owned());
    }
    Ok(Element {
        name: text(tag.name().as_ref())?,
        attributes,
        ..Element::default()
    })
}
