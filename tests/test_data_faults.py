"""Damaged files and broken mirrors: a whole file comes from a good mirror, or one error names the bad one."""

import gzip
import http.server
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import PROJECT
from torchvision.datasets import MNIST
from typing_extensions import override

from mnist_lightning import mnist_files
from mnist_lightning.cli import main
from mnist_lightning.errors import DataFilesError
from mnist_lightning.mnist_files import TEST_IMAGES, TEST_LABELS, read_verified


def repacked(change: Callable[[bytearray], object]) -> Callable[[bytes], bytes]:
    """A whole gzip file of changed content."""

    def damage(packed: bytes) -> bytes:
        content = bytearray(gzip.decompress(packed))
        change(content)
        return gzip.compress(bytes(content))

    return damage


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda packed: packed[: len(packed) // 2],
    "bit flipped": lambda packed: packed[:1000] + bytes([packed[1000] ^ 4]) + packed[1001:],
    "empty": lambda packed: b"",
    "HTML": lambda packed: b"<!DOCTYPE html><title>Sign in to this network</title>",
    "pixel changed": repacked(lambda content: content.__setitem__(500, content[500] ^ 1)),
    "wrong magic number": repacked(lambda content: content.__setitem__(2, 9)),
    "wrong count": repacked(lambda content: content.__setitem__(slice(4, 8), (9_999).to_bytes(4, "big"))),
}


class Mirror(http.server.BaseHTTPRequestHandler):
    """Answers as the first part of the path says: `/good/FILE`, `/half/FILE` and so on."""

    directory: Path

    def do_GET(self) -> None:  # noqa: D102 (the library's name for it)
        kind, name = self.path.strip("/").split("/")
        content = (self.directory / name).read_bytes()
        if kind == "missing":
            self.send_error(404)
        elif kind == "broken":
            self.send_error(500)
        elif kind == "silent":
            time.sleep(2)
        elif kind == "closed":
            self.close_connection = True
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content) if kind != "page" else 11))
            self.end_headers()
            if kind == "slow":
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                time.sleep(60)
            self.wfile.write({"half": content[: len(content) // 2], "page": b"<html>Hello"}.get(kind, content))

    @override
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server(mnist_dir: Path) -> Iterator[str]:
    """The address of a server that plays all mirrors."""
    Mirror.directory = mnist_dir / "MNIST" / "raw"
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as mirrors:
        mirrors.daemon_threads = True
        mirrors.block_on_close = False
        threading.Thread(target=mirrors.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{mirrors.server_port}"
        mirrors.shutdown()


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file(
    name: str,
    own_copy: Path,
    tmp_path: Path,
    server: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = own_copy / f"{TEST_IMAGES.name}.gz"
    whole = path.read_bytes()
    damaged = DAMAGES[name](whole)
    path.write_bytes(damaged)
    monkeypatch.setattr(MNIST, "mirrors", [f"{server}/missing/"])
    with pytest.raises(DataFilesError, match=f"{path} is damaged"):
        read_verified(tmp_path, TEST_IMAGES)
    assert path.read_bytes() == damaged  # nothing is thrown away
    monkeypatch.setattr(MNIST, "mirrors", [f"{server}/good/"])
    assert read_verified(tmp_path, TEST_IMAGES) == gzip.decompress(whole)
    assert path.read_bytes() == whole
    assert f"{path} is damaged" in capfd.readouterr().err


def test_swapped_files(own_copy: Path, tmp_path: Path, no_mirror: None) -> None:
    images, labels = (own_copy / f"{file.name}.gz" for file in (TEST_IMAGES, TEST_LABELS))
    images.rename(own_copy / "other")
    labels.rename(images)
    with pytest.raises(DataFilesError, match=f"{images} is damaged"):
        read_verified(tmp_path, TEST_IMAGES)


def test_an_unpacked_file_that_is_cut_short(own_copy: Path, tmp_path: Path, no_mirror: None) -> None:
    packed = own_copy / f"{TEST_IMAGES.name}.gz"
    content = gzip.decompress(packed.read_bytes())
    (own_copy / TEST_IMAGES.name).write_bytes(content[:-1])
    assert read_verified(tmp_path, TEST_IMAGES) == content  # of the whole file beside it
    packed.unlink()
    with pytest.raises(DataFilesError, match=f"{own_copy / TEST_IMAGES.name} is damaged"):
        read_verified(tmp_path, TEST_IMAGES)


def test_a_directory_without_read_rights(own_copy: Path, no_mirror: None) -> None:
    # A directory of its own under the system's: pytest's are closed to other users, as they should be.
    with tempfile.TemporaryDirectory() as name:
        data_dir = Path(name)
        data_dir.chmod(0o755)
        raw = shutil.copytree(own_copy, data_dir / "MNIST" / "raw")
        raw.chmod(0o000)
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(65534)  # root reads everything
        try:
            with pytest.raises(DataFilesError, match=f"{raw}.* cannot be read .Permission denied"):
                read_verified(data_dir, TEST_LABELS)
        finally:
            if is_root:
                os.seteuid(0)
            raw.chmod(0o755)


@pytest.mark.parametrize("kind", ["page", "half", "closed", "silent", "missing", "broken"])
def test_a_bad_mirror(kind: str, tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist_files, "DOWNLOAD_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(MNIST, "mirrors", [f"{server}/{kind}/"])
    data_dir = tmp_path / "data"
    with pytest.raises(DataFilesError, match=f"{server}/{kind}/{TEST_LABELS.name}.gz: "):
        read_verified(data_dir, TEST_LABELS)
    assert not data_dir.exists()
    monkeypatch.setattr(MNIST, "mirrors", [f"{server}/{kind}/", f"{server}/good/"])
    assert len(read_verified(data_dir, TEST_LABELS)) == 8 + 10_000
    assert [path.name for path in data_dir.rglob("*") if path.is_file()] == [f"{TEST_LABELS.name}.gz"]


def downloading_process(data_dir: Path, mirror: str) -> subprocess.Popen[bytes]:
    script = (
        "import sys; from torchvision.datasets import MNIST; from mnist_lightning.mnist_files import main;"
        f"MNIST.mirrors = [{mirror!r}]; sys.argv[1:] = [{str(data_dir)!r}]; main()"
    )
    return subprocess.Popen([sys.executable, "-c", script], cwd=PROJECT)


def test_two_processes_that_download_at_once(tmp_path: Path, server: str) -> None:
    both = [downloading_process(tmp_path, f"{server}/good/") for _ in range(2)]
    assert [process.wait(120) for process in both] == [os.EX_OK, os.EX_OK]
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 4


def test_a_process_that_is_killed_while_it_downloads(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = downloading_process(tmp_path, f"{server}/slow/")
    while process.poll() is None and not any(path.is_file() for path in tmp_path.rglob("*")):
        time.sleep(0.01)
    process.kill()
    process.wait()
    monkeypatch.setattr(MNIST, "mirrors", [f"{server}/good/"])
    assert len(read_verified(tmp_path, TEST_LABELS)) == 8 + 10_000


def test_no_run_starts_on_bad_data(
    own_copy: Path, tmp_path: Path, no_mirror: None, in_project: None, capfd: pytest.CaptureFixture[str]
) -> None:
    path = own_copy / f"{TEST_IMAGES.name}.gz"
    path.write_bytes(path.read_bytes()[:-1])
    runs = tmp_path / "runs"
    with pytest.raises(SystemExit, match="2"):
        main(["fit", "--config", "configs/optimized.yaml", "--data.data_dir", str(tmp_path),
              "--trainer.default_root_dir", str(runs)])  # fmt: skip
    error = capfd.readouterr().err
    assert f"{path} is damaged" in error
    assert "Traceback" not in error
    assert not runs.exists()
