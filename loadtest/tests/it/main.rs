//! Runs against small servers of our own: honest ones over each protocol, and ones that lie.
#![allow(clippy::unwrap_used)]

mod server;

use std::time::{Duration, Instant};

use loadtest::{Args, Mode, Protocol, Report, run};
use server::{Fault, Server};

fn quick(target: String, protocol: Protocol) -> Args {
    Args {
        protocol: Some(protocol),
        connections: 2,
        duration: Duration::from_secs(20),
        requests: Some(200),
        insecure: true,
        json: true,
        ..Args::new(target)
    }
}

fn assert_fine(report: &Report) {
    assert!(report.errors.is_empty(), "{report}");
    let l = &report.latency_ms;
    assert!(
        l.p50 > 0.0 && l.p50 <= l.p90 && l.p90 <= l.p99 && l.p99 <= l.p999 && l.p999 <= l.max,
        "{report}"
    );
    assert!(report.first_byte_ms.p50 <= l.p50, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_protocol_fetches_and_compares() {
    let server = Server::start(Fault::None).await;
    for (base, protocol) in [
        (server.http(), Protocol::H1),
        (server.http(), Protocol::H2),
        (server.https(), Protocol::H1),
        (server.https(), Protocol::H2),
        (server.https(), Protocol::H3),
    ] {
        let args = Args {
            verify: true,
            range_size: 10_000,
            ..quick(format!("{base}/object"), protocol)
        };
        let report = run(args)
            .await
            .unwrap_or_else(|e| panic!("{base} {protocol:?}: {e:#}"));
        assert_fine(&report);
        assert_eq!((report.requests, report.protocol), (200, protocol.as_str()));
        assert!(report.bytes > 200 * 1000, "{report}");
        assert_eq!(report.cache.get("hit"), Some(&200), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_checked_unless_told_not_to() {
    let server = Server::start(Fault::None).await;
    let url = format!("{}/object", server.https());
    for protocol in [Protocol::H2, Protocol::H3] {
        let args = Args {
            insecure: false,
            ..quick(url.clone(), protocol)
        };
        // A refusal is waited for no longer; an answer is, however busy the machine.
        let impatient = Args {
            timeout: Duration::from_secs(3),
            ..args.clone()
        };
        assert!(
            run(impatient).await.is_err(),
            "an unknown certificate was accepted"
        );
        let report = run(Args {
            ca: Some(server.ca()),
            ..args
        })
        .await
        .unwrap();
        assert_fine(&report);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lies_are_counted_by_kind() {
    for (fault, kind) in [
        (Fault::Status, "status_503"),
        (Fault::WrongRange, "content_range"),
        (Fault::WrongBytes, "content"),
        (Fault::CutOff, "broken"),
        (Fault::Hang, "timeout"),
    ] {
        let server = Server::start(fault).await;
        let args = Args {
            requests: Some(60),
            timeout: Duration::from_millis(300),
            verify: true,
            ..quick(format!("{}/object", server.http()), Protocol::H1)
        };
        let report = run(args).await.unwrap();
        assert!(
            report.errors.get(kind).is_some_and(|n| *n >= 10),
            "{fault:?}: {report}"
        );
        assert_eq!(report.errors.len(), 1, "{fault:?}: {report}");
        assert_eq!(report.requests, 60);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_is_kept_and_slowness_shows_as_latency() {
    let server = Server::start(Fault::None).await;
    let args = Args {
        rate: Some(200.0),
        requests: None,
        duration: Duration::from_secs(1),
        ..quick(format!("{}/object", server.http()), Protocol::H1)
    };
    let report = run(args.clone()).await.unwrap();
    assert!((150..=201).contains(&report.requests), "{report}");

    // One connection, 20 ms an answer: 200 a second can't be kept, and the wait is told.
    let slow = Server::start(Fault::Slow).await;
    let target = Some(format!("{}/object", slow.http()));
    let report = run(Args {
        target,
        connections: 1,
        ..args
    })
    .await
    .unwrap();
    assert!(report.requests < 60, "{report}");
    assert!(report.latency_ms.max > 400.0, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_play_the_catalogue() {
    let server = Server::start(Fault::None).await;
    for (base, protocol) in [
        (server.http(), Protocol::H1),
        (server.https(), Protocol::H3),
    ] {
        let args = Args {
            mode: Mode::Player,
            connections: 5,
            duration: Duration::from_secs(2),
            speed: 8.0,
            buffer: 4.0,
            requests: None,
            ..quick(base, protocol)
        };
        let report = run(args).await.unwrap();
        assert!(report.errors.is_empty(), "{report}");
        let heard = report.listening.as_ref().unwrap();
        assert_eq!(heard.listeners, 5);
        assert!(heard.tracks >= 5 && heard.startup_ms.p50 > 0.0, "{report}");
        // 5 listeners × 2 s × 8, less the time in which they come and skip.
        assert!(heard.played_s > 35.0 && heard.played_s <= 80.0, "{report}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starved_listeners_rebuffer() {
    let server = Server::start(Fault::Slow).await;
    let args = Args {
        mode: Mode::Player,
        connections: 2,
        duration: Duration::from_secs(2),
        speed: 400.0,
        requests: None,
        ..quick(server.http(), Protocol::H1)
    };
    let report = run(args).await.unwrap();
    let heard = report.listening.as_ref().unwrap();
    assert!(heard.rebuffers > 10 && heard.stalled_s > 0.5, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_end_and_beginnings_explain_themselves() {
    let server = Server::start(Fault::None).await;
    let started = Instant::now();
    let args = quick(format!("{}/object", server.http()), Protocol::H1);
    run(Args {
        duration: Duration::from_millis(500),
        requests: None,
        ..args.clone()
    })
    .await
    .unwrap();
    assert!(started.elapsed() < Duration::from_secs(5));

    let nowhere = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for (args, says) in [
        (
            Args {
                target: Some(format!("http://{nowhere}/x")),
                ..args.clone()
            },
            "no connection",
        ),
        (
            Args {
                target: Some(format!("{}/missing", server.http())),
                ..args.clone()
            },
            "status 404",
        ),
        (
            Args {
                target: Some("http://192.0.2.1/".into()),
                ..args.clone()
            },
            "--allow-remote",
        ),
        (
            Args {
                rendition: "vorbis".into(),
                target: Some(server.http()),
                ..args.clone()
            },
            "opus-96",
        ),
        (
            Args {
                protocol: Some(Protocol::H3),
                ..args
            },
            "https",
        ),
    ] {
        let error = format!("{:#}", run(args).await.unwrap_err());
        assert!(error.contains(says), "{says}: {error}");
    }
}
