"""Working and faulty mirrors of MNIST on this machine."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from typing_extensions import override

POLL_SECONDS = 0.01  # how often a server checks whether it should stop


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # closing the server waits for its responses

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.is_closing = threading.Event()
        super().__init__(("127.0.0.1", 0), _Mirror)

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Prints nothing: some tests disconnect on purpose, and other errors show at the client."""


class _Mirror(http.server.BaseHTTPRequestHandler):
    """The first part of the path selects the behaviour: `/good/FILE`, `/half/FILE` and so on."""

    server: _Server

    def do_GET(self) -> None:
        kind, name = self.path.strip("/").split("/")
        content = (self.server.directory / name).read_bytes()
        if kind == "missing":
            self.send_error(404)
        elif kind == "broken":
            self.send_error(500)
        elif kind == "silent":
            self.server.is_closing.wait()
        elif kind == "closed":
            self.close_connection = True
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content) if kind != "page" else 11))
            self.end_headers()
            if kind == "slow":
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                self.server.is_closing.wait()
            self.wfile.write({"half": content[: len(content) // 2], "page": b"<html>Hello"}.get(kind, content))

    @override
    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serve(directory: Path) -> Iterator[str]:
    """Serves the files of a directory until the block ends; yields the address."""
    with _Server(directory) as server:
        thread = threading.Thread(target=server.serve_forever, args=(POLL_SECONDS,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.is_closing.set()
            server.shutdown()
            thread.join()
