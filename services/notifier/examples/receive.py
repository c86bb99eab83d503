"""A receiver of imagepress's webhooks that believes nothing unsigned and does nothing twice.

pip install standardwebhooks
WEBHOOK_SECRET=whsec_… python receive.py 8080
"""

from __future__ import annotations

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

MOST_BYTES = 64 * 1024

webhook = Webhook(os.environ["WEBHOOK_SECRET"])
seen: set[str] = set()  # where this matters, keep the ids where your data is, and for as long


def handle(event: dict[str, Any]) -> None:
    """Do here what has to be done."""
    print(event["type"], event["request_id"], flush=True)


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 to what is genuine, and 400 to everything else."""

    def do_POST(self) -> None:
        """Verify, then act."""
        length = int(self.headers.get("Content-Length", 0))
        if not 0 < length <= MOST_BYTES:
            self.send_error(400)
            return
        try:  # the very bytes are signed: what is parsed and written anew differs
            event = webhook.verify(self.rfile.read(length), dict(self.headers))
        except WebhookVerificationError:
            self.send_error(400)
            return
        if self.headers["webhook-id"] not in seen:  # it may come again: our answer to the first may have been lost
            handle(event)
            seen.add(self.headers["webhook-id"])
        self.send_response(204)
        self.end_headers()


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver)
    print("listening on port", server.server_port, flush=True)
    server.serve_forever()
