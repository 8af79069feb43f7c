//! The Prometheus text format (exposition format 0.0.4), written so that it can't be written wrong:
//! a family is opened with its help and kind before it takes samples.

use std::fmt::{Display, Write as _};

/// What kind of series a family holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only ever rises, from 0 at start.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations in buckets.
    Histogram,
}

/// Families under way.
#[derive(Debug, Default)]
pub struct Text(String);

/// A family that takes samples.
#[derive(Debug)]
pub struct Family<'a> {
    out: &'a mut String,
    name: &'a str,
}

impl Text {
    /// Opens a family. `name` and `help` are fixed text; a name is opened once.
    pub fn family<'a>(&'a mut self, name: &'a str, kind: Kind, help: &str) -> Family<'a> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a String can't fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family {
            out: &mut self.0,
            name,
        }
    }

    /// A family of one sample without labels.
    pub fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help).sample(&[], value);
    }

    /// The whole text.
    pub fn finish(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// One sample.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.line("", labels, None, value);
    }

    /// One histogram: counts at or under each bound and above all (not cumulative), and the sum of
    /// all observations in the bounds' unit.
    pub fn histogram(&mut self, labels: &[(&str, &str)], bounds: &[f64], counts: &[u64], sum: f64) {
        let mut total = 0;
        for (i, count) in counts.iter().enumerate() {
            total += count;
            let bound = bounds.get(i).copied().unwrap_or(f64::INFINITY);
            self.line("_bucket", labels, Some(bound), total);
        }
        self.line("_sum", labels, None, sum);
        self.line("_count", labels, None, total);
    }

    fn line(
        &mut self,
        suffix: &str,
        labels: &[(&str, &str)],
        bound: Option<f64>,
        value: impl Display,
    ) {
        let _ = write!(self.out, "{}{suffix}", self.name);
        let mut open = false;
        for (name, value) in labels {
            self.out.push(if open { ',' } else { '{' });
            open = true;
            let _ = write!(self.out, "{name}=\"");
            escape(self.out, value);
            self.out.push('"');
        }
        if let Some(bound) = bound {
            self.out.push(if open { ',' } else { '{' });
            open = true;
            let _ = match bound.is_finite() {
                true => write!(self.out, "le=\"{bound}\""),
                false => write!(self.out, "le=\"+Inf\""),
            };
        }
        if open {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }
}

/// A label's value, with what the format reserves escaped.
fn escape(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_buckets_cumulate() {
        let mut text = Text::default();
        text.family("a_total", Kind::Counter, "Of a.")
            .sample(&[("x", "q\"\\\n")], 3);
        text.family("b_seconds", Kind::Histogram, "Of b.")
            .histogram(&[("x", "y")], &[0.5, 1.0], &[1, 2, 4], 9.25);
        text.single("c", Kind::Gauge, "Of c.", 1.5);
        assert_eq!(
            text.finish(),
            "# HELP a_total Of a.\n# TYPE a_total counter\na_total{x=\"q\\\"\\\\\\n\"} 3\n\
             # HELP b_seconds Of b.\n# TYPE b_seconds histogram\n\
             b_seconds_bucket{x=\"y\",le=\"0.5\"} 1\nb_seconds_bucket{x=\"y\",le=\"1\"} 3\n\
             b_seconds_bucket{x=\"y\",le=\"+Inf\"} 7\nb_seconds_sum{x=\"y\"} 9.25\n\
             b_seconds_count{x=\"y\"} 7\n# HELP c Of c.\n# TYPE c gauge\nc 1.5\n"
        );
    }
}
