//! The listener: bounded connections, bounded waiting, and a drain at the end.

use std::{io, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Connections served at once; more wait in the kernel's queue. Edges hold a few each.
const MAX_CONNECTIONS: usize = 4_096;
/// How long a client may take for a request's headers, or stay idle between requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of a request's headers, at most.
const MAX_HEADER_BYTES: u32 = 64 << 10;
/// Streams of one HTTP/2 connection, at most.
const MAX_STREAMS: u32 = 256;
/// How long requests in progress may take after a shutdown was asked for.
const DRAIN: Duration = Duration::from_secs(20);

/// Serves connections until `cancel`, then lets those in progress finish.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    cancel: CancellationToken,
) -> io::Result<()> {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = cancel.cancelled() => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        let Some((stream, permit)) = accepted else {
            break;
        };
        let (router, cancel) = (router.clone(), cancel.clone());
        connections.spawn(async move {
            let _permit = permit;
            connection(stream, router, cancel).await;
        });
    }
    drop(listener);
    connections.close();
    if time::timeout(DRAIN, connections.wait()).await.is_err() {
        tracing::warn!(
            left = connections.len(),
            "connections cut at the end of the drain"
        );
    }
    Ok(())
}

type Permit = tokio::sync::OwnedSemaphorePermit;

/// The next connection, with its slot. A failing `accept` is tried again: it fails for the sake
/// of one connection or for want of file descriptors, which pass.
async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> Option<(TcpStream, Permit)> {
    let permit = Arc::clone(slots).acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Some((stream, permit)),
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router, cancel: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(router);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES)
        .keep_alive_interval(Some(HEADER_TIMEOUT));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = cancel.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}
