//! The stack on a real S3-compatible store: SeaweedFS, started here.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command},
    time::{Duration, Instant},
};

use crate::{
    http, process, signal,
    stack::{self, Stack},
    tools,
    wav::{self, Sample},
};

/// A SeaweedFS with a bucket `music`, ended when dropped.
struct Weed {
    child: Child,
    endpoint: String,
}

/// Ports that were free a moment ago, all different.
fn free_ports<const N: usize>() -> [u16; N] {
    let sockets = [0; N].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    sockets.map(|socket| socket.local_addr().unwrap().port())
}

impl Weed {
    fn start(dir: &Path) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let [
            master,
            master_grpc,
            volume,
            volume_grpc,
            filer,
            filer_grpc,
            s3,
            s3_grpc,
        ] = free_ports();
        let mut command: Command = tools::command("weed");
        command
            .args([
                "server",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                "-filer",
                "-s3",
            ])
            .args([
                "-master.telemetry=false",
                "-master.volumeSizeLimitMB=64",
                "-volume.max=20",
            ])
            .arg(format!("-dir={}", dir.display()))
            .arg(format!("-master.port={master}"))
            .arg(format!("-master.port.grpc={master_grpc}"))
            .arg(format!("-volume.port={volume}"))
            .arg(format!("-volume.port.grpc={volume_grpc}"))
            .arg(format!("-filer.port={filer}"))
            .arg(format!("-filer.port.grpc={filer_grpc}"))
            .arg(format!("-s3.port={s3}"))
            .arg(format!("-s3.port.grpc={s3_grpc}"));
        let weed = Self {
            child: process::spawn(&command),
            endpoint: format!("http://127.0.0.1:{s3}"),
        };
        weed.await_bucket();
        weed
    }

    /// Makes the bucket, and waits until it takes objects.
    fn await_bucket(&self) {
        let end = Instant::now() + Duration::from_secs(60);
        for path in ["/music", "/music/probe"] {
            let url = format!("{}{path}", self.endpoint);
            let put = || {
                http::get(&url)
                    .method("PUT")
                    .header("Content-Length", "0")
                    .try_send()
            };
            while !put().is_ok_and(|answer| answer.status == 200) {
                assert!(Instant::now() < end, "SeaweedFS does not come up");
                std::thread::sleep(Duration::from_millis(200));
            }
        }
    }
}

impl Drop for Weed {
    fn drop(&mut self) {
        process::signal(&self.child, "KILL");
        let _ = self.child.wait();
    }
}

#[test]
fn the_stack_runs_on_a_bucket() {
    let _busy = process::busy();
    if !tools::have(&["weed"]) {
        return;
    }
    let dir = stack::scratch("s3");
    let weed = Weed::start(&dir.join("weed"));
    let file = dir.join("song.wav");
    let voices = [0, 1].map(|c| signal::voice(c, 48_000, 48_000 * 7, 7000.0));
    wav::write(&file, &voices, 48_000, Sample::S16);

    let url = format!(
        "s3://music/segue?endpoint={}&region=us-east-1&path-style=true",
        weed.endpoint
    );
    let env = [
        ("AWS_ACCESS_KEY_ID", "any"),
        ("AWS_SECRET_ACCESS_KEY", "any"),
    ];
    let data = dir.join("data");
    let stack = Stack::start_with(&data, &["--storage", &url], &env);
    let since = Instant::now();
    let output = stack::ingest_command(&data, &[&file])
        .args(["--storage", &url])
        .envs(env)
        .output()
        .unwrap();
    let lines = stack::lines(&output);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    println!("ingested to a bucket in {:.2?}", since.elapsed());

    let token = stack.session();
    let (track, revision) = (&lines[0].track, &lines[0].revision);
    let path = format!("/~{token}/media/{track}/{revision}/opus-96.mp4");
    let fetch = |stack: &Stack| http::get(format!("{}{path}", stack.http));
    let whole = fetch(&stack).send().expect(200).body;
    let part = fetch(&stack).range("1000-1999").send().expect(206).body;
    assert_eq!(part, whole[1000..2000]);
    let key = format!(
        "{}/music/segue/tracks/{track}/{revision}/opus-96.mp4",
        weed.endpoint
    );
    assert_eq!(
        http::get(key).send().expect(200).body,
        whole,
        "the bucket holds what is served"
    );
    let playlist = format!("/~{token}/v1/tracks/{track}/index.m3u8");
    assert!(
        stack
            .get(&playlist)
            .expect(200)
            .text()
            .starts_with("#EXTM3U")
    );
    stack.stop();

    // The data directory lost, the bucket kept: the catalogue comes back from the bucket.
    let stack = Stack::start_with(&dir.join("fresh"), &["--storage", &url], &env);
    let albums = stack.get("/api/v1/albums").expect(200).json();
    assert_eq!(albums["albums"].as_array().unwrap().len(), 1, "{albums}");

    // A prefix as a source: put `song.wav` there by way of the store's own HTTP.
    let incoming = url.replace("/segue?", "/incoming?");
    let inbox = format!("{}/music/incoming/album/song.wav", weed.endpoint);
    let put = crate::tools::run(
        crate::tools::command("curl")
            .args(["-sf", "-T"])
            .arg(&file)
            .arg(&inbox),
    );
    assert!(put.status.success());
    let output = stack::ingest_command(&dir.join("data"), &[])
        .arg(&incoming)
        .args(["--storage", &url])
        .envs(env)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines = stack::lines(&output);
    assert_eq!(lines.len(), 1, "{words}");
    assert_eq!(
        (lines[0].status.as_str(), &lines[0].track),
        ("present", track),
        "{words}"
    );

    // The prefix under watch: what is there, and what comes.
    let data = dir.join("data");
    let mut command = stack::segue();
    command
        .args(["worker", "--watch", &incoming, "--interval", "200ms"])
        .args(["--poll", "100ms", "--storage", &url, "--data"])
        .arg(&data)
        .envs(env);
    let mut worker = process::spawn(&command);
    let other = dir.join("other.wav");
    let voices = [0, 1].map(|c| signal::voice(c, 48_000, 48_000 * 4, 6000.0));
    wav::write(&other, &voices, 48_000, Sample::S16);
    let inbox = format!("{}/music/incoming/album/other.wav", weed.endpoint);
    crate::tools::run(
        crate::tools::command("curl")
            .args(["-sf", "-T"])
            .arg(&other)
            .arg(&inbox),
    );
    let done = |name: &str| {
        let list = stack::segue()
            .args(["jobs", "--json", "list", "--state", "done", "--data"])
            .arg(&data)
            .output()
            .unwrap();
        String::from_utf8_lossy(&list.stdout)
            .lines()
            .any(|job| job.contains(name))
    };
    let end = Instant::now() + Duration::from_secs(120);
    while !(done("#album/song.wav") && done("#album/other.wav")) {
        assert!(Instant::now() < end, "not put into the queue and worked on");
        std::thread::sleep(Duration::from_millis(200));
    }
    process::signal(&worker, "TERM");
    assert!(process::wait(&mut worker, Duration::from_secs(30)).is_some());
}
