//! A strict reader of the Prometheus text format (exposition format 0.0.4), which shares no code
//! with what writes it: whatever a scraper might refuse is a panic here.

use std::collections::{BTreeMap, BTreeSet};

/// A sample: its name, its labels in order, its value.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// A family: kind and samples.
#[derive(Clone, Debug, Default)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) help: String,
    pub(crate) samples: Vec<Sample>,
}

/// Reads a whole exposition.
pub(crate) fn read(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with('\n'), "the last line has no end");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut open = String::new();
    let mut seen = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            assert!(!families.contains_key(name), "{name} is opened twice");
            assert!(help.ends_with('.') && help.len() > 3, "{line}");
            check_name(name);
            families.entry(name.into()).or_default().help = help.into();
            open = name.into();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            assert_eq!(name, open, "TYPE does not follow its HELP");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            // By convention, and so that nobody takes rate() of a gauge.
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            families.get_mut(name).unwrap().kind = kind.into();
        } else {
            assert!(!line.starts_with('#') && !line.is_empty(), "{line:?}");
            let sample = sample(line);
            let family = families.get_mut(&open).unwrap();
            let suffix = sample
                .name
                .strip_prefix(&open)
                .unwrap_or_else(|| panic!("{line} in {open}"));
            match family.kind.as_str() {
                "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
                _ => assert_eq!(suffix, "", "{line} in {open}"),
            }
            assert!(family.kind == "gauge" || sample.value >= 0.0, "{line}");
            assert!(
                seen.insert(format!("{}{:?}", sample.name, sample.labels)),
                "twice: {line}"
            );
            family.samples.push(sample);
        }
    }
    for (name, family) in &families {
        assert!(
            !family.samples.is_empty() && !family.kind.is_empty(),
            "{name} is empty"
        );
        if family.kind == "histogram" {
            check_histogram(name, family);
        }
    }
    families
}

fn check_name(name: &str) {
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    assert!(name.starts_with(|c: char| c.is_ascii_lowercase()), "{name}");
    assert!(name.chars().all(letter), "{name}");
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
    let value = value.parse().unwrap_or_else(|e| panic!("{line}: {e}"));
    let Some((name, rest)) = series.split_once('{') else {
        check_name(series);
        return Sample {
            name: series.into(),
            labels: BTreeMap::new(),
            value,
        };
    };
    check_name(name);
    let mut rest = rest.strip_suffix('}').unwrap_or_else(|| panic!("{line}"));
    let mut labels = BTreeMap::new();
    while !rest.is_empty() {
        let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        check_name(label);
        let mut text = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next().unwrap_or_else(|| panic!("{line}")) {
                (at, '"') => break at,
                (_, '\\') => match chars.next().unwrap().1 {
                    'n' => text.push('\n'),
                    c @ ('\\' | '"') => text.push(c),
                    c => panic!("escape of {c} in {line}"),
                },
                (_, c) => text.push(c),
            }
        };
        assert!(labels.insert(label.to_owned(), text).is_none(), "{line}");
        rest = &after[end + 1..];
        if let Some(more) = rest.strip_prefix(',') {
            assert!(!more.is_empty(), "{line}");
            rest = more;
        } else {
            assert!(rest.is_empty(), "{line}");
        }
    }
    Sample {
        name: name.into(),
        labels,
        value,
    }
}

/// Buckets rise, end with +Inf, and that is the count.
fn check_histogram(name: &str, family: &Family) {
    let mut series: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        let bound = labels.remove("le");
        let key = format!("{labels:?}");
        if sample.name.ends_with("_bucket") {
            let bound = bound.unwrap_or_else(|| panic!("{sample:?}"));
            let bound = bound.parse().unwrap_or_else(|e| panic!("{sample:?}: {e}"));
            series.entry(key).or_default().push((bound, sample.value));
        } else if sample.name.ends_with("_count") {
            counts.insert(key, sample.value);
        }
    }
    assert_eq!(series.len(), counts.len(), "{name}");
    for (key, buckets) in series {
        assert!(
            buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1),
            "{name}{key}: {buckets:?}"
        );
        let (bound, total) = buckets[buckets.len() - 1];
        assert!(
            bound.is_infinite() && total == counts[&key],
            "{name}{key}: {buckets:?}"
        );
    }
}
