//! A GeoIP file small enough to read: MaxMind's DB format, version 2, of IPv4 networks by country.

use std::net::Ipv4Addr;

/// A database of those networks (address, bits, country).
pub(crate) fn countries(networks: &[(Ipv4Addr, u8, &str)]) -> Vec<u8> {
    // A binary trie; a record is a node above 0, a country below, or nothing.
    let mut nodes = vec![[None::<Record>; 2]];
    let mut data = Vec::new();
    for (address, bits, country) in networks {
        let at = data.len();
        map(&mut data, 1);
        text(&mut data, "country");
        map(&mut data, 1);
        text(&mut data, "iso_code");
        text(&mut data, country);
        let mut node = 0;
        for bit in 0..*bits {
            let side = (u32::from(*address) >> (31 - bit) & 1) as usize;
            if bit + 1 == *bits {
                nodes[node][side] = Some(Record::Data(at));
            } else if let Some(Record::Node(next)) = nodes[node][side] {
                node = next;
            } else {
                nodes.push([None; 2]);
                nodes[node][side] = Some(Record::Node(nodes.len() - 1));
                node = nodes.len() - 1;
            }
        }
    }
    let mut out = Vec::new();
    for record in nodes.iter().flatten() {
        let value = match record {
            None => nodes.len(),
            Some(Record::Node(node)) => *node,
            Some(Record::Data(at)) => nodes.len() + 16 + at,
        };
        out.extend(&(value as u32).to_be_bytes()[1..]);
    }
    out.extend([0; 16]);
    out.extend(data);
    out.extend(b"\xab\xcd\xefMaxMind.com");
    map(&mut out, 9);
    for (name, kind, value) in [
        ("node_count", 6, nodes.len()),
        ("record_size", 5, 24),
        ("ip_version", 5, 4),
        ("binary_format_major_version", 5, 2),
        ("binary_format_minor_version", 5, 0),
    ] {
        text(&mut out, name);
        uint(&mut out, kind, value as u32);
    }
    text(&mut out, "build_epoch");
    // An extended type: unsigned, 64 bits.
    out.extend([4, 2, 0, 0, 0, 1]);
    text(&mut out, "database_type");
    text(&mut out, "Test-Country");
    text(&mut out, "languages");
    out.extend([0, 4]);
    text(&mut out, "description");
    map(&mut out, 0);
    out
}

#[derive(Clone, Copy)]
enum Record {
    Node(usize),
    Data(usize),
}

fn map(out: &mut Vec<u8>, pairs: u8) {
    out.push(7 << 5 | pairs);
}

fn text(out: &mut Vec<u8>, text: &str) {
    if text.len() < 29 {
        out.push(2 << 5 | text.len() as u8);
    } else {
        out.extend([2 << 5 | 29, text.len() as u8 - 29]);
    }
    out.extend(text.as_bytes());
}

fn uint(out: &mut Vec<u8>, kind: u8, value: u32) {
    let bytes = value.to_be_bytes();
    let bytes = if kind == 5 { &bytes[2..] } else { &bytes[..] };
    out.push(kind << 5 | bytes.len() as u8);
    out.extend(bytes);
}
