//! A TCP relay whose address is known before what it leads to: for edges that name each other.

use std::{net::SocketAddr, sync::Arc};

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// The relay.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    target: Arc<Mutex<(Option<SocketAddr>, CancellationToken)>>,
}

impl Relay {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = Arc::new(Mutex::new((None, CancellationToken::new())));
        let theirs = Arc::clone(&target);
        tokio::spawn(async move {
            while let Ok((mut tcp, _)) = listener.accept().await {
                let (target, stop) = theirs.lock().clone();
                // To nowhere: closed at once, as by a dead process behind a live address.
                let Some(target) = target else { continue };
                tokio::spawn(stop.run_until_cancelled_owned(async move {
                    if let Ok(mut out) = TcpStream::connect(target).await {
                        let _ = tokio::io::copy_bidirectional(&mut tcp, &mut out).await;
                    }
                }));
            }
        });
        Self { address, target }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Leads there from now on; open connections are cut.
    pub(crate) fn point_at(&self, address: Option<SocketAddr>) {
        let mut target = self.target.lock();
        target.1.cancel();
        *target = (address, CancellationToken::new());
    }
}
