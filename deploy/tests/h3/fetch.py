"""Fetches ranges of a URL over HTTP/3 with aioquic: usage: fetch.py URL DIRECTORY RANGE...

All ranges go out at once on one connection; each body is written to DIRECTORY/INDEX. A RANGE is
what follows `bytes=` in the header, or `whole`. Exits with 1 where an answer has another status
than --status says (206 for ranges and 200 for whole files unless given).
"""

import argparse
import asyncio
import pathlib
import ssl
import sys
import time
import urllib.parse

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration


class Client(QuicConnectionProtocol):
    """One HTTP/3 connection: sends GETs, gathers answers by stream."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._http = H3Connection(self._quic)
        self._answers = {}

    def quic_event_received(self, event):
        for http_event in self._http.handle_event(event):
            if not isinstance(http_event, (HeadersReceived, DataReceived)):
                continue
            answer = self._answers.get(http_event.stream_id)
            if answer is None:
                continue
            if isinstance(http_event, HeadersReceived):
                answer["headers"] = dict(http_event.headers)
            else:
                answer["body"] += http_event.data
            if http_event.stream_ended:
                answer["done"].set()

    async def get(self, url, range_):
        """Sends a GET and waits for the whole answer: status, headers, body."""
        parts = urllib.parse.urlsplit(url)
        stream = self._quic.get_next_available_stream_id()
        answer = {"headers": {}, "body": bytearray(), "done": asyncio.Event()}
        self._answers[stream] = answer
        target = parts.path + ("?" + parts.query if parts.query else "")
        headers = [
            (b":method", b"GET"),
            (b":scheme", b"https"),
            (b":authority", parts.netloc.encode()),
            (b":path", target.encode()),
            (b"user-agent", b"aioquic"),
        ]
        if range_ != "whole":
            headers.append((b"range", b"bytes=" + range_.encode()))
        self._http.send_headers(stream, headers, end_stream=True)
        self.transmit()
        await asyncio.wait_for(answer["done"].wait(), 30)
        return int(answer["headers"][b":status"]), answer["headers"], bytes(answer["body"])


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--status", type=int)
    parser.add_argument("url")
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("ranges", nargs="+")
    args = parser.parse_args()
    parts = urllib.parse.urlsplit(args.url)
    configuration = QuicConfiguration(
        is_client=True,
        alpn_protocols=H3_ALPN,
        verify_mode=ssl.CERT_NONE,
        server_name="localhost",
    )
    since = time.monotonic()
    async with connect(
        parts.hostname, parts.port or 443, configuration=configuration, create_protocol=Client
    ) as client:
        answers = await asyncio.gather(*(client.get(args.url, r) for r in args.ranges))
    took = time.monotonic() - since
    failed = False
    for index, (range_, (status, headers, body)) in enumerate(zip(args.ranges, answers)):
        wanted = args.status or (200 if range_ == "whole" else 206)
        if status != wanted:
            print(f"{range_}: {status}, not {wanted}: {headers} {body[:200]!r}", file=sys.stderr)
            failed = True
        (args.directory / str(index)).write_bytes(body)
    total = sum(len(body) for _, _, body in answers)
    print(f"HTTP/3: {len(answers)} answers, {total} bytes on one connection in {took:.3f} s")
    return 1 if failed else 0


sys.exit(asyncio.run(main()))
