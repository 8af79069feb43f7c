//! Huffman coding of field strings (RFC 7541 §5.2 and appendix B, taken over by RFC 9204 §4.1.2).
//! Decoding only: what we send is stored raw, since bytes are cheaper than bits here.

use std::sync::LazyLock;

/// Code and its length in bits, by symbol. The code of end-of-string, 30 ones, is in no string.
#[rustfmt::skip]
const CODES: [(u32, u8); 256] = [
    (0x1ff8, 13), (0x7fffd8, 23), (0xfffffe2, 28), (0xfffffe3, 28), (0xfffffe4, 28), (0xfffffe5, 28),
    (0xfffffe6, 28), (0xfffffe7, 28), (0xfffffe8, 28), (0xffffea, 24), (0x3ffffffc, 30), (0xfffffe9, 28),
    (0xfffffea, 28), (0x3ffffffd, 30), (0xfffffeb, 28), (0xfffffec, 28), (0xfffffed, 28), (0xfffffee, 28),
    (0xfffffef, 28), (0xffffff0, 28), (0xffffff1, 28), (0xffffff2, 28), (0x3ffffffe, 30), (0xffffff3, 28),
    (0xffffff4, 28), (0xffffff5, 28), (0xffffff6, 28), (0xffffff7, 28), (0xffffff8, 28), (0xffffff9, 28),
    (0xffffffa, 28), (0xffffffb, 28), (0x14, 6), (0x3f8, 10), (0x3f9, 10), (0xffa, 12),
    (0x1ff9, 13), (0x15, 6), (0xf8, 8), (0x7fa, 11), (0x3fa, 10), (0x3fb, 10),
    (0xf9, 8), (0x7fb, 11), (0xfa, 8), (0x16, 6), (0x17, 6), (0x18, 6),
    (0x0, 5), (0x1, 5), (0x2, 5), (0x19, 6), (0x1a, 6), (0x1b, 6),
    (0x1c, 6), (0x1d, 6), (0x1e, 6), (0x1f, 6), (0x5c, 7), (0xfb, 8),
    (0x7ffc, 15), (0x20, 6), (0xffb, 12), (0x3fc, 10), (0x1ffa, 13), (0x21, 6),
    (0x5d, 7), (0x5e, 7), (0x5f, 7), (0x60, 7), (0x61, 7), (0x62, 7),
    (0x63, 7), (0x64, 7), (0x65, 7), (0x66, 7), (0x67, 7), (0x68, 7),
    (0x69, 7), (0x6a, 7), (0x6b, 7), (0x6c, 7), (0x6d, 7), (0x6e, 7),
    (0x6f, 7), (0x70, 7), (0x71, 7), (0x72, 7), (0xfc, 8), (0x73, 7),
    (0xfd, 8), (0x1ffb, 13), (0x7fff0, 19), (0x1ffc, 13), (0x3ffc, 14), (0x22, 6),
    (0x7ffd, 15), (0x3, 5), (0x23, 6), (0x4, 5), (0x24, 6), (0x5, 5),
    (0x25, 6), (0x26, 6), (0x27, 6), (0x6, 5), (0x74, 7), (0x75, 7),
    (0x28, 6), (0x29, 6), (0x2a, 6), (0x7, 5), (0x2b, 6), (0x76, 7),
    (0x2c, 6), (0x8, 5), (0x9, 5), (0x2d, 6), (0x77, 7), (0x78, 7),
    (0x79, 7), (0x7a, 7), (0x7b, 7), (0x7ffe, 15), (0x7fc, 11), (0x3ffd, 14),
    (0x1ffd, 13), (0xffffffc, 28), (0xfffe6, 20), (0x3fffd2, 22), (0xfffe7, 20), (0xfffe8, 20),
    (0x3fffd3, 22), (0x3fffd4, 22), (0x3fffd5, 22), (0x7fffd9, 23), (0x3fffd6, 22), (0x7fffda, 23),
    (0x7fffdb, 23), (0x7fffdc, 23), (0x7fffdd, 23), (0x7fffde, 23), (0xffffeb, 24), (0x7fffdf, 23),
    (0xffffec, 24), (0xffffed, 24), (0x3fffd7, 22), (0x7fffe0, 23), (0xffffee, 24), (0x7fffe1, 23),
    (0x7fffe2, 23), (0x7fffe3, 23), (0x7fffe4, 23), (0x1fffdc, 21), (0x3fffd8, 22), (0x7fffe5, 23),
    (0x3fffd9, 22), (0x7fffe6, 23), (0x7fffe7, 23), (0xffffef, 24), (0x3fffda, 22), (0x1fffdd, 21),
    (0xfffe9, 20), (0x3fffdb, 22), (0x3fffdc, 22), (0x7fffe8, 23), (0x7fffe9, 23), (0x1fffde, 21),
    (0x7fffea, 23), (0x3fffdd, 22), (0x3fffde, 22), (0xfffff0, 24), (0x1fffdf, 21), (0x3fffdf, 22),
    (0x7fffeb, 23), (0x7fffec, 23), (0x1fffe0, 21), (0x1fffe1, 21), (0x3fffe0, 22), (0x1fffe2, 21),
    (0x7fffed, 23), (0x3fffe1, 22), (0x7fffee, 23), (0x7fffef, 23), (0xfffea, 20), (0x3fffe2, 22),
    (0x3fffe3, 22), (0x3fffe4, 22), (0x7ffff0, 23), (0x3fffe5, 22), (0x3fffe6, 22), (0x7ffff1, 23),
    (0x3ffffe0, 26), (0x3ffffe1, 26), (0xfffeb, 20), (0x7fff1, 19), (0x3fffe7, 22), (0x7ffff2, 23),
    (0x3fffe8, 22), (0x1ffffec, 25), (0x3ffffe2, 26), (0x3ffffe3, 26), (0x3ffffe4, 26), (0x7ffffde, 27),
    (0x7ffffdf, 27), (0x3ffffe5, 26), (0xfffff1, 24), (0x1ffffed, 25), (0x7fff2, 19), (0x1fffe3, 21),
    (0x3ffffe6, 26), (0x7ffffe0, 27), (0x7ffffe1, 27), (0x3ffffe7, 26), (0x7ffffe2, 27), (0xfffff2, 24),
    (0x1fffe4, 21), (0x1fffe5, 21), (0x3ffffe8, 26), (0x3ffffe9, 26), (0xffffffd, 28), (0x7ffffe3, 27),
    (0x7ffffe4, 27), (0x7ffffe5, 27), (0xfffec, 20), (0xfffff3, 24), (0xfffed, 20), (0x1fffe6, 21),
    (0x3fffe9, 22), (0x1fffe7, 21), (0x1fffe8, 21), (0x7ffff3, 23), (0x3fffea, 22), (0x3fffeb, 22),
    (0x1ffffee, 25), (0x1ffffef, 25), (0xfffff4, 24), (0xfffff5, 24), (0x3ffffea, 26), (0x7ffff4, 23),
    (0x3ffffeb, 26), (0x7ffffe6, 27), (0x3ffffec, 26), (0x3ffffed, 26), (0x7ffffe7, 27), (0x7ffffe8, 27),
    (0x7ffffe9, 27), (0x7ffffea, 27), (0x7ffffeb, 27), (0xffffffe, 28), (0x7ffffec, 27), (0x7ffffed, 27),
    (0x7ffffee, 27), (0x7ffffef, 27), (0x7fffff0, 27), (0x3ffffee, 26),
];

/// A place in the code tree after some bits.
type Node = u16;

/// Where four bits lead from a node.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    /// The next node; none where no code goes there.
    next: Option<Node>,
    /// The symbol completed on the way; codes have at least five bits, so at most one.
    symbol: Option<u8>,
}

/// The code tree in steps of four bits.
struct Machine {
    steps: Vec<[Step; 16]>,
    /// Nodes at which a string may end: less than a byte of ones since the last symbol.
    accepting: Vec<bool>,
}

static MACHINE: LazyLock<Machine> = LazyLock::new(build);

fn build() -> Machine {
    // The tree bit by bit: 0 is the root, children by bit, leaves hold symbols.
    let mut children: Vec<[Option<usize>; 2]> = vec![[None; 2]];
    let mut symbols: Vec<Option<u8>> = vec![None];
    for (symbol, (code, length)) in (0..=u8::MAX).zip(CODES) {
        let mut at = 0;
        for bit in (0..length).rev().map(|shift| (code >> shift & 1) as usize) {
            at = match children[at][bit] {
                Some(child) => child,
                None => {
                    children.push([None; 2]);
                    symbols.push(None);
                    let child = children.len() - 1;
                    children[at][bit] = Some(child);
                    child
                }
            };
        }
        symbols[at] = Some(symbol);
    }
    let mut accepting = vec![false; children.len()];
    let mut at = 0;
    accepting[0] = true;
    for _ in 0..7 {
        at = children[at][1].unwrap_or(0);
        accepting[at] = true;
    }
    let step = |from: usize, bits: usize| {
        let mut at = from;
        let mut symbol = None;
        for shift in (0..4).rev() {
            let Some(child) = children[at][bits >> shift & 1] else {
                return Step::default();
            };
            at = child;
            if let Some(found) = symbols[at] {
                symbol = Some(found);
                at = 0;
            }
        }
        Step {
            next: Node::try_from(at).ok(),
            symbol,
        }
    };
    let steps = (0..children.len())
        .map(|from| std::array::from_fn(|bits| step(from, bits)))
        .collect();
    Machine { steps, accepting }
}

/// Decodes a string; none where it is no Huffman string or longer than `max` bytes.
pub(crate) fn decode(coded: &[u8], max: usize) -> Option<Vec<u8>> {
    let machine = &*MACHINE;
    let mut out = Vec::with_capacity((coded.len() * 8 / 5).min(max));
    let mut at: Node = 0;
    for nibble in coded.iter().flat_map(|byte| [byte >> 4, byte & 0xf]) {
        let step = machine.steps[usize::from(at)][usize::from(nibble)];
        at = step.next?;
        if let Some(symbol) = step.symbol {
            if out.len() == max {
                return None;
            }
            out.push(symbol);
        }
    }
    machine.accepting[usize::from(at)].then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Encodes as RFC 7541 §5.2 says, for the tests.
    fn encode(text: &[u8]) -> Vec<u8> {
        let mut bits: Vec<bool> = Vec::new();
        for symbol in text {
            let (code, length) = CODES[usize::from(*symbol)];
            bits.extend((0..length).rev().map(|shift| code >> shift & 1 == 1));
        }
        bits.resize(bits.len().next_multiple_of(8), true);
        bits.chunks(8)
            .map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | u8::from(*bit)))
            .collect()
    }

    #[test]
    fn examples_of_the_rfc() {
        // RFC 7541 §C.4.
        let check = |coded: &[u8], text: &str| {
            assert_eq!(decode(coded, 99).as_deref(), Some(text.as_bytes()))
        };
        check(
            &[
                0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
            ],
            "www.example.com",
        );
        check(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], "no-cache");
        check(&[], "");
    }

    #[test]
    fn every_symbol_comes_back() {
        let text: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&text), 256), Some(text.clone()));
        assert_eq!(decode(&encode(&text), 255), None);
    }

    #[test]
    fn bad_padding_is_refused() {
        // `a` is 00011: padding of zeros, a whole byte of padding, end-of-string itself.
        assert_eq!(decode(&[0b0001_1000], 9), None);
        assert_eq!(decode(&[0b0001_1111, 0xff], 9), None);
        assert_eq!(decode(&[0xff, 0xff, 0xff, 0xff], 9), None);
        assert_eq!(decode(&[0b0001_1111], 9), Some(b"a".to_vec()));
    }
}
