"""The shop: the small web server that each replica of the demo is.

Run as a file (or as text, inside a container) by any Python 3 with nothing but its standard library, so it imports
nothing of ours. Arguments: its version, and ``broken`` for a version that answers every request with 500. It listens on
``PORT`` and says of itself who answered: version, process, machine.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType

WORK_S = 0.02
"""How long an order takes, so that there is always a request under way when a replica is to go."""


class Shop(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    # Head and body in one segment: else the peer's delayed acknowledgement costs 40 ms a request.
    wbufsize = -1
    version = ""
    broken = False

    def do_GET(self) -> None:
        """Take an order; ``/healthz`` says at once whether orders can be taken."""
        if self.path != "/healthz":
            time.sleep(WORK_S)
        who = {"version": self.version, "pid": os.getpid(), "host": socket.gethostname()}
        body = json.dumps(who).encode()
        self.send_response(500 if self.broken else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class has it so
        """Only what goes wrong is worth a line of the replica's log."""


def leave(number: int, frame: FrameType | None) -> None:
    """End at once: whoever sends SIGTERM has taken the requests away before."""
    os._exit(0)


def main(arguments: list[str]) -> None:
    """Serve until told to end."""
    Shop.version, Shop.broken = arguments[0], "broken" in arguments[1:]
    signal.signal(signal.SIGTERM, leave)
    ThreadingHTTPServer.request_queue_size = 128
    address = os.environ.get("SHOP_ADDRESS", "127.0.0.1")
    with ThreadingHTTPServer((address, int(os.environ.get("PORT", "8080"))), Shop) as server:
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
