"""MNIST on disk: finds the four files, verifies their checksums, downloads missing ones and reads them.

`python -m mnist_lightning.data.mnist_files` checks and downloads the files; it exits with status 2 on failure.
"""

import gzip
import hashlib
import http.client
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mnist_lightning.data.batches import LabelledImages
from mnist_lightning.errors import PROGRAM, DataFilesError, UserError

# Mean and standard deviation of the pixels of the 60,000 training images, in [0, 1], rounded as is common.
PIXEL_MEAN = 0.1307
PIXEL_STD = 0.3081
BACKGROUND = -PIXEL_MEAN / PIXEL_STD  # a black pixel, normalised

DOWNLOAD_TIMEOUT_SECONDS = 20


def normalise_(images: Tensor) -> Tensor:
    """Normalises pixels in [0, 1], of any shape, in place, by the training images' mean and standard deviation."""
    return images.sub_(PIXEL_MEAN).div_(PIXEL_STD)


def normalised(images: Tensor) -> Tensor:
    """Normalises stored pixels in [0, 255], of any shape and dtype, to a new float32 tensor."""
    return normalise_(images.float() / 255)


class MnistFile(NamedTuple):
    """One of the four files, with MD5 checksums."""

    name: str
    md5: str  # of the unpacked file
    gz_md5: str  # of `name`.gz, as in torchvision


TRAIN_IMAGES = MnistFile(
    "train-images-idx3-ubyte", "6bbc9ace898e44ae57da46a324031adb", "f68b3c2dcbeaaa9fbdd348bbdeb94873"
)
TRAIN_LABELS = MnistFile(
    "train-labels-idx1-ubyte", "a25bea736e30d166cdddb491f175f624", "d53e105ee54ea40749a09fcbcd1e9432"
)
TEST_IMAGES = MnistFile(
    "t10k-images-idx3-ubyte", "2646ac647ad5339dbf082846283269ea", "9fb629c4189551a2d022fa330f9573f3"
)
TEST_LABELS = MnistFile(
    "t10k-labels-idx1-ubyte", "27ae3e4e09519cfbb04c329615203637", "ec29112dd5afa0611ce80d1b7f02629c"
)
MNIST_FILES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)


def default_data_dir() -> str:
    """The environment variable `MNIST_DATA_DIR`, else `data`."""
    return os.environ.get("MNIST_DATA_DIR") or "data"


def read_mnist(data_dir: str | Path) -> tuple[LabelledImages, LabelledImages]:
    """Reads the 60,000 training images and the 10,000 test images.

    Args:
        data_dir: directory with `MNIST/raw/*.gz`, or the same files unpacked. Missing or damaged files are downloaded.

    Returns:
        Training set and test set: images (N, 1, 28, 28) uint8 and labels (N,) int64.

    Raises:
        DataFilesError: a file is missing or damaged and could not be downloaded.
    """
    arrays = [_parse_idx(read_verified(data_dir, file)) for file in MNIST_FILES]
    train_images, train_labels, test_images, test_labels = arrays
    return (
        LabelledImages(train_images.unsqueeze(1), train_labels.long()),
        LabelledImages(test_images.unsqueeze(1), test_labels.long()),
    )


def read_verified(data_dir: str | Path, file: MnistFile) -> bytes:
    """The unpacked content of one file after verifying its checksum; downloads a missing or damaged file.

    Raises:
        DataFilesError: the file is missing or damaged and could not be downloaded.
    """
    raw_dir = Path(data_dir) / "MNIST" / "raw"
    problems = []
    for path, md5 in ((raw_dir / file.name, file.md5), (raw_dir / f"{file.name}.gz", file.gz_md5)):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            problems.append(f"{path} cannot be read ({error.strerror})")
            continue
        if hashlib.md5(content, usedforsecurity=False).hexdigest() == md5:
            return gzip.decompress(content) if path.suffix == ".gz" else content
        problems.append(f"{path} is damaged: its MD5 is not {md5}")
    for problem in problems:
        print(f"{problem}; downloading it again.", file=sys.stderr)
    return gzip.decompress(_download(raw_dir, file, problems))


def _download(raw_dir: Path, file: MnistFile, problems: list[str]) -> bytes:
    # Imported here because it takes seconds, and most runs download nothing.
    from torchvision.datasets import MNIST
    from torchvision.datasets.utils import download_url

    target = raw_dir / f"{file.name}.gz"
    folders = [raw_dir, *raw_dir.parents[:2]]
    new_folders = [folder for folder in folders if not folder.exists()]
    partial_dir = None
    try:
        raw_dir.mkdir(parents=True, exist_ok=True)
        # A temporary directory, because another process may download the same file at the same time.
        partial_dir = tempfile.mkdtemp(prefix=".download-", dir=raw_dir)
        for mirror in MNIST.mirrors:
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
    raise DataFilesError(_help_text(raw_dir, problems, list(MNIST.mirrors)))


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    # torchvision's download has no timeout: a silent mirror would block a run forever.
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(previous)


def _help_text(raw_dir: Path, problems: list[str], mirrors: list[str]) -> str:
    files = "\n".join(f"  {file.gz_md5}  {file.name}.gz" for file in MNIST_FILES)
    return (
        "MNIST was not found and could not be downloaded:\n"
        + "".join(f"  {problem}\n" for problem in problems)
        + f"Put these four files (MD5 before the name) into {raw_dir}:\n{files}\n"
        + f"Download them from {' or '.join(mirrors)}\n"
        + "If they are elsewhere, pass the directory above MNIST/raw as --data.data_dir (`report` and `export`: "
        + "--data_dir) or set MNIST_DATA_DIR.\n"
        + f"To train without MNIST or a connection: `{PROGRAM} fit --config configs/offline.yaml`"
    )


def _parse_idx(content: bytes) -> Tensor:
    """Parses IDX (http://yann.lecun.com/exdb/mnist/): two zeros, type 8 (uint8), number of sizes, sizes, values."""
    num_sizes = content[3]
    sizes = np.frombuffer(content, dtype=">i4", count=num_sizes, offset=4)
    values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * num_sizes)
    return torch.from_numpy(values.reshape(tuple(sizes)).copy())


def main() -> None:
    """Checks the four files and downloads missing or damaged ones.

    Raises:
        SystemExit: status 2 if a file could not be downloaded.
    """
    data_dir = sys.argv[1] if len(sys.argv) > 1 else default_data_dir()
    try:
        for file in MNIST_FILES:
            read_verified(data_dir, file)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    print(f"MNIST is in {data_dir}: four files, checksums verified.")


if __name__ == "__main__":
    main()
