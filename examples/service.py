"""A web service that says what a picture shows: `curl --data-binary @examples/seven.jpg http://localhost:8000`."""

import json
from http.server import BaseHTTPRequestHandler, HTTPServer

from mnist_lightning import load_classifier
from mnist_lightning.errors import UserError
from mnist_lightning.read.reading import read_picture

CLASSIFIER = load_classifier("models/mnist.ckpt")


class Service(BaseHTTPRequestHandler):
    """Answers a picture with JSON."""

    def do_POST(self) -> None:  # noqa: D102
        try:
            # Below a probability of 0.8, `read` says that it is not sure.
            answer = read_picture(CLASSIFIER, self.rfile.read(int(self.headers.get("Content-Length", 0))))
            status, content = 200, answer._asdict()
        except UserError as error:  # no picture, or no digit in it
            status, content = 400, {"problem": str(error)}
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())


if __name__ == "__main__":
    HTTPServer(("localhost", 8000), Service).serve_forever()
