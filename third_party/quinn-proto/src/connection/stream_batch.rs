//! Datagrams of nothing but stream data, behind the first of a GSO batch

use super::{Connection, SpaceId, Timer, spaces::SentPacket};
use crate::{
    Instant,
    packet::{FIXED_BIT, Header, PacketNumber},
};
use rand::RngExt;

/// Bytes of padding for which a batch goes on behind a datagram that isn't full
const MAX_PADDING: usize = 16;

/// What was appended to a batch
#[derive(Default)]
pub(super) struct Appended {
    pub(super) datagrams: usize,
    /// Number of the last packet; none if there are no datagrams
    pub(super) last: Option<u64>,
    /// Congestion control or pacing ended it
    pub(super) congestion_blocked: bool,
}

impl Connection {
    /// Whether packets would hold stream data alone, and need no thought otherwise
    pub(super) fn sends_only_streams(&self, now: Instant) -> bool {
        let space = &self.spaces[SpaceId::Data];
        let acks = &space.pending_acks;
        self.state.is_established()
            && self.path.validated
            && space.crypto.is_some()
            && space.loss_probes == 0
            && !space.ping_pending
            && !space.immediate_ack_pending
            && !acks.can_send()
            && !(acks.can_send_with_other_frames()
                && self.next_bundled_ack_time.is_some_and(|time| time <= now))
            && space.pending.is_clear()
            && self.path.challenge.is_none()
            && self
                .prev_path
                .as_ref()
                .is_none_or(|(_, path)| !path.challenge_pending)
            && self.path_responses.is_empty()
            && self.datagrams.outgoing.is_empty()
            && !self.config.pad_to_mtu
    }

    /// Appends datagrams of `segment_size` bytes, at most `most`, and the last of which may be
    /// shorter
    ///
    /// They are those that [`Connection::poll_transmit`] would make one by one where
    /// [`Self::sends_only_streams`]: a batch of tens of them differs in packet number and stream
    /// offset alone, and timers that count from `now` are the same for all.
    pub(super) fn append_stream_datagrams(
        &mut self,
        now: Instant,
        buf: &mut Vec<u8>,
        segment_size: usize,
        most: usize,
    ) -> Appended {
        let mut appended = Appended::default();
        let dst_cid = self.rem_cids.active();
        let (mtu, smoothed_rtt) = (self.path.current_mtu(), self.path.rtt.get());
        while appended.datagrams < most && self.streams.any_pending() {
            if self.spaces[SpaceId::Data].sent_with_keys >= self.key_phase_size {
                // A key update is due
                break;
            }
            let window = self.path.congestion.window();
            if self.path.in_flight.bytes + segment_size as u64 >= window {
                appended.congestion_blocked = true;
                break;
            }
            let delay = self
                .path
                .pacing
                .delay(smoothed_rtt, segment_size as u64, mtu, window, now);
            if let Some(delay) = delay {
                self.timers.set(Timer::Pacing, delay);
                appended.congestion_blocked = true;
                break;
            }

            let space = &mut self.spaces[SpaceId::Data];
            let keys = space.crypto.as_ref().expect("1-RTT keys");
            let (tag_len, sample_size) =
                (keys.packet.local.tag_len(), keys.header.local.sample_size());
            let exact_number = self.packet_number_filter.allocate(&mut self.rng, space);
            let number = PacketNumber::new(exact_number, space.largest_acked_packet.unwrap_or(0));
            let header = Header::Short {
                dst_cid,
                number,
                spin: if self.spin_enabled {
                    self.spin
                } else {
                    self.rng.random()
                },
                key_phase: self.key_phase,
            };
            let partial_encode = header.encode(buf);
            let start = partial_encode.start;
            if self.peer_params.grease_quic_bit && self.rng.random() {
                buf[start] ^= FIXED_BIT;
            }
            let min_size = Ord::max(
                buf.len() + (sample_size + 4).saturating_sub(number.len() + tag_len),
                start + dst_cid.len() + 6,
            );
            let max_size = start + segment_size - tag_len;

            let stream_frames =
                self.streams
                    .write_stream_frames(buf, max_size, self.config.send_fairness);
            if stream_frames.is_empty() {
                // The number is skipped: the peer can't tell
                buf.truncate(start);
                break;
            }
            self.stats.frame_tx.stream += stream_frames.len() as u64;
            let full = buf.len() + MAX_PADDING >= max_size;
            let end = if full { max_size } else { min_size };
            if buf.len() < end {
                buf.resize(end, 0);
            }

            buf.resize(buf.len() + tag_len, 0);
            let space = &mut self.spaces[SpaceId::Data];
            let keys = space.crypto.as_ref().expect("1-RTT keys");
            partial_encode.finish(
                &mut buf[start..],
                &*keys.header.local,
                Some((exact_number, &*keys.packet.local)),
            );
            let size = (buf.len() - start) as u16;
            self.config.qlog_sink.emit_packet_sent(
                exact_number,
                size.into(),
                SpaceId::Data,
                false,
                now,
                self.orig_rem_cid,
            );

            let packet = SentPacket {
                path_generation: self.path.generation(),
                time_sent: now,
                size,
                ack_eliciting: true,
                largest_acked: None,
                retransmits: Default::default(),
                stream_frames,
            };
            self.path.sent(exact_number, packet, space);
            self.path.pacing.on_transmit(size);
            appended.datagrams += 1;
            appended.last = Some(exact_number);
            if !full {
                break;
            }
        }

        if appended.last.is_some() {
            self.stats.path.sent_packets += appended.datagrams as u64;
            self.reset_keep_alive(now);
            self.spaces[SpaceId::Data].time_of_last_ack_eliciting_packet = Some(now);
            if self.permit_idle_reset {
                self.reset_idle_timeout(now, SpaceId::Data);
            }
            self.permit_idle_reset = false;
            self.set_loss_detection_timer(now);
        }
        appended
    }
}
