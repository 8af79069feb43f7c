#!/usr/bin/env python3
"""What an idle connection costs in memory, the edge beside nginx and Caddy.

Opens connections over real TLS 1.3, asks on each for 2 KiB once, and leaves them open: first as many
as fill what a server allocates once, then those that count. Resident memory is that of all of a
server's processes, a little after the last answer.

    idle.py --edge PATH [--caddy PATH] [--connections 1000] [--only h1,h2,h3]

--edge is the edge's example of that name. HTTP/3 needs aioquic, without which it is left out; its
connections are a quarter as many.
"""

import argparse
import asyncio
import re
import resource
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from bench import (  # noqa: E402
    OBJECT_BYTES,
    Server,
    caddy,
    context,
    enter_namespace,
    family,
    free_port,
    literal,
    nginx,
)

# From the last answer to the look at memory: allocators give back what they don't need for long.
SETTLE_S = 3


def rss_kib(pid: int) -> int:
    total = 0
    for member in family(pid):
        status = Path(f"/proc/{member}/status").read_text()
        total += int(re.search(r"VmRSS:\s+(\d+)", status)[1])
    return total


def tls(port: int, alpn: str) -> ssl.SSLSocket:
    return context(alpn).wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost")


def read_some(connection: ssl.SSLSocket) -> bytes:
    data = connection.recv(1 << 16)
    if not data:
        sys.exit("a server closed a connection early")
    return data


def open_h1(port: int) -> ssl.SSLSocket:
    connection = tls(port, "http/1.1")
    connection.sendall(b"GET /object.mp4 HTTP/1.1\r\nhost: localhost\r\nrange: bytes=0-2047\r\n\r\n")
    data = b""
    while b"\r\n\r\n" not in data:
        data += read_some(connection)
    head, body = data.split(b"\r\n\r\n", 1)
    if b" 206 " not in head.split(b"\r\n")[0]:
        sys.exit(f"unexpected: {head[:200]}")
    while len(body) < 2048:
        body += read_some(connection)
    return connection


def open_h2(port: int) -> ssl.SSLSocket:
    connection = tls(port, "h2")
    section = b"\x82\x87" + literal(1, b"localhost") + literal(4, b"/object.mp4") + literal(50, b"bytes=0-2047")
    head = len(section).to_bytes(3, "big") + b"\x01\x05" + (1).to_bytes(4, "big") + section
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5) + head)
    data, body, settled = b"", 0, False
    while True:
        while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3], "big"):
            length, kind, flags = int.from_bytes(data[:3], "big"), data[3], data[4]
            data = data[9 + length :]
            if kind == 4 and not flags & 1 and not settled:
                connection.sendall(bytes(3) + b"\x04\x01" + bytes(4))
                settled = True
            if kind in (3, 7):
                sys.exit("a server refused a request on HTTP/2")
            if kind == 0:
                body += length
            if kind in (0, 1) and flags & 1:
                if body < 2048:
                    sys.exit(f"{body} bytes on HTTP/2")
                return connection
        data += read_some(connection)


async def open_h3(port: int, count: int, stack: list):
    from aioquic.asyncio.client import connect
    from aioquic.asyncio.protocol import QuicConnectionProtocol
    from aioquic.h3.connection import H3Connection
    from aioquic.h3.events import DataReceived
    from aioquic.quic.configuration import QuicConfiguration

    class Client(QuicConnectionProtocol):
        def ask(self):
            self.http, self.done, self.got = H3Connection(self._quic), asyncio.get_event_loop().create_future(), 0
            fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"localhost"),
                      (b":path", b"/object.mp4"), (b"range", b"bytes=0-2047")]  # fmt: skip
            self.http.send_headers(self._quic.get_next_available_stream_id(), fields, end_stream=True)
            self.transmit()
            return self.done

        def quic_event_received(self, event):
            if not hasattr(self, "http"):
                return
            for told in self.http.handle_event(event):
                if isinstance(told, DataReceived):
                    self.got += len(told.data)
                    if told.stream_ended and not self.done.done():
                        self.done.set_result(self.got)

    configuration = QuicConfiguration(alpn_protocols=["h3"], server_name="localhost", verify_mode=ssl.CERT_NONE,
                                      idle_timeout=60)  # fmt: skip
    for _ in range(count):
        opened = connect("127.0.0.1", port, configuration=configuration, create_protocol=Client)
        client = await opened.__aenter__()
        stack.append(opened)
        got = await asyncio.wait_for(client.ask(), 10)
        if got != 2048:
            sys.exit(f"{got} bytes on HTTP/3")


def cost_tcp(server: Server, opener, count: int) -> float:
    """KiB a connection."""
    held = [opener(server.port) for _ in range(count // 5)]
    time.sleep(SETTLE_S)
    before = rss_kib(server.process.pid)
    held += [opener(server.port) for _ in range(count)]
    time.sleep(SETTLE_S)
    cost = (rss_kib(server.process.pid) - before) / count
    for connection in held:
        connection.close()
    return cost


async def cost_h3(server: Server, count: int) -> float:
    held: list = []
    await open_h3(server.port, count // 5, held)
    await asyncio.sleep(SETTLE_S)
    before = rss_kib(server.process.pid)
    await open_h3(server.port, count, held)
    await asyncio.sleep(SETTLE_S)
    return (rss_kib(server.process.pid) - before) / count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", required=True)
    parser.add_argument("--caddy", default=shutil.which("caddy"))
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--only", help="protocols, comma-separated", default="h1,h2,h3")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.inside:
        enter_namespace()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    only = args.only.split(",")
    try:
        import aioquic  # noqa: F401
    except ImportError:
        only = [protocol for protocol in only if protocol != "h3"]
        print("no aioquic: HTTP/3 is left out", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="bench-idle-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        (directory / "www").mkdir()
        (directory / "www/object.mp4").write_bytes(bytes(OBJECT_BYTES))
        cert, key = directory / "cert.pem", directory / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost"],
                       check=True, capture_output=True)  # fmt: skip
        names = ["edge", "nginx"] + (["caddy"] if args.caddy else [])
        print(f"KiB an idle connection{'':4}" + "".join(f"{name:>10}" for name in names))
        for protocol in only:
            print(f"{protocol:26}", end="", flush=True)
            for name in names:
                home = directory / f"{protocol}-{name}"
                home.mkdir()
                home.chmod(0o755)
                (home / "www").symlink_to(directory / "www")
                cost = measure(args, protocol, name, home, cert, key)
                print(f"{'-' if cost is None else format(cost, '.1f'):>10}", end="", flush=True)
            print()


def measure(args, protocol: str, name: str, home: Path, cert: Path, key: Path) -> float | None:
    """KiB an idle connection of that server, started for it alone: what a server has freed would be
    used again. None where it doesn't speak the protocol."""
    origin, server = nginx(home, cert, key)
    others = [origin]
    if name == "edge":
        others.append(server)
        port = free_port()
        server = Server("edge", [args.edge, "--upstream", f"http://127.0.0.1:{origin.port}", "--https",
                                 f"127.0.0.1:{port}", "--cert", str(cert), "--key", str(key), "--threads", "2",
                                 "--log", str(home / "edge.log")], port, {"h1", "h2", "h3"}, home / "edge.out")
    elif name == "caddy":
        others.append(server)
        server = caddy(args.caddy, home, cert, key)
        server.protocols = {"h1", "h2", "h3"}
    try:
        if protocol not in server.protocols:
            return None
        if protocol == "h3":
            return asyncio.run(cost_h3(server, args.connections // 4))
        return cost_tcp(server, {"h1": open_h1, "h2": open_h2}[protocol], args.connections)
    finally:
        for one in [server, *others]:
            one.stop()


if __name__ == "__main__":
    main()
