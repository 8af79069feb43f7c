//! Sockets that systemd has bound for this process (`sd_listen_fds`, units `segue-*@.socket`): ports
//! below 1024 without a privilege, and connections that wait, not fail, while a process starts.

use anyhow::Context as _;
use edge::handover::{Bound, Inherited};
use listenfd::ListenFd;

/// The sockets, by the names of their units; none where systemd has bound none.
///
/// # Errors
/// Where one is no TCP listener and no UDP socket, or its name says nothing.
pub(crate) fn sockets() -> anyhow::Result<Inherited> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let names: Vec<&str> = names.split(':').collect();
    // Empty where the variables are meant for another process.
    let mut passed = ListenFd::from_env();
    let mut sockets = Vec::new();
    for number in 0..passed.len() {
        let name = names.get(number).copied().unwrap_or_default();
        let socket = match passed.take_tcp_listener(number) {
            Ok(listener) => listener.map(Bound::Tcp),
            Err(_) => {
                let udp = passed.take_udp_socket(number);
                udp.context("a socket from systemd is neither a TCP listener nor UDP")?
                    .map(Bound::Udp)
            }
        };
        sockets.extend(socket.map(|socket| (name.to_owned(), socket)));
    }
    Inherited::bound(sockets).context("sockets from systemd (FileDescriptorName=)")
}
