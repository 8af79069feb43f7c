//! The same bytes over HTTP/1.1, HTTP/2 and HTTP/3, and on disk.

use crate::{
    http::{self, Version},
    stack, tools,
};

/// Ranges as in the header, and the bytes of a file of `size` that they name.
fn ranges(size: u64) -> Vec<(String, std::ops::Range<usize>)> {
    let end = size as usize;
    vec![
        ("0-0".into(), 0..1),
        ("0-9999".into(), 0..10_000.min(end)),
        ("1000-1999".into(), 1000..2000),
        (format!("{}-", end - 777), end - 777..end),
        ("-4096".into(), end - 4096..end),
        (format!("{}-{}", end / 2, end * 2), end / 2..end),
        // Across the slices that a cache cuts files into.
        ("65000-66000".into(), 65_000..66_001),
    ]
}

#[test]
fn ranges_over_http_1_2_and_3_equal_the_file() {
    if !tools::have(&["python3", ".venv/bin/python"]) {
        return;
    }
    let shared = stack::shared();
    let published = shared.track("s32-48k");
    let path = published.media("aac-256");
    let file = shared
        .stack
        .data()
        .join("objects/tracks")
        .join(path.trim_start_matches("/media/"));
    let disk = std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let size = disk.len() as u64;
    let url = format!("{}/~{}{path}", shared.stack.https, shared.token);

    for version in [Version::Http1, Version::Http2] {
        for (range, bytes) in ranges(size) {
            let answer = http::get(&url)
                .version(version)
                .range(&range)
                .send()
                .expect(206);
            assert_eq!(answer.body, disk[bytes.clone()], "{version:?} {range}");
            let said = format!("bytes {}-{}/{size}", bytes.start, bytes.end - 1);
            assert_eq!(
                answer.header("content-range"),
                Some(said.as_str()),
                "{version:?}"
            );
            let wanted = if version == Version::Http1 {
                "HTTP/1.1"
            } else {
                "HTTP/2"
            };
            assert_eq!(answer.version, wanted);
        }
        let whole = http::get(&url).version(version).send().expect(200);
        assert_eq!(whole.body, disk, "{version:?}");
        assert!(
            whole.header("alt-svc").is_some_and(|v| v.contains("h3")),
            "{whole:?}"
        );
    }

    let out = stack::scratch("h3");
    let mut command = tools::command(".venv/bin/python");
    command
        .arg(tools::root().join("deploy/tests/h3/fetch.py"))
        .arg(&url)
        .arg(&out)
        .arg("whole");
    command.args(ranges(size).into_iter().map(|(range, _)| range));
    print!(
        "{}",
        String::from_utf8_lossy(&tools::run(&mut command).stdout)
    );
    assert_eq!(
        std::fs::read(out.join("0")).unwrap(),
        disk,
        "whole file over HTTP/3"
    );
    for (index, (range, bytes)) in ranges(size).into_iter().enumerate() {
        let body = std::fs::read(out.join((index + 1).to_string())).unwrap();
        assert_eq!(body, disk[bytes], "HTTP/3 {range}");
    }
}

#[test]
fn http_3_guards_media_as_the_others_do() {
    if !tools::have(&["python3", ".venv/bin/python"]) {
        return;
    }
    let shared = stack::shared();
    let path = shared.track("s32-48k").media("aac-256");
    let out = stack::scratch("h3-guard");
    let url = format!("{}{path}", shared.stack.https);
    let output = tools::command(".venv/bin/python")
        .arg(tools::root().join("deploy/tests/h3/fetch.py"))
        .args(["--status", "401", &url])
        .arg(&out)
        .args(["whole", "0-99"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn ranges_that_cannot_be_met_are_refused() {
    let shared = stack::shared();
    let path = shared.track("s32-48k").media("opus-32");
    let get = || http::get(shared.url(&path));
    let whole = get().send().expect(200);
    let size = whole.body.len();
    let beyond = get().range(&format!("{size}-")).send().expect(416);
    assert_eq!(
        beyond.header("content-range"),
        Some(format!("bytes */{size}").as_str())
    );
    let etag = whole.header("etag").unwrap().to_owned();
    assert!(!etag.starts_with("W/"), "{etag}");
    get().header("If-None-Match", &etag).send().expect(304);
    get()
        .range("0-9")
        .header("If-Range", &etag)
        .send()
        .expect(206);
    let changed = get()
        .range("0-9")
        .header("If-Range", "\"other\"")
        .send()
        .expect(200);
    assert_eq!(changed.body.len(), size);
    let head = get().method("HEAD").send().expect(200);
    assert_eq!(
        head.header("content-length"),
        Some(size.to_string().as_str())
    );
    assert!(
        whole
            .header("cache-control")
            .is_some_and(|c| c.contains("immutable")),
        "{whole:?}"
    );
}
