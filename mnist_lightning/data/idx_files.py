"""IDX files, as MNIST's: finds them, verifies their checksums, downloads missing ones and reads them."""

import gzip
import hashlib
import http.client
import os
import shutil
import socket
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mnist_lightning.data.batches import LabelledImages
from mnist_lightning.errors import PROGRAM, UserError

DOWNLOAD_TIMEOUT_SECONDS = 20


class IdxFile(NamedTuple):
    """One of a data set's files, with MD5 checksums."""

    name: str
    md5: str  # of the unpacked file; `-` if unknown: only the published .gz is accepted then
    gz_md5: str  # of `name`.gz, as in torchvision


@dataclass(frozen=True)
class IdxFiles:
    """The four files of a data set.

    Args:
        title: The data set's name.
        folder: Name of torchvision's data set class, which is also the folder's name and lists the mirrors.
        files: Training images and labels, test images and labels.
        first_test_image: Index of the first image of the test files that is used.
        end_of_test_images: Stop index of these images, exclusive; None uses all that follow.
    """

    title: str
    folder: str
    files: tuple[IdxFile, ...]
    first_test_image: int = 0
    end_of_test_images: int | None = None

    def read(self, data_dir: str | Path) -> tuple[LabelledImages, LabelledImages]:
        """Reads the training images and the test images.

        Args:
            data_dir: directory with the files, or with `FOLDER/raw`: missing or damaged files are downloaded there.

        Returns:
            Training set and test set: images (N, 1, 28, 28) uint8 and labels (N,) int64.

        Raises:
            UserError: a file is missing or damaged and could not be downloaded.
        """
        arrays = [_parse_idx(self.read_verified(data_dir, file)) for file in self.files]
        train_images, train_labels, test_images, test_labels = arrays
        used = slice(self.first_test_image, self.end_of_test_images)
        return (
            LabelledImages(train_images.unsqueeze(1), _classes(train_labels)),
            LabelledImages(test_images[used].unsqueeze(1), _classes(test_labels[used])),
        )

    def read_verified(self, data_dir: str | Path, file: IdxFile) -> bytes:
        """The unpacked content of one file after verifying its checksum; downloads a missing or damaged file.

        Raises:
            UserError: the file is missing or damaged and could not be downloaded.
        """
        raw_dir = Path(data_dir) / self.folder / "raw"
        problems = []
        for path in (folder / f"{file.name}{suffix}" for folder in (raw_dir, Path(data_dir)) for suffix in ("", ".gz")):
            try:
                content = _verified(path.read_bytes(), file, is_packed=path.suffix == ".gz")
            except FileNotFoundError:
                continue
            except OSError as error:
                problems.append(f"{path} cannot be read ({error.strerror})")
                continue
            if content is not None:
                return content
            problems.append(f"{path} {'is damaged' if file.md5 != '-' else 'is not the published file'}")
        for problem in problems:
            print(f"{problem}; downloading it again.", file=sys.stderr)
        return gzip.decompress(self._download(raw_dir, file, problems))

    def _download(self, raw_dir: Path, file: IdxFile, problems: list[str]) -> bytes:
        # Imported here because it takes seconds, and most runs download nothing.
        from torchvision.datasets.utils import download_url

        target = raw_dir / f"{file.name}.gz"
        folders = [raw_dir, *raw_dir.parents[:2]]
        new_folders = [folder for folder in folders if not folder.exists()]
        partial_dir = None
        try:
            raw_dir.mkdir(parents=True, exist_ok=True)
            # A temporary directory, because another process may download the same file at the same time.
            partial_dir = tempfile.mkdtemp(prefix=".download-", dir=raw_dir)
            for mirror in self.mirrors():
                url = f"{mirror}{target.name}"
                print(f"Downloading {url}", file=sys.stderr)
                try:
                    with _socket_timeout(DOWNLOAD_TIMEOUT_SECONDS):
                        download_url(url, partial_dir, target.name, file.gz_md5)
                except (OSError, RuntimeError, http.client.HTTPException) as error:  # URLError is an OSError
                    problems.append(f"{url}: {getattr(error, 'reason', error)}")
                    continue
                downloaded = Path(partial_dir) / target.name
                content = downloaded.read_bytes()
                downloaded.replace(target)
                return content
        except OSError as error:
            problems.append(f"{raw_dir} cannot be written ({error.strerror})")
        finally:
            if partial_dir is not None:
                shutil.rmtree(partial_dir, ignore_errors=True)
            for folder in new_folders:
                with suppress(OSError):  # not empty after a successful download
                    folder.rmdir()
        raise UserError(self._help_text(raw_dir, problems))

    def mirrors(self) -> list[str]:
        """The beginnings of the addresses that torchvision downloads from."""
        from torchvision import datasets

        if self.folder == "QMNIST":  # has whole addresses instead
            return [datasets.QMNIST.resources["train"][0][0].removesuffix(f"{self.files[0].name}.gz")]
        mirrors: list[str] = getattr(datasets, self.folder).mirrors
        return mirrors

    def _help_text(self, raw_dir: Path, problems: list[str]) -> str:
        files = "\n".join(f"  {file.gz_md5}  {file.name}.gz" for file in self.files)
        return (
            f"{self.title} was not found and could not be downloaded:\n"
            + "".join(f"  {problem}\n" for problem in problems)
            + f"Put these four files (MD5 before the name) into {raw_dir}:\n{files}\n"
            + f"Download them from {' or '.join(self.mirrors())}\n"
            + f"If they are elsewhere, pass their directory, or the one above {self.folder}/raw, as --data.data_dir "
            + "(`report` and `export`: --data_dir) or set MNIST_DATA_DIR.\n"
            + f"To train without a download: `{PROGRAM} fit --config configs/offline.yaml`"
        )


def default_data_dir() -> str:
    """The environment variable `MNIST_DATA_DIR`, else `data`."""
    return os.environ.get("MNIST_DATA_DIR") or "data"


def _verified(content: bytes, file: IdxFile, is_packed: bool) -> bytes | None:
    """The unpacked content if it is the file's; a `.gz` that was packed again is the same file."""
    if is_packed:
        is_published = _md5(content) == file.gz_md5  # checked first: it is the smaller one to hash
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error):
            return None
        if is_published:
            return content
    return content if _md5(content) == file.md5 else None


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    # torchvision's download has no timeout: a silent mirror would block a run forever.
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(previous)


def _parse_idx(content: bytes) -> Tensor:
    """Parses IDX (http://yann.lecun.com/exdb/mnist/): two zeros, type, number of sizes, sizes, values.

    Type 8 is uint8, and type 12 int32.
    """
    num_sizes = content[3]
    sizes = np.frombuffer(content, dtype=">i4", count=num_sizes, offset=4)
    values = np.frombuffer(content, dtype={8: "u1", 12: ">i4"}[content[2]], offset=4 + 4 * num_sizes)
    return torch.from_numpy(values.reshape(tuple(sizes)).astype(values.dtype.newbyteorder("=")))


def _classes(labels: Tensor) -> Tensor:
    """Classes (N,) int64 from labels (N,), or (N, 8) as QMNIST's: the class, then writer, and place in NIST's files."""
    return (labels[:, 0] if labels.ndim == 2 else labels).long()
