//! What operators look at: health, metrics, status.

use crate::{http, stack};

#[test]
fn health_and_metrics_answer_on_the_admin_port() {
    let shared = stack::shared();
    let admin = |path: &str| http::get(format!("{}{path}", shared.stack.admin)).send();
    admin("/livez").expect(200);
    admin("/readyz").expect(200);
    let before = metrics(&admin("/metrics").expect(200).text());
    assert!(before.len() > 5, "{before:?}");
    http::get(shared.url(&shared.track("s16-44k").media("opus-32")))
        .send()
        .expect(200);
    let after = metrics(&admin("/metrics").expect(200).text());
    assert_ne!(before, after, "a request shows in no metric");
    // Metrics are for operators: not on the public port.
    let public = shared.stack.get("/metrics");
    assert!(!public.text().contains("# TYPE"), "metrics are public");
}

#[test]
fn status_tells_of_the_running_stack() {
    let shared = stack::shared();
    let output = stack::segue()
        .args(["status", "--data"])
        .arg(shared.stack.data())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && words.contains(&shared.stack.http),
        "{words}"
    );
}

/// Samples of a Prometheus exposition; panics where a line is none.
fn metrics(text: &str) -> Vec<(String, String)> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            assert!(value.parse::<f64>().is_ok(), "{line}");
            (name.to_owned(), value.to_owned())
        })
        .collect()
}
