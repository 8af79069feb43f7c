//! Sessions are resumed on every protocol, and nothing is taken as early data.

use std::{
    io::{Read as _, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use serde_json::Value;

use crate::{stack, tools};

/// Longest wait for a server's answer; the machine is shared.
const PATIENCE: Duration = Duration::from_secs(20);

/// One visit by `openssl s_client`: what it sends, and what in the answer shows that the tickets,
/// which leave with the first response, are through.
struct Visit<'a> {
    address: &'a str,
    protocol: &'a str,
    hello: &'a [u8],
    answered: &'a [u8],
}

impl Visit<'_> {
    /// What `openssl` says of it.
    fn pay(&self, args: &[(&str, &Path)]) -> String {
        let mut command: Command = tools::command("openssl");
        command
            .args(["s_client", "-connect", self.address])
            .args(["-servername", "localhost"])
            .args(["-tls1_3", "-alpn", self.protocol]);
        for (arg, file) in args {
            command.arg(arg).arg(file);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let (say, said) = mpsc::channel();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(n @ 1..) = stdout.read(&mut piece) {
                if say.send(piece[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        stdin.write_all(self.hello).unwrap();
        let mut output = Vec::new();
        let shows = |output: &[u8]| {
            let mut places = output.windows(self.answered.len());
            places.any(|place| place == self.answered)
        };
        while !shows(&output)
            && let Ok(piece) = said.recv_timeout(PATIENCE)
        {
            output.extend(piece);
        }
        // The end of its input ends the visit; what it holds back comes then.
        drop(stdin);
        while let Ok(piece) = said.recv_timeout(PATIENCE) {
            output.extend(piece);
        }
        let _ = child.kill();
        let _ = child.wait();
        String::from_utf8_lossy(&output).into_owned()
    }
}

#[test]
fn sessions_are_resumed_without_early_data() {
    if !tools::have(&["openssl", "python3", ".venv/bin/python"]) {
        return;
    }
    let shared = stack::shared();
    let address = shared.stack.https.trim_start_matches("https://").to_owned();
    let dir = stack::scratch("resume");
    let http1 = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n".as_slice();
    let http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".as_slice();
    for (protocol, hello, answered) in [
        ("http/1.1", http1, b"HTTP/1.1 ".as_slice()),
        // The SETTINGS that acknowledge ours.
        ("h2", http2, b"\0\0\0\x04\x01\0\0\0\0"),
    ] {
        let visit = Visit {
            address: &address,
            protocol,
            hello,
            answered,
        };
        let file = dir.join(protocol.replace('/', "-"));
        let first = visit.pay(&[("-sess_out", &file)]);
        assert!(first.contains("New, TLSv1.3"), "{protocol}: {first}");
        assert!(first.contains("Max Early Data: 0"), "{protocol}: {first}");
        // Whichever thread takes the connection, it knows the ticket.
        for _ in 0..5 {
            let again = visit.pay(&[("-sess_in", &file)]);
            assert!(again.contains("Reused, TLSv1.3"), "{protocol}: {again}");
        }
        let early = dir.join("early");
        std::fs::write(&early, hello).unwrap();
        let tried = visit.pay(&[("-sess_in", &file), ("-early_data", &early)]);
        assert!(
            tried.contains("Early data was not sent") || tried.contains("Early data was rejected"),
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
