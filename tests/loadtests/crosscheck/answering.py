"""A server of HTTP/1.1 that answers every request the same, and remembers the first."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Answering(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, status: int = 200) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = b"HTTP/1.1 %d Told\r\nContent-Length: 4\r\ntorii-served-by: m/1@x\r\n\r\nwell" % status
        self.port: int = self.server_address[1]
        self.first = b""
        self.requests = 0


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server = self.server
        assert isinstance(server, Answering)
        while head := self._head():
            length = int(head.lower().split(b"content-length:")[1].split(b"\r")[0])
            whole = head + self.rfile.read(length)
            server.first = server.first or whole
            server.requests += 1
            if not server.answer:
                return  # hangs up
            self.connection.sendall(server.answer)

    def _head(self) -> bytes:
        head = b""
        try:
            while not head.endswith(b"\r\n\r\n"):
                line = self.rfile.readline()
                if not line:
                    return b""
                head += line
        except OSError:
            return b""
        return head


@contextmanager
def answering(status: int = 200) -> Iterator[Answering]:
    with Answering(status) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
