//! Files are decoded in processes of their own: what happens to one ends that file's way, with a
//! reason, and no other's.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    bad_input::published,
    process, signal,
    stack::{self, scratch},
    tools,
    wav::{self, Sample},
};

/// Longest wait for a process to be there or to end; the machine is shared.
const PATIENCE: Duration = Duration::from_secs(120);

/// A long file that comes first, and a short one.
fn music(dir: &Path) -> PathBuf {
    let music = dir.join("music");
    fs::create_dir_all(&music).unwrap();
    for (name, seconds) in [("0 long.wav", 60), ("1 short.wav", 1)] {
        let voice = signal::voice(0, 48_000, 48_000 * seconds, 7000.0);
        let path = music.join(name);
        wav::write(&path, &[voice.clone(), voice], 48_000, Sample::S16);
    }
    music
}

/// An ingest under way, one file at a time.
struct Ingest {
    child: Child,
    data: PathBuf,
}

impl Ingest {
    fn start(name: &str, args: &[&str]) -> Self {
        let dir = scratch(name);
        let (music, data) = (music(&dir), dir.join("data"));
        let mut command = stack::ingest_command(&data, &[&music]);
        command.args(["--threads", "1"]).args(args);
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, data }
    }

    /// The process that encodes the long file, once it holds scratch files.
    fn encoder(&self) -> u32 {
        let end = Instant::now() + PATIENCE;
        loop {
            for pid in children(self.child.id()) {
                // Until its program is started, it has all that its parent has.
                let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                if !String::from_utf8_lossy(&command).contains("file-process") {
                    continue;
                }
                let open = descriptors(pid);
                let holds = |end: &str| open.iter().any(|target| target.ends_with(end));
                if holds("0 long.wav") && holds("(deleted)") {
                    return pid;
                }
            }
            assert!(Instant::now() < end, "no process encodes");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it said of each file, in the order of their names.
    fn finish(self) -> Vec<Value> {
        let output = self.child.wait_with_output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{words}");
        let mut lines: Vec<Value> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|line: &Value| line["status"].is_string())
            .collect();
        lines.sort_by_key(|line| line["status"] != "failed");
        assert_eq!(lines.len(), 2, "{lines:?}\n{words}");
        assert_eq!(lines[1]["status"], "published", "{lines:?}");
        assert_eq!(published(&self.data), 1);
        lines
    }
}

fn children(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
    {
        let list = task.unwrap().path().join("children");
        let text = fs::read_to_string(list).unwrap_or_default();
        found.extend(
            text.split_whitespace()
                .map(|pid| pid.parse::<u32>().unwrap()),
        );
    }
    found
}

/// What a process has open.
fn descriptors(pid: u32) -> Vec<String> {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .map(|target| target.display().to_string())
        .collect()
}

fn kill(pid: u32, signal: &str) {
    let status = Command::new("kill")
        .args([&format!("-{signal}"), &pid.to_string()])
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn the_end_of_a_files_process_is_that_files_fault_alone() {
    let _busy = process::busy();
    for (signal, reason) in [
        ("ILL", "crashed"),
        ("ABRT", "crashed"),
        ("XCPU", "cpu_limit"),
        ("SYS", "forbidden_call"),
        ("KILL", "killed"),
    ] {
        let ingest = Ingest::start(&format!("isolation-{signal}"), &[]);
        kill(ingest.encoder(), signal);
        let lines = ingest.finish();
        assert_eq!(lines[0]["reason"], reason, "{signal}: {lines:?}");
        println!("{signal:5} {}", lines[0]["error"]);
    }
}

#[test]
fn the_end_of_the_track_before_goes_from_one_process_to_the_next() {
    if !tools::have(&["flac"]) {
        return;
    }
    let dir = scratch("isolation-album");
    let music = dir.join("music");
    fs::create_dir_all(&music).unwrap();
    let voice = signal::voice(0, 44_100, 44_100 * 6, 7000.0);
    let source = dir.join("part.wav");
    for (number, part) in (1..).zip(voice.chunks(44_100 * 2)) {
        wav::write(
            &source,
            &[part.to_vec(), part.to_vec()],
            44_100,
            Sample::S16,
        );
        let mut flac = tools::command("flac");
        flac.args(["--silent", "--force", "--tag", "ALBUM=Live"])
            .args(["--tag", &format!("TRACKNUMBER={number}")])
            .arg(&source)
            .arg("-o")
            .arg(music.join(format!("{number}.flac")));
        tools::run(&mut flac);
    }
    let data = dir.join("data");
    let (output, mut lines) = stack::ingest(&data, &[&music]);
    assert!(output.status.success(), "{lines:?}");
    lines.sort_by(|a, b| a.file.cmp(&b.file));
    assert_eq!(published(&data), 3);
    let preroll = |line: &stack::Line| {
        let folder = data.join("objects/tracks").join(&line.track);
        let index = fs::read(folder.join(&line.revision).join("track.json")).unwrap();
        serde_json::from_slice::<Value>(&index).unwrap()["preroll"]["track"].clone()
    };
    assert_eq!(preroll(&lines[0]), Value::Null);
    assert_eq!(preroll(&lines[1]), lines[0].track);
    assert_eq!(preroll(&lines[2]), lines[1].track);
}

#[test]
fn a_files_process_that_hangs_is_ended() {
    let _busy = process::busy();
    let ingest = Ingest::start("isolation-hang", &["--file-stall", "3s"]);
    let pid = ingest.encoder();
    kill(pid, "STOP");
    let lines = ingest.finish();
    assert_eq!(lines[0]["reason"], "stalled", "{lines:?}");
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn a_file_that_wants_too_much_memory_is_refused() {
    let dir = scratch("isolation-memory");
    let music = music(&dir);
    let mut command = stack::ingest_command(&dir.join("data"), &[&music]);
    let output = command.args(["--file-memory", "128MiB"]).output().unwrap();
    let lines = stack::lines(&output);
    assert_eq!(output.status.code(), Some(1), "{lines:?}");
    assert!(lines.iter().all(|l| l.status == "failed"), "{lines:?}");
    assert!(
        lines.iter().all(|l| l.error.contains("MiB of memory")),
        "{lines:?}"
    );
}

#[test]
fn a_files_process_holds_nothing_but_that_file() {
    let _busy = process::busy();
    let mut ingest = Ingest::start("isolation-confined", &["--file-memory", "900MiB"]);
    let pid = ingest.encoder();
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap();
    let (status, limits, environment) = (read("status"), read("limits"), read("environ"));
    let open = descriptors(pid);
    kill(pid, "KILL");
    process::signal(&ingest.child, "TERM");
    ingest.child.wait().unwrap();

    let limit = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        let soft = line[name.len()..].split_whitespace().next().unwrap();
        soft.parse::<u64>().unwrap_or(u64::MAX)
    };
    let address_space = limit("Max address space");
    assert!((900 << 20..1 << 40).contains(&address_space), "{limits}");
    assert!((300..86_400).contains(&limit("Max cpu time")), "{limits}");
    assert_eq!(limit("Max core file size"), 0);
    assert!(!environment.contains("HOME="), "{environment}");
    if fs::read_to_string("/proc/self/status")
        .unwrap()
        .contains("Seccomp:")
    {
        assert!(status.contains("Seccomp:\t2"), "{status}");
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    }
    // Its socket, nowhere, a pipe for last words; the source; scratch files without a name.
    for target in &open {
        let known = ["socket:", "pipe:", "/dev/null"]
            .iter()
            .any(|k| target.starts_with(k))
            || target.ends_with("0 long.wav")
            || target.ends_with("(deleted)");
        assert!(known, "{target} is open: {open:?}");
    }
    let mut sockets: Vec<_> = open.iter().filter(|t| t.starts_with("socket:")).collect();
    sockets.sort();
    sockets.dedup();
    assert_eq!(sockets.len(), 1, "{open:?}");
}
