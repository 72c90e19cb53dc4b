"""`demo`: the page in a file and on its server. What the page does: tests/test_drawing_page_in_browser.py."""

import http.client
import os
import signal
import socket
import struct
import tempfile
import threading
import urllib.request
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mnist_lightning.demo.server import page_server
from mnist_lightning.export.drawing_page import PageFormat
from mnist_lightning.export.pixel_network import PixelNetwork
from mnist_lightning.main import main
from mnist_lightning.runs.checkpoint import load_classifier
from support import processes
from support.demo_page import served
from support.runs import PROJECT

SHIPPED = PROJECT / "models" / "mnist.ckpt"


def test_the_page_is_written_and_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    capfd.readouterr()
    main(["demo", "--ckpt_path", str(SHIPPED)])
    (path,) = tmp_path.glob("*/digits.html")
    assert capfd.readouterr().out.startswith(f"The page: {path}\nIf no browser shows it, ")
    assert opened == [path.as_uri()]
    images = torch.rand(5, 1, 28, 28)
    with torch.no_grad():
        expected = PixelNetwork(load_classifier(SHIPPED))(images)
    torch.testing.assert_close(PageFormat().load(path).logits(images), expected, rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with served() as number:
        yield number


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "path", "host", "status"),
    [
        ("GET", "/", "127.0.0.1:PORT", 200),
        ("GET", "/", "localhost:PORT", 200),
        ("GET", "/", "localhost:9000", 200),  # through a tunnel
        ("GET", "/", "example.org", 403),
        ("GET", "/", "127.0.0.1.example.org:PORT", 403),
        ("GET", "/", "", 403),
        ("GET", "/index.html", "localhost", 404),
        ("GET", "/../pyproject.toml", "localhost", 404),
        ("POST", "/", "localhost", 501),
    ],
)
def test_only_the_page_is_served_and_only_to_this_machine(
    method: str, path: str, host: str, status: int, port: int
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host.replace("PORT", str(port)))
    connection.endheaders()
    response = connection.getresponse()
    content = response.read()
    connection.close()
    assert response.status == status
    assert (b'id="paper"' in content) == (status == 200)


@pytest.mark.slow
def test_the_port_is_closed_to_other_machines(port: int) -> None:
    listening = [
        address
        for table in ("tcp", "tcp6")
        for address, its_port in (
            line.split()[1].split(":") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        )
        if int(its_port, 16) == port
    ]
    assert set(listening) == {"0100007F"}  # 127.0.0.1, its bytes from the last to the first


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--ckpt_path", ""], ["ckpt_path"]),
        (["--ckpt_path", "none.ckpt"], ["none.ckpt", "no such file"]),
        (["--ckpt_path", str(SHIPPED), "--port", "0"], ["port"]),
    ],
)
def test_mistakes(options: list[str], words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["demo", *options])
    error = capfd.readouterr().err
    assert all(word in error for word in words), error


def test_a_port_in_use(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match="2"):
            main(["demo", "--ckpt_path", str(SHIPPED), "--port", str(port)])
    assert f"error: --port {port} cannot be used (Address already in use)" in capfd.readouterr().err


def test_a_closed_tab_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    port = processes.free_port()
    with page_server(b"page", port) as server:
        server.daemon_threads = False  # so that the server waits for its threads
        threading.Thread(target=server.serve_forever).start()
        with socket.create_connection(("127.0.0.1", port)) as browser:
            browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closes with a reset
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
            assert answer.read() == b"page"
        server.shutdown()
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_ctrl_c_stops_the_server(in_project: None, tmp_path: Path) -> None:
    port = processes.free_port()
    log = tmp_path / "log"
    log.touch()
    process = processes.start(["demo", "--ckpt_path", str(SHIPPED), "--port", str(port)], log)
    processes.wait_until(lambda: not process.is_alive() or "Draw at" in log.read_text())
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    assert processes.end(process) == 130
    assert log.read_text() == f"Draw at http://127.0.0.1:{port} (stop with Ctrl-C)\n\nended by Ctrl-C\n"
