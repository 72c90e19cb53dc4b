"""IDX files, as MNIST's: finds them, verifies their checksums, downloads missing ones and reads them."""

import gzip
import hashlib
import os
import sys
import tempfile
import zlib
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision import datasets

from mnist_lightning.data.batches import LabelledImages
from mnist_lightning.errors import PROGRAM, UserError
from mnist_lightning.files import atomic_write

MAX_BYTES = 64 * 2**20  # the largest file has 47 MB unpacked; a forged one must not fill the memory
ELSEWHERE = "name another directory with --data.data_dir (`report` and `export`: --data_dir) or MNIST_DATA_DIR"


@dataclass(frozen=True)
class IdxFiles:
    """The four files of a data set: training images and labels, test images and labels."""

    title: str  # the name of torchvision's class, and of the folder
    md5s: dict[str, str]  # of the unpacked files, by name

    def read(self, data_dir: str | Path) -> tuple[LabelledImages, LabelledImages]:
        """Reads training and test images from `data_dir`, or `TITLE/raw` in it, where missing files are downloaded."""
        arrays = [_parse_idx(content) for content in self.read_verified(Path(data_dir))]
        train, test = (
            LabelledImages(images.unsqueeze(1), labels.long()) for images, labels in (arrays[:2], arrays[2:])
        )
        return train, test

    def read_verified(self, data_dir: Path) -> list[bytes]:
        """The unpacked contents of the four files, after their checksums are verified."""
        raw_dir = data_dir / self.title / "raw"
        paths = {name: _find(name, raw_dir, data_dir) for name in self.md5s}
        contents = {name: _published_content(path, self.md5s[name]) for name, path in paths.items() if path is not None}
        if others := [f"  {paths[name]}\n" for name, content in contents.items() if content is None]:
            raise UserError(
                f"{self.title}: these files are damaged, or are not the published ones:\n{''.join(others)}"
                f"Move them away, then the published ones are downloaded; or {ELSEWHERE}."
            )
        return [contents.get(name) or self._download(name, raw_dir) for name in self.md5s]

    def _download(self, name: str, raw_dir: Path) -> bytes:
        source, name, problems = getattr(datasets, self.title), f"{name}.gz", []
        for address in (f"{mirror}{name}" for mirror in source.mirrors):
            print(f"Downloading {address}", file=sys.stderr)
            with tempfile.TemporaryDirectory() as folder:
                try:
                    datasets.utils.download_url(address, folder, name, dict(source.resources)[name])
                except (OSError, RuntimeError, HTTPException) as error:
                    problems.append(f"  {address}: {error}\n")
                    continue
                packed = Path(folder, name).read_bytes()
            raw_dir.mkdir(parents=True, exist_ok=True)
            if not os.path.lexists(raw_dir / name):  # another process may have been faster
                atomic_write(raw_dir / name, packed)
            return gzip.decompress(packed)
        raise UserError(
            f"{self.title} was not found: {raw_dir} has no {name}, nor could it be downloaded:\n{''.join(problems)}"
            f"Put {', '.join(f'{each}.gz' for each in self.md5s)} there, or {ELSEWHERE}.\n"
            f"To train without a download: `{PROGRAM} fit --config configs/offline.yaml`"
        )


def default_data_dir() -> str:
    """The environment variable `MNIST_DATA_DIR`, else `data`."""
    return str(Path(os.environ.get("MNIST_DATA_DIR") or "data").expanduser())


def _find(name: str, *folders: Path) -> Path | None:
    """The first file of this name; packed or not, with a dot in its name or in a folder of its name, as on Kaggle."""
    names = [f"{spelling}{suffix}" for spelling in (name, name.replace("-idx", ".idx")) for suffix in ("", ".gz")]
    places = [*names, *(f"{folder}/{name}" for folder in names for name in names)]
    paths = [folder / place for folder in folders for place in places]
    return next((path for path in paths if os.path.lexists(path) and not path.is_dir()), None)


def _published_content(path: Path, md5: str) -> bytes | None:
    """The unpacked content, if this is its MD5."""
    with path.open("rb") as file:
        content = file.read(MAX_BYTES)
    if path.suffix == ".gz":
        try:
            content = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(content, MAX_BYTES)  # 16: a gzip file
        except zlib.error:
            return None
    return content if hashlib.md5(content, usedforsecurity=False).hexdigest() == md5 else None


def _parse_idx(content: bytes) -> Tensor:
    """Parses IDX (http://yann.lecun.com/exdb/mnist/): two zeros, type 8 for uint8, number of sizes, sizes, values."""
    num_sizes = content[3]
    sizes = np.frombuffer(content, dtype=">i4", count=num_sizes, offset=4)
    values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * num_sizes)
    return torch.from_numpy(values.reshape(tuple(sizes)).copy())
