//! `segue edge` as a general HTTP cache: npm's http-cache-tests, its server as the origin.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Child, Command},
    time::{Duration, Instant},
};

use serde::Deserialize;

use crate::{process, stack, tools};

/// The suite's package.
const SUITE: &str = "node_modules/http-cache-tests";

/// Required tests that no cache can pass: the suite's server closes the connection before it sends
/// a byte, and the test wants a 200 with the number of just that request in it. What they are about
/// holds: nothing stale is sent, and the client is told 502 (`cache_policy` and `cache_told`
/// in the edge's own tests).
const UNANSWERABLE: [&str; 4] = [
    "stale-close-must-revalidate",
    "stale-close-no-cache",
    "stale-close-proxy-revalidate",
    "stale-close-s-maxage=2",
];

/// Optimal tests that are not passed on purpose.
const DECLINED: [&str; 4] = [
    // 304 to an `If-Modified-Since` older than the `Date` of a response without `Last-Modified`:
    // RFC 9111 §4.3.2 has it the other way round.
    "conditional-lm-fresh-no-lm",
    // Completes a part that has no validator: two revisions could mix (RFC 9111 §3.4).
    "partial-store-partial-complete",
    // The part is a byte shorter than its `Content-Range` says, and the missing one is asked for.
    "partial-store-partial-reuse-partial-absent",
    "partial-store-partial-reuse-partial-suffix",
];

/// What came of one test.
#[derive(Debug, Deserialize)]
struct Verdict {
    id: String,
    kind: String,
    passed: bool,
    why: String,
}

/// A child, killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        process::signal(&self.0, "KILL");
        let _ = self.0.wait();
    }
}

#[test]
fn the_cache_does_what_the_rfcs_say() {
    if !tools::have(&["node", SUITE, "setpriv"]) {
        return;
    }
    let origin = origin();
    let upstream = format!("http://127.0.0.1:{}", origin.1);
    let upstream = &upstream;
    std::thread::scope(|scope| {
        let plain = scope.spawn(move || judge(upstream, "plain", &[]));
        let guessing = scope.spawn(move || {
            judge(
                upstream,
                "guessing",
                &["--set", "heuristic-freshness.percent=10"],
            )
        });

        let plain = plain.join().unwrap();
        assert_eq!(failed(&plain, "required"), UNANSWERABLE);
        // Freshness is never invented unless that is configured.
        let optimal = failed(&plain, "optimal");
        let other = |id: &&str| !DECLINED.contains(id) && !id.starts_with("heuristic-");
        assert!(!optimal.iter().any(other), "{optimal:?}");

        let guessing = guessing.join().unwrap();
        assert_eq!(failed(&guessing, "required"), UNANSWERABLE);
        let optimal = failed(&guessing, "optimal");
        assert!(
            optimal.iter().all(|id| DECLINED.contains(id)),
            "{optimal:?}"
        );
        let passed = guessing
            .values()
            .filter(|v| v.kind == "optimal" && v.passed);
        assert!(passed.count() >= 80);
    });
}

/// Runs the suite against an edge of its own; the verdicts by id.
fn judge(upstream: &str, name: &str, flags: &[&str]) -> BTreeMap<String, Verdict> {
    let (edge, base) = edge(upstream, name, flags);
    let mut verdicts = run(&base, &[]);
    // The tests wait three seconds for two to pass: a busy machine gets a second chance.
    let again: Vec<String> = ["required", "optimal"]
        .iter()
        .flat_map(|kind| failed(&verdicts, kind))
        .map(str::to_owned)
        .collect();
    if !again.is_empty() {
        verdicts.extend(run(&base, &again));
    }
    drop(edge);
    for kind in ["required", "optimal", "check"] {
        let of_kind = || verdicts.values().filter(|v| v.kind == kind);
        let passed = of_kind().filter(|v| v.passed).count();
        println!(
            "http-cache-tests, {name}: {passed} of {} {kind}",
            of_kind().count()
        );
        for verdict in of_kind().filter(|v| !v.passed && kind != "check") {
            println!("  {}: {}", verdict.id, verdict.why);
        }
    }
    verdicts
}

fn failed<'a>(verdicts: &'a BTreeMap<String, Verdict>, kind: &str) -> Vec<&'a str> {
    verdicts
        .values()
        .filter(|v| v.kind == kind && !v.passed)
        .map(|v| v.id.as_str())
        .collect()
}

fn run(base: &str, ids: &[String]) -> BTreeMap<String, Verdict> {
    let output = tools::run(
        tools::command("node")
            .arg("--no-warnings")
            .arg(tools::root().join("deploy/tests/conformance/run.mjs"))
            .arg(tools::root().join(SUITE))
            .arg(base)
            .args(ids),
    );
    let all: Vec<Verdict> = serde_json::from_slice(&output.stdout).unwrap();
    all.into_iter().map(|v| (v.id.clone(), v)).collect()
}

/// The suite's server, and its port.
fn origin() -> (Running, u16) {
    let dir = stack::scratch("conformance-origin");
    let out = dir.join("out");
    let suite = tools::root().join(SUITE);
    let shell = format!(
        "cd '{}' && exec \"$@\" >'{}' 2>&1",
        suite.display(),
        out.display()
    );
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", &shell, "sh"])
        .arg(tools::find("node").unwrap())
        .args(["--no-warnings", "server/server.mjs"])
        .env("npm_config_protocol", "http")
        .env("npm_config_port", "0")
        .env("npm_config_pidfile", dir.join("pid"));
    let running = Running(process::spawn(&command));
    let port = wait_for(&out, |text| {
        let (_, address) = text.split_once("Listening on ")?;
        let (address, _) = address.split_once("/\n")?;
        address.rsplit_once(':')?.1.parse().ok()
    });
    (running, port)
}

/// An edge in front of it, and its URL.
fn edge(upstream: &str, name: &str, flags: &[&str]) -> (Running, String) {
    let dir = stack::scratch(&format!("conformance-{name}"));
    let ready = dir.join("ready.json");
    let mut command = stack::segue();
    command
        .args(["edge", "--upstream", upstream, "--http", "127.0.0.1:0"])
        .arg("--state-dir")
        .arg(dir.join("state"))
        .arg("--ready-file")
        .arg(&ready)
        .args(flags);
    let running = Running(process::spawn(&command));
    let base = wait_for(&ready, |text| {
        let ready: serde_json::Value = serde_json::from_str(text).ok()?;
        Some(ready["http"].as_str()?.to_owned())
    });
    (running, base)
}

/// What `read` finds in a file, once it does.
fn wait_for<T>(file: &Path, read: impl Fn(&str) -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if let Some(found) = read(&text) {
            return found;
        }
        assert!(Instant::now() < end, "{}: {text}", file.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}
