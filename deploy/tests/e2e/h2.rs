//! HTTP/2 with a peer of other make, which refuses whatever breaks RFC 9113.

use crate::{stack, tools};

#[test]
fn http_2_is_spoken_by_the_rules() {
    if !tools::have(&["python3", ".venv/bin/python"]) {
        return;
    }
    let shared = stack::shared();
    let path = shared.track("s32-48k").media("aac-256");
    let file = shared
        .stack
        .data()
        .join("objects/tracks")
        .join(path.trim_start_matches("/media/"));
    let url = format!("{}/~{}{path}", shared.stack.https, shared.token);
    let mut command = tools::command(".venv/bin/python");
    command
        .arg(tools::root().join("deploy/tests/h2/converse.py"))
        .arg(&url)
        .arg(&file);
    let said = String::from_utf8_lossy(&tools::run(&mut command).stdout).into_owned();
    assert_eq!(said.matches(" well").count(), 6, "{said}");
}
