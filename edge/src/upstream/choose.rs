//! Which of several nodes gets a request: by key (weighted rendezvous hashing with bounded load) or
//! by load (the less busy of two drawn by weight). Pure functions of keys, loads and dice.
//!
//! Rendezvous rather than a ring: a key goes to the node with the highest hash of (key, node), so
//! that a node that leaves gives up its own keys and moves no other, weights need no virtual nodes,
//! and the second choice of every key is spread over all others. It costs one multiplication and one
//! logarithm a node: with at most 256 nodes less than the system calls of the fetch that follows.
//!
//! Bounded load (Mirrokni, Thorup, Zadimoghaddam 2016): no node takes more than `LOAD_LIMIT` times
//! the mean of requests under way; what is above goes to the key's next choice.

/// Highest load of a node, as a multiple of the mean.
const LOAD_LIMIT: f64 = 1.25;

/// A load that is never too much: without it, two requests at a time would already push keys off
/// their owners.
pub(super) const LOAD_FLOOR: u32 = 8;

/// One node to choose from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Hash of its name: the same on all edges.
    pub(super) id: u64,
    /// Share of requests it is meant to get, against the others'.
    pub(super) weight: u32,
    /// Requests under way to it, as this edge sees it.
    pub(super) load: u32,
    /// Whether it may be chosen.
    pub(super) eligible: bool,
}

/// Hash of a node's name or a key.
pub(super) fn hash(text: &[u8]) -> u64 {
    twox_hash::XxHash64::oneshot(0, text)
}

/// The owner of a key among eligible candidates, its load bounded from `floor` on.
pub(super) fn by_key(
    key: u64,
    candidates: impl Iterator<Item = Candidate> + Clone,
    floor: u32,
) -> Option<usize> {
    let eligible = candidates.enumerate().filter(|(_, c)| c.eligible);
    let (weights, loads) = eligible.clone().fold((0.0, 1.0), |(w, l), (_, c)| {
        (w + f64::from(c.weight), l + f64::from(c.load))
    });
    let bound = |c: &Candidate| {
        let share = f64::from(c.weight) / weights;
        (LOAD_LIMIT * loads * share).ceil().max(f64::from(floor))
    };
    let best = |chosen: Option<(usize, f64)>, (n, c): (usize, Candidate)| {
        let score = score(key, &c);
        match chosen {
            Some((_, best)) if best >= score => chosen,
            _ => Some((n, score)),
        }
    };
    eligible
        .clone()
        .filter(|(_, c)| f64::from(c.load) < bound(c))
        .fold(None, best)
        .map(|(n, _)| n)
}

/// Weighted rendezvous: of all nodes' scores for a key the highest wins, each with a probability
/// proportional to its weight.
fn score(key: u64, node: &Candidate) -> f64 {
    let mixed = mix(key ^ mix(node.id));
    // 53 bits, never 0 or 1.
    let uniform = ((mixed >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(node.weight) / uniform.ln()
}

/// A bijection that spreads every bit (the finaliser of SplitMix64).
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The less busy, for its weight, of two different eligible candidates drawn by weight.
pub(super) fn by_load(
    candidates: impl Iterator<Item = Candidate> + Clone,
    dice: u64,
) -> Option<usize> {
    let eligible = candidates.enumerate().filter(|(_, c)| c.eligible);
    let first = draw(eligible.clone(), dice)?;
    let others = eligible.filter(|(n, _)| *n != first.0);
    let Some(second) = draw(others, mix(dice ^ 0x9e37_79b9_7f4a_7c15)) else {
        return Some(first.0);
    };
    let pressure = |c: &Candidate| f64::from(c.load) / f64::from(c.weight.max(1));
    if pressure(&second.1) < pressure(&first.1) {
        Some(second.0)
    } else {
        Some(first.0)
    }
}

fn draw(
    candidates: impl Iterator<Item = (usize, Candidate)> + Clone,
    dice: u64,
) -> Option<(usize, Candidate)> {
    let all: u64 = candidates.clone().map(|(_, c)| u64::from(c.weight)).sum();
    let mut at = dice.checked_rem(all)?;
    for (n, candidate) in candidates {
        match at.checked_sub(u64::from(candidate.weight)) {
            Some(rest) => at = rest,
            None => return Some((n, candidate)),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const KEYS: u64 = 20_000;

    fn nodes(n: u32) -> Vec<Candidate> {
        (0..n)
            .map(|n| Candidate {
                id: hash(format!("edge-{n}.example").as_bytes()),
                weight: 1,
                load: 0,
                eligible: true,
            })
            .collect()
    }

    fn key(n: u64) -> u64 {
        hash(format!("cdn.example/media/t{n}/opus-96.mp4").as_bytes())
    }

    fn owner(key: u64, nodes: &[Candidate]) -> usize {
        by_key(key, nodes.iter().copied(), LOAD_FLOOR).unwrap()
    }

    #[test]
    fn a_node_that_leaves_gives_up_its_own_keys_only() {
        for n in [3, 8, 20] {
            let before = nodes(n);
            let mut after = before.clone();
            after[1].eligible = false;
            let mut moved = 0;
            for k in (0..KEYS).map(key) {
                let (was, is) = (owner(k, &before), owner(k, &after));
                assert!(was == is || was == 1);
                moved += u64::from(was != is);
            }
            let fair = KEYS / u64::from(n);
            assert!(moved.abs_diff(fair) < fair / 8, "{moved} of {KEYS}, n {n}");
        }
    }

    #[test]
    fn keys_are_shared_out_by_weight() {
        let mut nodes = nodes(4);
        nodes[2].weight = 3;
        let mut count = [0_u64; 4];
        for k in (0..KEYS).map(key) {
            count[owner(k, &nodes)] += 1;
        }
        for (n, count) in count.iter().enumerate() {
            let fair = KEYS / 6 * u64::from(nodes[n].weight);
            assert!(count.abs_diff(fair) < fair / 8, "{n}: {count}, fair {fair}");
        }
    }

    #[test]
    fn no_node_carries_more_than_a_quarter_above_the_mean() {
        for (n, popular) in [(4, 1), (10, 3), (16, 1000)] {
            let mut nodes = nodes(n);
            // Few keys asked for over and over, and none of the requests ends.
            for request in 0..4000_u64 {
                let chosen = owner(key(request % popular), &nodes);
                nodes[chosen].load += 1;
                let mean = (request + 1) as f64 / f64::from(n);
                let highest = nodes.iter().map(|c| c.load).max().unwrap();
                let bound = (LOAD_LIMIT * mean).ceil().max(f64::from(LOAD_FLOOR));
                assert!(f64::from(highest) <= bound, "{highest} at mean {mean}");
            }
        }
    }

    #[test]
    fn below_the_floor_owners_keep_their_keys() {
        let mut nodes = nodes(8);
        let expected = owner(7, &nodes);
        nodes[expected].load = LOAD_FLOOR - 1;
        assert_eq!(owner(7, &nodes), expected);
        nodes[expected].load = LOAD_FLOOR;
        assert_ne!(owner(7, &nodes), expected);
    }

    #[test]
    fn by_load_follows_weights_when_idle_and_shuns_the_busy() {
        let mut nodes = nodes(3);
        nodes[0].weight = 2;
        let count = |nodes: &[Candidate]| {
            let mut count = [0_u32; 3];
            for n in 0..8000 {
                count[by_load(nodes.iter().copied(), mix(n)).unwrap()] += 1;
            }
            count
        };
        let idle = count(&nodes);
        assert!((3700..4300).contains(&idle[0]), "{idle:?}");
        assert!((1700..2300).contains(&idle[1]), "{idle:?}");
        nodes[1].load = 50;
        let busy = count(&nodes);
        assert!(busy[1] == 0 && busy[2] > 2500, "{busy:?}");
        nodes.iter_mut().for_each(|c| c.eligible = false);
        assert_eq!(by_load(nodes.iter().copied(), 1), None);
        assert_eq!(by_key(1, nodes.iter().copied(), 8), None);
    }
}
