#!/usr/bin/env python3
"""Whether an edge keeps to its memory: many connections, slow readers, a cache that overflows.

Starts an edge in front of an origin of made-up tracks and, until the time is up,

- keeps most connections idle but for a request now and then, on HTTP/1.1 in the clear and under
  TLS, on HTTP/2, and some on HTTP/3 (where aioquic is installed);
- reads whole tracks at 16 KiB/s on some, over HTTP/1.1, TLS and HTTP/2;
- fetches slices of ever new tracks on a few as fast as they come.

Samples the edge's resident memory every second. Fails where it exceeded the configured memory by
more than 15 %, where a byte was wrong or a reader was cut off, or where the origin had to send more
than twice of what was read. "Read" counts whole slices, as an edge must fetch them.

    soak.py --edge PATH [--minutes 2] [--memory-mib 512] [--connections 10000] [--slow 500]
            [--busy 3] [--tracks 4000] [--disk]
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import random
import re
import resource
import select
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from bench import Server, context, free_port, literal  # noqa: E402

TRACK = 3 << 20
SLICE = 256 << 10
# Bytes a second of a slow reader, and how often an idle connection asks for something.
SLOW = 16 << 10
ASKS_S = 40
# Shares of protocols among idle and slow connections.
CLEAR, TLS, H2 = "clear", "tls", "h2"
SHARES = (CLEAR, CLEAR, TLS, TLS, H2, H2, H2)
# Twice a page of noise: any piece of it can be cut out at any offset, different for each track.
NOISE = random.Random(1).randbytes(1 << 16) * 2


def piece(track: int, start: int, end: int) -> bytes:
    """Bytes of a track."""
    out, at = [], start
    while at < end:
        offset = (at + track * 977) % (1 << 16)
        take = min(end - at, 1 << 16)
        out.append(NOISE[offset : offset + take])
        at += take
    return b"".join(out)


def origin(port: int, sent) -> None:
    """Serves ranges of every /track/N; one process, no threads. Counts the bytes that it sends."""
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    listener.setblocking(False)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    connections: dict = {}
    pending: dict = {}
    while True:
        for fd, event in poll.poll():
            if fd == listener.fileno():
                connection, _ = listener.accept()
                connection.setblocking(False)
                connections[connection.fileno()] = connection
                poll.register(connection, select.EPOLLIN)
                continue
            try:
                if event & select.EPOLLIN:
                    data = connections[fd].recv(65536)
                    if not data:
                        raise ConnectionError
                    pending[fd] = pending.get(fd, b"") + respond(data)
                left = pending.get(fd, b"")
                if left:
                    taken = connections[fd].send(left[: 1 << 20])
                    sent.value += taken
                    pending[fd] = left[taken:]
                poll.modify(fd, select.EPOLLIN | (select.EPOLLOUT if pending.get(fd) else 0))
            except BlockingIOError:
                poll.modify(fd, select.EPOLLIN | select.EPOLLOUT)
            except OSError:
                poll.unregister(fd)
                pending.pop(fd, None)
                connections.pop(fd).close()


def respond(request: bytes) -> bytes:
    track = int(re.match(rb"\w+ /track/(\d+)", request)[1])
    asked = re.search(rb"range: bytes=(\d+)-(\d*)", request, re.IGNORECASE)
    start, end = (int(asked[1]), min(TRACK, int(asked[2] or TRACK) + 1)) if asked else (0, TRACK)
    status = b"206 Partial Content" if asked else b"200 OK"
    return b"".join([
        b"HTTP/1.1 ", status, b"\r\netag: \"1\"\r\ncache-control: max-age=86400\r\naccept-ranges: bytes\r\n",
        b"content-range: bytes %d-%d/%d\r\n" % (start, end - 1, TRACK) if asked else b"",
        b"content-length: %d\r\n\r\n" % (end - start), piece(track, start, end),
    ])  # fmt: skip


def connect(port: int) -> socket.socket:
    """One address of loopback takes some 28,000 connections and a client's limit fewer: spread."""
    connection = socket.socket()
    connection.bind((f"127.0.{random.randrange(1, 200)}.{random.randrange(1, 250)}", 0))
    connection.connect(("127.0.0.1", port))
    return connection


def secure(port: int, alpn: str, receive: int = 0) -> ssl.SSLSocket:
    connection = connect(port)
    if receive:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    return context(alpn).wrap_socket(connection, server_hostname="localhost")


def h1_request(track: int, start: int, end: int) -> bytes:
    return f"GET /track/{track} HTTP/1.1\r\nhost: localhost\r\nrange: bytes={start}-{end - 1}\r\n\r\n".encode()


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


class H2Connection:
    """As much of HTTP/2 as a reader needs that has one request at a time."""

    def __init__(self, port: int, receive: int = 0):
        self.socket, self.stream, self.data, self.blocks = secure(port, "h2", receive), -1, b"", []
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))

    def ask(self, track: int, start: int, end: int):
        self.stream += 2
        section = b"\x82\x87" + literal(1, b"localhost") + literal(4, f"/track/{track}".encode())
        section += literal(50, f"bytes={start}-{end - 1}".encode())
        self.socket.sendall(frame(1, 5, self.stream, section))

    def take(self, data: bytes) -> tuple[bytes, bool]:
        """What of the body is in `data`, and whether the stream is at its end. Raises where it was reset."""
        self.data += data
        body, ended, answer = [], False, b""
        while len(self.data) >= 9:
            length = int.from_bytes(self.data[:3], "big")
            kind, flags = self.data[3], self.data[4]
            if len(self.data) < 9 + length:
                break
            payload, self.data = self.data[9 : 9 + length], self.data[9 + length :]
            if kind in (3, 7):
                raise ConnectionError("reset")
            if kind == 4 and not flags & 1:
                answer += frame(4, 1, 0, b"")
            if kind == 6 and not flags & 1:
                answer += frame(6, 1, 0, payload)
            if kind == 0:
                body.append(payload)
                if length:
                    window = length.to_bytes(4, "big")
                    answer += frame(8, 0, 0, window) + frame(8, 0, self.stream, window)
            ended |= kind in (0, 1) and bool(flags & 1)
        if answer:
            self.socket.sendall(answer)
        return b"".join(body), ended


def fetch(connection: socket.socket, track: int, start: int, end: int) -> bool:
    """Gets a range on HTTP/1.1; whether it came and was right."""
    connection.settimeout(30)
    connection.sendall(h1_request(track, start, end))
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(1 << 20)
        if not more:
            return False
        data += more
    head, body = data.split(b"\r\n\r\n", 1)
    parts, left = [body], end - start - len(body)
    while left > 0:
        more = connection.recv(min(left, 1 << 20))
        if not more:
            return False
        parts.append(more)
        left -= len(more)
    return head.startswith(b"HTTP/1.1 206") and b"".join(parts) == piece(track, start, end)


class Idle:
    """A connection on which little happens."""

    def __init__(self, kind: str, ports: dict):
        self.kind, self.due = kind, 0.0
        if kind == H2:
            self.h2 = H2Connection(ports[TLS])
        else:
            self.socket = connect(ports[CLEAR]) if kind == CLEAR else secure(ports[TLS], "http/1.1")

    def ask(self) -> bool:
        self.due = time.time() + ASKS_S * random.uniform(0.5, 1)
        track = random.randrange(50)
        if self.kind != H2:
            return fetch(self.socket, track, 0, 1000)
        self.h2.socket.settimeout(30)
        self.h2.ask(track, 0, 1000)
        got, ended = b"", False
        while not ended:
            data = self.h2.socket.recv(1 << 16)
            if not data:
                return False
            part, ended = self.h2.take(data)
            got += part
        return got == piece(track, 0, 1000)


def idle(ports: dict, count: int, until: float, open_, failed) -> None:
    """Opens connections, some every second, and keeps them."""
    hold: list[Idle] = []
    while time.time() < until:
        begun = time.time()
        try:
            while len(hold) < count and time.time() < begun + 1:
                hold.append(Idle(SHARES[len(hold) % len(SHARES)], ports))
                open_.value += 1
            for connection in hold:
                if connection.due < time.time() and not connection.ask():
                    raise ConnectionError("a wrong answer")
        except OSError as e:
            print(f"idle: {e!r}", file=sys.stderr)
            failed.value += 1
        time.sleep(max(0, 1 - (time.time() - begun)))


def idle_h3(port: int, count: int, until: float, open_, failed) -> None:
    """The same on HTTP/3."""
    from aioquic.asyncio.client import connect as quic
    from aioquic.asyncio.protocol import QuicConnectionProtocol
    from aioquic.h3.connection import H3Connection
    from aioquic.h3.events import DataReceived
    from aioquic.quic.configuration import QuicConfiguration
    from aioquic.quic.events import ConnectionTerminated

    class Client(QuicConnectionProtocol):
        http, got, done, ended = None, b"", None, None

        async def fetch(self, track: int) -> bool:
            self.http = self.http or H3Connection(self._quic)
            self.got, self.done = b"", asyncio.get_event_loop().create_future()
            fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"localhost"),
                      (b":path", f"/track/{track}".encode()), (b"range", b"bytes=0-99999")]  # fmt: skip
            self.http.send_headers(self._quic.get_next_available_stream_id(), fields, end_stream=True)
            self.transmit()
            try:
                await asyncio.wait_for(self.done, 30)
            except asyncio.TimeoutError:
                raise ConnectionError(f"{len(self.got)} of 100000 bytes in 30 s") from None
            return self.got == piece(track, 0, 100_000)

        async def keep(self):
            """Asks for something now and then, and keeps off the idle timeout of QUIC (30 s) between."""
            while self.ended is None:
                due = time.time() + ASKS_S * random.uniform(0.5, 1)
                while time.time() < due and self.ended is None:
                    await asyncio.sleep(random.uniform(8, 12))
                    with contextlib.suppress(ConnectionError):
                        await self.ping()
                await self.ask()

        async def ask(self):
            began = time.time()
            try:
                if self.ended is not None:
                    raise ConnectionError(self.ended)
                if not await self.fetch(random.randrange(50)):
                    raise ConnectionError("wrong bytes")
            except OSError as e:
                print(f"HTTP/3 after {time.time() - began:.1f} s: {e!r}", file=sys.stderr)
                failed.value += 1

        def quic_event_received(self, event):
            if isinstance(event, ConnectionTerminated):
                self.ended = f"ended: {event.reason_phrase or event.error_code}"
                if self.done and not self.done.done():
                    self.done.set_exception(ConnectionError(self.ended))
            for told in self.http.handle_event(event) if self.http else ():
                if isinstance(told, DataReceived):
                    self.got += told.data
                    if told.stream_ended and not self.done.done():
                        self.done.set_result(None)

    async def run():
        configuration = QuicConfiguration(alpn_protocols=["h3"], server_name="localhost", verify_mode=ssl.CERT_NONE,
                                          idle_timeout=60)  # fmt: skip
        hold, keepers = [], []
        while len(hold) < count and time.time() < until:
            try:
                opened = quic("127.0.0.1", port, configuration=configuration, create_protocol=Client)
                client = await opened.__aenter__()
            except OSError as e:
                print(f"HTTP/3: {e!r}", file=sys.stderr)
                failed.value += 1
                await asyncio.sleep(1)
                continue
            hold.append(opened)
            await client.ask()
            keepers.append(asyncio.ensure_future(client.keep()))
            open_.value += 1
        await asyncio.sleep(max(0, until - time.time()))
        # What is under way at the end is nobody's failure.
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)

    asyncio.run(run())


class Slow:
    """A whole track, read bit by bit."""

    def __init__(self, kind: str, ports: dict, track: int):
        self.track, self.at, self.head, self.h2 = track, 0, b"", None
        if kind == H2:
            self.h2 = H2Connection(ports[TLS], SLOW)
            self.socket = self.h2.socket
            self.h2.ask(track, 0, TRACK)
        else:
            if kind == CLEAR:
                self.socket = connect(ports[CLEAR])
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW)
            else:
                self.socket = secure(ports[TLS], "http/1.1", SLOW)
            self.socket.sendall(h1_request(track, 0, TRACK))
        self.socket.setblocking(False)

    def read(self) -> bool:
        """Reads a bit; whether there is more to come. Raises where it was wrong or cut off."""
        try:
            data = self.socket.recv(SLOW)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        if not data:
            raise ConnectionError("cut off")
        if self.h2:
            self.socket.setblocking(True)
            data, _ = self.h2.take(data)
            self.socket.setblocking(False)
        elif self.head is not None:
            self.head += data
            if b"\r\n\r\n" not in self.head:
                return True
            data, self.head = self.head.split(b"\r\n\r\n", 1)[1], None
        if data != piece(self.track, self.at, self.at + len(data)):
            raise ConnectionError("wrong bytes")
        self.at += len(data)
        return self.at < TRACK


def slow(ports: dict, count: int, tracks: int, until: float, read, open_, failed) -> None:
    """Slow readers, opened little by little. Counts the slices that they came to."""
    readers: list[Slow] = []
    while time.time() < until:
        begun = time.time()
        while len(readers) < count and time.time() < begun + 0.5:
            readers.append(Slow(SHARES[len(readers) % len(SHARES)], ports, random.randrange(tracks)))
            open_.value += 1
            read.value += 2 * SLICE
        for reader in list(readers):
            before = reader.at // SLICE
            try:
                more = reader.read()
            except OSError as e:
                print(f"slow: {e!r} after {reader.at} bytes", file=sys.stderr)
                failed.value += 1
                more = False
            # An edge fetches whole slices, and one ahead of a slow reader.
            read.value += (reader.at // SLICE - before) * SLICE
            if not more:
                reader.socket.close()
                readers.remove(reader)
                open_.value -= 1
        time.sleep(max(0, 1 - (time.time() - begun)))


def busy(port: int, tracks: int, until: float, seed: int, read, failed) -> None:
    """Listeners that skip through ever new tracks, most of them the same few."""
    rng, connection = random.Random(seed), connect(port)
    while time.time() < until:
        track = min(int(rng.paretovariate(0.3)), tracks) if rng.random() < 0.5 else rng.randrange(tracks)
        for slice_ in range(rng.randrange(1, TRACK // SLICE)):
            try:
                right = fetch(connection, track, slice_ * SLICE, (slice_ + 1) * SLICE)
            except OSError:
                right = False
            read.value += SLICE
            if not right:
                failed.value += 1
                connection = connect(port)


def rss_mib(pid: int, field: str = "VmRSS") -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+)", status)[1]) / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", required=True, help="the program, with its subcommand if it has one")
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--memory-mib", type=int, default=512)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--slow", type=int, default=500)
    parser.add_argument("--busy", type=int, default=3)
    parser.add_argument("--h3", type=int, default=200, help="of the connections, those on HTTP/3")
    parser.add_argument("--tracks", type=int, default=4000)
    parser.add_argument("--disk", action="store_true", help="with a disk tier of 4 GiB")
    args = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="bench-soak-") as name:
        upstream, ports = free_port(), {CLEAR: free_port(), TLS: free_port()}
        sent = multiprocessing.Value("q", 0)
        processes = [multiprocessing.Process(target=origin, args=(upstream, sent), daemon=True)]
        processes[0].start()
        time.sleep(0.3)
        cert, key = f"{name}/cert.pem", f"{name}/key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost"],
                       check=True, capture_output=True)  # fmt: skip
        command = [*args.edge.split(), "--cert", cert, "--key", key, "--upstream", f"http://127.0.0.1:{upstream}", "--memory",
                   f"{args.memory_mib}MiB", "--http", f"127.0.0.1:{ports[CLEAR]}", "--https",
                   f"127.0.0.1:{ports[TLS]}"]  # fmt: skip
        if args.disk:
            command += ["--disk", f"{name}/disk"]
        server = Server("edge", command, ports[TLS], {"h1"}, Path(name) / "edge.out")
        try:
            passed = soak(args, server, ports, processes, sent)
        finally:
            server.stop()
            for process in processes:
                process.terminate()
    sys.exit(0 if passed else 1)


def soak(args, server: Server, ports: dict, processes: list, sent) -> bool:
    pid, until = server.process.pid, time.time() + args.minutes * 60
    try:
        import aioquic  # noqa: F401
    except ImportError:
        args.h3 = 0
        print("no aioquic: HTTP/3 is left out", file=sys.stderr)
    # One counter a process: two that count in one now and then lose one.
    made: dict[str, list] = {"failed": [], "idle": [], "slow": [], "read": []}

    def counter(name: str):
        made[name].append(multiprocessing.Value("q", 0, lock=False))
        return made[name][-1]

    def total(name: str) -> int:
        return sum(one.value for one in made[name])

    work = [(busy, (ports[CLEAR], args.tracks, until, n, counter("read"), counter("failed")))
            for n in range(args.busy)]  # fmt: skip
    for count in halves(args.slow):
        work.append((slow, (ports, count, args.tracks, until, counter("read"), counter("slow"), counter("failed"))))
    for count in halves(args.connections - args.slow - args.h3):
        work.append((idle, (ports, count, until, counter("idle"), counter("failed"))))
    if args.h3:
        work.append((idle_h3, (ports[TLS], args.h3, until, counter("idle"), counter("failed"))))
    for target, arguments in work:
        processes.append(multiprocessing.Process(target=target, args=arguments, daemon=True))
        processes[-1].start()
    limit = args.memory_mib * 1.15
    highest, when, begun, shown = 0.0, 0.0, time.time(), 0.0
    while time.time() < until:
        rss = rss_mib(pid)
        if rss > highest:
            highest, when = rss, time.time() - begun
        if time.time() >= shown + 10:
            shown = time.time()
            print(f"{shown - begun:5.0f} s  RSS {rss:7.1f} MiB  idle {total('idle'):5}  slow {total('slow'):4}  "
                  f"from the origin {sent.value >> 20:6} MiB  failures {total('failed')}", flush=True)
        time.sleep(0.2)
    failed, needed = total("failed"), max(1, total("read"))
    print(f"memory {args.memory_mib} MiB, limit {limit:.0f} MiB, highest {highest:.0f} MiB "
          f"({100 * highest / args.memory_mib - 100:+.1f} %) after {when:.0f} s; failures {failed}; "
          f"the origin sent {sent.value / needed:.2f} x of the slices read")
    passed = highest <= limit and failed == 0 and sent.value <= 2 * needed
    passed = passed and total("idle") + total("slow") >= 0.95 * args.connections
    print("PASS" if passed else "FAIL")
    return passed


def halves(count: int) -> tuple[int, int]:
    return count // 2, count - count // 2


if __name__ == "__main__":
    main()
