//! Manifests as players read them: golden texts, independent parsers, and properties.
#![allow(clippy::unwrap_used, missing_docs)]

mod dash;
mod hls;
mod json;
mod properties;
mod sample;
mod schema;

/// Compares rendered text with a golden one; both are trimmed of the golden's indentation.
fn check(rendered: &str, golden: &str) {
    let lines = golden.trim_matches('\n').lines();
    let indent = lines
        .clone()
        .map(|l| l.len() - l.trim_start().len())
        .min()
        .unwrap_or(0);
    let golden: String = lines
        .map(|l| format!("{}\n", &l[indent.min(l.len())..]))
        .collect();
    assert_eq!(
        rendered.trim_end(),
        golden.trim_end(),
        "\n--- rendered ---\n{rendered}"
    );
}
