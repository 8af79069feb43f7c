"""Resumes an HTTP/3 session, and tries to send a request as early data.

    resume.py HOST:PORT PATH

Prints one JSON object: whether the second connection resumed the first one's session, what early
data the ticket allows, and whether the server took a request that came as early data all the same.
"""

import asyncio
import json
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.status = asyncio.get_event_loop().create_future()

    def quic_event_received(self, event):
        for http in self.http.handle_event(event):
            if isinstance(http, HeadersReceived) and not self.status.done():
                self.status.set_result(int(dict(http.headers)[b":status"]))
        if isinstance(event, ConnectionTerminated) and not self.status.done():
            self.status.set_result(-event.error_code)

    def get(self, path):
        stream = self._quic.get_next_available_stream_id()
        fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"localhost"), (b":path", path.encode())]
        self.http.send_headers(stream, fields, end_stream=True)
        self.transmit()


async def visit(host, port, path, tickets, ticket=None, early=False):
    configuration = QuicConfiguration(is_client=True, alpn_protocols=["h3"], verify_mode=ssl.CERT_NONE)
    configuration.server_name = "localhost"
    configuration.session_ticket = ticket
    async with connect(
        host,
        port,
        configuration=configuration,
        create_protocol=Client,
        session_ticket_handler=tickets.append,
        wait_connected=not early,
    ) as client:
        before = len(tickets)
        client.get(path)
        status = await asyncio.wait_for(client.status, 30)
        for _ in range(100):
            if len(tickets) > before:
                break
            await asyncio.sleep(0.1)
        tls = client._quic.tls
        return {"status": status, "resumed": tls.session_resumed, "early": tls.early_data_accepted}


async def main():
    host, port = sys.argv[1].rsplit(":", 1)
    path, tickets = sys.argv[2], []
    first = await visit(host, int(port), path, tickets)
    allowed = tickets[0].max_early_data_size
    second = await visit(host, int(port), path, tickets, tickets[0])
    # A client that doesn't care what the ticket allows.
    tickets[-1].max_early_data_size = 0xFFFFFFFF
    third = await visit(host, int(port), path, tickets, tickets[-1], early=True)
    print(json.dumps({"first": first, "allowed": allowed, "second": second, "third": third}))


asyncio.run(main())
