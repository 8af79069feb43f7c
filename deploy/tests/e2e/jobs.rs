//! The queue: jobs outlive the workers that had them, and end in tracks or in a reason.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    bad_input::{list, published},
    process, signal,
    stack::{self, scratch, segue},
    wav::{self, Sample},
};

/// Longest wait for something to happen; the machine is shared.
const PATIENCE: Duration = Duration::from_secs(120);

/// Distinct files of so many seconds each.
fn write_music(dir: &Path, files: usize, seconds: usize) {
    fs::create_dir_all(dir).unwrap();
    for n in 0..files {
        let voice = signal::voice(n, 48_000, 48_000 * seconds, 7000.0);
        let path = dir.join(format!("{n}.wav"));
        wav::write(&path, &[voice.clone(), voice], 48_000, Sample::S16);
    }
}

fn command(name: &str, data: &Path, args: &[&str]) -> Command {
    let mut command = segue();
    command.arg(name).args(args).arg("--data").arg(data);
    command
}

fn output(name: &str, data: &Path, args: &[&str]) -> Output {
    command(name, data, args).output().unwrap()
}

/// Runs a command that has to succeed, and reads its lines of JSON.
fn json(name: &str, data: &Path, args: &[&str]) -> Vec<Value> {
    let output = output(name, data, args);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {args:?}: {words}");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn enqueue(data: &Path, path: &Path) -> Vec<Value> {
    let path = path.to_str().unwrap();
    json("ingest", data, &["--enqueue", "--json", path])
}

fn jobs(data: &Path) -> Vec<Value> {
    json("jobs", data, &["--json", "list", "--limit", "1000"])
}

fn states(data: &Path) -> Vec<String> {
    let state = |job: &Value| job["state"].as_str().unwrap().to_owned();
    jobs(data).iter().map(state).collect()
}

/// A worker that is soon declared dead.
fn worker(data: &Path, args: &[&str]) -> Command {
    worker_with("2s", data, args)
}

fn worker_with(lease: &str, data: &Path, args: &[&str]) -> Command {
    let mut command = command("worker", data, &["--lease", lease, "--poll", "100ms"]);
    command.args(["--threads", "2"]).args(args);
    command
}

fn kill(mut child: Child) {
    process::signal(&child, "KILL");
    child.wait().unwrap();
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn jobs_of_a_killed_worker_are_done_by_the_next() {
    let _busy = process::busy();
    let dir = scratch("jobs-killed");
    let (music, data) = (dir.join("music"), dir.join("data"));
    write_music(&music, 3, 8);
    assert_eq!(
        enqueue(&data, &music).len(),
        3,
        "files without an album are jobs of their own"
    );
    assert_eq!(enqueue(&data, &music).len(), 3);
    assert_eq!(
        jobs(&data).len(),
        3,
        "what is in the queue is not put in twice"
    );

    let first = process::spawn(&worker(&data, &[]));
    wait_for("work", || states(&data).contains(&"running".to_owned()));
    kill(first);
    let drained = worker(&data, &["--drain"]).output().unwrap();
    assert!(
        drained.status.success(),
        "{}",
        String::from_utf8_lossy(&drained.stderr)
    );
    let jobs = jobs(&data);
    assert!(jobs.iter().all(|job| job["state"] == "done"), "{jobs:#?}");
    let attempts: u64 = jobs
        .iter()
        .map(|job| job["attempts"].as_u64().unwrap())
        .sum();
    assert_eq!(attempts, 4, "only the interrupted one was begun again");
    assert_eq!(published(&data), 3);
}

#[test]
fn a_job_that_can_not_be_done_says_why_and_can_be_tried_again() {
    let _busy = process::busy();
    let dir = scratch("jobs-dead");
    let (music, data) = (dir.join("music"), dir.join("data"));
    fs::create_dir_all(&music).unwrap();
    let path = music.join("song.wav");
    fs::write(&path, b"RIFF but no more").unwrap();
    let id = enqueue(&data, &path)[0]["id"].as_str().unwrap().to_owned();
    let drain = || worker(&data, &["--drain"]).output().unwrap();
    assert!(drain().status.success());
    let dead = json("jobs", &data, &["--json", "list", "--state", "dead"]);
    assert_eq!(dead[0]["id"], id.as_str());
    assert_eq!(dead[0]["attempts"], 1, "the fault is the file's: {dead:?}");
    let error = dead[0]["error"].as_str().unwrap();
    assert!(error.contains("song.wav") && error.len() > 20, "{error}");
    println!("{error}");

    // Mended, and put in again.
    fs::remove_file(&path).unwrap();
    write_music(&music, 1, 1);
    fs::rename(music.join("0.wav"), &path).unwrap();
    json("jobs", &data, &["--json", "retry", &id]);
    assert!(drain().status.success());
    let job = &json("jobs", &data, &["--json", "show", &id])[0];
    assert_eq!(job["state"], "done", "{job}");
    assert_eq!(job["tracks"].as_array().unwrap().len(), 1);
    assert!(!output("jobs", &data, &["cancel", &id]).status.success());
    assert!(!output("jobs", &data, &["show", "j0"]).status.success());
}

#[test]
fn a_cancelled_job_ends_within_seconds_and_a_stopped_worker_gives_its_job_back() {
    let _busy = process::busy();
    let dir = scratch("jobs-cancelled");
    let (music, data) = (dir.join("music"), dir.join("data"));
    write_music(&music, 1, 120);
    let id = enqueue(&data, &music)[0]["id"].as_str().unwrap().to_owned();
    let state = || states(&data).concat();

    let mut first = process::spawn(&worker(&data, &[]));
    wait_for("work", || state() == "running");
    process::signal(&first, "TERM");
    assert!(process::wait(&mut first, PATIENCE).unwrap().success());
    let job = &jobs(&data)[0];
    assert_eq!(job["state"], "queued", "{job}");
    assert_eq!(job["attempts"], 0, "stopping is no failure: {job}");

    let second = process::spawn(&worker(&data, &[]));
    wait_for("work", || state() == "running");
    json("jobs", &data, &["--json", "cancel", &id]);
    wait_for("the end", || state() == "cancelled");
    kill(second);
    assert_eq!(published_or_unfinished(&data).0, 0);
}

/// Published revisions, and those without an index.
fn published_or_unfinished(data: &Path) -> (usize, usize) {
    let revisions: Vec<PathBuf> = list(&data.join("objects/tracks"))
        .iter()
        .flat_map(|track| list(track))
        .collect();
    let whole = revisions.iter().filter(|r| r.join("track.json").exists());
    let whole = whole.count();
    (whole, revisions.len() - whole)
}

#[test]
fn a_long_file_goes_on_with_the_renditions_that_are_missing() {
    let _busy = process::busy();
    let dir = scratch("jobs-checkpoint");
    let (music, calm, data) = (dir.join("music"), dir.join("calm"), dir.join("data"));
    write_music(&music, 1, 20);
    let (done, _) = stack::ingest(&calm, &[&music]);
    assert!(done.status.success());
    let ingest = || {
        let mut command = stack::ingest_command(&data, &[&music]);
        command.args(["--checkpoint-from", "1MiB", "--threads", "2"]);
        command
    };
    let revision = || {
        list(&data.join("objects/tracks"))
            .first()
            .and_then(|t| list(t).pop())
    };
    let notes = || -> Vec<String> {
        let objects = revision().map(|r| list(&r)).unwrap_or_default();
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        objects
            .iter()
            .map(name)
            .filter(|name| name.ends_with(".part.json"))
            .collect()
    };
    let child = process::spawn(&ingest());
    wait_for("a note", || notes().len() >= 2);
    kill(child);
    let kept: BTreeSet<String> = notes().into_iter().collect();
    assert!(kept.len() < 8, "it was over already");
    let stamp = |name: &str| {
        let file = revision().unwrap().join(name.replace(".part.json", ".mp4"));
        fs::metadata(file).unwrap().modified().unwrap()
    };
    let before: Vec<_> = kept.iter().map(|name| stamp(name)).collect();
    let again = ingest().output().unwrap();
    assert!(
        again.status.success(),
        "{}",
        String::from_utf8_lossy(&again.stderr)
    );
    let after: Vec<_> = kept.iter().map(|name| stamp(name)).collect();
    assert_eq!(before, after, "a finished rendition was made again");
    assert!(notes().is_empty(), "notes are left");
    assert_eq!(published(&data), 1);
    // All in all the same as in one go.
    let digests = |data: &Path| -> Vec<Value> {
        let revision = list(&list(&data.join("objects/tracks"))[0]).pop().unwrap();
        let track: Value =
            serde_json::from_slice(&fs::read(revision.join("track.json")).unwrap()).unwrap();
        let renditions = track["renditions"].as_array().unwrap();
        renditions.iter().map(|r| r["sha256"].clone()).collect()
    };
    assert_eq!(digests(&data), digests(&calm));
    println!("{} renditions were kept over a kill", kept.len());
}

#[test]
fn whenever_workers_are_killed_nothing_is_lost_or_half_visible() {
    let _busy = process::busy();
    let dir = scratch("jobs-random");
    let (music, data) = (dir.join("music"), dir.join("data"));
    let kills: u64 = std::env::var("SEGUE_KILLS").map_or(10, |n| n.parse().unwrap());
    let seed: u64 = std::env::var("SEGUE_SEED").map_or(1, |n| n.parse().unwrap());
    let files = 4;
    let mut random = seed;
    let mut begun = Vec::new();
    let mut through = 0;
    for kill_number in 0..kills {
        // New music whenever all is done, so that every kill meets work.
        if begun
            .iter()
            .all(|_| states(&data).iter().all(|s| s == "done"))
        {
            let batch = music.join(kill_number.to_string());
            write_music(&batch, files, 2);
            // The same sound under another name would be the same track.
            for file in list(&batch) {
                let mut bytes = fs::read(&file).unwrap();
                let last = bytes.len() - 2;
                bytes[last] = kill_number as u8;
                fs::write(&file, bytes).unwrap();
            }
            begun.extend(enqueue(&data, &batch));
        }
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let instant = Duration::from_millis((random >> 33) % 2_500);
        let child = process::spawn(&worker_with("1s", &data, &["--checkpoint-from", "1B"]));
        std::thread::sleep(instant);
        kill(child);
        let whole = whole(&data);
        assert!(whole >= through, "a published track is gone");
        through = whole;
    }
    let drained = worker_with("1s", &data, &["--drain"]).output().unwrap();
    assert!(
        drained.status.success(),
        "{}",
        String::from_utf8_lossy(&drained.stderr)
    );
    // A worker that is killed again and again is not the job's fault, but looks like it.
    for job in jobs(&data) {
        if job["state"] == "dead" {
            assert_eq!(job["reason"], "worker_lost", "{job}");
            json(
                "jobs",
                &data,
                &["--json", "retry", job["id"].as_str().unwrap()],
            );
        }
    }
    assert!(
        worker(&data, &["--drain"])
            .output()
            .unwrap()
            .status
            .success()
    );
    assert!(
        states(&data).iter().all(|state| state == "done"),
        "{:#?}",
        jobs(&data)
    );
    assert_eq!(whole(&data), begun.len(), "every job came to a track");
    let collected = &json("gc", &data, &["--json", "--older-than", "0s"])[0];
    assert_eq!(published_or_unfinished(&data), (begun.len(), 0));
    println!(
        "{kills} kills from seed {seed}: {through} of {} tracks before the last, {collected}",
        begun.len()
    );
}

/// Tracks whose index is there; panics unless all that it names is whole.
fn whole(data: &Path) -> usize {
    let mut whole = 0;
    for revision in list(&data.join("objects/tracks"))
        .iter()
        .flat_map(|t| list(t))
    {
        let Ok(index) = fs::read(revision.join("track.json")) else {
            continue;
        };
        let track: Value = serde_json::from_slice(&index).expect("track.json is whole");
        for rendition in track["renditions"].as_array().unwrap() {
            let file = revision.join(format!("{}.mp4", rendition["id"].as_str().unwrap()));
            let size = fs::metadata(&file)
                .unwrap_or_else(|e| panic!("{file:?}: {e}"))
                .len();
            assert_eq!(rendition["bytes"], size, "{file:?}");
        }
        whole += 1;
    }
    whole
}

#[test]
fn what_an_ingest_left_behind_is_collected_unless_a_job_may_need_it() {
    let _busy = process::busy();
    let dir = scratch("jobs-orphans");
    let (music, data) = (dir.join("music"), dir.join("data"));
    write_music(&music, 1, 1);
    let (done, _) = stack::ingest(&data, &[&music]);
    assert!(done.status.success());
    let revision = list(&list(&data.join("objects/tracks"))[0]).pop().unwrap();
    let orphan = revision.with_file_name("00112233aabbccdd");
    fs::create_dir(&orphan).unwrap();
    fs::copy(revision.join("opus-32.mp4"), orphan.join("opus-32.mp4")).unwrap();

    let gc = |args: &[&str]| {
        let all = [&["--json"], args].concat();
        json("gc", &data, &all)[0].clone()
    };
    assert_eq!(gc(&[])["left"], 1, "it is young");
    assert_eq!(gc(&["--older-than", "0s", "--dry-run"])["objects"], 1);
    assert!(orphan.join("opus-32.mp4").exists());
    assert_eq!(gc(&["--older-than", "0s"])["objects"], 1);
    assert!(!orphan.join("opus-32.mp4").exists());
    assert_eq!(
        published_or_unfinished(&data).0,
        1,
        "what is published stays"
    );

    // What was written since a job began may be its own.
    let long = dir.join("long");
    write_music(&long, 1, 120);
    enqueue(&data, &long);
    let child = process::spawn(&worker_with("60s", &data, &[]));
    wait_for("work", || states(&data).contains(&"running".to_owned()));
    fs::create_dir_all(&orphan).unwrap();
    fs::copy(revision.join("opus-32.mp4"), orphan.join("opus-32.mp4")).unwrap();
    assert_eq!(gc(&["--older-than", "0s"])["revisions"], 0);
    kill(child);
}

#[test]
fn a_worker_elsewhere_takes_jobs_from_an_origin() {
    let _busy = process::busy();
    let dir = scratch("jobs-remote");
    let (music, home, away) = (dir.join("music"), dir.join("home"), dir.join("away"));
    write_music(&music, 1, 1);
    fs::create_dir_all(&home).unwrap();
    let (store, ready) = (dir.join("store"), dir.join("ready.json"));
    let mut origin = command("origin", &home, &["--http", "127.0.0.1:0"]);
    origin.arg("--ready-file").arg(&ready);
    origin.arg("--storage").arg(&store);
    let origin = process::spawn(&origin);
    wait_for("the origin", || ready.exists());
    let said: Value = serde_json::from_slice(&fs::read(&ready).unwrap()).unwrap();
    let url = said["http"].as_str().unwrap();
    let key = home.join("origin/keys/worker.key");
    let key = key.to_str().unwrap();
    let there = ["--queue", url, "--queue-key", key];

    let path = music.to_str().unwrap();
    let added = json(
        "ingest",
        &away,
        &[&there[..], &["--enqueue", "--json", path]].concat(),
    );
    assert_eq!(added.len(), 1);
    let mut worker = worker(&away, &[&there[..], &["--drain"]].concat());
    let drained = worker.arg("--storage").arg(&store).output().unwrap();
    assert!(
        drained.status.success(),
        "{}",
        String::from_utf8_lossy(&drained.stderr)
    );
    let jobs = json("jobs", &away, &[&there[..], &["--json", "list"]].concat());
    assert_eq!(jobs[0]["state"], "done", "{jobs:?}");
    let track = jobs[0]["tracks"][0].as_str().unwrap();
    let answer = crate::http::get(format!("{url}/api/v1/tracks/{track}")).send();
    assert_eq!(answer.status, 200, "the origin's catalogue has it");

    // Nobody gets in without the key.
    let answer = crate::http::get(format!("{url}/api/v1/jobs")).send();
    assert_eq!(answer.status, 401);
    kill(origin);
}
