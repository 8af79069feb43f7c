#!/usr/bin/env python3
"""CPU per request of the edge beside nginx and Caddy, cache hits over real TLS 1.3.

Every server runs in one network namespace whose loopback has MTU 1500 (where the caller may make
one), serves the same 6 MiB object from its cache or from files, and is loaded in turn, several
rounds, so that drift of the machine hits all alike. CPU is user + system time of all of a server's
processes, from /proc, divided by the requests the generator completed. Then, on HTTP/1.1 and 2, the
latency at 70 % of what the slower of the two completed, requests sent by the clock whatever becomes
of them. Prints tables and writes the figures as JSON.

    bench.py --edge PATH [--h3load PATH] [--caddy PATH] [--rounds 3] [--seconds 3] [--json OUT]
             [--no-latency]

--edge and --h3load are the edge's examples of those names; without the latter HTTP/3 is left out.
"""

import argparse
import functools
import json
import os
import re
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
OBJECT_BYTES = 6 << 20
SUITE = "TLS_AES_128_GCM_SHA256"


def free_port() -> int:
    """A port free for TCP and UDP."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


@functools.cache
def context(alpn: str) -> ssl.SSLContext:
    """One for all connections: each would read the system's certificates."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.set_alpn_protocols([alpn])
    return made


def literal(index: int, value: bytes) -> bytes:
    """A field without indexing, its name from the static table (RFC 7541 §6.2.2)."""
    name = bytes([index]) if index < 15 else bytes([0x0F, index - 15])
    return name + bytes([len(value)]) + value


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            children.setdefault(int(stat.rsplit(")", 1)[1].split()[1]), []).append(int(entry.name))
    found = [pid]
    for parent in found:
        found.extend(children.get(parent, []))
    return found


def cpu_s(pid: int) -> float:
    """User + system seconds of a process and its descendants."""
    total = 0
    for member in family(pid):
        try:
            fields = Path(f"/proc/{member}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / TICKS_PER_S


class Server:
    """A running server."""

    def __init__(self, name: str, command: list[str], port: int, protocols: set[str], log: Path):
        self.name, self.port, self.protocols = name, port, protocols
        self.log = log.open("wb")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        sys.exit(f"{name} did not start; see {log}:\n{log.read_text()[-2000:]}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def nginx(directory: Path, cert: Path, key: Path) -> tuple[Server, Server]:
    """nginx as an origin of files and as a cache in front of it."""
    origin_port, port = free_port(), free_port()

    def start(name: str, port: int, server: str) -> Server:
        home = directory / name
        home.mkdir()
        config = home / "nginx.conf"
        config.write_text(f"""
            worker_processes 2;
            pid {home}/pid;
            error_log {home}/error.log;
            daemon off;
            events {{ worker_connections 4096; }}
            http {{
                access_log {home}/access.log combined buffer=64k;
                sendfile on; tcp_nopush on; keepalive_requests 1000000000;
                client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
                fastcgi_temp_path {home}/fcgi; uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
                proxy_cache_path {home}/cache keys_zone=c:10m;
                {server}
            }}""")
        return Server(name, ["nginx", "-c", str(config), "-e", f"{home}/error.log"], port, {"h1", "h2"}, home / "out")

    origin = start("origin", origin_port, f"""
        server {{
            listen 127.0.0.1:{origin_port};
            root {directory}/www;
            add_header cache-control "public, max-age=31536000, immutable";
        }}""")
    cache = start("nginx", port, f"""
        server {{
            listen 127.0.0.1:{port} ssl http2;
            ssl_certificate {cert}; ssl_certificate_key {key};
            ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites {SUITE};
            location / {{
                proxy_pass http://127.0.0.1:{origin_port};
                proxy_cache c; proxy_cache_valid 200 1h; proxy_force_ranges on;
            }}
        }}""")
    return origin, cache


def caddy(binary: str, directory: Path, cert: Path, key: Path) -> Server:
    """Caddy serving the file itself."""
    port = free_port()
    config = directory / "Caddyfile"
    config.write_text(f"""{{
    admin off
    auto_https off
    persist_config off
    log {{
        output file {directory}/caddy.log
    }}
}}
https://localhost:{port} {{
    bind 127.0.0.1
    log {{
        output file {directory}/caddy-access.log
    }}
    tls {cert} {key}
    root * {directory}/www
    file_server
}}
""")
    command = [binary, "run", "--config", str(config), "--adapter", "caddyfile"]
    return Server("caddy", command, port, {"h3"}, directory / "caddy.out")


def load_tcp(protocol: str, port: int, size: int, seconds: float, clients: int) -> int:
    """Requests completed in about `seconds`."""
    shape = ["--h1", f"-c{clients or 64}"] if protocol == "h1" else [f"-c{clients or 32}", "-m8"]
    start = (1 << 20) + 12_345
    command = ["h2load", f"-D{round(seconds * 1000)}ms", *shape, "-t1", f"--tls13-ciphers={SUITE}",
               "-H", f"range: bytes={start}-{start + size - 1}", f"https://localhost:{port}/object.mp4"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    succeeded = int(re.search(r"(\d+) succeeded", out)[1])
    failed = int(re.search(r"(\d+) failed", out)[1])
    codes = re.search(r"status codes: (\d+) 2xx", out)
    if failed or not codes or int(codes[1]) < succeeded * 0.99:
        sys.exit(f"h2load: {out}")
    return succeeded


def latency_tcp(protocol: str, port: int, size: int, seconds: float, clients: int, rate: float) -> dict:
    """Latencies in µs at `rate` requests a second, from when each is sent."""
    count = clients or (64 if protocol == "h1" else 32)
    shape = ["--h1"] if protocol == "h1" else ["-m8"]
    start = (1 << 20) + 12_345
    with tempfile.NamedTemporaryFile("r", prefix="h2load-") as log:
        command = ["h2load", f"-D{round(seconds * 1000)}ms", *shape, f"-c{count}", "-t1", f"--rps={rate / count:.2f}",
                   f"--tls13-ciphers={SUITE}", f"--log-file={log.name}",
                   "-H", f"range: bytes={start}-{start + size - 1}", f"https://localhost:{port}/object.mp4"]
        subprocess.run(command, capture_output=True, text=True, check=True)
        lines = [line.split("\t") for line in log]
    # The first fifth goes to handshakes and to falling into step.
    begun = min(int(line[0]) for line in lines)
    took = sorted(int(line[2]) for line in lines if int(line[0]) > begun + seconds * 200_000)
    return {"p50_us": took[len(took) // 2], "p99_us": took[len(took) * 99 // 100], "requests": len(took)}


def load_h3(program: str, port: int, size: int, seconds: float) -> int:
    start = (1 << 20) + 12_345
    command = [program, f"https://localhost:{port}/object.mp4", f"{start}-{start + size - 1}", f"{seconds:g}"]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        sys.exit(f"{program} {ran.stderr}")
    return int(re.search(r"requests (\d+)", ran.stdout)[1])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", required=True)
    parser.add_argument("--h3load", help="HTTP/3 generator: URL FROM-TO SECONDS, prints `requests N`")
    parser.add_argument("--caddy", default=shutil.which("caddy"))
    parser.add_argument("--only", help="protocols, comma-separated", default="h1,h2,h3")
    parser.add_argument("--sizes", help="in KiB, comma-separated", default="64,16,2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--clients", type=int, default=0)
    parser.add_argument("--json")
    parser.add_argument("--no-latency", action="store_true")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def enter_namespace() -> bool:
    """Runs this script again with a loopback of MTU 1500, if that is allowed."""
    again = "ip link set lo mtu 1500 up && exec \"$0\" \"$@\""
    probe = ["unshare", "-n", "sh", "-c", "ip link set lo mtu 1500 up"]
    if subprocess.run(probe, capture_output=True).returncode != 0:
        print("no network namespace: loopback as it is", file=sys.stderr)
        return False
    os.execvp("unshare", ["unshare", "-n", "sh", "-c", again, sys.executable, *sys.argv, "--inside"])


def prepare(directory: Path) -> tuple[Path, Path]:
    """Puts the object that is served into a directory, and a certificate and its key, whose paths it returns."""
    directory.chmod(0o755)
    (directory / "www").mkdir()
    (directory / "www/object.mp4").write_bytes(os.urandom(OBJECT_BYTES))
    cert, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
    return cert, key


def edge_server(program: str, origin: Server, directory: Path, cert: Path, key: Path) -> Server:
    """An edge in front of the origin, with its log on."""
    port = free_port()
    return Server("edge", [program, "--upstream", f"http://127.0.0.1:{origin.port}", "--https",
                           f"127.0.0.1:{port}", "--cert", str(cert), "--key", str(key), "--threads", "2",
                           "--log", str(directory / "edge.log")], port, {"h1", "h2", "h3"}, directory / "edge.out")


def main():
    args = parse()
    if not args.inside:
        enter_namespace()
    only = set(args.only.split(","))
    sizes = {f"{kib} KiB": int(kib) << 10 for kib in args.sizes.split(",")}
    with tempfile.TemporaryDirectory(prefix="bench-edge-") as name:
        directory = Path(name)
        cert, key = prepare(directory)
        origin, cache = nginx(directory, cert, key)
        edge = edge_server(args.edge, origin, directory, cert, key)
        servers = [edge, cache]
        if args.caddy and args.h3load and "h3" in only:
            servers.append(caddy(args.caddy, directory, cert, key))
        if not args.h3load:
            only.discard("h3")
        try:
            figures = measure(args, servers, only, sizes)
            table(figures)
            if not args.no_latency:
                latencies(args, [edge, cache], sorted(only & {"h1", "h2"}), sizes, figures)
        finally:
            for server in [*servers, origin]:
                server.stop()
    if args.json:
        Path(args.json).write_text(json.dumps(figures, indent=2))


def measure(args, servers, only, sizes) -> dict:
    """Median µs a request by protocol, size and server; and requests a second."""
    samples: dict = {}
    for round_ in range(args.rounds + 1):
        for protocol in sorted(only):
            for label, size in sizes.items():
                for server in servers:
                    if protocol not in server.protocols:
                        continue
                    # The first round warms caches and is not counted.
                    seconds = args.seconds if round_ else min(1, args.seconds)
                    before, since = cpu_s(server.process.pid), time.monotonic()
                    if protocol == "h3":
                        done = load_h3(args.h3load, server.port, size, seconds)
                    else:
                        done = load_tcp(protocol, server.port, size, seconds, args.clients)
                    spent, took = cpu_s(server.process.pid) - before, time.monotonic() - since
                    if round_:
                        key = (protocol, label, server.name)
                        samples.setdefault(key, []).append((spent / done * 1e6, done / took))
    figures: dict = {}
    for (protocol, label, name), values in samples.items():
        us, rate = (statistics.median(column) for column in zip(*values))
        figures.setdefault(protocol, {}).setdefault(label, {})[name] = {"cpu_us": round(us, 1), "per_s": round(rate)}
    return figures


def latencies(args, servers, protocols, sizes, figures: dict):
    """Latencies under the same load for all, the best of the rounds; prints them and adds them to the figures."""
    print(f"\n{'':14}{'requests':>12}" + "".join(f"{server.name:>16} p50, p99" for server in servers))
    for protocol in protocols:
        for label, size in sizes.items():
            rate = 0.7 * min(figures[protocol][label][server.name]["per_s"] for server in servers)
            best: dict = {}
            for _ in range(args.rounds):
                for server in servers:
                    got = latency_tcp(protocol, server.port, size, args.seconds, args.clients, rate)
                    if server.name not in best or got["p99_us"] < best[server.name]["p99_us"]:
                        best[server.name] = got
            line = f"{protocol} {label:10}{rate:11.0f}/s"
            for server in servers:
                figures[protocol][label][server.name] |= best[server.name]
                line += f"{best[server.name]['p50_us'] / 1000:13.2f}, {best[server.name]['p99_us'] / 1000:6.2f} ms"
            print(line, flush=True)


def table(figures: dict):
    print(f"{'':14}{'edge':>18}{'peer':>24}{'CPU ratio':>12}")
    for protocol, sizes in figures.items():
        for label, servers in sizes.items():
            edge = servers["edge"]
            for name, peer in servers.items():
                if name == "edge" and len(servers) > 1:
                    continue
                print(f"{protocol} {label:10}{edge['cpu_us']:8.1f} µs{edge['per_s']:6}/s"
                      f"{name:>8}{peer['cpu_us']:8.1f} µs{peer['per_s']:6}/s"
                      f"{edge['cpu_us'] / peer['cpu_us']:11.2f}")


if __name__ == "__main__":
    main()
