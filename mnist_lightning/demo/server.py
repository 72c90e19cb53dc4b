"""Serves one page on this machine."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from typing_extensions import override

from mnist_lightning.errors import UserError

HOST = "127.0.0.1"  # not reachable from the network


class _Server(ThreadingHTTPServer):
    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):  # the browser's, when a tab is closed
            super().handle_error(request, client_address)


def page_server(page: bytes, port: int) -> ThreadingHTTPServer:
    """A server of the HTML page at `/`.

    Raises:
        UserError: the port is in use or not allowed.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # seconds, for a request that does not end

        def do_GET(self) -> None:
            # Another site can point its own name at this machine, and would then read this server's answers.
            if self.headers.get("Host", "").partition(":")[0] not in (HOST, "localhost"):
                self.send_error(403)
            elif self.path != "/":
                self.send_error(404)
            else:
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

        @override
        def log_message(self, format: str, *args: object) -> None:
            pass

    try:
        return _Server((HOST, port), Handler)
    except OSError as error:
        other = 8000 if port != 8000 else 8001
        raise UserError(
            f"--port {port} cannot be used ({error.strerror}). Use another port, such as --port {other}."
        ) from None
