//! The `catnip` claim: client networks that may use a token.

use std::{fmt, net::IpAddr};

use crate::{
    cbor::{Major, Reader, Writer},
    reject::Reject,
};

/// CBOR tags of addresses and prefixes (RFC 9164).
const TAG_V4: u64 = 52;
const TAG_V6: u64 = 54;

/// One entry of `catnip`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// An address prefix: the first `len` bits of `address`.
    Prefix {
        /// Any address of the network.
        address: IpAddr,
        /// Significant bits, 0 to 32 or 128.
        len: u8,
    },
    /// An autonomous system. This verifier knows no routes: such an entry admits nobody.
    Asn(u32),
}

impl Network {
    /// One address.
    pub fn host(address: IpAddr) -> Self {
        Self::Prefix {
            address,
            len: bits(address),
        }
    }

    /// Whether the entry admits the client. IPv4 clients of a dual-stack socket count as IPv4.
    pub fn admits(&self, client: IpAddr) -> bool {
        let Self::Prefix { address, len } = *self else {
            return false;
        };
        match (address, client.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(client)) => {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(len.min(32)))
                    .unwrap_or(0);
                (u32::from(net) ^ u32::from(client)) & mask == 0
            }
            (IpAddr::V6(net), IpAddr::V6(client)) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(len.min(128)))
                    .unwrap_or(0);
                (u128::from(net) ^ u128::from(client)) & mask == 0
            }
            _ => false,
        }
    }
}

/// Reads `10.0.0.0/8`, `::1` or `AS64512`.
impl std::str::FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const BAD: &str = "expected an address, a network like 10.0.0.0/8, or AS64512";
        if let Some(asn) = text.strip_prefix("AS") {
            return asn.parse().map(Self::Asn).map_err(|_| BAD);
        }
        let (address, len) = text
            .split_once('/')
            .map_or((text, None), |(a, l)| (a, Some(l)));
        let address: IpAddr = address.parse().map_err(|_| BAD)?;
        let len = len.map_or(Ok(bits(address)), str::parse).map_err(|_| BAD)?;
        if len > bits(address) {
            Err(BAD)
        } else {
            Ok(Self::Prefix { address, len })
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix { address, len } => write!(f, "{address}/{len}"),
            Self::Asn(asn) => write!(f, "AS{asn}"),
        }
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Reads the claim's value.
pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Vec<Network>, Reject> {
    (0..reader.array()?).map(|_| read_network(reader)).collect()
}

fn read_network(reader: &mut Reader<'_>) -> Result<Network, Reject> {
    const BAD: Reject = Reject::Malformed("bad network");
    if reader.peek()? == Major::Uint {
        return u32::try_from(reader.uint()?)
            .map(Network::Asn)
            .map_err(|_| BAD);
    }
    let tag = reader.tag()?;
    let prefix = match reader.peek()? {
        Major::Array if reader.array()? == 2 => Some(reader.uint()?),
        Major::Array => return Err(BAD),
        _ => None,
    };
    let bytes = reader.bytes()?;
    // A prefix may leave out trailing zero bytes (RFC 9164 §3.1.2); an address may not.
    let address = match tag {
        TAG_V4 => IpAddr::from(padded::<4>(bytes, prefix.is_some()).ok_or(BAD)?),
        TAG_V6 => IpAddr::from(padded::<16>(bytes, prefix.is_some()).ok_or(BAD)?),
        _ => return Err(BAD),
    };
    match prefix.unwrap_or(bits(address).into()) {
        len if len <= bits(address).into() => Ok(Network::Prefix {
            address,
            len: len as u8,
        }),
        _ => Err(BAD),
    }
}

fn padded<const N: usize>(bytes: &[u8], may_pad: bool) -> Option<[u8; N]> {
    let mut out = [0; N];
    if bytes.len() != N && !may_pad {
        return None;
    }
    out.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(out)
}

/// Writes the claim's value, addresses in full, which every reader takes.
pub(crate) fn write(networks: &[Network], writer: &mut Writer) {
    writer.array(networks.len());
    for network in networks {
        let (address, len) = match *network {
            Network::Asn(asn) => {
                writer.uint(asn.into());
                continue;
            }
            Network::Prefix { address, len } => (address, len),
        };
        writer.tag(if address.is_ipv4() { TAG_V4 } else { TAG_V6 });
        if len != bits(address) {
            writer.array(2);
            writer.uint(len.into());
        }
        match address {
            IpAddr::V4(address) => writer.bytes(&address.octets()),
            IpAddr::V6(address) => writer.bytes(&address.octets()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::Network;

    #[test]
    fn networks_admit_their_addresses_only() {
        let admits =
            |net: &str, ip: &str| net.parse::<Network>().unwrap().admits(ip.parse().unwrap());
        assert!(admits("10.0.0.0/8", "10.255.0.1"));
        assert!(!admits("10.0.0.0/8", "11.0.0.1"));
        assert!(admits("10.0.0.0/8", "::ffff:10.1.1.1"));
        assert!(admits("0.0.0.0/0", "1.2.3.4"));
        assert!(!admits("0.0.0.0/0", "2001:db8::1"));
        assert!(admits("192.0.2.7", "192.0.2.7"));
        assert!(!admits("192.0.2.7", "192.0.2.6"));
        assert!(admits("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(!admits("2001:db8::/32", "2001:db9::1"));
        assert!(!admits("AS64512", "192.0.2.7"));
        assert!("10.0.0.0/33".parse::<Network>().is_err());
    }
}
