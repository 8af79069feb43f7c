//! Starts `segue up` on free ports, ingests into it, and reads what it published.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    fixtures::{self, Fixture},
    http::{self, Response},
    process,
};

/// How long a start may take, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A running stack, ended when dropped.
pub(crate) struct Stack {
    child: Child,
    /// Base URLs, without a slash at the end.
    pub(crate) http: String,
    pub(crate) https: String,
    pub(crate) admin: String,
    data: PathBuf,
    log: PathBuf,
}

/// The program under test.
pub(crate) fn segue() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_segue"));
    command.stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        // Settings of whoever runs the tests are not the tests' settings.
        let name = name.to_string_lossy();
        if name.starts_with("SEGUE_") {
            command.env_remove(&*name);
        }
    }
    command
}

impl Stack {
    /// Starts on a data directory, without demo music.
    pub(crate) fn start(data: &Path, args: &[&str]) -> Self {
        Self::start_with(data, args, &[])
    }

    /// The same, with variables set.
    pub(crate) fn start_with(data: &Path, args: &[&str], env: &[(&str, &str)]) -> Self {
        std::fs::create_dir_all(data).unwrap();
        let ready = data.with_extension("ready.json");
        let log = data.with_extension("log");
        let _ = std::fs::remove_file(&ready);
        let mut command = segue();
        command
            .args([
                "up",
                "--no-demo",
                "--http",
                "127.0.0.1:0",
                "--https",
                "127.0.0.1:0",
            ])
            .args(["--admin", "127.0.0.1:0", "--ready-file"])
            .arg(&ready)
            .arg("--data")
            .arg(data)
            .args(args)
            .envs(env.iter().copied());
        // The log is kept from start to start: tests look for secrets in it.
        let append = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        drop(append);
        let shell = format!("exec \"$@\" >>'{0}' 2>&1", log.display());
        let mut logged = Command::new("/bin/sh");
        logged
            .args(["-c", &shell, "sh"])
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => logged.env(name, value),
                None => logged.env_remove(name),
            };
        }
        let mut child = process::spawn(&logged);
        let addresses = await_ready(&mut child, &ready, &log);
        let text = |name: &str| {
            addresses[name]
                .as_str()
                .unwrap()
                .trim_end_matches('/')
                .to_owned()
        };
        Self {
            http: text("http"),
            https: text("https"),
            admin: text("admin"),
            child,
            data: data.to_owned(),
            log,
        }
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// What it has written to its log so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// `GET` of a path on the plaintext port.
    pub(crate) fn get(&self, path: &str) -> Response {
        http::get(format!("{}{path}", self.http)).send()
    }

    /// A listening token, as the web player gets one.
    pub(crate) fn session(&self) -> String {
        let answer = http::get(format!("{}/api/v1/session", self.http))
            .method("POST")
            .json(&json!({}))
            .send();
        assert!((200..300).contains(&answer.status), "{answer:?}");
        answer.json()["token"].as_str().unwrap().to_owned()
    }

    /// Kills it as a power cut would.
    pub(crate) fn kill(mut self) {
        process::signal(&self.child, "KILL");
        self.child.wait().unwrap();
    }

    /// Asks it to end, and waits; the time it took. Panics where it fails or hangs.
    pub(crate) fn stop(mut self) -> Duration {
        let since = Instant::now();
        process::signal(&self.child, "TERM");
        let status = process::wait(&mut self.child, Duration::from_secs(35));
        let status = status.unwrap_or_else(|| panic!("still runs:\n{}", tail(&self.log)));
        assert!(status.success(), "{status}\n{}", tail(&self.log));
        since.elapsed()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            process::signal(&self.child, "KILL");
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- last of the stack's log\n{}", tail(&self.log));
        }
    }
}

fn await_ready(child: &mut Child, ready: &Path, log: &Path) -> Value {
    let end = Instant::now() + START_LIMIT;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            panic!("segue up ended with {status}:\n{}", tail(log));
        }
        if let Some(addresses) = std::fs::read(ready)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
        {
            return addresses;
        }
        assert!(
            Instant::now() < end,
            "not ready in {START_LIMIT:?}:\n{}",
            tail(log)
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// What `segue ingest --json` said of a file.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) status: String,
    pub(crate) file: String,
    pub(crate) track: String,
    pub(crate) revision: String,
    pub(crate) error: String,
}

/// The command that ingests paths into a data directory.
pub(crate) fn ingest_command(data: &Path, paths: &[&Path]) -> Command {
    let mut command = segue();
    command
        .args(["ingest", "--json", "--quiet", "--data"])
        .arg(data)
        .args(paths);
    command
}

/// Ingests, and returns the exit and a line a file.
pub(crate) fn ingest(data: &Path, paths: &[&Path]) -> (Output, Vec<Line>) {
    let output = ingest_command(data, paths).output().unwrap();
    let lines = lines(&output);
    (output, lines)
}

/// The lines of an `ingest --json`.
pub(crate) fn lines(output: &Output) -> Vec<Line> {
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["status"].is_string())
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            Line {
                status: text("status"),
                file: text("file")
                    .rsplit('/')
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
                track: text("track"),
                revision: text("revision"),
                error: text("error"),
            }
        })
        .collect()
}

/// A fixture in the shared stack.
pub(crate) struct Published {
    pub(crate) fixture: Fixture,
    pub(crate) id: String,
    pub(crate) revision: String,
    /// track.json, as served.
    pub(crate) track: Value,
}

impl Published {
    /// The path of a rendition's file.
    pub(crate) fn media(&self, rendition: &str) -> String {
        format!("/media/{}/{}/{rendition}.mp4", self.id, self.revision)
    }

    /// Its renditions, as in track.json.
    pub(crate) fn renditions(&self) -> &[Value] {
        self.track["renditions"].as_array().unwrap()
    }
}

/// One stack that most tests share, with every fixture in it.
pub(crate) struct Shared {
    pub(crate) stack: Stack,
    /// A token that opens everything.
    pub(crate) token: String,
    pub(crate) published: Vec<Published>,
}

impl Shared {
    /// The fixture of that name; panics where it was not made (its encoder is missing).
    pub(crate) fn track(&self, name: &str) -> &Published {
        self.published
            .iter()
            .find(|p| p.fixture.name == name)
            .unwrap_or_else(|| panic!("no fixture {name}"))
    }

    /// A URL on the plaintext port that carries the token in its path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/~{}{path}", self.stack.http, self.token)
    }
}

/// The shared stack; the first to ask starts it, ingests every fixture, and says how long it took.
pub(crate) fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(start_shared)
}

fn start_shared() -> Shared {
    let dir = scratch("shared");
    let music = dir.join("music");
    let since = Instant::now();
    let fixtures = fixtures::make_all(&music);
    println!(
        "{} fixtures made in {:.1} s",
        fixtures.len(),
        since.elapsed().as_secs_f64()
    );

    let since = Instant::now();
    let stack = Stack::start(&dir.join("data"), &[]);
    println!("stack ready in {:.2} s", since.elapsed().as_secs_f64());

    let since = Instant::now();
    let (output, lines) = ingest(stack.data(), &[&music]);
    let took = since.elapsed().as_secs_f64();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "{}\n{words}\n{lines:#?}",
        output.status
    );
    let token = stack.session();
    let published: Vec<Published> = fixtures
        .into_iter()
        .map(|fixture| publish(&stack, &token, fixture, &lines))
        .collect();
    let seconds: f64 = published
        .iter()
        .filter_map(|p| p.track["duration_s"].as_f64())
        .sum();
    println!("{seconds:.1} s of sound ingested in {took:.1} s, whole ladder, unoptimised build");
    Shared {
        stack,
        token,
        published,
    }
}

fn publish(stack: &Stack, token: &str, fixture: Fixture, lines: &[Line]) -> Published {
    let line = lines
        .iter()
        .find(|line| line.file == fixture.file)
        .unwrap_or_else(|| panic!("{} was not ingested: {lines:#?}", fixture.file));
    let path = format!("/~{token}/v1/tracks/{}/track.json", line.track);
    Published {
        id: line.track.clone(),
        revision: line.revision.clone(),
        track: stack.get(&path).expect(200).json(),
        fixture,
    }
}

/// A directory of this run for a test, removed at the start of the next run.
pub(crate) fn scratch(name: &str) -> PathBuf {
    static ROOT: OnceLock<TempDir> = OnceLock::new();
    let root = ROOT.get_or_init(|| {
        let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
        // A static is never dropped, so the last run's directories go now.
        for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with("e2e-") {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        tempfile::Builder::new()
            .prefix("e2e-")
            .tempdir_in(base)
            .unwrap()
    });
    let dir = root.path().join(name);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}
