"""Damaged files and faulty mirrors: a good mirror replaces the file, or one error names the problem."""

import gzip
import os
import shutil
import signal
import socket
import struct
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from torchvision.datasets import MNIST

from mnist_lightning.data import datasets, idx_files
from mnist_lightning.errors import UserError
from mnist_lightning.main import main
from support import mirrors, processes

*_, TEST_IMAGES, TEST_LABELS = datasets.MNIST.files
read_verified = datasets.MNIST.read_verified


def repacked(change: Callable[[bytearray], object]) -> Callable[[bytes], bytes]:
    """A valid gzip file with changed content."""

    def damage(packed: bytes) -> bytes:
        content = bytearray(gzip.decompress(packed))
        change(content)
        return gzip.compress(bytes(content), compresslevel=1)

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
    with pytest.raises(UserError, match=f"{path} is damaged"):
        read_verified(tmp_path, TEST_IMAGES)
    assert path.read_bytes() == damaged  # not deleted
    monkeypatch.setattr(MNIST, "mirrors", [f"{server}/good/"])
    assert read_verified(tmp_path, TEST_IMAGES) == gzip.decompress(whole)
    assert path.read_bytes() == whole
    assert f"{path} is damaged" in capfd.readouterr().err


def test_swapped_files(own_copy: Path, tmp_path: Path, no_mirror: None) -> None:
    images, labels = (own_copy / f"{file.name}.gz" for file in (TEST_IMAGES, TEST_LABELS))
    images.rename(own_copy / "other")
    labels.rename(images)
    with pytest.raises(UserError, match=f"{images} is damaged"):
        read_verified(tmp_path, TEST_IMAGES)


def test_a_truncated_unpacked_file(own_copy: Path, tmp_path: Path, no_mirror: None) -> None:
    packed = own_copy / f"{TEST_IMAGES.name}.gz"
    content = gzip.decompress(packed.read_bytes())
    (own_copy / TEST_IMAGES.name).write_bytes(content[:-1])
    assert read_verified(tmp_path, TEST_IMAGES) == content  # from the intact file beside it
    packed.unlink()
    with pytest.raises(UserError, match=f"{own_copy / TEST_IMAGES.name} is damaged"):
        read_verified(tmp_path, TEST_IMAGES)


def test_a_directory_without_read_rights(own_copy: Path, no_mirror: None) -> None:
    # Not under pytest's directory, which other users cannot access.
    with tempfile.TemporaryDirectory() as name:
        data_dir = Path(name)
        data_dir.chmod(0o755)
        raw = shutil.copytree(own_copy, data_dir / "MNIST" / "raw")
        raw.chmod(0o000)
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(65534)  # root reads everything
        try:
            with pytest.raises(UserError, match=f"{raw}.* cannot be read .Permission denied"):
                read_verified(data_dir, TEST_LABELS)
        finally:
            if is_root:
                os.seteuid(0)
            raw.chmod(0o755)


@pytest.mark.parametrize("kind", ["page", "half", "closed", "silent", "missing", "broken"])
def test_a_bad_mirror(kind: str, tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx_files, "DOWNLOAD_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(MNIST, "mirrors", [f"{server}/{kind}/"])
    data_dir = tmp_path / "data"
    with pytest.raises(UserError, match=f"{server}/{kind}/{TEST_LABELS.name}.gz: "):
        read_verified(data_dir, TEST_LABELS)
    assert not data_dir.exists()
    monkeypatch.setattr(MNIST, "mirrors", [f"{server}/{kind}/", f"{server}/good/"])
    assert len(read_verified(data_dir, TEST_LABELS)) == 8 + 10_000
    assert [path.name for path in data_dir.rglob("*") if path.is_file()] == [f"{TEST_LABELS.name}.gz"]


def download(data_dir: Path, mirror: str) -> None:
    MNIST.mirrors = [mirror]
    sys.argv[1:] = ["mnist", str(data_dir)]
    datasets.main()


def start_download(data_dir: Path, mirror: str) -> BaseProcess:
    return processes.start_function(download, (data_dir, mirror), data_dir.with_name("log"))


@pytest.mark.slow
def test_two_simultaneous_downloads(tmp_path: Path, server: str) -> None:
    both = [start_download(tmp_path / "data", f"{server}/good/") for _ in range(2)]
    assert [processes.end(process) for process in both] == [os.EX_OK, os.EX_OK]
    assert len([path for path in (tmp_path / "data").rglob("*") if path.is_file()]) == 4


@pytest.mark.slow
def test_a_process_killed_during_a_download(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data_dir = tmp_path / "data"
    process = start_download(data_dir, f"{server}/slow/")
    processes.wait_until(lambda: not process.is_alive() or any(map(Path.is_file, data_dir.rglob("*"))))
    process.kill()
    assert processes.end(process) == -signal.SIGKILL
    monkeypatch.setattr(MNIST, "mirrors", [f"{server}/good/"])
    assert len(read_verified(data_dir, TEST_LABELS)) == 8 + 10_000


def test_a_mirror_ignores_a_client_that_disconnects(packed_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Otherwise its message would appear on another test's standard error."""
    with mirrors.serve(packed_dir) as address:
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(f"GET /slow/{TEST_IMAGES.name}.gz HTTP/1.0\r\n\r\n".encode())
            assert client.recv(1000)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # disconnect immediately
    assert capfd.readouterr().err == ""


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
