#!/usr/bin/env python3
"""200 requests at once for an object that isn't cached, from an origin that takes 300 ms.

Prints for the edge, nginx with proxy_cache_lock and Varnish (where they are installed) how long the
requests took and how many of them reached the origin. Each round asks for another object.

    coalesce.py --edge PATH [--requests 200] [--delay 300] [--rounds 5]
"""

import argparse
import multiprocessing
import select
import shutil
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from bench import Server, free_port  # noqa: E402

BODY = b"x" * 4096


def origin(port: int, delay_s: float, asked) -> None:
    """Answers every request after a while; counts them."""
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    listener.setblocking(False)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    connections, due = {}, []
    head = (
        b"HTTP/1.1 200 OK\r\ncache-control: max-age=3600\r\netag: \"1\"\r\ncontent-type: audio/mp4\r\n"
        b"content-length: %d\r\n\r\n" % len(BODY)
    )
    while True:
        wait = max(0, due[0][0] - time.monotonic()) if due else -1
        for fd, _ in poll.poll(wait):
            if fd == listener.fileno():
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[connection.fileno()] = connection
                poll.register(connection, select.EPOLLIN)
                continue
            data = connections[fd].recv(65536)
            if not data:
                poll.unregister(fd)
                connections.pop(fd).close()
                continue
            for _ in range(data.count(b"\r\n\r\n")):
                with asked.get_lock():
                    asked.value += 1
                due.append((time.monotonic() + delay_s, fd))
        while due and due[0][0] <= time.monotonic():
            connection = connections.get(due.pop(0)[1])
            if connection:
                connection.sendall(head + BODY)


def ask(port: int, path: str, count: int) -> list[float]:
    """Milliseconds until each of `count` whole responses."""
    sockets = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sockets.append(connection)
    time.sleep(0.2)
    request = f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()
    poll = select.epoll()
    begun, got, took = {}, {}, []
    by_fd = {connection.fileno(): connection for connection in sockets}
    for fd, connection in by_fd.items():
        poll.register(fd, select.EPOLLIN)
        got[fd] = b""
        begun[fd] = time.monotonic()
        connection.sendall(request)
    while len(took) < count:
        ready = poll.poll(20)
        if not ready:
            sys.exit(f"{count - len(took)} requests got no answer")
        for fd, _ in ready:
            data = by_fd[fd].recv(65536)
            got[fd] += data
            if got[fd].endswith(BODY):
                took.append((time.monotonic() - begun[fd]) * 1000)
                poll.unregister(fd)
            elif not data:
                sys.exit(f"a connection ended early: {got[fd][:200]!r}")
    for connection in sockets:
        connection.close()
    return took


def nginx(directory: Path, upstream: int) -> Server:
    port, home = free_port(), directory / "nginx"
    home.mkdir()
    config = home / "nginx.conf"
    config.write_text(f"""
        worker_processes 2; pid {home}/pid; error_log {home}/error.log; daemon off;
        events {{ worker_connections 4096; }}
        http {{
            access_log off;
            client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
            fastcgi_temp_path {home}/fcgi; uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
            proxy_cache_path {home}/cache keys_zone=c:10m;
            server {{
                listen 127.0.0.1:{port};
                location / {{
                    proxy_pass http://127.0.0.1:{upstream};
                    proxy_cache c; proxy_cache_lock on; proxy_cache_valid 200 1h;
                }}
            }}
        }}""")
    return Server("nginx", ["nginx", "-c", str(config), "-e", f"{home}/error.log"], port, {"h1"}, home / "out")


def varnish(binary: str, directory: Path, upstream: int) -> Server:
    port = free_port()
    command = [binary, "-F", "-a", f"127.0.0.1:{port}", "-b", f"127.0.0.1:{upstream}", "-n", str(directory / "varnish"),
               "-s", "malloc,64m"]
    return Server("varnish", command, port, {"h1"}, directory / "varnish.out")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", required=True)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--delay", type=float, default=300, help="milliseconds")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-coalesce-") as name:
        directory, upstream = Path(name), free_port()
        directory.chmod(0o755)
        asked = multiprocessing.Value("i", 0)
        process = multiprocessing.Process(target=origin, args=(upstream, args.delay / 1000, asked), daemon=True)
        process.start()
        time.sleep(0.3)
        port = free_port()
        command = [args.edge, "--upstream", f"http://127.0.0.1:{upstream}", "--http", f"127.0.0.1:{port}"]
        servers = [Server("edge", command, port, {"h1"}, directory / "edge.out")]
        if shutil.which("nginx"):
            servers.append(nginx(directory, upstream))
        binary = shutil.which("varnishd") or shutil.which("varnishd", path="/usr/sbin")
        if binary:
            servers.append(varnish(binary, directory, upstream))
        try:
            print(f"{args.requests} requests at once, origin takes {args.delay:g} ms, {args.rounds} rounds")
            print(f"{'':10}{'median':>9}{'p99':>9}{'longest':>9}   asked of the origin, a round")
            for server in servers:
                took, before = [], asked.value
                for round_ in range(args.rounds):
                    took += ask(server.port, f"/{server.name}/{round_}", args.requests)
                took.sort()
                reached = (asked.value - before) / args.rounds
                p99 = took[len(took) * 99 // 100]
                print(f"{server.name:10}{statistics.median(took):6.1f} ms{p99:6.1f} ms{took[-1]:6.1f} ms   {reached:g}")
        finally:
            for server in servers:
                server.stop()
            process.terminate()


if __name__ == "__main__":
    main()
