"""The demo's server. Its page: tests/test_demo_in_browser.py."""

import base64
import io
import os
import signal
import socket
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from mnist_lightning.demo.page import PNG_URL, drawing_reader
from mnist_lightning.main import main
from mnist_lightning.runs.checkpoint import load_classifier
from support import processes
from support.runs import PROJECT

SHIPPED = PROJECT / "models" / "mnist.ckpt"


def url_of(image: Image.Image, kind: str = "PNG") -> str:
    content = io.BytesIO()
    image.save(content, kind)
    return PNG_URL + base64.b64encode(content.getvalue()).decode()


def drawing(points: list[tuple[int, int]]) -> Image.Image:
    image = Image.new("RGB", (280, 280), "white")
    ImageDraw.Draw(image).line(points, "black", width=20, joint="curve")
    return image


def test_a_drawing_is_read() -> None:
    reply = drawing_reader(load_classifier(SHIPPED))(url_of(drawing([(80, 60), (200, 60), (130, 230)])))
    assert reply["message"] == "This is a 7."
    assert len(reply["probabilities"]) == 10
    assert sum(reply["probabilities"]) == pytest.approx(1, abs=1e-4)
    assert reply["probabilities"][7] > 0.5
    assert len(reply["pixels"]) == 28 * 28
    assert (min(reply["pixels"]), max(reply["pixels"])) == (0, 255)


def test_an_empty_canvas_has_no_digit() -> None:
    assert drawing_reader(load_classifier(SHIPPED))(url_of(Image.new("RGB", (280, 280), "white"))) == {
        "message": "No digit yet."
    }


@pytest.mark.parametrize(
    "url",
    [
        "",
        "data:text/html;base64,PGI+",
        f"{PNG_URL}%%%",
        f"{PNG_URL}{base64.b64encode(b'no picture').decode()}",
        url_of(drawing([(80, 60), (200, 60)]), "JPEG"),
        url_of(drawing([(80, 60), (200, 60)]))[:-400],
        url_of(Image.new("L", (5000, 5000))),
        PNG_URL + "A" * 2_000_000,
    ],
)
def test_a_drawing_that_is_not_from_the_page(url: str) -> None:
    assert drawing_reader(load_classifier(SHIPPED))(url) == {"message": "This drawing is not from this page."}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--ckpt_path", ""], ["ckpt_path"]),
        (["--ckpt_path", "none.ckpt"], ["none.ckpt", "no such file"]),
        (["--ckpt_path", str(SHIPPED), "--port", "0"], ["port"]),
    ],
)
def test_mistakes(options: list[str], words: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["demo", *options])
    error = capfd.readouterr().err
    assert all(word in error for word in words), error


@pytest.mark.slow
def test_a_port_in_use(in_project: None, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        # In a separate process, because gradio leaves sockets open.
        process = processes.start(["demo", "--ckpt_path", str(SHIPPED), "--port", str(port)], tmp_path / "log")
        assert processes.end(process) == 2
    assert f"error: --port {port} is in use by another program" in (tmp_path / "log").read_text()


@pytest.mark.slow
def test_no_proxy_is_used_and_ctrl_c_stops_the_server(in_project: None, tmp_path: Path) -> None:
    port = processes.free_port()
    proxy = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    no_proxy = {"NO_PROXY": "example.org", "no_proxy": ""}
    command = ["demo", "--ckpt_path", str(SHIPPED), "--port", str(port)]
    (tmp_path / "log").touch()
    process = processes.start(command, tmp_path / "log", proxy | no_proxy)
    processes.wait_until(lambda: not process.is_alive() or "Draw at" in (tmp_path / "log").read_text())
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    assert processes.end(process) == 130
    assert (tmp_path / "log").read_text() == f"Draw at http://127.0.0.1:{port} (stop with Ctrl-C)\n\nended by Ctrl-C\n"
