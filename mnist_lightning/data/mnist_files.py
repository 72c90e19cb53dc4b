"""MNIST on disk: finds the four files, verifies their checksums, downloads what is missing, and reads them.

`python -m mnist_lightning.data.mnist_files` does just that, and exits with status 2 where it cannot.
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
from mnist_lightning.errors import DataFilesError, UserError

# Mean and standard deviation of the 60,000 training images' pixels in [0, 1], as everybody rounds them.
PIXEL_MEAN = 0.1307
PIXEL_STD = 0.3081
BACKGROUND = -PIXEL_MEAN / PIXEL_STD  # a black pixel, normalised

DOWNLOAD_TIMEOUT_SECONDS = 20


def normalise_(images: Tensor) -> Tensor:
    """Shifts and scales pixels in [0, 1], of any shape, as the training pixels to mean 0 and deviation 1, in place."""
    return images.sub_(PIXEL_MEAN).div_(PIXEL_STD)


def normalised(images: Tensor) -> Tensor:
    """Stored pixels in [0, 255], of any shape, as a network takes them, in float32."""
    return normalise_(images.float() / 255)


class MnistFile(NamedTuple):
    """One of the four files, with the MD5 of its two forms."""

    name: str
    md5: str  # of the unpacked file
    gz_md5: str  # of `name`.gz, as in torchvision's table


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
    """The directory to look in: `MNIST_DATA_DIR`, else `data`."""
    return os.environ.get("MNIST_DATA_DIR") or "data"


def read_mnist(data_dir: str | Path) -> tuple[LabelledImages, LabelledImages]:
    """Reads the 60,000 training and the 10,000 test images.

    Args:
        data_dir: holds `MNIST/raw/*.gz`, or the same files unpacked. Missing or damaged files are downloaded there.

    Raises:
        DataFilesError: a file is missing or damaged, and could not be downloaded.
    """
    arrays = [_parse_idx(read_verified(data_dir, file)) for file in MNIST_FILES]
    train_images, train_labels, test_images, test_labels = arrays
    return (
        LabelledImages(train_images.unsqueeze(1), train_labels.long()),
        LabelledImages(test_images.unsqueeze(1), test_labels.long()),
    )


def read_verified(data_dir: str | Path, file: MnistFile) -> bytes:
    """The unpacked content of one file, whose checksum was verified; downloads it if there is no whole one.

    Raises:
        DataFilesError: there is no whole file, and none could be downloaded.
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
        print(f"{problem}; downloading it anew.", file=sys.stderr)
    return gzip.decompress(_download(raw_dir, file, problems))


def _download(raw_dir: Path, file: MnistFile, problems: list[str]) -> bytes:
    # Imported here: it takes seconds, and most runs download nothing.
    from torchvision.datasets import MNIST
    from torchvision.datasets.utils import download_url

    target = raw_dir / f"{file.name}.gz"
    folders = [raw_dir, *raw_dir.parents[:2]]
    new_folders = [folder for folder in folders if not folder.exists()]
    partial_dir = None
    try:
        raw_dir.mkdir(parents=True, exist_ok=True)
        # A directory of its own: another process may download the same file at the same time.
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
            with suppress(OSError):  # it holds the file
                folder.rmdir()
    raise DataFilesError(_help_text(raw_dir, problems, list(MNIST.mirrors)))


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    # torchvision's download has no timeout of its own: a silent mirror would hold a run for ever.
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(previous)


def _help_text(raw_dir: Path, problems: list[str], mirrors: list[str]) -> str:
    files = "\n".join(f"  {file.gz_md5}  {file.name}.gz" for file in MNIST_FILES)
    return (
        "MNIST is not there and could not be downloaded:\n"
        + "".join(f"  {problem}\n" for problem in problems)
        + f"Put these four files (MD5 before the name) into {raw_dir}:\n{files}\n"
        + f"They are served by {' and '.join(mirrors)}\n"
        + "If they lie elsewhere, name the directory above MNIST/raw with --data.data_dir or MNIST_DATA_DIR; `report` "
        + "and `export` call it --data_dir.\n"
        + "Without them: `python -m mnist_lightning fit --config configs/offline.yaml` needs no network."
    )


def _parse_idx(content: bytes) -> Tensor:
    """Reads IDX (http://yann.lecun.com/exdb/mnist/): two zeros, type 8 (uint8), number of sizes, sizes, values."""
    num_sizes = content[3]
    sizes = np.frombuffer(content, dtype=">i4", count=num_sizes, offset=4)
    values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * num_sizes)
    return torch.from_numpy(values.reshape(tuple(sizes)).copy())


def main() -> None:
    """Makes sure that the files are there and whole."""
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
