//! Symphonia's channel sets as our speakers.

use symphonia::core::audio::{Channels, Position};

use crate::downmix::{Speaker, wave_order};

/// The layout of decoded planes, in their order. Unknown sets are taken in WAVE order.
pub(super) fn speakers(channels: &Channels) -> Vec<Speaker> {
    let Channels::Positioned(positions) = channels else {
        return wave_order(channels.count()).to_vec();
    };
    if positions.bits().count_ones() <= 2 {
        return wave_order(channels.count()).to_vec();
    }
    positions.iter().map(speaker).collect()
}

/// Heights are taken as the speakers below them.
fn speaker(position: Position) -> Speaker {
    match position {
        Position::FRONT_LEFT
        | Position::FRONT_LEFT_CENTER
        | Position::FRONT_LEFT_WIDE
        | Position::TOP_FRONT_LEFT
        | Position::BOTTOM_FRONT_LEFT => Speaker::Left,
        Position::FRONT_RIGHT
        | Position::FRONT_RIGHT_CENTER
        | Position::FRONT_RIGHT_WIDE
        | Position::TOP_FRONT_RIGHT
        | Position::BOTTOM_FRONT_RIGHT => Speaker::Right,
        Position::LFE1 | Position::LFE2 => Speaker::Lfe,
        Position::REAR_LEFT
        | Position::SIDE_LEFT
        | Position::TOP_REAR_LEFT
        | Position::TOP_SIDE_LEFT => Speaker::SurroundLeft,
        Position::REAR_RIGHT
        | Position::SIDE_RIGHT
        | Position::TOP_REAR_RIGHT
        | Position::TOP_SIDE_RIGHT => Speaker::SurroundRight,
        Position::REAR_CENTER | Position::TOP_REAR_CENTER => Speaker::RearCentre,
        _ => Speaker::Centre,
    }
}
