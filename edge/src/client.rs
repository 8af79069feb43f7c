//! Who counts as one client where limits are shared out.

use std::net::IpAddr;

/// A client for the purpose of fairness: an IPv4 address or an IPv6 /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Client(u64);

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            // IPv4 takes the range of IPv6's unspecified /64, from which no client connects.
            IpAddr::V4(v4) => Self(u64::from(u32::from(v4))),
            IpAddr::V6(v6) => Self((u128::from(v6) >> 64) as u64 | 1 << 63),
        }
    }
}
