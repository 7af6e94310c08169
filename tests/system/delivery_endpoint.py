"""An HTTP endpoint in a process of its own, which remembers the ids of requests: what comes again under an id that was
taken is not taken a second time. `python delivery_endpoint.py FILE` says its port, and appends the data of each request
that it takes to FILE, a JSON list a line.

One request in four is never taken (413), one answer in eight says "later" (500), one in eight takes the request and
loses the answer.
"""

from __future__ import annotations

import base64
import json
import random
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def main(file: Path) -> None:
    taken: set[str] = set()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            id_ = body["requestId"]
            if uuid.UUID(id_).int % 4 == 0:
                self._answer(413, {"requestId": id_, "timestamp": 1, "errorMessage": "never"})
                return
            fate = random.randrange(8)
            if fate == 0:
                self._answer(500, {"requestId": id_, "timestamp": 1, "errorMessage": "later"})
                return
            with lock:
                if id_ not in taken:
                    taken.add(id_)
                    records = [base64.b64decode(record["data"]).decode() for record in body["records"]]
                    with file.open("a") as out:
                        out.write(json.dumps(records) + "\n")
            if fate == 1:
                self.close_connection = True
                return
            self._answer(200, {"requestId": id_, "timestamp": 1})

        def _answer(self, status: int, answer: dict[str, object]) -> None:
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that was killed is what this is for."""

    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
