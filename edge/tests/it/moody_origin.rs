//! An HTTP/1.1 origin that misbehaves on demand: slow, resetting, overloaded, silent, gone.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How it behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mood {
    /// Answers at once.
    Well,
    /// Answers after a while.
    Slow(Duration),
    /// Answers when [`Moody::release`] says so.
    Held,
    /// Answers 503.
    Overloaded,
    /// Resets the connection instead of answering.
    Resets,
    /// Takes the request and never answers.
    Silent,
    /// Sends half of the body, then nothing.
    Stalls,
}

/// What connections and tests share.
struct State {
    name: String,
    mood: Mutex<Mood>,
    gate: Semaphore,
    asked: AtomicUsize,
    abandoned: AtomicUsize,
    connections: AtomicUsize,
    heads: Mutex<Vec<String>>,
}

/// The origin; gone when dropped.
pub(crate) struct Moody {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    _stop: DropGuard,
}

impl Moody {
    /// An origin on a free port. Its bodies are `name`; what lies below `/stale/` may be stored but
    /// has to be validated, what lies below `/kept/` may be kept, nothing else may be stored.
    pub(crate) async fn new(name: &str) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), name).await
    }

    pub(crate) async fn at(address: SocketAddr, name: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            name: name.into(),
            mood: Mutex::new(Mood::Well),
            gate: Semaphore::new(0),
            asked: AtomicUsize::new(0),
            abandoned: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            heads: Mutex::default(),
        });
        let stop = CancellationToken::new();
        let (theirs, shared) = (stop.clone(), Arc::clone(&state));
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                shared.connections.fetch_add(1, SeqCst);
                let serving = serve(tcp, Arc::clone(&shared));
                tokio::spawn(theirs.clone().run_until_cancelled_owned(serving));
            }
        }));
        Self {
            address,
            state,
            _stop: stop.drop_guard(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn be(&self, mood: Mood) {
        *self.state.mood.lock() = mood;
    }

    /// Lets so many held requests be answered.
    pub(crate) fn release(&self, requests: usize) {
        self.state.gate.add_permits(requests);
    }

    /// Requests so far, checks apart.
    pub(crate) fn asked(&self) -> usize {
        self.state.asked.load(SeqCst)
    }

    /// Requests whose connection was closed before the answer.
    pub(crate) fn abandoned(&self) -> usize {
        self.state.abandoned.load(SeqCst)
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(SeqCst)
    }

    /// Heads of all requests.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.state.heads.lock().clone()
    }
}

async fn serve(mut tcp: TcpStream, state: Arc<State>) {
    let mut buffer = Vec::new();
    while let Some(head) = head(&mut tcp, &mut buffer).await {
        let target = head.split(' ').nth(1).unwrap().to_owned();
        if target != "/healthz" {
            state.asked.fetch_add(1, SeqCst);
            state.heads.lock().push(head);
        }
        let mood = *state.mood.lock();
        let wait = async {
            match mood {
                Mood::Slow(time) => tokio::time::sleep(time).await,
                Mood::Held => state.gate.acquire().await.unwrap().forget(),
                Mood::Silent => std::future::pending().await,
                _ => {}
            }
        };
        let mut byte = [0];
        tokio::select! {
            () = wait => {}
            _ = tcp.read(&mut byte) => {
                state.abandoned.fetch_add(1, SeqCst);
                return;
            }
        }
        let answer = match mood {
            Mood::Resets => {
                let _ = tcp.set_zero_linger();
                return;
            }
            Mood::Overloaded => {
                "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n".into()
            }
            _ => well(&target, &state.name, mood == Mood::Stalls),
        };
        if tcp.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        if mood == Mood::Stalls {
            let _ = tcp.read(&mut byte).await;
            return;
        }
    }
}

fn well(target: &str, name: &str, half: bool) -> String {
    let control = match target {
        stale if stale.starts_with("/stale/") => "public, max-age=0\r\netag: \"1\"",
        kept if kept.starts_with("/kept/") => "public, max-age=3600\r\netag: \"1\"",
        _ => "no-store",
    };
    let length = name.len() + usize::from(half);
    format!("HTTP/1.1 200 OK\r\ncache-control: {control}\r\ncontent-length: {length}\r\n\r\n{name}")
}

/// The next request's head; none at the connection's end.
async fn head(tcp: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let rest = buffer.split_off(end + 4);
            let head = String::from_utf8(std::mem::replace(buffer, rest)).unwrap();
            return Some(head);
        }
        if tcp.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}
