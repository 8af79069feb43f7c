"""Slow HTTP/1.1 clients, many at once.

    h1.py ATTACK HOST:PORT SECONDS CONNECTIONS [TLS-PORT]

Prints one JSON object: of how many connections the server cut off how many, and when the last.
"""

import json
import selectors
import socket
import sys
import time

HEAD = b"GET /large HTTP/1.1\r\nHost: localhost\r\n"


def connect(address, small=False):
    host, port = address.rsplit(":", 1)
    tcp = socket.socket()
    if small:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    tcp.settimeout(10)
    tcp.connect((host, int(port)))
    tcp.setblocking(False)
    return tcp


def main():
    name, address, seconds, count = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    selector = selectors.DefaultSelector()
    first = {
        "slow-head": HEAD,
        "slow-body": HEAD.replace(b"GET /large", b"POST /object") + b"Content-Length: 100000\r\n\r\n",
        "unread": HEAD + b"\r\n",
        "silent": b"",
        "slow-handshake": b"\x16\x03\x01",
    }[name]
    dribble = {"slow-head": b"x", "slow-body": b"x"}.get(name, b"")
    begun = time.monotonic()
    open_ones, cut, last = set(), 0, 0.0
    for _ in range(count):
        tcp = connect(address, name == "unread")
        try:
            tcp.send(first)
        except OSError:
            pass
        open_ones.add(tcp)
        selector.register(tcp, selectors.EVENT_READ)
    # One who doesn't read learns of the end by an error alone.
    reads = name != "unread"
    next_byte = begun + 0.2
    while open_ones and time.monotonic() < begun + seconds:
        gone = set()
        for key, _ in selector.select(timeout=0.05) if reads else []:
            try:
                if not key.fileobj.recv(65536):
                    gone.add(key.fileobj)
            except BlockingIOError:
                pass
            except OSError:
                gone.add(key.fileobj)
        if not reads:
            time.sleep(0.05)
            for tcp in open_ones:
                if tcp.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or state(tcp) != 1:
                    gone.add(tcp)
        if time.monotonic() > next_byte:
            next_byte += 0.2
            for tcp in open_ones - gone:
                try:
                    if dribble:
                        tcp.send(dribble)
                except BlockingIOError:
                    pass
                except OSError:
                    gone.add(tcp)
        for tcp in gone:
            selector.unregister(tcp)
            tcp.close()
            cut, last = cut + 1, time.monotonic() - begun
        open_ones -= gone
    print(json.dumps({"connections": count, "cut": cut, "seconds": last}))


def state(tcp):
    """TCP_INFO's first byte: 1 is established."""
    return tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


main()
