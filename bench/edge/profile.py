#!/usr/bin/env python3
"""Where a hit's CPU time goes: what no server can save, and what is ours.

Loads an edge as bench.py does and samples it with perf. Prints, for each protocol and size, the
microseconds a request that go to the kernel, to AES-GCM, to copies in user space, to the rest of TLS
or QUIC, to allocation and to the edge itself. The floor is the kernel's and AES-GCM's part: the same
bytes have to be encrypted and handed to a socket whoever serves them.

    profile.py --edge PATH [--h3load PATH] [--only h1,h2,h3] [--sizes 64,16,2] [--seconds 3]

Needs perf (Debian's linux-perf) and the right to use it; the edge must have its symbols.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from bench import Server, cpu_s, edge_server, enter_namespace, load_h3, load_tcp, nginx, prepare  # noqa: E402

# The first that fits; what fits none is the edge's.
GROUPS = [
    ("kernel", r"\[k\]"),
    ("AES-GCM", r"aes_gcm|gcm_|ghash|aesni|aes_hw"),
    ("copies", r"mem(move|cpy)"),
    ("allocation", r"\bmi_|_mi_|malloc|\bfree\b"),
    ("QUIC", r"quinn"),
    ("TLS", r"rustls|aws_lc|aead|EVP_|CRYPTO_"),
    ("runtime", r"tokio|mio::|parking_lot|epoll|pthread|__libc|__GI|\[\.\] syscall"),
]
NAMES = [name for name, _ in GROUPS] + ["edge"]


def shares(recorded: Path) -> dict[str, float]:
    """Parts of the samples, by group."""
    command = ["perf", "report", "-i", str(recorded), "--no-children", "-g", "none", "--sort", "sym", "--stdio"]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    sums = dict.fromkeys(NAMES, 0.0)
    for line in report.splitlines():
        found = re.match(r"\s+([\d.]+)%\s+(.*)", line)
        if found:
            name = next((name for name, what in GROUPS if re.search(what, found[2])), "edge")
            sums[name] += float(found[1])
    whole = sum(sums.values()) or 1
    return {name: part / whole for name, part in sums.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", required=True)
    parser.add_argument("--h3load", help="HTTP/3 generator; without it HTTP/3 is left out")
    parser.add_argument("--only", help="protocols, comma-separated", default="h1,h2,h3")
    parser.add_argument("--sizes", help="in KiB, comma-separated", default="64,16,2")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not shutil.which("perf"):
        sys.exit("perf is not installed (Debian: apt-get install linux-perf)")
    if not args.inside:
        enter_namespace()
    protocols = [p for p in args.only.split(",") if p != "h3" or args.h3load]
    with tempfile.TemporaryDirectory(prefix="bench-profile-") as name:
        directory = Path(name)
        cert, key = prepare(directory)
        origin, cache = nginx(directory, cert, key)
        cache.stop()
        edge = edge_server(args.edge, origin, directory, cert, key)
        print(f"{'µs a request':12}{'all':>8}{'floor':>8}" + "".join(f"{name:>12}" for name in NAMES))
        try:
            for protocol in protocols:
                for kib in args.sizes.split(","):
                    line(args, edge, protocol, int(kib) << 10, directory / "perf.data")
        finally:
            edge.stop()
            origin.stop()


def line(args, edge: Server, protocol: str, size: int, recorded: Path):
    def load(seconds: float) -> int:
        if protocol == "h3":
            return load_h3(args.h3load, edge.port, size, seconds)
        return load_tcp(protocol, edge.port, size, seconds, 0)

    load(1)
    before = cpu_s(edge.process.pid)
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(load, args.seconds)
        subprocess.run(["perf", "record", "-q", "-F", "1999", "-o", str(recorded), "-p", str(edge.process.pid),
                        "--", "sleep", f"{args.seconds * 0.8:g}"], check=True, stderr=subprocess.DEVNULL)  # fmt: skip
        done = loading.result()
    whole = (cpu_s(edge.process.pid) - before) / done * 1e6
    parts = shares(recorded)
    floor = (parts["kernel"] + parts["AES-GCM"]) * whole
    columns = "".join(f"{parts[name] * whole:12.2f}" for name in NAMES)
    print(f"{protocol} {size >> 10:3} KiB  {whole:8.1f}{floor:8.1f}{columns}", flush=True)


if __name__ == "__main__":
    main()
