"""`demo`: the page in a file. What the page does: tests/test_drawing_page_in_browser.py."""

import tempfile
import webbrowser
from pathlib import Path

import pytest

from mnist_lightning.main import main
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
    assert 'id="paper"' in path.read_text("utf-8")
