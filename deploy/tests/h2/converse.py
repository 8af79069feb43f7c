"""Talks HTTP/2 with a server through hyper-h2, whose state machine refuses whatever breaks RFC 9113.

    converse.py URL FILE

FILE is what URL serves. Every conversation is on a connection of its own: whole and in ranges, many
at once, with small windows and small frames, cancelled halfway, HEAD, pings, changed settings,
continued and padded heads, priorities. Exits with 1 at the first wrong byte, status or frame.
"""

import pathlib
import socket
import ssl
import struct
import sys
import urllib.parse

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
from h2.settings import SettingCodes

CHUNK = 65536


class Client:
    """One connection; requests by stream, answers gathered."""

    def __init__(self, url, settings=None, acknowledge=True):
        self.parts = urllib.parse.urlsplit(url)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        tcp = socket.create_connection((self.parts.hostname, self.parts.port), timeout=30)
        self.tls = context.wrap_socket(tcp, server_hostname="localhost")
        assert self.tls.selected_alpn_protocol() == "h2"
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config)
        if settings:
            self.h2.local_settings = h2.settings.Settings(client=True, initial_values={
                SettingCodes.ENABLE_PUSH: 0, **settings})
        self.acknowledge = acknowledge
        self.answers = {}
        self.pongs = []
        self.settled = 0
        self.h2.initiate_connection()
        self.flush()

    def flush(self):
        self.tls.sendall(self.h2.data_to_send())

    def head(self, method="GET", fields=()):
        target = self.parts.path + ("?" + self.parts.query if self.parts.query else "")
        return [(":method", method), (":scheme", "https"), (":authority", self.parts.netloc),
                (":path", target), *fields]

    def ask(self, method="GET", fields=(), **how):
        stream = self.h2.get_next_available_stream_id()
        self.answers[stream] = {"head": None, "body": bytearray(), "done": False, "reset": None}
        self.h2.send_headers(stream, self.head(method, fields), end_stream=True, **how)
        self.flush()
        return stream

    def pump(self, until):
        """Takes what comes until that is so."""
        while not until():
            data = self.tls.recv(CHUNK)
            if not data:
                sys.exit("closed by the server")
            for event in self.h2.receive_data(data):
                self.take(event)
            self.flush()

    def take(self, event):
        answer = self.answers.get(getattr(event, "stream_id", None))
        match event:
            case h2.events.ResponseReceived():
                answer["head"] = dict(event.headers)
            case h2.events.DataReceived():
                answer["body"] += event.data
                if self.acknowledge:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                answer["done"] = True
            case h2.events.StreamReset():
                answer["reset"] = event.error_code
            case h2.events.PingAckReceived():
                self.pongs.append(event.ping_data)
            case h2.events.SettingsAcknowledged():
                self.settled += 1
            case h2.events.ConnectionTerminated():
                sys.exit(f"GOAWAY: {event}")

    def wait(self, *streams):
        self.pump(lambda: all(self.answers[stream]["done"] for stream in streams))
        return [self.answers[stream] for stream in streams]

    def ranges(self, count, length, total):
        """Ranges spread over the file, all at once."""
        places = [(i * 7919 * 64) % (total - length) for i in range(count)]
        streams = [self.ask(fields=[("range", f"bytes={at}-{at + length - 1}")]) for at in places]
        return [(at, answer) for at, answer in zip(places, self.wait(*streams))]


def expect(holds, what):
    if not holds:
        sys.exit(what)


def same(answers, disk, length):
    for at, answer in answers:
        expect(answer["head"][":status"] == "206", f"status {answer['head']}")
        expect(answer["body"] == disk[at:at + length], f"range at {at}")


def whole(url, disk):
    client = Client(url)
    for _ in range(2):
        [answer] = client.wait(client.ask())
        expect(answer["head"][":status"] == "200" and answer["body"] == disk, "whole file")
    [answer] = client.wait(client.ask("HEAD"))
    expect(int(answer["head"]["content-length"]) == len(disk) and not answer["body"], "HEAD")
    [answer] = client.wait(client.ask(fields=[("range", f"bytes={len(disk)}-")]))
    expect(answer["head"][":status"] == "416", "unsatisfiable range")


def many(url, disk):
    client = Client(url)
    for length in (1, 2048, 16384, 65536):
        length = min(length, len(disk) // 2)
        for _ in range(5):
            same(client.ranges(90, length, len(disk)), disk, length)


def small_windows(url, disk):
    client = Client(url, {SettingCodes.INITIAL_WINDOW_SIZE: 1000, SettingCodes.MAX_HEADER_LIST_SIZE: 8192,
                          SettingCodes.HEADER_TABLE_SIZE: 0})
    length = min(50_000, len(disk) // 2)
    same(client.ranges(20, length, len(disk)), disk, length)


def windows_change(url, disk):
    client = Client(url, acknowledge=False)
    stream = client.ask()
    client.pump(lambda: len(client.answers[stream]["body"]) >= min(65_535, len(disk)))
    client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1 << 20, SettingCodes.HEADER_TABLE_SIZE: 100})
    client.h2.increment_flow_control_window(1 << 30)
    client.h2.increment_flow_control_window(1 << 24, stream)
    client.flush()
    [answer] = client.wait(stream)
    expect(answer["body"] == disk[:len(answer["body"])] and answer["body"] == disk, "after settings")
    client.pump(lambda: client.settled >= 2)


def cancelled(url, disk):
    client = Client(url, acknowledge=False)
    for _ in range(30):
        streams = [client.ask() for _ in range(3)]
        for stream in streams[:2]:
            client.h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
        client.h2.increment_flow_control_window(1 << 24)
        client.h2.increment_flow_control_window(1 << 24, streams[2])
        client.flush()
        [answer] = client.wait(streams[2])
        expect(answer["body"] == disk, "beside cancelled ones")


def odd_heads(url, disk):
    client = Client(url)
    client.h2.ping(b"12345678")
    client.flush()
    client.pump(lambda: client.pongs == [b"12345678"])
    # Longer than a frame allows itself to be: HEADERS and CONTINUATION.
    client.h2.max_outbound_frame_size = 64
    stream = client.ask(fields=[("x-long", "v" * 2000), ("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers")])
    client.h2.max_outbound_frame_size = 16384
    [answer] = client.wait(stream)
    expect(answer["body"] == disk, "continued head")
    [answer] = client.wait(client.ask(priority_weight=7, priority_depends_on=0, priority_exclusive=True))
    expect(answer["body"] == disk, "head with a priority")
    # A PRIORITY_UPDATE (RFC 9218), and a frame of no known type.
    stream = client.h2.get_next_available_stream_id()
    update = struct.pack(">I", stream) + b"u=0, i"
    client.tls.sendall(len(update).to_bytes(3, "big") + b"\x10\x00\0\0\0\0" + update + b"\0\0\1\xbb\x00\0\0\0\0x")
    [answer] = client.wait(client.ask(fields=[("priority", "u=5")]))
    expect(answer["body"] == disk, "prioritised")


def main():
    url, disk = sys.argv[1], pathlib.Path(sys.argv[2]).read_bytes()
    for conversation in (whole, many, small_windows, windows_change, cancelled, odd_heads):
        conversation(url, disk)
        print(conversation.__name__, "well")


main()
