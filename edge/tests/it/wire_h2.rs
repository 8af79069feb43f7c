//! HTTP/2 clients that speak in raw frames: the rules of RFC 9113, and what is done about those who
//! break them.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{Edge, answer, edge, object_origin, origin, pattern};

const PATIENCE: Duration = Duration::from_secs(20);

const PROTOCOL: u32 = 0x1;
const FLOW_CONTROL: u32 = 0x3;
const STREAM_CLOSED: u32 = 0x5;
const FRAME_SIZE: u32 = 0x6;
const CANCEL: u32 = 0x8;
const COMPRESSION: u32 = 0x9;
const CALM: u32 = 0xb;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW: u8 = 8;
const CONTINUATION: u8 = 9;
const PRIORITY_UPDATE: u8 = 16;

/// GET, http, `/`, authority `a`.
const GET: &[u8] = &[0x82, 0x86, 0x84, 0x41, 1, b'a'];
/// The same with POST.
const POST: &[u8] = &[0x83, 0x86, 0x84, 0x41, 1, b'a'];
/// END_STREAM and END_HEADERS.
const WHOLE: u8 = 0x5;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn settings(entries: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = entries
        .iter()
        .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    frame(SETTINGS, 0, 0, &payload)
}

/// A frame from the edge.
#[derive(Clone, Debug, PartialEq)]
struct Got {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Got {
    /// The error code of GOAWAY or RST_STREAM.
    fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// A client.
struct Peer(TcpStream);

impl Peer {
    /// A connection whose settings are exchanged.
    async fn new(edge: &Edge, entries: &[(u16, u32)]) -> Self {
        let mut peer = Self::silent(edge).await;
        peer.send(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings(entries)[..]].concat())
            .await;
        // Theirs, and their acknowledgement of ours.
        assert_eq!(peer.wait(SETTINGS).await.flags, 0);
        assert_eq!(peer.wait(SETTINGS).await.flags, 1);
        peer.send(&frame(SETTINGS, 1, 0, &[])).await;
        peer
    }

    /// A connection on which nothing was said.
    async fn silent(edge: &Edge) -> Self {
        let tcp = TcpStream::connect(edge.http()).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        Self(tcp)
    }

    async fn send(&mut self, bytes: &[u8]) {
        // The edge may have had enough.
        let _ = timeout(PATIENCE, self.0.write_all(bytes)).await;
    }

    /// The next frame; none at the end of the connection.
    async fn next(&mut self) -> Option<Got> {
        let read = async {
            let mut header = [0; 9];
            self.0.read_exact(&mut header).await.ok()?;
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
            let mut payload = vec![0; length as usize];
            self.0.read_exact(&mut payload).await.ok()?;
            Some(Got {
                kind: header[3],
                flags: header[4],
                stream: u32::from_be_bytes(header[5..].try_into().unwrap()),
                payload,
            })
        };
        timeout(PATIENCE, read)
            .await
            .expect("the edge says nothing")
    }

    /// The next frame of that type.
    async fn wait(&mut self, kind: u8) -> Got {
        loop {
            let got = self.next().await;
            let got = got.unwrap_or_else(|| panic!("closed before a frame of type {kind}"));
            if got.kind == kind {
                return got;
            }
        }
    }

    /// The frames that come before the edge answers a ping.
    async fn until_ping(&mut self) -> Vec<Got> {
        self.send(&frame(PING, 0, 0, b"are you?")).await;
        let mut frames = Vec::new();
        loop {
            let got = self.next().await.expect("closed before a ping");
            if got.kind == PING {
                assert_eq!((got.flags, &got.payload[..]), (1, &b"are you?"[..]));
                return frames;
            }
            frames.push(got);
        }
    }

    /// So many bytes of bodies and no more, by stream, in the order in which they come.
    async fn data(&mut self, total: usize) -> Vec<(u32, usize)> {
        let (mut sums, mut sum): (Vec<(u32, usize)>, usize) = (Vec::new(), 0);
        while sum < total {
            let got = self.wait(DATA).await;
            sum += got.payload.len();
            match sums.last_mut().filter(|(stream, _)| *stream == got.stream) {
                Some((_, sum)) => *sum += got.payload.len(),
                None => sums.push((got.stream, got.payload.len())),
            }
        }
        // The first may be answered before what was asked for earlier is sent.
        for _ in 0..2 {
            let more = self.until_ping().await;
            let more = more.iter().filter(|got| got.kind == DATA);
            sum += more.map(|got| got.payload.len()).sum::<usize>();
        }
        assert_eq!(sum, total, "{sums:?}");
        sums
    }

    /// Waits for GOAWAY with that code, and for the end.
    async fn closed_with(&mut self, code: u32, what: &str) {
        let mut said = None;
        while let Some(got) = self.next().await {
            if got.kind == GOAWAY {
                said = Some(got.code());
            }
        }
        assert_eq!(said, Some(code), "{what}");
    }
}

async fn running(length: usize) -> Edge {
    let origin = object_origin(pattern(length)).await;
    let edge = edge(origin.address, |_| {}).await;
    // What is asked for below is in memory then.
    edge.h2c().await.get("/", &[]).await;
    edge
}

#[tokio::test]
async fn broken_rules_close_the_http_2_connection() {
    let edge = running(100).await;
    let open = frame(HEADERS, 0x4, 1, POST);
    let get = frame(HEADERS, WHOLE, 1, GET);
    for (what, bytes, code) in [
        ("data on no stream", frame(DATA, 0, 0, b"x"), PROTOCOL),
        ("data on an idle stream", frame(DATA, 0, 1, b"x"), PROTOCOL),
        (
            "head on an even stream",
            frame(HEADERS, WHOLE, 2, GET),
            PROTOCOL,
        ),
        (
            "streams backwards",
            [frame(HEADERS, WHOLE, 5, GET), frame(HEADERS, WHOLE, 3, GET)].concat(),
            PROTOCOL,
        ),
        (
            "a head after the end",
            [&get[..], &get].concat(),
            STREAM_CLOSED,
        ),
        (
            "data after the end",
            [&get[..], &frame(DATA, 0, 1, b"x")].concat(),
            STREAM_CLOSED,
        ),
        (
            "reset of an idle stream",
            frame(RESET, 0, 1, &[0; 4]),
            PROTOCOL,
        ),
        (
            "window of an idle stream",
            frame(WINDOW, 0, 1, &[0, 0, 0, 1]),
            PROTOCOL,
        ),
        (
            "a window of nothing",
            frame(WINDOW, 0, 0, &[0; 4]),
            PROTOCOL,
        ),
        (
            "a window too large",
            frame(WINDOW, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
            FLOW_CONTROL,
        ),
        ("a push", frame(5, 0x4, 1, &[0, 0, 0, 2]), PROTOCOL),
        (
            "a lone continuation",
            frame(CONTINUATION, 0x4, 1, GET),
            PROTOCOL,
        ),
        (
            "a ping in a head",
            [frame(HEADERS, 0x1, 1, GET), frame(PING, 0, 0, &[0; 8])].concat(),
            PROTOCOL,
        ),
        (
            "another stream in a head",
            [
                frame(HEADERS, 0x1, 1, GET),
                frame(CONTINUATION, 0x4, 3, &[]),
            ]
            .concat(),
            PROTOCOL,
        ),
        (
            "an endless head",
            [
                frame(HEADERS, 0x1, 1, GET),
                frame(CONTINUATION, 0, 1, &[0x82; 16_000]).repeat(3),
            ]
            .concat(),
            CALM,
        ),
        ("padding alone", frame(DATA, 0x8, 1, &[9, 0]), PROTOCOL),
        ("a long ping", frame(PING, 0, 0, &[0; 9]), FRAME_SIZE),
        ("settings of a stream", frame(SETTINGS, 0, 1, &[]), PROTOCOL),
        ("half a setting", frame(SETTINGS, 0, 0, &[0; 3]), FRAME_SIZE),
        (
            "settings in an ack",
            frame(SETTINGS, 1, 0, &[0; 6]),
            FRAME_SIZE,
        ),
        ("push set to 2", settings(&[(2, 2)]), PROTOCOL),
        ("an endless window", settings(&[(4, 1 << 31)]), FLOW_CONTROL),
        ("small frames", settings(&[(5, 16_383)]), PROTOCOL),
        ("huge frames", settings(&[(5, 1 << 24)]), PROTOCOL),
        (
            "a frame too large",
            frame(DATA, 0, 1, &[0; 16_385]),
            FRAME_SIZE,
        ),
        (
            "a field of no table",
            frame(HEADERS, WHOLE, 1, &[0xbe]),
            COMPRESSION,
        ),
        (
            "a bomb",
            {
                // One entry of almost the whole table, then references to it.
                let entry = [&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e][..], &[b'y'; 4000]].concat();
                frame(HEADERS, WHOLE, 1, &[GET, &entry, &[0xbe; 5000]].concat())
            },
            CALM,
        ),
        (
            "trailers of no table",
            [&open[..], &frame(HEADERS, WHOLE, 1, &[0xbf])].concat(),
            COMPRESSION,
        ),
    ] {
        let mut peer = Peer::new(&edge, &[]).await;
        peer.send(&bytes).await;
        peer.closed_with(code, what).await;
    }
    let mut peer = Peer::silent(&edge).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    peer.send(&[&preface[..], &frame(PING, 0, 0, &[0; 8])].concat())
        .await;
    peer.closed_with(PROTOCOL, "no settings").await;
    let line = "segue_edge_cut_total{protocol=\"h2\",reason=\"protocol\"}";
    assert!(edge.metric(line).await >= 20);
}

#[tokio::test]
async fn faults_of_a_request_lose_its_stream_only() {
    let edge = running(100).await;
    let mut peer = Peer::new(&edge, &[]).await;
    let field = |name: &str, value: &str| {
        let length = |text: &str| u8::try_from(text.len()).unwrap();
        [
            GET,
            &[0, length(name)],
            name.as_bytes(),
            &[length(value)],
            value.as_bytes(),
        ]
        .concat()
    };
    let head = |block: &[u8]| frame(HEADERS, WHOLE, 0, block);
    let open = |more: &[Vec<u8>]| [&[frame(HEADERS, 0x4, 0, POST)], more].concat().concat();
    let long = [POST, &[0x0f, 13, 1, b'3']].concat();
    let mut stream: u32 = 1;
    for (what, bytes, code) in [
        ("upper case", head(&field("X", "y")), PROTOCOL),
        ("a line feed", head(&field("x", "a\nb")), PROTOCOL),
        ("a space in front", head(&field("x", " y")), PROTOCOL),
        ("connection", head(&field("connection", "close")), PROTOCOL),
        ("upgrade", head(&field("upgrade", "h2c")), PROTOCOL),
        ("te", head(&field("te", "gzip")), PROTOCOL),
        (
            "transfer-encoding",
            head(&field("transfer-encoding", "chunked")),
            PROTOCOL,
        ),
        ("another host", head(&field("host", "b")), PROTOCOL),
        (
            "a pseudo-field behind",
            head(&field(":path", "/")),
            PROTOCOL,
        ),
        ("an unknown one", head(&[0x82, 0x86, 0x84, 0x88]), PROTOCOL),
        ("no path", head(&[0x82, 0x86, 0x41, 1, b'a']), PROTOCOL),
        ("no scheme", head(&[0x82, 0x84, 0x41, 1, b'a']), PROTOCOL),
        ("no authority", head(&[0x82, 0x86, 0x84]), PROTOCOL),
        ("two methods", head(&[&[0x82], GET].concat()), PROTOCOL),
        (
            "an empty path",
            head(&[0x82, 0x86, 0x44, 0, 0x41, 1, b'a']),
            PROTOCOL,
        ),
        ("a length and no body", head(&long), PROTOCOL),
        (
            "less than announced",
            [frame(HEADERS, 0x4, 0, &long), frame(DATA, 1, 0, b"ab")].concat(),
            PROTOCOL,
        ),
        (
            "more than announced",
            [frame(HEADERS, 0x4, 0, &long), frame(DATA, 0, 0, b"abcd")].concat(),
            PROTOCOL,
        ),
        (
            "trailers without the end",
            open(&[frame(HEADERS, 0x4, 0, &[0, 1, b'x', 1, b'y'])]),
            PROTOCOL,
        ),
        (
            "pseudo-fields in trailers",
            open(&[frame(HEADERS, WHOLE, 0, &[0x82])]),
            PROTOCOL,
        ),
        (
            "a window of nothing",
            open(&[frame(WINDOW, 0, 0, &[0; 4])]),
            PROTOCOL,
        ),
        (
            "a window too large",
            open(&[frame(WINDOW, 0, 0, &[0x7f, 0xff, 0xff, 0xff])]),
            FLOW_CONTROL,
        ),
    ] {
        // Each on a stream of its own: its id takes the place of the zeros.
        let mut rest = &bytes[..];
        let mut sent = Vec::new();
        while !rest.is_empty() {
            let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
            let (this, others) = rest.split_at(9 + length);
            sent.extend_from_slice(&this[..5]);
            sent.extend_from_slice(&stream.to_be_bytes());
            sent.extend_from_slice(&this[9..]);
            rest = others;
        }
        peer.send(&sent).await;
        let got = peer.wait(RESET).await;
        assert_eq!((got.stream, got.code()), (stream, code), "{what}");
        stream += 2;
    }
    // The connection goes on, and so does the table of its fields.
    peer.send(&frame(HEADERS, WHOLE, stream, GET)).await;
    let got = peer.wait(HEADERS).await;
    // Behind the size of the table: `:status: 200`.
    assert_eq!((got.stream, got.payload.contains(&0x88)), (stream, true));
}

#[tokio::test]
async fn heads_come_in_pieces_with_padding_and_priority() {
    let edge = running(100).await;
    let mut peer = Peer::new(&edge, &[]).await;
    let padded = [&[3, 0, 0, 0, 0, 255], &GET[..2], &[0; 3]].concat();
    let frames = [
        frame(0xbb, 0xff, 1, b"of no meaning"),
        frame(2, 0, 1, &[0, 0, 0, 3, 9]),
        frame(HEADERS, 0x1 | 0x8 | 0x20, 1, &padded),
        frame(CONTINUATION, 0, 1, &GET[2..3]),
        frame(CONTINUATION, 0, 1, &[]),
        frame(CONTINUATION, 0x4, 1, &GET[3..]),
    ];
    for byte in frames.concat() {
        peer.send(&[byte]).await;
    }
    assert_eq!(peer.wait(HEADERS).await.stream, 1);
    let body = peer.wait(DATA).await;
    assert_eq!((body.flags, body.payload.len()), (1, 100));
}

#[tokio::test]
async fn no_more_is_sent_than_the_windows_take() {
    let edge = running(300_000).await;
    let mut peer = Peer::new(&edge, &[(4, 0)]).await;
    peer.send(&frame(HEADERS, WHOLE, 1, GET)).await;
    assert_eq!(peer.wait(HEADERS).await.stream, 1);
    peer.data(0).await;
    peer.send(&frame(WINDOW, 0, 1, &100_u32.to_be_bytes()))
        .await;
    peer.data(100).await;
    // Settings change the windows of streams that are under way, also to less than nothing.
    peer.send(&settings(&[(4, 50)])).await;
    peer.data(50).await;
    peer.send(&settings(&[(4, 0)])).await;
    peer.send(&frame(WINDOW, 0, 1, &50_u32.to_be_bytes())).await;
    peer.data(0).await;
    // Then the connection's own window is in the way.
    peer.send(&settings(&[(4, 1 << 20)])).await;
    peer.data(65_535 - 150).await;
    // Responses without a body need none.
    let head = [&[0x42, 4], &b"HEAD"[..], &GET[1..]].concat();
    peer.send(&frame(HEADERS, WHOLE, 3, &head)).await;
    let got = peer.wait(HEADERS).await;
    assert_eq!((got.stream, got.flags), (3, 5));
    peer.send(&frame(WINDOW, 0, 0, &300_000_u32.to_be_bytes()))
        .await;
    assert_eq!(peer.data(300_000 - 65_535).await, [(1, 300_000 - 65_535)]);
}

#[tokio::test]
async fn a_stream_that_is_not_read_is_reset_and_the_others_go_on() {
    let origin = object_origin(pattern(300_000)).await;
    let edge = edge(origin.address, |config| {
        config.limits.stall = Duration::from_millis(600);
        config.limits.min_rate = 10_000;
    });
    let edge = edge.await;
    edge.h2c().await.get("/", &[]).await;
    let mut peer = Peer::new(&edge, &[(4, 1_000)]).await;
    for stream in [1, 3] {
        peer.send(&frame(HEADERS, WHOLE, stream, GET)).await;
    }
    // One is read all the time; of the other there is never room for more.
    let more = 2_000_u32.to_be_bytes();
    let reset = loop {
        peer.send(&frame(WINDOW, 0, 1, &more)).await;
        peer.send(&frame(WINDOW, 0, 0, &more)).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let frames = peer.until_ping().await;
        if let Some(reset) = frames.into_iter().find(|got| got.kind == RESET) {
            break reset;
        }
    };
    assert_eq!((reset.stream, reset.code()), (3, CANCEL));
    peer.send(&frame(WINDOW, 0, 1, &more)).await;
    assert_eq!(peer.wait(DATA).await.stream, 1);
    let line = "segue_edge_cut_total{protocol=\"h2\",reason=\"stall\"}";
    assert_eq!(edge.metric(line).await, 1);
}

#[tokio::test]
async fn the_most_urgent_is_sent_first() {
    let edge = running(300_000).await;
    let mut peer = Peer::new(&edge, &[(4, 1 << 20)]).await;
    let urgent = |value: &str| {
        let length = u8::try_from(value.len()).unwrap();
        [GET, &[0, 8], b"priority", &[length], value.as_bytes()].concat()
    };
    let more = |bytes: u32| frame(WINDOW, 0, 0, &bytes.to_be_bytes());
    // Foretold, as browsers do.
    peer.send(&frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x07u=1, i"))
        .await;
    peer.send(
        &[
            frame(HEADERS, WHOLE, 1, &urgent("u=7")),
            frame(HEADERS, WHOLE, 3, GET),
            frame(HEADERS, WHOLE, 5, &urgent("u=1, i")),
            frame(HEADERS, WHOLE, 7, GET),
        ]
        .concat(),
    )
    .await;
    // The first takes all the connection's window has.
    assert_eq!(peer.data(65_535).await, [(1, 65_535)]);
    // Incremental ones of one urgency share.
    peer.send(&more(65_536)).await;
    let shared = [5, 7, 5, 7].map(|stream| (stream, 16_384));
    assert_eq!(peer.data(65_536).await, shared);
    // Then the client changes its mind.
    peer.send(&frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x03u=0"))
        .await;
    peer.send(&more(300_000)).await;
    assert_eq!(peer.data(300_000).await, [(3, 300_000)]);
    peer.send(&more(1 << 20)).await;
    let rest = 3 * 300_000 - 65_535 - 65_536;
    assert_eq!(peer.data(rest).await.last().unwrap().0, 1);
}

#[tokio::test]
async fn an_upload_gets_its_window_back_as_it_is_read() {
    let origin = origin(|request| async move {
        use http_body_util::BodyExt;
        let body = request.into_body().collect().await.unwrap();
        answer(200, &[], body.to_bytes().len().to_string())
    })
    .await;
    let edge = edge(origin.address, |_| {}).await;
    let mut peer = Peer::new(&edge, &[]).await;
    peer.send(&frame(HEADERS, 0x4, 1, POST)).await;
    let (mut stream, mut connection, mut left) = (65_536_i64, 262_144_i64, 1_000_000_i64);
    while left > 0 {
        let length = (left + 1).min(stream).min(connection).min(16_000);
        if length > 1 {
            // A hundredth is padding.
            let padding = vec![0; usize::try_from(length / 100).unwrap().min(255)];
            let data = vec![7; usize::try_from(length).unwrap() - padding.len() - 1];
            let payload = [&[u8::try_from(padding.len()).unwrap()], &data[..], &padding].concat();
            left -= i64::try_from(data.len()).unwrap();
            stream -= length;
            connection -= length;
            let flags = if left == 0 { 0x9 } else { 0x8 };
            peer.send(&frame(DATA, flags, 1, &payload)).await;
            continue;
        }
        let update = peer.wait(WINDOW).await;
        let increment = u32::from_be_bytes(update.payload[..].try_into().unwrap());
        match update.stream {
            0 => connection += i64::from(increment),
            _ => stream += i64::from(increment),
        }
    }
    assert_eq!(peer.wait(HEADERS).await.stream, 1);
    let body = peer.wait(DATA).await.payload;
    assert_eq!(String::from_utf8(body).unwrap(), "1000000");
}

#[tokio::test]
async fn a_drain_takes_requests_until_the_client_knows() {
    let edge = running(100).await;
    let mut peer = Peer::new(&edge, &[]).await;
    peer.send(&frame(HEADERS, WHOLE, 1, GET)).await;
    peer.wait(DATA).await;
    edge.drain();
    let warning = peer.wait(GOAWAY).await;
    assert_eq!(
        (warning.payload[..4].to_vec(), warning.code()),
        (vec![0x7f, 255, 255, 255], 0)
    );
    let ping = peer.wait(PING).await;
    // On its way when the edge said so.
    peer.send(&frame(HEADERS, WHOLE, 3, GET)).await;
    assert_eq!(peer.wait(DATA).await.stream, 3);
    peer.send(&frame(PING, 1, 0, &ping.payload)).await;
    peer.send(&frame(HEADERS, WHOLE, 5, GET)).await;
    let last = peer.wait(GOAWAY).await;
    assert_eq!(
        (last.payload[..4].to_vec(), last.code()),
        (vec![0, 0, 0, 3], 0)
    );
    while let Some(got) = peer.next().await {
        assert_ne!(got.stream, 5, "{got:?}");
    }
    timeout(PATIENCE, edge.ended()).await.unwrap();
}

#[tokio::test]
async fn interim_responses_come_before_the_final_one() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let _ = tcp.read(&mut head).await;
            let _ = tcp
                .write_all(
                    b"HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n\
                      HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfinal",
                )
                .await;
        }
    });
    let edge = edge(address, |_| {}).await;
    let mut peer = Peer::new(&edge, &[]).await;
    peer.send(&frame(HEADERS, WHOLE, 1, GET)).await;
    let has = |got: &Got, text: &str| {
        got.payload
            .windows(text.len())
            .any(|w| w == text.as_bytes())
    };
    let hints = peer.wait(HEADERS).await;
    assert!(hints.flags == 4 && has(&hints, "103") && has(&hints, "rel=preload"));
    let last = peer.wait(HEADERS).await;
    assert!(last.payload.contains(&0x88) && !has(&last, "rel=preload"));
    assert_eq!(peer.wait(DATA).await.payload, b"final");
}

#[tokio::test]
async fn who_expects_a_word_before_its_body_gets_it() {
    let origin = origin(|request| async move {
        use http_body_util::BodyExt;
        let body = request.into_body().collect().await.unwrap();
        answer(200, &[], body.to_bytes())
    })
    .await;
    let edge = edge(origin.address, |_| {}).await;
    let mut peer = Peer::new(&edge, &[]).await;
    let expects = [POST, &[0x0f, 20, 12], b"100-continue"].concat();
    peer.send(&frame(HEADERS, 0x4, 1, &expects)).await;
    let word = peer.wait(HEADERS).await;
    assert!(word.payload.ends_with(b"100"), "{word:?}");
    peer.send(&frame(DATA, 1, 1, b"hi")).await;
    assert!(peer.wait(HEADERS).await.payload.contains(&0x88));
    assert_eq!(peer.wait(DATA).await.payload, b"hi");
}
