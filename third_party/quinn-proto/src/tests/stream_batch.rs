//! Batches of datagrams that hold nothing but stream data

use super::*;

/// Bytes of a stream, each kind its own
fn body(n: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 7 + at * n) as u8).collect()
}

/// Sends streams from the server, losing datagrams on the way; the datagrams that were sent
fn transfer(lost: impl Fn(u64) -> bool, fair: bool) -> u64 {
    let _guard = subscribe();
    let mut config = server_config();
    let mut transport = TransportConfig::default();
    transport.send_fairness(fair);
    config.transport = Arc::new(transport);
    let mut pair = Pair::new(Default::default(), config);
    pair.latency = Duration::from_millis(5);
    let (client_ch, server_ch) = pair.connect();

    // Large and small, one of them empty, and of two priorities
    let bodies: Vec<Vec<u8>> = [150_000, 70_001, 1, 0, 90_000, 1_399]
        .iter()
        .enumerate()
        .map(|(n, &len)| body(n + 1, len))
        .collect();
    let streams: Vec<StreamId> = bodies
        .iter()
        .enumerate()
        .map(|(n, body)| {
            let s = pair.server_streams(server_ch).open(Dir::Uni).unwrap();
            let mut stream = pair.server_send(server_ch, s);
            stream.set_priority((n % 2) as i32).unwrap();
            assert_eq!(stream.write(body).unwrap(), body.len());
            stream.finish().unwrap();
            s
        })
        .collect();

    let mut sent = 0;
    for _ in 0..100_000 {
        pair.drive_client();
        let mut earlier = pair.client.inbound.len();
        pair.drive_server();
        pair.client.inbound.retain(|_| {
            if earlier > 0 {
                earlier -= 1;
                return true;
            }
            sent += 1;
            !lost(sent)
        });
        if !pair.step() {
            break;
        }
    }

    for (&s, body) in streams.iter().zip(&bodies) {
        let mut received = Vec::new();
        let mut stream = pair.client_recv(client_ch, s);
        let mut chunks = stream.read(true).unwrap();
        while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
            received.extend_from_slice(&chunk.bytes);
        }
        assert!(received == *body, "{s}: {} bytes", received.len());
        assert_matches!(chunks.next(usize::MAX), Ok(None));
        let _ = chunks.finalize();
    }
    // All was acknowledged, so the streams are gone
    let mut finished = 0;
    while let Some(event) = pair.server_conn_mut(server_ch).poll() {
        finished += matches!(event, Event::Stream(StreamEvent::Finished { .. })) as usize;
    }
    assert_eq!(finished, streams.len());
    let connection = pair.server_conn_mut(server_ch);
    assert_eq!(connection.bytes_in_flight(), 0);
    assert!(!connection.is_closed());
    let stats = connection.stats();
    assert!(stats.path.sent_packets >= stats.udp_tx.datagrams);
    stats.udp_tx.datagrams
}

#[test]
fn streams_come_whole() {
    for fair in [true, false] {
        // Little more than their bytes need, of which a datagram holds at least 1,100
        let datagrams = transfer(|_| false, fair);
        assert!(datagrams < 330, "{datagrams}");
    }
}

#[test]
fn whatever_is_lost() {
    for every in [2, 3, 10, 41] {
        for fair in [true, false] {
            transfer(|n| n % every == 0, fair);
        }
    }
}

#[test]
fn a_burst_is_lost() {
    transfer(|n| (60..140).contains(&n), true);
}
