//! Active checks: one task an origin, which asks for a path again and again.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use http::uri::PathAndQuery;

use super::{config, health::Health, node::Node};

/// Starts checking; ends with the node.
pub(super) fn start(node: &Arc<Node>, path: PathAndQuery, settings: config::Health) {
    let node = Arc::downgrade(node);
    tokio::spawn(run(node, path, settings));
}

async fn run(node: Weak<Node>, path: PathAndQuery, settings: config::Health) {
    let mut health = Health::new(settings.rise, settings.fall);
    loop {
        {
            let Some(node) = node.upgrade() else { return };
            let result = node.check(&path, settings.timeout).await;
            // Our own full queue says nothing of the origin.
            if let Some(up) = result.and_then(|good| health.report(good)) {
                node.set_up(up);
                let word = if up { "up" } else { "down" };
                tracing::warn!(upstream = node.stats.name(), "checks say that it is {word}");
            }
        }
        tokio::time::sleep(spread(settings.interval, rand::random())).await;
    }
}

/// ± 10 %, so that edges don't check in step.
fn spread(interval: Duration, dice: u64) -> Duration {
    interval * (90 + u32::try_from(dice % 21).unwrap_or(10)) / 100
}
