//! Keeps the resident memory of a process that is the edge alone to what is configured: what nobody
//! claims (code, buffers, what the allocator holds back) is measured, and the memory tier gives way.

use std::{sync::Arc, time::Duration};

use crate::{cache::store::Store, metrics::resident_bytes};

/// How often memory is looked at.
const PERIOD: Duration = Duration::from_millis(200);

/// What is left free before the tier grows again, as a part of the configured memory: no growing and
/// shrinking by turns.
const SLACK: u64 = 50;

/// What is left to the allocator's own needs at first, as a part of the configured memory, until it is
/// known how much that is.
const RESERVE: u64 = 4;

/// The part of its room that a full tier may leave free.
const FREE: u64 = 8;

/// What one look finds, all in bytes.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// What the process has in memory.
    resident: u64,
    /// What the memory tier holds.
    tier: u64,
    /// What the memory tier may hold.
    room: u64,
}

/// What is to be taken for unclaimed after a look, where `configured` bytes are to be in use;
/// `unclaimed` is what was taken for it before.
fn correct(configured: u64, look: Look, unclaimed: i64) -> i64 {
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    // A tier that fills may grow faster than it is looked at: what it may still take counts.
    let expected = look.resident + look.room.saturating_sub(look.tier);
    let full = look.tier >= look.room - look.room / FREE;
    let excess = signed(expected).saturating_sub(signed(configured));
    let change = match excess {
        // Half, since what is freed takes a moment to show.
        1.. => excess / 2 + 1,
        _ if excess > -signed(configured / SLACK) => 0,
        // Before the tier is full, nobody knows what the allocator will need beside it.
        _ if !full => 0,
        _ => (excess + signed(configured / SLACK)) / 8,
    };
    unclaimed
        .saturating_add(change)
        .clamp(0, signed(configured))
}

/// Keeps the process to `configured` bytes until dropped.
pub(crate) async fn govern(store: Arc<Store>, configured: u64) {
    let base = resident_bytes().unwrap_or(0).min(configured) + configured / RESERVE;
    let mut unclaimed = i64::try_from(base).unwrap_or(0);
    loop {
        store.ledger.measured(unclaimed);
        store.trim();
        tokio::time::sleep(PERIOD).await;
        let Some(resident) = resident_bytes() else {
            return;
        };
        let (tier, room) = store.tier_and_room();
        let look = Look {
            resident,
            tier,
            room,
        };
        unclaimed = correct(configured, look, unclaimed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIGURED: u64 = 1 << 30;

    /// Looks until nothing changes any more; the tier's size then, and the most that was resident.
    fn settle(mut unclaimed: i64, claimed: u64, outside: u64) -> (u64, u64, i64) {
        let (mut most, mut tier) = (0, 0);
        let mut resident = 0;
        for round in 0..200 {
            let next = CONFIGURED
                .saturating_sub(claimed)
                .saturating_sub(unclaimed.unsigned_abs())
                .max(CONFIGURED / 4);
            // What is freed shows a look later.
            resident = outside + next.max(tier);
            tier = next;
            if round > 20 {
                most = most.max(resident);
            }
            let look = Look {
                resident,
                tier,
                room: next,
            };
            unclaimed = correct(CONFIGURED, look, unclaimed);
        }
        assert!(most <= CONFIGURED + CONFIGURED / 20, "{most}");
        (tier, resident, unclaimed)
    }

    #[test]
    fn the_tier_gives_way_to_what_nobody_claims_and_comes_back() {
        let (tier, resident, unclaimed) = settle(0, 0, 200 << 20);
        assert!(resident <= CONFIGURED);
        assert!(tier >= CONFIGURED - (200 << 20) - CONFIGURED / 25, "{tier}");
        let (tier, _, _) = settle(unclaimed, 0, 10 << 20);
        assert!(tier >= CONFIGURED - CONFIGURED / 25, "{tier}");
    }

    #[test]
    fn what_is_claimed_is_not_taken_twice() {
        let (tier, _, unclaimed) = settle(0, 300 << 20, 300 << 20);
        assert_eq!((tier, unclaimed), (CONFIGURED - (300 << 20), 0));
    }

    #[test]
    fn a_tier_that_fills_is_not_let_grow_blindly() {
        // A fill of some 700 MB/s, of which the allocator keeps a third more than it is asked for.
        let reserve = (50 << 20) + CONFIGURED / RESERVE;
        let (mut unclaimed, mut tier) = (reserve.cast_signed(), 0);
        for _ in 0..100 {
            let room = CONFIGURED - unclaimed.unsigned_abs();
            tier = room.min(tier + (140 << 20));
            let resident = (50 << 20) + tier + tier / 3;
            assert!(resident <= CONFIGURED + CONFIGURED / 20, "{resident}");
            let look = Look {
                resident,
                tier,
                room,
            };
            unclaimed = correct(CONFIGURED, look, unclaimed);
        }
        assert!(tier >= CONFIGURED * 2 / 3, "{tier}");
    }
}
