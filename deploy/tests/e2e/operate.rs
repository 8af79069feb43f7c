//! What operators do to `segue edge`: check, reload, drain, upgrade; with the real binary, signals
//! and load.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{http, process, stack, tools};

/// Length of the origin's one object.
const LENGTH: usize = 6 << 20;

/// The object's bytes.
fn object() -> Vec<u8> {
    (0..LENGTH as u64)
        .map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0])
        .collect()
}

/// An origin of one object at every path, and its count of requests.
fn origin() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let (object, requests) = (Arc::new(object()), Arc::clone(&count));
    std::thread::spawn(move || {
        for tcp in listener.incoming() {
            let (object, requests) = (Arc::clone(&object), Arc::clone(&requests));
            std::thread::spawn(move || answer(tcp?, &object, &requests));
        }
    });
    (url, count)
}

fn answer(mut tcp: TcpStream, object: &[u8], requests: &AtomicUsize) -> std::io::Result<()> {
    let mut reader = BufReader::new(tcp.try_clone()?);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        if line == "\r\n" {
            requests.fetch_add(1, SeqCst);
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\ncache-control: max-age=3600\r\netag: \"1\"\r\n\r\n",
                object.len()
            );
            tcp.write_all(head.as_bytes())?;
            tcp.write_all(object)?;
        }
        line.clear();
    }
    Ok(())
}

/// A running `segue edge`, ended when dropped, whichever process it is by then.
struct EdgeProcess {
    child: Child,
    dir: PathBuf,
    ready: Value,
}

impl EdgeProcess {
    /// Starts it on free ports, with what else is in its `[edge]` table.
    fn start(name: &str, upstream: &str, more: &str) -> Self {
        Self::start_with(name, upstream, more, &[])
    }

    fn start_with(name: &str, upstream: &str, more: &str, env: &[(&str, &str)]) -> Self {
        let dir = stack::scratch(name);
        let any = "127.0.0.1:0";
        let text = format!(
            "[edge]\nupstream = '{upstream}'\nhttp = '{any}'\nhttps = '{any}'\nadmin = '{any}'\n\
             state-dir = '{0}'\naccess-log = {{ file = '{0}/access.log' }}\n{more}\n",
            dir.display()
        );
        std::fs::write(dir.join("edge.toml"), text).unwrap();
        let mut command = Command::new("/bin/sh");
        let log = dir.join("edge.log");
        command
            .args(["-c", &format!("exec \"$@\" 2>>'{}'", log.display()), "sh"])
            .arg(env!("CARGO_BIN_EXE_segue"))
            .arg("edge")
            .arg("--config")
            .arg(dir.join("edge.toml"))
            .arg("--ready-file")
            .arg(dir.join("ready.json"))
            .envs(env.iter().copied());
        for (name, _) in stack::segue().get_envs() {
            command.env_remove(name);
        }
        let mut child = process::spawn(&command);
        let ready = await_file(&dir, &mut child);
        Self { child, dir, ready }
    }

    fn url(&self, scheme: &str) -> &str {
        self.ready[scheme].as_str().unwrap()
    }

    fn pid(&self) -> u64 {
        self.ready["pid"].as_u64().unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("edge.log")).unwrap_or_default()
    }

    /// The value of a metric without labels, or with those in the name.
    fn metric(&self, name: &str) -> f64 {
        let text = http::get(format!("{}/metrics", self.url("admin")))
            .send()
            .text();
        let value = text
            .lines()
            .find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
        value
            .unwrap_or_else(|| panic!("{name} in\n{text}"))
            .parse()
            .unwrap()
    }

    /// Waits for the next process to say that it serves.
    fn await_successor(&mut self) {
        let old = self.pid();
        let end = Instant::now() + Duration::from_secs(60);
        while self.pid() == old {
            assert!(Instant::now() < end, "no successor:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
            let text = std::fs::read(self.dir.join("ready.json")).unwrap_or_default();
            if let Ok(ready) = serde_json::from_slice(&text) {
                self.ready = ready;
            }
        }
    }
}

impl Drop for EdgeProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the edge's log\n{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let pid = self.pid().to_string();
        if self.child.id().to_string() != pid {
            let _ = Command::new("kill").args(["-KILL", &pid]).status();
        }
    }
}

fn await_file(dir: &Path, child: &mut Child) -> Value {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let log = || std::fs::read_to_string(dir.join("edge.log")).unwrap_or_default();
        if let Some(status) = child.try_wait().unwrap() {
            panic!("segue edge ended with {status}:\n{}", log());
        }
        let text = std::fs::read(dir.join("ready.json")).unwrap_or_default();
        if let Ok(ready) = serde_json::from_slice(&text) {
            return ready;
        }
        assert!(Instant::now() < end, "not ready:\n{}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Starts our load generator; its report comes from [`report`].
fn load(edge: &EdgeProcess, protocol: &str, seconds: u32) -> (Child, PathBuf) {
    let scheme = if protocol == "h1c" { "http" } else { "https" };
    let out = edge.dir.join(format!("{protocol}.json"));
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", &format!("exec \"$@\" >'{}'", out.display()), "sh"])
        .arg(env!("CARGO_BIN_EXE_segue"))
        .args(["loadtest", &format!("{}/object", edge.url(scheme))])
        .args([
            "--protocol",
            protocol.trim_end_matches('c'),
            "--json",
            "--verify",
        ])
        .args(["--duration", &format!("{seconds}s"), "--connections", "4"])
        .args(["--rate", "150", "--timeout", "20s"]);
    if scheme == "https" {
        command.arg("--insecure");
    }
    (process::spawn(&command), out)
}

fn report((mut child, out): (Child, PathBuf)) -> Value {
    let status = process::wait(&mut child, Duration::from_secs(120)).expect("the load never ended");
    let text = std::fs::read_to_string(out).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}, {status}: {text}"))
}

#[test]
fn an_upgrade_under_load_fails_no_request() {
    let _busy = process::busy();
    let (upstream, requests) = origin();
    let disk = stack::scratch("upgrade-disk");
    let more = format!(
        "disk = '{}'\ndisk-size = '256MiB'\nmemory = '64MiB'",
        disk.display()
    );
    let mut edge = EdgeProcess::start("upgrade", &upstream, &more);
    for _ in 0..3 {
        http::get(format!("{}/object", edge.url("http")))
            .send()
            .expect(200);
    }
    let protocols = ["h1c", "h1", "h2", "h3"];
    let loads: Vec<_> = protocols.iter().map(|p| load(&edge, p, 12)).collect();
    std::thread::sleep(Duration::from_secs(3));
    // By signal, then by command; the second finds what the first left.
    process::signal(&edge.child, "USR2");
    edge.await_successor();
    std::thread::sleep(Duration::from_secs(3));
    let output = stack::segue()
        .args(["upgrade", "--admin", edge.url("admin")])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    edge.await_successor();
    let status = process::wait(&mut edge.child, Duration::from_secs(40));
    assert!(status.expect("the first process still runs").success());
    for (protocol, load) in protocols.iter().zip(loads) {
        let report = report(load);
        let errors = report["errors"].to_string();
        let failed: u64 = report["errors"]
            .as_object()
            .unwrap()
            .values()
            .filter_map(Value::as_u64)
            .sum();
        println!(
            "{protocol}: {failed} of {} requests failed over two upgrades {errors}, p99 {} ms, longest {} ms",
            report["requests"], report["latency_ms"]["p99"], report["latency_ms"]["max"]
        );
        assert!(report["requests"].as_u64().unwrap() > 300, "{report}");
        if *protocol != "h3" {
            assert_eq!(failed, 0, "{protocol}: {report}");
        }
    }
    // The disk tier went along: the origin was asked once, by the first process.
    assert_eq!(requests.load(SeqCst), 1, "the cache was lost");
    assert!(edge.metric("segue_edge_tier_hits_total{tier=\"disk\"}") > 0.0);
}

#[test]
fn an_upgrade_that_fails_leaves_the_old_process_serving() {
    let (upstream, _) = origin();
    let edge = EdgeProcess::start("upgrade-fails", &upstream, "");
    let path = edge.dir.join("edge.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text.replace("state-dir", "slice = '3KiB'\nstate-dir"),
    )
    .unwrap();
    let output = stack::segue()
        .args(["upgrade", "--admin", edge.url("admin")])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("409"), "{words}");
    assert!(edge.log().contains("slice is 3072"), "{}", edge.log());
    http::get(format!("{}/object", edge.url("http")))
        .send()
        .expect(200);
    http::get(format!("{}/readyz", edge.url("admin")))
        .send()
        .expect(200);
}

#[test]
fn hangup_reloads_and_a_faulty_file_is_refused() {
    let (upstream, _) = origin();
    let edge = EdgeProcess::start("reload", &upstream, "");
    let path = edge.dir.join("edge.toml");
    let sound = std::fs::read_to_string(&path).unwrap();
    let reload_until = |name: &str, value: f64| {
        process::signal(&edge.child, "HUP");
        let end = Instant::now() + Duration::from_secs(20);
        while edge.metric(name) != value {
            assert!(
                Instant::now() < end,
                "{name} is not {value}:\n{}",
                edge.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    std::fs::write(
        &path,
        sound.replace("state-dir", "server-tming = true\nstate-dir"),
    )
    .unwrap();
    reload_until("segue_edge_config_reloads_total{result=\"refused\"}", 1.0);
    assert!(
        edge.log().contains("did you mean `server-timing`?"),
        "{}",
        edge.log()
    );
    let check = stack::segue()
        .args(["config", "check"])
        .arg(&path)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&check.stdout);
    let fault = format!("{}:6: unknown key `server-tming`", path.display());
    assert!(!check.status.success() && words.contains(&fault), "{words}");

    std::fs::write(
        &path,
        sound.replace("state-dir", "server-timing = true\nstate-dir"),
    )
    .unwrap();
    reload_until("segue_edge_config_reloads_total{result=\"applied\"}", 1.0);
    assert_eq!(edge.metric("segue_edge_config_last_reload_applied"), 1.0);
    let got = http::get(format!("{}/object", edge.url("http"))).send();
    assert!(got.header("server-timing").is_some(), "{:?}", got.headers);
    let check = stack::segue()
        .args(["config", "check"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(check.status.success());
}

#[test]
fn what_an_edge_would_run_with_is_shown_without_secrets() {
    let mut command = stack::segue();
    command
        .args([
            "config",
            "show",
            "--upstream",
            "http://127.0.0.1:1",
            "--set",
            "limits.idle=90s",
        ])
        .env("SEGUE_EDGE_ADMIN_TOKEN", "quite-a-secret-token")
        .env("SEGUE_EDGE_LIMITS__STALL", "20s");
    let output = command.output().unwrap();
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{words}");
    assert!(!words.contains("quite-a-secret-token"), "{words}");
    let line = |key: &str| {
        words
            .lines()
            .find(|l| l.starts_with(key))
            .unwrap_or_default()
    };
    assert!(line("upstream =").ends_with("# --upstream"), "{words}");
    assert!(
        line("idle = \"90s\"").ends_with("# --set limits.idle"),
        "{words}"
    );
    assert!(
        line("stall = \"20s\"").ends_with("# SEGUE_EDGE_LIMITS__STALL"),
        "{words}"
    );
    assert!(line("http = \"127.0.0.1:8080\"").len() < 50, "{words}");
}

/// Reads a response slowly, all of it; the bytes of its body.
fn slow_download(address: &str) -> std::thread::JoinHandle<usize> {
    let mut tcp = TcpStream::connect(address.trim_start_matches("http://")).unwrap();
    std::thread::spawn(move || {
        tcp.write_all(b"GET /object HTTP/1.1\r\nhost: a\r\n\r\n")
            .unwrap();
        let (mut got, mut piece) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            match tcp.read(&mut piece) {
                Ok(0) | Err(_) => break,
                Ok(n) => got.extend_from_slice(&piece[..n]),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let head = got
            .windows(4)
            .position(|w| w == b"\r\n\r\n")
            .map_or(0, |at| at + 4);
        got.len() - head
    })
}

#[test]
fn a_drain_ends_slow_downloads_whole_and_exits_with_0() {
    let _busy = process::busy();
    let (upstream, _) = origin();
    let mut edge = EdgeProcess::start("drain", &upstream, "limits = { drain-idle = '1s' }");
    http::get(format!("{}/object", edge.url("http")))
        .send()
        .expect(200);
    let downloads: Vec<_> = (0..8).map(|_| slow_download(edge.url("http"))).collect();
    std::thread::sleep(Duration::from_millis(300));
    process::signal(&edge.child, "TERM");
    let ended = downloads.into_iter().map(|d| d.join().unwrap());
    assert!(ended.into_iter().all(|bytes| bytes == LENGTH));
    let status = process::wait(&mut edge.child, Duration::from_secs(40)).unwrap();
    assert_eq!(status.code(), Some(0), "{}", edge.log());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (upstream, _) = origin();
    let mut edge = EdgeProcess::start("drain-twice", &upstream, "");
    http::get(format!("{}/object", edge.url("http")))
        .send()
        .expect(200);
    let download = slow_download(edge.url("http"));
    std::thread::sleep(Duration::from_millis(200));
    process::signal(&edge.child, "TERM");
    std::thread::sleep(Duration::from_millis(300));
    assert!(edge.child.try_wait().unwrap().is_none(), "it did not wait");
    process::signal(&edge.child, "TERM");
    let status = process::wait(&mut edge.child, Duration::from_secs(5)).unwrap();
    assert_eq!(status.code(), Some(130));
    download.join().unwrap();
}

#[test]
fn systemd_hears_which_process_serves() {
    let (upstream, _) = origin();
    let path = stack::scratch("notify").join("socket");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let hear = || {
        let mut text = [0; 512];
        let n = systemd.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..n]).into_owned()
    };
    let env = [("NOTIFY_SOCKET", path.to_str().unwrap())];
    let mut edge = EdgeProcess::start_with("notified", &upstream, "", &env);
    let ready = |edge: &EdgeProcess| format!("MAINPID={}\nREADY=1", edge.pid());
    assert_eq!(hear(), ready(&edge));
    process::signal(&edge.child, "USR2");
    edge.await_successor();
    assert_eq!(hear(), ready(&edge));
    process::wait(&mut edge.child, Duration::from_secs(40)).unwrap();
    let pid = edge.pid().to_string();
    Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert_eq!(hear(), "STOPPING=1");
}

#[test]
fn an_independent_parser_reads_the_metrics() {
    if !tools::have(&[".venv/bin/python"]) {
        return;
    }
    let (upstream, _) = origin();
    let edge = EdgeProcess::start("parser", &upstream, "");
    http::get(format!("{}/object", edge.url("http")))
        .send()
        .expect(200);
    let script = "import sys, urllib.request\n\
        from prometheus_client.parser import text_string_to_metric_families as parse\n\
        text = urllib.request.urlopen(sys.argv[1]).read().decode()\n\
        families = list(parse(text))\n\
        assert all(f.documentation and f.type in ('counter', 'gauge', 'histogram') for f in families), families\n\
        print(len(families), sum(len(f.samples) for f in families))\n";
    let mut python = Command::new(tools::root().join(".venv/bin/python"));
    python.args(["-c", script, &format!("{}/metrics", edge.url("admin"))]);
    let output = tools::run(&mut python);
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    let counts: Vec<usize> = words
        .split_whitespace()
        .map(|n| n.parse().unwrap())
        .collect();
    println!("{} families, {} samples", counts[0], counts[1]);
    assert!(counts[0] > 30 && counts[1] > 100, "{words}");
}
