#!/usr/bin/env python3
"""Whether an edge keeps to its memory: many connections, slow readers, a cache that overflows.

Starts an edge in front of an origin of made-up tracks and, until the time is up, keeps most
connections idle after one request each, reads whole tracks at 16 KiB/s on some, and fetches slices
of ever new tracks on a few. Samples the edge's resident memory every second. Fails where it
exceeded the configured memory by more than 15 %, or where a byte was wrong.

    soak.py --edge PATH [--minutes 2] [--memory-mib 1024] [--connections 10000] [--slow 500]
            [--tracks 4000] [--disk]
"""

import argparse
import multiprocessing
import random
import re
import resource
import select
import socket
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from bench import Server, free_port  # noqa: E402

TRACK = 3 << 20
SLICE = 256 << 10
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


def origin(port: int) -> None:
    """Serves ranges of every /track/N; one process, no threads."""
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
                    pending[fd] = left[connections[fd].send(left[: 1 << 20]) :]
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


def fetch(connection: socket.socket, track: int, start: int, end: int) -> bool:
    """Gets a range; whether it came and was right."""
    connection.settimeout(30)
    request = f"GET /track/{track} HTTP/1.1\r\nhost: localhost\r\nrange: bytes={start}-{end - 1}\r\n\r\n"
    connection.sendall(request.encode())
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(1 << 20)
        if not more:
            return False
        data += more
    head, body = data.split(b"\r\n\r\n", 1)
    parts = [body]
    left = end - start - len(body)
    while left > 0:
        more = connection.recv(min(left, 1 << 20))
        if not more:
            return False
        parts.append(more)
        left -= len(more)
    return head.startswith(b"HTTP/1.1 206") and b"".join(parts) == piece(track, start, end)


def busy(port: int, tracks: int, until: float, seed: int, failed) -> None:
    """Listeners that skip through ever new tracks, most of them the same few."""
    rng, connection = random.Random(seed), connect(port)
    while time.time() < until:
        track = min(int(rng.paretovariate(0.3)), tracks) if rng.random() < 0.5 else rng.randrange(tracks)
        for slice_ in range(rng.randrange(1, TRACK // SLICE)):
            if not fetch(connection, track, slice_ * SLICE, (slice_ + 1) * SLICE):
                with failed.get_lock():
                    failed.value += 1
                connection = connect(port)


def rss_mib(pid: int, field: str = "VmRSS") -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+)", status)[1]) / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", required=True, help="the program, with its subcommand if it has one")
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--memory-mib", type=int, default=1024)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--slow", type=int, default=500)
    parser.add_argument("--busy", type=int, default=3)
    parser.add_argument("--tracks", type=int, default=4000)
    parser.add_argument("--disk", action="store_true", help="with a disk tier of 4 GiB")
    args = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="bench-soak-") as name:
        upstream, port = free_port(), free_port()
        processes = [multiprocessing.Process(target=origin, args=(upstream,), daemon=True)]
        processes[0].start()
        time.sleep(0.3)
        command = [*args.edge.split(), "--upstream", f"http://127.0.0.1:{upstream}", "--http", f"127.0.0.1:{port}",
                   "--memory", f"{args.memory_mib}MiB"]
        if args.disk:
            command += ["--disk", f"{name}/disk"]
        server = Server("edge", command, port, {"h1"}, Path(name) / "edge.out")
        try:
            passed = soak(args, server, processes)
        finally:
            server.stop()
            for process in processes:
                process.terminate()
    sys.exit(0 if passed else 1)


def soak(args, server: Server, processes: list) -> bool:
    pid, until = server.process.pid, time.time() + args.minutes * 60
    failed = multiprocessing.Value("i", 0)
    for n in range(args.busy):
        listener = multiprocessing.Process(target=busy, args=(server.port, args.tracks, until, n, failed), daemon=True)
        listener.start()
        processes.append(listener)
    idle, slow = [], {}
    limit = args.memory_mib * 1.15
    highest, second, wrong, refused = 0.0, 0, 0, 0
    while time.time() < until:
        begun = time.time()
        for _ in range(min(500, args.connections - args.slow - len(idle))):
            try:
                connection = connect(server.port)
                wrong += not fetch(connection, random.randrange(50), 0, 1000)
                idle.append(connection)
            except OSError:
                refused += 1
        # Slow readers: whole tracks, each another, a little every second.
        for _ in range(min(100, args.slow - len(slow))):
            connection = connect(server.port)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
            request = f"GET /track/{random.randrange(args.tracks)} HTTP/1.1\r\nhost: localhost\r\n\r\n"
            connection.sendall(request.encode())
            connection.setblocking(False)
            slow[connection.fileno()] = connection
        for fd, connection in list(slow.items()):
            try:
                if not connection.recv(16384):
                    slow.pop(fd).close()
            except BlockingIOError:
                pass
            except OSError:
                slow.pop(fd).close()
        rss = rss_mib(pid)
        highest = max(highest, rss)
        if second % 10 == 0:
            print(f"{second:5} s  RSS {rss:7.1f} MiB  idle {len(idle):5}  slow {len(slow):4}  "
                  f"wrong {wrong + failed.value}  refused {refused}", flush=True)
        second += 1
        time.sleep(max(0, 1 - (time.time() - begun)))
    wrong += failed.value
    print(f"memory {args.memory_mib} MiB, limit {limit:.0f} MiB, highest {highest:.0f} MiB "
          f"({100 * highest / args.memory_mib - 100:+.1f} %), failures {wrong}")
    passed = highest <= limit and wrong == 0
    print("PASS" if passed else "FAIL")
    return passed


if __name__ == "__main__":
    main()
