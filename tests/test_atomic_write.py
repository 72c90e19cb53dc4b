"""Atomic file writes: concurrent writers, links, long names and failures."""

import subprocess
import sys
from pathlib import Path

import pytest

from mnist_lightning.files import atomic_write
from support.runs import PROJECT

WRITE_OFTEN = """
import sys
from pathlib import Path
from mnist_lightning.files import atomic_write
for _ in range(200):
    atomic_write(Path(sys.argv[1]), sys.argv[2] * 100_000)
"""


def test_concurrent_writers_and_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic_write(path, "z" * 100_000)
    commands = [[sys.executable, "-c", WRITE_OFTEN, str(path), letter] for letter in "ab"]
    writers = [subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True) for command in commands]
    num_read = 0
    while any(writer.poll() is None for writer in writers) or num_read == 0:
        content = path.read_text()
        assert content == content[0] * 100_000
        num_read += 1
    for writer in writers:
        _, error = writer.communicate()
        assert (writer.returncode, error) == (0, "")
    assert list(tmp_path.iterdir()) == [path]


def test_planted_links_are_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    for name in (".file.partial", ".file"):
        (tmp_path / name).symlink_to(precious)
    atomic_write(tmp_path / "file", "new")
    assert precious.read_text() == "kept"
    (tmp_path / "link").symlink_to(precious)
    atomic_write(tmp_path / "link", "new")  # replaces the link itself
    assert precious.read_text() == "kept"
    assert (tmp_path / "link").read_text() == "new"


def test_a_failure_names_the_file_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(IsADirectoryError) as error:
        atomic_write(folder, "new")
    assert error.value.filename == str(folder)
    with pytest.raises(FileNotFoundError) as missing:
        atomic_write(tmp_path / "missing" / "file", "new")
    assert missing.value.filename == str(tmp_path / "missing" / "file")
    assert list(tmp_path.iterdir()) == [folder]
