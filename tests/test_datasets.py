"""Data sets other than MNIST: their files, classes and statistics, through training, evaluation and prediction."""

import csv
import gzip
import hashlib
import io
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets
from torch import Tensor

from mnist_lightning.data import datasets
from mnist_lightning.data.batches import LabelledImages
from mnist_lightning.data.datasets import DATA_SETS, FASHION_MNIST, KMNIST, MNIST, QMNIST, DataSet, pixel_statistics
from mnist_lightning.data.idx_files import IdxFiles
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.errors import UserError
from mnist_lightning.main import main
from mnist_lightning.runs.checkpoint_file import load_checkpoint
from support import mirrors
from support.runs import Fit, read_report


def idx(values: Tensor) -> bytes:
    """The tensor as an IDX file: uint8, or int32 with its most significant byte first."""
    kind = {torch.uint8: 8, torch.int32: 12}[values.dtype]
    header = struct.pack(f">BBBB{values.ndim}i", 0, 0, kind, values.ndim, *values.shape)
    return header + values.numpy().astype("u1" if kind == 8 else ">i4").tobytes()


def made_up(name: str, num_images: int, seed: int) -> LabelledImages:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (num_images, 28, 28), generator=generator, dtype=torch.uint8)
    labels = torch.arange(num_images) % 10
    if name == "qmnist":  # class, source, writer, number, global number, and more
        return LabelledImages(images, torch.stack([labels, *[labels * 1000 + 7] * 7], dim=1).int())
    return LabelledImages(images, labels.to(torch.uint8))


class Served:
    """A data set of made-up files, which a server on this machine offers; the table knows their checksums.

    Args:
        name: of the data set.
        folder: of the packed files.
        num_test: number of test images.
    """

    def __init__(self, name: str, folder: Path, num_test: int) -> None:
        self.train, self.test = made_up(name, 60, seed=0), made_up(name, num_test, seed=1)
        files: IdxFiles = {"kmnist": KMNIST, "qmnist": QMNIST}[name]
        packed = [gzip.compress(idx(values)) for values in (*self.train, *self.test)]
        for file, content in zip(files.files, packed, strict=True):
            (folder / f"{file.name}.gz").write_bytes(content)
        md5s = [hashlib.md5(content, usedforsecurity=False).hexdigest() for content in packed]
        known = [file._replace(gz_md5=md5) for file, md5 in zip(files.files, md5s, strict=True)]
        self.files = replace(files, files=tuple(known))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    served = tmp_path / "served"
    served.mkdir()
    return served


@pytest.fixture
def address(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Of a server of the folder; torchvision's mirrors of KMNIST and QMNIST are this server's."""
    with mirrors.serve(folder) as server:
        monkeypatch.setattr(torchvision.datasets.KMNIST, "mirrors", [f"{server}/good/"])
        urls = [f"{server}/good/qmnist-train-images-idx3-ubyte.gz", f"{server}/good/qmnist-train-labels-idx2-int.gz"]
        monkeypatch.setitem(torchvision.datasets.QMNIST.resources, "train", [(url, "") for url in urls])
        yield server


@pytest.mark.parametrize("files", [MNIST, FASHION_MNIST, KMNIST, QMNIST])
def test_checksums_and_mirrors_are_torchvisions(files: IdxFiles) -> None:
    published = getattr(torchvision.datasets, files.folder)
    resources = published.resources
    if files is QMNIST:
        resources = [(Path(url).name, md5) for part in ("train", "test") for url, md5 in resources[part]]
        assert all(url == f"{QMNIST.mirrors()[0]}{Path(url).name}" for url, _ in published.resources["test"])
    else:
        assert files.mirrors() == published.mirrors
    assert [(f"{file.name}.gz", file.gz_md5) for file in files.files] == resources


class BlankImages(DigitsDataModule):
    """Four black images of two classes."""

    blank = LabelledImages(torch.zeros(4, 1, 28, 28, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]))
    data_set = DataSet("blank images", ("a", "b"), lambda _: (BlankImages.blank, BlankImages.blank))


def test_images_of_one_colour_are_refused() -> None:
    with pytest.raises(UserError, match="blank images: all pixels of the training images have the same value"):
        _ = BlankImages().classifier_settings


def test_fashion_mnist(fashion_dir: Path, tmp_path: Path) -> None:
    train, test = FASHION_MNIST.read(fashion_dir)
    theirs = torchvision.datasets.FashionMNIST
    assert train.images.shape == (60_000, 1, 28, 28)
    assert test.labels.bincount().tolist() == [1000] * 10
    assert list(DATA_SETS["fashion_mnist"].class_names) == theirs.classes
    found = next(fashion_dir.rglob("t10k-labels-idx1-ubyte.gz"))
    (tmp_path / found.name).write_bytes(gzip.compress(gzip.decompress(found.read_bytes()), compresslevel=1))
    labels = FASHION_MNIST.read_verified(tmp_path, FASHION_MNIST.files[3])  # packed again, in the directory itself
    assert labels == gzip.decompress(found.read_bytes())


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "offline_digits"])
def test_the_tables_statistics_are_those_of_the_training_images(
    name: str, mnist_dir: Path, fashion_dir: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    known = DATA_SETS[name].statistics
    assert known is not None
    data_dir = fashion_dir if name == "fashion_mnist" else mnist_dir
    pixels = DATA_SETS[name].read(str(data_dir))[0].images.numpy() / 255
    assert known == (round(float(pixels.mean()), 4), round(float(pixels.std()), 4))
    monkeypatch.setattr("sys.argv", ["datasets", name, str(data_dir)])
    datasets.main()
    assert f"mean {known.mean:.4f} and standard deviation {known.std:.4f}" in capfd.readouterr().out


@pytest.mark.parametrize("name", ["kmnist", "qmnist"])
def test_a_data_set_is_downloaded_and_read(name: str, folder: Path, address: str, tmp_path: Path) -> None:
    served = Served(name, folder, num_test=50)
    data_dir = tmp_path / "data"
    train, test = served.files.read(data_dir)
    assert torch.equal(train.images[:, 0], served.train.images)
    assert torch.equal(test.images[:, 0], served.test.images)
    for found, written in ((train.labels, served.train.labels), (test.labels, served.test.labels)):
        assert found.dtype == torch.int64
        assert torch.equal(found, (written[:, 0] if written.ndim == 2 else written).long())
    names = sorted(path.name for path in (data_dir / served.files.folder / "raw").iterdir())
    assert names == sorted(f"{file.name}.gz" for file in served.files.files)
    theirs = getattr(torchvision.datasets, served.files.folder)
    for path in (data_dir / served.files.folder / "raw").iterdir():
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))  # as torchvision reads them
    for train_set, ours in ((True, train), (False, test)):
        images, labels = zip(*theirs(data_dir, train=train_set), strict=True)
        assert list(labels) == ours.labels.tolist()
        assert np.array_equal(np.stack(images), ours.images[:, 0].numpy())


@pytest.mark.parametrize("name", ["kmnist", "qmnist"])
def test_a_file_with_another_checksum_is_refused(name: str, folder: Path, address: str, tmp_path: Path) -> None:
    served = Served(name, folder, num_test=50)
    images = served.files.files[2]
    path = folder / f"{images.name}.gz"
    path.write_bytes(gzip.compress(idx(255 - served.test.images)))
    with pytest.raises(UserError, match=f"{served.files.title} was not found.*\n.*{path.name}: File not found or"):
        served.files.read(tmp_path / "data")
    raw = tmp_path / "data" / served.files.folder / "raw"
    (raw / path.name).write_bytes(path.read_bytes())
    with pytest.raises(UserError, match=f"{raw / path.name} is not the published file"):
        served.files.read(tmp_path / "data")


def test_the_test_images_of_qmnist(folder: Path, address: str, tmp_path: Path) -> None:
    """The first 10,000 are MNIST's, the others are new."""
    served = Served("qmnist", folder, num_test=10_030)
    parts = [
        replace(each, files=served.files.files).read(tmp_path)[1].images[:, 0] for each in (QMNIST, datasets.QMNIST50K)
    ]
    assert [len(part) for part in parts] == [10_000, 30]
    assert torch.equal(torch.cat(parts), served.test.images)


def test_training_on_hiragana(
    folder: Path,
    address: str,
    tmp_path: Path,
    fit: Fit,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    served = Served("kmnist", folder, num_test=50)
    monkeypatch.setitem(DATA_SETS, "kmnist", replace(DATA_SETS["kmnist"], read=served.files.read))
    data = ("--data.dataset", "kmnist", "--data.data_dir", str(tmp_path / "data"))
    run = fit(*data, "--data.batch_size", "20")
    report = read_report(run)
    assert report["dataset"] == "Kuzushiji-MNIST"
    assert report["requirements"][0]["is_met"] is None
    checkpoint = run / "checkpoints" / "last.ckpt"
    settings = load_checkpoint(checkpoint)["hyper_parameters"]
    assert settings["class_names"] == ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    pixels = served.train.images.numpy() / 255
    assert (settings["pixel_mean"], settings["pixel_std"]) == pytest.approx((pixels.mean(), pixels.std()))
    capfd.readouterr()
    main(["predict", "--ckpt_path", str(checkpoint), "--data.data_dir", str(tmp_path / "data")])
    rows = list(csv.DictReader(io.StringIO(capfd.readouterr().out)))
    assert len(rows) == 50
    assert {row["class"] for row in rows} <= set(settings["class_names"])
    with pytest.raises(SystemExit, match="2"):
        main(["test", "--ckpt_path", str(checkpoint), "--data.dataset", "offline_digits"])
    assert "trained on the classes o, ki, su" in capfd.readouterr().err


def test_a_network_normalises_as_it_was_trained(fit: Fit, mnist_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Also on other images: the first versions normalised the offline digits by MNIST's statistics."""
    run = fit("--data.validation", "none")
    path = run / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    loss = read_report(run)["test"]["loss"]
    assert checkpoint["hyper_parameters"]["pixel_mean"] == 0.1557

    def loss_in_test() -> float:
        capfd.readouterr()
        main(["test", "--ckpt_path", str(path)])
        return float(capfd.readouterr().out.split("loss ")[1])

    assert loss_in_test() == pytest.approx(loss, abs=1e-4)
    for name in ("class_names", "pixel_mean", "pixel_std"):
        del checkpoint["hyper_parameters"][name]
    torch.save(checkpoint, path)
    data = DigitsDataModule(dataset="offline_digits")
    assert data.pixels.mean != 0.1307
    assert loss_in_test() != pytest.approx(loss, abs=1e-4)
    with pytest.raises(SystemExit, match="2"):
        main(["fit", "--config", "configs/offline.yaml", "--ckpt_path", str(path)])
    assert "the run was started on images with pixel_mean 0.1307" in capfd.readouterr().err


def test_statistics_of_few_images() -> None:
    images = torch.tensor([0, 255, 255, 51], dtype=torch.uint8).view(1, 1, 2, 2)
    assert pixel_statistics(images) == pytest.approx((0.55, float(np.std([0, 1, 1, 0.2]))))
