//! `segue edge` among hostile peers: each is cut off or gets nothing for it, others are served as
//! before, and memory stays bounded.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Child,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    process,
    stack::{scratch, segue},
    tools,
};

/// Bytes of what hostile peers ask for.
const LARGE: usize = 8 << 20;

/// Bytes of what others ask for meanwhile.
const OBJECT: usize = 64 << 10;

/// A p99 under this is nobody's harm: the machine is shared, and hostile peers are programs on it.
const UNHARMED: Duration = Duration::from_millis(60);

/// Others are listened to at least so long and so often.
const MOMENT: Duration = Duration::from_secs(1);
const ENOUGH: usize = 50;

/// How often an attack has to harm others to be blamed for it.
const TRIALS: u32 = 5;

/// Longest that this may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Limits so tight that attacks on patience are over in seconds.
const CONFIG: &str = r#"
[edge]
http = "127.0.0.1:0"
https = "127.0.0.1:0"
admin = "127.0.0.1:0"
memory = "32MiB"
[edge.limits]
handshake = "1s"
header = "1500ms"
idle = "4s"
stall = "1500ms"
min-rate = "10KiB"
"#;

/// An edge of its own, in front of an origin of its own.
struct Edge {
    child: Child,
    http: SocketAddr,
    https: SocketAddr,
    admin: SocketAddr,
}

impl Drop for Edge {
    fn drop(&mut self) {
        process::signal(&self.child, "KILL");
        let _ = self.child.wait();
    }
}

fn start(name: &str) -> Edge {
    let dir = scratch(name);
    let (config, ready) = (dir.join("edge.toml"), dir.join("ready.json"));
    std::fs::write(&config, CONFIG).unwrap();
    let mut command = segue();
    command
        .args(["edge", "--upstream", &format!("http://{}", origin())])
        .arg("--config")
        .arg(&config)
        .arg("--ready-file")
        .arg(&ready)
        .arg("--state-dir")
        .arg(&dir);
    let child = process::spawn(&command);
    let said = wait_for(&ready);
    let address = |name: &str| {
        let url = said[name].as_str().unwrap();
        url.split_once("://").unwrap().1.parse().unwrap()
    };
    Edge {
        child,
        http: address("http"),
        https: address("https"),
        admin: address("admin"),
    }
}

fn wait_for(ready: &Path) -> Value {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        if let Ok(text) = std::fs::read(ready) {
            return serde_json::from_slice(&text).unwrap();
        }
        assert!(Instant::now() < end, "the edge never got ready");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An origin of two immutable objects, with ranges, that lives as long as the tests.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            std::thread::spawn(move || answer_all(tcp));
        }
    });
    address
}

fn answer_all(tcp: TcpStream) -> Option<()> {
    let mut write = tcp.try_clone().ok()?;
    let mut read = BufReader::new(tcp);
    loop {
        let (mut size, mut range, mut body) = (OBJECT, None, 0);
        let mut first = String::new();
        if read.read_line(&mut first).ok()? == 0 {
            return None;
        }
        if first.contains("/large") {
            size = LARGE;
        }
        loop {
            let mut line = String::new();
            read.read_line(&mut line).ok()?;
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(length) = line.strip_prefix("content-length: ") {
                body = length.parse().ok()?;
            }
            if let Some(spec) = line.strip_prefix("range: bytes=") {
                let (from, to) = spec.split_once('-')?;
                let last = to.parse().unwrap_or(size - 1).min(size - 1);
                range = Some((from.parse::<usize>().ok()?, last));
            }
        }
        std::io::copy(&mut (&mut read).take(body), &mut std::io::sink()).ok()?;
        let (status, (from, last)) = match range {
            Some((from, last)) => {
                let part = format!("Content-Range: bytes {from}-{last}/{size}\r\n");
                (format!("206 Partial Content\r\n{part}"), (from, last))
            }
            None => ("200 OK\r\n".to_owned(), (0, size - 1)),
        };
        let head = format!(
            "HTTP/1.1 {status}Cache-Control: max-age=3600\r\nETag: \"1\"\r\n\
             Content-Length: {}\r\n\r\n",
            last + 1 - from
        );
        write.write_all(head.as_bytes()).ok()?;
        write.write_all(&vec![b'x'; last + 1 - from]).ok()?;
    }
}

/// Somebody who plays music over one connection all the while, and notes how long each answer takes.
struct Listener {
    times: Arc<Mutex<Vec<Duration>>>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Listener {
    fn new(edge: SocketAddr) -> Self {
        let (times, stop) = (
            Arc::<Mutex<Vec<Duration>>>::default(),
            Arc::new(AtomicBool::new(false)),
        );
        let (noted, stopped) = (Arc::clone(&times), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut tcp = TcpStream::connect(edge).unwrap();
            tcp.set_nodelay(true).unwrap();
            tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            while !stopped.load(Relaxed) {
                let since = Instant::now();
                listen(&mut tcp);
                noted.lock().unwrap().push(since.elapsed());
                std::thread::sleep(Duration::from_millis(4));
            }
        });
        Self {
            times,
            stop,
            thread: Some(thread),
        }
    }

    /// The 99th percentile of the times while something is done, and for a moment after it where it
    /// is soon over; and what came of it.
    fn p99_during<T>(&self, something: impl FnOnce() -> T) -> (Duration, T) {
        self.times.lock().unwrap().clear();
        let begun = Instant::now();
        let done = something();
        while begun.elapsed() < MOMENT || self.times.lock().unwrap().len() < ENOUGH {
            assert!(
                begun.elapsed() < PATIENCE,
                "others were served {} times only",
                self.times.lock().unwrap().len()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut times = std::mem::take(&mut *self.times.lock().unwrap());
        times.sort();
        (times[times.len() * 99 / 100], done)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One request; panics where the answer isn't whole.
fn listen(tcp: &mut TcpStream) {
    tcp.write_all(b"GET /object HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut got = Vec::with_capacity(OBJECT + 1024);
    let mut buf = vec![0; 64 << 10];
    loop {
        let n = tcp.read(&mut buf).unwrap();
        assert!(n > 0, "others were cut off");
        got.extend_from_slice(&buf[..n]);
        if let Some(head) = got.windows(4).position(|w| w == b"\r\n\r\n") {
            assert!(
                got.starts_with(b"HTTP/1.1 200 "),
                "{:?}",
                String::from_utf8_lossy(&got[..head])
            );
            if got.len() >= head + 4 + OBJECT {
                return;
            }
        }
    }
}

/// Resident bytes of the process.
fn resident(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// What an attack has to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The connection, or every one of them, is cut off.
    Cut,
    /// The connection lives; each of its requests is refused.
    Refused,
}
use End::{Cut, Refused};

/// Script, attack, address, seconds it may take, what it has to come to.
type Attack = (&'static str, &'static str, bool, u32, End);

const ATTACKS: &[Attack] = &[
    ("h2.py", "rapid-reset", true, 4, Cut),
    ("h2.py", "made-you-reset", true, 4, Cut),
    ("h2.py", "continuation", true, 4, Cut),
    ("h2.py", "settings", true, 4, Cut),
    ("h2.py", "ping", true, 4, Cut),
    ("h2.py", "priority", true, 4, Cut),
    ("h2.py", "unknown", true, 4, Cut),
    ("h2.py", "empty-data", true, 4, Cut),
    ("h2.py", "window-updates", true, 4, Cut),
    ("h2.py", "hpack-bomb", true, 3, Refused),
    ("h2.py", "zero-window", true, 8, Cut),
    ("h2.py", "slow-head", true, 8, Cut),
    ("h2.py", "silent", true, 8, Cut),
    ("h3.py", "unfinished", true, 4, Refused),
    ("h3.py", "large-frames", true, 4, Cut),
    ("h3.py", "small-frames", true, 4, Cut),
    ("h3.py", "control-flood", true, 4, Cut),
    ("h3.py", "settings-flood", true, 4, Cut),
    ("h3.py", "qpack-inserts", true, 4, Cut),
    ("h3.py", "qpack-bomb", true, 2, Refused),
    ("h3.py", "rapid-reset", true, 6, Cut),
    ("h3.py", "rapid-stop", true, 6, Cut),
    ("h3.py", "unread", true, 6, Refused),
    ("h3.py", "slow-head", true, 6, Refused),
    ("h3.py", "optimistic-ack", true, 4, Cut),
    ("h3.py", "silent", true, 8, Cut),
    ("h1.py", "slow-head", false, 6, Cut),
    ("h1.py", "slow-body", false, 6, Cut),
    ("h1.py", "unread", false, 10, Cut),
    ("h1.py", "silent", false, 8, Cut),
    ("h1.py", "slow-handshake", true, 6, Cut),
];

/// Runs one attack; what it prints.
fn attack(edge: &Edge, (script, name, secure, seconds, _): Attack) -> Value {
    let address = if secure { edge.https } else { edge.http };
    let path: PathBuf = tools::root().join("deploy/tests/abuse").join(script);
    let mut command = tools::command(".venv/bin/python");
    command
        .arg(path)
        .args([name, &address.to_string(), &seconds.to_string(), "200"]);
    let out = tools::run(&mut command).stdout;
    serde_json::from_slice(&out)
        .unwrap_or_else(|_| panic!("{script} {name}: {}", String::from_utf8_lossy(&out)))
}

/// Checks what an attack came to.
fn judge((script, name, _, _, end): Attack, said: &Value) {
    let number = |field: &str| said[field].as_u64().unwrap_or(0);
    let cut = said["cut"] == true
        || (number("connections") > 0 && number("cut") == number("connections"));
    let fine = match end {
        Cut => cut,
        // Answered with an error or reset, every one, or cut off for it.
        Refused => cut || number("refused") + number("answered") > 0,
    };
    assert!(fine, "{script} {name}: not {end:?}: {said}");
}

#[test]
fn hostile_peers_are_cut_off_and_harm_nobody() {
    if !tools::have(&["python3", ".venv/bin/python"]) {
        return;
    }
    let _quiet = process::alone();
    let edge = start("hostile");
    listen(&mut TcpStream::connect(edge.http).unwrap());
    let listener = Listener::new(edge.http);
    let begun = Instant::now();
    // What the runtime, the cache and the allocator take once is no growth.
    attack(&edge, ("h2.py", "ping", true, 1, Cut));
    let before = resident(&edge.child);
    for &case in ATTACKS {
        let (script, name, ..) = case;
        for trial in 1.. {
            let (calm, ()) = listener.p99_during(|| {});
            let (p99, said) = listener.p99_during(|| attack(&edge, case));
            let grown = resident(&edge.child).saturating_sub(before) >> 20;
            println!(
                "{script} {name}: {said}, others' p99 {calm:?} before, {p99:?} meanwhile; \
                 memory +{grown} MiB"
            );
            judge(case, &said);
            assert!(grown <= 64, "{script} {name}: {grown} MiB more");
            if p99 <= (calm * 2).max(UNHARMED) {
                break;
            }
            // The machine is shared: what harms does it again.
            assert!(trial < TRIALS, "{script} {name}: others are harmed");
        }
    }
    println!("in {:?}", begun.elapsed());
    // The edge tells what it did.
    let mut admin = TcpStream::connect(edge.admin).unwrap();
    admin
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    admin.read_to_string(&mut text).unwrap();
    for (protocol, reason) in [
        ("h1", "header"),
        ("h1", "handshake"),
        ("h2", "limit"),
        ("h3", "limit"),
    ] {
        let line = format!("segue_edge_cut_total{{protocol=\"{protocol}\",reason=\"{reason}\"}} ");
        let count = text.lines().find_map(|l| l.strip_prefix(line.as_str()));
        assert!(count.is_some_and(|c| c != "0"), "{line}: {count:?}");
    }
}
