//! Sockets that somebody else has bound: `segue edge` as systemd starts it for its socket units.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Child,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{process, stack, tools};

/// Binds as `segue-http@.socket` and `segue-https@.socket` do, and starts the program each time a
/// file says so, with the sockets from descriptor 3 on.
const MANAGER: &str = r#"
import ctypes, fcntl, json, os, socket, sys, time
dir, command = sys.argv[1], sys.argv[2:]
def tcp():
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    s.bind(("127.0.0.1", 0))
    s.listen(64)
    return s
http = tcp()
while True:
    https, udp = tcp(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        udp.bind(https.getsockname())
        break
    except OSError:
        pass
sockets = [("http", http), ("https", https), ("https", udp)]
kept = [fcntl.fcntl(s.fileno(), fcntl.F_DUPFD_CLOEXEC, 50) for _, s in sockets]
addresses = {"http": http.getsockname()[1], "https": https.getsockname()[1]}
with open(dir + "/bound.new", "w") as out:
    json.dump(addresses, out)
os.rename(dir + "/bound.new", dir + "/bound")
for n in range(2):
    while not os.path.exists(f"{dir}/go{n}"):
        time.sleep(0.01)
    child = os.fork()
    if child == 0:
        ctypes.CDLL(None).prctl(1, 9)
        for place, fd in enumerate(kept):
            os.dup2(fd, 3 + place)
        os.environ["LISTEN_PID"] = str(os.getpid())
        os.environ["LISTEN_FDS"] = str(len(kept))
        os.environ["LISTEN_FDNAMES"] = ":".join(name for name, _ in sockets)
        for name, port in addresses.items():
            command += ["--" + name, f"127.0.0.1:{port}"]
        os.execv(command[0], command)
    os.waitpid(child, 0)
"#;

/// Longest wait; the machine is shared.
const PATIENCE: Duration = Duration::from_secs(60);

struct Manager {
    child: Child,
    dir: PathBuf,
}

impl Drop for Manager {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.join("edge.log"));
            eprintln!("--- the edge's log\n{}", log.unwrap_or_default());
        }
        process::signal(&self.child, "KILL");
        let _ = self.child.wait();
    }
}

fn await_json(file: &Path) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let text = std::fs::read(file).unwrap_or_default();
        if let Ok(value) = serde_json::from_slice(&text) {
            return value;
        }
        assert!(Instant::now() < end, "no {}", file.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An origin of one small object.
fn origin() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut tcp in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && tcp.read(&mut byte).is_ok_and(|n| n == 1) {
                head.push(byte[0]);
            }
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\
                          cache-control: max-age=3600\r\n\r\nsound";
            let _ = tcp.write_all(answer.as_bytes());
        }
    });
    url
}

/// Asks before anybody serves; what comes once somebody does.
fn ask(port: u64) -> TcpStream {
    let mut tcp = TcpStream::connect(("127.0.0.1", u16::try_from(port).unwrap())).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    tcp
}

fn answer(mut tcp: TcpStream) -> String {
    let mut got = String::new();
    tcp.read_to_string(&mut got).unwrap();
    got
}

#[test]
fn sockets_of_systemd_are_served_and_outlive_a_restart() {
    if !tools::have(&["python3"]) {
        return;
    }
    let dir = stack::scratch("activation");
    let mut command = tools::command("python3");
    command
        .args(["-c", MANAGER])
        .arg(&dir)
        .args(["/bin/sh", "-c"])
        .arg(format!(
            "exec \"$@\" 2>>'{}'",
            dir.join("edge.log").display()
        ))
        .arg("sh")
        .arg(env!("CARGO_BIN_EXE_segue"))
        .args(["edge", "--upstream", &origin(), "--ready-file"])
        .arg(dir.join("ready.json"))
        .arg("--state-dir")
        .arg(&dir);
    let manager = Manager {
        child: process::spawn(&command),
        dir: dir.clone(),
    };
    let bound = await_json(&dir.join("bound"));
    let port = |name: &str| bound[name].as_u64().unwrap();

    let early = ask(port("http"));
    std::fs::write(dir.join("go0"), "").unwrap();
    let got = answer(early);
    assert!(
        got.starts_with("HTTP/1.1 200") && got.ends_with("sound"),
        "{got}"
    );
    let ready = await_json(&dir.join("ready.json"));
    for name in ["http", "https"] {
        let url = format!("{name}://127.0.0.1:{}", port(name));
        assert_eq!(ready[name], Value::from(url));
    }
    for protocol in ["h2", "h3"] {
        let url = format!("https://127.0.0.1:{}/a", port("https"));
        let mut load = tools::command(env!("CARGO_BIN_EXE_segue"));
        load.args([
            "loadtest",
            &url,
            "--protocol",
            protocol,
            "--insecure",
            "--json",
        ])
        .args(["--duration", "1s", "--connections", "1", "--rate", "20"]);
        let report: Value = serde_json::from_slice(&tools::run(&mut load).stdout).unwrap();
        assert!(report["requests"].as_u64().unwrap() > 0, "{report}");
        assert_eq!(
            report["errors"],
            Value::Object(Default::default()),
            "{report}"
        );
    }

    // Who asks while it restarts waits, and is answered.
    let pid = ready["pid"].as_u64().unwrap();
    std::fs::remove_file(dir.join("ready.json")).unwrap();
    let stopped = std::process::Command::new("kill")
        .args(["-TERM", &pid.to_string()])
        .status();
    assert!(stopped.unwrap().success());
    let end = Instant::now() + PATIENCE;
    while Path::new(&format!("/proc/{pid}")).exists() {
        assert!(Instant::now() < end, "it never ended");
        std::thread::sleep(Duration::from_millis(20));
    }
    let meanwhile = ask(port("http"));
    std::fs::write(dir.join("go1"), "").unwrap();
    let got = answer(meanwhile);
    assert!(got.ends_with("sound"), "{got}");
    drop(manager);
}
