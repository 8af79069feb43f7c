//! Word to systemd (`sd_notify`, `Type=notify`): that the service is ready, which process it is
//! after an upgrade, that it stops. Nothing where nobody asked for it.

use std::os::{
    linux::net::SocketAddrExt as _,
    unix::net::{SocketAddr, UnixDatagram},
};

/// The service is ready and is this process.
pub(crate) fn ready() {
    // After an upgrade systemd would take the old process's end for the service's.
    say(&format!("MAINPID={}\nREADY=1", std::process::id()));
}

/// The service stops.
pub(crate) fn stopping() {
    say("STOPPING=1");
}

fn say(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let text = path.to_string_lossy();
    let address = match text.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    let said = address.and_then(|address| {
        let socket = UnixDatagram::unbound()?;
        socket.send_to_addr(state.as_bytes(), &address)
    });
    if let Err(error) = said {
        tracing::warn!(%error, "systemd can't be told");
    }
}
