//! Load generators against the stack: the real k6, and our own over all three protocols.

use crate::{process, stack, tools};

#[test]
fn k6_smoke_passes() {
    let _busy = process::busy();
    if !tools::have(&["k6", "loadtest/k6/smoke.js"]) {
        return;
    }
    let shared = stack::shared();
    let output = tools::command("k6")
        .args([
            "run",
            "--quiet",
            "--no-usage-report",
            "--insecure-skip-tls-verify",
        ])
        .args(["-e", &format!("BASE_URL={}", shared.stack.http)])
        .arg(tools::root().join("loadtest/k6/smoke.js"))
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{words}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let figures = words
        .lines()
        .filter(|l| l.contains("http_req") || l.contains("checks"));
    println!("{}", figures.collect::<Vec<_>>().join("\n"));
}

#[test]
fn our_load_generator_speaks_every_protocol() {
    let _busy = process::busy();
    let shared = stack::shared();
    for protocol in ["h1", "h2", "h3"] {
        let output = stack::segue()
            .args([
                "loadtest",
                &shared.stack.https,
                "--insecure",
                "--protocol",
                protocol,
            ])
            .args(["--duration", "2s", "--concurrency", "4"])
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{protocol}: {words}\n{errors}");
        assert!(
            words.contains("cache hit"),
            "{protocol} is not cached: {words}"
        );
        println!("{words}");
    }
}
