//! Sessions are resumed on every protocol, and nothing is taken as early data.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{stack, tools};

/// What `openssl s_client` says of one visit that sends `hello` and waits for the ticket.
fn visit(address: &str, protocol: &str, hello: &[u8], args: &[&str], files: &[&Path]) -> String {
    let mut command: Command = tools::command("openssl");
    command
        .args(["s_client", "-connect", address, "-servername", "localhost"])
        .args(["-tls1_3", "-alpn", protocol, "-ign_eof"]);
    for (arg, file) in args.iter().zip(files) {
        command.arg(arg).arg(file);
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(hello).unwrap();
    stdin.flush().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(700));
    // Some visits would last until the server's idle timeout.
    let _ = child.kill();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
#[ignore = "openssl shows no ticket within the visit: under construction"]
fn sessions_are_resumed_without_early_data() {
    if !tools::have(&["openssl", "python3", ".venv/bin/python"]) {
        return;
    }
    let shared = stack::shared();
    let address = shared.stack.https.trim_start_matches("https://").to_owned();
    let dir = stack::scratch("resume");
    let http1 = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n".as_slice();
    let http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".as_slice();
    for (protocol, hello) in [("http/1.1", http1), ("h2", http2)] {
        let file = dir.join(protocol.replace('/', "-"));
        let first = visit(&address, protocol, hello, &["-sess_out"], &[&file]);
        assert!(first.contains("New, TLSv1.3"), "{protocol}: {first}");
        assert!(first.contains("Max Early Data: 0"), "{protocol}: {first}");
        // Whichever thread takes the connection, it knows the ticket.
        for _ in 0..5 {
            let again = visit(&address, protocol, hello, &["-sess_in"], &[&file]);
            assert!(again.contains("Reused, TLSv1.3"), "{protocol}: {again}");
        }
        let early = dir.join("early");
        std::fs::write(&early, hello).unwrap();
        let tried = visit(
            &address,
            protocol,
            hello,
            &["-sess_in", "-early_data"],
            &[&file, &early],
        );
        assert!(
            tried.contains("Early data was not sent") || tried.contains("Early data was rejected"),
            "{protocol}: {tried}"
        );
        assert!(
            !tried.contains("Early data was accepted"),
            "{protocol}: {tried}"
        );
    }
    let mut command = tools::command(".venv/bin/python");
    command
        .arg(tools::root().join("deploy/tests/h3/resume.py"))
        .args([&address, "/"]);
    let out = tools::run(&mut command).stdout;
    let said: Value = serde_json::from_slice(&out).unwrap();
    println!("HTTP/3: {said}");
    assert_eq!(said["first"]["resumed"], false, "{said}");
    assert!(said["allowed"].is_null() || said["allowed"] == 0, "{said}");
    for visit in ["second", "third"] {
        assert_eq!(said[visit]["resumed"], true, "{said}");
        assert_eq!(said[visit]["early"], false, "{said}");
    }
    assert_eq!(said["second"]["status"], said["first"]["status"], "{said}");
}
